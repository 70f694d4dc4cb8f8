"""The client against a small Sluice of the tests' own, over real connections that break."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import assume, example, given
from hypothesis import strategies as st
from sluice_client.api import Api
from sluice_client.connections import Connections, said_of
from sluice_client.credentials import Signature, Token, credentials
from sluice_client.errors import (
    EndedError,
    FileChangedError,
    ProblemError,
    SluiceError,
    UnreachableError,
)
from sluice_client.parts import LocalFile, Part, Rules, checksum_of, cut
from sluice_client.receiving import Receiver, _Body
from sluice_client.retries import Patience

from synthesis.paths import ROOT
from tests.unit.client.fake_sluice import TOKEN, FakeSluice, composite, sha256
from tests.unit.client.harness import LARGE, NO_TRUST, RANDOM, RULES, SMALL, Run, Setup, Streamed, answering, program


def send(setup: Setup, content: bytes, *, attempts: int = 5, parallel: int = 2) -> None:
    sender = setup.sender(attempts=attempts, parallel=parallel)
    upload = sender.wait(sender.send(setup.file(content), "video/quicktime"), seconds=10)
    assert upload.state == "available"


# How files are cut.


@given(st.integers(1, 5 * 2**40))
def test_parts_cover_a_file_of_any_size_within_the_limits_of_s3(size: int) -> None:
    rules = Rules()
    part_size = rules.part_size(size)
    assert (part_size == 0) == (size <= 100_000_000)
    if part_size:
        assert part_size * 10_000 >= size
        assert part_size == 8 * 2**20 or part_size // 2 * 10_000 < size
        assert part_size <= 5 * 2**30


@given(st.integers(1, 3_000), st.integers(1, 200))
def test_parts_follow_each_other(size: int, part_size: int) -> None:
    at = 0
    parts = cut(size, part_size)
    for number, part in enumerate(parts, 1):
        assert (part.number, part.offset) == (number, at)
        assert part.size == part_size or (number == len(parts) and 0 < part.size < part_size)
        at += part.size
    assert at == size


def test_a_file_in_one_piece_is_one_part() -> None:
    assert [(part.number, part.offset, part.size) for part in cut(7, 0)] == [(1, 0, 7)]


def test_checksums_are_those_that_s3_shows() -> None:
    # From sha256sum and base64: of `a`, of `b`, and of these two digests one after the other.
    digests = [
        bytes.fromhex(digest)
        for digest in (
            "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
            "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d",
        )
    ]
    assert checksum_of(digests, 1) == "5aAf7hTg7VxIcU8iGA8lrYNltT+XefedxKPX6Tlj+Uo=-2"
    assert checksum_of(digests[:1], 0) == "ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs="


@given(st.binary(min_size=1, max_size=500), st.integers(1, 100), st.integers(1, 64))
def test_the_checksum_of_a_download_does_not_depend_on_how_it_comes(content: bytes, part: int, step: int) -> None:
    for part_size, wanted in ((0, sha256(content)), (part, composite(content, part))):
        body = _Body(part_size, len(content))
        for at in range(0, len(content), step):
            body.take(content[at : at + step])
        assert body.checksum() == wanted


# Sending.


def test_a_small_file_goes_in_one_piece(setup: Setup, sluice: FakeSluice) -> None:
    send(setup, SMALL)
    record = sluice.only()
    assert record.content == SMALL
    assert record.declared == {
        "file_name": "film.mov",
        "size": len(SMALL),
        "content_type": "video/quicktime",
        "checksum": sha256(SMALL),
    }
    assert sluice.count("PUT s3 .*") == 0
    assert setup.remembered() == []
    assert setup.watch.stages == [("hashing", 70_001, 0), ("sending", 70_001, 0)]
    # Progress counts what is read for the connection: all of the file, once.
    assert setup.watch.done == len(SMALL)


def test_a_large_file_goes_in_parts(setup: Setup, sluice: FakeSluice) -> None:
    send(setup, LARGE)
    record = sluice.only()
    assert record.content == LARGE
    assert record.declared["checksum"] == composite(LARGE, 65_536)
    assert sluice.stored == dict.fromkeys(range(1, 8), 1)
    # The start brought all links: it was told the checksums of the first ten parts.
    assert len(record.declared["part_checksums"]) == 7
    assert sluice.count("POST /uploads/.*/parts") == 0
    assert setup.watch.done == len(LARGE)
    assert setup.remembered() == []


def test_a_large_file_is_hashed_while_it_is_sent(
    setup: Setup, sluice: FakeSluice, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = RANDOM.randbytes(65_536 * 75)
    read: list[int] = []
    digest = LocalFile.digest

    def counted(file: LocalFile, part: Part, told: Callable[[int], None] = lambda count: None) -> bytes:
        read.append(part.number)
        return digest(file, part, told)

    monkeypatch.setattr(LocalFile, "digest", counted)
    before: list[tuple[int, bool]] = []
    sluice.before_part = lambda number: before.append((len(read), "checksum" in sluice.only().declared))
    send(setup, content)
    assert before[0] == (10, False), "the first byte moves when ten parts are hashed, before the whole is known"
    assert sorted(read) == list(range(1, 76)), "each part is hashed once"
    assert sluice.only().content == content
    assert sluice.only().declared["checksum"] == composite(content, 65_536)


@pytest.mark.parametrize("completed", [True, False])
def test_another_file_with_the_same_first_parts_is_another_upload(
    setup: Setup, sluice: FakeSluice, completed: bool
) -> None:
    first = RANDOM.randbytes(65_536 * 12)
    send(setup, first)
    earlier = sluice.only()
    if not completed:
        earlier.state, earlier.completed, earlier.content = "uploading", False, None
        del earlier.declared["checksum"]
    other = changed(first)
    send(setup, other)
    if completed:
        assert [record.content for record in sluice.records.values()] == [first, other]
    else:
        assert sluice.only().content == other, "the part that differs is sent, and the two are not mixed"
    send(setup, other)
    assert len(sluice.records) == 1 + completed


def test_links_come_in_batches(setup: Setup, sluice: FakeSluice) -> None:
    content = RANDOM.randbytes(65_536 * 75)
    send(setup, content)
    assert sluice.only().content == content
    assert [len(batch) for batch in sluice.batches] == [10, 20, 40, 5]


def test_parts_go_in_parallel(setup: Setup, sluice: FakeSluice) -> None:
    together = threading.Barrier(3, timeout=10)

    def meet(number: int) -> None:
        if number <= 3:
            together.wait()

    sluice.before_part = meet
    send(setup, LARGE, parallel=3)
    assert sluice.only().content == LARGE


def test_a_cut_connection_costs_the_part_that_was_on_its_way(setup: Setup, sluice: FakeSluice) -> None:
    sluice.cut_after += [20_000, 40_000]
    send(setup, LARGE)
    assert sluice.only().content == LARGE
    assert sluice.stored == dict.fromkeys(range(1, 8), 1)
    assert sluice.count("PUT s3 .*") == 9
    assert setup.watch.done == len(LARGE)
    assert len([line for line in setup.said if "no connection to 127.0.0.1" in line]) == 2
    # The second may have been for the same part.
    assert 0.25 <= setup.slept[0] <= 0.5
    assert 0.25 <= setup.slept[1] <= 1


def test_a_small_file_is_sent_again_after_a_cut(setup: Setup, sluice: FakeSluice) -> None:
    sluice.cut_after += [0, 30_000]
    send(setup, SMALL)
    assert sluice.only().content == SMALL
    assert sluice.count("POST s3 .*") == 3
    assert setup.watch.done == len(SMALL)


def test_a_small_file_whose_answer_was_lost_is_not_sent_twice(setup: Setup, sluice: FakeSluice) -> None:
    sluice.swallow_answers = 1
    send(setup, SMALL)
    assert sluice.count("POST s3 .*") == 1


@pytest.mark.parametrize("call", ["POST /uploads", "POST /uploads/ID/complete"])
def test_calls_whose_answer_was_lost_are_made_again(setup: Setup, sluice: FakeSluice, call: str) -> None:
    def plan(_: int) -> None:
        sluice.api_answers[call.replace("ID", sluice.only().file_id)] = once

    once = deque([0])
    if "ID" in call:
        sluice.before_part = plan
    else:
        sluice.api_answers[call] = once
    send(setup, LARGE)
    assert not once
    assert sluice.only().content == LARGE


def test_an_answer_that_passes_is_waited_for_as_long_as_the_server_asks(setup: Setup, sluice: FakeSluice) -> None:
    sluice.retry_after = "7"
    sluice.api_answers["POST /uploads"] = deque([429, 503])
    send(setup, SMALL)
    assert setup.slept[:2] == [7, 7]
    assert setup.said == ["planned (HTTP 429); trying again", "planned (HTTP 503); trying again"]


def test_pauses_double_and_end(setup: Setup, sluice: FakeSluice) -> None:
    sluice.api_answers["POST /uploads"] = deque([503] * 9)
    with pytest.raises(ProblemError, match="planned"):
        send(setup, SMALL, attempts=8)
    assert len(sluice.api_answers["POST /uploads"]) == 1
    for pause, longest in zip(setup.slept, [0.5, 1, 2, 4, 8, 16, 20], strict=True):
        assert longest / 2 <= pause <= longest


def test_s3_that_is_slow_is_asked_again(setup: Setup, sluice: FakeSluice) -> None:
    sluice.s3_refuses += [(503, "SlowDown"), (400, "RequestTimeout"), (500, "InternalError")]
    send(setup, LARGE)
    assert sluice.only().content == LARGE


def test_expired_links_are_replaced(setup: Setup, sluice: FakeSluice) -> None:
    def expire(number: int) -> None:
        if number == 4:
            sluice.before_part = lambda number: None
            sluice.expire_links()

    sluice.before_part = expire
    send(setup, LARGE, parallel=1)
    assert sluice.only().content == LARGE
    # Part 4 fetched them again for itself and those after it.
    assert sluice.count("POST /uploads/.*/parts") == 1 + 3
    assert sluice.stored == dict.fromkeys(range(1, 8), 1)


def test_an_expired_form_is_replaced(setup: Setup, sluice: FakeSluice) -> None:
    def expire(number: int) -> None:
        sluice.before_part = lambda number: None
        sluice.expire_links()

    sluice.before_part = expire
    send(setup, SMALL)
    assert sluice.only().content == SMALL


def test_links_that_are_too_old_are_not_tried(setup: Setup, sluice: FakeSluice) -> None:
    sluice.link_seconds = 0
    send(setup, LARGE, parallel=1)
    assert sluice.only().content == LARGE
    assert sluice.count("PUT s3 .*") == 7
    # Asking for many at a time is of no use then.
    assert [len(batch) for batch in sluice.batches][-4:] == [1, 1, 1, 1]


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_s3_that_refuses_for_good_is_believed_in_the_end(setup: Setup, sluice: FakeSluice, content: bytes) -> None:
    sluice.s3_refuses += [(403, "AccessDenied")] * 99
    with pytest.raises(SluiceError, match="S3 refused part 1: AccessDenied 403 no"):
        send(setup, content, parallel=1)
    assert len(sluice.s3_refuses) == 99 - 5


def test_s3_that_refuses_what_no_attempt_changes_is_believed_at_once(setup: Setup, sluice: FakeSluice) -> None:
    sluice.s3_refuses += [(400, "MalformedPOSTRequest")] * 99
    with pytest.raises(SluiceError, match="MalformedPOSTRequest"):
        send(setup, SMALL)
    assert len(sluice.s3_refuses) == 98


def test_the_token_never_goes_to_s3(setup: Setup, sluice: FakeSluice) -> None:
    # The fake's handler would fail, and the client see no answer.
    send(setup, SMALL)
    send(setup, LARGE)
    assert setup.said == []


# Going on.


def interrupt(setup: Setup) -> None:
    """An upload of the large file whose connection is gone for good during part 4."""
    setup.sluice.cut_after += [99_999, 99_999, 99_999, 1_000]
    with pytest.raises(UnreachableError):
        send(setup, LARGE, attempts=1, parallel=1)
    assert setup.sluice.stored == {1: 1, 2: 1, 3: 1}
    setup.watch.stages.clear()
    setup.sluice.log.clear()


def test_another_run_sends_what_is_missing(setup: Setup, sluice: FakeSluice) -> None:
    interrupt(setup)
    send_again(setup)
    assert sluice.only().content == LARGE
    assert sluice.stored == dict.fromkeys(range(1, 8), 1)
    assert sluice.count("POST /uploads") == 0
    assert setup.watch.stages == [("sending", len(LARGE), 3 * 65_536)], "it did not hash again"
    assert setup.remembered() == []


def test_after_a_kill_the_parts_that_s3_has_are_hashed_again(setup: Setup, sluice: FakeSluice) -> None:
    interrupt(setup)
    [place] = setup.remembered()
    found = json.loads(place.read_text())
    place.write_text(json.dumps({**found, "digests": [""] * 7}))
    send_again(setup)
    assert sluice.only().content == LARGE
    assert sluice.stored == dict.fromkeys(range(1, 8), 1)
    assert setup.watch.stages == [("hashing", 3 * 65_536, 0), ("sending", len(LARGE), 3 * 65_536)]


def test_another_machine_goes_on_too(setup: Setup, sluice: FakeSluice) -> None:
    interrupt(setup)
    shutil.rmtree(setup.states)
    send_again(setup)
    assert sluice.only().content == LARGE
    assert sluice.stored == dict.fromkeys(range(1, 8), 1)


def test_a_wrong_part_is_sent_again(setup: Setup, sluice: FakeSluice) -> None:
    interrupt(setup)
    sluice.only().parts[2] = b"not that" * 8192
    send_again(setup)
    assert sluice.only().content == LARGE
    assert sluice.stored == {1: 1, 2: 2, **dict.fromkeys(range(3, 8), 1)}


def test_a_part_that_s3_lost_is_sent_again(setup: Setup, sluice: FakeSluice) -> None:
    sluice.lose_parts = [2, 7]
    send(setup, LARGE)
    assert sluice.only().content == LARGE
    assert sluice.stored[2] == sluice.stored[7] == 2


def send_again(setup: Setup, token: str = TOKEN) -> str:
    sender = setup.sender(token=token)
    return sender.wait(sender.send(setup.folder / "film.mov", "video/quicktime"), seconds=10).file_id


@pytest.mark.parametrize("forget", [True, False])
def test_an_upload_that_ended_is_begun_anew_under_another_key(setup: Setup, sluice: FakeSluice, forget: bool) -> None:
    interrupt(setup)
    ended = sluice.only()
    ended.state = "aborted"
    if forget:
        shutil.rmtree(setup.states)
    file_id = send_again(setup)
    assert file_id != ended.file_id
    assert sluice.records[file_id].content == LARGE
    # And a third run, without any memory, finds the second upload behind the first.
    assert setup.remembered() == []
    assert send_again(setup) == file_id
    assert len(sluice.records) == 2
    assert sluice.stored[7] == 1


def test_the_same_file_is_one_upload(setup: Setup, sluice: FakeSluice) -> None:
    send(setup, SMALL)
    send(setup, SMALL)
    assert len(sluice.records) == 1
    assert sluice.stored == {0: 1}


def test_another_name_or_type_is_another_upload(setup: Setup, sluice: FakeSluice) -> None:
    send(setup, SMALL)
    setup.sender().send(setup.file(SMALL, "other.mov"), "video/quicktime")
    setup.sender().send(setup.file(SMALL), "video/mp4")
    assert len(sluice.records) == 3


def test_a_remembered_upload_of_somebody_else_is_begun_anew(setup: Setup, sluice: FakeSluice) -> None:
    interrupt(setup)
    # As the API answers a stranger: there is no such upload.
    sluice.records.clear()
    sluice.keys.clear()
    send_again(setup)
    assert sluice.only().content == LARGE


def test_what_is_remembered_is_whole_and_private(setup: Setup) -> None:
    interrupt(setup)
    [file] = setup.remembered()
    assert file.stat().st_mode & 0o777 == 0o600
    found = json.loads(file.read_text())
    assert found["path"] == str((setup.folder / "film.mov").resolve())
    assert TOKEN not in file.read_text()


@pytest.mark.parametrize("damage", ["", "{}", "[1]", '{"size": 1'])
def test_what_is_remembered_and_damaged_is_taken_again(setup: Setup, sluice: FakeSluice, damage: str) -> None:
    interrupt(setup)
    setup.remembered()[0].write_text(damage)
    send_again(setup)
    assert sluice.only().content == LARGE
    assert sluice.stored[1] == 1


# Files that change.


def changed(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_a_file_that_changes_behind_our_back_is_refused_by_its_checksum(
    setup: Setup, sluice: FakeSluice, content: bytes
) -> None:
    path = setup.file(content)
    before = path.stat()

    def change(_: int) -> None:
        sluice.before_part = lambda number: None
        path.write_bytes(changed(content))
        # Not even the time tells.
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    # S3 is asked once in vain before anything is read anew.
    sluice.s3_refuses.append((503, "SlowDown"))
    sluice.before_part = change
    with pytest.raises(FileChangedError, match="changed while it was being sent"):
        setup.sender(parallel=1).send(path, "video/quicktime")
    assert sluice.only().content is None


@pytest.mark.parametrize("content", [SMALL, LARGE])
@pytest.mark.parametrize("change", [lambda it: it[:100], lambda it: it + b"more"])
def test_a_file_that_shrinks_or_grows_is_not_stored(
    setup: Setup, sluice: FakeSluice, content: bytes, change: Callable[[bytes], bytes]
) -> None:
    path = setup.file(content)

    def write(number: int) -> None:
        if number <= 1:
            path.write_bytes(change(content))

    sluice.before_part = write
    with pytest.raises(FileChangedError):
        setup.sender(parallel=1).send(path, "video/quicktime")
    assert "complete" not in " ".join(sluice.log)


def test_bytes_that_were_flipped_on_the_way_are_sent_again(setup: Setup, sluice: FakeSluice) -> None:
    sluice.s3_refuses.append((400, "BadDigest"))
    send(setup, LARGE)
    sluice.s3_refuses.append((400, "BadDigest"))
    send(setup, SMALL)
    assert [record.content for record in sluice.records.values()] == [LARGE, SMALL]


def test_the_upload_of_what_a_file_was_before_is_given_up(setup: Setup, sluice: FakeSluice) -> None:
    interrupt(setup)
    earlier = sluice.only()
    content = changed(LARGE)
    path = setup.file(content)
    os.utime(path, ns=(0, 0))
    file_id = send_again(setup)
    assert earlier.state == "aborted"
    assert sluice.records[file_id].content == content
    assert setup.remembered() == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "is not a file"),
        (lambda path: path.touch(), "is empty"),
    ],
)
def test_what_is_no_file_is_not_sent(setup: Setup, make: Callable[[Path], None], words: str) -> None:
    path = setup.folder / "it"
    make(path)
    with pytest.raises(SluiceError, match=words):
        setup.sender().send(path, "text/plain")


# What becomes of it.


@pytest.mark.parametrize("state", ["rejected", "quarantined", "expired"])
def test_a_file_that_is_not_taken_is_an_error_with_its_reason(setup: Setup, sluice: FakeSluice, state: str) -> None:
    sluice.then = [("scanning", ""), (state, "it is no image")]
    with pytest.raises(EndedError, match=f"{state}: it is no image"):
        send(setup, SMALL)


def test_waiting_ends(setup: Setup, sluice: FakeSluice) -> None:
    sluice.then = [("scanning", "")]
    sender = setup.sender()
    upload = sender.send(setup.file(SMALL), "text/plain")
    assert sender.wait(upload, seconds=0).state in {"uploading", "scanning"}


def test_an_upload_whose_time_is_over_has_ended_by_the_servers_clock(setup: Setup) -> None:
    said = {"file_id": "x", "state": "uploading", "expires_time": "2026-01-01T00:00:00.000+00:00"}
    for date, state in (("Wed, 31 Dec 2025 23:59:59 GMT", "uploading"), ("Thu, 01 Jan 2026 00:00:00 GMT", "expired")):
        assert answering(json.dumps(said), {"Date": date}).status("x").state == state


# The command line.


def test_files_are_uploaded_one_after_the_other_whatever_happens_to_one(setup: Setup, run: Run) -> None:
    setup.file(b"one", "one.txt")
    setup.file(b"two", "two.tar.gz")
    code, out, err = run("upload", "one.txt", "none.txt", "two.tar.gz")
    assert code == 1
    one, two = setup.sluice.records.values()
    assert out == f"{one.file_id}\tone.txt\n{two.file_id}\ttwo.tar.gz\n"
    assert err == "sluice: none.txt: No such file or directory\n"
    assert one.declared["content_type"] == "text/plain"
    # What packs a file is what it is: S3 would be told otherwise of its tar.
    assert two.declared["content_type"] == "application/gzip"


def test_a_rejected_file_fails_the_command(setup: Setup, run: Run) -> None:
    setup.file(b"x", "x.png")
    setup.sluice.then = [("rejected", "The file is not a image/png")]
    code, out, err = run("upload", "x.png")
    assert (code, out) == (1, "")
    assert "x.png was rejected: The file is not a image/png" in err


def test_a_file_that_takes_long_has_a_code_of_its_own(setup: Setup, run: Run) -> None:
    setup.file(b"x", "x.png")
    setup.sluice.then = [("scanning", "")]
    code, out, err = run("upload", "--wait", "0.5", "x.png")
    assert code == 3
    assert "still scanning" in err
    assert run("upload", "--wait", "0", "x.png") == (0, out, "")


def test_a_problem_is_told_in_the_words_of_the_api(setup: Setup, run: Run) -> None:
    setup.file(b"x", "x.png")
    setup.sluice.problem = {
        "type": "urn:sluice:problem:quota-exceeded",
        "title": "Forbidden",
        "status": 403,
        "detail": "The quota is used up",
        "errors": [{"field": "size", "detail": "too much"}],
        "request_id": "r-1",
    }
    code, _, err = run("upload", "x.png")
    assert code == 1
    assert err == "sluice: x.png: The quota is used up (HTTP 403, request r-1)\n  size: too much\n"


def test_a_wrong_token_is_reported_once(setup: Setup, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_TOKEN", "old")
    setup.file(b"x", "x.png")
    code, _, err = run("upload", "x.png", "x.png")
    assert code == 1
    assert err.count("the token is wrong or has expired") == 1


def test_a_token_from_a_command_is_renewed(setup: Setup, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLUICE_TOKEN")
    tokens = setup.file(b"first\nsecond\n", "tokens")
    monkeypatch.setenv("SLUICE_TOKEN_COMMAND", f"sh -c 'head -n 1 {tokens}; sed -i 1d {tokens}'")
    setup.sluice.token = "first"  # noqa: S105
    setup.sluice.before_part = lambda number: setattr(setup.sluice, "token", "second")
    setup.file(b"x", "x.png")
    code, _, err = run("upload", "x.png")
    assert (code, err) == (0, "")
    assert tokens.read_text() == ""


@pytest.mark.parametrize(
    "command",
    ["false", "no-such-program", "echo", "echo a b", "'", " ", "yes", "printf '\\377'", "printf '\\33[2J'", "/"],
)
def test_a_command_that_gives_no_token(run: Run, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.delenv("SLUICE_TOKEN")
    monkeypatch.setenv("SLUICE_TOKEN_COMMAND", command)
    code, _, err = run("list")
    assert code == 1
    assert "SLUICE_TOKEN_COMMAND" in err
    assert err.count("\n") == 1


def test_a_command_that_fails_is_not_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLUICE_TOKEN")
    monkeypatch.setenv("SLUICE_TOKEN_COMMAND", "sh -c 'exit 7' --password hunter2")
    code, _, err = run("list")
    assert (code, err) == (1, "sluice: SLUICE_TOKEN_COMMAND printed no token: it ended with exit code 7\n")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SLUICE_URL", "", "Set SLUICE_URL"),
        ("SLUICE_URL", "example.com", "beginning with https://"),
        ("SLUICE_URL", "http://example.com/v1", "is not encrypted"),
        ("SLUICE_URL", "https://[::1", "beginning with https://"),
        ("SLUICE_URL", "https://a:99999/v1", "beginning with https://"),
        ("SLUICE_URL", "https://a/v1?x=y", "without a password, a query"),
        ("SLUICE_URL", "https://user:hunter2@a/v1", "SLUICE_URL is 'a/v1'"),
        ("SLUICE_URL", "https://a\x1b[2J/v1", r"https://a\x1b[2J/v1"),
        ("SLUICE_TOKEN", "", "There are no credentials"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "SSL_CERT_FILE names /nowhere/ca.pem"),
        ("AWS_CA_BUNDLE", str(Path(__file__)), "holds no certificate authority"),
    ],
)
def test_what_is_missing_is_named(run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str) -> None:
    monkeypatch.setenv(name, value)
    code, _, err = run("list")
    assert code == 1
    assert words in err


def test_an_address_where_nobody_answers(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        monkeypatch.setenv("SLUICE_URL", f"http://127.0.0.1:{closed.getsockname()[1]}/v1")
    monkeypatch.setattr(Patience, "pause", lambda self, failures, at_least=0.0: None)
    code, _, err = run("list")
    assert code == 1
    assert "no connection to 127.0.0.1" in err


@pytest.mark.parametrize(
    "body",
    [
        "<html>Log in",
        "[1]",
        "null",
        "",
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"file_id": NaN}',
        '{"a": ' + "9" * 5_000 + "}",
    ],
)
def test_an_answer_that_is_not_sluices(body: str) -> None:
    with pytest.raises(SluiceError, match="Is SLUICE_URL right"):
        answering(body).status("x")


def test_an_answer_that_this_client_does_not_know() -> None:
    with pytest.raises(SluiceError, match="no file_id that this version"):
        answering('{"file_id": 7, "state": "uploading"}').status("x")


def test_a_certificate_that_is_not_trusted_is_not_tried_again() -> None:
    error = httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    with pytest.raises(SluiceError, match="SSL_CERT_FILE"):
        said_of(error, "api.example.com")


def test_files_are_listed_page_by_page(setup: Setup, run: Run) -> None:
    for number in range(5):
        setup.sluice.add(f"{number}.txt", b"x" * number or b"y")
    setup.sluice.add("gone.txt", b"z", state="deleted")
    code, out, _ = run("list", "--state", "available")
    assert code == 0
    assert [line.split("\t")[4] for line in out.splitlines()] == ["4.txt", "3.txt", "2.txt", "1.txt", "0.txt"]
    assert out.splitlines()[0].split("\t")[1:3] == ["available", "4"]


def test_the_quota_is_shown(setup: Setup, run: Run) -> None:
    setup.sluice.add("a.txt", b"x" * 40)
    setup.sluice.add("b.txt", b"x" * 2, state="uploading")
    setup.sluice.add("c.txt", b"x", state="deleted")
    bytes_, files = f"bytes\t42\t{10**12}\t{10**12 - 42}\n", "files\t2\t1000\t998\n"
    taken = "max_upload_bytes\t5000000000\nallowed_content_types\timage/*\ttext/plain\n"
    assert run("quota") == (0, bytes_ + files + taken, "")


def test_a_quota_may_be_larger_than_the_numbers_of_json_are_exact(setup: Setup, run: Run) -> None:
    setup.sluice.quota_bytes = 2**60
    assert run("quota")[1].splitlines()[:2] == [f"bytes\t0\t{2**60}\t{2**60}", "files\t0\t1000\t1000"]


@pytest.mark.parametrize("wrong", ["image/*", [1], None, {"image/*": 1}])
def test_types_that_are_no_list_of_texts_are_an_error_of_one_sentence(setup: Setup, run: Run, wrong: Any) -> None:  # noqa: ANN401
    setup.sluice.allowed_content_types = wrong
    code, out, err = run("quota")
    assert (code, out) == (1, "")
    assert err == "sluice: GET /quota: the answer has no allowed_content_types that this version of the client knows\n"


def test_files_are_deleted_and_uploads_given_up(setup: Setup, run: Run) -> None:
    file, upload = setup.sluice.add("a.txt", b"a"), setup.sluice.add("b.txt", b"b", state="uploading")
    assert run("delete", file.file_id, upload.file_id) == (0, "", "")
    assert (file.state, upload.state) == ("deleted", "aborted")
    code, _, err = run("delete", "none", upload.file_id)
    assert code == 1
    assert "none: No such file (HTTP 404)" in err
    assert f"{upload.file_id}: The file is aborted (HTTP 409)" in err


def test_a_file_is_downloaded_under_its_name(setup: Setup, run: Run) -> None:
    file = setup.sluice.add("film.mov", LARGE)
    setup.sluice.link_seconds = 60
    # Cut twice: it continues at the same position.
    api = setup.api()
    setup.sluice.cut_after += [100_000, 200_000]
    target = Receiver(api, rules=RULES, watcher=setup.watch).fetch(file.file_id, setup.folder)
    assert target == setup.folder / "film.mov"
    assert target.read_bytes() == LARGE
    assert [line for line in setup.sluice.log if " s3" in line] == [
        "GET s3",
        "GET s3 bytes=100000-",
        "GET s3 bytes=300000-",
    ]
    assert setup.watch.done == len(LARGE)
    code, _, err = run("download", file.file_id)
    assert code == 1
    assert "film.mov exists already" in err
    small = setup.sluice.add("film.mov", b"shorter")
    assert run("download", "--force", small.file_id) == (0, f"{small.file_id}\tfilm.mov\n", "")
    assert target.read_bytes() == b"shorter"


def test_a_name_does_not_lead_out_of_the_folder(setup: Setup, run: Run) -> None:
    (setup.folder / "in").mkdir()
    for name in ("../../out.txt", "..\\..\\out.txt", "/out.txt"):
        file = setup.sluice.add(name, b"x")
        assert (
            Receiver(setup.api(), replace=True).fetch(file.file_id, setup.folder / "in")
            == setup.folder / "in" / "out.txt"
        )
    with pytest.raises(SluiceError, match="name the file to write with --to"):
        Receiver(setup.api()).fetch(setup.sluice.add("..", b"x").file_id)


def test_other_bytes_than_those_stored_are_not_kept(setup: Setup) -> None:
    for content in (b"right", LARGE):
        file = setup.sluice.add("a.txt", content)
        file.content = changed(content)
        with pytest.raises(SluiceError, match="is damaged"):
            Receiver(setup.api(), rules=RULES).fetch(file.file_id, setup.folder)
    assert list(setup.folder.iterdir()) == []


# Who calls.


MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
HOST = "https://x1.execute-api.eu-west-1.amazonaws.com"


def signed(method: str, url: str, body: bytes, session: str = "") -> httpx.Request:
    auth = Signature("AKID", "secret", session, region="eu-west-1", now=lambda: MOMENT)
    return next(auth.sync_auth_flow(httpx.Request(method, url, content=body)))


def judged(method: str, url: str, body: bytes, session: str = "", params: Mapping[str, str] | None = None) -> str:
    """The Authorization header that AWS's own signer writes."""
    request = AWSRequest(method, url, data=body, params=params)
    signer = SigV4Auth(Credentials("AKID", "secret", session or None), "execute-api", "eu-west-1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda *_: MOMENT.replace(tzinfo=None))
        signer.add_auth(request)
    assert isinstance(request.headers["Authorization"], str)
    return request.headers["Authorization"]


@pytest.mark.parametrize("session", ["", "session/token=="])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/files?state=available&limit=100&prefix=a%20b%2Fc", b""),
        ("GET", "/v1/files", b""),
        ("GET", "/v1/files?b=2&a=1&a=&a=0", b""),
        ("GET", "/v1//files/", b""),
        ("POST", "/v1/uploads/a%2Fb", b'{"a": 1}'),
        ("DELETE", "/v1/files/%E6%96%87~%20*%25", b""),
    ],
)
def test_signatures_are_those_of_aws(session: str, method: str, path: str, body: bytes) -> None:
    request = signed(method, HOST + path, body, session)
    assert request.headers["Authorization"] == judged(method, HOST + path, body, session)
    assert request.headers.get("X-Amz-Security-Token", "") == session


