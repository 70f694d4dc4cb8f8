"""The report of a plan for a reviewer: every change, in order of danger, without secrets.

`plans/edited.json` is a plan that Terraform made of the deployed platform after a few edits of its Terraform JSON, cut
down to a dozen resources. Everything else here is written by hand.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from modules.settings import Settings
from synthesis.paths import ROOT
from tools.operate.console import Failure
from tools.operate.plan.access import access_of
from tools.operate.plan.read import Plan, read_drift, read_plan
from tools.operate.plan.report import GITHUB_LIMIT, report
from tools.operate.plan.risk import named_for, refuse_loss, risks
from tools.operate.policies import planner_policies, trust_policy
from tools.operate.prices import prices


class MarkdownFile(SingleFileSnapshotExtension):
    """A snapshot that a reviewer sees as GitHub shows it."""

    _write_mode = WriteMode.TEXT
    file_extension = "md"


def resource(address: str, actions: list[str], before: object = None, after: object = None, **more: Any) -> Any:  # noqa: ANN401
    """One resource of a plan's JSON."""
    kind = address.split(".")[-2]
    about = {name: more.pop(name) for name in ("previous_address", "mode") if name in more}
    return {
        "address": address,
        "type": kind,
        "change": {"actions": actions, "before": before, "after": after, "after_unknown": {}, **more},
        **about,
    }


def plan_of(*resources: Any, **configuration: Any) -> Plan:  # noqa: ANN401
    return read_plan({"resource_changes": list(resources)}, {"resource": configuration})


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: Any, resource: Any = "arn:aws:s3:::files/*", **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"Sid": "One", "Effect": "Allow", "Action": action, "Resource": resource, **more}


def edited() -> Plan:
    content = json.loads((ROOT / "tests" / "unit" / "plans" / "edited.json").read_text())
    return read_plan(content["plan"], content["configuration"])


# The report


def test_a_reviewer_sees_this(snapshot: SnapshotAssertion) -> None:
    said = report(edited(), title="Plan of local")
    assert said == snapshot(extension_class=MarkdownFile)


def test_no_changes_is_one_line() -> None:
    unchanged = resource("aws_sqs_queue.a", ["no-op"], {"name": "a"}, {"name": "a"})
    assert report(plan_of(unchanged), title="Plan of prod") == "**Plan of prod: No changes**\n"


def test_the_worst_comes_first() -> None:
    lines = report(edited(), title="Plan of local").splitlines()
    assert lines[0] == "## Plan of local: 3 created, 6 changed, 1 replaced, 1 destroyed"
    assert lines[2].startswith("**Risk: data loss (2), exposure (1), widened access (")
    assert "`aws_dynamodb_table.metadata_files`: it is replaced, and with it its records" in lines[4]


def test_what_is_not_known_before_the_apply_is_read_where_it_is_written() -> None:
    said = report(edited(), title="Plan of local")
    assert "+ role sluice-local-report may now kms:Decrypt on aws_kms_key.extra_key\n" in said
    assert "may now s3:GetObject on arn:aws:s3:::sluice-local-uploads-000000000000-us-east-1/*\n" in said


def test_who_uses_what_is_replaced_neither_gains_nor_loses() -> None:
    (use,) = [change for change in edited().changes if change.address.endswith("health_role_records_probe")]
    assert not access_of(use)


def test_a_move_is_told_and_is_no_risk() -> None:
    plan = plan_of(
        resource("aws_s3_bucket.new", ["no-op"], {"a": 1}, {"a": 1}, previous_address="aws_s3_bucket.old"),
    )
    said = report(plan, title="Plan")
    assert "**moved** `aws_s3_bucket.new`, which was `aws_s3_bucket.old`" in said
    assert "**Risk: none found**" in said


def test_a_resource_that_is_forgotten_stays_and_loses_nothing() -> None:
    plan = plan_of(resource("aws_s3_bucket.a", ["forget"], {"bucket": "a"}))
    assert "1 forgotten (it stays in AWS)" in report(plan, title="Plan")
    assert risks(plan) == []
    refuse_loss(plan, [], again="{}")


