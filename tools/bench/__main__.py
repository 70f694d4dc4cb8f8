"""`make bench`: measures, prints, and writes each table into docs/benchmarks.md as soon as it is finished.

`python -m tools.bench [--only NAME,...] [--write]`. Each side is run in turn with the other, at least five times; a
figure is the median. It wants a machine that does nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from synthesis.paths import ROOT
from tools.bench import api, client, lambda_functions, sending, synthesis
from tools.bench.hardware import description
from tools.bench.measuring import Result, Section
from tools.develop.pages import fill
from tools.operate.console import Failure, exit_with, say, step

PAGE = ROOT / "docs" / "benchmarks.md"

Benchmark = Callable[[Callable[[str], None]], Section]

BENCHMARKS: dict[str, Benchmark] = {
    "synthesis": synthesis.synthesis,
    "empty-cache": synthesis.empty_cache,
    "environments": synthesis.environments,
    "types": synthesis.types,
    "imports": lambda_functions.imports,
    "handlers": lambda_functions.handlers,
    "memory": lambda_functions.memory,
    "calls": api.calls,
    "api": api.api,
    "client": client.large_upload,
    "aws-cli": sending.aws_cli,
    "browser": sending.in_browser,
    "up": api.second_up,
}


def figure(value: float) -> str:
    """Format a number with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(results: Sequence[Result]) -> list[str]:
    """Return the table of a section: our figures beside those of the peers."""
    lines = ["| what | against | ours | theirs | ratio | reach | met |", "|---|---|---:|---:|---:|---:|---|"]
    for each in results:
        reach = f"{'≥' if each.more_is_better else '≤'} {each.reach:g}"
        lines.append(
            f"| {each.what} | {each.against} | {figure(each.ours)} {each.unit} | {figure(each.theirs)} {each.unit} | "
            f"{each.ratio:.2f} | {reach} | {'yes' if each.met else 'no'} |"
        )
    return lines


def lines_of(section: Section) -> list[str]:
    """Return a section in Markdown, without its title."""
    lines = table(section.results) if section.results else []
    return [*lines, *([""] if lines and section.notes else []), *section.notes]


def chosen(only: str | None) -> list[str]:
    """Return the benchmarks that the command line names, by default all.

    Raises:
        Failure: one of them is not there.
    """
    names = only.split(",") if only else list(BENCHMARKS)
    for name in names:
        if name not in BENCHMARKS:
            raise Failure("make bench", f"there is no benchmark {name}", f"name some of {', '.join(BENCHMARKS)}")
    return names


def main() -> None:
    """Run the benchmarks that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--only", help=f"some of {','.join(BENCHMARKS)}")
    parser.add_argument("--write", action="store_true", help=f"the tables, to {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    names = chosen(options.only)
    machine = description()
    say("\n".join(machine) + "\n")
    if options.write:
        fill(PAGE, "machine", machine)
    for name in names:
        with step(name) as progress:
            section = BENCHMARKS[name](progress)
        say("\n".join(["", f"## {section.title}", "", *lines_of(section), ""]))
        if options.write:
            fill(PAGE, name, lines_of(section))


if __name__ == "__main__":
    exit_with(main)
