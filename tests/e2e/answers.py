"""Requests of whoever has a URL, and what came back: any status is an answer."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Answer:
    """The answer of a server; names of headers are in lower case, as in HTTP/2."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.body)
        return content

    def is_problem(self, status: int, words: str) -> bool:
        """Return whether this is an error of the gateway itself, as a problem with the additional field `error`."""
        said = (self.json["status"], self.json["detail"], self.json["error"])
        return self.headers["content-type"] == "application/problem+json" and said == (status, words, words)


def fetch(request: urllib.request.Request, ca_bundle: Path) -> Answer:
    """Send a request to a server that this authority vouches for where it is asked over TLS."""
    trust = ssl.create_default_context(cafile=str(ca_bundle))
    try:
        got = urllib.request.urlopen(request, timeout=30, context=trust)
    except urllib.error.HTTPError as error:
        got = error
    with got:
        return Answer(got.status, {name.lower(): value for name, value in got.headers.items()}, got.read())
