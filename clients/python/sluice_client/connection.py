"""Connections to the API and to S3: trust, pauses between attempts, and what a failure means."""

from __future__ import annotations

import os
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from sluice_client.errors import SluiceError

# Answers that may be different a moment later. S3 says 503 for "slow down".
PASSING = frozenset({408, 429, 500, 502, 503, 504})
LONGEST_RETRY_AFTER_SECONDS = 60.0
_TRUST = ("SSL_CERT_FILE", "AWS_CA_BUNDLE")


@dataclass(frozen=True)
class Patience:
    """How often something is tried, and how long the pauses between are.

    The pauses double, and half of each is chance, so that clients that were cut off together do not come back together.
    """

    attempts: int = 8
    first_seconds: float = 0.5
    longest_seconds: float = 20.0
    sleep: Callable[[float], None] = time.sleep

    def pause(self, failures: int, *, at_least: float = 0.0) -> None:
        """Wait after so many failures in a row."""
        longest = min(self.longest_seconds, self.first_seconds * 2 ** (failures - 1))
        self.sleep(max(at_least, random.uniform(longest / 2, longest)))  # noqa: S311 - nobody gains from guessing it


def connect(*, parallel: int, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """A pool of connections. It carries no credentials: those go with each call of the API, and never to S3.

    HTTPS_PROXY and NO_PROXY are honoured, as is a certificate authority in SSL_CERT_FILE or AWS_CA_BUNDLE.

    Args:
        parallel: how many parts are sent at a time.

    Raises:
        SluiceError: the file of the certificate authority cannot be read.
    """
    return httpx.Client(
        verify=_trust(),
        transport=transport,
        timeout=httpx.Timeout(60.0, connect=15.0),
        # One more than the parts: for the calls of the API.
        limits=httpx.Limits(max_connections=parallel + 1, max_keepalive_connections=parallel + 1),
    )


def _trust() -> ssl.SSLContext:
    for name in _TRUST:
        file = os.environ.get(name)
        if file:
            if not Path(file).is_file():
                raise SluiceError(f"{name} names {file}, and there is no such file")
            try:
                return ssl.create_default_context(cafile=file)
            except ssl.SSLError as error:
                raise SluiceError(f"{name}: {file} holds no certificate authority ({error.reason})") from None
    return httpx.create_ssl_context()


def said_of(error: httpx.TransportError, host: str) -> str:
    """What a failure of the connection means.

    Raises:
        SluiceError: trying again is of no use.
    """
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        raise SluiceError(
            f"The certificate of {host} is not trusted. Name your certificate authority in SSL_CERT_FILE."
        ) from None
    if isinstance(error, httpx.UnsupportedProtocol):
        raise SluiceError(f"{host}: {error}") from None
    return f"no connection to {host} ({str(error) or type(error).__name__})"


def retry_after(response: httpx.Response) -> float:
    """Seconds that the server asks to wait; 0 where it does not say. A date counts as not said."""
    said = response.headers.get("Retry-After", "")
    return min(float(said), LONGEST_RETRY_AFTER_SECONDS) if said.isdecimal() else 0.0
