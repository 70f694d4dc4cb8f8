"""Output of the tools: steps with their time, and failures that say what to do. Standard library only."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from synthesis.child_environment import child_environment


class Failure(Exception):  # noqa: N818 - it is what a person reads, not a defect of the program
    """A failed step: the step, the cause, and what to do about it."""

    def __init__(self, step: str, cause: str, remedy: str) -> None:
        super().__init__(f"{step}: {cause}")
        self.step = step
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.step} failed: {self.cause}\n  what to do: {self.remedy}"


def say(text: str = "") -> None:
    """Print one line at once, also where the output is a pipe."""
    print(text, flush=True)


@contextmanager
def step(title: str) -> Iterator[Callable[[str], None]]:
    """Announce a step, show its progress and its time in seconds.

    Yields a function that reports progress in a few words: on a terminal it rewrites the line, elsewhere it is silent,
    so that logs stay short.
    """
    started = time.monotonic()
    live = sys.stdout.isatty()
    print(f"- {title} ...", end="" if live else "\n", flush=True)

    def progress(words: str) -> None:
        if live:
            print(f"\r\033[K- {title} ... {words} ({time.monotonic() - started:.0f} s)", end="", flush=True)

    try:
        yield progress
    except BaseException:
        if live:
            print(flush=True)
        raise
    start_of_line = "\r\033[K" if live else ""
    say(f"{start_of_line}- {title}: done in {time.monotonic() - started:.1f} s")


def run(
    command: Sequence[str | Path],
    *,
    doing: str,
    remedy: str,
    log: Path,
    cwd: Path | None = None,
    variables: Mapping[str, str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> str:
    """Run a program, keep its output in `log`, and return it.

    Args:
        variables: variables of the program, on top of `synthesis.child_environment.child_environment`.

    Raises:
        Failure: the program is missing or exits non-zero; the cause is its first line that names an error, else its
            last line.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    try:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env=child_environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise Failure(doing, f"{command[0]} cannot be started ({error.strerror})", remedy) from None
    with process, log.open("w") as file:
        try:
            for line in process.stdout or ():
                file.write(line)
                lines.append(line.rstrip())
                if progress and lines[-1]:
                    progress(lines[-1][:60])
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise Failure(doing, cause_in(lines), f"{remedy} (the whole output: {shown(log)})")
    return "\n".join(lines)


def cause_in(lines: Sequence[str]) -> str:
    """Return the line of a program's output that explains its failure best."""
    said = [line.strip(" │╷╵|") for line in lines]
    said = [line for line in said if line]
    errors = [line for line in said if line.lower().startswith(("error", "fatal"))]
    return errors[0] if errors else said[-1] if said else "it printed nothing"


def shown(path: Path) -> str:
    """Return a path as a user types it: relative to the current folder if possible."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def exit_with(main: Callable[[], None]) -> None:
    """Run a tool's main function; end the process with 1 and two clear lines on a `Failure`, with 130 on ^C."""
    try:
        main()
    except Failure as failure:
        print(f"\n{failure}", file=sys.stderr, flush=True)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nStopped. What was begun is finished or undone by the next run.", file=sys.stderr, flush=True)
        sys.exit(130)
