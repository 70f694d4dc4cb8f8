"""The end of a file, in an order that a crash cannot harm: claim, bytes, record, quota."""

from __future__ import annotations

from datetime import datetime, timedelta

from functions.common.contract import State
from functions.common.objects import Objects
from functions.common.records import KEPT, LATE_BYTES, LOOK_AFTER, FileRecord, Records


class UnknownFileError(Exception):
    """There is no record of this file."""


def discard(
    file_id: str, *, records: Records, objects: Objects, leave_markers: bool, keep_record: timedelta, now: datetime
) -> str:
    """Remove the bytes of a file that are not needed any more, and return the state of the file.

    A claimed file ends, and all its bytes are removed; a file that is claimed for quarantine keeps its newest version.
    After the end of a file, bytes that arrived late are removed. A file that stays loses only its older versions.

    Args:
        leave_markers: write a delete marker, which reaches the copies too, and leave old versions to the lifecycle.
        keep_record: how long the record stays after the end of the file.

    Raises:
        UnknownFileError: there is no record.
        ClientError: AWS refused; AccessDenied also where S3 keeps the bytes under a legal hold.
    """
    record = records.get(file_id)
    if record is None:
        raise UnknownFileError(file_id)
    if record.state in KEPT:
        _tidy(record, objects, leave_markers=leave_markers)
        return record.state
    if record.state == State.ENDING and record.ends_as == State.QUARANTINED:
        _tidy(record, objects, leave_markers=leave_markers)
        records.quarantine(record, due=now + LOOK_AFTER)
        return record.shown_state
    objects.remove(record.object_key, leave_marker=leave_markers)
    if record.state == State.ENDING:
        records.finish(record, due=_next_look(record, now), purge=now + keep_record, now=now)
    elif record.due_time and datetime.fromisoformat(record.due_time) <= now and not record.to_be_announced:
        records.look_again(file_id, _late_bytes(record, now), seen=record.due_time)
    return record.shown_state


def _tidy(record: FileRecord, objects: Objects, *, leave_markers: bool) -> None:
    """Remove older versions, left by a form that was sent twice, and multipart uploads that are not needed any more."""
    if not leave_markers:
        objects.remove_older(record.object_key)
    if record.state != State.UPLOADING:
        objects.abort_uploads(record.object_key)


def _next_look(record: FileRecord, now: datetime) -> datetime | None:
    """Return when the sweeper looks at the file again: for a lost announcement, or for late bytes."""
    return now + LOOK_AFTER if record.ends_as == State.REJECTED else _late_bytes(record, now)


def _late_bytes(record: FileRecord, now: datetime) -> datetime | None:
    """Return when the last bytes that a link allows have arrived; None if that is in the past."""
    if not record.expires_time:
        return None
    over = datetime.fromisoformat(record.expires_time) + LATE_BYTES
    return over if over > now else None
