"""Facts of functions/common/contract.py are used by both sides, and written down only there."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from sluice_client import api, parts, sending

from functions.common import contract
from functions.common.contract import FailureCode, FileEvent, NextStep, Problem, State
from functions.files.listing import LISTED
from modules import names
from synthesis.paths import ROOT
from tests.openapi import EVENT_FILE, document

CONTRACT = "functions/common/contract.py"
SIDES = ("functions", "modules", "stacks")
TREE = (*SIDES, "synthesis", "examples", "tools", "main.py")
# The emulator knows nothing of Sluice, the peers are other programs, and the example's function has its own package.
APART = ("tools/embedded_aws/", "tools/bench/peers/", "examples/functions/")


@cache
def constants(root: str) -> tuple[tuple[str, object], ...]:
    """Every constant below a folder, with its place: strings but for docstrings, numbers, and products of numbers."""
    found: list[tuple[str, object]] = []
    path = ROOT / root
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        place = file.relative_to(ROOT).as_posix()
        if not place.startswith(APART):
            found += ((f"{place}:{line}", value) for line, value in values_of(ast.parse(file.read_text())))
    return tuple(found)


def values_of(tree: ast.AST) -> Iterator[tuple[int, object]]:
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in texts:
            yield node.lineno, node.value
        elif isinstance(node, ast.BinOp) and not any(isinstance(each, ast.Name) for each in ast.walk(node)):
            yield node.lineno, ast.unparse(node)


def places(literal: object, folders: tuple[str, ...]) -> list[str]:
    return [
        place
        for folder in folders
        for place, value in constants(folder)
        if value == literal or (isinstance(literal, str) and isinstance(value, str) and value.startswith(literal))
    ]


def one_file(found: list[str]) -> str:
    assert len(found) == 1, found
    return found[0].partition(":")[0]


@pytest.mark.parametrize(
    "literal",
    [
        contract.FILES_PREFIX,
        contract.SCAN_TAG,
        contract.SCAN_CLEAN,
        contract.BY_DUE,
        contract.BY_OWNER,
        contract.SWEEP_SCHEDULE,
        contract.TOKEN_REFUSED,
        contract.NOT_DELIVERED,
        contract.WEBHOOK_SECRET_PREFIX,
        contract.NO_ROUTE,
        contract.INVALID_JSON,
        contract.PROBLEM_JSON,
        "urn:sluice:problem:",
        contract.EXPOSED_HEADERS[-1],
        contract.MAX_POST_BYTES,
        contract.MAX_CONTENT_BYTES,
        "5 * 2 ** 40",
        *FailureCode,
        *FileEvent,
        NextStep.WAIT_FOR_SCAN,
        NextStep.ALERT_AND_ANNOUNCE,
    ],
    ids=str,
)
def test_a_fact_is_written_down_once(literal: object) -> None:
    assert one_file(places(literal, TREE)) == CONTRACT


@pytest.mark.parametrize("literal", [contract.LIVE_ALIAS, *Problem], ids=str)
def test_a_word_with_other_meanings_is_written_down_once_for_this_one(literal: str) -> None:
    found = [place for folder in SIDES for place, value in constants(folder) if value == literal]
    assert one_file(found) == CONTRACT


@pytest.mark.parametrize("state", State)
def test_functions_and_workflow_name_states_by_the_contract(state: State) -> None:
    files = ("functions", "modules/tables.py", "modules/workflow_states.py")
    everywhere = [each for file in files for each in constants(file)]
    assert one_file([place for place, value in everywhere if value == state]) == CONTRACT


def test_names_that_tools_look_up_are_written_down_once() -> None:
    assert one_file(places(names.DEAD_LETTERS_SUFFIX, TREE)) == "modules/names.py"


def test_a_second_copy_would_be_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies" / "a.py").write_text('"""uploads/"""\nA = "uploads/"\nB = f"uploads/{A}"\nC = 5 * 2**40\n')
    assert places(contract.FILES_PREFIX, ("copies",)) == ["copies/a.py:2", "copies/a.py:3"]
    assert places("5 * 2 ** 40", ("copies",)) == ["copies/a.py:4"]


def test_it_needs_only_the_standard_library() -> None:
    """Synthesis imports it where the packages of the functions are not installed."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import functions.common.contract; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, ROOT], check=True, capture_output=True, text=True
    ).stdout.split()
    others = {name for name in loaded if name.partition(".")[0] not in {*sys.stdlib_module_names, "__main__"}}
    assert others == {"functions", "functions.common", "functions.common.contract"}


def test_reasons_of_refusals_are_those_that_are_documented() -> None:
    assert document().component("FailureCode")["enum"] == list(FailureCode)
    of_events = json.loads(EVENT_FILE.read_text())["properties"]
    assert of_events["failure_code"]["examples"] == [
        code for code in FailureCode if code != FailureCode.PROCESSING_FAILED
    ]
    assert of_events["event"]["enum"] == list(FileEvent)


def test_the_index_has_what_a_list_shows() -> None:
    assert set(LISTED) <= {*contract.LISTED_ATTRIBUTES, "file_id", "owner", "upload_time"}


def test_the_client_in_python_has_the_same_limits() -> None:
    """It is a package of its own, and so has its own copy."""
    rules = parts.Rules()
    assert (rules.post_bytes, rules.smallest_part_bytes, rules.max_parts) == (
        contract.MAX_POST_BYTES,
        contract.MIN_PART_BYTES,
        contract.MAX_PARTS,
    )
    assert (sending.MAX_FIRST_LINKS, sending.MAX_LINKS) == (contract.MAX_FIRST_PARTS, contract.MAX_PARTS_PER_CALL)
    in_use = {State.UPLOADING, State.SCANNING, State.AVAILABLE, State.ENDING}
    assert set(api.ENDED) == set(State) - in_use


def test_the_client_in_typescript_has_the_same_limits() -> None:
    sources = [ROOT / "clients" / "javascript" / "src" / name for name in ("upload.ts", "links.ts")]
    lines = {line for source in sources for line in source.read_text().splitlines()}
    assert lines >= {
        f"const POST_BYTES = {contract.MAX_POST_BYTES:_};",
        f"const PART_BYTES = {contract.MIN_PART_BYTES // 2**20} * 2 ** 20;",
        f"const MAX_PARTS = {contract.MAX_PARTS:_};",
        f"const MAX_PARTS_PER_CALL = {contract.MAX_PARTS_PER_CALL};",
    }


def test_a_receiver_is_read_as_it_is_written() -> None:
    receiver = contract.WebhookReceiver("https://sqs/1/queue", "arn:aws:secret", "https://example.com/in?a=b")
    assert contract.WebhookReceiver.from_text(str(receiver)) == receiver
    assert receiver.queue_name == "queue"
