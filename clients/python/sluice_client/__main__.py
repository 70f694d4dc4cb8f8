"""`python -m sluice_client` is `sluice`."""

import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line. ^C ends it without a traceback, also while Python imports its modules."""
    try:
        from sluice_client import cli

        cli.main()
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped.\n")
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
