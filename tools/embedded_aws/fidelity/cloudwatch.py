"""CloudWatch: complete descriptions of alarms, and permissions on their topics."""

# mypy: disable-error-code="import-not-found"
import re
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from ministack.services import cloudwatch, sns

from . import hook
from .hook import Function
from .settings import Settings

# An alarm on metric math has none of these; ministack fills in defaults that a plan would want to remove for ever.
_OF_ONE_METRIC = ("MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Period", "Unit")
_ACTIONS = ("AlarmActions", "OKActions", "InsufficientDataActions")
_SINGLE = ("ThresholdMetricId", "EvaluateLowSampleCountPercentile")


def describe_alarms_in_full(_: Settings) -> None:
    """Keep every member of an alarm, and return every one of them.

    AWS returns an alarm as it was put, with its Metrics, Dimensions, actions and description
    (https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricAlarm.html). ministack forgets
    Metrics, ThresholdMetricId and InsufficientDataActions of the query protocol, adds a Statistic to an alarm on a
    percentile, and leaves most members out of its
    XML, so that every plan shows a difference. The fix adds what was forgotten to the stored alarm, and writes the
    XML of each listed alarm from the stored one.
    """
    fix = "cloudwatch.describe_alarms_in_full"
    alarms = hook.attribute(fix, cloudwatch, "_alarms")

    def make_put(original: Function) -> Function:
        def put(params: Mapping[str, Any], data: Mapping[str, Any], is_cbor: bool, is_json: bool = False) -> object:
            answer = original(params, data, is_cbor, is_json)
            request = data if is_cbor or is_json else nested(params)
            alarm = alarms.get(request.get("AlarmName", ""))
            if alarm is None or answer[0] != 200:
                return answer
            for name in ("InsufficientDataActions", *_SINGLE):
                if request.get(name):
                    alarm[name] = request[name]
            if request.get("ExtendedStatistic"):
                alarm["Statistic"] = None
            if request.get("Metrics"):
                alarm["Metrics"] = request["Metrics"]
                alarm.update(dict.fromkeys(_OF_ONE_METRIC))
            return answer

        return put

    def make_describe(original: Function) -> Function:
        def describe(params: Mapping[str, Any], data: object, is_cbor: bool, is_json: bool = False) -> object:
            status, headers, body = original(params, data, is_cbor, is_json)
            if is_cbor or is_json or status != 200:
                return status, headers, body
            before, opened, rest = body.decode().partition("<MetricAlarms>")
            listed, closed, after = rest.partition("</MetricAlarms>")
            names = re.findall("<AlarmName>(.*?)</AlarmName>", listed)
            full = "".join(f"<member>{xml(_presentable(alarms[name]))}</member>" for name in names)
            return status, headers, f"{before}{opened}{full}{closed}{after}".encode()

        return describe

    hook.replace(fix, cloudwatch, "_put_metric_alarm", make_put, "params cbor_data is_cbor is_json")
    hook.replace(fix, cloudwatch, "_describe_alarms", make_describe, "params cbor_data is_cbor is_json")


def ask_topics_for_permission(_: Settings) -> None:
    """Publish the change of an alarm only to a topic whose policy and key let CloudWatch do so.

    AWS publishes as cloudwatch.amazonaws.com with the ARN of the alarm as aws:SourceArn; the default policy of a topic
    is enough, the key that AWS manages is not
    (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html,
    https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html). ministack publishes always. The fix removes
    the topics that would refuse from the actions before they run.
    """
    fix = "cloudwatch.ask_topics_for_permission"
    hook.attribute(fix, sns, "topic_policy_allows")

    def make(original: Function) -> Function:
        def dispatch(alarm: Mapping[str, Any], *rest: object) -> object:
            arn = str(alarm.get("AlarmArn", ""))

            def open_to_alarm(action: str) -> bool:
                return ":sns:" not in action or bool(
                    sns.topic_policy_allows(action, "cloudwatch.amazonaws.com", arn, arn.split(":")[4])
                )

            kept = {name: [a for a in alarm.get(name) or [] if open_to_alarm(a)] for name in _ACTIONS}
            return original({**alarm, **kept}, *rest)

        return dispatch

    hook.replace(fix, cloudwatch, "_dispatch_alarm_actions", make, "alarm old_state new_state reason")


def _presentable(alarm: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: cloudwatch._ts_iso(value) if name.endswith("Timestamp") else value
        for name, value in alarm.items()
        if value not in (None, "")
    }


def nested(params: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the flat parameters of AWS's query protocol (A.member.1.B=c) into a nested value.

    Every leaf is a string, as it came.
    """
    root: dict[str, Any] = {}
    for path, values in params.items():
        *parents, last = path.split(".")
        node = root
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = values[0] if isinstance(values, list) else values
    converted = _lists(root)
    assert isinstance(converted, dict)  # noqa: S101 - the top level has no member key
    return converted


def _lists(value: object) -> object:
    if not isinstance(value, dict):
        return value
    if set(value) == {"member"} and isinstance(value["member"], dict):
        members: dict[str, object] = value["member"]
        return [_lists(members[index]) for index in sorted(members, key=int)]
    return {name: _lists(member) for name, member in value.items()}


def xml(value: object) -> str:
    """Write a value as the XML of AWS's query protocol; None and empty strings are left out."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "".join(f"<{name}>{xml(member)}</{name}>" for name, member in value.items() if member not in (None, ""))
    if isinstance(value, list):
        return "".join(f"<member>{xml(member)}</member>" for member in value)
    return escape(str(value))
