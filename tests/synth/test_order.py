"""The order of creation: resources wait for others without which AWS would refuse them or lose their messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.synth.conftest import Synthesized, settings_of, synthesize

SETTINGS = settings_of(
    "prod",
    replica_region="eu-central-1",
    webhook_urls=("https://hooks.example.com/sluice",),
    legal_hold=True,
    s3_lifecycle_expiration_days=0,
    alert_email="ops@example.com",
)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    folder = tmp_path_factory.mktemp("order")
    synthesize(folder, SETTINGS)
    return Synthesized(folder / "stacks" / "sluice-prod")


@pytest.fixture(params=["local", "dev", "staging", "prod", "everything"])
def ordered(request: pytest.FixtureRequest, output: Path, everything: Synthesized) -> Synthesized:
    name = str(request.param)
    return everything if name == "everything" else Synthesized(output / "stacks" / f"sluice-{name}")


def waits_for(stack: Synthesized, address: str) -> set[str]:
    """Return all resources that Terraform creates before a resource: its references and dependencies, recursively."""
    resources = stack.resources()
    found: set[str] = set()
    left = [address]
    while left:
        body = json.dumps(resources[left.pop()])
        named = {*re.findall(r"\$\{(aws_\w+\.\w+)\.", body), *re.findall(r'"(aws_\w+\.\w+)"', body)} & resources.keys()
        left += named - found
        found |= named
    return found


def policies_of(stack: Synthesized, kind: str, argument: str, target: str) -> set[str]:
    """Policies of one resource, such as the aws_sqs_queue_policy of a queue."""
    return {name for name, body in stack.resources(kind).items() if f"${{{target}." in body[argument]}


def referred(value: str) -> str:
    match = re.search(r"\$\{(aws_\w+\.\w+)\.", value)
    assert match, value
    return match[1]


Pairs = Iterator[tuple[str, set[str]]]


def policies_of_queues(stack: Synthesized, *arns: str) -> set[str]:
    found = [policies_of(stack, "aws_sqs_queue_policy", "queue_url", referred(arn)) for arn in arns]
    assert all(len(policies) == 1 for policies in found)
    return set().union(*found)


def policies_of_role(stack: Synthesized, arn: str) -> set[str]:
    found = policies_of(stack, "aws_iam_role_policy", "role", referred(arn))
    assert found
    return found


def pairs(stack: Synthesized) -> Pairs:
    """Addresses, and what has to be there before."""
    yield from pairs_of_buckets(stack)
    yield from pairs_of_messages(stack)
    yield from pairs_of_roles(stack)
    yield from pairs_of_functions(stack)
    for address, body in stack.resources("aws_cloudwatch_metric_alarm").items():
        if body["treat_missing_data"] == "breaching":
            yield address, policies_of(stack, "aws_sns_topic_policy", "arn", referred(body["alarm_actions"][0]))


def pairs_of_buckets(stack: Synthesized) -> Pairs:
    # S3: a target of access logs has to admit the service, and copies are made between versioned buckets.
    for address, body in stack.resources("aws_s3_bucket_logging").items():
        yield address, policies_of(stack, "aws_s3_bucket_policy", "bucket", referred(body["target_bucket"]))
    for address, body in stack.resources("aws_s3_bucket_replication_configuration").items():
        buckets = [referred(body["bucket"]), referred(body["rule"][0]["destination"]["bucket"])]
        for bucket in buckets:
            yield address, policies_of(stack, "aws_s3_bucket_versioning", "bucket", bucket)
    for address, body in stack.resources("aws_s3_bucket_lifecycle_configuration").items():
        yield address, policies_of(stack, "aws_s3_bucket_versioning", "bucket", referred(body["bucket"]))
    for address, body in stack.resources("aws_s3_bucket_policy").items():
        yield address, policies_of(stack, "aws_s3_bucket_public_access_block", "bucket", referred(body["bucket"]))


def pairs_of_messages(stack: Synthesized) -> Pairs:
    # What a queue refuses is not sent again by SNS and EventBridge; what its dead letters refuse is lost.
    for address, body in stack.resources("aws_sns_topic_subscription").items():
        if body["protocol"] == "sqs":
            yield address, policies_of_queues(stack, body["endpoint"], body["redrive_policy"])
    for address, body in stack.resources("aws_cloudwatch_event_target").items():
        yield (
            address,
            policies_of_queues(stack, body["dead_letter_config"]["arn"]) | policies_of_role(stack, body["role_arn"]),
        )


def pairs_of_roles(stack: Synthesized) -> Pairs:
    # These act, or try what they may do, as soon as they are made.
    for address, body in stack.resources("aws_scheduler_schedule").items():
        yield address, policies_of_role(stack, body["target"]["role_arn"])
    for address, body in stack.resources("aws_guardduty_malware_protection_plan").items():
        yield address, policies_of_role(stack, body["role"]) | set(stack.resources("aws_s3_bucket_notification"))
    for address, body in stack.resources("aws_sfn_state_machine").items():
        yield address, policies_of_role(stack, body["role_arn"])
    for address, body in stack.resources("aws_codedeploy_deployment_group").items():
        yield address, policies_of_role(stack, body["service_role_arn"])
    for address, body in stack.resources("aws_api_gateway_account").items():
        yield address, policies_of_role(stack, body["cloudwatch_role_arn"])
        for stage in stack.resources("aws_api_gateway_stage"):
            yield stage, {address}


def pairs_of_functions(stack: Synthesized) -> Pairs:
    for address, body in stack.resources("aws_lambda_function").items():
        sends = {
            name
            for name in policies_of_role(stack, body["role"])
            if name.endswith(("_dead_letters_send", "_environment_decrypt"))
        }
        assert len(sends) == 2, address
        yield address, sends
    for address, body in stack.resources("aws_lambda_event_source_mapping").items():
        queue = referred(body["event_source_arn"])
        yield (
            address,
            {
                name
                for name, policy in stack.resources("aws_iam_role_policy").items()
                if "sqs:ReceiveMessage" in policy["policy"] and queue in policy["policy"]
            },
        )


def test_what_aws_wants_first_is_made_first(ordered: Synthesized) -> None:
    count = 0
    for address, wanted in pairs(ordered):
        assert wanted, address
        assert wanted - waits_for(ordered, address) == set(), address
        count += 1
    assert count > 12


def test_every_resource_waits_for_the_other_where_all_options_are_on(everything: Synthesized) -> None:
    kinds = {address.partition(".")[0] for address, _ in pairs(everything)}
    assert kinds >= {
        "aws_s3_bucket_logging",
        "aws_s3_bucket_replication_configuration",
        "aws_sns_topic_subscription",
        "aws_lambda_event_source_mapping",
        "aws_guardduty_malware_protection_plan",
        "aws_codedeploy_deployment_group",
    }
    assert len(everything.resources("aws_s3_bucket_logging")) == 3
