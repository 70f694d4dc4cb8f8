"""The environment of programs that tools start, on machines that export many variables."""

from __future__ import annotations

import ast
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from modules.settings import Settings
from synthesis.child_environment import child_environment, shell_lines
from synthesis.paths import ROOT
from tools.develop import local
from tools.operate.console import Failure

# How the machine reaches the network.
NETWORK = {
    "HTTPS_PROXY": "http://proxy.example.com:3128",
    "https_proxy": "http://proxy.example.com:3128",
    "ALL_PROXY": "socks5://proxy.example.com:1080",
    "NO_PROXY": "intranet.example.com",
    "SSL_CERT_FILE": "/etc/company/ca.pem",
    "SSL_CERT_DIR": "/etc/company/certs",
    "REQUESTS_CA_BUNDLE": "/etc/company/ca.pem",
    "CURL_CA_BUNDLE": "/etc/company/ca.pem",
    "NODE_EXTRA_CA_CERTS": "/etc/company/ca.pem",
    "PIP_INDEX_URL": "https://packages.example.com/simple",
    "PIP_CERT": "/etc/company/ca.pem",
    "TF_REGISTRY_CLIENT_TIMEOUT": "60",
}
# Whose account, and where.
AWS = {
    "AWS_PROFILE": "company",
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "example",
    "AWS_SESSION_TOKEN": "example",
    "AWS_REGION": "eu-central-1",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_CONFIG_FILE": "/home/somebody/.aws/config",
    "AWS_SHARED_CREDENTIALS_FILE": "/home/somebody/.aws/credentials",
    "AWS_ENDPOINT_URL_S3": "https://bucket.vpce-1.s3.eu-central-1.vpce.amazonaws.com",
    "AWS_CA_BUNDLE": "/etc/company/ca.pem",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token",
    "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/deployer",
}
# What bends Python, Node.js, Terraform, CDKTF, pip, checkov and make.
BENDING = {
    "PYTHONPATH": "/elsewhere",
    "PYTHONHOME": "/elsewhere",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "PYTHONSAFEPATH": "1",
    "PYTHONHASHSEED": "no number",
    "NODE_OPTIONS": "--require /nowhere.js",
    "NODE_PATH": "/elsewhere",
    "NODE_ENV": "production",
    "TF_VAR_region": "eu-west-1",
    "TF_WORKSPACE": "other",
    "TF_DATA_DIR": "/elsewhere",
    "TF_CLI_ARGS": "-no-such-option",
    "TF_CLI_ARGS_plan": "-destroy",
    "TF_CLI_CONFIG_FILE": "/nowhere.rc",
    "TF_LOG": "TRACE",
    "TF_ENCRYPTION": "{}",
    "CDKTF_OUTDIR": "/elsewhere",
    "CDKTF_CONTEXT_JSON": "{}",
    "CDKTF_LOG_LEVEL": "debug",
    "SYNTH_HCL_OUTPUT": "true",
    "PIP_TARGET": "/elsewhere",
    "PIP_USER": "1",
    "PIP_REQUIRE_VIRTUALENV": "true",
    "PIPENV_VENV_IN_PROJECT": "1",
    "CKV_SKIP_CHECK": "CKV_AWS_1",
    "GIT_DIR": "/elsewhere/.git",
    "MAKEFLAGS": "n",
    "MAKELEVEL": "3",
    "FORCE_COLOR": "1",
    "SSLKEYLOGFILE": "/nowhere/keys",
}
ORDINARY = {"PATH": "/usr/bin", "HOME": "/home/somebody", "LC_ALL": "C", "OWNER": "payments", "HTTP2": "1"}


def test_an_account_gets_credentials_and_network_of_the_machine() -> None:
    machine = {**ORDINARY, **NETWORK, **AWS, "ENVIRONMENT": "dev"}
    assert child_environment({}, machine | BENDING) == {**machine, "PYTHONUTF8": "1"}


