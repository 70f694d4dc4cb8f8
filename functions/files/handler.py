"""GET /files, GET /files/{id}, GET /files/{id}/content, DELETE /files/{id}, GET /quota: an owner's files."""

from __future__ import annotations

from datetime import UTC, datetime

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.common import objects
from functions.common.contract import CONTENT_LINK_SECONDS, State
from functions.common.discard_function import DiscardFunction
from functions.common.environment import FunctionArn, LimitsEnvironment
from functions.common.media_types import canonical, with_other_names
from functions.common.records import FileRecord, Records
from functions.common.rest_api import (
    NO_FILE,
    Refused,
    answer,
    failure_of,
    no_content,
    owned,
    owner_of,
    query_of,
    rest_api,
)
from functions.files.listing import LISTED, Page, cursor_after


class OwnFilesEnvironment(LimitsEnvironment, frozen=True, kw_only=True):
    """The environment variables of the calls on files and quota."""

    discard_function_arn: FunctionArn


environment = OwnFilesEnvironment.load()
logger = Logger(service="files")
app = rest_api(logger, failure="The request could not be handled")
records = Records(boto3.client("dynamodb"), environment.table_name, environment.quotas_table_name)
files = objects.Objects(objects.client(), environment.bucket_name)
discard = DiscardFunction(environment.discard_function_arn)
TAKEN = with_other_names(environment.allowed_content_types)


@app.get("/files")
def list_files() -> Response[str]:
    """Return the caller's files, newest first."""
    event = app.current_event
    page = Page.parse(query_of(event))
    found, after = records.of_owner(
        owner_of(event), limit=page.limit, after=page.after, state=page.state, prefix=page.prefix
    )
    return answer(200, {"files": [_listed(item) for item in found], "cursor": cursor_after(after)})


@app.get("/files/<file_id>")
def get_file(file_id: str) -> Response[str]:
    """Return the record of a file."""
    record = own(file_id)
    if record.shown_state == State.DELETED:
        raise Refused(NO_FILE, 404)
    known: dict[str, object] = {
        **_listed({name: getattr(record, name) for name in LISTED}),
        "state": record.shown_state,
        "legal_hold": record.legal_hold,
    }
    known |= {name: value for name in MORE if (value := getattr(record, name))} | failure_of(record)
    return answer(200, known)


@app.get("/files/<file_id>/content")
def get_content(file_id: str) -> Response[str]:
    """Return a link to the owner of an available file; everyone else gets 404."""
    record = own(file_id)
    if record.state != State.AVAILABLE:
        raise Refused(f"The file is {record.shown_state}", 409)
    link = files.download_link(
        record.object_key, file_name=record.file_name, content_type=served_as(record), seconds=CONTENT_LINK_SECONDS
    )
    # Not a redirect: a client would carry its signature along, and S3 refuses two at once.
    return answer(200, {"download_url": link, "expires_in": CONTENT_LINK_SECONDS})


@app.delete("/files/<file_id>")
def delete_file(file_id: str) -> Response[str]:
    """Delete a file with all its versions; its record is kept for a while."""
    record = own(file_id)
    if record.shown_state != State.DELETED:
        if record.legal_hold:
            raise Refused("The file is under a legal hold", 409)
        if not records.claim(record, State.DELETED, of=(State.AVAILABLE, State.QUARANTINED), now=datetime.now(UTC)):
            record = own(file_id)
            if record.shown_state in {State.UPLOADING, State.SCANNING}:
                raise Refused(f"The file is {record.shown_state}; DELETE /uploads/{{file_id}} ends an upload", 409)
            if record.state == State.ENDING and record.ends_as == State.QUARANTINED:
                raise Refused("The file is on its way into quarantine; try again in a moment", 409)
            if record.shown_state != State.DELETED:
                raise Refused(f"The file is {record.shown_state}: nothing of it is left to delete", 409)
    if record.state != State.DELETED:
        discard(file_id)
    logger.info("file deleted", file_id=file_id)
    return no_content()


@app.get("/quota")
def get_quota() -> Response[str]:
    """Return the limits of an upload, and how much of the caller's quota is used and left."""
    used, quota = records.usage(owner_of(app.current_event)), environment.quota
    return answer(
        200,
        {
            "used_bytes": used.bytes,
            "used_files": used.files,
            "quota_bytes": quota.bytes,
            "quota_files": quota.files,
            # More is used than allowed where an operator has lowered the quota.
            "left_bytes": max(0, quota.bytes - used.bytes),
            "left_files": max(0, quota.files - used.files),
            "max_upload_bytes": environment.max_upload_bytes,
            "allowed_content_types": TAKEN,
        },
    )


MORE = ("available_time", "detected_type")


def _listed(item: dict[str, object]) -> dict[str, object]:
    # An upload that was begun without a checksum has none until its parts are put together.
    return {**{name: item[name] for name in LISTED if item.get(name)}, "size": int(str(item["size"]))}


def served_as(record: FileRecord) -> str:
    """Return the media type that a link answers with: the declared type with its parameters, or the detected type."""
    if record.detected_type in ("", canonical(record.content_type)):
        return record.content_type
    return record.detected_type


def own(file_id: str) -> FileRecord:
    """Return the caller's own record."""
    return owned(file_id, event=app.current_event, records=records)


@logger.inject_lambda_context
def handler(event: dict[str, object], context: LambdaContext) -> dict[str, object]:
    """Entry point that Lambda calls."""
    return app.resolve(event, context)