def test_documents_are_compared_by_content_and_not_by_layout() -> None:
    before, after = json.dumps({"a": 1, "b": {"c": 2}}), json.dumps({"b": {"c": 3}, "a": 1}, indent=4)
    said = report(plan_of(resource("aws_x.y", ["update"], {"body": before}, {"body": after})), title="Plan")
    assert '-    "c": 2\n+    "c": 3\n' in said
    assert '"a": 1' not in [line for line in said.splitlines() if line.startswith(("+", "-"))]


def test_a_long_plan_is_cut_between_changes_and_says_by_how_much() -> None:
    resources = [
        resource(f"aws_sqs_queue.q{n:04}", ["update"], {"name": "x" * 100, "n": n}, {"name": "y" * 100, "n": -n})
        for n in range(2000)
    ]
    said = report(plan_of(*resources), title="Plan")
    assert GITHUB_LIMIT * 0.9 < len(said.encode()) <= GITHUB_LIMIT
    shown = said.count("**changed**")
    (cut,) = [line for line in said.splitlines() if line.startswith("**Left out")]
    assert f"changes ({2000 - shown})" in cut


# Access


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ([allow("s3:GetObject")], [allow(["s3:GetObject"])], []),
        (
            [allow(["s3:GetObject", "s3:PutObject"])],
            [allow("s3:PutObject"), {**allow("s3:GetObject"), "Sid": "Two"}],
            [],
        ),
        (
            [allow("s3:GetObject")],
            [allow(["s3:GetObject", "s3:PutObject"])],
            ["+ role upload may now s3:PutObject on arn:aws:s3:::files/*"],
        ),
        (
            [allow(["s3:GetObject", "s3:PutObject"])],
            [allow("s3:GetObject")],
            ["- role upload may no longer s3:PutObject on arn:aws:s3:::files/*"],
        ),
        (
            [allow("s3:GetObject", Condition={"Bool": {"aws:SecureTransport": "true"}})],
            [allow("s3:GetObject")],
            [
                "+ role upload may now s3:GetObject on arn:aws:s3:::files/*",
                '- role upload may no longer s3:GetObject on arn:aws:s3:::files/* if {"Bool": '
                '{"aws:SecureTransport": "true"}}',
            ],
        ),
        (
            [],
            [{**allow("s3:*"), "Effect": "Deny"}],
            ["- role upload is now denied s3:* on arn:aws:s3:::files/*"],
        ),
        (
            [{**allow("s3:*"), "Effect": "Deny"}],
            [],
            ["+ role upload is no longer denied s3:* on arn:aws:s3:::files/*"],
        ),
        (
            [],
            [{"Effect": "Allow", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::secret"}],
            ["+ role upload may now every action but iam:* on everything but arn:aws:s3:::secret"],
        ),
    ],
)
def test_access_is_described_in_words(before: list[Any], after: list[Any], said: list[str]) -> None:
    plan = plan_of(
        resource(
            "aws_iam_role_policy.upload",
            ["update"],
            {"role": "upload", "policy": policy(*before)},
            {"role": "upload", "policy": policy(*after)},
        )
    )
    assert [f"{sign} {text}" for sign, text in access_of(plan.changes[0]).sentences()] == said


def test_policies_of_resources_name_who() -> None:
    statements = [
        {**allow("sqs:SendMessage", "arn:q"), "Principal": {"Service": ["events.amazonaws.com", "sns.amazonaws.com"]}},
        {**allow("sqs:ReceiveMessage", "arn:q"), "Principal": {"AWS": "*"}},
    ]
    plan = plan_of(resource("aws_sqs_queue_policy.q", ["create"], None, {"policy": policy(*statements)}))
    assert [text for _, text in access_of(plan.changes[0]).sentences()] == [
        "everyone may now sqs:ReceiveMessage on arn:q",
        "service events.amazonaws.com may now sqs:SendMessage on arn:q",
        "service sns.amazonaws.com may now sqs:SendMessage on arn:q",
    ]
    assert [finding.text for finding in risks(plan) if finding.risk == "exposure"] == [
        "everyone may now sqs:ReceiveMessage on arn:q"
    ]


def test_a_function_that_another_may_call_is_access_too() -> None:
    values = {"action": "lambda:InvokeFunction", "function_name": "upload", "principal": "apigateway.amazonaws.com"}
    plan = plan_of(resource("aws_lambda_permission.p", ["create"], None, values))
    assert [text for _, text in access_of(plan.changes[0]).sentences()] == [
        "service apigateway.amazonaws.com may now lambda:InvokeFunction on function upload"
    ]


