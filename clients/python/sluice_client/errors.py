"""What can go wrong and a person can mend; the text says how."""

from __future__ import annotations

from collections.abc import Sequence

_MOST_ERRORS = 20


class SluiceError(Exception):
    """Something that a person can mend.

    Attributes:
        hopeless: the next file would meet the same.
    """

    hopeless = False


class UnreachableError(SluiceError):
    """The API or S3 did not answer, however often they were asked."""

    hopeless = True


class FileChangedError(SluiceError):
    """The file is not what it was when its checksum was taken."""

    def __init__(self) -> None:
        super().__init__(
            "it changed while it was being sent, so nothing was stored. Run the same command again once it is at rest, "
            "or upload a copy"
        )


class ProblemError(SluiceError):
    """The API refused (RFC 9457, "Problem Details for HTTP APIs").

    Attributes:
        status: of HTTP.
        detail: what is wrong.
        errors: what is wrong with which field.
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
