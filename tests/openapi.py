"""docs/openapi.yaml as tests read it: operations, examples, and validators of what is sent and answered."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from synthesis.paths import ROOT

FILE = ROOT / "docs" / "openapi.yaml"
EVENT_FILE = ROOT / "docs" / "schemas" / "file-event-1.json"
_URI = "urn:openapi"
VERBS = ("get", "put", "post", "delete", "patch", "head")


@dataclass(frozen=True)
class Document:
    """The document; parts of it come with every reference at their top followed."""

    json: Mapping[str, Any]

    def follow(self, part: Any) -> Any:  # noqa: ANN401 - a part of a JSON document
        """Return the target of a reference; other values are returned unchanged."""
        while isinstance(part, Mapping) and "$ref" in part:
            found: Any = self.json
            for name in part["$ref"].removeprefix("#/").split("/"):
                found = found[name.replace("~1", "/").replace("~0", "~")]
            part = found
        return part

    def validator(self, schema: Mapping[str, Any]) -> Draft202012Validator:
        """A validator of a schema that may refer to components; formats are checked."""
        registry: Registry[Any] = Registry().with_resource(_URI, DRAFT202012.create_resource(dict(self.json)))
        absolute = json.loads(json.dumps(schema).replace('"#/components/', f'"{_URI}#/components/'))
        return Draft202012Validator(absolute, registry=registry, format_checker=Draft202012Validator.FORMAT_CHECKER)

    def component(self, name: str) -> dict[str, Any]:
        """The schema of a component."""
        found: dict[str, Any] = self.json["components"]["schemas"][name]
        return found

    def operations(self) -> dict[str, Operation]:
        """Every operation by its id."""
        found = [
            Operation(self, verb.upper(), path, item[verb])
            for path, item in self.json["paths"].items()
            for verb in VERBS
            if verb in item
        ]
        return {operation.id: operation for operation in found}

    def contents(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every place that has a schema and examples, with words for where it is."""
        for operation in self.operations().values():
            if operation.body is not None:
                yield f"{operation.id} request", operation.body
            for status, response in operation.responses.items():
                for content in response.get("content", {}).values():
                    yield f"{operation.id} {status}", content


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    document: Document
    method: str
    path: str
    item: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.item["operationId"])

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked who calls."""
        return not self.item.get("security", self.document.json["security"])

    @property
    def parameters(self) -> list[Mapping[str, Any]]:
        """Its own parameters and those of its path."""
        shared = self.document.json["paths"][self.path].get("parameters", [])
        return [self.document.follow(parameter) for parameter in [*shared, *self.item.get("parameters", [])]]

    @property
    def body(self) -> Mapping[str, Any] | None:
        """Schema and examples of what is sent."""
        if "requestBody" not in self.item:
            return None
        found: Mapping[str, Any] = self.item["requestBody"]["content"]["application/json"]
        return found

    @property
    def responses(self) -> dict[str, Mapping[str, Any]]:
        """Return the documented responses, by status."""
        return {status: self.document.follow(response) for status, response in self.item["responses"].items()}

    def examples(self) -> dict[str, Any]:
        """The bodies that it may be called with, by name."""
        return values(self.document, self.body) if self.body is not None else {}


def values(document: Document, content: Mapping[str, Any]) -> dict[str, Any]:
    """Examples of a place by name; copies, for the caller to change."""
    named = content.get("examples", {})
    return {name: copy.deepcopy(document.follow(example)["value"]) for name, example in named.items()}


@cache
def document() -> Document:
    """The document as it is in the tree."""
    return Document(yaml.safe_load(FILE.read_text()))


def event_validator() -> Draft202012Validator:
    """A validator of the events on the topic `files`."""
    return Draft202012Validator(json.loads(EVENT_FILE.read_text()), format_checker=Draft202012Validator.FORMAT_CHECKER)


# bodies that are a little wrong

WRONG: list[Any] = [None, True, 0, -1, 1.5, 10**14, "", "x", "x" * 400, "/", [], ["x"], [1] * 101, {}, {"x": 1}]


def changes(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:  # noqa: ANN401
    """Every place in a body, with every wrong value for it; `...` stands for: not there."""
    if path:
        yield path, ...
    for wrong in WRONG:
        yield path, wrong
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from changes(inner, (*path, name))
    if isinstance(value, list) and value:
        yield path, value * 101
        yield from changes(value[0], (*path, 0))


def changed(body: Any, path: tuple[str | int, ...], wrong: Any) -> Any:  # noqa: ANN401
    """The body with a value at a place."""
    if not path:
        return copy.deepcopy(wrong)
    body = copy.deepcopy(body)
    place = body
    try:
        for name in path[:-1]:
            place = place[name]
        if wrong is ...:
            del place[path[-1]]
        else:
            place[path[-1]] = wrong
    except (LookupError, TypeError):
        return body  # An earlier change took the place away.
    return body
