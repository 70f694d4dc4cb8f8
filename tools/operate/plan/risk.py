"""Risks of a plan, one function for each risk, and the guard against the loss of data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tools.operate.console import Failure
from tools.operate.plan.access import Access, access_of
from tools.operate.plan.read import Change, Plan, differences
from tools.operate.prices import prices

Risk = Literal["data loss", "downtime", "exposure", "widened access", "cost"]
RISKS: tuple[Risk, ...] = ("data loss", "downtime", "exposure", "widened access", "cost")

# Resources with data of users, and the keys without which the data cannot be read. The guard requires their names.
HOLDS_DATA = {
    "aws_cognito_user_pool": "its users",
    "aws_dynamodb_global_table": "its records",
    "aws_dynamodb_table": "its records",
    "aws_dynamodb_table_replica": "its records",
    "aws_kms_external_key": "everything that is encrypted under it",
    "aws_kms_key": "everything that is encrypted under it",
    "aws_kms_replica_key": "everything that is encrypted under it there",
    "aws_s3_bucket": "its objects",
    "aws_secretsmanager_secret": "its value",
    "aws_secretsmanager_secret_version": "its value",
    "aws_ssm_parameter": "its value",
}
# These hold what is on its way or was logged; a plan may drop them unasked.
_HOLDS_TRANSIENT_DATA = {
    "aws_cloudwatch_log_group": "its logs",
    "aws_sqs_queue": "the messages in it",
}
# Callers notice when these are away.
_SERVES = {
    "aws_api_gateway_method",
    "aws_api_gateway_rest_api",
    "aws_api_gateway_stage",
    "aws_cloudfront_distribution",
    "aws_cloudwatch_event_rule",
    "aws_cloudwatch_event_target",
    "aws_cognito_user_pool",
    "aws_cognito_user_pool_client",
    "aws_cognito_user_pool_domain",
    "aws_dynamodb_table",
    "aws_iam_role",
    "aws_iam_role_policy",
    "aws_kms_key",
    "aws_lambda_event_source_mapping",
    "aws_lambda_function",
    "aws_lambda_permission",
    "aws_s3_bucket",
    "aws_s3_bucket_notification",
    "aws_scheduler_schedule",
    "aws_sfn_state_machine",
    "aws_sns_topic",
    "aws_sns_topic_subscription",
    "aws_sqs_queue",
}
# Resources with a monthly price, and the name of that price in prices.toml.
_COSTS = {
    "aws_cloudwatch_dashboard": "dashboard",
    "aws_cloudwatch_metric_alarm": "alarm_metric",
    "aws_kms_key": "kms_key",
    "aws_kms_replica_key": "kms_key",
    "aws_secretsmanager_secret": "secret",
    "aws_wafv2_web_acl": "waf_acl",
}
# What costs more by use: path of the attribute, and what it is that costs.
_COSTS_BY_USE = {
    ("aws_dynamodb_table", "read_capacity"): "provisioned reads",
    ("aws_dynamodb_table", "write_capacity"): "provisioned writes",
    ("aws_lambda_function", "memory_size"): "each second of an invocation",
    ("aws_lambda_provisioned_concurrency_config", "provisioned_concurrent_executions"): "each hour",
    ("aws_cloudwatch_log_group", "retention_in_days"): "kept logs",
}
# Numbers that delete something sooner when they fall: days or seconds.
_RETENTION_ARGUMENTS = re.compile(
    r"(^retention_in_days|^message_retention_seconds|^deletion_window_in_days|^recovery_window_in_days"
    r"|\bexpiration(\[0\])?\.days|\bnoncurrent_days|\brecovery_period_in_days)$"
)
# Attributes that protect data, by the end of the path, and the values that do not protect it.
_UNPROTECTED: Mapping[str, tuple[Any, ...]] = {
    "deletion_protection": (False, "INACTIVE"),
    "deletion_protection_enabled": (False,),
    "force_destroy": (True,),
    "point_in_time_recovery[0].enabled": (False,),
    "versioning_configuration[0].status": ("Suspended", "Disabled"),
}
# Attributes that restrict access or encrypt, by the end of the path, and the values that do not.
_UNSAFE_ACCESS: Mapping[str, tuple[Any, ...]] = {
    "authorization": ("NONE",),
    "authorization_type": ("NONE",),
    "block_public_acls": (False,),
    "block_public_policy": (False,),
    "enable_key_rotation": (False,),
    "ignore_public_acls": (False,),
    "kms_key_id": (None, ""),
    "kms_master_key_id": (None, ""),
    "restrict_public_buckets": (False,),
    "sse_algorithm": ("AES256",),
    "publicly_accessible": (True,),
}
# Kinds of resources that restrict access or encrypt as long as they exist.
_ACCESS_BARRIERS = {
    "aws_s3_bucket_ownership_controls",
    "aws_s3_bucket_policy",
    "aws_s3_bucket_public_access_block",
    "aws_s3_bucket_server_side_encryption_configuration",
    "aws_wafv2_web_acl",
    "aws_wafv2_web_acl_association",
}
# Attributes that can stop a resource, by the end of the path, and the values that do.
_STOPPED: Mapping[str, tuple[Any, ...]] = {
    "is_enabled": (False,),
    "reserved_concurrent_executions": (0,),
    "state": ("DISABLED",),
}
# Characters of the longest sentence that is shown here; the part on access shows every sentence.
_LONGEST_SENTENCE = 160


@dataclass(frozen=True)
class RiskFinding:
    """One risk of one resource, in words."""

    risk: Risk
    address: str
    text: str


def risks(plan: Plan) -> list[RiskFinding]:
    """Return every risk of a plan, the worst kind first."""
    found = [
        finding
        for change in plan.changes
        if change.action not in {"move", "import"}
        for check in (_data_loss, _downtime, _exposure, _widened_access)
        for finding in check(change)
    ]
    return sorted([*found, *_cost(plan)], key=lambda finding: RISKS.index(finding.risk))


def _data_loss(change: Change) -> Iterator[RiskFinding]:
    holds = HOLDS_DATA.get(change.kind) or _HOLDS_TRANSIENT_DATA.get(change.kind)
    if holds and change.destroys:
        yield RiskFinding("data loss", change.address, f"{_doing(change)}, and with it {holds}")
    for path, before, after in _changed(change):
        if _RETENTION_ARGUMENTS.search(path) and _number(after) and (not _number(before) or after < before):
            # Zero or nothing keeps for ever.
            yield RiskFinding("data loss", change.address, f"{path} falls from {before or 'for ever'} to {after}")
        if _has_value_of(_UNPROTECTED, path, after):
            yield RiskFinding("data loss", change.address, f"{path} protects it no more: {after}")


def _downtime(change: Change) -> Iterator[RiskFinding]:
    if change.kind in _SERVES and change.destroys and (change.action == "destroy" or change.gap):
        why = f" for {', '.join(change.replaced_for)}" if change.replaced_for else ""
        yield RiskFinding("downtime", change.address, f"{_doing(change)}{why}")
    for path, _, after in _changed(change):
        if _has_value_of(_STOPPED, path, after):
            yield RiskFinding("downtime", change.address, f"{path} is {after} now: it stands still")


def _exposure(change: Change) -> Iterator[RiskFinding]:
    if change.kind in _ACCESS_BARRIERS and change.action == "destroy":
        yield RiskFinding("exposure", change.address, "it is destroyed, and kept strangers out")
    for permission in access_of(change).gained:
        if permission.of_everyone:
            yield RiskFinding(
                "exposure", change.address, f"everyone may now {permission.action} on {permission.resource}"
            )
    for path, before, after in _changed(change):
        if _has_value_of(_UNSAFE_ACCESS, path, after):
            yield RiskFinding("exposure", change.address, f"{path} goes from {before} to {after}")
        if isinstance(after, list) and "*" in after and "origin" in path:
            yield RiskFinding("exposure", change.address, f"{path} admits every page")


def _widened_access(change: Change) -> Iterator[RiskFinding]:
    access = access_of(change)
    if access.gained:
        yield RiskFinding("widened access", change.address, _summary(access))
    if access.unknown:
        yield RiskFinding("widened access", change.address, "its policy is known after the apply only")


def _cost(plan: Plan) -> Iterator[RiskFinding]:
    months: dict[str, float] = {}
    for change in plan.changes:
        if change.kind in _COSTS and change.action in {"create", "destroy"}:
            price = prices()[_COSTS[change.kind]].of(1)
            months[change.kind] = months.get(change.kind, 0.0) + (price if change.action == "create" else -price)
        for path, before, after in _changed(change):
            what = _COSTS_BY_USE.get((change.kind, path))
            if what and _number(before) and _number(after) and after > before:
                text = f"{path} goes from {before} to {after}: {what} costs {after / before:.1f} times as much"
                yield RiskFinding("cost", change.address, text)
    for kind, dollars in sorted(months.items()):
        if dollars > 0:
            yield RiskFinding("cost", kind, f"about {dollars:.2f} dollars a month more (list prices of us-east-1)")


def _doing(change: Change) -> str:
    return "it is replaced" if change.action == "replace" else "it is destroyed"


def _changed(change: Change) -> Iterator[tuple[str, Any, Any]]:
    """Yield path, before and after of changes in a resource that exists before and after."""
    if change.action in {"change", "replace"}:
        yield from differences(change)


def _has_value_of(table: Mapping[str, tuple[Any, ...]], path: str, after: object) -> bool:
    """Return whether an attribute has one of the values that the table lists for it."""
    for end, values in table.items():
        if path == end or path.endswith(f".{end}"):
            return any(after is value or (isinstance(value, (str, int)) and after == value) for value in values)
    return False


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _summary(access: Access) -> str:
    gained = [text for sign, text in access.sentences() if sign == "+"]
    if len(gained) == 1 and len(gained[0]) <= _LONGEST_SENTENCE:
        return gained[0]
    who = sorted({permission.who for permission in access.gained})
    more = f" and {len(who) - 1} more" if len(who) > 1 else ""
    return f"{who[0]}{more}: {len(access.gained)} new permission{'s' if len(access.gained) > 1 else ''}"


# The guard


def named_for(environment: str, words: Sequence[str]) -> list[str]:
    """Return the addresses among words that are meant for an environment: `ADDRESS`, or `ENVIRONMENT:ADDRESS`.

    A deployment that goes from one environment to the next is told once what may be lost in which.
    """
    split = [word.rpartition(":") for word in words]
    return [address for where, _, address in split if where in {"", environment}]


def refuse_loss(plan: Plan, named: Sequence[str], *, again: str) -> None:
    """Refuse a plan that destroys what holds data, unless each address is named.

    Args:
        named: addresses that somebody wrote on the command line.
        again: the command to type, with `{}` for the addresses.

    Raises:
        Failure: an address is not named, or one is named that this plan does not destroy.
    """
    losing = {change.address: change for change in plan.changes if change.destroys and change.kind in HOLDS_DATA}
    if strange := [address for address in named if address not in losing]:
        raise Failure(
            "apply",
            f"this plan does not destroy {', '.join(strange)}",
            "name only what holds data and is destroyed; run `make plan` to see what that is",
        )
    if missing := [address for address in losing if address not in named]:
        lines = "".join(
            f"\n    {address}: {_doing(losing[address])}, and with it {HOLDS_DATA[losing[address].kind]}"
            for address in missing
        )
        raise Failure(
            "apply",
            f"the plan destroys resources with data that were not named:{lines}",
            f"if that is what you want, type: {again.format(' '.join(losing))}",
        )
