"""First step of the workflow: `{"file_id"}` in, what is left to do and to say out."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import Field

from functions.common.environment import FilesEnvironment
from functions.common.objects import Objects
from functions.common.records import Records
from functions.inspect.logic import Keeping, inspect


class InspectEnvironment(FilesEnvironment):
    """Where files are, and how long they are kept."""

    expiration_days: int = Field(ge=0)
    quarantine_retention_days: int = Field(ge=1)


environment = InspectEnvironment.load()
logger = Logger(service="inspect")
records = Records(boto3.client("dynamodb"), environment.table_name)
objects = Objects(boto3.client("s3"), environment.bucket_name)
keeping = Keeping(
    files=timedelta(days=environment.expiration_days), quarantine=timedelta(days=environment.quarantine_retention_days)
)


@logger.inject_lambda_context
def handler(event: dict[str, object], context: LambdaContext) -> dict[str, object]:
    """Entry point that the workflow invokes; what it raises, the workflow catches by its name."""
    file_id = str(event["file_id"])
    inspection = inspect(file_id, records=records, objects=objects, keeping=keeping, now=datetime.now(UTC))
    logger.info("file inspected", file_id=file_id, left=inspection.left)
    return asdict(inspection)
