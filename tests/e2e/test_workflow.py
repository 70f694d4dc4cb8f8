"""From stored bytes to an announced file, and what happens when something goes wrong on the way."""

from __future__ import annotations

import json
import secrets
import uuid
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.e2e.conftest import Deployed, wait_for
from tools.develop.local import local_settings
from tools.operate.redrive import redrive

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

FUNCTIONS = ("upload", "uploads", "files", "inspect", "discard", "sweep", "health", "webhooks")


@pytest.fixture
def workflows(session: boto3.Session) -> SFNClient:
    return session.client("stepfunctions")


def record(deployed: Deployed, file_id: str) -> dict[str, Any]:
    item = deployed.dynamodb().get_item(
        TableName=deployed.outputs["table_name"], Key={"file_id": {"S": file_id}}, ConsistentRead=True
    )["Item"]
    return {name: next(iter(value.values())) for name, value in item.items()}


def take(sqs: SQSClient, url: str) -> list[dict[str, Any]]:
    """Take all messages out of a queue."""
    bodies = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        for message in messages:
            bodies.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return bodies


def announcements(deployed: Deployed, sqs: SQSClient, file_id: str) -> list[dict[str, Any]]:
    found = []
    for envelope in take(sqs, deployed.outputs["inbox_url"]):
        message = json.loads(envelope["Message"])
        if message["file_id"] == file_id:
            found.append({"subject": envelope["Subject"], **message})
    return found


def event_of(file_id: str) -> str:
    return json.dumps({"detail": {"object": {"key": f"uploads/{file_id}"}}})


def test_an_uploaded_file_becomes_available_and_is_announced(deployed: Deployed, sqs: SQSClient) -> None:
    file_id = deployed.upload(file_name="fünf.txt")
    wait_for(lambda: "announced_time" in record(deployed, file_id))
    assert record(deployed, file_id)["state"] == "available"
    (said,) = announcements(deployed, sqs, file_id)
    assert said == {
        "subject": "New file uploaded: f?nf.txt",
        "event": "file_uploaded",
        "file_id": file_id,
        "file_name": "fünf.txt",
        "file_url": f"{deployed.api.url}/files/{file_id}/content",
        "upload_time": record(deployed, file_id)["upload_time"],
        "version": "1",
        "owner": record(deployed, file_id)["owner"],
        "size": 5,
        "content_type": "application/octet-stream",
        "detected_type": "text/plain",
        "checksum": "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
    }


def test_a_doubled_event_changes_nothing(deployed: Deployed, sqs: SQSClient, workflows: SFNClient) -> None:
    file_id = deployed.upload()
    wait_for(lambda: "announced_time" in record(deployed, file_id))
    before = record(deployed, file_id)
    assert len(announcements(deployed, sqs, file_id)) == 1
    machine = deployed.outputs["state_machine_arn"]
    again = workflows.start_execution(stateMachineArn=machine, input=event_of(file_id))["executionArn"]
    wait_for(lambda: workflows.describe_execution(executionArn=again)["status"] == "SUCCEEDED")
    assert record(deployed, file_id) == before
    assert announcements(deployed, sqs, file_id) == []


def put_record(deployed: Deployed, file_id: str, **changed: str) -> None:
    item = {
        "file_id": file_id,
        "owner": "ann",
        "file_name": "lost.txt",
        "content_type": "text/plain",
        "checksum": "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
        "object_key": f"uploads/{file_id}",
        "state": "uploading",
        "upload_time": "2026-01-01T00:00:00.000+00:00",
        "file_url": "https://example.invalid",
        **changed,
    }
    deployed.dynamodb().put_item(
        TableName=deployed.outputs["table_name"],
        Item={**{name: {"S": value} for name, value in item.items()}, "size": {"N": "5"}},
    )


def test_the_sweeper_gives_up_a_file_whose_bytes_never_came(deployed: Deployed, functions: LambdaClient) -> None:
    file_id = f"lost-{secrets.token_hex(4)}"
    past = "2026-01-02T00:00:00.000+00:00"
    put_record(deployed, file_id, due_shard="0", due_time=past, expires_time=past)
    answer = functions.invoke(
        FunctionName="sluice-local-sweep", Qualifier="live", Payload=b'{"task": "sweep_schedule"}'
    )
    assert json.loads(answer["Payload"].read())["expired"] >= 1
    wait_for(lambda: record(deployed, file_id)["state"] == "expired")


