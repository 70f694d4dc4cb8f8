"""Files that are held: by S3, whoever asks, until an operator lets one go. A deployment of its own, with LEGAL_HOLD."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.e2e.conftest import Deployed, wait_for
from tools.develop.local import local_settings
from tools.embedded_aws import control
from tools.operate.legal_hold import release
from tools.operate.terraform import Changes

# It deploys and destroys everything once more.
pytestmark = pytest.mark.slow

# What docs/security.md says that a release takes.
RELEASES = {
    "s3:ListBucketVersions s3:PutObjectLegalHold": ["arn:aws:s3:::sluice-local-*"],
    "dynamodb:GetItem dynamodb:UpdateItem": ["arn:aws:dynamodb:us-east-1:000000000000:table/sluice-local-files"],
    "sts:GetCallerIdentity": ["*"],
}


@pytest.fixture
def held(deployed_apart: Callable[..., Deployed]) -> Deployed:
    return deployed_apart(LEGAL_HOLD="true", S3_LIFECYCLE_EXPIRATION_DAYS="0")


def upload(held: Deployed) -> str:
    file_id = held.upload()
    wait_for(lambda: bool(known(held, file_id).get("legal_hold")))
    return file_id


def known(held: Deployed, file_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(held.api.request("GET", f"/files/{file_id}")[1])
    return found


def test_a_file_is_held_until_it_is_released(held: Deployed) -> None:
    root: Any = boto3.client("s3", **held.options(control.ROOT))  # type: ignore[call-overload]
    file_id = upload(held)
    where = {"Bucket": held.outputs["bucket_name"], "Key": f"uploads/{file_id}"}

    def hold() -> str:
        try:
            return str(root.get_object_legal_hold(**where)["LegalHold"]["Status"])
        except ClientError:
            return ""

    wait_for(lambda: hold() == "ON")
    (version,) = root.list_object_versions(Bucket=where["Bucket"], Prefix=where["Key"])["Versions"]
    with pytest.raises(ClientError, match="object lock"):
        root.delete_object(**where, VersionId=version["VersionId"])
    status, problem = held.api.request("DELETE", f"/files/{file_id}")
    assert (status, json.loads(problem)["detail"]) == (409, "The file is under a legal hold")
    assert held.api.request("GET", f"/files/{file_id}/content")[0] == 200

    statements = [
        {"Effect": "Allow", "Action": actions.split(), "Resource": resources} for actions, resources in RELEASES.items()
    ]
    releaser = control.create_deployer(held.aws, {"Version": "2012-10-17", "Statement": statements}, name="releaser")
    assert release(local_settings(held.aws), held.session(releaser), file_id) == 1
    assert release(local_settings(held.aws), held.session(releaser), file_id) == 1, "again changes nothing"
    assert known(held, file_id)["legal_hold"] is False
    assert held.api.request("DELETE", f"/files/{file_id}")[0] == 204
    wait_for(lambda: "Versions" not in root.list_object_versions(Bucket=where["Bucket"], Prefix=where["Key"]))

    # Held files do not keep an environment from being destroyed whose settings do not protect its data.
    upload(held)
    assert held.terraform.plan() == Changes(), "a second plan is empty"
    decisions = [json.loads(line) for line in held.iam_log.read_text().splitlines()]
    ours = [each for each in decisions if re.search(":assumed-role/|:user/deployer", str(each["principal"]))]
    # S3 itself keeps what is held; IAM was asked before, and let nobody down.
    assert [each for each in ours if not each["allowed"]] == []
    assert {each["principal"].split("/")[1] for each in ours if each["action"] == "s3:PutObjectLegalHold"} == {
        "sluice-local-file-workflow-us-east-1"
    }
    held.system.destroy(held.aws)
