"""Webhooks: how they are signed, sent, tried again and given up, with AWS in memory and a receiver on loopback."""

from __future__ import annotations

import base64
import importlib
import json
import logging
import re
import secrets
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from msgspec import ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from functions.common.https_client import request, trust
from functions.webhooks.logic import GONE, Message, backoff, deliver
from functions.webhooks.secret import CACHE_SECONDS, SigningKeys
from functions.webhooks.signing import SecretError, key_of, signed_headers
from modules.names import receiver_slug
from modules.settings import WEBHOOK_ATTEMPTS
from synthesis.paths import ROOT
from tests.receiver import Receiver, receiving
from tests.unit.fakes import FakeContext, refusal
from tools.embedded_aws import certificates
from tools.operate.console import Failure
from tools.operate.webhook_secrets import make_secrets

EVENT = {"event": "file_uploaded", "file_id": "f-1", "file_name": "fünf.txt", "file_url": "https://x", "owner": "ann"}
BODY = json.dumps(EVENT, ensure_ascii=False)


def new_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


# Signing


def test_the_signature_is_that_of_the_reference_libraries() -> None:
    """The example that the libraries of Standard Webhooks test their signatures with."""
    assert signed_headers(
        [key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")],
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    ) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(
    st.binary(min_size=24, max_size=64),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.from_regex(r"\A[a-z0-9_-]+\Z"),
)
def test_an_independent_reader_verifies_whatever_is_signed(key: bytes, body: str, message_id: str) -> None:
    secret = f"whsec_{base64.b64encode(key).decode()}"
    headers = signed_headers(
        [key_of(secret)], message_id=message_id, timestamp=int(time.time()), body=json.dumps(body).encode()
    )
    assert Webhook(secret).verify(json.dumps(body), headers) == body
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(json.dumps(f"{body}!"), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(json.dumps(body), {**headers, "webhook-id": f"{message_id}x"})
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(json.dumps(body), headers)


def test_both_the_newest_secret_and_the_one_before_verify() -> None:
    newest, before = new_secret(), new_secret()
    headers = signed_headers([key_of(newest), key_of(before)], message_id="m", timestamp=int(time.time()), body=b"{}")
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (newest, before):
        Webhook(secret).verify(b"{}", headers)


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "whsec_!!!!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", f"whsec_{base64.b64encode(b'short').decode()}"],
)
def test_what_is_no_secret_is_refused(secret: str) -> None:
    with pytest.raises(SecretError, match="make webhook-secret"):
        key_of(secret)


# The secret


