"""The client as people run it, against the deployed system: over connections that are cut, and within flat memory."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import Deployed, wait_for
from tools.develop.caller import bearer

MIB = 2**20
PART_BYTES = 8 * MIB
# 16 parts at a time are 128 MiB; nothing may hold them, whatever the size of the file.
PARALLEL = 16
PEAK_MIB = 64
LARGE_BYTES = 2**30
# After so many bytes every connection is cut, and at last the client interrupted.
CUTS, INTERRUPTION = (250_000_000, 500_000_000), 750_000_000


@dataclass(frozen=True)
class Ran:
    """How a run of the client ended."""

    code: int
    out: str
    err: str
    seconds: float
    peak_mib: float


class Client:
    """The client's command line as one user."""

    def __init__(self, deployed: Deployed, folder: Path, name: str) -> None:
        outputs = deployed.outputs
        token = bearer(deployed.aws, outputs["user_pool_id"], outputs["user_pool_client_id"], name).token
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "SLUICE_URL": deployed.api.url,
            "SLUICE_TOKEN": token,
            "SSL_CERT_FILE": str(deployed.aws.ca_bundle),
            "XDG_STATE_HOME": str(folder / "state"),
        }

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "sluice_client", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Whoever runs the tests in the background of a shell hands on that ^C is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *arguments: str, **environment: str) -> Ran:
        return self.end(self.start(*arguments, **environment))

    @staticmethod
    def end(process: subprocess.Popen[str]) -> Ran:
        """Wait for the end of a run, and take the most memory that it ever had.

        Not from getrusage: that counts what the test had itself when it forked.
        """
        peaks = [0.0]

        def watch() -> None:
            # proc(5): VmHWM never falls, so the last look is as good as all of them.
            with contextlib.suppress(OSError, ProcessLookupError):
                while process.poll() is None:
                    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
                    peaks.append(int(found[1]) / 1024 if found else 0)
                    time.sleep(0.02)

        watcher = threading.Thread(target=watch)
        watcher.start()
        started = time.monotonic()
        out, err = process.communicate()
        watcher.join()
        return Ran(process.returncode, out, err, time.monotonic() - started, max(peaks))


class CuttingProxy:
    """An HTTP proxy on loopback (RFC 9110, CONNECT) that resets every connection once so many bytes went up.

    A presigned URL holds the address that it was signed for, so the client has to speak to that: a proxy leaves it be.
    """

    def __init__(self, cuts: Sequence[int]) -> None:
        self.cuts = list(cuts)
        self.cut_connections: list[int] = []
        self.sent_up = 0
        self._tunnels: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._tunnel, args=(connection,), daemon=True).start()

    def _tunnel(self, down: socket.socket) -> None:
        with down, contextlib.suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += down.recv(1)
            found = re.match(rb"CONNECT (127\.0\.0\.1):(\d+) ", head)
            assert found, head
            with socket.create_connection((found[1].decode(), int(found[2]))) as up:
                down.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                with self._lock:
                    self._tunnels.add(down)
                try:
                    self._pump(down, up)
                finally:
                    with self._lock:
                        self._tunnels.discard(down)

    def _pump(self, down: socket.socket, up: socket.socket) -> None:
        while True:
            readable, _, _ = select.select([down, up], [], [])
            for side in readable:
                chunk = side.recv(MIB)
                if not chunk:
                    return
                (up if side is down else down).sendall(chunk)
                if side is down:
                    self._count(len(chunk))

    def _count(self, count: int) -> None:
        with self._lock:
            self.sent_up += count
            if not self.cuts or self.sent_up < self.cuts[0]:
                return
            self.cuts.pop(0)
            self.cut_connections.append(len(self._tunnels))
            for tunnel in self._tunnels:
                tunnel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                tunnel.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy() -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(CUTS)
    yield proxy
    proxy.close()


def sparse(path: Path, size: int) -> None:
    """A file of holes, with a stamp in each part so that no two parts, and no two files, are the same."""
    own = secrets.token_hex(8)
    with path.open("wb") as file:
        for at in range(0, size, PART_BYTES):
            file.seek(at)
            file.write(f"{own} {at}".encode())
        file.truncate(size)


