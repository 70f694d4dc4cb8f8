"""Defects on each resource of a kind in the JSON; the guard for the defect has to find each of them."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from cdktf import App
from hypothesis import given
from hypothesis import strategies as st

from modules.settings import Settings
from stacks import guards, policy_rules, secret_rules, state_machine_rules, website_rules
from stacks.guards import CHECKS, check
from stacks.terraform_json import Finding, Root, addresses
from stacks.uploads import UploadsStack
from tests.synth.conftest import Synthesized, settings_of, sources_for, synthesize
from tests.synth.seeds import API, Content, add

Rule = Callable[[Root], Iterator[Finding]]


@pytest.fixture(scope="session")
def wide_settings() -> Settings:
    """prod with everything that settings add."""
    return settings_of(
        "prod",
        replica_region="eu-west-1",
        api_authorization="jwt",
        jwt_issuer="https://issuer.example.com",
        jwt_audience="9aXk2LmQ7rTz4BvW8cNy3DfG6hJp1Es5",
        webhook_urls=("https://hooks.example.com/a", "https://hooks.example.org/b"),
        cors_allowed_origins=("https://app.example.com", "https://www.example.com"),
        alert_email="alerts@example.com",
        enable_website=True,
        website_domain="files.example.com",
        website_certificate_arn="arn:aws:acm:us-east-1:333333333333:certificate/12345678-90ab-4def-8234-567890abcdef",
    )


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory, wide_settings: Settings) -> Content:
    folder = tmp_path_factory.mktemp("wide")
    synthesize(folder, wide_settings)
    return Synthesized(folder / "stacks" / "sluice-prod").json


def test_the_stacks_have_no_findings(any_stack: Synthesized, environment: str) -> None:
    assert [str(finding) for finding in check(any_stack.json, settings_of(environment))] == []


def test_a_stack_with_everything_has_no_findings(wide: Content, wide_settings: Settings) -> None:
    assert [str(finding) for finding in check(wide, wide_settings)] == []


# Seeds


@dataclass(frozen=True)
class Seed:
    """A defect of one resource, which one rule has to find on every resource of the kind.

    Attributes:
        rule: what finds it.
        kind: kind of the resource.
        damage: makes the defect in the body of a resource.
        where: bodies of that kind in which this is a defect.
    """

    rule: Rule
    kind: str
    damage: Callable[[Content], None]
    where: Callable[[Content], bool] = lambda body: True


def put(**arguments: object) -> Callable[[Content], None]:
    """Set arguments; None removes one."""

    def damage(body: Content) -> None:
        for argument, value in arguments.items():
            body.pop(argument, None)
            if value is not None:
                body[argument] = copy.deepcopy(value)

    return damage


def within(name: str, **arguments: object) -> Callable[[Content], None]:
    """Set arguments in a block."""

    def damage(body: Content) -> None:
        found = body.setdefault(name, {})
        put(**arguments)(found[0] if isinstance(found, list) else found)

    return damage


def variable(name: str, value: str) -> Callable[[Content], None]:
    """A variable of a function."""
    return lambda body: body["environment"]["variables"].update({name: value})


def statement(argument: str = "policy", **elements: object) -> Callable[[Content], None]:
    """Change the last statement of a document."""

    def damage(body: Content) -> None:
        document = json.loads(body[argument])
        put(**elements)(document["Statement"][-1])
        body[argument] = json.dumps(document)

    return damage


def more(argument: str = "policy", **elements: object) -> Callable[[Content], None]:
    """Add a statement that looks harmless."""

    def damage(body: Content) -> None:
        document = json.loads(body[argument])
        document["Statement"].append({"Sid": "Helpful", "Effect": "Allow", **elements})
        body[argument] = json.dumps(document)

    return damage


def admit(principal: object) -> Callable[[Content], None]:
    """Admit a principal, with a condition that restricts nothing."""
    return more(Action="sqs:SendMessage", Resource=QUEUE, Condition=HARMLESS, Principal=principal)


def machine(change: Callable[[Content], object]) -> Callable[[Content], None]:
    """Change the definition of a state machine."""

    def damage(body: Content) -> None:
        definition = json.loads(body["definition"])
        change(definition)
        body["definition"] = json.dumps(definition)

    return damage


def every_task(change: Callable[[Content], object], which: int) -> Callable[[Content], None]:
    """Change the first (0) or last (-1) task of a state machine."""

    def damage(definition: Content) -> None:
        tasks = [state for state in definition["States"].values() if state["Type"] == "Task"]
        change(tasks[which])

    return machine(damage)


def gone(body: Content) -> None:
    """The resource is not there."""
    body["//"] = "gone"


def calls(body: Content) -> bool:
    """It calls a function."""
    return bool(body["type"] != "MOCK")


def not_email(body: Content) -> bool:
    return bool(body["protocol"] != "email")


def asks_who(body: Content) -> bool:
    return bool(body["authorization"] != "NONE")


def takes_a_body(body: Content) -> bool:
    return bool(body["http_method"] == "POST")


def of_no_api(body: Content) -> bool:
    return "api_" not in str(body["role"])


def of_no_logs(body: Content) -> bool:
    return "access_logs" not in str(body["bucket"])


def of_the_page(body: Content) -> bool:
    return "cloudfront.amazonaws.com" in str(body["policy"])


METHOD, INTEGRATION, INVOKE = (
    "aws_api_gateway_method",
    "aws_api_gateway_integration",
    "aws_lambda_function_event_invoke_config",
)
DISTRIBUTION, HEADERS = "aws_cloudfront_distribution", "aws_cloudfront_response_headers_policy"
SUBSCRIPTION, MAPPING = "aws_sns_topic_subscription", "aws_lambda_event_source_mapping"
ENCRYPTION = "aws_s3_bucket_server_side_encryption_configuration"
A_TOPIC = "${aws_sns_topic.notifications_files.arn}"
LOGS = "arn:aws:logs:us-east-1:333333333333"
CUT = '{"Version": "2012-10-17", "Statement": ['
GONE = {"Next": "Gone"}
CIRCLE = {"Next": "Announce", "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Announce"}]}
states = state_machine_rules.state_machines
QUEUE = "${aws_sqs_queue.failures.arn}"
HARMLESS = {"StringLike": {"aws:UserAgent": "*"}}
FOREIGN = "arn:aws:iam::999999999999:role/partner"
FUNCTION, BUCKET, QUEUES, TOPIC = "aws_lambda_function", "aws_s3_bucket", "aws_sqs_queue", "aws_sns_topic"
GRANT, TRUST, KEY, TABLE = "aws_iam_role_policy", "aws_iam_role", "aws_kms_key", "aws_dynamodb_table"
ALARM, MACHINE, PERMISSION = "aws_cloudwatch_metric_alarm", "aws_sfn_state_machine", "aws_lambda_permission"
RESOURCE_POLICIES = ("aws_s3_bucket_policy", "aws_sqs_queue_policy", "aws_sns_topic_policy")

# Invented, and in parts, so that secret scanners do not report them.
AWS_KEY, HOOK, PEM = "AKIA" + "IOSFODNN7EXAMPLE", "whsec" + "_c2VjcmV0", "-----BEGIN " + "PRIVATE KEY-----"
CHANCE = "wJalrXUtnFEMI7K9" + "MDENGbPxRfiCYEXA"

DEFECTS = [
    Seed(guards.provider, BUCKET, put(provider="aws.other")),
    Seed(guards.provider, TABLE, put(region="eu-central-1")),
    Seed(guards.provider, FUNCTION, put(provider="aws.replica")),
    Seed(guards.integration, INTEGRATION, put(integration_http_method="GET"), calls),
    Seed(guards.integration, INTEGRATION, put(type="AWS"), calls),
    Seed(guards.integration, INTEGRATION, put(uri="${aws_lambda_function.upload.invoke_arn}"), calls),
    Seed(guards.integration, INTEGRATION, put(uri="arn:aws:lambda:us-east-1:1:f"), calls),
    Seed(policy_rules.permission, PERMISSION, put(qualifier=None)),
    Seed(policy_rules.permission, PERMISSION, put(source_arn=None)),
    Seed(policy_rules.permission, PERMISSION, put(source_arn="arn:aws:execute-api:us-east-1:333333333333:abc/*/*")),
    Seed(policy_rules.permission, PERMISSION, put(source_arn=f"{API}/*/POST/upload")),
    Seed(policy_rules.permission, PERMISSION, put(source_arn=f"{API}/*")),
    Seed(policy_rules.permission, PERMISSION, put(principal="*")),
    Seed(policy_rules.permission, PERMISSION, put(principal="999999999999")),
    Seed(policy_rules.permission, PERMISSION, put(action="lambda:*")),
    Seed(policy_rules.permission, PERMISSION, put(function_url_auth_type="NONE")),
    *(Seed(policy_rules.documents, kind, put(policy=CUT)) for kind in (GRANT, KEY)),
    *(Seed(policy_rules.documents, kind, put(policy='{"Statement": []}')) for kind in (GRANT, *RESOURCE_POLICIES)),
    *(Seed(policy_rules.documents, kind, statement(Sid=None)) for kind in (GRANT, KEY, *RESOURCE_POLICIES)),
    Seed(policy_rules.documents, TRUST, put(assume_role_policy='{"Version": "2008-10-17", "Statement": []}')),
    Seed(guards.variables, FUNCTION, variable("BUCKET_NAME", "${aws_s3_bucket.storage_uploads.id}")),
    Seed(guards.variables, FUNCTION, variable("TOPIC_NAME", A_TOPIC)),
    Seed(secret_rules.secrets, FUNCTION, variable("DB_PASSWORD", "hunter2")),
    Seed(secret_rules.secrets, FUNCTION, variable("API_KEY", "0123")),
    Seed(secret_rules.secrets, FUNCTION, variable("apiToken", "t")),
    Seed(secret_rules.secrets, FUNCTION, variable("SIGNING_SECRET", CHANCE)),
    Seed(secret_rules.secrets, FUNCTION, variable("WHAT_IT_NEEDS", CHANCE)),
    Seed(secret_rules.secrets, FUNCTION, variable("PARTNER", AWS_KEY)),
    Seed(secret_rules.secrets, FUNCTION, variable("HOOK", HOOK)),
    Seed(secret_rules.secrets, FUNCTION, variable("CERTIFICATE", PEM)),
    Seed(secret_rules.secrets, FUNCTION, variable("DATABASE", "postgres://app:s3same@db.example.com/app")),
    Seed(secret_rules.secrets, FUNCTION, variable("DIGEST", "5f4dcc3b5aa765d61d8327deb882cf99")),
    Seed(guards.public_access, BUCKET, put(acl="public-read")),
    *(
        Seed(guards.public_access, "aws_s3_bucket_public_access_block", put(**{block: False}))
        for block in ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    ),
    Seed(guards.public_access, "aws_s3_bucket_public_access_block", gone),
    Seed(guards.public_access, "aws_s3_bucket_ownership_controls", gone),
    Seed(guards.public_access, "aws_s3_bucket_ownership_controls", put(rule={"object_ownership": "ObjectWriter"})),
    *(Seed(policy_rules.plain_http, kind, gone) for kind in RESOURCE_POLICIES),
    Seed(
        policy_rules.plain_http,
        "aws_s3_bucket_policy",
        put(policy='{"Version": "2012-10-17", "Statement": [{"Sid": "DenyPlainHttp", "Effect": "Allow"}]}'),
    ),
    Seed(website_rules.distributions, DISTRIBUTION, put(origin=[{"origin_id": "page", "domain_name": "b.s3.aws"}])),
    Seed(
        website_rules.distributions, DISTRIBUTION, within("default_cache_behavior", viewer_protocol_policy="allow-all")
    ),
    Seed(website_rules.distributions, DISTRIBUTION, within("default_cache_behavior", response_headers_policy_id=None)),
    Seed(website_rules.distributions, DISTRIBUTION, within("viewer_certificate", minimum_protocol_version="TLSv1")),
    Seed(
        website_rules.distributions,
        DISTRIBUTION,
        put(ordered_cache_behavior=[{"path_pattern": "/open/*", "viewer_protocol_policy": "allow-all"}]),
    ),
    Seed(website_rules.headers, "aws_cloudfront_origin_access_control", put(signing_behavior="no-override")),
    Seed(website_rules.headers, HEADERS, put(security_headers_config=None)),
    Seed(website_rules.headers, HEADERS, within("security_headers_config", strict_transport_security=None)),
    *(
        Seed(
            website_rules.headers,
            HEADERS,
            within("security_headers_config", content_security_policy={"content_security_policy": policy}),
        )
        for policy in (
            "default-src 'self'",
            "default-src 'none'; script-src 'unsafe-inline'",
            "default-src 'none'; connect-src *",
        )
    ),
    *(
        Seed(website_rules.admissions, kind, statement(Condition=condition), of_the_page)
        for kind in ("aws_s3_bucket_policy", KEY)
        for condition in (
            {"StringEquals": {"aws:SourceAccount": "333333333333"}},
            {"StringEquals": {"aws:SourceArn": "arn:aws:cloudfront::333333333333:distribution/*"}},
            {"StringLike": {"aws:SourceArn": "${aws_cloudfront_distribution.website.arn}"}},
        )
    ),
    Seed(guards.events, "aws_cloudwatch_event_target", gone),
    Seed(guards.events, "aws_cloudwatch_event_rule", put(state="DISABLED")),
    Seed(guards.events, "aws_scheduler_schedule", put(state="DISABLED")),
    Seed(guards.events, MAPPING, put(enabled=False)),
    Seed(guards.events, "aws_s3_bucket_notification", put(eventbridge=None)),
    Seed(guards.dead_letters, FUNCTION, put(dead_letter_config=None)),
    Seed(
        guards.dead_letters,
        FUNCTION,
        put(dead_letter_config={"target_arn": A_TOPIC}),
    ),
    Seed(guards.dead_letters, INVOKE, gone),
    Seed(guards.dead_letters, INVOKE, put(destination_config={"on_success": {"a": 1}})),
    Seed(guards.dead_letters, "aws_cloudwatch_event_target", put(dead_letter_config=None)),
    Seed(guards.dead_letters, "aws_scheduler_schedule", within("target", dead_letter_config=None)),
    Seed(guards.dead_letters, SUBSCRIPTION, put(redrive_policy=None), not_email),
    Seed(
        guards.dead_letters,
        SUBSCRIPTION,
        lambda body: body.update(redrive_policy=json.dumps({"deadLetterTargetArn": body["endpoint"]})),
        not_email,
    ),
    Seed(guards.queues, QUEUES, put(message_retention_seconds=345600)),
    Seed(guards.queues, QUEUES, put(message_retention_seconds=None)),
    Seed(guards.queues, MAPPING, put(function_response_types=None)),
    Seed(guards.queues, MAPPING, put(event_source_arn=QUEUE)),
    Seed(states, MACHINE, put(definition="not json")),
    Seed(states, MACHINE, within("logging_configuration", level="ERROR")),
    Seed(states, MACHINE, put(logging_configuration=None)),
    *(
        Seed(states, MACHINE, every_task(put(**{argument: value}), which))
        for which in (0, -1)
        for argument, value in {
            "Resource": "${aws_lambda_function.inspect.arn}",
            "Retry": [],
            "Catch": [{"ErrorEquals": ["States.Timeout"], "Next": "Failed"}],
            "TimeoutSeconds": None,
            "Next": "NoSuchState",
        }.items()
    ),
    Seed(states, MACHINE, machine(put(StartAt="Begin"))),
    Seed(states, MACHINE, machine(lambda d: d["States"]["WhatIsLeft"].update(Default="Finish"))),
    Seed(states, MACHINE, machine(lambda d: d["States"]["WhatIsLeft"].pop("Default"))),
    Seed(
        state_machine_rules.state_machines,
        MACHINE,
        machine(lambda d: d["States"]["WhatIsLeft"]["Choices"][-1].update(GONE)),
    ),
    Seed(states, MACHINE, machine(lambda d: d["States"]["Inspect"]["Catch"][0].update(GONE))),
    Seed(states, MACHINE, machine(lambda d: d["States"].update(Island={"Type": "Succeed"}))),
    Seed(states, MACHINE, machine(lambda d: d["States"].pop("Failed"))),
    Seed(
        state_machine_rules.state_machines,
        MACHINE,
        machine(lambda d: d["States"]["Announce"].update(CIRCLE)),
    ),
    Seed(guards.logs, "aws_cloudwatch_log_group", put(retention_in_days=1)),
    Seed(guards.logs, "aws_cloudwatch_log_group", put(retention_in_days=None)),
    Seed(guards.logs, "aws_cloudwatch_log_group", put(kms_key_id=None)),
    Seed(guards.logs, FUNCTION, put(logging_config=None)),
    Seed(guards.logs, "aws_api_gateway_stage", put(access_log_settings=None)),
    *(
        Seed(
            policy_rules.log_access,
            GRANT,
            statement(Action="logs:PutLogEvents", Resource=resource),
            of_no_api,
        )
        for resource in (
            "*",
            "arn:aws:logs:us-east-1:333333333333:*",
            "arn:aws:logs:us-east-1:333333333333:log-group:*",
        )
    ),
    Seed(guards.packages, FUNCTION, put(filename="upload.zip")),
    Seed(guards.packages, FUNCTION, put(source_code_hash=None)),
    Seed(guards.packages, FUNCTION, put(layers=[])),
    Seed(guards.packages, FUNCTION, put(layers=["arn:aws:lambda:us-east-1:999999999999:layer:tools:1"])),
    Seed(guards.packages, FUNCTION, put(runtime="python3.8")),
    Seed(guards.packages, FUNCTION, put(runtime="nodejs16.x")),
    Seed(guards.packages, FUNCTION, put(runtime=None)),
    Seed(guards.packages, FUNCTION, put(architectures=["x86_64"])),
    Seed(guards.packages, "aws_lambda_layer_version", put(compatible_runtimes=["python3.9"])),
    *(
        Seed(guards.inline_rules, BUCKET, put(**{argument: [{"id": "inline"}]}))
        for argument in ("lifecycle_rule", "versioning", "server_side_encryption_configuration", "logging")
    ),
    Seed(guards.inline_rules, "aws_s3_bucket_versioning", gone),
    Seed(guards.inline_rules, "aws_s3_bucket_versioning", put(versioning_configuration={"status": "Suspended"})),
    Seed(guards.protection, BUCKET, put(force_destroy=True)),
    Seed(guards.protection, TABLE, put(deletion_protection_enabled=None)),
    Seed(guards.protection, TABLE, put(point_in_time_recovery={"enabled": False})),
    Seed(guards.protection, "aws_dynamodb_table_replica", put(deletion_protection_enabled=False)),
    Seed(guards.protection, "aws_dynamodb_table_replica", put(point_in_time_recovery=None)),
    Seed(guards.protection, "aws_secretsmanager_secret", put(recovery_window_in_days=0)),
    Seed(
        guards.validation,
        METHOD,
        put(request_validator_id=None),
        takes_a_body,
    ),
    Seed(guards.open_methods, METHOD, put(authorization="NONE"), asks_who),
    Seed(guards.open_methods, METHOD, put(authorization=None), asks_who),
    *(Seed(policy_rules.actions, kind, statement(Action="s3:PutObjct")) for kind in (GRANT, KEY, *RESOURCE_POLICIES)),
    *(
        Seed(policy_rules.actions, GRANT, statement(Action=action))
        for action in (
            "s3:*",
            "s3:Get*",
            "*",
            "s3:GetObjec?",
            "kms:Decript",
            "s4:GetObject",
            "PutObject",
            ["sqs:SendMessage", "sqs:SendMessages"],
        )
    ),
    Seed(policy_rules.actions, TRUST, statement("assume_role_policy", Action="sts:AssumeRoll")),
    *(
        Seed(policy_rules.negations, kind, statement(**{element: "x:y"}))
        for kind in (GRANT, KEY, *RESOURCE_POLICIES)
        for element in ("NotAction", "NotResource", "NotPrincipal")
    ),
    *(
        Seed(policy_rules.resources, GRANT, more(Action="s3:GetObject", Resource=resource))
        for resource in (
            "*",
            None,
            "arn:aws:s3:::*",
            "arn:aws:dynamodb:us-east-1:333333333333:table/*",
            "arn:aws:sqs:*:333333333333:sluice-prod-failures",
            "arn:aws:sqs:us-east-1:*:sluice-prod-failures",
            "arn:aws:sqs:us-east-1:999999999999:sluice-prod-failures",
            "arn:aws:sqs:ap-south-1:333333333333:sluice-prod-failures",
            ["${aws_s3_bucket.storage_uploads.arn}/uploads/*", "*"],
        )
    ),
    *(
        Seed(
            policy_rules.principals,
            kind,
            admit(principal),
        )
        for kind in (KEY, *RESOURCE_POLICIES)
        for principal in (
            "*",
            {"AWS": "*"},
            {"AWS": ["*"]},
            {"AWS": FOREIGN},
            {"AWS": "999999999999"},
            {"AWS": ["arn:aws:iam::333333333333:root", FOREIGN]},
            {"Service": "events.amazonaws.com"},
            {"Federated": "cognito-identity.amazonaws.com"},
            {"CanonicalUser": "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"},
        )
    ),
    *(
        Seed(policy_rules.principals, TRUST, statement("assume_role_policy", Principal=principal))
        for principal in (
            "*",
            {"AWS": "*"},
            {"AWS": FOREIGN},
            {"AWS": "arn:aws:iam::333333333333:root"},
            {"Federated": "x"},
        )
    ),
    Seed(policy_rules.other_grants, TRUST, put(managed_policy_arns=["arn:aws:iam::aws:policy/ReadOnlyAccess"])),
    Seed(policy_rules.other_grants, TRUST, put(inline_policy=[{"name": "more", "policy": "{}"}])),
    Seed(guards.tracing, FUNCTION, put(tracing_config={"mode": "PassThrough"})),
    Seed(guards.tracing, FUNCTION, put(tracing_config=None)),
    Seed(guards.tracing, "aws_api_gateway_stage", put(xray_tracing_enabled=False)),
    Seed(guards.tracing, MACHINE, put(tracing_configuration=None)),
    Seed(guards.alarms, ALARM, put(actions_enabled=False)),
    Seed(guards.alarms, ALARM, put(alarm_actions=[])),
    Seed(guards.alarms, ALARM, put(alarm_actions=["arn:aws:sns:us-east-1:333333333333:somebody"])),
    Seed(guards.alarms, ALARM, put(ok_actions=None)),
    Seed(guards.alarms, ALARM, put(alarm_description="Errors")),
    Seed(guards.alarms, ALARM, put(metric_query=None, metric_name="Errors", namespace="AWS/Lambda")),
    Seed(
        guards.alarms,
        ALARM,
        put(metric_query=[{"id": "errors", "metric": {"metric_name": "Errors"}, "return_data": True}]),
    ),
    Seed(guards.keys, KEY, put(enable_key_rotation=False)),
    Seed(guards.keys, KEY, put(is_enabled=False)),
    Seed(guards.keys, KEY, put(policy=None)),
    *(
        Seed(
            guards.encryption,
            ENCRYPTION,
            put(rule=[rule]),
            of_no_logs,
        )
        for rule in (
            {"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}},
            {"apply_server_side_encryption_by_default": {"sse_algorithm": "aws:kms"}},
        )
    ),
    Seed(guards.encryption, ENCRYPTION, gone),
    Seed(guards.encryption, QUEUES, put(kms_master_key_id="alias/aws/sqs")),
    Seed(guards.encryption, QUEUES, put(kms_master_key_id=None, sqs_managed_sse_enabled=True)),
    Seed(guards.encryption, TOPIC, put(kms_master_key_id=None)),
    Seed(guards.encryption, FUNCTION, put(kms_key_arn=None)),
    Seed(guards.encryption, TABLE, put(server_side_encryption=None)),
    Seed(guards.encryption, TABLE, within("server_side_encryption", enabled=False)),
    Seed(guards.encryption, "aws_dynamodb_table_replica", put(kms_key_arn=None)),
    Seed(guards.encryption, "aws_secretsmanager_secret", put(kms_key_id=None)),
    Seed(guards.own_pipeline, FUNCTION, put(image_uri="1.dkr.ecr.us-east-1.amazonaws.com/sluice")),
    *(
        Seed(guards.left_alone, kind, put(lifecycle={"ignore_changes": ignored}))
        for kind in (FUNCTION, GRANT, BUCKET, KEY, "aws_lambda_alias", TABLE)
        for ignored in (["tags"], "all", ["policy", "function_version"])
    ),
]


def rows_of(findings: Iterable[Finding]) -> set[int]:
    """Return the rows that findings name."""
    return {finding.row for finding in findings}


def row_of(rule: Rule) -> int:
    """Return the row that the docstring of a rule names."""
    return int(str(rule.__doc__).removeprefix("Row ").partition(":")[0])


@pytest.mark.parametrize("seed", DEFECTS, ids=lambda seed: f"{seed.rule.__name__}-{seed.kind}")
def test_a_seeded_defect_is_found_on_whichever_resource_it_sits(
    wide: Content, wide_settings: Settings, seed: Seed
) -> None:
    named = wide["resource"][seed.kind]
    tried = [name for name, body in named.items() if seed.where(body)]
    assert tried
    missed = []
    content = wide
    for name in tried:
        damaged = copy.deepcopy(named[name])
        seed.damage(damaged)
        bodies = {each: damaged if each == name else body for each, body in named.items()}
        if seed.damage is gone:
            del bodies[name]
        content = {**wide, "resource": {**wide["resource"], seed.kind: bodies}}
        if rows_of(seed.rule(Root(content, wide_settings))) != {row_of(seed.rule)}:
            missed.append(name)
    assert missed == []
    assert row_of(seed.rule) in rows_of(check(content, wide_settings))


def region(content: Content) -> None:
    content["provider"]["aws"][0]["region"] = "eu-west-1"


def any_account(content: Content) -> None:
    del content["provider"]["aws"][0]["allowed_account_ids"]


def second_provider(content: Content) -> None:
    content["provider"]["aws"].append({"alias": "other", "region": "eu-west-1"})


def hand_made_address(content: Content) -> None:
    content["output"]["api_url"]["value"] = "https://${aws_api_gateway_rest_api.api.id}.execute-api.us-east-1.com"


def no_health(content: Content) -> None:
    parts = content["resource"]["aws_api_gateway_resource"]
    content["resource"]["aws_api_gateway_resource"] = {
        name: found for name, found in parts.items() if found["path_part"] != "health"
    }


def last_output(content: Content) -> None:
    next(reversed(content["output"].values())).pop("description")


def circle(content: Content) -> None:
    """Two queues that are each other's dead-letter queues."""
    queues = content["resource"][QUEUES]
    with_readers = next(name for name, body in queues.items() if "redrive_policy" in body)
    target = addresses(queues[with_readers]["redrive_policy"])[0].partition(".")[2]
    queues[target]["redrive_policy"] = json.dumps({"deadLetterTargetArn": f"${{aws_sqs_queue.{with_readers}.arn}}"})


