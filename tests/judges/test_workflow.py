"""statelint and asl-validator on every state machine. Each sees what the other does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.judges.conftest import Plan, Stack
from tools.develop import judges
from tools.develop.judges import Verdict

# asl-validator comes with the cdktf command line, which `make test` does not install.
JUDGES = [
    pytest.param(judges.statelint, id="statelint"),
    pytest.param(judges.asl_validator, id="asl-validator", marks=pytest.mark.slow),
]
Judge = Callable[[dict[str, str]], Verdict]


@pytest.mark.parametrize("judge", JUDGES)
def test_every_state_machine_is_valid(judge: Judge, stacks: list[Stack]) -> None:
    definitions: dict[str, str] = {}
    for stack in stacks:
        content = stack.json
        every = judges.state_machines(content["resource"])
        assert len(every) == len(content["resource"].get("aws_sfn_state_machine", {}))
        definitions |= {f"{stack.name} {name}": judges.resolved(text, content) for name, text in every.items()}
    verdict = judge(definitions)
    assert verdict.findings == ()
    assert set(verdict.passed) == set(definitions)
    assert len(definitions) >= len([stack for stack in stacks if stack.whole])


def definition() -> dict[str, Any]:
    """A state machine with all that ours are made of."""
    return {
        "StartAt": "Work",
        "States": {
            "Work": {
                "Type": "Task",
                "Resource": "arn:aws:states:::lambda:invoke",
                "Parameters": {
                    "FunctionName": "arn:aws:lambda:us-east-1:111111111111:function:work",
                    "Payload.$": "$",
                },
                "Retry": [
                    {"ErrorEquals": ["States.ALL"], "MaxAttempts": 2, "BackoffRate": 2.0, "JitterStrategy": "FULL"}
                ],
                "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.failure", "Next": "Failed"}],
                "Next": "Done",
            },
            "Done": {"Type": "Succeed"},
            "Failed": {"Type": "Fail", "Error": "Work"},
        },
    }


@pytest.mark.parametrize("judge", JUDGES)
def test_a_good_one_passes(judge: Judge) -> None:
    assert judge({"good": json.dumps(definition())}) == Verdict(("good",), ())


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize(
    ("state", "field", "value"),
    [
        ("Work", "Next", "Nowhere"),
        ("Work", "Paramters", {}),
        ("Work", "ResultPath", "$.[["),
        ("Work", "Parameters", {"Payload.$": "States.Nonsense($)"}),
        ("Lost", "Type", "Succeed"),
    ],
)
def test_both_see_a_broken_one(judge: Judge, state: str, field: str, value: object) -> None:
    broken = definition()
    broken["States"].setdefault(state, {})[field] = value
    verdict = judge({"broken": json.dumps(broken)})
    assert verdict.findings
    assert verdict.passed == ()


def test_statelint_sees_a_catcher_that_is_never_reached() -> None:
    broken = definition()
    broken["States"]["Work"]["Catch"].append({"ErrorEquals": ["Rejected"], "Next": "Failed"})
    (finding,) = judges.statelint({"broken": json.dumps(broken)}).findings
    assert "States.ALL can only appear in the last element" in finding.says


@pytest.mark.slow
def test_asl_validator_sees_a_resource_that_is_none() -> None:
    broken = definition()
    broken["States"]["Work"]["Resource"] = "lambda:invoke"
    assert "Resource is invalid" in judges.asl_validator({"broken": json.dumps(broken)}).findings[0].says


@pytest.mark.slow
def test_the_plan_has_the_same_machines(plans: list[Plan]) -> None:
    """Known or not: a plan that had lost one would be valid, and useless."""
    for plan in plans:
        kinds = [change["type"] for change in plan.json["resource_changes"]]
        assert kinds.count("aws_sfn_state_machine") == (1 if plan.stack.whole else 0)
