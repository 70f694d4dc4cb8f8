"""A small Sluice on loopback, API and S3, on real connections that can be cut. It shares no code with either."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import socket
import struct
import sys
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "good-token"  # noqa: S105


def sha256(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def composite(content: bytes, part_size: int) -> str:
    digests = [hashlib.sha256(content[at : at + part_size]).digest() for at in range(0, len(content), part_size)]
    return f"{base64.b64encode(hashlib.sha256(b''.join(digests)).digest()).decode()}-{len(digests)}"


@dataclass
class Record:
    file_id: str
    declared: dict[str, Any]
    part_size: int
    state: str = "uploading"
    failure: str = ""
    parts: dict[int, bytes] = field(default_factory=dict)
    content: bytes | None = None
    completed: bool = False


class FakeSluice:
    """A fake that keeps uploads in memory. The lists and numbers below make calls fail, once for each entry."""

    def __init__(self, *, post_bytes: int = 100_000, part_size: int = 65_536) -> None:
        self.post_bytes, self.part_size = post_bytes, part_size
        self.records: dict[str, Record] = {}
        self.keys: dict[str, str] = {}
        self.links: dict[str, tuple[str, int, str, int]] = {}
        self.batches: list[list[str]] = []
        self.log: list[str] = []
        self.stored: Counter[int] = Counter()
        self.token = TOKEN
        self.link_seconds = 900
        self.quota_bytes = 10**12
        self.allowed_content_types = ["image/*", "text/plain"]
        # Where links lead instead of to this server.
        self.s3_at = ""
        # Bytes of a request's body after which S3 cuts the connection.
        self.cut_after: deque[int] = deque()
        # S3 stores what came, and cuts before it answers.
        self.swallow_answers = 0
        # Status and code that S3 answers instead of storing.
        self.s3_refuses: deque[tuple[int, str]] = deque()
        # By call, such as `POST /uploads`: the status to answer instead; 0 cuts after it was done.
        self.api_answers: dict[str, deque[int]] = {}
        self.retry_after = ""
        self.problem: dict[str, Any] | None = None
        # States that an upload goes through each time somebody asks after it was completed.
        self.then: list[tuple[str, str]] = [("available", "")]
        self.lose_parts: list[int] = []
        self.before_call: Callable[[], None] = lambda: None
        self.before_part: Callable[[int], None] = lambda number: None
        self.lock = threading.RLock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def s3(self) -> str:
        return self.s3_at or f"http://127.0.0.1:{self._server.server_address[1]}/s3"

    def __enter__(self) -> FakeSluice:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self.close()
        assert not self._server.failures, "\n".join(self._server.failures)

    def close(self) -> None:
        """Give back its port, for a fake that never served."""
        self._server.server_close()

    def count(self, call: str) -> int:
        return sum(re.fullmatch(call, entry) is not None for entry in self.log)

    def only(self) -> Record:
        [record] = self.records.values()
        return record

    def add(self, name: str, content: bytes, *, state: str = "available") -> Record:
        size = len(content)
        part_size = self.part_size if size > self.post_bytes else 0
        checksum = composite(content, part_size) if part_size else sha256(content)
        declared = {"file_name": name, "size": size, "content_type": "text/plain", "checksum": checksum}
        record = Record(secrets.token_hex(8), declared, part_size, state, content=content)
        self.records[record.file_id] = record
        return record

    # The API.

    def call(self, method: str, path: str, query: dict[str, str], body: dict[str, Any], key: str) -> tuple[int, Any]:
        with self.lock:
            if (method, path) == ("POST", "/uploads"):
                return self._start(body, key)
            if (method, path) == ("GET", "/files"):
                return 200, self._page(query)
            if (method, path) == ("GET", "/quota"):
                return 200, self._quota()
            kind, file_id, *rest = path.strip("/").split("/")
            record = self.records.get(file_id)
            if record is None:
                return 404, {"type": "urn:sluice:problem:not-found", "detail": "No such file"}
            verb = " ".join([method, kind, *rest])
            return {
                "GET uploads": self._status,
                "DELETE uploads": self._abort,
                "POST uploads parts": lambda record: self._links(record, body["parts"]),
                "POST uploads complete": lambda record: self._complete(record, body.get("checksum", "")),
                "GET files": lambda record: (200, self._listed(record)),
                "GET files content": lambda record: (200, {"download_url": self._link(record, 0, "", 0)}),
                "DELETE files": self._delete,
            }[verb](record)

    def _start(self, declared: dict[str, Any], key: str) -> tuple[int, Any]:
        if self.problem:
            return int(self.problem["status"]), self.problem
        if key not in self.keys:
            part_size = self.part_size if declared["size"] > self.post_bytes else 0
            record = Record(secrets.token_hex(8), declared, part_size)
            self.records[record.file_id], self.keys[key] = record, record.file_id
        record = self.records[self.keys[key]]
        begun: dict[str, Any] = {"file_id": record.file_id, "state": record.state, "expires_time": _later(24)}
        if record.state == "uploading" and not record.part_size:
            begun |= {"method": "post", "post": self._form(record)}
        elif record.state == "uploading":
            links = [self._part_link(record, number, it) for number, it in enumerate(declared["part_checksums"], 1)]
            self.batches.append([link["url"] for link in links])
            begun |= {"method": "multipart", "part_size": record.part_size, "part_count": 0, "parts": links}
        return 201, begun

    def _status(self, record: Record) -> tuple[int, Any]:
        if record.completed and record.state in {"uploading", "scanning"}:
            record.state, record.failure = self.then.pop(0) if len(self.then) > 1 else self.then[0]
        known: dict[str, Any] = {"file_id": record.file_id, "state": record.state, "expires_time": _later(24)}
        known["method"] = "multipart" if record.part_size else "post"
        if "checksum" in record.declared:
            known["checksum"] = record.declared["checksum"]
        if record.failure:
            known["failure"] = record.failure
        if record.part_size:
            known["part_size"] = record.part_size
        if record.state == "uploading" and record.content is None:
            parts = [
                {"part_number": number, "size": len(content), "checksum": sha256(content)}
                for number, content in sorted(record.parts.items())
            ]
            known |= {"parts": parts} if record.part_size else {"post": self._form(record)}
        return 200, known

    def _complete(self, record: Record, checksum: str) -> tuple[int, Any]:
        known = record.declared.get("checksum", "")
        if checksum and known and checksum != known:
            return 409, {"detail": "another checksum", "errors": [{"field": "checksum", "detail": "another"}]}
        if record.state not in {"uploading", "scanning", "available"}:
            return 409, {"detail": f"The upload is {record.state}"}
        if record.part_size and record.content is None:
            for number in self.lose_parts:
                del record.parts[number]
            self.lose_parts.clear()
            count = -(-record.declared["size"] // record.part_size)
            missing = [number for number in range(1, count + 1) if number not in record.parts]
            if missing:
                errors = [{"field": f"parts/{number}", "detail": "it has not arrived"} for number in missing]
                return 409, {"detail": "Parts are missing", "errors": errors}
            content = b"".join(content for _, content in sorted(record.parts.items()))
            found = composite(content, record.part_size)
            if (known or checksum or found) != found:
                return 409, {"detail": "another checksum", "errors": [{"field": "checksum", "detail": "another"}]}
            record.declared["checksum"] = found
            record.content = content
        if record.content is None:
            return 409, {"detail": "No bytes have arrived yet"}
        record.completed = True
        return 200, {"file_id": record.file_id, "state": record.state, "file_url": "x"}

    def _links(self, record: Record, wanted: list[dict[str, Any]]) -> tuple[int, Any]:
        assert 1 <= len(wanted) <= 100
        links = [self._part_link(record, part["part_number"], part["checksum"]) for part in wanted]
        self.batches.append([link["url"] for link in links])
        return 200, {"parts": links, "links_expire": _later(1)}

    def _abort(self, record: Record) -> tuple[int, Any]:
        if record.state == "available":
            return 409, {"detail": "The upload is complete"}
        record.state = "aborted"
        return 204, None

    def _delete(self, record: Record) -> tuple[int, Any]:
        if record.state != "available":
            return 409, {"detail": f"The file is {record.state}"}
        record.state = "deleted"
        return 204, None

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        everything = [r for r in self.records.values() if r.state == query.get("state", r.state)][::-1]
        at = int(query.get("cursor", "0"))
        more = str(at + 2) if at + 2 < len(everything) else None
        return {"files": [self._listed(record) for record in everything[at : at + 2]], "cursor": more}

    def _quota(self) -> dict[str, object]:
        counted = [r.declared["size"] for r in self.records.values() if r.state in {"uploading", "available"}]
        return {
            "used_bytes": sum(counted),
            "used_files": len(counted),
            "quota_bytes": self.quota_bytes,
            "quota_files": 1_000,
            "left_bytes": self.quota_bytes - sum(counted),
            "left_files": 1_000 - len(counted),
            "max_upload_bytes": 5 * 10**9,
            "allowed_content_types": self.allowed_content_types,
        }

    def _listed(self, record: Record) -> dict[str, Any]:
        return {"file_id": record.file_id, "state": record.state, "upload_time": _later(0), **record.declared}

    def _link(self, record: Record, number: int, checksum: str, size: int) -> str:
        secret = secrets.token_hex(8)
        self.links[secret] = (record.file_id, number, checksum, size)
        return f"{self.s3}/{record.file_id}?X-Amz-Expires={self.link_seconds}&X-Amz-Signature={secret}"

    def _part_link(self, record: Record, number: int, checksum: str) -> dict[str, Any]:
        size = min(record.part_size, record.declared["size"] - (number - 1) * record.part_size)
        assert size > 0
        headers = {"content-length": str(size), "x-amz-checksum-sha256": checksum}
        return {
            "part_number": number,
            "method": "PUT",
            "url": self._link(record, number, checksum, size),
            "headers": headers,
        }

    def _form(self, record: Record) -> dict[str, Any]:
        url = self._link(record, 0, record.declared["checksum"], record.declared["size"])
        fields = {"key": f"uploads/{record.file_id}", "x-amz-checksum-sha256": record.declared["checksum"]}
        return {"url": url, "fields": fields}

    # S3.

    def expire_links(self) -> None:
        """Every link that was given out is too old from now on."""
        self.links.clear()

    def take(self, secret: str, content: bytes, checksum: str) -> tuple[int, str]:
        """Store a part, or a whole small file; status, and S3's code of an error."""
        with self.lock:
            if self.s3_refuses:
                return self.s3_refuses.popleft()
            if secret not in self.links:
                return 403, "AccessDenied"
            file_id, number, wanted, size = self.links[secret]
            record = self.records[file_id]
            if record.state != "uploading" or (number and record.content is not None):
                return 404, "NoSuchUpload"
            if checksum != wanted:
                return 403, "SignatureDoesNotMatch"
            if len(content) != size:
                return 400, "EntityTooLarge"
            if sha256(content) != wanted:
                return 400, "BadDigest"
            if number:
                record.parts[number] = content
            else:
                record.content = content
            self.stored[number] += 1
            return 200, ""


