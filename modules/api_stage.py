"""The stage of an API: what callers reach, its logs, its limits, and its monitoring."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from cdktf import TerraformResource
from cdktf_cdktf_provider_aws.api_gateway_account import ApiGatewayAccount
from cdktf_cdktf_provider_aws.api_gateway_deployment import ApiGatewayDeployment
from cdktf_cdktf_provider_aws.api_gateway_method_settings import (
    ApiGatewayMethodSettings,
    ApiGatewayMethodSettingsSettings,
)
from cdktf_cdktf_provider_aws.api_gateway_rest_api import ApiGatewayRestApi
from cdktf_cdktf_provider_aws.api_gateway_stage import ApiGatewayStage, ApiGatewayStageAccessLogSettings
from cdktf_cdktf_provider_aws.cloudwatch_log_group import CloudwatchLogGroup
from constructs import Construct

from modules.alarms import ERROR_RATE_PERCENT, Advice, Alarm, Metric, error_rate
from modules.encryption import CustomerKey
from modules.monitored import Graph, LogQuery, Monitored, Row
from modules.policy_documents import Statement
from modules.roles import Role
from modules.settings import Settings

STAGE = "v1"
ACCESS_LOG_PREFIX = "/aws/apigateway/"
# API Gateway chooses this name itself (API Gateway, "Set up CloudWatch logging for REST APIs").
EXECUTION_LOG_PREFIX = "API-Gateway-Execution-Logs_"

# A third of the default LAMBDA_TIMEOUT: the alarm goes off well before functions are stopped. Where LAMBDA_TIMEOUT is
# shorter, they are stopped first, and the alarm on 5xx answers goes off.
LATENCY_P99_MILLISECONDS = 5000
# Answers that the saved query shows.
SLOW_MILLISECONDS = 1000


@dataclass(frozen=True)
class Throttle:
    """The limit of a method, in requests a second and in requests at once."""

    rate: float
    burst: int


@dataclass(frozen=True)
class PublishedApi(Monitored):
    """An API whose routes are deployed to a stage.

    Attributes:
        name: name of the API.
        rest_api_id: its id.
        execution_arn: ARN that a policy names to allow calls.
        invoke_url: address of the stage.
        stage_name: name of the stage.
        stage_arn: its ARN.
        access_log: name of the log group of its requests.
    """

    name: str
    rest_api_id: str
    execution_arn: str
    invoke_url: str
    stage_name: str
    stage_arn: str
    access_log: str

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


def open_stage(
    scope: Construct,
    *,
    settings: Settings,
    api: ApiGatewayRestApi,
    deployment: ApiGatewayDeployment,
    caller: str,
    throttles: Mapping[tuple[str, str], Throttle],
    logs_key: CustomerKey,
) -> PublishedApi:
    """Make the stage that serves a deployment, with its logs and limits.

    Args:
        caller: the caller in a line of the access log, as a variable of API Gateway.
        throttles: limits of methods that admit less than the stage, by method and path.
        logs_key: key that encrypts the logs.
    """
    access_log = _log_group(scope, "access_log", f"{ACCESS_LOG_PREFIX}{settings.prefix}-access", settings, logs_key)
    execution_log = _log_group(scope, "execution_log", f"{EXECUTION_LOG_PREFIX}{api.id}/{STAGE}", settings, logs_key)
    stage = ApiGatewayStage(
        scope,
        "stage",
        rest_api_id=api.id,
        deployment_id=deployment.id,
        stage_name=STAGE,
        xray_tracing_enabled=settings.enable_xray_tracing,
        access_log_settings=ApiGatewayStageAccessLogSettings(
            destination_arn=access_log.arn, format=access_log_format(caller)
        ),
        # A stage that logs is refused before the account has a role for that.
        depends_on=[execution_log, *_account(scope, settings)],
    )
    _limit(scope, api.id, stage.stage_name, settings, throttles)
    return PublishedApi(
        name=api.name,
        rest_api_id=api.id,
        execution_arn=api.execution_arn,
        invoke_url=stage.invoke_url,
        stage_name=stage.stage_name,
        stage_arn=stage.arn,
        access_log=access_log.name,
    )


def _log_group(
    scope: Construct, construct_id: str, name: str, settings: Settings, key: CustomerKey
) -> CloudwatchLogGroup:
    return CloudwatchLogGroup(
        scope, construct_id, name=name, retention_in_days=settings.log_retention_days, kms_key_id=key.arn
    )


def _account(scope: Construct, settings: Settings) -> list[TerraformResource]:
    """Make the role with which API Gateway writes logs: a setting of the account, one for all APIs of the region."""
    if not settings.manage_api_gateway_account:
        return []
    role = Role(
        scope,
        "logging_role",
        foundation=settings.foundation,
        name="api-logging",
        service="apigateway.amazonaws.com",
        description="API Gateway writes its logs",
    )
    home = f"arn:aws:logs:{settings.primary_region}:{settings.account_id}"
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
    return [ApiGatewayAccount(scope, "account", cloudwatch_role_arn=role.arn, depends_on=role.grants)]


def _limit(
    scope: Construct,
    rest_api_id: str,
    stage_name: str,
    settings: Settings,
    throttles: Mapping[tuple[str, str], Throttle],
) -> None:
    """Set throttles and logs of the stage, and of the methods that admit less; each entry replaces the wider one."""
    whole = Throttle(settings.api_throttle_rate, settings.api_throttle_burst)
    limits = {("throttling", "*/*"): whole} | {
        # Slashes of a path are written `~1`, the first one too (API Gateway, "UpdateStage").
        (f"{name_of(method, path)}_throttling", f"{path.replace('/', '~1')}/{method}"): throttle
        for (method, path), throttle in throttles.items()
    }
    for (construct_id, method_path), throttle in limits.items():
        ApiGatewayMethodSettings(
            scope,
            construct_id,
            rest_api_id=rest_api_id,
            stage_name=stage_name,
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


def access_log_format(caller: str) -> str:
    """Return a line of the access log in JSON: who asked for what, how it ended and how long it took.

    It holds no text that a client chooses, such as a path or a user agent: API Gateway escapes nothing, and a quotation
    mark would break the line.

    Args:
        caller: the variable that holds the verified caller.
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


def slug_of(path: str) -> str:
    """Return a path as part of an address: `files/{file_id}/content` is `files_file_id_content`."""
    return path.strip("/").replace("{", "").replace("}", "").replace("/", "_").replace("-", "_")


def name_of(method: str, path: str) -> str:
    """Return the name of a route in addresses: GET of `/files/{file_id}` is `get_files_file_id`."""
    return f"{method.lower()}_{slug_of(path)}"
