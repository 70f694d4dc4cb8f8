"""Checks the fields of requests, in words that a caller can act on."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from functions.common.http import Refused

MAX_NAME_BYTES = 255
DEFAULT_CONTENT_TYPE = "application/octet-stream"
DIGEST_BYTES = 32  # SHA-256

# RFC 6838, section 4.2: names of types and subtypes; parameters such as a charset may follow.
_CONTENT_TYPE = re.compile(
    r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}(; ?[\x20-\x7e]{1,100})?", re.I
)
_NOT_IN_A_NAME = re.compile(r"[\x00-\x1f\x7f/\\\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def json_object(body: str | None) -> dict[str, object]:
    """The object in a body.

    Raises:
        Refused: there is none.
    """
    if not body:
        raise Refused("Missing request body")
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused("Invalid JSON in request body") from None
    if not isinstance(fields, dict):
        raise Refused("Request body must be a JSON object")
    return fields


def text(fields: dict[str, object], name: str, *, may_be_empty: bool = False) -> str:
    """A string that has to be there.

    Raises:
        Refused: it is missing, or something else.
    """
    value = fields.get(name)
    if value is None or (value == "" and not may_be_empty):
        raise Refused(f"Missing {name}")
    if not isinstance(value, str):
        raise Refused(f"Invalid {name}: it must be a string")
    return value


def whole_number(fields: dict[str, object], name: str, *, least: int, most: int | None = None) -> int:
    """A whole number that has to be there.

    Raises:
        Refused: it is missing, something else, or out of bounds.
    """
    value = fields.get(name)
    if value is None:
        raise Refused(f"Missing {name}")
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refused(f"Invalid {name}: it must be a whole number")
    if value < least or (most is not None and value > most):
        raise Refused(f"Invalid {name}: it must be {least} or more" + (f", and {most} at most" if most else ""))
    return value


def file_name(name: str) -> str:
    """A plain name of a file.

    Raises:
        Refused: it is a path, holds control characters, or is too long.
    """
    if _NOT_IN_A_NAME.search(name) or name.strip() in {"", ".", ".."}:
        raise Refused("Invalid file_name: a plain name without slashes or control characters is needed")
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise Refused("Invalid file_name: it is not valid Unicode") from None
    if length > MAX_NAME_BYTES:
        raise Refused(f"Invalid file_name: longer than {MAX_NAME_BYTES} bytes")
    return name


def content_type(value: object, *, allowed: Sequence[str]) -> str:
    """A media type of the allow list, `application/octet-stream` where none is said.

    Args:
        allowed: media types, of which the second part may be `*`.

    Raises:
        Refused: it is no media type, or one that is not taken here (415).
    """
    if value is None or value == "":
        value = DEFAULT_CONTENT_TYPE
    if not isinstance(value, str) or not _CONTENT_TYPE.fullmatch(value):
        raise Refused("Invalid content_type: a media type such as image/png is needed")
    essence = value.partition(";")[0].strip().lower()
    if not any(fnmatchcase(essence, pattern) for pattern in allowed):
        raise Refused(f"Files of the type {essence} are not taken", 415)
    return value


def digest(value: object, name: str) -> bytes:
    """A SHA-256 in base64, as bytes.

    Raises:
        Refused: it is something else.
    """
    if isinstance(value, str):
        try:
            found = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            found = b""
        # Base64 has spare bits at its end; S3 compares text, so there is one way to write a digest.
        if len(found) == DIGEST_BYTES and base64.b64encode(found).decode() == value:
            return found
    raise Refused(f"Invalid {name}: the SHA-256 in base64 is needed, 44 characters")
