"""The harness of the benchmarks: how it measures, judges and writes; not what it measures."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

import pytest

from synthesis.paths import ROOT
from tools.bench import cgroup, client, sending
from tools.bench.__main__ import BENCHMARKS, PAGE, chosen, figure, lines_of, table
from tools.bench.hardware import description
from tools.bench.lambda_functions import CASES, SIZES
from tools.bench.measuring import (
    Result,
    Run,
    Section,
    environment,
    in_turns,
    median_mib,
    median_seconds,
    percentile,
    run,
)
from tools.develop.pages import fill, part
from tools.operate.console import Failure


def result(ours: float, theirs: float, reach: float, *, more_is_better: bool = False) -> Result:
    return Result("this", "that", ours, theirs, "s", reach, more_is_better)


def test_a_ratio_is_within_reach_or_not() -> None:
    assert result(1, 10, 0.1).met
    assert not result(1.01, 10, 0.1).met
    assert result(8, 10, 0.8, more_is_better=True).met
    assert not result(7.9, 10, 0.8, more_is_better=True).met
    assert result(1, 0, 2).ratio == float("inf")


def test_a_table_shows_ratio_reach_and_verdict() -> None:
    lines = table([result(1.234, 10, 0.08), result(900, 1000, 0.8, more_is_better=True)])
    assert lines[2:] == [
        "| this | that | 1.23 s | 10 s | 0.12 | ≤ 0.08 | no |",
        "| this | that | 900 s | 1,000 s | 0.90 | ≥ 0.8 | yes |",
    ]
    assert lines_of(Section("nothing", [], ["a note"])) == ["a note"]
    assert figure(0.01234) == "0.0123"


def test_sides_take_turns_after_one_round_that_does_not_count() -> None:
    order: list[str] = []
    answers = in_turns(lambda: order.append("ours"), lambda: order.append("theirs"), runs=3)
    assert order == ["ours", "theirs"] * 4
    assert [len(side) for side in answers] == [3, 3]


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1)])
def test_percentiles_are_values_that_occurred(share: float, value: int) -> None:
    assert percentile([float(each) for each in range(100, 0, -1)], share) == value


def test_medians() -> None:
    runs = [Run(seconds, mib * 2**20, "") for seconds, mib in ((3.0, 1), (1.0, 9), (2.0, 4))]
    assert median_seconds(runs) == 2.0
    assert median_mib(runs) == 4.0


def test_a_program_is_measured_with_what_it_started() -> None:
    child = "x = bytearray(80 << 20); import time; time.sleep(0.3)"
    code = f"import subprocess, sys; print('said'); subprocess.run([sys.executable, '-c', {child!r}])"
    done = run([sys.executable, "-c", code], variables=environment())
    assert done.printed == "said\n"
    assert 0.3 < done.seconds < 30
    assert done.peak_bytes > 80 << 20


def test_a_program_that_fails_stops_the_benchmark_with_its_last_words() -> None:
    with pytest.raises(Failure, match="no good"):
        run([sys.executable, "-c", "raise SystemExit('no good')"], variables=environment())


def test_no_side_inherits_what_would_favour_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONDONTWRITEBYTECODE", "SLUICE_STOCK_CDKTF", "PYTHONPATH"):
        monkeypatch.setenv(name, "1")
    assert environment(PYTHONPATH="ours")["PYTHONPATH"] == "ours"
    assert not {"PYTHONDONTWRITEBYTECODE", "SLUICE_STOCK_CDKTF"} & environment().keys()


def test_a_misspelt_name_is_told_what_there_is() -> None:
    assert chosen("types,imports") == ["types", "imports"]
    assert chosen(None) == list(BENCHMARKS)
    with pytest.raises(Failure, match=r"(?s)no benchmark typos.*synthesis, empty-cache"):
        chosen("typos")


def test_the_page_has_a_place_for_every_benchmark() -> None:
    for name in ("machine", *BENCHMARKS):
        assert part(PAGE, name) is not None


def test_a_part_of_a_page_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a: written by x -->\nold\n<!-- end of a -->\nafter\n")
    fill(page, "a", ["new", "lines"])
    assert part(page, "a") == ["new", "lines"]
    again = page.read_text()
    assert again.startswith("before\n<!-- a: written by x -->\n")
    assert again.endswith("<!-- end of a -->\nafter\n")
    fill(page, "a", ["new", "lines"])
    assert page.read_text() == again
    with pytest.raises(Failure, match="no place for b"):
        fill(page, "b", [])


def test_the_machine_is_described_without_its_name_or_paths() -> None:
    import platform

    text = "\n".join(description())
    assert platform.node() not in text
    assert "/" not in text.replace("---", "")
    assert "aws-cdk-lib | 2." in text


def test_a_command_runs_inside_a_control_group(tmp_path: Path) -> None:
    import subprocess

    assert cgroup.inside(None, ["a", Path("b")]) == ["a", "b"]
    (tmp_path / "cgroup.procs").touch()
    code = "import os, sys; print(os.getpid(), sys.argv[1])"
    done = subprocess.run(
        cgroup.inside(tmp_path, [sys.executable, "-c", code, "two words"]), capture_output=True, text=True, check=True
    )
    pid, argument = done.stdout.strip().split(" ", 1)
    assert (tmp_path / "cgroup.procs").read_text().strip() == pid
    assert argument == "two words"


def test_every_case_is_a_function_that_is_there() -> None:
    for case in CASES:
        assert (ROOT / "functions" / case.function / "handler.py").is_file()
        json.dumps(case.event)
    assert max(SIZES) == 1769


def test_the_client_is_measured_by_what_it_prints(tmp_path: Path) -> None:
    program = tmp_path / "large_upload.py"
    program.write_text("import sys; assert sys.argv[1] == '1024'; print(40.0, 8 << 20, 4)")
    (found,) = client.measure(program, lambda _: None).results
    assert (found.ours, found.theirs, found.met) == (40.0, 32.0, True)


def test_a_large_file_is_another_one_for_each_run(tmp_path: Path) -> None:
    file = sending.LargeFile(tmp_path / "large.bin", sending.PART_BYTES + 10)
    before = file.checksums()
    file.change()
    assert file.path.stat().st_size == sending.PART_BYTES + 10
    assert len(before) == 2
    assert file.checksums()[0] != before[0]
    assert file.checksums()[1] == before[1]


def test_the_page_of_the_benchmark_is_served_with_the_client() -> None:
    with sending.serving_page() as origin, urllib.request.urlopen(f"{origin}/page.js", timeout=10) as answer:
        assert answer.headers["Content-Type"].endswith("javascript")
        content = answer.read().decode()
    assert 'from "/client/index.js"' in content
