"""Who may call the deployed API, and what everyone else reads: tokens, pages of other origins, checks of bodies."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import boto3
import pytest

from tests.e2e.answers import Answer, fetch
from tests.e2e.conftest import Deployed, wait_for
from tools.develop.caller import Bearer, bearer, caller
from tools.embedded_aws import control

ORIGIN = "http://localhost:8000"
FILE = json.dumps({"file_name": "a.txt", "file_content": base64.b64encode(b"mine").decode()}).encode()


def ask(
    deployed: Deployed,
    method: str,
    path: str,
    *,
    token: str | None = None,
    body: bytes | None = None,
    origin: str | None = ORIGIN,
    **headers: str,
) -> Answer:
    """Return the answer that a page of an origin gets in a browser."""
    named = {"Content-Type": "application/json", **({"Origin": origin} if origin else {})}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        named["Authorization"] = token
    request = urllib.request.Request(f"{deployed.api.url}{path}", data=body, headers=named, method=method)
    return fetch(request, deployed.aws.ca_bundle)


def signed_in(deployed: Deployed) -> str:
    assert isinstance(deployed.api.caller, Bearer)
    return f"Bearer {deployed.api.caller.token}"


@pytest.fixture(scope="module")
def users(deployed: Deployed) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
    return boto3.client("cognito-idp", **deployed.options(control.ROOT))  # type: ignore[call-overload]


@pytest.fixture
def brief_client(deployed: Deployed, users: Any) -> Iterator[str]:  # noqa: ANN401
    """A client of the platform's own pool whose tokens live for a second."""
    pool = deployed.outputs["user_pool_id"]
    made = users.create_user_pool_client(
        UserPoolId=pool,
        ClientName="brief",
        ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
        IdTokenValidity=1,
        TokenValidityUnits={"IdToken": "seconds"},
    )["UserPoolClient"]["ClientId"]
    yield made
    users.delete_user_pool_client(UserPoolId=pool, ClientId=made)


@pytest.mark.parametrize("kind", ["AccessToken", "RefreshToken"])
def test_only_a_token_that_says_who_somebody_is_opens_the_api(
    deployed: Deployed,
    users: Any,  # noqa: ANN401
    brief_client: str,
    kind: str,
) -> None:
    address, password = "kinds@example.com", "Aa1-of-a-user-of-this-test"
    who = {"UserPoolId": deployed.outputs["user_pool_id"], "Username": address}
    with suppress(users.exceptions.UsernameExistsException):
        users.admin_create_user(**who, MessageAction="SUPPRESS")
    users.admin_set_user_password(**who, Password=password, Permanent=True)
    tokens = users.initiate_auth(
        ClientId=brief_client,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": address, "PASSWORD": password},
    )["AuthenticationResult"]
    answered = ask(deployed, "GET", "/files", token=f"Bearer {tokens[kind]}")
    assert (answered.status, answered.headers["access-control-allow-origin"]) == (401, ORIGIN)


def test_a_signed_in_user_uploads_and_is_the_owner(deployed: Deployed) -> None:
    answered = ask(deployed, "POST", "/upload", token=signed_in(deployed), body=FILE)
    assert (answered.status, answered.json["message"]) == (200, "File uploaded successfully")
    assert answered.headers["access-control-allow-origin"] == ORIGIN
    file_id = answered.json["file_id"]
    assert isinstance(deployed.api.caller, Bearer)
    stored = deployed.dynamodb().get_item(TableName=deployed.outputs["table_name"], Key={"file_id": {"S": file_id}})
    assert stored["Item"]["owner"] == {"S": f"user:{deployed.api.caller.subject}"}

    path = f"/files/{file_id}/content"
    wait_for(lambda: ask(deployed, "GET", path, token=signed_in(deployed)).status == 200)
    other = caller(deployed.aws, deployed.outputs, "someone-else")
    status, refusal = replace(deployed.api, caller=other).request("GET", path)
    assert (status, json.loads(refusal)["detail"]) == (404, "No such file")
    # The same person, signed in again, has a token of another name and is still the owner.
    again = caller(deployed.aws, deployed.outputs)
    assert again != deployed.api.caller
    assert replace(deployed.api, caller=again).request("GET", path)[0] == 200


