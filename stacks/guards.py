"""Refuses, at synthesis, the defects that reviews of earlier upload systems found: each check names its row.

The checks read the Terraform JSON that is about to be written, so they also see resources that are built by an escape
hatch. They check every resource of a kind. docs/rows.md lists the rows; a row may have several checks. Checks of
policies are in `policy_rules`, of state machines in `state_machine_rules`, of secrets in `secret_rules`, and of the
page in `website_rules`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from modules.settings import Settings
from stacks import policy_rules, secret_rules, state_machine_rules, website_rules
from stacks.terraform_json import Finding, Json, Root, addresses, block, many, parsed, refers

# Alias of the provider of the second region, and the construct that everything there is in.
REPLICA = "replica"

_FOURTEEN_DAYS = 14 * 24 * 3600
_INLINE_BUCKET_ARGUMENTS = ("lifecycle_rule", "versioning", "server_side_encryption_configuration", "logging", "policy")
_ERRORS = {"Errors", "5XXError", "4XXError"}
_REQUESTS = {"Invocations", "Count"}

# Arguments whose changes Terraform may ignore. CodeDeploy moves the alias, and a replica of a table is a separate
# resource. A new value of passthrough_behavior would replace the integration, and so delete it (`Api._mock`).
_LEFT_ALONE = {
    "aws_api_gateway_integration": {"passthrough_behavior"},
    "aws_lambda_alias": {"function_version", "routing_config"},
    "aws_dynamodb_table": {"replica"},
}


def provider(root: Root) -> Iterator[Finding]:
    """Row 1: one explicit provider a region, of the intended account, for every resource that belongs there."""
    settings, account = root.settings, [root.settings.account_id]
    blocks = many(root.content.get("provider", {}).get("aws"))
    found = [(block.get("alias"), block.get("region"), block.get("allowed_account_ids")) for block in blocks]
    if found[:1] != [(None, settings.primary_region, account)]:
        yield Finding(
            1, "provider.aws", f"one provider of {settings.primary_region} that allows only {account[0]} is needed"
        )
    # The stack of the state has no copies, and so no second provider.
    if any(each != (REPLICA, settings.replica_region, account) for each in found[1:]) or len(found) > 2:
        yield Finding(1, "provider.aws", f"the only further provider is that of {settings.replica_region or 'none'}")
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


def variables(root: Root) -> Iterator[Finding]:
    """Row 5: variables named _NAME hold names."""
    for address, body in root.every("aws_lambda_function"):
        for name, value in body.get("environment", {}).get("variables", {}).items():
            if name.endswith("_NAME") and re.search(r"\.(id|arn)\}", str(value)):
                yield Finding(5, address, f"{name} holds an id or an ARN, {value}")


def public_access(root: Root) -> Iterator[Finding]:
    """Row 6: no resource has an ACL or a website; every bucket blocks public access and is owner enforced."""
    for address, body in root.every():
        if address.startswith("aws_s3_bucket_acl.") or "acl" in body:
            yield Finding(6, address, "no ACL is used anywhere")
        if address.startswith(("aws_s3_bucket_website_configuration.", "aws_s3_access_point.")) or "website" in body:
            yield Finding(6, address, "websites and access points of buckets are not allowed")
    blocked = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    for address, _ in root.every("aws_s3_bucket"):
        blocks = root.about("aws_s3_bucket_public_access_block", "bucket", address)
        if not blocks or not all(body.get(each) is True for body in blocks for each in blocked):
            yield Finding(6, address, "its four public access blocks are not all on")
        owners = root.about("aws_s3_bucket_ownership_controls", "bucket", address)
        if not owners or any(block(body, "rule").get("object_ownership") != "BucketOwnerEnforced" for body in owners):
            yield Finding(6, address, "objects may have another owner than the bucket's")


def events(root: Root) -> Iterator[Finding]:
    """Row 7: S3 tells EventBridge, which starts every state machine; rules and schedules are on."""
    for address, _ in root.every("aws_sfn_state_machine"):
        if not root.about("aws_cloudwatch_event_target", "arn", address):
            yield Finding(7, address, "no event starts it")
    for address, body in root.every("aws_cloudwatch_event_rule"):
        pattern = parsed(body.get("event_pattern"))
        if not root.about("aws_cloudwatch_event_target", "rule", address):
            yield Finding(7, address, "it has no target")
        if "aws.s3" in str(pattern):
            buckets = [each for each in addresses(body["event_pattern"]) if each.startswith("aws_s3_bucket.")]
            sending = [root.about("aws_s3_bucket_notification", "bucket", bucket) for bucket in buckets]
            if not sending or not all(any(each.get("eventbridge") for each in found) for found in sending):
                yield Finding(7, address, "it waits for events of S3, but its bucket does not send them to EventBridge")
    for kind in ("aws_cloudwatch_event_rule", "aws_scheduler_schedule", "aws_lambda_event_source_mapping"):
        for address, body in root.every(kind):
            if body.get("state", "ENABLED") != "ENABLED" or {body.get("enabled"), body.get("is_enabled")} & {False}:
                yield Finding(7, address, "it is off")


def dead_letters(root: Root) -> Iterator[Finding]:
    """Row 8: functions, events, schedules and topics send what they cannot deliver to a dead-letter queue."""
    for address, body in root.every("aws_lambda_function"):
        if not _to_queue(block(body, "dead_letter_config").get("target_arn")):
            yield Finding(8, address, "it has no dead-letter queue")
        configured = root.about("aws_lambda_function_event_invoke_config", "function_name", address)
        failures = [
            block(block(config, "destination_config"), "on_failure").get("destination") for config in configured
        ]
        if not failures or not all(map(_to_queue, failures)):
            yield Finding(8, address, "its asynchronous invocations have no failure destination")
    kept: tuple[tuple[str, Callable[[Json], object]], ...] = (
        ("aws_cloudwatch_event_target", lambda body: block(body, "dead_letter_config").get("arn")),
        ("aws_scheduler_schedule", lambda body: block(block(body, "target"), "dead_letter_config").get("arn")),
        ("aws_sns_topic_subscription", _redriven_to),
    )
    for kind, target in kept:
        for address, body in root.every(kind):
            if body.get("protocol") != "email" and not _to_queue(target(body)):
                yield Finding(8, address, "what it cannot deliver is lost; it needs a dead-letter queue")
            elif target(body) and target(body) == body.get("endpoint"):
                yield Finding(8, address, "its dead-letter queue is the same queue that it delivers to")


def _to_queue(target: object) -> bool:
    return bool(re.fullmatch(r"\$\{aws_sqs_queue\.\w+\.arn\}", str(target)))


def _redriven_to(body: Json) -> str:
    """Return the ARN of the dead-letter queue in a redrive policy; empty if there is none."""
    policy = parsed(body.get("redrive_policy"))
    return str(policy.get("deadLetterTargetArn", "")) if isinstance(policy, dict) else ""


def queues(root: Root) -> Iterator[Finding]:
    """Row 8: queues keep messages for 14 days; a queue with readers has a dead-letter queue, and no loop leads back."""
    for address, body in root.every("aws_sqs_queue"):
        if body.get("message_retention_seconds") != _FOURTEEN_DAYS:
            yield Finding(8, address, "it does not keep messages for 14 days")
        seen = [address]
        while target := addresses(_redriven_to(root.body(seen[-1]))):
            if target[0] in seen:
                yield Finding(8, address, "its dead-letter queues lead back to it")
                break
            seen.append(target[0])
    for address, body in root.every("aws_lambda_event_source_mapping"):
        sources = addresses(body.get("event_source_arn"))
        failed = block(block(body, "destination_config"), "on_failure").get("destination_arn")
        if not failed and not any(_to_queue(_redriven_to(root.body(source))) for source in sources):
            yield Finding(
                8, address, "messages that its function cannot handle are lost; its queue needs a dead-letter queue"
            )
        if "ReportBatchItemFailures" not in many(body.get("function_response_types")):
            yield Finding(
                8, address, "if one message fails, the whole batch is delivered again; it needs ReportBatchItemFailures"
            )


def logs(root: Root) -> Iterator[Finding]:
    """Row 10: Terraform creates the log groups, with the retention of the settings and a customer key."""
    for address, body in root.every("aws_cloudwatch_log_group"):
        if body.get("retention_in_days") != root.settings.log_retention_days:
            yield Finding(10, address, "its retention is not the setting's")
        if not _is_customer_key(body.get("kms_key_id")):
            yield Finding(10, address, "it is not encrypted under a customer key")
    for address, body in root.every("aws_lambda_function"):
        group = str(block(body, "logging_config").get("log_group"))
        if not group.startswith("${aws_cloudwatch_log_group."):
            yield Finding(10, address, "its log group is not made before it by Terraform")
    for address, body in root.every("aws_api_gateway_stage"):
        group = str(block(body, "access_log_settings").get("destination_arn"))
        if not group.startswith("${aws_cloudwatch_log_group."):
            yield Finding(10, address, "its requests are not logged in a log group that Terraform creates")


def packages(root: Root) -> Iterator[Finding]:
    """Row 11: code is in a package that synthesis made, with its hash; dependencies are in a layer of the same runtime.

    The setting accepts only runtimes that AWS supports.
    """
    settings = root.settings
    for address, body in root.every("aws_lambda_function"):
        if not str(body.get("filename")).startswith("${path.module}/packages/") or not body.get("source_code_hash"):
            yield Finding(11, address, "its package is not one that synthesis made, with its hash")
        layers = many(body.get("layers"))
        if not layers or not all(str(layer).startswith("${aws_lambda_layer_version.") for layer in layers):
            yield Finding(11, address, "its dependencies are not in a layer that Terraform creates")
        if body.get("runtime") != settings.lambda_runtime:
            yield Finding(11, address, f"its runtime is not the setting's, {settings.lambda_runtime}")
        if many(body.get("architectures")) != [settings.lambda_architecture]:
            yield Finding(11, address, f"its processor is not the setting's, {settings.lambda_architecture}")
    for address, body in root.every("aws_lambda_layer_version"):
        if many(body.get("compatible_runtimes")) != [settings.lambda_runtime]:
            yield Finding(11, address, f"its runtime is not the setting's, {settings.lambda_runtime}")


def outputs(root: Root) -> Iterator[Finding]:
    """Row 12: outputs are described, and an address of an API is its stage's."""
    for name, output in root.content.get("output", {}).items():
        if not output.get("description"):
            yield Finding(12, f"output.{name}", "it is not described")
        if "execute-api" in str(output.get("value")):
            yield Finding(12, f"output.{name}", "it puts an address together by hand; use the stage's invoke_url")


