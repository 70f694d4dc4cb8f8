"""Reads the queue, and keeps each event of a file as a document; the same event again is the same document."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.typing import LambdaContext

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

bucket = os.environ["BUCKET_NAME"]
logger = Logger(service="archive")
s3 = boto3.client("s3")
processor = BatchProcessor(event_type=EventType.SQS)


def keep(record: SQSRecord) -> None:
    """Keep one event, which SNS put into an envelope."""
    event = json.loads(record.json_body["Message"])
    key = f"uploads/{event['file_id']}/{event['event']}.json"
    s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(event).encode(), ContentType="application/json")
    logger.info("event kept", file_id=event["file_id"], what=event["event"])


@logger.inject_lambda_context
def handler(event: dict[str, object], context: LambdaContext) -> PartialItemFailureResponse:
    """Entry point that Lambda calls with a batch; answers with the messages that could not be kept."""
    return process_partial_response(event=event, record_handler=keep, processor=processor, context=context)
