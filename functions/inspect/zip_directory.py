"""The directory of a zip, by ranged reads (PKWARE, APPNOTE.TXT 6.3.10).

A zip is read from its end: the end record says where the directory of entries is. Programs differ in which end record
they believe where there are several, in how they find the directory behind bytes that were put before the zip, and in
whether they read the entries' own headers instead. A file must not be one thing here and another there, so the names
of all these readings count together.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from functions.inspect.content import TAIL_BYTES, Content, TooLargeError

_LOCAL: Final = b"PK\x03\x04"
_ENTRY: Final = b"PK\x01\x02"
_END: Final = b"PK\x05\x06"
_END_64: Final = b"PK\x06\x06"
_LOCATOR_64: Final = b"PK\x06\x07"
_END_BYTES: Final = 22
_ENTRY_BYTES: Final = 46
_LOCAL_BYTES: Final = 30
_MAX_32: Final = 0xFFFF_FFFF

# A directory is parsed in pieces of this size, so memory does not grow with it.
_FIRST_BYTES: Final = 65_536
_PIECE_BYTES: Final = 4 * 2**20
_LONGEST_ENTRY: Final = _ENTRY_BYTES + 3 * 65_535
# Method, packed size, sizes of name, extra field and comment, and where the entry's own header is.
_ENTRY_FORM: Final = struct.Struct("<10xH8xI4xHHH8xI")
# End records that are looked at. A zip has one; a comment, or bytes behind the zip, may hold false ones.
_MAX_ENDS: Final = 32
_MAX_NAMES: Final = 1_000_000
# Bytes that one entry may unpack to; a list of 10,000 parts has 1 MiB.
MAX_UNPACKED: Final = 4 * 2**20
_EXTRA_BYTES: Final = 1024


@dataclass(frozen=True)
class Entry:
    """An entry as the directory tells of it: where its own header may be, how it is packed, and into how many bytes."""

    name: str
    starts: tuple[int, ...]
    packed_size: int
    method: int


@dataclass
class ZipDirectory:
    """What is in a zip.

    Attributes:
        whole: whether there is a directory with entries; a zip that was cut off has none.
        ends_file: whether nothing stands behind the zip.
        names: of all entries, in upper case, with `/` between folders.
        entries: those whose bytes are asked for, by their name in upper case.
    """

    whole: bool = False
    ends_file: bool = False
    names: set[str] = field(default_factory=set)
    entries: dict[str, list[Entry]] = field(default_factory=dict)


# Entries that say what a package is; the places of all others are of no use, and take memory.
_TELLING: Final = frozenset({"MIMETYPE", "[CONTENT_TYPES].XML"})


def read_directory(content: Content) -> ZipDirectory | None:
    """The directory of a file that is a zip, with or without bytes before and behind it, or None.

    It reads the tail; and the directory, where that is longer, in pieces and within the bounds of Content.

    Raises:
        TooLargeError: the directory is larger than those bounds, or the file has more end records than a zip has.
    """
    found = ZipDirectory()
    _read_local_headers(content, found)
    starts: set[int] = set()
    for number, end in enumerate(_ends(content)):
        if number == _MAX_ENDS:
            raise TooLargeError(f"it has more than {_MAX_ENDS} end records of a zip")
        for start, shift in _directory_starts(content, end):
            if start not in starts:
                starts.add(start)
                found.whole |= _read_entries(content, start, end, shift, found)
        if found.whole and _is_believed(content, end):
            found.ends_file = _reaches_end(content, end)
            break
    return found if found.names or content.head.startswith(_LOCAL) else None


def unpack(content: Content, entry: Entry, limit: int = MAX_UNPACKED) -> list[bytes]:
    """The first bytes of an entry, one more than a limit at most: as often as its header stands where it may be.

    Raises:
        TooLargeError: this inspection has read its share.
    """
    unpacked = (_unpack_at(content, entry, place, limit + 1) for place in entry.starts)
    return [found for found in unpacked if found is not None]


def _unpack_at(content: Content, entry: Entry, place: int, count: int) -> bytes | None:
    packed_size = min(entry.packed_size, count)
    # With room for an extra field as most are, it takes one read.
    found = content.range(place, _LOCAL_BYTES + len(entry.name) + _EXTRA_BYTES + packed_size)
    if len(found) < _LOCAL_BYTES or not found.startswith(_LOCAL):
        return None
    name_size, extra_size = struct.unpack("<HH", found[26:30])
    start = _LOCAL_BYTES + name_size
    if _plain(found[_LOCAL_BYTES:start]) != entry.name:
        return None
    start += extra_size
    packed = found[start : start + packed_size]
    if extra_size > _EXTRA_BYTES:
        packed = content.range(place + start, packed_size)
    if entry.method == 0:
        return packed
    if entry.method != 8:
        return None
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, count)
    except zlib.error:
        return None


def _ends(content: Content) -> Iterator[int]:
    """Where end records may be, the last one first."""
    tail_start = max(0, content.size - TAIL_BYTES)
    at = len(content.tail)
    while (at := content.tail.rfind(_END, 0, at)) >= 0:
        if at + _END_BYTES <= len(content.tail):
            yield tail_start + at


def _reaches_end(content: Content, end: int) -> bool:
    """Whether the comment of an end record ends where the file does."""
    return end + _END_BYTES + int.from_bytes(content.range(end + 20, 2), "little") == content.size


def _is_believed(content: Content, end: int) -> bool:
    """Whether programs agree on an end record: its comment fits, or an entry stands where the zip should begin."""
    if _reaches_end(content, end):
        return True
    size, offset = struct.unpack("<II", content.range(end + 12, 8))
    return content.range(end - size - offset, 4) == _LOCAL


def _directory_starts(content: Content, end: int) -> list[tuple[int, int]]:
    """Where the directory of an end record may begin, and how many bytes stand before the zip, for every way to count.

    It is right before the end record, whatever was put before the zip, or where the end record says.
    """
    size, offset = struct.unpack("<II", content.range(end + 12, 8))
    starts = [(end - size, end - size - offset), (offset, 0)]
    locator = content.range(end - 20, 20)
    if locator.startswith(_LOCATOR_64):
        # What does not fit in the end record stands there as its largest number.
        starts = [each for each in starts if _MAX_32 not in (size, offset)]
        (where,) = struct.unpack("<Q", locator[8:16])
        for place in (where, end - 76):
            record = content.range(place, 56)
            if record.startswith(_END_64) and len(record) == 56:
                size, offset = struct.unpack("<QQ", record[40:56])
                starts += [(place - size, place - size - offset), (offset, 0)]
    return [(start, shift) for start, shift in starts if 0 <= start < end]


def _read_entries(content: Content, start: int, end: int, shift: int, found: ZipDirectory) -> bool:
    """Collect the entries of a directory that lies before an end record; whether it has any."""
    piece = content.range(start, min(end - start, _FIRST_BYTES))
    at, read, more = 0, start + len(piece), False
    while True:
        if len(piece) - at < _LONGEST_ENTRY and read < end:
            start = read - (len(piece) - at)
            piece, at = content.range(start, min(end - start, _PIECE_BYTES)), 0
            if not piece:
                return more
            read = start + len(piece)
        header = piece[at : at + _ENTRY_BYTES]
        if len(header) < _ENTRY_BYTES or not header.startswith(_ENTRY):
            return more
        more = True
        method, packed_size, name_size, extra_size, comment_size, local = _ENTRY_FORM.unpack(header)
        at += _ENTRY_BYTES
        name = _plain(piece[at : at + name_size])
        if name not in found.names and len(found.names) >= _MAX_NAMES:
            raise TooLargeError(f"it has more than {_MAX_NAMES} entries")
        # Some programs take a name to its first zero byte.
        found.names.update((name, name.partition("\0")[0]))
        if name in _TELLING:
            extra = piece[at + name_size : at + name_size + extra_size]
            starts = _starts_of(local, extra, shift)
            found.entries.setdefault(name, []).append(Entry(name, starts, packed_size, method))
        at += name_size + extra_size + comment_size


def _starts_of(local: int, extra: bytes, shift: int) -> tuple[int, ...]:
    """Where the header of an entry may be; a place beyond 4 GiB is the last number in its extra field for zip64."""
    if local == _MAX_32 and extra[:2] == b"\x01\x00":
        size = int.from_bytes(extra[2:4], "little")
        numbers = [int.from_bytes(extra[at : at + 8], "little") for at in range(4, 4 + size - size % 8, 8)]
        return tuple({place + moved for place in numbers for moved in (0, shift)})
    return tuple({local, local + shift})


def _read_local_headers(content: Content, found: ZipDirectory) -> None:
    """Collect the entries at the beginning by their own headers, as programs do that unpack a stream."""
    head, at = content.head, 0
    while head.startswith(_LOCAL, at) and at + _LOCAL_BYTES <= len(head):
        flags = int.from_bytes(head[at + 6 : at + 8], "little")
        packed_size, _, name_size, extra_size = struct.unpack("<IIHH", head[at + 18 : at + 30])
        name = _plain(head[at + _LOCAL_BYTES : at + _LOCAL_BYTES + name_size])
        found.names.add(name)
        if flags & 8 and not packed_size:
            # The size comes behind the bytes, and cannot be known without unpacking them.
            break
        at += _LOCAL_BYTES + name_size + extra_size + packed_size


def _plain(name: bytes) -> str:
    """A name as programs compare it: some ignore case, and some take a backslash for a slash."""
    return name.decode("latin-1").replace("\\", "/").removeprefix("./").lstrip("/").upper()
