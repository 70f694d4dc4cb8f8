"""Signatures of the Standard Webhooks specification (standardwebhooks.com), version `v1`: HMAC-SHA256."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from functions.common.contract import WEBHOOK_SECRET_PREFIX

# Standard Webhooks, "Signature scheme": a secret has 24 to 64 random bytes.
SECRET_BYTES = (24, 64)


class SecretError(Exception):
    """The secret is missing or malformed; the text says what to do."""


def key_of(secret: str) -> bytes:
    """Return the key in a secret of the form `whsec_` and base64.

    Raises:
        SecretError: it has another form.
    """
    try:
        key = base64.b64decode(secret.removeprefix(WEBHOOK_SECRET_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(WEBHOOK_SECRET_PREFIX) or not SECRET_BYTES[0] <= len(key) <= SECRET_BYTES[1]:
        raise SecretError(
            f"the secret is not `{WEBHOOK_SECRET_PREFIX}` and base64 of 24 to 64 bytes; run `make webhook-secret`"
        )
    return key


def signed_headers(keys: Sequence[bytes], *, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers of a message.

    Args:
        keys: what to sign with; receivers need one of them.
        message_id: the same for every attempt, so that a receiver knows a double; without a full stop.
        timestamp: when this attempt is made, in seconds; receivers refuse old ones.
        body: what is sent, to the byte.
    """
    content = b".".join([message_id.encode(), str(timestamp).encode(), body])
    signatures = [base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
