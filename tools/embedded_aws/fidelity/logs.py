"""CloudWatch Logs: saved queries."""

# mypy: disable-error-code="import-not-found"
import json
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from ministack.core import responses
from ministack.services import cloudwatch_logs as logs

from tools.embedded_aws.fidelity import hook
from tools.embedded_aws.fidelity.hook import Function
from tools.embedded_aws.fidelity.settings import Settings

_definitions: Any = responses.AccountRegionScopedDict()
_KEPT = ("name", "queryString", "logGroupNames", "queryLanguage")


def keep_query_definitions(_: Settings) -> None:
    """Keep the queries of Logs Insights that Terraform saves.

    AWS keeps them by an id of its making
    (https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutQueryDefinition.html). ministack knows
    none of the three actions, so that an apply with one fails. The fix answers them, and keeps the definitions with
    ministack's state.
    """
    fix = "logs.keep_query_definitions"
    actions: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
        "PutQueryDefinition": _put,
        "DescribeQueryDefinitions": _describe,
        "DeleteQueryDefinition": _delete,
    }

    def make_handle(original: Function) -> Function:
        async def handle(method: str, path: str, headers: Mapping[str, str], body: bytes, query_params: object) -> Any:  # noqa: ANN401
            action = headers.get("x-amz-target", "").rpartition(".")[2]
            if action in actions:
                return actions[action](json.loads(body or b"{}"))
            return await original(method, path, headers, body, query_params)

        return handle

    def make_save(original: Function) -> Function:
        return lambda: {**original(), "query_definitions": _definitions}

    def make_restore(original: Function) -> Function:
        def restore(data: Mapping[str, Any]) -> object:
            _definitions.update((data or {}).get("query_definitions", {}))
            return original(data)

        return restore

    for name in ("json_response", "error_response_json"):
        hook.attribute(fix, responses, name)
    hook.replace(fix, logs, "handle_request", make_handle, "method path headers body query_params")
    hook.replace(fix, logs, "get_state", make_save)
    hook.replace(fix, logs, "load_persisted_state", make_restore, "data")


def _put(request: Mapping[str, Any]) -> object:
    found = request.get("queryDefinitionId") or str(uuid.uuid4())
    if request.get("queryDefinitionId") and found not in _definitions:
        return _missing()
    kept = {name: request[name] for name in _KEPT if request.get(name)}
    _definitions[found] = {**kept, "queryDefinitionId": found, "lastModified": int(time.time() * 1000)}
    return responses.json_response({"queryDefinitionId": found})


def _describe(request: Mapping[str, Any]) -> object:
    """Up to 1,000, in one answer: an account here has fewer."""
    prefix = request.get("queryDefinitionNamePrefix", "")
    found = [each for each in _definitions.values() if each["name"].startswith(prefix)]
    return responses.json_response({"queryDefinitions": found})


def _delete(request: Mapping[str, Any]) -> object:
    if request.get("queryDefinitionId") not in _definitions:
        return _missing()
    del _definitions[request["queryDefinitionId"]]
    return responses.json_response({"success": True})


def _missing() -> object:
    return responses.error_response_json("ResourceNotFoundException", "The query definition does not exist.", 400)
