"""Independent checkers of what is deployed: each is a separate program in its own environment.

A judge gets Terraform JSON, a plan, or documents that are in them, and gives a verdict: how much it judged, and what
it found. The environments are made when a judge is first called; asl-validator comes with `make cdktf`.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from stacks.terraform_json import parsed
from synthesis.child_environment import child_environment
from synthesis.paths import ROOT
from tools.develop.setup import CHECKOV, JUDGES, Environment, prepare
from tools.operate.console import Failure

ASL_VALIDATOR = ROOT / "node_modules" / ".bin" / "asl-validator"
HOUSE_RULES = ROOT / "judges" / "features"
EXCEPTIONS = ROOT / "judges" / "exceptions.toml"

# Resources as Terraform's JSON has them: kind to name to arguments.
Resources = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class JudgeFinding:
    """A finding of a judge about a resource.

    Attributes:
        check: the judge's id or name of the rule.
        address: Terraform address of the resource.
        says: the judge's words.
    """

    check: str
    address: str
    says: str

    def __str__(self) -> str:
        return f"{self.check} {self.address}: {self.says}"


@dataclass(frozen=True)
class Verdict:
    """The result of a judge.

    Attributes:
        passed: what was found right, by whatever the judge counts: addresses for checkov, with one entry for each
            check that passed; names of documents or scenarios for others.
        findings: what was not.
        skipped: what the judge left out, because nothing it is about was there.
    """

    passed: tuple[str, ...]
    findings: tuple[JudgeFinding, ...]
    skipped: tuple[str, ...] = ()


def checkov(file: Path, framework: Literal["terraform_json", "terraform_plan"]) -> Verdict:
    """Let checkov judge the Terraform JSON of a stack, or a plan in JSON.

    Raises:
        Failure: it could not read the file, which it does not say by its exit code.
    """
    content = json.loads(file.read_text())
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / ("cdk.tf.json" if framework == "terraform_json" else "plan.json")
        if framework == "terraform_json":
            # checkov takes every entry of the block `terraform` for a block, stumbles over a plain value, and then
            # reports no finding, since it has read nothing.
            content["terraform"].pop("required_version", None)
        copy.write_text(json.dumps(content, indent=1))
        arguments = ["--framework", framework, "--file", copy, "--output", "json", "--compact", "--skip-download"]
        said = _run([CHECKOV.path / "bin" / "checkov", *arguments], CHECKOV, home=Path(folder)).stdout
    report = json.loads(said)
    if "results" not in report or report["summary"]["parsing_errors"]:
        raise Failure("checkov", f"it could not read {file}", "see whether its parser knows this Terraform JSON")
    # In Terraform JSON some of its checks name a resource without its kind; but names are unique in a stack.
    kinds = {name: kind for kind, named in content.get("resource", {}).items() for name in named}

    def address(check: Mapping[str, Any]) -> str:
        kind, _, name = str(check["resource"]).partition(".")
        return f"{kinds[name]}.{name}" if kind == "resource" and name in kinds else f"{kind}.{name}"

    return Verdict(
        tuple(address(check) for check in report["results"]["passed_checks"]),
        tuple(
            JudgeFinding(check["check_id"], address(check), check["check_name"])
            for check in report["results"]["failed_checks"]
        ),
    )


def parliament(documents: Mapping[str, str]) -> Verdict:
    """Let parliament judge policy documents by name, each an address, a colon and an argument.

    It knows every action, resource type and condition key of AWS, but only policies of identities: others go through
    `for_parliament` first.
    """
    runner = ROOT / "tools" / "develop" / "parliament_findings.py"
    done = _run([JUDGES.python, runner], given=json.dumps(dict(documents)))
    if done.returncode:
        raise Failure("parliament", done.stderr.strip().splitlines()[-1], "see what it cannot read")
    found: dict[str, list[dict[str, str]]] = json.loads(done.stdout)
    return Verdict(
        tuple(name for name, findings in found.items() if not findings),
        tuple(
            JudgeFinding(finding["check"], name, finding["says"])
            for name, findings in found.items()
            for finding in findings
        ),
    )


def for_parliament(name: str, document: str) -> str:
    """Return the policy of a resource with the implied resource added, so that parliament can judge it.

    A trust policy names no resource: it is the role (IAM, "How to use trust policies"). In a key policy `*` is the key
    (KMS, "Key policies"). Sample ARNs do, since parliament looks at types of resources.
    """
    content = json.loads(document)
    for statement in content["Statement"]:
        if name.endswith(":assume_role_policy"):
            statement.setdefault("Resource", "arn:aws:iam::111111111111:role/sample")
        elif name.startswith("aws_kms_key.") and statement.get("Resource") == "*":
            statement["Resource"] = f"arn:aws:kms:us-east-1:111111111111:key/{_KEY_ID}"
    return json.dumps(content)


def statelint(documents: Mapping[str, str]) -> Verdict:
    """Let statelint judge state machines by name: transitions, fields, and the order of retriers and catchers."""
    return _judge_files(documents, "statelint", [JUDGES.path / "bin" / "statelint"])


def asl_validator(documents: Mapping[str, str]) -> Verdict:
    """Let asl-validator judge state machines by name: the schema of each state, resources, paths and JSONata.

    Raises:
        Failure: it is not installed.
    """
    if not ASL_VALIDATOR.is_file():
        raise Failure("asl-validator", "it is not in node_modules", "run `make cdktf`, which installs it")
    return _judge_files(documents, "asl-validator", [ASL_VALIDATOR, "--json-path"])


def _judge_files(documents: Mapping[str, str], judge: str, command: Sequence[str | Path]) -> Verdict:
    """Call a judge that takes one file: it ends with 0, or prints a title and a line for each thing it found."""
    passed, findings = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, document in documents.items():
            file = Path(folder) / "definition.asl.json"
            file.write_text(document)
            done = _run([*command, file])
            if not done.returncode:
                passed.append(name)
                continue
            lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            findings += [JudgeFinding(judge, name, line) for line in lines[1:] or lines]
    return Verdict(tuple(passed), tuple(findings))


def terraform_compliance(plan: Path, features: Path = HOUSE_RULES) -> Verdict:
    """Judge a plan in JSON by the scenarios of a folder.

    A scenario has passed when every step of it has; one that finds nothing to look at is skipped.

    Raises:
        Failure: terraform-compliance reported nothing.
    """
    passed, findings, skipped = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        # Its report for JUnit ascribes a skipped scenario to the one before it.
        report = Path(folder) / "report.json"
        program = JUDGES.path / "bin" / "terraform-compliance"
        done = _run([program, "--features", features, "--planfile", plan, "--cucumber-json", report, "--no-ansi"])
        if not report.is_file():
            last = (done.stdout + done.stderr).strip().splitlines()[-1]
            raise Failure("terraform-compliance", last, "see whether it reads the features and the plan")
        for feature in json.loads(report.read_text()):
            for scenario in feature["elements"]:
                title = f"{feature['name']}: {scenario['name']}"
                results = [step["result"] for step in scenario["steps"]]
                if any(result["status"] == "failed" for result in results):
                    said = " ".join(str(result.get("error_message", "")) for result in results)
                    findings.append(JudgeFinding(title, plan.name, " ".join(said.split())))
                elif all(result["status"] == "passed" for result in results):
                    passed.append(title)
                else:
                    skipped.append(title)
    return Verdict(tuple(passed), tuple(findings), tuple(skipped))


def _run(
    command: Sequence[str | Path], environment: Environment = JUDGES, *, given: str = "", home: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a judge, once its environment is made."""
    prepare(environment)
    return subprocess.run(
        [str(word) for word in command],
        input=given,
        cwd=home,
        # A configuration in somebody's home would make another verdict on every machine.
        env=child_environment({"HOME": str(home)} if home else {}),
        capture_output=True,
        text=True,
        check=False,
    )