def test_a_policy_with_unknown_values_is_a_risk() -> None:
    plan = plan_of(resource("aws_sqs_queue_policy.q", ["create"], None, {}, after_unknown={"policy": True}))
    assert [finding.text for finding in risks(plan)] == ["its policy is known after the apply only"]


def test_what_aws_fills_in_and_what_is_secret_is_not_taken_for_what_is_written() -> None:
    def access(**marks: object) -> list[str]:
        unknown = {"policy": True, "arn": True}
        made = resource("aws_sqs_queue_policy.q", ["create"], None, {}, after_unknown=unknown, **marks)
        written = {"q": {"policy": policy({**allow("sqs:*", "${aws_sqs_queue.a.arn}"), "Principal": "*"})}}
        (change,) = plan_of(made, aws_sqs_queue_policy=written).changes
        assert "arn" not in change.after
        return [text for _, text in access_of(change).sentences()]

    assert access() == ["everyone may now sqs:* on aws_sqs_queue.a"]
    assert access(after_sensitive={"policy": True}) == []
    bucket = resource("aws_s3_bucket.b", ["create"], None, {"bucket": "b"}, after_unknown={"policy": True})
    assert risks(plan_of(bucket, aws_s3_bucket={"b": {"bucket": "b"}})) == []


# Risks


@pytest.mark.parametrize(
    ("kind", "before", "after", "risk"),
    [
        ("aws_cognito_user_pool", {"deletion_protection": "ACTIVE"}, {"deletion_protection": "INACTIVE"}, "data loss"),
        ("aws_s3_bucket", {"force_destroy": False}, {"force_destroy": True}, "data loss"),
        ("aws_sqs_queue", {"message_retention_seconds": 9}, {"message_retention_seconds": 8}, "data loss"),
        ("aws_cloudwatch_log_group", {"retention_in_days": 0}, {"retention_in_days": 7}, "data loss"),
        ("aws_lambda_function", {"reserved_concurrent_executions": 9}, {"reserved_concurrent_executions": 0}, "downtime"),  # noqa: E501
        ("aws_kms_key", {"is_enabled": True}, {"is_enabled": False}, "downtime"),
        ("aws_scheduler_schedule", {"state": "ENABLED"}, {"state": "DISABLED"}, "downtime"),
        ("aws_api_gateway_method", {"authorization": "AWS_IAM"}, {"authorization": "NONE"}, "exposure"),
        ("aws_sqs_queue", {"kms_master_key_id": "k"}, {"kms_master_key_id": ""}, "exposure"),
        ("aws_lambda_function", {"memory_size": 128}, {"memory_size": 256}, "cost"),
    ],
)  # fmt: skip
def test_a_risky_change_is_reported(kind: str, before: object, after: object, risk: str) -> None:
    there = plan_of(resource(f"{kind}.a", ["update"], before, after))
    back = plan_of(resource(f"{kind}.a", ["update"], after, before))
    assert [finding.risk for finding in risks(there)] == [risk]
    assert risks(back) == []


def test_a_successor_that_comes_first_is_no_downtime() -> None:
    first = plan_of(resource("aws_lambda_function.a", ["create", "delete"], {"name": "a"}, {"name": "b"}))
    last = plan_of(resource("aws_lambda_function.a", ["delete", "create"], {"name": "a"}, {"name": "b"}))
    assert [finding.risk for finding in risks(first)] == []
    assert [finding.risk for finding in risks(last)] == ["downtime"]


def test_what_costs_by_the_month_is_added_up() -> None:
    keys = [resource(f"aws_kms_key.k{n}", ["create"], None, {"a": 1}) for n in range(3)]
    (finding,) = risks(plan_of(*keys, resource("aws_kms_key.old", ["forget"], {"a": 1})))
    assert (finding.risk, finding.text) == ("cost", "about 3.00 dollars a month more (list prices of us-east-1)")


