"""The example: another stack of the same modules, small, and held to the same rules."""

from __future__ import annotations

import ast
import json
import re
import zipfile
from pathlib import Path

import pytest
from cdktf import App

from examples.inbox import InboxStack
from examples.partner_bucket import PartnerBucketStack
from modules.functions import Sources
from synthesis.paths import ROOT
from tests.synth.conftest import PAGE, Synthesized, settings_of
from tests.synth.test_stacks import validate
from tools.operate.synthesize import synthesize
from tools.operate.terraform import find_program


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    """Synthesized, which the guards of the twenty rows let through."""
    folder = tmp_path_factory.mktemp("inbox")
    output = folder / "stacks" / "inbox-prod-inbox"
    sources = Sources(
        functions=ROOT / "examples" / "functions", layers=ROOT / ".build" / "layers", output=output, page=PAGE
    )
    app = App(outdir=str(folder))
    InboxStack(app, settings=settings_of("prod", project_name="inbox"), sources=sources)
    app.synth()
    return Synthesized(output)


@pytest.fixture(scope="module")
def partner_bucket(tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    """Synthesized, which the guards of the twenty rows let through."""
    folder = tmp_path_factory.mktemp("partner-bucket")
    app = App(outdir=str(folder))
    PartnerBucketStack(app, settings=settings_of("prod", project_name="partner"))
    app.synth()
    return Synthesized(folder / "stacks" / "partner-prod-partner-bucket")


@pytest.mark.parametrize("example", ["inbox", "partner_bucket"])
def test_an_example_is_less_than_sixty_lines_of_modules_and_nothing_else(example: str) -> None:
    text = (ROOT / "examples" / f"{example}.py").read_text()
    assert len(text.splitlines()) < 60
    imported = {
        node.module.partition(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and node.module
    }
    assert imported == {"__future__", "constructs", "modules", "stacks"}


def test_it_has_a_consumer_and_no_api(inbox: Synthesized) -> None:
    assert not [address for address in inbox.resources() if re.match(r"aws_(api_gateway|cognito|sfn)", address)]
    (mapping,) = inbox.resources("aws_lambda_event_source_mapping").values()
    assert mapping["event_source_arn"] == "${aws_sqs_queue.announced.arn}"
    assert mapping["function_name"] == "${aws_lambda_alias.archive_live.arn}"
    assert mapping["function_response_types"] == ["ReportBatchItemFailures"]
    # Where nobody releases bit by bit, Terraform moves the alias, whatever the setting of the environment says.
    assert "lifecycle" not in inbox.resources("aws_lambda_alias")["aws_lambda_alias.archive_live"]
    assert inbox.json["terraform"]["backend"]["s3"]["key"] == "inbox.tfstate"


def test_what_the_stacks_share_has_one_name_and_is_written_nowhere_by_hand(
    inbox: Synthesized, prod: Synthesized
) -> None:
    """The topic's ARN comes from the parameter that the platform writes, and from nowhere else."""
    parameter = prod.resources("aws_ssm_parameter")["aws_ssm_parameter.shared_files_topic_arn"]
    assert parameter["insecure_value"] == "${aws_sns_topic.notifications_files.arn}"
    (read,) = inbox.json["data"]["aws_ssm_parameter"].values()
    assert read["name"] == parameter["name"] == "/sluice/prod/files-topic-arn"
    topic = "${data.aws_ssm_parameter.files_topic_arn.insecure_value}"
    (subscription,) = inbox.resources("aws_sns_topic_subscription").values()
    assert subscription["topic_arn"] == topic
    policy = json.loads(inbox.resources("aws_sqs_queue_policy")["aws_sqs_queue_policy.announced_policy"]["policy"])
    assert policy["Statement"][1]["Condition"] == {"ArnEquals": {"aws:SourceArn": topic}}
    assert "sluice-prod" not in inbox.text


def test_no_name_of_it_is_one_of_the_platform(inbox: Synthesized, prod: Synthesized) -> None:
    def names(stack: Synthesized) -> set[str]:
        named = {"name", "bucket", "function_name", "alarm_name", "dashboard_name", "layer_name"}
        found = {str(body[key]) for body in stack.resources().values() for key in named & set(body)}
        return {name for name in found if "${" not in name}

    assert len(names(inbox)) > 10
    # Inline policies have their name in their role, aliases in their function.
    inside = {
        body["name"] for kind in ("aws_iam_role_policy", "aws_lambda_alias") for body in inbox.resources(kind).values()
    }
    assert names(inbox) & names(prod) <= inside


def test_its_package_holds_only_its_own_function(inbox: Synthesized) -> None:
    with zipfile.ZipFile(inbox.folder / "packages" / "archive.zip") as archive:
        assert archive.namelist() == [
            "functions/__init__.py",
            "functions/archive/__init__.py",
            "functions/archive/handler.py",
        ]


def test_terraform_validates_it(inbox: Synthesized) -> None:
    validate(inbox, find_program())


def test_main_synthesizes_it(tmp_path: Path) -> None:
    stack = synthesize(tmp_path, {"ENVIRONMENT": "dev", "PROJECT_NAME": "inbox"}, "inbox")
    assert stack.name == "inbox-dev-inbox"
    assert (stack / "packages" / "archive.zip").is_file()


def test_only_the_partner_may_read_the_bucket(partner_bucket: Synthesized) -> None:
    reader = "arn:aws:iam::333333333333:role/partner-reader"
    policies = partner_bucket.resources("aws_iam_role_policy").values()
    assert {policy["role"] for policy in policies} == {"partner-reader"}
    assert {policy["name"] for policy in policies} == {
        "partner-prod-partner-objects-read-us-east-1",
        "partner-prod-partner-announced-consume-us-east-1",
    }
    assert not partner_bucket.resources("aws_iam_role")
    (bucket_policy,) = partner_bucket.resources("aws_s3_bucket_policy").values()
    assert json.loads(bucket_policy["policy"])["Statement"][-1] == {
        "Sid": "DenyOtherReaders",
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:GetObject", "s3:GetObjectVersion"],
        "Resource": "${aws_s3_bucket.documents.arn}/*",
        "Condition": {"ArnNotEquals": {"aws:PrincipalArn": reader}},
    }


def test_the_partner_hears_of_each_object_and_alarms_watch_that_it_listens(partner_bucket: Synthesized) -> None:
    (notification,) = partner_bucket.resources("aws_s3_bucket_notification").values()
    assert notification["queue"] == [
        {"events": ["s3:ObjectCreated:*"], "queue_arn": "${aws_sqs_queue.announced.arn}"},
    ]
    assert notification["depends_on"] == ["aws_sqs_queue_policy.announced_policy"]
    alarms = partner_bucket.resources("aws_cloudwatch_metric_alarm").values()
    assert {alarm["alarm_name"] for alarm in alarms} == {
        "partner-prod-announced-expiring",
        "partner-prod-failed-waiting",
    }


def test_terraform_validates_the_partner_bucket(partner_bucket: Synthesized) -> None:
    validate(partner_bucket, find_program())


def test_main_synthesizes_the_partner_bucket(tmp_path: Path) -> None:
    stack = synthesize(tmp_path, {"ENVIRONMENT": "dev", "PROJECT_NAME": "partner"}, "partner-bucket")
    assert stack.name == "partner-dev-partner-bucket"
