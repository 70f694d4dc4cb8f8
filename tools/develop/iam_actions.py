"""`python -m tools.develop.iam_actions`: writes the existing IAM actions of each service to stacks/actions.json.

With this file the guards find misspelt actions. It contains the services that policies of the stacks name. Its source
is parliament, which has a copy of AWS's Service Authorization Reference.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from synthesis.child_environment import child_environment
from synthesis.paths import ROOT
from tools.develop.setup import JUDGES, prepare
from tools.operate.console import exit_with, say

FILE = ROOT / "stacks" / "actions.json"

# Add a service here when a policy names it for the first time.
SERVICES = (
    "cloudwatch",
    "codedeploy",
    "cognito-idp",
    "dynamodb",
    "events",
    "execute-api",
    "guardduty",
    "kms",
    "lambda",
    "logs",
    "s3",
    "scheduler",
    "secretsmanager",
    "sns",
    "sqs",
    "ssm",
    "states",
    "sts",
    "xray",
)

_FOLDER = "import pathlib, warnings; warnings.simplefilter('ignore'); import parliament; print(parliament.__path__[0])"


def known_actions() -> dict[str, list[str]]:
    """Return the sorted actions of each of these services, from parliament."""
    prepare(JUDGES)
    command = [str(JUDGES.python), "-c", _FOLDER]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=True)
    definition = json.loads((Path(done.stdout.strip()) / "iam_definition.json").read_text())
    every = {service["prefix"]: service["privileges"] for service in definition}
    return {service: sorted({action["privilege"] for action in every[service]}) for service in SERVICES}


def written(actions: dict[str, list[str]]) -> str:
    """Return the content of the file: one line for each service, so that a diff shows what is new."""
    lines = ",\n".join(f"{json.dumps(service)}: {json.dumps(names)}" for service, names in actions.items())
    return f"{{\n{lines}\n}}\n"


def main() -> None:
    """Write the file."""
    actions = known_actions()
    FILE.write_text(written(actions))
    say(f"{FILE.relative_to(ROOT)}: {sum(map(len, actions.values()))} actions of {len(actions)} services")


if __name__ == "__main__":
    exit_with(main)
