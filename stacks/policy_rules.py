"""Rows 3, 4, 10 and 16: rules for policy documents and for all other resources that grant permissions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from stacks.terraform_json import POLICY_ARGUMENTS, Finding, Root, Statement, addresses, many, parsed

# Actions that cannot be restricted to a resource (Service Authorization Reference).
_NO_RESOURCE_LEVEL = {
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
}
# Condition keys that name the resource for which a service acts (IAM, "The confused deputy problem"). CloudWatch Logs
# names it in the encryption context.
_CALLER = ("aws:sourcearn", "aws:sourceaccount", "kms:encryptioncontext:")
# Kinds of resources that grant permissions in other ways than the inline policies that are read here, or that create
# credentials.
_OTHER_GRANTS = (
    "aws_iam_access_key",
    "aws_iam_group",
    "aws_iam_policy",
    "aws_iam_role_policies_exclusive",
    "aws_iam_role_policy_attachment",
    "aws_iam_user",
    "aws_kms_grant",
    "aws_lambda_function_url",
    "aws_lambda_layer_version_permission",
)
_OTHER_ARGUMENTS = ("inline_policy", "managed_policy_arns")


@cache
def known_actions() -> Mapping[str, frozenset[str]]:
    """Return the actions of each service in stacks/actions.json (written by `python -m tools.develop.iam_actions`)."""
    file = Path(__file__).with_name("actions.json")
    return {service: frozenset(names) for service, names in json.loads(file.read_text()).items()}


def permission(root: Root) -> Iterator[Finding]:
    """Row 3: each permission to invoke a function names stage, method and path, or one resource."""
    for address, body in root.every("aws_lambda_permission"):
        source = str(body.get("source_arn"))
        if not re.fullmatch(r"[a-z0-9.-]+\.amazonaws\.com", str(body.get("principal"))):
            yield Finding(3, address, "its principal is not an AWS service")
        if body.get("action") != "lambda:InvokeFunction" or "function_url_auth_type" in body:
            yield Finding(3, address, "it allows more than lambda:InvokeFunction")
        if not source.startswith("${aws_"):
            yield Finding(3, address, "its source_arn is not a reference to the resource that calls")
        elif not body.get("qualifier"):
            yield Finding(3, address, "it is for the function; callers use the alias")
        elif ".execution_arn}" in source:
            rest = source.partition("}/")[2].split("/")
            if len(rest) < 3 and rest[0] != "authorizers":
                yield Finding(3, address, "its source_arn does not name stage, method and path")
            elif rest[0] != "authorizers" and "*" in rest[:2]:
                yield Finding(3, address, "its source_arn leaves stage or method open")


def documents(root: Root) -> Iterator[Finding]:
    """Row 4: every policy document is valid JSON with a version."""
    for address, body in root.every():
        for argument in POLICY_ARGUMENTS:
            if argument in body:
                document = parsed(body[argument])
                if not isinstance(document, dict) or document.get("Version") != "2012-10-17":
                    yield Finding(4, address, f"its {argument} is not a JSON document with Version 2012-10-17")
                elif not all(isinstance(each, dict) and each.get("Sid") for each in many(document.get("Statement"))):
                    yield Finding(4, address, f"its {argument} has a statement without a Sid")


def log_access(root: Root) -> Iterator[Finding]:
    """Row 10: a role writes only to its own log group; only the role of API Gateway writes logs of all APIs."""
    for each in root.statements():
        writes = {"logs:PutLogEvents", "logs:CreateLogStream"} & set(each.many("Action"))
        if not writes or not each.allows or "Principal" in each.body:
            continue
        own = all(arn.startswith("${aws_cloudwatch_log_group.") for arn in each.many("Resource"))
        if not own and not _is_of(root, each, "apigateway.amazonaws.com"):
            yield Finding(10, each.address, "it may write to log groups that are not its own")


def _is_of(root: Root, statement: Statement, service: str) -> bool:
    """Return whether a statement is in a policy of a role that this service assumes."""
    roles = addresses(root.body(statement.address).get("role"))
    return any(f'"{service}"' in str(root.body(role).get("assume_role_policy")) for role in roles)


def actions(root: Root) -> Iterator[Finding]:
    """Row 16: actions are exact, and they exist."""
    for each in root.statements():
        for action in each.many("Action"):
            service, _, name = action.partition(":")
            if "*" in action or "?" in action:
                # A Deny may name all actions of a service.
                if each.allows or action != f"{service}:*" or service not in known_actions():
                    yield Finding(16, each.address, f"{each.title} has a wildcard in the action {action}")
            elif service not in known_actions():
                yield Finding(16, each.address, f"{each.title}: the service of {action} is not in stacks/actions.json")
            elif name not in known_actions()[service]:
                yield Finding(16, each.address, f"{each.title}: there is no action {action}")


def negations(root: Root) -> Iterator[Finding]:
    """Row 16: no statement uses NotAction, NotResource or NotPrincipal."""
    for each in root.statements():
        for element in ("NotAction", "NotResource", "NotPrincipal"):
            if element in each.body:
                yield Finding(16, each.address, f"{each.title} has {element}, which names everything else")


def resources(root: Root) -> Iterator[Finding]:
    """Row 16: resources are exact ARNs of this account and region, except for actions that have no resource level."""
    settings = root.settings
    here = {"", settings.primary_region, settings.replica_region or ""}
    for each in root.statements():
        if not each.allows or each.of_a_key:
            continue
        if not each.many("Resource") and each.argument != "assume_role_policy":
            yield Finding(16, each.address, f"{each.title} names no resource")
        for arn in each.many("Resource"):
            if arn == "*":
                if not set(each.many("Action")) <= _NO_RESOURCE_LEVEL:
                    yield Finding(16, each.address, f"{each.title} allows every resource")
                continue
            if re.match(r"\$\{aws_\w+\.\w+\.\w*(arn|ARN)\}", arn):
                continue
            parts = arn.split(":", 5)
            exact = len(parts) == 6 and parts[3] in here and parts[4] in {"", settings.account_id}
            # A resource type followed by `*` matches all of its resources; API Gateway's role has that for its logs.
            whole = not exact or re.fullmatch(r"(\w[\w-]*[:/])?\*", parts[5])
            if whole and not (exact and parts[2] == "logs" and _is_of(root, each, "apigateway.amazonaws.com")):
                yield Finding(16, each.address, f"{each.title} allows {arn}, which is not one resource of this account")


def principals(root: Root) -> Iterator[Finding]:
    """Row 16: policies of resources admit only this account, and AWS services that act for its resources."""
    for each in root.statements():
        principal = each.body.get("Principal")
        if principal is None or not each.allows:
            continue
        named = principal if isinstance(principal, dict) else {"AWS": principal}
        for kind, value in named.items():
            for name in map(str, many(value)):
                if "*" in name:
                    yield Finding(16, each.address, f"{each.title} allows everyone")
                elif kind == "AWS" and not _of_account(name, root.settings.account_id):
                    yield Finding(16, each.address, f"{each.title} admits {name}, of another account")
                elif kind not in {"AWS", "Service"}:
                    yield Finding(16, each.address, f"{each.title} admits {kind} {name}")
        keys = [
            key.lower() for condition in many(each.body.get("Condition")) for keys in condition.values() for key in keys
        ]
        of_a_role = each.argument == "assume_role_policy"
        if of_a_role and set(named) != {"Service"}:
            yield Finding(
                16, each.address, f"{each.title} allows a principal other than an AWS service to assume the role"
            )
        elif not of_a_role and "Service" in named and not any(key.startswith(_CALLER) for key in keys):
            yield Finding(
                16,
                each.address,
                f"{each.title} admits a service without a condition on the resource or account it acts for",
            )


def _of_account(name: str, account: str) -> bool:
    return name == account or name.startswith((f"arn:aws:iam::{account}:", "${aws_iam_role."))


def other_grants(root: Root) -> Iterator[Finding]:
    """Row 16: only inline policies of roles and policies of resources grant permissions."""
    for address, body in root.every():
        kind = address.partition(".")[0]
        if kind.startswith(_OTHER_GRANTS):
            yield Finding(
                16, address, "it grants permissions that are not checked here; use an inline policy of a role"
            )
        for argument in _OTHER_ARGUMENTS:
            if argument in body:
                yield Finding(16, address, f"{argument} grants permissions that are not checked here")


def plain_http(root: Root) -> Iterator[Finding]:
    """Row 6: buckets, queues and topics have a policy that denies plain HTTP to everyone."""
    kinds = (
        ("aws_s3_bucket", "aws_s3_bucket_policy", "bucket", ("s3:*",)),
        ("aws_sqs_queue", "aws_sqs_queue_policy", "queue_url", ("sqs:*",)),
        ("aws_sns_topic", "aws_sns_topic_policy", "arn", ("sns:Publish",)),
    )
    for kind, policy_kind, argument, denied in kinds:
        for address, _ in root.every(kind):
            policies = [parsed(body.get("policy")) for body in root.about(policy_kind, argument, address)]
            found = [each for policy in policies if isinstance(policy, dict) for each in many(policy.get("Statement"))]
            if not any(_denies_plain_http(each, address, denied) for each in found):
                yield Finding(6, address, "its policy does not deny plain HTTP")


def _denies_plain_http(statement: Mapping[str, object], address: str, actions_: tuple[str, ...]) -> bool:
    condition = statement.get("Condition")
    wanted = {f"${{{address}.arn}}"} | ({f"${{{address}.arn}}/*"} if address.startswith("aws_s3_bucket.") else set())
    return (
        statement.get("Effect") == "Deny"
        and statement.get("Principal") in ("*", {"AWS": "*"})
        and set(actions_) <= set(many(statement.get("Action")))
        and wanted <= set(many(statement.get("Resource")))
        and condition == {"Bool": {"aws:SecureTransport": "false"}}
    )
