"""Resources of requests: the ARN for a policy's Resource, and the domain at which an API was called."""

# mypy: disable-error-code="import-not-found"
import json
from collections.abc import Callable, Mapping
from typing import Any

from ministack.core import iam_actions, responses
from ministack.services import apigateway_v1 as rest_api
from ministack.services import kms

from . import hook
from .hook import Function
from .settings import Settings

# What an action works on by its request, where ministack says `*` or something else: service and action (as IAM names
# it) to the end of the ARN, from the request's JSON or form. Source: Service Authorization Reference.
_RESOURCES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "kms:CreateAlias": lambda body: str(body["AliasName"]),
    "kms:DeleteAlias": lambda body: str(body["AliasName"]),
    "kms:UpdateAlias": lambda body: str(body["AliasName"]),
    "lambda:CreateFunction": lambda body: f"function:{body['FunctionName']}",
    "logs:DescribeLogGroups": lambda body: f"log-group:{body.get('logGroupNamePrefix', '')}*",
    # A policy on some alarms is enough to list these, unless they are composite ones (CloudWatch, DescribeAlarms).
    "cloudwatch:DescribeAlarms": lambda body: f"alarm:{body['AlarmNames.member.1']}",
    "cloudwatch:DeleteAlarms": lambda body: f"alarm:{body['AlarmNames.member.1']}",
    "cloudwatch:PutDashboard": lambda body: f"dashboard/{body['DashboardName']}",
    "cloudwatch:GetDashboard": lambda body: f"dashboard/{body['DashboardName']}",
    "cloudwatch:DeleteDashboards": lambda body: f"dashboard/{body['DashboardNames.member.1']}",
    "events:PutTargets": lambda body: f"rule/{body['Rule']}",
    "events:RemoveTargets": lambda body: f"rule/{body['Rule']}",
    "events:ListTargetsByRule": lambda body: f"rule/{body['Rule']}",
    "sns:GetSubscriptionAttributes": lambda body: str(body["SubscriptionArn"]),
    "sns:SetSubscriptionAttributes": lambda body: str(body["SubscriptionArn"]),
    "sns:Unsubscribe": lambda body: str(body["SubscriptionArn"]),
    "states:CreateStateMachine": lambda body: f"stateMachine:{body['name']}",
    "states:ValidateStateMachineDefinition": lambda body: "stateMachine:*",
    "wafv2:PutLoggingConfiguration": lambda body: str(body["LoggingConfiguration"]["ResourceArn"]),
    "sqs:CreateQueue": lambda body: str(body["QueueName"]),
}


# Kinds of resources of CloudFront, which are in the path of a request, and have the same name in ARNs.
_OF_CLOUDFRONT = frozenset({"distribution", "origin-access-control", "response-headers-policy"})


def _of_cloudfront(method: str, path: str, query_params: Mapping[str, Any], account_id: str) -> str:
    """Return the resource of a request to CloudFront, or `*`.

    A request that makes a distribution or a policy of headers needs permission for an ARN of that kind. One that makes
    an origin access control has no resource.
    """
    _, _, kind, name, *_ = f"{path}///".split("/")
    if kind == "tagging":
        tagged = query_params.get("Resource", "*")
        return str(tagged[0] if isinstance(tagged, list) else tagged)
    if kind not in _OF_CLOUDFRONT or not (name or (method == "POST" and kind != "origin-access-control")):
        return "*"
    # A resource that is being made has no id yet; a policy for all ids of its kind allows it.
    return f"arn:aws:cloudfront::{account_id}:{kind}/{name or 'NEW'}"


def _tagged(request: Mapping[str, Any]) -> str:
    """Return the resource of a request about tags; each service spells this field differently."""
    return str(next(value for name, value in request.items() if name.lower() == "resourcearn"))


