"""`python -m tools.actions`: writes the actions that exist, by service, to stacks/actions.json.

The guards know a misspelt action by that file. It holds the services that policies of the stacks name, and comes from
parliament, which takes it from AWS's Service Authorization Reference.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tools.console import exit_with, say
from tools.environment import child_environment
from tools.setup import JUDGES, ROOT, prepare

FILE = ROOT / "stacks" / "actions.json"

# A service that is new in a policy goes in here.
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
    """The actions of each of these services, sorted, as parliament knows them."""
    prepare(JUDGES)
    command = [str(JUDGES.python), "-c", _FOLDER]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=True)
    definition = json.loads((Path(done.stdout.strip()) / "iam_definition.json").read_text())
    every = {service["prefix"]: service["privileges"] for service in definition}
    return {service: sorted({action["privilege"] for action in every[service]}) for service in SERVICES}


def written(actions: dict[str, list[str]]) -> str:
    """The content of the file: a line a service, so that a difference shows what is new."""
    lines = ",\n".join(f"{json.dumps(service)}: {json.dumps(names)}" for service, names in actions.items())
    return f"{{\n{lines}\n}}\n"


def main() -> None:
    """Write the file."""
    actions = known_actions()
    FILE.write_text(written(actions))
    say(f"{FILE.relative_to(ROOT)}: {sum(map(len, actions.values()))} actions of {len(actions)} services")


if __name__ == "__main__":
    exit_with(main)