@dataclass
class FakeSecrets:
    """Secrets Manager with the versions of secrets by their stage."""

    values: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: int = 0
    failing: bool = False

    class exceptions:  # noqa: N801 - boto3's name
        class ResourceNotFoundException(ClientError):  # noqa: N818 - boto3's name
            pass

    def _missing(self, operation: str) -> ClientError:
        error = {"Error": {"Code": "ResourceNotFoundException", "Message": "no"}}
        return self.exceptions.ResourceNotFoundException(error, operation)  # type: ignore[arg-type]

    def get_secret_value(self, *, SecretId: str, VersionStage: str) -> dict[str, str]:  # noqa: N803
        self.asked += 1
        if self.failing:
            raise refusal("AccessDeniedException", "GetSecretValue")
        if VersionStage not in self.values.get(SecretId, {}):
            raise self._missing("GetSecretValue")
        return {"SecretString": self.values[SecretId][VersionStage]}

    def put_secret_value(self, *, SecretId: str, SecretString: str) -> None:  # noqa: N803
        stages = self.values.setdefault(SecretId, {})
        if "AWSCURRENT" in stages:
            stages["AWSPREVIOUS"] = stages["AWSCURRENT"]
        stages["AWSCURRENT"] = SecretString

    def get_paginator(self, operation: str) -> FakeSecrets:
        assert operation == "list_secrets"
        return self

    def paginate(self, *, Filters: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:  # noqa: N803
        """A page a secret, of those whose name begins so."""
        (by_name,) = Filters
        for name, stages in self.values.items():
            if name.startswith(by_name["Values"][0]):
                versions = {"SecretVersionsToStages": {"v": list(stages)}} if stages else {}
                yield {"SecretList": [{"Name": name, "ARN": name, **versions}]}
        yield {"SecretList": []}


def deployed(*urls: str) -> FakeSecrets:
    """Secrets Manager after a deployment: secrets without values, with the endings that Terraform gave them."""
    return FakeSecrets({name_in_aws(url): {} for url in urls})


def name_in_aws(url: str, ending: str = "20260102030405678900000001") -> str:
    return f"sluice-dev-webhooks-{receiver_slug(url)}-{ending}"


def test_secrets_are_kept_for_a_while_and_their_absence_is_not() -> None:
    client, clock = FakeSecrets(), [0.0]
    keys = SigningKeys(client, now=lambda: clock[0])  # type: ignore[arg-type]
    with pytest.raises(SecretError, match="make webhook-secret"):
        keys.of("a")
    first, second = new_secret(), new_secret()
    client.put_secret_value(SecretId="a", SecretString=first)
    assert keys.of("a") == (key_of(first),)
    client.put_secret_value(SecretId="a", SecretString=second)
    asked = client.asked
    clock[0] = CACHE_SECONDS - 1
    assert keys.of("a") == (key_of(first),)
    assert client.asked == asked
    clock[0] = CACHE_SECONDS
    assert keys.of("a") == (key_of(second), key_of(first))
    with pytest.raises(SecretError):
        keys.of("b")


# Trying again


@given(st.integers(1, WEBHOOK_ATTEMPTS - 1), st.integers(0, 15))
def test_a_delay_is_doubled_each_time_give_or_take_a_quarter(receives: int, base: int) -> None:
    doubled = base * 2 ** (receives - 1)
    for _ in range(10):
        delay = backoff(receives, base=base, most=WEBHOOK_ATTEMPTS)
        assert 0.75 * doubled - 1 <= delay <= min(1.25 * doubled + 1, 43_200)


def test_delays_differ() -> None:
    assert len({backoff(8, base=10, most=WEBHOOK_ATTEMPTS) for _ in range(50)}) > 10


def test_all_attempts_take_about_half_a_day_and_then_the_dead_letter_comes_at_once() -> None:
    def total(where: float) -> int:
        def between(low: float, high: float) -> float:
            return low + (high - low) * where

        return sum(
            backoff(receives, base=10, most=WEBHOOK_ATTEMPTS, between=between)
            for receives in range(1, WEBHOOK_ATTEMPTS)
        )

    least, middle, most = map(total, (0, 0.5, 1))
    assert 8 * 3600 < least < middle < most < 15 * 3600
    assert 11 * 3600 < middle < 12 * 3600
    assert backoff(WEBHOOK_ATTEMPTS, base=10, most=WEBHOOK_ATTEMPTS) == 0


def test_no_delay_is_longer_than_sqs_takes() -> None:
    assert backoff(20, base=15, most=99) == 43_200


# Sending


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    authority, certificate, key = certificates.ensure(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))
    with receiving(certificate, key) as found:
        yield found


def test_a_body_is_posted_to_the_byte(receiver: Receiver) -> None:
    body = BODY.encode()
    status, _ = request(
        "POST", f"{receiver.url}/in?a=b", headers={"webhook-id": "m"}, body=body, seconds=5, context=trust()
    )
    (got,) = receiver.received
    assert (status, got.path, got.body, got.headers["webhook-id"]) == (204, "/in?a=b", body, "m")


