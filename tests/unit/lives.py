"""Lives of uploads: owners, S3's events, scanner, workflow, `discard` and sweeper, in a random order.

Every call of AWS may fail before it did something or after it. botocore sends it again, and after some attempts it
fails. The workflow is the deployed definition, which `machine` runs.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from unittest import mock

import pytest
from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError

from functions.common.contract import SCAN_TAG, State
from functions.common.objects import Objects
from functions.common.records import FileRecord, Quota, Records
from functions.common.rest_api import Refused
from functions.discard.logic import discard
from functions.inspect.logic import Gate, Keeping, inspect
from functions.sweep.logic import Sweeper
from functions.upload.logic import UploadRequest, upload
from functions.uploads import logic
from functions.uploads import parts as parts_module
from functions.uploads.logic import Declaration, Rules, Uploads
from functions.uploads.parts import Cut, checksum_of
from modules.settings import Settings
from modules.workflow_states import definition
from synthesis.paths import ROOT
from tests.unit.fakes import FILES, QUOTAS, sha256
from tests.unit.memory import Aws
from tests.unit.workflow_interpreter import Run, TaskError

BEGAN = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
TYPES = ("text/plain", "application/octet-stream")
GOOD, OTHER, VIRUS = b"hello", b"hellO", b"virus"
# With parts of a few bytes; see `small_parts`.
LARGE, PART = 11, 4
# In the causes of errors, and nowhere that an owner sees.
INSIDE = "arn:aws:iam::000000000000:role/inside"
SENT_AGAIN = 3
QUARANTINE = timedelta(days=30)
KEPT = timedelta(days=90)
OWNER = "ann"
LISTED = "uploads/"


def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file of a few bytes be a large one."""
    monkeypatch.setattr(parts_module, "MIN_PART_BYTES", PART)
    monkeypatch.setattr(logic, "MAX_POST_BYTES", LARGE - 1)


@functools.cache
def workflow() -> dict[str, Any]:
    """Return the deployed state machine."""
    values = tomllib.loads((ROOT / "environments" / "dev.toml").read_text())
    with mock.patch.dict(os.environ, clear=True):
        settings = Settings(**{**values, "environment": "dev"})
    return definition(
        settings,
        inspect_arn="inspect",
        discard_arn="discard",
        bucket_name="bucket",
        table_name=FILES,
        files_topic_arn="files",
        alerts_topic_arn="alerts",
    )


class Unreliable:
    """A client whose calls fail before or after their effect, and are repeated as by botocore."""

    def __init__(self, client: object, world: World) -> None:
        self._client, self._world = client, world

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - boto3's own
        found = getattr(self._client, name)
        if name in {"exceptions", "generate_presigned_post", "generate_presigned_url"}:
            return found
        if name == "get_paginator":
            return lambda operation: Unreliable(found(operation), self._world)
        return functools.partial(self._call, name, found)

    def _call(self, name: str, operation: Callable[..., Any], **request: Any) -> Any:  # noqa: ANN401
        written = False
        for _ in range(SENT_AGAIN):
            fate = self._world.fate()
            if fate == "before":
                continue
            # DynamoDB knows a transaction again by its token; moto does not.
            if not (written and name == "transact_write_items" and request["ClientRequestToken"]):
                answer = operation(**request)
                written = True
            if fate == "well":
                return answer
        raise ConnectionClosedError(endpoint_url="https://aws")


