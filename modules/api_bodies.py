"""Bodies of the API's requests as the gateway checks them, in the draft of JSON Schema that API Gateway knows.

The gateway has one answer for every wrong body. So it checks only what that answer describes: the body is a JSON
object. The models name the fields as documentation. The functions check types and lengths of the fields, and their
answers name the field and the error.
"""

from __future__ import annotations

from functions.common.contract import MAX_NAME_BYTES


def _json_object(title: str, **fields: str) -> dict[str, object]:
    return {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "title": title,
        "type": "object",
        "properties": {name: {"description": description} for name, description in fields.items()},
    }


_NAME = f"Name of the file, {MAX_NAME_BYTES} bytes at most"
_CONTENT_TYPE = "Media type of the file"

UPLOAD_BODY = _json_object("Upload", file_name=_NAME, file_content="The file in base64", content_type=_CONTENT_TYPE)
START_BODY = _json_object(
    "Start",
    file_name=_NAME,
    size="Bytes of the file",
    content_type=_CONTENT_TYPE,
    checksum="SHA-256 in base64; of a file in parts, as S3 writes it",
    part_checksums="Checksums of the first parts",
)
PARTS_BODY = _json_object("Parts", parts="Number and checksum of each part that a link is asked for")
# Completing takes no arguments; an empty object says so.
COMPLETE_BODY = _json_object("Complete")
