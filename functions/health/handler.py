"""GET /health/deep: checks table and bucket in parallel, and answers in two seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLateError

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from functions.common.contract import HEALTH_PROBE_ID
from functions.common.environment import FilesEnvironment
from functions.common.rest_api import answer, rest_api

# A caller of a health check prefers "down" to a long wait. There is no retry: the next check is one.
DEADLINE_SECONDS = 1.8

environment = FilesEnvironment.load()
logger = Logger(service="health")
app = rest_api(logger, failure="Health check failed", plain_errors=True)
_in_time = Config(connect_timeout=0.7, read_timeout=1.0, retries={"total_max_attempts": 1})
_dynamodb = boto3.client("dynamodb", config=_in_time)
_s3 = boto3.client("s3", config=_in_time)
_workers = ThreadPoolExecutor(max_workers=2)


def read_table() -> None:
    """Read a record that does not exist."""
    _dynamodb.get_item(TableName=environment.table_name, Key={"file_id": {"S": HEALTH_PROBE_ID}})


def reach_bucket() -> None:
    """Ask for the region of the bucket, which needs no permission to see its objects."""
    _s3.get_bucket_location(Bucket=environment.bucket_name)


PARTS: dict[str, Callable[[], None]] = {"records": read_table, "files": reach_bucket}


def check(parts: Mapping[str, Callable[[], None]]) -> dict[str, str]:
    """Check every part in parallel; return `ok` or `down` for each. The reasons are only in the log."""
    ends = time.monotonic() + DEADLINE_SECONDS
    asked: dict[str, Future[None]] = {name: _workers.submit(ask) for name, ask in parts.items()}
    states: dict[str, str] = {}
    for name, answered in asked.items():
        try:
            answered.result(timeout=max(0.0, ends - time.monotonic()))
            states[name] = "ok"
        except (ClientError, BotoCoreError, TooLateError) as error:
            logger.warning("part is down", part=name, reason=f"{type(error).__name__}: {error}")
            states[name] = "down"
    return states


@app.get("/health/deep")
def get_health() -> Response[str]:
    """Return 200 if every part works, else 503."""
    states = check(PARTS)
    healthy = set(states.values()) == {"ok"}
    return answer(200 if healthy else 503, {"status": "ok" if healthy else "down", "parts": states})


@logger.inject_lambda_context
def handler(event: dict[str, object], context: LambdaContext) -> dict[str, object]:
    """Entry point that Lambda calls."""
    return app.resolve(event, context)