def forged(token: str, **changed: object) -> str:
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    rewritten = base64.urlsafe_b64encode(json.dumps({**claims, **changed}).encode()).rstrip(b"=").decode()
    return f"{header}.{rewritten}.{signature}"


def unauthorized(answered: Answer) -> bool:
    assert answered.headers["access-control-allow-origin"] == ORIGIN
    assert answered.headers["www-authenticate"] == "Bearer"
    return answered.is_problem(401, "Unauthorized")


@pytest.mark.parametrize(("method", "path"), [("POST", "/upload"), ("GET", "/files/1/content")])
def test_a_missing_or_wrong_token_is_a_401_that_a_page_can_read(deployed: Deployed, method: str, path: str) -> None:
    valid = signed_in(deployed).removeprefix("Bearer ")
    header = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    wrong = [
        None,
        "Bearer ",
        "Bearer a.b.c",
        f"Bearer {valid[:-8] + valid[-8:][::-1]}",
        f"Bearer {forged(valid, sub='someone-else')}",
        f"Bearer {header}.{valid.split('.')[1]}.",
    ]
    for token in wrong:
        assert unauthorized(ask(deployed, method, path, token=token, body=FILE if method == "POST" else None)), token


def test_a_token_of_another_pool_is_a_401(deployed: Deployed, users: Any) -> None:  # noqa: ANN401
    pool = users.create_user_pool(PoolName="foreign", UsernameAttributes=["email"])["UserPool"]["Id"]
    flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
    client = users.create_user_pool_client(UserPoolId=pool, ClientName="c", ExplicitAuthFlows=flows)
    foreign = bearer(deployed.aws, pool, client["UserPoolClient"]["ClientId"])
    assert unauthorized(ask(deployed, "POST", "/upload", token=f"Bearer {foreign.token}", body=FILE))
    users.delete_user_pool(UserPoolId=pool)


def test_an_expired_token_is_a_401(deployed: Deployed, brief_client: str) -> None:
    token = bearer(deployed.aws, deployed.outputs["user_pool_id"], brief_client, "late").token
    time.sleep(2.5)
    assert unauthorized(ask(deployed, "POST", "/upload", token=f"Bearer {token}", body=FILE))


# pages of other origins


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/upload", "OPTIONS,POST"), ("/files/1/content", "GET,OPTIONS"), ("/health", "GET,OPTIONS")],
)
def test_a_browser_is_told_what_a_page_may_send(deployed: Deployed, path: str, methods: str) -> None:
    answered = ask(
        deployed,
        "OPTIONS",
        path,
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="authorization,content-type",
    )
    assert answered.status == 200
    assert answered.headers["access-control-allow-origin"] == ORIGIN
    assert answered.headers["access-control-allow-methods"] == methods
    assert answered.headers["access-control-allow-headers"] == (
        "Content-Type,X-Amz-Date,Authorization,X-Api-Key,X-Amz-Security-Token,Idempotency-Key,X-Amz-Content-Sha256,"
        "X-Amz-User-Agent"
    )


def test_a_page_can_read_where_its_upload_is_and_when_to_come_back(deployed: Deployed) -> None:
    start = {"file_name": "a.txt", "size": 5, "checksum": "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="}
    token, body = signed_in(deployed), json.dumps(start).encode()
    answers = [
        ask(deployed, "POST", "/uploads", token=token, body=body),
        ask(deployed, "POST", "/uploads", token=token, body=b"{"),
        ask(deployed, "GET", "/health"),
        ask(deployed, "GET", "/no-such-path"),
    ]
    assert [answered.status for answered in answers] == [201, 400, 200, 404]
    for answered in answers:
        exposed = {name.strip().lower() for name in answered.headers["access-control-expose-headers"].split(",")}
        assert {"location", "retry-after", "www-authenticate", "x-amzn-requestid"} <= exposed


def test_answers_of_functions_do_not_open_to_other_origins(deployed: Deployed) -> None:
    for origin in ("https://evil.example", "null", None):
        answered = ask(deployed, "POST", "/upload", token=signed_in(deployed), body=FILE, origin=origin)
        assert answered.status == 200
        assert "access-control-allow-origin" not in answered.headers
        assert answered.headers["vary"] == "Origin"


