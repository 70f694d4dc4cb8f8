"""docs/openapi.yaml against Terraform JSON: the same routes, as open or closed, and bodies that the gateway takes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from tests.openapi import changed, changes, document
from tests.synth.conftest import Synthesized
from tests.synth.test_api import methods

DOCUMENT = document()
OPERATIONS = DOCUMENT.operations()


def routes(stack: Synthesized) -> dict[tuple[str, str], dict[str, Any]]:
    """Methods of the gateway by verb and path; a preflight is a browser's question and no call."""
    return {(verb, f"/{path}"): body for (verb, path), body in methods(stack).items() if verb != "OPTIONS"}


def test_the_document_has_every_route_and_no_other(stack: Synthesized) -> None:
    assert set(routes(stack)) == {(operation.method, operation.path) for operation in OPERATIONS.values()}


def test_what_is_open_is_documented_as_open(stack: Synthesized) -> None:
    for operation in OPERATIONS.values():
        asked = routes(stack)[operation.method, operation.path]["authorization"]
        assert operation.is_open == (asked == "NONE"), operation.id
    assert any(operation.is_open for operation in OPERATIONS.values())


def test_each_way_to_authorize_has_its_scheme() -> None:
    assert set(DOCUMENT.json["components"]["securitySchemes"]) == {"cognito", "jwt", "iam"}
    assert [set(one) for one in DOCUMENT.json["security"]] == [{"cognito"}, {"jwt"}, {"iam"}]


# bodies: what the gateway refuses, the document refuses


def models(stack: Synthesized) -> dict[tuple[str, str], dict[str, Any]]:
    """The gateway's schema of each route whose bodies it checks."""
    declared = {
        f"${{{address}.name}}": json.loads(model["schema"])
        for address, model in stack.resources("aws_api_gateway_model").items()
    }
    named = {route: method.get("request_models") for route, method in routes(stack).items()}
    return {route: declared[kinds["application/json"]] for route, kinds in named.items() if kinds}


def test_every_body_in_the_document_is_checked_by_the_gateway(prod: Synthesized) -> None:
    with_body = {
        (operation.method, operation.path)
        for operation in OPERATIONS.values()
        if operation.item.get("requestBody", {}).get("required")
    }
    assert set(models(prod)) >= with_body


@pytest.fixture(scope="module")
def checked(output: Any) -> list[tuple[str, Draft4Validator, Any, Any]]:  # noqa: ANN401
    """Operation, gateway's check, document's check, and an example of each body."""
    found = models(Synthesized(output / "stacks" / "sluice-prod"))
    return [
        (
            operation.id,
            Draft4Validator(found[operation.method, operation.path]),
            DOCUMENT.validator(operation.body["schema"]),
            example,
        )
        for operation in OPERATIONS.values()
        if operation.body is not None and (operation.method, operation.path) in found
        for example in operation.examples().values()
    ]


def test_the_gateway_takes_every_example(checked: list[tuple[str, Draft4Validator, Any, Any]]) -> None:
    for name, gateway, _, example in checked:
        Draft4Validator.check_schema(gateway.schema)
        assert gateway.is_valid(example), name


def test_the_document_refuses_what_the_gateway_refuses(
    checked: list[tuple[str, Draft4Validator, Any, Any]],
) -> None:
    refused: dict[str, int] = {}
    for name, gateway, documented, example in checked:
        for path, wrong in changes(example):
            body = changed(example, path, wrong)
            if not gateway.is_valid(body):
                refused[name] = refused.get(name, 0) + 1
                assert not documented.is_valid(body), f"{name}: only the gateway refuses {path} = {wrong!r}"
    assert set(refused) == {name for name, *_ in checked}
    assert all(count > 10 for count in refused.values()), refused


@given(data=st.data())
def test_and_so_it_is_with_several_changes_at_once(
    checked: list[tuple[str, Draft4Validator, Any, Any]], data: st.DataObject
) -> None:
    name, gateway, documented, body = data.draw(st.sampled_from(checked))
    for path, wrong in data.draw(st.lists(st.sampled_from(list(changes(body))), min_size=2, max_size=4)):
        body = changed(body, path, wrong)
    assert documented.is_valid(body) <= gateway.is_valid(body), f"{name}: only the gateway refuses {body!r}"
