"""The proxy that leads AWS's host names to the embedded AWS: its tunnels, and its answers to other requests."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.embedded_aws.proxy import HEAD_LIMIT_BYTES, Proxy, RefusedError, is_aws, read_head


@pytest.mark.parametrize(
    "host",
    [
        "iam.amazonaws.com",
        "files.s3.eu-west-1.amazonaws.com",
        "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
        "sts.cn-north-1.amazonaws.com.cn",
        "pool.auth.us-east-1.amazoncognito.com",
        "d111111abcdef8.cloudfront.net",
        "S3.AMAZONAWS.COM",
        "s3.amazonaws.com.",
    ],
)
def test_a_host_of_aws_is_known(host: str) -> None:
    assert is_aws(host)


@pytest.mark.parametrize(
    "host",
    ["registry.terraform.io", "amazonaws.com.example.org", "notamazonaws.com", "127.0.0.1", "localhost", "", "com"],
)
def test_another_host_is_not_taken_for_one_of_aws(host: str) -> None:
    assert not is_aws(host)


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("CONNECT s3.amazonaws.com:443 HTTP/1.1", ("s3.amazonaws.com", 443)),
        ("CONNECT [::1]:8443 HTTP/1.0", ("::1", 8443)),
    ],
)
def test_a_tunnel_is_asked_for_by_host_and_port(line: str, address: tuple[str, int]) -> None:
    assert read_head(f"{line}\r\nHost: whatever\r\n\r\n".encode()) == address


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET http://s3.amazonaws.com/ HTTP/1.1", 501),
        ("GET / HTTP/1.1", 501),
        ("CONNECT s3.amazonaws.com HTTP/1.1", 400),
        ("CONNECT :443 HTTP/1.1", 400),
        ("CONNECT host:99999 HTTP/1.1", 400),
        ("CONNECT host:port HTTP/1.1", 400),
        ("CONNECT user@host:443 HTTP/1.1", 400),
        ("CONNECT host:443/path HTTP/1.1", 400),
        ("CONNECT [::1:443 HTTP/1.1", 400),
        ("CONNECT host:443", 400),
        ("\x16\x03\x01", 400),
        ("", 400),
    ],
)
def test_what_asks_for_no_tunnel_is_told_why(line: str, status: int) -> None:
    with pytest.raises(RefusedError, match=r".+\.$") as refused:
        read_head(f"{line}\r\n\r\n".encode("latin-1"))

    assert refused.value.status == status


@given(st.one_of(st.binary(max_size=80), st.text(max_size=60).map(lambda text: f"CONNECT {text} HTTP/1.1".encode())))
def test_no_head_does_more_than_ask_or_be_refused(head: bytes) -> None:
    try:
        host, port = read_head(head)
    except RefusedError:
        return
    assert host
    assert 0 < port < 65536


# Tunnels


def _listening() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    return listener


def _port(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def _proxy_before(answer: bytes) -> AsyncIterator[tuple[int, int]]:
    """A server that reads until its client ends, then says `answer` and what it read; its port, and the proxy's.

    The proxy takes the server for the embedded AWS.
    """

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer + await reader.read())
        await writer.drain()
        writer.close()

    behind, before = _listening(), _listening()
    proxy = Proxy(_port(behind))
    async with await asyncio.start_server(talk, sock=behind), await proxy.serve(before):
        yield _port(behind), _port(before)
        proxy.close()


async def _say(port: int, *words: bytes) -> bytes:
    """Everything that is answered to words, each of which waits for an answer to the one before."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = b""
    for number, each in enumerate(words):
        if number:
            heard += await reader.read(4096)
        writer.write(each)
    writer.write_eof()
    heard += await reader.read()
    writer.close()
    return heard


ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def test_a_tunnel_to_aws_ends_in_the_embedded_aws() -> None:
    async def go() -> bytes:
        async with _proxy_before(b"embedded ") as (_, proxy):
            return await _say(proxy, b"CONNECT files.s3.eu-west-1.amazonaws.com:443 HTTP/1.1\r\n\r\n", b"hello")

    assert asyncio.run(go()) == ESTABLISHED + b"embedded hello"


def test_a_tunnel_to_another_host_ends_there() -> None:
    async def go() -> bytes:
        async with _proxy_before(b"other ") as (other, _), _proxy_before(b"embedded ") as (_, proxy):
            return await _say(proxy, f"CONNECT 127.0.0.1:{other} HTTP/1.1\r\n\r\n".encode(), b"hello")

    assert asyncio.run(go()) == ESTABLISHED + b"other hello"


def test_bytes_of_any_number_come_through_in_their_order() -> None:
    sent = bytes(range(256)) * 20_000

    async def go() -> bytes:
        async with _proxy_before(b"") as (_, proxy):
            return await _say(proxy, b"CONNECT sts.amazonaws.com:443 HTTP/1.1\r\n\r\n", sent)

    assert asyncio.run(go()) == ESTABLISHED + sent


@pytest.mark.parametrize(
    ("head", "status", "words"),
    [
        (b"CONNECT sts.amazonaws.com:22 HTTP/1.1\r\n\r\n", b"403 Forbidden", b"AWS is served at port 443"),
        (b"CONNECT nowhere.invalid:443 HTTP/1.1\r\n\r\n", b"502 Bad Gateway", b"nowhere.invalid:443 is out of reach"),
        (b"GET http://example.com/ HTTP/1.1\r\n\r\n", b"501 Not Implemented", b"set only HTTPS_PROXY"),
        (b"CONNECT sts.amazon", b"400 Bad Request", b"cut off"),
        (b"x" * (HEAD_LIMIT_BYTES + 1), b"400 Bad Request", b"too large"),
    ],
)
def test_whoever_gets_no_tunnel_reads_a_status_and_a_sentence(head: bytes, status: bytes, words: bytes) -> None:
    async def go() -> bytes:
        async with _proxy_before(b"embedded") as (_, proxy):
            return await _say(proxy, head)

    answer = asyncio.run(go())

    assert answer.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert words in answer.partition(b"\r\n\r\n")[2]


def test_a_client_that_leaves_takes_its_tunnel_along() -> None:
    async def go() -> bytes:
        async with _proxy_before(b"embedded ") as (_, proxy):
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy)
            writer.write(b"CONNECT sts.amazonaws.com:443 HTTP/1.1\r\n\r\n")
            await reader.readexactly(len(ESTABLISHED))
            writer.transport.abort()
            return await _say(proxy, b"CONNECT sts.amazonaws.com:443 HTTP/1.1\r\n\r\n", b"next")

    assert asyncio.run(go()) == ESTABLISHED + b"embedded next"
