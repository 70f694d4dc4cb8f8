"""`make bootstrap ENVIRONMENT=NAME`: the bucket of the Terraform state, whose own state ends in it.

The first apply keeps its state in a file, since the bucket is not there yet; then the state moves into the bucket.
Interrupted anywhere, the next run goes on: the file is removed only once the state has moved.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from modules.settings import SettingsError, load
from tools.console import Failure, exit_with, say, step
from tools.setup import BUILD, ROOT
from tools.synthesis import synthesize
from tools.terraform import Terraform

# Stands in the settings until there is a key. Nothing is encrypted with it: the backend that names it is set aside.
NO_KEY_YET = "00000000-0000-0000-0000-000000000000"

_OVERRIDE = "backend_override.tf.json"
_STATE = "bootstrap.tfstate"


def bootstrap(folder: Path, variables: Mapping[str, str]) -> str:
    """Make the state bucket of an environment unless it is there, and return the id of its key.

    Args:
        folder: where to synthesize; keeps the state until it has moved.
        variables: the environment's name as ENVIRONMENT, what Terraform needs to reach AWS, and STATE_KMS_KEY_ID where
            it is known.

    Raises:
        Failure: AWS refuses a step; the next run takes it up again.
    """
    known = {} if "STATE_KMS_KEY_ID" in variables else {"STATE_KMS_KEY_ID": NO_KEY_YET}
    stack = synthesize(folder, {**known, **variables}, "state")
    state, override = stack / _STATE, stack / _OVERRIDE
    terraform = Terraform(stack, variables)
    with step("bucket of the Terraform state") as progress:
        if known or state.exists() or not _is_there(terraform):
            # An override file replaces the backend of the configuration (Terraform, "Override files").
            override.write_text(json.dumps({"terraform": {"backend": {"local": {"path": _STATE}}}}))
            terraform.init()
        if terraform.plan(progress=progress):
            terraform.apply(progress=progress)
        key_id = terraform.outputs()["state_kms_key_id"]
        if override.exists():
            synthesize(folder, {**variables, "STATE_KMS_KEY_ID": key_id}, "state")
            override.unlink()
            terraform.init("-migrate-state", "-force-copy", reconfigure=False)
    for left in (state, stack / f"{_STATE}.backup"):
        left.unlink(missing_ok=True)
    return key_id


def _is_there(terraform: Terraform) -> bool:
    """Whether the bucket exists, so that its own state is in it."""
    try:
        terraform.init()
    except Failure as failure:
        if "bucket" in failure.cause.lower():
            return False
        raise
    return True


def main() -> None:
    """Bootstrap the environment that ENVIRONMENT names, with the AWS credentials of the caller."""
    environment = os.environ.get("ENVIRONMENT", "")
    if environment in {"", "local"}:
        raise Failure(
            "bootstrap",
            f"ENVIRONMENT={environment or '(unset)'} is no environment in an AWS account",
            "name one, for example: make bootstrap ENVIRONMENT=dev (`make up` bootstraps local itself)",
        )
    try:
        known = load(ROOT / "environments").state_kms_key_id
    except SettingsError as error:
        raise Failure("reading the settings", str(error), "mend it and run the same command again") from None
    variables = {"ENVIRONMENT": environment, **({"STATE_KMS_KEY_ID": known} if known else {})}
    key_id = bootstrap(BUILD / "bootstrap" / environment, variables)
    if key_id == known:
        say("\nThe state bucket is there, and the settings name its key.")
    else:
        say(f"\nThe state bucket is there. Write this into environments/{environment}.toml and commit it:")
        say(f'    state_kms_key_id = "{key_id}"')


if __name__ == "__main__":
    exit_with(main)
