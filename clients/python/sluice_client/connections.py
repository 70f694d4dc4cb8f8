"""Requests and answers with limits of time and size that no server can exceed.

httpx limits the time of each read. A very slow answer, or endless interim responses, stay below that limit at each
read. So each read also ends at the deadline of the whole answer.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType

import httpcore
import httpx

from sluice_client.errors import SluiceError, UnreachableError
from sluice_client.text import quoted
from sluice_client.trust import advice, trusted

# API Gateway gives up on an integration after 29 s ("Amazon API Gateway quotas").
ANSWER_SECONDS = 60.0
# API Gateway's payloads have 10 MB at most ("Amazon API Gateway quotas"); the largest ones of Sluice have 1 MB.
MOST_ANSWER_BYTES = 10_000_000
# A slower connection counts as broken, like --speed-limit of curl.
LOWEST_BYTES_PER_SECOND = 1024
# Bytes that are written between two checks of the time.
_WRITE_BYTES = 64 * 1024
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_LONGEST_LABEL, _LONGEST_HOST = 63, 253


@dataclass(frozen=True)
class Reply:
    """A complete answer."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def is_success(self) -> bool:
        """True if the status is 2xx."""
        return 200 <= self.status < 300


class Connections:
    """A pool of connections to the API and to S3, without credentials: these are only sent with calls of the API.

    Args:
        verify: trusted certificate authorities.
        parallel: how many parts are sent at a time.
        answer_seconds: how long an answer may take, from the last byte of the request to the last of the answer.

    Raises:
        SluiceError: the environment names a proxy that cannot be used.
    """

    def __init__(
        self,
        *,
        verify: ssl.SSLContext,
        parallel: int,
        transport: httpx.BaseTransport | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._answer_seconds = answer_seconds
        self._deadline = _Deadline()
        try:
            self._http = httpx.Client(
                verify=verify,
                transport=transport,
                timeout=httpx.Timeout(answer_seconds, connect=min(15.0, answer_seconds)),
                # One connection more than the parts, for calls of the API.
                limits=httpx.Limits(max_connections=parallel + 1, max_keepalive_connections=parallel + 1),
                # After httpx's authentication, since a command that prints a token takes time as well.
                event_hooks={"request": [lambda request: self._deadline.allow(answer_seconds)]},
            )
        except ImportError:
            raise SluiceError(
                "The environment names a SOCKS proxy (ALL_PROXY or the like), which needs one more package: "
                "pip install 'httpx[socks]'"
            ) from None
        except (ValueError, httpx.InvalidURL) as error:
            raise SluiceError(
                f"A proxy in the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY or NO_PROXY) cannot be used: {error}"
            ) from None
        # httpx has no option for httpcore's `network_backend`.
        for each in (self._http._transport, *self._http._mounts.values()):
            if isinstance(each, httpx.HTTPTransport):
                each._pool._network_backend = _Backend(each._pool._network_backend, self._deadline)

    def __enter__(self) -> Connections:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        auth: httpx.Auth | None = None,
        json: object = None,
        content: Iterable[bytes] | None = None,
    ) -> Reply:
        """Send a request, and return its complete answer.

        Raises:
            UnreachableError: there was no answer in time; another attempt may succeed.
            SluiceError: another attempt would fail, too.
        """
        with self._opened(method, url, headers=headers, auth=auth, json=json, content=content) as response:
            body = bytearray()
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > MOST_ANSWER_BYTES:
                    raise SluiceError(f"{_host(url)} answered with more than {MOST_ANSWER_BYTES:,} bytes")
            return Reply(response.status_code, response.headers, bytes(body))

    @contextlib.contextmanager
    def fetch(self, url: str, *, headers: Mapping[str, str]) -> Iterator[tuple[Reply, Iterator[bytes]]]:
        """Start a download: yield status and headers, and an iterator over the bytes as they arrive.

        Raises:
            UnreachableError, SluiceError: as `ask`; the iterator raises them too.
        """
        with self._opened("GET", url, headers=headers) as response:
            yield Reply(response.status_code, response.headers, b""), self._moving(response.iter_raw())

    @contextlib.contextmanager
    def _opened(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        auth: httpx.Auth | None = None,
        json: object = None,
        content: Iterable[bytes] | None = None,
    ) -> Iterator[httpx.Response]:
        try:
            request = self._http.build_request(
                method,
                url,
                # The compressed size does not limit the size of the content.
                headers={"Accept-Encoding": "identity", **(headers or {})},
                json=json,
                content=None if content is None else self._paced(content),
            )
            response = self._http.send(request, auth=auth, stream=True)
        except httpx.TransportError as error:
            raise UnreachableError(said_of(error, _host(url))) from None
        except (httpx.InvalidURL, ValueError, OverflowError) as error:
            # For example, an international host name that cannot be encoded in ASCII.
            raise SluiceError(f"No request can be made to {_host(url)}: {quoted(str(error))}") from None
        try:
            yield response
        except httpx.TransportError as error:
            raise UnreachableError(said_of(error, _host(url))) from None
        finally:
            response.close()

    def _paced(self, content: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in content:
            self._deadline.allow(max(self._answer_seconds, len(chunk) / LOWEST_BYTES_PER_SECOND))
            yield chunk
        self._deadline.allow(self._answer_seconds)

    def _moving(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        came = 0.0
        for chunk in chunks:
            came += len(chunk)
            if came >= self.enough_bytes:
                came = 0
                self._deadline.allow(self._answer_seconds)
            yield chunk

    @property
    def enough_bytes(self) -> float:
        """Number of bytes of a download that have to arrive within the time of one answer."""
        return LOWEST_BYTES_PER_SECOND * self._answer_seconds


def connect(
    *, parallel: int, transport: httpx.BaseTransport | None = None, answer_seconds: float = ANSWER_SECONDS
) -> Connections:
    """Return a pool of connections without credentials: these are only sent with calls of the API, and never to S3.

    HTTPS_PROXY and NO_PROXY are honoured. Connections trust the file of certificate authorities in SLUICE_CA_BUNDLE,
    AWS_CA_BUNDLE or SSL_CERT_FILE, in this order; without any, the authorities of the system and of certifi.

    Args:
        parallel: how many parts are sent at a time.
        answer_seconds: how long one answer may take.

    Raises:
        SluiceError: the file of the certificate authority cannot be read, or the proxy cannot be used.
    """
    return Connections(verify=trusted(), parallel=parallel, transport=transport, answer_seconds=answer_seconds)


class _Deadline(threading.local):
    """The deadline of the answer that this thread waits for, by the monotonic clock."""

    moment = float("inf")

    def allow(self, seconds: float) -> None:
        self.moment = time.monotonic() + seconds

    def left(self, at_most: float | None) -> float:
        left = self.moment - time.monotonic()
        return left if at_most is None else min(left, at_most)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = self._deadline.left(timeout)
        if left <= 0:
            raise httpcore.ReadTimeout("the answer did not come in time")
        return self._stream.read(max_bytes, left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for at in range(0, len(buffer), _WRITE_BYTES):
            left = self._deadline.left(timeout)
            if left <= 0:
                raise httpcore.WriteTimeout("the bytes could not be sent in time")
            self._stream.write(buffer[at : at + _WRITE_BYTES], left)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, backend: httpcore.NetworkBackend, deadline: _Deadline) -> None:
        self._backend = backend
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream, self._deadline)


def address(text: str) -> httpx.URL | None:
    """Return the address in a text; None if files and credentials may not be sent to it.

    A valid address has a scheme and a host, and no user name or password. It is encrypted, unless the host is this
    machine.
    """
    if any(character.isspace() or not character.isprintable() for character in text):
        return None
    try:
        url = httpx.URL(text)
        plain = url.host in LOOPBACK and url.scheme == "http"
    except (httpx.InvalidURL, ValueError):
        return None
    host = url.raw_host.decode("ascii")
    labels = host.removesuffix(".").split(".")
    if (
        not (plain or url.scheme == "https")
        or len(host) > _LONGEST_HOST
        or not all(0 < len(label) <= _LONGEST_LABEL for label in labels)
        or url.userinfo
        or (url.port is not None and not 0 < url.port < 2**16)
    ):
        return None
    return url


def said_of(error: httpx.TransportError, host: str) -> str:
    """Return the description of a failed connection.

    Raises:
        SluiceError: another attempt would fail, too.
    """
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        raise SluiceError(advice(host)) from None
    if isinstance(error, httpx.UnsupportedProtocol):
        raise SluiceError(f"{host}: {quoted(str(error))}") from None
    return f"no connection to {host} ({quoted(str(error)) or type(error).__name__})"


def _host(url: str) -> str:
    found = address(url)
    return found.host if found else "the server"
