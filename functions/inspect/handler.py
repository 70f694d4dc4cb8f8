"""First step of the workflow: takes `{"file_id"}`, returns the next step and the texts of its messages."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from msgspec import Meta

from functions.common.contract import ContentTypeCheck
from functions.common.environment import Count, FilesEnvironment, Listed
from functions.common.objects import Objects
from functions.common.records import Records
from functions.inspect.logic import Gate, Keeping, inspect


class InspectEnvironment(FilesEnvironment, frozen=True, kw_only=True):
    """The environment variables of `inspect`."""

    allowed_content_types: Listed
    content_type_check: ContentTypeCheck = "correct"
    malware_scanning: bool

    expiration_days: Annotated[int, Meta(ge=0)]
    quarantine_retention_days: Count


environment = InspectEnvironment.load()
logger = Logger(service="inspect")
records = Records(boto3.client("dynamodb"), environment.table_name)
objects = Objects(boto3.client("s3"), environment.bucket_name)
gate = Gate(
    environment.allowed_content_types,
    scanning=environment.malware_scanning,
    strict=environment.content_type_check == "strict",
)
keeping = Keeping(
    files=timedelta(days=environment.expiration_days), quarantine=timedelta(days=environment.quarantine_retention_days)
)


@logger.inject_lambda_context
def handler(event: dict[str, object], context: LambdaContext) -> dict[str, object]:
    """Entry point that the workflow invokes; the workflow catches exceptions by their names."""
    inspection = inspect(event, records=records, objects=objects, gate=gate, keeping=keeping, now=datetime.now(UTC))
    logger.info("file inspected", file_id=event["file_id"], left=inspection.left)
    return asdict(inspection)
