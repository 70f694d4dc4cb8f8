"""Costs of the functions: their start, and their own part of an invocation."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from functions.common.contract import State, object_key
from synthesis.paths import ROOT
from tools.bench import cgroup
from tools.bench.measuring import RUNS, Result, Section, environment, in_turns, median_seconds, percentile, run
from tools.bench.measuring import Run as Measured
from tools.capacity.assumptions import Assumptions
from tools.develop.judges import resolved
from tools.develop.layers import host_runtime, make_layer
from tools.develop.setup import LAMBDA
from tools.operate.console import Failure
from tools.operate.prices import prices
from tools.operate.synthesize import synthesize, terraform_json

Progress = Callable[[str], None]

CALLS = 1000
"""Of a handler in one process, of which there are as many as there are runs."""

CONTENT = b"x" * 16 * 1024
FILE_ID = "0b9a1a52-6a43-4b0f-9e1e-5f2a7f8f7a10"
OWNER = "6f1e0c6e"

# Lambda, "Configure Lambda function memory": at this many MB a function has one vCPU, below it a share.
ONE_VCPU_MB = 1769
SIZES = (128, 256, 512, 1024, 1769)
# What is assumed of an upload: AWS takes this long to answer, and one invocation in a hundred starts an environment.
AWS_SECONDS = 0.04
COLD_SHARE = Assumptions().cold_share


@dataclass(frozen=True)
class Case:
    """An invocation that is measured.

    Attributes:
        function: its folder.
        event: what it gets.
        status: what it answers.
        answers: what AWS answers it, by operation; nothing where the operation is not here.
    """

    function: str
    event: Mapping[str, Any]
    status: int = 200
    answers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Invocations:
    """Measurements of a handler in microseconds: each call without its AWS calls, and the average with them.

    Attributes:
        cpu: of the processor, with what boto3 does for the AWS calls.
        wall: the same as it passed; AWS itself takes no time here.
        peak_kib: the most memory that the process had.
    """

    took: list[float]
    said: Any
    calls: list[str]
    cpu: float
    wall: float
    peak_kib: int


def api_event(method: str, path: str, body: str | None = None, *, resource: str = "") -> dict[str, Any]:
    """Return the event of API Gateway (API Gateway, "Input format of a Lambda function for proxy integration")."""
    headers = {"Content-Type": "application/json", "Accept": "*/*", "User-Agent": "bench", "Host": "api.example.com"}
    return {
        "resource": resource or path,
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "accountId": "111111111111",
            "apiId": "abc123",
            "authorizer": {"claims": {"sub": OWNER}},
            "domainName": "abc123.execute-api.us-east-1.amazonaws.com",
            "httpMethod": method,
            "identity": {"sourceIp": "192.0.2.1"},
            "path": f"/v1{path}",
            "requestId": "request-1",
            "resourcePath": resource or path,
            "stage": "v1",
        },
        "body": body,
        "isBase64Encoded": False,
    }


_ITEM = {
    "file_id": {"S": FILE_ID},
    "owner": {"S": f"user:{OWNER}"},
    "file_name": {"S": "report.pdf"},
    "content_type": {"S": "application/pdf"},
    "size": {"N": str(len(CONTENT))},
    "checksum": {"S": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
    "object_key": {"S": object_key(FILE_ID)},
    "state": {"S": State.AVAILABLE},
    "upload_time": {"S": "2026-01-01T00:00:00.000+00:00"},
    "file_url": {"S": f"https://api.example.com/v1/files/{FILE_ID}/content"},
}
UPLOAD = json.dumps({"file_name": "report.pdf", "file_content": base64.b64encode(CONTENT).decode()})
START = json.dumps(
    {
        "file_name": "report.pdf",
        "size": len(CONTENT),
        "content_type": "application/pdf",
        "checksum": base64.b64encode(hashlib.sha256(CONTENT).digest()).decode(),
    }
)
CONTENT_PATH = f"/files/{FILE_ID}/content"
CASES = (
    Case("upload", api_event("POST", "/upload", UPLOAD)),
    Case("uploads", api_event("POST", "/uploads", START), 201),
    Case("files", api_event("GET", CONTENT_PATH), answers={"GetItem": {"Item": _ITEM}}),
)


@dataclass(frozen=True)
class Deployed:
    """The functions as Lambda unpacks them.

    Attributes:
        names: the functions that are deployed.
        path: their code and their layer.
        variables: what each finds in its environment.
    """

    path: str
    variables: Mapping[str, Mapping[str, str]]

    @property
    def names(self) -> list[str]:
        """The names of the functions."""
        return sorted(self.variables)

    def environment(self, name: str, **more: str) -> dict[str, str]:
        """Return the variables of a process that runs a function."""
        aws = {
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "example",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{host_runtime()[0]}",
            "AWS_LAMBDA_FUNCTION_NAME": "bench",
        }
        return environment(**aws, **self.variables.get(name, {}), PYTHONPATH=self.path, **more)


@contextmanager
def deployed() -> Iterator[Deployed]:
    """Unpack the functions and their layer, and read their variables from the Terraform JSON.

    With the tokens of an issuer of one's own, so that the authorizer is there too.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        issuer = {"API_AUTHORIZATION": "jwt", "JWT_ISSUER": "https://issuer.example", "JWT_AUDIENCE": "bench"}
        stack = terraform_json(synthesize(folder / "out", {"ENVIRONMENT": "dev", **issuer}))
        with zipfile.ZipFile(make_layer(*host_runtime())) as layer:
            layer.extractall(folder / "layer")
        shutil.copytree(ROOT / "functions", folder / "code" / "functions", ignore=shutil.ignore_patterns("__pycache__"))
        functions = stack["resource"]["aws_lambda_function"].values()
        variables = {
            str(body["handler"]).split(".")[1]: {
                variable: resolved(str(value), stack) for variable, value in body["environment"]["variables"].items()
            }
            for body in functions
        }
        yield Deployed(os.pathsep.join([str(folder / "code"), str(folder / "layer" / "python")]), variables)


