"""Start, find and stop an embedded AWS: what needs no emulator."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from synthesis.paths import ROOT
from tools.embedded_aws import control
from tools.embedded_aws.control import Credentials, EmbeddedAws, EmbeddedAwsError
from tools.embedded_aws.layout import Layout, Record


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def held_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def ended_process() -> int:
    """The id of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class FakePython:
    """An executable that stands in for the interpreter of the server."""

    def __init__(self, path: Path, script: str) -> None:
        path.write_text(f"#!{sys.executable}\n{script}", encoding="utf-8")
        path.chmod(0o755)
        self.path = path


# The record


def test_a_record_is_read_as_it_was_written(layout: Layout) -> None:
    Record(pid=1, port=2, plain_http_port=3, proxy_port=4, region="eu-west-1").write(layout.record)

    assert Record.read(layout.record) == Record(1, 2, 3, 4, "eu-west-1")
    assert [path.name for path in layout.directory.iterdir()] == ["embedded-aws.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": 1}', '{"pid": "x", "port": 1, "plain_http_port": 2}'])
def test_a_broken_record_is_none(layout: Layout, text: str) -> None:
    layout.record.write_text(text, encoding="utf-8")

    assert Record.read(layout.record) is None
    assert control.running(layout.directory) is None
    control.stop(layout.directory)


# The port


def test_the_port_of_the_last_start_is_taken_again(layout: Layout) -> None:
    last = free_port()
    Record(pid=1, port=last, plain_http_port=1).write(layout.record)

    assert control.choose_port(layout) == last


def test_a_port_that_is_held_is_not_taken(layout: Layout, held_port: int) -> None:
    Record(pid=1, port=held_port, plain_http_port=1).write(layout.record)

    assert control.choose_port(layout) not in (held_port, 0)


def test_without_a_record_some_port_is_taken(layout: Layout) -> None:
    assert control.choose_port(layout) > 0


# Stale records


def test_the_record_of_a_process_that_is_gone_is_not_running(layout: Layout) -> None:
    Record(ended_process(), free_port(), free_port()).write(layout.record)

    assert control.running(layout.directory) is None
    control.stop(layout.directory)


def test_another_process_with_the_recorded_id_is_neither_ours_nor_stopped(layout: Layout) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        Record(other.pid, free_port(), free_port()).write(layout.record)

        assert control.running(layout.directory) is None
        control.stop(layout.directory)

        assert other.poll() is None
        other.communicate(b"\n")


def test_stop_does_nothing_where_nothing_was_started(tmp_path: Path) -> None:
    control.stop(tmp_path / "nowhere")

    assert not (tmp_path / "nowhere").exists()


# Starting


def test_a_missing_interpreter_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedAwsError, match=r"the interpreter for embedded AWS is missing: .*/none\."):
        control.start(tmp_path, server_python=tmp_path / "none", lambda_python=Path(sys.executable))
    with pytest.raises(EmbeddedAwsError, match=r"the interpreter for Lambda functions is missing: .*/none\."):
        control.start(tmp_path, server_python=Path(sys.executable), lambda_python=tmp_path / "none")


def test_a_server_that_dies_leaves_its_last_words_and_a_remedy(tmp_path: Path) -> None:
    python = FakePython(tmp_path / "python", "raise SystemExit('embedded AWS: cannot listen on 127.0.0.1:1 (in use)')")

    with pytest.raises(EmbeddedAwsError) as raised:
        control.start(tmp_path / "d", server_python=python.path, lambda_python=Path(sys.executable), port=1)

    message = str(raised.value)
    assert "the embedded AWS ended with exit code 1. Its last words:\n  embedded AWS: cannot listen" in message
    assert "Stop what holds the port" in message
    assert str(tmp_path / "d" / "embedded-aws.log") in message


def test_a_server_that_does_not_answer_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "START_DEADLINE_SECONDS", 0.5)
    script = (
        "import os, pathlib, signal\npathlib.Path(os.sys.argv[6], 'pid').write_text(str(os.getpid()))\nsignal.pause()"
    )
    python = FakePython(tmp_path / "python", script)

    with pytest.raises(EmbeddedAwsError, match=r"did not answer within 0\.5 s"):
        control.start(tmp_path / "d", server_python=python.path, lambda_python=Path(sys.executable))

    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "d" / "pid").read_text(encoding="utf-8")), 0)


