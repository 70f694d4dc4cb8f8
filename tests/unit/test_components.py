"""The composition root and the registry of components."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from synthesis.components import COMPONENTS, component_of
from synthesis.paths import ROOT


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


def test_main_imports_synthesis_and_what_it_composes() -> None:
    """import-linter takes packages only, so this test looks at main.py."""
    tree = ast.parse((ROOT / "main.py").read_text())
    named = {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert named == {"__future__", "cdktf", "modules", "pathlib", "synthesis"}
