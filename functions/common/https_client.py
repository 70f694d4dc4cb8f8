"""Requests over HTTPS to servers of other parties: issuers of tokens, and receivers of webhooks.

The operator sets their addresses, so an address may lead anywhere. A server could lead a request elsewhere, so no
redirect is followed, and the server must prove the name in the address by a certificate. Services inside the account
that speak plain HTTP are out of reach.
"""

from __future__ import annotations

import http.client
import os
import ssl
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

CONNECT_SECONDS = 3.0


def trust() -> ssl.SSLContext:
    """Return the certificate authorities that are trusted, with TLS 1.2 or later."""
    # AWS_CA_BUNDLE: as boto3 reads it. On Lambda there is none, and the system's authorities count.
    context = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def request(
    method: str,
    url: str,
    *,
    seconds: float,
    context: ssl.SSLContext,
    headers: Mapping[str, str],
    body: bytes | None = None,
    read_bytes: int = 0,
) -> tuple[int, bytes]:
    """Send a request; return the status and the first bytes of the answer.

    Args:
        seconds: the longest wait for each packet.
        read_bytes: how many bytes of the answer to read at most.

    Raises:
        OSError: there was no answer: no name, no connection, no trust, or not in time.
        http.client.HTTPException: the answer is not HTTP.
        ValueError: the address is not HTTPS.
    """
    address = urlsplit(url)
    if address.scheme != "https" or not address.hostname:
        raise ValueError(f"{url} is not HTTPS")
    connection = _connection(address, min(seconds, CONNECT_SECONDS), context)
    try:
        connection.connect()
        connection.sock.settimeout(seconds)
        target = (address.path or "/") + (f"?{address.query}" if address.query else "")
        connection.request(method, target, body=body, headers=dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read(read_bytes) if read_bytes else b""
    finally:
        connection.close()


def _connection(address: SplitResult, seconds: float, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    """Return a connection to an address, through a tunnel of the proxy in HTTPS_PROXY unless NO_PROXY excludes it."""
    host, port = str(address.hostname), address.port or http.client.HTTPS_PORT
    proxy = urlsplit(getproxies().get("https", ""))
    if not proxy.hostname or proxy_bypass(host):
        return http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
    connection = http.client.HTTPSConnection(proxy.hostname, proxy.port, timeout=seconds, context=context)
    connection.set_tunnel(host, port)
    return connection
