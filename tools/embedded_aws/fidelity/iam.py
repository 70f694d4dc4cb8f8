"""IAM: a log of every decision, and decisions about roles that services use."""

# mypy: disable-error-code="import-not-found"
import contextvars
import datetime
import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ministack import app
from ministack.core import iam_actions, responses
from ministack.core import iam_evaluator as evaluator

from . import hook
from .hook import Function
from .settings import Settings

_lock = threading.Lock()
_log: Path | None = None
_ENFORCE = "access_key_id iam_action service region resource_arn service_context"


def record(principal: str | None, action: str, resource: str, allowed: bool, source: str | None = None) -> None:
    """Append one decision to the log, if there is one."""
    if _log is None:
        return
    line = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        "principal": principal,
        "action": action,
        "resource": resource,
        "allowed": allowed,
        "source": source,
    }
    with _lock, _log.open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


def role_may(
    role_arn: str, session: str, action: str, resource: str, region: str, context: Mapping[str, Any] | None = None
) -> bool:
    """Decide whether a role, assumed by a service, may do something; the decision is logged.

    The role's policies, its permissions boundary and the policy of the resource count, as on
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
    """
    account, name = role_arn.split(":")[4], role_arn.rsplit("/", 1)[-1]
    evaluated = evaluator.EvalContext(
        principal_arn=f"arn:aws:sts::{account}:assumed-role/{name}/{session}",
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=resource,
        region=region,
        service_context=dict(context or {}),
    )
    return _decide(evaluated, evaluator._gather_role_policies(name, account), _boundary(name, account))


# What an allowed call needs beside itself: gets its action, resource and condition keys, returns the same of more.
More = Callable[[str, str, Mapping[str, Any]], Iterable[tuple[str, str, Mapping[str, Any]]]]
# The action and resource that were denied in place of those of the request, for the message.
_denied_instead: contextvars.ContextVar[tuple[str, str] | None] = contextvars.ContextVar("denied", default=None)
_request: contextvars.ContextVar[Any] = contextvars.ContextVar("request", default=None)


def signed_request() -> Any:  # noqa: ANN401 - ministack is untyped
    """Return the signed request that is being served, with method, query_params, headers and body, or None."""
    return _request.get()


def also_ask(fix: str, more: More) -> None:
    """Allow a call in `enforce` only if its caller may also do what `more` returns for it.

    Args:
        fix: name of the fix, for the error.
        more: what else the call needs.

    Raises:
        FidelityError: when ministack has no such function.

    """

    def make_enforce(original: Function) -> Function:
        def enforce(
            access_key_id: str,
            iam_action: str,
            service: str,
            region: str,
            resource_arn: str = "*",
            service_context: dict[str, Any] | None = None,
        ) -> object:
            _denied_instead.set(None)
            denied = original(access_key_id, iam_action, service, region, resource_arn, service_context)
            if denied is not None:
                return denied
            principal = evaluator.resolve_principal(access_key_id or "", responses.get_account_id())
            # Neither root nor someone unknown, whom only a public resource policy can have let in.
            if getattr(principal, "policies", None) is None:
                return None
            keys = {name.lower(): value for name, value in (service_context or {}).items()}
            for action, resource, condition_keys in more(iam_action, resource_arn, keys):
                context = evaluator.EvalContext(
                    principal_arn=principal.arn,
                    principal_type=principal.type,
                    principal_account=principal.account,
                    action=action,
                    resource_arn=resource,
                    region=region,
                    service_context=dict(condition_keys),
                    principal_keys=principal.keys,
                )
                if not _decide(context, principal.policies, principal.limits):
                    _denied_instead.set((action, resource))
                    return evaluator.EvalResult("ImplicitDeny", principal_arn=principal.arn)
            return None

        return enforce

    def make_response(original: Function) -> Function:
        def respond(service: str, action: str, *arguments: object, **options: object) -> object:
            instead = _denied_instead.get()
            if instead is not None:
                action, options["resource_arn"] = instead
            return original(service, action, *arguments, **options)

        return respond

    hook.attribute(fix, evaluator, "resolve_principal")
    hook.attribute(fix, evaluator, "EvalResult")
    hook.replace(fix, evaluator, "enforce", make_enforce, _ENFORCE)
    hook.replace(fix, iam_actions, "access_denied_response", make_response, "service action resource_arn")


# The action that passes a role, where the request names the role, and the service that gets it.
_PASSING = {
    "lambda:CreateFunction": ("Role", "lambda.amazonaws.com"),
    "lambda:UpdateFunctionConfiguration": ("Role", "lambda.amazonaws.com"),
    "states:CreateStateMachine": ("roleArn", "states.amazonaws.com"),
    "states:UpdateStateMachine": ("roleArn", "states.amazonaws.com"),
    "events:PutTargets": ("RoleArn", "events.amazonaws.com"),
    "scheduler:CreateSchedule": ("RoleArn", "scheduler.amazonaws.com"),
    "guardduty:CreateMalwareProtectionPlan": ("role", "malware-protection-plan.guardduty.amazonaws.com"),
    "guardduty:UpdateMalwareProtectionPlan": ("role", "malware-protection-plan.guardduty.amazonaws.com"),
    "codedeploy:CreateDeploymentGroup": ("serviceRoleArn", "codedeploy.amazonaws.com"),
    "codedeploy:UpdateDeploymentGroup": ("serviceRoleArn", "codedeploy.amazonaws.com"),
    "logs:PutSubscriptionFilter": ("roleArn", "logs.amazonaws.com"),
    "apigateway:PUT": ("credentials", "apigateway.amazonaws.com"),
    "apigateway:PATCH": ("value", "apigateway.amazonaws.com"),
}


