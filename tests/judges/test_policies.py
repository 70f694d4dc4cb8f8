"""parliament on every policy document: of the Terraform JSON, of the plans, and of whoever deploys."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest

from tests.judges.conftest import Plan, Stack
from tools.develop import iam_actions as actions
from tools.develop import judges
from tools.develop.judges import JudgeFinding
from tools.operate.policies import deployer_policies, planner_policies

_HERE = "us-east-1:111111111111"


def judged(documents: dict[str, dict[str, str]]) -> tuple[int, dict[str, list[JudgeFinding]]]:
    """How many documents parliament judged, and what it found by environment, in one run over all of them.

    Args:
        documents: by environment and project, with a space between.
    """
    named = {
        f"{where} {name}": judges.for_parliament(name, document)
        for where, every in documents.items()
        for name, document in every.items()
    }
    verdict = judges.parliament(named)
    findings: dict[str, list[JudgeFinding]] = defaultdict(list)
    for finding in verdict.findings:
        environment, _, name = finding.address.split(" ", 2)
        findings[environment].append(JudgeFinding(finding.check, name, finding.says))
    return len({*verdict.passed, *(finding.address for finding in verdict.findings)}), findings


def test_every_document_is_right_or_accepted(stacks: list[Stack]) -> None:
    documents: dict[str, dict[str, str]] = defaultdict(dict)
    written = 0
    for stack in stacks:
        content = stack.json
        for name, document in judges.policies(content["resource"]).items():
            documents[f"{stack.environment} {stack.name}"][name] = judges.resolved(document, content)
        written += stack.file.read_text().count(r"{\"Version\": \"2012-10-17\"")
        if not stack.whole:
            continue
        deployer, planner = deployer_policies(stack.settings), planner_policies(stack.settings)
        for who, policies in (("deployer", deployer), ("planner", planner)):
            for number, document in enumerate(policies):
                documents[f"{stack.environment} {stack.name}"][f"{who}:{number}"] = document
                written += 1
    count, findings = judged(documents)
    assert count == written
    wrong = judges.complaints(findings, judges.accepted("parliament"))
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_what_the_plan_knows_is_right_too(plans: list[Plan]) -> None:
    """Terraform has put these together itself; the others hold what only AWS can say, and the plan says so of each."""
    documents: dict[str, dict[str, str]] = defaultdict(dict)
    for plan in plans:
        known = judges.policies(judges.planned(plan.json))
        unknown = {
            f"{change['address']}:{argument}"
            for change in plan.json["resource_changes"]
            for argument, is_unknown in change["change"]["after_unknown"].items()
            if is_unknown is True
        }
        assert set(judges.policies(plan.stack.json["resource"])) - set(known) <= unknown
        assert known
        documents[f"{plan.stack.environment} {plan.stack.name}"] |= known
    count, findings = judged(documents)
    assert count == sum(map(len, documents.values()))
    entries = judges.accepted("parliament")
    assert [line for line in judges.complaints(findings, entries) if "no more" not in line] == []


@pytest.mark.parametrize(
    ("action", "resource", "check"),
    [
        ("*", "*", "PRIVILEGE_ESCALATION"),
        ("s3:*", "*", "RESOURCE_STAR"),
        ("s3:PutObjekt", "arn:aws:s3:::bucket/*", "UNKNOWN_ACTION"),
        ("s3:PutObject", "arn:aws:s3:::bucket", "RESOURCE_MISMATCH"),
        ("sqs:SendMessage", f"arn:aws:sns:{_HERE}:topic", "RESOURCE_MISMATCH"),
        ("s3:PutObject", "bucket/*", "INVALID_ARN"),
    ],
)
def test_it_sees_a_wrong_policy(action: str, resource: str, check: str) -> None:
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}],
    }
    verdict = judges.parliament({"wrong": json.dumps(document)})
    assert check in {finding.check for finding in verdict.findings}


def test_a_trust_policy_is_judged_too() -> None:
    statement = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRoll"}
    name = "aws_iam_role.upload_role:assume_role_policy"
    document = judges.for_parliament(name, json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    (finding,) = judges.parliament({name: document}).findings
    assert finding.check == "UNKNOWN_ACTION"


def test_the_guards_know_the_actions_that_parliament_knows() -> None:
    assert actions.FILE.read_text() == actions.written(actions.known_actions())
