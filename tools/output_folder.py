"""The folder that a synthesis writes into: one synthesis at a time, and no stack of an earlier one stays in it.

CDKTF leaves there what it wrote for other environments. What is left over is old code, which plain Terraform would
apply. Standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_alone(folder: Path) -> Iterator[None]:
    """Wait until no other synthesis writes into a folder, let the caller write, then remove the stacks of others.

    Args:
        folder: what CDKTF calls its output, with `manifest.json` and `stacks`; it is made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        remove_others(folder)
    finally:
        os.close(lock)


def remove_others(folder: Path) -> None:
    """Remove the stacks that the folder's manifest does not name.

    A stack in whose folder a program works, such as Terraform at an apply, stays until the next synthesis.
    """
    named = json.loads((folder / "manifest.json").read_text())["stacks"].values()
    kept = {(folder / str(stack["workingDirectory"])).resolve() for stack in named}
    others = [path for path in (folder / "stacks").resolve().iterdir() if path.is_dir() and path not in kept]
    busy = _working_directories() if others else set()
    for path in others:
        if not any(place == path or path in place.parents for place in busy):
            shutil.rmtree(path, ignore_errors=True)


def _working_directories() -> set[Path]:
    """Where the programs of this machine work, as far as Linux tells this user (proc(5), `/proc/pid/cwd`)."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            found.add(link.readlink())
        except OSError:
            continue
    return found
