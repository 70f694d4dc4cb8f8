"""Every Python that Sluice supports writes the same files: those of this machine are found, and each is tried."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from synthesis.child_environment import child_environment
from tests.synth.every_stack import Files, synthesize_with
from tools.develop.requirements import requirements
from tools.develop.setup import LOCK, PROJECT, SUPPORTED_PYTHON

FIRST, LAST = SUPPORTED_PYTHON
OTHERS = [f"3.{minor}" for minor in range(FIRST[1], LAST[1] + 1) if (3, minor) != sys.version_info[:2]]


def pythons(version: str) -> Iterator[Path]:
    """Yield the Pythons of this version: on PATH, and those that pyenv installed."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    on_path = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep) if folder]
    for folder in [*on_path, *sorted(pyenv.glob(f"versions/{version}.*/bin"))]:
        program = folder / f"python{version}"
        # A program in `shims` of pyenv may stand for no Python at all.
        asked = [str(program), "-c", "import sys, venv; print(*sys.version_info[:2], sep='.')"]
        if program.is_file() and subprocess.run(asked, capture_output=True, text=True).stdout.strip() == version:
            yield program


def environment_with(program: Path, folder: Path) -> Path:
    """Make an environment with the packages that synthesis needs; return its Python."""
    python, listed = folder / "bin" / "python", folder / "requirements.txt"
    subprocess.run([str(program), "-m", "venv", "--without-pip", str(folder)], check=True)
    listed.write_text(requirements(LOCK, ["default"]))
    subprocess.run(
        [str(PROJECT.python), "-m", "pip", "--python", str(python), "install", "--no-compile", "--no-deps"]
        + ["--require-hashes", "--no-input", "--quiet", "--disable-pip-version-check", "-r", str(listed)],
        env=child_environment(),
        check=True,
    )
    return python


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Files:
    files, _ = synthesize_with(Path(sys.executable), tmp_path_factory.mktemp("this"))
    return files


@pytest.mark.slow
@pytest.mark.parametrize("version", OTHERS)
def test_every_python_writes_the_same_bytes(version: str, expected: Files, tmp_path: Path) -> None:
    program = next(pythons(version), None)
    if program is None:
        pytest.skip(f"there is no Python {version} on this machine")
    python = environment_with(program, tmp_path / "environment")
    found, _ = synthesize_with(python, tmp_path / "output")
    assert found.keys() == expected.keys()
    for file in expected:
        assert found[file] == expected[file], file
