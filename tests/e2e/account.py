"""An AWS account as whoever deploys Sluice has one: the embedded AWS behind AWS's own host names, and a fresh clone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

from modules.settings import Settings
from tools.embedded_aws import control
from tools.embedded_aws.control import Credentials, EmbeddedAws
from tools.setup import EMBEDDED_AWS, LAMBDA, ROOT

ACCOUNT = "210987654321"
# Longer than any command of the README takes here.
COMMAND_SECONDS = 900


@dataclass
class Done:
    """A command that ended."""

    command: str
    status: int
    output: str

    def __str__(self) -> str:
        return f"$ {self.command}\n{self.output}\n(exit code {self.status})"


@dataclass
class Clone:
    """A clone of the repository, and a person at its shell.

    Attributes:
        folder: the clone.
        variables: what the person exported.
        done: every command so far.
    """

    folder: Path
    variables: dict[str, str]
    done: list[Done] = field(default_factory=list)

    def run(self, command: str, *, status: int = 0, **variables: str) -> str:
        """Type a line into the shell; it has to end with a status. Return what it printed."""
        finished = subprocess.run(  # noqa: S602 - a person has a shell
            command,
            shell=True,
            cwd=self.folder,
            env={**person(), **self.variables, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        done = Done(command, finished.returncode, finished.stdout)
        self.done.append(done)
        assert done.status == status, str(done)
        return done.output

    def set(self, environment: str, **values: object) -> None:
        """Edit the settings of an environment, as with an editor."""
        file = self.folder / "environments" / f"{environment}.toml"
        lines = file.read_text().splitlines()
        for name, value in values.items():
            line = f"{name} = {json.dumps(value)}"
            kept = [each for each in lines if not re.match(rf"{name}\s*=", each)]
            lines = [*kept, line]
        file.write_text("\n".join(lines) + "\n")
        tomllib.loads(file.read_text())


def person() -> dict[str, str]:
    """The environment of a person who has set nothing for AWS, Terraform or Sluice."""
    names = {name.upper() for name in Settings.model_fields}
    left_out = re.compile(r"AWS_|TF_|MAKE|MFLAGS|PYTHON|PYTEST_|COVERAGE|CDKTF_|.*_PROXY$", re.IGNORECASE)
    return {name: value for name, value in os.environ.items() if name.upper() not in names and not left_out.match(name)}


def clone_to(folder: Path, **variables: str) -> Clone:
    """Clone what is committed here; what set-up downloads comes from the package managers' own caches."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return Clone(folder, variables)


@dataclass(frozen=True)
class Account:
    """An AWS account."""

    aws: EmbeddedAws
    folder: Path

    @property
    def iam_log(self) -> Path:
        return self.folder / "iam.jsonl"

    def deployer(self, policies: str, name: str = "deployer") -> Credentials:
        """Give a user just the policies that were printed, one JSON document behind another."""
        return control.create_deployer(self.aws, list(documents(policies)), name=name)

    def profile(self, key: Credentials, name: str) -> dict[str, str]:
        """Write a profile as `aws configure` does; the variables with which a person uses it."""
        file = self.folder / "credentials"
        with file.open("a") as opened:
            opened.write(f"[{name}]\naws_access_key_id = {key.access_key}\naws_secret_access_key = {key.secret_key}\n")
        file.chmod(0o600)
        led = self.aws.environment_of_host_names(key.access_key, key.secret_key)
        kept = {variable: value for variable, value in led.items() if variable.endswith(("PROXY", "BUNDLE"))}
        return {**kept, "AWS_PROFILE": name, "AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_CONFIG_FILE": os.devnull}

    def session(self, key: Credentials = control.ROOT, region: str = "us-east-1") -> boto3.Session:
        """Boto3 as a user, by AWS's own host names."""
        core = botocore.session.Session()
        core.set_config_variable("ca_bundle", str(self.aws.ca_bundle))
        core.set_default_client_config(Config(proxies={"https": self.aws.proxy_url}))
        return boto3.Session(key.access_key, key.secret_key, region_name=region, botocore_session=core)


@contextmanager
def account(folder: Path) -> Iterator[Account]:
    """An account in which there is nothing yet."""
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
    """JSON documents that were printed one behind another, whatever else was printed before them."""
    decoder, at = json.JSONDecoder(), text.find("{\n")
    while at >= 0:
        found, end = decoder.raw_decode(text, at)
        yield found
        at = text.find("{\n", end)