def inline_rules(root: Root) -> Iterator[Finding]:
    """Row 13: configurations of a bucket are separate resources; every bucket keeps versions."""
    for address, body in root.every("aws_s3_bucket"):
        for argument in _INLINE_BUCKET_ARGUMENTS:
            if argument in body:
                yield Finding(13, address, f"{argument} belongs into a resource of its own")
        versioning = root.about("aws_s3_bucket_versioning", "bucket", address)
        states = [block(each, "versioning_configuration").get("status") for each in versioning]
        if not states or set(states) != {"Enabled"}:
            yield Finding(13, address, "it keeps no versions")


def protection(root: Root) -> Iterator[Finding]:
    """Row 13: if protect_data is on, resources with data are protected against deletion."""
    if not root.settings.protect_data:
        return
    protected: tuple[tuple[str, Callable[[Json], bool]], ...] = (
        ("aws_s3_bucket", lambda body: not body.get("force_destroy")),
        ("aws_dynamodb_table", lambda body: body.get("deletion_protection_enabled") is True),
        ("aws_dynamodb_table", lambda body: block(body, "point_in_time_recovery").get("enabled") is True),
        ("aws_dynamodb_table_replica", lambda body: body.get("deletion_protection_enabled") is True),
        ("aws_dynamodb_table_replica", lambda body: body.get("point_in_time_recovery") is True),
        ("aws_cognito_user_pool", lambda body: body.get("deletion_protection") == "ACTIVE"),
        ("aws_secretsmanager_secret", lambda body: body.get("recovery_window_in_days") != 0),
    )
    for kind, found in protected:
        for address, body in root.every(kind):
            if not found(body):
                yield Finding(
                    13, address, "it is not protected against deletion, or its data is not; protect_data is on"
                )


