"""Calls that AWS carried out but whose answer was lost: botocore repeats them, and callers get a true answer.

The transport does what a network does: the request reaches AWS (moto), and the connection breaks before the answer
arrives, or a 500 comes in its place. Everything above it is real: botocore's own retries, its tokens, and its errors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectionClosedError, HTTPClientError, ReadTimeoutError
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.models import botocore_stubber

from functions.common.contract import State
from functions.common.objects import NoUploadError, Objects
from functions.common.records import FileRecord, Quota, QuotaExceededError, Records, TakenError, timestamp
from functions.upload.logic import UploadRequest, upload
from tests.unit.fakes import FILES, QUOTAS, create_tables, refusal, sha256
from tests.unit.memory import VARIABLES

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
ROOM = Quota(1000, 10)
KEY = "uploads/f"


class Lossy:
    """A transport that loses the first answers to operations.

    Attributes:
        calls: operations, in the order in which they reached AWS.
    """

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - any client
        self.calls: list[str] = []
        self._lost: dict[str, list[HTTPClientError | int]] = {}
        self._tokens: dict[str, AWSResponse] = {}
        self._stubber: BotocoreStubber = botocore_stubber
        client.meta.events.register_first("before-send", self._carry)

    def lose(self, operation: str, *how: HTTPClientError | int) -> None:
        """Lose the next answers of an operation: by an error of the connection, or as a status."""
        self._lost[operation] = list(how)

    def _carry(self, event_name: str, request: Any, **rest: object) -> AWSResponse | None:  # noqa: ANN401
        operation = event_name.rpartition(".")[2]
        self.calls.append(operation)
        token = json.loads(request.body).get("ClientRequestToken") if operation == "TransactWriteItems" else None
        # DynamoDB knows a transaction again by its token, and moto does not.
        answer = self._tokens[token] if token in self._tokens else self._stubber(event_name, request)
        assert answer
        if token and answer.status_code == 200:
            self._tokens[token] = answer
        lost = self._lost.get(operation, [])
        if not lost:
            return answer
        how = lost.pop(0)
        if isinstance(how, HTTPClientError):
            raise how
        return AWSResponse(request.url, how, HTTPHeaders(), _Nothing())


class _Nothing:
    """The body of an answer."""

    def read(self, *_: object) -> bytes:
        return b""

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield b""


def broken() -> HTTPClientError:
    return ConnectionClosedError(endpoint_url="https://aws")


def late() -> HTTPClientError:
    return ReadTimeoutError(endpoint_url="https://aws")


# What happens to an answer: each of these makes botocore send the request again.
LOSSES: list[Callable[[], HTTPClientError | int]] = [broken, late, lambda: 500, lambda: 503]
LOST = pytest.mark.parametrize("loss", LOSSES, ids=["closed", "timeout", "500", "503"])


@pytest.fixture
def wires(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Records, Objects, Lossy, Lossy]]:
    """Records and objects over transports that lose answers."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with mock_aws():
        dynamodb: DynamoDBClient = boto3.client("dynamodb")
        s3: S3Client = boto3.client("s3")
        create_tables(dynamodb)
        s3.create_bucket(Bucket="bucket")
        s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
        yield Records(dynamodb, FILES, QUOTAS), Objects(s3, "bucket"), Lossy(dynamodb), Lossy(s3)


Wires = tuple[Records, Objects, Lossy, Lossy]


def record(**changed: Any) -> FileRecord:  # noqa: ANN401
    values: dict[str, Any] = {
        "file_id": "f",
        "owner": "ann",
        "file_name": "a.txt",
        "content_type": "text/plain",
        "size": 5,
        "checksum": sha256(b"hello"),
        "object_key": KEY,
        "state": "uploading",
        "upload_time": timestamp(NOW),
        "file_url": "u",
        "expires_time": timestamp(NOW + timedelta(hours=24)),
        "due_time": timestamp(NOW),
    }
    return FileRecord(**values | changed)


