"""Shared parts of the client's tests: files, a client of the fake, and the program as users run it."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import IO

import httpx
from sluice_client.api import Api
from sluice_client.connections import Connections, connect
from sluice_client.credentials import Token
from sluice_client.parts import Rules
from sluice_client.retries import Patience
from sluice_client.sending import Sender
from sluice_client.state import States

from tests.unit.client.fake_sluice import TOKEN, FakeSluice

RANDOM = Random(1)  # noqa: S311
SMALL = RANDOM.randbytes(70_001)
# Seven parts of 65,536 bytes, the last one shorter; each has bytes of its own.
LARGE = RANDOM.randbytes(6 * 65_536 + 4_321)
# These connections use no certificates, and reading the machine's authorities would take time.
NO_TRUST = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
RULES = Rules(post_bytes=100_000, smallest_part_bytes=65_536)

# Arguments; exit code, standard output, standard error.
Run = Callable[..., tuple[int, str, str]]


class Watch:
    """A recorder of messages."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int, int]] = []
        self.done = 0

    def stage(self, what: str, total: int, done: int = 0) -> None:
        self.stages.append((what, total, done))
        self.done = done

    def advance(self, count: int) -> None:
        self.done += count


class Setup:
    """A client of a fake, in a folder of its own."""

    def __init__(self, sluice: FakeSluice, folder: Path) -> None:
        self.sluice, self.folder = sluice, folder
        self.said: list[str] = []
        self.slept: list[float] = []
        self.watch = Watch()
        self.states = folder / "state"
        self.open: list[Connections] = []

    def api(self, *, attempts: int = 5, token: str = TOKEN) -> Api:
        patience = Patience(attempts=attempts, sleep=self.slept.append)
        http = connect(parallel=4)
        self.open.append(http)
        return Api(self.sluice.url, Token(token), http, patience, self.said.append)

    def sender(self, *, attempts: int = 5, parallel: int = 2, token: str = TOKEN) -> Sender:
        api = self.api(attempts=attempts, token=token)
        return Sender(api, States(self.states), parallel=parallel, rules=RULES, watcher=self.watch)

    def file(self, content: bytes, name: str = "film.mov") -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def remembered(self) -> list[Path]:
        return list(self.states.glob("*"))


class Streamed(httpx.SyncByteStream):
    """The bytes of an answer as they come from a connection."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self.chunks


def answering(body: str | bytes, headers: Mapping[str, str] | None = None, *, status: int = 200) -> Api:
    """A client of an API that always answers this."""
    content = body.encode() if isinstance(body, str) else body
    transport = httpx.MockTransport(lambda request: httpx.Response(status, headers=headers, stream=Streamed(content)))
    http = Connections(verify=NO_TRUST, parallel=1, transport=transport)
    return Api("https://api.example.com", Token("t"), http, Patience(attempts=1))


def program(
    setup: Setup,
    *arguments: str,
    command: Sequence[str] = (),
    stdout: IO[str] | int = subprocess.PIPE,
    stderr: IO[str] | int = subprocess.PIPE,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """The command line in a process of its own; `command` instead of it."""
    return subprocess.Popen(
        command or [sys.executable, "-m", "sluice_client", *arguments],
        env={
            "PATH": os.environ["PATH"],
            "SLUICE_URL": setup.sluice.url,
            "SLUICE_TOKEN": TOKEN,
            "XDG_STATE_HOME": str(setup.states),
            **(environment or {}),
        },
        cwd=setup.folder,
        stdout=stdout,
        stderr=stderr,
        encoding="utf-8",
        errors="replace",
        # If a shell runs the tests in the background, they inherit that ^C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
