"""The secret that messages are signed with, as Secrets Manager keeps it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from functions.webhooks.signing import SecretError, key_of

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

# A new secret is signed with after this long at most.
CACHE_SECONDS = 300


class SigningKeys:
    """The keys of the two newest secrets, newest first, fetched when they are needed and kept for a while."""

    def __init__(
        self, client: SecretsManagerClient, secret_arn: str, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._arn = secret_arn
        self._now = now
        self._lock = threading.Lock()
        self._keys: tuple[bytes, ...] = ()
        self._fetched = float("-inf")

    def current(self) -> tuple[bytes, ...]:
        """The keys to sign with.

        Raises:
            SecretError: there is no secret yet, or it is malformed.
            ClientError: Secrets Manager refused.
        """
        with self._lock:
            if self._now() - self._fetched >= CACHE_SECONDS:
                # Nothing is kept of a failure: once there is a secret, the next message finds it.
                self._keys = self._fetch()
                self._fetched = self._now()
            return self._keys

    def _fetch(self) -> tuple[bytes, ...]:
        """Whoever has not changed to the newest secret yet verifies with the one before it."""
        secrets = [self._version("AWSCURRENT"), self._version("AWSPREVIOUS")]
        if secrets[0] is None:
            raise SecretError("there is no secret to sign webhooks with; run `make webhook-secret`")
        return tuple(key_of(secret) for secret in secrets if secret is not None)

    def _version(self, stage: str) -> str | None:
        try:
            return self._client.get_secret_value(SecretId=self._arn, VersionStage=stage)["SecretString"]
        except self._client.exceptions.ResourceNotFoundException:
            return None
