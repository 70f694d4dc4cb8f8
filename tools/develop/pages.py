"""Parts of Markdown pages that a program writes: between `<!-- NAME: written by ... -->` and `<!-- end of NAME -->`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tools.operate.console import Failure


def part(page: Path, name: str) -> list[str]:
    """Return the lines of a part.

    Raises:
        Failure: the page has no such part.
    """
    return _find(page, name)[2].strip("\n").split("\n")


def fill(page: Path, name: str, lines: Sequence[str]) -> None:
    """Replace the lines of a part.

    Raises:
        Failure: the page has no such part.
    """
    match = _find(page, name)
    text = page.read_text()
    body = "\n".join(lines)
    page.write_text(f"{text[: match.start(2)]}\n{body}\n\n{text[match.end(2) :]}")


def _find(page: Path, name: str) -> re.Match[str]:
    pattern = rf"(<!-- {re.escape(name)}: written by [^>]*-->\n)(.*?)(<!-- end of {re.escape(name)} -->)"
    match = re.search(pattern, page.read_text(), re.DOTALL)
    if match is None:
        raise Failure(f"writing {page.name}", f"it has no place for {name}", "put its two comments back")
    return match
