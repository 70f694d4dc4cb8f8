"""CloudWatch Logs: saved queries."""

# mypy: disable-error-code="import-not-found"
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from ministack.core import responses
from ministack.services import cloudwatch_logs as logs

from . import hook
from .settings import Settings

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

    for name in ("json_response", "error_response_json"):
        hook.attribute(fix, responses, name)
    hook.answer(fix, logs, actions)
    hook.keep(fix, logs, "query_definitions", _definitions)


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
