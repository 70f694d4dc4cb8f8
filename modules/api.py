"""The REST API: routes to functions, health, preflight, and a deployment that follows every change.

Beside it: `api_cors` (which pages may call), `api_gateway_responses` (answers of the gateway itself), `api_stage` (the
stage with its logs, limits and monitoring), `firewall`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

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
from cdktf_cdktf_provider_aws.api_gateway_model import ApiGatewayModel
from cdktf_cdktf_provider_aws.api_gateway_request_validator import ApiGatewayRequestValidator
from cdktf_cdktf_provider_aws.api_gateway_resource import ApiGatewayResource
from cdktf_cdktf_provider_aws.api_gateway_rest_api import ApiGatewayRestApi, ApiGatewayRestApiEndpointConfiguration
from cdktf_cdktf_provider_aws.lambda_permission import LambdaPermission
from constructs import Construct

from modules.api_cors import Cors
from modules.api_gateway_responses import gateway_responses
from modules.api_stage import (
    ACCESS_LOG_PREFIX,
    EXECUTION_LOG_PREFIX,
    STAGE,
    PublishedApi,
    Throttle,
    name_of,
    open_stage,
    slug_of,
)
from modules.authorization import OPEN, Authorization, Requirement
from modules.deployer import log_groups
from modules.encryption import CustomerKey
from modules.functions import Function
from modules.policy_documents import Statement
from modules.settings import Settings

_KEEP = ("apigateway:DELETE", "apigateway:GET", "apigateway:PATCH", "apigateway:POST", "apigateway:PUT")


class Api(Construct):
    """A regional REST API that is open to those whom `authorization` lets in, except for health and preflight.

    It collects routes: call `route` for each, then `publish` once, which returns the API as callers reach it.

    Terraform cannot remove a method from a stage. AWS deletes no deployment that a stage serves, so a new deployment
    has to be created before the old one is destroyed. Terraform applies this order to the dependencies of a deployment,
    too ("The lifecycle meta-argument": create_before_destroy). So a removed method is destroyed only after the new
    deployment, which still contains it, and the next plan is empty. Therefore no method is removed here: a method that
    is not routed any more is closed in place, before the deployment. It requires an API key, and no such key exists. It
    answers like an unknown path, and no permission lets it call a function.

    Clients reach it only by HTTPS: API Gateway has no other listener. AWS sets the TLS policy of its own host name; to
    choose another policy, use a custom domain ("Choose a security policy for your custom domain"). Bodies have 10 MB at
    most, of which Lambda takes 6 MB; beyond that the gateway answers 413.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        authorization: Authorization,
        known_routes: Sequence[tuple[str, str]],
        logs_key: CustomerKey,
        origins: Sequence[str],
    ) -> None:
        """
        Args:
            authorization: rule that tells who may call.
            origins: origins whose pages may call; `*` stands for every origin.
            known_routes: methods and paths that an environment may have deployed. Those that are not routed are
                closed.
            logs_key: key that encrypts the logs; its policy has to admit the prefixes of names in `api_stage`.
        """
        super().__init__(scope, construct_id)
        self._settings = settings
        self._authorization = authorization
        self._logs_key = logs_key
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
        self._cors = Cors.of(origins)
        self._known_routes = known_routes
        self._resource_ids: dict[str, str] = {"": self._api.root_resource_id}
        self._methods: dict[str, list[str]] = {}
        self._throttles: dict[tuple[str, str], Throttle] = {}
        self._permitted: list[tuple[Function, str, str]] = []
        self._last: list[TerraformResource] = []
        self._validator: ApiGatewayRequestValidator | None = None
        self._verified = authorization.requirement(
            self, rest_api_id=self._api.id, execution_arn=self._api.execution_arn
        )

    def route(
        self,
        method: str,
        path: str,
        function: Function,
        *,
        body: Mapping[str, object] | None = None,
        open_to_all: bool = False,
        throttle: Throttle | None = None,
    ) -> None:
        """Send requests with this method and path to a function, once API Gateway has verified the caller.

        Args:
            method: HTTP method in capitals.
            path: such as `/files/{file_id}/content`.
            body: JSON schema (draft 4) that bodies have to satisfy.
            open_to_all: whether callers are not verified.
            throttle: limit of this method, where it differs from the limit of the stage.

        Raises:
            ValueError: the route is not in `known_routes`, so it could not be closed later.
        """
        if (method, path) not in self._known_routes:
            raise ValueError(f"{method} {path} is not in modules/api_routes.py; add it there first")
        self._proxy(method, path, function, OPEN if open_to_all else self._verified, body=body)
        self._methods.setdefault(path, []).append(method)
        self._permitted.append((function, method, path))
        if throttle is not None:
            self._throttles[method, path] = throttle

    def health_check(self, path: str = "/health") -> None:
        """Answer GET on this path with 200 from API Gateway itself, for every caller; no function is called."""
        self._methods.setdefault(path, []).append("GET")
        mock = self._mock(path, "GET")
        headers = {"Cache-Control": "'no-store'", **self._cors.fixed_origin, **self._cors.readable}
        self._answer(mock, path, template=self._cors.template + json.dumps({"status": "ok"}), headers=headers)

    def publish(self) -> PublishedApi:
        """Deploy the routes to a stage, and let the API call each function on its own routes only.

        Call it once, after all routes.
        """
        self._close_what_is_not_routed()
        for path in sorted({*self._methods, *(path for _, path in self._known_routes)}):
            self._preflight(path, self._methods.get(path, []))
        self._last += gateway_responses(
            self, rest_api_id=self._api.id, takes_tokens=self._authorization.takes_tokens, cors=self._cors
        )
        deployment = ApiGatewayDeployment(
            self,
            "deployment",
            rest_api_id=self._api.id,
            description="Routes of the API; replaced when they change",
            triggers={"routes": self._fingerprint()},
            lifecycle=TerraformResourceLifecycle(create_before_destroy=True),
            depends_on=self._last,
        )
        published = open_stage(
            self,
            settings=self._settings,
            api=self._api,
            deployment=deployment,
            caller=self._authorization.caller,
            throttles=self._throttles,
            logs_key=self._logs_key,
        )
        self._permit()
        return published

    def _permit(self) -> None:
        """Let the API call each function on its own routes only."""
        for function, method, path in self._permitted:
            LambdaPermission(
                self,
                f"{name_of(method, path)}_permission",
                statement_id=f"Api-{name_of(method, path)}",
                action="lambda:InvokeFunction",
                function_name=function.name,
                qualifier=function.qualifier,
                principal="apigateway.amazonaws.com",
                source_arn=self._route_arn(method, path),
            )

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for the API."""
        foundation = self._settings.foundation
        # ARNs of API Gateway name no account.
        paths = ("/restapis", "/restapis/*", "/tags/*", "/account")
        return [
            Statement(
                sid="KeepApi",
                actions=_KEEP,
                resources=[f"arn:aws:apigateway:{foundation.region}::{path}" for path in paths],
            ),
            # API Gateway puts the id of an API behind the prefix of the execution log.
            *log_groups(foundation, f"{ACCESS_LOG_PREFIX}{foundation.prefix}-*", f"{EXECUTION_LOG_PREFIX}*"),
        ]

    def _route_arn(self, method: str, path: str) -> str:
        """Return the ARN of one route of the stage, for a policy; each path parameter stands for any one value."""
        segments = ["*" if segment.startswith("{") else segment for segment in path.strip("/").split("/")]
        return f"{self._api.execution_arn}/{STAGE}/{method}/{'/'.join(segments)}"

    def _resource(self, path: str) -> str:
        """Return the id of the resource of a path; make it, with its parents, if it is new."""
        trimmed = path.strip("/")
        if trimmed not in self._resource_ids:
            parent, _, part = trimmed.rpartition("/")
            resource = ApiGatewayResource(
                self,
                f"{slug_of(trimmed)}_resource",
                rest_api_id=self._api.id,
                parent_id=self._resource(parent),
                path_part=part,
            )
            self._resource_ids[trimmed] = resource.id
        return self._resource_ids[trimmed]

    def _method(
        self,
        name: str,
        path: str,
        method: str,
        requirement: Requirement,
        body: Mapping[str, object] | None = None,
        *,
        closed: bool = False,
    ) -> ApiGatewayMethod:
        """Make a method of a path; a closed one requires an API key, and no such key exists."""
        model = self._model(name, body) if body is not None else None
        return ApiGatewayMethod(
            self,
            f"{name}_method",
            rest_api_id=self._api.id,
            resource_id=self._resource(path),
            http_method=method,
            authorization=requirement.authorization,
            authorizer_id=requirement.authorizer_id,
            authorization_scopes=requirement.scopes,
            # No usage plan contains the stage, so no API key is valid for it (API Gateway, "Usage plans and API keys").
            api_key_required=True if closed else None,
            # `$default`: whatever type of content a caller names ("Request validation in API Gateway").
            request_models=dict.fromkeys(("application/json", "$default"), model.name) if model else None,
            request_validator_id=self._body_validator().id if model else None,
        )

    def _model(self, name: str, body: Mapping[str, object]) -> ApiGatewayModel:
        return ApiGatewayModel(
            self,
            f"{name}_model",
            rest_api_id=self._api.id,
            # API Gateway takes only letters and digits.
            name=name.title().replace("_", ""),
            description=f"Body of {name}",
            content_type="application/json",
            schema=json.dumps(body),
        )

    def _body_validator(self) -> ApiGatewayRequestValidator:
        if self._validator is None:
            self._validator = ApiGatewayRequestValidator(
                self, "body_validator", rest_api_id=self._api.id, name="body", validate_request_body=True
            )
        return self._validator

    def _close_what_is_not_routed(self) -> None:
        """Keep the known routes that have no function any more, and close them; see the class for the reason."""
        for method, path in self._known_routes:
            if method not in self._methods.get(path, []):
                # An integration has to name a function; the API has no permission to call it for this route.
                self._proxy(method, path, self._permitted[0][0], self._verified, closed=True)

    def _proxy(
        self,
        method: str,
        path: str,
        function: Function,
        requirement: Requirement,
        *,
        body: Mapping[str, object] | None = None,
        closed: bool = False,
    ) -> None:
        """Make a method that a function answers."""
        name = name_of(method, path)
        verified = self._method(name, path, method, requirement, body, closed=closed)
        integration = ApiGatewayIntegration(
            self,
            f"{name}_integration",
            rest_api_id=self._api.id,
            resource_id=self._resource(path),
            http_method=verified.http_method,
            # Lambda is invoked by POST, whatever the method of the route (API Gateway, "Lambda proxy integrations").
            integration_http_method="POST",
            type="AWS_PROXY",
            uri=function.invoke_arn,
        )
        self._last.append(integration)

    def _preflight(self, path: str, methods: Sequence[str]) -> None:
        """Answer the preflight of a path: may a page of this origin call (Fetch standard, "CORS-preflight fetch")?

        If no page may call, or the path has no routes, the preflight is closed.
        """
        is_open = bool(self._cors.origins and methods)
        mock = self._mock(path, "OPTIONS", closed=not is_open)
        if not is_open:
            return
        headers = self._cors.preflight(methods)
        self._answer(mock, path, template=self._cors.template + "{}", headers=headers)

    def _mock(self, path: str, method: str, *, closed: bool = False) -> tuple[ApiGatewayMethod, ApiGatewayIntegration]:
        """Make a method that API Gateway answers itself, for every caller, and its mock integration."""
        name = name_of(method, path)
        open_method = self._method(name, path, method, OPEN, closed=closed)
        integration = ApiGatewayIntegration(
            self,
            f"{name}_integration",
            rest_api_id=self._api.id,
            resource_id=self._resource(path),
            http_method=open_method.http_method,
            type="MOCK",
            request_templates={"application/json": json.dumps({"statusCode": 200})},
            # A body of another type has no template. By default it would be passed to the mock as its input, and the
            # answer would be 500 (API Gateway, "Integration passthrough behaviors"). With NEVER the answer is 415.
            passthrough_behavior="NEVER",
            # The provider can change it only by replacing the integration. Both integrations have the same name in AWS,
            # so deleting the old one would delete the new one as well.
            lifecycle=TerraformResourceLifecycle(ignore_changes=["passthrough_behavior"]),
        )
        self._last.append(integration)
        return open_method, integration

    def _answer(
        self,
        mock: tuple[ApiGatewayMethod, ApiGatewayIntegration],
        path: str,
        *,
        template: str,
        headers: dict[str, str],
    ) -> None:
        """Set the answer of a mock method: status 200, a body and headers."""
        method, integration = mock
        name = method.node.id.removesuffix("_method")
        resource_id = self._resource(path)
        declared = [*headers, *self._cors.headers_of_template]
        response = ApiGatewayMethodResponse(
            self,
            f"{name}_response",
            rest_api_id=self._api.id,
            resource_id=resource_id,
            http_method=method.http_method,
            status_code="200",
            response_parameters={f"method.response.header.{header}": True for header in declared},
        )
        answer = ApiGatewayIntegrationResponse(
            self,
            f"{name}_integration_response",
            rest_api_id=self._api.id,
            resource_id=resource_id,
            http_method=method.http_method,
            status_code=response.status_code,
            response_parameters={f"method.response.header.{header}": value for header, value in headers.items()},
            response_templates={"application/json": template},
            depends_on=[integration],
        )
        self._last.append(answer)

    def _fingerprint(self) -> str:
        """Return the SHA-256 of everything that a deployment copies, so that each change of it deploys again."""
        resolver = DefaultTokenResolver(StringConcat())
        resources = [child.to_terraform() for child in self.node.find_all() if isinstance(child, TerraformResource)]
        described: object = Tokenization.resolve(resources, resolver=resolver, scope=self, preparing=False)
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
