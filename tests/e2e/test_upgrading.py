"""A live environment that was deployed with cdktf stays as it is when cdktn synthesizes it (docs/upgrading.md)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from synthesis.child_environment import child_environment
from synthesis.paths import ROOT
from tests.e2e.conftest import Deployed
from tools.develop.setup import CDKTN, prepare
from tools.operate.terraform import Changes, Terraform

TOPIC = "notifications_files"


@pytest.mark.slow
def test_the_plan_after_a_move_to_cdktn_is_empty(deployed: Deployed, tmp_path: Path) -> None:
    prepare(CDKTN)
    variables = deployed.system.variables(deployed.aws)
    subprocess.run(
        [CDKTN.python, "main.py"],
        cwd=ROOT,
        env=child_environment({**variables, "CDKTF_OUTDIR": str(tmp_path)}),
        check=True,
        timeout=300,
    )
    [stack] = json.loads((tmp_path / "manifest.json").read_text())["stacks"].values()
    moved = Terraform(tmp_path / stack["workingDirectory"], variables)
    content = json.loads((moved.folder / "cdk.tf.json").read_text())
    assert content["//"]["metadata"]["version"] == "0.24.0"
    moved.init()
    assert moved.plan() == Changes()
    outputs = moved.show()["output_changes"]
    assert isinstance(outputs, dict)
    assert {tuple(output["actions"]) for output in outputs.values()} == {("no-op",)}

    # Where there is a change, the same plan shows it.
    content["resource"]["aws_sns_topic"][TOPIC]["display_name"] = "moved"
    (moved.folder / "cdk.tf.json").write_text(json.dumps(content))
    assert moved.plan(f"-target=aws_sns_topic.{TOPIC}") == Changes(change=1)
