"""One embedded AWS and one apply for all tests of this folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

from tools.embedded_aws import control
from tools.embedded_aws.control import Credentials, EmbeddedAws
from tools.local import Api, LocalSystem
from tools.setup import EMBEDDED_AWS, LAMBDA
from tools.terraform import Terraform

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client


@pytest.fixture(scope="session")
def server_python() -> Path:
    """The interpreter that holds the embedded AWS."""
    return EMBEDDED_AWS.python


@pytest.fixture(scope="session")
def lambda_python() -> Path:
    """The interpreter that holds what the Lambda runtime has."""
    return LAMBDA.python


@dataclass(frozen=True)
class Deployed:
    """The platform as Terraform made it."""

    system: LocalSystem
    aws: EmbeddedAws
    terraform: Terraform
    api: Api
    outputs: dict[str, str]
    iam_log: Path

    def options(self, user: Credentials) -> dict[str, str]:
        """What boto3 needs to act as a user."""
        return {
            "endpoint_url": self.aws.endpoint_url,
            "verify": str(self.aws.ca_bundle),
            "region_name": self.aws.region,
            "aws_access_key_id": user.access_key,
            "aws_secret_access_key": user.secret_key,
        }

    @property
    def operator(self) -> Credentials:
        """A user who may look at files, records and keys, and put objects past the API."""
        account = "000000000000"
        key = f"arn:aws:kms:us-east-1:{account}:key/*"
        return control.create_deployer(
            self.aws,
            {
                "Version": "2012-10-17",
                "Statement": [
                    {"Effect": "Allow", "Action": actions.split(), "Resource": resource}
                    for actions, resource in {
                        "s3:GetObject s3:PutObject": f"arn:aws:s3:::{self.outputs['bucket_name']}/*",
                        "dynamodb:GetItem dynamodb:PutItem": f"arn:aws:dynamodb:us-east-1:{account}:table/*",
                        "kms:DescribeKey kms:Decrypt kms:GenerateDataKey": key,
                    }.items()
                ],
            },
            name="operator",
        )

    def s3(self) -> S3Client:
        return boto3.client("s3", **self.options(self.operator))  # type: ignore[call-overload, no-any-return]

    def dynamodb(self) -> DynamoDBClient:
        return boto3.client("dynamodb", **self.options(self.operator))  # type: ignore[call-overload, no-any-return]

    def decisions(self) -> list[dict[str, object]]:
        """Every IAM decision so far."""
        return [json.loads(line) for line in self.iam_log.read_text().splitlines()]


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Bootstrap and apply once; stop when the session ends, whatever the tests did."""
    folder = tmp_path_factory.mktemp("system")
    iam_log = folder / "iam.jsonl"
    system = LocalSystem(folder / "local")
    try:
        aws = system.start(iam_log=iam_log)
        system.bootstrap(aws)
        terraform = system.synthesize(aws)
        system.apply(terraform)
        yield Deployed(system, aws, terraform, system.api(aws, terraform), terraform.outputs(), iam_log)
    finally:
        system.stop()