@pytest.mark.parametrize(
    ("kind", "price"),
    [
        ("aws_cloudwatch_dashboard", "dashboard"),
        ("aws_cloudwatch_metric_alarm", "alarm_metric"),
        ("aws_kms_replica_key", "kms_key"),
        ("aws_secretsmanager_secret", "secret"),
        ("aws_wafv2_web_acl", "waf_acl"),
    ],
)
def test_the_report_has_the_prices_of_the_table(kind: str, price: str) -> None:
    costs = [finding.text for finding in risks(plan_of(resource(f"{kind}.a", ["create"], None, {"a": 1})))]
    assert costs == [f"about {prices()[price].dollars:.2f} dollars a month more (list prices of us-east-1)"]


# The guard

LOSSES = [
    resource("aws_s3_bucket.a", ["delete"], {"bucket": "a"}),
    resource("aws_dynamodb_table.t", ["create", "delete"], {"name": "a"}, {"name": "b"}),
    resource("aws_sqs_queue.q", ["delete"], {"name": "q"}),
    resource("aws_kms_key.k", ["update"], {"tags": {}}, {"tags": {"a": "b"}}),
]


def test_what_may_be_lost_in_one_environment_may_not_in_another() -> None:
    words = ["aws_s3_bucket.a", "prod:aws_s3_bucket.b", "dev:aws_s3_bucket.c"]
    assert named_for("prod", words) == ["aws_s3_bucket.a", "aws_s3_bucket.b"]
    assert named_for("staging", words) == ["aws_s3_bucket.a"]


AGAIN = 'make apply ENVIRONMENT=prod DESTROY="{}"'


def test_a_plan_that_loses_data_is_refused_and_the_way_on_is_said() -> None:
    with pytest.raises(Failure) as caught:
        refuse_loss(plan_of(*LOSSES), ["aws_s3_bucket.a"], again=AGAIN)
    assert "aws_dynamodb_table.t: it is replaced, and with it its records" in caught.value.cause
    assert "aws_s3_bucket.a" not in caught.value.cause
    assert 'DESTROY="aws_s3_bucket.a aws_dynamodb_table.t"' in caught.value.remedy


def test_a_loss_that_is_named_passes_and_nothing_else_may_be_named() -> None:
    refuse_loss(plan_of(*LOSSES), ["aws_s3_bucket.a", "aws_dynamodb_table.t"], again=AGAIN)
    with pytest.raises(Failure, match=r"does not destroy aws_s3_bucket\.b$|does not destroy aws_s3_bucket\.b\n"):
        refuse_loss(plan_of(*LOSSES), ["aws_s3_bucket.a", "aws_dynamodb_table.t", "aws_s3_bucket.b"], again=AGAIN)


@pytest.mark.parametrize(
    "kind",
    [
        "aws_cognito_user_pool",
        "aws_dynamodb_global_table",
        "aws_dynamodb_table",
        "aws_dynamodb_table_replica",
        "aws_kms_external_key",
        "aws_kms_key",
        "aws_kms_replica_key",
        "aws_s3_bucket",
        "aws_secretsmanager_secret",
        "aws_secretsmanager_secret_version",
        "aws_ssm_parameter",
    ],
)
@pytest.mark.parametrize("actions", [["delete"], ["delete", "create"], ["create", "delete"]])
def test_all_that_holds_data_is_guarded(kind: str, actions: list[str]) -> None:
    with pytest.raises(Failure, match=rf"{kind}\.a"):
        refuse_loss(plan_of(resource(f"{kind}.a", actions, {"a": 1}, {"a": 2})), [], again=AGAIN)


# Who plans and who deploys


def settings_of_prod() -> Settings:
    values = tomllib.loads((ROOT / "environments" / "prod.toml").read_text())
    return Settings(**{**values, "environment": "prod"})


def statements(policies: list[str]) -> list[dict[str, Any]]:
    return [statement for text in policies for statement in json.loads(text)["Statement"]]


def test_a_planner_changes_nothing_and_reads_no_data() -> None:
    settings = settings_of_prod()
    state = f"arn:aws:s3:::{settings.state_bucket_name}/*"
    # Everyone can read the files of the page.
    page = "arn:aws:s3:::sluice-prod-website-333333333333-us-east-1/*"
    for statement in statements(planner_policies(settings)):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        for action in actions:
            assert re.match(r"\w[\w-]*:(Get|List|Describe|GET$|Decrypt$|ValidateStateMachineDefinition$)", action), (
                action
            )
            if action.startswith("s3:GetObject"):
                assert statement["Resource"] in {state, page}
            assert action not in {"dynamodb:GetItem", "logs:GetLogEvents", "sqs:ReceiveMessage"}


