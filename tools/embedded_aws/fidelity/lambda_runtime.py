"""Lambda: the environment of a function, and the handling of its failures."""

# mypy: disable-error-code="import-not-found"
import contextlib
import contextvars
import datetime
import json
import os
import queue
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ministack.core import lambda_runtime as runtime
from ministack.core import responses
from ministack.services import lambda_svc as service

from ..lambda_bootstrap import END_OF_LOG
from ..layout import NOT_THROUGH_THE_PROXY
from . import hook, iam, kms
from .hook import Function
from .settings import Settings

# A worker that died says no more.
END_OF_LOG_DEADLINE_SECONDS = 0.25

# What a mapping does with a queue (Lambda, "Using Lambda with Amazon SQS").
_READING = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")

_BOOTSTRAP = Path(__file__).parent.parent / "lambda_bootstrap.py"

# https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
_FROM_MINISTACK = (
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "LAMBDA_TASK_ROOT",
    "_LAMBDA_LAYERS_DIRS",
)

_spawning: contextvars.ContextVar[Any] = contextvars.ContextVar("spawning", default=None)
_answered: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar("answered", default=None)


def runtime_environment(config: Mapping[str, Any], given: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Return the environment of a function: the variables of AWS's runtime, its own, and those that lead to the
    emulator.

    Args:
        config: the configuration of the function, as GetFunctionConfiguration returns it.
        given: the environment that ministack made.
        settings: where the embedded AWS listens.

    """
    logging_config = config.get("LoggingConfig") or {}
    home = str(Path(given["LAMBDA_TASK_ROOT"]).parent)
    environment = {
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{config.get('Runtime', 'python3.11')}",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": logging_config.get("LogGroup") or f"/aws/lambda/{config.get('FunctionName', '')}",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "LANG": "en_US.UTF-8",
        # Not the caller's. AWS's own names folders of its runtime, which are not here.
        "PATH": os.defpath,
        "TZ": ":UTC",
        "_HANDLER": config.get("Handler", ""),
        # AWS sets none of what follows. The first ones lead back to the embedded AWS; the others keep a function from
        # the developer's own ~/.aws and from leaving files behind in /tmp.
        **way_back(settings),
        "AWS_CA_BUNDLE": str(settings.ca_bundle),
        "HOME": home,
        "TMPDIR": home,
    }
    if logging_config.get("LogFormat") == "JSON":
        environment["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        environment["AWS_LAMBDA_LOG_LEVEL"] = logging_config.get("ApplicationLogLevel") or "INFO"
    environment.update((config.get("Environment") or {}).get("Variables") or {})
    environment.update({name: given[name] for name in _FROM_MINISTACK if name in given})
    return environment


def way_back(settings: Settings) -> dict[str, str]:
    """Return the variables that direct a function to the embedded AWS: a proxy for AWS's host names, or an endpoint.

    Args:
        settings: where the embedded AWS and its proxy listen.

    """
    if settings.proxy_url is None:
        return {"AWS_ENDPOINT_URL": settings.endpoint_url}
    return {"HTTPS_PROXY": settings.proxy_url, "NO_PROXY": NOT_THROUGH_THE_PROXY}


def run_as_aws_does(settings: Settings) -> None:
    """Run functions in a clean interpreter and environment, with AWS's context, logging and error names.

    AWS runs a function in its own runtime: only boto3 beside the standard library, the variables of
    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html, a root log handler at level WARNING, and
    errors reported by the name of the exception (https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html).
    ministack runs it in its own interpreter with its own environment and packages, names every error
    Runtime.HandlerError and installs no log handler, so that an undeclared import passes and logging vanishes. The
    fix hands ministack another interpreter and another worker script (lambda_bootstrap.py), and makes the
    environment of the worker from nothing. The script also says where the log of an invocation ends, for which
    ministack waits 50 ms.
    """
    fix = "lambda_runtime.run_as_aws_does"
    script = hook.attribute(fix, runtime, "INVOKE_DEPTH_BOOTSTRAP") + _BOOTSTRAP.read_text(encoding="utf-8")

    def make_detect(original: Function) -> Function:
        def detect(name: str) -> object:
            return (str(settings.lambda_python), script) if name.startswith("python") else original(name)

        return detect

    def make_spawn(original: Function) -> Function:
        def spawn(worker: Any) -> None:  # noqa: ANN401 - ministack is untyped
            token = _spawning.set(worker)
            try:
                original(worker)
            finally:
                _spawning.reset(token)

        return spawn

    class _Subprocess:
        """A replacement of the subprocess module, only inside ministack's Lambda runtime."""

        def __getattr__(self, name: str) -> object:
            return getattr(subprocess, name)

        def Popen(self, command: list[str], **options: Any) -> object:  # noqa: N802, ANN401
            worker = _spawning.get()
            if worker is not None and str(worker.config.get("Runtime", "")).startswith("python"):
                options["env"] = runtime_environment(worker.config, options["env"], settings)
                # -s: no packages of the user; -B: no compiled files beside the code.
                command = [command[0], "-s", "-B", *command[1:]]
            return subprocess.Popen(command, **options)

    def make_invoke(original: Function) -> Function:
        def invoke(worker: object, *arguments: object, **options: object) -> object:
            answer = original(worker, *arguments, **options)
            _answered.set(answer)
            return answer

        return invoke

    def make_drain(original: Function) -> Function:
        def drain(worker: Any, *arguments: object, **options: object) -> object:  # noqa: ANN401 - ministack is untyped
            if not str(worker.config.get("Runtime", "")).startswith("python"):
                return original(worker, *arguments, **options)
            lines: list[str] = []
            with contextlib.suppress(queue.Empty):
                while True:
                    line = worker._stderr_queue.get(timeout=END_OF_LOG_DEADLINE_SECONDS)
                    lines.append(line.removesuffix(END_OF_LOG))
                    if line.endswith(END_OF_LOG):
                        break
            return "\n".join(lines if lines and lines[-1] else lines[:-1])

        return drain

    def make_execute(original: Function) -> Function:
        def execute(func: dict[str, Any], event: object, request_id: str) -> dict[str, Any]:
            _answered.set(None)
            result: dict[str, Any] = original(func, event, request_id)
            body, answer = result.get("body"), _answered.get() or {}
            if result.get("error") and isinstance(body, dict):
                if answer.get("error_type"):
                    body.update(errorType=answer["error_type"], requestId=request_id, stackTrace=answer["stack_trace"])
                elif answer.get("error") == "Worker process died":
                    message = f"RequestId: {request_id} Error: Runtime exited without providing a reason"
                    body.update(errorType="Runtime.ExitError", errorMessage=message)
            return result

        return execute

    hook.attribute(fix, runtime, "subprocess")
    hook.replace(fix, runtime, "_detect_runtime_binary", make_detect, "runtime")
    hook.replace(fix, hook.attribute(fix, runtime, "Worker"), "_spawn", make_spawn, "self")
    hook.replace(fix, runtime.Worker, "_drain_stderr_bounded", make_drain, "self")
    hook.replace(fix, runtime.Worker, "invoke", make_invoke, "self event request_id")
    hook.replace(fix, service, "_execute_function_warm", make_execute, "func event request_id")
    runtime.subprocess = _Subprocess()


def follow_the_alias_with_events(_: Settings) -> None:
    """Handle an event for an alias as the event invoke config of that alias says.

    On AWS each alias and version has its own configuration
    (https://docs.aws.amazon.com/lambda/latest/api/API_PutFunctionEventInvokeConfig.html, Qualifier). ministack keeps
    it, and reads the one of the function itself, so that retries and failure destinations of an alias are ignored. The
    fix hands it the one of the alias that was called, whose name is the end of the ARN.
    """
    fix = "lambda_runtime.follow_the_alias_with_events"
    functions = hook.attribute(fix, service, "_functions")

    def make(original: Function) -> Function:
        def invoke(func: Mapping[str, Any], event: object) -> object:
            config = func.get("config") or {}
            qualifier = str(config.get("FunctionArn", "")).partition(":function:")[2].partition(":")[2]
            whole = functions.get(config.get("FunctionName")) or {}
            own = (whole.get("event_invoke_configs") or {}).get(qualifier)
            return original({**func, "event_invoke_config": own} if qualifier else func, event)

        return invoke

    hook.replace(fix, service, "invoke_async_with_retry", make, "func event")


def keep_failures_in_the_dead_letter_queue(_: Settings) -> None:
    """Send a failed event to the dead-letter queue even when a failure destination is set, in AWS's form.

    AWS sends the event itself to the dead-letter queue or topic, with the attributes RequestID, ErrorCode and
    ErrorMessage, and beside that a record of the invocation to the failure destination
    (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html). ministack sends its record,
    without the id of the request, to one of the two, and never the bare event, and checks no permission. The fix sends
    the event to the queue, and the record to the destination only, if the role of the function may.
    """
    fix = "lambda_runtime.keep_failures_in_the_dead_letter_queue"
    functions = hook.attribute(fix, service, "_functions")

    def make_route(original: Function) -> Function:
        def route(target_arn: str, func_name: str, event: object, result: dict[str, Any]) -> None:
            config = (functions.get(func_name) or {}).get("config") or {}
            queue = (config.get("DeadLetterConfig") or {}).get("TargetArn")
            if queue and _may_send(config, queue):
                _send_dead_letter(queue, event, result)
            if target_arn != queue and _may_send(config, target_arn):
                if ":sqs:" in target_arn:
                    _send(target_arn, json.dumps(_record(config, event, result)), {})
                else:
                    original(target_arn, func_name, event, result)

        return route

    hook.replace(fix, service, "_route_async_failure", make_route, "target_arn func_name event result")


def ask_the_role_of_a_mapping(_: Settings) -> None:
    """Make an event source mapping of a queue only if the role of the function may read the queue.

    AWS reads the queue as the function's role, and refuses the mapping where that may not
    (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-permissions). ministack reads
    every queue and checks no permission.
    """
    fix = "lambda_runtime.ask_the_role_of_a_mapping"
    resolve = hook.attribute(fix, service, "_resolve_existing_esm_function")
    record = hook.attribute(fix, service, "_get_func_record_for_qualifier")

    def make(original: Function) -> Function:
        def create(data: dict[str, Any]) -> object:
            queue = str(data.get("EventSourceArn", ""))
            name, qualifier, _ = resolve(data.get("FunctionName", ""))
            if name and ":sqs:" in queue:
                _, config = record(name, qualifier)
                refused = next((each for each in _READING if not _may(config or {}, each, queue)), None)
                if refused:
                    called = refused.partition(":")[2]
                    message = f"The function execution role does not have permissions to call {called} on SQS"
                    return responses.error_response_json("InvalidParameterValueException", message, 400)
            return original(data)

        return create

    hook.attribute(fix, responses, "error_response_json")
    hook.replace(fix, service, "_create_esm", make, "data")


def _may_send(config: Mapping[str, Any], target: str) -> bool:
    kind = target.split(":")[2]
    action = {"sqs": "sqs:SendMessage", "sns": "sns:Publish", "lambda": "lambda:InvokeFunction"}.get(kind)
    if action is None:
        return True
    allowed = _may(config, action, target)
    if not allowed:
        service.logger.warning("Lambda: %s may not send to %s, so a failed event is lost", config.get("Role"), target)
    return allowed


def _may(config: Mapping[str, Any], action: str, resource: str) -> bool:
    """Whether the role of a function may do something, the key of the resource included."""
    role, region = config.get("Role", ""), iam.region_of(resource, "")
    via = kms.via(action, region)
    wanted = [(action, resource, None), *((each, key, via) for each, key in kms.needed(action, resource))]
    return all(iam.role_may(role, "awslambda", each, target, region, keys) for each, target, keys in wanted)


def _send_dead_letter(target: str, event: object, result: Mapping[str, Any]) -> None:
    body = result.get("body")
    failure = body if isinstance(body, dict) else {}
    values = {
        "RequestID": ("String", failure.get("requestId") or "unknown"),
        "ErrorCode": ("Number", "200"),
        "ErrorMessage": ("String", str(failure.get("errorMessage") or "unknown")[:1024]),
    }
    attributes = {name: {"DataType": kind, "StringValue": value} for name, (kind, value) in values.items()}
    service.logger.info("Lambda dead letter for %s", target)
    _send(target, json.dumps(event), attributes)


def _record(config: Mapping[str, Any], event: object, result: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a failed invocation as the page on asynchronous invocation shows it."""
    body = result.get("body")
    failure = body if isinstance(body, dict) else {}
    return {
        "version": "1.0",
        "timestamp": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        "requestContext": {
            "requestId": failure.get("requestId") or "unknown",
            "functionArn": f"{config.get('FunctionArn', '')}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": event,
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": failure,
    }


def _send(target: str, message: str, attributes: Mapping[str, Any]) -> None:
    from ministack.services import sns, sqs

    if ":sqs:" in target:
        queue = sqs._queue_by_arn(target)
        if queue is not None:
            sqs._act_send_message({"MessageBody": message, "MessageAttributes": attributes}, queue["url"])
    else:
        sns._publish({"TopicArn": target, "Message": message, "MessageAttributes": attributes})
