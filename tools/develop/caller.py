"""Callers of the deployed API: who they are, and how their requests show it."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import boto3
from botocore import UNSIGNED
from botocore.auth import SigV4Auth
from botocore.config import Config
from botocore.credentials import Credentials as BotoCredentials

from tools.embedded_aws import control
from tools.embedded_aws.control import Credentials, EmbeddedAws

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest


class Caller(Protocol):
    """A caller of the API."""

    def sign(self, request: AWSRequest) -> None:
        """Add to a request what says who calls."""

    def curl_lines(self) -> list[str]:
        """Return the lines of a configuration file of curl with the same credentials."""


@dataclass(frozen=True)
class Signer:
    """A caller who signs requests with an access key (Signature Version 4)."""

    key: Credentials
    region: str

    def sign(self, request: AWSRequest) -> None:
        """Add the signature."""
        credentials = BotoCredentials(self.key.access_key, self.key.secret_key)
        SigV4Auth(credentials, "execute-api", self.region).add_auth(request)

    def curl_lines(self) -> list[str]:
        """Return the lines that let curl sign."""
        return [
            f'aws-sigv4 = "aws:amz:{self.region}:execute-api"',
            f'user = "{self.key.access_key}:{self.key.secret_key}"',
        ]


@dataclass(frozen=True)
class Bearer:
    """Sends a token."""

    token: str

    @property
    def subject(self) -> str:
        """The subject of the token, without verification."""
        payload = self.token.split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"])

    def sign(self, request: AWSRequest) -> None:
        """Add the token."""
        request.headers["Authorization"] = f"Bearer {self.token}"

    def curl_lines(self) -> list[str]:
        """Return the line with the header for every request."""
        return [f'header = "Authorization: Bearer {self.token}"']


def signer(aws: EmbeddedAws, execution_arn: str, name: str = "caller") -> Signer:
    """Return an IAM user of the embedded AWS who may only call the API.

    Args:
        execution_arn: the API, as Terraform's output names it.
    """
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "CallTheApi",
                "Effect": "Allow",
                "Action": "execute-api:Invoke",
                "Resource": f"{execution_arn}/*/*/*",
            }
        ],
    }
    return Signer(control.create_deployer(aws, policy, name=name), aws.region)


def add_user(aws: EmbeddedAws, user_pool_id: str, name: str, password: str) -> str:
    """Add a user to the pool on the embedded AWS, or give an existing one this password; return the user's address.

    Args:
        name: what comes before the @ of the user's address.
    """
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "AddUsers",
                "Effect": "Allow",
                "Action": ["cognito-idp:AdminCreateUser", "cognito-idp:AdminSetUserPassword"],
                "Resource": f"arn:aws:cognito-idp:{aws.region}:*:userpool/{user_pool_id}",
            }
        ],
    }
    administrator = control.create_deployer(aws, policy, name="user-administrator")
    users = boto3.client(  # type: ignore[call-overload]
        "cognito-idp",
        aws_access_key_id=administrator.access_key,
        aws_secret_access_key=administrator.secret_key,
        **_where(aws),
    )
    address = f"{name}@example.com"
    attributes = [{"Name": "email", "Value": address}, {"Name": "email_verified", "Value": "true"}]
    with contextlib.suppress(users.exceptions.UsernameExistsException):
        users.admin_create_user(
            UserPoolId=user_pool_id, Username=address, UserAttributes=attributes, MessageAction="SUPPRESS"
        )
    users.admin_set_user_password(UserPoolId=user_pool_id, Username=address, Password=password, Permanent=True)
    return address


def new_password() -> str:
    """Return a random password that the pool accepts."""
    return f"Aa1-{secrets.token_urlsafe(12)}"


def bearer(aws: EmbeddedAws, user_pool_id: str, client_id: str, name: str = "caller") -> Bearer:
    """Return a user of the pool on the embedded AWS, signed in with a new random password that is not stored.

    Args:
        name: what comes before the @ of the user's address.
    """
    password = new_password()
    address = add_user(aws, user_pool_id, name, password)
    anyone = boto3.client(  # type: ignore[call-overload]
        "cognito-idp", config=Config(signature_version=UNSIGNED), **_where(aws)
    )
    signed_in = anyone.initiate_auth(
        ClientId=client_id,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": address, "PASSWORD": password},
    )
    return Bearer(signed_in["AuthenticationResult"]["IdToken"])


def _where(aws: EmbeddedAws) -> dict[str, str]:
    """Return the arguments of boto3 that lead to the embedded AWS."""
    return {"endpoint_url": aws.endpoint_url, "verify": str(aws.ca_bundle), "region_name": aws.region}


def caller(aws: EmbeddedAws, outputs: dict[str, str], name: str = "caller") -> Caller:
    """Return a caller of the API with the deployed kind of authorization.

    Args:
        outputs: Terraform's outputs of the platform.
        name: who; the same name is the same person.
    """
    if "user_pool_id" in outputs:
        return bearer(aws, outputs["user_pool_id"], outputs["user_pool_client_id"], name)
    return signer(aws, outputs["api_execution_arn"], name)
