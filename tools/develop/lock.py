"""`make lock`: writes Pipfile.lock with every category, pinned and hashed, without the address of an index."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from synthesis.paths import BUILD, ROOT
from tools.develop.setup import CDKS, LOCK
from tools.operate.console import exit_with, run, step

_NOT_PACKAGES = {"source", "requires", "scripts", "pipenv", "pipfile"}
# What has a separate environment. Pipenv resolves every other category together with [packages], which these forbid.
ALONE = ("aws-cli", "bench", "cdktf-provider-6", "cdktn", "checkov", "judges", "node")


def without_sources(lock: str) -> str:
    """Return the text of a lock that installs from the package index of any machine."""
    content = json.loads(lock)
    content["_meta"]["sources"] = []
    return json.dumps(content, indent=4) + "\n"


def main() -> None:
    """Resolve the Pipfile and write the lock."""
    pipfile = (ROOT / "Pipfile").read_text()
    together = [name for name in tomllib.loads(pipfile) if name not in {*_NOT_PACKAGES, *ALONE}]
    apart = BUILD / "lock" / "Pipfile"
    apart.parent.mkdir(parents=True, exist_ok=True)
    apart.write_text(f"{pipfile}\n[pipenv]\nuse_default_constraints = false\n")
    with step("resolving the Pipfile") as progress:
        _resolve(ROOT / "Pipfile", together, progress)
        _resolve(apart, ALONE, progress)
    content = json.loads(LOCK.read_text())
    content.update({name: json.loads((apart.parent / "Pipfile.lock").read_text())[name] for name in ALONE})
    for name in CDKS.keys() & ALONE:
        # All that these packages need is in the section `default` too, in the version that the project has.
        content[name] = {package: content[name][package] for package in tomllib.loads(pipfile)[name]}
    LOCK.write_text(without_sources(json.dumps(content)))


def _resolve(pipfile: Path, categories: Sequence[str], progress: Callable[[str], None]) -> None:
    """Let pipenv lock some categories of a Pipfile, beside it."""
    environment = {"VIRTUAL_ENV": sys.prefix, "PIPENV_PIPFILE": str(pipfile), "PIPENV_NOSPIN": "1"}
    run(
        [sys.executable, "-m", "pipenv", "lock", "--categories", " ".join(categories)],
        doing="resolving the Pipfile",
        remedy="read which two packages disagree, and change one of them in the Pipfile",
        log=BUILD / "logs" / "lock.log",
        cwd=pipfile.parent,
        variables=environment,
        progress=progress,
    )


if __name__ == "__main__":
    exit_with(main)
