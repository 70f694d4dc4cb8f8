"""Files about the project that other programs read: hooks of pre-commit, and the version."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from synthesis.paths import ROOT

(REPOSITORY,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
HOOKS: dict[str, dict[str, Any]] = {hook["id"]: hook for hook in REPOSITORY["hooks"]}


def run(hook: dict[str, Any], file: Path) -> subprocess.CompletedProcess[str]:
    """Run the entry of a hook on a file, as pre-commit does."""
    files = [str(file)] if hook.get("pass_filenames", True) else []
    command = [*shlex.split(hook["entry"]), *files]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


def test_hooks_are_programs_of_the_project_so_that_they_need_no_network() -> None:
    assert REPOSITORY["repo"] == "local"
    assert {hook["language"] for hook in HOOKS.values()} == {"system"}
    assert all(hook["entry"].startswith(".venv/bin/") for hook in HOOKS.values())


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_accepts_a_file_of_the_project(name: str) -> None:
    done = run(HOOKS[name], ROOT / "synthesis" / "components.py")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "text"),
    [("ruff-check", "import os\n"), ("ruff-format", "a  =  1\n"), ("mypy", 'a: int = "text"\n')],
)
def test_a_hook_refuses_a_file_with_a_defect(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / "with_a_defect.py"
    file.write_text(text)
    assert run(HOOKS[name], file).returncode == 1


def test_the_version_is_that_of_the_changelog() -> None:
    """It is the newest release, or a development version of the next one while there are unreleased changes."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(r"^## \[?([^\s\]]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    if headings[0] == "Unreleased":
        assert re.fullmatch(r"\d+\.\d+\.\d+\.dev0", version)
        assert version.removesuffix(".dev0") not in headings
    else:
        assert version == headings[0]
