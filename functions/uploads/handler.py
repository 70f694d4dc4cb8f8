"""POST /uploads, POST /uploads/{id}/parts, GET /uploads/{id}, POST /uploads/{id}/complete, DELETE /uploads/{id}."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.utilities.typing import LambdaContext
from msgspec import Meta

from functions.common import objects
from functions.common.discard_function import DiscardFunction
from functions.common.environment import Count, FunctionArn, StartEnvironment
from functions.common.records import FileRecord, Records
from functions.common.rest_api import (
    answer,
    api_url,
    body_of,
    content_url,
    header_of,
    no_content,
    owned,
    owner_of,
    rest_api,
)
from functions.uploads.logic import Declaration, Rules, Uploads, file_id_of


class UploadsEnvironment(StartEnvironment, frozen=True, kw_only=True):
    """The environment variables of the calls on uploads."""

    link_seconds: Count
    storage_key_arn: Annotated[str, Meta(pattern=r"^arn:aws[a-z-]*:")]
    discard_function_arn: FunctionArn


environment = UploadsEnvironment.load()
logger = Logger(service="uploads")
app = rest_api(logger, failure="The upload could not be handled")
rules = Rules(
    max_bytes=environment.max_upload_bytes,
    allowed_content_types=environment.allowed_content_types,
    quota=environment.quota,
    link_seconds=environment.link_seconds,
    expiry=environment.expiry,
    key_arn=environment.storage_key_arn,
)
records = Records(boto3.client("dynamodb"), environment.table_name, environment.quotas_table_name)
uploads = Uploads(
    records=records,
    objects=objects.Objects(objects.client(), environment.bucket_name),
    rules=rules,
    discard=DiscardFunction(environment.discard_function_arn),
)


@app.post("/uploads")
def start() -> Response[str]:
    """Record an upload, and answer how to send it."""
    event = app.current_event
    declaration = Declaration.parse(body_of(event), rules=rules)
    owner = owner_of(event)
    file_id = file_id_of(owner, header_of(event, "Idempotency-Key"))
    begun = uploads.start(
        declaration,
        owner=owner,
        file_id=file_id,
        file_url=content_url(event, file_id),
        now=datetime.now(UTC),
    )
    logger.info("upload begun", file_id=file_id, size=declaration.size, content_type=declaration.content_type)
    return answer(201, begun, {"Location": f"{api_url(event)}/uploads/{file_id}"})


@app.post("/uploads/<file_id>/parts")
def links(file_id: str) -> Response[str]:
    """Return new links for parts."""
    return answer(200, uploads.links(own(file_id), body_of(app.current_event), now=datetime.now(UTC)))


@app.get("/uploads/<file_id>")
def status(file_id: str) -> Response[str]:
    """Return what has arrived, and what is needed to continue."""
    return answer(200, uploads.status(own(file_id), now=datetime.now(UTC)))


@app.post("/uploads/<file_id>/complete")
def complete(file_id: str) -> Response[str]:
    """Check the bytes that arrived, and complete the upload."""
    done = uploads.complete(own(file_id), body_of(app.current_event), now=datetime.now(UTC))
    logger.info("upload complete", file_id=file_id)
    return answer(200, done)


@app.delete("/uploads/<file_id>")
def abort(file_id: str) -> Response[str]:
    """Abort an upload."""
    uploads.abort(own(file_id), now=datetime.now(UTC))
    logger.info("upload aborted", file_id=file_id)
    return no_content()


def own(file_id: str) -> FileRecord:
    """Return the caller's own record."""
    return owned(file_id, event=app.current_event, records=records)


@logger.inject_lambda_context
def handler(event: dict[str, object], context: LambdaContext) -> dict[str, object]:
    """Entry point that Lambda calls."""
    return app.resolve(event, context)
