"""Control groups that give a process a share of a processor, as Lambda does below 1,769 MB.

Linux control groups do that: `cpu.cfs_quota_us` of version 1, `cpu.max` of version 2 (kernel, "CFS Bandwidth Control",
"Control Group v2"). Both take the right to make a group, which containers often withhold.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

PERIOD_MICROSECONDS = 20_000
_ROOT = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def share(of_one_processor: float) -> Iterator[Path | None]:
    """Yield a control group with this share of one processor, or None if none can be made."""
    old = (_ROOT / "cpu").is_dir()
    group = (_ROOT / "cpu" if old else _ROOT) / f"sluice-bench-{os.getpid()}"
    limit = round(of_one_processor * PERIOD_MICROSECONDS)
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    try:
        if old:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
            (group / "cpu.cfs_quota_us").write_text(str(limit))
        else:
            (group / "cpu.max").write_text(f"{limit} {PERIOD_MICROSECONDS}")
        yield group
    except OSError:
        yield None
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


def inside(group: Path | None, command: Sequence[str | Path]) -> list[str]:
    """Return the command that starts in a control group; the unchanged command without one."""
    words = [str(word) for word in command]
    if group is None:
        return words
    return ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group), *words]
