"""The deployed platform on the embedded AWS: its API under load, the AWS calls of an upload, and a second `make up`."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import math
import os
import ssl
import statistics
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSRequest

from synthesis.paths import ROOT
from tools.bench.measuring import RUNS, Result, Section, percentile
from tools.develop.local import Api, LocalSystem, upload_one_file
from tools.embedded_aws import control
from tools.embedded_aws.control import EmbeddedAws
from tools.operate.console import Failure
from tools.operate.terraform import Terraform, cli_configuration, find_program

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient

Progress = Callable[[str], None]

CLIENTS = (1, 8, 32)
SECONDS = 3.0
"""Of load in each run."""

BODY = json.dumps({"file_name": "small.txt", "file_content": base64.b64encode(b"x" * 1024).decode()}).encode()
# The API is not to be slowed down by its own throttle, and many functions that start at once take their time here.
UNTHROTTLED = {"API_THROTTLE_RATE": "10000", "API_THROTTLE_BURST": "5000", "LAMBDA_TIMEOUT": "29"}
WARM_UPS = 5
WORKFLOW_SECONDS = 60
# After so long without a decision of IAM, the workflow is over: it retries nothing here.
QUIET_SECONDS = 3.0


@dataclass(frozen=True)
class System:
    """The deployed platform."""

    system: LocalSystem
    aws: EmbeddedAws
    terraform: Terraform
    api: Api
    iam_log: Path

    def decisions(self) -> list[dict[str, Any]]:
        """Return the decisions of IAM, in order."""
        return [json.loads(line) for line in self.iam_log.read_text().splitlines()]


@contextmanager
def deployed(settings: Mapping[str, str] | None = None) -> Iterator[System]:
    """Deploy to a separate embedded AWS; stop it at the end.

    Args:
        settings: more settings, by the names of their variables.
    """
    cli_configuration()
    with tempfile.TemporaryDirectory() as name, _variables({**UNTHROTTLED, **(settings or {})}):
        folder = Path(name)
        iam_log = folder / "iam.jsonl"
        system = LocalSystem(folder / "local", find_program())
        try:
            aws = system.start(iam_log=iam_log)
            system.bootstrap(aws)
            terraform = system.synthesize(aws)
            system.apply(terraform)
            yield System(system, aws, terraform, system.api(aws, terraform), iam_log)
        finally:
            system.stop()


@contextmanager
def _variables(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def api(progress: Progress) -> Section:
    """Compare POST /upload with bare functions behind the same API."""
    results = []
    with deployed() as system:
        stop_workflows(system)
        paths = {
            "a bare function that makes the same AWS calls": add_function(system, "store_and_answer"),
            "a bare function that makes none": add_function(system, "parse_and_answer"),
        }
        for clients in CLIENTS:
            loads: dict[str, list[Load]] = {path: [] for path in ("/upload", *paths.values())}
            for path in loads:
                warm_up(system.api, path, clients)
            for number in range(RUNS):
                for path, kept in loads.items():
                    kept.append(load(system.api, path, clients, SECONDS))
                progress(f"{clients} clients, {number + 1} of {RUNS}")
            ours = loads["/upload"]
            with_clients = f"POST /upload, {clients} client{'s' if clients > 1 else ''}"
            for peer, path in paths.items():
                theirs = loads[path]
                for share in (0.5, 0.99):
                    results.append(
                        Result(
                            f"{with_clients}, p{share * 100:.0f}",
                            peer,
                            _median(ours, lambda each, share=share: each.at(share)),  # type: ignore[misc]
                            _median(theirs, lambda each, share=share: each.at(share)),  # type: ignore[misc]
                            "ms",
                            1.3,
                        )
                    )
                results.append(
                    Result(
                        f"{with_clients}, requests a second",
                        peer,
                        _median(ours, lambda each: each.rate),
                        _median(theirs, lambda each: each.rate),
                        "/s",
                        0.8,
                        more_is_better=True,
                    )
                )
    return Section("API on the embedded AWS", results)


@dataclass(frozen=True)
class Load:
    """The result of a load: milliseconds of each request, and requests a second of all."""

    milliseconds: Sequence[float]
    rate: float

    def at(self, share: float) -> float:
        """Return the milliseconds that this share of requests did not exceed."""
        return percentile(self.milliseconds, share)


def _median(loads: Sequence[Load], of: Callable[[Load], float]) -> float:
    return statistics.median(of(each) for each in loads)


def warm_up(api: Api, path: str, clients: int) -> None:
    """Load the API with more and more clients, until enough functions run and every answer is right.

    Raises:
        Failure: it does not come to that.
    """
    for fewer in range(int(math.log2(clients))):
        with suppress(Failure):
            load(api, path, 2**fewer, SECONDS)
    for left in reversed(range(WARM_UPS)):
        try:
            load(api, path, clients, SECONDS)
        except Failure:
            if not left:
                raise
        else:
            return


def load(api: Api, path: str, clients: int, seconds: float) -> Load:
    """Send requests for some seconds: each client sends the next one after the answer, over its own connection.

    Raises:
        Failure: an answer is not 200.
    """
    took: list[float] = []
    wrong: list[str] = []
    ends = time.perf_counter() + seconds

    def client() -> None:
        address = urlsplit(api.url)
        trust = ssl.create_default_context(cafile=str(api.aws.ca_bundle))
        connection = http.client.HTTPSConnection(str(address.hostname), address.port, context=trust, timeout=60)
        request = AWSRequest("POST", f"{api.url}{path}", data=BODY, headers={"Content-Type": "application/json"})
        api.caller.sign(request)
        headers = dict(request.headers.items())
        try:
            while time.perf_counter() < ends and not wrong:
                started = time.perf_counter()
                connection.request("POST", f"{address.path}{path}", body=BODY, headers=headers)
                answer = connection.getresponse()
                said = answer.read()
                took.append((time.perf_counter() - started) * 1000)
                if answer.status != 200:
                    wrong.append(f"{answer.status} {said[:200].decode(errors='replace')}")
        except (OSError, http.client.HTTPException) as error:
            wrong.append(f"{type(error).__name__}: {error}")
        finally:
            connection.close()

    started = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong or not took:
        raise Failure(f"calling {path}", wrong[0] if wrong else "no answer", "see the log of the embedded AWS")
    return Load(took, len(took) / (time.perf_counter() - started))


def stop_workflows(system: System) -> None:
    """Disable the rules that start workflows.

    Callers do not wait for one, and AWS runs it elsewhere. Here the workflow of each upload, two cold starts of
    `inspect` in it, would take the processors from the clients, and soon every answer would be late.
    """
    events: EventBridgeClient = boto3.client("events", **root_options(system.aws))  # type: ignore[call-overload]
    for rule in events.list_rules()["Rules"]:
        events.disable_rule(Name=rule["Name"])


def root_options(aws: EmbeddedAws) -> dict[str, str]:
    """Return the arguments of boto3 for the account's root, whom no policy binds."""
    return {
        "endpoint_url": aws.endpoint_url,
        "verify": str(aws.ca_bundle),
        "region_name": aws.region,
        "aws_access_key_id": control.ROOT.access_key,
        "aws_secret_access_key": control.ROOT.secret_key,
    }


