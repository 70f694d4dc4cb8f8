"""Uploads of files: in one request, or in parts that are sent in parallel and retried."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Protocol

from sluice_client.api import Api, Declaration, Link, Upload
from sluice_client.connections import Reply
from sluice_client.errors import EndedError, FileChangedError, ProblemError, SluiceError, UnreachableError
from sluice_client.parts import Digests, LocalFile, Part, Rules, cut, in_parallel
from sluice_client.retries import PASSING, retry_after
from sluice_client.state import Remembered, States
from sluice_client.text import quoted

# Limits of the API for one call.
MAX_FIRST_LINKS = 10
MAX_LINKS = 100
# Bytes that are hashed before an upload starts, in less than a second.
_BYTES_BEFORE_START = 80 * 2**20
# Bytes that are hashed ahead of the parts in progress.
_BYTES_AHEAD = 128 * 2**20
# Time between two saves of the digests; a killed run loses those of this time.
_SAVE_SECONDS = 10.0
# Number of earlier, ended uploads of the same file that are tried before a random key is used.
_MAX_EARLIER = 10
# Number of attempts to find and send missing parts, because a part may be missing after it was sent.
_ROUNDS = 3
_POLL_SECONDS = (0.3, 5.0)
# Errors of S3 have some hundred bytes of XML.
_MOST_ERROR_BYTES = 65_536
_S3_CODE = re.compile(r"<Code>(\w+)</Code>")
_S3_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
# S3, "Error responses". The bytes are not those of the checksum; the bytes did not come in time, or not all.
_WRONG_BYTES = frozenset({"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"})
_WRONG_SIZE = frozenset({"EntityTooLarge", "EntityTooSmall"})
_LOST_BYTES = frozenset({"RequestTimeout", "IncompleteBody"})


class Watcher(Protocol):
    """An observer of the progress."""

    def stage(self, what: str, total: int, done: int = 0) -> None:
        """Begin a stage; sizes are bytes."""

    def advance(self, count: int) -> None:
        """Add a number of bytes; negative when they have to be sent again. Several threads call this."""


class Unwatched:
    """An observer that does nothing."""

    def stage(self, what: str, total: int, done: int = 0) -> None:
        """Do nothing."""

    def advance(self, count: int) -> None:
        """Do nothing."""


class _GoneError(SluiceError):
    """S3 does not know the multipart upload: it was completed or aborted."""


class _StoppedError(Exception):
    """Another part failed, so this one is not needed any more."""


class Sender:
    """A sender of files to one API."""

    def __init__(
        self,
        api: Api,
        states: States,
        *,
        parallel: int = 4,
        rules: Rules = Rules(),  # noqa: B008 - it is frozen
        watcher: Watcher | None = None,
    ) -> None:
        """
        Args:
            parallel: how many parts are read, hashed and sent at a time.
        """
        self._api = api
        self._states = states
        self._parallel = parallel
        self._rules = rules
        self._watcher = watcher or Unwatched()

    def send(self, path: Path, content_type: str) -> Upload:
        """Send the missing bytes of a file, and complete the upload. Use `wait` to get the result of the inspection.

        The same file with the same name and type is always the same upload. If the earlier upload has ended, a new one
        is started.

        Raises:
            SluiceError: the file cannot be sent; the text says why, and what to do.
        """
        file = LocalFile.look_at(path)
        _ = file.name
        part_size = self._rules.part_size(file.size)
        parts = cut(file.size, part_size)
        remembered = self._recall(file, part_size) or Remembered(
            file.size, file.mtime_ns, part_size, ("",) * len(parts)
        )
        if remembered.content_type != content_type:
            remembered = replace(remembered, content_type=content_type, file_id="")
        digests = Digests(file, parts, part_size, remembered.digests)
        remembered, upload = self._begin(file, remembered, digests)
        if upload.state == "uploading":
            if part_size:
                upload = self._send_parts(file, remembered, digests, upload)
            else:
                upload = self._post(file, digests, upload)
        self._states.forget(self._api.url, path)
        return upload

    def wait(self, upload: Upload, *, seconds: float) -> Upload:
        """Wait until a sent file is available, or the time is over; return its last state.

        Raises:
            EndedError: it ended, for example as rejected; the text has the reason.
        """
        deadline = time.monotonic() + seconds
        pause, longest = _POLL_SECONDS
        while upload.state != "available":
            if upload.ended:
                reason = f": {quoted(upload.failure)}" if upload.failure else ""
                raise EndedError(f"{upload.state}{reason} ({quoted(upload.file_id)})")
            if time.monotonic() >= deadline:
                break
            self._api.patience.sleep(pause)
            pause = min(pause * 1.5, longest)
            upload = self._api.status(upload.file_id)
        return upload

    def look(self, upload: Upload) -> Upload:
        """Return the current state of a sent file."""
        return upload if upload.ended or upload.state == "available" else self._api.status(upload.file_id)

    def _recall(self, file: LocalFile, part_size: int) -> Remembered | None:
        remembered = self._states.load(self._api.url, file.path)
        if remembered is None or remembered.is_of(file, part_size):
            return remembered
        # The file has changed, so the earlier upload cannot be completed; its quota is released.
        if remembered.file_id:
            with contextlib.suppress(SluiceError):
                self._api.abort(remembered.file_id)
        self._states.forget(self._api.url, file.path)
        return None

    def _hash(self, digests: Digests, parts: Sequence[Part]) -> None:
        """Take the digests of these parts that are unknown, some at a time."""
        unknown = [part for part in digests.unknown if part in parts]
        if not unknown:
            return
        self._watcher.stage("hashing", sum(part.size for part in unknown))

        def digest(part: Part, stop: threading.Event) -> bytes:
            def read(count: int) -> None:
                if stop.is_set():
                    raise _StoppedError
                self._watcher.advance(count)

            return digests.of(part, read)

        for _ in in_parallel(digest, unknown, self._parallel):
            pass

    def _remember(self, file: LocalFile, remembered: Remembered) -> None:
        # A small file is quick to hash, and its upload is found by its key.
        if remembered.part_size:
            self._states.save(self._api.url, file.path, remembered)

    def _begin(self, file: LocalFile, remembered: Remembered, digests: Digests) -> tuple[Remembered, Upload]:
        """Return the upload of a file: the saved one or an earlier one, unless it has ended, else a new one."""
        if remembered.file_id:
            upload = self._found(remembered.file_id)
            if upload is not None and not upload.ended:
                return remembered, upload
        # The other parts are hashed while these are sent.
        first = digests.parts[
            : max(1, min(MAX_FIRST_LINKS, _BYTES_BEFORE_START // (remembered.part_size or file.size)))
        ]
        self._hash(digests, first)
        file.check()
        declaration = Declaration(
            file_name=file.name,
            size=file.size,
            content_type=remembered.content_type,
            checksum="" if remembered.part_size else digests.whole(),
            part_checksums=[digests.checksum(part) for part in first] if remembered.part_size else [],
        )
        key = _key_of(declaration)
        for _ in range(_MAX_EARLIER):
            upload = self._api.start(declaration, key=key)
            if not upload.ended and self._is_same(upload, remembered, digests):
                break
            key = _key_after(key, upload.file_id)
        else:
            upload = self._api.start(declaration, key=secrets.token_hex(32))
        remembered = replace(remembered, file_id=upload.file_id, digests=digests.hexadecimal)
        self._remember(file, remembered)
        return remembered, upload

    def _is_same(self, upload: Upload, remembered: Remembered, digests: Digests) -> bool:
        """Return whether an earlier upload is of this file. Its first parts are; all parts of a complete one count."""
        if upload.state == "uploading" or not remembered.part_size:
            return True
        self._hash(digests, digests.parts)
        return self._api.status(upload.file_id).checksum == digests.whole()

    def _found(self, file_id: str) -> Upload | None:
        try:
            return self._api.status(file_id)
        except ProblemError as error:
            # The token is another caller's, or the record was deleted since.
            if error.status == 404:
                return None
            raise

    def _post(self, file: LocalFile, digests: Digests, upload: Upload) -> Upload:
        self._watcher.stage("sending", file.size)
        [part] = digests.parts
        failures = 0
        while upload.form is not None:
            boundary = secrets.token_hex(16)
            before, after = _form(upload.form.fields, boundary)
            headers = {
                "Content-Type": f"multipart/form-data; boundary={boundary}",
                "Content-Length": str(len(before) + file.size + len(after)),
            }
            counted = _Counted(self._watcher.advance)
            failed: SluiceError
            try:
                # A request that ends early leaves the rest unread, and the file would stay open.
                with contextlib.closing(file.read(part)) as chunks:
                    content = chain([before], counted.passing(chunks), [after])
                    reply = self._api.http.ask("POST", upload.form.url, content=content, headers=headers)
            except UnreachableError as error:
                failed, at_least = error, 0.0
            else:
                if reply.is_success:
                    break
                failed, at_least = self._refused(reply, file, part, digests.of(part))
            self._watcher.advance(-counted.count)
            file.check()
            failures += 1
            self._again(failed, failures, at_least)
            # The bytes may have arrived although the answer was lost; if not, the status has a new form.
            upload = self._api.status(upload.file_id)
            if upload.ended:
                return upload
        file.check()
        return self._complete(upload, digests)

    def _complete(self, upload: Upload, digests: Digests) -> Upload:
        try:
            return self._api.complete(upload.file_id, digests.whole())
        except ProblemError as error:
            status = self._api.status(upload.file_id)
            if error.status == 409 and status.ended:
                return status
            raise

    def _send_parts(self, file: LocalFile, remembered: Remembered, digests: Digests, upload: Upload) -> Upload:
        first = upload.links
        for rounds_left in reversed(range(_ROUNDS)):
            upload = self._api.status(upload.file_id)
            if upload.state != "uploading":
                return upload
            if upload.part_size != remembered.part_size:
                raise SluiceError(
                    "This API splits files into parts of a size that this version of the client does not know"
                )
            try:
                if upload.parts is not None:
                    there = {part.number: (part.size, part.checksum) for part in upload.parts}
                    self._hash(digests, [part for part in digests.parts if part.number in there])
                    missing = [
                        part
                        for part in digests.parts
                        if part.number not in there or there[part.number] != (part.size, digests.checksum(part))
                    ]
                    self._send_missing(
                        file, remembered, digests, missing, _Links(self._api, upload.file_id, digests, missing, first)
                    )
                else:
                    self._hash(digests, digests.parts)
                file.check()
                return self._complete(upload, digests)
            except _GoneError:
                if not rounds_left:
                    raise
            except ProblemError as error:
                if error.status != 409 or not rounds_left:
                    raise
            first = ()
        raise AssertionError("the last round returns or raises")

    def _send_missing(
        self, file: LocalFile, remembered: Remembered, digests: Digests, missing: Sequence[Part], links: _Links
    ) -> None:
        self._watcher.stage("sending", file.size, file.size - sum(part.size for part in missing))

        def send(part: Part, stop: threading.Event) -> None:
            self._send_part(file, part, digests, links, stop)

        saved = time.monotonic()
        try:
            for _ in in_parallel(send, missing, self._parallel):
                if time.monotonic() - saved >= _SAVE_SECONDS:
                    self._remember(file, replace(remembered, digests=digests.hexadecimal))
                    saved = time.monotonic()
        except BaseException:
            # Another run then reads no part again.
            self._remember(file, replace(remembered, digests=digests.hexadecimal))
            raise

    def _send_part(self, file: LocalFile, part: Part, digests: Digests, links: _Links, stop: threading.Event) -> None:
        link: Link | None = None
        failures = 0
        while not stop.is_set():
            if link is None or not link.good:
                link = links.take(part)
            counted = _Counted(self._watcher.advance)
            failed: SluiceError
            try:
                # A request that ends early leaves the rest unread, and the file would stay open.
                with contextlib.closing(file.read(part)) as chunks:
                    content = counted.passing(chunks, stop)
                    reply = self._api.http.ask("PUT", link.url, content=content, headers=link.headers)
            except UnreachableError as error:
                failed, at_least = error, 0.0
            else:
                if reply.is_success:
                    return
                failed, at_least = self._refused(reply, file, part, digests.of(part))
                if reply.status not in PASSING:
                    # The link may have expired, or the credentials that signed it; a new link costs little.
                    link = None
            self._watcher.advance(-counted.count)
            failures += 1
            self._again(failed, failures, at_least)

    def _refused(self, reply: Reply, file: LocalFile, part: Part, digest: bytes) -> tuple[SluiceError, float]:
        """Return the error of a refused request that may be retried, and the seconds that S3 asks to wait.

        Raises:
            SluiceError: a retry cannot succeed.
        """
        text = reply.body[:_MOST_ERROR_BYTES].decode(errors="replace")
        code, message = (
            quoted(found[1]) if (found := pattern.search(text)) else "" for pattern in (_S3_CODE, _S3_MESSAGE)
        )
        said = SluiceError(f"S3 refused part {part.number}: {code or 'HTTP'} {reply.status} {message}".rstrip())
        if code == "NoSuchUpload":
            raise _GoneError(str(said))
        if code in _WRONG_BYTES | _WRONG_SIZE:
            file.check()
            if code in _WRONG_SIZE or file.digest(part) != digest:
                raise FileChangedError
        elif reply.status not in PASSING | {403} and code not in _LOST_BYTES | {"ExpiredToken"}:
            raise said
        return said, retry_after(reply.headers)

    def _again(self, failed: SluiceError, failures: int, at_least: float) -> None:
        if failures >= self._api.patience.attempts:
            raise failed
        self._api.tell(f"{failed}; trying again")
        self._api.patience.pause(failures, at_least=at_least)


class _Links:
    """Links for parts, requested in batches.

    Batches double, so that a large file needs few calls, and halve when links expire before they are used.
    """

    def __init__(
        self, api: Api, file_id: str, digests: Digests, missing: Sequence[Part], first: Iterable[Link]
    ) -> None:
        self._api = api
        self._file_id = file_id
        self._digests = digests
        self._order = missing
        self._links = {link.number: link for link in first}
        self._batch = MAX_FIRST_LINKS
        self._furthest = 0
        self._lock = threading.Lock()

    def take(self, part: Part) -> Link:
        """Return a valid link for a part; each link is returned once."""
        with self._lock:
            link = self._links.pop(part.number, None)
            if link is None or not link.good:
                self._batch = min(MAX_LINKS, self._batch * 2) if link is None else max(1, self._batch // 2)
                link = self._fetch(part)
            self._furthest = max(self._furthest, part.number)
            return link

    def _fetch(self, part: Part) -> Link:
        good = {other for other, link in self._links.items() if link.good}
        # Parts before the furthest one are in progress, or stored.
        furthest = max(self._furthest, part.number)
        more = [other for other in self._order if other.number > furthest and other.number not in good]
        # The parts of a batch are hashed here. They are few, so they come from the page cache when they are sent, and
        # the disk is read once.
        most = max(1, min(self._batch, _BYTES_AHEAD // part.size))
        wanted = [(other.number, self._digests.checksum(other)) for other in [part, *more[: most - 1]]]
        self._links.update({link.number: link for link in self._api.links(self._file_id, wanted)})
        link = self._links.pop(part.number, None)
        if link is None:
            raise SluiceError(f"The API gave no link for part {part.number}")
        return link


class _Counted:
    """A count of sent bytes, so that the progress can be corrected after a failure."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell
        self.count = 0

    def passing(self, chunks: Iterator[bytes], stop: threading.Event | None = None) -> Iterator[bytes]:
        for chunk in chunks:
            if stop is not None and stop.is_set():
                raise _StoppedError
            yield chunk
            self.count += len(chunk)
            self._tell(len(chunk))


def _form(fields: Mapping[str, str], boundary: str) -> tuple[bytes, bytes]:
    """Return the bytes before and after a file in a form (RFC 7578; for S3, the file has to be last)."""
    line = f'--{boundary}\r\nContent-Disposition: form-data; name="'
    before = "".join(f'{line}{_form_name(name)}"\r\n\r\n{value}\r\n' for name, value in fields.items())
    return f'{before}{line}file"; filename="file"\r\n\r\n'.encode(), f"\r\n--{boundary}--\r\n".encode()


def _form_name(name: str) -> str:
    """Return the name of a form field in the encoding of browsers (HTML, "Multipart form data")."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _key_of(declaration: Declaration) -> str:
    """Return the idempotency key of a file: the same declaration gives the same upload, also after a crash."""
    declared = {**asdict(declaration), "part_checksums": list(declaration.part_checksums) or None}
    return hashlib.sha256(json.dumps(declared, sort_keys=True).encode()).hexdigest()


def _key_after(key: str, file_id: str) -> str:
    """Return the next key after an upload that has ended; another run computes the same."""
    return hashlib.sha256(f"{key} {file_id}".encode()).hexdigest()
