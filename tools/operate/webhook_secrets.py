"""`make webhook-secret`: creates secrets for signatures of webhooks, stores them in Secrets Manager, prints them once.

Each receiver has its own. Messages are signed with its newest secret and with the one before, so that whoever runs the
receiver can change in their own time; the one before that does not count any more.
"""

from __future__ import annotations

import argparse
import base64
import re
import secrets
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import ClientError

from functions.common.contract import WEBHOOK_SECRET_PREFIX
from modules.names import webhook_secret_name
from modules.settings import Settings
from tools.operate.account import operator, require_account
from tools.operate.console import Failure, exit_with, say

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_secretsmanager.type_defs import SecretListEntryTypeDef

DOING = "making a secret for webhooks"
SECRET_BYTES = 32


def make_secrets(settings: Settings, session: boto3.Session, url: str = "") -> dict[str, str]:
    """Make and store a secret, and return it by the address of its receiver, as that writes it down.

    Args:
        session: credentials and region; an account other than the settings' is refused.
        url: receiver that gets a new secret. Without it, every receiver without a secret gets one.

    Raises:
        Failure: the credentials are for another account, there is no such receiver, or it is not deployed.
        ClientError: AWS refused.
    """
    require_account(settings, session)
    if not settings.webhook_urls or (url and url not in settings.webhook_urls):
        cause = f"{url or 'an address'} is not in WEBHOOK_URLS of {settings.environment}"
        raise Failure(DOING, cause, "put it there and deploy, then run the same command again")
    client = session.client("secretsmanager")
    found = {each: _find(client, settings, each) for each in ([url] if url else settings.webhook_urls)}
    # A secret without a value has no versions.
    wanted = [each for each, secret in found.items() if url or not secret.get("SecretVersionsToStages")]
    made = {
        each: f"{WEBHOOK_SECRET_PREFIX}{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"
        for each in wanted
    }
    for receiver, secret in made.items():
        client.put_secret_value(SecretId=found[receiver]["ARN"], SecretString=secret)
    return made


def _find(client: SecretsManagerClient, settings: Settings, url: str) -> SecretListEntryTypeDef:
    """Return the secret of a receiver. AWS does not list secrets that are scheduled for deletion.

    Raises:
        Failure: there is none.
    """
    name = webhook_secret_name(settings.prefix, url)
    pages = client.get_paginator("list_secrets").paginate(Filters=[{"Key": "name", "Values": [f"{name}-"]}])
    for page in pages:
        for secret in page["SecretList"]:
            if re.fullmatch(rf"{re.escape(name)}-\d+", secret["Name"]):
                return secret
    raise Failure(DOING, f"there is no secret {name}-… for {url}", "deploy first, then run the same command again")


def main() -> None:
    """Make secrets for the environment that ENVIRONMENT names, with the AWS credentials of the caller."""
    parser = argparse.ArgumentParser(prog="python -m tools.operate.webhook_secrets", description=__doc__)
    parser.add_argument("--url", default="", help="receiver that gets a new secret; by default those that have none")
    options = parser.parse_args()
    settings, session = operator()
    try:
        made = make_secrets(settings, session, options.url)
    except ClientError as error:
        remedy = "see that these credentials may ListSecrets and PutSecretValue, and use the secret's key"
        raise Failure(DOING, str(error), remedy) from None
    for url, secret in made.items():
        say(f"{url}  {secret}")
    if made:
        say("They are not shown again. Each signs within 5 minutes, and the one before it signs too.")
    else:
        say("Every receiver has a secret. URL=... makes a new one for that receiver.")


if __name__ == "__main__":
    exit_with(main)
