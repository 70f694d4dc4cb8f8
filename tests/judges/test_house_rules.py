"""House rules, written for people in judges/features, on the first plan of every environment."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.judges.conftest import Plan
from tools.develop import judges

pytestmark = pytest.mark.slow


def test_every_plan_follows_them(plans: list[Plan]) -> None:
    for plan in plans:
        verdict = judges.terraform_compliance(plan.file)
        assert not verdict.findings, plan.stack.name + "\n" + "\n".join(map(str, verdict.findings))
        if plan.stack.whole:
            # A scenario about something that is not there is left out, and would hide a kind that was misspelt.
            assert [title for title in verdict.skipped if ": there is no " not in title] == []
        assert len(verdict.passed) >= (30 if plan.stack.whole else 15), plan.stack.name


Values = dict[str, Any]
Change = Callable[[Values], object]

# A scenario, the kind of resource it is about, and what breaks it.
BROKEN: list[tuple[str, str, Change]] = [
    (
        "ACLs have no effect on any bucket",
        "aws_s3_bucket_ownership_controls",
        lambda body: body["rule"][0].update(object_ownership="ObjectWriter"),
    ),
    (
        "every public access block is complete",
        "aws_s3_bucket_public_access_block",
        lambda body: body.update(block_public_policy=False),
    ),
    (
        "versioning is on",
        "aws_s3_bucket_versioning",
        lambda body: body["versioning_configuration"][0].update(status="Suspended"),
    ),
    (
        "files are encrypted under a key of ours",
        "aws_s3_bucket_server_side_encryption_configuration",
        lambda body: body["rule"][0]["apply_server_side_encryption_by_default"][0].update(sse_algorithm="AES256"),
    ),
    (
        "the table is encrypted under a key of ours",
        "aws_dynamodb_table",
        lambda body: body["server_side_encryption"][0].update(enabled=False),
    ),
    ("keys change every year", "aws_kms_key", lambda body: body.update(enable_key_rotation=False)),
    (
        "no action is a pattern",
        "aws_kms_key",
        lambda body: body.update(policy=body["policy"].replace("Decrypt", "De*")),
    ),
    ("every log group has an end", "aws_cloudwatch_log_group", lambda body: body.update(retention_in_days=0)),
    (
        "every function is traced",
        "aws_lambda_function",
        lambda body: body["tracing_config"][0].update(mode="PassThrough"),
    ),
    (
        "the workflow is traced",
        "aws_sfn_state_machine",
        lambda body: body["tracing_configuration"][0].update(enabled=False),
    ),
    (
        "the workflow logs everything",
        "aws_sfn_state_machine",
        lambda body: body["logging_configuration"][0].update(level="ERROR"),
    ),
    ("the API's stage is traced", "aws_api_gateway_stage", lambda body: body.update(xray_tracing_enabled=False)),
    (
        "every alarm says what to do",
        "aws_cloudwatch_metric_alarm",
        lambda body: body.update(alarm_description="Something is wrong"),
    ),
    ("everything that can be tagged is tagged", "aws_sqs_queue", lambda body: body["tags_all"].pop("Owner", None)),
    *(
        (title, kind, lambda body, argument=argument: body.pop(argument, None))
        for title, kind, argument in (
            ("every log group is encrypted under a key of ours", "aws_cloudwatch_log_group", "kms_key_id"),
            ("every function has dead letters", "aws_lambda_function", "dead_letter_config"),
            ("every function's variables are encrypted under a key of ours", "aws_lambda_function", "kms_key_arn"),
            (
                "every asynchronous call that fails ends somewhere",
                "aws_lambda_function_event_invoke_config",
                "destination_config",
            ),
            ("every target of a rule has dead letters", "aws_cloudwatch_event_target", "dead_letter_config"),
            ("every subscription has dead letters", "aws_sns_topic_subscription", "redrive_policy"),
            ("the API's stage has an access log", "aws_api_gateway_stage", "access_log_settings"),
            ("every alarm tells someone", "aws_cloudwatch_metric_alarm", "alarm_actions"),
            ("queues are encrypted under a key of ours", "aws_sqs_queue", "kms_master_key_id"),
            ("topics are encrypted under a key of ours", "aws_sns_topic", "kms_master_key_id"),
        )
    ),
]
# A scenario, and the kind of resource whose absence breaks it.
ABSENT = {
    "every bucket is closed to the public": "aws_s3_bucket_public_access_block",
    "every bucket has a policy": "aws_s3_bucket_policy",
    "every bucket keeps old versions": "aws_s3_bucket_versioning",
    "every bucket is encrypted by default": "aws_s3_bucket_server_side_encryption_configuration",
}
# A scenario, and the kind of resource whose presence breaks it.
PRESENT = {"there is no ACL on a bucket": "aws_s3_bucket_acl", "there is no ACL on an object": "aws_s3_object_acl"}


def broken_by(plan: Plan, file: Path, spoil: Callable[[Values], None]) -> set[str]:
    """The scenarios that fail on a plan with defects."""
    content = copy.deepcopy(dict(plan.json))
    spoil(content)
    file.write_text(json.dumps(content))
    return {
        finding.check.partition(": ")[2].partition(" - row ")[0]
        for finding in judges.terraform_compliance(file).findings
    }


def lists_of(content: Values) -> Iterable[list[Values]]:
    """A resource is in a plan three times: what is written, what comes of it, and the change."""
    yield content["configuration"]["root_module"]["resources"]
    yield content["planned_values"]["root_module"]["resources"]
    yield content["resource_changes"]


def bodies_of(content: Values, kind: str) -> Iterable[Values]:
    """The last resource of a kind, wherever it is: that the others are right must not hide it."""
    for every in lists_of(content):
        # The policy of the page's key names its distribution, so that no plan knows it.
        last = [each for each in every if each["type"] == kind and each["name"] != "website_key"][-1]
        yield from filter(
            None,
            (last.get("expressions"), last.get("values"), *map(last.get("change", {}).get, ("after", "after_unknown"))),
        )


def test_a_resource_that_breaks_a_rule_is_seen(prod: Plan, tmp_path: Path) -> None:
    def spoil(content: Values) -> None:
        for _, kind, change in BROKEN:
            for body in bodies_of(content, kind):
                with suppress(KeyError, IndexError, TypeError, AttributeError):
                    change(body)

    titles = {title for title, _, _ in BROKEN}
    assert titles - broken_by(prod, tmp_path / "plan.json", spoil) == set()


def test_a_resource_that_is_missing_is_seen(prod: Plan, tmp_path: Path) -> None:
    def spoil(content: Values) -> None:
        for every in lists_of(content):
            every[:] = [resource for resource in every if resource["type"] not in ABSENT.values()]

    assert broken_by(prod, tmp_path / "plan.json", spoil) == set(ABSENT)


def test_what_must_not_be_is_seen(prod: Plan, tmp_path: Path) -> None:
    def spoil(content: Values) -> None:
        for kind in PRESENT.values():
            about: dict[str, object] = {"address": f"{kind}.open", "mode": "managed", "type": kind, "name": "open"}
            change = {"actions": ["create"], "before": None, "after": {"acl": "public-read"}, "after_unknown": {}}
            bodies: list[Values] = [{"expressions": {}}, {"values": {}}, {"change": change}]
            for every, body in zip(lists_of(content), bodies, strict=True):
                every.append({**about, **body})
        content["configuration"]["provider_config"]["aws"].update(
            version_constraint="~> 5.0", expressions={"region": {"constant_value": "eu-west-9"}}
        )

    assert broken_by(prod, tmp_path / "plan.json", spoil) == {
        *PRESENT,
        "the region is one of ours",
        "the provider is pinned to one version",
    }


def test_every_rule_has_been_seen_to_fail() -> None:
    written = {
        line.split(":", 1)[1].strip()
        for file in judges.HOUSE_RULES.glob("*.feature")
        for line in file.read_text().splitlines()
        if line.strip().startswith("Scenario")
    }
    seen = {*(title for title, _, _ in BROKEN), *ABSENT, *PRESENT}
    assert written - seen == {"the region is one of ours", "the provider is pinned to one version"}


@pytest.fixture(scope="module")
def prod(plans: list[Plan]) -> Plan:
    (plan,) = [plan for plan in plans if plan.stack.name == "sluice-prod"]
    return plan
