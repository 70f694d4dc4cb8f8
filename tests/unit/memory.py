"""AWS in memory for tests of the functions: DynamoDB by moto, S3 by a fake that knows checksums of parts."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest

from functions.common.objects import Objects
from functions.common.records import Records, from_item
from tests.unit.fakes import FILES, QUOTAS, FakeContext, FakeS3, create_tables

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

VARIABLES = {
    "BUCKET_NAME": "bucket",
    "TABLE_NAME": FILES,
    "QUOTAS_TABLE_NAME": QUOTAS,
    "ALLOWED_CONTENT_TYPES": "text/plain,application/octet-stream,image/*",
    "UPLOAD_EXPIRY_HOURS": "24",
    "QUOTA_BYTES": "1000000000",
    "QUOTA_FILES": "10",
    "MAX_UPLOAD_BYTES": "900000000",
    "LINK_SECONDS": "900",
    "STORAGE_KEY_ARN": "arn:aws:kms:us-east-1:000000000000:key/files",
    "DISCARD_FUNCTION_ARN": "arn:aws:lambda:us-east-1:000000000000:function:discard:live",
    "RECORD_RETENTION_DAYS": "90",
    "REPLICATED": "false",
    "MALWARE_SCANNING": "false",
    "EXPIRATION_DAYS": "90",
    "QUARANTINE_RETENTION_DAYS": "30",
    "STATE_MACHINE_ARN": "arn:aws:states:us-east-1:000000000000:stateMachine:file",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
}


@dataclass
class FakeLambda:
    """Remembers what was invoked."""

    invoked: list[dict[str, Any]] = field(default_factory=list)

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> None:  # noqa: N803
        assert (FunctionName, InvocationType) == (VARIABLES["DISCARD_FUNCTION_ARN"], "Event")
        self.invoked.append(json.loads(Payload))


@dataclass
class Aws:
    """AWS as a test sees it."""

    dynamodb: DynamoDBClient
    s3: FakeS3
    functions: FakeLambda

    @property
    def records(self) -> Records:
        return Records(self.dynamodb, FILES, QUOTAS)

    @property
    def objects(self) -> Objects:
        return Objects(cast(Any, self.s3), "bucket")

    def items(self) -> dict[str, dict[str, Any]]:
        """Return the records by their id."""
        return {item["file_id"]: item for item in map(from_item, self.dynamodb.scan(TableName=FILES)["Items"])}

    def change(self, file_id: str, **values: object) -> None:
        """Change a record as the workflow does."""
        from functions.common.records import to_item

        item = {**self.items()[file_id], **values}
        self.dynamodb.put_item(TableName=FILES, Item=to_item(item))

    def quota(self, owner: str) -> tuple[int, int]:
        """Bytes and files that count for an owner."""
        items = {item["owner"]: item for item in map(from_item, self.dynamodb.scan(TableName=QUOTAS)["Items"])}
        return (int(items[owner]["bytes"]), int(items[owner]["files"])) if owner in items else (0, 0)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """AWS in memory, and variables that lead functions to it."""
    # Half of what the import of this module would take, for tests that have no AWS.
    from moto import mock_aws

    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        real: Callable[..., Any] = boto3.client
        fake = Aws(real("dynamodb"), FakeS3(), FakeLambda())
        create_tables(fake.dynamodb)
        clients = {"dynamodb": fake.dynamodb, "s3": fake.s3, "lambda": fake.functions}
        monkeypatch.setattr(boto3, "client", lambda service, **options: clients.get(service) or real(service))
        yield fake
        forget()


def forget() -> None:
    """Forget the modules of handlers, so that the next start reads variables anew."""
    for name in [name for name in sys.modules if name.endswith(".handler") and name.startswith("functions.")]:
        del sys.modules[name]
        # A logger outlives its module, and would write to the output of an earlier test.
        logging.root.manager.loggerDict.pop(name.split(".")[1], None)


def start(name: str) -> ModuleType:
    """Import a function again, like a cold start."""
    forget()
    return importlib.import_module(f"functions.{name}.handler")


def call(name: str, event: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Call a function of the API: status and body."""
    answer = start(name).handler(event, FakeContext())
    return answer["statusCode"], json.loads(answer["body"] or "{}")
