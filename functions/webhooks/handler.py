"""Reads a queue for each receiver, and sends what is in it: an event source mapping of SQS invokes this.

What was not taken is given back by its id (Lambda, "Implementing partial batch responses"), and hidden until it is due.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BeforeValidator, Field

from functions.common.environment import Environment
from functions.webhooks.https import post, trust
from functions.webhooks.logic import Message, backoff, deliver
from functions.webhooks.secret import SigningKeys
from functions.webhooks.signing import SecretError

# Left of an invocation's time to give messages back.
RESERVED_SECONDS = 3.0
LEAST_SECONDS = 0.5

# The URL of each queue and that of its receiver, as QUEUE=RECEIVER with commas between them.
Receivers = Annotated[
    dict[str, str], BeforeValidator(lambda text: dict(pair.split("=", 1) for pair in str(text).split(",")))
]


class WebhooksEnvironment(Environment):
    """Who is told, with what secret, and how patiently."""

    webhook_urls: Receivers
    secret_arn: str = Field(pattern=r"^arn:aws[a-z-]*:")
    webhook_attempts: int = Field(ge=1)
    webhook_backoff_seconds: int = Field(ge=0)


environment = WebhooksEnvironment.load()
logger = Logger(service="webhooks")
queues = boto3.client("sqs")
signing_keys = SigningKeys(boto3.client("secretsmanager"), environment.secret_arn)
trusted = trust()
by_name = {queue_url.rpartition("/")[2]: (queue_url, url) for queue_url, url in environment.webhook_urls.items()}


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, list[dict[str, str]]]:
    """Entry point of the event source mappings.

    Raises:
        SecretError: there is no secret to sign with; the messages wait as if their receiver had not taken them.
        ClientError: Secrets Manager or SQS refused.
        KeyError: the event is not one of a queue of this function.
    """
    messages = [message_of(record) for record in event["Records"]]
    try:
        keys = signing_keys.current()
    except (SecretError, BotoCoreError, ClientError):
        postpone(messages)
        raise
    seconds = max(context.get_remaining_time_in_millis() / 1000 - RESERVED_SECONDS, LEAST_SECONDS)
    failures = deliver(messages, keys=keys, post=send, seconds=seconds)
    failed = [message for message in messages if message.message_id in failures]
    for message in failed:
        logger.warning(
            "not delivered",
            receiver=message.receiver,
            message_id=message.message_id,
            receives=message.receives,
            reason=failures[message.message_id],
        )
    logger.info("delivered", count=len(messages) - len(failed), failed=len(failed))
    postpone(failed)
    return {"batchItemFailures": [{"itemIdentifier": message.message_id} for message in failed]}


def message_of(record: Mapping[str, Any]) -> Message:
    """A message as Lambda hands it over (Lambda, "Using Lambda with Amazon SQS")."""
    queue_url, receiver = by_name[record["eventSourceARN"].rpartition(":")[2]]
    return Message(
        message_id=record["messageId"],
        receipt_handle=record["receiptHandle"],
        queue_url=queue_url,
        receiver=receiver,
        body=record["body"],
        receives=int(record["attributes"]["ApproximateReceiveCount"]),
    )


def send(url: str, *, headers: Mapping[str, str], body: bytes, seconds: float) -> int:
    """POST to a receiver, as `logic.Post` says."""
    return post(url, headers=headers, body=body, seconds=seconds, context=trusted)


def postpone(messages: Sequence[Message]) -> None:
    """Hide messages until they are due. Those that cannot be hidden come back when the queue shows them again."""
    for message in messages:
        delay = backoff(message.receives, base=environment.webhook_backoff_seconds, most=environment.webhook_attempts)
        try:
            queues.change_message_visibility(
                QueueUrl=message.queue_url, ReceiptHandle=message.receipt_handle, VisibilityTimeout=delay
            )
        except (BotoCoreError, ClientError):
            logger.exception("not postponed", message_id=message.message_id)
