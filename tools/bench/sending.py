"""Large files to the embedded AWS: the client against `aws s3 cp`, and the client for browsers against bare `fetch`."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import mimetypes
import os
import secrets
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psutil
from playwright.sync_api import Browser, sync_playwright

from synthesis.paths import ROOT
from tools.bench.api import System, deployed, root_options, stop_workflows
from tools.bench.measuring import Peak, Result, Run, Section, environment, in_turns, median_mib, median_seconds, run
from tools.develop.browser import accepting
from tools.develop.browser import browser as find_browser
from tools.develop.caller import Bearer
from tools.develop.setup import AWS_CLI, prepare
from tools.embedded_aws import control
from tools.operate.console import Failure
from tools.operate.console import run as run_quietly

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Progress = Callable[[str], None]

PART_BYTES = 8 * 2**20
PARALLEL = 4
SIZES = {"300 MB": 300_000_000, "1 GiB": 2**30}
BROWSER_BYTES = SIZES["300 MB"]
PAGE = ROOT / "tools" / "bench" / "page"
CLIENT = ROOT / "clients" / "javascript"
# Nothing here uses the page for people.
WITHOUT_PAGE = {"ENABLE_WEBSITE": "false"}
_RANDOM_BYTES = 2**20


class LargeFile:
    """A file of random bytes."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        with path.open("wb") as file:
            for at in range(0, size, _RANDOM_BYTES):
                file.write(os.urandom(min(_RANDOM_BYTES, size - at)))

    def change(self) -> None:
        """Change the first bytes: the same file would be the upload that is there already."""
        with self.path.open("r+b") as file:
            file.write(secrets.token_bytes(32))

    def checksums(self) -> list[str]:
        """Return the SHA-256 of each part as S3 writes it."""
        with self.path.open("rb") as file:
            parts = iter(partial(file.read, PART_BYTES), b"")
            return [base64.b64encode(hashlib.sha256(part).digest()).decode() for part in parts]


class Bucket:
    """The bucket of the deployed platform. The embedded AWS keeps objects in memory, so each is deleted."""

    def __init__(self, system: System) -> None:
        self.name = system.api.outputs["bucket_name"]
        self._s3: S3Client = boto3.client("s3", **root_options(system.aws))  # type: ignore[call-overload]

    @property
    def key_arn(self) -> str:
        """The KMS key under which its objects are encrypted."""
        [rule] = self._s3.get_bucket_encryption(Bucket=self.name)["ServerSideEncryptionConfiguration"]["Rules"]
        return rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"]

    def empty(self) -> None:
        """Delete all versions of all objects, and the parts that were not put together."""
        listed = self._s3.list_object_versions(Bucket=self.name)
        for version in listed.get("Versions", []):
            self._s3.delete_object(Bucket=self.name, Key=version["Key"], VersionId=version["VersionId"])
        for marker in listed.get("DeleteMarkers", []):
            self._s3.delete_object(Bucket=self.name, Key=marker["Key"], VersionId=marker["VersionId"])
        for upload in self._s3.list_multipart_uploads(Bucket=self.name).get("Uploads", []):
            self._s3.abort_multipart_upload(Bucket=self.name, Key=upload["Key"], UploadId=upload["UploadId"])


def others_at_work() -> str:
    """Return a sentence on how busy the machine is, since these figures need both of its processors."""
    return f"The machine had a load of {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors when it began."


def token_of(system: System) -> str:
    """Return the token of the system's caller.

    Raises:
        Failure: the API takes no tokens.
    """
    caller = system.api.caller
    if not isinstance(caller, Bearer):
        raise Failure("make bench", "the API takes signatures", "use `cognito` as API_AUTHORIZATION")
    return caller.token


# The client against `aws s3 cp`


