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
# From the client's own to what all programs read; the first that is set is the only one that counts.
_TRUST = ("SLUICE_CA_BUNDLE", "AWS_CA_BUNDLE", "SSL_CERT_FILE")


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

    HTTPS_PROXY and NO_PROXY are honoured. What is trusted is the file of certificate authorities that
    SLUICE_CA_BUNDLE, AWS_CA_BUNDLE or SSL_CERT_FILE names, in this order; without any, what the system and certifi do.

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
    name = _named()
    if name is None:
        context = httpx.create_ssl_context(trust_env=False)
        context.load_default_certs()
        return context
    file = os.environ[name]
    if not Path(file).is_file():
        raise SluiceError(f"{name} names {file}, and there is no such file")
    try:
        return ssl.create_default_context(cafile=file)
    except ssl.SSLError as error:
        raise SluiceError(f"{name}: {file} holds no certificate authority ({error.reason})") from None
    except OSError as error:
        raise SluiceError(f"{name}: {error.filename or file} cannot be opened ({error.strerror})") from None


def _named() -> str | None:
    """The variable that says what is trusted."""
    return next((name for name in _TRUST if os.environ.get(name)), None)


def said_of(error: httpx.TransportError, host: str) -> str:
    """What a failure of the connection means.

    Raises:
        SluiceError: trying again is of no use.
    """
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        name = _named()
        what = f"{name} names {os.environ[name]}, which lacks its authority" if name else "its authority is not known"
        raise SluiceError(
            f"The certificate of {host} is not trusted: {what}. Name the file of its certificate authority in "
            "SLUICE_CA_BUNDLE, which counts before AWS_CA_BUNDLE and SSL_CERT_FILE."
        ) from None
    if isinstance(error, httpx.UnsupportedProtocol):
        raise SluiceError(f"{host}: {error}") from None
    return f"no connection to {host} ({str(error) or type(error).__name__})"


def retry_after(response: httpx.Response) -> float:
    """Seconds that the server asks to wait; 0 where it does not say. A date counts as not said."""
    said = response.headers.get("Retry-After", "")
    return min(float(said), LONGEST_RETRY_AFTER_SECONDS) if said.isdecimal() else 0.0
