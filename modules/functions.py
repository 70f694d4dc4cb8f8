"""Lambda functions: code, layer, role, log group and variables of each."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cdktf import TerraformResourceLifecycle
from cdktf_cdktf_provider_aws.cloudwatch_log_group import CloudwatchLogGroup
from cdktf_cdktf_provider_aws.lambda_alias import LambdaAlias
from cdktf_cdktf_provider_aws.lambda_event_source_mapping import (
    LambdaEventSourceMapping,
    LambdaEventSourceMappingScalingConfig,
)
from cdktf_cdktf_provider_aws.lambda_function import (
    LambdaFunction,
    LambdaFunctionDeadLetterConfig,
    LambdaFunctionEnvironment,
    LambdaFunctionLoggingConfig,
    LambdaFunctionTracingConfig,
)
from cdktf_cdktf_provider_aws.lambda_function_event_invoke_config import (
    LambdaFunctionEventInvokeConfig,
    LambdaFunctionEventInvokeConfigDestinationConfig,
    LambdaFunctionEventInvokeConfigDestinationConfigOnFailure,
)
from cdktf_cdktf_provider_aws.lambda_layer_version import LambdaLayerVersion
from constructs import Construct

from functions.common.contract import LIVE_ALIAS
from modules.alarms import ERROR_RATE_PERCENT, Advice, Alarm, Metric, any_count, error_rate
from modules.deployer import any_resource, log_groups
from modules.encryption import CustomerKey
from modules.foundation import Foundation
from modules.monitored import Graph, LogQuery, Monitored, Row, label_of, title_of
from modules.names import dead_letters_of, slug
from modules.packaging import find_layer, function_files, write_archive
from modules.policy_documents import Statement
from modules.queries import DENIED, ERRORS, FILE
from modules.queues import Queue
from modules.roles import Grantee, Role

# An event that a function fails on is tried again this often, for this long; then it is a dead letter.
MAX_RETRIES = 2
MAX_EVENT_AGE_SECONDS = 3600

_KEEP = (
    "lambda:AddPermission",
    "lambda:CreateAlias",
    "lambda:CreateFunction",
    "lambda:DeleteAlias",
    "lambda:DeleteFunction",
    "lambda:DeleteFunctionEventInvokeConfig",
    "lambda:GetAlias",
    "lambda:GetFunction",
    "lambda:GetFunctionCodeSigningConfig",
    "lambda:GetFunctionConfiguration",
    "lambda:GetFunctionEventInvokeConfig",
    "lambda:GetPolicy",
    "lambda:ListAliases",
    "lambda:ListTags",
    "lambda:ListVersionsByFunction",
    "lambda:PublishVersion",
    "lambda:PutFunctionEventInvokeConfig",
    "lambda:RemovePermission",
    "lambda:TagResource",
    "lambda:UntagResource",
    "lambda:UpdateAlias",
    "lambda:UpdateFunctionCode",
    "lambda:UpdateFunctionConfiguration",
)

_KEEP_LAYERS = (
    "lambda:DeleteLayerVersion",
    "lambda:GetLayerVersion",
    "lambda:ListLayers",
    "lambda:PublishLayerVersion",
)

_KEEP_MAPPINGS = (
    "lambda:DeleteEventSourceMapping",
    "lambda:GetEventSourceMapping",
    "lambda:ListTags",
    "lambda:TagResource",
    "lambda:UntagResource",
    "lambda:UpdateEventSourceMapping",
)


@dataclass(frozen=True)
class Sources:
    """The folders from which packages are built and to which they are written.

    Attributes:
        functions: the folder of the functions' package.
        layers: the folder in which set-up put the layers.
        output: the folder of the stack that is synthesized; packages go below it, and Terraform finds them from there.
        page: the folder of the built page, which only a stack with a website reads.
    """

    functions: Path
    layers: Path
    output: Path
    page: Path

    def terraform_path(self, path: Path) -> str:
        """Return the path of a file in the output folder, relative to the stack and so equal on every machine."""
        return f"${{path.module}}/{path.relative_to(self.output).as_posix()}"


class Layer(Construct):
    """The layer with the dependencies of the functions, as the lock pins them.

    Attributes:
        arn: ARN of the layer's version.
    """

    def __init__(self, scope: Construct, construct_id: str, *, foundation: Foundation, sources: Sources) -> None:
        super().__init__(scope, construct_id)
        self._foundation = foundation
        package = find_layer(sources.layers, foundation.lambda_runtime, foundation.lambda_architecture)
        copy = sources.output / "packages" / package.path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(package.path, copy)
        layer = LambdaLayerVersion(
            self,
            "Default",
            layer_name=f"{foundation.prefix}-dependencies",
            description="Python packages of the functions, as Pipfile.lock pins them",
            filename=sources.terraform_path(copy),
            source_code_hash=package.source_code_hash,
            compatible_runtimes=[foundation.lambda_runtime],
            compatible_architectures=[foundation.lambda_architecture],
        )
        self.arn = layer.arn

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for layers."""
        layer = self._foundation.arn("lambda", f"layer:{self._foundation.prefix}-*")
        return [Statement(sid="KeepLayers", actions=_KEEP_LAYERS, resources=[layer, f"{layer}:*"])]


