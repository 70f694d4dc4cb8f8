"""Checks of bearer tokens (RFC 7519) against the keys that their issuer publishes (OpenID Connect Discovery 1.0)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt
from jwt import PyJWK, PyJWKSet

from functions.common.contract import IssuerError

# Only asymmetric algorithms: with HS256 in this list, anyone who knows a public key could sign with it.
ALGORITHMS = ("RS256", "ES256")
LEEWAY_SECONDS = 10
# Issuers publish a new key well before they sign with it.
KEYS_SECONDS = 600
# An unknown key is worth a look at the issuer, yet not for every token that anyone makes up.
LOOK_AGAIN_SECONDS = 30
MAX_SUBJECT = 255

Fetch = Callable[[str], Mapping[str, Any]]


class InvalidTokenError(Exception):
    """The token is not a valid one of the issuer for this API; the text has the reason, only for the log."""


class Issuer:
    """The keys of an issuer, fetched when needed and cached for a while."""

    def __init__(self, url: str, fetch: Fetch, now: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            url: the issuer as its tokens name it.
            fetch: gets a JSON object from an address.
        """
        self.url = url
        self._fetch = fetch
        self._now = now
        self._lock = threading.Lock()
        self._keys: dict[str, PyJWK] = {}
        self._fetched: float | None = None

    def key(self, key_id: str | None) -> PyJWK:
        """Return the key with this id; a token without an id has no key.

        Raises:
            InvalidTokenError: the issuer has no such key.
            IssuerError: the keys are not to be had.
        """
        with self._lock:
            age = float("inf") if self._fetched is None else self._now() - self._fetched
            if age > KEYS_SECONDS or (key_id not in self._keys and age > LOOK_AGAIN_SECONDS):
                self._keys = self._load()
                self._fetched = self._now()
            if key_id is None or key_id not in self._keys:
                raise InvalidTokenError("its key is not one of the issuer's")
            return self._keys[key_id]

    def _load(self) -> dict[str, PyJWK]:
        try:
            found = self._fetch(f"{self.url.rstrip('/')}/.well-known/openid-configuration")
            # Section 4.3: what is found has to be about the issuer that was asked for.
            if found.get("issuer") != self.url:
                raise IssuerError(f"{self.url} says that it is {found.get('issuer')!r}")
            keys = PyJWKSet.from_dict(dict(self._fetch(str(found["jwks_uri"])))).keys
        except (OSError, ValueError, KeyError, jwt.PyJWTError) as error:
            raise IssuerError(f"{type(error).__name__}: {error}") from error
        return {
            key.key_id: key
            for key in keys
            if key.key_id and key.public_key_use in {None, "sig"} and key.algorithm_name in ALGORITHMS
        }


def subject_of(token: str, *, issuer: Issuer, audience: str) -> str:
    """Check a token and return its subject.

    Args:
        token: the token without `Bearer`.
        audience: what its `aud` has to name.

    Raises:
        InvalidTokenError: it is malformed, signed by someone else, expired, not yet valid, or made for something else.
        IssuerError: the keys are not to be had.
    """
    # The token is untrusted input. PyJWT also raises errors that are not its own, for example on lone surrogates, on
    # very long numbers and on deeply nested JSON. Each of them means that the token is invalid.
    try:
        key_id = jwt.get_unverified_header(token).get("kid")
    except Exception as error:
        raise InvalidTokenError(f"{type(error).__name__}: {error}") from error
    # A key of this type names its algorithm; the token has to use the same one.
    key = issuer.key(key_id if isinstance(key_id, str) else None)
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=list(ALGORITHMS),
            audience=audience,
            issuer=issuer.url,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
    except Exception as error:
        raise InvalidTokenError(f"{type(error).__name__}: {error}") from error
    subject = claims["sub"]
    # The subject becomes the name of an owner and a key of records. OpenID Connect Core, section 2, allows 255 ASCII
    # characters. `isprintable` refuses lone surrogates and control characters.
    if not isinstance(subject, str) or not subject.isprintable() or not 1 <= len(subject) <= MAX_SUBJECT:
        raise InvalidTokenError(f"its subject is not a text of 1 to {MAX_SUBJECT} characters that can be printed")
    return subject
