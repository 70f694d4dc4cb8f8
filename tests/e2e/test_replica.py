"""A second region: what is uploaded, and what is deleted, is there too. A deployment of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from tests.e2e.conftest import Deployed, wait_for
from tools.embedded_aws import control
from tools.operate.terraform import Changes

# It deploys and destroys everything once more.
pytestmark = pytest.mark.slow

REGION = "eu-central-1"


@pytest.fixture
def copied(deployed_apart: Callable[..., Deployed]) -> Deployed:
    return deployed_apart(REPLICA_REGION=REGION)


def there(copied: Deployed, service: str) -> Any:  # noqa: ANN401 - one of many clients
    return boto3.client(service, **{**copied.options(control.ROOT), "region_name": REGION})  # type: ignore[call-overload]


def applied(copied: Deployed) -> Changes:
    """Synthesize and apply anew, with the settings as they are now."""
    copied.system.apply(copied.system.synthesize(copied.aws))
    return copied.terraform.plan()


def test_the_second_region_has_what_the_first_has(copied: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    s3, dynamodb = there(copied, "s3"), there(copied, "dynamodb")
    bucket = copied.outputs["bucket_name"].replace(copied.aws.region, REGION)
    file_id = copied.upload()
    key = f"uploads/{file_id}"

    def record() -> dict[str, Any]:
        found = dynamodb.get_item(TableName=copied.outputs["table_name"], Key={"file_id": {"S": file_id}})
        return dict(found.get("Item", {}))

    wait_for(lambda: record().get("state") == {"S": "available"})
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"hello"
    quotas = dynamodb.scan(TableName=copied.outputs["quotas_table_name"])["Items"]
    assert [(quota["files"]["N"], quota["bytes"]["N"]) for quota in quotas] == [("1", "5")]
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] == REGION

    assert copied.api.request("DELETE", f"/files/{file_id}")[0] == 204
    wait_for(lambda: record().get("state") == {"S": "deleted"})
    first = boto3.client("s3", **copied.options(control.ROOT))  # type: ignore[call-overload]
    left = first.list_object_versions(Bucket=copied.outputs["bucket_name"], Prefix=key)
    # The bytes stay for the lifecycle to remove; nobody gets them by the file's key.
    for found in (left, s3.list_object_versions(Bucket=bucket, Prefix=key)):
        assert [each["IsLatest"] for each in found["Versions"]] == [False]
        assert [each["IsLatest"] for each in found["DeleteMarkers"]] == [True]

    assert copied.terraform.plan() == Changes(), "a second plan is empty"
    denied = [line for line in map(json.loads, copied.iam_log.read_text().splitlines()) if not line["allowed"]]
    assert denied == []
    # It goes in two steps: the copies first, and then the provider of their region.
    monkeypatch.setenv("REPLICA_REMOVED", "true")
    assert applied(copied) == Changes()
    assert (dynamodb.list_tables()["TableNames"], there(copied, "kms").list_aliases()["Aliases"]) == ([], [])
    for name in ("REPLICA_REMOVED", "REPLICA_REGION"):
        monkeypatch.delenv(name)
    assert applied(copied) == Changes()
    copied.system.destroy(copied.aws)