@pytest.mark.parametrize(
    ("key_id", "resource", "condition"),
    [
        (
            None,
            "arn:aws:kms:us-east-1:333333333333:key/*",
            {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/sluice-prod-state"}},
        ),
        (
            "12345678-1234-4234-8234-123456789abc",
            "arn:aws:kms:us-east-1:333333333333:key/12345678-1234-4234-8234-123456789abc",
            None,
        ),
    ],
)
def test_a_planner_decrypts_only_with_the_key_of_the_state(
    key_id: str | None, resource: str, condition: object
) -> None:
    settings = settings_of_prod().model_copy(update={"state_kms_key_id": key_id})
    (statement,) = [each for each in statements(planner_policies(settings)) if each["Sid"] == "DecryptState"]
    assert (statement["Action"], statement["Resource"]) == ("kms:Decrypt", resource)
    assert statement.get("Condition") == condition


def test_only_jobs_that_were_let_in_deploy() -> None:
    settings = settings_of_prod()

    def subjects(*, plans: bool) -> object:
        (statement,) = statements([trust_policy(settings, "a/b", plans=plans)])
        assert statement["Condition"]["StringEquals"]["token.actions.githubusercontent.com:aud"] == "sts.amazonaws.com"
        return statement["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"]

    assert subjects(plans=False) == "repo:a/b:environment:prod"
    assert subjects(plans=True) == ["repo:a/b:pull_request", "repo:a/b:ref:refs/heads/main"]


# Drift


def test_what_changes_by_use_is_no_drift() -> None:
    users = resource(
        "aws_cognito_user_pool.u", ["update"], {"estimated_number_of_users": 1}, {"estimated_number_of_users": 2}
    )
    unset = resource("aws_s3_bucket.b", ["update"], {"tags": None}, {"tags": {}})
    assert not read_drift({"resource_drift": [users, unset]})
    assert not read_drift({})
    renamed = resource("aws_sqs_queue.q", ["update"], {"delay_seconds": 0}, {"delay_seconds": 5})
    assert read_drift({"resource_drift": [users, renamed]}).count("change") == 1


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ('{"type": "object", "title": "a"}', '{"title":"a","type":"object"}', 0),
        ('{"type": "object"}', '{"type":"array"}', 1),
        ('{"type": "object"}', "", 1),
        ("a", "b", 1),
    ],
)
def test_a_document_in_another_spelling_is_no_drift(before: str, after: str, changed: int) -> None:
    model = resource("aws_api_gateway_model.m", ["update"], {"schema": before}, {"schema": after})
    assert read_drift({"resource_drift": [model]}).count("change") == changed


BUCKET, ROLE, TABLE = {"id": "b", "arn": "b-arn"}, {"id": "r"}, {"arn": "t"}
COPY = {"global_table_arn": "t", "arn": "arn:aws:dynamodb:eu-west-1:1:table/t"}


