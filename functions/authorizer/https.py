"""Gets a small JSON document over HTTPS."""

from __future__ import annotations

import os
import ssl
import urllib.request
from collections.abc import Mapping
from typing import Any, NoReturn

from functions.authorizer.tokens import parse_object

TIMEOUT_SECONDS = 3.0
MAX_BYTES = 256 * 1024


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could lead to plain HTTP, or to an address inside the account."""

    def redirect_request(self, *arguments: object, **options: object) -> NoReturn:
        raise OSError("it redirects")


def fetch_json(url: str) -> Mapping[str, Any]:
    """Get a JSON object.

    Raises:
        OSError: it is not to be had over HTTPS in time; anything but 200, and a redirect too.
        ValueError: the address is not HTTPS, or the answer is too large or not a JSON object.
    """
    if not url.startswith("https://"):
        raise ValueError(f"{url} is not HTTPS")
    # AWS_CA_BUNDLE: as boto3 reads it. On Lambda there is none, and the system's authorities count.
    trust = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE"))
    trust.minimum_version = ssl.TLSVersion.TLSv1_2
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trust), _NoRedirect())
    with opener.open(url, timeout=TIMEOUT_SECONDS) as answer:
        content: bytes = answer.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"{url} is larger than {MAX_BYTES} bytes")
    return parse_object(content)
