"""Prepares a fresh clone: Python environments from the lock, provider bindings, layers. Standard library only.

It runs under the system's Python before anything is installed, so it has to parse on old ones too. Each environment
carries a stamp of what it was made from; one without the right stamp is made anew, so an interrupted run does no harm.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, Tuple  # noqa: UP035 - for Pythons that are told they are too old

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from synthesis.paths import BUILD, ENVIRONMENTS, ROOT

LOCK = ROOT / "Pipfile.lock"
SUPPORTED_PYTHON = ((3, 11), (3, 13))
# The provider bindings ask for 20.9; jsii itself supports 22 and 24 today.
OLDEST_NODE = (20, 9)


class Environment(NamedTuple):
    """A virtual environment: its folder, the sections of the lock that it contains, and packages that it lacks."""

    title: str
    path: Path
    categories: Tuple[str, ...]  # noqa: UP006 - evaluated on the Pythons that are told they are too old
    lacking: Tuple[str, ...] = ()  # noqa: UP006

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.path / "bin" / "python"


PROJECT = Environment("the project", ROOT / ".venv", ("default", "develop", "functions", "client"))
LAMBDA = Environment("the Lambda runtime", ENVIRONMENTS / "lambda", ("lambda-runtime",))
EMBEDDED_AWS = Environment("the embedded AWS", ENVIRONMENTS / "embedded-aws", ("embedded-aws",))
# The project on another CDK (docs/upgrading.md): what `CDK` chooses is made when it is first chosen.
PROVIDER_6 = Environment(
    "cdktf with provider 6", ENVIRONMENTS / "cdktf-provider-6", (*PROJECT.categories, "cdktf-provider-6")
)
CDKTN = Environment(
    "cdktn", ENVIRONMENTS / "cdktn", (*PROJECT.categories, "cdktn"), ("cdktf", "cdktf-cdktf-provider-aws")
)
CDKS = {"cdktf": PROJECT, "cdktf-provider-6": PROVIDER_6, "cdktn": CDKTN}
# Only for judges, which create them at their first call (tools/develop/judges.py).
CHECKOV = Environment("checkov", ENVIRONMENTS / "checkov", ("checkov",))
JUDGES = Environment("the other judges", ENVIRONMENTS / "judges", ("judges",))
# Only for `make bench`, which creates them too.
BENCH = Environment("the benchmarks' peer, aws-cdk-lib", ENVIRONMENTS / "bench", ("bench",))
AWS_CLI = Environment("the benchmarks' peer, awscli", ENVIRONMENTS / "aws-cli", ("aws-cli",))
# Only for the test of cdktn's command line, which creates it too.
NODE = Environment("Node.js", ENVIRONMENTS / "node", ("node",))


def check_python(version: Tuple[int, int] = sys.version_info[:2]) -> None:  # noqa: UP006
    """Refuse a Python that the packages or the Lambda runtimes do not know.

    Raises:
        Failure: the version is not supported.
    """
    from tools.operate.console import Failure

    first, last = SUPPORTED_PYTHON
    if not first <= version <= last:
        raise Failure(
            "set-up",
            "this is Python {}.{}; Sluice needs {}.{} to {}.{}".format(*version, *first, *last),
            "install one of these and name it, for example: make PYTHON=python3.12 up",
        )


def check_node() -> None:
    """Refuse a machine without Node.js, or with one that is too old for jsii, which synthesis runs on.

    Raises:
        Failure: there is no `node` on PATH, or its version is below what jsii runs on.
    """
    from synthesis.child_environment import child_environment
    from tools.operate.console import Failure

    remedy = "install Node.js 22 or 24 and put it on PATH"
    if not shutil.which("node"):
        raise Failure("set-up", "there is no `node` on PATH; synthesis (CDKTF) needs Node.js", remedy)
    done = subprocess.run(["node", "--version"], env=child_environment(), capture_output=True, text=True, check=False)
    said = done.stdout.strip()
    numbers = said.lstrip("v").split(".")[:2]
    if not all(number.isdigit() for number in numbers) or tuple(map(int, numbers)) < OLDEST_NODE:
        raise Failure("set-up", f"Node.js {said or 'of an unknown version'} is too old", remedy)


def chosen_cdk() -> Environment:
    """Return the environment of the CDK that the variable CDK names; cdktf if it is not set.

    Raises:
        Failure: it names none.
    """
    from tools.operate.console import Failure

    name = os.environ.get("CDK") or "cdktf"
    if name not in CDKS:
        raise Failure("set-up", f"CDK is {name!r}; it can be {', '.join(CDKS)}", "see docs/upgrading.md")
    return CDKS[name]


def prepare(environment: Environment) -> bool:
    """Make an environment from the lock unless it is there already; say whether it was made.

    Raises:
        Failure: the environment cannot be created, or a package cannot be installed or has another hash.
    """
    from tools.develop.requirements import requirements

    wanted = requirements(LOCK, environment.categories, lacking=environment.lacking)
    key = hashlib.sha256(f"{sys.version}\n{wanted}".encode()).hexdigest()
    stamp = environment.path / ".stamp"
    if _stands(environment, stamp, key):
        return False
    name = environment.path.name.lstrip(".")
    listed = BUILD / "requirements" / f"{name}.txt"
    listed.parent.mkdir(parents=True, exist_ok=True)
    # A judge's environment is made at its first call, and two tests may call one judge at the same time.
    with listed.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _stands(environment, stamp, key):
            return False
        listed.write_text(wanted)
        _make(environment, listed)
        stamp.write_text(key)
    return True


def _stands(environment: Environment, stamp: Path, key: str) -> bool:
    return stamp.is_file() and stamp.read_text() == key and environment.python.exists()


def _make(environment: Environment, listed: Path) -> None:
    from tools.operate.console import Failure, run, step

    name = environment.path.name.lstrip(".")
    with step(f"Python packages of {environment.title}") as progress:
        shutil.rmtree(environment.path, ignore_errors=True)
        with_pip = environment is PROJECT
        run(
            [sys.executable, "-m", "venv", *([] if with_pip else ["--without-pip"]), environment.path],
            doing="creating a virtual environment",
            remedy="install Python's venv module (Debian and Ubuntu: apt install python3-venv)",
            log=BUILD / "logs" / f"venv-{name}.log",
        )
        # Byte-compiling the provider package takes longer than installing it, and synthesis uses a part of it.
        run(
            [str(PROJECT.python), "-m", "pip", "--python", str(environment.python), "install", "--no-compile"]
            + ["--no-deps", "--require-hashes", "--no-input", "--disable-pip-version-check", "-r", str(listed)],
            doing="installing Python packages",
            remedy="see that this machine reaches a Python package index, then run the same command again",
            log=BUILD / "logs" / f"pip-{name}.log",
            progress=progress,
        )
        if not environment.python.exists():
            raise Failure("set-up", f"{environment.path} holds no Python", "run the same command again")
        if "client" in environment.categories:
            _show_client(environment)


def _show_client(environment: Environment) -> None:
    """Let an environment's Python import the client from the clone (Python's `site`: path configuration files)."""
    [packages] = environment.path.glob("lib/python*/site-packages")
    # Relative, since Python 3.12 and earlier decode this file by the locale, which may not have the path's letters.
    (packages / "sluice-client.pth").write_text("{}\n".format(os.path.relpath(ROOT / "clients" / "python", packages)))


def main() -> None:
    """Check the machine, then prepare what is missing."""
    from synthesis.child_environment import child_environment
    from tools.operate.console import Failure, run, say, step

    check_python()
    check_node()
    cdk = chosen_cdk()
    if Path(sys.prefix).resolve() in (PROJECT.path, cdk.path):
        # Somebody activated the environment that this may have to make anew: go on outside of it.
        outside = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
        os.execve(outside, [str(outside), *sys.argv], child_environment())  # noqa: S606 - replaces this process
    for environment in dict.fromkeys((PROJECT, LAMBDA, EMBEDDED_AWS, cdk)):
        prepare(environment)
    with step("provider bindings and layers") as progress:
        for python, module, title in (
            (cdk.python, "synthesis.bindings", "provider bindings"),
            (PROJECT.python, "tools.develop.layers", "layers"),
        ):
            try:
                run(
                    [python, "-m", module],
                    doing=f"making the {title}",
                    remedy="run the same command again",
                    log=BUILD / "logs" / f"{module}.log",
                    cwd=ROOT,
                    variables={"PYTHONPATH": str(ROOT)},
                    progress=progress,
                )
            except Failure as failure:
                # Without bindings of its own, synthesis uses the whole provider package: slow, and right.
                if module != "synthesis.bindings":
                    raise
                say(f"  {failure.cause}")


if __name__ == "__main__":
    check_python()
    from tools.operate.console import exit_with

    exit_with(main)
