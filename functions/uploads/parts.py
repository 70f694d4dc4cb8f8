"""Sizes of the parts of a file, and its composite checksum."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from functions.common.contract import MAX_PARTS, MIN_PART_BYTES
from functions.common.objects import Part


@dataclass(frozen=True)
class Cut:
    """The division of a file into parts: each has `part_size` bytes, except the last."""

    size: int
    part_size: int

    @classmethod
    def of(cls, size: int) -> Cut:
        """Return the division of a file: parts of 8 MiB, doubled until there are not too many."""
        part_size = MIN_PART_BYTES
        while -(-size // part_size) > MAX_PARTS:
            part_size *= 2
        return cls(size, part_size)

    @property
    def count(self) -> int:
        """The number of parts."""
        return -(-self.size // self.part_size)

    def size_of(self, number: int) -> int:
        """Return the bytes of a part, counted from 1."""
        return min(self.part_size, self.size - (number - 1) * self.part_size)


def checksum_of(digests: Sequence[bytes]) -> str:
    """Return the composite checksum of a file in parts, as S3 writes it (S3, "Checking object integrity")."""
    return f"{base64.b64encode(hashlib.sha256(b''.join(digests)).digest()).decode()}-{len(digests)}"


def checksum_of_parts(parts: Sequence[Part]) -> str:
    """Return the checksum of a file from all of its parts in S3."""
    return checksum_of([base64.b64decode(part.checksum) for part in sorted(parts, key=lambda part: part.number)])


def faults(cut: Cut, checksum: str, parts: Sequence[Part]) -> list[tuple[str, str]]:
    """Return the faults that prevent the completion, as fields and sentences; empty if there are none.

    Args:
        checksum: what was declared for the whole; empty if nothing was.
        parts: what S3 has.
    """
    found = {part.number: part for part in parts}
    wrong = [(f"parts/{number}", "it has not arrived") for number in range(1, cut.count + 1) if number not in found]
    for number, part in sorted(found.items()):
        if number > cut.count:
            wrong.append((f"parts/{number}", f"there are only {cut.count} parts"))
        elif part.size != cut.size_of(number):
            wrong.append((f"parts/{number}", f"it has {part.size} bytes instead of {cut.size_of(number)}"))
        elif not part.checksum:
            wrong.append((f"parts/{number}", "it was sent without its checksum"))
    if not wrong and checksum:
        together = checksum_of_parts(parts)
        if together != checksum:
            wrong.append(("checksum", f"the parts that arrived have {together}, declared was {checksum}"))
    return wrong
