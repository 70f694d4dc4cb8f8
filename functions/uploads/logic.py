"""Start, parts, state, completion and abort of an upload whose bytes go to S3 directly."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self

from functions.common import fields
from functions.common.contract import MAX_FIRST_PARTS, MAX_PARTS_PER_CALL, MAX_POST_BYTES, State, object_key
from functions.common.objects import NoUploadError, Objects, seconds_left
from functions.common.records import (
    LOOK_AFTER,
    FileRecord,
    Quota,
    QuotaExceededError,
    Records,
    TakenError,
    timestamp,
)
from functions.common.rest_api import QUOTA_EXCEEDED, Refused, failure_of
from functions.uploads.parts import Cut, checksum_of_parts, faults

MAX_FAULTS_TOLD = 20
# The checksum of parts, as S3 writes it.
_COMPOSITE = re.compile(r"(?P<digest>[A-Za-z0-9+/]{43}=)-(?P<count>[1-9]\d{0,4})")
_IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9_.:-]{8,128}")
# Ids made from an idempotency key are made below this one (RFC 9562, "UUID version 5").
_NAMESPACE = uuid.UUID("6f0d2a1e-6a64-5b0c-9d0e-1f4f0a7c6b52")


@dataclass(frozen=True)
class Rules:
    """The limits of uploads, from the settings.

    Attributes:
        max_bytes: of one file.
        link_seconds: for which a link is good.
        expiry: how long an upload may take.
        key_arn: what encrypts the bytes.
    """

    max_bytes: int
    allowed_content_types: Sequence[str]
    quota: Quota
    link_seconds: int
    expiry: timedelta
    key_arn: str


@dataclass(frozen=True)
class Declaration:
    """A caller's description of a file before sending it.

    Attributes:
        checksum: of the whole file; empty if it is agreed when the parts are put together.
    """

    file_name: str
    size: int
    content_type: str
    checksum: str = ""
    part_checksums: tuple[str, ...] = ()

    @classmethod
    def parse(cls, body: str | None, *, rules: Rules) -> Self:
        """Check the body of a start, field by field.

        Raises:
            Refused: with what is wrong, in words the caller can act on.
        """
        found = fields.json_object(body)
        size = fields.whole_number(found, "size", least=1)
        if size > rules.max_bytes:
            raise Refused(f"size is larger than {rules.max_bytes} bytes, which is the most that is taken here", 413)
        # The form of a small file pins its checksum. Links pin those of parts, so the whole may follow at completion.
        checksum = fields.text(found, "checksum") if size <= MAX_POST_BYTES or "checksum" in found else ""
        part_checksums = found.get("part_checksums", [])
        if size <= MAX_POST_BYTES:
            fields.digest(checksum, "checksum")
            part_checksums = []
        else:
            if checksum:
                _check_composite(checksum, Cut.of(size))
            if not isinstance(part_checksums, list) or len(part_checksums) > MAX_FIRST_PARTS:
                raise Refused(f"Invalid part_checksums: a list of {MAX_FIRST_PARTS} at most is needed")
            for number, part in enumerate(part_checksums[: Cut.of(size).count], 1):
                fields.digest(part, f"part_checksums/{number}")
        return cls(
            file_name=fields.file_name(fields.text(found, "file_name")),
            size=size,
            content_type=fields.content_type(found.get("content_type"), allowed=rules.allowed_content_types),
            checksum=checksum,
            part_checksums=tuple(part_checksums[: Cut.of(size).count]),
        )

    def is_of(self, record: FileRecord) -> bool:
        """Return whether a record describes the same file; a declaration without a checksum fits any checksum."""
        return (self.file_name, self.size, self.content_type, self.checksum or record.checksum) == (
            record.file_name,
            record.size,
            record.content_type,
            record.checksum,
        )


def _check_composite(checksum: str, cut: Cut) -> None:
    form = _COMPOSITE.fullmatch(checksum)
    if not form or int(form["count"]) != cut.count:
        raise Refused(
            f"Invalid checksum: a file beyond {MAX_POST_BYTES} bytes is sent in parts, here {cut.count} of "
            f"{cut.part_size} bytes. Its checksum is the SHA-256 of the parts' SHA-256 digests one after the other, in "
            f"base64, then '-{cut.count}'"
        )
    fields.digest(form["digest"], "checksum")


def _checksum_at_completion(body: str | None, record: FileRecord) -> str:
    """Return the checksum in the body of a completion; empty if there is none."""
    found = fields.json_object(body) if body else {}
    if "checksum" not in found:
        return ""
    checksum = fields.text(found, "checksum")
    if record.part_size:
        _check_composite(checksum, Cut(record.size, record.part_size))
    else:
        fields.digest(checksum, "checksum")
    return checksum


def _agree(checksum: str, record: FileRecord) -> None:
    """Refuse a checksum that differs from the one in the record; an empty one differs from none."""
    if checksum and record.checksum and checksum != record.checksum:
        raise Refused(
            "The checksum is not that of this upload", 409, [("checksum", f"this upload has {record.checksum}")]
        )


def file_id_of(owner: str, idempotency_key: str | None) -> str:
    """Return the id of a new file; it is derived from the caller's key if there is one, so that starts are idempotent.

    Raises:
        Refused: the key is not one.
    """
    if idempotency_key is None:
        return str(uuid.uuid4())
    if not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
        raise Refused("Invalid Idempotency-Key: 8 to 128 letters, digits and any of _ . : - are needed")
    return str(uuid.uuid5(_NAMESPACE, f"{owner}\n{idempotency_key}"))


class Uploads:
    """The operations of callers on uploads; each is idempotent and can be repeated after a crash at any point."""

    def __init__(self, *, records: Records, objects: Objects, rules: Rules, discard: Callable[[str], None]) -> None:
        """
        Args:
            discard: has the function `discard` end a claimed file, without waiting for it.
        """
        self._records = records
        self._objects = objects
        self._rules = rules
        self._discard = discard

    def start(
        self, declaration: Declaration, *, owner: str, file_id: str, file_url: str, now: datetime
    ) -> dict[str, Any]:
        """Record an upload, reserve its quota, and return how to send it.

        Raises:
            Refused: the quota is used up (403), the id belongs to another declaration (422), or the time of the upload
                is over and the workflow is about to inspect its bytes (409).
            ClientError: AWS refused.
        """
        cut = Cut.of(declaration.size)
        record = FileRecord(
            file_id=file_id,
            owner=owner,
            file_name=declaration.file_name,
            content_type=declaration.content_type,
            size=declaration.size,
            checksum=declaration.checksum,
            object_key=object_key(file_id),
            state=State.UPLOADING,
            upload_time=timestamp(now),
            file_url=file_url,
            expires_time=timestamp(now + self._rules.expiry),
            part_size=cut.part_size if declaration.size > MAX_POST_BYTES else 0,
            due_time=timestamp(now + LOOK_AFTER),
        )
        try:
            self._records.create(record, quota=self._rules.quota, now=now)
        except QuotaExceededError:
            raise Refused(QUOTA_EXCEEDED, 403) from None
        except TakenError:
            earlier = self._records.get(file_id)
            if earlier is None or earlier.owner != owner or not declaration.is_of(earlier):
                raise Refused("This Idempotency-Key began another upload; use a new one", 422) from None
            record = earlier
        begun: dict[str, Any] = {
            "file_id": record.file_id,
            "state": record.shown_state,
            "expires_time": record.expires_time,
        }
        if record.state != State.UPLOADING:
            return begun
        if record.expired(now):
            return {**begun, "state": self._expire(record, now)}
        if not record.part_size:
            return {**begun, "method": "post", "post": self._form(record, now)}
        upload_id = record.upload_id or self._begin_parts(record)
        parts = [
            self._link(record, upload_id, number, checksum, now)
            for number, checksum in enumerate(declaration.part_checksums, 1)
        ]
        return {
            **begun,
            "method": "multipart",
            "part_size": record.part_size,
            "part_count": cut.count,
            "parts": parts,
        }

    def links(self, record: FileRecord, body: str | None, *, now: datetime) -> dict[str, Any]:
        """Return new links for parts; each accepts only the bytes with the given checksum.

        Raises:
            Refused: the request is wrong, or the upload is not in parts or not under way.
            ClientError: AWS refused.
        """
        wanted = fields.json_object(body).get("parts")
        if not isinstance(wanted, list) or not 1 <= len(wanted) <= MAX_PARTS_PER_CALL:
            raise Refused(f"Invalid parts: a list of 1 to {MAX_PARTS_PER_CALL} is needed")
        if not record.part_size:
            raise Refused("This upload is sent in one piece: GET /uploads/{file_id} gives a form for it", 409)
        count = Cut(record.size, record.part_size).count
        numbered = []
        for place, part in enumerate(wanted, 1):
            if not isinstance(part, dict):
                raise Refused(f"Invalid parts/{place}: an object with part_number and checksum is needed")
            number = fields.whole_number(part, "part_number", least=1, most=count)
            checksum = fields.text(part, "checksum")
            fields.digest(checksum, f"parts/{place}/checksum")
            numbered.append((number, checksum))
        self._still_uploading(record, now)
        upload_id = record.upload_id or self._begin_parts(record)
        return {
            "parts": [self._link(record, upload_id, number, checksum, now) for number, checksum in numbered],
            "links_expire": timestamp(now + timedelta(seconds=self._seconds(record, now))),
        }

    def status(self, record: FileRecord, *, now: datetime) -> dict[str, Any]:
        """Return the state of an upload, and what is needed to continue it.

        Raises:
            ClientError: AWS refused.
        """
        known: dict[str, Any] = {
            "file_id": record.file_id,
            "file_name": record.file_name,
            "size": record.size,
            "content_type": record.content_type,
            "state": record.shown_state,
            "expires_time": record.expires_time,
            "method": "multipart" if record.part_size else "post",
        }
        if record.checksum:
            known["checksum"] = record.checksum
        known |= failure_of(record)
        if record.part_size:
            known |= {"part_size": record.part_size, "part_count": Cut(record.size, record.part_size).count}
        if record.state != State.UPLOADING or record.expired(now):
            return known
        if not record.part_size:
            return known if self._objects.is_there(record.object_key) else {**known, "post": self._form(record, now)}
        if not record.upload_id:
            return {**known, "parts": []}
        try:
            parts = self._objects.parts(record.object_key, record.upload_id)
        except NoUploadError:
            return known
        listed = [{"part_number": part.number, "size": part.size, "checksum": part.checksum} for part in parts]
        return {**known, "parts": listed}

    def complete(self, record: FileRecord, body: str | None, *, now: datetime) -> dict[str, Any]:
        """Complete an upload if sizes and checksums are right; for one request, check that the bytes have arrived.

        The workflow then opens the file. Calling it again changes nothing.

        Args:
            body: of the request. It may have the `checksum` of the whole file, which the parts then have to fit.

        Raises:
            Refused: the request is wrong, bytes are missing or wrong (409), or the upload has ended.
            ClientError: AWS refused.
        """
        checksum = _checksum_at_completion(body, record)
        _agree(checksum, record)
        if record.state == State.UPLOADING:
            self._still_uploading(record, now)
            if record.part_size:
                record = self._put_together(record, checksum, now)
                _agree(checksum, record)
            elif not self._objects.is_there(record.object_key):
                raise Refused("No bytes have arrived yet", 409)
        elif record.state not in {State.SCANNING, State.AVAILABLE}:
            self._still_uploading(record, now)
        return {"file_id": record.file_id, "state": record.shown_state, "file_url": record.file_url}

    def abort(self, record: FileRecord, *, now: datetime) -> None:
        """Abort an upload: its quota is released, and its bytes in S3 are deleted.

        Raises:
            Refused: it is a file already.
            ClientError: AWS refused.
        """
        claimed = self._records.claim(record, State.ABORTED, of=(State.UPLOADING, State.SCANNING), now=now)
        if not claimed:
            current = self._records.get(record.file_id)
            if current is not None and current.shown_state in {State.AVAILABLE, State.QUARANTINED}:
                raise Refused("The upload is complete: use DELETE /files/{file_id}", 409)
            if current is None or current.state != State.ENDING:
                return
        self._discard(record.file_id)

    def _put_together(self, record: FileRecord, checksum: str, now: datetime) -> FileRecord:
        """Complete the multipart upload; return the record as it is now.

        The record has the checksum before S3 puts the parts together, because the workflow compares it at once. The
        same call may have completed it before, or at the same time. The workflow may even have removed the object
        again, so the record tells whether the upload was completed.
        """
        try:
            if not record.upload_id:
                raise Refused("No part has arrived yet", 409)
            parts = self._objects.parts(record.object_key, record.upload_id)
            wrong = faults(Cut(record.size, record.part_size), record.checksum or checksum, parts)
            if wrong:
                more = f", and {len(wrong) - MAX_FAULTS_TOLD} more" if len(wrong) > MAX_FAULTS_TOLD else ""
                raise Refused(f"Parts are missing or wrong{more}", 409, wrong[:MAX_FAULTS_TOLD])
            if not record.checksum:
                record = self._remember_checksum(record, checksum_of_parts(parts), now)
            self._objects.complete(record.object_key, record.upload_id, parts, size=record.size)
        except NoUploadError:
            is_there = self._objects.is_there(record.object_key)
            record = self._records.get(record.file_id) or record
            if not is_there:
                if record.state == State.UPLOADING:
                    raise Refused("The upload is aborted", 409) from None
                if record.state not in {State.SCANNING, State.AVAILABLE}:
                    self._still_uploading(record, now)
        return record

    def _remember_checksum(self, record: FileRecord, checksum: str, now: datetime) -> FileRecord:
        """Write the checksum of the parts into the record. The first of several callers decides."""
        if self._records.remember_checksum(record.file_id, checksum):
            return replace(record, checksum=checksum)
        current = self._records.get(record.file_id) or record
        _agree(checksum, current)
        self._still_uploading(current, now)
        return current

    def _begin_parts(self, record: FileRecord) -> str:
        """Return S3's id of the multipart upload; if two calls start one at the same time, the id in the record.

        The other one has no parts, costs nothing, and S3's lifecycle removes it.
        """
        upload_id = self._objects.begin_parts(record.object_key, content_type=record.content_type)
        if self._records.remember_upload_id(record.file_id, upload_id):
            return upload_id
        current = self._records.get(record.file_id)
        if current is None or not current.upload_id:
            raise Refused("The upload has ended", 409)
        return current.upload_id

    def _still_uploading(self, record: FileRecord, now: datetime) -> None:
        if record.state != State.UPLOADING:
            raise Refused(f"The upload is {record.shown_state}", 409)
        if record.expired(now):
            raise Refused("The time of this upload is over; start another one", 409)

    def _expire(self, record: FileRecord, now: datetime) -> str:
        """End an upload whose time is over, as the sweeper would, and return its state."""
        if self._objects.is_there(record.object_key):
            raise Refused("All bytes have arrived: GET /uploads/{file_id} says what becomes of them", 409)
        if self._records.claim(record, State.EXPIRED, of=(State.UPLOADING,), now=now):
            self._discard(record.file_id)
            return State.EXPIRED
        current = self._records.get(record.file_id)
        return current.shown_state if current else State.EXPIRED

    def _seconds(self, record: FileRecord, now: datetime) -> int:
        return seconds_left(record.expires_time, now, at_most=self._rules.link_seconds)

    def _form(self, record: FileRecord, now: datetime) -> dict[str, Any]:
        return self._objects.post_form(
            record.object_key,
            size=record.size,
            content_type=record.content_type,
            checksum=record.checksum,
            key_arn=self._rules.key_arn,
            seconds=self._seconds(record, now),
        )

    def _link(self, record: FileRecord, upload_id: str, number: int, checksum: str, now: datetime) -> dict[str, Any]:
        size = Cut(record.size, record.part_size).size_of(number)
        url = self._objects.part_link(
            record.object_key,
            upload_id,
            number=number,
            size=size,
            checksum=checksum,
            seconds=self._seconds(record, now),
        )
        headers = {"content-length": str(size), "x-amz-checksum-sha256": checksum}
        return {"part_number": number, "method": "PUT", "url": url, "headers": headers}
