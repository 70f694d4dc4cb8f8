"""`make release-hold`, with AWS in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from modules.settings import Settings
from tests.synth.conftest import settings_of
from tools.operate.console import Failure
from tools.operate.legal_hold import release

ACCOUNT = "123456789012"  # moto's
KEY = "uploads/f"


@pytest.fixture
def settings() -> Settings:
    return settings_of("dev", account_id=ACCOUNT)


@pytest.fixture
def session(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.Session]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        session = boto3.Session(region_name="us-east-1")
        session.client("s3").create_bucket(Bucket=settings.files_bucket_name, ObjectLockEnabledForBucket=True)
        dynamodb = session.client("dynamodb")
        dynamodb.create_table(
            TableName="sluice-dev-files",
            KeySchema=[{"AttributeName": "file_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "file_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        dynamodb.put_item(
            TableName="sluice-dev-files",
            Item={"file_id": {"S": "f"}, "object_key": {"S": KEY}, "legal_hold": {"BOOL": True}},
        )
        yield session


def hold(session: boto3.Session, bucket: str, key: str) -> str:
    s3 = session.client("s3")
    version = s3.put_object(Bucket=bucket, Key=key, Body=b"x")["VersionId"]
    s3.put_object_legal_hold(Bucket=bucket, Key=key, VersionId=version, LegalHold={"Status": "ON"})
    return version


def status(session: boto3.Session, bucket: str, key: str, version: str) -> str:
    found = session.client("s3").get_object_legal_hold(Bucket=bucket, Key=key, VersionId=version)
    return str(found["LegalHold"]["Status"])


def record(session: boto3.Session) -> dict[str, Any]:
    found = session.client("dynamodb").get_item(TableName="sluice-dev-files", Key={"file_id": {"S": "f"}})
    return dict(found["Item"])


def test_every_version_of_one_file_is_released(session: boto3.Session, settings: Settings) -> None:
    bucket = settings.files_bucket_name
    versions = [hold(session, bucket, KEY), hold(session, bucket, KEY)]
    neighbour = hold(session, bucket, f"{KEY}-other")
    assert release(settings, session, "f") == 2
    assert [status(session, bucket, KEY, version) for version in versions] == ["OFF", "OFF"]
    assert status(session, bucket, f"{KEY}-other", neighbour) == "ON"
    assert record(session)["legal_hold"] == {"BOOL": False}


def test_the_record_is_released_last(
    session: boto3.Session, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where S3 refuses, the record still keeps the owner from deleting."""
    hold(session, settings.files_bucket_name, KEY)
    create = session.client

    def refusing(service: str, **options: Any) -> Any:  # noqa: ANN401 - boto3's clients
        client = create(service, **options)  # type: ignore[call-overload]
        if service == "s3":
            client.put_object_legal_hold = lambda **_: (_ for _ in ()).throw(PermissionError)
        return client

    monkeypatch.setattr(session, "client", refusing)
    with pytest.raises(PermissionError):
        release(settings, session, "f")
    monkeypatch.undo()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    assert record(session)["legal_hold"] == {"BOOL": True}


def test_a_file_that_is_not_there_and_another_account_are_refused(session: boto3.Session) -> None:
    with pytest.raises(Failure, match="there is no record of 'g'"):
        release(settings_of("dev", account_id=ACCOUNT), session, "g")
    with pytest.raises(Failure, match=f"these credentials are for account {ACCOUNT}"):
        release(settings_of("dev"), session, "f")
