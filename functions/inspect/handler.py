"""First step of the workflow: `{"file_id"}` in, what is left to do and to say out."""

from __future__ import annotations

from dataclasses import asdict

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.common.environment import FilesEnvironment
from functions.common.objects import Objects
from functions.common.records import Records
from functions.inspect.logic import inspect

environment = FilesEnvironment.load()
logger = Logger(service="inspect")
records = Records(boto3.resource("dynamodb").Table(environment.table_name))
objects = Objects(boto3.client("s3"), environment.bucket_name)


@logger.inject_lambda_context
def handler(event: dict[str, object], context: LambdaContext) -> dict[str, object]:
    """Entry point that the workflow invokes; what it raises, the workflow catches by its name."""
    file_id = str(event["file_id"])
    inspection = inspect(file_id, records=records, objects=objects)
    logger.info("file inspected", file_id=file_id, left=inspection.left)
    return asdict(inspection)
