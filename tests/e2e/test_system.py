"""The platform as its users meet it: applied by Terraform, called over HTTP, read back with boto3.

The tests marked `last` run behind those of all files; the very last one destroys.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from synthesis.paths import ROOT
from tests.e2e.conftest import Deployed, wait_for
from tools.develop.caller import Bearer, caller
from tools.embedded_aws import control
from tools.operate import console
from tools.operate.bootstrap import bootstrap
from tools.operate.terraform import Terraform, cli_configuration


def upload(deployed: Deployed, **fields: object) -> tuple[int, dict[str, str]]:
    status, answer = deployed.api.request("POST", "/upload", json.dumps(fields).encode())
    return status, json.loads(answer)


def test_an_uploaded_file_is_an_object_under_the_customer_key_and_a_record(deployed: Deployed) -> None:
    content = secrets.token_hex(50_000).encode()
    status, answer = upload(
        deployed, file_name="fünf.txt", file_content=base64.b64encode(content).decode(), content_type="text/plain"
    )
    assert (status, answer["message"]) == (200, "File uploaded successfully")
    file_id = answer["file_id"]
    assert answer["file_url"] == f"{deployed.api.url}/files/{file_id}/content"

    # Until then, the bucket gives it to nobody.
    wait_for(lambda: deployed.api.request("GET", f"/files/{file_id}/content")[0] != 409)
    stored = deployed.s3().get_object(Bucket=deployed.outputs["bucket_name"], Key=f"uploads/{file_id}")
    assert stored["Body"].read() == content
    assert (stored["ServerSideEncryption"], stored["ContentType"]) == ("aws:kms", "text/plain")
    keys = deployed.terraform.show_state()["aws_kms_key"]
    assert stored["SSEKMSKeyId"] == keys["storage_key"]["arn"]

    item = deployed.dynamodb().get_item(TableName=deployed.outputs["table_name"], Key={"file_id": {"S": file_id}})[
        "Item"
    ]
    assert item["file_name"] == {"S": "fünf.txt"}
    assert item["size"] == {"N": "100000"}
    assert item["checksum"] == {"S": base64.b64encode(hashlib.sha256(content).digest()).decode()}
    assert isinstance(deployed.api.caller, Bearer)
    assert item["owner"] == {"S": f"user:{deployed.api.caller.subject}"}


def test_the_owner_gets_the_same_bytes_back_and_a_stranger_nothing(deployed: Deployed) -> None:
    file_id = upload(deployed, file_name="a.txt", file_content=base64.b64encode(b"mine").decode())[1]["file_id"]
    wait_for(lambda: deployed.api.request("GET", f"/files/{file_id}/content")[0] != 409)
    status, answer = deployed.api.request("GET", f"/files/{file_id}/content")
    assert status == 200
    link = json.loads(answer)["download_url"]
    assert deployed.api.fetch(link) == (200, b"mine")
    forged = link[:-1] + ("0" if link[-1] != "0" else "1")
    assert "X-Amz-Signature=" in forged.rpartition("&")[2]
    assert deployed.api.fetch(forged)[0] == 403

    stranger = replace(deployed.api, caller=caller(deployed.aws, deployed.outputs, "stranger"))
    status, answer = stranger.request("GET", f"/files/{file_id}/content")
    assert (status, json.loads(answer)["detail"]) == (404, "No such file")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"file_name": "a.txt"}', "Missing file_content"),
        (b'{"file_content": "YQ=="}', "Missing file_name"),
        (b'{"file_name": "a.txt", "file_content": "?"}', "Invalid file_content: it is not base64"),
        (b'{"file_name": "a.txt", "file_content": ""}', "Empty file_content"),
    ],
)
def test_a_wrong_request_gets_400_and_what_is_wrong(deployed: Deployed, body: bytes, message: str) -> None:
    status, answer = deployed.api.request("POST", "/upload", body)
    assert (status, json.loads(answer)) == (400, {"error": message})


def test_health_is_open_and_everything_else_is_not(deployed: Deployed) -> None:
    assert deployed.api.request("GET", "/health", signed=False) == (200, b'{"status": "ok"}')
    assert deployed.api.request("POST", "/upload", b"{}", signed=False)[0] == 401
    assert deployed.api.request("GET", "/files/1/content", signed=False)[0] == 401


def test_the_bucket_denies_plain_http_and_other_encryption(deployed: Deployed) -> None:
    bucket = deployed.outputs["bucket_name"]
    deployed.s3().put_object(Bucket=bucket, Key="by-hand", Body=b"1")
    with pytest.raises(ClientError, match="AccessDenied"):
        deployed.s3().put_object(Bucket=bucket, Key="by-hand", Body=b"1", ServerSideEncryption="AES256")
    options = {**deployed.options(deployed.operator), "endpoint_url": deployed.aws.plain_http_url}
    plain = boto3.client("s3", **options)  # type: ignore[call-overload]
    with pytest.raises(ClientError, match="AccessDenied"):
        plain.put_object(Bucket=bucket, Key="by-hand", Body=b"1")
    with pytest.raises(ClientError, match="AccessDenied"):
        plain.get_object(Bucket=bucket, Key="by-hand")


def test_nothing_in_the_bucket_can_be_read_without_a_signature(deployed: Deployed) -> None:
    url = f"{deployed.aws.endpoint_url}/{deployed.outputs['bucket_name']}/by-hand"
    assert deployed.api.fetch(urllib.request.Request(url))[0] == 403


@pytest.mark.last
def test_a_second_plan_is_empty_with_the_program_and_with_the_library(deployed: Deployed) -> None:
    assert str(deployed.terraform.plan()) == "No changes"
    library = Terraform(
        deployed.terraform.folder,
        deployed.system.variables(deployed.aws),
        [sys.executable, "-m", "tools.operate.terraform_library"],
    )
    assert str(library.plan(to="library.tfplan")) == "No changes"


def test_a_second_bootstrap_changes_nothing(deployed: Deployed, tmp_path: Path) -> None:
    assert bootstrap(tmp_path / "not" / "there", deployed.system.variables(deployed.aws)) == deployed.state_key_id


def test_the_state_is_in_the_bucket_and_holds_no_secret(deployed: Deployed) -> None:
    state = json.dumps(deployed.terraform.show_state())
    for user in ("deployer", "operator"):
        key = json.loads((deployed.aws.directory / f"{user}.json").read_text())
        assert key["secret_key"] not in state
    assert not list(deployed.terraform.folder.glob("*.tfstate"))


def test_a_port_in_use_is_told_in_two_lines(deployed: Deployed, tmp_path: Path) -> None:
    port = int(deployed.aws.endpoint_url.rpartition(":")[2])
    from tools.develop.local import LocalSystem

    with pytest.raises(console.Failure) as caught:
        LocalSystem(tmp_path / "other").start(port=port)
    assert str(port) in str(caught.value)
    assert "what to do:" in str(caught.value)
    assert control.running(tmp_path / "other" / "aws") is None


@pytest.mark.slow
def test_cdktf_itself_diffs_and_deploys(deployed: Deployed, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        **deployed.system.variables(deployed.aws),
        "TF_CLI_CONFIG_FILE": str(cli_configuration()),
        "CHECKPOINT_DISABLE": "1",
        "CI": "true",
    }
    for arguments in (["diff"], ["deploy", "--auto-approve"]):
        done = subprocess.run(
            ["npx", "--no-install", "cdktf", *arguments, "--skip-provider-lock", "--output", str(tmp_path)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "No changes" in done.stdout or "no changes are needed" in done.stdout


@pytest.mark.last
def test_destroy_leaves_nothing(deployed: Deployed) -> None:
    resources = [address for address in deployed.terraform.resources() if not address.startswith("data.")]
    assert deployed.system.destroy(deployed.aws).remove == len(resources)
    assert deployed.terraform.resources() == []
    with pytest.raises(ClientError, match="NoSuchBucket"):
        deployed.s3().get_object(Bucket=deployed.outputs["bucket_name"], Key="by-hand")
