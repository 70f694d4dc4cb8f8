"""Decisions of `make bootstrap` for the possible contents of an account, without an account."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import NoCredentialsError
from botocore.stub import Stubber

from modules.settings import Settings
from tools.operate import bootstrap
from tools.operate.bootstrap import closing_message, look
from tools.operate.console import Failure

ACCOUNT, REGION, BUCKET, ALIAS = "111111111111", "us-east-1", "sluice-dev-state", "alias/sluice-dev-state"
KEY_ID = "12345678-1234-4234-8234-123456789abc"
KEY_ARN = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{KEY_ID}"
TAGS = {"Project": "sluice", "Environment": "dev", "Owner": "me", "ManagedBy": "terraform"}
CONTENT = {
    "terraform": {
        "backend": {
            "s3": {
                "bucket": BUCKET,
                "key": "state.tfstate",
                "region": REGION,
                "kms_key_id": f"arn:aws:kms:{REGION}:{ACCOUNT}:{ALIAS}",
                "allowed_account_ids": [ACCOUNT],
            }
        }
    },
    "provider": {"aws": [{"default_tags": [{"tags": TAGS}]}]},
    "resource": {
        "aws_kms_key": {"state_key": {}},
        "aws_kms_alias": {"state_key_alias": {"name": ALIAS}},
        "aws_s3_bucket": {"state": {"bucket": BUCKET}},
    },
}


class Account:
    """Answers of an account, in the order in which they are asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        options: dict[str, Any] = {"region_name": REGION, "aws_access_key_id": "x", "aws_secret_access_key": "x"}
        s3, kms = boto3.client("s3", **options), boto3.client("kms", **options)
        self.s3, self.kms = Stubber(s3), Stubber(kms)
        monkeypatch.setattr(bootstrap, "_clients", lambda backend, variables: (s3, kms))

    def key(self, *, there: bool = True, state: str = "Enabled") -> Account:
        """Return the answers about aliases, and about the key of the state's alias."""
        ours = [{"AliasName": ALIAS, "TargetKeyId": KEY_ID}] if there else []
        pages = [[{"AliasName": "alias/aws/s3"}, {"AliasName": f"{ALIAS}-2", "TargetKeyId": "x"}], ours]
        self.kms.add_response("list_aliases", {"Aliases": pages[0], "Truncated": True, "NextMarker": "next"}, {})
        self.kms.add_response("list_aliases", {"Aliases": pages[1], "Truncated": False}, {"Marker": "next"})
        return self.describes(KEY_ID, state) if there else self

    def describes(self, name: str, state: str = "Enabled") -> Account:
        about = {"KeyId": KEY_ID, "KeyState": state}
        self.kms.add_response("describe_key", {"KeyMetadata": about}, {"KeyId": name})
        return self

    def objects(self, *names: str) -> Account:
        wanted: list[tuple[str, dict[str, Any]]] = [
            ("", {"MaxKeys": 1}),
            ("state.tfstate", {"Prefix": "state.tfstate"}),
        ]
        for prefix, options in wanted:
            found = [{"Key": name} for name in names if name.startswith(prefix)]
            request = {"Bucket": BUCKET, "ExpectedBucketOwner": ACCOUNT, **options}
            self.s3.add_response("list_objects_v2", {"Contents": found} if found else {}, request)
        return self

    def tags(self, tags: dict[str, str]) -> Account:
        found = [{"Key": name, "Value": value} for name, value in tags.items()]
        self.s3.add_response("get_bucket_tagging", {"TagSet": found}, {"Bucket": BUCKET})
        return self

    def encryption(self, **by_default: str) -> Account:
        rules = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256", **by_default}}]
        self.s3.add_response("get_bucket_encryption", {"ServerSideEncryptionConfiguration": {"Rules": rules}})
        return self

    def refuses(self, code: str) -> Account:
        self.s3.add_client_error("list_objects_v2", code)
        return self

    def seen_by(self, folder: Path) -> list[dict[str, str]] | None:
        """Import blocks for what is found; None where the state is in the bucket."""
        (folder / "cdk.tf.json").write_text(json.dumps(CONTENT))
        stack = bootstrap.Stack(folder)
        with self.s3, self.kms:
            found = look(stack, {})
        self.s3.assert_no_pending_responses()
        self.kms.assert_no_pending_responses()
        return None if found.state else stack.imports(found)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    return Account(monkeypatch)