def ask_whether_a_role_may_be_passed(_: Settings) -> None:
    """Let a caller hand a role to a service only with iam:PassRole on it.

    AWS does, with the service in iam:PassedToService
    (https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html). ministack never asks, so that a
    deployer without the permission deploys. The fix looks for the ARN of a role in the body of the calls that pass
    one.
    """
    fix = "iam.ask_whether_a_role_may_be_passed"

    def more(action: str, _: str, __: Mapping[str, Any]) -> Iterable[tuple[str, str, Mapping[str, Any]]]:
        where, service = _PASSING.get(action, ("", ""))
        request = signed_request()
        if not where or request is None:
            return []
        text = request.body.decode("utf-8", errors="replace")
        roles = re.findall(rf'"{where}"\s*:\s*"(arn:aws:iam::\d{{12}}:role/[^"]+)"', text)
        return [("iam:PassRole", role, {"iam:passedtoservice": service}) for role in dict.fromkeys(roles)]

    also_ask(fix, more)


def trusts(role_arn: str, service: str) -> bool:
    """Return whether a role lets a service assume it; a role that does not exist is left to ministack."""
    from ministack.services import iam

    role = iam._roles.get(role_arn.rsplit("/", 1)[-1])
    if role is None:
        return True
    trust = role.get("AssumeRolePolicyDocument") or "{}"
    statements = (json.loads(trust) if isinstance(trust, str) else trust).get("Statement") or []
    for statement in [statements] if isinstance(statements, dict) else statements:
        actions = statement.get("Action")
        if (
            statement.get("Effect") == "Allow"
            and "sts:AssumeRole" in ([actions] if isinstance(actions, str) else actions or [])
            and evaluator._service_principal_matches(statement.get("Principal"), service)
        ):
            return True
    return False


def refuse_roles_that_do_not_trust_the_service(_: Settings) -> None:
    """Refuse a function or a state machine whose role does not let Lambda or Step Functions assume it.

    AWS does when it is created or changed
    (https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html,
    https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html). ministack looks at the
    trust policy only when sts:AssumeRole is called. The fix reads the trust policy first.
    """
    from ministack.services import lambda_svc, stepfunctions

    fix = "iam.refuse_roles_that_do_not_trust_the_service"
    hook.attribute(fix, evaluator, "_service_principal_matches")

    def make(service: str, member: str, code: str, message: str) -> Callable[[Function], Function]:
        def wrap(original: Function) -> Function:
            def change(*arguments: object) -> object:
                role = next((each[member] for each in arguments if isinstance(each, dict) and each.get(member)), None)
                if role and not trusts(role, service):
                    return responses.error_response_json(code, message, 400)
                return original(*arguments)

            return change

        return wrap

    refused_by_lambda = "The role defined for the function cannot be assumed by Lambda."
    of_lambda = make("lambda.amazonaws.com", "Role", "InvalidParameterValueException", refused_by_lambda)
    refused_by_states = (
        "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to assume the "
        "provided role."
    )
    of_states = make("states.amazonaws.com", "roleArn", "AccessDeniedException", refused_by_states)
    hook.attribute(fix, responses, "error_response_json")
    hook.replace(fix, lambda_svc, "_create_function", of_lambda, "data")
    hook.replace(fix, lambda_svc, "_update_config", of_lambda, "data")
    hook.replace(fix, stepfunctions, "_create_state_machine", of_states, "data")
    hook.replace(fix, stepfunctions, "_update_state_machine", of_states, "data")


def name_the_role_of_a_session(_: Settings) -> None:
    """Use the ARN of the role for aws:PrincipalArn, if a session of a role calls.

    AWS does ("AWS global condition context keys: aws:PrincipalArn"), so that a policy can except a role by its ARN.
    ministack takes the ARN of the session, which no policy can know. The fix looks the role up by its name.
    """
    from ministack.services import iam

    fix = "iam.name_the_role_of_a_session"

    def make(original: Function) -> Function:
        def resolve(key: str, context: Any) -> object:  # noqa: ANN401 - ministack is untyped
            value = original(key, context)
            session = re.fullmatch(r"arn:aws:sts::(\d+):assumed-role/([^/]+)/.*", str(value))
            if key.lower() != "aws:principalarn" or session is None:
                return value
            role = iam._roles.get(session[2]) or {}
            return role.get("Arn", f"arn:aws:iam::{session[1]}:role/{session[2]}")

        return resolve

    hook.attribute(fix, iam, "_roles")
    hook.replace(fix, evaluator, "_resolve_condition_key", make, "key ctx")