@pytest.mark.parametrize("where", ["machine", "variables"])
def test_the_embedded_aws_gets_nothing_of_the_machine_about_aws(where: str) -> None:
    ours = {
        "AWS_ENDPOINT_URL": "https://127.0.0.1:4566",
        "AWS_CA_BUNDLE": "/state/ca.pem",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "deployer",
        "AWS_SECRET_ACCESS_KEY": "example",
        "ENVIRONMENT": "local",
    }
    machine = {**ORDINARY, **NETWORK, **AWS, **BENDING, "BOTO_CONFIG": "/nowhere"}
    # The machine has ours after eval "$(make -s env)".
    given = ({}, {**machine, **ours}) if where == "machine" else (ours, machine)
    made = child_environment(*given)
    about_aws = {name: value for name, value in made.items() if name.startswith("AWS_") or name == "ENVIRONMENT"}
    assert about_aws == {**ours, "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    assert not {"BOTO_CONFIG", *BENDING} & made.keys()
    # The registry stays in reach, the way that the machine goes there.
    assert made["HTTPS_PROXY"] == NETWORK["HTTPS_PROXY"]
    assert made["SSL_CERT_FILE"] == NETWORK["SSL_CERT_FILE"]
    assert made["NO_PROXY"] == made["no_proxy"] == "intranet.example.com,127.0.0.1,localhost"


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        ({}, "127.0.0.1,localhost"),
        ({"NO_PROXY": "*"}, "*"),
        ({"NO_PROXY": "a, b", "no_proxy": "c"}, "c,127.0.0.1,localhost"),
        ({"NO_PROXY": "localhost"}, "localhost,127.0.0.1"),
    ],
)
def test_loopback_is_reached_directly(known: dict[str, str], wanted: str) -> None:
    made = child_environment({"ENVIRONMENT": "local"}, known)
    assert made["NO_PROXY"] == wanted
    assert child_environment({}, made)["NO_PROXY"] == wanted


def test_what_the_program_is_given_wins() -> None:
    made = child_environment({"PYTHONPATH": "ours", "CDKTF_OUTDIR": "out", "AWS_PROFILE": "x"}, {**BENDING, **AWS})
    assert (made["PYTHONPATH"], made["CDKTF_OUTDIR"], made["AWS_PROFILE"]) == ("ours", "out", "x")


def test_an_empty_variable_is_none() -> None:
    """boto3 looks for a profile of no name."""
    assert child_environment({}, {"AWS_PROFILE": "", "HOME": ""}) == {"PYTHONUTF8": "1"}


def test_a_temporary_folder_is_one_that_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "with a space"
    folder.mkdir()
    machine = {"TMPDIR": str(folder), "TMP": "/nowhere", "TEMP": os.devnull}
    assert child_environment({}, machine) == {"TMPDIR": str(folder), "PYTHONUTF8": "1"}


def test_python_runs_and_speaks_utf8_on_a_machine_that_bends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**BENDING, "LC_ALL": "C"}.items():
        monkeypatch.setenv(name, value)
    code = "import sys; print('ä', sys.flags.optimize, sys.warnoptions)"
    done = subprocess.run([sys.executable, "-c", code], env=child_environment(), capture_output=True, check=True)
    assert done.stdout.decode() == "ä 0 []\n"


# A shell of `local`


