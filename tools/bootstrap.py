"""`make bootstrap ENVIRONMENT=NAME`: the bucket of the Terraform state, whose own state ends in it.

The first apply keeps its state in a file, since the bucket is not there yet; then the state moves into the bucket.
Interrupted anywhere, the next run goes on: the file is removed only once the state has moved.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from tools.console import Failure, exit_with, say, step
from tools.setup import BUILD
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
        variables: the environment's name as ENVIRONMENT, and what Terraform needs to reach AWS.

    Raises:
        Failure: AWS refuses a step; the next run takes it up again.
    """
    known = variables.get("STATE_KMS_KEY_ID") or os.environ.get("STATE_KMS_KEY_ID") or NO_KEY_YET
    stack = synthesize(folder, {**variables, "STATE_KMS_KEY_ID": known}, "state")
    state, override = stack / _STATE, stack / _OVERRIDE
    # An override file replaces the backend of the configuration (Terraform, "Override files").
    override.write_text(json.dumps({"terraform": {"backend": {"local": {"path": _STATE}}}}))
    terraform = Terraform(stack, variables)
    with step("bucket of the Terraform state") as progress:
        terraform.init()
        if terraform.plan(progress=progress):
            terraform.apply(progress=progress)
        key_id = terraform.outputs()["state_kms_key_id"]
        synthesize(folder, {**variables, "STATE_KMS_KEY_ID": key_id}, "state")
        override.unlink()
        terraform.init("-migrate-state", "-force-copy", reconfigure=False)
    for left in (state, stack / f"{_STATE}.backup"):
        left.unlink(missing_ok=True)
    return key_id


def main() -> None:
    """Bootstrap the environment that ENVIRONMENT names, with the AWS credentials of the caller."""
    environment = os.environ.get("ENVIRONMENT", "")
    if environment in {"", "local"}:
        raise Failure(
            "bootstrap",
            f"ENVIRONMENT={environment or '(unset)'} is no environment in an AWS account",
            "name one, for example: make bootstrap ENVIRONMENT=dev (`make up` bootstraps local itself)",
        )
    key_id = bootstrap(BUILD / "bootstrap" / environment, {"ENVIRONMENT": environment})
    say(f"\nThe state bucket is there. Write this into environments/{environment}.toml and commit it:")
    say(f'    state_kms_key_id = "{key_id}"')


if __name__ == "__main__":
    exit_with(main)
