"""The sweep of every due record, which brings it one step nearer to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from botocore.exceptions import BotoCoreError, ClientError

from functions.common.contract import FILES_PREFIX, State
from functions.common.objects import Objects
from functions.common.records import KEPT, FileRecord, Records

# A workflow that keeps failing is tried this often.
TRY_AGAIN = timedelta(hours=1)
# A held file is looked at this often, for the case that it is released.
HELD = timedelta(days=1)
# A run looks for older versions on this many pages of the list of files, from a random position.
PAGES = 5


@dataclass
class Swept:
    """The numbers of one run: files that were started, expired, discarded, left or failed, and quotas recounted."""

    started: int = 0
    expired: int = 0
    discarded: int = 0
    waiting: int = 0
    recounted: int = 0
    failed: int = 0
    complete: bool = True


class Sweeper:
    """One run. All its steps are idempotent, and the next run does what this one leaves."""

    def __init__(
        self,
        *,
        records: Records,
        objects: Objects,
        start: Callable[[str, str], None],
        discard: Callable[[str], None],
        has_time: Callable[[], bool] = lambda: True,
        tidy_from: str | None = None,
    ) -> None:
        """
        Args:
            start: starts the workflow of a file under an execution name; a name that was used is no error. The name
                holds the hour, so that a file is tried once an hour.
            discard: has the function `discard` end a file, without waiting for it.
            has_time: whether there is time for another file.
            tidy_from: the search for older versions begins after this key; None if the lifecycle removes them.
        """
        self._records = records
        self._objects = objects
        self._start = start
        self._discard = discard
        self._has_time = has_time
        self._tidy_from = tidy_from
        self._error: BotoCoreError | ClientError | None = None

    def sweep(self, now: datetime) -> Swept:
        """Process the records that are due, then quotas, then older versions. An error does not stop the other work.

        Raises:
            BotoCoreError, ClientError: a call of AWS failed; all other work is done.
        """
        swept = Swept()
        for file_id in self._records.due(now):
            if not self._has_time():
                swept.complete = False
                return swept
            with self._going_on(swept):
                record = self._records.get(file_id)
                # The index may be a moment behind the table.
                if record is not None and record.due_time and datetime.fromisoformat(record.due_time) <= now:
                    self._look_at(record, now, swept)
        for owner in self._records.due_quotas(now):
            if not self._has_time():
                swept.complete = False
                return swept
            with self._going_on(swept):
                swept.recounted += self._records.recount(owner, now=now)
        if self._tidy_from is not None:
            with self._going_on(swept):
                self._tidy(self._tidy_from, swept)
        if self._error:
            raise self._error
        return swept

    @contextmanager
    def _going_on(self, swept: Swept) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            self._error = error
            swept.failed += 1

    def _tidy(self, start: str, swept: Swept) -> None:
        """Start the removal of older versions whose event from S3 was lost."""
        for key in self._objects.with_older_versions(FILES_PREFIX, start=start, pages=PAGES):
            if not self._has_time():
                return
            record = self._records.get(key.removeprefix(FILES_PREFIX))
            # The workflow handles files that are uploading; files under a legal hold keep all versions.
            if record is not None and record.state in KEPT - {State.UPLOADING} and not record.legal_hold:
                self._discard(record.file_id)
                swept.discarded += 1

    def _look_at(self, record: FileRecord, now: datetime, swept: Swept) -> None:
        match record.state:
            case State.UPLOADING:
                self._carry_on(record, now, swept)
            case State.SCANNING:
                self._start_again(record, now, swept)
            case _ if record.to_be_announced:
                self._start_again(record, now, swept)
            case State.AVAILABLE | State.QUARANTINED:
                self._expire(record, (record.state,), now, swept)
            case _:
                self._discard(record.file_id)
                swept.discarded += 1

    def _carry_on(self, record: FileRecord, now: datetime, swept: Swept) -> None:
        """Start the workflow if the bytes are there: their event was lost. Else expire the upload, or wait."""
        if self._objects.is_there(record.object_key):
            self._start_again(record, now, swept)
        elif not record.expires_time or record.expired(now):
            self._expire(record, (State.UPLOADING,), now, swept)
        else:
            over = datetime.fromisoformat(record.expires_time)
            self._records.look_again(record.file_id, min(now + TRY_AGAIN, over), seen=record.due_time)
            swept.waiting += 1

    def _start_again(self, record: FileRecord, now: datetime, swept: Swept) -> None:
        self._start(record.file_id, f"sweep-{record.file_id}-{now:%Y%m%dT%H}")
        self._records.look_again(record.file_id, now + TRY_AGAIN, seen=record.due_time)
        swept.started += 1

    def _expire(self, record: FileRecord, of: tuple[State, ...], now: datetime, swept: Swept) -> None:
        if record.legal_hold:
            self._records.look_again(record.file_id, now + HELD, seen=record.due_time)
            swept.waiting += 1
        elif self._records.claim(record, State.EXPIRED, of=of, now=now):
            self._discard(record.file_id)
            swept.expired += 1
