"""The reason why a file is not available, as its owner reads it; `contract` has the codes.

A record holds code and sentence in one attribute, `CODE: SENTENCE`. Error messages of AWS (with ARNs of roles and keys,
the account id or a stack trace) are for operators: they go to the alert and the log. An earlier release may have
written a text of another form. Such a text is never shown; the owner reads a general reason for the state of the file
instead.
"""

from __future__ import annotations

from functions.common.contract import PROCESSING_FAILED, Failure, FailureCode, State

_UNFINISHED = (State.UPLOADING, State.SCANNING)
# For records with a text that the owner must not read.
_IN_GENERAL: dict[str, Failure] = {
    **dict.fromkeys(_UNFINISHED, PROCESSING_FAILED),
    State.REJECTED: Failure(FailureCode.NOT_AS_DECLARED, "the file is not what was declared"),
    State.QUARANTINED: Failure(FailureCode.NOT_CLEAN, "the file did not pass the scan for malware"),
}


def shown(text: str, state: str) -> Failure | None:
    """Return the failure to show to the owner of a file; None if there is nothing to show.

    Args:
        text: attribute `failure` of the record.
        state: state of the file, as the API names it.
    """
    if state == State.AVAILABLE or (not text and state in _UNFINISHED):
        return None
    code, _, sentence = text.partition(": ")
    if code in set(FailureCode) and sentence and (code != FailureCode.PROCESSING_FAILED or state in _UNFINISHED):
        return Failure(FailureCode(code), sentence)
    return _IN_GENERAL.get(state)
