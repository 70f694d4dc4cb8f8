"""Makes the layers: the functions' dependencies from Pipfile.lock, for the runtime and processor they run on.

`python -m tools.develop.layers [RUNTIME-ARCHITECTURE ...]` makes the ones that are named, by default those of every
environment and of this machine. It is a step of set-up: it takes a package index, and synthesis must not.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from modules.packaging import layer_name, write_archive
from modules.settings import Settings
from synthesis.child_environment import child_environment
from synthesis.paths import BUILD, ROOT
from tools.develop.requirements import requirements
from tools.develop.setup import LOCK
from tools.operate.console import Failure, exit_with

LAYERS = BUILD / "layers"

# Which wheels a runtime can load: its C library is that of its system (Lambda, "Lambda runtimes"; PEP 600).
# Amazon Linux 2, of python3.11, has glibc 2.26; Amazon Linux 2023, of the later ones, has 2.34.
_GLIBC = {"python3.11": 26, "python3.12": 34, "python3.13": 34}
_MACHINE = {"arm64": "aarch64", "x86_64": "x86_64"}

# What an installer leaves behind that says how it was installed rather than what.
_TRACES = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}


def host_runtime() -> tuple[str, str]:
    """Runtime and processor of the Python that runs this: what the embedded AWS runs functions with."""
    machine = "arm64" if platform.machine().lower() in {"arm64", "aarch64"} else "x86_64"
    return f"python{sys.version_info.major}.{sys.version_info.minor}", machine


def make_layer(runtime: str, architecture: str, layers: Path = LAYERS, lock: Path = LOCK) -> Path:
    """Make one layer unless the lock has not changed since; return where it is.

    The archive has the same bytes wherever it is made: wheels by hash, for the function's platform and not for this
    machine, without byte code and without the installer's traces.

    Raises:
        Failure: a wheel is not to be had for the platform, or its hash is another.
    """
    wanted = requirements(lock, ["functions"], without=["lambda-runtime"])
    path = layers / layer_name(runtime, architecture)
    stamp = path.with_suffix(".stamp")
    key = hashlib.sha256(wanted.encode()).hexdigest()
    if path.is_file() and stamp.is_file() and stamp.read_text() == key:
        return path
    layers.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text(wanted)
        target = Path(folder) / "python"
        platforms = [
            f"--platform=manylinux_2_{minor}_{_MACHINE[architecture]}" for minor in range(_GLIBC[runtime], 16, -1)
        ]
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--no-compile"]
            + ["--only-binary=:all:", "--implementation=cp", f"--python-version={runtime.removeprefix('python')}"]
            + [*platforms, f"--platform=manylinux2014_{_MACHINE[architecture]}", f"--target={target}"]
            + ["--disable-pip-version-check", "--no-input", "-r", str(listed)],
            env=child_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            cause = next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), done.stderr.strip())
            raise Failure(
                f"making the layer for {runtime} on {architecture}",
                cause,
                "see that this machine reaches a Python package index, then run the same command again",
            )
        files = {
            f"python/{file.relative_to(target).as_posix()}": file.read_bytes()
            for file in target.rglob("*")
            if file.is_file() and not _is_left_out(file.relative_to(target))
        }
    write_archive(files, path)
    stamp.write_text(key)
    return path


def _is_left_out(file: Path) -> bool:
    traces = file.parent.suffix == ".dist-info" and file.name in _TRACES
    return traces or file.parts[0] == "bin" or "__pycache__" in file.parts


def wanted_layers(environments: Path) -> set[tuple[str, str]]:
    """Runtimes and processors of the environments' files, and of this machine for the embedded AWS."""
    defaults = {name: Settings.model_fields[name].default for name in ("lambda_runtime", "lambda_architecture")}
    layers = {host_runtime()}
    for file in environments.glob("*.toml"):
        values = {**defaults, **tomllib.loads(file.read_text())}
        layers.add((values["lambda_runtime"], values["lambda_architecture"]))
    return layers


def main() -> None:
    """Make the layers that the command line names as `python3.13-arm64`, or those that are needed here."""
    named = {(name.partition("-")[0], name.partition("-")[2]) for name in sys.argv[1:]}
    for runtime, architecture in sorted(named or wanted_layers(ROOT / "environments")):
        if runtime not in _GLIBC or architecture not in _MACHINE:
            raise Failure(
                f"making the layer {runtime}-{architecture}",
                "there is no such runtime or processor",
                f"name one of {', '.join(_GLIBC)}, a dash, and one of {', '.join(_MACHINE)}",
            )
        print(make_layer(runtime, architecture))


if __name__ == "__main__":
    exit_with(main)
