"""What the handlers of the API share: who calls, where the API is, and errors that tell nothing of the inside."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, CORSConfig, Response, content_types
from botocore.exceptions import BotoCoreError, ClientError

from functions.common.environment import ApiEnvironment

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger
    from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent


@dataclass
class Refused(Exception):  # noqa: N818 - it is an answer to a caller, not a defect
    """A request that a caller has to change; `message` says how."""

    message: str
    status: int = 400


def answer(status: int, body: dict[str, object], headers: dict[str, str | list[str]] | None = None) -> Response[str]:
    """A JSON answer that no cache keeps."""
    return Response(
        status_code=status,
        content_type=content_types.APPLICATION_JSON,
        body=json.dumps(body, separators=(",", ":")),
        # Vary: a header of the answer depends on the page that asks, wherever other origins are allowed.
        headers={"Cache-Control": "no-store", "Vary": "Origin", **(headers or {})},
    )


def rest_api(logger: Logger, *, failure: str) -> APIGatewayRestResolver:
    """A resolver that answers a `Refused` with its words, and every other error with `failure` and the request's id.

    The log learns what happened; the caller learns nothing of the inside. Pages of the origins in CORS_ALLOWED_ORIGINS
    may read every answer; without that variable no page may.
    """
    origins = ApiEnvironment.load().cors_allowed_origins
    cors = CORSConfig(allow_origin=origins[0], extra_origins=list(origins[1:])) if origins else None
    app = APIGatewayRestResolver(cors=cors)

    @app.exception_handler(Refused)  # type: ignore[untyped-decorator]  # Powertools does not type its own
    def say_what_is_wrong(error: Refused) -> Response[str]:
        logger.info("request refused", status=error.status, reason=error.message)
        return answer(error.status, {"error": error.message})

    @app.exception_handler([ClientError, BotoCoreError, Exception])  # type: ignore[untyped-decorator]
    def hide_the_inside(error: Exception) -> Response[str]:
        code = error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
        logger.exception("request failed", code=code or type(error).__name__)
        return answer(500, {"error": failure, "request_id": app.lambda_context.aws_request_id})

    return app


def body_of(event: APIGatewayProxyEvent) -> str | None:
    """The body as text, whether or not API Gateway handed it over in base64.

    Raises:
        Refused: it is not UTF-8.
    """
    try:
        return event.decoded_body
    except ValueError:
        raise Refused("Request body must be UTF-8") from None


def owner_of(event: APIGatewayProxyEvent) -> str:
    """The verified identity of the caller, from what API Gateway checked; never from what the client says.

    `user:` and the subject of a token, whether a Cognito user pool or another issuer made it: an environment has one
    of them. With signed requests it is the ARN of the signer. That of an assumed role ends in the name of the session,
    which whoever assumes the role chooses unless its trust policy says otherwise (IAM, `sts:RoleSessionName`).

    Raises:
        Refused: the event carries none, which means that the route is not authorised as it should be.
    """
    authorizer = event.request_context.authorizer
    subject = (authorizer.claims or {}).get("sub") or authorizer.principal_id
    if subject:
        return f"user:{subject}"
    user_arn = event.request_context.identity.user_arn
    if not user_arn:
        raise Refused("Unauthorized", 401)
    return user_arn


def api_url(event: APIGatewayProxyEvent) -> str:
    """Address of the API's stage as the caller reached it, without a slash at its end."""
    context = event.request_context
    return f"https://{context.domain_name}/{context.stage}"
