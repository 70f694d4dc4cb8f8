"""With failures of any call at any time, no file is lost, every quota is right, and no bytes are left over."""

from __future__ import annotations

import os
import random
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from functions.common import records
from functions.common.contract import State
from functions.common.records import is_counted
from modules.aws_limits import STEP_WAITS_SECONDS, WORKFLOW_SECONDS
from modules.workflow_states import BUSY
from tests.unit.lives import GOOD, INSIDE, OTHER, OWNER, VIRUS, Life, World, small_parts, workflow
from tests.unit.memory import Aws
from tests.unit.workflow_interpreter import TaskError

# LIVES=500 and the like for a long look.
LIVES = int(os.environ.get("LIVES", "12"))
# What a record with every attempt behind it is looked at by: 15 minutes, each hour, until late bytes are over.
A_DAY = (0.3, 0.3, *[1.1] * 28)


def unsettled(world: World) -> list[str]:
    """Return the faults of the system, one line each; the expected result is none."""
    found = []
    items = world.aws.items()
    told = Counter(world.said)
    for life in world.lives:
        found += unsettled_file(world, life, items.get(life.file_id), told)
    counted = [item for item in items.values() if is_counted(item["state"], item.get("ends_as", ""))]
    due = (sum(int(item["size"]) for item in counted), len(counted))
    if world.aws.quota(OWNER) != due:
        found.append(f"the quota is {world.aws.quota(OWNER)}, and should be {due}")
    found += [f"an owner saw {text}" for text in world.seen if INSIDE in text or "arn:aws:iam" in text]
    return found


def unsettled_file(world: World, life: Life, item: dict[str, Any] | None, told: Counter[tuple[str, str]]) -> list[str]:
    """Return the faults of one file."""
    key = f"uploads/{life.file_id}"
    versions = len(world.aws.s3.versions.get(key, []))
    pending = [upload for upload, (of, _) in world.aws.s3.uploads.items() if of == key]
    if item is None:
        return [f"{life}: bytes without a record"] if versions or pending else []
    found = []
    state = item["state"]
    if state in {"uploading", "scanning", "ending"}:
        found.append(f"{life} is stuck: {state}")
    expected = _ends(life, scanning=world.scanning)
    if state not in expected:
        found.append(f"{life} is {state}, not one of {expected}")
    stays = state in {"available", "quarantined"}
    if not world.replicated and versions != (1 if stays else 0):
        found.append(f"{life}, which is {state}, has {versions} versions")
    if pending and state != "available":
        found.append(f"{life}, which is {state}, has an unfinished multipart upload")
    if "failure" in item and state == "available":
        found.append(f"{life} is available, with a failure")
    return found + unannounced(life, item, told)


def unannounced(life: Life, item: dict[str, Any], told: Counter[tuple[str, str]]) -> list[str]:
    """Return the faults of the announcement of a file whose state is announced."""
    state = item["state"]
    event = {"available": "file_uploaded", "rejected": "file_rejected", "quarantined": "file_quarantined"}.get(state)
    if event is None:
        return []
    found = [] if told[event, life.file_id] else [f"{life}, which is {state}, was not announced"]
    if "announced_time" not in item:
        found.append(f"{life}, which is {state}, is not known to be announced")
    return found


def _ends(life: Life, *, scanning: bool) -> set[str]:
    """The states in which a file may end, by what happened to it."""
    if life.ended:
        return {"aborted", "deleted", "rejected", "expired"}
    ends = {"aborted", "deleted"} if life.wants_end else set()
    if life.refused:
        # Its bytes may have come all the same.
        ends |= {"aborted", "expired"}
    if not life.stored:
        ends |= {"expired"}
    opened = {GOOD: "available", OTHER: "rejected", VIRUS: "quarantined" if scanning else "available"}
    return ends | {opened[life.content]}


