"""`make bootstrap ENVIRONMENT=NAME`: the bucket of the Terraform states, which also gets its own state.

All components of a project in an environment share the bucket, so that one run is enough for all of them.

The first apply keeps its state in a file, since the bucket does not exist yet; then the state moves into the bucket. A
run decides its steps by the resources in the account, not by files of an earlier run on this machine. So it can
continue a run that was interrupted at any step, or made on another machine:

- There is nothing, or only the key: the run creates the rest, with the state in a file.
- There is a bucket without a state: the run imports key and bucket into a new state (Terraform, "Import block"), and
  moves that state into the bucket.
- The state is in the bucket: the run applies the configuration to bucket and key, and removes a local state file.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from modules.names import state_object_key
from modules.settings import Settings
from synthesis.paths import BUILD
from tools.operate.account import add_component, assume_role, read_settings
from tools.operate.console import Failure, exit_with, say, step
from tools.operate.synthesize import synthesize, terraform_json
from tools.operate.terraform import Terraform

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_s3 import S3Client

# Terraform uses the first file instead of the backend ("Override files"), and the second in addition to the others.
_OVERRIDE = "backend_override.tf.json"
_IMPORTS = "imports.tf.json"
_STATE = state_object_key("bootstrap")


@dataclass(frozen=True)
class Found:
    """The parts of a state bucket that exist in the account.

    Attributes:
        key_id: id of the key; None if there is none.
        alias: whether the key has its alias.
        bucket: whether the bucket exists.
        state: whether the bucket contains its own state.
    """

    key_id: str | None
    alias: bool
    bucket: bool = False
    state: bool = False


@dataclass(frozen=True)
class Stack:
    """The synthesized stack of the state bucket."""

    folder: Path

    @property
    def backend(self) -> dict[str, Any]:
        """The arguments of the backend."""
        backend: dict[str, Any] = terraform_json(self.folder)["terraform"]["backend"]["s3"]
        return backend

    @property
    def tags(self) -> dict[str, str]:
        """The tags of all resources of the stack."""
        tags: dict[str, str] = terraform_json(self.folder)["provider"]["aws"][0]["default_tags"][0]["tags"]
        return tags

    def only(self, kind: str) -> tuple[str, dict[str, Any]]:
        """Return address and arguments of the only resource of a kind."""
        ((name, body),) = terraform_json(self.folder)["resource"][kind].items()
        return f"{kind}.{name}", body

    def backend_under(self, key_id: str) -> dict[str, object]:
        """Return the backend with the id of this key: the settings may name another one, the alias may not exist."""
        home = str(self.backend["kms_key_id"]).rpartition(":")[0]
        return {"s3": {**self.backend, "kms_key_id": f"{home}:key/{key_id}"}}

    def imports(self, found: Found) -> list[dict[str, str]]:
        """Return import blocks for existing resources; Terraform ignores those that are in the state already."""
        alias, arguments = self.only("aws_kms_alias")
        blocks = []
        if found.key_id is not None:
            blocks.append({"to": self.only("aws_kms_key")[0], "id": found.key_id})
        if found.alias:
            blocks.append({"to": alias, "id": str(arguments["name"])})
        if found.bucket:
            blocks.append({"to": self.only("aws_s3_bucket")[0], "id": str(self.backend["bucket"])})
        return blocks


def bootstrap(folder: Path, variables: Mapping[str, str]) -> str:
    """Make the state bucket of an environment unless it is there, and return the id of its key.

    Args:
        folder: where to synthesize; keeps the state until it has moved.
        variables: the environment's name as ENVIRONMENT, and variables for AWS on top of those of this process.

    Raises:
        Failure: AWS refuses a step; the next run takes it up again.
    """
    stack = Stack(synthesize(folder, variables, "state"))
    state, override, imports = (stack.folder / name for name in (_STATE, _OVERRIDE, _IMPORTS))
    terraform = Terraform(stack.folder, variables)

    def use(backend: Mapping[str, object]) -> None:
        override.write_text(json.dumps({"terraform": {"backend": backend}}))
        terraform.init()

    with step("bucket of the Terraform state") as progress:
        found = look(stack, variables)
        imports.write_text(json.dumps({"import": stack.imports(found)}))
        in_bucket = found.key_id if found.state else None
        use(stack.backend_under(in_bucket) if in_bucket else {"local": {"path": _STATE}})
        if terraform.plan(progress=progress):
            terraform.apply(progress=progress)
        key_id = terraform.outputs()["state_kms_key_id"]
        if not in_bucket:
            use(stack.backend_under(key_id))
            terraform.push_state(state)
    for left in (state, stack.folder / f"{_STATE}.backup", override, imports):
        left.unlink(missing_ok=True)
    return key_id


def look(stack: Stack, variables: Mapping[str, str]) -> Found:
    """Look for key, bucket and state in the account, with the credentials that Terraform will use.

    Raises:
        Failure: the credentials are missing or of another account, the bucket is of another environment or region,
            the deletion of the key is pending, or AWS refuses.
    """
    backend = stack.backend
    bucket, (account,) = str(backend["bucket"]), backend["allowed_account_ids"]
    with _refusals(account):
        s3, kms = _clients(backend, variables)
        target = _target_of(kms, str(stack.only("aws_kms_alias")[1]["name"]))
        key_id, alias = _usable(kms, target) if target else None, target is not None
        try:
            listed = s3.list_objects_v2(Bucket=bucket, ExpectedBucketOwner=account, MaxKeys=1)
            states = s3.list_objects_v2(Bucket=bucket, ExpectedBucketOwner=account, Prefix=str(backend["key"]))
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "NoSuchBucket":
                return Found(key_id, alias)
            causes = {
                "AccessDenied": "it is of another account, or these credentials may not list it",
                "PermanentRedirect": f"it is in another region than {backend['region']}",
            }
            if code not in causes:
                raise
            raise _taken(bucket, causes[code]) from None
        if listed.get("Contents"):
            _require_ours(s3, bucket, stack.tags)
        if not alias and (named := _key_of_bucket(s3, bucket)):
            key_id = _usable(kms, named)
    names = [each["Key"] for each in states.get("Contents", [])]
    return Found(key_id, alias, bucket=True, state=backend["key"] in names)


def _require_ours(s3: S3Client, bucket: str, tags: Mapping[str, str]) -> None:
    """Require the tags of this environment on a bucket with content, before its policy and encryption are changed.

    Raises:
        Failure: it has other tags.
    """
    try:
        found = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=bucket)["TagSet"]}
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchTagSet":
            raise
        found = {}
    for name in ("Project", "Environment", "ManagedBy"):
        if found.get(name) != tags[name]:
            raise _taken(bucket, f"it holds objects, and its tag {name} is {found.get(name)!r}, not {tags[name]!r}")


def _taken(bucket: str, cause: str) -> Failure:
    return Failure(
        "looking for the bucket of the state",
        f"the bucket {bucket} is there and not this environment's: {cause}",
        "set state_bucket to a name that is free, or remove it from the settings",
    )


def _clients(backend: Mapping[str, Any], variables: Mapping[str, str]) -> tuple[S3Client, KMSClient]:
    """Return clients of S3 and KMS, in the region of the backend and with the role that the backend assumes.

    Raises:
        Failure: the credentials are of another account.
    """
    (account,) = backend["allowed_account_ids"]
    endpoint, trust = variables.get("AWS_ENDPOINT_URL"), variables.get("AWS_CA_BUNDLE")
    # The embedded AWS is on this machine, which a proxy cannot reach.
    config = Config(region_name=str(backend["region"]), proxies={} if endpoint else None)
    session = boto3.Session(variables.get("AWS_ACCESS_KEY_ID"), variables.get("AWS_SECRET_ACCESS_KEY"))
    if role := backend.get("assume_role"):
        sts = session.client("sts", endpoint_url=endpoint, verify=trust, config=config)
        session = assume_role(sts, role["role_arn"], "bootstrap")
    sts = session.client("sts", endpoint_url=endpoint, verify=trust, config=config)
    if (found := sts.get_caller_identity()["Account"]) != account:
        raise Failure(
            "looking for the bucket of the state",
            f"these credentials are for account {found}, and account_id is {account}",
            f"use credentials of {account}, for example with AWS_PROFILE, or correct account_id",
        )
    return (
        session.client("s3", endpoint_url=endpoint, verify=trust, config=config),
        session.client("kms", endpoint_url=endpoint, verify=trust, config=config),
    )


def _key_of_bucket(s3: S3Client, bucket: str) -> str | None:
    """Return the ARN of the customer key that encrypts a bucket, or None."""
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    return rules[0].get("ApplyServerSideEncryptionByDefault", {}).get("KMSMasterKeyID")


def _target_of(kms: KMSClient, alias: str) -> str | None:
    """Return the id of the key of an alias, or None.

    It reads the list of aliases. DescribeKey of a missing alias may be denied, since IAM has no key to check.
    """
    for page in kms.get_paginator("list_aliases").paginate():
        for each in page["Aliases"]:
            if each["AliasName"] == alias:
                return each.get("TargetKeyId")
    return None


def _usable(kms: KMSClient, name: str) -> str | None:
    """Return the id of the key with an id or ARN, or None if there is no such key.

    Raises:
        Failure: the deletion of the key is pending.
    """
    try:
        about = kms.describe_key(KeyId=name)["KeyMetadata"]
    except kms.exceptions.NotFoundException:
        return None
    key_id = about["KeyId"]
    if about.get("KeyState") == "PendingDeletion":
        raise Failure(
            "looking for the key of the state",
            f"the key {key_id} is about to be deleted, and with it all that it encrypts",
            f"aws kms cancel-key-deletion --key-id {key_id}; aws kms enable-key --key-id {key_id}",
        )
    return key_id


@contextmanager
def _refusals(account: str) -> Iterator[None]:
    """Turn errors of boto3 into failures with a remedy."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise Failure(
            "looking for the bucket of the state",
            str(error),
            f"give credentials of account {account} that hold what `make deployer-policies` prints, for example with "
            "AWS_PROFILE",
        ) from None


