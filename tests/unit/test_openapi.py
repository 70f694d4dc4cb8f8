"""docs/openapi.yaml: it is valid, its examples are valid, and its numbers are those of the code."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import hypothesis
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from functions.common import contract
from functions.common.contract import MAX_CONTENT_BYTES, MAX_NAME_BYTES
from functions.common.records import Quota
from functions.common.rest_api import PROBLEMS, Refused
from functions.files import listing
from functions.upload.logic import UploadRequest
from functions.uploads import logic
from tests.openapi import EVENT_FILE, Document, Operation, changed, changes, document, event_validator, values

DOCUMENT = document()
OPERATIONS = DOCUMENT.operations()
PROBLEM, OLD = "application/problem+json", "application/json"
# These keep the form of errors that earlier callers know.
KEEPS_OWN_FORM = {"uploadSmall", "getHealth", "getDeepHealth"}


def test_it_is_valid() -> None:
    validate(DOCUMENT.json)


def test_formats_are_checked_and_not_only_named() -> None:
    time, file_id = (DOCUMENT.validator(DOCUMENT.component(name)) for name in ("Time", "FileId"))
    assert time.is_valid("2026-11-25T09:00:00.000+00:00")
    assert not time.is_valid("yesterday")
    assert not file_id.is_valid("1")


def schemas(part: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - a part of a JSON document
    """Yield every object below a part."""
    if isinstance(part, dict):
        yield part
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from schemas(each)


def test_every_component_is_a_schema_and_is_used() -> None:
    text = json.dumps(DOCUMENT.json)
    for name, schema in DOCUMENT.json["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert f'"#/components/schemas/{name}"' in text, name
    for kind in ("responses", "examples", "parameters", "headers"):
        for name in DOCUMENT.json["components"][kind]:
            assert f'"#/components/{kind}/{name}"' in text, name
    for schema in schemas(DOCUMENT.json["components"]["schemas"]):
        re.compile(str(schema.get("pattern", "")))


@pytest.mark.parametrize(
    ("where", "content"), list(DOCUMENT.contents()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_place_has_examples_and_they_fit_its_schema(where: str, content: dict[str, Any]) -> None:
    examples = values(DOCUMENT, content)
    assert examples, where
    for name, value in examples.items():
        faults = [error.message for error in DOCUMENT.validator(content["schema"]).iter_errors(value)]
        assert not faults, f"{where}, {name}: {faults}"


def test_examples_of_parameters_fit_too() -> None:
    for operation in OPERATIONS.values():
        for parameter in operation.parameters:
            if "example" in parameter:
                DOCUMENT.validator(parameter["schema"]).validate(parameter["example"])
            else:
                assert parameter["name"] == "cursor", "an opaque one has no example"


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda operation: operation.id)
def test_errors_have_the_form_that_the_operation_promises(operation: Operation) -> None:
    for status, response in operation.responses.items():
        headers = {name for name, header in response["headers"].items() if DOCUMENT.follow(header)["required"]}
        assert headers == {"Cache-Control", *{"429": ["Retry-After"], "201": ["Location"]}.get(status, [])}, status
        contents = response.get("content", {})
        examples = [value for content in contents.values() for value in values(DOCUMENT, content).values()]
        if status == "204":
            assert not contents
        elif status < "400" or status == "503":
            assert set(contents) == {OLD}
        elif operation.id in KEEPS_OWN_FORM:
            # The gateway answers for every path in one form, which therefore has both.
            assert set(contents) <= {OLD, PROBLEM}
            assert all("error" in example for example in examples)
        else:
            assert set(contents) == {PROBLEM}
        for example in values(DOCUMENT, contents.get(PROBLEM, {})).values():
            assert str(example["status"]) == status
    assert ("401" in operation.responses) is not operation.is_open
    assert ("404" in operation.responses) is ("{file_id}" in operation.path)


def test_every_path_names_its_parameters() -> None:
    for operation in OPERATIONS.values():
        named = {parameter["name"] for parameter in operation.parameters if parameter["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", operation.path)), operation.id


def test_links_lead_to_operations_and_start_at_what_is_answered() -> None:
    seen = 0
    for operation in OPERATIONS.values():
        for response in operation.responses.values():
            for link in response.get("links", {}).values():
                target = OPERATIONS[link["operationId"]]
                assert set(link["parameters"]) <= {parameter["name"] for parameter in target.parameters}
                for expression in link["parameters"].values():
                    field = expression.removeprefix("$response.body#/")
                    for content in response["content"].values():
                        assert all(field in example for example in values(DOCUMENT, content).values())
                        seen += 1
    assert seen > 10


# what examples say of bytes is so


def digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def encoded(binary: bytes) -> str:
    return base64.b64encode(binary).decode()


def test_the_small_examples_are_about_the_same_bytes() -> None:
    content = base64.b64decode(OPERATIONS["uploadSmall"].examples()["hello"]["file_content"])
    declared = OPERATIONS["startUpload"].examples()["small"]
    assert content == b"Hello, Sluice!\n"
    assert (declared["size"], declared["checksum"]) == (len(content), encoded(digest(content)))


def test_the_large_example_is_about_zeros() -> None:
    declared = OPERATIONS["startUpload"].examples()["large"]
    part = digest(bytes(8 * 2**20))
    assert declared["size"] == 12 * 8 * 2**20
    assert declared["checksum"] == encoded(digest(part * 12)) + "-12"
    assert declared["part_checksums"] == [encoded(part)] * 10
    rest = OPERATIONS["signParts"].examples()["next"]["parts"]
    assert rest == [{"part_number": number, "checksum": encoded(part)} for number in (11, 12)]


# the code's numbers


def test_the_small_upload_has_the_limits_of_the_function() -> None:
    small = DOCUMENT.component("SmallUpload")["properties"]
    # Four characters of base64 for every three bytes.
    assert small["file_content"]["maxLength"] == MAX_CONTENT_BYTES * 4 // 3
    assert f"{MAX_CONTENT_BYTES:,} bytes" in small["file_content"]["description"]
    assert f"{MAX_CONTENT_BYTES:,} bytes" in OPERATIONS["uploadSmall"].item["summary"]
    assert DOCUMENT.component("FileName")["maxLength"] == MAX_NAME_BYTES


def test_limits_of_uploads_are_those_of_the_code() -> None:
    start, parts_ = DOCUMENT.component("StartUpload"), DOCUMENT.component("SignParts")["properties"]["parts"]
    assert start["properties"]["size"]["maximum"] == contract.MAX_FILE_BYTES
    assert start["properties"]["part_checksums"]["maxItems"] == contract.MAX_FIRST_PARTS
    assert start["if"]["properties"]["size"]["maximum"] == contract.MAX_POST_BYTES
    assert f"{contract.MAX_POST_BYTES:,} bytes" in OPERATIONS["startUpload"].item["description"]
    assert f"{contract.MAX_POST_BYTES:,} bytes" in " ".join(DOCUMENT.json["info"]["description"].split())
    assert parts_["maxItems"] == contract.MAX_PARTS_PER_CALL
    assert DOCUMENT.component("PartNumber")["maximum"] == contract.MAX_PARTS
    assert DOCUMENT.component("PartSize")["minimum"] == contract.MIN_PART_BYTES
    limit, cursor, state, prefix = OPERATIONS["listFiles"].parameters
    assert (limit["schema"]["default"], limit["schema"]["maximum"]) == (contract.DEFAULT_PAGE, contract.MAX_PAGE)
    assert [each["name"] for each in (cursor, state, prefix)] == ["cursor", "state", "prefix"]
    assert set(DOCUMENT.component("State")["enum"]) == listing.STATES
    seconds = DOCUMENT.component("ContentLink")["properties"]["expires_in"]["const"]
    assert f"{seconds} seconds" in OPERATIONS["getFileContent"].item["description"]


def test_kinds_of_problems_are_those_of_the_code() -> None:
    named = {
        kind.removeprefix("urn:sluice:problem:") for kind in DOCUMENT.component("Problem")["properties"]["type"]["enum"]
    }
    # Of the gateway alone: a policy refuses; one answer for several statuses.
    assert named == {*PROBLEMS.values(), "forbidden", "about:blank"}
    for operation in OPERATIONS.values():
        for status, response in operation.responses.items():
            for example in values(DOCUMENT, response.get("content", {}).get(PROBLEM, {})).values():
                kind = example["type"].removeprefix("urn:sluice:problem:")
                assert kind == PROBLEMS[int(status)] or (kind, status) == ("forbidden", "403")


# what the document takes, the functions take, and the other way round

RULES = logic.Rules(
    max_bytes=contract.MAX_FILE_BYTES,
    allowed_content_types=("*",),
    quota=Quota(1, 1),
    link_seconds=900,
    expiry=timedelta(hours=1),
    key_arn="",
)


def start_is_taken(body: object) -> bool:
    return taken(lambda: logic.Declaration.parse(json.dumps(body), rules=RULES))


def small_is_taken(body: object) -> bool:
    return taken(lambda: UploadRequest.parse(json.dumps(body), allowed=("*",)))


def taken(parse: Callable[[], object]) -> bool:
    try:
        parse()
    except Refused:
        return False
    return True


def documented(name: str, body: object) -> bool:
    schema = OPERATIONS[name].item["requestBody"]["content"]["application/json"]["schema"]
    return DOCUMENT.validator(schema).is_valid(body)


@pytest.mark.parametrize(
    ("operation", "example", "is_taken"),
    [
        ("startUpload", "small", start_is_taken),
        ("startUpload", "large", start_is_taken),
        ("uploadSmall", "hello", small_is_taken),
    ],
)
def test_the_function_takes_what_the_document_takes(
    operation: str, example: str, is_taken: Callable[[object], bool]
) -> None:
    body = OPERATIONS[operation].examples()[example]
    assert documented(operation, body)
    assert is_taken(body)
    refused = 0
    for path, wrong in changes(body):
        other = changed(body, path, wrong)
        if path == ("size",) and other.get("size") == 10**14:
            continue  # Beyond what S3 takes at all.
        if path == ("content_type",) and not wrong and not isinstance(wrong, (list, dict, bool, int)):
            continue  # Nothing said is taken in several ways, and documented in one.
        if path == ("part_checksums",) and example == "large" and other.get("part_checksums", ...) is None:
            continue
        assert documented(operation, other) == is_taken(other), f"{path} = {wrong!r}"
        refused += not is_taken(other)
    assert refused > 20


@given(name=st.text(max_size=300))
@hypothesis.example(name=" .. ")
@hypothesis.example(name="a/b")
@hypothesis.example(name="\u202egpj.exe")
@hypothesis.example(name="é" * 127)
@hypothesis.example(name="a\x85")
@hypothesis.example(name="\x9b31m")
@hypothesis.example(name="a\U000e0061")
@hypothesis.example(name="a\U0001ffff")
@hypothesis.example(name="a\ufdd0")
@hypothesis.example(name="\u200d.\u200d.")
@hypothesis.example(name="\u200b")
def test_the_function_takes_the_names_that_the_document_takes(name: str) -> None:
    # Python's `$` looks past a last line feed, that of JSON Schema does not; a schema counts characters, S3 bytes.
    assume(not name.endswith("\n") and len(name.encode()) <= MAX_NAME_BYTES)
    body = OPERATIONS["startUpload"].examples()["small"] | {"file_name": name}
    assert documented("startUpload", body) == start_is_taken(body)


@given(digest=st.binary(min_size=31, max_size=33), bits=st.integers(0, 3))
def test_the_function_takes_the_checksums_that_the_document_takes(digest: bytes, bits: int) -> None:
    """A checksum has one spelling: the spare bits of its last character are zero."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    text = encoded(digest)
    last = len(text.rstrip("=")) - 1
    spelled = text[:last] + letters[letters.index(text[last]) ^ bits] + text[last + 1 :]
    body = OPERATIONS["startUpload"].examples()["small"] | {"checksum": spelled}
    assert documented("startUpload", body) == start_is_taken(body) == (len(digest) == 32 and bits == 0)


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ({}, True),
        ({"limit": "1"}, True),
        ({"limit": "100"}, True),
        ({"limit": "0"}, False),
        ({"limit": "101"}, False),
        ({"limit": "x"}, False),
        ({"state": "available"}, True),
        ({"state": "ending"}, False),
        ({"state": "gone"}, False),
        ({"prefix": "a"}, True),
        ({"sort": "name"}, False),
    ],
)
def test_the_function_takes_the_parameters_that_the_document_takes(query: dict[str, str], fits: bool) -> None:
    known = {parameter["name"]: parameter["schema"] for parameter in OPERATIONS["listFiles"].parameters}
    read = {name: int(value) if name == "limit" and value.isdecimal() else value for name, value in query.items()}
    fitting = all(name in known and DOCUMENT.validator(known[name]).is_valid(value) for name, value in read.items())
    assert fitting == fits
    assert taken(lambda: listing.Page.parse(query)) == fits