def test_bytes_that_are_not_those_declared_are_rejected(deployed: Deployed) -> None:
    file_id = f"other-{secrets.token_hex(4)}"
    put_record(deployed, file_id)
    deployed.s3().put_object(
        Bucket=deployed.outputs["bucket_name"], Key=f"uploads/{file_id}", Body=b"hellO", ChecksumAlgorithm="SHA256"
    )
    wait_for(lambda: record(deployed, file_id)["state"] == "rejected")
    assert "checksum" in record(deployed, file_id)["failure"]
    assert deployed.api.request("GET", f"/files/{file_id}/content")[0] == 404


def test_what_aws_says_of_a_failure_is_told_to_operators_and_not_to_the_owner(
    deployed: Deployed, sqs: SQSClient, workflows: SFNClient
) -> None:
    """An object that `inspect` may not see: AWS's answer names role and object."""
    owner = record(deployed, deployed.upload())["owner"]
    file_id = str(uuid.uuid4())
    # Of an upload that is over, `uploads` asks S3 nothing.
    past = "2026-01-02T00:00:00.000+00:00"
    put_record(deployed, file_id, owner=owner, object_key=f"elsewhere/{file_id}", expires_time=past)
    deployed.denied_on_purpose.add(f"arn:aws:s3:::{deployed.outputs['bucket_name']}/elsewhere/{file_id}")
    with deployed.subscribed(deployed.outputs["alerts_topic_arn"]) as alerts:
        workflows.start_execution(stateMachineArn=deployed.outputs["state_machine_arn"], input=event_of(file_id))
        told: list[str] = []

        def is_told() -> bool:
            told.extend(str(message) for message in take(sqs, alerts) if file_id in str(message))
            return bool(told)

        wait_for(is_told, seconds=120)
    assert "stackTrace" in told[0] or "errorMessage" in told[0]
    for path in (f"/files/{file_id}", f"/uploads/{file_id}"):
        status, body = deployed.api.request("GET", path)
        answer = json.loads(body)
        assert (status, answer["failure_code"]) == (200, "processing_failed")
        assert answer["failure"] == "the file could not be processed yet; it is tried again"
        assert "arn:" not in json.dumps({name: value for name, value in answer.items() if name != "post"})


def test_bytes_without_a_record_are_told_and_harm_nobody(deployed: Deployed, sqs: SQSClient) -> None:
    key = f"uploads/orphan-{secrets.token_hex(4)}"
    with deployed.subscribed(deployed.outputs["alerts_topic_arn"]) as alerts:
        deployed.s3().put_object(Bucket=deployed.outputs["bucket_name"], Key=key, Body=b"x")
        wait_for(lambda: any(key.rpartition("/")[2] in str(message) for message in take(sqs, alerts)), seconds=60)


@pytest.mark.parametrize(
    "name", [name if name == "upload" else pytest.param(name, marks=pytest.mark.slow) for name in FUNCTIONS]
)
def test_a_function_that_fails_on_an_event_leaves_a_dead_letter_that_can_be_redriven(
    deployed: Deployed, session: boto3.Session, sqs: SQSClient, functions: LambdaClient, name: str
) -> None:
    """An event of nonsense fails each time: three tries, a dead letter, a report; redriven, it fails again."""
    queue = sqs.get_queue_url(QueueName=f"sluice-local-{name}-dead-letters")["QueueUrl"]
    failures = sqs.get_queue_url(QueueName="sluice-local-failures")["QueueUrl"]

    def waiting(url: str) -> int:
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(attributes["Attributes"]["ApproximateNumberOfMessages"])

    functions.invoke(
        FunctionName=f"sluice-local-{name}",
        Qualifier="live",
        InvocationType="Event",
        Payload=b'{"nonsense": true}',
    )
    wait_for(lambda: waiting(queue) == 1 and waiting(failures) == 1)
    moved = redrive(local_settings(deployed.aws), session).moved
    assert moved[f"sluice-local-{name}-dead-letters"] == 1
    wait_for(lambda: waiting(queue) == 1)
    (letter,) = take(sqs, queue)
    assert letter == {"nonsense": True}
    wait_for(lambda: waiting(failures) == 1)
    assert take(sqs, failures)[0]["requestPayload"] == {"nonsense": True}


def test_an_event_that_could_not_start_the_workflow_is_redriven(
    deployed: Deployed, session: boto3.Session, sqs: SQSClient
) -> None:
    file_id = f"late-{secrets.token_hex(4)}"
    put_record(deployed, file_id, state="available")
    url = sqs.get_queue_url(QueueName="sluice-local-workflow-dead-letters")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody=event_of(file_id))
    assert redrive(local_settings(deployed.aws), session).moved["sluice-local-workflow-dead-letters"] == 1
    wait_for(lambda: "announced_time" in record(deployed, file_id))
    assert take(sqs, url) == []
