"""Measurement of time and memory of programs, in turns with their peers."""

from __future__ import annotations

import math
import os
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import psutil

from synthesis.child_environment import child_environment
from synthesis.paths import ROOT
from tools.operate.console import Failure

RUNS = 5
"""Of each program, beside one that does not count and fills caches."""

SAMPLE_SECONDS = 0.02

# What a developer's shell or a container may set, and would slow one side down or speed it up.
_LEFT_OUT = ("SLUICE_STOCK_CDKTF", "AWS_ENDPOINT_URL")

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """One run of a program.

    Attributes:
        seconds: from its start to its end.
        peak_bytes: the most memory that it and the programs that it started had at once: resident sets, added up.
        printed: its standard output.
    """

    seconds: float
    peak_bytes: int
    printed: str


@dataclass(frozen=True)
class Result:
    """Our figure beside the figure of a peer.

    Attributes:
        what: what was measured.
        against: what it is compared with.
        ours: our figure, a median.
        theirs: the peer's.
        unit: of both.
        reach: what the ratio, ours to theirs, is meant to be: at most, or at least where more is better.
        more_is_better: for throughput.
    """

    what: str
    against: str
    ours: float
    theirs: float
    unit: str
    reach: float
    more_is_better: bool = False

    @property
    def ratio(self) -> float:
        """Our figure divided by theirs."""
        return self.ours / self.theirs if self.theirs else float("inf")

    @property
    def met(self) -> bool:
        """True if the ratio is within reach."""
        return self.ratio >= self.reach if self.more_is_better else self.ratio <= self.reach


@dataclass(frozen=True)
class Section:
    """The result of one benchmark: figures, and lines of Markdown that go below them."""

    title: str
    results: Sequence[Result]
    notes: Sequence[str] = field(default=())


def environment(**variables: str) -> dict[str, str]:
    """Return the variables of this process without those that would favour a side, and with additional ones."""
    kept = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    return child_environment(variables, kept)


def run(command: Sequence[str | Path], *, variables: Mapping[str, str], cwd: Path = ROOT) -> Run:
    """Run a program and measure it.

    Raises:
        Failure: it ends with an error.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            with Peak(partial(_memory_of, process.pid)) as memory:
                process.wait()
            seconds = time.perf_counter() - started
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            raise
        out.seek(0)
        err.seek(0)
        printed, said = out.read(), err.read()
    if process.returncode:
        last = (said or printed).strip().splitlines()[-1:] or ["it printed nothing"]
        raise Failure(f"running {Path(command[0]).name}", last[0], "run it by hand and see")
    return Run(seconds, memory.peak, printed)


class Peak:
    """The peak of a quantity, such as bytes of memory, watched until the block ends.

    Attributes:
        before: the quantity at the beginning.
        peak: the largest that was seen.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self.before = self.peak = 0
        self._now = now
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self.before = self.peak = self._now()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, self._now())


def _memory_of(pid: int) -> int:
    """Return the memory of a process and of its descendants, in bytes; 0 if it has ended."""
    total = 0
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    for each in family:
        try:
            total += each.memory_info().rss
        except psutil.Error:  # it ended between the two questions
            continue
    return total


def in_turns(
    *sides: Callable[[], T], runs: int = RUNS, warm_up: bool = True, progress: Callable[[str], None] | None = None
) -> list[list[T]]:
    """Call each side in turn, so that other load on the machine affects all; return each side's answers."""
    if warm_up:
        for side in sides:
            side()
    answers: list[list[T]] = [[] for _ in sides]
    for number in range(runs):
        for side, kept in zip(sides, answers, strict=True):
            kept.append(side())
        if progress:
            progress(f"{number + 1} of {runs}")
    return answers


def median_seconds(runs: Sequence[Run]) -> float:
    """Return the median of the times."""
    return statistics.median(run.seconds for run in runs)


def median_mib(runs: Sequence[Run]) -> float:
    """Return the median of the peaks of memory in MiB."""
    return statistics.median(run.peak_bytes for run in runs) / 2**20


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of all values does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
