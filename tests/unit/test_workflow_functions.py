"""What the workflow's functions decide, with AWS in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.common.records import FileRecord, Quota, timestamp
from functions.discard.logic import discard
from functions.inspect.logic import (
    Gate,
    Inspection,
    Keeping,
    Quarantined,
    Rejected,
    Unknown,
    inspect,
    subject_of,
)
from functions.inspect.scan import SCAN_TAG, NotTagged
from functions.sweep.logic import Sweeper, Swept
from tests.unit.fakes import sha256
from tests.unit.memory import Aws

CHECKSUM = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="  # of b"hello"
NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
ROOM = Quota(1000, 100)
KEEPING = Keeping(files=timedelta(days=90), quarantine=timedelta(days=30))


def add(
    aws: Aws,
    file_id: str = "f",
    *,
    began: datetime = NOW,
    content: bytes | None = b"hello",
    **changed: Any,  # noqa: ANN401
) -> None:
    record = FileRecord(
        file_id=file_id,
        owner="ann",
        file_name="a.txt",
        content_type="text/plain",
        size=5,
        checksum=CHECKSUM,
        object_key=f"uploads/{file_id}",
        state="uploading",
        upload_time=timestamp(began),
        file_url=f"https://api/v1/files/{file_id}/content",
        expires_time=timestamp(began + timedelta(hours=24)),
        due_time=timestamp(began + timedelta(minutes=15)),
    )
    aws.records.create(record, quota=ROOM, now=began)
    if changed:
        aws.change(file_id, **changed)
    if content is not None:
        aws.s3.store(f"uploads/{file_id}", content)


def look(
    aws: Aws,
    *,
    scanning: bool = False,
    said: str = "",
    now: datetime = NOW,
    detail: dict[str, Any] | None = None,
    allowed: Sequence[str] = ("text/*", "application/octet-stream"),
    strict: bool = False,
) -> Inspection:
    gate = Gate(allowed, scanning=scanning, strict=strict)
    event = {"file_id": "f", "detail": detail or ({"scan": {"status": said}} if said else {})}
    return inspect(event, records=aws.records, objects=aws.objects, gate=gate, keeping=KEEPING, now=now)


def test_a_file_that_is_what_was_declared_is_opened_and_announced(aws: Aws) -> None:
    add(aws)
    found = look(aws)
    assert (found.left, found.subject, found.event) == ("open", "New file uploaded: a.txt", "file_uploaded")
    # Kept for 90 days, and a day more for S3's lifecycle to come first.
    assert found.due_time == "2026-04-03T12:00:00.000+00:00"
    message = json.loads(found.message)
    assert dict(list(message.items())[:5]) == {
        "event": "file_uploaded",
        "file_id": "f",
        "file_name": "a.txt",
        "file_url": "https://api/v1/files/f/content",
        "upload_time": "2026-01-02T12:00:00.000+00:00",
    }
    assert dict(list(message.items())[5:]) == {
        "version": "1",
        "owner": "ann",
        "size": 5,
        "content_type": "text/plain",
        "checksum": CHECKSUM,
        "detected_type": "text/plain",
    }


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"hell", "4 bytes are stored, 5 were declared"),
        (b"hellO", "the checksum of what is stored is not the declared one"),
    ],
)
def test_a_file_that_is_something_else_is_rejected(aws: Aws, content: bytes, why: str) -> None:
    add(aws, content=content)
    with pytest.raises(Rejected, match=why):
        look(aws)


def test_a_file_without_bytes_is_waited_for(aws: Aws) -> None:
    add(aws, content=None)
    assert look(aws).left == "nothing"


def test_what_runs_is_rejected_whatever_it_is_called(aws: Aws) -> None:
    add(aws, content=b"<svg>", checksum=sha256(b"<svg>"))
    with pytest.raises(Rejected, match=re.escape("the file is image/svg+xml, and was declared as text/plain")):
        look(aws)


def test_a_wrong_label_is_corrected_and_told(aws: Aws) -> None:
    add(aws, content=b"GIF89", checksum=sha256(b"GIF89"), content_type="application/pdf")
    found = look(aws, allowed=["application/pdf", "text/*"])
    assert (found.left, found.detected_type) == ("open", "text/plain")
    message = json.loads(found.message)
    assert (message["content_type"], message["detected_type"]) == ("application/pdf", "text/plain")


def test_a_wrong_label_is_rejected_where_the_setting_says_so(aws: Aws) -> None:
    add(aws, content=b"GIF89", checksum=sha256(b"GIF89"), content_type="application/pdf")
    with pytest.raises(Rejected, match="the file is text/plain, and was declared as application/pdf"):
        look(aws, allowed=["application/pdf", "text/*"], strict=True)


def test_a_name_counts(aws: Aws) -> None:
    add(aws, file_name="a.html")
    with pytest.raises(Rejected, match="named as text/html"):
        look(aws)


def test_head_and_tail_of_a_large_file_are_read_and_no_more(aws: Aws) -> None:
    content = b"a" * 1_000_000
    add(aws, content=content, checksum=sha256(content), size=len(content))
    assert look(aws).left == "open"
    assert aws.s3.ranges == [(0, 65_535), (1_000_000 - 65_557, 999_999)]
    aws.s3.ranges.clear()
    aws.s3.store("uploads/f", b"hello")
    aws.change("f", size=5, checksum=CHECKSUM)
    assert look(aws).left == "open"
    assert aws.s3.ranges == [(0, 4)]


def test_a_type_that_is_not_allowed_any_more_is_rejected(aws: Aws) -> None:
    add(aws, content_type="image/png")
    with pytest.raises(Rejected, match="the type image/png is not allowed"):
        look(aws)


def test_what_the_bytes_are_is_told(aws: Aws) -> None:
    add(aws, content_type="application/octet-stream")
    assert look(aws).detected_type == "text/plain"


def test_a_file_waits_for_its_scan_and_is_looked_at_again(aws: Aws) -> None:
    add(aws)
    found = look(aws, scanning=True)
    assert (found.left, found.due_time) == ("wait for scan", "2026-01-02T12:15:00.000+00:00")
    aws.change("f", state="scanning")
    assert look(aws, scanning=True).left == "nothing"


@pytest.mark.parametrize("state", ["uploading", "scanning"])
@pytest.mark.parametrize("said", ["", "NO_THREATS_FOUND"])
def test_the_tag_opens_a_file_whether_or_not_its_event_came(aws: Aws, state: str, said: str) -> None:
    add(aws, state=state)
    aws.s3.tags["uploads/f"] = {SCAN_TAG: "NO_THREATS_FOUND"}
    assert look(aws, scanning=True, said=said).left == "open"


@pytest.mark.parametrize(
    ("tag", "said", "why"),
    [
        ("THREATS_FOUND", "", "malware was found"),
        ("", "THREATS_FOUND", "malware was found"),
        ("UNSUPPORTED", "UNSUPPORTED", "could not be scanned"),
        ("", "FAILED", "could not be scanned"),
        ("ACCESS_DENIED", "", "could not be scanned"),
    ],
)
def test_what_is_not_clean_is_quarantined(aws: Aws, tag: str, said: str, why: str) -> None:
    add(aws)
    aws.s3.tags["uploads/f"] = {SCAN_TAG: tag} if tag else {}
    with pytest.raises(Quarantined, match=why):
        look(aws, scanning=True, said=said)


def test_a_clean_file_without_its_tag_is_tried_again(aws: Aws) -> None:
    add(aws)
    with pytest.raises(NotTagged):
        look(aws, scanning=True, said="NO_THREATS_FOUND")


def test_nobody_waits_for_a_scan_for_ever(aws: Aws) -> None:
    add(aws, state="scanning")
    assert look(aws, scanning=True, now=NOW + timedelta(hours=24)).left == "nothing"
    with pytest.raises(Quarantined, match="nobody scanned"):
        look(aws, scanning=True, now=NOW + timedelta(hours=24, seconds=1))


def test_a_file_whose_bytes_are_gone_does_not_wait_for_its_scan(aws: Aws) -> None:
    add(aws, content=None, state="scanning")
    with pytest.raises(Rejected, match="its bytes are gone"):
        look(aws, scanning=True)


def test_an_open_file_stays_open_whatever_its_tag_says(aws: Aws) -> None:
    add(aws, state="available", announced_time="2026-01-02T12:00:01Z")
    aws.s3.tags["uploads/f"] = {SCAN_TAG: "THREATS_FOUND"}
    assert look(aws, scanning=True, said="THREATS_FOUND").left == "nothing"


def test_trouble_with_s3_is_not_taken_for_a_missing_file(aws: Aws) -> None:
    add(aws)
    aws.s3.failing = True
    with pytest.raises(Exception, match="503"):
        look(aws)


def test_bytes_without_a_record_are_told(aws: Aws) -> None:
    with pytest.raises(Unknown, match="no record of f"):
        look(aws)


@pytest.mark.parametrize(
    ("changed", "left"),
    [
        ({"state": "available"}, "announce"),
        ({"state": "available", "available_time": "2026-01-02T11:50:00.000Z"}, "announce"),
        ({"state": "available", "available_time": "2026-01-02T11:50:01.000Z"}, "nothing"),
        ({"state": "available", "announced_time": "2026-01-02T12:00:01Z"}, "nothing"),
        ({"state": "ending", "ends_as": "rejected"}, "discard"),
        ({"state": "rejected", "failure": "no"}, "announce"),
        ({"state": "rejected", "announced_time": "2026-01-02T12:00:01Z"}, "discard"),
        ({"state": "quarantined", "failure": "no"}, "alert and announce"),
        ({"state": "quarantined", "announced_time": "2026-01-02T12:00:01Z"}, "nothing"),
        ({"state": "aborted"}, "discard"),
        ({"state": "expired"}, "discard"),
        ({"state": "deleted"}, "discard"),
    ],
)
def test_an_event_that_comes_again_does_what_is_left(aws: Aws, changed: dict[str, Any], left: str) -> None:
    add(aws, **changed)
    assert look(aws).left == left


def stored_event(aws: Aws, version: str = "") -> dict[str, Any]:
    """What S3 tells of a version, by default the newest."""
    version = version or aws.s3.versions["uploads/f"][-1][0]
    return {"reason": "POST Object", "object": {"key": "uploads/f", "version-id": version}}


@pytest.mark.parametrize("announced", ["", "2026-01-02T12:00:01Z"])
def test_what_is_sent_again_after_the_file_is_open_is_not_kept_twice(aws: Aws, announced: str) -> None:
    add(aws, state="available", available_time=timestamp(NOW))
    if announced:
        aws.change("f", announced_time=announced)
    aws.s3.store("uploads/f", b"hello")
    assert look(aws, detail=stored_event(aws)).left == "discard"


def test_what_is_sent_again_before_the_file_is_open_makes_way_for_the_newest(aws: Aws) -> None:
    add(aws)
    first = aws.s3.versions["uploads/f"][0][0]
    aws.s3.store("uploads/f", b"hello")
    assert look(aws, detail=stored_event(aws, first)).left == "discard"
    assert look(aws, detail=stored_event(aws)).left == "open"


def test_what_is_told_of_a_rejected_file_says_why(aws: Aws) -> None:
    add(aws, state="rejected", failure="it is something else")
    found = look(aws)
    assert (found.event, found.subject) == ("file_rejected", "File rejected: a.txt")
    assert json.loads(found.message)["failure"] == "it is something else"


@given(st.text())
def test_every_name_makes_a_subject_that_sns_takes(name: str) -> None:
    subject = subject_of("uploaded", name)
    assert subject.isascii()
    assert subject.isprintable()
    assert len(subject) < 100


# discard


def end(aws: Aws, now: datetime = NOW, file_id: str = "f", *, leave_markers: bool = False) -> str:
    return discard(
        file_id,
        records=aws.records,
        objects=aws.objects,
        leave_markers=leave_markers,
        keep_record=timedelta(days=90),
        now=now,
    )


def test_a_claimed_file_leaves_nothing_but_its_record(aws: Aws) -> None:
    add(aws, state="ending", ends_as="aborted")
    aws.s3.store("uploads/f", b"again")
    aws.s3.uploads["m1"] = ("uploads/f", {1: b"part"})
    aws.s3.store("uploads/f-other", b"of someone else")
    assert end(aws) == "aborted"
    assert (aws.s3.objects, aws.s3.uploads) == ({"uploads/f-other": b"of someone else"}, {})
    assert aws.quota("ann") == (0, 0)
    record = aws.items()["f"]
    assert record["state"] == "aborted"
    assert record["purge_time"] == (NOW + timedelta(days=90)).timestamp()
    # Until an hour after the last link, bytes may still come.
    assert record["due_time"] == "2026-01-03T13:00:00.000+00:00"


def test_what_is_copied_is_marked_once_and_left_to_the_lifecycle(aws: Aws) -> None:
    add(aws, state="ending", ends_as="expired")
    aws.s3.store("uploads/f", b"again")
    aws.s3.uploads["m1"] = ("uploads/f", {1: b"part"})
    assert end(aws, leave_markers=True) == "expired"
    assert (aws.s3.objects, aws.s3.uploads, aws.quota("ann")) == ({}, {}, (0, 0))
    assert (len(aws.s3.versions["uploads/f"]), len(aws.s3.markers["uploads/f"])) == (2, 1)
    end(aws, NOW + timedelta(hours=20), leave_markers=True)
    assert len(aws.s3.markers["uploads/f"]) == 1, "nothing came, so nothing is marked"
    aws.s3.store("uploads/f", b"late")
    end(aws, NOW + timedelta(hours=26), leave_markers=True)
    assert (aws.s3.objects, len(aws.s3.markers["uploads/f"])) == ({}, 2)


def test_a_second_end_changes_nothing(aws: Aws) -> None:
    add(aws, state="ending", ends_as="deleted")
    end(aws)
    before = aws.items()
    assert end(aws) == "deleted"
    assert (aws.items(), aws.quota("ann")) == (before, (0, 0))


def test_bytes_that_come_after_the_end_are_removed_until_no_more_can_come(aws: Aws) -> None:
    add(aws, state="ending", ends_as="expired")
    end(aws)
    aws.s3.store("uploads/f", b"hello")
    later = NOW + timedelta(hours=26)
    assert end(aws, later) == "expired"
    assert aws.s3.objects == {}
    assert "due_time" not in aws.items()["f"]


def test_a_file_in_quarantine_keeps_its_bytes_until_its_time_is_over(aws: Aws) -> None:
    add(aws, state="ending", ends_as="quarantined", failure="bad")
    assert end(aws) == "quarantined"
    assert aws.quota("ann") == (0, 0)
    assert end(aws) == "quarantined"
    assert aws.s3.objects == {"uploads/f": b"hello"}
    aws.change("f", due_time=timestamp(NOW + timedelta(days=30)), announced_time="x")
    end(aws, NOW + timedelta(days=31))
    assert aws.s3.objects == {}
    assert "due_time" not in aws.items()["f"]


@pytest.mark.parametrize("state", ["uploading", "scanning", "available"])
def test_of_a_file_that_nobody_claimed_what_came_before_goes_and_nothing_else(aws: Aws, state: str) -> None:
    add(aws, state=state)
    aws.s3.store("uploads/f", b"HELLO")
    aws.s3.store("uploads/f-other", b"of someone else")
    before = aws.items()
    assert end(aws) == state
    assert [content for _, content, _ in aws.s3.versions["uploads/f"]] == [b"HELLO"]
    assert "uploads/f-other" in aws.s3.objects
    assert (aws.items(), aws.quota("ann")) == (before, (5, 1))


def test_what_came_before_stays_where_s3_holds_it(aws: Aws) -> None:
    add(aws, state="available")
    aws.s3.kept = {aws.s3.versions["uploads/f"][0][0]}
    aws.s3.store("uploads/f", b"HELLO")
    assert end(aws) == "available"
    assert len(aws.s3.versions["uploads/f"]) == 2


def test_bytes_that_s3_keeps_leave_the_file_claimed(aws: Aws) -> None:
    add(aws, state="ending", ends_as="deleted")
    aws.s3.kept = {aws.s3.versions["uploads/f"][0][0]}
    with pytest.raises(Exception, match="AccessDenied"):
        end(aws)
    assert (aws.items()["f"]["state"], aws.quota("ann")) == ("ending", (5, 1))


# sweep


class Sweeping:
    """What a sweep started and had discarded."""

    def __init__(self, aws: Aws, has_time: Callable[[], bool] = lambda: True) -> None:
        self.started: list[tuple[str, str]] = []
        self.discarded: list[str] = []
        self.sweeper = Sweeper(
            records=aws.records,
            objects=aws.objects,
            start=lambda *names: self.started.append(names),
            discard=self.discarded.append,
            has_time=has_time,
        )

    def at(self, now: datetime) -> Swept:
        return self.sweeper.sweep(now)


def test_the_sweeper_looks_at_what_is_due_and_at_nothing_else(aws: Aws) -> None:
    add(aws, "new", began=NOW - timedelta(minutes=14))
    add(aws, "stuck", began=NOW - timedelta(minutes=16))
    add(aws, "slow", began=NOW - timedelta(minutes=16), content=None)
    add(aws, "never", began=NOW - timedelta(hours=25), content=None)
    add(aws, "unsaid", began=NOW - timedelta(minutes=16), state="available")
    add(aws, "kept", began=NOW - timedelta(minutes=16), state="ending", ends_as="aborted")
    add(aws, "late", began=NOW - timedelta(hours=26), state="aborted")
    sweeping = Sweeping(aws)
    swept = sweeping.at(NOW)
    assert swept == Swept(started=2, expired=1, discarded=2, waiting=1)
    assert sorted(sweeping.started) == [("stuck", "sweep-stuck-20260102T12"), ("unsaid", "sweep-unsaid-20260102T12")]
    assert sorted(sweeping.discarded) == ["kept", "late", "never"]
    assert aws.items()["never"]["ends_as"] == "expired"
    assert Sweeping(aws).at(NOW).started == 0, "what was started is left alone for an hour"


def test_a_file_is_deleted_when_its_time_is_over_unless_it_is_held(aws: Aws) -> None:
    for file_id, held in (("f", False), ("held", True)):
        add(aws, file_id, state="available", announced_time="x", due_time=timestamp(NOW), legal_hold=held)
    sweeping = Sweeping(aws)
    assert sweeping.at(NOW).expired == 1
    assert sweeping.discarded == ["f"]
    assert aws.items()["held"]["state"] == "available"


def test_a_sweep_without_time_says_so_and_leaves_the_rest(aws: Aws) -> None:
    add(aws, "a", began=NOW - timedelta(hours=1))
    add(aws, "b", began=NOW - timedelta(hours=1))
    left = iter([True, False])
    sweeping = Sweeping(aws, has_time=lambda: next(left))
    assert sweeping.at(NOW).complete is False
    assert len(sweeping.started) == 1


def test_a_quota_that_drifted_is_counted_again(aws: Aws) -> None:
    add(aws, "a")
    add(aws, "b", state="available")
    add(aws, "c", state="rejected")
    add(aws, "d", state="ending", ends_as="deleted")
    assert aws.quota("ann") == (20, 4)
    assert Sweeping(aws).at(NOW).recounted == 0, "it is not due"
    aws.records.recount("ann", now=NOW)
    assert aws.quota("ann") == (15, 3)


def test_a_recount_gives_way_to_an_upload_that_starts_meanwhile(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    add(aws, "a")
    records = aws.records
    query = aws.dynamodb.query

    def slow(**request: Any) -> object:  # noqa: ANN401
        page = query(**request)
        monkeypatch.undo()
        add(aws, "b")
        return page

    monkeypatch.setattr(aws.dynamodb, "query", slow)
    assert records.recount("ann", now=NOW) is False
    assert aws.quota("ann") == (10, 2)
