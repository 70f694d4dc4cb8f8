"""What a look at bytes finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Found:
    """What bytes are.

    Attributes:
        best: the likeliest media type.
        sure: whether the bytes say so, or leave it open.
        kinds: every type that they may be.
        needs: a type that has to be allowed in full beside, for what is in it.
    """

    best: str
    sure: bool
    kinds: frozenset[str]
    needs: str = ""


def only(kind: str) -> Found:
    """Bytes that are one type for sure."""
    return Found(kind, True, frozenset({kind}))
