"""Delivery of messages, with retries at growing delays until the queue gives up."""

from __future__ import annotations

import http.client
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from functions.webhooks.signing import signed_headers

# SQS, "Amazon SQS visibility timeout": a message is hidden for 12 hours at most.
MAX_DELAY_SECONDS = 12 * 3600
# By how much a delay may differ, so that what failed together does not come back together.
JITTER = 0.25
GONE = 410


class EventBody(msgspec.Struct, frozen=True):
    """The fields of a message that name it; the rest is only for the receiver."""

    event: Annotated[str, Meta(pattern=r"^[a-z_]{1,64}$")]
    file_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,128}$")]

    @property
    def message_id(self) -> str:
        """The id of the message, which is the same for every attempt: a file has one event of each kind."""
        return f"{self.event}_{self.file_id}"


@dataclass(frozen=True)
class Message:
    """A message of a queue.

    Attributes:
        message_id: SQS's own id.
        receipt_handle: what names this receipt of it.
        body: the event as it was published.
        receives: how often it was received, this time included.
    """

    message_id: str
    receipt_handle: str
    body: str
    receives: int


class Post(Protocol):
    """A function that sends a body to an address and returns the status of the answer; see `send` of the handler."""

    def __call__(self, url: str, *, headers: Mapping[str, str], body: bytes, seconds: float) -> int: ...  # noqa: D102


def backoff(receives: int, *, base: int, most: int, between: Callable[[float, float], float] = random.uniform) -> int:
    """Return the seconds until the next attempt: the base, doubled after each attempt, with 25 % jitter.

    Args:
        receives: how often it was received so far.
        base: seconds before the first retry.
        most: how often it may be received.
    """
    if receives >= most:
        # SQS makes it a dead letter when it would be received once more: at once, so that somebody hears of it.
        return 0
    return min(round((base << (receives - 1)) * between(1 - JITTER, 1 + JITTER)), MAX_DELAY_SECONDS)


def deliver(
    url: str,
    messages: Sequence[Message],
    *,
    keys: Sequence[bytes],
    post: Post,
    seconds: float,
) -> dict[str, str]:
    """Send messages to an address in parallel, and return the reasons of those that failed, by their SQS id.

    One that takes long takes no time from the others: what is not done in time counts as not taken.

    Args:
        keys: what to sign with.
        seconds: how long all of it may take.
    """
    # Its threads are not waited for: one that hangs has the time of the next invocation at most.
    pool = ThreadPoolExecutor(max_workers=max(len(messages), 1))
    sent = {pool.submit(_send, url, message, keys, post, seconds): message for message in messages}
    done, late = wait(sent, timeout=seconds)
    pool.shutdown(wait=False, cancel_futures=True)
    failures = {sent[each].message_id: each.result() for each in done}
    failures |= {sent[each].message_id: f"no answer within {seconds:.0f} s" for each in late}
    return {message_id: why for message_id, why in failures.items() if why}


def _send(url: str, message: Message, keys: Sequence[bytes], post: Post, seconds: float) -> str:
    """Send one message; return the reason if it was not accepted, else an empty text."""
    try:
        event = msgspec.json.decode(message.body, type=EventBody)
    except msgspec.DecodeError as error:
        return f"it is no event of a file: {error}"
    body = message.body.encode()
    headers = {
        **signed_headers(keys, message_id=event.message_id, timestamp=int(time.time()), body=body),
        "content-type": "application/json",
        "user-agent": "Sluice-Webhooks/1",
    }
    try:
        status = post(url, headers=headers, body=body, seconds=seconds)
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    # Standard Webhooks, "Webhook delivery": 2xx is taken, and who answers 410 does not want it any more.
    return "" if 200 <= status < 300 or status == GONE else f"the receiver answered {status}"
