"""Synthesizes a number of environments in one app: `python -m tools.bench.many_environments COUNT OUT`."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

from synthesis.boot import boot
from synthesis.paths import LAYERS, PAGE, ROOT


def main(count: int, output: Path) -> None:
    """Synthesize environments `e1` to `eCOUNT` with the settings of environments/dev.toml."""
    boot()
    from cdktf import App

    from modules.functions import Sources
    from modules.settings import Settings
    from stacks.uploads import UploadsStack

    # It would win over the names given here.
    os.environ.pop("ENVIRONMENT", None)
    values = tomllib.loads((ROOT / "environments" / "dev.toml").read_text())
    app = App(outdir=str(output))
    for number in range(1, count + 1):
        settings = Settings(**{**values, "environment": f"e{number}"})
        folder = output / "stacks" / settings.prefix
        UploadsStack(
            app,
            settings=settings,
            sources=Sources(functions=ROOT / "functions", layers=LAYERS, output=folder, page=PAGE),
        )
    app.synth()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
