"""Checks of the fields of requests; the messages tell a caller what to change."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Sequence

from functions.common.contract import INVALID_JSON, MAX_NAME_BYTES
from functions.common.media_types import ANY_BYTES, canonical, not_allowed, permitted
from functions.common.rest_api import Refused

DIGEST_BYTES = 32  # SHA-256

# RFC 6838, section 4.2: names of types and subtypes; parameters such as a charset may follow.
_CONTENT_TYPE = re.compile(
    r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}(; ?[\x20-\x7e]{1,100})?", re.I
)
# Joiners: emoji and names in some languages need them (Unicode Standard, section 23.2).
_JOINERS = "\u200c\u200d"
_NOT_IN_A_NAME = re.compile(
    "["
    # Slashes, and the controls C0 and C1.
    r"/\\\x00-\x1f\x7f-\x9f"
    # Format characters (Unicode category Cf), which change the order of a text or are invisible. The joiners and the
    # visible marks (UAX #44, Prepended_Concatenation_Mark) are not in this list. Separators of lines and paragraphs.
    r"\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
    # Lone surrogates and noncharacters (Unicode Standard, section 23.7).
    r"\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
    + "".join(rf"\U{plane:04x}fffe\U{plane:04x}ffff" for plane in range(1, 17))
    + "]"
)


def json_object(body: str | None) -> dict[str, object]:
    """Return the JSON object in a body.

    Raises:
        Refused: there is none.
    """
    if not body:
        raise Refused("Missing request body")
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(INVALID_JSON) from None
    if not isinstance(fields, dict):
        raise Refused("Request body must be a JSON object")
    return fields


def text(fields: dict[str, object], name: str, *, may_be_empty: bool = False) -> str:
    """Return a required string.

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
    """Return a required integer.

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
    """Return a name of a file without folders.

    Raises:
        Refused: it is a path, has control or format characters, has no visible character, or is too long.
    """
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise Refused("Invalid file_name: it is not valid Unicode") from None
    plain = re.sub(f"[{_JOINERS}]", "", name).strip()
    if _NOT_IN_A_NAME.search(name) or plain in {"", ".", ".."}:
        raise Refused("Invalid file_name: a plain name without slashes or control characters is needed")
    if length > MAX_NAME_BYTES:
        raise Refused(f"Invalid file_name: longer than {MAX_NAME_BYTES} bytes")
    return name


def content_type(value: object, *, allowed: Sequence[str]) -> str:
    """Return a media type that is allowed, by default `application/octet-stream`.

    Args:
        allowed: media types and patterns, as the setting ALLOWED_CONTENT_TYPES has them.

    Raises:
        Refused: it is no media type, or one that is not taken here (415).
    """
    if value is None or value == "":
        value = ANY_BYTES
    if not isinstance(value, str) or not _CONTENT_TYPE.fullmatch(value):
        raise Refused("Invalid content_type: a media type such as image/png is needed")
    if not permitted(value, allowed):
        raise Refused(f"Invalid content_type: {not_allowed(canonical(value))}", 415)
    return value


def digest(value: object, name: str) -> bytes:
    """Return the bytes of a SHA-256 in base64.

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
