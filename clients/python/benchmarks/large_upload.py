"""Uploads a number of MiB to a server on loopback that discards all parts.

Prints one line: the client's peak memory in MiB, bytes of a part, parts at once. `make bench` reads it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PART_BYTES = 8 * 2**20
AT_ONCE = 4
FILE_ID = "00000000-0000-4000-8000-000000000000"


class Sink(BaseHTTPRequestHandler):
    """A server with the calls of the API and of S3 that one upload in parts needs."""

    protocol_version = "HTTP/1.1"
    declared: dict[str, Any]

    def do_POST(self) -> None:
        """Start an upload, return links, or complete it."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        if self.path == "/uploads":
            type(self).declared = body
            links = [self._link(number, checksum) for number, checksum in enumerate(body.get("part_checksums", []), 1)]
            count = -(-body["size"] // PART_BYTES)
            how = {"method": "multipart", "part_size": PART_BYTES, "part_count": count, "parts": links}
            self._answer(201, {**self._state("uploading"), **how})
        elif self.path.endswith("/parts"):
            links = [self._link(part["part_number"], part["checksum"]) for part in body["parts"]]
            self._answer(200, {"parts": links, "links_expire": "2100-01-01T00:00:00.000+00:00"})
        else:
            self._answer(200, {**self._state("available"), "file_url": "http://127.0.0.1/"})

    def do_GET(self) -> None:
        """Return the state of the upload, which is always available."""
        self._answer(200, {**self._state("available"), **self.declared, "method": "multipart"})

    def do_PUT(self) -> None:
        """Read a part, and discard it."""
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 2**16)))
        self._answer(200, {})

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _state(self, state: str) -> dict[str, str]:
        return {"file_id": FILE_ID, "state": state, "expires_time": "2100-01-01T00:00:00.000+00:00"}

    def _link(self, number: int, checksum: str) -> dict[str, Any]:
        size = min(PART_BYTES, self.declared["size"] - (number - 1) * PART_BYTES)
        headers = {"content-length": str(size), "x-amz-checksum-sha256": checksum}
        url = f"http://{self.headers['Host']}/part/{number}"
        return {"part_number": number, "method": "PUT", "url": url, "headers": headers}

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def peak_of(command: list[str], environment: dict[str, str]) -> float:
    """Run a program and return its peak memory in MiB (proc(5): VmHWM never falls)."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        peak = max(peak, int(found[1]) / 1024) if found else peak
        time.sleep(0.02)
    if process.returncode:
        sys.exit(f"the client ended with {process.returncode}")
    return peak


def main() -> None:
    """Create the file, send it, and print the figures."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "large.bin"
        with file.open("wb") as sparse:
            sparse.truncate(int(sys.argv[1]) * 2**20)
        command = [sys.executable, "-m", "sluice_client", "upload", "--parallel", str(AT_ONCE), str(file)]
        access = {"SLUICE_URL": f"http://127.0.0.1:{server.server_port}", "SLUICE_TOKEN": "none"}
        print(peak_of(command, {**os.environ, **access, "XDG_STATE_HOME": folder}), PART_BYTES, AT_ONCE)


if __name__ == "__main__":
    main()
