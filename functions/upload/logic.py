"""A small file in one request: check everything, then record and store the file."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from botocore.exceptions import BotoCoreError, ClientError

from functions.common import fields
from functions.common.contract import MAX_CONTENT_BYTES, State, object_key
from functions.common.objects import Objects
from functions.common.records import LOOK_AFTER, FileRecord, Quota, QuotaExceededError, Records, timestamp
from functions.common.rest_api import QUOTA_EXCEEDED, Refused

TOO_LARGE = f"file_content is larger than {MAX_CONTENT_BYTES} bytes; send larger files by POST /uploads"


@dataclass(frozen=True)
class UploadRequest:
    """A checked request."""

    file_name: str
    content: bytes
    content_type: str

    @classmethod
    def parse(cls, body: str | None, *, allowed: Sequence[str], max_bytes: int = MAX_CONTENT_BYTES) -> Self:
        """Check the body of a request, field by field.

        Args:
            allowed: content types that are taken.
            max_bytes: of a file, however it is sent; this call carries MAX_CONTENT_BYTES at most.

        Raises:
            Refused: with what is wrong, in words the caller can act on.
        """
        found = fields.json_object(body)
        return cls(
            file_name=fields.file_name(fields.text(found, "file_name")),
            content=_content(fields.text(found, "file_content", may_be_empty=True), max_bytes),
            content_type=fields.content_type(found.get("content_type"), allowed=allowed),
        )


def upload(
    request: UploadRequest,
    *,
    owner: str,
    file_id: str,
    file_url: str,
    now: datetime,
    quota: Quota,
    records: Records,
    objects: Objects,
    discard: Callable[[str], None],
) -> FileRecord:
    """Record the file, then store its bytes; S3's event starts the workflow, which opens and announces the file.

    The record is written first. If a later step fails, the sweeper finds the record and finishes or ends the file. A
    caller who gets an error sends the file again, so this upload is given up and does not count twice.

    Args:
        quota: what the owner may have.
        discard: starts the function `discard`, which ends a claimed file, without waiting for it.

    Raises:
        Refused: the owner has no room.
        ClientError, BotoCoreError: AWS refused, or did not answer.
    """
    record = FileRecord(
        file_id=file_id,
        owner=owner,
        file_name=request.file_name,
        content_type=request.content_type,
        size=len(request.content),
        checksum=base64.b64encode(hashlib.sha256(request.content).digest()).decode(),
        object_key=object_key(file_id),
        state=State.UPLOADING,
        upload_time=timestamp(now),
        file_url=file_url,
        # The bytes are part of this request, so none can arrive later.
        expires_time=timestamp(now + LOOK_AFTER),
        due_time=timestamp(now + LOOK_AFTER),
    )
    try:
        records.create(record, quota=quota, now=now)
    except QuotaExceededError:
        raise Refused(QUOTA_EXCEEDED, 403) from None
    try:
        objects.put(record.object_key, request.content, content_type=record.content_type, checksum=record.checksum)
    except (BotoCoreError, ClientError):
        if not _is_open(record, now, records, discard):
            raise
    return record


def _is_open(record: FileRecord, now: datetime, records: Records, discard: Callable[[str], None]) -> bool:
    """Give up a file that S3 did not confirm. Return True if its bytes arrived nevertheless and it is available."""
    # If this fails too, the workflow or the sweeper finishes the file.
    with suppress(BotoCoreError, ClientError):
        state = records.give_up(record, now=now)
        if state == State.ENDING:
            discard(record.file_id)
        return state == State.AVAILABLE
    return False


def _content(encoded: str, max_bytes: int) -> bytes:
    if not encoded:
        raise Refused("Empty file_content")
    if len(encoded) > MAX_CONTENT_BYTES * 4 // 3 + 4:
        raise Refused(TOO_LARGE, 413)
    try:
        content = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise Refused("Invalid file_content: it is not base64") from None
    if not content:
        raise Refused("Empty file_content")
    if len(content) > MAX_CONTENT_BYTES:
        raise Refused(TOO_LARGE, 413)
    if len(content) > max_bytes:
        raise Refused(f"file_content is larger than {max_bytes} bytes, which is the most that is taken here", 413)
    return content
