"""docs/rows.md names every row, and tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from synthesis.paths import ROOT

PAGE = ROOT / "docs" / "rows.md"
ROWS = ROOT / "tests" / "synth" / "test_rows.py"


def table() -> list[list[str]]:
    """The cells of each row of the table, without its head."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


def named(text: str) -> set[tuple[str, str]]:
    """File and name of each test that a text names."""
    found = re.findall(r"`(\w+/test_\w+\.py)::(test_\w+)`", text)
    assert len(found) == text.count("::"), f"not of the form `folder/file.py::test_name`: {text}"
    return set(found)


def defined_in(file: Path) -> set[str]:
    """The tests in a file, of those that pytest collects."""
    tree = ast.parse(file.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_all_twenty_rows_are_there_and_say_what_is_done() -> None:
    rows = table()
    assert [cells[0] for cells in rows] == [str(number) for number in range(1, 21)]
    for number, failure, done, tests, also in rows:
        assert failure, number
        assert done, number
        assert named(tests), number
        assert named(also), number
        assert done.count(". ") + done.endswith(".") <= 2, f"row {number}: one or two sentences"


def test_every_test_that_is_named_is_there() -> None:
    for file, name in named(PAGE.read_text()):
        assert name in defined_in(ROOT / "tests" / file), f"{file} has no {name}"


def test_every_test_of_a_row_is_named_with_its_row() -> None:
    for number, _, _, tests, _ in table():
        own = {name for name in defined_in(ROWS) if name.startswith(f"test_row_{int(number):02}_")}
        assert named(tests) == {("synth/test_rows.py", name) for name in own}, f"row {number}"
    assert {name[:11] for name in defined_in(ROWS) if name.startswith("test_row_")} == {
        f"test_row_{number:02}" for number in range(1, 21)
    }
