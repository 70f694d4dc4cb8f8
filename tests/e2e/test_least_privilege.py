"""Least privilege both ways, by the log of IAM decisions: nothing was denied, and nothing is granted in vain."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

import pytest

from tests.e2e.conftest import Deployed

# What the embedded AWS does not ask for (docs/emulator.md), by the id of the statement, and why it stays.
NOT_ASKED_FOR = {
    "SendTraces": "X-Ray is not there; tracing is asserted on the JSON",
    "WriteOwnLog": "the embedded AWS writes the logs of functions itself",
    "WriteLogsOfApis": "API Gateway writes no logs there",
    "DeliverLogs": "workflows are not logged there",
    "FindFiles": "the embedded AWS answers 404 for a missing object without it",
    "DecryptChecksums": "the embedded AWS shows checksums without it",
    "Decrypt": "the key of the variables is not asked for",
    "UseTableKey": "the key of a table is not asked for",
}
# What runs too seldom for a test, by role, and why it stays.
NOT_RUN = {
    "sluice-local-sweep-schedule-us-east-1": "the schedule runs every 15 minutes; its function is invoked by tests"
}


def granted(deployed: Deployed) -> list[tuple[str, str, str, list[str]]]:
    """Role, statement id, action and resources of everything that roles may do, as Terraform resolved it."""
    state = deployed.terraform.show_state()
    found = []
    for policy in state["aws_iam_role_policy"].values():
        for statement in json.loads(policy["policy"])["Statement"]:
            for action in many(statement["Action"]):
                found.append((policy["role"], statement["Sid"], action, many(statement["Resource"])))
    return found


def many(value: Any) -> list[str]:  # noqa: ANN401 - IAM writes one or many
    return value if isinstance(value, list) else [value]


def used(deployed: Deployed) -> set[tuple[str, str, str]]:
    """Role, action and resource of every call that was allowed."""
    calls = set()
    for decision in deployed.decisions():
        principal = str(decision["principal"])
        if ":assumed-role/" in principal and decision["allowed"]:
            calls.add((principal.split("/")[1], str(decision["action"]), str(decision["resource"])))
    return calls


@pytest.mark.last
def test_no_call_of_the_deployer_or_of_a_role_was_denied(deployed: Deployed) -> None:
    denied = {
        (decision["principal"], decision["action"], decision["resource"])
        for decision in deployed.decisions()
        if not decision["allowed"]
        and decision["resource"] not in deployed.denied_on_purpose
        and ("user/deployer" in str(decision["principal"]) or ":assumed-role/" in str(decision["principal"]))
    }
    assert denied == set()


@pytest.mark.last
@pytest.mark.slow  # every other test has to have run
def test_everything_that_is_granted_was_used(deployed: Deployed) -> None:
    calls = used(deployed)
    in_vain = [
        f"{role}: {sid}: {action}"
        for role, sid, action, resources in granted(deployed)
        if sid not in NOT_ASKED_FOR
        and role not in NOT_RUN
        and not any(
            role == caller and action == called and any(fnmatchcase(target, resource) for resource in resources)
            for caller, called, target in calls
        )
    ]
    assert in_vain == []


@pytest.mark.last
def test_what_is_excused_is_still_granted(deployed: Deployed) -> None:
    everything = granted(deployed)
    assert {sid for _, sid, _, _ in everything} >= set(NOT_ASKED_FOR)
    assert {role for role, _, _, _ in everything} >= set(NOT_RUN)
