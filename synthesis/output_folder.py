"""The output folder of a synthesis: one synthesis at a time writes into it, and stacks of earlier ones are removed.

CDKTF leaves the stacks of other environments there. Such a stack is out of date, but plain Terraform would apply it.
Standard library only.
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
def locked_output(folder: Path) -> Iterator[None]:
    """Wait until no other synthesis writes into a folder, let the caller write, then remove the stacks of others.

    Args:
        folder: output folder of CDKTF, with `manifest.json` and `stacks`; it is created if missing.
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

    A stack stays until the next synthesis if a program, such as Terraform at an apply, works in its folder.
    """
    named = json.loads((folder / "manifest.json").read_text())["stacks"].values()
    kept = {(folder / str(stack["workingDirectory"])).resolve() for stack in named}
    others = [path for path in (folder / "stacks").resolve().iterdir() if path.is_dir() and path not in kept]
    busy = _working_directories() if others else set()
    for path in others:
        if not any(place == path or path in place.parents for place in busy):
            shutil.rmtree(path, ignore_errors=True)


def _working_directories() -> set[Path]:
    """Return the working folders of all programs that this user may inspect (proc(5), `/proc/pid/cwd`)."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            found.add(link.readlink())
        except OSError:
            continue
    return found
