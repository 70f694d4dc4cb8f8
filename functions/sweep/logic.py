"""Files that are still uploading after a while have lost their event, or their upload never ended."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from functions.common.records import Records

# Longer than S3's event and the workflow take, shorter than anyone waits without asking.
STUCK_AFTER = timedelta(minutes=15)


def sweep(*, now: datetime, records: Records, start: Callable[[str, str], None]) -> int:
    """Start the workflow of every stuck file as if its event had just come, and return how many there were.

    Args:
        now: the time, with a zone.
        start: starts the workflow of a file under an execution name; a name that was used is no error. The name holds
            the hour, so that a file is tried once an hour.

    Raises:
        ClientError: AWS refused.
    """
    stuck = list(records.uploading_since(now - STUCK_AFTER))
    for file_id in stuck:
        start(file_id, f"sweep-{file_id}-{now:%Y%m%dT%H}")
    return len(stuck)
