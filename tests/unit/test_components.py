"""The composition root and the registry of components."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from modules.settings import Settings
from synthesis.components import COMPONENTS, component_of
from synthesis.paths import ROOT
from tools.operate.console import Failure
from tools.operate.plan import __main__ as plan
from tools.operate.plan.__main__ import apply_plan, target_of


@pytest.mark.parametrize("name", ["upload", "Uploads", "", "state "])
def test_an_unknown_component_is_an_error_that_lists_the_known_ones(name: str) -> None:
    with pytest.raises(SystemExit) as raised:
        component_of(name)
    assert raised.value.code == f"error: there is no component {name!r}; the components are {', '.join(COMPONENTS)}"


def test_a_misspelt_component_ends_the_program_before_cdktf_is_imported() -> None:
    done = subprocess.run(
        [sys.executable, "main.py", "upload"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: there is no component 'upload'")


ACCOUNT = "111122223333"
HOSTILE = ["up", "", "--help", "../uploads", "; touch hacked", "$(touch hacked)", "$(shell touch hacked)", "'\"`"]
TARGETS = [
    "synth",
    "validate",
    "plan",
    "apply",
    "drift",
    "bootstrap",
    "state-backup",
    "state-versions",
    "state-restore",
]


@pytest.mark.parametrize(
    ("target", "value", "on_the_command_line"),
    [("plan", value, True) for value in HOSTILE]
    + [(target, "up", True) for target in [*TARGETS, "unlock"]]
    + [("plan", HOSTILE[-2], False)],
)
def test_make_refuses_an_unknown_component_and_runs_nothing_of_its_value(
    target: str, value: str, on_the_command_line: bool
) -> None:
    own = {name: text for name, text in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    words = [f"COMPONENT={value}"] if on_the_command_line else []
    done = subprocess.run(
        ["make", "--old-file=setup", target, f"VENV={sys.executable}", *words],
        cwd=ROOT,
        env={**own, "COMPONENT": value},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: there is no component {value!r}; the components are {', '.join(COMPONENTS)}")
    assert not (ROOT / "hacked").exists()


def test_make_passes_a_component_on_and_leaves_the_default_to_the_program(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    make = ["make", "--silent", "--old-file=setup", f"VENV={program}", "synth", "plan", "state-backup"]
    own = {name: text for name, text in os.environ.items() if name not in {"MAKEFLAGS", "COMPONENT"}}

    def arguments(*words: str) -> list[str]:
        return subprocess.run([*make, *words], cwd=ROOT, env=own, capture_output=True, text=True).stdout.splitlines()

    assert arguments("COMPONENT=inbox") == [
        "main.py inbox",
        "-m tools.operate.plan plan --component=inbox",
        "-m tools.operate.state backup --component=inbox",
    ]
    assert arguments() == ["main.py", "-m tools.operate.plan plan", "-m tools.operate.state backup"]


def test_plans_of_environments_projects_and_components_share_no_folder(tmp_path: Path) -> None:
    folders = []
    for environment, project in [("dev", "sluice"), ("dev", "inbox"), ("prod", "sluice"), ("prod", "inbox")]:
        settings = Settings(environment=environment, account_id=ACCOUNT, project_name=project)
        for component in COMPONENTS:
            target = target_of(settings, component, tmp_path)
            folders += [target.folder, target.work]
    assert len(set(folders)) == 4 * len(COMPONENTS) * 2
    assert folders[0] == tmp_path / "dev" / "sluice" / "uploads"


def test_commands_in_messages_name_every_component_but_the_default_one(tmp_path: Path) -> None:
    settings = Settings(environment="dev", account_id=ACCOUNT)
    assert target_of(settings, "uploads", tmp_path).command("plan") == "make plan ENVIRONMENT=dev"
    inbox = target_of(settings, "inbox", tmp_path)
    assert inbox.command("plan") == "make plan ENVIRONMENT=dev COMPONENT=inbox"
    with pytest.raises(
        Failure, match=r"there is no plan of inbox in dev(.|\n)*make plan ENVIRONMENT=dev COMPONENT=inbox"
    ):
        apply_plan(inbox, [])


def test_a_component_is_planned_from_its_own_synthesis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def synthesize(output: Path, variables: Mapping[str, str], component: str) -> Path:
        asked.append(component)
        raise Failure("synthesis", "stopped here", "nothing")

    monkeypatch.setattr(plan, "synthesize", synthesize)
    for make in (plan.make_plan, plan.find_drift, plan.validate):
        with pytest.raises(Failure, match="stopped here"):
            make(target_of(Settings(environment="dev", account_id=ACCOUNT), "inbox", tmp_path))
    assert asked == ["inbox"] * 3


def test_main_imports_synthesis_and_what_it_composes() -> None:
    """import-linter takes packages only, so this test looks at main.py."""
    tree = ast.parse((ROOT / "main.py").read_text())
    named = {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert named == {"__future__", "cdktf", "modules", "pathlib", "synthesis"}
