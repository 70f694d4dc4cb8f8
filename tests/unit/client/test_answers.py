"""For any answer, at any speed, the client ends with a result or with its own error."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import islice
from pathlib import Path
from random import Random
from urllib.parse import parse_qs

import httpx
import pytest
from sluice_client import cli
from sluice_client.api import Api
from sluice_client.connections import MOST_ANSWER_BYTES, Connections, address
from sluice_client.credentials import Token
from sluice_client.errors import ProblemError, SluiceError, UnreachableError
from sluice_client.receiving import Receiver
from sluice_client.retries import Patience, retry_after
from sluice_client.sending import Sender
from sluice_client.state import States

from tests.unit.client.fake_sluice import TOKEN, FakeSluice, form_of
from tests.unit.client.harness import LARGE, NO_TRUST, RULES, SMALL, Setup, Streamed, answering

# Values that some reader of JSON, of numbers, or of text stumbles over. Written as JSON, since Python cannot hold all.
NASTY = [
    *(
        "null",
        "true",
        "false",
        "0",
        "-1",
        "1.5",
        "1e999",
        "NaN",
        "-Infinity",
        "9" * 30,
        "9" * 5_000,
        str(2**53),
        str(2**63),
    ),
    *('""', '" "', '"x"', '"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\udc80x"', '"\\u001b[2J"', '"\\u0085\\u009b2J"'),
    *(
        '"\\u202egnp.exe"',
        '"a\\r\\nb: c"',
        '"\\ufffe\\uffff"',
        '"日本語"',
        '"\\ud83d\\ude00"',
        '"../../x"',
        '".."',
        '"."',
    ),
    *(
        '"/"',
        '"\\\\"',
        '"CON"',
        '"-rf"',
        f'"{"x" * 3_000}"',
        f'"{"世" * 300}"',
        "[]",
        "{}",
        "[[]]",
        '[{"a": 1}]',
        '{"": ""}',
    ),
    *("[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900, "[" * 100_000),
    *('"https://"', '"http://s3.example.com/x"', '"ftp://a/b"', '"//a/b"', '"https://a:99999/"', '"https://a:b/"'),
    *('"https://[::1"', '"https://a b/"', '"https://a\\u0000/"', '"https://a\\n/"', f'"https://{"a" * 64}.com/"'),
    *(
        '"https://\\ud800/"',
        '"https://u:p@h/"',
        '"https://xn--a/"',
        '"https://.a/"',
        '"https://a..b/"',
        '"https://%00/"',
    ),
    *(
        '"https://ÄÖ.com/"',
        '"https://999.999.999.999/"',
        f'"https://a/{"x" * 70_000}"',
        '"https://a/?X-Amz-Expires=nan"',
    ),
    *(
        '"https://a/?X-Amz-Expires=-5"',
        '"https://a/?X-Amz-Expires=1e999"',
        '"https://a/?X-Amz-Expires=٣"',
        '"https://a"',
    ),
    *('"2026-01-01"', '"0000-00-00T00:00:00Z"', '"9999-12-31T23:59:59-23:59"', '"2026-01-01T00:00:00+99:99"'),
    *('"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="', '"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=-0"'),
    *(
        '"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=-1"',
        '"-"',
        '"x-99999999999999999999"',
        '"available"',
        '"uploading"',
    ),
]
NASTY_HEADERS = [
    *(("Content-Encoding", value) for value in ("gzip", "deflate", "br", "zstd", "gzip, gzip", "x", "", "identity")),
    *(
        ("Date", value)
        for value in ("", "x", "Mon, 99 Foo 99999999999 99:99:99 GMT", "\xff", "0", "Thu, 01 Jan 1970 00:00:00 -9999")
    ),
    *(
        ("Retry-After", value)
        for value in ("-1", "x", "9" * 400, "Mon, 01 Jan 9999 00:00:00 GMT", "٣", "1.5", "", "\xb2")
    ),
    *(("Content-Type", value) for value in ("", "text/html; charset=x", "application/json; charset=utf-16", "\xff")),
    *(("Location", value) for value in ("", "/x", "https://[", "javascript:1", "http://127.0.0.1:1/")),
    *(("Set-Cookie", value) for value in ("", "a=b; Expires=x; Max-Age=x", "=", "\xff=\xff; Domain=.com")),
    *(
        ("Content-Length", "-1"),
        ("Content-Range", "bytes 5-1/*"),
        ("WWW-Authenticate", "x"),
        ("Transfer-Encoding", "x"),
    ),
]
STATUSES = [
    100,
    101,
    199,
    201,
    202,
    203,
    204,
    205,
    206,
    300,
    301,
    302,
    304,
    307,
    399,
    400,
    401,
    403,
    404,
    408,
    409,
    412,
]
STATUSES += [415, 418, 429, 499, 500, 501, 502, 503, 504, 599, 600, 999]

Answered = tuple[int, list[tuple[str, str]], bytes]


def answer_of(fake: FakeSluice, request: httpx.Request) -> Answered:
    """Return the answer of a fake, without a connection."""
    content = request.read()
    if request.url.path.startswith("/s3/"):
        secret = parse_qs(request.url.query.decode()).get("X-Amz-Signature", [""])[0]
        if request.method == "GET":
            found = fake.links.get(secret)
            return (200, [], fake.records[found[0]].content or b"") if found else (403, [], b"<Error></Error>")
        checksum = request.headers.get("x-amz-checksum-sha256", "")
        if request.method == "POST":
            with contextlib.suppress(ValueError, KeyError, AssertionError):
                content, checksum = form_of(request.headers["Content-Type"], content)
        status, code = fake.take(secret, content, checksum)
        return status, [], f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode() if code else b""
    body = json.loads(content) if content else {}
    query = {name: values[0] for name, values in parse_qs(request.url.query.decode()).items()}
    path = request.url.path.removeprefix("/v1")
    try:
        status, said = fake.call(request.method, path, query, body, request.headers.get("Idempotency-Key", ""))
    except (KeyError, ValueError, TypeError):
        # A link that was changed leads to no call that there is.
        status, said = 404, {"detail": "Not found"}
    return status, [], b"" if said is None else json.dumps(said).encode()


def places(value: object, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Each place in JSON."""
    yield at
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*at, index))