def listed(state: str, prefix: str) -> httpx.Request:
    """The request for a list, as it leaves the client."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, stream=Streamed(b'{"files": [], "cursor": null}'))

    auth = Signature("AKID", "secret", region="eu-west-1", now=lambda: MOMENT)
    http = Connections(verify=NO_TRUST, parallel=1, transport=httpx.MockTransport(answer))
    assert list(Api(f"{HOST}/v1", auth, http).files(state=state, prefix=prefix)) == []
    return requests[0]


@given(st.text(max_size=20), st.text(st.characters(codec="utf-8"), min_size=1, max_size=40))
@example("", "my report")
@example("", "a+b=c&d;e?f#g/h~i*j%k%20l'm(n)o\"p\\q:r@s$t,u!v[w]x{y}z|^`<>")
@example("", "文 é\u0301 😀\u0000\x7f\u202e")
@example("available", "%")
def test_any_prefix_of_a_name_is_sent_and_signed_as_aws_reads_it(state: str, prefix: str) -> None:
    assume(state.isascii() and state.isprintable())
    request = listed(state, prefix)
    sent = request.url.raw_path.decode().partition("?")[2]
    params = {"limit": "100", "prefix": prefix, **({"state": state} if state else {})}
    # AWS Signature Version 4, "Create a canonical request": all but unreserved characters, and a space is %20.
    assert re.fullmatch(r"(?:[A-Za-z0-9_.~=&-]|%[0-9A-F]{2})*", sent)
    assert {unquote(name): unquote(value) for name, _, value in (it.partition("=") for it in sent.split("&"))} == params
    # By what is meant, and by what is sent.
    assert request.headers["Authorization"] == judged("GET", f"{HOST}/v1/files", b"", params=params)
    assert request.headers["Authorization"] == judged("GET", f"{HOST}/v1/files?{sent}", b"")


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30))
@example("a b+c~d*e%f/g?h#i")
@example("...")
def test_any_id_is_sent_and_signed_as_aws_reads_it(file_id: str) -> None:
    assume(file_id not in {".", ".."})
    path = f"/v1/files/{quote(file_id, safe='')}"
    request = signed("GET", HOST + path, b"")
    assert request.url.raw_path.decode() == path
    assert request.headers["Authorization"] == judged("GET", HOST + path, b"")


@pytest.mark.parametrize("value", ["a b", "a\nb", "té", "\x1b[2J", "x" * 20_000, " \n ", "a\0", "\udcff", "\u2028"])
@pytest.mark.parametrize(
    "name", ["SLUICE_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"]
)
def test_credentials_that_no_header_can_hold_are_refused_and_not_shown(name: str, value: str) -> None:
    good = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "c"}
    with pytest.raises(SluiceError, match=f"{name} has to be one token") as error:
        credentials("https://x", {**good, name: value})
    assert value not in str(error.value)


def test_credentials_may_end_in_a_line_feed() -> None:
    environ = {"AWS_ACCESS_KEY_ID": "a\n", "AWS_SECRET_ACCESS_KEY": "b\r\n", "AWS_REGION": "c "}
    request = next(credentials("https://x", environ).sync_auth_flow(httpx.Request("GET", "https://x/")))
    assert "Credential=a/" in request.headers["Authorization"]
    assert "/c/execute-api/" in request.headers["Authorization"]


def test_the_environment_says_who_calls() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    assert isinstance(credentials("https://x", {**keys, "SLUICE_TOKEN": "t"}), Token)
    assert isinstance(credentials("https://x", {**keys, "SLUICE_TOKEN_COMMAND": "t"}), Token)
    assert isinstance(credentials("https://a.execute-api.eu-west-1.amazonaws.com/v1", keys), Signature)
    assert isinstance(credentials("https://x", {**keys, "AWS_DEFAULT_REGION": "eu-west-1"}), Signature)
    with pytest.raises(SluiceError, match="AWS_REGION"):
        credentials("https://x", keys)


def test_ids_of_people_do_not_become_paths(setup: Setup, sluice: FakeSluice) -> None:
    with pytest.raises(SluiceError):
        setup.api().file("a/../../uploads?x")
    assert sluice.log == ["GET /files/a%2F..%2F..%2Fuploads%3Fx"]


# The program as people run it.


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [(signal.SIGINT, 130, "\nStopped. Run the same command again to resume.\n"), (signal.SIGKILL, -signal.SIGKILL, "")],
)
def test_an_interrupted_program_goes_on(tmp_path: Path, how: signal.Signals, code: int, said: str) -> None:
    content_bytes = 100_000_001
    with FakeSluice(post_bytes=100_000_000, part_size=8 * 2**20) as sluice:
        setup = Setup(sluice, tmp_path)
        path = tmp_path / "film.mov"
        with path.open("wb") as file:
            file.truncate(content_bytes)
        fourth, go_on = threading.Event(), threading.Event()

        def hold(number: int) -> None:
            if number >= 4:
                fourth.set()
                go_on.wait(20)

        sluice.before_part = hold
        with program(setup, "upload", "--parallel", "2", "film.mov") as first:
            assert fourth.wait(20)
            first.send_signal(how)
            out, err = first.communicate(timeout=20)
        assert (first.returncode, out, err) == (code, "", said)
        go_on.set()
        before = dict(sluice.stored)
        starts = sluice.count("POST /uploads")
        with program(setup, "upload", "film.mov") as second:
            out, err = second.communicate(timeout=60)
        assert (second.returncode, out, err) == (0, f"{sluice.only().file_id}\tfilm.mov\n", "")
        assert sluice.count("POST /uploads") == starts == 1
        assert len(sluice.only().content or b"") == content_bytes
        assert {1, 2, 3} & before.keys(), "there was nothing to resume"
        for number in (1, 2):
            assert sluice.stored[number] == 1


def test_it_installs_with_its_command(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT / "clients" / "python", source, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q"]
    subprocess.run([*build, "-w", str(tmp_path), str(source)], check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        [entry] = [name for name in names if name.endswith("entry_points.txt")]
        [metadata] = [name for name in names if name.endswith("METADATA")]
        assert "sluice = sluice_client.__main__:main" in opened.read(entry).decode()
        required = {line for line in opened.read(metadata).decode().splitlines() if line.startswith("Requires-Dist")}
    assert "sluice_client/py.typed" in names
    assert len(required) == 2
    assert {line.split()[1].split("<")[0].split(">")[0].split(",")[0] for line in required} == {"httpx", "rich"}
