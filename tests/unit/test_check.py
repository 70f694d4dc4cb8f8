"""`make check`: what changed, which tests that concerns, in which order, and when it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synthesis.paths import ROOT
from tools.develop import check
from tools.develop.check import Step, changed_files, concerned, importers_of, names_in, packages, steps_for
from tools.operate.console import Failure

SOURCES = {
    "shop/common/stock.py": "",
    "shop/sell/handler.py": 'KIND = "tests/unit/test_far.py"',
    "shop/prices.py": 'PAGE = ROOT / "notes" / "prices.md"',
    "tests/conftest.py": "",
    "tests/unit/conftest.py": "",
    "tests/unit/fake.py": 'start = f"shop.{name}.handler"',
    "tests/unit/test_near.py": "",
    "tests/unit/test_far.py": "",
    "tests/unit/test_prices.py": "",
    "tests/unit/test_texts.py": 'PROSE = ("*.txt", "notes/*")\nCODE = ("shop",)',
    "tests/unit/test_other.py": '"A sentence about notes/prices.md, which is no name of a file."',
    "tests/synth/test_near.py": "",
    "tests/e2e/test_near.py": "",
    "clients/python/till/cli.py": "",
    "tests/unit/client/test_cli.py": "",
}
IMPORTS = {
    "tests.unit.test_near": {"shop.common.stock"},
    "tests.synth.test_near": {"shop.common.stock"},
    "tests.e2e.test_near": {"shop.common.stock"},
    "tests.unit.fake": {"shop.common.stock"},
    "tests.unit.conftest": {"tests.unit.fake"},
    "tests.unit.test_far": {"tests.unit.fake"},
    "tests.unit.test_prices": {"shop.prices"},
    "tests.unit.client.test_cli": {"till.cli"},
    "tests.unit.test_texts": set[str](),
}


def selected(*changed: str) -> list[str]:
    return concerned(changed, importers_of(SOURCES, IMPORTS, changed), SOURCES.keys())


def test_the_nearest_tests_come_first_and_e2e_never() -> None:
    assert selected("shop/common/stock.py") == [
        "tests/unit/test_near.py",
        "tests/synth/test_near.py",
        "tests/unit/test_far.py",
        "tests/unit/test_texts.py",
    ]
    assert selected("tests/e2e/test_near.py") == []


def test_a_test_that_changed_comes_before_those_that_import_a_change() -> None:
    assert selected("shop/common/stock.py", "tests/unit/test_far.py")[0] == "tests/unit/test_far.py"


def test_a_function_that_is_imported_by_a_name_that_is_put_together_is_found() -> None:
    assert selected("shop/sell/handler.py") == ["tests/unit/test_far.py", "tests/unit/test_texts.py"]


def test_the_client_is_imported_by_the_name_of_its_package() -> None:
    assert selected("clients/python/till/cli.py") == ["tests/unit/client/test_cli.py"]


@pytest.mark.parametrize(
    ("changed", "tests"),
    [
        ("notes/prices.md", ["tests/unit/test_texts.py", "tests/unit/test_prices.py"]),
        ("notes/other.md", ["tests/unit/test_texts.py"]),
        ("HELLO.txt", ["tests/unit/test_texts.py"]),
        ("data/one.toml", []),
        ("tests/unit/__snapshots__/test_far.ambr", ["tests/unit/test_far.py"]),
    ],
)
def test_files_are_read_by_the_tests_that_name_them(changed: str, tests: list[str]) -> None:
    assert selected(changed) == tests


def test_a_conftest_concerns_what_is_beside_and_below_it() -> None:
    below = {name for name in SOURCES if name.startswith("tests/unit/") and "test_" in name}
    assert set(selected("tests/unit/conftest.py")) == below
    # It imports this itself.
    assert set(selected("tests/unit/fake.py")) == below
    assert "tests/synth/test_near.py" in selected("tests/conftest.py")


def test_names_of_files_are_told_from_other_strings() -> None:
    text = 'A = ROOT / "notes" / f"{name}.md"\nB = "a text with words", "*/*", "*", f"{a}/{b}", "x.toml"\n'
    assert names_in(text) == {"notes/*.md", "x.toml"}


def test_in_this_tree_a_module_and_a_page_lead_to_their_tests() -> None:
    # In one text, as this test would else be found to read each of them.
    table = """
        tools/develop/check.py         tests/unit/test_check.py
        functions/common/objects.py    tests/unit/test_sent_again.py
        functions/webhooks/handler.py  tests/unit/test_webhooks.py
        docs/openapi.yaml              tests/unit/test_javascript.py
        docs/extend.md                 tests/unit/test_words.py
        CHANGELOG.md                   tests/unit/test_project.py
        web/src/texts.ts               tests/unit/test_web.py
    """
    for changed, test in map(str.split, table.strip().splitlines()):
        assert test in check._tests([changed])[:3], changed


# What changed


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words], cwd=tmp_path, check=True)

    git("init", "-q", "-b", "main")
    for name in ("kept.py", "changed.py", "deleted.py", "earlier.py"):
        (tmp_path / name).write_text("")
    (tmp_path / ".gitignore").write_text("ignored.py")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    git("checkout", "-q", "-b", "work")
    (tmp_path / "earlier.py").write_text("a = 1\n")
    git("commit", "-q", "-a", "-m", "second")
    (tmp_path / "changed.py").write_text("a = 1\n")
    (tmp_path / "deleted.py").unlink()
    for name in ("ignored.py", "new, with ü.py"):
        (tmp_path / name).write_text("")
    return tmp_path


def test_changes_are_those_since_the_commit_and_new_files(clone: Path) -> None:
    assert changed_files("HEAD", clone) == ["changed.py", "deleted.py", "new, with ü.py"]
    assert changed_files("main", clone) == ["changed.py", "deleted.py", "earlier.py", "new, with ü.py"]


def test_an_unknown_commit_is_one_clear_line(clone: Path) -> None:
    with pytest.raises(Failure, match=r"nowhere[\s\S]*make check SINCE=origin/main"):
        changed_files("nowhere", clone)


# Steps beside the tests

TEXT = """clients/javascript
clients/uppy
web"""
PACKAGES = TEXT.split()


def test_a_package_is_checked_with_those_that_are_built_from_its_sources() -> None:
    client, uppy, page = PACKAGES
    assert packages([f"{client}/src/index.ts"]) == [client, uppy, page]
    assert packages([f"{uppy}/src/index.ts"]) == [uppy, page]
    assert packages([f"{page}/src/texts.ts"]) == [page]
    assert packages(["clients/python/till/cli.py", f"{client}.ts"]) == []


def test_lint_is_for_files_that_are_still_there_and_types_are_for_all(tmp_path: Path) -> None:
    (tmp_path / "kept.py").write_text("")
    (tmp_path / "kept.md").write_text("")
    ruff, mypy = steps_for(["kept.py", "deleted.py", "kept.md"], tmp_path)
    assert [command[-2:] for command in ruff.commands] == [["--force-exclude", "kept.py"]] * 2
    assert mypy.name == "mypy"
    assert [step.name for step in steps_for(["deleted.py"], tmp_path)] == ["mypy"]
    assert steps_for(["kept.md"], tmp_path) == []
    assert [step.name for step in steps_for([f"{PACKAGES[2]}/src/texts.ts"])] == ["npm run check in web"]


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (3, 3)])
def test_a_step_that_fails_makes_the_check_fail(
    code: int, expected: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = Step("lint", [program(f"print('a defect'); raise SystemExit({code})")])
    monkeypatch.setattr(check, "changed_files", lambda since: ["a.py"])
    monkeypatch.setattr(check, "steps_for", lambda changed: [step, Step("types", [program("")])])
    monkeypatch.setattr(check, "_tests", lambda changed: [])
    assert check.main([]) == expected
    said = capsys.readouterr().out
    assert ("a defect" in said) is bool(code)
    assert f"lint: {'failed' if code else 'passed'}" in said
    assert "types: passed" in said


def test_a_program_that_is_missing_is_a_failure() -> None:
    code, said = check._run(Step("npm in web", [["no-such-program"]]))
    assert code == 1
    assert said.startswith("npm in web: ")


def test_tests_of_a_package_end_with_the_time_and_so_do_their_programs(tmp_path: Path) -> None:
    held = tmp_path / "held"
    os.mkfifo(held)
    # It waits for a writer that never comes.
    step = Step("npm run test in a", [["sh", "-c", f"cat '{held}' & wait"]], tmp_path, ends_early=True)
    code, said = check._run(step, time.time())
    assert code == 0
    assert "LEFT OUT" in said


# The order and the end of the tests


def run_tests(folder: Path, seconds: float, **files: str) -> tuple[int, str]:
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = slow: takes long\n")
    below = folder / "below"
    below.mkdir()
    (below / "__init__.py").write_text("")
    (below / "conftest.py").write_text("import pytest\n@pytest.fixture(scope='session')\ndef shared():\n    return 1\n")
    for name, text in files.items():
        (below / f"{name}.py").write_text(text)
    options = ["-p", "tools.develop.check", "--until", str(time.time() + seconds), "-m", "not slow", "-q"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--rootdir",
        str(folder),
        *options,
        *(f"below/{name}.py" for name in files),
    ]
    variables = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    ended = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=120)
    return ended.returncode, ended.stdout + ended.stderr


PASSES, FAILS = "def test_it(shared):\n    assert shared\n", "def test_it(shared):\n    assert not shared\n"
SLOW = f"import pytest\n@pytest.mark.slow\n{FAILS}"


def test_files_are_run_one_after_another_and_slow_tests_are_not(tmp_path: Path) -> None:
    code, said = run_tests(tmp_path, 600, test_a=SLOW, test_b=PASSES, test_c=SLOW, test_d=PASSES)
    assert code == 0, said
    assert "2 passed" in said
    assert "left out" not in said


@pytest.mark.parametrize("text", [FAILS, "import nothing_like_it\n"])
def test_a_failure_in_a_later_file_is_a_failure_of_the_run(tmp_path: Path, text: str) -> None:
    code, said = run_tests(tmp_path, 600, test_a=PASSES, test_b=text, test_c=PASSES)
    assert code == 1, said
    assert "2 passed" in said
    assert "test_b.py" in said


def test_when_the_time_is_over_no_further_test_begins_and_those_are_named(tmp_path: Path) -> None:
    over = "def test_it(request):\n    request.config.option.until = 0\ndef test_next():\n    assert not 1\n"
    code, said = run_tests(tmp_path, 600, test_a=over, test_b="raise AssertionError('it was imported')\n")
    assert code == 0, said
    assert "1 passed" in said
    assert "below: test_a.py (1 tests), test_b.py" in said
    assert "make test" in said
