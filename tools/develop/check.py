"""`make check`: lint, types and the nearest tests of what changed since a commit, within a time.

The graph of imports is grimp's, which import-linter brings along. It says which tests import a module, directly or
through others. Tests also read files: a string in a test that names a file, or a folder above it, counts like an
import, and so does a string in other code that names a file which is no Python. Tests run in the order of distance from
the change, and no further one begins when the time is over. Tests that are slow or in `tests/e2e` are no part of it.

pytest loads this module as a plugin (`-p`), which collects a file of tests only when it is its turn: to collect all of
them takes most of the time that there is.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import tomllib
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import grimp
import pytest

from synthesis.child_environment import child_environment
from synthesis.paths import ROOT
from tools.operate.console import Failure, say

SECONDS = 10.0
ENDING = 2.0
"""For set-up before, the test that runs when the time is over, and the end of pytest."""
CLIENT = "clients/python/"
TIERS = ("tests/unit/", "tests/synth/", "tests/judges/")
"""The folders whose tests may run. At the same distance, tests of an earlier folder come first."""

Importers = Mapping[str, Collection[str]]
"""By the path of a file or folder: the files that import or read it."""

_STRING = re.compile(r'"([^"\n]*)"')
_IN_BRACES = re.compile(r"\{[^{}]*\}")
# A pattern begins with the name of a folder or package, or it is for files of the root: `*.md`.
_NAME = re.compile(r"[\w.-]+(/[\w.-]+)*|[\w-]+[./][\w./*-]+|\*\.\w+")


def changed_files(since: str, root: Path = ROOT) -> list[str]:
    """Return the files that differ from the commit at which the work began, and those that git does not know yet.

    Raises:
        Failure: git knows no such commit.
    """
    known = _git(root, "diff", "--merge-base", "--no-renames", "--name-only", "-z", since, "--")
    return sorted({*known, *_git(root, "ls-files", "--others", "--exclude-standard", "-z")})


def _git(root: Path, *arguments: str) -> list[str]:
    command = ["git", *arguments]
    ended = subprocess.run(
        command, cwd=root, env=child_environment(), capture_output=True, text=True, encoding="utf-8", check=False
    )
    if ended.returncode:
        raise Failure(" ".join(command), ended.stderr.strip(), "name a commit or branch: make check SINCE=origin/main")
    return [name for name in ended.stdout.split("\0") if name]


def module_name(path: str) -> str:
    """Return the name by which Python imports a file."""
    return path.removeprefix(CLIENT).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports_of(root: Path) -> dict[str, set[str]]:
    """Return the modules that each module of the tree imports, by their names."""
    linter = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]
    graph = grimp.build_graph(*linter["root_packages"], "tests", cache_dir=str(root / ".build" / "grimp"))
    return {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}


def importers_of(sources: Mapping[str, str], imports: Mapping[str, set[str]], targets: Iterable[str]) -> Importers:
    """Return the files that import or read each file.

    Args:
        sources: texts of the Python files, by their paths.
        imports: modules that each module imports.
        targets: paths of the files that changed.
    """
    paths = {module_name(path): path for path in sources}
    found: dict[str, set[str]] = defaultdict(set)
    for name, imported in imports.items():
        for each in imported & paths.keys() if name in paths else ():
            found[paths[each]].add(paths[name])
    # A test that names a folder reads what is below it: the nearer the folder, the nearer the test.
    folders = {target: [str(folder) for folder in PurePosixPath(target).parents][:-1] for target in targets}
    for target, above in folders.items():
        for lower, upper in zip([target, *above], above, strict=False):
            found[lower].add(upper)
    places = {place for target in folders for place in (target, *folders[target])}
    handlers = {module_name(target): target for target in folders if target.endswith(".py")}
    for path, text in sources.items():
        for name in names_in(text):
            matching = {place for place in places if _names(name, place)}
            matching |= {target for module, target in handlers.items() if "." in module and _names(name, module)}
            for each in matching - {path}:
                if path.startswith("tests/") or (each == name and not name.endswith(".py") and each in folders):
                    found[each].add(path)
    return found


def names_in(text: str) -> set[str]:
    """Return the strings of a Python source that may name files; what an f-string inserts may be anything."""
    strings = _STRING.findall(re.sub(r'" / f?"', "/", text))
    named = {_IN_BRACES.sub("*", string) for string in strings}
    return {name for name in named if _NAME.fullmatch(name)}


def _names(name: str, place: str) -> bool:
    if "*" not in name:
        return name == place
    return re.fullmatch(re.escape(name).replace(r"\*", "[^/]*"), place) is not None


def concerned(changed: Iterable[str], importers: Importers, files: Collection[str]) -> list[str]:
    """Return the files of tests that a change concerns, the nearest first.

    What a conftest.py imports concerns all tests beside and below it. What that imports in turn does not: there, the
    tests count that import it themselves.
    """
    distances = dict.fromkeys(changed, 0)
    waiting = deque(distances)
    while waiting:
        place = waiting.popleft()
        further = set(importers.get(place, ()))
        folder, _, name = place.rpartition("/")
        if name == "conftest.py" and distances[place] <= 1:
            further |= {file for file in files if file.startswith(f"{folder}/")}
        snapshots = PurePosixPath(place)
        if snapshots.parent.name == "__snapshots__":
            further.add(str(snapshots.parent.parent / f"{snapshots.stem}.py"))
        for each in further - distances.keys():
            distances[each] = distances[place] + 1
            waiting.append(each)
    tests = [each for each in distances if is_test(each) and each in files]
    return sorted(tests, key=lambda each: (distances[each], [not each.startswith(tier) for tier in TIERS], each))


def is_test(path: str) -> bool:
    """Return whether a file has tests that may run here."""
    return path.startswith(TIERS) and re.fullmatch(r"test_\w+\.py", PurePosixPath(path).name) is not None


# Steps beside the tests


class Step(NamedTuple):
    """Programs that run one after another, until one fails."""

    name: str
    commands: Sequence[Sequence[str]]
    folder: Path = ROOT
    ends_early: bool = False


def steps_for(changed: Iterable[str], root: Path = ROOT) -> list[Step]:
    """Return lint and types for Python that changed, and the scripts of npm for TypeScript that changed."""
    present = [path for path in changed if (root / path).is_file()]
    python = [path for path in present if path.endswith(".py")]
    of_python = [sys.executable, "-m"]
    steps = []
    if python:
        ruff = [*of_python, "ruff"]
        lint = [[*ruff, "check", "--force-exclude", *python], [*ruff, "format", "--check", "--force-exclude", *python]]
        steps.append(Step("ruff", lint, root))
    if any(path.endswith(".py") or path == "pyproject.toml" for path in changed):
        # All files, as one that did not change may use one that did; its cache makes this quick.
        steps.append(Step("mypy", [[*of_python, "mypy"]], root))
    for folder in packages(changed, root):
        scripts = json.loads((root / folder / "package.json").read_text())["scripts"]
        for script in ("check", "test"):
            if script in scripts:
                npm = [["npm", "run", "--silent", script]]
                steps.append(Step(f"npm run {script} in {folder}", npm, root / folder, ends_early=script == "test"))
    return steps


def packages(changed: Iterable[str], root: Path = ROOT) -> list[str]:
    """Return the folders of packages in TypeScript that changed, and of those whose settings name a file of them."""
    folders = [str(path.parent.relative_to(root)) for path in sorted(root.glob("**/package.json")) if _is_own(path)]
    folders = [folder for folder in folders if (root / folder / "tsconfig.json").is_file()]
    found = [folder for folder in folders if any(path.startswith(f"{folder}/") for path in changed)]
    for folder in folders:
        paths = re.findall(r'"(\.\./[^"]*)"', (root / folder / "tsconfig.json").read_text())
        named = [os.path.normpath(f"{folder}/{path}") for path in paths]
        if folder not in found and any(path.startswith(f"{other}/") for other in found for path in named):
            found.append(folder)
    return found


def _is_own(package: Path) -> bool:
    return not {"node_modules", ".build", ".venv"} & set(package.parts)


def _run(step: Step, until: float = float("inf")) -> tuple[int, str]:
    began = time.time()
    code, said = 0, ""
    for command in step.commands:
        try:
            code, said = _call(command, step.folder, until if step.ends_early else float("inf"))
        except OSError as error:
            return 1, f"{step.name}: {error}"
        except subprocess.TimeoutExpired:
            return 0, f"{step.name}: LEFT OUT, as the time was over; make check FOR=60 gives it a minute"
        if code:
            break
    how = "failed" if code else "passed"
    line = f"{step.name}: {how} in {time.time() - began:.1f} s"
    return code, f"{said.rstrip()}\n{line}" if code else line


def _call(command: Sequence[str], folder: Path, until: float) -> tuple[int, str]:
    """Run a program and return its exit code and output; at the end of the time, it ends with those it started."""
    program = subprocess.Popen(
        command,
        cwd=folder,
        env=child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    with program:
        try:
            said, _ = program.communicate(timeout=None if until == float("inf") else max(0, until - time.time()))
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            raise
    return program.returncode, said


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks and return an exit code: 0 only if nothing failed."""
    began = time.time()
    parser = argparse.ArgumentParser(prog="make check", description=__doc__)
    parser.add_argument("--since", default="HEAD", help="the commit or branch to compare with")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="after these, no further test begins")
    given = parser.parse_args(arguments)
    try:
        changed = changed_files(given.since)
    except Failure as failure:
        sys.exit(str(failure))
    if not changed:
        say(f"nothing differs from {given.since}; make check SINCE=origin/main compares with another commit")
        return 0
    steps, until = steps_for(changed), began + given.seconds - ENDING
    with ThreadPoolExecutor(max(1, len(steps))) as pool:
        running = [pool.submit(_run, step, until) for step in steps]
        code = 0
        try:
            tests = _tests(changed)
        except grimp.exceptions.SourceSyntaxError as error:
            tests, code = [], 1
            say(f"no test runs: {error}")
        if tests:
            code = _pytest(tests, until)
        for each in running:
            failed, said = each.result()
            say(said)
            code = code or failed
    how = "failed" if code else "passed"
    say(f"{how} in {time.time() - began:.1f} s: {len(changed)} changed files concern {len(tests)} files of tests")
    return code