@pytest.mark.parametrize("seed", range(int(os.environ.get("SEEDS", "4"))))
def test_whatever_fails_every_file_finds_its_end(aws: Aws, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    small_parts(monkeypatch)
    monkeypatch.setattr(records, "DUE_SHARDS", 1)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    lot = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    world = World(aws, lot, trouble=lot.choice([0.0, 0.3, 0.6]), scanning=bool(seed % 2), replicated=seed % 4 == 3)
    world.chaos(LIVES)
    world.settle(*A_DAY)
    assert unsettled(world) == []
    # Quarantine is over, then everything is.
    world.settle(24 * 40, 0.3, 0.3)
    assert "quarantined" not in {item["state"] for item in aws.items().values()}
    world.settle(24 * 60, 0.3, 0.3)
    assert aws.quota(OWNER) == (0, 0)
    if not world.replicated:
        assert [key for key, versions in aws.s3.versions.items() if versions] == []
    assert aws.s3.uploads == {}


def refuse(world: World, error: TaskError, *, times: int, state: str) -> None:
    """Let the next calls of a state fail."""
    left = [times]
    real = world._task

    def task(resource: str, arguments: dict[str, Any]) -> object:
        if world.runs[-1].entered[-1] == state and left[0]:
            left[0] -= 1
            raise error
        return real(resource, arguments)

    world._task = task  # type: ignore[method-assign]


@pytest.mark.parametrize("error", BUSY)
@pytest.mark.parametrize("state", ["Inspect", "MakeAvailable", "Announce", "RememberAnnouncement"])
def test_a_busy_service_is_asked_again_until_the_file_is_open(aws: Aws, error: str, state: str) -> None:
    """As long as a burst lasts, and not only for half a minute; the sweeper has nothing to do."""
    world = World(aws, random.Random(0), trouble=0.0, scanning=False)  # noqa: S311 - to be repeated, not to be secret
    refuse(world, TaskError(error), times=10, state=state)
    world.lives.append(Life("f", "small", GOOD))
    world.actors.append(world.live(world.lives[0]))
    while world.actors:
        world._step()
    assert [run.status for run in world.runs] == ["SUCCEEDED"]
    assert aws.items()["f"]["state"] == "available"
    assert 240 < world.runs[0].waited < WORKFLOW_SECONDS


@pytest.mark.parametrize("cause", [None, INSIDE])
def test_a_run_that_gives_up_tells_why_and_the_next_sweep_starts_another_one(aws: Aws, cause: str | None) -> None:
    """A timeout has no cause, and is told all the same."""
    world = World(aws, random.Random(0), trouble=0.0, scanning=False)  # noqa: S311 - to be repeated, not to be secret
    refuse(world, TaskError("States.Timeout", cause), times=30, state="Inspect")
    world.lives.append(Life("f", "small", GOOD))
    world.actors.append(world.live(world.lives[0]))
    while world.actors:
        world._step()
    assert [run.status for run in world.runs] == ["FAILED"]
    assert world.runs[0].entered[-3:] == ["RecordFailure", "TellSomeone", "Failed"]
    assert INSIDE not in str(aws.items())
    world._task = World._task.__get__(world)  # type: ignore[method-assign]
    world.now += timedelta(minutes=1)
    world.settle(0)
    assert [run.status for run in world.runs] == ["FAILED", "SUCCEEDED"]
    assert ("failure" in aws.items()["f"], aws.items()["f"]["state"]) == (False, "available")


def test_a_run_has_the_time_for_every_attempt_of_every_step() -> None:
    """It would time out otherwise, which nothing catches. Settings let a step wait for STEP_WAITS_SECONDS."""
    states = workflow()["States"]

    def longest(name: str, seen: frozenset[str]) -> float:
        state = states[name]
        ways = [state.get("Next"), state.get("Default")]
        ways += [each["Next"] for each in [*state.get("Choices", []), *state.get("Catch", [])]]
        # One step is on the way twice: what was ended is looked at again.
        again = frozenset() if name == "EndFile" else seen
        took = 0.0
        if state["Type"] == "Task":
            busy = next(each for each in state["Retry"] if "States.Timeout" in each["ErrorEquals"])
            assert busy["MaxDelaySeconds"] <= 60
            attempts = busy["MaxAttempts"] + 20 + 1
            took = attempts * state["TimeoutSeconds"] + busy["MaxAttempts"] * 60 + STEP_WAITS_SECONDS
        after = [longest(each, again | {name}) for each in ways if each and each not in seen | {name}]
        return took + max(after, default=0.0)

    assert longest("NameFile", frozenset()) < WORKFLOW_SECONDS == workflow()["TimeoutSeconds"]


def test_a_file_that_is_deleted_while_it_is_announced_is_looked_after(aws: Aws) -> None:
    """The delete's own call of `discard` is lost; the run that announces must not put the sweeper off for 91 days."""
    world = World(aws, random.Random(0), trouble=0.0, scanning=False)  # noqa: S311 - to be repeated, not to be secret
    world.lives.append(Life("f", "small", GOOD))
    world.actors.append(world.live(world.lives[0]))
    while not world.runs or world.runs[0].entered[-1:] != ["Announce"]:
        world._step()
    assert world.records.claim(world.record("f"), State.DELETED, of=(State.AVAILABLE,), now=world.now)
    while world.actors:
        world._step()
    assert world.runs[0].status == "SUCCEEDED"
    world.settle(0.3)
    assert (aws.items()["f"]["state"], aws.quota(OWNER)) == ("deleted", (0, 0))


def test_a_run_that_fails_leaves_no_failure_on_a_file_that_is_open(aws: Aws) -> None:
    world = World(aws, random.Random(0), trouble=0.0, scanning=False)  # noqa: S311 - to be repeated, not to be secret
    refuse(world, TaskError("Sns.Broken", INSIDE), times=30, state="Announce")
    world.lives.append(Life("f", "small", GOOD))
    world.actors.append(world.live(world.lives[0]))
    while world.actors:
        world._step()
    assert world.runs[0].status == "FAILED"
    assert ("failure" in aws.items()["f"], aws.items()["f"]["state"]) == (False, "available")