def aws_cli(progress: Progress) -> Section:
    """Measure the client against `aws s3 cp`, until a file is put together in the bucket."""
    prepare(AWS_CLI)
    results, busy = [], others_at_work()
    with deployed(WITHOUT_PAGE) as system, tempfile.TemporaryDirectory() as name:
        # The workflow of a file would take the processors from the next run; the other side has none.
        stop_workflows(system)
        folder, bucket = Path(name), Bucket(system)
        variables = environment(NO_PROXY="*", no_proxy="*")
        ours = {
            **variables,
            "SLUICE_URL": system.api.url,
            "SLUICE_TOKEN": token_of(system),
            "SLUICE_CA_BUNDLE": str(system.aws.ca_bundle),
            "XDG_STATE_HOME": str(folder / "state"),
        }
        theirs = {**variables, **_user_of_aws_cli(system, bucket)}
        for size, count in SIZES.items():
            file = LargeFile(folder / "large.bin", count)
            send: list[str | Path] = [sys.executable, "-m", "sluice_client", "upload", "--wait", "0", file.path]
            copy: list[str | Path] = [AWS_CLI.python, "-m", "awscli", "s3", "cp", "--no-progress"]
            copy += ["--checksum-algorithm", "SHA256", file.path, f"s3://{bucket.name}/copies/large.bin"]

            def one(
                command: Sequence[str | Path],
                variables: dict[str, str],
                file: LargeFile = file,
                bucket: Bucket = bucket,
            ) -> Run:
                bucket.empty()
                file.change()
                return run(command, variables=variables)

            mine, peer = in_turns(partial(one, send, ours), partial(one, copy, theirs), progress=progress)
            against = "`aws s3 cp`, SHA-256"
            results.append(
                Result(f"{size} by the client", against, median_seconds(mine), median_seconds(peer), "s", 1.2)
            )
            what = f"{size} by the client, peak memory"
            results.append(Result(what, against, median_mib(mine), median_mib(peer), "MiB", 1.0))
    return Section("The client against `aws s3 cp`", results, [busy])


def _user_of_aws_cli(system: System, bucket: Bucket) -> dict[str, str]:
    """Return the variables of a user who may store objects: IAM decides on each request, as for the client's links."""
    statement = {
        "Effect": "Allow",
        "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
        "Resource": f"arn:aws:s3:::{bucket.name}/copies/*",
    }
    keys = {"Effect": "Allow", "Action": ["kms:GenerateDataKey", "kms:Decrypt"], "Resource": bucket.key_arn}
    policy = {"Version": "2012-10-17", "Statement": [statement, keys]}
    user = control.create_deployer(system.aws, policy, name="aws-cli")
    return system.aws.environment(user.access_key, user.secret_key)


# The client for browsers against bare `fetch`


@dataclass(frozen=True)
class Sent:
    """How a file was sent from a browser.

    Attributes:
        seconds: until S3 had the last byte.
        together_seconds: until the file was put together.
        memory_bytes: the most memory of the page above what it had before.
    """

    seconds: float
    together_seconds: float
    memory_bytes: int


