"""Nothing is lost: a handler is killed after every single AWS call it makes, and each file still finds its end.

The handlers' own code runs here, in processes of the test's, against the deployed system, whose workflow, sweeper and
`discard` go on with what the killed one left. Time is made to pass by changing what a record says of it.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from functions.common.contract import State
from functions.common.discard_function import DiscardFunction
from functions.common.objects import Objects
from functions.common.records import LOOK_AFTER, FileRecord, Quota, Records, from_item, timestamp
from functions.discard.logic import discard
from functions.sweep.logic import Sweeper
from functions.upload.logic import UploadRequest, upload
from functions.uploads.logic import Declaration, Rules, Uploads
from functions.uploads.parts import checksum_of
from tests.e2e.conftest import Deployed
from tests.e2e.test_uploads import leftovers
from tools.embedded_aws import control

CONTENT = b"hello"
PARTS = [b"a" * 5 * 2**20, b"b"]
DAY = timedelta(days=1)
ROOM = Quota(10**9, 10)


class Killed(BaseException):
    """The end of a process by Lambda."""


def digest(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


class Process:
    """The code of the handlers, which is killed after so many AWS calls; 0: never."""

    def __init__(self, deployed: Deployed, kill_after: int = 0) -> None:
        outputs, self._kill_after, self.calls = deployed.outputs, kill_after, 0
        clients: dict[str, Any] = {}
        for name in ("dynamodb", "s3", "lambda", "stepfunctions"):
            clients[name] = boto3.client(name, **deployed.options(control.ROOT))  # type: ignore[call-overload]
            clients[name].meta.events.register("after-call", self._count)
        self.records = Records(clients["dynamodb"], outputs["table_name"], outputs["quotas_table_name"])
        self.objects = Objects(clients["s3"], outputs["bucket_name"])
        self.discarding = DiscardFunction("sluice-local-discard")
        self.discarding._client = clients["lambda"]
        rules = Rules(10**9, ("text/plain",), ROOM, 900, DAY, "arn:aws:kms:us-east-1:000000000000:key/none")
        self.uploads = Uploads(records=self.records, objects=self.objects, rules=rules, discard=self.discarding)
        self.sweeper = Sweeper(
            records=self.records,
            objects=self.objects,
            start=lambda file_id, name: clients["stepfunctions"].start_execution(
                stateMachineArn=outputs["state_machine_arn"],
                name=f"{name}-{secrets.token_hex(4)}",
                input=f'{{"detail": {{"object": {{"key": "uploads/{file_id}"}}}}}}',
            ),
            discard=self.discarding,
        )
        self.s3, self.dynamodb = clients["s3"], clients["dynamodb"]

    def _count(self, **call: object) -> None:
        self.calls += 1
        if self.calls == self._kill_after:
            raise Killed


@dataclass
class Case:
    """One file of one owner, whose handler is killed."""

    deployed: Deployed
    file_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    owner: str = field(default_factory=lambda: f"crash-{secrets.token_hex(6)}")

    def record(self, **changed: Any) -> FileRecord:  # noqa: ANN401
        now = datetime.now(UTC)
        values: dict[str, Any] = {
            "file_id": self.file_id,
            "owner": self.owner,
            "file_name": "crash.txt",
            "content_type": "text/plain",
            "size": len(CONTENT),
            "checksum": digest(CONTENT),
            "object_key": f"uploads/{self.file_id}",
            "state": "uploading",
            "upload_time": timestamp(now),
            "file_url": "https://example.invalid",
            "expires_time": timestamp(now + DAY),
            "due_time": timestamp(now + LOOK_AFTER),
        }
        return FileRecord(**values | changed)

    def begun(self, **changed: Any) -> FileRecord:  # noqa: ANN401
        record = self.record(**changed)
        Process(self.deployed).records.create(record, quota=ROOM, now=datetime.now(UTC))
        return record

    def in_parts(self) -> FileRecord:
        """Create a record whose parts have all arrived."""
        helper = Process(self.deployed)
        key = f"uploads/{self.file_id}"
        upload_id = helper.objects.begin_parts(key, content_type="text/plain")
        for number, part in enumerate(PARTS, 1):
            helper.s3.upload_part(
                Bucket=self.deployed.outputs["bucket_name"],
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                Body=part,
                ChecksumSHA256=digest(part),
            )
        return self.begun(
            size=sum(map(len, PARTS)),
            checksum=checksum_of([hashlib.sha256(part).digest() for part in PARTS]),
            part_size=len(PARTS[0]),
            upload_id=upload_id,
        )

    def put(self) -> None:
        """Put the bytes of a file in one request."""
        helper = Process(self.deployed)
        helper.objects.put(f"uploads/{self.file_id}", CONTENT, content_type="text/plain", checksum=digest(CONTENT))

    def now(self) -> dict[str, Any]:
        found = Process(self.deployed).dynamodb.get_item(
            TableName=self.deployed.outputs["table_name"], Key={"file_id": {"S": self.file_id}}, ConsistentRead=True
        )
        return from_item(found["Item"])

    def let_time_pass(self) -> None:
        """Make every unfinished record due, like a day later."""
        item = self.now()
        if "due_time" not in item:
            return
        table = boto3.resource("dynamodb", **self.deployed.options(control.ROOT)).Table(  # type: ignore[call-overload]
            self.deployed.outputs["table_name"]
        )
        past = "2026-01-01T00:00:00.000+00:00"
        with suppress(table.meta.client.exceptions.ConditionalCheckFailedException):
            table.update_item(
                Key={"file_id": self.file_id},
                UpdateExpression="SET due_time = :past, expires_time = :past",
                # What is available and announced is to stay for as long as the settings say.
                ConditionExpression="attribute_exists(due_time) "
                "AND (#state <> :available OR attribute_not_exists(announced_time))",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={":past": past, ":available": "available"},
            )

    def is_settled(self) -> bool:
        item = self.now()
        if item["state"] == "available":
            return "announced_time" in item
        return item["state"] in {"aborted", "expired", "rejected", "deleted"} and "due_time" not in item


Step = Callable[[Case, Process], object]


def start_small(case: Case, process: Process) -> None:
    declaration = Declaration("crash.txt", len(CONTENT), "text/plain", digest(CONTENT))
    process.uploads.start(
        declaration, owner=case.owner, file_id=case.file_id, file_url="https://x", now=datetime.now(UTC)
    )


def start_large(case: Case, process: Process) -> None:
    declaration = Declaration("crash.txt", 100_000_001, "text/plain", f"{digest(b'x')}-12", (digest(b"x"),))
    process.uploads.start(
        declaration, owner=case.owner, file_id=case.file_id, file_url="https://x", now=datetime.now(UTC)
    )


def upload_small(case: Case, process: Process) -> None:
    upload(
        UploadRequest("crash.txt", CONTENT, "text/plain"),
        owner=case.owner,
        file_id=case.file_id,
        file_url="https://x",
        now=datetime.now(UTC),
        quota=ROOM,
        records=process.records,
        objects=process.objects,
        discard=process.discarding,
    )


def complete(case: Case, process: Process) -> None:
    process.uploads.complete(case.in_parts(), None, now=datetime.now(UTC))


def abort(case: Case, process: Process) -> None:
    process.uploads.abort(case.in_parts(), now=datetime.now(UTC))


def delete(case: Case, process: Process) -> None:
    """As the function `files` does."""
    record = case.begun(state="available", announced_time="2026-01-01T00:00:00.000+00:00")
    case.put()
    process.records.claim(record, State.DELETED, of=(State.AVAILABLE,), now=datetime.now(UTC))
    process.discarding(case.file_id)


def discard_claimed(case: Case, process: Process) -> None:
    # Claimed before bytes come: the workflow hears of them, and would reject what it finds.
    Process(case.deployed).records.claim(case.in_parts(), State.ABORTED, of=(State.UPLOADING,), now=datetime.now(UTC))
    case.put()
    discard(
        case.file_id,
        records=process.records,
        objects=process.objects,
        leave_markers=False,
        keep_record=DAY,
        now=datetime.now(UTC),
    )


def sweep_expired(case: Case, process: Process) -> None:
    case.begun()
    case.let_time_pass()
    sweep(case, process)


def sweep_stuck(case: Case, process: Process) -> None:
    case.begun(state="uploading")
    case.put()
    case.let_time_pass()
    sweep(case, process)


def sweep(case: Case, process: Process) -> None:
    """As if nothing else were due: looking for it changes nothing."""
    process.records.due = lambda now: iter([case.file_id])  # type: ignore[method-assign]
    process.records.due_quotas = lambda now: iter([case.owner])  # type: ignore[method-assign]
    process.sweeper.sweep(datetime.now(UTC))


STEPS: dict[Step, set[str]] = {
    start_small: {"expired"},
    start_large: {"expired"},
    upload_small: {"available", "expired"},
    complete: {"available", "expired"},
    abort: {"aborted", "available", "expired"},
    delete: {"deleted"},
    discard_claimed: {"aborted"},
    sweep_expired: {"expired"},
    sweep_stuck: {"available"},
}
# More than any handler makes.
MOST_CALLS = 20


def opened(case: Case) -> None:
    """The run that opened the file was gone before it announced it."""
    case.begun(state="available", available_time="2026-01-01T00:00:00.000+00:00")
    case.put()


def refused(case: Case) -> None:
    """The run that claimed the file as rejected was gone before its bytes were."""
    case.begun(state="ending", ends_as="rejected", failure="it is something else")
    case.put()


def removed(case: Case) -> None:
    """The run that removed the bytes of a rejected file was gone before it announced it."""
    record, now = case.begun(state="ending", ends_as="rejected", failure="it is something else"), datetime.now(UTC)
    Process(case.deployed).records.finish(record, due=now + LOOK_AFTER, purge=now + DAY, now=now)


# Where the workflow may be cut off between two of its steps, and how files end then.
CUTS: dict[Callable[[Case], None], set[str]] = {opened: {"available"}, refused: {"rejected"}, removed: {"rejected"}}


@pytest.fixture(scope="module")
def cases(deployed: Deployed) -> dict[str, tuple[Case, set[str]]]:
    """Kill every handler after each of its calls; then let the system finish."""
    found: dict[str, tuple[Case, set[str]]] = {}
    for step, ends in STEPS.items():
        name = step.__name__
        for kill_after in range(1, MOST_CALLS):
            case, process = Case(deployed), Process(deployed, kill_after)
            try:
                step(case, process)
            except Killed:
                found[f"{name} after call {kill_after}"] = case, ends
                continue
            found[f"{name} unharmed"] = case, ends
            break
        else:
            raise AssertionError(f"{name} makes {MOST_CALLS} calls or more")
    for cut, ends in CUTS.items():
        case = Case(deployed)
        cut(case)
        found[f"workflow {cut.__name__}"] = case, ends
    functions: Any = boto3.client("lambda", **deployed.options(control.ROOT))  # type: ignore[call-overload]
    deadline = time.monotonic() + 120
    while unsettled := [case for case, _ in found.values() if not case.is_settled()]:
        if time.monotonic() > deadline:
            break
        for case in unsettled:
            case.let_time_pass()
        functions.invoke(FunctionName="sluice-local-sweep", Payload=b'{"task": "sweep_schedule"}')
        until = time.monotonic() + 5
        while time.monotonic() < until and not all(case.is_settled() for case in unsettled):
            time.sleep(0.5)
    return found


def test_every_handler_was_killed_after_each_of_its_calls(cases: dict[str, tuple[Case, set[str]]]) -> None:
    calls = {step.__name__: sum(name.startswith(f"{step.__name__} ") for name in cases) - 1 for step in STEPS}
    assert calls["start_small"] == 1
    assert calls["start_large"] == 3
    assert calls["upload_small"] == 2
    assert all(number >= 1 for number in calls.values()), calls


def test_every_file_found_its_end(cases: dict[str, tuple[Case, set[str]]]) -> None:
    ends = {name: case.now()["state"] for name, (case, _) in cases.items()}
    assert {name: end for name, end in ends.items() if end not in cases[name][1]} == {}
    assert [name for name, (case, _) in cases.items() if not case.is_settled()] == []


def test_whatever_the_workflow_did_not_announce_is_announced(cases: dict[str, tuple[Case, set[str]]]) -> None:
    for cut in CUTS:
        assert "announced_time" in cases[f"workflow {cut.__name__}"][0].now(), cut.__name__


def test_no_bytes_are_left_over(cases: dict[str, tuple[Case, set[str]]]) -> None:
    for name, (case, _) in cases.items():
        stored = leftovers(case.deployed, case.file_id)
        assert stored == (1 if case.now()["state"] == "available" else 0), name


def test_the_sweeper_counts_a_quota_that_drifted(deployed: Deployed) -> None:
    case, process = Case(deployed), Process(deployed)
    case.begun()
    quotas = boto3.resource("dynamodb", **deployed.options(control.ROOT)).Table(  # type: ignore[call-overload]
        deployed.outputs["quotas_table_name"]
    )
    quotas.update_item(
        Key={"owner": case.owner},
        # An owner who has just changed is counted later, since the index may lag behind.
        UpdateExpression="SET #bytes = :drifted, due_time = :past, changed_time = :past",
        ExpressionAttributeNames={"#bytes": "bytes"},
        ExpressionAttributeValues={":drifted": 777, ":past": "2026-01-01T00:00:00.000+00:00"},
    )
    functions: Any = boto3.client("lambda", **deployed.options(control.ROOT))  # type: ignore[call-overload]
    functions.invoke(FunctionName="sluice-local-sweep", Payload=b'{"task": "sweep_schedule"}')
    assert quotas.get_item(Key={"owner": case.owner})["Item"]["bytes"] == len(CONTENT)
    process.uploads.abort(case.record(), now=datetime.now(UTC))


def test_every_quota_is_settled(cases: dict[str, tuple[Case, set[str]]]) -> None:
    for name, (case, _) in cases.items():
        item = case.now()
        held = (int(item["size"]), 1) if item["state"] == "available" else (0, 0)
        table = case.deployed.outputs["quotas_table_name"]
        client = Process(case.deployed).dynamodb
        quota = from_item(client.get_item(TableName=table, Key={"owner": {"S": case.owner}})["Item"])
        assert (int(quota["bytes"]), int(quota["files"])) == held, name
