"""Decisions of the workflow's functions, with AWS in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.common.contract import (
    PROCESSING_FAILED,
    SCAN_TAG,
    Failure,
    FailureCode,
    FileEvent,
    Quarantined,
    Rejected,
    State,
)
from functions.common.failures import shown
from functions.common.records import FileRecord, Quota, timestamp
from functions.discard.logic import discard
from functions.inspect.logic import Gate, Inspection, Keeping, Unknown, inspect, subject_of
from functions.inspect.scan import NotTagged
from functions.sweep.logic import Sweeper, Swept
from tests.unit.fakes import refusal, sha256
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
        state=State.UPLOADING,
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


def test_the_detected_type_is_reported(aws: Aws) -> None:
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
    with pytest.raises(Quarantined, match="was not scanned"):
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
        ({"state": "ending", "ends_as": "quarantined"}, "discard"),
        ({"state": "aborted"}, "discard"),
        ({"state": "expired"}, "discard"),
        ({"state": "deleted"}, "discard"),
    ],
)
def test_an_event_that_comes_again_does_what_is_left(aws: Aws, changed: dict[str, Any], left: str) -> None:
    add(aws, **changed)
    assert look(aws).left == left


def stored_event(aws: Aws, version: str = "") -> dict[str, Any]:
    """Return S3's event about a version, by default the newest."""
    version = version or aws.s3.versions["uploads/f"][-1][0]
    return {"reason": "POST Object", "object": {"key": "uploads/f", "version-id": version}}


def test_what_is_sent_again_while_the_file_is_in_quarantine_is_not_kept_twice(aws: Aws) -> None:
    add(aws, state="quarantined", announced_time="2026-01-02T12:00:01Z", failure="malware_found: bad")
    for _ in range(11):
        aws.s3.store("uploads/f", b"hello")
        assert look(aws, detail=stored_event(aws)).left == "discard"
        end(aws)
    assert [content for _, content, _ in aws.s3.versions["uploads/f"]] == [b"hello"]
    assert aws.quota("ann") == (5, 1)


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
    add(aws, state="rejected", failure="size_mismatch: it is something else")
    found = look(aws)
    assert (found.event, found.subject) == ("file_rejected", "File rejected: a.txt")
    message = json.loads(found.message)
    assert (message["failure"], message["failure_code"]) == ("it is something else", "size_mismatch")


@given(st.text())
def test_every_name_makes_a_subject_that_sns_takes(name: str) -> None:
    subject = subject_of(FileEvent.UPLOADED, name)
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


def test_a_file_in_quarantine_keeps_its_bytes_and_they_count_until_its_time_is_over(aws: Aws) -> None:
    add(aws, state="ending", ends_as="quarantined", failure="malware_found: bad")
    aws.s3.store("uploads/f", b"hello")
    aws.s3.uploads["m1"] = ("uploads/f", {})
    for _ in range(2):
        assert end(aws) == "quarantined"
        assert (aws.quota("ann"), aws.s3.uploads, len(aws.s3.versions["uploads/f"])) == ((5, 1), {}, 1)
    assert aws.items()["f"]["state"] == "quarantined"
    assert "purge_time" not in aws.items()["f"]
    aws.change("f", due_time=timestamp(NOW + timedelta(days=30)), announced_time="x")
    assert Sweeping(aws).at(NOW + timedelta(days=29)).expired == 0
    sweeping = Sweeping(aws)
    assert sweeping.at(NOW + timedelta(days=31)).expired == 1
    for file_id in sweeping.discarded:
        end(aws, NOW + timedelta(days=31), file_id)
    assert (aws.s3.objects, aws.quota("ann"), aws.items()["f"]["state"]) == ({}, (0, 0), "expired")
    assert "due_time" not in aws.items()["f"]


def test_a_quota_that_an_earlier_release_gave_back_is_not_given_back_again(aws: Aws) -> None:
    """It gave it back when a file came into quarantine, and left `ends_as`."""
    add(aws, "new", state="available")
    add(aws, "old", state="quarantined", ends_as="quarantined", announced_time="x", due_time=timestamp(NOW))
    later = NOW + timedelta(hours=1)
    aws.records.recount("ann", now=later)
    assert aws.quota("ann") == (5, 1)
    Sweeping(aws).at(NOW)
    assert end(aws, file_id="old") == "expired"
    assert (aws.quota("ann"), list(aws.s3.objects)) == ((5, 1), ["uploads/new"])


