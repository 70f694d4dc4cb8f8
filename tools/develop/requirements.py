"""Reads Pipfile.lock without pipenv, for the steps that run before anything is installed. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path


def requirements(
    lock: Path, categories: Iterable[str], without: Iterable[str] = (), lacking: Iterable[str] = ()
) -> str:
    """Return the packages of some categories as a pip requirements file: pinned, with every hash, sorted.

    Args:
        lock: a Pipfile.lock.
        categories: its sections, such as "default", "develop" or "functions"; of one package, the last is taken.
        without: sections whose packages are left out, such as what the Lambda runtime has already.
        lacking: packages that are left out.

    Raises:
        KeyError: the lock has no such section.
    """
    sections = json.loads(lock.read_text())
    left_out = {name for category in without for name in sections[category]} | set(lacking)
    lines: dict[str, str] = {}
    for category in categories:
        for name, package in sections[category].items():
            if name in left_out:
                continue
            extras = f"[{','.join(package['extras'])}]" if package.get("extras") else ""
            marker = f" ; {package['markers']}" if package.get("markers") else ""
            hashes = "".join(f" --hash={value}" for value in sorted(package["hashes"]))
            lines[name] = f"{name}{extras}{package['version']}{marker}{hashes}"
    return "".join(f"{lines[name]}\n" for name in sorted(lines))
