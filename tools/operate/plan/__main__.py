"""`make plan`, `make apply`, `make drift`: a plan that people review, and the apply of exactly that plan.

The files of a plan are in `.build/plans/ENVIRONMENT/PROJECT/COMPONENT`: `tfplan`, `plan.json`, `report.md` and
`reviewed.json`, which binds the plan file to the Terraform JSON and the packages it was made of. To apply a plan on
another machine, copy that folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from modules.settings import Settings
from synthesis.components import DEFAULT
from synthesis.paths import BUILD
from tools.operate.account import add_component, options_of, read_settings
from tools.operate.console import Failure, exit_with, say, shown, step
from tools.operate.plan.read import read_drift, read_plan
from tools.operate.plan.report import GITHUB_LIMIT, report
from tools.operate.plan.risk import named_for, refuse_loss
from tools.operate.synthesize import synthesize, terraform_json
from tools.operate.terraform import Changes, Terraform

PLANS = BUILD / "plans"
DRIFT = 2
# A plan writes no state, and Terraform refuses to apply a stale plan. Without a lock, a role that only reads can plan.
_NO_LOCK = "-lock=false"


@dataclass(frozen=True)
class Target:
    """A component of an environment, and the folders of its plan.

    Attributes:
        environment: name of the environment.
        component: name of the component.
        folder: files that a plan consists of, from the review to the apply.
        work: output of the synthesis, where Terraform runs.
    """

    environment: str
    component: str
    folder: Path
    work: Path

    @property
    def title(self) -> str:
        """Name for messages and reports: the environment's, with the component unless it is the default one."""
        return self.environment if self.component == DEFAULT else f"{self.component} in {self.environment}"

    @property
    def plan_file(self) -> Path:
        """Terraform's plan."""
        return self.folder / "tfplan"

    @property
    def record(self) -> Path:
        """Digests of the plan, and of the Terraform JSON and packages that it was made of."""
        return self.folder / "reviewed.json"

    def command(self, verb: str) -> str:
        """Return the make command for this target, for messages."""
        return f"make {verb} ENVIRONMENT={self.environment}{options_of(self.component)}"

    def synthesize(self, *, backend: bool = True) -> Terraform:
        """Synthesize the component, and return Terraform, initialised in its folder.

        Args:
            backend: whether Terraform uses the state of the component.

        Raises:
            Failure: a setting is wrong, or the backend is out of reach.
        """
        with step(f"synthesis of {self.title}"):
            stack = synthesize(self.work, {"ENVIRONMENT": self.environment}, self.component)
            terraform = Terraform(stack, {})
            if not backend:
                # Terraform would ask for the backend that an earlier run has recorded here.
                (stack / ".terraform" / "terraform.tfstate").unlink(missing_ok=True)
            terraform.init(*([] if backend else ["-backend=false"]))
        return terraform


def target_of(settings: Settings, component: str, plans: Path = PLANS) -> Target:
    """Return the target of a component. Each environment, project and component has folders of its own."""
    project = plans / settings.environment / settings.project_name
    return Target(settings.environment, component, project / component, project / f"{component}.cdktf.out")


def make_plan(target: Target, *, limit: int = GITHUB_LIMIT) -> str:
    """Plan a component, write plan, JSON and report into its folder, and return the report.

    Args:
        limit: bytes that the report may have.

    Raises:
        Failure: synthesis, Terraform or AWS refuses.
    """
    terraform = target.synthesize()
    target.folder.mkdir(parents=True, exist_ok=True)
    with step("terraform plan") as progress:
        terraform.plan(_NO_LOCK, to=str(target.plan_file), progress=progress)
    target.plan_file.chmod(0o600)
    content = terraform.show(str(target.plan_file))
    configuration = terraform_json(terraform.folder)
    said = report(read_plan(content, configuration), title=f"Plan of {target.title}", limit=limit)
    _write_privately(target.folder / "plan.json", json.dumps(content))
    (target.folder / "report.md").write_text(said)
    record = {"plan": _digest(target.plan_file), "synthesis": digest_of_synthesis(terraform.folder)}
    target.record.write_text(json.dumps(record, indent=2) + "\n")
    return said


