"""jsii's process without its relay: what it gives, and what happens where jsii is not as Sluice knows it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from jsii._kernel.providers import process

from synthesis import bindings, jsii_process
from synthesis.paths import ROOT

PROGRAM = """
import os, psutil
from synthesis import jsii_process
jsii_process.use()
from constructs import Construct, RootConstruct
below = Construct(RootConstruct("root"), "below")
print(below.node.path, len(psutil.Process().children(recursive=True)))
"""


def run(program: str = PROGRAM, **variables: str) -> tuple[str, list[str]]:
    """Run a program in a separate process; return its output, and the lines of its standard error."""
    variables = {"SLUICE_STOCK_CDKTF": "0", "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, **variables}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr.splitlines()


def test_one_process_answers_where_stock_has_two() -> None:
    assert run() == ("root/below 1", [])
    assert run(SLUICE_STOCK_CDKTF="1") == ("root/below 2", [])


def test_a_runtime_that_the_user_names_is_left_to_jsii(tmp_path: Path) -> None:
    for name, target in (("bin__jsii-runtime.js", "bin/jsii-runtime.js"), ("lib__program.js", "lib/program.js")):
        file = tmp_path / target
        file.parent.mkdir()
        file.write_bytes(files("jsii._embedded.jsii").joinpath(name).read_bytes())
    assert run(JSII_RUNTIME=str(tmp_path / "bin" / "jsii-runtime.js"))[0] == "root/below 2"


def test_a_process_that_does_not_answer_gives_way_to_stock(tmp_path: Path) -> None:
    """As with a jsii whose program talks in another way: the relay, which is started otherwise, would do."""
    node = tmp_path / "node"
    node.write_text('#!/bin/sh\ncase "$*" in *--preserve-symlinks*) echo no >&3; exit 1;; esac\nexec node "$@"\n')
    node.chmod(0o755)
    printed, (line,) = run(JSII_NODE=str(node))
    assert printed == "root/below 2"
    assert line.startswith("jsii: started as ever, synthesis will be slower: ")


def test_what_cannot_be_loaded_is_an_error_of_the_next_request() -> None:
    program = """
import jsii
from synthesis import jsii_process
jsii_process.use()
from constructs import RootConstruct
jsii.kernel.load("nothing", "1.0.0", "/nowhere/nothing.tgz")
try:
    RootConstruct("root")
except (RuntimeError, jsii.errors.JSIIError) as error:
    print("nothing.tgz" in str(error))
"""
    assert run(program)[0] == "True"


def test_node_ends_when_python_is_killed() -> None:
    program = PROGRAM + "print(psutil.Process().children()[0].pid, flush=True)\nimport time\ntime.sleep(600)\n"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "root/below 1\n"
        node = psutil.Process(int(started.stdout.readline()))
        started.send_signal(signal.SIGKILL)
    node.wait(timeout=30)


@pytest.fixture
def jsii_as_it_is(monkeypatch: pytest.MonkeyPatch) -> type:
    """jsii with its own class, as in a process of its own."""
    monkeypatch.setenv(bindings.STOCK_VARIABLE, "0")
    (direct, stock, *_) = process._NodeProcess.__mro__
    theirs = stock if direct.__module__ == jsii_process.__name__ else direct
    monkeypatch.setattr(process, "_NodeProcess", theirs)
    return theirs


def program_of_jsii(name: str) -> str:
    return files("jsii._embedded.jsii").joinpath(name).read_text(encoding="utf-8")


def test_another_relay_is_started_as_ever() -> None:
    """One that does the same, written another way: what a new version of jsii may bring."""
    changed = """
from pathlib import Path
from jsii._kernel.providers.process import _NodeProcess
extract = _NodeProcess._jsii_runtime
def extract_changed(self):
    relay = Path(extract(self))
    relay.write_text(relay.read_text().replace(",i.pipe(process.stdout)", ";i.pipe(process.stdout)"))
    return str(relay)
