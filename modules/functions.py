"""Lambda functions: code, layer, role, log group and variables of each."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cdktf_cdktf_provider_aws.cloudwatch_log_group import CloudwatchLogGroup
from cdktf_cdktf_provider_aws.lambda_function import (
    LambdaFunction,
    LambdaFunctionEnvironment,
    LambdaFunctionLoggingConfig,
    LambdaFunctionTracingConfig,
)
from cdktf_cdktf_provider_aws.lambda_layer_version import LambdaLayerVersion
from constructs import Construct

from modules.encryption import CustomerKey
from modules.packaging import find_layer, function_files, write_archive
from modules.permissions import Role
from modules.policy import Statement
from modules.settings import Settings


@dataclass(frozen=True)
class Sources:
    """Where packages come from and go to.

    Attributes:
        functions: the folder of the functions' package.
        layers: the folder in which set-up put the layers.
        output: the folder of the stack that is synthesized; packages go below it, and Terraform finds them from there.
    """

    functions: Path
    layers: Path
    output: Path

    def terraform_path(self, path: Path) -> str:
        """A file below the output folder as Terraform names it: relative to the stack, the same on every machine."""
        return f"${{path.module}}/{path.relative_to(self.output).as_posix()}"


class Layer(Construct):
    """The dependencies of the functions from the lock, apart from their code.

    Attributes:
        arn: ARN of the layer's version.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, sources: Sources) -> None:
        super().__init__(scope, construct_id)
        package = find_layer(sources.layers, settings.lambda_runtime, settings.lambda_architecture)
        copy = sources.output / "packages" / package.path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(package.path, copy)
        layer = LambdaLayerVersion(
            self,
            "Default",
            layer_name=f"{settings.prefix}-dependencies",
            description="Python packages of the functions, as Pipfile.lock pins them",
            filename=sources.terraform_path(copy),
            source_code_hash=package.source_code_hash,
            compatible_runtimes=[settings.lambda_runtime],
            compatible_architectures=[settings.lambda_architecture],
        )
        self.arn = layer.arn


class Function(Construct):
    """One function with everything that is its own.

    Attributes:
        role: what it may do; grants add to it.
        name: its name in AWS.
        arn: its ARN.
        invoke_arn: what API Gateway integrates.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        sources: Sources,
        layer: Layer,
        description: str,
        environment: Mapping[str, str],
        environment_key: CustomerKey,
        logs_key: CustomerKey,
    ) -> None:
        """
        Args:
            construct_id: name of the function's folder in `sources.functions`.
            description: what the function is for, in a line.
            environment: its variables; the function's own model of them says which.
            environment_key: what encrypts the variables at rest.
            logs_key: what encrypts the log group.
        """
        super().__init__(scope, construct_id)
        name = f"{settings.prefix}-{construct_id.replace('_', '-')}"
        logs = CloudwatchLogGroup(
            self,
            "logs",
            name=f"/aws/lambda/{name}",
            retention_in_days=settings.log_retention_days,
            kms_key_id=logs_key.arn,
        )
        self.role = Role(
            self, "role", name=f"{name}-function", service="lambda.amazonaws.com", description=f"Function {name}"
        )
        self.role.grant(
            "logs_write",
            Statement(
                sid="WriteOwnLog",
                actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                # CloudWatch Logs, "Resource types": a log stream is written as its group, a colon, and its name.
                resources=[f"{logs.arn}:*"],
            ),
        )
        environment_key.grant_decrypt(self.role, "environment_decrypt")
        code = write_archive(
            function_files(sources.functions, construct_id), sources.output / "packages" / f"{construct_id}.zip"
        )
        function = LambdaFunction(
            self,
            "Default",
            function_name=name,
            description=description,
            role=self.role.arn,
            runtime=settings.lambda_runtime,
            architectures=[settings.lambda_architecture],
            handler=f"functions.{construct_id}.handler.handler",
            filename=sources.terraform_path(code.path),
            source_code_hash=code.source_code_hash,
            layers=[layer.arn],
            timeout=settings.lambda_timeout,
            memory_size=settings.lambda_memory_size,
            environment=LambdaFunctionEnvironment(
                variables={**environment, "POWERTOOLS_LOG_LEVEL": "INFO"},
            ),
            kms_key_arn=environment_key.arn,
            logging_config=LambdaFunctionLoggingConfig(log_format="Text", log_group=logs.name),
            tracing_config=LambdaFunctionTracingConfig(
                mode="Active" if settings.enable_xray_tracing else "PassThrough"
            ),
        )
        if settings.enable_xray_tracing:
            self.role.grant(
                "tracing",
                Statement(
                    sid="SendTraces",
                    actions=["xray:PutTraceSegments", "xray:PutTelemetryRecords"],
                    resources=["*"],
                    any_resource="X-Ray has no resource type for these actions (Service Authorization Reference)",
                ),
            )
        self.name = function.function_name
        self.arn = function.arn
        self.invoke_arn = function.invoke_arn