def add_function(system: System, name: str) -> str:
    """Add a program of the peers as a function behind the deployed API, with role and variables of `upload`; return its
    path.
    """
    root = root_options(system.aws)
    functions: LambdaClient = boto3.client("lambda", **root)  # type: ignore[call-overload]
    gateway: APIGatewayClient = boto3.client("apigateway", **root)  # type: ignore[call-overload]
    upload = functions.get_function_configuration(FunctionName="sluice-local-upload")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.write(ROOT / "tools" / "bench" / "peers" / f"{name}.py", f"{name}.py")
    made = functions.create_function(
        FunctionName=f"bench-{name.replace('_', '-')}",
        Runtime=upload["Runtime"],
        Architectures=upload["Architectures"],
        Role=upload["Role"],
        Handler=f"{name}.handler",
        Code={"ZipFile": archive.getvalue()},
        MemorySize=upload["MemorySize"],
        Timeout=upload["Timeout"],
        Environment={"Variables": upload["Environment"]["Variables"]},
    )
    (rest_api,) = (each["id"] for each in gateway.get_rest_apis()["items"] if each["name"].startswith("sluice-local"))
    resources = {each["path"]: each for each in gateway.get_resources(restApiId=rest_api, limit=500)["items"]}
    method = gateway.get_method(restApiId=rest_api, resourceId=resources["/upload"]["id"], httpMethod="POST")
    path = name.replace("_", "-")
    resource = gateway.create_resource(restApiId=rest_api, parentId=resources["/"]["id"], pathPart=path)["id"]
    gateway.put_method(
        restApiId=rest_api,
        resourceId=resource,
        httpMethod="POST",
        authorizationType=method["authorizationType"],
        authorizerId=method.get("authorizerId", ""),
    )
    region, account = system.aws.region, made["FunctionArn"].split(":")[4]
    gateway.put_integration(
        restApiId=rest_api,
        resourceId=resource,
        httpMethod="POST",
        type="AWS_PROXY",
        integrationHttpMethod="POST",
        uri=f"arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{made['FunctionArn']}/invocations",
    )
    functions.add_permission(
        FunctionName=made["FunctionName"],
        StatementId="api",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:{region}:{account}:{rest_api}/*/*/*",
    )
    gateway.create_deployment(restApiId=rest_api, stageName=system.api.url.rpartition("/")[2])
    return f"/{path}"