def _request(body: bytes, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a request: JSON, or a form whose values are lists."""
    if body.startswith(b"{"):
        fields: dict[str, Any] = json.loads(body)
        return fields
    return {name: value[0] if isinstance(value, list) else value for name, value in parameters.items()}


def name_what_requests_touch(_: Settings) -> None:
    """Compare the resource that a request names with the policy's, for actions that have one.

    AWS authorizes these actions on the resource that the request is about (Service Authorization Reference). ministack
    takes the resource as `*`, so that only a policy for every resource allows them. The fix reads the request.
    """
    fix = "resources.name_what_requests_touch"
    extract_action = hook.attribute(fix, iam_actions, "extract_iam_action")
    resolve_key = hook.attribute(fix, kms, "_resolve_key")

    def make(original: Function) -> Function:
        def extract_resource_arn(
            service: str,
            method: str,
            path: str,
            headers: dict[str, str],
            body: bytes,
            query_params: dict[str, Any],
            region: str,
            account_id: str,
        ) -> str:
            found = str(original(service, method, path, headers, body, query_params, region, account_id))
            action = extract_action(service, method, path, headers, body, query_params)
            if ":alias/" in found and action not in _RESOURCES:
                # KMS, "Controlling access to aliases": whoever uses an alias needs permission on the key behind it.
                # Those of AWS's own keys lead to keys of the account that ministack does not have.
                return str((resolve_key(found) or {}).get("Arn", found.replace(":alias/", ":key/")))
            if action == "lambda:InvokeFunction" and query_params.get("Qualifier"):
                # The version or alias that is invoked is what the policy has to name (Lambda, "Resources and conditions
                # for Lambda actions"), whether it comes in the path or beside it.
                qualifier = query_params["Qualifier"]
                return f"{found}:{qualifier[0] if isinstance(qualifier, list) else qualifier}"
            if found != "*" and action not in _RESOURCES:
                # Rules of the default bus have no bus in their ARN (EventBridge, "Resource ARN formats").
                return found.replace(":rule/default/", ":rule/")
            if service == "cloudfront":
                return _of_cloudfront(method, path, query_params, account_id)
            try:
                request = _request(body, query_params)
                end = _RESOURCES[action](request) if action in _RESOURCES else _tagged(request)
            except (KeyError, ValueError, TypeError, StopIteration):
                return found
            if end.startswith("arn:"):
                return end
            # The service as IAM names it; that of CloudWatch's address is another. Dashboards have no region.
            home = "" if end.startswith("dashboard/") else region
            return f"arn:aws:{action.partition(':')[0]}:{home}:{account_id}:{end}"

        return extract_resource_arn

    parameters = "service method path headers body query_params region account_id"
    hook.replace(fix, iam_actions, "extract_resource_arn", make, parameters)


def tell_functions_the_domain(settings: Settings) -> None:
    """Give functions the domain that the API was called at, as `requestContext.domainName`.

    AWS sends it with every event ("Lambda proxy integration: input format"), and `https://DOMAIN/STAGE` is the address
    of the API's stage. ministack leaves it out. Called by address, an API has a path where AWS's has a domain, so that
    the fix says the host and that path: the same formula leads back to the API.
    """
    fix = "resources.tell_functions_the_domain"
    home = settings.endpoint_url.partition("://")[2]

    def make(original: Function) -> Function:
        async def call(function_ref: str, event: Any, **options: object) -> object:  # noqa: ANN401 - ministack is untyped
            context = event.get("requestContext") if isinstance(event, dict) else None
            if isinstance(context, dict) and context.get("apiId"):
                called = {name.lower(): value for name, value in (event.get("headers") or {}).items()}.get("host", "")
                by_name = called.startswith(f"{context['apiId']}.execute-api.")
                context["domainName"] = called if by_name else f"{home}/_aws/execute-api/{context['apiId']}"
                context["domainPrefix"] = context["apiId"]
            return await original(function_ref, event, **options)

        return call

    hook.replace(fix, rest_api, "_call_lambda_raw", make, "function_ref event")


def name_event_source_mappings(_: Settings) -> None:
    """Ask for the actions on event source mappings by their names, and say which function one is made for.

    AWS has GetEventSourceMapping, UpdateEventSourceMapping and DeleteEventSourceMapping on the mapping, and authorizes
    CreateEventSourceMapping on no resource, restricted by the condition key `lambda:FunctionArn` (Service
    Authorization Reference, "AWS Lambda"). ministack treats reading one as listing all, checks no permission for
    changes and deletions, and has no such key.
    """
    fix = "resources.name_event_source_mappings"
    on_one = {"GET": "GetEventSourceMapping", "PUT": "UpdateEventSourceMapping", "DELETE": "DeleteEventSourceMapping"}

    def make_action(original: Function) -> Function:
        def action(method: str, path: str) -> object:
            parts = [part for part in path.split("/") if part]
            if parts[1:2] == ["event-source-mappings"] and len(parts) == 3:
                return on_one.get(method)
            return original(method, path)

        return action

    def make_context(original: Function) -> Function:
        def context(service: str, iam_action: str, body: bytes, params: Mapping[str, Any]) -> dict[str, Any]:
            found: dict[str, Any] = original(service, iam_action, body, params)
            if iam_action == "lambda:CreateEventSourceMapping":
                name = str(_request(body, params).get("FunctionName", ""))
                home = f"arn:aws:lambda:{responses.get_region()}:{responses.get_account_id()}"
                found["lambda:FunctionArn"] = name if name.startswith("arn:") else f"{home}:function:{name}"
            return found

        return context

    hook.replace(fix, iam_actions, "_lambda_action", make_action, "method path")
    hook.replace(fix, iam_actions, "request_tag_context", make_context, "service iam_action body params")
