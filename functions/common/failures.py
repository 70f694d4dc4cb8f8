"""Why a file is not available, as its owner reads it: a code for programs, and a sentence for people.

A record holds both in one attribute, `CODE: SENTENCE`. What AWS says about an error (role and key ARNs, account id, a
stack trace) is for operators: it goes to the alert and the log. A text of another form, which an earlier release may
have written, is never shown; the state of the file then says why in general words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Code = Literal[
    "type_mismatch",
    "type_not_allowed",
    "not_judged",
    "size_mismatch",
    "checksum_mismatch",
    "bytes_missing",
    "not_as_declared",
    "malware_found",
    "scan_failed",
    "scan_late",
    "not_clean",
    "processing_failed",
]
CODES: frozenset[str] = frozenset(get_args(Code))


@dataclass(frozen=True)
class Failure:
    """Why a file is not available.

    Attributes:
        code: the kind, for programs.
        sentence: the same for people; nothing of AWS is in it.
    """

    code: Code
    sentence: str

    def __str__(self) -> str:
        """The text that a record holds."""
        return f"{self.code}: {self.sentence}"


PROCESSING_FAILED = Failure("processing_failed", "the file could not be processed yet; it is tried again")
# For records whose text an owner must not read.
_IN_GENERAL = {
    "uploading": PROCESSING_FAILED,
    "scanning": PROCESSING_FAILED,
    "rejected": Failure("not_as_declared", "the file is not what was declared"),
    "quarantined": Failure("not_clean", "the file did not pass the scan for malware"),
}


def shown(text: str, state: str) -> Failure | None:
    """What an owner reads about a file in a state; None where there is nothing to say.

    Args:
        text: attribute `failure` of the record.
        state: as callers know it.
    """
    if state == "available" or (not text and state in {"uploading", "scanning"}):
        return None
    code, _, sentence = text.partition(": ")
    for known in get_args(Code):
        if code == known and sentence and (known != PROCESSING_FAILED.code or state in {"uploading", "scanning"}):
            return Failure(known, sentence)
    return _IN_GENERAL.get(state)
