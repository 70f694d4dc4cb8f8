"""The result of GuardDuty for a file: the status in its event, or in the object's tag ("Malware Protection for S3").

The tag is what counts for a clean file: the bucket's policy opens an object by it and by nothing else, and it belongs
to the version that is there. The event wakes the workflow; that it says something bad is enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from functions.common.contract import SCAN_CLEAN, SCAN_TAG

Verdict = Literal["clean", "waiting", "infected", "unscannable"]

_WORDS: Mapping[str, Verdict] = {SCAN_CLEAN: "clean", "THREATS_FOUND": "infected"}


class NotTagged(Exception):  # noqa: N818 - the workflow's history shows this name
    """GuardDuty found a file clean, but the tag is still missing: try again."""


def scan_verdict(event: Mapping[str, object], tags: Mapping[str, str]) -> Verdict:
    """Return the result of a scan; of two statuses, the worse one counts.

    Args:
        event: input of the step; `detail.scan.status` is GuardDuty's word where its event began the workflow.
        tags: tags of the object.

    Raises:
        NotTagged: the event says that it is clean, and there is no tag.
    """
    said = _word(_status(event))
    tagged = _word(tags.get(SCAN_TAG, ""))
    for verdict in ("infected", "unscannable"):
        if verdict in (said, tagged):
            return verdict
    if said == "clean" and tagged == "waiting":
        raise NotTagged(f"the object has no tag {SCAN_TAG}")
    return tagged


def _status(event: Mapping[str, object]) -> str:
    found: object = event
    for name in ("detail", "scan", "status"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return "" if found is None else str(found)


def _word(status: str) -> Verdict:
    """Return a documented status; UNSUPPORTED, ACCESS_DENIED, FAILED and unknown ones count as not scanned."""
    return _WORDS.get(status, "unscannable") if status else "waiting"
