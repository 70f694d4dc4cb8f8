"""Step Functions: a state machine is limited by its role, and is returned as it was created."""

# mypy: disable-error-code="import-not-found"
import contextvars
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ministack import app
from ministack.core import iam_actions
from ministack.core.responses import get_account_id, get_region
from ministack.services import stepfunctions as states

from . import hook, iam, kms
from .hook import Function
from .settings import Settings


@dataclass(frozen=True)
class _Caller:
    role: str
    session: str


_caller: contextvars.ContextVar[_Caller | None] = contextvars.ContextVar("caller", default=None)
_sdk_service: contextvars.ContextVar[str] = contextvars.ContextVar("sdk_service", default="")

# What a denied task fails with: AWS's SDK for Java names it, after the service where it has no class for the error.
# A state machine is better off with a Catch for States.TaskFailed, which covers all of them.
_DENIED = {
    "lambda": "Lambda.AWSLambdaException",
    "dynamodb": "DynamoDB.AmazonDynamoDBException",
    "sns": "SNS.AuthorizationErrorException",
    "sqs": "SQS.AmazonSQSException",
    "events": "EventBridge.AmazonEventBridgeException",
    "states": "StepFunctions.AWSStepFunctionsException",
}
_DENIED_SDK = {"s3": "S3.S3Exception"}


def needed(resource: str, arguments: Mapping[str, Any], region: str, account: str) -> list[tuple[str, str]]:
    """Return the actions and ARNs that a task with an optimized integration needs.

    Args:
        resource: the Resource of the task.
        arguments: its Parameters or Arguments, evaluated.
        region: the region of the state machine.
        account: its account.

    """
    resource = resource.removesuffix(".waitForTaskToken").removesuffix(":2").removesuffix(".sync")
    here = f"{region}:{account}"
    if ":function:" in resource:
        return [("lambda:InvokeFunction", resource)]
    service, _, operation = resource.removeprefix("arn:aws:states:::").partition(":")
    match service, operation:
        case "lambda", "invoke":
            name = str(arguments.get("FunctionName", ""))
            arn = name if name.startswith("arn:") else f"arn:aws:lambda:{here}:function:{name}"
            return [("lambda:InvokeFunction", arn)]
        case "dynamodb", "getItem" | "putItem" | "updateItem" | "deleteItem":
            name = str(arguments.get("TableName", ""))
            arn = name if name.startswith("arn:") else f"arn:aws:dynamodb:{here}:table/{name}"
            return [(f"dynamodb:{operation[0].upper()}{operation[1:]}", arn)]
        case "sns", "publish":
            return [("sns:Publish", str(arguments.get("TopicArn") or arguments.get("TargetArn") or "*"))]
        case "sqs", "sendMessage":
            return [("sqs:SendMessage", f"arn:aws:sqs:{here}:{str(arguments.get('QueueUrl', '')).rsplit('/', 1)[-1]}")]
        case "states", "startExecution":
            return [("states:StartExecution", str(arguments.get("StateMachineArn", "*")))]
        case "events", "putEvents":
            buses = {str(entry.get("EventBusName") or "default") for entry in arguments.get("Entries") or [{}]}
            return [
                ("events:PutEvents", bus if bus.startswith("arn:") else f"arn:aws:events:{here}:event-bus/{bus}")
                for bus in sorted(buses)
            ]
    return []


