"""The directory of a compound file, read in ranges. Office before 2007, Outlook and Windows Installer use this format.

Source: [MS-CFB], "Compound File Binary File Format".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from functions.inspect.ranged_content import Content

SIGNATURE: Final = bytes.fromhex("d0cf11e0a1b11ae1")
_BLOCK_BYTES: Final = 65_536
_ENTRY_BYTES: Final = 128
_HEADER_TABLE: Final = 109
_LAST_SECTOR: Final = 0xFFFF_FFFA
_STORAGE, _STREAM, _ROOT = 1, 2, 5


@dataclass(frozen=True)
class CompoundFile:
    """The names of storages and streams, in upper case, and the class id of the root storage."""

    names: frozenset[str]
    root_class: bytes


class _Reader:
    """A reader of the sectors of a compound file. Sectors that are near each other are fetched together."""

    def __init__(self, content: Content) -> None:
        self._content = content
        header = content.head[:512].ljust(512, b"\0")
        self.shift = int.from_bytes(header[30:32], "little")
        self.first_directory = int.from_bytes(header[48:52], "little")
        # Sectors of the allocation table: the header lists the first ones, a chain of sectors lists the rest.
        self._table = list(struct.unpack(f"<{_HEADER_TABLE}I", header[76:512]))
        self._next_table = int.from_bytes(header[68:72], "little")
        self._tables_seen: set[int] = set()
        self._blocks: dict[int, bytes] = {}

    def sector(self, number: int) -> bytes:
        """Return the bytes of a sector; fewer at the end of the file."""
        size = 1 << self.shift
        start = (number + 1) * size
        block = start // _BLOCK_BYTES
        if block not in self._blocks:
            self._blocks[block] = self._content.range(block * _BLOCK_BYTES, _BLOCK_BYTES)
        at = start % _BLOCK_BYTES
        return self._blocks[block][at : at + size]

    def after(self, number: int) -> int:
        """Return the number of the next sector in a chain."""
        index, place = divmod(number, (1 << self.shift) // 4)
        while index >= len(self._table) and self._next_table < _LAST_SECTOR:
            if self._next_table in self._tables_seen:
                return _LAST_SECTOR
            self._tables_seen.add(self._next_table)
            more = self.sector(self._next_table)
            *sectors, self._next_table = struct.unpack(f"<{len(more) // 4}I", more[: len(more) // 4 * 4]) or (
                _LAST_SECTOR,
            )
            self._table += sectors
        if index >= len(self._table) or self._table[index] >= _LAST_SECTOR:
            return _LAST_SECTOR
        entry = self.sector(self._table[index])[place * 4 : place * 4 + 4]
        return int.from_bytes(entry, "little") if len(entry) == 4 else _LAST_SECTOR


def read_compound_file(content: Content) -> CompoundFile | None:
    """Return the directory of a compound file; None if the beginning of the file is damaged.

    It reads blocks of 64 KiB around the sectors of the directory and of the allocation table.

    Raises:
        TooLargeError: that is more than one inspection may read.
    """
    reader = _Reader(content)
    if reader.shift not in (9, 12):
        return None
    names: set[str] = set()
    root_class = b""
    number, seen = reader.first_directory, set[int]()
    while number < _LAST_SECTOR and number not in seen:
        seen.add(number)
        sector = reader.sector(number)
        if not sector:
            break
        for at in range(0, len(sector) - _ENTRY_BYTES + 1, _ENTRY_BYTES):
            entry = sector[at : at + _ENTRY_BYTES]
            name_size, kind = int.from_bytes(entry[64:66], "little"), entry[66]
            if kind not in (_STORAGE, _STREAM, _ROOT) or not 2 <= name_size <= 64:
                continue
            names.add(entry[: name_size - 2].decode("utf-16-le", "replace").upper())
            if kind == _ROOT:
                root_class = entry[80:96]
        number = reader.after(number)
    return CompoundFile(frozenset(names), root_class) if names else None
