"""Run one Lambda function in a worker process of ministack, as AWS's runtime for Python does.

This file runs in the interpreter that holds what AWS's runtime holds, so it imports nothing but the standard
library. ministack speaks to it in lines of JSON: one line of start-up values, then one line for each invocation,
each answered by one line.
"""

import contextlib
import importlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, TextIO

RESPONSE_LIMIT_BYTES = 6_291_556
END_OF_LOG = "\x1e"

Handler = Callable[[Any, object], Any]


class LambdaContext:
    """The second argument of a handler."""

    def __init__(self, start: dict[str, Any], call: dict[str, Any]) -> None:
        self.function_name: str = start["function_name"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.invoked_function_arn: str = call.get("invoked_function_arn") or start["arn"]
        self.aws_request_id: str = call["request_id"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = None
        self.client_context = None
        self._deadline = time.monotonic() + call["timeout_ms"] / 1000

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the timeout."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


class FunctionError(Exception):
    """A failure for which AWS's runtime has a special name."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class _RequestId(logging.Filter):
    current = ""

    def filter(self, record: logging.LogRecord) -> bool:
        record.aws_request_id = _RequestId.current
        return True


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
            "requestId": _RequestId.current,
        }
        if record.exc_info and record.exc_info[0]:
            line["errorType"] = record.exc_info[0].__name__
            line["errorMessage"] = str(record.exc_info[1])
        return json.dumps(line)


def _install_logging() -> None:
    """Give the root logger the handler that AWS gives it, so that WARNING shows and INFO does not by default."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_RequestId())
    root = logging.getLogger()
    if os.environ.get("AWS_LAMBDA_LOG_FORMAT") == "JSON":
        handler.setFormatter(_Json())
        root.setLevel(os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO"))
    else:
        text = logging.Formatter(
            "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S"
        )
        text.converter = time.gmtime
        handler.setFormatter(text)
    root.addHandler(handler)


def _install_paths(task_root: str) -> None:
    """Order sys.path as AWS does: the function, then its layers, then the runtime."""
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    layers = [layer for layer in os.environ.pop("_LAMBDA_LAYERS_DIRS", "").split(os.pathsep) if layer]
    below = [f"{layer}/{part}" for layer in layers for part in (f"python/lib/{python}/site-packages", "python")]
    # The directory of this file comes first by default: it is ministack's, a function must not see it.
    sys.path[0:1] = [task_root, *(path for path in below if os.path.isdir(path))]  # noqa: PTH112


def _load(start: dict[str, Any]) -> Handler:
    try:
        module = importlib.import_module(start["module"].replace("/", "."))
    except ImportError as error:
        raise FunctionError(
            "Runtime.ImportModuleError", f"Unable to import module '{start['module']}': {error}"
        ) from error
    except SyntaxError as error:
        raise FunctionError(
            "Runtime.UserCodeSyntaxError", f"Syntax error in module '{start['module']}': {error}"
        ) from error
    try:
        handler: Handler = getattr(module, start["handler"])
    except AttributeError:
        message = f"Handler '{start['handler']}' missing on module '{start['module']}'"
        raise FunctionError("Runtime.HandlerNotFound", message) from None
    return handler


def _answer(handler: Handler, event: object, context: LambdaContext) -> dict[str, Any]:
    result = handler(event, context)
    try:
        size = len(json.dumps(result, ensure_ascii=False).encode())
    except (TypeError, ValueError) as error:
        raise FunctionError("Runtime.MarshalError", f"Unable to marshal response: {error}") from error
    if size > RESPONSE_LIMIT_BYTES:
        raise FunctionError(
            "Function.ResponseSizeTooLarge",
            f"Response payload size exceeded maximum allowed payload size ({RESPONSE_LIMIT_BYTES} bytes).",
        )
    return {"status": "ok", "result": result}


def _failure(error: BaseException) -> dict[str, Any]:
    name = error.name if isinstance(error, FunctionError) else type(error).__name__
    frames = traceback.format_list(traceback.extract_tb(error.__traceback__)[1:])
    log = f"[ERROR] {name}: {error}\nTraceback (most recent call last):\n{''.join(frames)}".rstrip()
    return {"status": "error", "error": str(error), "trace": log, "error_type": name, "stack_trace": frames}


def _serve(requests: TextIO, answers: TextIO) -> None:
    def answer(line: dict[str, Any]) -> None:
        if line["status"] != "ready":
            # Log and answer take two pipes. What the start logged belongs to the first invocation.
            sys.stderr.write(END_OF_LOG + "\n")
        sys.stderr.flush()
        answers.write(json.dumps(line) + "\n")
        answers.flush()

    start = json.loads(requests.readline())
    _install_paths(start["code_dir"])
    _install_logging()
    # ministack may put this function in front of this file: it counts how deep functions invoke functions.
    install_invoke_depth = globals().get("_ms_install_invoke_depth")
    if install_invoke_depth is not None:
        install_invoke_depth()
    handler: Handler | None = None
    start_failure: dict[str, Any] | None = None
    try:
        handler = _load(start)
    except Exception as error:  # noqa: BLE001 - whatever the function's module raises is the function's failure
        start_failure = _failure(error)
    # AWS reports a failed start to the invocation that caused it, so say ready and answer that invocation.
    answer({"status": "ready", "cold": True})

    for line in requests:
        message = json.loads(line)
        call = message.get("ctx") or {}
        _RequestId.current = call["request_id"]
        for variable, value in (
            ("_X_AMZN_TRACE_ID", call.get("trace_id")),
            ("_MINISTACK_INVOKE_DEPTH", call.get("depth")),
        ):
            if value is None:
                os.environ.pop(variable, None)
            else:
                os.environ[variable] = str(value)
        if handler is None:
            answer(start_failure or {})
            continue
        try:
            answer(_answer(handler, message["event"], LambdaContext(start, call)))
        except Exception as error:  # noqa: BLE001 - whatever the handler raises is the function's failure
            answer(_failure(error))


def main() -> None:
    """Serve invocations until ministack closes the pipe."""
    # What a function, or a program that it starts, reads or prints must not end up between the lines of JSON.
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, encoding="utf-8") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    with contextlib.suppress(BrokenPipeError):
        _serve(requests, answers)


if __name__ == "__main__":
    main()
