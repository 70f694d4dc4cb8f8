"""Reasons why a file is not available, for its owner: a code for programs and a sentence for people.

A record holds both in one attribute, `CODE: SENTENCE`. Error messages of AWS (with ARNs of roles and keys, the account
id or a stack trace) are for operators: they go to the alert and the log. An earlier release may have written a text of
another form. Such a text is never shown; the owner reads a general reason for the state of the file instead.
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
    """The reason why a file is not available.

    Attributes:
        code: the kind of failure, for programs.
        sentence: the reason in words, for people; it contains nothing that AWS said.
    """

    code: Code
    sentence: str

    def __str__(self) -> str:
        """Return the text that a record holds."""
        return f"{self.code}: {self.sentence}"


PROCESSING_FAILED = Failure("processing_failed", "the file could not be processed yet; it is tried again")
# For records with a text that the owner must not read.
_IN_GENERAL = {
    "uploading": PROCESSING_FAILED,
    "scanning": PROCESSING_FAILED,
    "rejected": Failure("not_as_declared", "the file is not what was declared"),
    "quarantined": Failure("not_clean", "the file did not pass the scan for malware"),
}


def shown(text: str, state: str) -> Failure | None:
    """Return the failure to show to the owner of a file; None if there is nothing to show.

    Args:
        text: attribute `failure` of the record.
        state: state of the file, as the API names it.
    """
    if state == "available" or (not text and state in {"uploading", "scanning"}):
        return None
    code, _, sentence = text.partition(": ")
    for known in get_args(Code):
        if code == known and sentence and (known != PROCESSING_FAILED.code or state in {"uploading", "scanning"}):
            return Failure(known, sentence)
    return _IN_GENERAL.get(state)
