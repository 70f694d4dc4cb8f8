"""The secrets for signatures in Secrets Manager, one for each receiver."""

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
    """The keys in a secret's two newest versions, newest first, fetched when needed and cached for a while."""

    def __init__(self, client: SecretsManagerClient, now: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._now = now
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, tuple[bytes, ...]]] = {}

    def of(self, secret_arn: str) -> tuple[bytes, ...]:
        """Return the keys for signatures.

        Raises:
            SecretError: the secret has no value yet, or is malformed.
            ClientError: Secrets Manager refused.
        """
        with self._lock:
            fetched, keys = self._kept.get(secret_arn, (float("-inf"), ()))
            if self._now() - fetched >= CACHE_SECONDS:
                # Nothing is kept of a failure: once there is a secret, the next message finds it.
                keys = self._fetch(secret_arn)
                self._kept[secret_arn] = (self._now(), keys)
            return keys

    def _fetch(self, secret_arn: str) -> tuple[bytes, ...]:
        """Fetch the two newest versions: a receiver that still has the older one can verify with it."""
        versions = [self._version(secret_arn, stage) for stage in ("AWSCURRENT", "AWSPREVIOUS")]
        if versions[0] is None:
            raise SecretError("there is no secret to sign this receiver's webhooks with; run `make webhook-secret`")
        return tuple(key_of(version) for version in versions if version is not None)

    def _version(self, secret_arn: str, stage: str) -> str | None:
        try:
            return self._client.get_secret_value(SecretId=secret_arn, VersionStage=stage)["SecretString"]
        except self._client.exceptions.ResourceNotFoundException:
            return None