def imports(progress: Progress) -> Section:
    """Measure the imports of a cold start: a new interpreter imports the handler."""
    results = []
    with deployed() as functions:
        baseline = "import boto3; boto3.client('s3')"
        for deployed_as, variables in (
            ("with byte code", {}),
            ("as deployed, without byte code", {"PYTHONDONTWRITEBYTECODE": "1"}),
        ):
            if variables:
                _remove_byte_code(functions)
            for name in functions.names:
                ours, boto3 = in_turns(
                    partial(_python, functions, name, f"import functions.{name}.handler", variables),
                    partial(_python, functions, name, baseline, variables),
                    runs=11,
                )
                progress(f"{name} {deployed_as}")
                results.append(
                    Result(
                        f"import of `{name}`, {deployed_as}",
                        "`import boto3` and one client",
                        median_seconds(ours) * 1000,
                        median_seconds(boto3) * 1000,
                        "ms",
                        1.25,
                    )
                )
        notes = ["Modules that take the longest, with byte code, in ms with what they import in turn:", ""]
        notes += ["| function | modules |", "|---|---|"]
        notes += [f"| `{name}` | {_slowest(functions, name)} |" for name in functions.names]
    return Section("Start of the functions", results, notes)


def _python(functions: Deployed, name: str, code: str, variables: Mapping[str, str]) -> Measured:
    return run([LAMBDA.python, "-c", code], variables=functions.environment(name, **variables))


def _remove_byte_code(functions: Deployed) -> None:
    for folder in functions.path.split(os.pathsep):
        for found in list(Path(folder).rglob("__pycache__")):
            shutil.rmtree(found)


def _slowest(functions: Deployed, name: str) -> str:
    """Return the packages that take the most time of an import, by Python's `-X importtime`."""
    done = subprocess.run(
        [LAMBDA.python, "-X", "importtime", "-c", f"import functions.{name}.handler"],
        env=functions.environment(name),
        capture_output=True,
        text=True,
        check=True,
    )
    cumulative: dict[str, int] = {}
    for line in done.stderr.splitlines():
        cells = line.removeprefix("import time:").split("|")
        if len(cells) == 3 and cells[1].strip().isdigit():
            module = cells[2].strip()
            if module.count(".") <= 1 and not module.startswith(("functions", "_")):
                cumulative[module] = int(cells[1]) // 1000
    top = sorted(cumulative.items(), key=lambda pair: -pair[1])
    whole = {module for module, _ in top}
    shown = [
        (module, ms) for module, ms in top if module.partition(".")[0] == module or module.split(".")[0] not in whole
    ]
    return ", ".join(f"{module} {ms}" for module, ms in shown[:6])


