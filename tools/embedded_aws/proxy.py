"""A proxy that connects the host names of AWS to the embedded AWS, for clients without another endpoint.

It opens tunnels (RFC 9110, "CONNECT") and does not look into them: TLS ends in the server, which has a certificate for
the names of AWS. So host names, headers and signatures arrive as the client made them. A tunnel to any other host leads
to that host.
"""

import asyncio
import contextlib
import socket
from http import HTTPStatus
from urllib.parse import urlsplit

from .layout import LOOPBACK

# Domains of AWS (AWS, "AWS service endpoints"), in all partitions; subdomains belong to them.
AWS_DOMAINS = ("amazonaws.com", "amazonaws.com.cn", "amazoncognito.com", "api.aws", "cloudfront.net", "on.aws")

HTTPS_PORT = 443
HEAD_LIMIT_BYTES = 16 * 1024
HEAD_DEADLINE_SECONDS = 10.0
CONNECT_DEADLINE_SECONDS = 10.0
CHUNK_BYTES = 64 * 1024


class RefusedError(Exception):
    """The proxy refuses a request; the client gets the status and the sentence."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def is_aws(host: str) -> bool:
    """Return whether a host belongs to AWS."""
    name = host.lower().rstrip(".")
    return any(name == domain or name.endswith(f".{domain}") for domain in AWS_DOMAINS)


def read_head(head: bytes) -> tuple[str, int]:
    """Return host and port of the tunnel that the head of a request asks for.

    Raises:
        RefusedError: it asks for something else.

    """
    line = head.split(b"\r\n", 1)[0].decode("latin-1")
    method, _, rest = line.partition(" ")
    target, _, version = rest.rpartition(" ")
    if not version.startswith("HTTP/1."):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "This is an HTTP proxy.")
    if method != "CONNECT":
        raise RefusedError(HTTPStatus.NOT_IMPLEMENTED, "This proxy opens tunnels (CONNECT): set only HTTPS_PROXY.")
    try:
        address = urlsplit(f"//{target}")
        host, port = address.hostname, address.port
    except ValueError:
        host = port = None
    if not host or not port or address.netloc != target or "@" in target:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "CONNECT takes a host and a port.")
    return host, port


class Proxy:
    """A proxy that opens tunnels.

    Args:
        aws_port: where the embedded AWS listens on loopback, with TLS.

    """

    def __init__(self, aws_port: int) -> None:
        self._aws_port = aws_port
        self._tunnels: set[asyncio.Task[None]] = set()

    async def serve(self, listener: socket.socket) -> asyncio.Server:
        """Accept connections of a listening socket, until the returned server is closed."""
        return await asyncio.start_server(self._take, sock=listener, limit=HEAD_LIMIT_BYTES)

    def close(self) -> None:
        """Close every tunnel."""
        for tunnel in self._tunnels:
            tunnel.cancel()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type
        self._tunnels.add(task)
        try:
            with contextlib.suppress(ConnectionError, TimeoutError, asyncio.CancelledError):
                await self._answer(reader, writer)
        finally:
            self._tunnels.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            host, port = read_head(await _head(reader))
            far_reader, far_writer = await self._reach(host, port)
        except RefusedError as refused:
            body = f"{refused}\n".encode()
            lines = [
                f"HTTP/1.1 {refused.status.value} {refused.status.phrase}",
                "Content-Type: text/plain; charset=utf-8",
                f"Content-Length: {len(body)}",
                "Connection: close",
            ]
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
            return
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pour(reader, far_writer), _pour(far_reader, writer))
        finally:
            far_writer.close()

    async def _reach(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the server of a host: the embedded AWS or the host itself.

        Raises:
            RefusedError: the host cannot be reached.

        """
        if is_aws(host):
            if port != HTTPS_PORT:
                raise RefusedError(HTTPStatus.FORBIDDEN, f"AWS is served at port {HTTPS_PORT} of {host}.")
            return await _connect(LOOPBACK, self._aws_port)
        return await _connect(host, port)


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(HEAD_DEADLINE_SECONDS):
            return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.LimitOverrunError, asyncio.IncompleteReadError):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "The head of the request is cut off or too large.") from None


async def _connect(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        async with asyncio.timeout(CONNECT_DEADLINE_SECONDS):
            return await asyncio.open_connection(host, port)
    except (OSError, UnicodeError) as error:
        reason = str(error) or type(error).__name__
        raise RefusedError(HTTPStatus.BAD_GATEWAY, f"{host}:{port} is out of reach: {reason}") from None


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy until the source ends, then end the sink: each direction of a tunnel ends separately."""
    while chunk := await source.read(CHUNK_BYTES):
        sink.write(chunk)
        await sink.drain()
    with contextlib.suppress(OSError):
        sink.write_eof()
