"""The environment that ENVIRONMENT names, and AWS with the credentials of whoever runs a tool on it."""

from __future__ import annotations

import boto3

from modules.settings import Settings, SettingsError, load
from synthesis.paths import ROOT
from tools.operate.console import Failure


def operator() -> tuple[Settings, boto3.Session]:
    """The settings of the environment, and a session in its region.

    Raises:
        Failure: the settings are wrong.
    """
    try:
        settings = load(ROOT / "environments")
    except SettingsError as error:
        raise Failure("reading the settings", str(error), "mend it and run the same command again") from None
    return settings, boto3.Session(region_name=settings.primary_region)


def require_account(settings: Settings, session: boto3.Session) -> str:
    """The account of the credentials, which has to be the environment's.

    Raises:
        Failure: it is another one.
    """
    account = session.client("sts").get_caller_identity()["Account"]
    if account != settings.account_id:
        raise Failure(
            "checking the account",
            f"these credentials are for account {account}",
            f"use those of {settings.account_id}",
        )
    return account