def written(value: object, at: tuple[str | int, ...], instead: str | None) -> str:
    """JSON with one place written another way, or left out."""
    if not at:
        return instead or ""
    if isinstance(value, dict):
        inner = {key: written(it, at[1:], instead) if key == at[0] else json.dumps(it) for key, it in value.items()}
        return "{" + ", ".join(f"{json.dumps(key)}: {it}" for key, it in inner.items() if it) + "}"
    assert isinstance(value, list)
    items = [written(it, at[1:], instead) if index == at[0] else json.dumps(it) for index, it in enumerate(value)]
    return "[" + ", ".join(item for item in items if item) + "]"


def mutated(random: Random, answered: Answered, kinds: range = range(10)) -> Answered:
    """An answer with one thing wrong, sometimes two."""
    status, headers, body = answered
    kind = random.choice(kinds)
    if kind < 6 and body[:1] == b"{":
        value = json.loads(body)
        at = random.choice(list(places(value)))
        body = written(value, at, random.choice([*NASTY, None])).encode(errors="surrogatepass")
    elif kind == 6:
        status = random.choice(STATUSES)
    elif kind == 7:
        headers = [*headers, *random.choices(NASTY_HEADERS, k=random.randint(1, 3))]
    elif kind == 8:
        at_byte = random.randrange(len(body) + 1)
        junk = random.randbytes(random.randint(0, 4))
        body = body[:at_byte] + junk + body[at_byte + random.randint(0, 40) :]
    else:
        body = random.choice(
            [b"", b"\xff", b"null", b"[]", b"\x1f\x8b\x08" + random.randbytes(20), b"<Error><Code>\x1b</Code>"]
        )
    if random.random() < 0.2:
        return mutated(random, (status, headers, body), range(6, 10))
    return status, headers, body


