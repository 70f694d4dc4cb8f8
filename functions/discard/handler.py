"""Handler that ends a claimed file: deletes its bytes, releases its quota, writes its final state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.common import objects
from functions.common.environment import Count, FilesEnvironment, TableName
from functions.common.records import Records
from functions.discard.logic import discard


class DiscardEnvironment(FilesEnvironment, frozen=True, kw_only=True):
    """The environment variables of `discard`: bucket and tables, and the retention of records.

    Attributes:
        replicated: whether a second region has copies, which have to go too.
    """

    quotas_table_name: TableName
    record_retention_days: Count
    replicated: bool


environment = DiscardEnvironment.load()
logger = Logger(service="discard")
records = Records(boto3.client("dynamodb"), environment.table_name, environment.quotas_table_name)
files = objects.Objects(boto3.client("s3"), environment.bucket_name)


@logger.inject_lambda_context
def handler(event: dict[str, object], context: LambdaContext) -> dict[str, object]:
    """Entry point that callers, the workflow and the sweeper invoke with `{"file_id"}`."""
    file_id = str(event["file_id"])
    state = discard(
        file_id,
        records=records,
        objects=files,
        leave_markers=environment.replicated,
        keep_record=timedelta(days=environment.record_retention_days),
        now=datetime.now(UTC),
    )
    logger.info("file discarded", file_id=file_id, state=state)
    return {"file_id": file_id, "state": state}