def validation(root: Root) -> Iterator[Finding]:
    """Row 14: requests with a body are checked by the gateway too."""
    if any(root.every("aws_api_gateway_model")):
        for address, body in root.every("aws_api_gateway_method"):
            # A closed route accepts no request.
            sends = body.get("http_method") in {"POST", "PUT", "PATCH"} and not body.get("api_key_required")
            if sends and not body.get("request_validator_id"):
                yield Finding(14, address, "its requests are not validated")


def cors(root: Root) -> Iterator[Finding]:
    """Row 15: no page of everybody may call where data is protected; a health check is there."""
    if root.settings.protect_data and "*" in root.settings.cors_allowed_origins:
        yield Finding(15, "cors_allowed_origins", "`*` lets every page call the API")
    apis = [address for address, _ in root.every("aws_api_gateway_rest_api")]
    paths = {body.get("path_part") for _, body in root.every("aws_api_gateway_resource")}
    if apis and "health" not in paths:
        yield Finding(15, apis[0], "it has no health check")


def open_methods(root: Root) -> Iterator[Finding]:
    """Row 15: only health and preflight are open to all."""
    parts = dict(root.every("aws_api_gateway_resource"))
    for address, body in root.every("aws_api_gateway_method"):
        path: list[str] = []
        at = addresses(body.get("resource_id"))
        while at and at[0] in parts:
            path.insert(0, str(parts[at[0]].get("path_part")))
            at = addresses(parts[at[0]].get("parent_id"))
        known = body.get("http_method") == "OPTIONS" or (body.get("http_method") == "GET" and path[:1] == ["health"])
        if body.get("authorization") not in {"COGNITO_USER_POOLS", "CUSTOM", "AWS_IAM"} and not known:
            yield Finding(15, address, "it is open to all; only health and preflight may be")


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
        queries = many(body.get("metric_query"))
        metrics = {block(query, "metric").get("metric_name") for query in queries}
        divided = any("/" in str(query.get("expression")) for query in queries)
        if body.get("metric_name") in _ERRORS or (metrics & _ERRORS and not (metrics & _REQUESTS and divided)):
            yield Finding(18, address, "it counts errors; a rate by metric math is needed")
        told = many(body.get("alarm_actions"))
        if body.get("actions_enabled") is False or not told or not all(map(_is_topic, told)):
            yield Finding(18, address, "it has no action that notifies")
        if not many(body.get("ok_actions")):
            yield Finding(18, address, "it has no action for the end of the alarm (ok_actions)")
        if len(str(body.get("alarm_description", ""))) < 20:
            yield Finding(18, address, "its description does not say what to do")


