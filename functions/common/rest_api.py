"""Common code of the API's handlers: the caller's identity, the API's address, and errors without internal details."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, CORSConfig, Response, content_types
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from botocore.exceptions import BotoCoreError, ClientError

from functions.common.contract import EXPOSED_HEADERS, NO_ROUTE, PROBLEM_JSON, UNAUTHORIZED, Problem, problem_body
from functions.common.environment import ApiEnvironment
from functions.common.records import FileRecord, Records

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger
    from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent

# The functions make UUIDs as ids of files. An id of another form is not looked up: DynamoDB refuses an empty key and
# a key of more than 2,048 bytes (DynamoDB, "Constraints": partition keys).
FILE_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
# Refusals that several functions answer with.
NO_FILE = "No such file"
QUOTA_EXCEEDED = "The quota is used up: delete files, or ask for more room"
# The kind of problem (RFC 9457) of each status.
PROBLEMS = {
    400: Problem.INVALID_REQUEST,
    401: Problem.UNAUTHORIZED,
    403: Problem.QUOTA_EXCEEDED,
    404: Problem.NOT_FOUND,
    409: Problem.CONFLICT,
    413: Problem.TOO_LARGE,
    415: Problem.UNSUPPORTED_TYPE,
    422: Problem.IDEMPOTENCY_KEY_REUSED,
    429: Problem.TOO_MANY_REQUESTS,
    500: Problem.INTERNAL,
}


@dataclass
class Refused(Exception):  # noqa: N818 - it is an answer to a caller, not a defect
    """A request that a caller has to change; `message` says how.

    Attributes:
        status: the HTTP status.
        faults: what is wrong with which field, where there is more than one thing to say: `parts/7`, and a sentence.
    """

    message: str
    status: int = 400
    faults: Sequence[tuple[str, str]] = ()


def answer(
    status: int,
    body: Mapping[str, object],
    headers: dict[str, str | list[str]] | None = None,
    *,
    content_type: str = content_types.APPLICATION_JSON,
) -> Response[str]:
    """Return a JSON answer that caches do not keep."""
    return Response(
        status_code=status,
        content_type=content_type,
        body=json.dumps(body, separators=(",", ":")),
        # Vary: a header of the answer depends on the page that asks, wherever other origins are allowed.
        headers={"Cache-Control": "no-store", "Vary": "Origin", **(headers or {})},
    )


def no_content() -> Response[str]:
    """Return a 204 without a body."""
    return Response(status_code=204, body="", headers={"Cache-Control": "no-store", "Vary": "Origin"})


def problem(
    status: int, detail: str, *, faults: Sequence[tuple[str, str]] = (), more: Mapping[str, object] | None = None
) -> Response[str]:
    """Return an error in the form of RFC 9457."""
    body = {**problem_body(PROBLEMS[status], status, detail), **(more or {})}
    if faults:
        body["errors"] = [{"field": field, "detail": sentence} for field, sentence in faults]
    return answer(status, body, content_type=PROBLEM_JSON)


def rest_api(logger: Logger, *, failure: str, plain_errors: bool = False) -> APIGatewayRestResolver:
    """Return a resolver that answers `Refused` with its message, and other errors with `failure` and the request's id.

    The log learns what happened; the caller learns nothing of the inside. Pages of the origins in CORS_ALLOWED_ORIGINS
    may read every answer; without that variable no page may.

    Args:
        plain_errors: `{"error": "..."}` as callers of POST /upload and /health know it, rather than RFC 9457.
    """
    origins = ApiEnvironment.load().cors_allowed_origins
    app = APIGatewayRestResolver(
        cors=CORSConfig(allow_origin=origins[0], extra_origins=list(origins[1:]), expose_headers=list(EXPOSED_HEADERS))
        if origins
        else None
    )

    def refuse(status: int, words: str, faults: Sequence[tuple[str, str]] = ()) -> Response[str]:
        logger.info("request refused", status=status, reason=words)
        return answer(status, {"error": words}) if plain_errors else problem(status, words, faults=faults)

    @app.exception_handler(Refused)  # type: ignore[untyped-decorator]  # Powertools does not type its own
    def say_what_is_wrong(error: Refused) -> Response[str]:
        return refuse(error.status, error.message, error.faults)

    # Powertools raises this for a path that matches no route, for example because an id holds unusual characters.
    @app.exception_handler(NotFoundError)  # type: ignore[untyped-decorator]
    def say_that_nothing_is_there(error: NotFoundError) -> Response[str]:
        return refuse(404, NO_FILE if app.current_event.path_parameters else NO_ROUTE)

    @app.exception_handler([ClientError, BotoCoreError, Exception])  # type: ignore[untyped-decorator]
    def hide_the_inside(error: Exception) -> Response[str]:
        code = error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
        logger.exception("request failed", code=code or type(error).__name__)
        request_id = {"request_id": app.lambda_context.aws_request_id}
        if plain_errors:
            return answer(500, {"error": failure, **request_id})
        return problem(500, failure, more=request_id)

    return app


def body_of(event: APIGatewayProxyEvent) -> str | None:
    """Return the body as text; API Gateway may send it in base64.

    Raises:
        Refused: it is not UTF-8.
    """
    try:
        return event.decoded_body
    except ValueError:
        raise Refused("Request body must be UTF-8") from None


def query_of(event: APIGatewayProxyEvent) -> dict[str, str]:
    """Return the parameters of the query.

    Raises:
        Refused: a parameter is given more than once, or is not valid Unicode.
    """
    return _once(event.get("multiValueQueryStringParameters"), event.query_string_parameters, "parameter")


def header_of(event: APIGatewayProxyEvent, name: str) -> str | None:
    """Return the value of a header; None if the request does not have it.

    Raises:
        Refused: the header is given more than once, or is not valid Unicode.
    """
    wanted = name.lower()
    every, last = (
        {each: value for each, value in (event.get(field) or {}).items() if each.lower() == wanted}
        for field in ("multiValueHeaders", "headers")
    )
    return next(iter(_once(every, last, "header").values()), None)


def _once(every: Mapping[str, list[str]] | None, last: Mapping[str, str] | None, kind: str) -> dict[str, str]:
    """Return one value for each name.

    Args:
        every: all values of each name, such as `multiValueHeaders` of API Gateway's event.
        last: the last value of each name, such as `headers` of the event.
        kind: the word for such a name in an error.

    Raises:
        Refused: a name has several values, or a name or value is not valid Unicode.
    """
    found = {name: [value or "" for value in values or [""]] for name, values in (every or {}).items()}
    found |= {name: [value or ""] for name, value in (last or {}).items() if name not in found}
    for name, values in found.items():
        if not all(map(_is_text, (name, *values))):
            raise Refused(f"A {kind} is not valid Unicode")
        if len(values) > 1:
            raise Refused(f"The {kind} {name} is given more than once")
    return {name: values[0] for name, values in found.items()}


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def owner_of(event: APIGatewayProxyEvent) -> str:
    """Return the verified identity of the caller, which API Gateway checked; never a value that the client sent.

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
        raise Refused(UNAUTHORIZED, 401)
    return user_arn


def owned(file_id: str, *, event: APIGatewayProxyEvent, records: Records) -> FileRecord:
    """Return the record of a caller's own file.

    Raises:
        Refused: there is no such file, or it is someone else's, which a stranger cannot tell apart.
        ClientError: DynamoDB refused.
    """
    owner = owner_of(event)
    record = records.get(file_id) if FILE_ID.fullmatch(file_id) else None
    if record is None or record.owner != owner:
        raise Refused(NO_FILE, 404)
    return record


def failure_of(record: FileRecord) -> dict[str, object]:
    """Return the fields that tell an owner why a file is not available; an empty dictionary if there is no reason."""
    failure = record.shown_failure
    return {"failure": failure.sentence, "failure_code": failure.code} if failure else {}


def content_url(event: APIGatewayProxyEvent, file_id: str) -> str:
    """Return the address of the API that answers the owner of a file with a link to its content."""
    return f"{api_url(event)}/files/{file_id}/content"


def api_url(event: APIGatewayProxyEvent) -> str:
    """Return the address of the API's stage that the caller used, without a slash at its end."""
    context = event.request_context
    return f"https://{context.domain_name}/{context.stage}"