# What is accepted, and why


@dataclass(frozen=True)
class Accepted:
    """An accepted finding, with the reason.

    Attributes:
        check: the judge's id of the rule.
        address: pattern of addresses, as the shell matches file names.
        reason: why it stays.
        environments: where it is so; empty for all of them.
        says: pattern of the judge's words, for a rule that says several things.
    """

    check: str
    address: str
    reason: str
    environments: tuple[str, ...] = ()
    says: str = "*"

    def covers(self, finding: JudgeFinding, environment: str) -> bool:
        """Return whether this entry is about a finding."""
        return (
            finding.check == self.check
            and fnmatchcase(finding.address, self.address)
            and fnmatchcase(finding.says, self.says)
            and (not self.environments or environment in self.environments)
        )


def accepted(judge: str, file: Path = EXCEPTIONS) -> list[Accepted]:
    """Return the accepted findings of a judge.

    Raises:
        Failure: an entry has no reason, or something that no entry has.
    """
    entries = []
    for entry in tomllib.loads(file.read_text()).get(judge, []):
        try:
            entries.append(Accepted(**{**entry, "environments": tuple(entry.get("environments", ()))}))
        except TypeError as error:
            raise Failure(f"reading {file.name}", f"{judge}: {entry}: {error}", "see the head of the file") from None
        if len(entries[-1].reason.split()) < 4:
            raise Failure(f"reading {file.name}", f"{judge}: {entry}: no reason", "say why it stays")
    return entries


