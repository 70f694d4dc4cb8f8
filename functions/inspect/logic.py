"""Compares what S3 has with what the record says, and tells the workflow what is left to do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from functions.common.objects import Objects
from functions.common.records import LATE_BYTES, FileRecord, Records, timestamp

# SNS, "Publish": a subject is ASCII without line breaks, shorter than 100 characters.
MAX_SUBJECT = 99
EVENT_VERSION = "1"
# A file that is kept for ever is looked at again after this long, all the same.
FOR_EVER = timedelta(days=3650)
# S3's lifecycle comes first: it costs nothing.
AFTER_LIFECYCLE = timedelta(days=1)

Left = Literal["open", "announce", "alert and announce", "discard", "nothing"]


class Rejected(Exception):  # noqa: N818 - the workflow knows it by this name
    """The file is not what was announced, and trying again will not change that; the text says why."""


class Unknown(Exception):  # noqa: N818 - the workflow's history shows this name
    """There are bytes without a record."""


@dataclass(frozen=True)
class Keeping:
    """How long bytes are kept: files (zero: for ever), and what is in quarantine."""

    files: timedelta
    quarantine: timedelta


@dataclass(frozen=True)
class Inspection:
    """What is left to do for a file, and what is to be said about it.

    Attributes:
        event: what the message tells, for subscribers that choose.
        due_time: when the sweeper looks at the file again, once it is announced.
    """

    left: Left
    event: str
    subject: str
    message: str
    due_time: str


def inspect(file_id: str, *, records: Records, objects: Objects, keeping: Keeping, now: datetime) -> Inspection:
    """Compare size and checksum of a file that is still uploading; for others, see whether they were announced.

    Raises:
        Rejected: the bytes are not those that the caller declared.
        Unknown: there is no record of this file.
        ClientError: AWS refused.
    """
    record = records.get(file_id)
    if record is None:
        raise Unknown(f"there is no record of {file_id}")
    return _inspection(_left(record, objects), record, keeping, now)


def _left(record: FileRecord, objects: Objects) -> Left:
    match record.state:
        case "uploading" | "scanning":
            return "open" if _has_arrived(record, objects) else "nothing"
        case "available":
            return "nothing" if record.announced_time else "announce"
        case "rejected" if not record.announced_time:
            return "announce"
        case "quarantined":
            return "nothing" if record.announced_time else "alert and announce"
        case _:
            # Its end is not over, or bytes came after it.
            return "discard"


def _has_arrived(record: FileRecord, objects: Objects) -> bool:
    stored = objects.head(record.object_key)
    if stored is None:
        return False
    if stored.size != record.size:
        raise Rejected(f"{stored.size} bytes are stored, {record.size} were declared")
    if stored.checksum != record.checksum:
        raise Rejected("the checksum of what is stored is not the declared one")
    return True


def _inspection(left: Left, record: FileRecord, keeping: Keeping, now: datetime) -> Inspection:
    outcome = record.state if record.state in {"rejected", "quarantined"} else "uploaded"
    message = {
        # The first five are what earlier subscribers know.
        "event": f"file_{outcome}",
        "file_id": record.file_id,
        "file_name": record.file_name,
        "file_url": record.file_url,
        "upload_time": record.upload_time,
        "version": EVENT_VERSION,
        "owner": record.owner,
        "size": record.size,
        "content_type": record.content_type,
        "checksum": record.checksum,
        **({"failure": record.failure} if record.failure and outcome != "uploaded" else {}),
    }
    return Inspection(
        left,
        event=f"file_{outcome}",
        subject=subject_of(outcome, record.file_name),
        message=json.dumps(message),
        due_time=timestamp(_due(record, keeping, now)),
    )


def _due(record: FileRecord, keeping: Keeping, now: datetime) -> datetime:
    """When the sweeper looks at the file again: when it is to be deleted, or when late bytes have arrived."""
    if record.state == "quarantined":
        return now + keeping.quarantine
    if record.state == "rejected":
        over = datetime.fromisoformat(record.expires_time) if record.expires_time else now
        return max(now, over) + LATE_BYTES
    if not keeping.files:
        return now + FOR_EVER
    return datetime.fromisoformat(record.upload_time) + keeping.files + AFTER_LIFECYCLE


def subject_of(outcome: str, file_name: str) -> str:
    """The subject of a notification, of characters that SNS takes."""
    plain = "".join(character if " " <= character <= "~" else "?" for character in file_name)
    verb = "New file uploaded" if outcome == "uploaded" else f"File {outcome}"
    return f"{verb}: {plain}"[:MAX_SUBJECT]
