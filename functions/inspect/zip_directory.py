"""The directory of a zip, read in ranges (PKWARE, APPNOTE.TXT 6.3.10).

A zip is read from its end: the end record has the position of the directory. Programs read ambiguous zips in different
ways. They choose different end records if there are several, they find the directory in different ways if other bytes
stand before the zip, and some read the entries' own headers instead. A file must not have one content for Sluice and
another for such a program, so Sluice collects the names from all these ways of reading.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from functions.inspect.ranged_content import TAIL_BYTES, Content, TooLargeError

_LOCAL: Final = b"PK\x03\x04"
_ENTRY: Final = b"PK\x01\x02"
_END: Final = b"PK\x05\x06"
_END_64: Final = b"PK\x06\x06"
_LOCATOR_64: Final = b"PK\x06\x07"
_END_BYTES: Final = 22
_ENTRY_BYTES: Final = 46
_LOCAL_BYTES: Final = 30
_MAX_32: Final = 0xFFFF_FFFF

# A directory is parsed in pieces of this size, so that memory does not grow with its size.
_FIRST_BYTES: Final = 65_536
_PIECE_BYTES: Final = 4 * 2**20
_LONGEST_ENTRY: Final = _ENTRY_BYTES + 3 * 65_535
# Method, packed size, sizes of name, extra field and comment, and position of the entry's own header.
_ENTRY_FORM: Final = struct.Struct("<10xH8xI4xHHH8xI")
# Limit of end records. A zip has one, but its comment or bytes after the zip may contain false ones.
_MAX_ENDS: Final = 32
_MAX_NAMES: Final = 600_000
# Limit of the unpacked size of an entry; a list of 10,000 parts has 1 MiB.
MAX_UNPACKED: Final = 4 * 2**20
_EXTRA_BYTES: Final = 1024


@dataclass(frozen=True)
class Entry:
    """An entry of the directory: possible positions of its own header, packed size and compression method."""

    name: str
    starts: tuple[int, ...]
    packed_size: int
    method: int


@dataclass
class ZipDirectory:
    """The content of a zip.

    Attributes:
        whole: True if there is a directory with entries; a zip that was cut off has none.
        ends_file: True if no bytes follow the zip.
        names: names of all entries, in upper case, with `/` between folders.
        entries: entries whose bytes the inspection needs, by their name in upper case.
    """

    whole: bool = False
    ends_file: bool = False
    names: set[str] = field(default_factory=set)
    entries: dict[str, list[Entry]] = field(default_factory=dict)


# Entries that show the type of a package. The positions of other entries are not kept, to save memory.
_TELLING: Final = frozenset({"MIMETYPE", "[CONTENT_TYPES].XML"})


def read_directory(content: Content) -> ZipDirectory | None:
    """Return the directory of a zip, with or without bytes before and after it; None if the file is not a zip.

    It reads the tail. It reads a longer directory in pieces, within the limits of Content.

    Raises:
        TooLargeError: the directory is larger than those limits, or the file has too many end records.
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
    """Return the unpacked bytes of an entry, once for each possible position that has its header.

    At most one byte more than the limit is unpacked, so that the caller can see that an entry is too large.

    Raises:
        TooLargeError: the limits of this inspection are reached.
    """
    unpacked = (_unpack_at(content, entry, place, limit + 1) for place in entry.starts)
    return [found for found in unpacked if found is not None]


def _unpack_at(content: Content, entry: Entry, place: int, count: int) -> bytes | None:
    packed_size = min(entry.packed_size, count)
    # One read is enough for an extra field of the usual size.
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
    """Yield the possible positions of end records, the last one first."""
    tail_start = max(0, content.size - TAIL_BYTES)
    at = len(content.tail)
    while (at := content.tail.rfind(_END, 0, at)) >= 0:
        if at + _END_BYTES <= len(content.tail):
            yield tail_start + at


def _reaches_end(content: Content, end: int) -> bool:
    """Return whether the comment of an end record ends at the end of the file."""
    return end + _END_BYTES + int.from_bytes(content.range(end + 20, 2), "little") == content.size


def _is_believed(content: Content, end: int) -> bool:
    """Return whether all programs accept an end record: its comment fits, or an entry is at the start of the zip."""
    if _reaches_end(content, end):
        return True
    size, offset = struct.unpack("<II", content.range(end + 12, 8))
    return content.range(end - size - offset, 4) == _LOCAL


def _directory_starts(content: Content, end: int) -> list[tuple[int, int]]:
    """Return each possible start of the directory of an end record, with the number of bytes before the zip.

    The directory is right before the end record, or at the position that the end record gives.
    """
    size, offset = struct.unpack("<II", content.range(end + 12, 8))
    starts = [(end - size, end - size - offset), (offset, 0)]
    locator = content.range(end - 20, 20)
    if locator.startswith(_LOCATOR_64):
        # A number that does not fit into the end record is replaced by the largest number.
        starts = [each for each in starts if _MAX_32 not in (size, offset)]
        (where,) = struct.unpack("<Q", locator[8:16])
        for place in (where, end - 76):
            record = content.range(place, 56)
            if record.startswith(_END_64) and len(record) == 56:
                size, offset = struct.unpack("<QQ", record[40:56])
                starts += [(place - size, place - size - offset), (offset, 0)]
    return [(start, shift) for start, shift in starts if 0 <= start < end]


def _read_entries(content: Content, start: int, end: int, shift: int, found: ZipDirectory) -> bool:
    """Collect the entries of a directory before an end record; return whether it has any."""
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
        # Some programs read a name only up to its first zero byte.
        found.names.update((name, name.partition("\0")[0]))
        if name in _TELLING:
            extra = piece[at + name_size : at + name_size + extra_size]
            starts = _starts_of(local, extra, shift)
            found.entries.setdefault(name, []).append(Entry(name, starts, packed_size, method))
        at += name_size + extra_size + comment_size


def _starts_of(local: int, extra: bytes, shift: int) -> tuple[int, ...]:
    """Return the possible positions of an entry's header; one beyond 4 GiB is in the extra field for zip64."""
    if local == _MAX_32 and extra[:2] == b"\x01\x00":
        size = int.from_bytes(extra[2:4], "little")
        numbers = [int.from_bytes(extra[at : at + 8], "little") for at in range(4, 4 + size - size % 8, 8)]
        return tuple({place + moved for place in numbers for moved in (0, shift)})
    return tuple({local, local + shift})


def _read_local_headers(content: Content, found: ZipDirectory) -> None:
    """Collect the entries at the beginning by their own headers, as programs that unpack a stream do."""
    head, at = content.head, 0
    while head.startswith(_LOCAL, at) and at + _LOCAL_BYTES <= len(head):
        flags = int.from_bytes(head[at + 6 : at + 8], "little")
        packed_size, _, name_size, extra_size = struct.unpack("<IIHH", head[at + 18 : at + 30])
        name = _plain(head[at + _LOCAL_BYTES : at + _LOCAL_BYTES + name_size])
        found.names.add(name)
        if flags & 8 and not packed_size:
            # The size follows the bytes, so it is not known before they are unpacked.
            break
        at += _LOCAL_BYTES + name_size + extra_size + packed_size


def _plain(name: bytes) -> str:
    """Return a name in the form for comparisons: some programs ignore case, some treat a backslash as a slash."""
    return name.decode("latin-1").replace("\\", "/").removeprefix("./").lstrip("/").upper()
