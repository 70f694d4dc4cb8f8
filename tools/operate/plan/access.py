"""Access before and after a plan: policies as sets of single permissions (IAM, "Policy grammar").

Two policies that say the same in other words, another order or other statements have the same permissions, and so make
no difference in access.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tools.operate.plan.read import UNKNOWN, Change, document_in

# Arguments that hold policies.
_POLICIES = ("policy", "assume_role_policy", "access_policy", "policy_document", "resource_policy")
# What a policy is of, by kind and by the attribute that names it.
_ROLE_POLICIES = {"aws_iam_role_policy": "role", "aws_iam_user_policy": "user", "aws_iam_group_policy": "group"}


@dataclass(frozen=True, order=True)
class Permission:
    """One action on one resource that one principal is allowed or denied.

    Attributes:
        who: in words, such as `role upload`.
        action: `s3:PutObject`, `every action but s3:GetObject`.
        resource: an ARN, or the address where the ARN is not known yet.
        condition: as JSON; empty for none.
        denied: whether it is a Deny.
    """

    who: str
    action: str
    resource: str
    condition: str = ""
    denied: bool = False

    @property
    def of_everyone(self) -> bool:
        """Return whether everyone has it, without a condition that could restrict it."""
        return self.who == "everyone" and not self.denied and not self.condition


@dataclass(frozen=True)
class Access:
    """The permissions that a change adds and removes.

    Attributes:
        address: of the resource that holds the policy.
        gained: what is allowed after it, and was not before, or is denied no more.
        lost: what is allowed no more, or is denied after it.
        unknown: whether there is a policy that only the apply tells.
    """

    address: str
    gained: tuple[Permission, ...]
    lost: tuple[Permission, ...]
    unknown: bool = False

    def __bool__(self) -> bool:
        return bool(self.gained or self.lost or self.unknown)

    def sentences(self) -> list[tuple[str, str]]:
        """Return sentences with `+` for gained and `-` for lost access, one for each principal and resource."""
        words = {("+", False): "may now", ("+", True): "is no longer denied"}
        words |= {("-", False): "may no longer", ("-", True): "is now denied"}
        return [
            (sign, f"{who} {words[sign, denied]} {', '.join(actions)} on {resource}{condition}")
            for sign, permissions in (("+", self.gained), ("-", self.lost))
            for (who, resource, condition, denied), actions in _grouped(permissions)
        ]


def access_of(change: Change) -> Access:
    """Return the permissions that a change adds and removes; false if there are none."""
    if change.action in {"forget", "move"}:
        return Access(change.address, (), ())
    before, after = _permissions(change, change.before), _permissions(change, change.after)
    unknown = any(change.after.get(name) == UNKNOWN for name in _POLICIES)
    gained = {each for each in after - before if not each.denied} | {each for each in before - after if each.denied}
    lost = {each for each in before - after if not each.denied} | {each for each in after - before if each.denied}
    if unknown:
        # What is not known is not known to be lost.
        lost = set()
    return Access(change.address, tuple(sorted(gained)), tuple(sorted(lost)), unknown)


def policy_in(value: object) -> dict[str, Any] | None:
    """Return the policy document in a text, or None."""
    content = document_in(value) if isinstance(value, str) else None
    return content if isinstance(content, dict) and "Statement" in content else None


def statements_of(policy: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the statements of a policy."""
    return [statement for statement in _many(policy.get("Statement")) if isinstance(statement, dict)]


def _permissions(change: Change, values: Mapping[str, Any]) -> set[Permission]:
    if change.kind == "aws_lambda_permission" and values:
        return {_of_function(values)}
    found: set[Permission] = set()
    if change.kind.endswith("_policy_attachment") and isinstance(values.get("policy_arn"), str):
        party = next((f"{kind} {values[kind]}" for kind in ("role", "user", "group") if values.get(kind)), "somebody")
        found.add(Permission(party, f"everything in {values['policy_arn']}", "what that policy names"))
    for name, value in values.items():
        if (policy := policy_in(value)) is not None:
            for statement in statements_of(policy):
                found |= set(_of_statement(statement, change, values, trust=name == "assume_role_policy"))
    return found


def _of_function(values: Mapping[str, Any]) -> Permission:
    conditions = {
        key: str(values[argument])
        for argument, key in (("source_arn", "aws:SourceArn"), ("source_account", "aws:SourceAccount"))
        if values.get(argument)
    }
    return Permission(
        _who("*" if values.get("principal") == "*" else {"Service": values.get("principal")}),
        str(values.get("action")),
        f"function {values.get('function_name')}",
        _condition({"ArnLike": conditions} if conditions else None),
    )


def _of_statement(
    statement: Mapping[str, Any], change: Change, values: Mapping[str, Any], *, trust: bool
) -> Iterator[Permission]:
    if "Principal" in statement:
        principals = [_who(each) for each in _single_principals(statement["Principal"])]
    elif "NotPrincipal" in statement:
        principals = [f"everyone but {', '.join(map(_who, _single_principals(statement['NotPrincipal'])))}"]
    else:
        principals = [_holder(change, values)]
    actions = [str(action) for action in _many(statement.get("Action"))]
    if "NotAction" in statement:
        actions = [f"every action but {', '.join(map(str, _many(statement['NotAction'])))}"]
    itself = f"role {values.get('name') or change.address}" if trust else change.address
    resources = [str(resource) for resource in _many(statement.get("Resource"))] or [itself]
    if change.kind == "aws_kms_key":
        # There it means that key (KMS, "Key policies").
        resources = [itself if resource == "*" else resource for resource in resources]
    if "NotResource" in statement:
        resources = [f"everything but {', '.join(map(str, _many(statement['NotResource'])))}"]
    for who in principals:
        for action in actions:
            for resource in resources:
                denied = statement.get("Effect") != "Allow"
                yield Permission(who, action, resource, _condition(statement.get("Condition")), denied)


def _holder(change: Change, values: Mapping[str, Any]) -> str:
    """Return the principal of a policy without principals."""
    if attribute := _ROLE_POLICIES.get(change.kind):
        return f"{attribute} {values.get(attribute)}"
    return f"whoever has {change.address}"


def _single_principals(principal: Any) -> Iterator[Any]:  # noqa: ANN401 - IAM writes one or many
    if isinstance(principal, dict):
        for kind, names in principal.items():
            for name in _many(names):
                yield {kind: name}
    else:
        yield principal


def _who(principal: Any) -> str:  # noqa: ANN401 - IAM writes one or many
    if isinstance(principal, dict):
        ((kind, name),) = principal.items()
        if name == "*":
            return "everyone"
        return {"Service": f"service {name}", "AWS": str(name)}.get(kind, f"{kind} {name}")
    return "everyone" if principal == "*" else str(principal)


def _condition(condition: object) -> str:
    return json.dumps(condition, sort_keys=True) if condition else ""


def _grouped(permissions: tuple[Permission, ...]) -> list[tuple[tuple[str, str, str, bool], list[str]]]:
    """Return actions, grouped by all other parts of their permissions."""
    groups: dict[tuple[str, str, str, bool], list[str]] = {}
    for each in permissions:
        key = (each.who, each.resource, f" if {each.condition}" if each.condition else "", each.denied)
        groups.setdefault(key, []).append(each.action)
    return list(groups.items())


def _many(value: Any) -> list[Any]:  # noqa: ANN401 - IAM writes one or many
    return value if isinstance(value, list) else [] if value is None else [value]