@pytest.mark.parametrize(
    ("kind", "ids", "attribute", "value", "other", "others"),
    [
        ("aws_s3_bucket", BUCKET, "policy", '{"Statement": []}', "aws_s3_bucket_policy", {"bucket": "b"}),
        (
            "aws_s3_bucket",
            BUCKET,
            "lifecycle_rule",
            [{"expiration": [{"days": 30}]}],
            "aws_s3_bucket_lifecycle_configuration",
            {"bucket": "b"},
        ),
        ("aws_s3_bucket", BUCKET, "versioning", [{"enabled": True}], "aws_s3_bucket_versioning", {"bucket": "b"}),
        ("aws_sns_topic", {"arn": "a"}, "policy", '{"Statement": []}', "aws_sns_topic_policy", {"arn": "a"}),
        ("aws_sqs_queue", {"url": "u"}, "policy", '{"Statement": []}', "aws_sqs_queue_policy", {"queue_url": "u"}),
        (
            "aws_api_gateway_stage",
            {"arn": "s"},
            "web_acl_arn",
            "acl",
            "aws_wafv2_web_acl_association",
            {"resource_arn": "s"},
        ),
        (
            "aws_cognito_user_pool",
            {"id": "p"},
            "domain",
            "sign-in",
            "aws_cognito_user_pool_domain",
            {"user_pool_id": "p"},
        ),
        (
            "aws_iam_role",
            ROLE,
            "inline_policy",
            [{"name": "n", "policy": "{}"}],
            "aws_iam_role_policy",
            {"role": "r", "name": "n"},
        ),
        ("aws_dynamodb_table", TABLE, "replica", [{"region_name": "eu-west-1"}], "aws_dynamodb_table_replica", COPY),
    ],
)
def test_what_one_resource_does_to_another_is_no_drift(
    kind: str, ids: dict[str, Any], attribute: str, value: object, other: str, others: dict[str, Any]
) -> None:
    changed = resource(f"{kind}.x", ["update"], {**ids, attribute: None}, {**ids, attribute: value})

    def found(*resources: dict[str, Any]) -> Plan:
        state = [{"type": other, "values": values} for values in resources]
        return read_drift(
            {"resource_drift": [changed], "prior_state": {"values": {"root_module": {"resources": state}}}}
        )

    assert not found(others)
    # Without the separate resource, or with one for another resource, the change is drift.
    assert found().count("change") == 1
    for name in others:
        if isinstance(others[name], str):
            assert found({**others, name: "arn:aws:dynamodb:us-west-2:1:table/t"}).count("change") == 1
    assert "data loss" not in report(found(others), title="Drift")


def test_what_a_hand_added_beside_what_is_ours_is_drift() -> None:
    ours, theirs = {"name": "ours", "policy": "{}"}, {"name": "theirs", "policy": "{}"}
    changed = resource(
        "aws_iam_role.x", ["update"], {**ROLE, "inline_policy": []}, {**ROLE, "inline_policy": [ours, theirs]}
    )
    state = [{"type": "aws_iam_role_policy", "values": {"role": "r", "name": "ours"}}]
    (change,) = read_drift(
        {"resource_drift": [changed], "prior_state": {"values": {"root_module": {"resources": state}}}}
    ).changes
    assert change.after["inline_policy"] == [theirs]


@pytest.mark.parametrize(
    ("ignored", "moved"), [(["function_version"], 0), ("all", 0), (["routing_config"], 1), ([], 1)]
)
def test_what_the_code_leaves_to_others_is_no_drift(ignored: object, moved: int) -> None:
    alias = resource("aws_lambda_alias.live", ["update"], {"function_version": "1"}, {"function_version": "2"})
    configuration = {"resource": {"aws_lambda_alias": {"live": {"lifecycle": {"ignore_changes": ignored}}}}}
    assert read_drift({"resource_drift": [alias]}, configuration).count("change") == moved


# Secrets

SECRET = "tops3cret-value"  # noqa: S105


@pytest.mark.parametrize(
    ("values", "marks"),
    [
        ({"value": SECRET}, {"value": True}),
        ({"nested": [{"value": SECRET}]}, {"nested": [{"value": True}]}),
        ({"nested": {"deep": [SECRET, "x"]}}, {"nested": True}),
        ({"master_password": SECRET}, {}),
        ({"environment": [{"variables": {"API_TOKEN": SECRET}}]}, {}),
        ({"body": json.dumps({"password": SECRET})}, {}),
        ({"body": json.dumps([json.dumps({"client_secret": SECRET})])}, {}),
        ({"value": SECRET, "url": f"https://user:{SECRET}@host"}, {"value": True}),
    ],
)
def test_a_secret_is_hidden_and_its_change_is_reported(values: dict[str, Any], marks: object) -> None:
    was = json.loads(json.dumps(values).replace(SECRET, "previous-s3cret"))
    for plan in (
        plan_of(resource("aws_x.y", ["update"], was, values, before_sensitive=marks, after_sensitive=marks)),
        plan_of(resource("aws_x.y", ["create"], None, values, after_sensitive=marks)),
        plan_of(resource("aws_x.y", ["delete"], values, None, before_sensitive=marks)),
    ):
        said = report(plan, title="Plan")
        assert SECRET not in said
        assert "previous-s3cret" not in said
        assert SECRET not in repr(plan)


