"""A small file in one request: check everything, then record it and store it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from functions.common.http import Refused
from functions.common.objects import Objects
from functions.common.records import FileRecord, Records, timestamp

# Lambda takes 6 MB a request (Lambda quotas, "Invocation payload"), of which base64, JSON and the event's own fields
# leave this much for the content.
MAX_CONTENT_BYTES = 4_500_000
MAX_NAME_BYTES = 255
DEFAULT_CONTENT_TYPE = "application/octet-stream"

# RFC 6838, section 4.2: names of types and subtypes; parameters such as a charset may follow.
_CONTENT_TYPE = re.compile(
    r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}(; ?[\x20-\x7e]{1,100})?", re.I
)
_NOT_IN_A_NAME = re.compile(r"[\x00-\x1f\x7f/\\\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class UploadRequest:
    """A checked request."""

    file_name: str
    content: bytes
    content_type: str

    @classmethod
    def parse(cls, body: str | None) -> Self:
        """Check the body of a request, field by field.

        Raises:
            Refused: with what is wrong, in words the caller can act on.
        """
        fields = _json_object(body)
        return cls(
            file_name=_file_name(_text(fields, "file_name")),
            content=_content(_text(fields, "file_content", may_be_empty=True)),
            content_type=_content_type(fields.get("content_type")),
        )


def upload(
    request: UploadRequest,
    *,
    owner: str,
    file_id: str,
    file_url: str,
    now: datetime,
    records: Records,
    objects: Objects,
) -> FileRecord:
    """Record the file, then store its bytes; S3 tells the workflow, which opens and announces the file.

    The record comes first: whatever fails after it, the file is known, and the sweeper finishes or rejects it.

    Raises:
        ClientError: AWS refused one of the two calls.
    """
    record = FileRecord(
        file_id=file_id,
        owner=owner,
        file_name=request.file_name,
        content_type=request.content_type,
        size=len(request.content),
        checksum=base64.b64encode(hashlib.sha256(request.content).digest()).decode(),
        object_key=f"uploads/{file_id}",
        state="uploading",
        upload_time=timestamp(now),
        file_url=file_url,
    )
    records.create(record)
    objects.put(record.object_key, request.content, content_type=record.content_type, checksum=record.checksum)
    return record


def _json_object(body: str | None) -> dict[str, object]:
    if not body:
        raise Refused("Missing request body")
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused("Invalid JSON in request body") from None
    if not isinstance(fields, dict):
        raise Refused("Request body must be a JSON object")
    return fields


def _text(fields: dict[str, object], name: str, *, may_be_empty: bool = False) -> str:
    value = fields.get(name)
    if value is None or (value == "" and not may_be_empty):
        raise Refused(f"Missing {name}")
    if not isinstance(value, str):
        raise Refused(f"Invalid {name}: it must be a string")
    return value


def _file_name(name: str) -> str:
    if _NOT_IN_A_NAME.search(name) or name.strip() in {"", ".", ".."}:
        raise Refused("Invalid file_name: a plain name without slashes or control characters is needed")
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise Refused("Invalid file_name: it is not valid Unicode") from None
    if length > MAX_NAME_BYTES:
        raise Refused(f"Invalid file_name: longer than {MAX_NAME_BYTES} bytes")
    return name


def _content(encoded: str) -> bytes:
    if not encoded:
        raise Refused("Empty file_content")
    if len(encoded) > MAX_CONTENT_BYTES * 4 // 3 + 4:
        raise Refused(f"file_content is larger than {MAX_CONTENT_BYTES} bytes", 413)
    try:
        content = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise Refused("Invalid file_content: it is not base64") from None
    if not content:
        raise Refused("Empty file_content")
    if len(content) > MAX_CONTENT_BYTES:
        raise Refused(f"file_content is larger than {MAX_CONTENT_BYTES} bytes", 413)
    return content


def _content_type(value: object) -> str:
    if value is None or value == "":
        return DEFAULT_CONTENT_TYPE
    if not isinstance(value, str) or not _CONTENT_TYPE.fullmatch(value):
        raise Refused("Invalid content_type: a media type such as image/png is needed")
    return value
