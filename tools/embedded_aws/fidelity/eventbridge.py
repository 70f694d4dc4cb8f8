"""EventBridge: rules and their targets."""

# mypy: disable-error-code="import-not-found"
import json
from collections.abc import Mapping
from typing import Any

from ministack.core.arn import parse_arn
from ministack.services import eventbridge as events
from ministack.services import lambda_svc, sns, sqs

from . import hook, iam, kms
from .hook import Function
from .settings import Settings

_SERVICE = "events.amazonaws.com"


def _admitted(target: Mapping[str, Any], rule: Mapping[str, Any]) -> bool:
    """Return whether a rule may reach a target; unknown rules and targets are left to ministack."""
    arn, source = str(target.get("Arn", "")), str(rule.get("Arn", ""))
    if not source.startswith("arn:aws:events:"):
        return True
    region = source.split(":")[3]
    match arn.split(":")[2:3]:
        case ["lambda"]:
            found = lambda_svc.function_policy_for_arn(arn)
            return iam.service_may(_SERVICE, "lambda:InvokeFunction", arn, region, source, found and found[0])
        case ["sqs"]:
            found = sqs.queue_policy_for_arn(arn)
            return iam.service_may(
                _SERVICE, "sqs:SendMessage", arn, region, source, found and found[0]
            ) and kms.service_may_encrypt(_SERVICE, arn, region, source)
        case ["sns"]:
            found = sns.topic_policy_for_arn(arn)
            return iam.service_may(
                _SERVICE, "sns:Publish", arn, region, source, found and found[0]
            ) and kms.service_may_encrypt(_SERVICE, arn, region, source)
        case ["states"]:
            role = str(target.get("RoleArn") or "")
            return bool(role) and iam.role_may(role, "eventbridge", "states:StartExecution", arn, region)
    return True


def ask_targets_for_permission(_: Settings) -> None:
    """Deliver an event only to a target whose policy, or whose role, lets EventBridge do so.

    AWS needs a permission for events.amazonaws.com on functions, topics and queues, and a role that may start state
    machines (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html); what it cannot
    deliver goes to the dead-letter queue of the target
    (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html). ministack delivers everything. The
    fix decides first, and sends the undeliverable event to the dead-letter queue if that lets EventBridge in.
    """
    fix = "eventbridge.ask_targets_for_permission"
    for owner, name in (
        (lambda_svc, "function_policy_for_arn"),
        (sqs, "queue_policy_for_arn"),
        (sns, "topic_policy_for_arn"),
        (events, "_dispatch_to_sqs"),
    ):
        hook.attribute(fix, owner, name)

    def make(original: Function) -> Function:
        def invoke(target: Mapping[str, Any], event: object, rule: Mapping[str, Any], view: object = None) -> None:
            if _admitted(target, rule):
                original(target, event, rule, view)
                return
            events.logger.warning("EventBridge: %s does not let %s in", target.get("Arn"), rule.get("Arn"))
            queue = {"Arn": (target.get("DeadLetterConfig") or {}).get("Arn", "")}
            if queue["Arn"] and _admitted(queue, rule):
                whole: Any = view or events._pattern_event_view(event)
                events._dispatch_to_sqs(parse_arn(queue["Arn"]), json.dumps(whole.event_with_detail()))

        return invoke

    hook.replace(fix, events, "_invoke_target", make, "target event rule view")


def invoke_functions_as_events(_: Settings) -> None:
    """Invoke a function as an asynchronous event, with retries, destinations and the dead-letter queue.

    AWS does (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async.html). ministack runs the function once
    and forgets what happened. The fix uses ministack's own asynchronous invocation.
    """
    fix = "eventbridge.invoke_functions_as_events"
    hook.attribute(fix, lambda_svc, "invoke_async_with_retry")

    def make(_: Function) -> Function:
        def dispatch(arn: str, payload: str) -> None:
            function, config, name = lambda_svc._get_func_record_for_ref(arn)
            if function and config:
                record = lambda_svc._execution_record_for_config(function, {**config, "FunctionArn": arn})
                lambda_svc.invoke_async_with_retry(record, json.loads(payload))
            else:
                events.logger.warning("EventBridge: function %s not found", name)

        return dispatch

    hook.replace(fix, events, "_dispatch_to_lambda", make, "arn payload")
