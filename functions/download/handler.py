"""GET /files/{file_id}/content: gives the owner of a file a short-lived link that downloads it."""

from __future__ import annotations

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

from functions.common.environment import FilesEnvironment
from functions.common.http import Refused, answer, owner_of, rest_api
from functions.common.objects import Objects
from functions.common.records import Records

LINK_SECONDS = 60

environment = FilesEnvironment.load()
logger = Logger(service="download")
app = rest_api(logger, failure="Download failed")
records = Records(boto3.resource("dynamodb").Table(environment.table_name))
# A KMS-encrypted object can be read with signature version 4 alone (S3, "Protecting data with SSE-KMS").
objects = Objects(boto3.client("s3", config=Config(signature_version="s3v4")), environment.bucket_name)


@app.get("/files/<file_id>/content")
def get_content(file_id: str) -> Response[str]:
    """Give the owner a link once the file is available; for everyone else there is no such file."""
    record = records.get(file_id)
    if record is None or record.owner != owner_of(app.current_event):
        raise Refused("No such file", 404)
    if record.state != "available":
        raise Refused(f"The file is {record.state}", 409)
    link = objects.download_link(record.object_key, file_name=record.file_name, seconds=LINK_SECONDS)
    # Not a redirect: a client would carry its signature along, and S3 refuses two at once.
    return answer(200, {"download_url": link, "expires_in": LINK_SECONDS})


@logger.inject_lambda_context
def handler(event: dict[str, object], context: LambdaContext) -> dict[str, object]:
    """Entry point that Lambda calls."""
    return app.resolve(event, context)
