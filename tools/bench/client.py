"""Memory of the client while it uploads a large file. The client is a separate package, in clients/python."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from synthesis.paths import ROOT
from tools.bench.measuring import RUNS, Result, Section, environment, run

Progress = Callable[[str], None]

PROGRAM = ROOT / "clients" / "python" / "benchmarks" / "large_upload.py"
"""Uploads as many MiB as its argument says, from a file that it makes, to a server that takes parts and forgets them.

It prints one line: the peak memory of the client in MiB, bytes of a part, parts at once.
"""

MIB = 1024


def large_upload(progress: Progress) -> Section:
    """Measure an upload of 1 GiB against the size of the parts in flight; return nothing if there is no client."""
    if not PROGRAM.is_file():
        where = PROGRAM.relative_to(ROOT)
        return Section("1 GiB by the client", [], [f"Not measured: there is no `{where}` yet."])
    return measure(PROGRAM, progress)


def measure(program: Path, progress: Progress) -> Section:
    """Run the client's program some times."""
    peaks, in_flight = [], 0.0
    for number in range(RUNS):
        printed = run([sys.executable, program, str(MIB)], variables=environment()).printed
        peak, part_bytes, at_once = printed.split()
        peaks.append(float(peak))
        in_flight = int(part_bytes) * int(at_once) / 2**20
        progress(f"{number + 1} of {RUNS}")
    result = Result(
        "1 GiB by the client, peak memory", "the parts in flight", statistics.median(peaks), in_flight, "MiB", 1.5
    )
    return Section("1 GiB by the client", [result])
