"""What the handlers of the API share: who calls, where the API is, and errors that tell nothing of the inside."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response, content_types
from botocore.exceptions import BotoCoreError, ClientError

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
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def rest_api(logger: Logger, *, failure: str) -> APIGatewayRestResolver:
    """A resolver that answers a `Refused` with its words, and every other error with `failure` and the request's id.

    The log learns what happened; the caller learns nothing of the inside.
    """
    app = APIGatewayRestResolver()

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

    Raises:
        Refused: the event carries none, which means that the route is not authorised as it should be.
    """
    user_arn = event.request_context.identity.user_arn
    if not user_arn:
        raise Refused("Unauthorized", 401)
    return user_arn


def api_url(event: APIGatewayProxyEvent) -> str:
    """Address of the API's stage as the caller reached it, without a slash at its end."""
    context = event.request_context
    return f"https://{context.domain_name}/{context.stage}"
