"""`make redrive`: sends dead letters to their sources again.

A function's dead letter is invoked again, an event that could not start the workflow starts it, and what came out of
a queue, or should have come into it, is put into it: a notification into the inbox, a webhook into the queue of its
receiver, which tries it again from the beginning. Once accepted, the dead letter is deleted, and so is the report of it
in the queue of failures. What fails again comes back as a new dead letter, so nothing is lost and nothing loops.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3

from functions.common.contract import LIVE_ALIAS, SWEEP_SCHEDULE, stored_event
from modules import names
from modules.settings import Settings
from tools.operate.account import operator, require_account
from tools.operate.console import exit_with, say

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef


@dataclass(frozen=True)
class Redriven:
    """The result of a redrive: numbers of dead letters, by queue."""

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
    account = require_account(settings, session)
    sqs, functions, workflows = session.client("sqs"), session.client("lambda"), session.client("stepfunctions")
    prefix = settings.prefix
    state_machine_arn = f"arn:aws:states:{settings.primary_region}:{account}:stateMachine:{prefix}-{names.WORKFLOW}"

    def invoke(name: str) -> Callable[[str], object]:
        return lambda body: functions.invoke(
            FunctionName=name, Qualifier=LIVE_ALIAS, InvocationType="Event", Payload=body.encode()
        )

    def start(body: str) -> object:
        return workflows.start_execution(stateMachineArn=state_machine_arn, input=body)

    def deliver(queue_url: str) -> Callable[[str], object]:
        return lambda body: sqs.send_message(QueueUrl=queue_url, MessageBody=body)

    urls = sqs.list_queues(QueueNamePrefix=f"{prefix}-").get("QueueUrls", [])
    special = {
        f"{prefix}-{names.dead_letters_of(names.STORED_EVENTS)}": start,
        # The workflow reads what was found from the file's tag.
        f"{prefix}-{names.dead_letters_of(names.SCAN_EVENTS)}": lambda body: start(
            json.dumps(_as_stored(json.loads(body)))
        ),
        f"{prefix}-{names.dead_letters_of(names.slug(SWEEP_SCHEDULE))}": invoke(f"{prefix}-sweep"),
        **{name: deliver(source) for name, source in _sources(sqs, urls).items()},
    }
    moved: dict[str, int] = {}
    done: set[str] = set()
    for url in urls:
        name = url.rsplit("/", 1)[-1]
        if name.endswith(names.DEAD_LETTERS_SUFFIX):
            send = special.get(name) or invoke(name.removesuffix(names.DEAD_LETTERS_SUFFIX))
            moved[name] = _empty(sqs, url, send, done)
    failures = sqs.get_queue_url(QueueName=f"{prefix}-{names.FAILURES_QUEUE}")["QueueUrl"]
    _empty(sqs, failures, None, done)
    return Redriven(moved)


def _sources(sqs: SQSClient, urls: Sequence[str]) -> dict[str, str]:
    """Return the URL of the queue that uses a dead-letter queue, by its name.

    SQS's own StartMessageMoveTask is not used: it moves nothing that SNS could not bring into the source queue.
    """
    found = {}
    for url in urls:
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"]).get("Attributes", {})
        if "RedrivePolicy" in attributes:
            target = json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"]
            found[str(target).rpartition(":")[2]] = url
    return found


def _as_stored(event: Mapping[str, Any]) -> dict[str, object]:
    """Return the event of a scan in the form of S3's event about the object, which starts the workflow."""
    detail = event["detail"]
    key = detail["object"]["key"] if "object" in detail else detail["s3ObjectDetails"]["objectKey"]
    return stored_event(key)


def _empty(sqs: SQSClient, url: str, send: Callable[[str], object] | None, done: set[str]) -> int:
    """Send every message that is in a queue now; without `send`, delete the reports of sent messages.

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
    """Return the request id of a function's dead letter (Lambda, "Adding a dead-letter queue")."""
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
    say(str(redrive(*operator())))


if __name__ == "__main__":
    exit_with(main)