def _tests(changed: Sequence[str]) -> list[str]:
    known = _git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py")
    sources: dict[str, str] = {}
    for path in known:
        # One that was deleted is still known.
        with suppress(FileNotFoundError):
            sources[path] = (ROOT / path).read_text(encoding="utf-8")
    return concerned(changed, importers_of(sources, imports_of(ROOT), changed), sources.keys())


def _pytest(tests: Sequence[str], until: float) -> int:
    options = ["-q", "-m", "not slow", "-o", "console_output_style=classic", "-p", __spec__.name, "--until", str(until)]
    # Snapshots of tests that did not run for want of time would count as unused, which is a failure.
    options.append("--snapshot-disable-unused")
    command = [sys.executable, "-m", "pytest", *options, *tests]
    code = subprocess.run(command, cwd=ROOT, env=child_environment(), check=False).returncode
    return 0 if code == pytest.ExitCode.NO_TESTS_COLLECTED else code


# The plugin of pytest

MODULES = pytest.StashKey[Iterable[pytest.Collector]]()
LEFT_OUT = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of this plugin."""
    parser.addoption("--until", type=float, help="a time since the epoch, after which no further test begins")


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> bool:
    """Find the files, and import none of them yet."""
    found = session.perform_collect(genitems=False)
    session.config.stash[MODULES] = [node for node in found if isinstance(node, pytest.Collector)]
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Run the tests of a file, then import the next file, until the time is over."""
    option = session.config.option
    files, tests, count = deque(session.config.stash[MODULES]), deque[pytest.Item](), 0
    while time.time() < option.until:
        # One more than the one that runs: it says which fixtures stay.
        while len(tests) < 2 and files:
            items = list(session.genitems(files.popleft()))
            session.config.hook.pytest_collection_modifyitems(session=session, config=session.config, items=items)
            tests.extend(items)
        if not tests:
            break
        item = tests.popleft()
        item.ihook.pytest_runtest_protocol(item=item, nextitem=tests[0] if tests else None)
        count += 1
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
    begun = Counter(str(item.path.relative_to(session.config.rootpath)) for item in tests)
    left_out = [f"{file} ({number} tests)" for file, number in begun.items()]
    session.config.stash[LEFT_OUT] = [*left_out, *(file.nodeid for file in files)]
    session.testscollected = count
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which tests did not run."""
    left_out = config.stash.get(LEFT_OUT, [])
    if left_out:
        terminalreporter.section("left out, as the time was over")
        by_folder: dict[str, list[str]] = defaultdict(list)
        for each in left_out:
            folder, _, name = each.rpartition("/")
            by_folder[folder].append(name)
        for folder, names in by_folder.items():
            terminalreporter.line(textwrap.fill(f"{folder}: {', '.join(names)}", 120, subsequent_indent="    "))
        terminalreporter.line("`make check FOR=60` takes a minute for them; `make test` runs all tests.")


if __name__ == "__main__":
    sys.exit(main())
