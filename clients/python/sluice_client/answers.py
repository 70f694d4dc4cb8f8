"""Answers of the API, read field by field. A missing or unknown value is an error of one sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NoReturn

from sluice_client.connections import Reply, address
from sluice_client.errors import ProblemError, SluiceError
from sluice_client.text import quoted, without_surrogates

# RFC 8259 ("Numbers"): the largest integer that all implementations of JSON agree on.
_MOST = 2**53 - 1
# RFC 9110, "Tokens" and "Field Values".
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


class Answer:
    """A JSON object that the API answered, read field by field."""

    def __init__(self, fields: Mapping[str, object], what: str) -> None:
        """
        Args:
            what: name of the call, for errors.
        """
        self._fields = fields
        self._what = what

    @classmethod
    def of(cls, reply: Reply, what: str) -> Answer:
        """Read a reply.

        Raises:
            SluiceError: the body is not a JSON object.
        """
        try:
            fields = json.loads(reply.body.decode(), parse_constant=_refuse)
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict):
            raise SluiceError(f"{what}: HTTP {reply.status} without an answer of Sluice. Is SLUICE_URL right?")
        return cls(fields, what)

    def __contains__(self, name: str) -> bool:
        return self._fields.get(name) is not None

    def text(self, name: str, default: str | None = None) -> str:
        """Return a string; the default if the field is missing."""
        value = self._fields.get(name)
        if value is None and default is not None:
            return default
        return without_surrogates(value) if isinstance(value, str) else self._unknown(name)

    def number(self, name: str, default: int | None = None, *, most: int = _MOST) -> int:
        """Return an integer from 0 to `most`; the default if the field is missing."""
        value = self._fields.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            self._unknown(name)
        return value

    def address(self, name: str) -> str:
        """Return the address of a request."""
        value = self.text(name)
        return value if address(value) else self._unknown(name)

    def object(self, name: str) -> Answer:
        """Return an object."""
        value = self._fields.get(name)
        return Answer(value, self._what) if isinstance(value, dict) else self._unknown(name)

    def objects(self, name: str) -> list[Answer]:
        """Return a list of objects."""
        values = self._fields.get(name)
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            self._unknown(name)
        return [Answer(value, self._what) for value in values]

    def texts(self, name: str) -> dict[str, str]:
        """Return an object of strings."""
        found = self.object(name)
        return {without_surrogates(field): found.text(field) for field in found._fields}

    def strings(self, name: str) -> tuple[str, ...]:
        """Return a list of strings."""
        values = self._fields.get(name)
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            self._unknown(name)
        return tuple(map(without_surrogates, values))

    def headers(self, name: str) -> dict[str, str]:
        """Return an object of strings that are valid as HTTP headers."""
        found = self.texts(name)
        if not all(_HEADER_NAME.fullmatch(field) and _HEADER_VALUE.fullmatch(found[field]) for field in found):
            self._unknown(name)
        return found

    def _unknown(self, name: str) -> NoReturn:
        raise SluiceError(f"{self._what}: the answer has no {quoted(name)} that this version of the client knows")


def problem(reply: Reply, what: str) -> ProblemError:
    """Return the error in a reply: a problem (RFC 9457), or the short forms of API Gateway and AWS WAF."""
    try:
        answer = Answer.of(reply, what)
        said = next((answer.text(name) for name in ("detail", "error", "message", "title") if name in answer), "")
        faults = answer.objects("errors") if "errors" in answer else []
        errors = [(quoted(fault.text("field")), quoted(fault.text("detail"))) for fault in faults]
        request_id = quoted(answer.text("request_id", ""))
    except SluiceError as error:
        return ProblemError(reply.status, str(error))
    if reply.status == 401:
        said = f"{said or 'Unauthorized'}: the token is wrong or has expired. Get a new one, then run the command again"
    return ProblemError(reply.status, quoted(said) or what, errors, request_id)


def _refuse(constant: str) -> NoReturn:
    # Python accepts NaN and Infinity, which are not valid JSON.
    raise ValueError(constant)