def own(content: Content) -> None:
    """A queue that is its own dead-letter queue."""
    name = next(reversed(content["resource"][QUEUES]))
    content["resource"][QUEUES][name]["redrive_policy"] = json.dumps(
        {"deadLetterTargetArn": f"${{aws_sqs_queue.{name}.arn}}", "maxReceiveCount": 5}
    )


WHOLE: list[tuple[Rule, Callable[[Content], None]]] = [
    (guards.provider, region),
    (guards.provider, any_account),
    (guards.provider, second_provider),
    (secret_rules.secrets, add("aws_secretsmanager_secret_version", secret_id="s", secret_string="x")),
    (secret_rules.secrets, add("aws_ssm_parameter", type="SecureString", value="x")),
    (guards.public_access, add("aws_s3_bucket_acl", bucket="b", acl="public-read")),
    (guards.public_access, add("aws_s3_bucket_website_configuration", bucket="b")),
    (guards.queues, circle),
    (guards.queues, own),
    (guards.outputs, hand_made_address),
    (guards.outputs, lambda content: content["output"]["api_url"].pop("description")),
    (guards.outputs, last_output),
    (guards.cors, no_health),
    (guards.alarms, add(ALARM, alarm_description="x" * 30)),
    (guards.own_pipeline, add("aws_ecr_repository", name="sluice")),
    *(
        (policy_rules.other_grants, add(kind, name="more"))
        for kind in (
            "aws_iam_role_policy_attachment",
            "aws_iam_policy",
            "aws_iam_policy_attachment",
            "aws_iam_user",
            "aws_iam_access_key",
            "aws_lambda_function_url",
            "aws_kms_grant",
        )
    ),
]


