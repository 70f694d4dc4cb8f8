"""npm, for the tests of the packages in TypeScript."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def npm(folder: Path, *arguments: str, **variables: str) -> None:
    """Run npm in the folder of a package, whose dependencies `make javascript` installed."""
    assert (folder / "node_modules").is_dir(), "run `make javascript` first"
    ended = subprocess.run(
        ["npm", *arguments], cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
