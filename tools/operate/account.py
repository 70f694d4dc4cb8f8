"""The environment that ENVIRONMENT names, and AWS with the credentials of the user of a tool."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import boto3

from modules.settings import Settings, SettingsError, load
from synthesis.components import COMPONENTS, DEFAULT, component_of
from synthesis.paths import ROOT
from tools.operate.console import Failure

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient


def read_settings() -> Settings:
    """Return the settings of the environment that ENVIRONMENT names.

    Raises:
        Failure: a setting is wrong.
    """
    try:
        return load(ROOT / "environments")
    except SettingsError as error:
        raise Failure("reading the settings", str(error), "correct it and run the same command again") from None


def operator() -> tuple[Settings, boto3.Session]:
    """Return the settings of the environment, and a session in its region.

    Raises:
        Failure: a setting is wrong.
    """
    settings = read_settings()
    return settings, boto3.Session(region_name=settings.primary_region)


def require_account(settings: Settings, session: boto3.Session) -> str:
    """Return the account of the credentials; it has to be the environment's.

    Raises:
        Failure: it is another account.
    """
    account = session.client("sts").get_caller_identity()["Account"]
    if account != settings.account_id:
        raise Failure(
            "checking the account",
            f"these credentials are for account {account}",
            f"use those of {settings.account_id}",
        )
    return account


def assume_role(sts: STSClient, role_arn: str, session_name: str) -> boto3.Session:
    """Return a session with the credentials of a role, in the region of `sts` (STS, "AssumeRole").

    Raises:
        ClientError: AWS refuses.
    """
    given = sts.assume_role(RoleArn=role_arn, RoleSessionName=session_name)["Credentials"]
    return boto3.Session(
        given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region_name=sts.meta.region_name
    )


def add_component(parser: argparse.ArgumentParser, default: str | None = DEFAULT) -> None:
    """Add the option `--component`. A value that is not in the registry ends the process and lists the known ones."""
    parser.add_argument("--component", type=_known, default=default, help=f"one of {', '.join(COMPONENTS)}")


def options_of(component: str) -> str:
    """Return what a make command needs to be about a component: nothing for the default one."""
    return "" if component == DEFAULT else f" COMPONENT={component}"


def _known(name: str) -> str:
    component_of(name)
    return name
