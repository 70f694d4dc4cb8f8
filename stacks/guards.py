"""Refuses, at synthesis, the defects that reviews of earlier upload systems found: each check names its row.

The checks read the Terraform JSON that is about to be written, so that nothing built by hand or by an escape hatch gets
past them. docs/rows.md lists the rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modules.settings import Settings

Json = Mapping[str, Any]

# Alias of the provider of the second region, and the construct that everything there is in.
REPLICA = "replica"


@dataclass(frozen=True)
class Finding:
    """One defect: the row of the review it belongs to, the address, and what is wrong."""

    row: int
    address: str
    text: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.address}: {self.text}"


@dataclass(frozen=True)
class Root:
    """A Terraform root as JSON, and the settings it is for."""

    content: Json
    settings: Settings

    def every(self, kind: str = "") -> Iterator[tuple[str, Json]]:
        """Address and body of each resource, of one kind or of all."""
        for resource_kind, named in self.content.get("resource", {}).items():
            if kind in {"", resource_kind}:
                for name, body in named.items():
                    yield f"{resource_kind}.{name}", body

    def refer_to(self, kind: str, argument: str, address: str) -> bool:
        """Whether a resource of a kind refers to an address in one of its arguments."""
        return any(f"${{{address}." in str(body.get(argument)) for _, body in self.every(kind))

    def statements(self) -> Iterator[tuple[str, str, Json]]:
        """Address, argument and body of each statement of each policy document that is valid."""
        for address, body in self.every():
            for argument in _POLICY_ARGUMENTS:
                document = _json(body.get(argument))
                if isinstance(document, dict):
                    for statement in document.get("Statement", []):
                        yield address, argument, statement


_POLICY_ARGUMENTS = ("policy", "assume_role_policy", "access_policy")

# Actions that AWS lets nobody restrict to a resource (Service Authorization Reference).
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
_FOURTEEN_DAYS = 14 * 24 * 3600
_INLINE_BUCKET_ARGUMENTS = ("lifecycle_rule", "versioning", "server_side_encryption_configuration", "logging", "policy")


def _json(text: object) -> object:
    try:
        return json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _many(value: object) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def provider(root: Root) -> Iterator[Finding]:
    """Row 1: one explicit provider a region, of the intended account, for every resource that belongs there."""
    settings, account = root.settings, [root.settings.account_id]
    blocks = _many(root.content.get("provider", {}).get("aws"))
    found = [(block.get("alias"), block.get("region"), block.get("allowed_account_ids")) for block in blocks]
    if found[:1] != [(None, settings.primary_region, account)]:
        yield Finding(
            1, "provider.aws", f"one provider of {settings.primary_region} that allows {account[0]} alone is needed"
        )
    # The stack of the state has no copies, and so no second provider.
    if any(each != (REPLICA, settings.replica_region, account) for each in found[1:]) or len(found) > 2:
        yield Finding(1, "provider.aws", f"of further providers, {settings.replica_region or 'none'} alone is intended")
    for address, body in root.every():
        wanted = f"aws.{REPLICA}" if address.partition(".")[2].startswith(f"{REPLICA}_") else None
        if body.get("provider") != wanted or "region" in body:
            yield Finding(1, address, f"it is not under the provider {wanted or 'aws'}, but in a region of its own")


def integration(root: Root) -> Iterator[Finding]:
    """Row 2: API Gateway calls functions by AWS_PROXY, POST and the invoke_arn of the function's alias."""
    for address, body in root.every("aws_api_gateway_integration"):
        if body.get("type") == "MOCK":
            continue
        invokes = re.fullmatch(r"\$\{aws_lambda_alias\.\w+\.invoke_arn\}", str(body.get("uri")))
        if not invokes or body.get("type") != "AWS_PROXY" or body.get("integration_http_method") != "POST":
            yield Finding(2, address, "a function is integrated by AWS_PROXY, POST and the invoke_arn of its alias")


def permission(root: Root) -> Iterator[Finding]:
    """Row 3: who may invoke a function is named down to stage, method and path, or to the one resource."""
    for address, body in root.every("aws_lambda_permission"):
        source = str(body.get("source_arn"))
        if not source.startswith("${aws_"):
            yield Finding(3, address, "its source_arn is not taken from the resource that calls")
        elif not body.get("qualifier"):
            yield Finding(3, address, "it is for the function itself, and not for the alias that callers use")
        elif ".execution_arn}" in source:
            rest = source.partition("}/")[2].split("/")
            if len(rest) < 3 and rest[0] != "authorizers":
                yield Finding(3, address, "its source_arn does not name stage, method and path")
            elif rest[0] != "authorizers" and "*" in rest[:2]:
                yield Finding(3, address, "its source_arn leaves stage or method open")


