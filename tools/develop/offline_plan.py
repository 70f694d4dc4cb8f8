"""The first plan of a stack without its AWS account, for judges and tests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tools.operate.terraform import Terraform

# Every request of the provider's goes to this proxy. Nothing listens there: a plan that asked AWS would fail.
_NOWHERE = "http://127.0.0.1:9"

# What the provider would ask AWS for before it plans (AWS provider, "Argument reference").
_ASKS_NOTHING = {
    "access_key": "none",
    "secret_key": "none",
    "http_proxy": _NOWHERE,
    "https_proxy": _NOWHERE,
    "max_retries": 1,
    "skip_credentials_validation": True,
    "skip_metadata_api_check": "true",
    "skip_region_validation": True,
    "skip_requesting_account_id": True,
}
# Arguments that need an answer of AWS's.
_ASKS_AWS = ("allowed_account_ids", "assume_role", "endpoints")


def offline_plan(stack: Path, folder: Path) -> dict[str, Any]:
    """Plan a stack as for an account that has none of it yet, with no account, credentials or network.

    Backend and access of the provider are replaced in a copy of the stack; resources, region and tags stay as they are.
    So the plan is the first one of its account, except for what only AWS can say: whether a name is taken, and who you
    are. A stack with a data source has no such plan.

    Args:
        stack: folder of a synthesized stack.
        folder: where the copy goes; it holds the plan as `plan.json` afterwards.

    Returns:
        The plan as Terraform's JSON ("JSON output format").

    Raises:
        Failure: Terraform refuses the stack, or the stack asks AWS something.
    """
    shutil.copytree(stack, folder, symlinks=True)
    path = folder / "cdk.tf.json"
    content = json.loads(path.read_text())
    content["terraform"]["backend"] = {"local": {}}
    for provider in content["provider"]["aws"]:
        for argument in _ASKS_AWS:
            provider.pop(argument, None)
        provider.update(_ASKS_NOTHING)
    path.write_text(json.dumps(content))
    terraform = Terraform(folder, {})
    terraform.init()
    terraform.plan("-refresh=false")
    plan = terraform.show()
    (folder / "plan.json").write_text(json.dumps(plan))
    return plan
