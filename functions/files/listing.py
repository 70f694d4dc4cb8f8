"""Pages of a list; a cursor has no readable content, and only leads to the caller's own files."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from functions.common.contract import DEFAULT_PAGE, MAX_PAGE, State
from functions.common.rest_api import FILE_ID, Refused

# Fields of a file in a list; the index by owner has them.
LISTED = ("file_id", "file_name", "size", "content_type", "checksum", "state", "upload_time")
# Callers see `ends_as` of a file that is ending.
STATES = frozenset(State) - {State.ENDING}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", re.ASCII)


@dataclass(frozen=True)
class Page:
    """A checked request for a page of the list."""

    limit: int = DEFAULT_PAGE
    after: Mapping[str, str] | None = None
    state: str = ""
    prefix: str = ""

    @classmethod
    def parse(cls, query: Mapping[str, str] | None) -> Self:
        """Check the parameters of a request.

        Raises:
            Refused: with what is wrong, in words the caller can act on.
        """
        given = dict(query or {})
        limit = given.pop("limit", str(DEFAULT_PAGE))
        if not re.fullmatch(r"[0-9]{1,3}", limit) or not 1 <= int(limit) <= MAX_PAGE:
            raise Refused(f"Invalid limit: a number from 1 to {MAX_PAGE} is needed")
        state = given.pop("state", "")
        if state and state not in STATES:
            raise Refused(f"Invalid state: one of {', '.join(sorted(STATES))} is needed")
        cursor, prefix = given.pop("cursor", ""), given.pop("prefix", "")
        if given:
            raise Refused(f"There is no parameter {sorted(given)[0]}: limit, cursor, state and prefix are known")
        return cls(int(limit), _read(cursor) if cursor else None, state, prefix)


def cursor_after(last: Mapping[str, str] | None) -> str | None:
    """Return the cursor of the page after a file; None if there is none."""
    if last is None:
        return None
    return base64.urlsafe_b64encode(json.dumps([last["upload_time"], last["file_id"]]).encode()).decode().rstrip("=")


def _read(cursor: str) -> Mapping[str, str]:
    try:
        upload_time, file_id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not _TIME.fullmatch(upload_time) or not FILE_ID.fullmatch(file_id):
            raise ValueError(cursor)
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise Refused("Invalid cursor: take it from the page before") from None
    return {"upload_time": upload_time, "file_id": file_id}