class Invoked:
    """Lambda, which takes events of `discard`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def invoke(self, **request: Any) -> None:  # noqa: ANN401
        self._world.actors.append(self._world.discarding(json.loads(request["Payload"])["file_id"]))


@dataclass
class Life:
    """One upload, and the answers that its owner got.

    Attributes:
        how: by a form, in parts, or by POST /upload.
        content: what is sent, whatever was declared.
        stored: whether all bytes came.
        ended: whether the owner was told that it is aborted or deleted.
        refused: whether POST /upload failed.
        wants_end: whether the owner ever asked for its end.
    """

    file_id: str
    how: str
    content: bytes
    stored: bool = False
    ended: bool = False
    refused: bool = False
    wants_end: bool = False


@dataclass
class World:
    """All of it.

    Attributes:
        trouble: how likely a call fails.
        said: what subscribers were told: event and file.
        seen: every answer that an owner got.
    """

    aws: Aws
    random: random.Random
    trouble: float
    scanning: bool
    replicated: bool = False
    now: datetime = BEGAN
    actors: list[Iterator[object]] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    said: list[tuple[str, str]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        dynamodb = cast(Any, Unreliable(self.aws.dynamodb, self))
        self.records = Records(dynamodb, FILES, QUOTAS)
        self.objects = Objects(cast(Any, Unreliable(self.aws.s3, self)), "bucket")
        self.dynamodb, self.functions = dynamodb, cast(Any, Unreliable(Invoked(self), self))
        rules = Rules(10**9, TYPES, Quota(10**12, 10**6), 900, timedelta(hours=24), "arn:aws:kms:::key/k")
        self.rules = rules
        self.uploads = Uploads(records=self.records, objects=self.objects, rules=rules, discard=self.discard)
        store, self.aws.s3.store = self.aws.s3.store, self._stored  # type: ignore[method-assign]
        self._store = store

    def fate(self) -> str:
        """The result of a call: success, or a failure before or after it had an effect."""
        if self.random.random() >= self.trouble:
            return "well"
        return self.random.choice(["before", "after"])

    def discard(self, file_id: str) -> None:
        """Discard a file, like `Discarding`."""
        self.functions.invoke(Payload=json.dumps({"file_id": file_id}))

    # what S3 and the scanner tell

    def _stored(self, key: str, content: bytes, checksum: str = "") -> None:
        self._store(key, content, checksum)
        version = self.aws.s3.versions[key][-1][0]
        for _ in range(self._copies()):
            detail = {"reason": "PutObject", "object": {"key": key, "version-id": version}}
            self.start({"detail": detail})
        if self.scanning:
            self.actors.append(self._scan(key, content))

    def _copies(self) -> int:
        """Return how often an event is delivered."""
        return self.random.choice([0, 1, 1, 1, 2]) if self.trouble else 1

    def _scan(self, key: str, content: bytes) -> Iterator[None]:
        yield
        status = "THREATS_FOUND" if content == VIRUS else "NO_THREATS_FOUND"
        if key in self.aws.s3.objects:
            self.aws.s3.tags[key] = {SCAN_TAG: status}
            for _ in range(self._copies()):
                self.start({"detail": {"object": {"key": key}, "scan": {"status": status}}})

    # the workflow

    def start(self, event: dict[str, Any], name: str = "") -> None:
        """Start the workflow; a name that was used starts nothing."""
        name = name or f"run-{len(self.runs)}"
        if name not in self.names:
            self.names.add(name)
            run = Run(workflow(), event, name, self._task, lambda: f"{self.now:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z")
            self.runs.append(run)
            self.actors.append(run.steps())

    def _task(self, resource: str, arguments: dict[str, Any]) -> object:
        fate = self.fate()
        if fate == "before":
            raise TaskError("Lambda.SdkClientException", INSIDE)
        result = self._do(resource, arguments)
        if fate == "after":
            raise TaskError(*self.random.choice([("States.Timeout",), ("Some.SdkClientException", INSIDE)]))
        return result

    def _do(self, resource: str, arguments: dict[str, Any]) -> object:
        if resource == "dynamodb:updateItem":
            try:
                return self.aws.dynamodb.update_item(**arguments)
            except ClientError as error:
                raise TaskError(f"DynamoDB.{error.response['Error']['Code']}", f"{error}: {INSIDE}") from None
        if resource == "sns:publish":
            if arguments["TopicArn"] == "files":
                message = json.loads(arguments["Message"])
                self.said.append((message["event"], message["file_id"]))
                self.seen.append(arguments["Message"])
            return {}
        assert resource == "lambda:invoke"
        function = {"inspect": self._inspect, "discard": self._discard}[arguments["FunctionName"]]
        try:
            return {"Payload": function(arguments["Payload"])}
        except Exception as error:
            cause = {"errorType": type(error).__name__, "errorMessage": str(error), "stackTrace": [INSIDE]}
            raise TaskError(type(error).__name__, json.dumps(cause)) from error

    def _inspect(self, event: dict[str, Any]) -> dict[str, Any]:
        gate = Gate(TYPES, scanning=self.scanning)
        keeping = Keeping(files=KEPT, quarantine=QUARANTINE)
        return asdict(
            inspect(event, records=self.records, objects=self.objects, gate=gate, keeping=keeping, now=self.now)
        )

    def _discard(self, event: dict[str, Any]) -> str:
        return discard(
            event["file_id"],
            records=self.records,
            objects=self.objects,
            leave_markers=self.replicated,
            keep_record=timedelta(days=90),
            now=self.now,
        )

    def discarding(self, file_id: str) -> Iterator[None]:
        """Lambda's three tries; then the event is a dead letter."""
        for _ in range(3):
            yield
            try:
                self._discard({"file_id": file_id})
            except (BotoCoreError, ClientError):
                continue
            return

    def sweep(self) -> None:
        """Run the sweeper once; it may fail."""
        sweeper = Sweeper(
            records=self.records,
            objects=self.objects,
            start=lambda file_id, name: self.start({"detail": {"object": {"key": f"uploads/{file_id}"}}}, name),
            discard=self.discard,
            tidy_from=None if self.replicated else LISTED,
        )
        try:
            sweeper.sweep(self.now)
        except (BotoCoreError, ClientError):
            assert self.trouble

    # owners

    def ask(self, what: Callable[[], Any]) -> tuple[str, Any]:
        """Call the API: `well` and an answer, `refused`, or `failed`."""
        try:
            answer = what()
        except Refused as refused:
            self.seen.append(refused.message)
            return "refused", refused
        except (BotoCoreError, ClientError):
            return "failed", None
        self.seen.append(json.dumps(answer, default=str))
        return "well", answer

    def record(self, file_id: str) -> FileRecord:
        """Return the record, as the API reads it."""
        found = self.records.get(file_id)
        if found is None:
            raise Refused("No such file", 404)
        return found

    def live(self, life: Life) -> Iterator[None]:
        """Run random actions of an owner with one file."""
        yield
        if life.how == "small":
            request = UploadRequest("a.txt", life.content, "text/plain")
            outcome, _ = self.ask(
                lambda: upload(
                    request,
                    owner=OWNER,
                    file_id=life.file_id,
                    file_url="https://x",
                    now=self.now,
                    quota=self.rules.quota,
                    records=self.records,
                    objects=self.objects,
                    discard=self.discard,
                )
            )
            life.stored, life.refused = outcome == "well", outcome != "well"
            if life.refused:
                return
        else:
            yield from self._send(life)
        yield from self._watch(life)

    def _send(self, life: Life) -> Iterator[None]:
        parts = [b"x" * Cut.of(LARGE).size_of(number) for number in range(1, Cut.of(LARGE).count + 1)]
        checksum = checksum_of([hashlib.sha256(part).digest() for part in parts])
        if life.how == "form":
            declared = Declaration("a.txt", 5, "text/plain", sha256(GOOD if life.content == OTHER else life.content))
        else:
            # Half of the callers hash while they send.
            said = self.random.choice([checksum, ""])
            declared = Declaration("a.bin", LARGE, "application/octet-stream", said)
        for _ in range(5):
            outcome, begun = self.ask(
                lambda: self.uploads.start(
                    declared, owner=OWNER, file_id=life.file_id, file_url="https://x", now=self.now
                )
            )
            yield
            if outcome == "well":
                break
        else:
            return
        if begun["state"] != "uploading":
            return
        if life.how == "form":
            yield from self._send_form(life)
        else:
            yield from self._send_parts(life, parts, checksum)

    def _send_form(self, life: Life) -> Iterator[None]:
        """Post the file, perhaps several times, while its form is valid."""
        good_until = self.now + timedelta(minutes=15)
        for _ in range(self.random.choice([0, 1, 1, 1, 2, 3])):
            if self.now > good_until:
                break
            self.aws.s3.store(f"uploads/{life.file_id}", life.content)
            life.stored = True
            yield

    def _send_parts(self, life: Life, parts: list[bytes], checksum: str) -> Iterator[None]:
        """Store the parts and complete the upload, with several attempts."""
        upload_id = self.aws.items()[life.file_id]["upload_id"]
        if self.random.random() < 0.2 or upload_id not in self.aws.s3.uploads:
            return
        self.aws.s3.uploads[upload_id] = (f"uploads/{life.file_id}", dict(enumerate(parts, 1)))
        yield
        body = json.dumps({"checksum": checksum}) if self.random.random() < 0.5 else None
        for _ in range(3):
            outcome, _ = self.ask(lambda: self.uploads.complete(self.record(life.file_id), body, now=self.now))
            life.stored = life.stored or outcome == "well"
            yield

    def _watch(self, life: Life) -> Iterator[None]:
        """Look at it, and perhaps end it."""
        key = f"uploads/{life.file_id}"
        ends = self.random.random() < 0.3
        for _ in range(self.random.randint(0, 12)):
            yield
            self.ask(lambda: self.uploads.status(self.record(life.file_id), now=self.now))
            form_is_good = self.now < BEGAN + timedelta(minutes=15)
            if life.how == "form" and life.stored and form_is_good and self.random.random() < 0.2:
                self.aws.s3.store(key, life.content)
        if ends:
            life.wants_end = True
            abort = self.random.random() < 0.5
            for _ in range(3):
                outcome, _ = self.ask(functools.partial(self._end, life, abort=abort))
                life.ended |= outcome == "well"
                yield

    def _end(self, life: Life, *, abort: bool) -> None:
        record = self.record(life.file_id)
        if abort:
            self.uploads.abort(record, now=self.now)
            return
        # As the function `files` does.
        if not self.records.claim(record, State.DELETED, of=(State.AVAILABLE, State.QUARANTINED), now=self.now):
            current = self.record(life.file_id)
            if current.shown_state != "deleted":
                raise Refused(f"The file is {current.shown_state}", 409)
        self.discard(life.file_id)

    # time

    def chaos(self, lives: int) -> None:
        """Run owners, events, workflow and sweeper in a random order, with failures."""
        for number in range(lives):
            how = self.random.choice(["form", "form", "form", "parts", "small"])
            content = GOOD if how == "parts" else self.random.choice([GOOD, GOOD, GOOD, OTHER, VIRUS])
            if how == "small" and content == OTHER:
                content = GOOD
            life = Life(f"life-{number}", how, content)
            self.lives.append(life)
            self.actors.append(self.live(life))
        swept = self.now
        while self.actors:
            self._step()
            self.now += timedelta(seconds=self.random.choice([0, 0, 0, 1, 10]))
            if self.now - swept > timedelta(minutes=15):
                swept = self.now
                self.sweep()

    def _step(self) -> None:
        actor = self.random.choice(self.actors)
        try:
            next(actor)
        except StopIteration:
            self.actors.remove(actor)

    def settle(self, *hours: float) -> None:
        """Run the system for so many hours, one after the other, without failures."""
        self.trouble = 0.0
        for each in hours:
            self.now += timedelta(hours=each)
            self.sweep()
            while self.actors:
                self._step()
