"""`make plan`, `make apply`, `make drift`: a plan that people review, and the apply of just that plan.

Everything about an environment's plan is in `.build/plans/ENVIRONMENT`: `tfplan`, `plan.json`, `report.md` and
`reviewed.json`, which binds the plan file to the Terraform JSON and the packages it was made of. Whoever carries a plan
from one machine to another carries that folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from synthesis.paths import BUILD
from tools.operate.console import Failure, exit_with, say, shown, step
from tools.operate.plan.read import read_drift, read_plan
from tools.operate.plan.report import GITHUB_LIMIT, report
from tools.operate.plan.risk import named_for, refuse_loss
from tools.operate.synthesize import synthesize
from tools.operate.terraform import Changes, Terraform

PLANS = BUILD / "plans"
DRIFT = 2
# Terraform's lock keeps two from writing. A plan writes nothing, and one that is stale is refused when it is applied;
# so that a role which only reads can make it.
_NO_LOCK = "-lock=false"


@dataclass(frozen=True)
class Desk:
    """Where an environment is planned, and what was planned last.

    Attributes:
        environment: its name.
        folder: what is carried from the review to the apply.
        work: where it is synthesized and Terraform runs.
    """

    environment: str
    folder: Path
    work: Path

    @property
    def plan_file(self) -> Path:
        """Terraform's plan."""
        return self.folder / "tfplan"

    @property
    def record(self) -> Path:
        """What the plan was made of."""
        return self.folder / "reviewed.json"

    def synthesize(self, *, backend: bool = True) -> Terraform:
        """Terraform in a fresh synthesis of the environment, with its state unless there is to be no backend.

        Raises:
            Failure: the settings are wrong, or the backend is out of reach.
        """
        with step(f"synthesis of {self.environment}"):
            stack = synthesize(self.work, {"ENVIRONMENT": self.environment})
            terraform = Terraform(stack, {})
            if not backend:
                # What an earlier run remembers of its backend would be asked for otherwise.
                (stack / ".terraform" / "terraform.tfstate").unlink(missing_ok=True)
            terraform.init(*([] if backend else ["-backend=false"]))
        return terraform


def desk(environment: str, plans: Path = PLANS) -> Desk:
    """The desk of an environment."""
    return Desk(environment, plans / environment, plans / f"{environment}.cdktf.out")


def make_plan(at: Desk, *, limit: int = GITHUB_LIMIT) -> str:
    """Plan an environment, keep plan, JSON and report in its folder, and return the report.

    Args:
        limit: bytes that the report may have.

    Raises:
        Failure: synthesis, Terraform or AWS refuses.
    """
    terraform = at.synthesize()
    at.folder.mkdir(parents=True, exist_ok=True)
    with step("terraform plan") as progress:
        terraform.plan(_NO_LOCK, to=str(at.plan_file), progress=progress)
    at.plan_file.chmod(0o600)
    content = terraform.show(str(at.plan_file))
    configuration = json.loads((terraform.folder / "cdk.tf.json").read_text())
    said = report(read_plan(content, configuration), title=f"Plan of {at.environment}", limit=limit)
    _write_privately(at.folder / "plan.json", json.dumps(content))
    (at.folder / "report.md").write_text(said)
    record = {"plan": _digest(at.plan_file), "synthesis": digest_of_synthesis(terraform.folder)}
    at.record.write_text(json.dumps(record, indent=2) + "\n")
    return said


