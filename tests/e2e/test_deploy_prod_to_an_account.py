"""`prod` with every option on, in an account at AWS's own host names: deployed, released, rolled back, used, judged."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.account import ACCOUNT, Account, account, allowed_origin, clone_to
from tests.e2e.conftest import wait_for
from tests.e2e.readme import Reader
from tests.receiver import Receiver, receiving
from tools.develop import judges
from tools.develop.layers import host_runtime

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

# One that the house rules in judges/features name.
REPLICA = "eu-central-1"
# Permissions to make secrets for webhooks (docs/webhooks.md); the deployer does not have them.
KEEPS_SECRETS = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "secretsmanager:PutSecretValue",
            "Resource": f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:sluice-prod-webhooks-*",
        },
        {"Effect": "Allow", "Action": "secretsmanager:ListSecrets", "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": f"arn:aws:kms:us-east-1:{ACCOUNT}:key/*",
        },
    ],
}


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with account(tmp_path_factory.mktemp("account")) as opened:
        yield opened


@pytest.fixture(scope="module")
def receiver(owned: Account) -> Iterator[Receiver]:
    tls = owned.aws.ca_bundle.parent
    with receiving(tls / "server.pem", tls / "server.key") as listening:
        yield listening


def test_prod_with_every_option_is_deployed_released_and_rolled_back(
    owned: Account, receiver: Receiver, tmp_path: Path
) -> None:
    clone = clone_to(tmp_path / "sluice")
    issuer = Issuer(owned)
    runtime, architecture = host_runtime()
    clone.set(
        "prod",
        account_id=ACCOUNT,
        replica_region=REPLICA,
        api_authorization="jwt",
        jwt_issuer=issuer.url,
        jwt_audience=issuer.client_id,
        webhook_urls=[f"{receiver.url}/prod"],
        alert_email="operations@example.com",
        # Functions run on this machine.
        lambda_runtime=runtime,
        lambda_architecture=architecture,
    )
    reader = Reader.of(clone, "Deploy to an AWS account", environment="prod")
    deployer = owned.deployer(reader.types("make deployer-policies ENVIRONMENT=dev"), "prod-deployer")
    clone.variables |= owned.profile(deployer, "prod")
    reader.types("make bootstrap ENVIRONMENT=dev")

    reader.types("make plan ENVIRONMENT=dev")
    plan = shutil.copy(clone.folder / ".build" / "plans" / "prod" / "sluice" / "uploads" / "plan.json", tmp_path)
    applied = reader.types("make apply ENVIRONMENT=dev")
    assert re.search(r"^\d{3} to add, 0 to change, 0 to destroy$", applied, re.MULTILINE), applied
    clone.variables["ENVIRONMENT"] = "prod"
    assert "No drift" in reader.types("make drift")

    # A file goes in, is scanned, copied, announced and fetched; the page may call.
    keeper = owned.deployer(json.dumps(KEEPS_SECRETS, indent=2), "keeper")
    clone.run("make webhook-secret", owned.profile(keeper, "keeper"))
    url, token = _api_url(owned), issuer.token()
    file_id = clone.sends_and_fetches(url, token, tmp_path)
    wait_for(lambda: [each.event["file_id"] for each in receiver.received] == [file_id])
    copies = owned.session(region=REPLICA).client("s3")
    bucket = f"sluice-prod-uploads-{ACCOUNT}-{REPLICA}"
    wait_for(lambda: any(file_id in each["Key"] for each in copies.list_objects_v2(Bucket=bucket).get("Contents", [])))
    assert allowed_origin(owned, f"{url}/files", _page(owned)) == _page(owned)

    # A change of the functions gets no traffic until it is released.
    live = _live(owned)
    assert "Every function answers with its newest version" in reader.types("make release ENVIRONMENT=prod")
    clone.set("prod", lambda_memory_size=1536)
    reader.types("make plan ENVIRONMENT=dev")
    reader.types("make apply ENVIRONMENT=dev")
    assert _live(owned) == live
    reader.types("make release ENVIRONMENT=prod")
    assert _live(owned) == {name: str(int(version) + 1) for name, version in live.items()}
    assert "No changes" in reader.types("make plan")
    clone.sends_and_fetches(url, issuer.token(), tmp_path)

    reader.types("make rollback ENVIRONMENT=prod")
    assert _live(owned) == live
    assert "was rolled back" in reader.types("make release ENVIRONMENT=prod")
    assert _live(owned) == live
    assert "No drift" in reader.types("make drift")
    assert owned.denied("prod-") == []

    _judge(Path(plan))


class Issuer:
    """The identity provider of a company: a user pool that is none of Sluice's."""

    def __init__(self, owned: Account) -> None:
        self._users = owned.session().client("cognito-idp")
        self._pool = self._users.create_user_pool(PoolName="company")["UserPool"]["Id"]
        flows = ["ALLOW_USER_PASSWORD_AUTH"]
        self.client_id = self._users.create_user_pool_client(
            UserPoolId=self._pool,
            ClientName="sluice",
            ExplicitAuthFlows=flows,  # type: ignore[arg-type]
        )["UserPoolClient"]["ClientId"]
        self.url = f"https://cognito-idp.us-east-1.amazonaws.com/{self._pool}"
        self._password = f"Aa1-{secrets.token_urlsafe(24)}"
        self._users.admin_create_user(UserPoolId=self._pool, Username="ann", MessageAction="SUPPRESS")
        self._users.admin_set_user_password(
            UserPoolId=self._pool, Username="ann", Password=self._password, Permanent=True
        )

    def token(self) -> str:
        """A token that says who asks."""
        answered = self._users.initiate_auth(
            ClientId=self.client_id,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": "ann", "PASSWORD": self._password},
        )
        return answered["AuthenticationResult"]["IdToken"]


def _judge(plan: Path) -> None:
    """The house rules hold for the plan of everything."""
    verdict = judges.terraform_compliance(plan)
    assert not verdict.findings, "\n".join(map(str, verdict.findings))
    assert len(verdict.passed) >= 30


def _api_url(owned: Account) -> str:
    (api,) = owned.session().client("apigateway").get_rest_apis()["items"]
    (stage,) = owned.session().client("apigateway").get_stages(restApiId=api["id"])["item"]
    return f"https://{api['id']}.execute-api.us-east-1.amazonaws.com/{stage['stageName']}"


def _page(owned: Account) -> str:
    """The origin of the page."""
    (distribution,) = owned.session().client("cloudfront").list_distributions()["DistributionList"]["Items"]
    return f"https://{distribution['DomainName']}"


def _live(owned: Account) -> dict[str, str]:
    """The version that answers, by function."""
    functions = owned.session().client("lambda")
    names = [each["FunctionName"] for each in functions.list_functions()["Functions"]]
    return {name: functions.get_alias(FunctionName=name, Name="live")["FunctionVersion"] for name in names}