class Hostile:
    """A server in memory that answers like the fake, except for one answer of each command."""

    def __init__(self) -> None:
        self.fake = FakeSluice()
        self.random = Random(0)  # noqa: S311
        self.good_answers = 0
        self.last: Answered | None = None
        self.http = Connections(verify=NO_TRUST, parallel=2, transport=httpx.MockTransport(self.handle))

    def handle(self, request: httpx.Request) -> httpx.Response:
        answered = answer_of(self.fake, request)
        self.good_answers -= 1
        # The wrong answer stays for good: an attempt that is repeated gets it again.
        if self.good_answers < 0:
            answered = self.last = mutated(self.random, answered)
        status, headers, body = answered
        raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers]
        return httpx.Response(status, headers=raw, stream=Streamed(body))

    def prepare(self, seed: int) -> Random:
        self.random = Random(seed)  # noqa: S311
        self.good_answers = self.random.randrange(6)
        for kept in (self.fake.records, self.fake.keys, self.fake.links, self.fake.log, self.fake.batches):
            kept.clear()
        return self.random


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    hostile = Hostile()
    yield hostile
    hostile.http.close()
    hostile.fake.close()


def test_no_answer_ends_in_a_traceback(
    hostile: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command, through the command line: an exit code, and lines that a terminal can take."""
    monkeypatch.setattr(cli, "connect", lambda parallel: hostile.http)
    monkeypatch.setattr(hostile.http, "close", lambda: None)
    monkeypatch.setattr(Patience, "pause", lambda self, failures, at_least=0.0: None)
    monkeypatch.setattr(Sender, "wait", quick_wait(Sender.wait))
    monkeypatch.setenv("SLUICE_URL", hostile.fake.url)
    monkeypatch.setenv("SLUICE_TOKEN", TOKEN)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.txt").write_bytes(SMALL)
    (tmp_path / "to").mkdir()
    codes = set()
    for seed in range(1_500):
        random = hostile.prepare(seed)
        stored = hostile.fake.add("a.txt", b"content")
        command = random.choice(
            [
                ["upload", "small.txt"],
                ["list"],
                ["quota"],
                ["download", "--force", "--to", "to", stored.file_id],
                ["delete", stored.file_id],
            ]
        )
        with pytest.raises(SystemExit) as ended:
            cli.main(command)
        said = capsys.readouterr()
        assert ended.value.code in {0, 1, 3}, (seed, command, hostile.last)
        codes.add(ended.value.code)
        for line in (said.out + said.err).splitlines():
            assert not any(unicodedata.category(it) in {"Cc", "Cs", "Zl", "Zp"} for it in line.replace("\t", "")), (
                seed,
                line,
            )
        assert len(said.err) < 12_000, (seed, len(said.err))
        if ended.value.code == 1:
            assert said.err.startswith("sluice: ") or "trying again" in said.err, (seed, said.err)
    assert codes >= {0, 1}
    assert [path.name for path in (tmp_path / "to").iterdir() if path.name.startswith(".sluice-")] == []


def quick_wait(wait: Callable[..., object]) -> Callable[..., object]:
    return lambda self, upload, seconds: wait(self, upload, seconds=min(seconds, 0.0))


def test_no_answer_to_a_large_upload_or_download_is_more_than_the_clients_error(
    hostile: Hostile, tmp_path: Path
) -> None:
    patience = Patience(attempts=2, sleep=lambda seconds: None)
    api = Api(hostile.fake.url, Token(TOKEN), hostile.http, patience)
    (tmp_path / "film.mov").write_bytes(LARGE)
    ended = 0
    for seed in range(600):
        random = hostile.prepare(seed)
        try:
            if random.random() < 0.7:
                hostile.good_answers = random.randrange(14)
                sender = Sender(api, States(tmp_path / f"state{seed % 3}"), parallel=2, rules=RULES)
                sender.wait(sender.send(tmp_path / "film.mov", "video/quicktime"), seconds=0)
            else:
                stored = hostile.fake.add("film.mov", LARGE)
                Receiver(api, rules=RULES, replace=True).fetch(stored.file_id, tmp_path / "back")
        except SluiceError as error:
            ended += 1
            assert len(str(error)) < 12_000
    assert ended > 150
    if (tmp_path / "back").exists():
        assert (tmp_path / "back").read_bytes() == LARGE


CALLS: dict[str, Callable[[Api], object]] = {
    "links": lambda api: api.links("x", [(1, "c")]),
    "status": lambda api: api.status("x"),
    "complete": lambda api: api.complete("x"),
    "files": lambda api: list(api.files()),
    "file": lambda api: api.file("x"),
    "download_link": lambda api: api.download_link("x"),
    "delete": lambda api: api.delete("x"),
}


@pytest.mark.parametrize("call", CALLS)
def test_an_answer_whose_every_field_is_nasty(call: str) -> None:
    fields = ["file_id", "state", "expires_time", "method", "part_size", "post", "parts", "files", "cursor", "failure"]
    fields += [
        "file_name",
        "size",
        "content_type",
        "checksum",
        "upload_time",
        "download_url",
        "detail",
        "errors",
        "title",
    ]
    for nasty in NASTY:
        body = "{" + ", ".join(f'"{field}": {nasty}' for field in fields) + "}"
        for status in (200, 400):
            with contextlib.suppress(SluiceError):
                CALLS[call](answering(body.encode(errors="surrogatepass"), status=status))


# Over real connections.


class RawServer:
    """A server that gives every connection a fixed answer, until the client closes it."""

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self._answer = answer
        self.connections = 0
        self.hung_up = threading.Semaphore(0)
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.getsockname()[1]}/v1"

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65_536)
            self._answer(connection)
        self.hung_up.release()

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def raw() -> Iterator[Callable[[Callable[[socket.socket], None]], RawServer]]:
    servers: list[RawServer] = []

    def start(answer: Callable[[socket.socket], None]) -> RawServer:
        servers.append(RawServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


Raw = Callable[[Callable[[socket.socket], None]], RawServer]


def for_ever(first: bytes, again: bytes, pause: float) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(again)
            time.sleep(pause)

    return answer


@contextlib.contextmanager
def impatient(seconds: float = 0.3) -> Iterator[Connections]:
    http = Connections(verify=NO_TRUST, parallel=2, answer_seconds=seconds)
    yield http
    http.close()


OK = b"HTTP/1.1 200 OK\r\n"
ENDLESS = {
    "nothing": lambda connection: connection.sendall(connection.recv(1)),
    "headers drip": for_ever(OK + b"X: ", b"x", 0.01),
    "another header again and again": for_ever(OK, b"X-Header: x\r\n", 0.01),
    "a status line without an end": for_ever(b"HTTP/1.1 200 ", b"O" * 100, 0.01),
    "the body drips": for_ever(OK + b"Content-Length: 1000\r\n\r\n", b" ", 0.01),
    "chunks drip": for_ever(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", 0.01),
    "a chunk without an end": for_ever(OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x", 0.01),
    "continue, slowly": for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01),
    "continue, at once": for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500, 0),
    "early hints": for_ever(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 0.01),
}


@pytest.mark.parametrize("answer", ENDLESS.values(), ids=ENDLESS)
def test_an_answer_of_the_api_that_never_ends_is_given_up(raw: Raw, answer: Callable[[socket.socket], None]) -> None:
    server = raw(answer)
    started = time.monotonic()
    with impatient() as http, pytest.raises(UnreachableError, match="no connection to 127"):
        Api(server.url, Token(TOKEN), http, Patience(attempts=2, sleep=lambda seconds: None)).status("x")
    assert server.connections == 2
    assert time.monotonic() - started < 10
    assert server.hung_up.acquire(timeout=10), "the connection stays open"


@pytest.mark.parametrize(
    "head", [b"Content-Length: 99999999999\r\n\r\n", b"\r\n", b"Transfer-Encoding: chunked\r\n\r\n"]
)
def test_an_answer_of_the_api_that_is_too_large_is_given_up(raw: Raw, head: bytes) -> None:
    more = b"10000\r\n" + b" " * 65_536 + b"\r\n" if b"chunked" in head else b" " * 65_536
    server = raw(for_ever(OK + head, more, 0))
    with impatient(60) as http, pytest.raises(SluiceError, match=f"more than {MOST_ANSWER_BYTES:,} bytes"):
        Api(server.url, Token(TOKEN), http, Patience(attempts=2)).status("x")
    assert server.connections == 1


def test_a_compressed_answer_is_not_unpacked(raw: Raw) -> None:
    # 10 MB that gzip wrote as 10 kB would pass a limit on what came, and again, 1,000 times as much.
    body = base64.b64decode("H4sIAAAAAAAC/6uuBQBDv6ajAgAAAA==")
    server = raw(lambda it: it.sendall(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body))
    with impatient(5) as http, pytest.raises(SluiceError, match="without an answer of Sluice"):
        Api(server.url, Token(TOKEN), http).status("x")


WRONG = [
    b"",
    b"\r\n\r\n",
    b"garbage",
    b"HTTP/9.9 200 OK\r\n\r\n",
    b"HTTP/1.1 99999 OK\r\n\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1 200\r\n\r\n{}",
    OK + b"Content-Length: -5\r\n\r\n{}",
    OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
    OK + b"Content-Length: abc\r\n\r\n{}",
    OK + b"Content-Length: 500\r\n\r\n{}",
    OK + b"Content-Length: 1\r\n\r\n{}{}{}",
    OK + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n{}",
    OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}",
    OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n{}",
    OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    OK + b"No colon\r\n\r\n{}",
    OK + b": x\r\n\r\n{}",
    OK + b"X: a\r\n b\r\n\r\n{}",
    OK + b"X: \x00\x1b\r\n\r\n{}",
    OK + b"X: " + b"x" * 200_000 + b"\r\n\r\n{}",
    OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 301 Moved\r\nLocation: \x1b\xff\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nabcde",
    b"HTTP/1.1 401 \x1b[2J\r\nContent-Length: 0\r\n\r\n",
]


@pytest.mark.parametrize("answer", WRONG, ids=range(len(WRONG)))
def test_an_answer_that_is_no_http_is_one_line(raw: Raw, answer: bytes) -> None:
    server = raw(lambda connection: connection.sendall(answer))
    with impatient() as http, pytest.raises(SluiceError) as error:
        Api(server.url, Token(TOKEN), http, Patience(attempts=2, sleep=lambda seconds: None)).status("x")
    assert "\n" not in str(error.value)
    assert str(error.value).isprintable()


def test_bytes_of_chance_are_an_error_too(raw: Raw) -> None:
    answers: list[bytes] = []
    server = raw(lambda connection: connection.sendall(answers[0]))
    valid = OK + b"Content-Type: application/json\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: 2\r\n\r\n{}"
    with impatient(1) as http:
        api = Api(server.url, Token(TOKEN), http, Patience(attempts=1))
        for seed in range(300):
            random = Random(seed)  # noqa: S311
            at = random.randrange(len(valid))
            answers[:] = [valid[:at] + random.randbytes(random.randint(0, 3)) + valid[at + random.randint(0, 9) :]]
            with pytest.raises(SluiceError) as error:
                api.status("x")
            assert str(error.value).isprintable(), seed


def test_s3_that_never_answers_a_part_is_given_up(raw: Raw, setup: Setup) -> None:
    setup.sluice.s3_at = raw(for_ever(OK + b"X: ", b"x", 0.01)).url
    for path in (setup.file(LARGE), setup.file(SMALL, "small")):
        with impatient() as http:
            api = Api(setup.sluice.url, Token(TOKEN), http, Patience(attempts=2, sleep=lambda seconds: None))
            sender = Sender(api, States(setup.states), parallel=2, rules=RULES)
            with pytest.raises(UnreachableError):
                sender.send(path, "video/quicktime")


def test_s3_that_takes_no_bytes_is_given_up(raw: Raw, setup: Setup) -> None:
    # One byte now and then keeps each single wait short.
    def drain(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while connection.recv(1):
            time.sleep(0.02)

    server = raw(drain)
    setup.sluice.s3_at = server.url
    (setup.folder / "film.mov").write_bytes(bytes(99_000_000))
    http = Connections(verify=NO_TRUST, parallel=1, answer_seconds=0.5)
    patience = Patience(attempts=1, sleep=lambda seconds: None)
    api = Api(setup.sluice.url, Token(TOKEN), http, patience)
    setup.sluice.post_bytes = 100_000_000
    with pytest.raises(UnreachableError):
        Sender(api, States(setup.states), parallel=1).send(setup.folder / "film.mov", "video/quicktime")
    http.close()


@pytest.mark.parametrize("size", [1, 60])
def test_a_download_that_drips_is_given_up(raw: Raw, setup: Setup, size: int) -> None:
    file = setup.sluice.add("film.mov", LARGE)
    ok = b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n"
    begun: list[int] = []

    def answer(connection: socket.socket) -> None:
        begun.append(1)
        # Each attempt brings a few bytes more, and so would the next thousand.
        with contextlib.suppress(OSError):
            for_ever(ok % (206 if len(begun) > 1 else 200, len(LARGE)), b"x" * size, 0.3 if size > 1 else 0.01)(
                connection
            )

    setup.sluice.s3_at = raw(answer).url
    with impatient(0.4) as http:
        api = Api(setup.sluice.url, Token(TOKEN), http, Patience(attempts=3, sleep=lambda seconds: None))
        receiver = Receiver(api, rules=RULES)
        with pytest.raises(UnreachableError):
            receiver.fetch(file.file_id, setup.folder)
    assert len(begun) == 3
    assert list(setup.folder.iterdir()) == []


def test_a_slow_download_that_moves_goes_on(raw: Raw, setup: Setup) -> None:
    file = setup.sluice.add("film.mov", LARGE)

    def answer(connection: socket.socket) -> None:
        connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(LARGE))
        for at in range(0, len(LARGE), 20_000):
            connection.sendall(LARGE[at : at + 20_000])
            time.sleep(0.1)

    server = raw(answer)
    setup.sluice.s3_at = server.url
    started = time.monotonic()
    with impatient(0.5) as http:
        api = Api(setup.sluice.url, Token(TOKEN), http, Patience(attempts=1))
        assert Receiver(api, rules=RULES).fetch(file.file_id, setup.folder).read_bytes() == LARGE
    assert time.monotonic() - started > 1.5, "it was not slower than one answer may be"


# Lists.


def listing(pages: Callable[[str], dict[str, object]]) -> Api:
    transport = httpx.MockTransport(
        lambda request: httpx.Response(
            200, stream=Streamed(json.dumps(pages(request.url.params.get("cursor", ""))).encode())
        )
    )
    return Api("https://api.example.com", Token("t"), Connections(verify=NO_TRUST, parallel=1, transport=transport))


ONE = {
    "file_id": "1",
    "file_name": "a",
    "size": 1,
    "content_type": "x",
    "checksum": "c",
    "state": "available",
    "upload_time": "2026",
}


@pytest.mark.parametrize(
    "pages",
    [
        lambda cursor: {"files": [ONE], "cursor": "same"},
        lambda cursor: {"files": [], "cursor": "same"},
        lambda cursor: {"files": [ONE], "cursor": {"": "a", "a": "b", "b": "c"}.get(cursor, "a")},
        lambda cursor: {"files": [], "cursor": f"{cursor}x"[-1_000:] if len(cursor) < 1_000 else str(hash(cursor))},
    ],
    ids=["the same page", "the same empty page", "a circle", "empty pages"],
)
def test_a_list_without_an_end_is_an_error(pages: Callable[[str], dict[str, object]]) -> None:
    with pytest.raises(SluiceError, match="does not end"):
        list(islice(listing(pages).files(), 10))


def test_empty_pages_in_a_list_are_passed() -> None:
    pages = {"": ([], "1"), "1": ([], "2"), "2": ([ONE], None)}
    assert [
        file.file_id
        for file in listing(lambda cursor: dict(zip(("files", "cursor"), pages[cursor], strict=True))).files()
    ] == ["1"]


# How long the server asks to wait.

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def in_seconds(seconds: float) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("61", 60),
        ("9" * 5_000, 60),
        ("-7", 0),
        ("7.5", 0),
        ("1e9", 0),
        ("nan", 0),
        ("inf", 0),
        ("", 0),
        ("soon", 0),
        (b"\xb2", 0),
        (in_seconds(20), 20),
        (in_seconds(-20), 0),
        (in_seconds(10**9), 60),
        ("Thu, 01 Jan 2026 12:00:09 -0000", 9),
        ("Thu, 99 Jan 2026 12:00:09 GMT", 0),
        ("Thu, 01 Jan 99999999999 12:00:09 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_bounded(said: str | bytes, seconds: float) -> None:
    raw = said if isinstance(said, bytes) else said.encode()
    # By the server's clock: this machine's may be years off.
    headers = httpx.Headers([(b"Retry-After", raw), (b"Date", in_seconds(0).encode())])
    assert retry_after(headers) == seconds


def test_an_api_that_answers_500_is_asked_three_times() -> None:
    slept: list[float] = []
    api = answering('{"error": "no"}', status=500)
    api.patience = Patience(sleep=slept.append)
    with pytest.raises(ProblemError, match="no"):
        api.status("x")
    assert len(slept) == 2
    assert sum(slept) < 2


def test_a_call_is_given_up_after_three_minutes() -> None:
    slept: list[float] = []
    api = answering("{}", {"Retry-After": "60"}, status=503)
    api.patience = Patience(sleep=slept.append, longest_call_seconds=50)
    with pytest.raises(ProblemError):
        api.status("x")
    assert slept == []


def test_a_problem_is_cut_and_printable() -> None:
    errors = [{"field": "a\nsluice: b", "detail": "\x1b[31m" + "x" * 9_000}] * 300
    body = {"detail": "bad \x9b2J\u202e\u2028 name", "errors": errors, "request_id": "\x07"}
    with pytest.raises(ProblemError) as problem:
        answering(json.dumps(body), status=400).status("x")
    lines = str(problem.value).split("\n")
    assert lines[0] == r"bad \x9b2J\u202e\u2028 name (HTTP 400, request \x07)"
    assert lines[1].startswith(r"  a\nsluice: b: \x1b[31mxxx")
    assert len(lines) == 21
    assert max(map(len, lines)) < 600


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "x",
            "//a",
            "https://",
            "https:///x",
            "ftp://a/",
            "http://a/",
            "http://127.0.0.1.example.com/",
            "https://a:0/",
        ),
        *(
            "https://a:65536/",
            "https://u@a/",
            "https://a\t/",
            "https://a/\u202e",
            "https://a/\x00",
            f"https://{'a' * 64}/",
        ),
        *("https://" + "a." * 127 + "com/", "https://[::1", "https://\ud800/", "https://.a/", "https://a..b/"),
    ],
)
def test_what_is_no_address_to_send_to(text: str) -> None:
    assert address(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "https://a",
        "https://a:8443/x?y=%20",
        "http://127.0.0.1:1/",
        "http://[::1]:1/",
        "http://localhost/",
        "https://bücher.example/",
    ],
)
def test_what_is_an_address_to_send_to(text: str) -> None:
    assert address(text) is not None