def calls(progress: Progress) -> Section:
    """List the AWS calls from the request of a small upload to its notification, from the decisions of IAM."""
    notes = []
    with deployed() as system:
        for title, upload in (
            ("`POST /uploads` and the bytes to S3", upload_directly),
            ("`POST /upload`", upload_at_once),
        ):
            # Starts of functions, and keys that are fetched once, do not count.
            upload(system)
            before = len(_settled(system))
            upload(system)
            said = [each for each in _settled(system)[before:] if each["allowed"]]
            pairs = [(_role(str(each["principal"])), str(each["action"])) for each in said]
            count = sum(not action.startswith(("kms:", "logs:", "xray:")) for _, action in pairs)
            progress(f"{count} calls")
            times = Counter(pairs)
            notes += [
                f"{title}: {count} calls beside those to KMS, logs and traces, in the order in which each began.",
                "",
            ]
            notes += ["| who | call | times |", "|---|---|---:|"]
            notes += [f"| {role} | `{action}` | {times[role, action]} |" for role, action in dict.fromkeys(pairs)]
            notes.append("")
    return Section("AWS calls of a small upload", [], notes[:-1])


def upload_at_once(system: System) -> None:
    """Upload a small file in one request.

    Raises:
        Failure: the API refuses it.
    """
    status, answer = system.api.request("POST", "/upload", BODY)
    if status != 200:
        raise Failure("uploading", f"the API answered {status}: {answer[:200].decode()}", "see the log")


def upload_directly(system: System) -> None:
    """Upload a small file with a form of S3.

    Raises:
        Failure: the API or S3 refuses it.
    """
    content = b"x" * 1024
    checksum = base64.b64encode(hashlib.sha256(content).digest()).decode()
    declared = {"file_name": "small.txt", "size": len(content), "content_type": "text/plain", "checksum": checksum}
    status, answer = system.api.request("POST", "/uploads", json.dumps(declared).encode())
    if status == 201:
        form = json.loads(answer)["post"]
        boundary = "a-part-of-a-small-upload"
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in form["fields"].items()
        )
        head += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="small.txt"\r\n\r\n'
        body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        request = urllib.request.Request(form["url"], body, headers, method="POST")  # noqa: S310 - the API's own link
        status, answer = system.api.fetch(request)
    if status not in {200, 204}:
        raise Failure("uploading", f"the answer was {status}: {answer[:200].decode()}", "see the log")


def _settled(system: System) -> list[dict[str, Any]]:
    """Return the decisions of IAM, when the workflow of the last upload is over.

    Raises:
        Failure: it does not come to an end.
    """
    deadline = time.monotonic() + WORKFLOW_SECONDS
    said = system.decisions()
    while True:
        time.sleep(QUIET_SECONDS)
        now = system.decisions()
        if len(now) == len(said) and said[-1]["action"] not in {"states:StartExecution", "s3:PutObject"}:
            return now
        if time.monotonic() > deadline:
            raise Failure("waiting for a workflow", "IAM is asked for ever", "see the log of the embedded AWS")
        said = now


def _role(principal: str) -> str:
    """Return the name of a role without session, account, environment and region."""
    name = principal.rpartition("assumed-role/")[2].partition("/")[0]
    return name.removeprefix("sluice-local-").removesuffix("-us-east-1") or principal


def second_up(progress: Progress) -> Section:
    """Measure `make up` without changes, against the first `make up` on the same machine."""
    cli_configuration()
    firsts, seconds = [], []
    for number in range(RUNS):
        with tempfile.TemporaryDirectory() as name:
            system = LocalSystem(Path(name) / "local", find_program())
            try:
                firsts.append(_up(system))
                seconds.append(_up(system))
            finally:
                system.stop()
        progress(f"{number + 1} of {RUNS}")
    first, second = statistics.median(firsts), statistics.median(seconds)
    return Section("`make up`", [Result("second `make up`, nothing changed", "the first", second, first, "s", 0.15)])


def _up(system: LocalSystem) -> float:
    started = time.perf_counter()
    aws = system.start()
    system.bootstrap(aws)
    terraform = system.synthesize(aws)
    changes = system.apply(terraform)
    api = system.api(aws, terraform)
    if changes:
        upload_one_file(api, ROOT / "README.md")
    api.request("GET", "/health", signed=False)
    return time.perf_counter() - started
