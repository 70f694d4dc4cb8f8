"""The gate: what is clean opens, what is not stays closed to everybody, and somebody is told."""

from __future__ import annotations

import base64
import io
import json
import secrets
import ssl
import urllib.request
import zipfile
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from functions.common.contract import State
from functions.common.records import LOOK_AFTER, FileRecord, Quota, Records, timestamp
from tests.e2e.conftest import Deployed, wait_for
from tests.e2e.test_workflow import announcements, record, take
from tests.samples import eicar, zip_under_a_password
from tests.unit.fakes import sha256
from tools.develop.local import local_settings
from tools.embedded_aws import control
from tools.operate.redrive import redrive

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient

TAG = "GuardDutyMalwareScanStatus"
OCTETS = {"file_name": "a", "content_type": "application/octet-stream"}


@pytest.fixture(scope="module")
def root(deployed: Deployed) -> Any:  # noqa: ANN401 - boto3's overloads know no service by a variable name
    """S3 as the account's root, whom policies of IAM do not bind; those of the bucket are not asked there either."""
    return boto3.client("s3", **deployed.options(control.ROOT))  # type: ignore[call-overload]


def known(deployed: Deployed, file_id: str) -> dict[str, Any]:
    """A file as its owner sees it."""
    status, answer = deployed.api.request("GET", f"/files/{file_id}")
    assert status == 200, answer
    found: dict[str, Any] = json.loads(answer)
    return found


def content(deployed: Deployed, file_id: str) -> tuple[int, dict[str, Any]]:
    status, answer = deployed.api.request("GET", f"/files/{file_id}/content")
    return status, json.loads(answer)


def tag_of(deployed: Deployed, root: Any, file_id: str) -> str | None:  # noqa: ANN401
    found = root.get_object_tagging(Bucket=deployed.outputs["bucket_name"], Key=f"uploads/{file_id}")["TagSet"]
    return next((tag["Value"] for tag in found if tag["Key"] == TAG), None)


def begin(deployed: Deployed, file_id: str, body: bytes, state: State) -> None:
    """Record a file whose sweep is due, as an upload does that nobody carried on."""
    client = boto3.client("dynamodb", **deployed.options(control.ROOT))  # type: ignore[call-overload]
    began = datetime.now(UTC) - timedelta(hours=1)
    Records(client, deployed.outputs["table_name"], deployed.outputs["quotas_table_name"]).create(
        FileRecord(
            file_id=file_id,
            owner=f"owner-of-{file_id}",
            file_name="a",
            content_type="application/octet-stream",
            size=len(body),
            checksum=sha256(body),
            object_key=f"uploads/{file_id}",
            state=state,
            upload_time=timestamp(began),
            file_url="https://example.invalid",
            expires_time=timestamp(began + timedelta(hours=24)),
            due_time=timestamp(began + LOOK_AFTER),
        ),
        quota=Quota(1000, 10),
        now=began,
    )


def store(deployed: Deployed, root: Any, file_id: str, body: bytes) -> None:  # noqa: ANN401
    """Store bytes that have no record yet, and wait until they are scanned: their events find nothing to do."""
    deployed.s3().put_object(
        Bucket=deployed.outputs["bucket_name"], Key=f"uploads/{file_id}", Body=body, ChecksumAlgorithm="SHA256"
    )
    wait_for(lambda: tag_of(deployed, root, file_id) is not None)


def test_a_clean_file_is_opened(deployed: Deployed, sqs: SQSClient, root: Any) -> None:  # noqa: ANN401
    file_id = deployed.upload(**OCTETS)
    wait_for(lambda: known(deployed, file_id)["state"] == "available")
    assert known(deployed, file_id)["detected_type"] == "text/plain"
    assert tag_of(deployed, root, file_id) == "NO_THREATS_FOUND"
    status, link = content(deployed, file_id)
    assert status == 200
    assert deployed.api.fetch(link["download_url"]) == (200, b"hello")
    wait_for(lambda: "announced_time" in record(deployed, file_id))
    assert [said["event"] for said in announcements(deployed, sqs, file_id)] == ["file_uploaded"]


