"""`make up` and `make down`: the whole system on the embedded AWS of this machine."""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import shlex
import shutil
import ssl
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import boto3
from botocore.awsrequest import AWSRequest

from modules.settings import Settings
from synthesis.child_environment import NO_FILES_OF_AWS, child_environment, enter_local, shell_lines
from synthesis.paths import BUILD, ROOT
from tools.develop.caller import Bearer, Caller, add_user, caller, new_password
from tools.develop.layers import host_runtime
from tools.develop.setup import EMBEDDED_AWS, LAMBDA
from tools.embedded_aws import control
from tools.embedded_aws.control import EmbeddedAws, EmbeddedAwsError
from tools.operate.bootstrap import bootstrap
from tools.operate.console import Failure, exit_with, say, shown, step
from tools.operate.policies import deployer_policies
from tools.operate.synthesize import synthesize, terraform_json
from tools.operate.terraform import Changes, Terraform, cli_configuration, find_program

LOCAL = BUILD / "local"
# Kept after `make down`, for shells that use it.
TRUST = BUILD / "trust.pem"
# Settings that the embedded AWS and this machine determine.
_GIVEN = frozenset(
    {
        "account_id",
        "assume_role_arn",
        "aws_endpoint_url",
        "environment",
        "lambda_architecture",
        "lambda_runtime",
        "primary_region",
        "state_bucket",
        "state_kms_key_id",
    }
)
# How long the workflow of a file may take here.
WORKFLOW_SECONDS = 30

READ_LOGS: dict[str, object] = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "ReadLogs",
            "Effect": "Allow",
            "Action": ["logs:DescribeLogGroups", "logs:FilterLogEvents"],
            "Resource": "arn:aws:logs:*:*:log-group:*",
        }
    ],
}


@dataclass(frozen=True)
class Api:
    """The deployed API from the view of a client.

    Attributes:
        outputs: Terraform's outputs of the platform.
    """

    aws: EmbeddedAws
    outputs: dict[str, str]
    caller: Caller

    @property
    def url(self) -> str:
        """Address of the stage. AWS's own is `https://ID.execute-api...`; the embedded AWS answers on one address."""
        invoke_url = self.outputs["api_url"]
        api_id = invoke_url.removeprefix("https://").partition(".")[0]
        stage = invoke_url.rstrip("/").rpartition("/")[2]
        return self.aws.api_url(api_id, stage).rstrip("/")

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        signed: bool = True,
    ) -> tuple[int, bytes]:
        """Send a request as the caller, or unsigned, and return status and body."""
        url = f"{self.url}{path}"
        request = AWSRequest(method, url, data=body, headers={"Content-Type": "application/json", **(headers or {})})
        if signed:
            self.caller.sign(request)
        prepared = urllib.request.Request(  # noqa: S310 - the URL is ours
            url, data=body, headers=dict(request.headers.items()), method=method
        )
        return self.fetch(prepared)

    def fetch(self, request: urllib.request.Request | str) -> tuple[int, bytes]:
        """Send a request as it is, such as a download link, and return status and body."""
        trust = ssl.create_default_context(cafile=str(self.aws.ca_bundle))
        try:
            with urllib.request.urlopen(request, timeout=30, context=trust) as answer:  # noqa: S310
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


