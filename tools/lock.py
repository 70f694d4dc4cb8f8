"""`make lock`: writes Pipfile.lock with every category, pinned and hashed, and without the address of any index."""

from __future__ import annotations

import json
import os
import sys
import tomllib

from tools.console import exit_with, run, step
from tools.setup import BUILD, LOCK, ROOT

_NOT_PACKAGES = {"source", "requires", "scripts", "pipenv", "pipfile"}


def without_sources(lock: str) -> str:
    """The text of a lock that installs from whatever index a machine uses."""
    content = json.loads(lock)
    content["_meta"]["sources"] = []
    return json.dumps(content, indent=4) + "\n"


def main() -> None:
    """Resolve the Pipfile and write the lock."""
    categories = [name for name in tomllib.loads((ROOT / "Pipfile").read_text()) if name not in _NOT_PACKAGES]
    with step("resolving the Pipfile") as progress:
        run(
            [sys.executable, "-m", "pipenv", "lock", "--categories", " ".join(categories)],
            doing="resolving the Pipfile",
            remedy="read which two packages disagree, and change one of them in the Pipfile",
            log=BUILD / "logs" / "lock.log",
            cwd=ROOT,
            env={**os.environ, "PIPENV_VENV_IN_PROJECT": "1", "PIPENV_IGNORE_VIRTUALENVS": "1", "PIPENV_NOSPIN": "1"},
            progress=progress,
        )
    LOCK.write_text(without_sources(LOCK.read_text()))


if __name__ == "__main__":
    exit_with(main)