def _is_topic(target: object) -> bool:
    return str(target).startswith("${aws_sns_topic.")


def keys(root: Root) -> Iterator[Finding]:
    """Row 19: customer keys are on, and rotate."""
    for address, body in root.every("aws_kms_key"):
        if body.get("enable_key_rotation") is not True:
            yield Finding(19, address, "it does not rotate")
        if body.get("is_enabled") is False:
            yield Finding(19, address, "it is off")
        if "policy" not in body or body.get("bypass_policy_lockout_safety_check"):
            yield Finding(19, address, "AWS's own policy would open it to the whole account")


def encryption(root: Root) -> Iterator[Finding]:
    """Row 19: every resource that keeps data is encrypted under a customer key."""
    log_targets = [str(body.get("target_bucket")) for _, body in root.every("aws_s3_bucket_logging")]
    for address, _ in root.every("aws_s3_bucket"):
        found = [
            block(block(body, "rule"), "apply_server_side_encryption_by_default")
            for body in root.about("aws_s3_bucket_server_side_encryption_configuration", "bucket", address)
        ]
        # S3 cannot write access logs under a customer key.
        of_logs = any(refers(target, address) for target in log_targets)
        under_key = [
            each.get("sse_algorithm") == "aws:kms" and _is_customer_key(each.get("kms_master_key_id")) for each in found
        ]
        if not found or not (of_logs or all(under_key)):
            yield Finding(19, address, "it does not use a customer key")
    kinds: tuple[tuple[str, Callable[[Json], object]], ...] = (
        ("aws_sqs_queue", lambda body: body.get("kms_master_key_id")),
        ("aws_sns_topic", lambda body: body.get("kms_master_key_id")),
        ("aws_lambda_function", lambda body: body.get("kms_key_arn")),
        ("aws_secretsmanager_secret", lambda body: body.get("kms_key_id")),
        ("aws_dynamodb_table_replica", lambda body: body.get("kms_key_arn")),
        ("aws_dynamodb_table", _key_of_table),
    )
    for kind, key in kinds:
        for address, body in root.every(kind):
            if not _is_customer_key(key(body)):
                yield Finding(19, address, "it does not use a customer key")