def request_region() -> str:
    """Return the region of the request that is being served."""
    return str(responses.get_region())


def _boundary(role_name: str, account: str) -> list[Any]:
    from ministack.services import iam

    limits: list[Any] = evaluator._permissions_boundary(iam._roles, role_name, account)
    return limits


def _decide(context: Any, policies: list[Any], limits: list[Any]) -> bool:  # noqa: ANN401 - ministack is untyped
    decision = evaluator.evaluate(context, policies, *limits)
    service = context.action.partition(":")[0]
    found = evaluator._resource_policy(service, context.resource_arn)
    if found is not None:
        decision = evaluator.combine_resource_policy(
            decision, context, *found, required=service in evaluator._POLICY_REQUIRED, limits=tuple(limits)
        )
    allowed = bool(decision.decision == "Allow")
    record(context.principal_arn, context.action, context.resource_arn, allowed)
    return allowed


def service_may(
    service: str, action: str, resource: str, region: str, source: str, policy: object, account: str = ""
) -> bool:
    """Decide whether a resource policy allows an AWS service on behalf of a source; the decision is logged.

    Args:
        service: the service principal, such as apigateway.amazonaws.com.
        action: what the service does.
        resource: the ARN of what it does it to.
        region: the region of the request.
        source: the ARN that the service acts for (aws:SourceArn).
        policy: the policy of the resource, or None.
        account: aws:SourceAccount, if it is not in the source.

    """
    account = account or source.split(":")[4]
    context = evaluator.EvalContext(
        principal_arn=service,
        principal_type="Service",
        principal_account=account,
        action=action,
        resource_arn=resource,
        region=region,
        service_context={
            "aws:sourcearn": source,
            "aws:sourceaccount": account,
            "aws:principalisawsservice": "true",
        },
    )
    return bool(evaluator.evaluate_resource_policy(policy, context, service=service).decision == "Allow")


def prepare(_: Settings) -> None:
    """Check that the parts of ministack's evaluator that decisions need exist, and remember signed requests.

    ministack forgets a request once its signature is checked, which for some requests is before `enforce`.
    """
    fix = "iam.prepare"
    hook.attribute(fix, evaluator, "_signed_request")

    def make(original: Function) -> Function:
        def pin(*arguments: object) -> None:
            original(*arguments)
            _request.set(evaluator._signed_request.get())

        return pin

    hook.replace(fix, app, "pin_signed_request", make, "method raw_path query_params raw_headers")
    hook.replace(fix, app, "pin_signed_body", make, "body")
    for name in (
        "EvalContext",
        "evaluate",
        "combine_resource_policy",
        "_gather_role_policies",
        "_permissions_boundary",
    ):
        hook.attribute(fix, evaluator, name)
    for name in ("_resource_policy", "_POLICY_REQUIRED", "resolve_caller_identity", "evaluate_resource_policy"):
        hook.attribute(fix, evaluator, name)


def log_decisions(settings: Settings) -> None:
    """Write every IAM decision to a file as a line of JSON.

    AWS tells which permissions were used through CloudTrail and IAM's last-accessed data
    (https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_last-accessed.html). ministack keeps no trace
    of its decisions. The fix wraps the two functions that decide: `enforce` for callers that signed a request, and
    `evaluate_resource_policy` for AWS services that act on their own.
    """
    global _log
    fix = "iam.log_decisions"
    _log = settings.iam_log
    if _log is None:
        return
    _log.parent.mkdir(parents=True, exist_ok=True)
    _log.touch()

    def make_enforce(original: Function) -> Function:
        def enforce(
            access_key_id: str,
            iam_action: str,
            service: str,
            region: str,
            resource_arn: str = "*",
            service_context: dict[str, Any] | None = None,
        ) -> object:
            denied = original(access_key_id, iam_action, service, region, resource_arn, service_context)
            caller = evaluator.resolve_caller_identity(access_key_id) or {}
            record(caller.get("userArn"), iam_action, resource_arn, denied is None)
            return denied

        return enforce

    def make_evaluate(original: Function) -> Function:
        def evaluate_resource_policy(
            doc: object,
            ctx: Any,  # noqa: ANN401 - ministack is untyped
            service: str | None = None,
            **rest: object,
        ) -> object:
            decision = original(doc, ctx, service, **rest)
            if service:
                source = ctx.service_context.get("aws:sourcearn")
                record(service, ctx.action, ctx.resource_arn, decision.decision == "Allow", source)
            return decision

        return evaluate_resource_policy

    hook.replace(
        fix, evaluator, "enforce", make_enforce, "access_key_id iam_action service region resource_arn service_context"
    )
    hook.replace(fix, evaluator, "evaluate_resource_policy", make_evaluate, "doc ctx service")


def region_of(arn: str, otherwise: str) -> str:
    """Return the region in an ARN, or the default if the ARN has none."""
    found = re.match(r"arn:[^:]*:[^:]*:([^:]+):", arn)
    return found[1] if found else otherwise
