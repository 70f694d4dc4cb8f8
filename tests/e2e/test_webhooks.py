"""Webhooks as deployed: from an upload to receivers on loopback, signed, tried again, given up and redriven."""

from __future__ import annotations

import itertools
import json
import secrets
from typing import TYPE_CHECKING

import boto3
import pytest
from standardwebhooks import Webhook

from modules.names import receiver_slug
from modules.settings import WEBHOOK_ATTEMPTS
from tests.e2e.conftest import WEBHOOK_PATHS, Deployed, wait_for
from tests.receiver import Received
from tools.develop.local import local_settings
from tools.operate.redrive import redrive

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

FIRST, SECOND = WEBHOOK_PATHS


@pytest.fixture
def name() -> str:
    """Name of a file that no other test has."""
    return f"{secrets.token_hex(4)}-ü.txt"


def arrived(deployed: Deployed, path: str, name: str, count: int) -> list[Received]:
    """The webhooks to a receiver about a file, once there are so many."""
    wait_for(lambda: len(deployed.receiver.about(path, name)) >= count)
    return deployed.receiver.about(path, name)


def queue_of(deployed: Deployed, path: str) -> str:
    return f"sluice-local-webhooks-{receiver_slug(f'{deployed.receiver.url}{path}')}"


def waiting(sqs: SQSClient, queue: str) -> int:
    """Messages in a queue, those that are being read included."""
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return sum(int(found[each]) for each in ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"))


def test_every_receiver_gets_the_event_signed_with_its_own_secret(deployed: Deployed, name: str) -> None:
    file_id = deployed.upload(file_name=name)
    for path in WEBHOOK_PATHS:
        (got,) = arrived(deployed, path, name, 1)
        event = Webhook(deployed.webhook_secrets[path]).verify(got.body, dict(got.headers))
        assert (event["event"], event["file_id"], event["file_name"]) == ("file_uploaded", file_id, name)
        assert got.headers["webhook-id"] == f"file_uploaded_{file_id}"
    assert len(set(deployed.webhook_secrets.values())) == 2


def test_a_receiver_that_fails_twice_gets_it_again_and_the_other_one_does_not(deployed: Deployed, name: str) -> None:
    deployed.receiver.answers[FIRST, name] = iter([500, 503])
    deployed.upload(file_name=name)
    got = arrived(deployed, FIRST, name, 3)
    assert [each.status for each in got] == [500, 503, 204]
    assert len({each.headers["webhook-id"] for each in got}) == 1
    assert len({each.body for each in got}) == 1
    for each in got:
        Webhook(deployed.webhook_secrets[FIRST]).verify(each.body, dict(each.headers))
    assert [each.status for each in arrived(deployed, SECOND, name, 1)] == [204]


def test_what_is_never_taken_is_a_dead_letter_and_taken_once_it_is_redriven(
    deployed: Deployed, session: boto3.Session, sqs: SQSClient, name: str
) -> None:
    queue = queue_of(deployed, SECOND)
    deployed.receiver.answers[SECOND, name] = itertools.repeat(500)
    file_id = deployed.upload(file_name=name)
    wait_for(lambda: waiting(sqs, f"{queue}-dead-letters") == 1)
    assert [each.status for each in deployed.receiver.about(SECOND, name)] == [500] * WEBHOOK_ATTEMPTS
    assert waiting(sqs, queue) == 0
    assert [each.status for each in arrived(deployed, FIRST, name, 1)] == [204]

    del deployed.receiver.answers[SECOND, name]
    assert redrive(local_settings(deployed.aws), session).moved[f"{queue}-dead-letters"] == 1
    *_, last = arrived(deployed, SECOND, name, WEBHOOK_ATTEMPTS + 1)
    assert last.status == 204
    assert Webhook(deployed.webhook_secrets[SECOND]).verify(last.body, dict(last.headers))["file_id"] == file_id
    wait_for(lambda: waiting(sqs, queue) == waiting(sqs, f"{queue}-dead-letters") == 0)


def test_no_secret_is_in_terraforms_state(deployed: Deployed) -> None:
    state = json.dumps(deployed.terraform.show_state())
    assert "aws_secretsmanager_secret" in state
    assert not any(secret in state for secret in deployed.webhook_secrets.values())
    assert "whsec_" not in state