def documents(root: Root) -> Iterator[Finding]:
    """Row 4: every policy document is valid JSON with a version."""
    for address, body in root.every():
        for argument in _POLICY_ARGUMENTS:
            if argument in body:
                document = _json(body[argument])
                if not isinstance(document, dict) or document.get("Version") != "2012-10-17":
                    yield Finding(4, address, f"its {argument} is no JSON document with Version 2012-10-17")
                elif not all(isinstance(each, dict) and each.get("Sid") for each in document.get("Statement", [])):
                    yield Finding(4, address, f"its {argument} has a statement without a Sid")


def variables(root: Root) -> Iterator[Finding]:
    """Row 5: variables named _NAME hold names."""
    for address, body in root.every("aws_lambda_function"):
        for name, value in body.get("environment", {}).get("variables", {}).items():
            if name.endswith("_NAME") and re.search(r"\.(id|arn)\}", str(value)):
                yield Finding(5, address, f"{name} holds an id or an ARN, {value}")


def public_access(root: Root) -> Iterator[Finding]:
    """Row 6: no ACL anywhere; every bucket blocks public access, is owner enforced, and denies plain HTTP."""
    for address, body in root.every():
        if address.startswith(("aws_s3_bucket_acl.", "aws_s3_object.")) or "acl" in body:
            yield Finding(6, address, "no ACL is used anywhere")
    blocked = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    for address, _ in root.every("aws_s3_bucket"):
        blocks = [body for _, body in root.every("aws_s3_bucket_public_access_block") if address in str(body["bucket"])]
        if not any(all(body.get(each) is True for each in blocked) for body in blocks):
            yield Finding(6, address, "its four public access blocks are not all on")
        owners = [body for _, body in root.every("aws_s3_bucket_ownership_controls") if address in str(body["bucket"])]
        if not any(_many(body["rule"])[0].get("object_ownership") == "BucketOwnerEnforced" for body in owners):
            yield Finding(6, address, "its objects are not owned by the bucket's owner alone")
        policies = [str(body["policy"]) for _, body in root.every("aws_s3_bucket_policy") if address in body["bucket"]]
        if not any('"aws:SecureTransport": "false"' in policy for policy in policies):
            yield Finding(6, address, "its policy does not deny plain HTTP")


def events(root: Root) -> Iterator[Finding]:
    """Row 7: S3 tells EventBridge, which starts every state machine."""
    for address, _ in root.every("aws_sfn_state_machine"):
        if not root.refer_to("aws_cloudwatch_event_target", "arn", address):
            yield Finding(7, address, "no event starts it")
    for address, body in root.every("aws_cloudwatch_event_rule"):
        if "aws.s3" in str(body.get("event_pattern")) and not any(
            body.get("eventbridge") for _, body in root.every("aws_s3_bucket_notification")
        ):
            yield Finding(7, address, "it waits for events of S3, and no bucket sends them")


def dead_letters(root: Root) -> Iterator[Finding]:
    """Row 8: what cannot be delivered is kept, encrypted, for 14 days."""
    for address, body in root.every("aws_lambda_function"):
        if not body.get("dead_letter_config", {}).get("target_arn"):
            yield Finding(8, address, "it has no dead-letter queue")
        configured = [
            config
            for _, config in root.every("aws_lambda_function_event_invoke_config")
            if address in str(config.get("function_name"))
        ]
        if not any(config.get("destination_config", {}).get("on_failure") for config in configured):
            yield Finding(8, address, "its asynchronous invocations have no failure destination")
    kept: tuple[tuple[str, Callable[[Json], object]], ...] = (
        ("aws_cloudwatch_event_target", lambda body: body.get("dead_letter_config")),
        ("aws_scheduler_schedule", lambda body: body.get("target", {}).get("dead_letter_config")),
        ("aws_sns_topic_subscription", lambda body: body.get("protocol") == "email" or body.get("redrive_policy")),
    )
    for kind, found in kept:
        for address, body in root.every(kind):
            if not found(body):
                yield Finding(8, address, "what it cannot deliver is lost; it needs a dead-letter queue")
    for address, body in root.every("aws_sqs_queue"):
        if body.get("message_retention_seconds") != _FOURTEEN_DAYS:
            yield Finding(8, address, "it does not keep messages for 14 days")


