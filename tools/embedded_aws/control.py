"""Start, find and stop an embedded AWS, from an interpreter that does not have ministack."""

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .layout import HEALTH_PATH, LOOPBACK, NOT_THROUGH_THE_PROXY, Layout, Record

START_DEADLINE_SECONDS = 60.0
POLL_SECONDS = 0.05
ANSWER_TIMEOUT_SECONDS = 5.0
LOG_LINES_IN_ERRORS = 15
# The server runs as a module of this package, from the folder that contains the outermost package.
_PACKAGE = __name__.rpartition(".")[0]
_SERVER = f"{_PACKAGE}.server"
_FOLDER = Path(__file__).resolve().parents[len(_PACKAGE.split("."))]

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html, white space not counted.
MANAGED_POLICY_LIMIT_CHARACTERS = 6144


# Servers that this process started: whoever starts a process has to ask for its end.
_children: "dict[int, subprocess.Popen[bytes]]" = {}


class EmbeddedAwsError(RuntimeError):
    """The embedded AWS cannot do what was asked; the message says why and what to do."""


@dataclass(frozen=True)
class Credentials:
    """A long-lived access key of the embedded AWS."""

    access_key: str
    secret_key: str


# The emulator's root key pair. No policy binds it, neither IAM's nor a bucket's nor a key's, so that a test that uses
# it proves nothing: it only creates the deployer user.
ROOT = Credentials("test", "test")


