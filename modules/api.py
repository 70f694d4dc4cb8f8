"""The REST API: routes to functions, a health check, preflight, and a deployment that follows every change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from cdktf import (
    DefaultTokenResolver,
    StringConcat,
    TerraformResource,
    TerraformResourceLifecycle,
    Tokenization,
)
from cdktf_cdktf_provider_aws.api_gateway_deployment import ApiGatewayDeployment
from cdktf_cdktf_provider_aws.api_gateway_integration import ApiGatewayIntegration
from cdktf_cdktf_provider_aws.api_gateway_integration_response import ApiGatewayIntegrationResponse
from cdktf_cdktf_provider_aws.api_gateway_method import ApiGatewayMethod
from cdktf_cdktf_provider_aws.api_gateway_method_response import ApiGatewayMethodResponse
from cdktf_cdktf_provider_aws.api_gateway_method_settings import (
    ApiGatewayMethodSettings,
    ApiGatewayMethodSettingsSettings,
)
from cdktf_cdktf_provider_aws.api_gateway_resource import ApiGatewayResource
from cdktf_cdktf_provider_aws.api_gateway_rest_api import ApiGatewayRestApi, ApiGatewayRestApiEndpointConfiguration
from cdktf_cdktf_provider_aws.api_gateway_stage import ApiGatewayStage
from cdktf_cdktf_provider_aws.lambda_permission import LambdaPermission
from constructs import Construct

from modules.functions import Function
from modules.settings import Settings

STAGE = "v1"


class Api(Construct):
    """A regional REST API whose routes are open to signed requests alone, except for its health check.

    Call `route` for each route, then `publish` once.

    Attributes:
        invoke_url: address of the stage; there after `publish`.
        execution_arn: what a policy names to allow calls.
        name: name of the API.
        stage_name: name of its stage; there after `publish`.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings) -> None:
        super().__init__(scope, construct_id)
        self._settings = settings
        self._api = ApiGatewayRestApi(
            self,
            "Default",
            name=settings.prefix,
            description="Uploads files",
            endpoint_configuration=ApiGatewayRestApiEndpointConfiguration(types=["REGIONAL"]),
            # Bodies are JSON; what is not declared binary reaches a function as text.
            minimum_compression_size="1024",
            lifecycle=TerraformResourceLifecycle(create_before_destroy=True),
        )
        self.execution_arn = self._api.execution_arn
        self.name = self._api.name
        self._resource_ids: dict[str, str] = {"": self._api.root_resource_id}
        self._functions: dict[str, list[tuple[str, str]]] = {}
        self._permitted: list[tuple[Function, str, str]] = []
        self._last: list[TerraformResource] = []
        self.invoke_url = ""
        self.stage_name = ""

    def route(self, method: str, path: str, function: Function) -> None:
        """Send requests with this method and path to a function, once API Gateway has verified their signature.

        Args:
            method: HTTP method in capitals.
            path: such as `/files/{file_id}/content`.
        """
        name = _name(method, path)
        resource_id = self._resource(path)
        verified = ApiGatewayMethod(
            self,
            f"{name}_method",
            rest_api_id=self._api.id,
            resource_id=resource_id,
            http_method=method,
            authorization="AWS_IAM",
        )
        integration = ApiGatewayIntegration(
            self,
            f"{name}_integration",
            rest_api_id=self._api.id,
            resource_id=resource_id,
            http_method=verified.http_method,
            # Lambda is invoked by POST, whatever the method of the route (API Gateway, "Lambda proxy integrations").
            integration_http_method="POST",
            type="AWS_PROXY",
            uri=function.invoke_arn,
        )
        self._last.append(integration)
        self._permitted.append((function, method, path))

    def health_check(self, path: str = "/health") -> None:
        """Answer GET on this path with 200 from API Gateway itself: open to all, and nothing behind it is called."""
        name = _name("GET", path)
        self._mock(
            name,
            path,
            "GET",
            template=json.dumps({"status": "ok"}),
            headers={"Cache-Control": "'no-store'"},
        )

    def publish(self) -> None:
        """Deploy the routes to the stage, and let the API call the functions on just their routes."""
        deployment = ApiGatewayDeployment(
            self,
            "deployment",
            rest_api_id=self._api.id,
            description="Routes of the API; replaced when they change",
            triggers={"routes": self._fingerprint()},
            lifecycle=TerraformResourceLifecycle(create_before_destroy=True),
            depends_on=self._last,
        )
        stage = ApiGatewayStage(
            self,
            "stage",
            rest_api_id=self._api.id,
            deployment_id=deployment.id,
            stage_name=STAGE,
            xray_tracing_enabled=self._settings.enable_xray_tracing,
        )
        ApiGatewayMethodSettings(
            self,
            "throttling",
            rest_api_id=self._api.id,
            stage_name=stage.stage_name,
            method_path="*/*",
            settings=ApiGatewayMethodSettingsSettings(
                metrics_enabled=True,
                throttling_rate_limit=self._settings.api_throttle_rate,
                throttling_burst_limit=self._settings.api_throttle_burst,
            ),
        )
        for function, method, path in self._permitted:
            LambdaPermission(
                self,
                f"{_name(method, path)}_permission",
                statement_id=f"Api-{_name(method, path)}",
                action="lambda:InvokeFunction",
                function_name=function.name,
                principal="apigateway.amazonaws.com",
                source_arn=self.route_arn(method, path),
            )
        self.invoke_url = stage.invoke_url
        self.stage_name = stage.stage_name

    def route_arn(self, method: str, path: str) -> str:
        """ARN of one route of the stage, for a policy; each path parameter stands for any one value."""
        segments = ["*" if segment.startswith("{") else segment for segment in path.strip("/").split("/")]
        return f"{self.execution_arn}/{STAGE}/{method}/{'/'.join(segments)}"

    def _resource(self, path: str) -> str:
        """Id of the resource of a path, made with its parents where it is new."""
        trimmed = path.strip("/")
        if trimmed not in self._resource_ids:
            parent, _, part = trimmed.rpartition("/")
            resource = ApiGatewayResource(
                self,
                f"{_slug(trimmed)}_resource",
                rest_api_id=self._api.id,
                parent_id=self._resource(parent),
                path_part=part,
            )
            self._resource_ids[trimmed] = resource.id
        return self._resource_ids[trimmed]

    def _mock(self, name: str, path: str, method: str, *, template: str, headers: dict[str, str]) -> None:
        """A method that API Gateway answers itself with 200."""
        resource_id = self._resource(path)
        api_id = self._api.id
        open_method = ApiGatewayMethod(
            self,
            f"{name}_method",
            rest_api_id=api_id,
            resource_id=resource_id,
            http_method=method,
            authorization="NONE",
        )
        integration = ApiGatewayIntegration(
            self,
            f"{name}_integration",
            rest_api_id=api_id,
            resource_id=resource_id,
            http_method=open_method.http_method,
            type="MOCK",
            request_templates={"application/json": json.dumps({"statusCode": 200})},
        )
        response = ApiGatewayMethodResponse(
            self,
            f"{name}_response",
            rest_api_id=api_id,
            resource_id=resource_id,
            http_method=open_method.http_method,
            status_code="200",
            response_parameters={f"method.response.header.{header}": True for header in headers},
        )
        answer = ApiGatewayIntegrationResponse(
            self,
            f"{name}_integration_response",
            rest_api_id=api_id,
            resource_id=resource_id,
            http_method=open_method.http_method,
            status_code=response.status_code,
            response_parameters={f"method.response.header.{header}": value for header, value in headers.items()},
            response_templates={"application/json": template},
            depends_on=[integration],
        )
        self._last.append(answer)

    def _fingerprint(self) -> str:
        """SHA-256 of everything that a deployment takes a copy of, so that each change of it deploys again."""
        resolver = DefaultTokenResolver(StringConcat())
        described: Sequence[object] = [
            Tokenization.resolve(child.to_terraform(), resolver=resolver, scope=self, preparing=False)
            for child in self.node.find_all()
            if isinstance(child, TerraformResource)
        ]
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _slug(path: str) -> str:
    """A path as part of an address: `files/{file_id}/content` is `files_file_id_content`."""
    return path.strip("/").replace("{", "").replace("}", "").replace("/", "_").replace("-", "_")


def _name(method: str, path: str) -> str:
    return f"{method.lower()}_{_slug(path)}"
