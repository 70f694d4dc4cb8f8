"""checkov on the Terraform JSON and on the first plan of every environment."""

from __future__ import annotations

import json
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest

from tests.judges.conftest import Plan, Stack
from tools.develop import judges
from tools.develop.judges import JudgeFinding, Verdict
from tools.develop.setup import CHECKOV, prepare
from tools.operate.console import Failure

pytestmark = pytest.mark.slow

Framework = Literal["terraform_json", "terraform_plan"]

# Kinds that hold data or run code: checkov has something to say about each.
JUDGED_KINDS = {
    "aws_api_gateway_stage",
    "aws_cloudwatch_log_group",
    "aws_dynamodb_table",
    "aws_iam_role",
    "aws_iam_role_policy",
    "aws_kms_key",
    "aws_lambda_function",
    "aws_lambda_permission",
    "aws_s3_bucket",
    "aws_sfn_state_machine",
    "aws_sns_topic",
    "aws_sqs_queue",
    "aws_sqs_queue_policy",
}


@pytest.fixture(scope="module")
def verdicts(stacks: list[Stack], plans: list[Plan]) -> list[tuple[Stack, Framework, Verdict]]:
    prepare(CHECKOV)
    cases: list[tuple[Stack, Path, Framework]] = [
        *((stack, stack.file, "terraform_json") for stack in stacks),
        *((plan.stack, plan.file, "terraform_plan") for plan in plans),
    ]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda case: (case[0], case[2], judges.checkov(case[1], case[2])), cases))


def test_it_finds_nothing_that_is_not_accepted(verdicts: list[tuple[Stack, Framework, Verdict]]) -> None:
    findings: dict[str, list[JudgeFinding]] = defaultdict(list)
    for stack, _, verdict in verdicts:
        findings[stack.environment] += verdict.findings
    wrong = judges.complaints(findings, judges.accepted("checkov"))
    assert not wrong, "\n".join(wrong)


def test_it_read_every_resource_that_it_has_checks_for(verdicts: list[tuple[Stack, Framework, Verdict]]) -> None:
    assert len(verdicts) == 20
    for stack, framework, verdict in verdicts:
        judged = {*verdict.passed, *(finding.address for finding in verdict.findings)}
        wanted = {
            f"{kind}.{name}" for kind, named in stack.json["resource"].items() if kind in JUDGED_KINDS for name in named
        }
        assert wanted - judged == set(), (stack.name, framework)
        assert len(verdict.passed) > len(wanted), (stack.name, framework)


def spoilt(stack: Stack, folder: Path) -> Path:
    """The stack's JSON with two defects in its bucket of files."""
    content = stack.json
    content["resource"]["aws_s3_bucket_acl"] = {
        "open": {"bucket": "${aws_s3_bucket.storage_uploads.id}", "acl": "public-read"}
    }
    content["resource"]["aws_s3_bucket_public_access_block"]["storage_uploads_public_access"]["block_public_acls"] = (
        False
    )
    path = folder / "cdk.tf.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("framework", ["terraform_json", "terraform_plan"])
def test_it_sees_a_public_bucket(framework: Framework, stacks: list[Stack], plans: list[Plan], tmp_path: Path) -> None:
    """CKV_AWS_20 is a public ACL, CKV_AWS_53 a bucket that would take one."""
    (index,) = [index for index, stack in enumerate(stacks) if stack.name == "sluice-prod"]
    if framework == "terraform_json":
        file = spoilt(stacks[index], tmp_path)
    else:
        content = json.loads(plans[index].file.read_text())
        for resource in content["planned_values"]["root_module"]["resources"]:
            if resource["address"] == "aws_s3_bucket_public_access_block.storage_uploads_public_access":
                resource["values"]["block_public_acls"] = False
        file = tmp_path / "plan.json"
        file.write_text(json.dumps(content))
    found = {(finding.check, finding.address) for finding in judges.checkov(file, framework).findings}
    assert ("CKV_AWS_53", "aws_s3_bucket_public_access_block.storage_uploads_public_access") in found
    assert framework == "terraform_plan" or ("CKV_AWS_20", "aws_s3_bucket.storage_uploads") in found


def test_a_file_that_it_cannot_read_is_no_silent_pass(stacks: list[Stack], tmp_path: Path) -> None:
    content = stacks[0].json
    content["terraform"]["colour"] = "blue"
    path = tmp_path / "cdk.tf.json"
    path.write_text(json.dumps(content))
    with pytest.raises(Failure, match="could not read"):
        judges.checkov(path, "terraform_json")
