"""Compares what S3 has with what the record says, and tells the workflow what is left to do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from functions.common.objects import Objects
from functions.common.records import FileRecord, Records

# SNS, "Publish": a subject is ASCII without line breaks, shorter than 100 characters.
MAX_SUBJECT = 99


class Rejected(Exception):  # noqa: N818 - the workflow knows it by this name
    """The file is not what was announced, and trying again will not change that; the text says why."""


class Unknown(Exception):  # noqa: N818 - the workflow's history shows this name
    """There are bytes without a record."""


@dataclass(frozen=True)
class Inspection:
    """What is left to do for a file, and what is to be said about it."""

    left: Literal["open and announce", "announce", "nothing"]
    subject: str
    message: str


def inspect(file_id: str, *, records: Records, objects: Objects) -> Inspection:
    """Compare size and checksum of a file that is still uploading; for others, see whether they were announced.

    Raises:
        Rejected: the bytes are not there, or are not those that the caller declared.
        Unknown: there is no record of this file.
        ClientError: AWS refused.
    """
    record = records.get(file_id)
    if record is None:
        raise Unknown(f"there is no record of {file_id}")
    if record.state == "uploading":
        _compare(record, objects)
        return _inspection("open and announce", record)
    if record.state == "available" and not record.announced_time:
        return _inspection("announce", record)
    return _inspection("nothing", record)


def _compare(record: FileRecord, objects: Objects) -> None:
    stored = objects.head(record.object_key)
    if stored is None:
        raise Rejected("no bytes arrived")
    if stored.size != record.size:
        raise Rejected(f"{stored.size} bytes are stored, {record.size} were declared")
    if stored.checksum != record.checksum:
        raise Rejected("the checksum of what is stored is not the declared one")


def _inspection(left: Literal["open and announce", "announce", "nothing"], record: FileRecord) -> Inspection:
    """The notification as earlier subscribers know it."""
    message = {
        "event": "file_uploaded",
        "file_id": record.file_id,
        "file_name": record.file_name,
        "file_url": record.file_url,
        "upload_time": record.upload_time,
    }
    return Inspection(left, subject_of(record.file_name), json.dumps(message))


def subject_of(file_name: str) -> str:
    """The subject of a notification, of characters that SNS takes."""
    plain = "".join(character if " " <= character <= "~" else "?" for character in file_name)
    return f"New file uploaded: {plain}"[:MAX_SUBJECT]
