"""`make redrive`: gives dead letters another chance, each where it came from.

A function's dead letter is invoked again, an event that could not start the workflow starts it, a notification that
did not reach the inbox is put into it. Once accepted, the dead letter is deleted, and so is the report of it in the
queue of failures. What fails again comes back as a new dead letter, so nothing is lost and nothing loops.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3

from modules.settings import Settings, SettingsError, load
from tools.console import Failure, exit_with, say
from tools.setup import ROOT

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

SUFFIX = "-dead-letters"


@dataclass(frozen=True)
class Redriven:
    """What a redrive did: dead letters sent on, by queue."""

    moved: Mapping[str, int]

    def __str__(self) -> str:
        lines = [f"{count} from {name}" for name, count in self.moved.items() if count]
        return "\n".join(lines) or "There are no dead letters."


def redrive(settings: Settings, session: boto3.Session) -> Redriven:
    """Empty the dead-letter queues of an environment.

    Args:
        session: credentials and region; an account other than the settings' is refused.

    Raises:
        Failure: the credentials are for another account.
        ClientError: AWS refused; what was not accepted stays where it is.
    """
    account = session.client("sts").get_caller_identity()["Account"]
    if account != settings.account_id:
        raise Failure("redrive", f"these credentials are for account {account}", f"use those of {settings.account_id}")
    sqs, functions, workflows = session.client("sqs"), session.client("lambda"), session.client("stepfunctions")
    prefix = settings.prefix
    state_machine_arn = f"arn:aws:states:{settings.primary_region}:{account}:stateMachine:{prefix}-file"

    def invoke(name: str) -> Callable[[str], object]:
        return lambda body: functions.invoke(FunctionName=name, InvocationType="Event", Payload=body.encode())

    def start(body: str) -> object:
        return workflows.start_execution(stateMachineArn=state_machine_arn, input=body)

    def deliver(body: str) -> object:
        url = sqs.get_queue_url(QueueName=f"{prefix}-inbox")["QueueUrl"]
        return sqs.send_message(QueueUrl=url, MessageBody=body)

    special = {
        f"{prefix}-workflow{SUFFIX}": start,
        # The workflow reads what was found from the file's tag.
        f"{prefix}-scan{SUFFIX}": lambda body: start(json.dumps(_as_stored(json.loads(body)))),
        f"{prefix}-inbox{SUFFIX}": deliver,
        f"{prefix}-sweep-schedule{SUFFIX}": invoke(f"{prefix}-sweep"),
    }
    moved: dict[str, int] = {}
    done: set[str] = set()
    for url in sqs.list_queues(QueueNamePrefix=f"{prefix}-").get("QueueUrls", []):
        name = url.rsplit("/", 1)[-1]
        if name.endswith(SUFFIX):
            send = special.get(name) or invoke(name.removesuffix(SUFFIX))
            moved[name] = _empty(sqs, url, send, done)
    failures = sqs.get_queue_url(QueueName=f"{prefix}-failures")["QueueUrl"]
    _empty(sqs, failures, None, done)
    return Redriven(moved)


def _as_stored(event: Mapping[str, Any]) -> dict[str, object]:
    """An event about a scan in the form of S3's about the object, which the workflow starts with."""
    detail = event["detail"]
    key = detail["object"]["key"] if "object" in detail else detail["s3ObjectDetails"]["objectKey"]
    return {"detail": {"object": {"key": key}}}


def _empty(sqs: SQSClient, url: str, send: Callable[[str], object] | None, done: set[str]) -> int:
    """Send on every message that is in a queue now; without `send`, delete the reports of what was sent on.

    What is sent on may fail again and come back while this runs: only what was there at the start is taken.
    """
    started, count = time.time() * 1000, 0
    kept: list[MessageTypeDef] = []
    while messages := _receive(sqs, url):
        for message in messages:
            if float(message.get("Attributes", {})["SentTimestamp"]) >= started:
                kept.append(message)
                continue
            if send is None:
                if json.loads(message["Body"])["requestContext"]["requestId"] not in done:
                    kept.append(message)
                    continue
            else:
                send(message["Body"])
                done.add(_request_id(message))
                count += 1
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    for message in kept:
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    return count


def _request_id(message: MessageTypeDef) -> str:
    """Which invocation a function's dead letter is of (Lambda, "Adding a dead-letter queue")."""
    attributes = message.get("MessageAttributes")
    return str(attributes["RequestID"].get("StringValue", "")) if attributes and "RequestID" in attributes else ""


def _receive(sqs: SQSClient, url: str) -> list[MessageTypeDef]:
    return sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=10,
        VisibilityTimeout=300,
        WaitTimeSeconds=1,
        MessageAttributeNames=["All"],
        MessageSystemAttributeNames=["SentTimestamp"],
    ).get("Messages", [])


def main() -> None:
    """Redrive the environment that ENVIRONMENT names, with the AWS credentials of the caller."""
    try:
        settings = load(ROOT / "environments")
    except SettingsError as error:
        raise Failure("reading the settings", str(error), "mend it and run the same command again") from None
    session = boto3.Session(region_name=settings.primary_region)
    say(str(redrive(settings, session)))


if __name__ == "__main__":
    exit_with(main)
