"""WAF: logging of a web ACL."""

# mypy: disable-error-code="import-not-found"
import json
from collections.abc import Callable, Mapping
from typing import Any

from ministack.core import responses
from ministack.services import waf

from tools.embedded_aws.fidelity import hook
from tools.embedded_aws.fidelity.hook import Function
from tools.embedded_aws.fidelity.settings import Settings

_configurations = responses.AccountRegionScopedDict()


def keep_logging_configurations(_: Settings) -> None:
    """Keep the logging configuration of a web ACL, and delete it together with the ACL.

    AWS does (https://docs.aws.amazon.com/waf/latest/APIReference/API_PutLoggingConfiguration.html). ministack knows no
    such call, so that an apply with one fails. Nothing is logged here: no request is looked at either. The fix keeps
    what was put.
    """
    fix = "waf.keep_logging_configurations"
    resolve = hook.attribute(fix, waf, "_resolve_local_web_acl")

    def put(fields: Mapping[str, Any]) -> object:
        kept = fields["LoggingConfiguration"]
        _, refused = resolve(kept["ResourceArn"])
        if refused:
            return refused
        _configurations[kept["ResourceArn"]] = {**kept, "ManagedByFirewallManager": False}
        return responses.json_response({"LoggingConfiguration": _configurations[kept["ResourceArn"]]})

    def get(fields: Mapping[str, Any]) -> object:
        found = _configurations.get(fields["ResourceArn"])
        return responses.json_response({"LoggingConfiguration": found}) if found else waf._waf_not_found("")

    def delete(fields: Mapping[str, Any]) -> object:
        found = _configurations.pop(fields["ResourceArn"], None)
        return responses.json_response({}) if found else waf._waf_not_found("")

    actions: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
        "PutLoggingConfiguration": put,
        "GetLoggingConfiguration": get,
        "DeleteLoggingConfiguration": delete,
    }

    def make_handle(original: Function) -> Function:
        async def handle(method: str, path: str, headers: Mapping[str, str], body: bytes, query_params: object) -> Any:  # noqa: ANN401
            action = headers.get("x-amz-target", "").rpartition(".")[2]
            if action in actions:
                return actions[action](json.loads(body or b"{}"))
            return await original(method, path, headers, body, query_params)

        return handle

    def make_delete(original: Function) -> Function:
        def delete_acl(uid: str, scope: str) -> object:
            acl = waf.web_acl_record(uid, scope)
            if acl:
                _configurations.pop(acl["ARN"], None)
            return original(uid, scope)

        return delete_acl

    def make_save(original: Function) -> Function:
        return lambda: {**original(), "logging_configurations": _configurations}

    def make_restore(original: Function) -> Function:
        def restore(data: Mapping[str, Any]) -> object:
            _configurations.update((data or {}).get("logging_configurations", {}))
            return original(data)

        return restore

    hook.attribute(fix, waf, "_waf_not_found")
    hook.attribute(fix, waf, "web_acl_record")
    hook.replace(fix, waf, "handle_request", make_handle, "method path headers body query_params")
    hook.replace(fix, waf, "delete_web_acl_record", make_delete, "uid scope")
    hook.replace(fix, waf, "get_state", make_save)
    hook.replace(fix, waf, "load_persisted_state", make_restore, "data")