@dataclass(frozen=True)
class EmbeddedAws:
    """A running embedded AWS.

    Attributes:
        endpoint_url: where every service answers, over TLS.
        plain_http_url: the same without TLS, to see what a policy on aws:SecureTransport denies.
        proxy_url: the proxy by which the host names of AWS lead here.
        pid: the process.
        directory: what was given to `start`.
        ca_bundle: the certificate authority that clients have to trust.
        region: the region that clients should use.

    """

    endpoint_url: str
    plain_http_url: str
    proxy_url: str
    pid: int
    directory: Path
    ca_bundle: Path
    region: str = "us-east-1"

    def environment(self, access_key: str, secret_key: str) -> dict[str, str]:
        """Return the variables that direct AWS SDKs, Terraform's AWS provider and its S3 backend to this emulator."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_CA_BUNDLE": str(self.ca_bundle),
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key,
        }

    def environment_of_host_names(self, access_key: str, secret_key: str) -> dict[str, str]:
        """Return the variables that direct AWS's own host names to this emulator; none of them names an endpoint.

        The caller has to unset `https_proxy`, which some programs prefer to HTTPS_PROXY.
        """
        by_address = self.environment(access_key, secret_key)
        del by_address["AWS_ENDPOINT_URL"]
        return {**by_address, "HTTPS_PROXY": self.proxy_url, "NO_PROXY": NOT_THROUGH_THE_PROXY}

    def api_url(self, api_id: str, stage: str, path: str = "") -> str:
        """Return the URL of a REST API on this emulator; the invoke_url of AWS and Terraform has a host in
        amazonaws.com.
        """
        return f"{self.endpoint_url}/_aws/execute-api/{api_id}/{stage}/{path.lstrip('/')}"


def start(
    directory: Path,
    *,
    server_python: Path,
    lambda_python: Path,
    port: int | None = None,
    iam_log: Path | None = None,
    region: str = "us-east-1",
    account: str = "000000000000",
    host_names: bool = False,
    without_fixes: Sequence[str] = (),
) -> EmbeddedAws:
    """Start an embedded AWS, or return the one that already runs on this directory.

    Args:
        directory: keeps the state, so that a later start finds everything again.
        server_python: interpreter that has what [embedded-aws] in the Pipfile names.
        lambda_python: interpreter for functions; its environment should only have boto3.
        port: None takes the port of the last start if it is free, else a free one.
        iam_log: file that gets every IAM decision as a line of JSON.
        region: region of requests that name none.
        account: the AWS account, twelve digits.
        host_names: functions call AWS at its own host names, through the proxy; they get no endpoint.
        without_fixes: names of fixes to leave out, to see what they are good for.

    Raises:
        EmbeddedAwsError: when the process dies or does not answer in time, or runs on another port.

    """
    layout = Layout(directory.resolve())
    found = running(layout.directory)
    if found is not None:
        if port is not None and not found.endpoint_url.endswith(f":{port}"):
            raise EmbeddedAwsError(
                f"an embedded AWS already runs on {layout.directory} at {found.endpoint_url}, not on port {port}. "
                "Stop it first."
            )
        return found
    for python, what in ((server_python, "embedded AWS"), (lambda_python, "Lambda functions")):
        if not os.access(python, os.X_OK):
            raise EmbeddedAwsError(f"the interpreter for {what} is missing: {python}. Create its virtual environment.")
    layout.directory.mkdir(parents=True, exist_ok=True)
    chosen = port if port is not None else choose_port(layout)
    command = [str(server_python.absolute()), "-m", _SERVER]
    command += ["--port", str(chosen), "--state", str(layout.directory), "--region", region]
    command += ["--account", account, *(["--host-names"] if host_names else [])]
    command += ["--lambda-python", str(lambda_python.absolute())]
    command += ["--iam-log", str(iam_log.resolve())] if iam_log else []
    for fix in without_fixes:
        command += ["--without-fix", fix]
    with layout.log.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=_FOLDER,
            env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # The server outlives the terminal that started it: it is stopped through `stop`.
            start_new_session=True,
        )
    _children[process.pid] = process
    try:
        return _wait_until_ready(process, layout, START_DEADLINE_SECONDS)
    except BaseException:
        _end(process.pid, 2.0)
        raise


def running(directory: Path) -> EmbeddedAws | None:
    """Return the embedded AWS of a directory if its process lives, is ours, and answers.

    That it is ours is certain once it answers: only the server of this directory has the key that belongs to the
    certificate there.
    """
    layout = Layout(directory.resolve())
    record = Record.read(layout.record)
    if record is None or not _lives(record.pid):
        return None
    found = _describe(layout, record)
    return found if _answers(found) else None


def stop(directory: Path, timeout: float = 10.0) -> None:
    """Stop the embedded AWS of a directory and let it save its state; do nothing if none runs.

    Args:
        directory: what was given to `start`.
        timeout: seconds to wait before the process is killed, which loses the state since its start.

    Raises:
        EmbeddedAwsError: when the process cannot be stopped.

    """
    layout = Layout(directory.resolve())
    record = Record.read(layout.record)
    # A process that does not answer may still be ours; its command line tells, where the system shows it.
    if record is None or not _lives(record.pid) or not (_is_server(record.pid, layout) or running(directory)):
        return
    if not _end(record.pid, timeout):
        raise EmbeddedAwsError(f"process {record.pid} did not end; look at it with: ps -fp {record.pid}")


def create_deployer(
    aws: EmbeddedAws, policy: Mapping[str, Any] | Sequence[Mapping[str, Any]], name: str = "deployer"
) -> Credentials:
    """Create an IAM user that deploys, or update the policies of the one that exists, and return its access key.

    The key is kept in the directory of the embedded AWS, where only its owner can read it, and used again as long as it
    is valid.

    Args:
        aws: a running embedded AWS.
        policy: one policy document or several; each becomes a separate managed policy.
        name: name of the user.

    Raises:
        EmbeddedAwsError: when a policy is longer than AWS allows, or IAM refuses.

    """
    documents = [policy] if isinstance(policy, Mapping) else list(policy)
    texts = [json.dumps(document, separators=(",", ":")) for document in documents]
    for number, text in enumerate(texts, start=1):
        if len(text) > MANAGED_POLICY_LIMIT_CHARACTERS:
            raise EmbeddedAwsError(
                f"policy {number} of {name} has {len(text)} characters; AWS allows {MANAGED_POLICY_LIMIT_CHARACTERS} "
                "in a managed policy. Split it."
            )
    return _Deployer(aws, name).ensure(texts)


def choose_port(layout: Layout) -> int:
    """Choose the port of the last start if it is free, else a free one."""
    record = Record.read(layout.record)
    for port in (record.port if record else 0, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((LOOPBACK, port))
                probe.listen()
                chosen: int = probe.getsockname()[1]
                return chosen
    raise EmbeddedAwsError(f"no port is free on {LOOPBACK}")


def read_credentials(file: Path) -> Credentials | None:
    """Read an access key; None if there is no file, or it has no access key."""
    try:
        return Credentials(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_credentials(file: Path, credentials: Credentials) -> None:
    """Write an access key to a file that only its owner can read."""
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        json.dump(credentials.__dict__, opened)


def _describe(layout: Layout, record: Record) -> EmbeddedAws:
    return EmbeddedAws(
        endpoint_url=f"https://{LOOPBACK}:{record.port}",
        plain_http_url=f"http://{LOOPBACK}:{record.plain_http_port}",
        proxy_url=f"http://{LOOPBACK}:{record.proxy_port}",
        pid=record.pid,
        directory=layout.directory,
        ca_bundle=layout.ca_bundle,
        region=record.region,
    )


def _lives(pid: int) -> bool:
    if pid in _children:
        if _children[pid].poll() is None:
            return True
        del _children[pid]
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        # A process that ended keeps its id until its parent, some other test run, asks for it.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True


def _is_server(pid: int, layout: Layout) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return _SERVER in command and str(layout.directory) in command


def _answers(aws: EmbeddedAws) -> bool:
    try:
        trust = ssl.create_default_context(cafile=str(aws.ca_bundle))
        with urllib.request.urlopen(  # noqa: S310 - the URL is ours
            aws.endpoint_url + HEALTH_PATH, timeout=ANSWER_TIMEOUT_SECONDS, context=trust
        ) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _wait_until_ready(process: "subprocess.Popen[bytes]", layout: Layout, deadline_seconds: float) -> EmbeddedAws:
    deadline = time.monotonic() + deadline_seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise EmbeddedAwsError(_failed_to_start(f"ended with exit code {process.returncode}", layout))
        record = Record.read(layout.record)
        if record is not None and record.pid == process.pid:
            found = _describe(layout, record)
            if _answers(found):
                return found
        time.sleep(POLL_SECONDS)
    raise EmbeddedAwsError(_failed_to_start(f"did not answer within {deadline_seconds:g} s", layout))


def _failed_to_start(what: str, layout: Layout) -> str:
    try:
        lines = layout.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES_IN_ERRORS:]
    except OSError:
        lines = []
    log = "\n".join(f"  {line}" for line in lines) or "  (nothing)"
    return f"the embedded AWS {what}. Its last words:\n{log}\n{remedy(lines)} The whole log: {layout.log}"


def remedy(log: Sequence[str]) -> str:
    """Return advice about a server that did not start, from its log."""
    text = "\n".join(log)
    if f"ModuleNotFoundError: No module named '{_PACKAGE.partition('.')[0]}'" in text:
        return f"The server has to run in the folder {_FOLDER}."
    if "ModuleNotFoundError" in text:
        return "Run `make setup`: the interpreter of the server lacks what [embedded-aws] in the Pipfile names."
    if "cannot listen on" in text:
        return "Stop what holds the port, or start without a port to get a free one."
    if "already serves" in text:
        return "Stop that process; it may still be starting or stopping."
    if "does not fit ministack" in text:
        return "Run `make setup`, which installs the version of ministack that the Pipfile names."
    return "If the log does not say why, delete the directory's state and start again."


def _end(pid: int, timeout: float) -> bool:
    """Ask a process to end, then kill it; return whether it has ended."""
    for signum, patience in ((signal.SIGTERM, timeout), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
        deadline = time.monotonic() + patience
        while _lives(pid):
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        else:
            return True
    return False


class _Deployer:
    """One IAM user and the file that keeps its access key."""

    def __init__(self, aws: EmbeddedAws, name: str) -> None:
        import boto3  # only here: whoever only starts and stops needs no SDK

        self._aws, self._name = aws, name
        self._file = Layout(aws.directory).deployer
        if name != "deployer":
            self._file = self._file.with_name(f"{name}.json")
        options: dict[str, Any] = {
            "endpoint_url": aws.endpoint_url,
            "verify": str(aws.ca_bundle),
            "region_name": aws.region,
        }
        self._options = options
        self._boto3: Any = boto3
        self._iam = self._client("iam", ROOT)

    def ensure(self, policies: Sequence[str]) -> Credentials:
        import botocore.exceptions

        try:
            self._ensure_user()
            self._ensure_policies(policies)
            return self._ensure_key()
        except botocore.exceptions.ClientError as error:
            raise EmbeddedAwsError(f"cannot create the user {self._name}: {error}") from error

    def _client(self, service: str, key: Credentials) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        return self._boto3.client(
            service, aws_access_key_id=key.access_key, aws_secret_access_key=key.secret_key, **self._options
        )

    def _ensure_user(self) -> None:
        with contextlib.suppress(self._iam.exceptions.EntityAlreadyExistsException):
            self._iam.create_user(UserName=self._name)

    def _ensure_policies(self, policies: Sequence[str]) -> None:
        attached = self._iam.list_attached_user_policies(UserName=self._name)["AttachedPolicies"]
        for policy in attached:
            self._iam.detach_user_policy(UserName=self._name, PolicyArn=policy["PolicyArn"])
            for version in self._iam.list_policy_versions(PolicyArn=policy["PolicyArn"])["Versions"]:
                if not version["IsDefaultVersion"]:
                    self._iam.delete_policy_version(PolicyArn=policy["PolicyArn"], VersionId=version["VersionId"])
            self._iam.delete_policy(PolicyArn=policy["PolicyArn"])
        for number, text in enumerate(policies, start=1):
            made = self._iam.create_policy(PolicyName=f"{self._name}-{number}", PolicyDocument=text)
            self._iam.attach_user_policy(UserName=self._name, PolicyArn=made["Policy"]["Arn"])

    def _ensure_key(self) -> Credentials:
        known = read_credentials(self._file)
        existing = {key["AccessKeyId"] for key in self._iam.list_access_keys(UserName=self._name)["AccessKeyMetadata"]}
        if known is not None and known.access_key in existing:
            return known
        for key in existing:
            self._iam.delete_access_key(UserName=self._name, AccessKeyId=key)
        made = self._iam.create_access_key(UserName=self._name)["AccessKey"]
        credentials = Credentials(made["AccessKeyId"], made["SecretAccessKey"])
        write_credentials(self._file, credentials)
        return credentials
