"""The result of looking at the bytes of a file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Found:
    """The types that the bytes of a file may have.

    Attributes:
        best: the likeliest media type.
        sure: True if the bytes prove the type.
        kinds: every type that the bytes may have.
        needs: another type that has to be allowed by its full name, because of the macros in the file.
    """

    best: str
    sure: bool
    kinds: frozenset[str]
    needs: str = ""


def only(kind: str) -> Found:
    """Return a result with one type, which is sure."""
    return Found(kind, True, frozenset({kind}))
