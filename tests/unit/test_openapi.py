"""docs/openapi.yaml alone, and against the functions: it is valid, its examples are, its numbers are the code's."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from functions.upload.logic import MAX_CONTENT_BYTES, MAX_NAME_BYTES
from tests.openapi import EVENT_FILE, Document, Operation, document, event_validator, values

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
    """Every object below a part."""
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