def bind_the_role(_: Settings) -> None:
    """Let a task do only what the role of its state machine may.

    AWS runs every task with the role of the state machine
    (https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html); a task without permission
    fails, and Retry and Catch see the error. ministack calls the other service as root. The fix notes the role when
    a task starts, and asks the evaluator before the task reaches the other service: by a table for the optimized
    integrations, and by ministack's own reading of the request for the SDK integrations.
    """
    fix = "stepfunctions.bind_the_role"
    machines = hook.attribute(fix, states, "_state_machines")
    error = hook.attribute(fix, states, "_ExecutionError")
    for name in ("extract_iam_action", "extract_resource_arn", "s3_additional_checks"):
        hook.attribute(fix, iam_actions, name)
    hook.attribute(fix, app, "SERVICE_HANDLERS")
    hook.attribute(fix, app, "_routing_params")

    def demand(action: str, arn: str, denied_as: str, via: Mapping[str, str] | None = None, keys: bool = True) -> None:
        caller = _caller.get()
        if caller is None:
            return
        region = iam.region_of(arn, get_region())
        for key_action, key in kms.needed(action, arn) if keys and via is None else []:
            demand(key_action, key, denied_as, kms.via(action, region))
        if not iam.role_may(caller.role, caller.session, action, arn, region, via):
            account, role = caller.role.split(":")[4], caller.role.rsplit("/", 1)[-1]
            user = f"arn:aws:sts::{account}:assumed-role/{role}/{caller.session}"
            reason = f"because no identity-based policy allows the {action} action"
            raise error(denied_as, f"User: {user} is not authorized to perform: {action} on resource: {arn} {reason}")

    def make_task(original: Function) -> Function:
        def task(state_def: object, raw_input: object, execution: Mapping[str, Any] | None, ctx: object) -> object:
            machine = machines.get(execution.get("stateMachineArn")) if execution else None
            caller = _Caller(machine["roleArn"], str((execution or {}).get("name"))[:64]) if machine else None
            token = _caller.set(caller)
            try:
                return original(state_def, raw_input, execution, ctx)
            finally:
                _caller.reset(token)

        return task

    def make_invoke(original: Function) -> Function:
        def invoke(resource: str, input_data: Any, *rest: object) -> object:  # noqa: ANN401 - ministack is untyped
            arguments = input_data if isinstance(input_data, dict) else {}
            for action, arn in needed(resource, arguments, get_region(), get_account_id()):
                service = action.partition(":")[0]
                demand(action, arn, _DENIED[service])
            return original(resource, input_data, *rest)

        return invoke

    def make_sdk(original: Function) -> Function:
        def integrate(resource: str, input_data: object) -> object:
            token = _sdk_service.set(resource.split(":")[6] if resource.count(":") > 5 else "")
            try:
                return original(resource, input_data)
            finally:
                _sdk_service.reset(token)

        return integrate

    def make_call(original: Function) -> Function:
        def call(
            handler: object,
            method: str,
            path: str,
            headers: dict[str, str],
            body: Any,  # noqa: ANN401 - ministack is untyped
            query_params: dict[str, Any],
            timeout: float | None = None,
        ) -> object:
            sdk_service = _sdk_service.get()
            service = next((name for name, known in app.SERVICE_HANDLERS.items() if known is handler), "")
            if sdk_service and service and _caller.get() is not None:
                content = body.encode() if isinstance(body, str) else body or b""
                params = app._routing_params(method, path, headers, content, query_params)
                request = (method, path, headers, content, params)
                action = iam_actions.extract_iam_action(service, *request)
                arn = iam_actions.extract_resource_arn(service, *request, get_region(), get_account_id())
                # A copy also reads its source.
                more = iam_actions.s3_additional_checks(*request) if service == "s3" else []
                name = states._prefix_sdk_error(sdk_service, "AccessDeniedException")
                for wanted, where in [(action, arn), *((wanted, where) for wanted, where, *_ in more)]:
                    if wanted:
                        demand(wanted, where, _DENIED_SDK.get(sdk_service, name), keys=method != "HEAD")
            return original(handler, method, path, headers, body, query_params, timeout)

        return call

    hook.attribute(fix, states, "_prefix_sdk_error")
    hook.replace(fix, states, "_execute_task", make_task, "state_def raw_input execution ctx")
    hook.replace(fix, states, "_invoke_resource", make_invoke, "resource input_data")
    hook.replace(fix, states, "_invoke_with_callback", make_invoke, "resource input_data")
    hook.replace(fix, states, "_invoke_aws_sdk_integration", make_sdk, "resource input_data")
    hook.replace(
        fix, app, "call_service_handler_sync", make_call, "handler method path headers body query_params timeout"
    )


def keep_tracing_configuration(_: Settings) -> None:
    """Keep the tracing configuration of a state machine.

    AWS returns it from DescribeStateMachine
    (https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeStateMachine.html). ministack drops
    it, so that every plan wants to set it again. The fix adds it to the stored state machine.
    """
    fix = "stepfunctions.keep_tracing_configuration"
    machines = hook.attribute(fix, states, "_state_machines")

    def make(original: Function) -> Function:
        def put(data: Mapping[str, Any]) -> object:
            answer = original(data)
            if answer[0] == 200 and "tracingConfiguration" in data:
                arn = data.get("stateMachineArn") or json.loads(answer[2]).get("stateMachineArn")
                machine = machines.get(arn)
                if machine is not None:
                    machine["tracingConfiguration"] = data["tracingConfiguration"]
            return answer

        return put

    hook.replace(fix, states, "_create_state_machine", make, "data")
    hook.replace(fix, states, "_update_state_machine", make, "data")


def hand_on_message_attributes(_: Settings) -> None:
    """Publish the message attributes of a task with its message.

    AWS takes `MessageAttributes` of `sns:publish` as SNS does, by which subscribers filter
    (https://docs.aws.amazon.com/step-functions/latest/dg/connect-sns.html). ministack hands the task's parameters to
    SNS, which looks for attributes in the form of a query and finds none. The fix writes them in that form.
    """
    fix = "stepfunctions.hand_on_message_attributes"
    services = hook.attribute(fix, states, "_SERVICE_DISPATCH")
    publish = services["arn:aws:states:::sns:publish"]

    def publish_with_attributes(resource: str, parameters: Mapping[str, Any]) -> object:
        entries = {}
        for number, (name, value) in enumerate(parameters.get("MessageAttributes", {}).items(), start=1):
            entry = f"MessageAttributes.entry.{number}"
            entries[f"{entry}.Name"] = name
            entries |= {f"{entry}.Value.{kind}": text for kind, text in value.items()}
        return publish(resource, {**parameters, **entries})

    services["arn:aws:states:::sns:publish"] = publish_with_attributes


def know_legal_holds(_: Settings) -> None:
    """Let a task put a legal hold on an object, with `aws-sdk:s3:putObjectLegalHold`.

    AWS lets a task call every operation of S3
    (https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html). ministack knows some of
    them. The fix adds this one to its table.
    """
    operations = hook.attribute("stepfunctions.know_legal_holds", states, "_S3_OP_SPECS")
    operations["PutObjectLegalHold"] = {
        **operations["PutObjectTagging"],
        "static_query": (("legal-hold", ""),),
        "body_field": "LegalHold",
        "body_root": "LegalHold",
    }
