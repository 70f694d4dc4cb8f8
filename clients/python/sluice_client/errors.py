"""Errors that a user can fix; the text says how."""

from __future__ import annotations

from collections.abc import Sequence

_MOST_ERRORS = 20


class SluiceError(Exception):
    """An error that a user can fix.

    Attributes:
        hopeless: the next file would fail for the same reason.
    """

    hopeless = False


class UnreachableError(SluiceError):
    """The API or S3 did not answer after all attempts."""

    hopeless = True


class FileChangedError(SluiceError):
    """The file has changed since its checksum was computed."""

    def __init__(self) -> None:
        super().__init__(
            "it changed while it was being sent, so nothing was stored. Run the same command again when it no longer "
            "changes, or upload a copy"
        )


class ProblemError(SluiceError):
    """The API refused a call (RFC 9457, "Problem Details for HTTP APIs").

    Attributes:
        status: HTTP status.
        detail: the reason.
        errors: fields with the reason for each.
    """

    def __init__(self, status: int, detail: str, errors: Sequence[tuple[str, str]] = (), request_id: str = "") -> None:
        lines = [f"{detail} (HTTP {status}{', request ' + request_id if request_id else ''})"]
        lines += [f"  {field}: {sentence}" for field, sentence in errors[:_MOST_ERRORS]]
        super().__init__("\n".join(lines))
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.hopeless = status == 401


class EndedError(SluiceError):
    """The upload ended in another state than `available`."""
