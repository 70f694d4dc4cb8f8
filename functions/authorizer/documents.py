"""Fetches the JSON documents that an issuer of tokens publishes."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any

from functions.common.https_client import request, trust

TIMEOUT_SECONDS = 3.0
MAX_BYTES = 256 * 1024


def fetch_json(url: str) -> Mapping[str, Any]:
    """Fetch a JSON object.

    Raises:
        OSError: there is no answer over HTTPS in time, or its status is not 200; redirects are not followed.
        ValueError: the address is not HTTPS, or the answer is too large or not a JSON object.
    """
    headers = {"accept": "application/json", "user-agent": "Sluice-Authorizer/1"}
    try:
        status, content = request(
            "GET", url, seconds=TIMEOUT_SECONDS, context=trust(), headers=headers, read_bytes=MAX_BYTES + 1
        )
    except http.client.HTTPException as error:
        raise OSError(f"{url}: {type(error).__name__}: {error}") from error
    if status != http.client.OK:
        raise OSError(f"{url} answered {status}")
    if len(content) > MAX_BYTES:
        raise ValueError(f"{url} is larger than {MAX_BYTES} bytes")
    value = json.loads(content)
    if not isinstance(value, dict):
        raise ValueError(f"{url} is not a JSON object")
    return value
