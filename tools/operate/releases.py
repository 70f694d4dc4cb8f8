"""`make release` and `make rollback`: move the aliases of functions to versions, without Terraform.

Every function has numbered versions that never change, and an alias `live` that says which of them answers. Where
RELEASE_STRATEGY is `all-at-once`, Terraform moves the alias as it publishes. Where it is `canary`, `make release`
starts a deployment of CodeDeploy for each function that has a newer version, and waits; CodeDeploy goes back by itself,
even if `make release` is stopped.

`make rollback` points aliases back. A version that was taken back gets an alias of its own, `withdrawn-7`, so that no
later rollback or release takes it for a good one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError, WaiterError

from functions.common.contract import LIVE_ALIAS
from modules.settings import Settings
from tools.operate.account import operator, require_account
from tools.operate.console import Failure, exit_with, say, step

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

WITHDRAWN = "withdrawn-"
# One apply publishes everything that it changes within minutes: live versions that are not much older than the newest
# one came with it.
SAME_RELEASE = timedelta(minutes=10)
# How long a deployment may take: 15 minutes of canary, and twice that for CodeDeploy itself.
WAIT = {"Delay": 15, "MaxAttempts": 180}

Report = Callable[[str], None]


@dataclass(frozen=True)
class Function:
    """A function, as AWS describes it.

    Attributes:
        live: the version that answers.
        next: the version that a canary gives a part of the traffic to, if one is under way.
        versions: when each version was published, oldest first.
        withdrawn: versions that were taken back.
        revision: of the alias, so that two who move it at once do not undo each other.
    """

    name: str
    live: str
    next: str | None
    versions: Mapping[str, datetime]
    withdrawn: frozenset[str]
    revision: str

    @property
    def newest(self) -> str:
        """The version that was published last."""
        return max(self.versions, key=int)

    @property
    def before(self) -> str | None:
        """The version for a rollback: while a canary runs the one it replaces, else the last good one before."""
        if self.next:
            return self.live
        good = [each for each in self.versions if int(each) < int(self.live) and each not in self.withdrawn]
        return max(good, key=int, default=None)


@dataclass(frozen=True)
class Moved:
    """An alias that was moved to another version."""

    name: str
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.name}: {self.was} -> {self.now}"


def functions_of(settings: Settings, functions: LambdaClient) -> list[Function]:
    """Return the functions of an environment, by the tags that Terraform gives every resource.

    Raises:
        Failure: there is none.
    """
    found = []
    for page in functions.get_paginator("list_functions").paginate():
        for each in page["Functions"]:
            name = each["FunctionName"]
            # `sluice-prod-` begins the names of an environment `prod-eu` too.
            if name.startswith(f"{settings.prefix}-") and _is_of(
                settings, functions.list_tags(Resource=each["FunctionArn"])["Tags"]
            ):
                found.append(_describe(functions, name))
    if not found:
        raise Failure("finding functions", f"none is deployed with the tags of {settings.prefix}", "deploy first")
    return found


def _is_of(settings: Settings, tags: Mapping[str, str]) -> bool:
    return (tags.get("Project"), tags.get("Environment")) == (settings.project_name, settings.environment)


def _describe(functions: LambdaClient, name: str) -> Function:
    aliases = {
        alias["Name"]: alias
        for page in functions.get_paginator("list_aliases").paginate(FunctionName=name)
        for alias in page["Aliases"]
    }
    versions = {
        each["Version"]: datetime.fromisoformat(each["LastModified"])
        for page in functions.get_paginator("list_versions_by_function").paginate(FunctionName=name)
        for each in page["Versions"]
        if each["Version"] != "$LATEST"
    }
    live = aliases[LIVE_ALIAS]
    weights = live.get("RoutingConfig", {}).get("AdditionalVersionWeights") or {}
    return Function(
        name=name,
        live=live["FunctionVersion"],
        next=next(iter(weights), None),
        versions=versions,
        withdrawn=frozenset(name.removeprefix(WITHDRAWN) for name in aliases if name.startswith(WITHDRAWN)),
        revision=live["RevisionId"],
    )


def last_release(functions: Sequence[Function]) -> list[Function]:
    """Return the functions that the last release changed: those of a rollback without a name."""
    changed = {each.name: each.versions[each.next or each.live] for each in functions}
    newest = max(changed.values())
    return [each for each in functions if newest - changed[each.name] <= SAME_RELEASE]


def rollback(
    settings: Settings,
    session: boto3.Session,
    *,
    only: str | None = None,
    version: str | None = None,
    report: Report = say,
) -> list[Moved]:
    """Point the aliases of the last release, or of one function, back to the version before.

    Args:
        only: name of a function, with or without the environment's prefix.
        version: the version to go to, for one function.

    Raises:
        Failure: there is no such function or version, or nothing before it.
        ClientError: AWS refused. Aliases that are moved already stay moved; the next run goes on.
    """
    require_account(settings, session)
    client = session.client("lambda")
    every = functions_of(settings, client)
    chosen = _named(settings, every, only) if only else last_release(every)
    if version and (len(chosen) != 1 or version not in chosen[0].versions):
        raise Failure(
            "rollback", f"there is no version {version} of one function", "name FUNCTION and one of its versions"
        )
    targets = {each.name: version or each.before for each in chosen}
    without = [name for name, target in targets.items() if target is None]
    if len(without) == len(targets):
        raise Failure("rollback", f"no version is before that of {', '.join(without)}", "deploy a commit that works")
    moved = []
    for each in chosen:
        target = targets[each.name]
        if target is None:
            report(f"{each.name}: left at {each.live}, its first version")
            continue
        if each.next:
            _stop_deployments(settings, session, each.name)
        moved.append(_point(client, each, target))
        report(str(moved[-1]))
    for each in every:
        if each not in chosen and not only:
            report(f"{each.name}: left at {each.live}, which came with an earlier release")
    return moved


def _named(settings: Settings, every: Sequence[Function], name: str) -> list[Function]:
    found = [each for each in every if each.name in {name, f"{settings.prefix}-{name.replace('_', '-')}"}]
    if not found:
        known = ", ".join(each.name.removeprefix(f"{settings.prefix}-") for each in every)
        raise Failure("rollback", f"there is no function {name}", f"name one of these: {known}")
    return found


def _point(client: LambdaClient, function: Function, target: str) -> Moved:
    """Move the alias to a version with all traffic, and mark the version that was live."""
    # CodeDeploy may have moved the alias since it was read; then its revision is of no use.
    revision = {} if function.next else {"RevisionId": function.revision}
    client.update_alias(
        FunctionName=function.name,
        Name=LIVE_ALIAS,
        FunctionVersion=target,
        RoutingConfig={"AdditionalVersionWeights": {}},
        **revision,
    )
    was = function.next or function.live
    if int(target) < int(was):
        _withdraw(client, function.name, was)
    if target in function.withdrawn:
        client.delete_alias(FunctionName=function.name, Name=f"{WITHDRAWN}{target}")
    return Moved(function.name, was, target)


def _withdraw(client: LambdaClient, name: str, version: str) -> None:
    try:
        client.create_alias(
            FunctionName=name, Name=f"{WITHDRAWN}{version}", FunctionVersion=version, Description="Was rolled back"
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceConflictException":
            raise


def release(settings: Settings, session: boto3.Session, *, report: Report = say) -> list[Moved]:
    """Let CodeDeploy move the traffic of every function to its newest version, and wait for it.

    A deployment that is under way is waited for. A version that was rolled back is skipped.

    Returns:
        What has moved, which is nothing where Terraform does it.

    Raises:
        Failure: CodeDeploy went back with a function; what it did go through with stays.
    """
    if settings.release_strategy != "canary":
        report(f"RELEASE_STRATEGY is {settings.release_strategy}: Terraform moves the aliases itself.")
        return []
    require_account(settings, session)
    client, deploy = session.client("lambda"), session.client("codedeploy")
    under_way = dict(_start_all(settings, client, deploy, report))
    moved, back = [], []
    for name, (deployment, move) in under_way.items():
        try:
            with step(f"{move} ({deployment})"):
                deploy.get_waiter("deployment_successful").wait(deploymentId=deployment, WaiterConfig=WAIT)
        except WaiterError:
            found = deploy.get_deployment(deploymentId=deployment)["deploymentInfo"]
            if found["status"] in {"Failed", "Stopped"}:
                _withdraw(client, name, move.now)
            back.append(f"{name} {found['status']}: {found.get('errorInformation', {}).get('message', deployment)}")
        else:
            moved.append(move)
    if back:
        raise Failure(
            "release",
            "; ".join(back),
            "see docs/releases.md; `make rollback` takes back what did go through",
        )
    if not under_way:
        report("Every function answers with its newest version.")
    return moved


def _start_all(
    settings: Settings,
    client: LambdaClient,
    deploy: Any,  # noqa: ANN401 - no stubs in the lock
    report: Report,
) -> Iterator[tuple[str, tuple[str, Moved]]]:
    """Start the deployment of each function that has a newer version, and yield the deployments that are under way."""
    for each in functions_of(settings, client):
        if each.newest == each.live and each.next is None:
            continue
        running = next(_deployments(settings, deploy, each.name), None)
        if running is None and each.newest in each.withdrawn:
            report(f"{each.name}: left at {each.live}; {each.newest} was rolled back, deploy a change that mends it")
            continue
        yield (
            each.name,
            (running or _start(settings, deploy, each), Moved(each.name, each.live, each.next or each.newest)),
        )


def app_spec(function: Function) -> str:
    """Return the instruction for CodeDeploy as JSON (CodeDeploy, "AppSpec file structure for Lambda deployments")."""
    properties = {
        "Name": function.name,
        "Alias": LIVE_ALIAS,
        "CurrentVersion": function.live,
        "TargetVersion": function.newest,
    }
    resource = {"function": {"Type": "AWS::Lambda::Function", "Properties": properties}}
    return json.dumps({"version": 0.0, "Resources": [resource]})


def _start(settings: Settings, deploy: Any, function: Function) -> str:  # noqa: ANN401 - no stubs in the lock
    content = app_spec(function)
    return str(
        deploy.create_deployment(
            applicationName=settings.prefix,
            deploymentGroupName=function.name,
            description=f"{function.live} -> {function.newest}",
            revision={
                "revisionType": "AppSpecContent",
                "appSpecContent": {"content": content, "sha256": hashlib.sha256(content.encode()).hexdigest()},
            },
        )["deploymentId"]
    )


def _deployments(settings: Settings, deploy: Any, name: str) -> Iterator[str]:  # noqa: ANN401 - no stubs in the lock
    """Return the deployments of a function that have not ended."""
    found = deploy.list_deployments(
        applicationName=settings.prefix,
        deploymentGroupName=name,
        includeOnlyStatuses=["Created", "Queued", "InProgress", "Baking", "Ready"],
    )
    yield from found["deployments"]


def _stop_deployments(settings: Settings, session: boto3.Session, name: str) -> None:
    """Stop the running deployments of a function, which would move the traffic further."""
    deploy: Any = session.client("codedeploy")
    for deployment in _deployments(settings, deploy, name):
        deploy.stop_deployment(deploymentId=deployment, autoRollbackEnabled=True)


def main() -> None:
    """Release or roll back in the environment that ENVIRONMENT names, with the AWS credentials of the caller."""
    parser = argparse.ArgumentParser(prog="python -m tools.operate.releases", description=__doc__)
    parser.add_argument("command", choices=["release", "rollback"])
    parser.add_argument("--function", help="roll back only this function")
    parser.add_argument("--version", help="to this version, rather than the one before")
    options = parser.parse_args(sys.argv[1:])
    settings, session = operator()
    if options.command == "release":
        release(settings, session)
        return
    if not rollback(settings, session, only=options.function, version=options.version):
        return
    if settings.release_strategy == "canary":
        say("\nTerraform ignores aliases here, and `make release` skips versions that were rolled back.")
    else:
        say("\nThe next plan wants to move these aliases forward again. Revert the commit before it is applied.")


if __name__ == "__main__":
    exit_with(main)
