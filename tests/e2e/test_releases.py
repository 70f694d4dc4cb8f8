"""A release by Terraform, a rollback without it, and what Terraform says then."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.e2e.conftest import Deployed
from tests.e2e.test_plan import make
from tools.develop.local import local_settings
from tools.embedded_aws import control
from tools.operate.releases import Moved, rollback
from tools.operate.terraform import Terraform

pytestmark = pytest.mark.slow

NAME = "sluice-local-health"
ALIAS = "aws_lambda_alias.health_live"
ACCOUNT = "000000000000"
# What docs/releases.md says that a rollback has to be allowed.
MAY_ROLL_BACK = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": [
                "lambda:CreateAlias",
                "lambda:DeleteAlias",
                "lambda:ListAliases",
                "lambda:ListTags",
                "lambda:ListVersionsByFunction",
                "lambda:UpdateAlias",
            ],
            "Resource": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:sluice-local-*",
        },
        {"Effect": "Allow", "Action": ["lambda:ListFunctions", "sts:GetCallerIdentity"], "Resource": "*"},
    ],
}


@pytest.fixture
def whoever_is_on_call(deployed: Deployed) -> boto3.Session:
    return deployed.session(control.create_deployer(deployed.aws, MAY_ROLL_BACK, name="on-call"))


@pytest.fixture
def changed(deployed: Deployed, tmp_path: Path) -> Iterator[Terraform]:
    """The deployed stack with a change of one function, in a folder of its own with the same state."""
    folder = Path(shutil.copytree(deployed.terraform.folder, tmp_path / "stack", symlinks=True))
    content = json.loads((folder / "cdk.tf.json").read_text())
    content["resource"]["aws_lambda_function"]["health"]["description"] = "A change that turns out to be wrong"
    (folder / "cdk.tf.json").write_text(json.dumps(content))
    yield Terraform(folder, deployed.system.variables(deployed.aws))
    deployed.terraform.plan("-target", ALIAS)
    deployed.terraform.apply()


def live(deployed: Deployed) -> str:
    client = boto3.client("lambda", **deployed.options(control.ROOT))  # type: ignore[call-overload]
    return str(client.get_alias(FunctionName=NAME, Name="live")["FunctionVersion"])


def planned(terraform: Terraform) -> dict[str, Any]:
    """Return the planned changes of the alias, by address."""
    terraform.plan("-target", ALIAS)
    plan: Any = terraform.show()
    return {
        each["address"]: each["change"] for each in plan["resource_changes"] if each["change"]["actions"] != ["no-op"]
    }


def test_a_release_is_one_pointer_forward_and_a_rollback_one_back(
    deployed: Deployed, changed: Terraform, whoever_is_on_call: boto3.Session
) -> None:
    before = live(deployed)
    changes = planned(changed)
    assert {address: change["actions"] for address, change in changes.items()} == {
        "aws_lambda_function.health": ["update"],
        ALIAS: ["update"],
    }
    assert changes[ALIAS]["after_unknown"]["function_version"] is True
    changed.apply()
    released = live(deployed)
    assert int(released) > int(before)
    assert deployed.api.request("GET", "/health/deep", signed=False)[0] == 200

    said: list[str] = []
    settings = local_settings(deployed.aws)
    assert rollback(settings, whoever_is_on_call, report=said.append) == [Moved(NAME, released, before)]
    assert live(deployed) == before
    assert f"{NAME}: {released} -> {before}" in said
    assert any(line.startswith("sluice-local-upload: left at 1") for line in said)

    # Terraform sees it: the next apply would make the version live again, and the plan says so.
    (address,) = (seen := planned(changed))
    assert address == ALIAS
    assert (seen[ALIAS]["before"]["function_version"], seen[ALIAS]["after"]["function_version"]) == (before, released)


def test_what_was_rolled_back_is_passed_over_by_the_next_rollback(
    deployed: Deployed, changed: Terraform, whoever_is_on_call: boto3.Session
) -> None:
    settings, first = local_settings(deployed.aws), live(deployed)
    planned(changed)
    changed.apply()
    wrong = live(deployed)
    key = whoever_is_on_call.get_credentials()
    assert key is not None
    environment = {
        **deployed.system.variables(deployed.aws),
        **deployed.aws.environment(key.access_key, key.secret_key),
    }
    code, said = make("rollback", "FUNCTION=health", **environment)
    assert (code, live(deployed)) == (0, first), said
    assert f"{NAME}: {wrong} -> {first}" in said
    # Terraform publishes what mends it, and that turns out to be wrong too.
    planned(deployed.terraform)
    deployed.terraform.apply()
    assert live(deployed) not in {first, wrong}
    assert rollback(settings, whoever_is_on_call, only="health")[0].now == first