def invoke(
    functions: Deployed,
    case: Case,
    module: str,
    attribute: str = "handler",
    *,
    count: int = CALLS,
    group: Path | None = None,
) -> Invocations:
    """Call a handler many times in a separate process.

    Raises:
        Failure: it fails, or answers something else than the case expects.
    """
    script = ROOT / "tools" / "bench" / "inside_lambda.py"
    given = json.dumps({"event": case.event, "answers": case.answers, "count": count})
    path = os.pathsep.join([functions.path, str(ROOT / "tools" / "bench" / "peers")])
    done = subprocess.run(
        cgroup.inside(group, [LAMBDA.python, "-P", script, module, attribute]),
        input=given,
        env=functions.environment(case.function) | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failure(f"calling {module}", done.stderr.strip().splitlines()[-1], "see tools/bench/lambda_functions.py")
    answer = Invocations(**json.loads(done.stdout.splitlines()[-1]))
    if answer.said["statusCode"] not in {case.status, 200}:
        raise Failure(f"calling {module}", f"it answered {answer.said}", "give it an event that it takes, in CASES")
    return answer


def handlers(progress: Progress) -> Section:
    """Measure a warm handler without its AWS calls."""
    results, calls = [], []
    with deployed() as functions:
        for case in CASES:
            module = f"functions.{case.function}.handler"
            peers = {
                "a handler that only parses and answers": "handler",
                "the same with Powertools": "with_powertools",
            }
            answers = in_turns(
                partial(invoke, functions, case, module),
                *(partial(invoke, functions, case, "parse_and_answer", each) for each in peers.values()),
                warm_up=False,
                progress=progress,
            )
            at = {
                share: [statistics.median(percentile(each.took, share) for each in side) for side in answers]
                for share in (0.5, 0.99)
            }
            for number, peer in enumerate(peers, start=1):
                results += [
                    Result(
                        f"`{case.function}` without its AWS calls, p{share * 100:.0f}",
                        peer,
                        figures[0],
                        figures[number],
                        "µs",
                        2,
                    )
                    for share, figures in at.items()
                ]
            calls.append(f"| `{case.function}` | {', '.join(answers[0][0].calls)} |")
    notes = ["AWS calls of one invocation:", "", "| function | calls |", "|---|---|", *calls]
    return Section("Handlers", results, notes)


def memory(progress: Progress) -> Section:
    """Measure start and invocation of `upload` for each memory size, and compute the price of a million invocations.

    Lambda gives a function processor time in proportion to its memory; a control group does the same here. Python
    uses one processor, so more than one is of no use to it.
    """
    case = CASES[0]
    module = f"functions.{case.function}.handler"
    rows, peak, method = [], 0.0, "measured in a control group with that share of a processor"
    with deployed() as functions:
        _remove_byte_code(functions)
        variables = functions.environment(case.function, PYTHONDONTWRITEBYTECODE="1")
        for size in SIZES:
            share = min(1.0, size / ONE_VCPU_MB)
            with cgroup.share(share) as group:
                start = cgroup.inside(group, [LAMBDA.python, "-c", f"import {module}"])
                starts = [run(start, variables=variables) for _ in range(RUNS)]
                invocations = [invoke(functions, case, module, count=CALLS // 10, group=group) for _ in range(RUNS)]
            cold = median_seconds(starts)
            warm = statistics.median(each.wall for each in invocations) / 1e6
            if group is None:
                method = "computed from a whole processor's time, since no control group could be made"
                cold, warm = cold / share, warm / share
            peak = max(peak, *(each.peak_kib / 1024 for each in invocations))
            billed = warm + AWS_SECONDS + COLD_SHARE * cold
            dollars = {
                name: prices()["lambda_request"].of(1e6) + prices()[f"lambda_{name}"].of(1e6 * billed * size / 1024)
                for name in ("arm64", "x86_64")
            }
            rows.append(
                f"| {size:,} | {share:.2f} | {cold * 1000:,.0f} ms | {warm * 1000:.1f} ms | "
                f"{dollars['arm64']:.2f} | {dollars['x86_64']:.2f} |"
            )
            progress(f"{size} MiB")
    return Section(
        "Memory and processor of the functions",
        [],
        [
            "| MiB | processors | start | own part of an invocation | a million, arm64, $ | a million, x86_64, $ |",
            "|---:|---:|---:|---:|---:|---:|",
            *rows,
            "",
            f"`{case.function}`, 16 KiB of content, {method}, on {host_runtime()[1]}. *Start* is the import of the "
            "handler as deployed, without byte code; the runtime's own start comes on top. *Own part* is with what "
            f"boto3 does for the AWS calls. A million is billed with {AWS_SECONDS * 1000:.0f} ms for AWS's answers and "
            f"a start in {1 / COLD_SHARE:.0f} invocations, both assumed. The process took {peak:.0f} MiB at most.",
        ],
    )
