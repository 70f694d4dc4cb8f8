"""A receiver of webhooks on loopback, over TLS, that answers as a test says."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Received:
    """One request, and what it was answered."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event


@dataclass
class Receiver:
    """The requests that came in, and the answers to give.

    Attributes:
        url: where it listens.
        answers: by the path of the request and the name of a file, the statuses that the next webhooks get; then, and
            for all others, it is 204.
        slow: seconds that it takes for each answer.
    """

    url: str
    answers: dict[tuple[str, str], Iterator[int]] = field(default_factory=dict)
    slow: float = 0
    received: list[Received] = field(default_factory=list)

    def about(self, path: str, file_name: str) -> list[Received]:
        """The webhooks to a path about a file, oldest first."""
        return [each for each in list(self.received) if (each.path, each.event["file_name"]) == (path, file_name)]

    def _take(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        status = next(self.answers.get((path, json.loads(body)["file_name"]), iter(())), 204)
        time.sleep(self.slow)
        self.received.append(Received(path, headers, body, status))
        return status


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that hung up is no error here."""


@contextmanager
def receiving(certificate: Path, key: Path) -> Iterator[Receiver]:
    """A receiver that listens until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver._take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"{receiver.url}/elsewhere")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name in http.server
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    # Without the handshake here, one caller who says nothing would keep the others out.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    receiver = Receiver(f"https://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