def test_nobody_is_told_who_cannot_prove_their_name(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE")
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        request("POST", receiver.url, headers={}, body=BODY.encode(), seconds=5, context=trust())
    assert receiver.received == []


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.answers["/in", "fünf.txt"] = iter([307])
    assert request("POST", f"{receiver.url}/in", headers={}, body=BODY.encode(), seconds=5, context=trust())[0] == 307
    assert [each.path for each in receiver.received] == ["/in"]


def test_an_answer_that_does_not_come_is_not_waited_for(receiver: Receiver) -> None:
    receiver.slow = 1
    with pytest.raises(TimeoutError):
        request("POST", receiver.url, headers={}, body=BODY.encode(), seconds=0.2, context=trust())


def test_plain_http_is_never_spoken() -> None:
    with pytest.raises(ValueError, match="not HTTPS"):
        request("POST", "http://127.0.0.1/", headers={}, body=b"", seconds=1, context=trust())


def message(number: int = 1, body: str = BODY, receives: int = 1) -> Message:
    return Message(f"sqs-{number}", f"handle-{number}", body, receives)


@pytest.mark.parametrize(
    ("status", "taken"),
    [(200, True), (204, True), (299, True), (GONE, True)]
    + [(each, False) for each in (301, 308, 400, 404, 429, 500, 503)],
)
def test_which_answers_count_as_taken(status: int, taken: bool) -> None:
    failures = deliver("https://x", [message()], keys=[b"k" * 32], post=lambda url, **request: status, seconds=5)
    assert failures == ({} if taken else {"sqs-1": f"the receiver answered {status}"})


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"event": "file_uploaded"}',
        json.dumps({**EVENT, "file_id": "a\r\nb: c"}),
        json.dumps({**EVENT, "file_id": "a.b"}),
    ],
)
def test_what_is_no_event_is_not_sent(body: str) -> None:
    def never(url: str, **request: object) -> int:
        raise AssertionError("it was sent")

    failures = deliver("https://x", [message(body=body)], keys=[b"k" * 32], post=never, seconds=5)
    assert "no event of a file" in failures["sqs-1"]


def test_one_that_hangs_takes_no_time_from_the_others() -> None:
    leave = threading.Event()

    def answer(url: str, *, headers: Mapping[str, str], **request: object) -> int:
        if headers["webhook-id"] == "file_uploaded_slow":
            leave.wait(10)
        return 204

    slow = message(2, json.dumps({**EVENT, "file_id": "slow"}))
    try:
        failures = deliver("https://x", [slow, message(1)], keys=[b"k" * 32], post=answer, seconds=0.3)
    finally:
        leave.set()
    assert list(failures) == ["sqs-2"]
    assert "no answer within" in failures["sqs-2"]


# The handler

PATH = "/in?key=a=b"
QUEUE = "https://sqs.us-east-1.amazonaws.com/111111111111/sluice-test-webhooks-a-1"


