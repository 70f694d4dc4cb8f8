"""Changes of Terraform JSON that break a rule on purpose, for the tests of guards and of rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Content = dict[str, Any]


def body(content: Content, kind: str, name: str = "") -> Content:
    """The body of a resource: the named one, or the first of its kind."""
    named: dict[str, Content] = content["resource"][kind]
    return named[name] if name else next(iter(named.values()))


def change(kind: str, name: str = "", **arguments: object) -> Callable[[Content], None]:
    """A defect that sets arguments of one resource; None removes one."""

    def seed(content: Content) -> None:
        found = body(content, kind, name)
        for argument, value in arguments.items():
            found.pop(argument, None)
            if value is not None:
                found[argument] = value

    return seed


def add(kind: str, **arguments: object) -> Callable[[Content], None]:
    """A defect that adds a resource."""
    return lambda content: content["resource"].setdefault(kind, {}).update(seeded=arguments)


def remove(kind: str) -> Callable[[Content], None]:
    """A defect that leaves out every resource of a kind."""
    return lambda content: content["resource"].pop(kind)


def statement(**changed: object) -> Callable[[Content], None]:
    """A defect in the first statement of a function's policy for files."""

    def seed(content: Content) -> None:
        policy = body(content, "aws_iam_role_policy", "upload_role_files_write")
        document = json.loads(policy["policy"])
        document["Statement"][0].update(changed)
        policy["policy"] = json.dumps(document)

    return seed


API = "${aws_api_gateway_rest_api.api.execution_arn}"
