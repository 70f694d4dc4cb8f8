"""Runs on a schedule, and starts the workflow of files that got stuck."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import Field

from functions.common.environment import Environment
from functions.common.records import Records
from functions.sweep.logic import sweep


class SweepEnvironment(Environment):
    """Where records are, and what to start."""

    table_name: str = Field(pattern=r"^[A-Za-z0-9_.-]{3,255}$")
    state_machine_arn: str = Field(pattern=r"^arn:aws[a-z-]*:states:[a-z0-9-]+:\d{12}:stateMachine:[\w-]+$")


environment = SweepEnvironment.load()
logger = Logger(service="sweep")
records = Records(boto3.resource("dynamodb").Table(environment.table_name))
workflows = boto3.client("stepfunctions")


def start(file_id: str, name: str) -> None:
    """Start the workflow as S3's event does."""
    event = {"detail": {"object": {"key": f"uploads/{file_id}"}}}
    try:
        workflows.start_execution(stateMachineArn=environment.state_machine_arn, name=name, input=json.dumps(event))
    except workflows.exceptions.ExecutionAlreadyExists:
        logger.info("already swept in this hour", file_id=file_id)


@logger.inject_lambda_context
def handler(event: dict[str, object], context: LambdaContext) -> dict[str, int]:
    """Entry point that the schedule invokes.

    Raises:
        ValueError: the event is not the schedule's.
    """
    if event.get("task") != "sweep_schedule":
        raise ValueError("this is not the event of the sweeper's schedule")
    count = sweep(now=datetime.now(UTC), records=records, start=start)
    logger.info("swept", count=count)
    return {"count": count}
