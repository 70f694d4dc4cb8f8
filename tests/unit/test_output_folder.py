"""The content of the output folder after a synthesis."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from synthesis.output_folder import locked_output, remove_others


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Output with stacks of two environments, of which the manifest names one."""
    for stack in ("sluice-dev", "sluice-prod"):
        packages = tmp_path / "stacks" / stack / "packages"
        packages.mkdir(parents=True)
        (packages / "upload.zip").write_text("")
    manifest = {"stacks": {"sluice-prod": {"workingDirectory": "stacks/sluice-prod"}}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def stacks(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "stacks").iterdir())


def test_a_stack_of_an_earlier_synthesis_goes(folder: Path) -> None:
    with locked_output(folder):
        assert stacks(folder) == ["sluice-dev", "sluice-prod"]
    assert stacks(folder) == ["sluice-prod"]


def test_a_synthesis_that_failed_removes_nothing(folder: Path) -> None:
    with pytest.raises(RuntimeError), locked_output(folder):
        raise RuntimeError
    assert stacks(folder) == ["sluice-dev", "sluice-prod"]


@pytest.mark.parametrize("below", [".", "packages"])
def test_a_stack_in_which_a_program_works_stays_until_it_has_ended(folder: Path, below: str) -> None:
    work = folder / "stacks" / "sluice-dev" / below
    words = [sys.executable, "-c", "print('here', flush=True); input()"]
    with subprocess.Popen(words, cwd=work, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "here\n"
        remove_others(folder)
        assert (folder / "stacks" / "sluice-dev" / "packages" / "upload.zip").is_file()
        program.communicate("\n")
    remove_others(folder)
    assert stacks(folder) == ["sluice-prod"]


def test_two_syntheses_write_one_after_the_other(folder: Path) -> None:
    entered, leave = Event(), Event()
    order = []

    def first() -> None:
        with locked_output(folder):
            entered.set()
            assert leave.wait(30)
            order.append("first")

    def second() -> None:
        assert entered.wait(30)
        leave.set()
        with locked_output(folder):
            order.append("second")

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(first), pool.submit(second)]:
            done.result()
    assert order == ["first", "second"]


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    with locked_output(folder):
        (folder / "stacks" / "a").mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"stacks": {"a": {"workingDirectory": "stacks/a"}}}))
    assert stacks(folder) == ["a"]