def apply_plan(at: Desk, named: list[str]) -> str:
    """Apply the plan that `make_plan` left, and nothing else; return what was done in words.

    Args:
        named: addresses that hold data and may be destroyed.

    Raises:
        Failure: there is no plan, it is not the one that was made of this code, it would lose data that nobody named,
            the state has moved on since, or AWS refuses.
    """
    again = f"make plan ENVIRONMENT={at.environment}"
    if not at.record.is_file() or not at.plan_file.is_file():
        raise Failure("apply", f"there is no plan of {at.environment}", f"make one and read it: {again}")
    record = json.loads(at.record.read_text())
    if record["plan"] != _digest(at.plan_file):
        raise Failure("apply", "the plan file is not the one that was reported", f"make another one: {again}")
    terraform = at.synthesize()
    if record["synthesis"] != digest_of_synthesis(terraform.folder):
        raise Failure(
            "apply",
            "the code or the settings are no longer those of the plan that was reviewed",
            f"make another one, and have it reviewed: {again}",
        )
    plan = read_plan(terraform.show(str(at.plan_file)))
    refuse_loss(plan, named, again=f'make apply ENVIRONMENT={at.environment} DESTROY="{{}}"')
    changes = Changes()
    if plan:
        with step("terraform apply") as progress:
            changes = terraform.apply(str(at.plan_file), progress=progress)
    with step("reading back what AWS has now") as progress:
        terraform.read_back(progress)
    return str(changes)


def find_drift(at: Desk, *, limit: int = GITHUB_LIMIT) -> str | None:
    """The report of what the account has and the state does not say; None if they are the same.

    A plan would mix it with what the code wants to change. So this is a plan in refresh-only mode, and its JSON says
    what it found: Terraform's -detailed-exitcode answers 2 there even when it found nothing.

    Raises:
        Failure: synthesis, Terraform or AWS refuses.
    """
    terraform = at.synthesize()
    with step("reading what AWS has") as progress:
        terraform.plan("-refresh-only", _NO_LOCK, to="drift.tfplan", progress=progress)
    configuration = json.loads((terraform.folder / "cdk.tf.json").read_text())
    found = read_drift(terraform.show("drift.tfplan"), configuration)
    at.folder.mkdir(parents=True, exist_ok=True)
    (terraform.folder / "drift.tfplan").unlink()
    file = at.folder / "drift.md"
    if not found:
        file.unlink(missing_ok=True)
        return None
    said = report(found, title=f"Drift of {at.environment}, from the state to the account", limit=limit)
    file.write_text(said)
    return said


def validate(at: Desk) -> None:
    """Let Terraform check the synthesized JSON against the provider's schema, with no backend and no account.

    Raises:
        Failure: it does not fit.
    """
    with step(f"terraform validate of {at.environment}"):
        terraform = at.synthesize(backend=False)
        terraform.validate()


def digest_of_synthesis(stack: Path) -> str:
    """SHA-256 of the Terraform JSON and the packages, by name and content; Terraform's own files do not count."""
    total = hashlib.sha256()
    for file in sorted([stack / "cdk.tf.json", *(stack / "packages").rglob("*")]):
        if file.is_file():
            total.update(f"{file.relative_to(stack).as_posix()} {_digest(file)}\n".encode())
    return total.hexdigest()


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _write_privately(path: Path, text: str) -> None:
    """For what may hold secrets in the clear."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def main() -> None:
    """Do what the command line says for the environment that ENVIRONMENT names; DESTROY names what may be lost."""
    parser = argparse.ArgumentParser(prog="python -m tools.operate.plan", description=__doc__)
    parser.add_argument("command", choices=["plan", "apply", "drift", "validate"])
    parser.add_argument("--limit", type=int, default=GITHUB_LIMIT, help="bytes that the report may have")
    options = parser.parse_args()
    at = desk(os.environ.get("ENVIRONMENT") or "dev")
    if options.command == "plan":
        say(f"\n{make_plan(at, limit=options.limit)}")
        say(f"The plan is in {shown(at.folder)}. To apply it: make apply ENVIRONMENT={at.environment}")
    elif options.command == "validate":
        validate(at)
    elif options.command == "apply":
        say(f"\n{apply_plan(at, named_for(at.environment, os.environ.get('DESTROY', '').split()))}")
    elif (said := find_drift(at, limit=options.limit)) is not None:
        say(f"\n{said}")
        sys.exit(DRIFT)
    else:
        say("\nNo drift")


if __name__ == "__main__":
    exit_with(main)
