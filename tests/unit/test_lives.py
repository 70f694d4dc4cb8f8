"""Whatever fails, and whenever: no file is lost, every quota is right, and nothing is left over."""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

from functions.common import records
from functions.common.records import is_counted
from tests.unit.lives import GOOD, INSIDE, OTHER, OWNER, VIRUS, Life, World, small_parts
from tests.unit.memory import Aws

# LIVES=500 and the like for a long look.
LIVES = int(os.environ.get("LIVES", "12"))
# What a record with every attempt behind it is looked at by: 15 minutes, each hour, until late bytes are over.
A_DAY = (0.3, 0.3, *[1.1] * 28)


def unsettled(world: World) -> list[str]:
    """What is wrong with the system, one line each; it should be none."""
    found = []
    s3, items = world.aws.s3, world.aws.items()
    told = Counter(world.said)
    for life in world.lives:
        key, item = f"uploads/{life.file_id}", items.get(life.file_id)
        versions = len(s3.versions.get(key, []))
        pending = [upload for upload, (of, _) in s3.uploads.items() if of == key]
        if item is None:
            if versions or pending:
                found.append(f"{life}: bytes without a record")
            continue
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
        event = {"available": "file_uploaded", "rejected": "file_rejected", "quarantined": "file_quarantined"}.get(
            state
        )
        if event and not told[event, life.file_id]:
            found.append(f"{life}, which is {state}, was not announced")
        if event and "announced_time" not in item:
            found.append(f"{life}, which is {state}, is not known to be announced")
    counted = [item for item in items.values() if is_counted(item["state"], item.get("ends_as", ""))]
    due = (sum(int(item["size"]) for item in counted), len(counted))
    if world.aws.quota(OWNER) != due:
        found.append(f"the quota is {world.aws.quota(OWNER)}, and should be {due}")
    found += [f"an owner saw {text}" for text in world.seen if INSIDE in text or "arn:aws:iam" in text]
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
    monkeypatch.setattr(records, "SHARDS", 1)
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
