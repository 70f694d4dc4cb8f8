"""The prose of the repository is plain: docstrings name their subject first, and some words are not used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from synthesis.paths import ROOT

CODE = ("synthesis", "stacks", "modules", "functions", "examples", "tools", "clients", "tests")
PROSE = ("README.md", "*.md", "docs/*", "docs/schemas/*", "judges/*.toml", "Makefile", "pyproject.toml", "main.py")
RIDDLES = {
    r"\b[Nn]obody\b": "say which principal cannot do it, or use the passive",
    r"\balone\b": "say `only`",
}
# Texts of Terraform JSON, which stay as they are.
KEPT = frozenset({"modules/queues.py"})


def python_files(*folders: str) -> Iterator[Path]:
    """Yield the Python files below some folders of the repository."""
    for folder in folders:
        yield from sorted(path for path in (ROOT / folder).rglob("*.py") if "node_modules" not in path.parts)


def prose() -> Iterator[Path]:
    """Yield the files whose words are checked."""
    for pattern in PROSE:
        yield from sorted(
            path for path in ROOT.glob(pattern) if path.suffix not in {".png", ".svg", ""} or path.name == "Makefile"
        )
    yield from (path for path in python_files(*CODE) if "tests" not in path.relative_to(ROOT).parts)


def opens_with_a_question(source: str) -> list[str]:
    """Return the docstrings that begin with `What`: a summary names its subject or what to do."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = (ast.get_docstring(node) for node in ast.walk(ast.parse(source)) if isinstance(node, documented))
    return [text.partition("\n")[0] for text in docstrings if text and re.match(r"What\b", text)]


def riddles(text: str) -> list[str]:
    """Return the lines with a word that has a plainer form, with advice."""
    return [
        f"{number}: {line.strip()[:100]} ({advice})"
        for number, line in enumerate(text.splitlines(), start=1)
        for pattern, advice in RIDDLES.items()
        if re.search(pattern, line)
    ]


def test_docstrings_name_their_subject() -> None:
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in python_files(*CODE)
        if (wrong := opens_with_a_question(path.read_text()))
    }
    assert found == {}


def test_words_are_plain() -> None:
    found = {
        name: wrong
        for path in prose()
        if (name := str(path.relative_to(ROOT))) not in KEPT and (wrong := riddles(path.read_text()))
    }
    assert found == {}


@pytest.mark.parametrize("line", ["Nobody may delete it.", "Links are for the owner alone."])
def test_a_riddle_is_found(line: str) -> None:
    assert len(riddles(f"A plain line.\n{line}\n")) == 1


def test_a_docstring_that_is_a_question_is_found() -> None:
    assert opens_with_a_question('def f():\n    """What it does."""\n') == ["What it does."]
    assert opens_with_a_question('def f():\n    """Return what it does; Whatever is fine."""\n') == []