def main() -> None:
    """Bootstrap the environment that ENVIRONMENT names, with the AWS credentials of the caller."""
    parser = argparse.ArgumentParser(prog="python -m tools.operate.bootstrap", description=__doc__)
    add_component(parser)
    parser.parse_args()
    environment = os.environ.get("ENVIRONMENT", "")
    if environment in {"", "local"}:
        raise Failure(
            "bootstrap",
            f"ENVIRONMENT={environment or '(unset)'} is no environment in an AWS account",
            "name one, for example: make bootstrap ENVIRONMENT=dev (`make up` bootstraps local itself)",
        )
    settings = read_settings()
    say(closing_message(settings, bootstrap(BUILD / "bootstrap" / settings.prefix, {"ENVIRONMENT": environment})))


def closing_message(settings: Settings, key_id: str) -> str:
    """Return the message for the end: bucket and key, and what to change in the settings."""
    bucket = f"\nThe state bucket is there: {settings.state_bucket_name}, encrypted under the key {key_id}."
    file = f"environments/{settings.environment}.toml"
    if settings.state_kms_key_id == key_id:
        return f"{bucket}\nThe settings name that key."
    line = f'    state_kms_key_id = "{key_id}"'
    if settings.state_kms_key_id is None:
        return (
            f"{bucket}\nThe backend finds the key by its alias, {settings.state_key_alias}; there is nothing to write "
            f"down. To name the key itself, write this into {file}:\n{line}"
        )
    return (
        f"{bucket}\nThe settings name another key, {settings.state_kms_key_id}, which this bucket does not take. "
        f"Remove state_kms_key_id from {file}, or write:\n{line}"
    )


if __name__ == "__main__":
    exit_with(main)