def test_a_changed_secret_is_a_change() -> None:
    marks = {"value": True}
    plan = plan_of(
        resource("aws_x.y", ["update"], {"value": "a"}, {"value": "b"}, before_sensitive=marks, after_sensitive=marks)
    )
    assert "| `value` | `(hidden)` | `(hidden)` |" in report(plan, title="Plan")


def test_names_and_lifetimes_of_secrets_are_no_secrets() -> None:
    before = {"secret_arn": "arn:one", "refresh_token_validity": 1, "SECRET_NAME": "one"}
    after = {"secret_arn": "arn:two", "refresh_token_validity": 2, "SECRET_NAME": "two"}
    said = report(plan_of(resource("aws_x.y", ["update"], before, after)), title="Plan")
    assert "(hidden)" not in said
    assert "`arn:two`" in said


# Whatever a value is, the report stays whole

NASTY = st.one_of(
    st.sampled_from(
        ["</details>", "```", "|", "\\|", "\\", "a`b", "\n\n## x", "<!--", "| a | b |\n|---|---|", "@x", "\u202e", "`"]
    ),
    st.text(max_size=40),
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), NASTY),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NASTY, inner, max_size=3)),
    max_leaves=6,
)
ACTIONS = st.sampled_from([["create"], ["update"], ["delete"], ["delete", "create"], ["create", "delete"], ["forget"]])
SECRETS = st.text(alphabet="abcdefgh0123456789", min_size=8, max_size=20).map("s3cr3t-{}".format)


@st.composite
def resources(draw: st.DrawFn) -> Any:  # noqa: ANN401
    name = draw(st.text(min_size=1, max_size=12))
    secret = draw(SECRETS)
    values = {"value": draw(VALUES), "hidden": secret, draw(NASTY): draw(VALUES), "quoted": f"x{secret}y"}
    values["policy"] = policy({"Sid": draw(NASTY), "Effect": "Allow", "Action": draw(NASTY), "Resource": draw(NASTY)})
    values["document"] = json.dumps({draw(NASTY): draw(VALUES), "password": secret})
    other = {**values, "value": draw(VALUES), "policy": policy(allow(draw(NASTY))), "quoted": f"z{secret}"}
    marks = {"hidden": True}
    kind = draw(st.sampled_from(["aws_s3_bucket", "aws_iam_role_policy", "aws_x"]))
    made = resource(
        f"{kind}.a", draw(ACTIONS), other, values, before_sensitive=marks, after_sensitive=marks, replace_paths=[["a|"]]
    )
    return {**made, "address": f'{kind}.a["{name}"]', "previous_address": draw(NASTY)}, secret


def shape(text: str) -> list[str]:
    """Return the blocks and cells that GitHub makes of a text."""
    markdown = MarkdownIt("commonmark").enable("table")
    return [token.type for token in markdown.parse(text)]


@settings(max_examples=150, deadline=None)
@given(st.lists(resources(), min_size=1, max_size=6), st.integers(min_value=1_500, max_value=20_000), NASTY)
def test_no_value_breaks_the_report_or_shows_a_secret(found: list[Any], limit: int, title: str) -> None:
    plan = read_plan(
        {"resource_changes": [each for each, _ in found], "output_changes": {title: {"actions": ["create"]}}}
    )
    said = report(plan, title=title, limit=limit)
    assert len(said.encode()) <= limit
    assert not [secret for _, secret in found if secret in said]
    lines = said.splitlines()
    assert said.split("\n")[:-1] == lines, "a value broke a line"
    assert lines.count("</details>") == sum(line.startswith("<details") for line in lines)
    tokens = Counter(shape(said))
    assert tokens["heading_open"] == 1
    # A fold is two blocks of HTML, and nothing else is one.
    assert tokens["html_block"] == 2 * lines.count("</details>")
    assert tokens["blockquote_open"] == tokens["hr"] == tokens["code_block"] == 0
    # Markdown fills up short rows and drops what is too much: so the pipes that are no text are counted by hand.
    rows = [line for line in lines if line.startswith("| ")]
    assert all(row.count(" | ") + 2 == row.count("|") for row in rows)
    assert tokens["tr_open"] == len(rows)


def test_the_fuzz_above_can_see_a_break() -> None:
    assert Counter(shape("<details>\n\n```\n</details>\n```\n"))["html_block"] == 1
    assert "heading_open" in shape("a\n\n## x")
