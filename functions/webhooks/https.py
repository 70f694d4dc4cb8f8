"""Sends a message to a receiver over HTTPS.

Where an address leads is not looked at: it is the operator's own setting, and who can set it deploys the function. What
a receiver could do is lead it elsewhere, so no redirect is followed, and whoever answers must prove the name in the
address by a certificate; services inside an account or a machine that speak plain HTTP are out of reach.
"""

from __future__ import annotations

import http.client
import os
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

CONNECT_SECONDS = 3.0


def trust() -> ssl.SSLContext:
    """Who is believed to be who they say."""
    # AWS_CA_BUNDLE: as boto3 reads it. On Lambda there is none, and the system's authorities count.
    context = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def post(url: str, *, headers: Mapping[str, str], body: bytes, seconds: float, context: ssl.SSLContext) -> int:
    """POST a body and return the status of the answer; what the answer says is not read.

    Args:
        seconds: how long each step may take: a packet that is awaited, at most.

    Raises:
        OSError: it was not delivered: no name, no connection, no trust, no answer in time.
        http.client.HTTPException: the answer is not HTTP.
        ValueError: the address is not HTTPS.
    """
    address = urlsplit(url)
    if address.scheme != "https" or not address.hostname:
        raise ValueError(f"{url} is not HTTPS")
    connection = http.client.HTTPSConnection(
        address.hostname, address.port or 443, timeout=min(seconds, CONNECT_SECONDS), context=context
    )
    try:
        connection.connect()
        connection.sock.settimeout(seconds)
        target = (address.path or "/") + (f"?{address.query}" if address.query else "")
        connection.request("POST", target, body=body, headers=dict(headers))
        return connection.getresponse().status
    finally:
        connection.close()
