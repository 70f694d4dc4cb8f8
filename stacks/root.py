"""A Terraform root as JSON, as the guards read it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modules.settings import Settings

Json = Mapping[str, Any]

# Arguments that hold a policy document, whatever the resource.
POLICY_ARGUMENTS = ("policy", "assume_role_policy", "access_policy")


@dataclass(frozen=True)
class Finding:
    """One defect: the row of the review it belongs to, the address, and what is wrong."""

    row: int
    address: str
    text: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.address}: {self.text}"


@dataclass(frozen=True)
class Statement:
    """One statement of a policy document.

    Attributes:
        address: the resource that holds the document.
        argument: the argument of it.
        body: the statement in IAM's grammar.
    """

    address: str
    argument: str
    body: Json

    @property
    def title(self) -> str:
        """What a finding calls it."""
        return str(self.body.get("Sid") or "a statement")

    @property
    def allows(self) -> bool:
        """Whether it gives a permission, and does not take one away."""
        return self.body.get("Effect") != "Deny"

    @property
    def of_a_key(self) -> bool:
        """Whether `*` means one key (KMS, "Key policies")."""
        return self.address.startswith("aws_kms_key")

    def many(self, element: str) -> list[str]:
        """The values of an element that may be one or a list."""
        return [str(each) for each in many(self.body.get(element))]


@dataclass(frozen=True)
class Root:
    """A Terraform root as JSON, and the settings it is for."""

    content: Json
    settings: Settings

    def every(self, kind: str = "") -> Iterator[tuple[str, Json]]:
        """Address and body of each resource, of one kind or of all."""
        for resource_kind, named in self.content.get("resource", {}).items():
            if kind in {"", resource_kind}:
                for name, body in named.items():
                    yield f"{resource_kind}.{name}", body

    def body(self, address: str) -> Json:
        """The body of the resource at an address; empty where there is none."""
        kind, _, name = address.partition(".")
        found: Json = self.content.get("resource", {}).get(kind, {}).get(name, {})
        return found

    def about(self, kind: str, argument: str, address: str) -> list[Json]:
        """The bodies of the resources of a kind that name the resource at an address in an argument."""
        return [body for _, body in self.every(kind) if refers(body.get(argument), address)]

    def statements(self) -> Iterator[Statement]:
        """Each statement of each policy document that is valid."""
        for address, body in self.every():
            for argument in POLICY_ARGUMENTS:
                document = parsed(body.get(argument))
                for statement in many(document.get("Statement")) if isinstance(document, dict) else []:
                    if isinstance(statement, dict):
                        yield Statement(address, argument, statement)


def parsed(text: object) -> Any:  # noqa: ANN401 - JSON
    """A value of JSON text; None where the text is none, or something else."""
    try:
        return json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None


def many(value: object) -> list[Any]:
    """The values of what may be left out, one value or a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def block(body: Json, name: str) -> Json:
    """A block of a resource, which Terraform JSON may write as an object or as a list of one; empty if absent."""
    found = many(body.get(name))
    return found[0] if found and isinstance(found[0], dict) else {}


def refers(value: object, address: str) -> bool:
    """Whether a value refers to an attribute of the resource at an address, and not of one whose name begins so."""
    return f"${{{address}." in str(value)


def addresses(value: object) -> list[str]:
    """Addresses of the resources that a value refers to, in their order."""
    return re.findall(r"\$\{(aws_\w+\.\w+)\.", str(value))
