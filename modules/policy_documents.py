"""Policy documents in IAM's grammar: exact actions on exact ARNs. This module has no constructs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

# IAM, "Policy grammar": the version whose variables and conditions work as documented.
POLICY_VERSION = "2012-10-17"

_ACTION = re.compile(r"[a-z][a-z0-9-]*:[A-Za-z][A-Za-z0-9]*")
_SID = re.compile(r"[A-Za-z0-9]+")

Conditions = Mapping[str, Mapping[str, str | Sequence[str]]]


@dataclass(frozen=True)
class Statement:
    """One statement of a policy document.

    Args:
        sid: purpose of the statement in CamelCase; reviewers read it first.
        actions: exact actions, `service:Action`. A Deny may say `service:*`.
        resources: exact ARNs; in the policy of a KMS key, `*` means that key (KMS, "Key policies").
        principals: kind to names, such as `{"Service": ["logs.us-east-1.amazonaws.com"]}`; for resource policies.
        conditions: operator to key to value or values.
        any_resource: reason for the resource `*`, for actions that AWS cannot restrict to a resource.

    Raises:
        ValueError: the statement is not exact; the text says why.
    """

    sid: str
    actions: Sequence[str]
    resources: Sequence[str]
    effect: Literal["Allow", "Deny"] = "Allow"
    principals: Mapping[str, Sequence[str]] | Literal["*"] | None = None
    conditions: Conditions = field(default_factory=dict)
    any_resource: str = ""

    def __post_init__(self) -> None:
        if not _SID.fullmatch(self.sid):
            raise ValueError(f"statement {self.sid!r}: an id of letters and digits is needed")
        if not self.actions or not self.resources:
            raise ValueError(f"statement {self.sid}: it names no action or no resource")
        for action in self.actions:
            exact = action.removesuffix("*") + "X" if self.effect == "Deny" else action
            if not _ACTION.fullmatch(exact):
                raise ValueError(f"statement {self.sid}: {action!r} is no exact action such as s3:PutObject")
        if self.effect == "Allow" and self.principals == "*":
            raise ValueError(f"statement {self.sid}: it allows everyone")
        if self.effect == "Allow" and "*" in self.resources and not self.any_resource:
            raise ValueError(f"statement {self.sid}: resource `*` without the reason why no ARN can be named")

    def to_json(self) -> dict[str, object]:
        """Return the statement in IAM's grammar."""
        body: dict[str, object] = {"Sid": self.sid, "Effect": self.effect}
        if self.principals == "*":
            body["Principal"] = "*"
        elif self.principals is not None:
            body["Principal"] = {kind: _one_or_many(names) for kind, names in self.principals.items()}
        body["Action"] = _one_or_many(self.actions)
        body["Resource"] = _one_or_many(self.resources)
        if self.conditions:
            body["Condition"] = {
                operator: {key: value if isinstance(value, str) else _one_or_many(value) for key, value in keys.items()}
                for operator, keys in self.conditions.items()
            }
        return body


def document(*statements: Statement) -> str:
    """Return a policy document as JSON text.

    Strings in it may be Terraform references: they stay references in the text, and Terraform resolves them.

    Raises:
        ValueError: two statements have one id.
    """
    sids = [statement.sid for statement in statements]
    if len(set(sids)) < len(sids):
        raise ValueError(f"two statements have one id: {', '.join(sids)}")
    return json.dumps({"Version": POLICY_VERSION, "Statement": [statement.to_json() for statement in statements]})


def _one_or_many(values: Sequence[str]) -> str | list[str]:
    """Return a single value without a list, as IAM does; otherwise a second plan would show a difference."""
    return values[0] if len(values) == 1 else list(values)


def deny_plain_http(action: str, *resources: str) -> Statement:
    """Return the first statement of every policy of a bucket, queue or topic: requests without TLS are denied."""
    return Statement(
        sid="DenyPlainHttp",
        effect="Deny",
        actions=[action],
        resources=resources,
        principals="*",
        conditions={"Bool": {"aws:SecureTransport": "false"}},
    )


def assume_role_document(service: str) -> str:
    """Return the trust policy that lets an AWS service assume a role."""
    return json.dumps(
        {
            "Version": POLICY_VERSION,
            "Statement": [
                {
                    "Sid": "ServiceTakesRole",
                    "Effect": "Allow",
                    "Principal": {"Service": service},
                    "Action": "sts:AssumeRole",
                }
            ],
        }
    )