# what the gateway checks


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
    ],
)
@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
def test_the_gateway_refuses_what_is_no_upload_and_says_what_is(
    deployed: Deployed, body: bytes, content_type: str
) -> None:
    answered = ask(deployed, "POST", "/upload", token=signed_in(deployed), body=body, Content_Type=content_type)
    assert answered.status == 400
    assert answered.json["error"] == "Invalid JSON in request body"
    assert "types" in answered.json["hint"]
    assert answered.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "Missing file_name"),
        (b'{"file_name": "a.txt"}', "Missing file_content"),
        (b'{"file_name": "a.txt", "file_content": ""}', "Empty file_content"),
        (b'{"file_name": "a.txt", "file_content": "?"}', "Invalid file_content: it is not base64"),
        # The gateway could not say which field is wrong.
        (b'{"file_name": 1, "file_content": "YQ=="}', "Invalid file_name: it must be a string"),
        (b'{"file_name": "a.txt", "file_content": ["YQ=="]}', "Invalid file_content: it must be a string"),
        (
            b'{"file_name": "a.txt", "file_content": "YQ==", "content_type": {}}',
            "Invalid content_type: a media type such as image/png is needed",
        ),
        (
            json.dumps({"file_name": "a" * 300, "file_content": "YQ=="}).encode(),
            "Invalid file_name: longer than 255 bytes",
        ),
    ],
)
def test_what_earlier_callers_know_comes_in_the_same_words(deployed: Deployed, body: bytes, message: str) -> None:
    answered = ask(deployed, "POST", "/upload", token=signed_in(deployed), body=body)
    assert (answered.status, answered.json) == (400, {"error": message})
    assert answered.headers["access-control-allow-origin"] == ORIGIN


def test_a_body_beyond_all_limits_is_a_413(deployed: Deployed) -> None:
    body = json.dumps({"file_name": "a", "file_content": "A" * 7_000_000}).encode()
    answered = ask(deployed, "POST", "/upload", token=signed_in(deployed), body=body)
    assert answered.is_problem(413, "Request body is too large; send larger files by POST /uploads")
    assert answered.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize(("method", "path"), [("GET", "/nothing"), ("DELETE", "/upload"), ("GET", "/")])
def test_a_path_or_method_that_is_not_there_is_a_404(deployed: Deployed, method: str, path: str) -> None:
    answered = ask(deployed, method, path)
    assert answered.is_problem(404, "No such path or method")
    assert answered.headers["access-control-allow-origin"] == ORIGIN


def test_an_id_that_no_file_can_have_is_not_there(deployed: Deployed) -> None:
    for file_id in ("%22", "a" * 2100, "%00", "%F0%9F%98%80", "%ff", "a%20b"):
        for method, path in (
            ("GET", f"/files/{file_id}"),
            ("GET", f"/uploads/{file_id}"),
            ("DELETE", f"/files/{file_id}"),
        ):
            answered = ask(deployed, method, path, token=signed_in(deployed))
            assert (answered.status, answered.json["detail"]) == (404, "No such file"), (method, path)


# health


def test_health_goes_deep_and_soon_says_enough(deployed: Deployed) -> None:
    healthy = {"status": "ok", "parts": {"records": "ok", "files": "ok"}}
    wait_for(lambda: ask(deployed, "GET", "/health/deep").status == 200)
    answers = [ask(deployed, "GET", "/health/deep") for _ in range(5)]
    assert {answered.status for answered in answers} <= {200, 429}
    assert all(answered.json == healthy for answered in answers if answered.status == 200)
    refused = [answered for answered in answers if answered.status == 429]
    assert refused
    assert refused[0].is_problem(429, "Too many requests; try again later")
    assert refused[0].headers["retry-after"] == "1"
    # The limit of one method leaves the others alone.
    assert ask(deployed, "GET", "/health").status == 200


def test_health_may_look_at_the_one_record_and_the_bucket_and_did(deployed: Deployed) -> None:
    mine = [
        (decision["action"], decision["allowed"])
        for decision in deployed.decisions()
        if str(decision["principal"]).endswith("/sluice-local-health")
    ]
    assert {action for action, _ in mine} >= {"dynamodb:GetItem", "s3:GetBucketLocation"}
    assert all(allowed for _, allowed in mine)
