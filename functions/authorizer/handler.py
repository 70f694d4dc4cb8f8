"""Lambda authorizer of the API, for the setting `api_authorization` = `jwt`.

API Gateway asks it with the token of a request, and uses its answer again for the same token until its time is up
(API Gateway, "Output from an API Gateway Lambda authorizer").
"""

from __future__ import annotations

from typing import Annotated, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from msgspec import Meta

from functions.authorizer.documents import fetch_json
from functions.authorizer.tokens import InvalidTokenError, Issuer, subject_of
from functions.common.contract import TOKEN_REFUSED, UNAUTHORIZED
from functions.common.environment import Environment


class AuthorizerEnvironment(Environment, frozen=True, kw_only=True):
    """The environment variables of the authorizer: issuer and audience of valid tokens."""

    jwt_issuer: Annotated[str, Meta(pattern=r"^https://")]
    jwt_audience: Annotated[str, Meta(min_length=1)]


class Unauthorized(Exception):  # noqa: N818 - the text is what API Gateway reads
    """The error that makes API Gateway answer 401; an authorizer has no other way.

    So a refused token counts among the errors of this function, which says nothing about its health.
    """

    def __init__(self) -> None:
        super().__init__(UNAUTHORIZED)


MAX_REASON = 500

environment = AuthorizerEnvironment.load()
logger = Logger(service="authorizer")
issuer = Issuer(environment.jwt_issuer, fetch_json)


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Allow the bearer of a valid token to call the stage.

    Raises:
        Unauthorized: the token does not count; the caller gets 401.
        IssuerError: the issuer's keys cannot be fetched; every caller gets 500.
    """
    scheme, _, token = str(event.get("authorizationToken") or "").partition(" ")
    try:
        if scheme.lower() != "bearer":
            raise InvalidTokenError("it is not a bearer token")
        subject = subject_of(token.strip(), issuer=issuer, audience=environment.jwt_audience)
    except InvalidTokenError as error:
        # In ASCII: a line that the log cannot encode is lost, and the alarm counts these lines.
        logger.info(TOKEN_REFUSED, reason=ascii(str(error))[:MAX_REASON])
        raise Unauthorized from None
    return {"principalId": subject, "policyDocument": policy(str(event["methodArn"]))}


def policy(method_arn: str) -> dict[str, Any]:
    """Return a policy for the stage of a method: the gateway caches it, and uses it for the other methods too.

    Which methods there are is up to the API, and what a caller may see of them to the functions, which know the owner.

    Args:
        method_arn: such as `arn:aws:execute-api:us-east-1:111111111111:abc123/v1/POST/upload`.
    """
    api, stage = method_arn.split("/")[:2]
    statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": f"{api}/{stage}/*/*"}
    return {"Version": "2012-10-17", "Statement": [statement]}
