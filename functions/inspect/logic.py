"""Comparison of the stored bytes with the record, and the decision about the next step of the workflow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from functions.common.contract import FailureCode, FileEvent, NextStep, Quarantined, Rejected, State
from functions.common.objects import Objects, Stored
from functions.common.records import LATE_BYTES, LOOK_AFTER, FileRecord, Records, timestamp
from functions.inspect.file_type import judge
from functions.inspect.ranged_content import Content
from functions.inspect.scan import scan_verdict

# SNS, "Publish": a subject is ASCII without line breaks, shorter than 100 characters.
MAX_SUBJECT = 99
EVENT_VERSION = "1"
_SUBJECTS = {
    FileEvent.UPLOADED: "New file uploaded",
    FileEvent.REJECTED: "File rejected",
    FileEvent.QUARANTINED: "File quarantined",
}
# A file that is kept for ever is looked at again after this long, all the same.
FOR_EVER = timedelta(days=3650)
# S3's lifecycle comes first: it costs nothing.
AFTER_LIFECYCLE = timedelta(days=1)

# GuardDuty scans within minutes, and longer where a file is large. Who waits longer than this waits for nothing.
SCANNED_WITHIN = timedelta(hours=24)

# The run that opened a file announces it within this time. If SNS is busy for longer, a second run announces it too.
ANNOUNCED_WITHIN = timedelta(minutes=10)


class Unknown(Exception):  # noqa: N818 - the workflow's history shows this name
    """The bucket has bytes without a record."""


@dataclass(frozen=True)
class Keeping:
    """Retention of bytes: of files (zero: forever), and of files in quarantine."""

    files: timedelta
    quarantine: timedelta


@dataclass(frozen=True)
class Gate:
    """The conditions for a file to become available.

    Attributes:
        allowed_content_types: allowed media types and patterns.
        scanning: whether files are scanned for malware.
        strict: refuse a file with a wrong label instead of correcting the label.
    """

    allowed_content_types: Sequence[str]
    scanning: bool
    strict: bool = False


@dataclass(frozen=True)
class Inspection:
    """The result: the next step for a file, and the texts of its messages.

    Attributes:
        event: what the message tells, for subscribers that choose.
        due_time: when the sweeper looks at the file again, once it is announced or waits for its scan.
        detected_type: type under which the file is opened: the declared type, or another one that the bytes show.
    """

    left: NextStep
    event: FileEvent
    subject: str
    message: str
    due_time: str
    detected_type: str = ""


def inspect(
    event: Mapping[str, object], *, records: Records, objects: Objects, gate: Gate, keeping: Keeping, now: datetime
) -> Inspection:
    """Judge a file that is not available yet; for other files, check whether their notification was sent.

    Args:
        event: input of the step: `file_id`, and `detail` of the event that began the workflow.

    Raises:
        Rejected: the bytes are not those that the caller declared.
        Quarantined: they are malware, or were not scanned.
        Unknown: there is no record of this file.
        ClientError: AWS refused.
    """
    file_id = str(event["file_id"])
    record = records.get(file_id)
    if record is None:
        raise Unknown(f"there is no record of {file_id}")
    if record.state not in {State.UPLOADING, State.SCANNING}:
        return _inspection(_next_step(event, record, now), record, keeping, now)
    stored = objects.head(record.object_key)
    if stored is None and record.state == State.SCANNING:
        raise Rejected(FailureCode.BYTES_MISSING, "its bytes are gone")
    if stored is None:
        return _inspection(NextStep.NOTHING, record, keeping, now)
    if (version := _stored_version(event)) and version != stored.version_id:
        # The form was sent again meanwhile. The event of what is there now goes on from here.
        return _inspection(NextStep.DISCARD, record, keeping, now)
    _compare(stored, record)
    verdict = judge(
        record.content_type,
        Content(stored.size, partial(objects.read, record.object_key)),
        gate.allowed_content_types,
        file_name=record.file_name,
        strict=gate.strict,
    )
    if verdict.refusal:
        raise Rejected(verdict.code, verdict.refusal)
    if gate.scanning and not _is_clean(event, objects.tags(record.object_key), stored, now):
        return _inspection(
            NextStep.WAIT_FOR_SCAN if record.state == State.UPLOADING else NextStep.NOTHING, record, keeping, now
        )
    return _inspection(NextStep.OPEN, replace(record, detected_type=verdict.media_type), keeping, now)


def _next_step(event: Mapping[str, object], record: FileRecord, now: datetime) -> NextStep:
    match record.state:
        case State.AVAILABLE | State.QUARANTINED if not record.to_be_announced or _is_being_announced(record, now):
            # The holder of a form can send the same bytes again while it is valid.
            return NextStep.DISCARD if _stored_version(event) else NextStep.NOTHING
        case State.QUARANTINED:
            return NextStep.ALERT_AND_ANNOUNCE
        case _ if record.to_be_announced:
            return NextStep.ANNOUNCE
        case _:
            # Its end is not over, or bytes came after it.
            return NextStep.DISCARD


def _stored_version(event: Mapping[str, object]) -> str:
    """Return the version in S3's event; empty if something else started the workflow.

    Source: S3, "EventBridge event message structure".
    """
    detail = event.get("detail")
    stored = detail.get("object") if isinstance(detail, Mapping) and "reason" in detail else None
    return str(stored.get("version-id", "")) if isinstance(stored, Mapping) else ""


def _is_being_announced(record: FileRecord, now: datetime) -> bool:
    """Return whether another run may be announcing the file: events of S3 and of a scan can come together."""
    return bool(record.available_time) and now - datetime.fromisoformat(record.available_time) < ANNOUNCED_WITHIN


def _compare(stored: Stored, record: FileRecord) -> None:
    if stored.size != record.size:
        raise Rejected(FailureCode.SIZE_MISMATCH, f"{stored.size} bytes are stored, {record.size} were declared")
    if stored.checksum != record.checksum:
        raise Rejected(FailureCode.CHECKSUM_MISMATCH, "the checksum of what is stored is not the declared one")


def _is_clean(event: Mapping[str, object], tags: Mapping[str, str], stored: Stored, now: datetime) -> bool:
    """Return whether a file was scanned and found clean; False while there is no result."""
    match scan_verdict(event, tags):
        case "infected":
            raise Quarantined(FailureCode.MALWARE_FOUND, "malware was found in the file")
        case "unscannable":
            raise Quarantined(FailureCode.SCAN_FAILED, "the file could not be scanned for malware")
        case "waiting":
            if now - stored.since > SCANNED_WITHIN:
                raise Quarantined(FailureCode.SCAN_LATE, "the file was not scanned for malware in time")
            return False
    return True


def _inspection(left: NextStep, record: FileRecord, keeping: Keeping, now: datetime) -> Inspection:
    event = {State.REJECTED: FileEvent.REJECTED, State.QUARANTINED: FileEvent.QUARANTINED}.get(
        record.state, FileEvent.UPLOADED
    )
    message = {
        # The first five are what earlier subscribers know.
        "event": event,
        "file_id": record.file_id,
        "file_name": record.file_name,
        "file_url": record.file_url,
        "upload_time": record.upload_time,
        "version": EVENT_VERSION,
        "owner": record.owner,
        "size": record.size,
        "content_type": record.content_type,
        "checksum": record.checksum,
        **({"detected_type": record.detected_type} if record.detected_type and event == FileEvent.UPLOADED else {}),
        **_failure(record),
    }
    return Inspection(
        left,
        event=event,
        subject=subject_of(event, record.file_name),
        message=json.dumps(message),
        due_time=timestamp(now + LOOK_AFTER if left == NextStep.WAIT_FOR_SCAN else _due(record, keeping, now)),
        detected_type=record.detected_type,
    )


def _failure(record: FileRecord) -> dict[str, str]:
    failure = record.shown_failure if record.state in {State.REJECTED, State.QUARANTINED} else None
    return {"failure": failure.sentence, "failure_code": failure.code} if failure else {}


def _due(record: FileRecord, keeping: Keeping, now: datetime) -> datetime:
    """Return when the sweeper looks at the file again: at its expiry, or when late bytes have arrived."""
    if record.state == State.QUARANTINED:
        return now + keeping.quarantine
    if record.state == State.REJECTED:
        over = datetime.fromisoformat(record.expires_time) if record.expires_time else now
        return max(now, over) + LATE_BYTES
    if not keeping.files:
        return now + FOR_EVER
    return datetime.fromisoformat(record.upload_time) + keeping.files + AFTER_LIFECYCLE


def subject_of(event: FileEvent, file_name: str) -> str:
    """Return the subject of a notification, limited to characters that SNS accepts."""
    plain = "".join(character if " " <= character <= "~" else "?" for character in file_name)
    return f"{_SUBJECTS[event]}: {plain}"[:MAX_SUBJECT]
