"""Description of the machine of the benchmarks: enough to judge the figures, without its identity."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path

from synthesis.child_environment import child_environment
from tools.develop.setup import LOCK
from tools.operate.terraform import find_program

_DISTRIBUTIONS = ("cdktf", "cdktf-cdktf-provider-aws", "jsii", "mypy", "pydantic", "aws-lambda-powertools", "puremagic")


def description() -> list[str]:
    """Return a table of processor, memory and versions."""
    rows = {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{_memory_gib():.0f} GiB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}, {platform.machine()}",
        "Python": platform.python_version(),
        "Node.js": _said(["node", "--version"]).lstrip("v"),
        "Terraform": json.loads(_said([*find_program(), "version", "-json"]))["terraform_version"],
        **{name: _version(name) for name in _DISTRIBUTIONS},
        "aws-cdk-lib": _locked("bench", "aws-cdk-lib"),
        "awscli": _locked("aws-cli", "awscli"),
        "boto3": _locked("lambda-runtime", "boto3"),
        "ministack": _locked("embedded-aws", "ministack"),
        "others at work": f"load of {os.getloadavg()[0]:.1f} when it began",
    }
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _said(command: list[str]) -> str:
    return subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=True).stdout.strip()


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _locked(category: str, distribution: str) -> str:
    return str(json.loads(LOCK.read_text())[category][distribution]["version"]).lstrip("=")