@pytest.mark.parametrize("state", ["uploading", "scanning", "available", "quarantined"])
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
    """The files that a sweep started, and those that it discarded."""

    def __init__(self, aws: Aws, has_time: Callable[[], bool] = lambda: True, *, tidy_from: str | None = None) -> None:
        self.started: list[tuple[str, str]] = []
        self.discarded: list[str] = []
        self.sweeper = Sweeper(
            records=aws.records,
            objects=aws.objects,
            start=lambda *names: self.started.append(names),
            discard=self.discarded.append,
            has_time=has_time,
            tidy_from=tidy_from,
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
    add(aws, "e", state="quarantined")
    later = NOW + timedelta(hours=1)
    assert Sweeping(aws).at(later).recounted == 0, "it is not due"
    assert aws.records.recount("ann", now=later)
    assert aws.quota("ann") == (20, 4)


def test_a_quota_is_not_counted_while_the_index_may_lag(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index does not show yet what the table and the quota have, and so the version says nothing."""
    add(aws, "a")
    monkeypatch.setattr(aws.dynamodb, "query", lambda **request: {"Items": []})
    for seconds in (0, 299):
        assert aws.records.recount("ann", now=NOW + timedelta(seconds=seconds)) is False
    assert aws.quota("ann") == (5, 1)
    monkeypatch.undo()
    settled = NOW + timedelta(seconds=301)
    assert aws.records.recount("ann", now=settled)
    aws.change("a", state="ending", ends_as="aborted")
    end(aws, settled, "a")
    assert aws.quota("ann") == (0, 0)
    assert aws.records.recount("ann", now=settled) is False, "a file has just ended"


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
    assert records.recount("ann", now=NOW + timedelta(hours=1)) is False
    assert aws.quota("ann") == (10, 2)


def test_older_versions_of_which_no_event_told_are_found(aws: Aws) -> None:
    for file_id, state in (("a", "available"), ("q", "quarantined"), ("u", "uploading")):
        add(aws, file_id, state=state, announced_time="x")
        aws.s3.store(f"uploads/{file_id}", b"hello")
    add(aws, "held", state="available", announced_time="x", legal_hold=True)
    aws.s3.store("uploads/held", b"hello")
    add(aws, "one", state="available", announced_time="x")
    aws.s3.store("uploads/without-a-record", b"1")
    aws.s3.store("uploads/without-a-record", b"2")
    assert Sweeping(aws).at(NOW).discarded == 0
    for start in ("uploads/", "uploads/c", "uploads/z"):
        sweeping = Sweeping(aws, tidy_from=start)
        sweeping.at(NOW)
        assert set(sweeping.discarded) == {"a", "q"}, start


def test_what_somebody_deleted_by_mistake_can_be_got_back(aws: Aws) -> None:
    add(aws, state="available", announced_time="x")
    aws.s3.store("uploads/f", b"hello")
    aws.s3.delete_object(Bucket="bucket", Key="uploads/f")
    sweeping = Sweeping(aws, tidy_from="uploads/")
    sweeping.at(NOW)
    assert sweeping.discarded == []
    assert end(aws) == "available"
    assert len(aws.s3.versions["uploads/f"]) == 2


def test_one_file_that_fails_keeps_no_other_one_waiting(aws: Aws) -> None:
    for file_id in "abc":
        add(aws, file_id, began=NOW - timedelta(hours=25), content=None)
    sweeping = Sweeping(aws)
    discarded: list[str] = []

    def fail_once(file_id: str) -> None:
        discarded.append(file_id)
        if len(discarded) == 1:
            raise refusal("ServiceException", "Invoke")

    sweeping.sweeper._discard = fail_once
    with pytest.raises(Exception, match="ServiceException"):
        sweeping.at(NOW)
    assert sorted(discarded) == ["a", "b", "c"]


@pytest.mark.parametrize("state", ["uploading", "scanning"])
def test_an_owner_reads_nothing_of_the_inside(state: str) -> None:
    """An earlier release wrote Lambda's whole answer as the failure."""
    cause = json.dumps({"errorMessage": "AccessDenied: arn:aws:kms:us-east-1:1:key/x", "stackTrace": ["File ..."]})
    assert shown(cause, state) == shown(str(PROCESSING_FAILED), state) == PROCESSING_FAILED


@given(
    st.text() | st.sampled_from(sorted(FailureCode)).flatmap(lambda code: st.text().map(lambda text: f"{code}{text}")),
    st.sampled_from(["uploading", "scanning", "available", "rejected", "quarantined", "aborted", "expired", "deleted"]),
)
def test_a_failure_is_shown_if_it_was_written_for_its_owner(text: str, state: str) -> None:
    found = shown(text, state)
    code, mark, sentence = text.partition(": ")
    if found and found.sentence in text and sentence:
        assert (code in set(FailureCode), mark, found) == (True, ": ", Failure(found.code, sentence))
    elif found:
        assert found in (shown("", "rejected"), shown("", "quarantined"), PROCESSING_FAILED)
    assert (found is None) or state != "available"
    if state in {"rejected", "quarantined"}:
        assert found, "an event about it says why"


@pytest.mark.parametrize("code", FailureCode)
def test_what_a_record_holds_is_what_its_owner_reads(code: FailureCode) -> None:
    failure = Failure(code, "it is: something else")
    state = "uploading" if code == FailureCode.PROCESSING_FAILED else "rejected"
    assert shown(str(failure), state) == failure
