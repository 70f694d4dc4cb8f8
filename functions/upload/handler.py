"""POST /upload: `file_name`, `file_content` (base64) and `content_type` in, `message`, `file_id` and `file_url` out."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.common.discard_function import DiscardFunction
from functions.common.environment import FunctionArn, StartEnvironment
from functions.common.objects import Objects
from functions.common.records import Records
from functions.common.rest_api import answer, body_of, content_url, owner_of, rest_api
from functions.upload.logic import UploadRequest, upload


class UploadEnvironment(StartEnvironment, frozen=True, kw_only=True):
    """The environment variables of `POST /upload`."""

    discard_function_arn: FunctionArn


environment = UploadEnvironment.load()
logger = Logger(service="upload")
app = rest_api(logger, failure="Upload failed", plain_errors=True)
records = Records(boto3.client("dynamodb"), environment.table_name, environment.quotas_table_name)
objects = Objects(boto3.client("s3"), environment.bucket_name)


@app.post("/upload")
def post_upload() -> Response[str]:
    """Check the request, then store and record the file."""
    event = app.current_event
    request = UploadRequest.parse(
        body_of(event), allowed=environment.allowed_content_types, max_bytes=environment.max_upload_bytes
    )
    file_id = str(uuid.uuid4())
    record = upload(
        request,
        owner=owner_of(event),
        file_id=file_id,
        file_url=content_url(event, file_id),
        now=datetime.now(UTC),
        quota=environment.quota,
        records=records,
        objects=objects,
        discard=DiscardFunction(environment.discard_function_arn),
    )
    logger.info("file stored", file_id=record.file_id, size=record.size, content_type=record.content_type)
    return answer(
        200,
        {
            "message": "File uploaded successfully",
            "file_id": record.file_id,
            "file_url": record.file_url,
        },
    )


@logger.inject_lambda_context
def handler(event: dict[str, object], context: LambdaContext) -> dict[str, object]:
    """Entry point that Lambda calls."""
    return app.resolve(event, context)
