"""The permissions of a component's deployer: the sum of the permissions that its constructs declare.

The deployer is the IAM principal that runs Terraform. A construct that makes resources declares beside them, in
`deployer_statements`, what Terraform needs for them. Names of actions and resources: AWS, Service Authorization
Reference. Some actions that the provider calls have other names in IAM; they are listed by the name that IAM checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from modules.foundation import Foundation
from modules.policy_documents import Conditions, Statement


@runtime_checkable
class Deployed(Protocol):
    """A construct that declares what its deployer may do."""

    def deployer_statements(self) -> Sequence[Statement]:
        """Return the statements; those of all instances with one id become one statement."""
        ...


_LOG_GROUPS = (
    "logs:AssociateKmsKey",
    "logs:CreateLogGroup",
    "logs:DeleteLogGroup",
    "logs:DeleteMetricFilter",
    "logs:DescribeMetricFilters",
    "logs:DisassociateKmsKey",
    "logs:ListTagsForResource",
    "logs:PutMetricFilter",
    "logs:PutRetentionPolicy",
    "logs:TagResource",
    "logs:UntagResource",
)

_LOG_DELIVERY = (
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
)


def any_resource(sid: str, reason: str, *actions: str, conditions: Conditions | None = None) -> Statement:
    """Return a statement whose actions IAM does not restrict by a resource, for a reason."""
    return Statement(
        sid=sid, actions=actions, resources=["*"], any_resource=reason, conditions=conditions if conditions else {}
    )


def log_groups(foundation: Foundation, *names: str) -> list[Statement]:
    """Return what log groups need.

    Args:
        names: names of the log groups, with `*` for any end.
    """
    return [
        Statement(
            sid="KeepLogs",
            actions=_LOG_GROUPS,
            resources=[foundation.arn("logs", f"log-group:{name}") for name in names],
        ),
        Statement(
            sid="FindLogs", actions=["logs:DescribeLogGroups"], resources=[foundation.arn("logs", "log-group:*")]
        ),
    ]


def log_delivery() -> Statement:
    """Return what a service needs to which Terraform gives a log group to write to."""
    return any_resource(
        "DeliverLogs",
        "log delivery has no resource type (Step Functions, Logging using CloudWatch Logs)",
        *_LOG_DELIVERY,
    )


def total(constructs: Iterable[object]) -> list[Statement]:
    """Return the statements of all constructs that declare some; statements with one id become one.

    Raises:
        ValueError: statements with one id differ in actions and in resources, or in conditions: one statement would
            allow more than they do.
    """
    found: dict[str, Statement] = {}
    for construct in constructs:
        if isinstance(construct, Deployed):
            for statement in construct.deployer_statements():
                earlier = found.get(statement.sid)
                found[statement.sid] = statement if earlier is None else _united(earlier, statement)
    return list(found.values())


def _united(one: Statement, other: Statement) -> Statement:
    """Return a statement that allows what two statements with one id allow together, and no more."""
    same_actions, same_resources = set(one.actions) == set(other.actions), set(one.resources) == set(other.resources)
    if one.conditions != other.conditions or not (same_actions or same_resources):
        raise ValueError(f"statements {one.sid}: they differ in more than their actions or their resources")
    return replace(
        one,
        actions=list(dict.fromkeys([*one.actions, *other.actions])),
        resources=list(dict.fromkeys([*one.resources, *other.resources])),
    )