KEY = {"to": "aws_kms_key.state_key", "id": KEY_ID}
NAME = {"to": "aws_kms_alias.state_key_alias", "id": ALIAS}
HOME = {"to": "aws_s3_bucket.state", "id": BUCKET}


def test_an_account_that_has_nothing_gets_everything(account: Account, tmp_path: Path) -> None:
    assert account.key(there=False).refuses("NoSuchBucket").seen_by(tmp_path) == []


def test_a_key_that_is_left_is_taken(account: Account, tmp_path: Path) -> None:
    assert account.key().refuses("NoSuchBucket").seen_by(tmp_path) == [KEY, NAME]


def test_an_empty_bucket_is_taken_whatever_its_tags(account: Account, tmp_path: Path) -> None:
    assert account.key(there=False).objects().encryption().seen_by(tmp_path) == [HOME]


def test_a_bucket_without_its_state_is_taken_with_its_key(account: Account, tmp_path: Path) -> None:
    assert account.key().objects("uploads.tfstate", "state.tfstate.tflock").tags(TAGS).seen_by(tmp_path) == [
        KEY,
        NAME,
        HOME,
    ]


def test_a_key_without_its_alias_is_found_by_the_bucket(account: Account, tmp_path: Path) -> None:
    account.key(there=False).objects("uploads.tfstate").tags(TAGS)
    assert account.encryption(KMSMasterKeyID=KEY_ARN).describes(KEY_ARN).seen_by(tmp_path) == [KEY, HOME]


def test_a_state_in_the_bucket_counts(account: Account, tmp_path: Path) -> None:
    assert account.key().objects("state.tfstate").tags(TAGS).seen_by(tmp_path) is None


@pytest.mark.parametrize("name", ["Project", "Environment", "ManagedBy"])
def test_a_bucket_that_holds_things_of_others_is_left_alone(account: Account, name: str, tmp_path: Path) -> None:
    account.key(there=False).objects("state.tfstate").tags({**TAGS, name: "theirs"})
    with pytest.raises(Failure, match=rf"its tag {name} is 'theirs'(.|\n)*set state_bucket"):
        account.seen_by(tmp_path)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AccessDenied", "of another account, or these credentials may not list it"),
        ("PermanentRedirect", "in another region than us-east-1"),
        ("ExpiredToken", r"ExpiredToken(.|\n)*give credentials of account 111111111111"),
    ],
)
def test_what_aws_refuses_is_told_in_words(account: Account, code: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(Failure, match=words):
        account.key(there=False).refuses(code).seen_by(tmp_path)


def test_a_key_that_is_about_to_be_deleted_is_reported(account: Account, tmp_path: Path) -> None:
    with pytest.raises(Failure, match=rf"about to be deleted(.|\n)*cancel-key-deletion --key-id {KEY_ID}"):
        account.key(state="PendingDeletion").seen_by(tmp_path)


def test_credentials_that_are_missing_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def none(*arguments: object) -> None:
        raise NoCredentialsError

    monkeypatch.setattr(bootstrap, "_clients", none)
    (tmp_path / "cdk.tf.json").write_text(json.dumps(CONTENT))
    with pytest.raises(Failure, match=r"Unable to locate credentials(.|\n)*AWS_PROFILE"):
        look(bootstrap.Stack(tmp_path), {})


def test_the_state_is_written_under_the_key_itself(tmp_path: Path) -> None:
    (tmp_path / "cdk.tf.json").write_text(json.dumps(CONTENT))
    stack = bootstrap.Stack(tmp_path)
    assert stack.backend_under(KEY_ID) == {"s3": {**stack.backend, "kms_key_id": KEY_ARN}}


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (None, ["alias/sluice-dev-state", "nothing to write down"]),
        (KEY_ID, ["The settings name that key."]),
        ("87654321-1234-4234-8234-123456789abc", ["another key, 87654321-", "Remove state_kms_key_id from"]),
    ],
)
def test_the_key_is_printed_whatever_the_settings_say_of_it(named: str | None, said: list[str]) -> None:
    told = closing_message(Settings(environment="dev", account_id=ACCOUNT, state_kms_key_id=named), KEY_ID)
    assert all(words in told for words in said)
    assert KEY_ID in told
    assert (f'\n    state_kms_key_id = "{KEY_ID}"' in told) is (named != KEY_ID)
