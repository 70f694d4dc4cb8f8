"""Answers of API Gateway itself, before or instead of a function's, in the form of the functions' own errors."""

from __future__ import annotations

import json
from collections.abc import Mapping

from cdktf import TerraformResource
from cdktf_cdktf_provider_aws.api_gateway_gateway_response import ApiGatewayGatewayResponse
from constructs import Construct

from functions.common.contract import (
    INVALID_JSON,
    NO_ROUTE,
    PROBLEM_JSON,
    UNAUTHORIZED,
    Problem,
    problem_body,
)
from modules.api_cors import Cors


def gateway_responses(scope: Construct, *, rest_api_id: str, takes_tokens: bool, cors: Cors) -> list[TerraformResource]:
    """Make the answers of the gateway, as problems (RFC 9457) that also say `error`, as POST /upload does.

    BAD_REQUEST_BODY has one text for every cause, so the schemas check only what that text describes.
    `$context.error.validationErrorString` would name the cause, but it contains quotation marks, which a template
    cannot escape.

    Args:
        takes_tokens: whether callers send a bearer token rather than a signature.
    """
    return [
        ApiGatewayGatewayResponse(
            scope,
            f"{response_type.lower()}_response",
            rest_api_id=rest_api_id,
            response_type=response_type,
            status_code=str(answer.status) if answer.status else None,
            response_parameters={
                f"gatewayresponse.header.{name}": value
                for name, value in {
                    "Cache-Control": "'no-store'",
                    **answer.headers,
                    **cors.of_gateway_response,
                }.items()
            },
            response_templates={"application/json": answer.body},
        )
        for response_type, answer in _answers(takes_tokens=takes_tokens).items()
    ]


def _answers(*, takes_tokens: bool) -> dict[str, _Answer]:
    """Return the answers by their type (API Gateway, "Gateway response types")."""
    if takes_tokens:
        unauthorized = _Answer(UNAUTHORIZED, 401, Problem.UNAUTHORIZED, headers={"WWW-Authenticate": "'Bearer'"})
        # API Gateway's answer to paths and methods that do not exist.
        no_route = _Answer(NO_ROUTE, 404, Problem.NOT_FOUND)
    else:
        unauthorized = _Answer(UNAUTHORIZED, 401, Problem.UNAUTHORIZED)
        # The same answer is for requests without a signature, so it stays as it is.
        no_route = _Answer("Missing Authentication Token", 403, Problem.FORBIDDEN)
    return {
        "DEFAULT_4XX": _Answer(None),
        "DEFAULT_5XX": _Answer(
            "Internal server error", kind=Problem.INTERNAL, more={"request_id": "$context.requestId"}
        ),
        "UNAUTHORIZED": unauthorized,
        "MISSING_AUTHENTICATION_TOKEN": no_route,
        # Answer of closed routes.
        "INVALID_API_KEY": no_route,
        # The gateway's own words name the caller and the API.
        "ACCESS_DENIED": _Answer("Forbidden", 403, Problem.FORBIDDEN),
        "INVALID_SIGNATURE": _Answer("Invalid signature", 403, Problem.FORBIDDEN),
        "WAF_FILTERED": _Answer("Forbidden", 403, Problem.FORBIDDEN),
        "THROTTLED": _Answer(
            "Too many requests; try again later", 429, Problem.TOO_MANY_REQUESTS, headers={"Retry-After": "'1'"}
        ),
        "REQUEST_TOO_LARGE": _Answer(
            "Request body is too large; send larger files by POST /uploads", 413, Problem.TOO_LARGE
        ),
        # Answer of paths that the gateway answers itself.
        "UNSUPPORTED_MEDIA_TYPE": _Answer(
            "Unsupported media type; send no Content-Type, or application/json", 415, Problem.UNSUPPORTED_TYPE
        ),
        "BAD_REQUEST_BODY": _Answer(
            INVALID_JSON,
            400,
            Problem.INVALID_REQUEST,
            more={"hint": "send a JSON object whose fields have the types that docs/openapi.yaml names"},
        ),
    }


class _Answer:
    """An answer of the gateway: text and status (None keeps the gateway's own), and headers."""

    def __init__(
        self,
        error: str | None,
        status: int | None = None,
        kind: Problem = Problem.INTERNAL,
        *,
        more: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.headers = {"Content-Type": f"'{PROBLEM_JSON}'", **(headers or {})}
        if error is None:
            # `messageString` comes with its quotation marks.
            words = "$context.error.messageString"
            self.body = f'{{ "type": "about:blank", "detail": {words}, "error": {words} }}'
            return
        problem = {**problem_body(kind, status or 500, error), "error": error, **(more or {})}
        if status is None:
            # Several statuses have this answer.
            del problem["title"], problem["status"]
        self.body = json.dumps(problem, separators=(",", ":"))
