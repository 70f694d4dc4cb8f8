"""What the workflow's functions decide, with AWS in memory."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.common.objects import Objects
from functions.common.records import Records, timestamp
from functions.inspect.logic import Rejected, Unknown, inspect, subject_of
from functions.sweep.logic import sweep
from tests.unit.fakes import FakeS3, FakeTable

CHECKSUM = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="  # of b"hello"
NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def table() -> FakeTable:
    return FakeTable()


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3({"uploads/f": b"hello"})


def add(table: FakeTable, file_id: str = "f", **changed: object) -> None:
    table.items[file_id] = {
        "file_id": file_id,
        "owner": "ann",
        "file_name": "a.txt",
        "content_type": "text/plain",
        "size": 5,
        "checksum": CHECKSUM,
        "object_key": f"uploads/{file_id}",
        "state": "uploading",
        "upload_time": timestamp(NOW),
        "file_url": f"https://api/v1/files/{file_id}/content",
        **changed,
    }


def look(table: FakeTable, s3: FakeS3) -> Any:  # noqa: ANN401
    return inspect("f", records=Records(cast(Any, table)), objects=Objects(cast(Any, s3), "bucket"))


def test_a_file_that_is_what_was_declared_is_opened_and_announced(table: FakeTable, s3: FakeS3) -> None:
    add(table)
    found = look(table, s3)
    assert (found.left, found.subject) == ("open and announce", "New file uploaded: a.txt")
    assert json.loads(found.message) == {
        "event": "file_uploaded",
        "file_id": "f",
        "file_name": "a.txt",
        "file_url": "https://api/v1/files/f/content",
        "upload_time": "2026-01-02T12:00:00.000+00:00",
    }


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "no bytes arrived"),
        (b"hell", "4 bytes are stored, 5 were declared"),
        (b"hellO", "the checksum of what is stored is not the declared one"),
    ],
)
def test_a_file_that_is_something_else_is_rejected(
    table: FakeTable, s3: FakeS3, content: bytes | None, why: str
) -> None:
    add(table)
    s3.objects = {} if content is None else {"uploads/f": content}
    with pytest.raises(Rejected, match=why):
        look(table, s3)


def test_trouble_with_s3_is_not_taken_for_a_missing_file(table: FakeTable, s3: FakeS3) -> None:
    add(table)
    s3.failing = True
    with pytest.raises(Exception, match="503"):
        look(table, s3)


def test_bytes_without_a_record_are_told(table: FakeTable, s3: FakeS3) -> None:
    with pytest.raises(Unknown, match="no record of f"):
        look(table, s3)


@pytest.mark.parametrize(
    ("changed", "left"),
    [
        ({"state": "available"}, "announce"),
        ({"state": "available", "announced_time": "2026-01-02T12:00:01Z"}, "nothing"),
        ({"state": "rejected"}, "nothing"),
    ],
)
def test_an_event_that_comes_again_does_what_is_left(
    table: FakeTable, s3: FakeS3, changed: dict[str, str], left: str
) -> None:
    add(table, **changed)
    assert look(table, s3).left == left


@given(st.text())
def test_every_name_makes_a_subject_that_sns_takes(name: str) -> None:
    subject = subject_of(name)
    assert subject.isascii()
    assert subject.isprintable()
    assert len(subject) < 100


def test_the_sweeper_starts_what_is_stuck_once_an_hour_and_nothing_else(table: FakeTable) -> None:
    for file_id, minutes, state in [
        ("new", 14, "uploading"),
        ("stuck", 16, "uploading"),
        ("old", 600, "uploading"),
        ("done", 600, "available"),
    ]:
        add(table, file_id, state=state, upload_time=timestamp(NOW - timedelta(minutes=minutes)))
    started: list[tuple[str, str]] = []
    count = sweep(now=NOW, records=Records(cast(Any, table)), start=lambda *names: started.append(names))
    assert count == 2
    assert started == [("old", "sweep-old-20260102T12"), ("stuck", "sweep-stuck-20260102T12")]