@pytest.mark.parametrize(("rule", "seed"), WHOLE)
def test_a_seeded_defect_of_the_whole_is_found(
    wide: Content, wide_settings: Settings, rule: Rule, seed: Callable[[Content], None]
) -> None:
    content = copy.deepcopy(wide)
    seed(content)
    assert rows_of(rule(Root(content, wide_settings))) == {row_of(rule)}
    assert row_of(rule) in rows_of(check(content, wide_settings))


@pytest.mark.parametrize(
    ("row", "settings"),
    [
        (1, {"primary_region": "eu-central-1"}),
        (1, {"account_id": "999999999999"}),
        (10, {"log_retention_days": 14}),
        (11, {"lambda_architecture": "x86_64"}),
        (15, {"cors_allowed_origins": ("*",)}),
        (17, {"enable_xray_tracing": False}),
    ],
)
def test_a_stack_that_does_not_follow_its_settings_is_found(
    prod: Synthesized, row: int, settings: dict[str, object]
) -> None:
    assert row in rows_of(check(prod.json, settings_of("prod").model_copy(update=settings)))


def test_every_rule_has_a_seed() -> None:
    assert {seed.rule for seed in DEFECTS} | {rule for rule, _ in WHOLE} == set(CHECKS)
    assert len(set(CHECKS)) == len(CHECKS)


