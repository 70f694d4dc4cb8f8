"""For any request, the functions of the API answer what is wrong with it, and never with 5xx."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from modules.api_routes import KNOWN_ROUTES
from tests.unit.fakes import FakeContext, rest_event
from tests.unit.memory import Aws, call, start

FUNCTION_OF = {"upload": "upload", "uploads": "uploads", "files": "files", "quota": "files"}
# Its routes take no input.
WITHOUT_INPUT = "health"
ROUTES = [route for route in KNOWN_ROUTES if route[1].split("/")[1] != WITHOUT_INPUT]
ID_ROUTES = [route for route in ROUTES if "{file_id}" in route[1]]
WRONG_IDS = [
    '"',
    "%22",
    "a" * 2100,
    "\x00",
    "..",
    " ",
    "\u2028",
    "é" * 700,
    "a\nb",
    "a#b",
    "`",
    "\\",
    "😀",
    "{x}",
    "a\x7f",
]


def function_of(path: str) -> str:
    return FUNCTION_OF[path.split("/")[1]]


def words_of(answered: dict[str, Any]) -> str:
    """Return the text of a refusal, in either of the two forms."""
    body = json.loads(answered["body"])
    words = body.get("detail") or body.get("error")
    assert isinstance(words, str)
    return words


@pytest.mark.parametrize(("method", "path"), ID_ROUTES)
def test_an_id_that_no_file_can_have_is_a_404_without_a_look_at_the_table(
    aws: Aws, method: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**request: object) -> None:
        raise AssertionError(request)

    monkeypatch.setattr(aws.dynamodb, "get_item", refuse)
    handler = start(function_of(path)).handler
    for file_id in WRONG_IDS:
        # API Gateway decodes the path's parameter; the path it hands over may be decoded or not.
        event = rest_event(method, path.replace("{file_id}", file_id), "{}")
        event |= {"resource": path, "pathParameters": {"file_id": unquote(file_id)}}
        answered = handler(event, FakeContext())
        assert (answered["statusCode"], words_of(answered)) == (404, "No such file"), file_id


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "TRACE", "PROPFIND", "get"])
@pytest.mark.parametrize("path", ["/upload", "/uploads", "/files", "/quota"])
def test_a_method_that_is_not_routed_is_not_there(aws: Aws, method: str, path: str) -> None:
    answered = start(function_of(path)).handler(rest_event(method, path), FakeContext())
    if method == "get" and path in {"/files", "/quota"}:
        assert answered["statusCode"] == 200
    else:
        assert (answered["statusCode"], words_of(answered)) == (404, "No such path or method")


def test_a_slash_at_the_end_changes_nothing(aws: Aws) -> None:
    assert call("files", rest_event("GET", "/files/"))[0] == 200


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"limit": ["1", "2"]}, "The parameter limit is given more than once"),
        ({"prefix": ["a", "a"]}, "The parameter prefix is given more than once"),
        ({"prefix": ["\ud800"]}, "A parameter is not valid Unicode"),
        ({"\ud800": ["1"]}, "A parameter is not valid Unicode"),
        ({"": [""]}, "There is no parameter : limit, cursor, state and prefix are known"),
        ({"limit": ["9" * 5000]}, "Invalid limit: a number from 1 to 100 is needed"),
        ({"limit": ["१"]}, "Invalid limit: a number from 1 to 100 is needed"),
        ({"state": ["available", "ending"]}, "The parameter state is given more than once"),
        ({"cursor": ["%00"]}, "Invalid cursor: take it from the page before"),
        ({"cursor": ["é" * 100]}, "Invalid cursor: take it from the page before"),
        ({"cursor": ["W" * 100_000]}, "Invalid cursor: take it from the page before"),
    ],
)
def test_what_is_wrong_with_a_query_is_said(aws: Aws, query: dict[str, list[str]], words: str) -> None:
    event = rest_event("GET", "/files")
    event["multiValueQueryStringParameters"] = query
    event["queryStringParameters"] = {name: values[-1] for name, values in query.items()}
    status, problem = call("files", event)
    assert (status, problem["detail"]) == (400, words)


def test_an_idempotency_key_is_given_once(aws: Aws) -> None:
    event = rest_event("POST", "/uploads", json.dumps(STARTED), headers={"idempotency-key": "abcdefgh"})
    assert call("uploads", event)[0] == 201
    event["multiValueHeaders"]["idempotency-key"] = ["abcdefgh", "ijklmnop"]
    status, problem = call("uploads", event)
    assert (status, problem["detail"]) == (400, "The header idempotency-key is given more than once")


STARTED = {"file_name": "a.txt", "size": 5, "checksum": "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"file_name": "a" * 300}, "Invalid file_name: longer than 255 bytes"),
        ({"file_name": 5}, "Invalid file_name: it must be a string"),
        ({"file_name": []}, "Invalid file_name: it must be a string"),
        ({"content_type": "a/" + "b" * 400}, "Invalid content_type: a media type such as image/png is needed"),
        ({"content_type": {}}, "Invalid content_type: a media type such as image/png is needed"),
    ],
)
@pytest.mark.parametrize(("path", "fields"), [("/upload", {"file_content": "aGVsbG8="}), ("/uploads", STARTED)])
def test_the_functions_say_what_the_gateway_cannot(
    aws: Aws, path: str, fields: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    event = rest_event("POST", path, json.dumps({"file_name": "a.txt", **fields, **change}))
    answered = start(function_of(path)).handler(event, FakeContext())
    assert (answered["statusCode"], words_of(answered)) == (400, words)


# anything

TEXT = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", "\x00", "\ud800", "null", "-1", "1e400", "9" * 5000, "a" * 3000, "%00", "..", "\U0001d7d9"]),
)
NUMBERS = st.one_of(
    st.integers(), st.floats(), st.sampled_from([0, -1, 2**63, 10**400, 1e308, float("inf"), float("nan"), True])
)
FIELDS = ("file_name", "file_content", "content_type", "size", "checksum", "part_checksums", "parts", "part_number")
CHECKSUM = st.sampled_from([STARTED["checksum"], f"{STARTED['checksum']}-2", "AAAA", "=" * 44])
VALUES = st.recursive(
    st.one_of(st.none(), NUMBERS, TEXT, CHECKSUM, st.sampled_from(["a.txt", "text/plain", "aGVsbG8=", 5, 200_000_000])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(st.sampled_from(FIELDS), TEXT), inner, max_size=4)
    ),
    max_leaves=8,
)
GOOD = st.fixed_dictionaries(
    {"file_name": st.just("a.txt"), "size": st.sampled_from([5, 200_000_000]), "checksum": CHECKSUM},
    optional={name: VALUES for name in FIELDS if name not in {"file_name", "size", "checksum"}},
)
BODIES = st.one_of(
    st.none(), TEXT, st.one_of(VALUES, GOOD, st.dictionaries(st.sampled_from(FIELDS), VALUES)).map(json.dumps)
)
NAMES = st.one_of(st.sampled_from(["limit", "cursor", "state", "prefix"]), TEXT)
HEADERS = st.one_of(st.sampled_from(["Idempotency-Key", "idempotency-key", "Origin", "Content-Type", "Accept"]), TEXT)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Return an event of API Gateway for a route, with any content that a caller can send."""
    method, template = draw(st.sampled_from(ROUTES))
    file_id = draw(st.one_of(TEXT, st.sampled_from([*WRONG_IDS, "11111111-2222-3333-4444-555555555555"])))
    path = template.replace("{file_id}", file_id) + draw(st.sampled_from(["", "/", "//"]))
    event = rest_event(draw(st.sampled_from([method] * 8 + ["HEAD", "OPTIONS", "ANY", ""])), path, draw(BODIES))
    event["resource"] = template
    event["pathParameters"] = draw(st.sampled_from([None, {"file_id": file_id}]))
    for single, multiple, names in (
        ("queryStringParameters", "multiValueQueryStringParameters", NAMES),
        ("headers", "multiValueHeaders", HEADERS),
    ):
        every = draw(st.one_of(st.none(), st.dictionaries(names, st.lists(TEXT, min_size=1, max_size=3), max_size=3)))
        event[multiple] = every
        event[single] = {name: values[-1] for name, values in every.items()} if every is not None else None
    if event["body"] is not None and draw(st.booleans()):
        content = draw(st.one_of(st.just(event["body"].encode("utf-8", "replace")), st.binary(max_size=40)))
        event |= {"body": base64.b64encode(content).decode(), "isBase64Encoded": True}
    return event


@pytest.fixture
def handlers(aws: Aws) -> dict[str, Any]:
    """The functions, started once for many requests."""
    return {name: start(name).handler for name in sorted(set(FUNCTION_OF.values()))}


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(event=events())
@example(event=rest_event("GET", '/files/"'))
def test_no_request_is_a_failure_of_ours(handlers: dict[str, Any], event: dict[str, Any]) -> None:
    answered = handlers[function_of(event["resource"])](event, FakeContext())
    assert answered["statusCode"] < 500, answered
    if answered["statusCode"] >= 400:
        assert len(words_of(answered)) > 5
