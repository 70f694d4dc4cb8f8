"""The plans that the judges read: whole, and made without asking anyone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.judges.conftest import Plan, Stack
from tools.develop.offline_plan import offline_plan
from tools.operate.console import Failure
from tools.operate.plan.access import access_of
from tools.operate.plan.read import read_plan
from tools.operate.plan.report import GITHUB_LIMIT, report

pytestmark = pytest.mark.slow


def test_each_plan_makes_every_resource_and_touches_none(plans: list[Plan]) -> None:
    for plan in plans:
        written = {f"{kind}.{name}" for kind, named in plan.stack.json["resource"].items() for name in named}
        planned = {change["address"]: change["change"]["actions"] for change in plan.json["resource_changes"]}
        assert set(planned) == written
        assert list(planned.values()) == [["create"]] * len(planned)


def test_a_reviewer_can_read_each_of_them(plans: list[Plan]) -> None:
    for plan in plans:
        read = read_plan(plan.json, plan.stack.json)
        said = report(read, title=f"Plan of {plan.stack.name}")
        assert len(said.encode()) <= GITHUB_LIMIT
        assert said.startswith(f"## Plan of {plan.stack.name}: {len(plan.json['resource_changes'])} created\n")
        roles = [change for change in read.changes if change.kind == "aws_iam_role_policy"]
        assert len(roles) == len(plan.stack.json["resource"].get("aws_iam_role_policy", {}))
        for change in roles:
            access = access_of(change)
            assert access.gained, f"{change.address}: nobody can see what it allows"
            assert not access.unknown, change.address


def test_a_stack_that_asks_aws_something_has_no_such_plan(stacks: list[Stack], tmp_path: Path) -> None:
    (state,) = [stack for stack in stacks if stack.name == "sluice-dev-state"]
    folder = Path(shutil.copytree(state.folder, tmp_path / "stack"))
    content = state.json
    content["data"] = {"aws_caller_identity": {"me": {}}}
    (folder / "cdk.tf.json").write_text(json.dumps(content))
    with pytest.raises(Failure, match=r"terraform plan failed: .*127\.0\.0\.1:9"):
        offline_plan(folder, tmp_path / "plan")