@pytest.mark.parametrize(
    ("body", "why", "tag"),
    [
        (b"harmless, then " + eicar(), "malware was found in the file", "THREATS_FOUND"),
        (zip_under_a_password(), "the file could not be scanned for malware", "UNSUPPORTED"),
    ],
    ids=["infected", "unscannable"],
)
def test_what_is_not_clean_is_kept_from_everybody_and_told(
    deployed: Deployed,
    sqs: SQSClient,
    root: Any,  # noqa: ANN401
    body: bytes,
    why: str,
    tag: str,
) -> None:
    with deployed.subscribed(deployed.outputs["alerts_topic_arn"]) as alerts:
        file_id = deployed.upload(body, **OCTETS)
        wait_for(lambda: known(deployed, file_id)["state"] == "quarantined")
        assert known(deployed, file_id)["failure"] == why
        assert content(deployed, file_id)[0] == 409
        wait_for(lambda: any(file_id in str(message) for message in take(sqs, alerts)))
    wait_for(lambda: "announced_time" in record(deployed, file_id))
    (said,) = announcements(deployed, sqs, file_id)
    assert (said["event"], said["failure"]) == ("file_quarantined", why)
    # The bytes stay for whoever examines them.
    assert tag_of(deployed, root, file_id) == tag
    # The owner deletes it. It is not an upload any more.
    assert deployed.api.request("DELETE", f"/uploads/{file_id}")[0] == 409
    assert deployed.api.request("DELETE", f"/files/{file_id}")[0] == 204
    wait_for(lambda: record(deployed, file_id)["state"] == "deleted")
    assert "Versions" not in root.list_object_versions(
        Bucket=deployed.outputs["bucket_name"], Prefix=f"uploads/{file_id}"
    )


def test_a_link_opens_a_file_only_while_it_is_clean(deployed: Deployed, root: Any) -> None:  # noqa: ANN401
    """A link that got out, and whoever may read the bucket: the bucket's own policy denies them."""
    bucket, s3 = deployed.outputs["bucket_name"], deployed.s3()
    file_id = deployed.upload(**OCTETS)
    wait_for(lambda: known(deployed, file_id)["state"] == "available")
    link = content(deployed, file_id)[1]["download_url"]
    where: Any = {"Bucket": bucket, "Key": f"uploads/{file_id}"}
    others = s3.generate_presigned_url("get_object", Params=where)
    assert deployed.api.fetch(link)[0] == deployed.api.fetch(others)[0] == 200
    s3.put_object(**where, Body=eicar())
    deployed.denied_on_purpose.add(f"arn:aws:s3:::{bucket}/uploads/{file_id}")
    wait_for(lambda: tag_of(deployed, root, file_id) == "THREATS_FOUND")
    assert deployed.api.fetch(link)[0] == deployed.api.fetch(others)[0] == 403
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.get_object(**where)


def test_nobody_but_the_scanner_says_that_a_file_is_clean(deployed: Deployed, root: Any) -> None:  # noqa: ANN401
    file_id = f"tagged-{secrets.token_hex(4)}"
    store(deployed, root, file_id, eicar())
    allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    tagger = control.create_deployer(deployed.aws, {"Version": "2012-10-17", "Statement": [allow]}, name="tagger")
    s3: Any = boto3.client("s3", **deployed.options(tagger))  # type: ignore[call-overload]
    where = {"Bucket": deployed.outputs["bucket_name"], "Key": f"uploads/{file_id}"}
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object_tagging(**where, Tagging={"TagSet": [{"Key": TAG, "Value": "NO_THREATS_FOUND"}]})
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object_tagging(**where)
    assert tag_of(deployed, root, file_id) == "THREATS_FOUND"


@pytest.mark.parametrize(("body", "state"), [(b"hello", "available"), (eicar(), "quarantined")], ids=["clean", "not"])
@pytest.mark.parametrize("before", ["uploading", "scanning"])
def test_the_sweeper_finds_a_file_whose_scan_event_was_lost(
    deployed: Deployed,
    functions: LambdaClient,
    root: Any,  # noqa: ANN401
    body: bytes,
    state: str,
    before: State,
) -> None:
    """Scanned before its record was there: no event comes again, and the tag tells."""
    file_id = f"scanned-{secrets.token_hex(4)}"
    store(deployed, root, file_id, body)
    begin(deployed, file_id, body, before)
    functions.invoke(FunctionName="sluice-local-sweep", Payload=b'{"task": "sweep_schedule"}')
    wait_for(lambda: record(deployed, file_id)["state"] == state)


