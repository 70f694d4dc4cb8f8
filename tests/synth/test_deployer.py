"""The policies of whoever deploys and plans a component: the sum over its constructs."""

from __future__ import annotations

import json

import pytest

from modules.deployer import total
from modules.policy_documents import Statement
from modules.settings import Settings
from tests.synth.conftest import settings_of
from tests.synth.test_rows import many
from tools.operate.policies import POLICY_CHARACTERS, deployer_policies, planner_policies

HERE = "us-east-1:333333333333"


def allowed(policies: list[str]) -> dict[str, set[str]]:
    """Resources by action."""
    found: dict[str, set[str]] = {}
    for policy in policies:
        for statement in json.loads(policy)["Statement"]:
            for action in many(statement["Action"]):
                found.setdefault(action, set()).update(many(statement["Resource"]))
    return found


def services(policies: list[str]) -> set[str]:
    return {action.partition(":")[0] for action in allowed(policies)}


class Declaring:
    """A construct that declares one statement."""

    def __init__(self, *actions: str, on: str = "arn:aws:sqs:::a", region: str = "us-east-1") -> None:
        condition = {"StringEquals": {"aws:RequestedRegion": region}}
        self._statement = Statement(sid="Keep", actions=actions, resources=[on], conditions=condition)

    def deployer_statements(self) -> list[Statement]:
        return [self._statement]


def test_statements_with_one_id_become_one() -> None:
    resources = total([Declaring("sqs:A"), object(), Declaring("sqs:A", on="arn:aws:sqs:::b"), Declaring("sqs:A")])
    assert [each.resources for each in resources] == [["arn:aws:sqs:::a", "arn:aws:sqs:::b"]]
    actions = total([Declaring("sqs:A"), Declaring("sqs:A", "sqs:B")])
    assert [each.actions for each in actions] == [["sqs:A", "sqs:B"]]


@pytest.mark.parametrize(
    "other",
    [Declaring("sqs:B", on="arn:aws:sqs:::b"), Declaring("sqs:A", region="eu-west-1")],
    ids=["both", "condition"],
)
def test_statements_that_would_allow_more_together_are_refused(other: Declaring) -> None:
    with pytest.raises(ValueError, match="statements Keep: they differ in more than"):
        total([Declaring("sqs:A"), other])


def test_a_component_has_the_policies_of_its_own_constructs(inbox_settings: Settings) -> None:
    inbox, platform = deployer_policies(inbox_settings, "inbox"), deployer_policies(settings_of("prod"))
    assert services(platform) - services(inbox) == {
        *("apigateway", "cloudfront", "codedeploy", "cognito-idp", "dynamodb", "events", "guardduty", "scheduler"),
        *("secretsmanager", "states", "wafv2"),
    }
    assert allowed(inbox)["ssm:GetParameter"] == {f"arn:aws:ssm:{HERE}:parameter/sluice/prod/files-topic-arn"}
    subscribes = {f"arn:aws:sns:{HERE}:{name}" for name in ("inbox-prod-*", "inbox-prod-*:*", "sluice-prod-files")}
    assert allowed(inbox)["sns:Subscribe"] == subscribes


def test_a_planner_of_a_component_reads_what_the_deployer_keeps(inbox_settings: Settings) -> None:
    planner, deployer = (
        allowed(policies(inbox_settings, "inbox")) for policies in (planner_policies, deployer_policies)
    )
    assert planner["sqs:GetQueueAttributes"] == deployer["sqs:GetQueueAttributes"]
    assert not {"sqs:CreateQueue", "iam:PassRole", "s3:PutObject"} & set(planner)


def test_a_planner_reads_no_file_where_the_deployer_may_empty_buckets() -> None:
    settings = settings_of("dev", enable_website=False, legal_hold=True, s3_lifecycle_expiration_days=0)
    assert f"arn:aws:s3:::{settings.prefix}-*/*" in allowed(deployer_policies(settings))["s3:GetObject"]
    assert allowed(planner_policies(settings))["s3:GetObject"] == {f"arn:aws:s3:::{settings.state_bucket_name}/*"}


def test_policies_fit_into_managed_policies_with_all_options() -> None:
    options = {
        "api_authorization": "jwt",
        "enable_waf": True,
        "jwt_audience": "sluice",
        "jwt_issuer": "https://issuer.example.com",
        "legal_hold": True,
        "malware_scanning": True,
        "release_strategy": "canary",
        "replica_region": "eu-central-1",
        "s3_lifecycle_expiration_days": 0,
        "webhook_urls": ("https://hooks.example.com/",),
    }
    settings = settings_of("dev", **options)
    for policies in (deployer_policies(settings), planner_policies(settings)):
        assert all(len(policy.replace(" ", "")) <= POLICY_CHARACTERS for policy in policies)
        # IAM, "IAM and AWS STS quotas": managed policies of a role.
        assert len(policies) <= 10


@pytest.fixture
def inbox_settings() -> Settings:
    return settings_of("prod", project_name="inbox")