def quota(records: Records) -> tuple[int, int]:
    item = records._client.get_item(TableName=QUOTAS, Key={"owner": {"S": "ann"}})["Item"]
    return int(item["bytes"]["N"]), int(item["files"]["N"])


def versions(objects: Objects) -> int:
    return len(objects._client.list_object_versions(Bucket="bucket").get("Versions", []))


def small(records: Records, objects: Objects, discarded: list[str]) -> FileRecord:
    return upload(
        UploadRequest("a.txt", b"hello", "text/plain"),
        owner="ann",
        file_id="f",
        file_url="u",
        now=NOW,
        quota=ROOM,
        records=records,
        objects=objects,
        discard=discarded.append,
    )


@LOST
def test_a_file_that_was_stored_is_told_as_stored(wires: Wires, loss: Callable[[], HTTPClientError | int]) -> None:
    records, objects, dynamodb, s3 = wires
    s3.lose("PutObject", loss())
    dynamodb.lose("TransactWriteItems", loss())
    discarded: list[str] = []
    done = small(records, objects, discarded)
    assert (done.file_id, discarded) == ("f", [])
    assert (versions(objects), quota(records)) == (1, (5, 1))
    assert (s3.calls.count("PutObject"), dynamodb.calls.count("TransactWriteItems")) == (2, 2)


def test_a_file_of_which_nothing_is_known_is_given_up_so_that_a_second_one_does_not_double_it(wires: Wires) -> None:
    records, objects, _, s3 = wires
    s3.lose("PutObject", *(broken() for _ in range(20)))
    discarded: list[str] = []
    with pytest.raises(ConnectionClosedError):
        small(records, objects, discarded)
    found = records.get("f")
    assert found
    assert (found.state, found.ends_as, discarded) == ("ending", "aborted", ["f"])


def test_a_file_that_the_workflow_opened_meanwhile_is_told_as_stored(wires: Wires) -> None:
    records, objects, _, s3 = wires
    s3.lose("PutObject", *(broken() for _ in range(20)))

    give_up = records.give_up

    def too_late(*arguments: Any, **options: Any) -> str:  # noqa: ANN401
        records._change("f", {"state": "available"}, "#state = :uploading", {":uploading": "uploading"})
        return give_up(*arguments, **options)

    records.give_up = too_late  # type: ignore[method-assign]
    assert small(records, objects, []).file_id == "f"