class _Server(ThreadingHTTPServer):
    """Keeps what its threads fail of; that somebody hung up is no failure."""

    daemon_threads = True

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - as the class above
        super().__init__(*args)
        self.failures: list[str] = []

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            self.failures.append(traceback.format_exc())


def _later(hours: int) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat(timespec="milliseconds")


def _handler(fake: FakeSluice) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - a class that http.server makes itself
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def cut(self) -> None:
            # Reset rather than close: nothing that is on its way arrives.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()

        def answer(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            if status != 204:
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if status != 204:
                self.wfile.write(body)

        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            if parts.path.startswith("/s3/"):
                self.handle_s3(parse_qs(parts.query)["X-Amz-Signature"][0])
                return
            path = parts.path.removeprefix("/v1")
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            call = f"{self.command} {path}"
            fake.log.append(call)
            fake.before_call()
            if self.headers.get("Authorization") != f"Bearer {fake.token}":
                self.answer(401, b'{"type": "urn:sluice:problem:unauthorized", "detail": "Unauthorized"}')
                return
            planned = fake.api_answers.get(call)
            status = planned.popleft() if planned else None
            if status:
                more = {"Retry_After": fake.retry_after} if fake.retry_after else {}
                self.answer(status, b'{"detail": "planned"}', **more)
                return
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            key = self.headers.get("Idempotency-Key", "")
            code, said = fake.call(self.command, path, query, json.loads(body or b"{}"), key)
            if status == 0:
                self.cut()
                return
            self.answer(code, b"" if said is None else json.dumps(said).encode())

        def handle_s3(self, secret: str) -> None:
            assert "Authorization" not in self.headers, "the token went to S3"
            if self.command == "GET":
                self.give(secret)
                return
            length = int(self.headers["Content-Length"])
            number = fake.links.get(secret, ("", 0, "", 0))[1]
            fake.log.append(f"{self.command} s3 {number}")
            fake.before_part(number)
            with fake.lock:
                cut_after = fake.cut_after.popleft() if fake.cut_after else None
            if cut_after is not None and cut_after < length:
                self.rfile.read(cut_after)
                self.cut()
                return
            body = self.rfile.read(length)
            if len(body) < length:
                # The client hung up.
                self.close_connection = True
                return
            checksum = self.headers.get("x-amz-checksum-sha256", "")
            if self.command == "POST":
                body, checksum = form_of(self.headers["Content-Type"], body)
            status, code = fake.take(secret, body, checksum)
            with fake.lock:
                swallow = fake.swallow_answers > 0
                fake.swallow_answers -= swallow
            if swallow:
                self.cut()
            elif code:
                self.answer(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode(), "text/xml")
            else:
                self.answer(204 if self.command == "POST" else 200, b"")

        def give(self, secret: str) -> None:
            fake.log.append(f"GET s3 {self.headers.get('Range', '')}".strip())
            content = fake.records[fake.links[secret][0]].content or b""
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            rest = content[int(asked[1]) :] if asked else content
            with fake.lock:
                cut_after = fake.cut_after.popleft() if fake.cut_after else None
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest[:cut_after])
            if cut_after is not None:
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - names of http.server

    return Handler


def form_of(content_type: str, body: bytes) -> tuple[bytes, str]:
    """The bytes of the file in a form, and the checksum field; the file has to come last (S3, "POST Object")."""
    boundary = content_type.partition("boundary=")[2].encode()
    fields = []
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        [name] = re.findall(rb' name="([^"]*)"', head)
        fields.append((name, content.removesuffix(b"\r\n")))
    assert [name for name, _ in fields].index(b"file") == len(fields) - 1
    return dict(fields)[b"file"], dict(fields)[b"x-amz-checksum-sha256"].decode()
