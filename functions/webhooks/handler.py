"""Handler of the event source mappings: reads a queue for each receiver, and sends its messages.

What was not taken is given back by its id (Lambda, "Implementing partial batch responses"), and hidden until it is due.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Meta

from functions.common.contract import NOT_DELIVERED, WebhookReceiver
from functions.common.environment import Count, Environment
from functions.common.https_client import request, trust
from functions.webhooks.logic import Message, backoff, deliver
from functions.webhooks.secret import SigningKeys
from functions.webhooks.signing import SecretError

# Left of an invocation's time to give messages back.
RESERVED_SECONDS = 3.0
LEAST_SECONDS = 0.5


class Receivers(dict[str, WebhookReceiver]):
    """The receivers, by the name of their queue."""

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse QUEUE_URL=SECRET_ARN=URL, with commas between the receivers.

        Raises:
            TypeError: one of them is not all three.
        """
        receivers = [WebhookReceiver.from_text(each) for each in text.split(",")]
        return cls({receiver.queue_name: receiver for receiver in receivers})


class WebhooksEnvironment(Environment, frozen=True, kw_only=True):
    """The environment variables of the sender: its receivers and the delay of retries."""

    receivers: Receivers
    webhook_attempts: Count
    webhook_backoff_seconds: Annotated[int, Meta(ge=0)]


environment = WebhooksEnvironment.load()
logger = Logger(service="webhooks")
queues = boto3.client("sqs")
signing_keys = SigningKeys(boto3.client("secretsmanager"))
trusted = trust()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, list[dict[str, str]]]:
    """Entry point of the event source mappings.

    Raises:
        SecretError: there is no secret to sign with; the messages wait as if their receiver had not taken them.
        ClientError: Secrets Manager or SQS refused.
        KeyError: the event is not one of a receiver's queue.
    """
    records = event["Records"]
    # A mapping has one queue, and so has a batch.
    receiver = environment.receivers[records[0]["eventSourceARN"].rpartition(":")[2]]
    messages = [message_of(record) for record in records]
    try:
        keys = signing_keys.of(receiver.secret_arn)
    except (SecretError, BotoCoreError, ClientError):
        postpone(receiver, messages)
        raise
    seconds = max(context.get_remaining_time_in_millis() / 1000 - RESERVED_SECONDS, LEAST_SECONDS)
    failures = deliver(receiver.url, messages, keys=keys, post=send, seconds=seconds)
    failed = [message for message in messages if message.message_id in failures]
    for message in failed:
        logger.warning(
            NOT_DELIVERED,
            # Its address may hold a secret of the receiver's; the name of its queue tells who it is.
            receiver=receiver.queue_name,
            message_id=message.message_id,
            receives=message.receives,
            reason=failures[message.message_id],
        )
    logger.info("delivered", receiver=receiver.queue_name, count=len(messages) - len(failed), failed=len(failed))
    postpone(receiver, failed)
    return {"batchItemFailures": [{"itemIdentifier": message.message_id} for message in failed]}


def message_of(record: Mapping[str, Any]) -> Message:
    """Return a message from an event (Lambda, "Using Lambda with Amazon SQS")."""
    return Message(
        message_id=record["messageId"],
        receipt_handle=record["receiptHandle"],
        body=record["body"],
        receives=int(record["attributes"]["ApproximateReceiveCount"]),
    )


def send(url: str, *, headers: Mapping[str, str], body: bytes, seconds: float) -> int:
    """POST to a receiver; the implementation of `logic.Post`."""
    return request("POST", url, headers=headers, body=body, seconds=seconds, context=trusted)[0]


def postpone(receiver: WebhookReceiver, messages: Sequence[Message]) -> None:
    """Hide messages until their next attempt. A message that cannot be hidden reappears when its visibility timeout
    ends.
    """
    for message in messages:
        delay = backoff(message.receives, base=environment.webhook_backoff_seconds, most=environment.webhook_attempts)
        try:
            queues.change_message_visibility(
                QueueUrl=receiver.queue_url, ReceiptHandle=message.receipt_handle, VisibilityTimeout=delay
            )
        except (BotoCoreError, ClientError):
            logger.exception("not postponed", message_id=message.message_id)
