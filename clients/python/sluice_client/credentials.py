"""Authentication: a bearer token or an AWS signature."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import shlex
import subprocess
import threading
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime
from urllib.parse import quote, unquote_to_bytes

import httpx

from sluice_client.errors import SluiceError

_TOKEN_COMMAND_SECONDS = 120
# API Gateway takes 10,240 bytes of headers ("Amazon API Gateway quotas").
_LONGEST_TOKEN = 10_240
_UNRESERVED = "-_.~"
_REGION_OF_HOST = re.compile(r"\.execute-api\.([a-z0-9-]+)\.amazonaws\.com")


class Token(httpx.Auth):
    """A bearer token. After a 401, a token that a command printed is renewed: it can expire during an upload."""

    def __init__(self, token: str = "", command: str = "") -> None:
        self._token = token
        self._command = command
        self._lock = threading.Lock()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the token; after a 401, try a new one."""
        used = self._current()
        request.headers["Authorization"] = f"Bearer {used}"
        response = yield request
        if response.status_code == 401 and self._command:
            request.headers["Authorization"] = f"Bearer {self._current(refused=used)}"
            yield request

    def _current(self, refused: str = "") -> str:
        # Several threads may get a 401 at the same time; only one of them runs the command.
        with self._lock:
            if not self._token or self._token == refused:
                self._token = _printed_by(self._command)
            return self._token


def _printed_by(command: str) -> str:
    """Return the token that a command prints.

    Raises:
        SluiceError: it prints no token. The error does not quote the command, which may contain a password.
    """
    try:
        with subprocess.Popen(shlex.split(command), stdout=subprocess.PIPE) as process:
            end = threading.Timer(_TOKEN_COMMAND_SECONDS, process.kill)
            end.start()
            try:
                # `communicate` would keep the whole output of a command in memory.
                printed = process.stdout.read(_LONGEST_TOKEN + 1) if process.stdout else b""
                if len(printed) > _LONGEST_TOKEN:
                    process.kill()
                code = process.wait()
            finally:
                end.cancel()
                process.kill()
    except (OSError, ValueError, IndexError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise SluiceError(f"SLUICE_TOKEN_COMMAND cannot be run: {said}") from None
    if code and len(printed) <= _LONGEST_TOKEN:
        raise SluiceError(f"SLUICE_TOKEN_COMMAND printed no token: it ended with exit code {code}")
    return _plain("The output of SLUICE_TOKEN_COMMAND", printed.decode("ascii", "replace"))


def _plain(name: str, value: str) -> str:
    """Return a value for a header, without surrounding blanks.

    Raises:
        SluiceError: a header cannot contain it. The error does not quote the value, since it is a secret.
    """
    value = value.strip()
    if not value or len(value) > _LONGEST_TOKEN or not all("!" <= character <= "~" for character in value):
        raise SluiceError(f"{name} has to be one token of ASCII characters without spaces, and nothing else")
    return value


class Signature(httpx.Auth):
    """Signature of requests to API Gateway with an AWS access key (IAM User Guide, "AWS Signature Version 4 for API
    requests").
    """

    requires_request_body = True

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        session_token: str = "",
        *,
        region: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._access_key = access_key
        self._secret_key = secret_key
        self._session_token = session_token
        self._region = region
        self._now = now

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the signature."""
        moment = self._now().strftime("%Y%m%dT%H%M%SZ")
        signed = {"host": request.headers["Host"], "x-amz-date": moment}
        if self._session_token:
            signed["x-amz-security-token"] = self._session_token
        path, _, query = request.url.raw_path.decode().partition("?")
        canonical = "\n".join(
            [
                request.method,
                _canonical_path(path),
                _canonical_query(query),
                *(f"{name}:{value}" for name, value in signed.items()),
                "",
                ";".join(signed),
                hashlib.sha256(request.content).hexdigest(),
            ]
        )
        scope = f"{moment[:8]}/{self._region}/execute-api/aws4_request"
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        key = f"AWS4{self._secret_key}".encode()
        for step in scope.split("/"):
            key = hmac.digest(key, step.encode(), "sha256")
        signature = hmac.digest(key, f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashed}".encode(), "sha256").hex()
        request.headers.update({name: value for name, value in signed.items() if name != "host"})
        request.headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._access_key}/{scope}, "
            f"SignedHeaders={';'.join(signed)}, Signature={signature}"
        )
        yield request


def _canonical_path(path: str) -> str:
    """Return the path for the signature: encoded once more than in the request, as for every service except S3."""
    return quote(re.sub("/+", "/", path), safe="/~")


def _canonical_query(query: str) -> str:
    """Return the query for the signature: names and values are encoded, except unreserved characters, and sorted."""
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return "&".join(
        f"{name}={value}" for name, value in sorted((_encoded(name), _encoded(value)) for name, _, value in pairs)
    )


def _encoded(sent: str) -> str:
    return quote(unquote_to_bytes(sent), safe=_UNRESERVED)


def credentials(url: str, environ: Mapping[str, str] = os.environ) -> httpx.Auth:
    """Return the credentials in the environment: a token, else a command that prints one, else an AWS access key.

    Args:
        url: of the API; its host may have the region for the signature.

    Raises:
        SluiceError: there are none, or one is not valid.
    """
    if environ.get("SLUICE_TOKEN"):
        return Token(_plain("SLUICE_TOKEN", environ["SLUICE_TOKEN"]))
    if environ.get("SLUICE_TOKEN_COMMAND"):
        return Token(command=environ["SLUICE_TOKEN_COMMAND"])
    if environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"):
        of_host = _REGION_OF_HOST.search(url)
        region = of_host[1] if of_host else environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
        if not region:
            raise SluiceError("AWS_REGION is not set; it has to be the region of the API")
        session_token = environ.get("AWS_SESSION_TOKEN", "")
        return Signature(
            _plain("AWS_ACCESS_KEY_ID", environ["AWS_ACCESS_KEY_ID"]),
            _plain("AWS_SECRET_ACCESS_KEY", environ["AWS_SECRET_ACCESS_KEY"]),
            _plain("AWS_SESSION_TOKEN", session_token) if session_token else "",
            region=_plain("AWS_REGION", region),
        )
    raise SluiceError(
        "There are no credentials. Set SLUICE_TOKEN to a token, or SLUICE_TOKEN_COMMAND to a command that prints "
        "one; for an API with signatures, set AWS_ACCESS_KEY_ID and so on: "
        'eval "$(aws configure export-credentials --format env)"'
    )