def complaints(findings: Mapping[str, Sequence[JudgeFinding]], entries: Sequence[Accepted]) -> list[str]:
    """Return findings that are not accepted, and accepted entries without a finding, each as a line.

    Args:
        findings: every finding of a judge, by environment.
    """
    wrong = [
        f"{environment}: {finding}"
        for environment, found in findings.items()
        for finding in found
        if not any(entry.covers(finding, environment) for entry in entries)
    ]
    for entry in entries:
        for environment in entry.environments or [None]:
            named = findings if environment is None else {environment: findings.get(environment, ())}
            if not any(entry.covers(finding, name) for name, found in named.items() for finding in found):
                wrong.append(
                    f"accepted, and found no more: {entry.check} {entry.address} ({environment or 'anywhere'})"
                )
    return sorted(set(wrong))


# Documents in Terraform JSON, plans and states


def policies(resources: Resources) -> dict[str, str]:
    """Return every policy document in some resources, by address, colon and argument."""
    return dict(_documents(resources, lambda content: "Statement" in content))


def state_machines(resources: Resources) -> dict[str, str]:
    """Return every definition of a state machine in some resources, by address, colon and argument."""
    return dict(_documents(resources, lambda content: "StartAt" in content))


def planned(plan: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the resources of a plan's JSON with the values that Terraform knows before the apply."""
    found: dict[str, dict[str, Any]] = {}
    for resource in plan["planned_values"]["root_module"]["resources"]:
        found.setdefault(resource["type"], {})[resource["name"]] = resource.get("values", {})
    return found


def _documents(resources: Resources, wanted: Callable[[Any], bool]) -> Iterator[tuple[str, str]]:
    for kind, named in resources.items():
        for name, body in named.items():
            for argument, value in body.items():
                content = parsed(value)
                if isinstance(content, dict) and wanted(content):
                    yield f"{kind}.{name}:{argument}", value


_KEY_ID = "00000000-0000-0000-0000-000000000000"
_REFERENCE = re.compile(r"(?<!\$)\$\{([a-z0-9_]+)\.([a-z0-9_]+)\.([a-z0-9_]+)\}")
# ARN formats of the kinds that documents refer to, over a resource's arguments (AWS, Service Authorization Reference).
ARNS = {
    "aws_api_gateway_rest_api": "arn:aws:execute-api:{here}:abcdefghij",
    "aws_cloudfront_distribution": "arn:aws:cloudfront::{account}:distribution/EABCDEFGHIJKLM",
    "aws_cloudwatch_event_rule": "arn:aws:events:{here}:rule/{name}",
    "aws_cloudwatch_log_group": "arn:aws:logs:{here}:log-group:{name}",
    "aws_cloudwatch_metric_alarm": "arn:aws:cloudwatch:{here}:alarm:{alarm_name}",
    "aws_cognito_user_pool": "arn:aws:cognito-idp:{here}:userpool/us-east-1_abcdefghi",
    "aws_dynamodb_table": "arn:aws:dynamodb:{here}:table/{name}",
    "aws_iam_role": "arn:aws:iam::{account}:role/{name}",
    "aws_kms_key": "arn:aws:kms:{here}:key/" + _KEY_ID,
    "aws_lambda_alias": "arn:aws:lambda:{here}:function:{function_name}:{name}",
    "aws_lambda_function": "arn:aws:lambda:{here}:function:{function_name}",
    "aws_s3_bucket": "arn:aws:s3:::{bucket}",
    "aws_scheduler_schedule": "arn:aws:scheduler:{here}:schedule/default/{name}",
    "aws_secretsmanager_secret": "arn:aws:secretsmanager:{here}:secret:{name_prefix}1-abcdef",
    "aws_sfn_state_machine": "arn:aws:states:{here}:stateMachine:{name}",
    "aws_sns_topic": "arn:aws:sns:{here}:{name}",
    "aws_sqs_queue": "arn:aws:sqs:{here}:{name}",
}


def resolved(text: str, stack: Mapping[str, Any]) -> str:
    """Return a document of a stack's Terraform JSON with samples for its references, as AWS would see it.

    Raises:
        Failure: there is no sample for a reference; a document with a hole would be judged wrongly.
    """
    providers = {
        f"aws.{each['alias']}" if "alias" in each else "aws": (each["region"], each["allowed_account_ids"][0])
        for each in stack["provider"]["aws"]
    }

    def sample(match: re.Match[str]) -> str:
        kind, name, attribute = match.groups()
        body = stack["resource"].get(kind, {}).get(name, {})
        if attribute.endswith("arn") and kind in ARNS:
            region, account = providers[body.get("provider", "aws")]
            sample = ARNS[kind].format(**{**body, "here": f"{region}:{account}", "account": account})
            return resolved(sample, stack)
        if isinstance(body.get(attribute), str):
            return resolved(body[attribute], stack)
        raise Failure("a judge", f"there is no sample for {match[0]}", "add its kind to ARNS in judges.py")

    done = _REFERENCE.sub(sample, text)
    if hole := re.search(r"(?<!\$)\$\{[^}]*\}", done):
        raise Failure("a judge", f"there is no sample for {hole[0]}", "refer to one attribute of one resource")
    return done.replace("$${", "${")
