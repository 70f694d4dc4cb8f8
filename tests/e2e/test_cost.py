"""The calls that tools/capacity/bill.py counts for a file are those that IAM decided on."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import pytest

from modules.settings import Settings
from tests.e2e.conftest import Deployed, wait_for
from tests.e2e.test_openapi_examples import Client
from tests.e2e.test_uploads import post, put
from tests.openapi import document
from tools.capacity import bill
from tools.capacity.assumptions import Assumptions
from tools.capacity.bill import Workload
from tools.capacity.platform import Platform, platform
from tools.develop.caller import Bearer
from tools.develop.local import local_settings

START = document().operations()["startUpload"].examples()


def found(deployed: Deployed) -> Platform:
    """Return what the model reads from the stack that is deployed."""
    return platform(json.loads((deployed.terraform.folder / "cdk.tf.json").read_text()))


def billed_for(deployed: Deployed, size: int) -> dict[tuple[str, str], float]:
    """Quantities that the model has for one file, by service and item."""
    settings: Settings = local_settings(deployed.aws)
    lines = bill.lines(Workload("one", 1, size), settings, found(deployed), Assumptions())
    return {(line.service, line.item): line.quantity for line in lines}


class Counted:
    """Decisions since it was made about what one file takes, by action."""

    def __init__(self, deployed: Deployed) -> None:
        self._deployed = deployed
        self._before = len(deployed.decisions())

    def _mine(self) -> Iterator[str]:
        for decision in self._deployed.decisions()[self._before :]:
            # The platform's own; neither the test's operator, nor the sweeper, which may come along, nor GuardDuty.
            who = str(decision["principal"])
            if ":assumed-role/sluice-local-" in who and not re.search("sweep|scanner", who):
                yield str(decision["action"])

    def by_action(self) -> Counter[str]:
        return Counter(self._mine())


def wait_until_announced(deployed: Deployed, file_id: str) -> None:
    """Until the workflow is over, without a call of the API."""
    table, key = deployed.outputs["table_name"], {"file_id": {"S": file_id}}
    wait_for(lambda: "announced_time" in deployed.dynamodb().get_item(TableName=table, Key=key)["Item"])


@pytest.mark.parametrize("example", ["small", "large"])
def test_a_file_takes_the_calls_that_are_billed(deployed: Deployed, example: str) -> None:
    """Of some files, one: a run for a file of another test may fall between, or two runs for one file meet."""
    made: list[dict[str, tuple[float, float]]] = []
    while len(made) < 4:
        made.append(one_file(deployed, example))
        if all(billed == counted for billed, counted in made[-1].values()):
            return
    assert made == []


def one_file(deployed: Deployed, example: str) -> dict[str, tuple[float, float]]:
    """Send a file; what is billed for it and what was counted, by item."""
    assert isinstance(deployed.api.caller, Bearer)
    client = Client(deployed, deployed.api.caller)
    declared = START[example]
    billed = billed_for(deployed, declared["size"])
    counted = Counted(deployed)
    started = client.call("startUpload", 201, declared)
    calls = 1
    if example == "small":
        assert post(deployed, started.json["post"], b"Hello, Sluice!\n") == 204
    else:
        wanted = document().operations()["signParts"].examples()["next"]
        signed = client.follow("startUpload", 200, "parts", started, body=wanted)
        for link in [*started.json["parts"], *signed.json["parts"]]:
            assert put(deployed, link, bytes(8 * 2**20)) == 200
        client.follow("startUpload", 200, "complete", started, body={})
        calls += 2
    wait_until_announced(deployed, started.json["file_id"])
    client.call("getFile", 200, file_id=started.json["file_id"])
    calls += 1

    # S3 tells of the file twice, once it is scanned; the second run may come after the file is open.
    with suppress(AssertionError):
        wait_for(lambda: counted.by_action()["dynamodb:GetItem"] >= billed["DynamoDB", "reads"])
    made = counted.by_action()
    client.call("deleteFile", 204, file_id=started.json["file_id"])
    stack = found(deployed)
    writes = (bill.START if example == "small" else bill.START_IN_PARTS) + stack.opens
    # Where a file is scanned at once, as here, the first run may open it, and the second finds nothing to look at.
    looks = made["s3:GetObject"] + made["s3:GetObjectTagging"]
    halved = looks == billed["S3", "GET, HEAD"] / 2
    # The two runs may also meet: then both try to open the file and to say so, and one of them is refused each time.
    written = made["dynamodb:PutItem"] + made["dynamodb:UpdateItem"]
    met = len(writes) <= written <= len(writes) + len(stack.waits) + len(stack.opens)
    return {
        "requests": (billed["API Gateway", "requests"], calls),
        "puts": (billed["S3", "PUT, POST, LIST"], made["s3:PutObject"] + made["s3:ListMultipartUploadParts"]),
        "looks": (billed["S3", "GET, HEAD"], looks * (2 if halved else 1)),
        "reads": (billed["DynamoDB", "reads"], made["dynamodb:GetItem"]),
        "writes": (len(writes), len(writes) if met else written),
        "events": (billed["SNS", "publish"], made["sns:Publish"]),
    }
