"""Permissions of the deployer and the planner, as IAM policies: for a user or role, and for the embedded AWS.

Each construct declares what its deployer may do (`modules/deployer.py`); here the sum becomes policies. The embedded
AWS enforces them: Terraform runs there as a user who holds these policies and nothing else.
`make deployer-policies ENVIRONMENT=dev` prints them for an account of your own, and `make planner-policies` the part of
them that reads, for a role that plans and looks for drift.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

from modules.policy_documents import POLICY_VERSION, Statement
from modules.settings import Settings
from synthesis.child_environment import child_environment
from synthesis.components import DEFAULT
from synthesis.paths import ROOT
from tools.operate.account import add_component, read_settings
from tools.operate.console import Failure, exit_with

# IAM, "IAM and AWS STS quotas": characters of a managed policy, blanks apart.
POLICY_CHARACTERS = 6144
# Actions that read and change nothing, and the check of a definition that Terraform asks for when it plans. Actions
# that read objects and records are not among them.
_READS = re.compile(
    r"(?!s3:GetObject|dynamodb:GetItem)[a-z0-9-]+:(Get|List|Describe)\w*"
    r"|apigateway:GET|states:ValidateStateMachineDefinition"
)

# A statement in IAM's grammar.
_Json = dict[str, Any]


def deployer_policies(settings: Settings, component: str = DEFAULT) -> list[str]:
    """Return the policy documents for the deployer of one environment, each within the size of a managed policy.

    Raises:
        Failure: the component cannot be synthesized with these settings.
    """
    return _documents(_deployer_statements(settings, component))


@cache
def _deployer_statements(settings: Settings, component: str) -> Sequence[_Json]:
    """Return what the constructs of a component declare, from a process of its own."""
    # While copies are removed, their constructs are gone, and the deployer still has to be allowed to delete them.
    settings = settings.model_copy(update={"replica_removed": False})
    # Variables that are settings would win over the settings that are passed.
    variables = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
    done = subprocess.run(
        [sys.executable, "-m", "synthesis.deployer_statements", component],
        cwd=ROOT,
        env=child_environment(machine=variables),
        input=settings.model_dump_json(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no output"]
        remedy = "mend it and run the same command again"
        raise Failure(f"adding up what {component} needs", lines[-1].removeprefix("error: "), remedy)
    found: list[_Json] = json.loads(done.stdout)
    return found


def _documents(statements: Sequence[_Json]) -> list[str]:
    """Return statements as policy documents; each goes into the first document that has room for it."""
    documents: list[list[_Json]] = []
    for statement in statements:
        for document in documents:
            if len(_document([*document, statement]).replace(" ", "")) <= POLICY_CHARACTERS:
                document.append(statement)
                break
        else:
            documents.append([statement])
    return [_document(document) for document in documents]


def _document(statements: Sequence[_Json]) -> str:
    return json.dumps({"Version": POLICY_VERSION, "Statement": list(statements)})


def planner_policies(settings: Settings, component: str = DEFAULT) -> list[str]:
    """Return the policy documents for a planner of one environment, who changes nothing.

    They are the part of the deployer's that reads, so that a deployer may also plan, and there is only one list. A
    planner reads the state, and so the secrets in it; it reads no file, record or message.
    """
    reading = [_reading(statement) for statement in _deployer_statements(settings, component)]
    here = f"{settings.primary_region}:{settings.account_id}"
    own = [
        Statement(
            sid="ReadState",
            actions=["s3:GetObject", "s3:GetObjectVersion"],
            resources=[f"arn:aws:s3:::{settings.state_bucket_name}/*"],
        ),
        Statement(
            sid="DecryptVariables",
            actions=["kms:Decrypt"],
            # A key's id is not known before it is made.
            resources=[f"arn:aws:kms:{here}:key/*"],
            conditions={"StringEquals": {"kms:ViaService": f"lambda.{settings.primary_region}.amazonaws.com"}},
        ),
        Statement(
            sid="DecryptState",
            actions=["kms:Decrypt"],
            resources=[settings.state_key_arn if settings.state_kms_key_id else f"arn:aws:kms:{here}:key/*"],
            # IAM names a key by its ARN; this condition selects the key with the alias ("kms:ResourceAliases").
            conditions={}
            if settings.state_kms_key_id
            else {"ForAnyValue:StringEquals": {"kms:ResourceAliases": settings.state_key_alias}},
        ),
    ]
    if component == DEFAULT and settings.enable_website:
        own += _read_page(settings)
    return _documents([*(each for each in reading if each["Action"]), *(statement.to_json() for statement in own)])


def _read_page(settings: Settings) -> list[Statement]:
    """Return what a plan needs to compare the objects of the page, which holds no secret."""
    alias = f"alias/{settings.prefix}-website"
    return [
        Statement(
            sid="ReadPage",
            actions=["s3:GetObject", "s3:GetObjectTagging"],
            resources=[f"arn:aws:s3:::{settings.foundation.bucket_name('website')}/*"],
        ),
        # S3, "HeadObject: Permissions": the provider asks for checksums.
        Statement(
            sid="DecryptPage",
            actions=["kms:Decrypt"],
            resources=[settings.foundation.arn("kms", "key/*")],
            conditions={"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}},
        ),
    ]


def _reading(statement: _Json) -> _Json:
    """Return a statement of the deployer's with only its actions that read; there may be none."""
    actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
    reads = [action for action in actions if _READS.fullmatch(action)]
    sid = re.sub("^Keep", "Read", statement["Sid"])
    return {**statement, "Sid": sid, "Action": reads[0] if len(reads) == 1 else reads}


# What GitHub's identity provider has to be called in the account (GitHub, "Configuring OpenID Connect in AWS").
GITHUB = "token.actions.githubusercontent.com"


def trust_policy(settings: Settings, repository: str, *, plans: bool) -> str:
    """Return the trust policy for jobs of one repository on GitHub, which need no access key.

    The planner's is for pull requests and for `main`, the deployer's for jobs that GitHub let into the environment of
    this name, which it does after the approval that is asked for there.

    Args:
        repository: `owner/name`.
    """
    subjects = (
        [f"repo:{repository}:pull_request", f"repo:{repository}:ref:refs/heads/main"]
        if plans
        else f"repo:{repository}:environment:{settings.environment}"
    )
    statement = {
        "Sid": "JobsTakeRole",
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::{settings.account_id}:oidc-provider/{GITHUB}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{GITHUB}:aud": "sts.amazonaws.com", f"{GITHUB}:sub": subjects}},
    }
    return json.dumps({"Version": POLICY_VERSION, "Statement": [statement]})


def main() -> None:
    """Print the policies of a component of the environment that ENVIRONMENT names."""
    parser = argparse.ArgumentParser(prog="python -m tools.operate.policies", description=__doc__)
    parser.add_argument("--planner", action="store_true", help="for a role that only plans")
    add_component(parser)
    parser.add_argument("--repository", help="owner/name on GitHub; prints the trust policy first")
    options = parser.parse_args()
    settings = read_settings()
    trust = [trust_policy(settings, options.repository, plans=options.planner)] if options.repository else []
    policies = planner_policies if options.planner else deployer_policies
    for policy in [*trust, *policies(settings, options.component)]:
        print(json.dumps(json.loads(policy), indent=2))


if __name__ == "__main__":
    exit_with(main)
