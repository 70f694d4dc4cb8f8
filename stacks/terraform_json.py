"""A Terraform root in JSON, for the guards."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modules.settings import Settings

Json = Mapping[str, Any]

# Arguments that contain a policy document, in any resource.
POLICY_ARGUMENTS = ("policy", "assume_role_policy", "access_policy")


@dataclass(frozen=True)
class Finding:
    """A defect: row of the review, address of the resource, and description."""

    row: int
    address: str
    text: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.address}: {self.text}"


@dataclass(frozen=True)
class Statement:
    """One statement of a policy document.

    Attributes:
        address: address of the resource that has the document.
        argument: argument of the resource that contains the document.
        body: the statement in IAM's grammar.
    """

    address: str
    argument: str
    body: Json

    @property
    def title(self) -> str:
        """The name of the statement in findings."""
        return str(self.body.get("Sid") or "a statement")

    @property
    def allows(self) -> bool:
        """True if the statement grants permissions, False if it denies them."""
        return self.body.get("Effect") != "Deny"

    @property
    def of_a_key(self) -> bool:
        """True if the statement is in a key policy, where `*` means that key (KMS, "Key policies")."""
        return self.address.startswith("aws_kms_key")

    def many(self, element: str) -> list[str]:
        """Return the values of an element, which may be one value or a list."""
        return [str(each) for each in many(self.body.get(element))]


@dataclass(frozen=True)
class Root:
    """A Terraform root in JSON, with its settings."""

    content: Json
    settings: Settings

    def every(self, kind: str = "") -> Iterator[tuple[str, Json]]:
        """Yield address and body of each resource, of one kind or of all kinds."""
        for resource_kind, named in self.content.get("resource", {}).items():
            if kind in {"", resource_kind}:
                for name, body in named.items():
                    yield f"{resource_kind}.{name}", body

    def body(self, address: str) -> Json:
        """Return the body of the resource at an address; empty if there is none."""
        kind, _, name = address.partition(".")
        found: Json = self.content.get("resource", {}).get(kind, {}).get(name, {})
        return found

    def about(self, kind: str, argument: str, address: str) -> list[Json]:
        """Return the bodies of all resources of a kind that refer to an address in an argument."""
        return [body for _, body in self.every(kind) if refers(body.get(argument), address)]

    def statements(self) -> Iterator[Statement]:
        """Yield each statement of each valid policy document."""
        for address, body in self.every():
            for argument in POLICY_ARGUMENTS:
                document = parsed(body.get(argument))
                for statement in many(document.get("Statement")) if isinstance(document, dict) else []:
                    if isinstance(statement, dict):
                        yield Statement(address, argument, statement)


def parsed(text: object) -> Any:  # noqa: ANN401 - JSON
    """Return the value of a JSON text; None if it is not valid JSON or not a text."""
    try:
        return json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None


def many(value: object) -> list[Any]:
    """Return a list of values; the argument is a list, one value, or None for no values."""
    return value if isinstance(value, list) else [] if value is None else [value]


def block(body: Json, name: str) -> Json:
    """Return a block of a resource; empty if absent. In Terraform JSON it is an object or a list with one object."""
    found = many(body.get(name))
    return found[0] if found and isinstance(found[0], dict) else {}


def refers(value: object, address: str) -> bool:
    """Return whether a value refers to an attribute of exactly this address, not only of one that begins with it."""
    return f"${{{address}." in str(value)


def addresses(value: object) -> list[str]:
    """Return the addresses of the resources that a value refers to, in order."""
    return re.findall(r"\$\{(aws_\w+\.\w+)\.", str(value))