@dataclass(frozen=True)
class Shared:
    """The resources that all functions of a stack share.

    Attributes:
        foundation: runtime, processor, memory, timeout, tracing, retention of logs.
        sources: folders of the packages.
        layer: the dependencies.
        environment_key: encrypts variables at rest.
        logs_key: encrypts log groups.
        queues_key: encrypts dead letters.
        failures: queue that gets a report of each asynchronous invocation that failed after all retries.
    """

    foundation: Foundation
    sources: Sources
    layer: Layer
    environment_key: CustomerKey
    logs_key: CustomerKey
    queues_key: CustomerKey
    failures: Queue


class Function(Construct, Monitored):
    """A function with its own role, log group and queue, published as versions behind the alias `live`.

    Each change of its code or configuration is a version that never changes again (Lambda, "Manage Lambda function
    versions"). Callers of the function use the alias, so that a release moves one pointer, and a rollback moves it
    back.

    Attributes:
        role: role of the function; grants add permissions to it.
        name: its name in AWS.
        qualifier: the alias, which resources name beside the name of the function.
        arn: ARN of the alias, which callers use.
        invoke_arn: ARN of the alias for integrations of API Gateway.
        function_arn: ARN of the function without an alias, for those who manage it.
        dead_letters: queue that gets the events it could not handle.
        log_group: name of its log group.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        shared: Shared,
        description: str,
        environment: Mapping[str, str],
    ) -> None:
        """
        Args:
            construct_id: name of the function's folder in the sources.
            description: purpose of the function, in a line.
            environment: its variables; the function's own model of them says which.
        """
        super().__init__(scope, construct_id)
        foundation = shared.foundation
        self._foundation = foundation
        name_part = slug(construct_id)
        name = f"{foundation.prefix}-{name_part}"
        logs = CloudwatchLogGroup(
            self,
            "logs",
            name=f"/aws/lambda/{name}",
            retention_in_days=foundation.log_retention_days,
            kms_key_id=shared.logs_key.arn,
        )
        self.dead_letters = Queue(
            self, "dead_letters", foundation=foundation, name=dead_letters_of(name_part), key=shared.queues_key
        )
        self.role = self._role(shared, name, name_part, logs)
        function = self._function(shared, name, logs, description, environment)
        self._alias = LambdaAlias(
            self,
            LIVE_ALIAS,
            name=LIVE_ALIAS,
            description="The version that answers",
            function_name=function.function_name,
            function_version=function.version,
        )
        self._retry_events(function, shared.failures)
        self.name = function.function_name
        self.qualifier = self._alias.name
        self.arn = self._alias.arn
        self.invoke_arn = self._alias.invoke_arn
        self.function_arn = function.arn
        self.log_group = logs.name

    def _role(self, shared: Shared, name: str, name_part: str, logs: CloudwatchLogGroup) -> Role:
        """Make the role, with the grants that every function needs."""
        role = Role(
            self,
            "role",
            foundation=shared.foundation,
            name=f"{name_part}-function",
            service="lambda.amazonaws.com",
            description=f"Function {name}",
        )
        role.grant(
            "logs_write",
            Statement(
                sid="WriteOwnLog",
                actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                # CloudWatch Logs, "Resource types": a log stream is written as its group, a colon, and its name.
                resources=[f"{logs.arn}:*"],
            ),
        )
        shared.environment_key.grant_decrypt(role, "environment_decrypt")
        self.dead_letters.grant_send(role, "dead_letters_send")
        shared.failures.grant_send(role, "failures_send")
        if shared.foundation.tracing:
            role.grant("tracing", tracing_statement())
        return role

    def _function(
        self,
        shared: Shared,
        name: str,
        logs: CloudwatchLogGroup,
        description: str,
        environment: Mapping[str, str],
    ) -> LambdaFunction:
        """Package the function's folder and make the function; each change publishes a version."""
        foundation, sources = shared.foundation, shared.sources
        folder = self.node.id
        code = write_archive(function_files(sources.functions, folder), sources.output / "packages" / f"{folder}.zip")
        return LambdaFunction(
            self,
            "Default",
            function_name=name,
            description=description,
            role=self.role.arn,
            runtime=foundation.lambda_runtime,
            architectures=[foundation.lambda_architecture],
            handler=f"functions.{folder}.handler.handler",
            filename=sources.terraform_path(code.path),
            source_code_hash=code.source_code_hash,
            publish=True,
            layers=[shared.layer.arn],
            timeout=foundation.lambda_timeout,
            memory_size=foundation.lambda_memory_size,
            environment=LambdaFunctionEnvironment(variables={**environment, "POWERTOOLS_LOG_LEVEL": "INFO"}),
            kms_key_arn=shared.environment_key.arn,
            logging_config=LambdaFunctionLoggingConfig(log_format="Text", log_group=logs.name),
            tracing_config=LambdaFunctionTracingConfig(mode="Active" if foundation.tracing else "PassThrough"),
            dead_letter_config=LambdaFunctionDeadLetterConfig(target_arn=self.dead_letters.arn),
            # Lambda checks when it is created that its role may send dead letters and read its variables.
            depends_on=self.role.grants,
        )

    def _retry_events(self, function: LambdaFunction, failures: Queue) -> None:
        """Set the retries of asynchronous invocations, and the queue for reports of those that failed."""
        LambdaFunctionEventInvokeConfig(
            self,
            "asynchronous",
            function_name=function.function_name,
            qualifier=self._alias.name,
            maximum_retry_attempts=MAX_RETRIES,
            maximum_event_age_in_seconds=MAX_EVENT_AGE_SECONDS,
            destination_config=LambdaFunctionEventInvokeConfigDestinationConfig(
                on_failure=LambdaFunctionEventInvokeConfigDestinationConfigOnFailure(destination=failures.arn)
            ),
        )

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for functions, and for the queues that they read."""
        functions = self._foundation.arn("lambda", f"function:{self._foundation.prefix}-*")
        # The id of a mapping is not known before the mapping is made.
        mappings = self._foundation.arn("lambda", "event-source-mapping:*")
        return [
            Statement(sid="KeepFunctions", actions=_KEEP, resources=[functions]),
            any_resource("FindFunctions", "it names no resource", "lambda:ListFunctions"),
            *log_groups(self._foundation, f"/aws/lambda/{self._foundation.prefix}-*"),
            Statement(sid="KeepMappings", actions=_KEEP_MAPPINGS, resources=[mappings]),
            any_resource(
                "MapQueuesToFunctions",
                "IAM restricts it only by the function, as the condition does",
                "lambda:CreateEventSourceMapping",
                conditions={"ArnLike": {"lambda:FunctionArn": functions}},
            ),
        ]

    def alarms(self) -> list[Alarm]:
        """Return the alarms on errors, throttles and lost events."""
        return [
            self.error_alarm(),
            any_count(
                f"{label_of(self)}_throttles",
                [self.metric("Throttles")],
                Advice(
                    f"Lambda turned invocations of the function {self.name} away, for lack of concurrency.",
                    "compare the concurrency on the dashboard with the account's quota, and have the quota raised",
                    "function-throttles",
                ),
            ),
            any_count(
                f"{label_of(self)}_lost_events",
                [self.metric("DeadLetterErrors"), self.metric("DestinationDeliveryFailures")],
                Advice(
                    f"An event that the function {self.name} failed on could not be written to its dead-letter queue.",
                    "see that the function's role may send to the queue and use its key, then find the event in the "
                    "log",
                    "lost-events",
                ),
            ),
        ]

    def error_alarm(self) -> Alarm:
        """Return the alarm on the rate of errors; it counts all invocations, also those without the alias."""
        return error_rate(
            f"{label_of(self)}_errors",
            errors=self.metric("Errors"),
            requests=self.metric("Invocations"),
            advice=Advice(
                f"More than {ERROR_RATE_PERCENT} % of the invocations of the function {self.name} failed, in two "
                "periods of 5 minutes.",
                f"read the errors in the log group /aws/lambda/{self.name}, and undo the last deployment if they "
                "began with it",
                "function-errors",
            ),
        )

    def dashboard_rows(self) -> list[Row]:
        """Return the row of the functions."""
        return [
            Row(
                "Functions",
                [
                    Graph("errors", [self.metric("Errors")], "errors"),
                    Graph("duration, p99", [self.metric("Duration", "p99")], "ms"),
                    Graph("throttles", [self.metric("Throttles")], "throttles"),
                    Graph("concurrency", [self.metric("ConcurrentExecutions", "Maximum")], "at once"),
                ],
            )
        ]

    def log_queries(self) -> list[LogQuery]:
        """Return the queries of the log of every function."""
        return [query.of(self.log_group) for query in (ERRORS, FILE, DENIED)]

    def metric(self, name: str, statistic: str = "Sum") -> Metric:
        """Return a metric of the function (Lambda, "Types of metrics for Lambda functions")."""
        return Metric("AWS/Lambda", name, {"FunctionName": self.name}, statistic, title_of(self))

    def ignore_alias_changes(self) -> None:
        """Let CodeDeploy move the alias to new versions; Terraform would move all traffic at once, with the apply."""
        self._alias.lifecycle = TerraformResourceLifecycle(ignore_changes=["function_version", "routing_config"])

    def grant_invoke(self, grantee: Grantee, concern: str) -> None:
        """Let a role invoke the function, only by its alias."""
        grantee.grant(concern, Statement(sid="Invoke", actions=["lambda:InvokeFunction"], resources=[self.arn]))

    def consume(self, queue: Queue, construct_id: str, *, batch_size: int, max_concurrency: int) -> None:
        """Let the function read a queue; it answers with the messages that it could not handle.

        Args:
            construct_id: part of the address of the mapping, and of the permission.
            batch_size: how many messages an invocation gets at most.
            max_concurrency: how many invocations read the queue at once; AWS wants 2 or more.
        """
        queue.grant_consume(self.role, f"{construct_id}_consume")
        LambdaEventSourceMapping(
            self,
            construct_id,
            event_source_arn=queue.arn,
            function_name=self.arn,
            batch_size=batch_size,
            function_response_types=["ReportBatchItemFailures"],
            scaling_config=LambdaEventSourceMappingScalingConfig(maximum_concurrency=max_concurrency),
            # Lambda checks when it is created that the function's role may read.
            depends_on=self.role.grants[-1:],
        )


def tracing_statement() -> Statement:
    """Return the permission to send traces."""
    return Statement(
        sid="SendTraces",
        actions=["xray:PutTraceSegments", "xray:PutTelemetryRecords"],
        resources=["*"],
        any_resource="X-Ray has no resource type for these actions (Service Authorization Reference)",
    )