def in_browser(progress: Progress) -> Section:
    """Measure the client in a browser against bare requests for the same parts."""
    busy = others_at_work()
    run_quietly(
        ["npm", "run", "--silent", "bundle"],
        doing="building the client for browsers",
        remedy="run `make javascript`",
        log=ROOT / ".build" / "logs" / "bench-bundle.log",
        cwd=CLIENT,
    )
    with (
        serving_page() as origin,
        deployed({**WITHOUT_PAGE, "CORS_ALLOWED_ORIGINS": json.dumps([origin])}) as system,
        tempfile.TemporaryDirectory() as name,
        sync_playwright() as playwright,
    ):
        stop_workflows(system)
        bucket, file = Bucket(system), LargeFile(Path(name) / "large.bin", BROWSER_BYTES)
        trust = accepting(system.aws.ca_bundle.parent / "server.pem")
        program = find_browser()
        chromium = playwright.chromium.launch(executable_path=program, args=[trust, "--no-proxy-server"])

        def one(bare: bool) -> Sent:
            bucket.empty()
            file.change()
            return _send(chromium, origin, system, file, bare=bare)

        ours, theirs = in_turns(partial(one, False), partial(one, True), progress=progress)
        version = chromium.version
        chromium.close()
    megabytes = BROWSER_BYTES / 1e6

    def rate(sent: Sequence[Sent], seconds: Callable[[Sent], float]) -> float:
        return megabytes / statistics.median(seconds(each) for each in sent)

    def memory(sent: Sequence[Sent]) -> float:
        return statistics.median(each.memory_bytes for each in sent) / 2**20

    against = "`fetch` of the same parts"
    mine, peer = (rate(sent, lambda each: each.seconds) for sent in (ours, theirs))
    mine_together, peer_together = (rate(sent, lambda each: each.together_seconds) for sent in (ours, theirs))
    in_flight = PARALLEL * PART_BYTES / 2**20
    size = sum(len(gzip.compress(each.read_bytes(), 9)) for each in (CLIENT / "dist").glob("*.js"))
    return Section(
        "300 MB from a browser",
        [
            Result("300 MB from a browser, until the last byte", against, mine, peer, "MB/s", 0.8, more_is_better=True),
            Result(
                "300 MB from a browser, until S3 has put them together",
                against,
                mine_together,
                peer_together,
                "MB/s",
                0.8,
                more_is_better=True,
            ),
            Result("memory of the page while it sends", "the parts in flight", memory(ours), in_flight, "MiB", 2),
        ],
        [
            f"Chromium {version}. The page of the bare requests took {memory(theirs):.0f} MiB. `@sluice/client` is "
            f"{size:,} bytes, compressed by gzip. {busy}",
        ],
    )


def _send(chromium: Browser, origin: str, system: System, file: LargeFile, *, bare: bool) -> Sent:
    """Send a file from a new page."""
    token, api = token_of(system), system.api.url
    context = chromium.new_context()
    try:
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.goto(f"{origin}/index.html")
        page.set_input_files("input", file.path)
        page.wait_for_function("() => window.withClient")
        if bare:
            links, complete = _links(system, file)
            arguments: list[Any] = [links, PART_BYTES, PARALLEL, complete, token]
        else:
            arguments = [api, token]
        with Peak(_memory_of_pages) as memory:
            took = page.evaluate(f"given => {'withFetch' if bare else 'withClient'}(...given)", arguments)
    finally:
        context.close()
    return Sent(took[0] / 1000, took[1] / 1000, memory.peak - memory.before)


def _links(system: System, file: LargeFile) -> tuple[list[dict[str, Any]], str]:
    """Start an upload; return links for all of its parts, and the address that completes it.

    Raises:
        Failure: the API refuses.
    """

    def call(path: str, body: object) -> dict[str, Any]:
        status, answer = system.api.request("POST", path, json.dumps(body).encode())
        if status not in {200, 201}:
            raise Failure("starting an upload", f"the API answered {status}: {answer[:200].decode()}", "see the log")
        found: dict[str, Any] = json.loads(answer)
        return found

    size = file.path.stat().st_size
    began = call("/uploads", {"file_name": file.path.name, "size": size, "content_type": "application/octet-stream"})
    path = f"/uploads/{began['file_id']}"
    parts = [{"part_number": number, "checksum": each} for number, each in enumerate(file.checksums(), 1)]
    return call(f"{path}/parts", {"parts": parts})["parts"], f"{system.api.url}{path}/complete"


def _memory_of_pages() -> int:
    """Return the memory of the processes that run pages, in bytes (proc(5): Pss of smaps_rollup)."""
    total = 0
    for each in psutil.Process().children(recursive=True):
        try:
            if "--type=renderer" in each.cmdline():
                total += each.memory_full_info().pss
        except psutil.Error:  # it ended meanwhile
            continue
    return total


@contextmanager
def serving_page() -> Iterator[str]:
    """Serve the page and the built client; yield the origin."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            folder, _, name = self.path.rpartition("/")
            file = (CLIENT / "dist" if folder == "/client" else PAGE) / name
            content = file.read_bytes() if file.is_file() else b""
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", mimetypes.guess_type(name)[0] or "application/octet-stream")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