def test_a_scan_result_that_could_not_start_the_workflow_is_redriven(
    deployed: Deployed,
    session: boto3.Session,
    sqs: SQSClient,
    root: Any,  # noqa: ANN401
) -> None:
    file_id = f"late-{secrets.token_hex(4)}"
    store(deployed, root, file_id, b"hello")
    begin(deployed, file_id, b"hello", State.SCANNING)
    detail = {
        "s3ObjectDetails": {"bucketName": deployed.outputs["bucket_name"], "objectKey": f"uploads/{file_id}"},
        "scanResultDetails": {"scanResultStatus": "NO_THREATS_FOUND"},
    }
    url = sqs.get_queue_url(QueueName="sluice-local-scan-dead-letters")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"source": "aws.guardduty", "detail": detail}))
    assert redrive(local_settings(deployed.aws), session).moved["sluice-local-scan-dead-letters"] == 1
    wait_for(lambda: record(deployed, file_id)["state"] == "available")


def test_a_file_of_another_type_than_declared_is_rejected_and_removed(
    deployed: Deployed,
    sqs: SQSClient,
    root: Any,  # noqa: ANN401
) -> None:
    file_id = deployed.upload(b"<html><script>alert(1)</script></html>", file_name="a", content_type="image/png")
    wait_for(lambda: known(deployed, file_id)["state"] == "rejected")
    assert known(deployed, file_id)["failure"] == "the file is text/html, and was declared as image/png"
    versions = root.list_object_versions(Bucket=deployed.outputs["bucket_name"], Prefix=f"uploads/{file_id}")
    wait_for(lambda: "announced_time" in record(deployed, file_id))
    assert "Versions" not in versions
    assert [said["event"] for said in announcements(deployed, sqs, file_id)] == ["file_rejected"]


def test_a_harmless_file_with_a_wrong_label_becomes_available_as_what_it_is(deployed: Deployed, sqs: SQSClient) -> None:
    content = json.dumps({"rows": ["a,b"] * 50_000}).encode()
    file_id = deployed.upload(content, file_name="a.xls", content_type="application/vnd.ms-excel")
    wait_for(lambda: known(deployed, file_id)["state"] == "available")
    found = known(deployed, file_id)
    assert (found["content_type"], found["detected_type"]) == ("application/vnd.ms-excel", "text/plain")
    wait_for(lambda: "announced_time" in record(deployed, file_id))
    assert [said["detected_type"] for said in announcements(deployed, sqs, file_id)] == ["text/plain"]
    link = json.loads(deployed.api.request("GET", f"/files/{file_id}/content")[1])["download_url"]
    trust = ssl.create_default_context(cafile=str(deployed.aws.ca_bundle))
    with urllib.request.urlopen(link, context=trust, timeout=60) as answer:
        assert answer.headers["Content-Type"] == "text/plain"
        assert answer.headers["Content-Disposition"].startswith("attachment;")
        assert answer.read() == content


def test_a_program_in_a_zip_is_rejected_wherever_in_it_it_lies(deployed: Deployed) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as jar:
        jar.writestr("readme.txt", secrets.token_hex(100_000))
        jar.writestr("META-INF/MANIFEST.MF", "Main-Class: A")
    labels = ("application/zip", "application/octet-stream")
    sent = [deployed.upload(buffer.getvalue(), file_name="a.zip", content_type=label) for label in labels]
    wait_for(lambda: {known(deployed, file_id)["state"] for file_id in sent} == {"rejected"})
    for file_id in sent:
        assert "application/java-archive" in known(deployed, file_id)["failure"]


def test_a_type_that_is_not_taken_is_refused_at_once(deployed: Deployed) -> None:
    encoded = base64.b64encode(b"hello").decode()
    for content_type in ("text/html", "image/svg+xml", "application/x-msdownload", "text/javascript"):
        body = json.dumps({"file_name": "a", "file_content": encoded, "content_type": content_type})
        assert deployed.api.request("POST", "/upload", body.encode())[0] == 415