def apply_plan(target: Target, named: list[str]) -> str:
    """Apply the plan that `make_plan` wrote, and nothing else; return the numbers of changes as text.

    Args:
        named: addresses that hold data and may be destroyed.

    Raises:
        Failure: there is no plan, it was made of other code, it destroys data at an address that is not in `named`,
            the state has changed since, or AWS refuses.
    """
    again = target.command("plan")
    if not target.record.is_file() or not target.plan_file.is_file():
        raise Failure("apply", f"there is no plan of {target.title}", f"make one and read it: {again}")
    record = json.loads(target.record.read_text())
    if record["plan"] != _digest(target.plan_file):
        raise Failure("apply", "the plan file is not the one that was reported", f"make another one: {again}")
    terraform = target.synthesize()
    if record["synthesis"] != digest_of_synthesis(terraform.folder):
        raise Failure(
            "apply",
            "the code or the settings are no longer those of the plan that was reviewed",
            f"make another one, and have it reviewed: {again}",
        )
    plan = read_plan(terraform.show(str(target.plan_file)))
    refuse_loss(plan, named, again=f'{target.command("apply")} DESTROY="{{}}"')
    changes = Changes()
    if plan:
        with step("terraform apply") as progress:
            changes = terraform.apply(str(target.plan_file), progress=progress)
    with step("reading back what AWS has now") as progress:
        terraform.read_back(progress)
    return str(changes)


def find_drift(target: Target, *, limit: int = GITHUB_LIMIT) -> str | None:
    """Return a report of the differences between the state and the account; None if there are none.

    It is a plan in refresh-only mode, since a normal plan also contains the changes that the code wants. They are read
    from its JSON: with -detailed-exitcode, Terraform exits with 2 in this mode even if there are none.

    Raises:
        Failure: synthesis, Terraform or AWS refuses.
    """
    terraform = target.synthesize()
    with step("reading what AWS has") as progress:
        terraform.plan("-refresh-only", _NO_LOCK, to="drift.tfplan", progress=progress)
    configuration = terraform_json(terraform.folder)
    found = read_drift(terraform.show("drift.tfplan"), configuration)
    target.folder.mkdir(parents=True, exist_ok=True)
    (terraform.folder / "drift.tfplan").unlink()
    file = target.folder / "drift.md"
    if not found:
        file.unlink(missing_ok=True)
        return None
    said = report(found, title=f"Drift of {target.title}, from the state to the account", limit=limit)
    file.write_text(said)
    return said


def validate(target: Target) -> None:
    """Let Terraform check the synthesized JSON against the provider's schema, with no backend and no account.

    Raises:
        Failure: it does not fit.
    """
    with step(f"terraform validate of {target.title}"):
        terraform = target.synthesize(backend=False)
        terraform.validate()


def digest_of_synthesis(stack: Path) -> str:
    """Return a SHA-256 of the names and contents of the Terraform JSON and the packages, without Terraform's files."""
    total = hashlib.sha256()
    for file in sorted([stack / "cdk.tf.json", *(stack / "packages").rglob("*")]):
        if file.is_file():
            total.update(f"{file.relative_to(stack).as_posix()} {_digest(file)}\n".encode())
    return total.hexdigest()


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _write_privately(path: Path, text: str) -> None:
    """Write a file that only its owner can read, since it may contain secrets in the clear."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def main() -> None:
    """Run a command for a component of the environment ENVIRONMENT; DESTROY has the addresses that may be destroyed."""
    parser = argparse.ArgumentParser(prog="python -m tools.operate.plan", description=__doc__)
    parser.add_argument("command", choices=["plan", "apply", "drift", "validate"])
    parser.add_argument("--limit", type=int, default=GITHUB_LIMIT, help="bytes that the report may have")
    add_component(parser)
    options = parser.parse_args()
    target = target_of(read_settings(), options.component)
    if options.command == "plan":
        say(f"\n{make_plan(target, limit=options.limit)}")
        say(f"The plan is in {shown(target.folder)}. To apply it: {target.command('apply')}")
    elif options.command == "validate":
        validate(target)
    elif options.command == "apply":
        say(f"\n{apply_plan(target, named_for(target.environment, os.environ.get('DESTROY', '').split()))}")
    elif (said := find_drift(target, limit=options.limit)) is not None:
        say(f"\n{said}")
        sys.exit(DRIFT)
    else:
        say("\nNo drift")


if __name__ == "__main__":
    exit_with(main)
