"""An AWS account for a deployment of Sluice: the embedded AWS behind AWS's own host names, and a fresh clone."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import ssl
import subprocess
import tomllib
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

from modules.settings import Settings
from synthesis.child_environment import child_environment
from synthesis.paths import ROOT
from tools.develop.setup import EMBEDDED_AWS, LAMBDA
from tools.embedded_aws import control
from tools.embedded_aws.control import Credentials, EmbeddedAws

ACCOUNT = "210987654321"
# Longer than any command of the README takes here.
COMMAND_SECONDS = 900
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass
class Done:
    """The result of a command."""

    command: str
    status: int
    output: str

    def __str__(self) -> str:
        return f"$ {self.command}\n{self.output}\n(exit code {self.status})"


@dataclass
class Clone:
    """A clone of the repository, with a user's shell in it.

    Attributes:
        folder: the clone.
        variables: what the person exported.
        done: every command so far.
    """

    folder: Path
    variables: dict[str, str]
    done: list[Done] = field(default_factory=list)

    def run(self, command: str, variables: Mapping[str, str] | None = None, *, status: int = 0) -> str:
        """Run a line in the shell, require its exit status, and return its output.

        Args:
            variables: exported only for this line.
        """
        finished = subprocess.run(  # noqa: S602 - a person has a shell
            command,
            shell=True,
            cwd=self.folder,
            env={**person(), **self.variables, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        done = Done(command, finished.returncode, _COLOURS.sub("", finished.stdout))
        self.done.append(done)
        assert done.status == status, str(done)
        return done.output

    def set(self, environment: str, **values: object) -> None:
        """Edit the settings of an environment, as with an editor."""
        file = self.folder / "environments" / f"{environment}.toml"
        text = file.read_text()
        for name, value in values.items():
            line = f"{name} = {json.dumps(value)}"
            known = re.search(rf"^{name} = .*$", text, re.MULTILINE)
            text = text.replace(known[0], line) if known else f"{text}{line}\n"
        assert tomllib.loads(text).items() >= values.items()
        file.write_text(text)

    def mirror_option(self) -> str:
        """Follow the README for a provider mirror on this disk; return the option for cdktf."""
        configuration = self.folder / ".build" / "terraform"
        if not (configuration / "mirror").is_file():
            return ""
        self.variables["TF_CLI_CONFIG_FILE"] = str(configuration / "terraform.rc")
        return "--skip-provider-lock"

    def sends_and_fetches(self, url: str, token: str, folder: Path) -> str:
        """Send a file with the client and fetch it back; return its id."""
        file, back = folder / "a file.txt", folder / "back.txt"
        # The client takes the same bytes for the same upload.
        file.write_text(f"What goes in comes out: {secrets.token_hex(8)}.\n")
        back.unlink(missing_ok=True)
        access = {"SLUICE_URL": url, "SLUICE_TOKEN": token}
        sent = self.run(f".venv/bin/python -m sluice_client upload {shlex.quote(str(file))}", access)
        found = re.search(r"^(\S+)\t.*a file\.txt$", sent, re.MULTILINE)
        assert found, sent
        self.run(f".venv/bin/python -m sluice_client download {found[1]} --to {shlex.quote(str(back))}", access)
        assert back.read_bytes() == file.read_bytes()
        return found[1]


def person() -> dict[str, str]:
    """Return the environment of a person without settings for AWS, Terraform or Sluice."""
    names = {name.upper() for name in Settings.model_fields}
    of_others = re.compile(r"AWS_|PYTEST_|JSII_|CI$|.*_PROXY$", re.IGNORECASE)
    kept = {name: value for name, value in os.environ.items() if name not in names and not of_others.match(name)}
    return child_environment(machine=kept)


def clone_to(folder: Path) -> Clone:
    """Clone what is committed here; what set-up downloads comes from the package managers' own caches."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return Clone(folder, {})