_NodeProcess._jsii_runtime = extract_changed
"""
    printed, said = run(changed + PROGRAM)
    assert printed == "root/below 2"
    assert said == ["jsii: started as ever, synthesis will be slower: its relay is not the one that Sluice knows"]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("bin__jsii-runtime.js", '"--preserve-symlinks"', '"--x"'),
        ("bin__jsii-runtime.js", ".pipe(process.stdout)", ".pipe(t).pipe(process.stdout)"),
        ("lib__program.js", "readFD:3", "readFD:4"),
    ],
)
def test_what_the_programs_of_jsii_do_is_looked_at(name: str, old: str, new: str) -> None:
    texts = {each: program_of_jsii(each) for each in ("bin__jsii-runtime.js", "lib__program.js")}
    jsii_process._check(*texts.values())
    assert old in texts[name]
    texts[name] = texts[name].replace(old, new)
    with pytest.raises(NotImplementedError):
        jsii_process._check(*texts.values())


def test_another_class_of_jsii_is_left_alone(
    jsii_as_it_is: type, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(process, "ProcessProvider", SimpleNamespace())
    jsii_process.use()
    assert process._NodeProcess is jsii_as_it_is
    assert len(capsys.readouterr().err.splitlines()) == 1

    monkeypatch.undo()
    monkeypatch.delattr(process, "_NodeProcess")
    jsii_process.use()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_jsii_as_it_is_now_is_known(jsii_as_it_is: type, capsys: pytest.CaptureFixture[str]) -> None:
    jsii_process.use()
    assert issubclass(process._NodeProcess, jsii_as_it_is)
    assert process._NodeProcess is not jsii_as_it_is
    first = process._NodeProcess
    jsii_process.use()
    assert process._NodeProcess is first
    assert capsys.readouterr().err == ""


def test_the_banner_is_silenced_by_names_that_jsii_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("JSII_SILENCE")]:
        monkeypatch.delenv(name)
    before = set(os.environ)
    jsii_process.quiet_node_banner()
    added = {name: os.environ[name] for name in set(os.environ) - before}
    for name in added:
        monkeypatch.setenv(name, added[name])  # so that it is taken back

    program = program_of_jsii("bin__jsii-runtime.js")
    assert len(added) == 3
    for name in added:
        assert f"}}{name.removeprefix('JSII')}`" in program
    assert {"20", "22", "24"} <= set(added["JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION"].split(","))
    assert "18" not in added["JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION"].split(",")


def test_what_the_user_says_about_the_banner_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("END_OF_LIFE", "DEPRECATED", "UNTESTED"):
        monkeypatch.setenv(f"JSII_SILENCE_WARNING_{name}_NODE_VERSION", "")
    jsii_process.quiet_node_banner()
    assert os.environ["JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION"] == ""


@pytest.mark.parametrize("home", ["usable", os.devnull, "/proc/none"])
def test_libraries_are_unpacked_in_the_clone_where_there_is_no_home(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Set before it is unset, so that what the function sets is undone in the end.
    monkeypatch.setenv("JSII_RUNTIME_PACKAGE_CACHE_ROOT", "")
    monkeypatch.delenv("JSII_RUNTIME_PACKAGE_CACHE_ROOT")
    monkeypatch.setenv("HOME", str(tmp_path / home))
    jsii_process.find_room()
    expected = None if home == "usable" else str(ROOT / ".build" / "jsii")
    assert os.environ.get("JSII_RUNTIME_PACKAGE_CACHE_ROOT") == expected


def test_a_folder_for_libraries_that_the_user_names_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", os.devnull)
    monkeypatch.setenv("JSII_RUNTIME_PACKAGE_CACHE_ROOT", "/named")
    jsii_process.find_room()
    assert os.environ["JSII_RUNTIME_PACKAGE_CACHE_ROOT"] == "/named"
