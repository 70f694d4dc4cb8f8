"""Runs a handler without AWS, in an interpreter with the packages of the Lambda runtime.

`python inside_lambda.py MODULE ATTRIBUTE` reads `{"event", "answers", "count"}` as JSON and calls the handler that many
times with the event. It prints what each call took without its AWS calls, and the last answer, the names of the AWS
calls of one invocation, its time and CPU time with what boto3 does for those calls, and the memory of the process.
Times are microseconds. What AWS would answer comes from `answers`, by operation: a request is made, and never sent.
It only needs the standard library, boto3 and the function.
"""

from __future__ import annotations

import copy
import importlib
import json
import os
import resource
import sys
import time
from types import SimpleNamespace
from typing import Any


class Context:
    """The context that Lambda passes to a handler."""

    function_name = "sluice-bench"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:111111111111:function:sluice-bench"
    aws_request_id = "11111111-2222-3333-4444-555555555555"

    def get_remaining_time_in_millis(self) -> int:
        """Return a long time."""
        return 15_000


class AwsCalls:
    """Answers to AWS calls from a table, with a record of the calls and of their time."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.names: list[str] = []
        self.nanoseconds = 0
        self._answers = answers

    def answer(self) -> None:
        """Replace the network in every client that is created from now on."""
        from botocore import client as botocore_client
        from botocore import endpoint as botocore_endpoint

        # Private names of the version that the lock pins; without them the measurement fails and nothing else does.
        clients: Any = botocore_client.BaseClient
        endpoints: Any = botocore_endpoint.Endpoint
        call = clients._make_api_call

        def timed(client: Any, operation: str, parameters: Any) -> Any:  # noqa: ANN401 - botocore's own
            self.names.append(f"{client.meta.service_model.service_name}:{operation}")
            started = time.perf_counter_ns()
            try:
                return call(client, operation, parameters)
            finally:
                self.nanoseconds += time.perf_counter_ns() - started

        def send(_: object, operation_model: Any, __: object) -> Any:  # noqa: ANN401 - botocore's own
            return SimpleNamespace(status_code=200, headers={}), copy.deepcopy(
                self._answers.get(operation_model.name, {})
            )

        clients._make_api_call = timed
        endpoints.make_request = send


def main(module: str, attribute: str) -> None:
    """Measure one handler."""
    given: dict[str, Any] = json.load(sys.stdin)
    aws = AwsCalls(given["answers"])
    aws.answer()
    handler = getattr(importlib.import_module(module), attribute)
    context = Context()
    # The log lines are part of the time, and are discarded; Lambda writes them to a pipe as well.
    sys.stdout.flush()
    out = os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    for _ in range(given["count"] // 10 or 1):
        handler(given["event"], context)
    aws.names.clear()
    said = handler(given["event"], context)
    calls = list(aws.names)
    took = []
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    for _ in range(given["count"]):
        aws.nanoseconds = 0
        started = time.perf_counter_ns()
        handler(given["event"], context)
        took.append((time.perf_counter_ns() - started - aws.nanoseconds) / 1000)
    cpu_each = (time.process_time_ns() - cpu) / 1000 / given["count"]
    wall_each = (time.perf_counter_ns() - wall) / 1000 / given["count"]
    sys.stdout.flush()
    os.dup2(out, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux
    print(
        json.dumps({"took": took, "said": said, "calls": calls, "cpu": cpu_each, "wall": wall_each, "peak_kib": peak})
    )


if __name__ == "__main__":
    main(*sys.argv[1:3])
