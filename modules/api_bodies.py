"""Bodies of the API's requests as the gateway checks them, in the draft of JSON Schema that API Gateway knows.

It checks what has one remedy: JSON, an object, types. It requires no field and no length, so that the functions say
what is missing, empty or too large, in words that callers can act on.
"""

from __future__ import annotations

_DRAFT = "http://json-schema.org/draft-04/schema#"
_NAME = {"type": "string", "maxLength": 255}
_CONTENT_TYPE = {"type": "string", "maxLength": 384}
_CHECKSUM = {"type": "string", "maxLength": 64}

UPLOAD_BODY: dict[str, object] = {
    "$schema": _DRAFT,
    "title": "Upload",
    "type": "object",
    "properties": {"file_name": _NAME, "file_content": {"type": "string"}, "content_type": _CONTENT_TYPE},
}
START_BODY: dict[str, object] = {
    "$schema": _DRAFT,
    "title": "Start",
    "type": "object",
    "properties": {
        "file_name": _NAME,
        "size": {"type": "integer"},
        "content_type": _CONTENT_TYPE,
        "checksum": _CHECKSUM,
        "part_checksums": {"type": "array", "items": _CHECKSUM},
    },
}
PARTS_BODY: dict[str, object] = {
    "$schema": _DRAFT,
    "title": "Parts",
    "type": "object",
    "properties": {
        "parts": {
            "type": "array",
            "items": {"type": "object", "properties": {"part_number": {"type": "integer"}, "checksum": _CHECKSUM}},
        }
    },
}
# Completing takes no arguments; an empty object says so.
COMPLETE_BODY: dict[str, object] = {"$schema": _DRAFT, "title": "Complete", "type": "object"}