@dataclass
class FakeQueues:
    hidden: dict[str, int] = field(default_factory=dict)
    failing: bool = False

    def change_message_visibility(self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> None:  # noqa: N803
        assert QueueUrl == QUEUE
        if self.failing:
            raise refusal("AccessDenied", "ChangeMessageVisibility")
        self.hidden[ReceiptHandle] = VisibilityTimeout


class Context(FakeContext):
    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 9_000


@dataclass
class Aws:
    secrets: FakeSecrets
    queues: FakeQueues
    secret: str

    def client(self, service: str, **options: object) -> object:
        return {"sqs": self.queues, "secretsmanager": self.secrets}[service]


def forget() -> None:
    sys.modules.pop("functions.webhooks.handler", None)
    logging.root.manager.loggerDict.pop("webhooks", None)


def start() -> ModuleType:
    forget()
    return importlib.import_module("functions.webhooks.handler")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> Iterator[Aws]:
    fake = Aws(FakeSecrets(), FakeQueues(), new_secret())
    fake.secrets.put_secret_value(SecretId="arn:aws:secret", SecretString=fake.secret)
    monkeypatch.setattr(boto3, "client", fake.client)
    monkeypatch.setenv("RECEIVERS", f"{QUEUE}=arn:aws:secret={receiver.url}{PATH}")
    monkeypatch.setenv("WEBHOOK_ATTEMPTS", "13")
    monkeypatch.setenv("WEBHOOK_BACKOFF_SECONDS", "10")
    yield fake
    forget()


def batch(*messages: Message) -> dict[str, Any]:
    """Return the event of Lambda (Lambda, "Using Lambda with Amazon SQS")."""
    return {
        "Records": [
            {
                "messageId": each.message_id,
                "receiptHandle": each.receipt_handle,
                "body": each.body,
                "attributes": {"ApproximateReceiveCount": str(each.receives)},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:111111111111:sluice-test-webhooks-a-1",
            }
            for each in messages
        ]
    }


def named(number: int, receives: int = 1) -> Message:
    return message(number, json.dumps({**EVENT, "file_id": f"f-{number}", "file_name": f"{number}.txt"}), receives)


def test_a_message_is_sent_as_it_was_published_and_verifies(aws: Aws, receiver: Receiver) -> None:
    assert start().handler(batch(message()), Context()) == {"batchItemFailures": []}
    (got,) = receiver.received
    assert got.path == PATH
    assert got.body == BODY.encode()
    assert Webhook(aws.secret).verify(got.body, dict(got.headers)) == EVENT
    assert got.headers["webhook-id"] == "file_uploaded_f-1"
    assert got.headers["content-type"] == "application/json"
    assert aws.queues.hidden == {}


def test_only_what_was_not_taken_comes_again_and_later_each_time(aws: Aws, receiver: Receiver) -> None:
    receiver.answers |= {(PATH, f"{number}.txt"): iter([500]) for number in (2, 3, 4)}
    answer = start().handler(batch(named(1), named(2), named(3, receives=4), named(4, receives=13)), Context())
    assert {each["itemIdentifier"] for each in answer["batchItemFailures"]} == {"sqs-2", "sqs-3", "sqs-4"}
    hidden = aws.queues.hidden
    assert set(hidden) == {"handle-2", "handle-3", "handle-4"}
    assert 7 <= hidden["handle-2"] <= 13
    assert 59 <= hidden["handle-3"] <= 101
    assert hidden["handle-4"] == 0


def test_a_double_has_the_same_id_and_another_timestamp(
    aws: Aws, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, real = start().handler, time.time
    handler(batch(named(1)), Context())
    monkeypatch.setattr("functions.webhooks.logic.time", SimpleNamespace(time=lambda: real() + 60))
    handler(batch(named(1, receives=2)), Context())
    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(second.headers["webhook-timestamp"]) >= int(first.headers["webhook-timestamp"]) + 60
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_without_a_secret_it_fails_clearly_and_the_messages_wait(aws: Aws, receiver: Receiver) -> None:
    aws.secrets.values.clear()
    with pytest.raises(Exception, match="make webhook-secret"):
        start().handler(batch(named(1), named(2, receives=2)), Context())
    assert receiver.received == []
    assert 7 <= aws.queues.hidden["handle-1"] <= 13
    assert 14 <= aws.queues.hidden["handle-2"] <= 26


def test_where_secrets_manager_refuses_it_fails_and_the_messages_wait(aws: Aws, receiver: Receiver) -> None:
    aws.secrets.failing = True
    with pytest.raises(ClientError):
        start().handler(batch(named(1)), Context())
    assert list(aws.queues.hidden) == ["handle-1"]


def test_a_message_that_cannot_be_hidden_is_given_back_all_the_same(aws: Aws, receiver: Receiver) -> None:
    aws.queues.failing = True
    receiver.answers[PATH, "1.txt"] = iter([500])
    assert start().handler(batch(named(1)), Context()) == {"batchItemFailures": [{"itemIdentifier": "sqs-1"}]}


@pytest.mark.parametrize("event", [{"nonsense": True}, {"Records": []}])
def test_another_event_fails(aws: Aws, event: dict[str, Any]) -> None:
    with pytest.raises((KeyError, IndexError)):
        start().handler(event, Context())


def test_the_log_tells_who_and_why_and_no_secret(
    aws: Aws, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.answers[PATH, "1.txt"] = iter([503])
    start().handler(batch(named(1)), Context())
    said = capsys.readouterr().out
    assert "the receiver answered 503" in said
    assert "sluice-test-webhooks-a-1" in said
    assert "key=a=b" not in said
    assert aws.secret not in said


@pytest.mark.parametrize("name", ["RECEIVERS", "WEBHOOK_ATTEMPTS", "WEBHOOK_BACKOFF_SECONDS"])
def test_it_does_not_start_without_its_variables(aws: Aws, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(ValidationError, match=name):
        start()


# Names


def test_a_receiver_keeps_its_name_and_two_on_one_host_have_two() -> None:
    long = "https://a-very-long-name.of-a-host.example.com:8443/x"
    urls = ["https://hooks.example.com/a", "https://hooks.example.com/b", long, "https://127.0.0.1:1/"]
    slugs = [receiver_slug(url) for url in urls]
    assert len(set(slugs)) == len(urls)
    assert slugs[0] == "hooks-example-com-" + slugs[0][-6:]
    for slug in slugs:
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,16}-[0-9a-f]{6}", slug)
        # SQS: 80 characters; project and environment have 16 each at most.
        assert len(f"{'p' * 16}-{'e' * 16}-webhooks-{slug}-dead-letters") <= 80


# `make webhook-secret`


def session_for(client: FakeSecrets, account: str = "111111111111") -> Any:  # noqa: ANN401 - a boto3 session
    clients = {"secretsmanager": client, "sts": SimpleNamespace(get_caller_identity=lambda: {"Account": account})}
    return SimpleNamespace(client=clients.__getitem__)


def settings_with(*urls: str) -> Any:  # noqa: ANN401 - as far as the tool reads settings
    return SimpleNamespace(
        account_id="111111111111", prefix="sluice-dev", environment="dev", primary_region="us-east-1", webhook_urls=urls
    )


A, B = "https://a.example.com/in", "https://b.example.com/in"


def test_receivers_without_a_secret_get_one_and_the_others_keep_theirs() -> None:
    client = deployed(A, B)
    first = make_secrets(settings_with(A), session_for(client))
    assert list(first) == [A]
    assert len(key_of(first[A])) == 32
    second = make_secrets(settings_with(A, B), session_for(client))
    assert list(second) == [B]
    assert second[B] != first[A]
    assert make_secrets(settings_with(A, B), session_for(client)) == {}
    assert client.values[name_in_aws(A)] == {"AWSCURRENT": first[A]}


def test_an_address_that_came_back_gets_the_secret_that_is_there_now() -> None:
    """AWS does not list the one that was deleted, and another environment's or receiver's is not taken for it."""
    client = deployed(A)
    before = make_secrets(settings_with(A), session_for(client))
    now = name_in_aws(A, "20270102030405678900000001")
    client.values = {name_in_aws(A, "x-20260102030405678900000001"): {}, now: {}}
    after = make_secrets(settings_with(A), session_for(client))
    assert after[A] != before[A]
    assert client.values[now] == {"AWSCURRENT": after[A]}


def test_a_receiver_that_is_not_deployed_is_one_clear_line() -> None:
    client = deployed(B)
    with pytest.raises(Failure, match=f"there is no secret .* for {A}\n.*deploy first"):
        make_secrets(settings_with(A), session_for(client))
    assert client.values == {name_in_aws(B): {}}


def test_a_receiver_that_is_named_gets_a_new_one_and_the_one_before_counts() -> None:
    client = deployed(A, B)
    first = make_secrets(settings_with(A, B), session_for(client))
    again = make_secrets(settings_with(A, B), session_for(client), A)
    assert list(again) == [A]
    assert client.values[name_in_aws(A)] == {"AWSCURRENT": again[A], "AWSPREVIOUS": first[A]}


@pytest.mark.parametrize(("urls", "url", "account"), [((), "", "1" * 12), ((A,), B, "1" * 12), ((A,), "", "2" * 12)])
def test_no_receiver_or_another_account_is_one_clear_line(urls: tuple[str, ...], url: str, account: str) -> None:
    client = FakeSecrets()
    with pytest.raises(Failure, match=r"WEBHOOK_URLS|for account 222222222222"):
        make_secrets(settings_with(*urls), session_for(client, account), url)
    assert client.values == {}


# The receiver in docs/webhooks.md


def test_the_receiver_in_the_documentation_takes_what_is_signed_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret = new_secret()
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "webhooks.md").read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 24
    found: dict[str, Any] = {"__name__": "receiver"}
    exec(code, found)  # noqa: S102 - it is ours
    server = found["HTTPServer"](("127.0.0.1", 0), found["Receiver"])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        body = BODY.encode()
        good = signed_headers([key_of(secret)], message_id="m", timestamp=int(time.time()), body=body)

        def status(headers: Mapping[str, str], content: bytes = body) -> int:
            request = Request(f"http://127.0.0.1:{server.server_port}/", data=content, headers=dict(headers))
            try:
                with urlopen(request, timeout=5) as answer:
                    return int(answer.status)
            except OSError as error:
                return int(getattr(error, "code", 0))

        assert status(good) == 204
        assert status(good) == 204
        assert status(good, body + b" ") == 401
        old = signed_headers([key_of(secret)], message_id="m2", timestamp=int(time.time()) - 3600, body=body)
        assert status(old) == 401
        assert [event["file_id"] for event in found["handled"]] == ["f-1"]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