class LocalSystem:
    """The embedded AWS and the platform deployed to it, in one folder."""

    def __init__(
        self, folder: Path = LOCAL, program: list[str] | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        """
        Args:
            folder: keeps everything: AWS's state, Terraform's files, keys of the local users.
            program: how Terraform is started; by default what is found.
            settings: settings by the names of their variables, on top of the file of `local`.
        """
        self.folder = folder
        self.settings = dict(settings or {})
        self._program = program
        self._aws_folder = folder / "aws"
        self._bootstrapped = folder / "bootstrapped"
        self._applied = folder / "applied"

    def start(self, *, port: int | None = None, iam_log: Path | None = None) -> EmbeddedAws:
        """Start the embedded AWS, or find the one that runs.

        Raises:
            Failure: it does not start; for example, the port is in use.
        """
        try:
            return control.running(self._aws_folder) or control.start(
                self._aws_folder,
                server_python=EMBEDDED_AWS.python,
                lambda_python=LAMBDA.python,
                port=port,
                iam_log=iam_log,
            )
        except EmbeddedAwsError as error:
            cause, _, remedy = str(error).partition("\n")
            raise Failure("starting the embedded AWS", cause, remedy or "run `make down`, then `make up`") from None

    def variables(self, aws: EmbeddedAws) -> dict[str, str]:
        """Return this machine's settings of `local`, and the variables that lead Terraform to the embedded AWS."""
        policies = deployer_policies(local_settings(aws))
        deployer = control.create_deployer(aws, [json.loads(policy) for policy in policies])
        runtime, architecture = host_runtime()
        return {
            **aws.environment(deployer.access_key, deployer.secret_key),
            "ENVIRONMENT": "local",
            "LAMBDA_RUNTIME": runtime,
            "LAMBDA_ARCHITECTURE": architecture,
            **self.settings,
        }

    def bootstrap(self, aws: EmbeddedAws) -> None:
        """Make the bucket of the state, once."""
        if not self._bootstrapped.is_file():
            bootstrap(self.folder / "bootstrap", self.variables(aws))
            self._bootstrapped.touch()

    def synthesize(self, aws: EmbeddedAws) -> Terraform:
        """Synthesize the platform; return Terraform in its folder, initialised."""
        with step("synthesis"):
            variables = self.variables(aws)
            stack = synthesize(self.folder / "cdktf.out", variables)
            terraform = Terraform(stack, variables, self._program)
        configuration = terraform_json(stack)["terraform"]
        wanted = hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()
        initialised = stack / ".terraform" / "sluice-init"
        if not initialised.is_file() or initialised.read_text() != wanted:
            with step("terraform init"):
                terraform.init()
            initialised.write_text(wanted)
        return terraform

    def apply(self, terraform: Terraform) -> Changes:
        """Deploy the stack to the embedded AWS."""
        with step("terraform plan") as progress:
            changes = terraform.plan(progress=progress)
        say(f"  {changes}")
        if changes:
            with step("terraform apply") as progress:
                terraform.apply(progress=progress)
        return changes

    def api(self, aws: EmbeddedAws, terraform: Terraform) -> Api:
        """Return the deployed API with a caller who may only call it; a token is valid for an hour."""
        outputs = terraform.outputs()
        return Api(aws, outputs, caller(aws, outputs))

    def page_user(self, aws: EmbeddedAws, user_pool_id: str) -> tuple[str, str]:
        """Return name and password of a user for the page; the password stays the same until `make down`."""
        file = self.folder / "password"
        if not file.is_file():
            file.touch(mode=0o600)
            file.write_text(new_password())
        password = file.read_text()
        return add_user(aws, user_pool_id, "you", password), password

    def curl_configuration(self, api: Api) -> Path:
        """Write a file for `curl -K` with trust and token or key, so that the secret is not on the command line."""
        path = self.folder / "curl.conf"
        lines = [
            f'cacert = "{_quoted_for_curl(api.aws.ca_bundle)}"',
            'noproxy = "*"',
            *api.caller.curl_lines(),
            'header = "Content-Type: application/json"',
        ]
        path.touch(mode=0o600)
        path.write_text("\n".join(lines) + "\n")
        return path

    def destroy(self, aws: EmbeddedAws) -> Changes:
        """Destroy all resources that Terraform created."""
        terraform = self.synthesize(aws)
        with step("terraform destroy") as progress:
            return terraform.destroy(progress=progress)

    def stop(self) -> None:
        """Stop the embedded AWS and delete its data."""
        control.stop(self._aws_folder)
        shutil.rmtree(self.folder, ignore_errors=True)


def _quoted_for_curl(path: Path) -> str:
    """Return a path in double quotes, for a configuration file of curl ("-K, --config")."""
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


def settings_of(machine: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are settings and can override the file of `local`."""
    return {
        name: value
        for name, value in machine.items()
        if name.lower() in Settings.model_fields and name.lower() not in _GIVEN
    }


def enter(command: str, folder: Path = LOCAL) -> None:
    """Make this process know only the embedded AWS, with the settings that `up` was given.

    So other commands use the same settings as `up`, even if the shell has other values later.
    """
    file = folder / "settings.json"
    settings = settings_of(os.environ)
    if command == "up":
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))
    else:
        settings = json.loads(file.read_text()) if file.is_file() else {}
    enter_local()
    for name in [name for name in os.environ if name.lower() in Settings.model_fields]:
        del os.environ[name]
    os.environ.update(settings, ENVIRONMENT="local")


def local_settings(aws: EmbeddedAws) -> Settings:
    """Return the settings of `local` for this embedded AWS."""
    values = tomllib.loads((ROOT / "environments" / "local.toml").read_text())
    return Settings(**{**values, "environment": "local", "aws_endpoint_url": aws.endpoint_url})


def upload_one_file(api: Api, file: Path) -> str:
    """Upload a file through the API, download it, compare, and return its link.

    Raises:
        Failure: the API refuses it, or gives other bytes back.
    """
    content = file.read_bytes()
    body = {"file_name": file.name, "file_content": base64.b64encode(content).decode(), "content_type": "text/markdown"}
    status, answer = api.request("POST", "/upload", json.dumps(body).encode())
    if status != 200:
        raise Failure("uploading a file", f"the API answered {status}: {answer[:200].decode()}", "see `make logs`")
    file_url = str(json.loads(answer)["file_url"])
    # The workflow opens the file a moment after it is stored; until then the API answers 409.
    deadline = time.monotonic() + WORKFLOW_SECONDS
    status, answer = api.request("GET", file_url.removeprefix(api.url))
    while status == 409 and time.monotonic() < deadline:
        time.sleep(0.1)
        status, answer = api.request("GET", file_url.removeprefix(api.url))
    if status == 200:
        status, fetched = api.fetch(json.loads(answer)["download_url"])
    if status != 200 or fetched != content:
        raise Failure("fetching the file back", f"{file_url} answered {status}", "see `make logs`")
    return file_url


def up(port: int | None) -> None:
    """Deploy everything, upload a file, and say what to do next."""
    started = time.monotonic()
    cli_configuration()
    system = LocalSystem(program=find_program())
    with step("embedded AWS"):
        aws = system.start(port=port)
    system.bootstrap(aws)
    terraform = system.synthesize(aws)
    changes = system.apply(terraform)
    api = system.api(aws, terraform)
    if changes:
        with step("uploading README.md and fetching it back"):
            upload_one_file(api, ROOT / "README.md")
    status, answer = api.request("GET", "/health", signed=False)
    if status != 200:
        raise Failure(
            "asking for the API's health", f"it answered {status}: {answer[:200].decode()}", "see `make logs`"
        )
    curl = shlex.quote(shown(system.curl_configuration(api)))
    body = json.dumps({"file_name": "hello.txt", "file_content": base64.b64encode(b"Hello, Sluice!\n").decode()})
    seconds, resources = time.monotonic() - started, len(terraform.resources())
    say(f"\nSluice is up on the embedded AWS ({seconds:.0f} s, {resources} resources).")
    outputs = api.outputs
    if "website_url" in outputs and "user_pool_id" in outputs:
        user, password = system.page_user(aws, outputs["user_pool_id"])
        say(f"\n  page      {outputs['website_url']}")
        say(f"            sign in as {user} with the password {password}")
        say("            the browser warns once: the certificate is one that this machine made")
    say(f"\n  API       {api.url}")
    say("  any size  make upload FILE=...   by the client, in parts where the file is large")
    say(f"  upload    curl -K {curl} -d {shlex.quote(body)} {api.url}/upload")
    say(f"  download  curl -K {curl} FILE_URL   answers with a link to the file")
    say('  AWS       eval "$(make -s env)"   then any AWS tool, terraform or cdktf works on it')
    say("  stop      make down")


def down() -> None:
    """Destroy everything and stop."""
    system = LocalSystem()
    running = control.running(system.folder / "aws")
    if running is None and not system.folder.exists():
        say("Nothing is up.")
        return
    aws = running or system.start()
    if (system.folder / "cdktf.out").exists():
        changes = system.destroy(aws)
        say(f"  {changes.remove} destroyed")
    system.stop()
    # Backends there name a key and an address that are gone.
    shutil.rmtree(ROOT / "cdktf.out" / "stacks" / "sluice-local", ignore_errors=True)
    say("Sluice is down.")


def trust(authority: Path, machine: Mapping[str, str], file: Path = TRUST) -> Path:
    """Write a file of certificate authorities: that of the embedded AWS, and those that a machine trusts.

    In a shell of `local`, one program uses both: `terraform init` calls the registry and the backend.
    """
    defaults = ssl.get_default_verify_paths()
    named = [machine.get(name) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")]
    candidates = [Path(name) for name in (*named, defaults.cafile, defaults.openssl_cafile) if name]
    # The shell may already use this file, from an earlier call.
    of_machine = next((path for path in candidates if path.is_file()), None)
    ours = authority.read_text()
    theirs = of_machine.read_text(errors="replace") if of_machine else ""
    if ours not in theirs or of_machine != file:
        file.write_text(f"{ours}\n{theirs}")
    return file


def print_environment(machine: Mapping[str, str], unset: Collection[str]) -> None:
    """Print shell lines that lead AWS tools, terraform and cdktf to the embedded AWS.

    Args:
        machine: variables that the shell has.
        unset: names of further variables of the shell; `make` hides Python's variables from the tools.
    """
    system = LocalSystem()
    aws = control.running(system.folder / "aws")
    if aws is None:
        raise Failure("reading the environment", "nothing is up", "run `make up`")
    trusted = str(trust(aws.ca_bundle, machine))
    variables = {
        **settings_of(os.environ),
        **system.variables(aws),
        **NO_FILES_OF_AWS,
        **dict.fromkeys(("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), trusted),
        "TF_CLI_CONFIG_FILE": str(cli_configuration()),
    }
    settings = [name for name in machine if name.lower() in Settings.model_fields]
    for line in shell_lines(variables, machine, [*settings, *unset]):
        print(line)


def print_logs() -> None:
    """Print the lines of every function's log group, oldest first."""
    system = LocalSystem()
    aws = control.running(system.folder / "aws")
    if aws is None:
        raise Failure("reading the logs", "nothing is up", "run `make up`")
    deployer = control.create_deployer(aws, READ_LOGS, name="log-reader")
    logs = boto3.client(
        "logs",
        endpoint_url=aws.endpoint_url,
        verify=str(aws.ca_bundle),
        region_name=aws.region,
        aws_access_key_id=deployer.access_key,
        aws_secret_access_key=deployer.secret_key,
    )
    events: list[tuple[int, str, str]] = []
    for group in logs.describe_log_groups()["logGroups"]:
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
            events += [(event["timestamp"], group["logGroupName"], event["message"]) for event in page["events"]]
    for moment, name, message in sorted(events):
        print(f"{datetime.fromtimestamp(moment / 1000, UTC):%H:%M:%S} {name}  {message.rstrip()}")


def files_in(words: list[str]) -> list[str]:
    """Return the files for `make upload`: the argument is the name of one file, or several names as in a shell.

    Raises:
        Failure: the argument is neither.
    """
    try:
        return [file for word in words for file in ([word] if word and Path(word).exists() else shlex.split(word))]
    except ValueError as error:
        raise Failure("uploading", f"FILE={' '.join(words)}: {error}", "name a file that is there") from None


def upload_by_client(files: list[str]) -> None:
    """Send files of any size with the client, as a user who is signed in."""
    system = LocalSystem(program=find_program())
    aws = control.running(system.folder / "aws")
    if aws is None:
        raise Failure("uploading", "nothing is up", "run `make up`")
    if not files:
        raise Failure("uploading", "no file is named", "name one, or several between quotes: make upload FILE=...")
    api = system.api(aws, system.synthesize(aws))
    if not isinstance(api.caller, Bearer):
        raise Failure("uploading", "the API takes signatures", "see docs/client.md")
    access = {"SLUICE_URL": api.url, "SLUICE_TOKEN": api.caller.token, "SLUICE_CA_BUNDLE": str(aws.ca_bundle)}
    # All servers are on this machine.
    direct = {"NO_PROXY": "*", "no_proxy": "*"}
    command = [sys.executable, "-m", "sluice_client", "upload", *files]
    sys.exit(subprocess.run(command, env=child_environment({**access, **direct}), check=False).returncode)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.develop.local", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "env", "logs", "upload"])
    parser.add_argument("words", nargs="*", help="files for `upload`; variables to unset for `env`")
    parser.add_argument("--port", type=int, default=None, help="port of the embedded AWS; a free one by default")
    options = parser.parse_args()
    machine = dict(os.environ)
    enter(options.command)
    if options.command == "up":
        up(options.port)
    elif options.command == "down":
        down()
    elif options.command == "upload":
        upload_by_client(files_in(options.words))
    elif options.command == "logs":
        print_logs()
    else:
        print_environment(machine, options.words)


if __name__ == "__main__":
    exit_with(main)
