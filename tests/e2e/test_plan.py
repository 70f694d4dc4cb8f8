"""`make plan`, `make apply` and `make drift`, as people and CI run them, on the deployed platform.

Plans and looks for drift are made by a user who holds the planner's policies and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import boto3
import pytest

from synthesis.paths import ROOT
from tests.e2e.conftest import Deployed
from tools.develop.local import local_settings
from tools.embedded_aws import control
from tools.operate.plan.__main__ import PLANS
from tools.operate.policies import planner_policies
from tools.operate.terraform import cli_configuration

pytestmark = pytest.mark.slow

PLAN = PLANS / "local" / "sluice" / "uploads"


def make(*words: str, **variables: str) -> tuple[int, str]:
    """Exit code and output of make; its own exit code is 2 whatever failed."""
    # Where make runs the tests, this one would take itself for its child, and say so in what it prints.
    own = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    done = subprocess.run(
        ["make", *words, "ENVIRONMENT=local"],
        cwd=ROOT,
        env={**own, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def drift(**variables: str) -> int:
    """Exit code of what `make drift` runs: 2 for drift, 1 for an error."""
    words = [sys.executable, "-m", "tools.operate.plan", "drift"]
    env = {**os.environ, "ENVIRONMENT": "local", **variables}
    return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, check=False).returncode


@pytest.fixture(scope="module")
def deployer(deployed: Deployed) -> dict[str, str]:
    """Return the variables that lead make to the embedded AWS, as the deployer."""
    return {**deployed.system.variables(deployed.aws), "TF_CLI_CONFIG_FILE": str(cli_configuration())}


@pytest.fixture(scope="module")
def planner(deployed: Deployed, deployer: dict[str, str]) -> dict[str, str]:
    """The same for somebody who may only look."""
    settings = local_settings(deployed.aws)
    policies = [json.loads(policy) for policy in planner_policies(settings)]
    user = control.create_deployer(deployed.aws, policies, name="planner")
    return {**deployer, **deployed.aws.environment(user.access_key, user.secret_key)}


@pytest.fixture
def changed_by_hand(deployed: Deployed, deployer: dict[str, str]) -> Iterator[str]:
    """The address of a log group whose retention somebody set; mended by the test, or in the end."""
    logs = boto3.client(
        "logs",
        endpoint_url=deployed.aws.endpoint_url,
        verify=str(deployed.aws.ca_bundle),
        region_name=deployed.aws.region,
        aws_access_key_id=deployer["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=deployer["AWS_SECRET_ACCESS_KEY"],
    )
    name = "/aws/lambda/sluice-local-upload"
    logs.put_retention_policy(logGroupName=name, retentionInDays=30)
    yield "aws_cloudwatch_log_group.upload_logs"
    groups = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    (group,) = (each for each in groups if each["logGroupName"] == name)
    logs.put_retention_policy(logGroupName=name, retentionInDays=7)
    assert group["retentionInDays"] == 7


def test_what_was_changed_by_hand_is_found_planned_and_mended(
    deployer: dict[str, str], planner: dict[str, str], changed_by_hand: str
) -> None:
    code, said = make("drift", **planner)
    assert code == 2
    assert drift(**planner) == 2
    assert "## Drift of local, from the state to the account: 1 changed" in said
    assert f"**changed** `{changed_by_hand}`" in said
    assert "**Risk: cost (1)**" in said
    assert "| `retention_in_days` | `7` | `30` |" in said
    assert (PLAN / "drift.md").read_text() in said

    code, said = make("plan", **planner)
    assert code == 0, said
    assert "## Plan of local: 1 changed" in said
    assert "**Risk: data loss (1)**" in said
    assert "| `retention_in_days` | `30` | `7` |" in said

    # What a workflow carries from one checkout to another, and nothing else.
    for left in PLAN.iterdir():
        if left.name not in {"tfplan", "reviewed.json", "report.md"}:
            left.unlink()
    shutil.rmtree(PLAN.with_name("uploads.cdktf.out"))
    code, said = make("apply", **deployer)
    assert code == 0, said
    assert "0 to add, 1 to change, 0 to destroy" in said

    assert make("drift", **planner)[1].endswith("\nNo drift\n")
    assert drift(**planner) == 0
    assert drift(**{**planner, "STATE_KMS_KEY_ID": "no key"}) == 1
    assert not (PLAN / "drift.md").exists()


def test_after_an_apply_there_is_nothing_to_do(planner: dict[str, str]) -> None:
    code, said = make("plan", **planner)
    assert code == 0, said
    assert (PLAN / "report.md").read_text() == "**Plan of local: No changes**\n"


def test_whoever_only_plans_was_denied_nothing_and_changed_nothing(deployed: Deployed, planner: dict[str, str]) -> None:
    calls = [each for each in deployed.decisions() if str(each["principal"]).endswith(":user/planner")]
    assert len(calls) > 100
    assert [call for call in calls if not call["allowed"]] == []
    verbs = {str(call["action"]).partition(":")[2] for call in calls} - {"Decrypt", "ValidateStateMachineDefinition"}
    assert {verb for verb in verbs if not verb.startswith(("Get", "List", "Describe", "GET", "HeadBucket"))} == set()


def test_a_plan_that_loses_data_and_one_of_other_code_are_refused(deployer: dict[str, str]) -> None:
    other = {**deployer, "PROJECT_NAME": "slouce", "STATE_BUCKET": "sluice-local-state-000000000000-us-east-1"}
    ours = {path.name: path.read_bytes() for path in PLAN.iterdir()}
    code, said = make("plan", **other)
    assert code == 0, said
    assert "**Risk: data loss (" in said
    assert {path.name: path.read_bytes() for path in PLAN.iterdir()} == ours

    code, said = make("apply", "DESTROY=aws_s3_bucket.storage_uploads", **other)
    assert code == 2
    assert "aws_dynamodb_table.metadata_files: it is replaced, and with it its records" in said
    assert "aws_s3_bucket.storage_uploads aws_" in said or " aws_s3_bucket.storage_uploads" in said
    assert "make apply ENVIRONMENT=local DESTROY=" in said

    code, said = make("apply", **{**other, "LOG_RETENTION_DAYS": "30"})
    assert code == 2
    assert "the code or the settings are no longer those of the plan that was reviewed" in said

    (PLANS / "local" / "slouce" / "uploads" / "tfplan").write_bytes(b"another")
    code, said = make("apply", **other)
    assert code == 2
    assert "the plan file is not the one that was reported" in said


def test_without_a_plan_there_is_no_apply(deployer: dict[str, str]) -> None:
    (PLAN / "reviewed.json").unlink(missing_ok=True)
    code, said = make("apply", **deployer)
    assert code == 2
    assert "there is no plan of local" in said
    assert "make plan ENVIRONMENT=local" in said


def test_the_json_is_validated_without_an_account(deployer: dict[str, str]) -> None:
    nobody = {
        name: value for name, value in deployer.items() if name not in {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    }
    code, said = make("validate", **nobody)
    assert code == 0, said
