"""`dev` as in the tree, except for the account id, in a fresh clone, with the commands of the README.

AWS is the embedded one, at AWS's own host names, so that nothing of what is deployed knows of it.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

from tests.e2e.account import ACCOUNT, Account, Clone, account, allowed_origin, clone_to
from tests.e2e.readme import Reader, commands, section
from tools.develop.layers import host_runtime

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(
        shutil.which("terraform") is None, reason="cdktf runs the `terraform` on PATH, and there is none"
    ),
]

STACK = "cdktf.out/stacks/sluice-dev"


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with account(tmp_path_factory.mktemp("account")) as opened:
        yield opened


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return clone_to(tmp_path_factory.mktemp("fresh") / "sluice")


def test_dev_is_deployed_used_and_destroyed_as_the_readme_says(clone: Clone, owned: Account, tmp_path: Path) -> None:
    # 1: an account id, and nothing else.
    before = (clone.folder / "environments" / "dev.toml").read_text()
    clone.set("dev", account_id=ACCOUNT)
    assert _changed(clone, before) == ["account_id"]

    # 2: credentials with just the policies that are printed, and a profile.
    reader = Reader.of(clone, "Deploy to an AWS account")
    deployer = owned.deployer(reader.types("make deployer-policies ENVIRONMENT=dev"), "dev-deployer")
    clone.variables |= owned.profile(deployer, "dev")

    # 3: the bucket of the state; once more changes nothing.
    reader.types("make bootstrap ENVIRONMENT=dev")
    made = _buckets(owned)
    reader.types("make bootstrap ENVIRONMENT=dev")
    assert _buckets(owned) == made == [f"sluice-dev-state-{ACCOUNT}-us-east-1"]

    # 5: cdktf creates everything by itself, and there is no drift after it.
    reader.types("export ENVIRONMENT=dev")
    reader.types("make validate")
    reader.types("make cdktf")
    option = clone.mirror_option()
    assert re.search(r"Plan: \d{3} to add, 0 to change, 0 to destroy", reader.types("npx cdktf diff", then=option))
    deployed = reader.types("npx cdktf deploy", then=f"{option} --auto-approve")
    assert re.search(r"Apply complete! Resources: \d{3} added, 0 changed, 0 destroyed", deployed)
    assert "No drift" in reader.types("make drift")
    assert sorted(path.name for path in (clone.folder / "cdktf.out" / "stacks").iterdir()) == ["sluice-dev"]

    # 4: plan and apply a change. The functions get the processor of this machine, where the embedded AWS runs them.
    runtime, architecture = host_runtime()
    clone.variables |= {"LAMBDA_RUNTIME": runtime, "LAMBDA_ARCHITECTURE": architecture}
    clone.run("make layer")
    assert "Plan of dev" in reader.types("make plan ENVIRONMENT=dev")
    applied = reader.types("make apply ENVIRONMENT=dev")
    assert re.search(r"^[1-9]\d* to add, [1-9]\d* to change, \d+ to destroy$", applied, re.MULTILINE), applied
    planner = owned.deployer(reader.types("make planner-policies"), "dev-planner")
    assert "No changes" in reader.types("make plan", owned.profile(planner, "dev-planner"))
    assert "No changes" in reader.types("make apply")
    reader.types("make state-backup")
    assert "No state is locked" in reader.types("make unlock")

    # Plain Terraform.
    reader.types("make synth ENVIRONMENT=dev")
    clone.run(f"cd {STACK} && terraform init -input=false")
    reader.left.discard("terraform init")
    assert "No changes." in clone.run(f"cd {STACK} && terraform plan -input=false -no-color")
    outputs = json.loads(clone.run(f"cd {STACK} && terraform output -json"))

    # A user of the pool sends a file and fetches it back, at AWS's own host names.
    url = outputs["api_url"]["value"]
    assert re.fullmatch(r"https://\w+\.execute-api\.us-east-1\.amazonaws\.com/\w+", url)
    pool, client = outputs["user_pool_id"]["value"], outputs["user_pool_client_id"]["value"]
    token = _sign_in(owned, _invite(clone, owned, pool), pool, client)
    clone.sends_and_fetches(url, token, tmp_path)
    page = outputs["website_url"]["value"]
    with owned.opener().open(page, timeout=30) as answer:
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none';")
        assert b'<script type="module"' in answer.read()
    assert allowed_origin(owned, f"{url}/files", page.rstrip("/")) == page.rstrip("/")
    assert "No drift" in reader.types("make drift")

    # After destroy, only the bucket of the state, its key and the users are left.
    clone.run(f"npx cdktf destroy {option} --auto-approve")
    assert left_over(owned, "sluice-dev") == {"s3": [f"sluice-dev-state-{ACCOUNT}-us-east-1"]}

    # All further commands of the README are tested here, except for releases, which prod has.
    assert reader.left == {"make release ENVIRONMENT=prod", "make rollback ENVIRONMENT=prod"}
    assert owned.denied("dev-") == []


def _changed(clone: Clone, before: str) -> list[str]:
    after = set((clone.folder / "environments" / "dev.toml").read_text().splitlines())
    return sorted({line.partition(" ")[0] for line in after ^ set(before.splitlines()) if not line.startswith("#")})


def _invite(clone: Clone, owned: Account, pool: str) -> str:
    """Add a user as the README says; return their address."""
    printed = commands(section((clone.folder / "README.md").read_text(), "What it is made of"))
    (command,) = [each for each in printed if each.startswith("aws ")]
    words = command.replace("ID", pool).replace("EMAIL", "ann@example.com").split()
    assert words[:3] == ["aws", "cognito-idp", "admin-create-user"]
    options = dict(zip(words[3::2], words[4::2], strict=True))
    users = owned.session().client("cognito-idp")
    users.admin_create_user(UserPoolId=options["--user-pool-id"], Username=options["--username"])
    return options["--username"]


def _sign_in(owned: Account, address: str, pool: str, client: str) -> str:
    """Set a password, sign in with SRP as applications do, and return the ID token."""
    from pycognito.aws_srp import AWSSRP

    users, password = owned.session().client("cognito-idp"), "Correct-horse-7-battery"
    users.admin_set_user_password(UserPoolId=pool, Username=address, Password=password, Permanent=True)
    tokens = AWSSRP(
        username=address, password=password, pool_id=pool, client_id=client, client=users
    ).authenticate_user()
    return str(tokens["AuthenticationResult"]["IdToken"])


def left_over(owned: Account, prefix: str) -> dict[str, list[str]]:
    """Names of what an account has of a prefix, by service; people, and keys that wait for their end, apart."""
    session = owned.session()
    look: dict[str, Callable[[boto3.Session], list[str]]] = {
        "s3": lambda aws: [each["Name"] for each in aws.client("s3").list_buckets()["Buckets"]],
        "lambda": lambda aws: [each["FunctionName"] for each in aws.client("lambda").list_functions()["Functions"]],
        "dynamodb": lambda aws: aws.client("dynamodb").list_tables()["TableNames"],
        "sqs": lambda aws: aws.client("sqs").list_queues().get("QueueUrls", []),
        "sns": lambda aws: [each["TopicArn"] for each in aws.client("sns").list_topics()["Topics"]],
        "iam": lambda aws: [each["RoleName"] for each in aws.client("iam").list_roles()["Roles"]],
        "logs": lambda aws: [each["logGroupName"] for each in aws.client("logs").describe_log_groups()["logGroups"]],
        "apigateway": lambda aws: [each["name"] for each in aws.client("apigateway").get_rest_apis()["items"]],
        "states": lambda aws: [
            each["name"] for each in aws.client("stepfunctions").list_state_machines()["stateMachines"]
        ],
        "events": lambda aws: [each["Name"] for each in aws.client("events").list_rules()["Rules"]],
        "scheduler": lambda aws: [each["Name"] for each in aws.client("scheduler").list_schedules()["Schedules"]],
        "cognito": lambda aws: [
            each["Name"] for each in aws.client("cognito-idp").list_user_pools(MaxResults=60)["UserPools"]
        ],
        "cloudwatch": lambda aws: [
            each["AlarmName"] for each in aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
        ],
        "secrets": lambda aws: [each["Name"] for each in aws.client("secretsmanager").list_secrets()["SecretList"]],
        "ssm": lambda aws: [each["Name"] for each in aws.client("ssm").describe_parameters()["Parameters"]],
    }
    found = {service: [name for name in names(session) if prefix in name] for service, names in look.items()}
    aliases = [each["AliasName"] for each in session.client("kms").list_aliases()["Aliases"]]
    assert [name for name in aliases if prefix in name] == [f"alias/{prefix}-state"]
    return {service: names for service, names in found.items() if names}


def _buckets(owned: Account) -> list[str]:
    return [each["Name"] for each in owned.session().client("s3").list_buckets()["Buckets"]]
