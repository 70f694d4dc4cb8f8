"""WAF: logging of a web ACL."""

# mypy: disable-error-code="import-not-found"
from collections.abc import Callable, Mapping
from typing import Any

from ministack.core import responses
from ministack.services import waf

from . import hook
from .hook import Function
from .settings import Settings

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

    def make_delete(original: Function) -> Function:
        def delete_acl(uid: str, scope: str) -> object:
            acl = waf.web_acl_record(uid, scope)
            if acl:
                _configurations.pop(acl["ARN"], None)
            return original(uid, scope)

        return delete_acl

    hook.attribute(fix, waf, "_waf_not_found")
    hook.attribute(fix, waf, "web_acl_record")
    hook.answer(fix, waf, actions)
    hook.replace(fix, waf, "delete_web_acl_record", make_delete, "uid scope")
    hook.keep(fix, waf, "logging_configurations", _configurations)
