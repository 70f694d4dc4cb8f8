"""A Terraform plan as values, with every secret hidden before anything else sees it (Terraform, "JSON output format").

Everything that reports, judges or guards works on what this module returns, so a secret cannot slip past one of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Action = Literal["create", "change", "replace", "destroy", "forget", "move", "import", "read"]

# What a name says of its value. Names of ARNs, ids and lifetimes of secrets are not secret.
_SECRET_NAME = re.compile(r"password|passwd|secret|token|private_?key|api_?key|credential", re.IGNORECASE)
_NO_SECRET_NAME = re.compile(r"(arn|_name|_id|validity|validity_units|_days|_seconds)$", re.IGNORECASE)
# What the use of a resource changes; no hand did it.
_CHANGES_BY_USE = {
    ("aws_cognito_user_pool", "estimated_number_of_users"),
    ("aws_lambda_event_source_mapping", "last_processing_result"),
    # The owner of the address confirmed the subscription.
    ("aws_sns_topic_subscription", "confirmation_was_authenticated"),
    ("aws_sns_topic_subscription", "pending_confirmation"),
}
# Attributes that repeat a separate resource, by kind of resource. For each: kind of the separate resource, its argument
# that refers to the first one, and the attribute that it refers to. Drift shows in the separate resource.
_REPEATED: Mapping[str, Mapping[str, tuple[str, str, str]]] = {
    "aws_api_gateway_stage": {"web_acl_arn": ("aws_wafv2_web_acl_association", "resource_arn", "arn")},
    "aws_cognito_user_pool": {"domain": ("aws_cognito_user_pool_domain", "user_pool_id", "id")},
    "aws_s3_bucket": {
        "cors_rule": ("aws_s3_bucket_cors_configuration", "bucket", "id"),
        "lifecycle_rule": ("aws_s3_bucket_lifecycle_configuration", "bucket", "id"),
        "logging": ("aws_s3_bucket_logging", "bucket", "id"),
        "policy": ("aws_s3_bucket_policy", "bucket", "id"),
        "replication_configuration": ("aws_s3_bucket_replication_configuration", "bucket", "id"),
        "server_side_encryption_configuration": (
            "aws_s3_bucket_server_side_encryption_configuration",
            "bucket",
            "id",
        ),
        "versioning": ("aws_s3_bucket_versioning", "bucket", "id"),
    },
    "aws_secretsmanager_secret": {"policy": ("aws_secretsmanager_secret_policy", "secret_arn", "arn")},
    "aws_sns_topic": {"policy": ("aws_sns_topic_policy", "arn", "arn")},
    "aws_sqs_queue": {
        "policy": ("aws_sqs_queue_policy", "queue_url", "url"),
        "redrive_allow_policy": ("aws_sqs_queue_redrive_allow_policy", "queue_url", "url"),
        "redrive_policy": ("aws_sqs_queue_redrive_policy", "queue_url", "url"),
    },
}
# A secret this long is hidden wherever it stands, not just in its own attribute. A shorter one would hide half a plan.
_LONG_SECRET = 6


@dataclass(frozen=True)
class Hidden:
    """A secret, which can be compared but not read."""

    _value: str = field(repr=False)

    def __str__(self) -> str:
        return "(hidden)"


@dataclass(frozen=True)
class Unknown:
    """A value that is only known after the apply."""

    def __str__(self) -> str:
        return "(known after apply)"


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Change:
    """The change of one resource.

    Attributes:
        address: Terraform address.
        kind: type of the resource, such as `aws_s3_bucket`.
        before: its attributes now; empty for one that is created.
        after: its attributes then, `UNKNOWN` where only the apply tells; empty for one that is destroyed.
        replaced_for: paths of the attributes that cannot change in place.
        gap: whether it is gone for a while: destroyed before its successor is created.
        moved_from: its address before, where a `moved` block says so.
    """

    address: str
    kind: str
    action: Action
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    replaced_for: tuple[str, ...] = ()
    gap: bool = False
    moved_from: str = ""

    @property
    def name(self) -> str:
        """The address without its kind."""
        return self.address.rpartition(f"{self.kind}.")[2]

    @property
    def concern(self) -> str:
        """The first word of the name: the construct to which it belongs."""
        return re.split(r"[_\[.]", self.name, maxsplit=1)[0]

    @property
    def destroys(self) -> bool:
        """True if the existing resource will be destroyed."""
        return self.action in {"replace", "destroy"}


@dataclass(frozen=True)
class Plan:
    """A plan, or the result of a refresh.

    Attributes:
        changes: what happens, in order of concern and address; nothing for resources that stay as they are.
        outputs: names of the outputs that change.
    """

    changes: tuple[Change, ...]
    outputs: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes or self.outputs)

    def count(self, *actions: Action) -> int:
        """Return the number of resources with one of some actions."""
        return sum(change.action in actions for change in self.changes)


def read_plan(plan: Mapping[str, Any], configuration: Mapping[str, Any] | None = None) -> Plan:
    """Return the changes of a plan.

    Args:
        plan: `terraform show -json` of it.
        configuration: the Terraform JSON it was made of. A policy whose ARNs are known after apply only is read there,
            with references for ARNs: otherwise the permissions of a new role would be unknown.
    """
    outputs = [name for name, change in plan.get("output_changes", {}).items() if change["actions"] != ["no-op"]]
    written = _written(configuration, plan) if configuration else None
    return _read(plan.get("resource_changes", ()), outputs, written)


def read_drift(plan: Mapping[str, Any], configuration: Mapping[str, Any] | None = None) -> Plan:
    """Return the changes that were made in the account without Terraform.

    Some changes are left out. After an apply, the state lacks effects of one resource on another: a bucket was read
    before its policy was created. Normal use changes some attributes, and the configuration ignores some changes.

    Args:
        plan: `terraform show -json` of a plan made with -refresh-only.
        configuration: the Terraform JSON that was applied, for its `ignore_changes`.
    """
    resources = plan.get("prior_state", {}).get("values", {}).get("root_module", {}).get("resources", ())
    written = (configuration or {}).get("resource", {})
    found = _read(plan.get("resource_drift", ()), [], None)
    changes = [
        _by_hand(change, resources, written) if change.action == "change" else change for change in found.changes
    ]
    return Plan(tuple(change for change in changes if change.action != "change" or _differs(change)))


def _differs(change: Change) -> bool:
    """Return whether a value changes. A JSON document in another spelling is the same: the provider writes its own."""
    return any(
        not (isinstance(before, str) and isinstance(after, str))
        or (document := document_in(before)) is None
        or document != document_in(after)
        for _, before, after in differences(change)
    )


def _by_hand(change: Change, resources: Sequence[Mapping[str, Any]], written: Mapping[str, Any]) -> Change:
    """Return a change of a resource without the attributes that change by themselves."""
    body = written.get(change.kind, {}).get(change.name.partition("[")[0], {})
    ignored = body.get("lifecycle", {}).get("ignore_changes", ())
    left_out = {name for kind, name in _CHANGES_BY_USE if kind == change.kind}
    left_out |= set(change.after) if ignored == "all" else set(ignored)
    left_out |= {
        attribute
        for attribute, (kind, argument, named) in _REPEATED.get(change.kind, {}).items()
        if any(_values_of(resources, kind, argument, change.after.get(named)))
    }
    before, after = (
        {name: value for name, value in values.items() if name not in left_out}
        for values in (change.before, change.after)
    )
    for attribute, name, known in _repeated_entries(change, resources):
        for values in (before, after):
            values[attribute] = [each for each in values.get(attribute) or () if each.get(name) not in known]
    return replace(change, before=before, after=after)


def _repeated_entries(change: Change, resources: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, set[object]]]:
    """Yield attributes whose entries are separate resources: attribute, field with the name of an entry, known names.

    An entry with another name was added outside of Terraform, and only this attribute shows it.
    """
    if change.kind == "aws_iam_role":
        policies = _values_of(resources, "aws_iam_role_policy", "role", change.after.get("id"))
        yield "inline_policy", "name", {values.get("name") for values in policies}
    if change.kind == "aws_dynamodb_table":
        copies = _values_of(resources, "aws_dynamodb_table_replica", "global_table_arn", change.after.get("arn"))
        yield "replica", "region_name", {str(values.get("arn")).split(":")[3] for values in copies}


def _values_of(
    resources: Sequence[Mapping[str, Any]], kind: str, argument: str, value: object
) -> Iterator[Mapping[str, Any]]:
    """Yield the values of resources of a kind whose argument has this value."""
    for resource in resources:
        if resource["type"] == kind and value is not None and resource["values"].get(argument) == value:
            yield resource["values"]


# Arguments that somebody wrote, by address: texts with the references in them resolved, None for everything else.
_Written = Mapping[str, Mapping[str, str | None]]


def _read(resources: Sequence[Mapping[str, Any]], outputs: Sequence[str], written: _Written | None) -> Plan:
    secrets: set[str] = set()
    for resource in resources:
        change = resource["change"]
        _collect(change.get("before"), change.get("before_sensitive"), secrets)
        _collect(change.get("after"), change.get("after_sensitive"), secrets)
    long_secrets = sorted((secret for secret in secrets if len(secret) >= _LONG_SECRET), key=len, reverse=True)
    changes = [
        _change(resource, long_secrets, (written or {}).get(resource["address"].partition("[")[0]))
        for resource in resources
    ]
    found = [change for change in changes if change is not None]
    return Plan(tuple(sorted(found, key=lambda change: (change.concern, change.address))), tuple(sorted(outputs)))


def _change(
    resource: Mapping[str, Any], secrets: Sequence[str], written: Mapping[str, str | None] | None
) -> Change | None:
    change = resource["change"]
    action = _action(change["actions"], resource)
    if action is None or resource.get("mode") == "data":
        return None

    def attributes(which: str) -> Mapping[str, Any]:
        values = change.get(which)
        hidden = _hide(values, change.get(f"{which}_sensitive"), secrets)
        if which == "after":
            hidden = _mark_unknown(hidden, change.get("after_unknown"))
        return hidden if isinstance(hidden, dict) else {}

    after = dict(attributes("after"))
    if written is not None:
        for name in [name for name, value in after.items() if value == UNKNOWN]:
            if name not in written:
                # AWS fills it in; no person changed it.
                del after[name]
            elif (text := written[name]) is not None and not (change.get("after_sensitive") or {}).get(name):
                after[name] = _hide(text, False, secrets, name)
    return Change(
        address=resource["address"],
        kind=resource["type"],
        action=action,
        before=attributes("before"),
        after=after,
        replaced_for=tuple(_path(path) for path in change.get("replace_paths", ())),
        gap=change["actions"] == ["delete", "create"],
        moved_from=resource.get("previous_address", ""),
    )


def _action(actions: Sequence[str], resource: Mapping[str, Any]) -> Action | None:
    known: dict[tuple[str, ...], Action] = {
        ("create",): "create",
        ("update",): "change",
        ("delete",): "destroy",
        ("delete", "create"): "replace",
        ("create", "delete"): "replace",
        ("forget",): "forget",
        # The old one stays in AWS, and Terraform knows of it no more.
        ("create", "forget"): "create",
        ("forget", "create"): "create",
    }
    if action := known.get(tuple(actions)):
        return action
    if resource["change"].get("importing"):
        return "import"
    return "move" if resource.get("previous_address") else None


def is_secret(name: str) -> bool:
    """Return whether a name means a secret value, such as `master_password`."""
    return bool(_SECRET_NAME.search(name)) and not _NO_SECRET_NAME.search(name)


def _collect(value: Any, sensitive: Any, into: set[str], name: str = "") -> None:  # noqa: ANN401 - JSON
    """Collect every text in a value that is secret by Terraform's mark or by its name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            mark = sensitive.get(key) if isinstance(sensitive, dict) else sensitive
            _collect(inner, mark, into, name if is_secret(name) else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _collect(inner, _mark_of(sensitive, index), into, name)
    elif isinstance(value, str) and (sensitive is True or is_secret(name)):
        into.add(value)
    elif isinstance(value, str) and (inside := document_in(value)) is not None:
        _collect(inside, False, into)


def _mark_of(sensitive: Any, index: int) -> Any:  # noqa: ANN401 - JSON
    if isinstance(sensitive, list):
        return sensitive[index] if index < len(sensitive) else False
    return sensitive


def _hide(value: Any, sensitive: Any, secrets: Sequence[str], name: str = "") -> Any:  # noqa: ANN401 - JSON
    """Return the value with secrets hidden: by Terraform's mark, by their names, and the same texts elsewhere."""
    if value is None:
        return None
    if sensitive is True:
        return Hidden(json.dumps(value, sort_keys=True))
    if isinstance(value, dict):
        marks = sensitive if isinstance(sensitive, dict) else {}
        return {
            _without(key, secrets): _hide(inner, marks.get(key), secrets, name if is_secret(name) else key)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_hide(inner, _mark_of(sensitive, index), secrets, name) for index, inner in enumerate(value)]
    if not isinstance(value, str):
        return value
    if is_secret(name):
        return Hidden(value)
    if (inside := document_in(value)) is not None:
        hidden = _hide(inside, False, secrets)
        return value if hidden == inside else json.dumps(hidden, default=str)
    return _without(value, secrets)


def _without(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "(hidden)")
    return text


def _mark_unknown(value: Any, unknown: Any) -> Any:  # noqa: ANN401 - JSON
    """Return the value with `UNKNOWN` where Terraform knows it only after the apply."""
    if unknown is True:
        return UNKNOWN
    if isinstance(unknown, dict) and unknown:
        known = value if isinstance(value, dict) else {}
        marked = {name: _mark_unknown(known.get(name), mark) for name, mark in unknown.items() if _any(mark)}
        return {**known, **marked} if known or marked else value
    if isinstance(unknown, list) and isinstance(value, list):
        marks = [*unknown, *([False] * (len(value) - len(unknown)))]
        return [_mark_unknown(inner, mark) for inner, mark in zip(value, marks, strict=False)]
    return value


def _any(mark: Any) -> bool:  # noqa: ANN401 - JSON
    if isinstance(mark, dict):
        return any(_any(inner) for inner in mark.values())
    if isinstance(mark, list):
        return any(_any(inner) for inner in mark)
    return bool(mark)


def document_in(text: str) -> dict[str, Any] | list[Any] | None:
    """Return the JSON object or list in a text, or None."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return content if isinstance(content, (dict, list)) else None


def _path(path: Sequence[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


# Policies as they are written, where the plan does not know them yet

_REFERENCE = re.compile(r"(?<!\$)\$\{([a-z0-9_]+\.[A-Za-z0-9_-]+)\.([a-z0-9_]+)\}")


def _written(configuration: Mapping[str, Any], plan: Mapping[str, Any]) -> _Written:
    """Return the arguments of the configuration, by address; references to other resources as text.

    A reference to something that the plan knows becomes its value, so that a text that was known before and one that
    is not known yet can be compared.
    """
    known = {
        resource["address"]: [resource["change"].get("after") or {}, resource["change"].get("before") or {}]
        for resource in plan.get("resource_changes", ())
    }

    def value(match: re.Match[str]) -> str:
        # A replaced resource keeps its old ARN here: its users may use the successor, so access has not changed.
        # The id of a role is its name, which is known before the id is.
        names = [match[2], "name"] if match[2] == "id" else [match[2]]
        found = (values.get(name) for values in known.get(match[1], ()) for name in names)
        return next((text for text in found if isinstance(text, str)), match[1])

    return {
        f"{kind}.{name}": {
            argument: _REFERENCE.sub(value, text) if isinstance(text, str) and _REFERENCE.search(text) else None
            for argument, text in body.items()
        }
        for kind, named in configuration.get("resource", {}).items()
        for name, body in named.items()
    }


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - JSON
    """Yield every value without parts, with its path, such as `rule[0].status`. A list of texts counts as one."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and any(isinstance(inner, (dict, list)) for inner in value):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{index}]")
    else:
        yield path, value


def differences(change: Change) -> list[tuple[str, Any, Any]]:
    """Return path, before and after of every attribute that changes; unknown values last.

    Nothing, an empty text, an empty list, 0 and false are one where an attribute is not set: the provider writes now
    this, now that.
    """
    before, after = dict(leaves(change.before)), dict(leaves(change.after))
    changed = [
        (path, before.get(path), after.get(path))
        for path in dict.fromkeys([*before, *after])
        if before.get(path) != after.get(path) and not _both_unset(before.get(path), after.get(path))
    ]
    known = [each for each in changed if each[2] != UNKNOWN]
    if change.action == "replace":
        # New ids, new ARNs, and values that AWS had filled in say nothing.
        return [each for each in known if each[2] is not None or each[0] in change.replaced_for]
    return [*known, *(each for each in changed if each[2] == UNKNOWN)]


def _both_unset(before: object, after: object) -> bool:
    return not before and not after and (before in (None, "", []) or after in (None, "", []))
