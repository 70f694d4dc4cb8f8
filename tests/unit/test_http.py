"""Common code of the API's handlers: the caller, the pages that may read answers, and errors without details."""

from __future__ import annotations

import importlib
import json
import logging
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import boto3
import pytest
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent
from msgspec import ValidationError

from functions.common.rest_api import Refused, answer, owner_of, rest_api
from tests.unit.fakes import FakeContext, refusal, rest_event

COGNITO = {"claims": {"sub": "7a1c", "iss": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_x", "aud": "app"}}
OTHER_ISSUER = {"principalId": "7a1c", "integrationLatency": 12}


def owner(**event: Any) -> str:  # noqa: ANN401
    return owner_of(APIGatewayProxyEvent(rest_event("POST", "/upload", **event)))


def test_the_owner_is_whom_the_gateway_verified() -> None:
    assert owner(authorizer=COGNITO) == "user:7a1c"
    assert owner(authorizer=OTHER_ISSUER) == "user:7a1c"
    assert owner(user_arn="arn:aws:iam::000000000000:user/ann") == "arn:aws:iam::000000000000:user/ann"


def test_the_owner_is_never_what_a_client_says() -> None:
    words = {"Authorization": "Bearer x", "X-Amzn-Oidc-Identity": "ann", "principalId": "ann", "sub": "ann"}
    event = rest_event("POST", "/upload", json.dumps({"owner": "user:ann", "sub": "ann"}), user_arn=None, headers=words)
    event["queryStringParameters"] = {"owner": "user:ann", "sub": "ann"}
    with pytest.raises(Refused) as refused:
        owner_of(APIGatewayProxyEvent(event))
    assert refused.value.status == 401


@pytest.mark.parametrize("authorizer", [{"claims": None, "principalId": None}, {"claims": {}}, {"principalId": ""}])
def test_an_authorizer_without_a_principal_admits_no_request(authorizer: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        owner(authorizer=authorizer)


# pages


def call(origin: str | None, act: Callable[[], Response[str]] = lambda: answer(200, {"n": 1})) -> dict[str, Any]:
    app = rest_api(Logger(service="test-http"), failure="It failed", plain_errors=True)
    app.get("/it")(act)
    headers = {"Origin": origin} if origin else {}
    answered: dict[str, Any] = app.resolve(rest_event("GET", "/it", headers=headers), FakeContext())  # type: ignore[arg-type]
    return answered


def header(answered: dict[str, Any], name: str) -> str | None:
    values = answered["multiValueHeaders"].get(name)
    return values[0] if values else None


def refuse() -> Response[str]:
    raise Refused("Change it")


def fail() -> Response[str]:
    raise refusal("SlowDown", "GetItem")


@pytest.mark.parametrize(("act", "status"), [(lambda: answer(200, {}), 200), (refuse, 400), (fail, 500)])
def test_pages_of_allowed_origins_read_every_answer_and_no_others_any(
    act: Callable[[], Response[str]], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORS_ALLOWED_ORIGINS", "https://one.example,https://two.example")
    for origin in ("https://one.example", "https://two.example"):
        answered = call(origin, act)
        assert (answered["statusCode"], header(answered, "Access-Control-Allow-Origin")) == (status, origin)
        assert header(answered, "Vary") == "Origin"
        # Without it, a page cannot read where its upload is, or when to come back.
        exposed = str(header(answered, "Access-Control-Expose-Headers")).split(",")
        assert {"Location", "Retry-After", "x-amzn-RequestId"} <= set(exposed)
    for stranger in ("https://three.example", "https://one.example.evil.example", "null", None):
        assert header(call(stranger, act), "Access-Control-Allow-Origin") is None


def test_without_the_variable_no_page_reads_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, ""):
        if value is not None:
            monkeypatch.setenv("CORS_ALLOWED_ORIGINS", value)
        assert not [name for name in call("https://one.example")["multiValueHeaders"] if name.startswith("Access-")]


def test_an_answer_is_not_kept_by_caches() -> None:
    assert header(call(None), "Cache-Control") == "no-store"


# GET /health/deep


class Parts:
    """DynamoDB and S3 as the health check asks them."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.failing = ""
        self.seconds = 0.0

    def get_item(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401
        self.asked.append(request)
        if self.failing == "records":
            raise refusal("AccessDeniedException", "GetItem")
        return {}

    def get_bucket_location(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401
        self.asked.append(request)
        time.sleep(self.seconds)
        if self.failing == "files":
            raise refusal("NoSuchBucket", "GetBucketLocation")
        return {}


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    fake = Parts()
    monkeypatch.setattr(boto3, "client", lambda service, **options: fake)
    monkeypatch.setenv("BUCKET_NAME", "bucket")
    monkeypatch.setenv("TABLE_NAME", "files")
    return fake


def start() -> ModuleType:
    sys.modules.pop("functions.health.handler", None)
    logging.root.manager.loggerDict.pop("health", None)
    return importlib.import_module("functions.health.handler")


def health(module: ModuleType) -> tuple[int, dict[str, Any]]:
    event = rest_event("GET", "/health/deep", user_arn=None)
    answered = module.handler(event, FakeContext())
    return answered["statusCode"], json.loads(answered["body"])


def test_health_is_200_when_every_part_answers(parts: Parts) -> None:
    assert health(start()) == (200, {"status": "ok", "parts": {"records": "ok", "files": "ok"}})
    assert sorted(parts.asked, key=str) == [
        {"Bucket": "bucket"},
        {"TableName": "files", "Key": {"file_id": {"S": "health"}}},
    ]


@pytest.mark.parametrize("part", ["records", "files"])
def test_health_is_503_and_names_the_part_that_is_down_and_nothing_more(
    parts: Parts, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parts.failing = part
    states = {"records": "ok", "files": "ok"} | {part: "down"}
    assert health(start()) == (503, {"status": "down", "parts": states})
    assert "secret detail" in capsys.readouterr().out


def test_a_part_that_does_not_answer_is_down_after_two_seconds_at_most(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = start()
    assert module.DEADLINE_SECONDS < 2
    monkeypatch.setattr(module, "DEADLINE_SECONDS", 0.1)
    parts.seconds = 0.5
    began = time.monotonic()
    assert health(module)[1]["parts"] == {"records": "ok", "files": "down"}
    assert time.monotonic() - began < 0.4


def test_a_defect_of_the_health_check_is_a_500_that_tells_nothing(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = start()
    monkeypatch.setattr(module, "check", lambda parts: [][len("inside")])
    assert health(module) == (500, {"error": "Health check failed", "request_id": FakeContext.aws_request_id})


def test_a_health_check_with_wrong_variables_does_not_start(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET_NAME", "arn:aws:s3:::bucket")
    with pytest.raises(ValidationError, match="BUCKET_NAME"):
        start()
