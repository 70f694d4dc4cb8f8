"""The minimum of a handler behind the API: read the body, and answer.

`handler` is plain Python. `with_powertools` does the same with the library that Sluice's handlers use, so that the two
show what the library costs and what the handler does. Neither calls AWS.
"""

from __future__ import annotations

import base64
import json
from typing import Any


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Parse the request of an upload and answer it."""
    request = json.loads(event["body"] or "{}")
    size = len(base64.b64decode(request.get("file_content", "")))
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps({"file_id": "1", "size": size}),
    }


def make_with_powertools() -> Any:  # noqa: ANN401 - a handler as Lambda knows it
    """Return the same handler with Powertools' resolver and logger, as its documentation shows it."""
    from aws_lambda_powertools import Logger
    from aws_lambda_powertools.event_handler import APIGatewayRestResolver

    logger = Logger(service="peer")
    app = APIGatewayRestResolver()

    @app.post("/upload")
    @app.post("/uploads")
    def upload() -> dict[str, Any]:
        request = app.current_event.json_body
        size = len(base64.b64decode(request.get("file_content", "")))
        logger.info("parsed", size=size)
        return {"file_id": "1", "size": size}

    @app.get("/files/<file_id>/content")
    def content(file_id: str) -> dict[str, Any]:
        logger.info("parsed", file_id=file_id)
        return {"file_id": file_id}

    @logger.inject_lambda_context
    def with_powertools(event: dict[str, Any], context: Any) -> Any:  # noqa: ANN401
        return app.resolve(event, context)

    return with_powertools


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a handler
    if name == "with_powertools":
        return make_with_powertools()
    raise AttributeError(name)
