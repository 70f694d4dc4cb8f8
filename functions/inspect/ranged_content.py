"""The bytes of a file for an inspection, which reads ranges up to a fixed amount."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from functions.common.contract import HEAD_BYTES

# Size of the tail: the end record of a zip, 22 bytes, and its longest comment (APPNOTE.TXT, 4.3.16). One request.
TAIL_BYTES: Final = 22 + 65_535
# Limits of one inspection for all other reads. A container that needs more cannot be judged and is rejected.
MAX_READS: Final = 64
MAX_BYTES: Final = 64 * 2**20


class TooLargeError(Exception):
    """An inspection would have to read more of a file than it may."""


class Content:
    """A file of a known size, read by ranges.

    Head and tail are kept in memory, and a range inside them needs no request. All other ranges together are limited to
    MAX_READS requests and MAX_BYTES bytes.
    """

    def __init__(self, size: int, read: Callable[[int, int], bytes]) -> None:
        """
        Args:
            size: bytes of the file.
            read: fetches `count` bytes from `start`, both within the file.
        """
        self.size = size
        self._read = read
        self._reads = 0
        self._bytes = 0
        self.head = read(0, min(size, HEAD_BYTES)) if size else b""
        self._tail: bytes | None = None

    @classmethod
    def of(cls, whole: bytes) -> Content:
        """Return the content of bytes in memory."""
        return cls(len(whole), lambda start, count: whole[start : start + count])

    @property
    def tail(self) -> bytes:
        """The last TAIL_BYTES bytes, or all of a smaller file; fetched once, if the head is not the whole file."""
        if self._tail is None:
            start = max(0, self.size - TAIL_BYTES)
            self._tail = self.head[start:] if self.size <= len(self.head) else self._read(start, self.size - start)
        return self._tail

    def range(self, start: int, count: int) -> bytes:
        """Return up to `count` bytes from `start`: fewer at the end of the file, none outside of it.

        Raises:
            TooLargeError: the range is beyond the limits of this inspection.
        """
        if start < 0 or start >= self.size or count <= 0:
            return b""
        end = min(start + count, self.size)
        if end <= len(self.head):
            return self.head[start:end]
        tail_start = max(0, self.size - TAIL_BYTES)
        if start >= tail_start:
            return self.tail[start - tail_start : end - tail_start]
        self._reads += 1
        self._bytes += end - start
        if self._reads > MAX_READS or self._bytes > MAX_BYTES:
            raise TooLargeError(f"it takes more than {MAX_READS} reads or {MAX_BYTES} bytes to look through it")
        return self._read(start, end - start)