def test_the_twenty_rows_each_have_a_rule() -> None:
    assert set(map(row_of, CHECKS)) == set(range(1, 21))


def test_a_resource_whose_name_begins_like_another_does_not_stand_for_it(
    wide: Content, wide_settings: Settings
) -> None:
    """A bucket that has nothing is found although another bucket, with a longer name, has everything."""
    content = copy.deepcopy(wide)
    content["resource"][BUCKET]["storage_upload"] = {"bucket": "bare"}
    about = {finding.text for finding in check(content, wide_settings) if finding.address == f"{BUCKET}.storage_upload"}
    assert len(about) == 5


# Variables that hold no secret


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_ARN", "${aws_secretsmanager_secret.a.arn}"),
        ("TOKEN_SECONDS", "3600"),
        ("SECRET_NAME", "sluice-prod-hooks"),
        ("TOKEN", "${aws_ssm_parameter.a.arn}"),
        ("TYPES", "application/vnd.openxmlformats-officedocument.wordprocessingml.document,text/*"),
        ("BUCKET_NAME", "sluice-prod-uploads-333333333333-us-east-1"),
        ("KEY_ARN", "arn:aws:kms:us-east-1:333333333333:key/12345678-90ab-cdef-1234-567890abcdef"),
        ("AUTHORITY", "https://issuer.example.com/realms/Aa1Bb2Cc3Dd4Ee5Ff6Gg7Hh8"),
        ("QUEUE", "https://sqs.us-east-1.amazonaws.com/333333333333/sluice-prod-webhooks"),
        ("LEVEL", "INFO"),
    ],
)
def test_what_only_says_where_a_secret_is_passes(wide: Content, wide_settings: Settings, name: str, value: str) -> None:
    content = copy.deepcopy(wide)
    content["resource"][FUNCTION]["upload"]["environment"]["variables"][name] = value
    assert list(secret_rules.secrets(Root(content, wide_settings))) == []


@given(st.randoms(use_true_random=False), st.integers(24, 40))
def test_generated_secrets_are_seen_whatever_they_are(random: Random, size: int) -> None:
    content = random.randbytes(size)
    text = base64.b64encode(content).decode()
    assert secret_rules.secret_like(f"before,{content.hex()}")
    assert secret_rules.secret_like(f"{text} behind") or not any(map(str.isdigit, text))


def test_synthesis_writes_nothing_when_a_guard_finds_something(tmp_path: Path) -> None:
    app = App(outdir=str(tmp_path))
    settings = settings_of("prod")
    stack = UploadsStack(app, settings=settings, sources=sources_for(tmp_path, settings))
    stack.add_override("resource.aws_s3_bucket.storage_uploads.acl", "public-read")
    with pytest.raises(RuntimeError, match=r"row 6: aws_s3_bucket\.storage_uploads: no ACL is used anywhere"):
        app.synth()
    assert not list(tmp_path.rglob("cdk.tf.json"))
