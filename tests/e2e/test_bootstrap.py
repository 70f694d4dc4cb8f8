"""`make bootstrap` from every state that an earlier run can have left, each in a project of its own."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from modules.settings import Settings
from tools.develop.local import local_settings
from tools.embedded_aws import control
from tools.embedded_aws.control import EmbeddedAws
from tools.operate.bootstrap import bootstrap
from tools.operate.console import Failure
from tools.operate.policies import deployer_policies
from tools.operate.terraform import Changes, Progress, Terraform

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.slow

ALIAS, BUCKET = "aws_kms_alias.state_key_alias", "aws_s3_bucket.state"
# It has the form of a key's id, and no such key exists.
WRONG = "12345678-1234-4234-8234-123456789abc"


class Interrupted(Exception):  # noqa: N818 - not an error
    """The process ended here."""


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory, server_python: Path, lambda_python: Path) -> Iterator[EmbeddedAws]:
    folder = tmp_path_factory.mktemp("aws")
    yield control.start(folder, server_python=server_python, lambda_python=lambda_python)
    control.stop(folder)


@dataclass(frozen=True)
class Account:
    """An account as one project sees it, whose deployer holds the deployer's policies and nothing else."""

    aws: EmbeddedAws
    settings: Settings
    folder: Path

    def variables(self, **more: str) -> dict[str, str]:
        policies = [json.loads(policy) for policy in deployer_policies(self.settings)]
        user = control.create_deployer(self.aws, policies, name=f"deployer-{self.settings.project_name}")
        environment = self.aws.environment(user.access_key, user.secret_key)
        return {**environment, "ENVIRONMENT": "local", "PROJECT_NAME": self.settings.project_name, **more}

    def bootstrap(self, clone: str = "one", **more: str) -> str:
        """Run it in a clone of the repository on some machine."""
        return bootstrap(self.folder / clone, self.variables(**more))

    def left(self, clone: str = "one") -> list[str]:
        """Files of a bootstrap's own that are still in the clone."""
        stack = self.folder / clone / "stacks" / f"{self.settings.prefix}-state"
        return sorted(
            path.name
            for path in stack.iterdir()
            if path.name not in {"cdk.tf.json", "tfplan"} and path.suffix in {".json", ".tfstate", ".backup"}
        )

    def _options(self) -> dict[str, Any]:
        root = control.ROOT
        return {
            "endpoint_url": self.aws.endpoint_url,
            "verify": str(self.aws.ca_bundle),
            "region_name": self.aws.region,
            "aws_access_key_id": root.access_key,
            "aws_secret_access_key": root.secret_key,
        }

    @property
    def s3(self) -> S3Client:
        return boto3.client("s3", **self._options())

    @property
    def kms(self) -> KMSClient:
        return boto3.client("kms", **self._options())

    @property
    def bucket(self) -> str:
        return self.settings.state_bucket_name

    def state(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.s3.get_object(Bucket=self.bucket, Key="state.tfstate")["Body"].read())
        return content

    def assert_whole(self, key_id: str) -> None:
        """Require that the bucket is as in the code, under the key with the alias, and completely in its state."""
        found = self.kms.describe_key(KeyId=self.settings.state_key_alias)["KeyMetadata"]
        assert found["KeyId"] == key_id
        head = self.s3.head_object(Bucket=self.bucket, Key="state.tfstate")
        assert head["SSEKMSKeyId"] == found["Arn"]
        assert self.s3.get_bucket_versioning(Bucket=self.bucket)["Status"] == "Enabled"
        assert "DenyOtherKeys" in self.s3.get_bucket_policy(Bucket=self.bucket)["Policy"]
        kinds = sorted(resource["type"] for resource in self.state()["resources"])
        assert kinds == [
            "aws_kms_alias",
            "aws_kms_key",
            "aws_s3_bucket",
            "aws_s3_bucket_ownership_controls",
            "aws_s3_bucket_policy",
            "aws_s3_bucket_public_access_block",
            "aws_s3_bucket_server_side_encryption_configuration",
            "aws_s3_bucket_versioning",
        ]


@pytest.fixture
def account(aws: EmbeddedAws, tmp_path: Path) -> Account:
    settings = local_settings(aws).model_copy(update={"project_name": f"p{secrets.token_hex(4)}"})
    return Account(aws, settings, tmp_path)


def test_it_makes_the_bucket_and_another_run_anywhere_changes_nothing(account: Account) -> None:
    key_id = account.bootstrap()
    account.assert_whole(key_id)
    assert account.left() == []
    serial = account.state()["serial"]
    assert account.bootstrap("another") == key_id
    assert account.state()["serial"] == serial
    assert account.left("another") == []

    account.s3.delete_object(Bucket=account.bucket, Key="state.tfstate")
    account.kms.delete_alias(AliasName=account.settings.state_key_alias)
    assert account.bootstrap("another") == key_id
    account.assert_whole(key_id)


def stop_after(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Interrupt the first apply after some resources are created."""
    whole = Terraform.apply

    def apply(self: Terraform, plan: str = "tfplan", progress: Progress = lambda words: None) -> Changes:
        monkeypatch.setattr(Terraform, "apply", whole)
        self.plan(*(f"-target={address}" for address in addresses), to="part")
        whole(self, "part", progress)
        raise Interrupted

    monkeypatch.setattr(Terraform, "apply", apply)


@pytest.mark.parametrize("made", [[ALIAS], [ALIAS, BUCKET]], ids=["key", "key-and-bucket"])
def test_an_apply_that_was_cut_off_is_taken_up_on_another_machine(
    account: Account, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(monkeypatch, *made)
    with pytest.raises(Interrupted):
        account.bootstrap()
    assert account.left() != []
    # The settings may name another key: the bucket and its state are made under the right one.
    key_id = account.bootstrap("another", STATE_KMS_KEY_ID=WRONG)
    account.assert_whole(key_id)
    # The first machine comes back with a state that is older than the bucket's.
    serial = account.state()["serial"]
    assert account.bootstrap(STATE_KMS_KEY_ID=WRONG) == key_id
    assert account.state()["serial"] == serial
    assert account.left() == []


@pytest.mark.parametrize("before", [True, False], ids=["before-it-moved", "after-it-moved"])
def test_a_state_that_was_about_to_move_or_just_had_is_found(
    account: Account, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Terraform.push_state

    def push(self: Terraform, file: Path) -> None:
        if not before:
            whole(self, file)
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(Terraform, "push_state", push)
        with pytest.raises(Interrupted):
            account.bootstrap()
    account.assert_whole(account.bootstrap())
    assert account.left() == []


def test_credentials_of_another_account_are_told(account: Account) -> None:
    other = {"AWS_ACCESS_KEY_ID": "123456789012", "AWS_SECRET_ACCESS_KEY": "test"}
    with pytest.raises(Failure, match=r"for account 123456789012, and account_id is 000000000000"):
        account.bootstrap(**other)