def test_s3_that_is_still_at_work_is_asked_again(wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    _, objects, _, s3 = wires
    real, refusals = objects._client.put_object, iter([True, True, False])

    def busy(**request: Any) -> object:  # noqa: ANN401
        if next(refusals):
            raise refusal("ConditionalRequestConflict", "PutObject")
        return real(**request)

    monkeypatch.setattr(objects._client, "put_object", busy)
    objects.put(KEY, b"hello", content_type="text/plain", checksum=sha256(b"hello"))
    assert (versions(objects), s3.calls.count("PutObject")) == (1, 1)


@LOST
def test_a_record_that_was_written_is_told_as_written(wires: Wires, loss: Callable[[], HTTPClientError | int]) -> None:
    records, _, dynamodb, _ = wires
    dynamodb.lose("TransactWriteItems", loss(), loss())
    records.create(record(), quota=ROOM, now=NOW)
    assert (quota(records), dynamodb.calls.count("TransactWriteItems")) == ((5, 1), 3)
    with pytest.raises(TakenError):
        records.create(record(), quota=ROOM, now=NOW)
    with pytest.raises(QuotaExceededError):
        records.create(record(file_id="g", size=996), quota=ROOM, now=NOW)


@LOST
def test_each_change_of_a_record_that_was_made_is_told_as_made(
    wires: Wires, loss: Callable[[], HTTPClientError | int]
) -> None:
    records, _, dynamodb, _ = wires
    records.create(record(), quota=ROOM, now=NOW)
    dynamodb.lose("UpdateItem", loss())
    assert records.remember_upload_id("f", "m1")
    assert records.remember_upload_id("f", "m2") is False
    dynamodb.lose("UpdateItem", loss())
    assert records.look_again("f", NOW + timedelta(hours=1), seen=timestamp(NOW))
    assert records.look_again("f", NOW + timedelta(hours=2), seen=timestamp(NOW)) is False
    dynamodb.lose("UpdateItem", loss())
    assert records.claim(record(), State.ABORTED, of=(State.UPLOADING,), now=NOW)
    assert records.claim(record(), State.EXPIRED, of=(State.UPLOADING,), now=NOW) is False
    found = records.get("f")
    assert found
    dynamodb.lose("TransactWriteItems", loss())
    records.finish(found, due=None, purge=NOW, now=NOW)
    assert quota(records) == (0, 0)
    records.finish(found, due=None, purge=NOW, now=NOW)
    assert quota(records) == (0, 0)
    dynamodb.lose("UpdateItem", loss())
    assert records.recount("ann", now=NOW + timedelta(hours=1))


@LOST
def test_a_file_goes_into_quarantine_once(wires: Wires, loss: Callable[[], HTTPClientError | int]) -> None:
    records, _, dynamodb, _ = wires
    records.create(record(), quota=ROOM, now=NOW)
    assert records.claim(record(), State.QUARANTINED, of=(State.UPLOADING,), now=NOW)
    found = records.get("f")
    assert found
    dynamodb.lose("UpdateItem", loss())
    records.quarantine(found, due=NOW)
    after = records.get("f")
    assert after
    assert (after.state, after.counted, quota(records)) == ("quarantined", True, (5, 1))


def test_a_transaction_that_is_still_at_work_is_asked_for_again_with_its_token(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, _, _, _ = wires
    real, tokens = records._client.transact_write_items, []

    def busy(**request: Any) -> object:  # noqa: ANN401
        tokens.append(request["ClientRequestToken"])
        if len(tokens) < 3:
            raise refusal("TransactionInProgressException", "TransactWriteItems")
        return real(**request)

    monkeypatch.setattr(records._client, "transact_write_items", busy)
    records.create(record(), quota=ROOM, now=NOW)
    assert (len(tokens), len(set(tokens))) == (3, 1)


@LOST
def test_parts_that_were_put_together_are_one_file(wires: Wires, loss: Callable[[], HTTPClientError | int]) -> None:
    _, objects, _, s3 = wires
    s3.lose("CreateMultipartUpload", loss())
    upload_id = objects.begin_parts(KEY, content_type="text/plain")
    objects._client.upload_part(Bucket="bucket", Key=KEY, UploadId=upload_id, PartNumber=1, Body=b"hello")
    s3.lose("CompleteMultipartUpload", loss())
    # At the second call, S3 may answer that there is no such upload; the caller then checks whether the object exists.
    with suppress(NoUploadError):
        objects.complete(KEY, upload_id, objects.parts(KEY, upload_id), size=5)
    assert objects.is_there(KEY)
    # Begun twice: the unknown upload is removed with the file.
    assert objects._client.list_multipart_uploads(Bucket="bucket")["Uploads"]
    objects.abort_uploads(KEY)
    assert "Uploads" not in objects._client.list_multipart_uploads(Bucket="bucket")


@LOST
def test_what_was_removed_is_told_as_removed(wires: Wires, loss: Callable[[], HTTPClientError | int]) -> None:
    _, objects, _, s3 = wires
    for _ in range(2):
        objects._client.put_object(Bucket="bucket", Key=KEY, Body=b"hello")
    objects.begin_parts(KEY, content_type="text/plain")
    s3.lose("DeleteObject", loss())
    s3.lose("AbortMultipartUpload", loss())
    objects.remove_older(KEY)
    assert versions(objects) == 1
    objects.remove(KEY, leave_marker=False)
    assert versions(objects) == 0
    assert "Uploads" not in objects._client.list_multipart_uploads(Bucket="bucket")
