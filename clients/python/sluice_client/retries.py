"""When a call is tried again, how often, and the delays between attempts."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

# Statuses of temporary errors. S3 says 503 for "slow down".
PASSING = frozenset({408, 429, 500, 502, 503, 504})
LONGEST_RETRY_AFTER_SECONDS = 60.0


@dataclass(frozen=True)
class Patience:
    """Limits of retries, and the delays between them.

    Delays double, and half of each is random, so that clients that lost their connection together do not retry at the
    same time.

    Attributes:
        attempts_on_500: attempts of a call that the API answers with 500; the next answer is usually the same.
        longest_call_seconds: time after which a call of the API is not tried again.
    """

    attempts: int = 8
    attempts_on_500: int = 3
    longest_call_seconds: float = 180.0
    first_seconds: float = 0.5
    longest_seconds: float = 20.0
    sleep: Callable[[float], None] = time.sleep

    def pause(self, failures: int, *, at_least: float = 0.0) -> None:
        """Wait after a number of failures in a row."""
        longest = min(self.longest_seconds, self.first_seconds * 2 ** (failures - 1))
        self.sleep(max(at_least, random.uniform(longest / 2, longest)))  # noqa: S311 - jitter is not a secret


def retry_after(headers: httpx.Headers) -> float:
    """Return the seconds that the server asks to wait (RFC 9110, "Retry-After"), limited; 0 without the header."""
    said = headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdigit():
        # Python refuses to convert very long numbers; these are above the bound, too.
        return min(float(said[:6]), LONGEST_RETRY_AFTER_SECONDS)
    moment = time_of(said)
    if moment is None:
        return 0.0
    return min(max((moment - server_time(headers)).total_seconds(), 0.0), LONGEST_RETRY_AFTER_SECONDS)


def server_time(headers: httpx.Headers) -> datetime:
    """Return the time of the server's clock, which may differ from the local one; the local time if it is missing."""
    return time_of(headers.get("Date", "")) or datetime.now(UTC)


def time_of(text: str) -> datetime | None:
    """Return the time in a header (RFC 9110, "Date/Time Formats"); None if it is not a time."""
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