def _key_of_table(body: Json) -> object:
    encrypted = block(body, "server_side_encryption")
    return encrypted.get("kms_key_arn") if encrypted.get("enabled") is True else None


def _is_customer_key(reference: object) -> bool:
    return str(reference).startswith("${aws_kms_key.")


def left_alone(root: Root) -> Iterator[Finding]:
    """Row 20: Terraform manages every argument, except for those that another resource or service changes."""
    for address, body in root.every():
        ignored = set(many(block(body, "lifecycle").get("ignore_changes")))
        if more := ignored - _LEFT_ALONE.get(address.partition(".")[0], set()):
            yield Finding(20, address, f"Terraform would not see changes of {', '.join(sorted(more))}")


def own_pipeline(root: Root) -> Iterator[Finding]:
    """Row 20: nothing refers to a repository or image that is not created here."""
    for address, body in root.every():
        if address.startswith(("aws_codecommit_", "aws_codepipeline", "aws_ecr_")) or "image_uri" in body:
            yield Finding(20, address, "it needs a repository that this project does not make")


CHECKS: tuple[Callable[[Root], Iterator[Finding]], ...] = (
    provider,
    integration,
    policy_rules.permission,
    policy_rules.documents,
    variables,
    secret_rules.secrets,
    public_access,
    website_rules.distributions,
    website_rules.headers,
    website_rules.admissions,
    policy_rules.plain_http,
    events,
    dead_letters,
    queues,
    state_machine_rules.state_machines,
    logs,
    policy_rules.log_access,
    packages,
    outputs,
    inline_rules,
    protection,
    validation,
    cors,
    open_methods,
    policy_rules.actions,
    policy_rules.negations,
    policy_rules.resources,
    policy_rules.principals,
    policy_rules.other_grants,
    tracing,
    alarms,
    keys,
    encryption,
    own_pipeline,
    left_alone,
)


def check(content: Json, settings: Settings) -> list[Finding]:
    """Every defect that the checks find in a Terraform root."""
    root = Root(content, settings)
    return [finding for each in CHECKS for finding in each(root)]