def state_machines(root: Root) -> Iterator[Finding]:
    """Row 9: service integrations that are retried and caught; everything logged."""
    for address, body in root.every("aws_sfn_state_machine"):
        definition = _json(body.get("definition"))
        states = definition.get("States", {}) if isinstance(definition, dict) else {}
        if not states:
            yield Finding(9, address, "its definition is no state machine in JSON")
        for name, state in states.items():
            if state.get("Type") != "Task":
                continue
            if not str(state.get("Resource")).startswith("arn:aws:states:::"):
                yield Finding(9, address, f"{name} names a raw ARN, not a service integration")
            if not state.get("Retry") or not state.get("Catch"):
                yield Finding(9, address, f"{name} is not retried or not caught")
        if body.get("logging_configuration", {}).get("level") != "ALL":
            yield Finding(9, address, "it does not log ALL")


def logs(root: Root) -> Iterator[Finding]:
    """Row 10: log groups of Terraform's making, with one retention; writers write to their own alone."""
    for address, body in root.every("aws_cloudwatch_log_group"):
        if body.get("retention_in_days") != root.settings.log_retention_days:
            yield Finding(10, address, "its retention is not the setting's")
        if not body.get("kms_key_id"):
            yield Finding(10, address, "it is not encrypted under a customer key")
    for address, body in root.every("aws_lambda_function"):
        group = str(body.get("logging_config", {}).get("log_group"))
        if not group.startswith("${aws_cloudwatch_log_group."):
            yield Finding(10, address, "its log group is not made before it by Terraform")
    for address, _, statement in root.statements():
        writes = {"logs:PutLogEvents", "logs:CreateLogStream"} & set(_many(statement.get("Action")))
        if writes and "*" in _many(statement.get("Resource")) and "Principal" not in statement:
            yield Finding(10, address, "it may write to every log group")


def packages(root: Root) -> Iterator[Finding]:
    """Row 11: code from a package of synthesis's making with its hash, dependencies in a layer."""
    for address, body in root.every("aws_lambda_function"):
        if not str(body.get("filename")).startswith("${path.module}/packages/") or not body.get("source_code_hash"):
            yield Finding(11, address, "its package is not one that synthesis made, with its hash")
        if not body.get("layers"):
            yield Finding(11, address, "its dependencies are not in a layer")


def outputs(root: Root) -> Iterator[Finding]:
    """Row 12: outputs are described, and an address of an API is its stage's."""
    for name, output in root.content.get("output", {}).items():
        if not output.get("description"):
            yield Finding(12, f"output.{name}", "it is not described")
        if "execute-api" in str(output.get("value")):
            yield Finding(12, f"output.{name}", "it puts an address together by hand; use the stage's invoke_url")


def inline_rules(root: Root) -> Iterator[Finding]:
    """Row 13: what belongs to a bucket is in resources of its own."""
    for address, body in root.every("aws_s3_bucket"):
        for argument in _INLINE_BUCKET_ARGUMENTS:
            if argument in body:
                yield Finding(13, address, f"{argument} belongs into a resource of its own")
        if not root.refer_to("aws_s3_bucket_versioning", "bucket", address):
            yield Finding(13, address, "it keeps no versions")


def validation(root: Root) -> Iterator[Finding]:
    """Row 14: requests with a body are checked by the gateway too."""
    if any(root.every("aws_api_gateway_model")):
        for address, body in root.every("aws_api_gateway_method"):
            if body.get("http_method") in {"POST", "PUT", "PATCH"} and not body.get("request_validator_id"):
                yield Finding(14, address, "its requests are not validated")


def cors(root: Root) -> Iterator[Finding]:
    """Row 15: no page of everybody may call where data is protected; a health check is there."""
    if root.settings.protect_data and "*" in root.settings.cors_allowed_origins:
        yield Finding(15, "cors_allowed_origins", "`*` lets every page call the API")
    apis = [address for address, _ in root.every("aws_api_gateway_rest_api")]
    paths = {body.get("path_part") for _, body in root.every("aws_api_gateway_resource")}
    if apis and "health" not in paths:
        yield Finding(15, apis[0], "it has no health check")


