"""The plans that the judges read: whole, and made without asking anyone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.judges.conftest import Plan, Stack
from tools.console import Failure
from tools.plans import offline_plan

pytestmark = pytest.mark.slow


def test_each_plan_makes_every_resource_and_touches_none(plans: list[Plan]) -> None:
    for plan in plans:
        written = {f"{kind}.{name}" for kind, named in plan.stack.json["resource"].items() for name in named}
        planned = {change["address"]: change["change"]["actions"] for change in plan.json["resource_changes"]}
        assert set(planned) == written
        assert list(planned.values()) == [["create"]] * len(planned)


def test_a_stack_that_asks_aws_something_has_no_such_plan(stacks: list[Stack], tmp_path: Path) -> None:
    (state,) = [stack for stack in stacks if stack.name == "sluice-dev-state"]
    folder = Path(shutil.copytree(state.folder, tmp_path / "stack"))
    content = state.json
    content["data"] = {"aws_caller_identity": {"me": {}}}
    (folder / "cdk.tf.json").write_text(json.dumps(content))
    with pytest.raises(Failure, match=r"terraform plan failed: .*127\.0\.0\.1:9"):
        offline_plan(folder, tmp_path / "plan")