def allowed_origin(owned: Account, url: str, origin: str) -> str | None:
    """Return the answer to a preflight from a page of an origin."""
    headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    with owned.opener().open(urllib.request.Request(url, method="OPTIONS", headers=headers), timeout=30) as answer:
        allowed: str | None = answer.headers["Access-Control-Allow-Origin"]
        return allowed


@dataclass(frozen=True)
class Account:
    """An AWS account."""

    aws: EmbeddedAws
    folder: Path

    @property
    def iam_log(self) -> Path:
        return self.folder / "iam.jsonl"

    def deployer(self, policies: str, name: str = "deployer") -> Credentials:
        """Give a user exactly the printed policies, a sequence of JSON documents."""
        return control.create_deployer(self.aws, list(documents(policies)), name=name)

    def profile(self, key: Credentials, name: str) -> dict[str, str]:
        """Write a profile as `aws configure` does; return the variables that select it."""
        file = self.folder / "credentials"
        with file.open("a") as opened:
            opened.write(f"[{name}]\naws_access_key_id = {key.access_key}\naws_secret_access_key = {key.secret_key}\n")
        file.chmod(0o600)
        led = self.aws.environment_of_host_names(key.access_key, key.secret_key)
        bundle = str(self._bundle())
        return {
            "HTTPS_PROXY": led["HTTPS_PROXY"],
            "NO_PROXY": led["NO_PROXY"],
            "AWS_CA_BUNDLE": bundle,
            "SSL_CERT_FILE": bundle,
            "AWS_PROFILE": name,
            "AWS_SHARED_CREDENTIALS_FILE": str(file),
            "AWS_CONFIG_FILE": os.devnull,
        }

    def _bundle(self) -> Path:
        """Write a bundle with all authorities of this machine and the embedded AWS's, as companies do."""
        file, known = self.folder / "authorities.pem", ssl.get_default_verify_paths()
        ours = Path(known.cafile).read_text() if known.cafile else ""
        file.write_text(ours + self.aws.ca_bundle.read_text())
        return file

    def opener(self) -> urllib.request.OpenerDirector:
        """Return an HTTPS client that reaches AWS's host names."""
        return urllib.request.build_opener(
            urllib.request.ProxyHandler({"https": self.aws.proxy_url}),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(self.aws.ca_bundle))),
        )

    def denied(self, prefix: str) -> list[str]:
        """Return the denied calls of users whose names begin with a prefix."""
        decisions = (json.loads(line) for line in self.iam_log.read_text().splitlines())
        refused = [each for each in decisions if not each["allowed"] and f":user/{prefix}" in str(each["principal"])]
        return sorted({f"{each['principal']} {each['action']} {each['resource']}" for each in refused})

    def session(self, key: Credentials = control.ROOT, region: str = "us-east-1") -> boto3.Session:
        """Boto3 as a user, by AWS's own host names."""
        core = botocore.session.Session()
        core.set_config_variable("ca_bundle", str(self.aws.ca_bundle))
        core.set_default_client_config(Config(proxies={"https": self.aws.proxy_url}))
        return boto3.Session(key.access_key, key.secret_key, region_name=region, botocore_session=core)


@contextmanager
def account(folder: Path) -> Iterator[Account]:
    """Yield an empty account."""
    folder.mkdir(parents=True, exist_ok=True)
    aws = control.start(
        folder / "aws",
        server_python=EMBEDDED_AWS.python,
        lambda_python=LAMBDA.python,
        iam_log=folder / "iam.jsonl",
        account=ACCOUNT,
        host_names=True,
    )
    try:
        yield Account(aws, folder)
    finally:
        control.stop(folder / "aws")


def documents(text: str) -> Iterator[Mapping[str, Any]]:
    """Return the JSON documents in a printed text, which may begin with other text."""
    decoder, at = json.JSONDecoder(), text.find("{\n")
    while at >= 0:
        found, end = decoder.raw_decode(text, at)
        yield found
        at = text.find("{\n", end)