def wildcards(root: Root) -> Iterator[Finding]:
    """Row 16: exact actions on exact ARNs, but for actions that have no resource level."""
    for address, _, statement in root.statements():
        if statement.get("Effect") != "Allow":
            continue
        actions = set(_many(statement.get("Action")))
        if any("*" in action for action in actions):
            yield Finding(16, address, f"{statement.get('Sid')} allows a wildcard of actions")
        if statement.get("Principal") in ("*", {"AWS": "*"}):
            yield Finding(16, address, f"{statement.get('Sid')} allows everyone")
        of_a_key = address.startswith("aws_kms_key.")
        if "*" in _many(statement.get("Resource")) and not of_a_key and not actions <= _NO_RESOURCE_LEVEL:
            yield Finding(16, address, f"{statement.get('Sid')} allows every resource")


def tracing(root: Root) -> Iterator[Finding]:
    """Row 17: tracing of functions, stages and state machines follows one setting."""
    on = root.settings.enable_xray_tracing
    traced: tuple[tuple[str, Callable[[Json], bool]], ...] = (
        ("aws_lambda_function", lambda body: body.get("tracing_config", {}).get("mode") == "Active"),
        ("aws_api_gateway_stage", lambda body: body.get("xray_tracing_enabled") is True),
        ("aws_sfn_state_machine", lambda body: body.get("tracing_configuration", {}).get("enabled") is True),
    )
    for kind, found in traced:
        for address, body in root.every(kind):
            if found(body) != on:
                yield Finding(17, address, f"its tracing is not as enable_xray_tracing = {on} says")


def alarms(root: Root) -> Iterator[Finding]:
    """Row 18: errors are judged by their rate; an alarm tells somebody, and what to do."""
    for address, body in root.every("aws_cloudwatch_metric_alarm"):
        if body.get("metric_name") in {"Errors", "5XXError", "4XXError"}:
            yield Finding(18, address, "it counts errors; a rate by metric math is needed")
        if not body.get("alarm_actions"):
            yield Finding(18, address, "it tells nobody")
        if len(str(body.get("alarm_description", ""))) < 20:
            yield Finding(18, address, "its description does not say what to do")


def encryption(root: Root) -> Iterator[Finding]:
    """Row 19: customer keys that rotate, for everything that keeps data."""
    for address, body in root.every("aws_kms_key"):
        if body.get("enable_key_rotation") is not True:
            yield Finding(19, address, "it does not rotate")
    log_targets = [str(body.get("target_bucket")) for _, body in root.every("aws_s3_bucket_logging")]
    for address, body in root.every("aws_s3_bucket_server_side_encryption_configuration"):
        # S3 cannot write access logs under a customer key.
        if body["bucket"].replace(".id}", ".bucket}") not in log_targets and "aws:kms" not in str(body["rule"]):
            yield Finding(19, address, "it does not use a customer key")
    for kind, argument in (
        ("aws_sqs_queue", "kms_master_key_id"),
        ("aws_sns_topic", "kms_master_key_id"),
        ("aws_lambda_function", "kms_key_arn"),
        ("aws_dynamodb_table", "server_side_encryption"),
    ):
        for address, body in root.every(kind):
            if "${aws_kms_key." not in str(body.get(argument)):
                yield Finding(19, address, "it does not use a customer key")


def own_pipeline(root: Root) -> Iterator[Finding]:
    """Row 20: nothing refers to a repository or image that nobody here makes."""
    for address, body in root.every():
        if address.startswith(("aws_codecommit_", "aws_codepipeline", "aws_ecr_")) or "image_uri" in body:
            yield Finding(20, address, "it needs a repository that this project does not make")


CHECKS: tuple[Callable[[Root], Iterator[Finding]], ...] = (
    provider,
    integration,
    permission,
    documents,
    variables,
    public_access,
    events,
    dead_letters,
    state_machines,
    logs,
    packages,
    outputs,
    inline_rules,
    validation,
    cors,
    wildcards,
    tracing,
    alarms,
    encryption,
    own_pipeline,
)


def check(content: Json, settings: Settings) -> list[Finding]:
    """Every defect that the checks find in a Terraform root."""
    root = Root(content, settings)
    return [finding for each in CHECKS for finding in each(root)]
