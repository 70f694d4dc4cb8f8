"""The REST API: routes to functions, health, preflight, answers of the gateway's own, and a deployment that follows
every change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cdktf import (
    DefaultTokenResolver,
    StringConcat,
    TerraformResource,
    TerraformResourceLifecycle,
    Tokenization,
)
from cdktf_cdktf_provider_aws.api_gateway_account import ApiGatewayAccount
from cdktf_cdktf_provider_aws.api_gateway_deployment import ApiGatewayDeployment
from cdktf_cdktf_provider_aws.api_gateway_gateway_response import ApiGatewayGatewayResponse
from cdktf_cdktf_provider_aws.api_gateway_integration import ApiGatewayIntegration
from cdktf_cdktf_provider_aws.api_gateway_integration_response import ApiGatewayIntegrationResponse
from cdktf_cdktf_provider_aws.api_gateway_method import ApiGatewayMethod
from cdktf_cdktf_provider_aws.api_gateway_method_response import ApiGatewayMethodResponse
from cdktf_cdktf_provider_aws.api_gateway_method_settings import (
    ApiGatewayMethodSettings,
    ApiGatewayMethodSettingsSettings,
)
from cdktf_cdktf_provider_aws.api_gateway_model import ApiGatewayModel
from cdktf_cdktf_provider_aws.api_gateway_request_validator import ApiGatewayRequestValidator
from cdktf_cdktf_provider_aws.api_gateway_resource import ApiGatewayResource
from cdktf_cdktf_provider_aws.api_gateway_rest_api import ApiGatewayRestApi, ApiGatewayRestApiEndpointConfiguration
from cdktf_cdktf_provider_aws.api_gateway_stage import ApiGatewayStage, ApiGatewayStageAccessLogSettings
from cdktf_cdktf_provider_aws.cloudwatch_log_group import CloudwatchLogGroup
from cdktf_cdktf_provider_aws.lambda_permission import LambdaPermission
from constructs import Construct

from functions.common.contract import (
    EXPOSED_HEADERS,
    INVALID_JSON,
    NO_ROUTE,
    PROBLEM_JSON,
    UNAUTHORIZED,
    Problem,
    problem_body,
)
from modules.alarms import ERROR_RATE_PERCENT, Advice, Alarm, Metric, error_rate
from modules.authorization import OPEN, Authorization, Requirement
from modules.encryption import CustomerKey
from modules.functions import Function
from modules.monitored import Graph, LogQuery, Monitored, Row
from modules.permissions import Role
from modules.policy import Statement
from modules.settings import Settings

STAGE = "v1"
ACCESS_LOG_PREFIX = "/aws/apigateway/"
# API Gateway chooses this name itself (API Gateway, "Set up CloudWatch logging for REST APIs").
EXECUTION_LOG_PREFIX = "API-Gateway-Execution-Logs_"

# Headers that pages may send. Browser libraries that sign requests also send the hash of the body and their own name.
ALLOWED_HEADERS = (
    "Content-Type,X-Amz-Date,Authorization,X-Api-Key,X-Amz-Security-Token,Idempotency-Key,X-Amz-Content-Sha256,"
    "X-Amz-User-Agent"
)
PREFLIGHT_SECONDS = 600

# A third of the default LAMBDA_TIMEOUT: the alarm goes off well before functions are stopped. Where LAMBDA_TIMEOUT is
# shorter, they are stopped first, and the alarm on 5xx answers goes off.
LATENCY_P99_MILLISECONDS = 5000
# Answers that the saved query shows.
SLOW_MILLISECONDS = 1000


@dataclass(frozen=True)
class Throttle:
    """What a method admits: requests a second, and at once."""

    rate: float
    burst: int


class Api(Construct, Monitored):
    """A regional REST API that is open to those whom `authorization` lets in, except for health and preflight.

    Call `route` for each route, then `publish` once.

    Terraform cannot remove a method from a stage. AWS deletes no deployment that a stage serves, so a new deployment
    has to be created before the old one is destroyed. Terraform applies this order to the dependencies of a deployment,
    too ("The lifecycle meta-argument": create_before_destroy). So a removed method is destroyed only after the new
    deployment, which still contains it, and the next plan is empty. Therefore no method is removed here: a method that
    is not routed any more is closed in place, before the deployment. It requires an API key, and no such key exists. It
    answers like an unknown path, and no permission lets it call a function.

    Clients reach it by HTTPS alone: API Gateway has no other listener. Its own host name takes TLS 1.2 or what AWS
    sets; a policy of one's own for that needs a custom domain ("Choose a security policy for your custom domain").
    Bodies have 10 MB at most, of which Lambda takes 6 MB; beyond that the gateway answers 413.

    Attributes:
        invoke_url: address of the stage; there after `publish`.
        stage_arn: ARN of the stage; there after `publish`.
        execution_arn: what a policy names to allow calls.
        name: name of the API.
        stage_name: name of its stage; there after `publish`.
        access_log: name of the log group of its requests; there after `publish`.
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
    ) -> None:
        """
        Args:
            authorization: who may call.
            known_routes: methods and paths that an environment may have deployed. Those that are not routed are
                closed.
            logs_key: what encrypts the logs; its policy has to admit names that start with the prefixes here.
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
        self.execution_arn = self._api.execution_arn
        self.name = self._api.name
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
        self.invoke_url = ""
        self.stage_name = ""
        self.stage_arn = ""
        self.access_log = ""

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
            open_to_all: nobody is verified.
            throttle: what this method admits, where that is not what the whole stage does.

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
        """Answer GET on this path with 200 from API Gateway itself: open to all, and nothing behind it is called."""
        headers = {"Cache-Control": "'no-store'"}
        if len(self._origins) == 1:
            headers["Access-Control-Allow-Origin"] = f"'{self._origins[0]}'"
        if self._origins:
            headers |= {"Access-Control-Expose-Headers": f"'{','.join(EXPOSED_HEADERS)}'", "Vary": "'Origin'"}
        self._methods.setdefault(path, []).append("GET")
        mock = self._mock(path, "GET")
        self._answer(mock, path, template=self._own_origin() + json.dumps({"status": "ok"}), headers=headers)

    def publish(self) -> None:
        """Deploy the routes to the stage, and let the API call the functions on just their routes."""
        self._close_what_is_not_routed()
        for path in sorted({*self._methods, *(path for _, path in self._known_routes)}):
            self._preflight(path, self._methods.get(path, []))
        self._gateway_responses()
        deployment = ApiGatewayDeployment(
            self,
            "deployment",
            rest_api_id=self._api.id,
            description="Routes of the API; replaced when they change",
            triggers={"routes": self._fingerprint()},
            lifecycle=TerraformResourceLifecycle(create_before_destroy=True),
            depends_on=self._last,
        )
        access_log = CloudwatchLogGroup(
            self,
            "access_log",
            name=f"{ACCESS_LOG_PREFIX}{self._settings.prefix}-access",
            retention_in_days=self._settings.log_retention_days,
            kms_key_id=self._logs_key.arn,
        )
        execution_log = CloudwatchLogGroup(
            self,
            "execution_log",
            name=f"{EXECUTION_LOG_PREFIX}{self._api.id}/{STAGE}",
            retention_in_days=self._settings.log_retention_days,
            kms_key_id=self._logs_key.arn,
        )
        stage = ApiGatewayStage(
            self,
            "stage",
            rest_api_id=self._api.id,
            deployment_id=deployment.id,
            stage_name=STAGE,
            xray_tracing_enabled=self._settings.enable_xray_tracing,
            access_log_settings=ApiGatewayStageAccessLogSettings(
                destination_arn=access_log.arn, format=access_log_format(self._authorization.caller)
            ),
            # A stage that logs is refused before the account has a role for that.
            depends_on=[execution_log, *self._account()],
        )
        self._limit(stage)
        for function, method, path in self._permitted:
            LambdaPermission(
                self,
                f"{_name(method, path)}_permission",
                statement_id=f"Api-{_name(method, path)}",
                action="lambda:InvokeFunction",
                function_name=function.name,
                qualifier=function.qualifier,
                principal="apigateway.amazonaws.com",
                source_arn=self.route_arn(method, path),
            )
        self.invoke_url = stage.invoke_url
        self.stage_name = stage.stage_name
        self.stage_arn = stage.arn
        self.access_log = access_log.name

    def alarms(self) -> list[Alarm]:
        """Return the alarms on 5xx answers and on latency."""
        return [
            error_rate(
                "api_errors",
                errors=self._metric("5XXError"),
                requests=self._metric("Count", "SampleCount"),
                advice=Advice(
                    f"More than {ERROR_RATE_PERCENT} % of the answers of the API {self.name} were 5xx, in two periods "
                    "of 5 minutes.",
                    "look which function fails or runs into its timeout, in the dashboard's row of functions",
                    "api-errors",
                ),
            ),
            Alarm(
                name="api_latency",
                metrics={"latency": self._metric("Latency", "p99")},
                threshold=LATENCY_P99_MILLISECONDS,
                periods=3,
                advice=Advice(
                    f"One answer in a hundred of the API {self.name} took more than "
                    f"{LATENCY_P99_MILLISECONDS // 1000} seconds, for 15 minutes.",
                    "compare the duration of the functions with the latency of the table on the dashboard",
                    "api-latency",
                ),
            ),
        ]

    def dashboard_rows(self) -> list[Row]:
        """Return the row of the API."""
        # The average of an error metric is its share of the requests (API Gateway, "dimensions and metrics").
        shares = [self._metric("4XXError", "Average", "4xx"), self._metric("5XXError", "Average", "5xx")]
        latencies = [self._metric("Latency", "p50", "p50"), self._metric("Latency", "p99", "p99")]
        graphs = [
            Graph("requests", [self._metric("Count", "SampleCount", "requests")], "requests"),
            Graph("share of errors", shares, "of 1"),
            Graph("latency", latencies, "ms", limit=LATENCY_P99_MILLISECONDS),
        ]
        return [Row("API", graphs, at_top=True)]

    def log_queries(self) -> list[LogQuery]:
        """Return the queries of the access log, whose lines are JSON."""
        return [
            LogQuery(
                "slow-requests",
                [
                    "fields @timestamp, httpMethod, resourcePath, status, responseLatency, integrationLatency, "
                    "requestId",
                    f"filter responseLatency > {SLOW_MILLISECONDS}",
                    "sort responseLatency desc",
                    "limit 100",
                ],
                [self.access_log],
            ),
            LogQuery(
                "refused-requests",
                [
                    "filter status >= 400 and status < 500",
                    "stats count(*) as times, count_distinct(sourceIp) as addresses, max(@timestamp) as last"
                    " by status, errorResponseType, httpMethod, resourcePath",
                    "sort times desc",
                    "limit 100",
                ],
                [self.access_log],
            ),
        ]

    def _metric(self, name: str, statistic: str = "Sum", label: str = "") -> Metric:
        """Return a metric of the stage (API Gateway, "Amazon API Gateway dimensions and metrics")."""
        return Metric("AWS/ApiGateway", name, {"ApiName": self.name, "Stage": self.stage_name}, statistic, label)

    def route_arn(self, method: str, path: str) -> str:
        """ARN of one route of the stage, for a policy; each path parameter stands for any one value."""
        segments = ["*" if segment.startswith("{") else segment for segment in path.strip("/").split("/")]
        return f"{self.execution_arn}/{STAGE}/{method}/{'/'.join(segments)}"

    @property
    def _origins(self) -> tuple[str, ...]:
        return ("*",) if "*" in self._settings.cors_allowed_origins else self._settings.cors_allowed_origins

    def _account(self) -> list[TerraformResource]:
        """The role with which API Gateway logs, in the settings of the account: one for every API of the region."""
        if not self._settings.manage_api_gateway_account:
            return []
        role = Role(
            self,
            "logging_role",
            foundation=self._settings.foundation,
            name="api-logging",
            service="apigateway.amazonaws.com",
            description="API Gateway writes its logs",
        )
        home = f"arn:aws:logs:{self._settings.primary_region}:{self._settings.account_id}"
        role.grant(
            "logs_write",
            # What API Gateway asks of the role before it takes it ("Permissions for CloudWatch logging"). The groups
            # are those of every API of the account, since there is one role for all.
            Statement(
                sid="WriteLogsOfApis",
                actions=[
                    "logs:CreateLogGroup",
                    "logs:CreateLogStream",
                    "logs:DescribeLogGroups",
                    "logs:DescribeLogStreams",
                    "logs:FilterLogEvents",
                    "logs:GetLogEvents",
                    "logs:PutLogEvents",
                ],
                resources=[f"{home}:log-group:*"],
            ),
        )
        return [ApiGatewayAccount(self, "account", cloudwatch_role_arn=role.arn, depends_on=role.grants)]

    def _limit(self, stage: ApiGatewayStage) -> None:
        """Throttles and logs of the stage, and of the methods that admit less; each entry replaces the wider one."""
        whole = Throttle(self._settings.api_throttle_rate, self._settings.api_throttle_burst)
        limits = {("throttling", "*/*"): whole} | {
            # Slashes of a path are written `~1`, the first one too (API Gateway, "UpdateStage").
            (f"{_name(method, path)}_throttling", f"{path.replace('/', '~1')}/{method}"): throttle
            for (method, path), throttle in self._throttles.items()
        }
        for (construct_id, method_path), throttle in limits.items():
            ApiGatewayMethodSettings(
                self,
                construct_id,
                rest_api_id=self._api.id,
                stage_name=stage.stage_name,
                method_path=method_path,
                settings=ApiGatewayMethodSettingsSettings(
                    metrics_enabled=True,
                    # Errors of the gateway itself. Traces would hold bodies and tokens.
                    logging_level="ERROR",
                    data_trace_enabled=False,
                    throttling_rate_limit=throttle.rate,
                    throttling_burst_limit=throttle.burst,
                ),
            )

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
            # API Gateway takes letters and digits alone.
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
        name = _name(method, path)
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
        is_open = bool(self._origins and methods)
        mock = self._mock(path, "OPTIONS", closed=not is_open)
        if not is_open:
            return
        headers = {
            "Access-Control-Allow-Headers": f"'{ALLOWED_HEADERS}'",
            "Access-Control-Allow-Methods": f"'{','.join(sorted([*methods, 'OPTIONS']))}'",
            "Access-Control-Max-Age": f"'{PREFLIGHT_SECONDS}'",
            "Vary": "'Origin'",
        }
        if len(self._origins) == 1:
            headers["Access-Control-Allow-Origin"] = f"'{self._origins[0]}'"
        self._answer(mock, path, template=self._own_origin() + "{}", headers=headers)

    def _own_origin(self) -> str:
        """Template that allows the origin of the request where it is one of several; one alone is a fixed header.

        HTTP/2 writes the names of headers in small letters, and API Gateway looks for them as they are written.
        """
        if len(self._origins) < 2:
            return ""
        allowed = " || ".join(f"$origin == '{origin}'" for origin in self._origins)
        return (
            "#set($origin = $input.params('origin'))"
            "#if($origin == '')#set($origin = $input.params('Origin'))#end"
            f"#if({allowed})#set($context.responseOverride.header.Access-Control-Allow-Origin = $origin)#end"
        )

    def _gateway_responses(self) -> None:
        """What the gateway answers itself, as a problem (RFC 9457) that also says `error`, as POST /upload does.

        A template of a gateway response can insert variables and not compare, so where several origins are allowed it
        repeats the origin of the request, whichever that is. What a page of another origin can read by that is one of
        the sentences here: its preflight fails before, and answers of functions do not carry its origin.

        BAD_REQUEST_BODY has one text for every cause, so the schemas check only what that text describes.
        `$context.error.validationErrorString` would name the cause, but it contains quotation marks, which a template
        cannot escape.
        """
        for response_type, answer in self._answers().items():
            headers = {"Cache-Control": "'no-store'", **answer.headers}
            if self._origins:
                own = f"'{self._origins[0]}'" if len(self._origins) == 1 else "method.request.header.Origin"
                exposed = f"'{','.join(EXPOSED_HEADERS)}'"
                headers |= {
                    "Access-Control-Allow-Origin": own,
                    "Access-Control-Expose-Headers": exposed,
                    "Vary": "'Origin'",
                }
            response = ApiGatewayGatewayResponse(
                self,
                f"{response_type.lower()}_response",
                rest_api_id=self._api.id,
                response_type=response_type,
                status_code=str(answer.status) if answer.status else None,
                response_parameters={f"gatewayresponse.header.{name}": value for name, value in headers.items()},
                response_templates={"application/json": answer.body},
            )
            self._last.append(response)

    def _answers(self) -> dict[str, _Answer]:
        if self._authorization.takes_tokens:
            unauthorized = _Answer(UNAUTHORIZED, 401, Problem.UNAUTHORIZED, headers={"WWW-Authenticate": "'Bearer'"})
            # API Gateway's answer to paths and methods that are not there.
            no_route = _Answer(NO_ROUTE, 404, Problem.NOT_FOUND)
        else:
            unauthorized = _Answer(UNAUTHORIZED, 401, Problem.UNAUTHORIZED)
            # The same answer is for requests without a signature, so it stays what it is.
            no_route = _Answer("Missing Authentication Token", 403, Problem.FORBIDDEN)
        return {
            "DEFAULT_4XX": _Answer(None),
            "DEFAULT_5XX": _Answer(
                "Internal server error", kind=Problem.INTERNAL, more={"request_id": "$context.requestId"}
            ),
            "UNAUTHORIZED": unauthorized,
            "MISSING_AUTHENTICATION_TOKEN": no_route,
            # Answer of closed routes.
            "INVALID_API_KEY": no_route,
            # The gateway's own words name the caller and the API.
            "ACCESS_DENIED": _Answer("Forbidden", 403, Problem.FORBIDDEN),
            "INVALID_SIGNATURE": _Answer("Invalid signature", 403, Problem.FORBIDDEN),
            "WAF_FILTERED": _Answer("Forbidden", 403, Problem.FORBIDDEN),
            "THROTTLED": _Answer(
                "Too many requests; try again later", 429, Problem.TOO_MANY_REQUESTS, headers={"Retry-After": "'1'"}
            ),
            "REQUEST_TOO_LARGE": _Answer(
                "Request body is too large; send larger files by POST /uploads", 413, Problem.TOO_LARGE
            ),
            # Answer of paths that the gateway answers itself.
            "UNSUPPORTED_MEDIA_TYPE": _Answer(
                "Unsupported media type; send no Content-Type, or application/json", 415, Problem.UNSUPPORTED_TYPE
            ),
            "BAD_REQUEST_BODY": _Answer(
                INVALID_JSON,
                400,
                Problem.INVALID_REQUEST,
                more={"hint": "send a JSON object whose fields have the types that docs/openapi.yaml names"},
            ),
        }

    def _mock(self, path: str, method: str, *, closed: bool = False) -> tuple[ApiGatewayMethod, ApiGatewayIntegration]:
        """Make a method that API Gateway answers itself, for every caller, and its mock integration."""
        name = _name(method, path)
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
        declared = [*headers, *(["Access-Control-Allow-Origin"] if len(self._origins) > 1 else [])]
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
        """SHA-256 of everything that a deployment takes a copy of, so that each change of it deploys again."""
        resolver = DefaultTokenResolver(StringConcat())
        resources = [child.to_terraform() for child in self.node.find_all() if isinstance(child, TerraformResource)]
        described: object = Tokenization.resolve(resources, resolver=resolver, scope=self, preparing=False)
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


class _Answer:
    """An answer of the gateway: its words (None: the gateway's own), its status (None: the gateway's own), headers."""

    def __init__(
        self,
        error: str | None,
        status: int | None = None,
        kind: Problem = Problem.INTERNAL,
        *,
        more: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.headers = {"Content-Type": f"'{PROBLEM_JSON}'", **(headers or {})}
        if error is None:
            # `messageString` comes with its quotation marks.
            words = "$context.error.messageString"
            self.body = f'{{ "type": "about:blank", "detail": {words}, "error": {words} }}'
            return
        problem = {**problem_body(kind, status or 500, error), "error": error, **(more or {})}
        if status is None:
            # Several statuses have this answer.
            del problem["title"], problem["status"]
        self.body = json.dumps(problem, separators=(",", ":"))


def access_log_format(caller: str) -> str:
    """A line of the access log in JSON: who asked for what, how it ended and how long it took.

    Nothing that a client words itself is in it, such as a path or a name of a program: API Gateway escapes nothing, and
    a quotation mark would break the line.

    Args:
        caller: the variable that holds who was verified.
    """
    fields = {
        "requestId": "$context.requestId",
        "extendedRequestId": "$context.extendedRequestId",
        "xrayTraceId": "$context.xrayTraceId",
        "requestTime": "$context.requestTime",
        "sourceIp": "$context.identity.sourceIp",
        "caller": caller,
        "httpMethod": "$context.httpMethod",
        "resourcePath": "$context.resourcePath",
        "protocol": "$context.protocol",
        "status": "$context.status",
        "responseLength": "$context.responseLength",
        "responseLatency": "$context.responseLatency",
        "integrationStatus": "$context.integration.status",
        "integrationLatency": "$context.integration.latency",
        "integrationRequestId": "$context.integration.requestId",
        "authorizerStatus": "$context.authorizer.status",
        "wafResponseCode": "$context.wafResponseCode",
        "errorResponseType": "$context.error.responseType",
    }
    return json.dumps(fields, separators=(",", ":"))


def _slug(path: str) -> str:
    """A path as part of an address: `files/{file_id}/content` is `files_file_id_content`."""
    return path.strip("/").replace("{", "").replace("}", "").replace("/", "_").replace("-", "_")


def _name(method: str, path: str) -> str:
    return f"{method.lower()}_{_slug(path)}"