def test_the_server_inherits_nothing_from_the_persons_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a person's key")
    python = FakePython(tmp_path / "python", "import os\nprint(*sorted(os.environ))\nraise SystemExit(3)")

    with pytest.raises(EmbeddedAwsError, match="exit code 3") as raised:
        control.start(tmp_path / "d", server_python=python.path, lambda_python=Path(sys.executable))

    assert "AWS_" not in str(raised.value)


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("ModuleNotFoundError: No module named 'ministack'", "Run `make setup`"),
        ("ModuleNotFoundError: No module named 'tools'", "has to run in the folder"),
        ("embedded AWS: cannot listen on 127.0.0.1:443 (Permission denied)", "Stop what holds the port"),
        ("embedded AWS: process 7 already serves /d; stop it", "Stop that process"),
        ("embedded AWS: the fix x.y does not fit ministack 9: no z", "installs the version of ministack"),
        ("Killed", "delete the directory's state"),
    ],
)
def test_every_known_failure_has_a_remedy(log: str, expected: str) -> None:
    assert expected in control.remedy([log])


# Stopping


def test_a_process_that_does_not_listen_to_sigterm_is_killed(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    script = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); signal.pause()"
    # The command line is what makes it ours.
    arguments = ["tools.embedded_aws.server", "--state", str(layout.directory)]
    with subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE) as stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        Record(stubborn.pid, free_port(), free_port()).write(layout.record)

        control.stop(tmp_path, timeout=0.2)

        assert stubborn.wait(timeout=5) == -signal.SIGKILL


# What clients get


AWS = EmbeddedAws(
    "https://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:4", 3, Path("/d"), Path("/d/tls/ca.pem"), "eu-west-1"
)


def test_the_environment_leads_clients_to_the_emulator_and_has_no_session_token() -> None:
    assert AWS.environment("key", "secret") == {
        "AWS_ENDPOINT_URL": "https://127.0.0.1:1",
        "AWS_CA_BUNDLE": "/d/tls/ca.pem",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }


@pytest.mark.parametrize("path", ["upload", "/upload"])
def test_the_url_of_an_api_leads_to_the_emulator(path: str) -> None:
    assert AWS.api_url("abc", "v1", path) == "https://127.0.0.1:1/_aws/execute-api/abc/v1/upload"


def test_the_root_key_is_the_documented_word() -> None:
    assert Credentials("test", "test") == control.ROOT


def test_a_policy_longer_than_aws_allows_is_refused_before_anything_is_created() -> None:
    actions = [f"s3:Action{number:04}" for number in range(600)]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
    small = {"Version": "2012-10-17", "Statement": []}

    with pytest.raises(EmbeddedAwsError, match=r"policy 2 of deployer has \d+ characters; AWS allows 6144"):
        control.create_deployer(AWS, [small, policy])


def test_only_its_owner_can_read_the_key_of_the_deployer(tmp_path: Path) -> None:
    file = tmp_path / "deployer.json"
    file.write_text("{}", encoding="utf-8")

    control.write_credentials(file, Credentials("key", "secret"))

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert control.read_credentials(file) == Credentials("key", "secret")


@pytest.mark.parametrize("text", ["", "[]", '{"access_key": "a"}', json.dumps({"other": 1})])
def test_a_broken_key_file_is_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "deployer.json"
    file.write_text(text, encoding="utf-8")

    assert control.read_credentials(file) is None


# The document


def test_every_fix_is_in_the_document() -> None:
    package = (ROOT / "tools" / "embedded_aws" / "fidelity" / "__init__.py").read_text(encoding="utf-8")
    listed = package.partition("FIXES: ")[2].partition("\n)\n")[0]
    fixes = re.findall(r"^    (\w+\.\w+),$", listed, re.MULTILINE)
    document = (ROOT / "docs" / "emulator.md").read_text(encoding="utf-8")

    assert fixes
    assert sorted(re.findall(r"^\| `(\w+\.\w+)` \|", document, re.MULTILINE)) == sorted(fixes)


def test_the_package_names_nothing_of_this_project() -> None:
    files = sorted((ROOT / "tools" / "embedded_aws").rglob("*.py"))
    assert len(files) > 20
    for file in files:
        assert not re.search(r"\btools\b|sluice", file.read_text(encoding="utf-8"), re.IGNORECASE), file