def test_files_go_up_come_back_and_go_away(deployed: Deployed, tmp_path: Path) -> None:
    client = Client(deployed, tmp_path, "client-small")
    # The last has 253 bytes of the 255 that a file system takes.
    texts = {"one.txt": "first\n", "two words.txt": "second\n", f"{'文' * 83}.txt": "third\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    sent = client.run("upload", *texts)
    assert (sent.code, sent.err) == (0, "")
    ids = dict(line.split("\t")[::-1] for line in sent.out.splitlines())
    assert ids.keys() == texts.keys()
    listed = client.run("list", "--state", "available").out.splitlines()
    assert {(line.split("\t")[0], line.split("\t")[4]) for line in listed} == {(ids[name], name) for name in texts}
    found = client.run("list", "--prefix", "two w").out.splitlines()
    assert [line.split("\t")[4] for line in found] == ["two words.txt"]
    # Nobody else has them.
    stranger = Client(deployed, tmp_path, "client-stranger")
    assert stranger.run("list").out == ""
    assert stranger.run("download", ids["one.txt"]).code == 1
    (tmp_path / "back").mkdir()
    assert client.run("download", "--to", "back", *ids.values()).code == 0
    assert {path.name: path.read_text() for path in (tmp_path / "back").iterdir()} == texts
    assert client.run("delete", *ids.values()).code == 0
    gone = client.run("download", ids["one.txt"])
    assert gone.code == 1
    assert "No such file" in gone.err
    # The same file is another upload then.
    again = client.run("upload", "one.txt")
    assert again.code == 0
    assert again.out.split("\t")[0] != ids["one.txt"]


def test_what_a_person_can_mend_is_said_without_a_traceback(deployed: Deployed, tmp_path: Path) -> None:
    client = Client(deployed, tmp_path, "client-mistaken")
    (tmp_path / "page.html").write_text("<script>alert(1)</script>")
    cases = {
        "HTTP 415": client.run("upload", "page.html"),
        "the token is wrong or has expired": client.run("list", SLUICE_TOKEN="wrong"),
        "SSL_CERT_FILE": client.run("list", SSL_CERT_FILE=""),
    }
    for words, ran in cases.items():
        assert ran.code == 1, ran
        assert words in ran.err
        assert "Traceback" not in ran.err


def test_a_file_that_is_not_what_it_is_called_fails_the_command_with_the_reason(
    deployed: Deployed, tmp_path: Path
) -> None:
    client = Client(deployed, tmp_path, "client-deceived")
    (tmp_path / "photo.png").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(100))
    rejected = client.run("upload", "photo.png")
    assert (rejected.code, rejected.out) == (1, "")
    assert "photo.png was rejected: " in rejected.err


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_gigabyte_survives_cuts_and_an_interruption_in_flat_memory(
    deployed: Deployed, tmp_path: Path, proxy: CuttingProxy
) -> None:
    client = Client(deployed, tmp_path, "client-large")
    size = LARGE_BYTES
    sparse(tmp_path / "film.mov", size)
    upload = ("upload", "--parallel", str(PARALLEL), "--content-type", "application/octet-stream", "film.mov")
    process = client.start(*upload, HTTPS_PROXY=proxy.url)
    wait_for(lambda: proxy.sent_up > INTERRUPTION or process.poll() is not None, seconds=400)
    process.send_signal(signal.SIGINT)
    first = client.end(process)
    assert first.code == 130, first.err
    assert "Run the same command again to resume." in first.err
    assert "no connection to 127.0.0.1" in first.err
    assert proxy.cuts == []
    assert all(count > 1 for count in proxy.cut_connections), "nothing was on its way when it was cut"
    second = client.run(*upload, HTTPS_PROXY=proxy.url)
    assert (second.code, second.err) == (0, "")
    # Each of the three losses costs at most the parts on their way; TLS and headers are well below 1 %.
    assert size < proxy.sent_up < size * 1.01 + 3 * PARALLEL * PART_BYTES
    file_id = second.out.split("\t")[0]
    stored = deployed.s3().head_object(
        Bucket=deployed.outputs["bucket_name"], Key=f"uploads/{file_id}", ChecksumMode="ENABLED"
    )
    assert stored["ContentLength"] == size
    assert stored["ChecksumSHA256"].endswith(f"-{-(-size // PART_BYTES)}")
    back = client.run("download", "--to", "back.mov", file_id)
    assert back.code == 0, back.err
    compare = subprocess.run(["cmp", "film.mov", "back.mov"], cwd=tmp_path, capture_output=True, check=False)
    assert compare.returncode == 0, compare.stdout
    peaks = [run.peak_mib for run in (first, second, back)]
    assert min(peaks) > 10, "memory was not measured"
    assert max(peaks) < PEAK_MIB, peaks
    client.run("delete", file_id)
