"""Synthesis of every component of every environment, as a program for other Pythons and other packages.

It imports nothing but what main.py needs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from synthesis import paths
from synthesis.bindings import STOCK_VARIABLE
from synthesis.boot import boot
from synthesis.child_environment import child_environment
from synthesis.paths import ROOT

Files = dict[str, bytes]
"""Contents by name."""
ENVIRONMENTS = ("local", "dev", "staging", "prod")


def synthesize_with(python: Path, folder: Path, *, stock: bool = False) -> tuple[Files, Path]:
    """Run this program; return what it writes, and the file of the provider's bindings that it used."""
    done = subprocess.run(
        [python, "-m", "tests.synth.every_stack", folder],
        cwd=ROOT,
        env=child_environment({"PYTHONPATH": str(ROOT), STOCK_VARIABLE: "1" if stock else "0"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # A hook that does not fit says so in one line, and leaves the work to the CDK.
    assert [line for line in done.stderr.splitlines() if not line.startswith("bindings: built")] == []
    return files_in(folder), Path(done.stdout.strip())


def files_in(folder: Path) -> Files:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def main(folder: Path) -> None:
    paths.PAGE = ROOT / "tests" / "synth" / "page"
    boot()
    import cdktf_cdktf_provider_aws
    from cdktf import App

    from modules.settings import LOCAL, load
    from synthesis.components import COMPONENTS

    app = App(outdir=str(folder))
    for name in ENVIRONMENTS:
        endpoint = {"AWS_ENDPOINT_URL": "https://127.0.0.1:4566"} if name == LOCAL else {}
        os.environ.pop("AWS_ENDPOINT_URL", None)
        os.environ.update(endpoint, ENVIRONMENT=name)
        settings = load(ROOT / "environments")
        for component in COMPONENTS.values():
            component.add(app, settings, folder)
    app.synth()
    print(cdktf_cdktf_provider_aws.__file__)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
