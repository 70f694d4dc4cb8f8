"""Handler of the schedule: continues files without progress, ends files whose time is over, and recounts quotas."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from msgspec import Meta

from functions.common.contract import SWEEP_SCHEDULE, TASK, object_key, stored_event
from functions.common.discard_function import DiscardFunction
from functions.common.environment import FilesEnvironment, FunctionArn, TableName
from functions.common.objects import Objects
from functions.common.records import Records
from functions.sweep.logic import Sweeper


class SweepEnvironment(FilesEnvironment, frozen=True, kw_only=True):
    """The environment variables of the sweeper.

    Attributes:
        replicated: whether a second region has copies; if so, the lifecycle removes older versions.
    """

    quotas_table_name: TableName
    discard_function_arn: FunctionArn
    state_machine_arn: Annotated[str, Meta(pattern=r"^arn:aws[a-z-]*:states:[a-z0-9-]+:\d{12}:stateMachine:[\w-]+$")]
    replicated: bool


# What is left for the next run keeps a little time to say so.
RESERVE_MILLISECONDS = 3000

environment = SweepEnvironment.load()
logger = Logger(service="sweep")
records = Records(boto3.client("dynamodb"), environment.table_name, environment.quotas_table_name)
objects = Objects(boto3.client("s3"), environment.bucket_name)
workflows = boto3.client("stepfunctions")


def start(file_id: str, name: str) -> None:
    """Start the workflow as S3's event does."""
    event = stored_event(object_key(file_id))
    try:
        workflows.start_execution(stateMachineArn=environment.state_machine_arn, name=name, input=json.dumps(event))
    except workflows.exceptions.ExecutionAlreadyExists:
        logger.info("already swept in this hour", file_id=file_id)


@logger.inject_lambda_context
def handler(event: dict[str, object], context: LambdaContext) -> dict[str, object]:
    """Entry point that the schedule invokes.

    Raises:
        ValueError: the event is not the schedule's.
        ClientError: AWS refused a call; all other work is done.
    """
    if event.get(TASK) != SWEEP_SCHEDULE:
        raise ValueError("this is not the event of the sweeper's schedule")
    sweeper = Sweeper(
        records=records,
        objects=objects,
        start=start,
        discard=DiscardFunction(environment.discard_function_arn),
        has_time=lambda: context.get_remaining_time_in_millis() > RESERVE_MILLISECONDS,
        tidy_from=None if environment.replicated else object_key(str(uuid.uuid4())),
    )
    swept = asdict(sweeper.sweep(datetime.now(UTC)))
    logger.info("swept", **swept)
    return swept