def test_a_shell_of_local_has_nothing_that_leads_elsewhere() -> None:
    """The lines are run by a shell that has all of it, as `eval "$(make -s env)"` does."""
    variables = {"AWS_ENDPOINT_URL": "https://127.0.0.1:1", "ENVIRONMENT": "local", "SSL_CERT_FILE": "/a b/'ü'.pem"}
    odd = {"BASH_FUNC_x%%": "() { :; }", "TF_VAR_a-b": "1"}
    machine = {**ORDINARY, **NETWORK, **AWS, **BENDING, **odd, "PATH": os.environ["PATH"], "HOME": "/home/somebody"}
    seen = {name: value for name, value in machine.items() if not name.startswith("PYTHON")}
    lines = shell_lines(variables, seen, ["OWNER", *(name for name in BENDING if name.startswith("PYTHON"))])
    script = 'eval "$LINES"; unset LINES; env -0'
    done = subprocess.run(
        ["sh", "-c", script], env={**machine, "LINES": "\n".join(lines)}, capture_output=True, check=True
    )
    assert done.stderr == b""
    found = dict(line.split("=", 1) for line in done.stdout.decode().rstrip("\0").split("\0"))
    assert variables.items() <= found.items()
    assert found["NO_PROXY"] == "intranet.example.com,127.0.0.1,localhost"
    # How the machine reaches the network, and what concerns other programs, stays.
    assert found["HTTPS_PROXY"] == NETWORK["HTTPS_PROXY"]
    assert found["PIP_INDEX_URL"] == NETWORK["PIP_INDEX_URL"]
    left = {name for name in found if name.startswith(("AWS_", "TF_", "CDKTF_", "NODE_", "PYTHON"))}
    assert left - set(odd) == {"AWS_ENDPOINT_URL", "NODE_EXTRA_CA_CERTS", "TF_REGISTRY_CLIENT_TIMEOUT"} | (
        {"AWS_CA_BUNDLE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    )
    assert "OWNER" not in found


def test_an_empty_shell_gets_only_the_variables_of_the_embedded_aws() -> None:
    lines = shell_lines({"ENVIRONMENT": "local"}, {"PATH": "/usr/bin"})
    assert lines == [
        "export ENVIRONMENT=local",
        "export NO_PROXY=127.0.0.1,localhost",
        "export no_proxy=127.0.0.1,localhost",
    ]


# `make up` and what follows it


@pytest.fixture
def shell() -> Iterator[dict[str, str]]:
    """The variables of this process, which the test may change in place; as they were in the end."""
    before = dict(os.environ)
    yield os.environ  # type: ignore[misc]
    os.environ.clear()
    os.environ.update(before)


def test_what_up_was_given_holds_until_down(shell: dict[str, str], tmp_path: Path) -> None:
    shell.update(AWS, OWNER="payments", log_retention_days="14", ACCOUNT_ID="123456789012", PRIMARY_REGION="eu-west-1")
    local.enter("up", tmp_path)
    assert settings_in(shell) == {"OWNER": "payments", "log_retention_days": "14", "ENVIRONMENT": "local"}
    assert {name for name in shell if name.startswith("AWS_")} == {"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"}
    shell.update(OWNER="R&D", PROJECT_NAME="other", ENVIRONMENT="prod", AWS_PROFILE="company")
    local.enter("upload", tmp_path)
    assert settings_in(shell) == {"OWNER": "payments", "log_retention_days": "14", "ENVIRONMENT": "local"}
    assert "AWS_PROFILE" not in shell
    local.enter("up", tmp_path)
    del shell["OWNER"]
    local.enter("up", tmp_path)
    local.enter("down", tmp_path)
    assert settings_in(shell) == {"log_retention_days": "14", "ENVIRONMENT": "local"}


def settings_in(shell: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in shell.items() if name.lower() in Settings.model_fields}


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("a b.txt", ["a b.txt"]),
        ("c.txt d.txt", ["c.txt", "d.txt"]),
        ("'a b.txt' c.txt", ["a b.txt", "c.txt"]),
        ("none.txt", ["none.txt"]),
        ("it's.txt", ["it's.txt"]),
        ("", []),
    ],
)
def test_files_of_make_upload(text: str, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a b.txt", "c.txt", "it's.txt"):
        (tmp_path / name).touch()
    assert local.files_in([text]) == files


def test_an_invalid_name_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Failure, match="quot"):
        local.files_in(["it's not there"])


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_shell_of_local_trusts_the_machine_and_the_embedded_aws(name: str, tmp_path: Path) -> None:
    ours, theirs, file = tmp_path / "ours", tmp_path / "theirs", tmp_path / "trust.pem"
    ours.write_text("OURS\n")
    theirs.write_text("THEIRS\n")
    assert local.trust(ours, {name: str(theirs)}, file) == file
    assert file.read_text().split() == ["OURS", "THEIRS"]
    # The same shell once more, and after an embedded AWS with another authority.
    local.trust(ours, {name: str(file)}, file)
    assert file.read_text().split() == ["OURS", "THEIRS"]
    ours.write_text("NEW\n")
    local.trust(ours, {name: str(file)}, file)
    assert file.read_text().split() == ["NEW", "OURS", "THEIRS"]


def test_without_an_authority_of_its_own_the_machine_trusts_the_systems(tmp_path: Path) -> None:
    (tmp_path / "ours").write_text("OURS\n")
    text = local.trust(tmp_path / "ours", {"SSL_CERT_FILE": "/nowhere"}, tmp_path / "trust.pem").read_text()
    system = ssl.get_default_verify_paths().openssl_cafile
    assert text == f"OURS\n\n{Path(system).read_text() if Path(system).is_file() else ''}"


# Nothing is started otherwise.

STARTS = {"subprocess.run", "subprocess.Popen", "subprocess.check_call", "subprocess.check_output", "os.execve"}
STARTS_WITH_ALL_OF_IT = {"subprocess.call", "subprocess.getoutput", "os.system", "os.popen", "os.execv", "os.execvp"}
# A process of ministack's, whose environment the fix of that place makes from nothing.
APART = {"tools/embedded_aws/fidelity/lambda_runtime.py"}


def test_every_program_that_a_tool_starts_gets_an_environment_of_its_own() -> None:
    wrong, count = [], 0
    files = (file for folder in ("synthesis", "tools") for file in (ROOT / folder).rglob("*.py"))
    for file in sorted(files):
        name = file.relative_to(ROOT).as_posix()
        for call in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)):
            called = ast.unparse(call.func)
            if called in STARTS_WITH_ALL_OF_IT:
                wrong.append(f"{name}:{call.lineno}")
            if called in STARTS and name not in APART:
                count += 1
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
                environment = given.get("env", "child_environment()" if called == "os.execve" else "")
                if not environment or "**os.environ" in environment or environment == "os.environ":
                    wrong.append(f"{name}:{call.lineno}")
    assert wrong == []
    assert count >= 15
