"""Splitting, reading and hashing of files, with never more than a chunk in memory."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import queue
import stat
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sluice_client.errors import FileChangedError, SluiceError

# Large enough for few calls, small enough for many parts at a time.
CHUNK_BYTES = 256 * 1024

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Rules:
    """Sluice's limits of sizes, in bytes: of files that are sent in one request, and of parts.

    S3 takes 10,000 parts of one file ("Amazon S3 multipart upload limits").
    """

    post_bytes: int = 100_000_000
    smallest_part_bytes: int = 8 * 2**20
    max_parts: int = 10_000

    def part_size(self, size: int) -> int:
        """Return the bytes of a part of a file; 0 for a file that is sent in one request."""
        if size <= self.post_bytes:
            return 0
        part_size = self.smallest_part_bytes
        while part_size * self.max_parts < size:
            part_size *= 2
        return part_size


@dataclass(frozen=True)
class Part:
    """A part of a file: its number from 1, its offset and its size in bytes."""

    number: int
    offset: int
    size: int


def cut(size: int, part_size: int) -> list[Part]:
    """Return the parts of a file, each of `part_size` except the last; one part if `part_size` is 0."""
    step = part_size or size
    return [
        Part(number, offset, min(step, size - offset)) for number, offset in enumerate(range(0, size, step), start=1)
    ]


@dataclass(frozen=True)
class LocalFile:
    """A file on this machine, with its size and modification time at the beginning.

    Attributes:
        name: name for the upload: the bytes on disk as UTF-8, independent of the locale of this process.
    """

    path: Path
    name: str
    size: int
    mtime_ns: int

    @classmethod
    def look_at(cls, path: Path) -> LocalFile:
        """Read size and modification time of a file.

        Raises:
            SluiceError: the path is not a file that can be uploaded.
        """
        try:
            found = path.stat()
        except (OSError, ValueError) as error:
            raise SluiceError(getattr(error, "strerror", None) or str(error)) from None
        if not stat.S_ISREG(found.st_mode):
            raise SluiceError("is not a file")
        if not found.st_size:
            raise SluiceError("is empty; Sluice takes files of one byte or more")
        try:
            name = os.fsencode(path.name).decode()
        except UnicodeError:
            # JSON cannot contain such a name.
            raise SluiceError("its name is not UTF-8; rename it") from None
        return cls(path, name, found.st_size, found.st_mtime_ns)

    def check(self) -> None:
        """Check that the file has not changed.

        Raises:
            FileChangedError: size or modification time differ.
        """
        try:
            found = self.path.stat()
        except OSError:
            raise FileChangedError from None
        if (found.st_size, found.st_mtime_ns) != (self.size, self.mtime_ns):
            raise FileChangedError

    def read(self, part: Part) -> Generator[bytes, None, None]:
        """Yield the bytes of a part, in chunks.

        Raises:
            FileChangedError: the file no longer exists, or ends before the part does.
            SluiceError: the file cannot be read.
        """
        try:
            with io.FileIO(self.path, opener=_open) as opened:
                if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                    raise FileChangedError
                opened.seek(part.offset)
                left = part.size
                while left:
                    chunk = opened.read(min(CHUNK_BYTES, left))
                    if not chunk:
                        raise FileChangedError
                    left -= len(chunk)
                    yield chunk
        except FileNotFoundError:
            raise FileChangedError from None
        except OSError as error:
            raise SluiceError(f"cannot be read: {error.strerror or error}") from None

    def digest(self, part: Part, read: Callable[[int], None] = lambda count: None) -> bytes:
        """Return the SHA-256 of a part.

        Args:
            read: called after each chunk with its number of bytes.

        Raises:
            FileChangedError, SluiceError: as `read`.
        """
        digest = hashlib.sha256()
        for chunk in self.read(part):
            digest.update(chunk)
            read(len(chunk))
        return digest.digest()


def _open(path: str, flags: int) -> int:
    # If a pipe has replaced the file, opening it would wait for a writer.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def base64_of(digest: bytes) -> str:
    """Return a digest in base64, as S3 writes it."""
    return base64.b64encode(digest).decode()


def checksum_of(digests: Sequence[bytes], part_size: int) -> str:
    """Return the checksum of a file from the digests of its parts, as S3 writes it.

    Args:
        part_size: 0 for a file in one piece, whose checksum is its digest. The checksum of other files is the digest of
            the concatenated digests, with their number (S3, "Checking object integrity": composite checksums).
    """
    if not part_size:
        return base64_of(digests[0])
    return f"{base64_of(hashlib.sha256(b''.join(digests)).digest())}-{len(digests)}"


def _start_threads(run: Callable[[], None], count: int) -> None:
    """Start up to `count` daemon threads; where the machine allows fewer, these do all the work.

    Raises:
        SluiceError: the machine allows no thread at all.
    """
    for started in range(count):
        try:
            threading.Thread(target=run, daemon=True).start()
        except RuntimeError:
            if not started:
                raise SluiceError("This machine does not allow another thread") from None
            return


class Digests:
    """The SHA-256 digests of the parts of a file; each is computed when it is first needed."""

    def __init__(self, file: LocalFile, parts: Sequence[Part], part_size: int, known: Sequence[str] = ()) -> None:
        """
        Args:
            part_size: 0 for a file in one piece.
            known: digests in hexadecimal that an earlier run took, in the order of the parts; empty ones are unknown.
        """
        self.parts = parts
        self._file = file
        self._part_size = part_size
        self._found = {number: bytes.fromhex(digest) for number, digest in enumerate(known, 1) if digest}

    def of(self, part: Part, read: Callable[[int], None] = lambda count: None) -> bytes:
        """Return the digest of a part.

        Args:
            read: told after each chunk how many bytes it had, if the part has to be read.

        Raises:
            FileChangedError, SluiceError: as `LocalFile.read`.
        """
        if part.number not in self._found:
            self._found[part.number] = self._file.digest(part, read)
        return self._found[part.number]

    def checksum(self, part: Part) -> str:
        """Return the digest of a part as S3 writes it."""
        return base64_of(self.of(part))

    @property
    def unknown(self) -> list[Part]:
        """The parts that were not read yet."""
        return [part for part in self.parts if part.number not in self._found]

    @property
    def hexadecimal(self) -> tuple[str, ...]:
        """All digests in the order of the parts; empty texts for those that are unknown."""
        return tuple(self._found.get(part.number, b"").hex() for part in self.parts)

    def whole(self) -> str:
        """Return the checksum of the whole file, as S3 writes it."""
        return checksum_of([self.of(part) for part in self.parts], self._part_size)


def in_parallel(
    work: Callable[[Item, threading.Event], Result], items: Sequence[Item], threads: int
) -> Iterator[tuple[Item, Result]]:
    """Call `work` with each item in several threads, and yield the results in the order in which they arrive.

    The first failure, or the end of the iteration, sets the event, which `work` should check to stop the other threads.
    They are daemons, so that ^C does not have to wait for a dead connection.
    """
    todo: queue.SimpleQueue[Item] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[Item, Result] | Exception] = queue.SimpleQueue()
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            try:
                item = todo.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((item, work(item, stop)))
            except Exception as error:  # noqa: BLE001 - it is raised where the results are taken
                done.put(error)
                return

    for item in items:
        todo.put(item)
    try:
        _start_threads(run, min(threads, len(items)))
        for _ in items:
            result = done.get()
            if isinstance(result, Exception):
                raise result
            yield result
    finally:
        stop.set()
