"""`python -m sluice_client` is `sluice`."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""Exit code of a program that ^C ended (128 and the number of SIGINT), as shells report it."""


def main() -> NoReturn:
    """Run the command line. ^C ends it without a traceback, also while Python imports its modules."""
    # Python ignores a KeyboardInterrupt in a callback of its import system, and the program would run on.
    signal.signal(signal.SIGINT, _end)
    from sluice_client import cli

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        cli.main()
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped.\n")
        sys.exit(INTERRUPTED)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    """End the process at once: before the command line runs, there is nothing to clean up."""
    os.write(sys.stderr.fileno(), b"\nStopped.\n")
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