@pytest.mark.parametrize("key", ["12345678", "a" * 128, "A-b_c.d:e", "1234567", "a" * 129, "with space", "ümlaut12"])
def test_the_function_takes_the_keys_that_the_document_takes(key: str) -> None:
    (parameter,) = (each for each in OPERATIONS["startUpload"].parameters if each["in"] == "header")
    fits = DOCUMENT.validator(parameter["schema"]).is_valid(key)
    assert fits == taken(lambda: logic.file_id_of("user:1", key))
    assert fits == (8 <= len(key) <= 128 and key.isascii() and " " not in key)


# the event


def test_the_schema_of_the_event_is_one_and_its_examples_fit() -> None:
    schema = json.loads(EVENT_FILE.read_text())
    Draft202012Validator.check_schema(schema)
    assert {example["event"] for example in schema["examples"]} >= {"file_uploaded", "file_rejected"}
    for example in schema["examples"]:
        event_validator().validate(example)


@pytest.mark.parametrize(
    "changed",
    [
        {"version": "2"},
        {"event": "file_deleted"},
        {"size": "15"},
        {"size": 0},
        {"upload_time": "yesterday"},
        {"checksum": "0" * 64},
        {"failure": "an uploaded file has none"},
        {"event": "file_rejected"},
    ],
)
def test_what_is_no_event_is_refused(changed: dict[str, object]) -> None:
    example = json.loads(EVENT_FILE.read_text())["examples"][0]
    assert event_validator().is_valid(example)
    assert not event_validator().is_valid(example | changed)


def test_an_event_may_not_lack_what_subscribers_know() -> None:
    example = json.loads(EVENT_FILE.read_text())["examples"][0]
    for name in example:
        assert not event_validator().is_valid({key: value for key, value in example.items() if key != name}), name


def test_documents_are_read_anew_and_not_shared() -> None:
    """Tests change examples; the next one has to get them as they are written."""
    OPERATIONS["startUpload"].examples()["small"]["size"] = 0
    assert OPERATIONS["startUpload"].examples()["small"]["size"] == 15
    assert isinstance(DOCUMENT, Document)
