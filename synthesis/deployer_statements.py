"""Prints what the deployer of a component may do, as statements of IAM: the sum over the tree of its constructs.

A program of its own, because the import of cdktf starts a Node.js process. It needs no credentials and writes nothing.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from synthesis.boot import boot, collect_no_garbage
from synthesis.components import component_of


def main(name: str) -> None:
    """Read settings as JSON from standard input; write a list of statements as JSON to standard output.

    Raises:
        SystemExit: there is no such component, or a package is missing; the message says what to do.
    """
    component = component_of(name)
    collect_no_garbage()
    boot()
    from cdktf import App

    from modules.deployer import total
    from modules.packaging import PackagingError
    from modules.settings import Settings

    settings = Settings.model_validate_json(sys.stdin.read())
    with tempfile.TemporaryDirectory() as folder:
        try:
            stack = component.add(App(outdir=folder), settings, Path(folder))
        except PackagingError as error:
            sys.exit(f"error: {error}")
        print(json.dumps([statement.to_json() for statement in total(stack.node.find_all())]))


if __name__ == "__main__":
    main(*sys.argv[1:])
