"""Runs main.py in a separate process, as cdktf does, and reports a failure in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from synthesis.child_environment import child_environment
from synthesis.paths import ROOT
from tools.operate.console import Failure


def synthesize(output: Path, variables: Mapping[str, str], component: str = "uploads") -> Path:
    """Synthesize one component of an environment and return the folder of its stack.

    Args:
        output: folder for the content of cdktf.out; it is created if missing.
        variables: settings as environment variables, ENVIRONMENT among them, on top of the process's own.

    Raises:
        Failure: the settings are wrong, or synthesis failed.
    """
    output.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), component],
        cwd=ROOT,
        env=child_environment({**variables, "CDKTF_OUTDIR": str(output)}),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        error = next((line for line in lines if line.startswith("error: ")), lines[-1] if lines else "no output")
        raise Failure("synthesis", error.removeprefix("error: "), "mend it and run the same command again")
    (stack,) = json.loads((output / "manifest.json").read_text())["stacks"].values()
    return output / str(stack["workingDirectory"])


def terraform_json(stack: Path) -> dict[str, Any]:
    """Return the Terraform JSON in the folder of a synthesized stack (Terraform, "JSON Configuration Syntax")."""
    content: dict[str, Any] = json.loads((stack / "cdk.tf.json").read_text())
    return content
