"""Row 18 as deployed: an alarm that goes off reaches whoever listens to the alert topic, and says what to do next."""

from __future__ import annotations

import json
from typing import Any

import boto3

from tests.e2e.conftest import Deployed, wait_for
from tools.embedded_aws import control


def cloudwatch(deployed: Deployed) -> Any:  # noqa: ANN401 - there are no stubs of it in the lock
    return boto3.client("cloudwatch", **deployed.options(control.ROOT))  # type: ignore[call-overload]


def test_an_alarm_tells_the_alert_topic_when_it_begins_and_ends(deployed: Deployed) -> None:
    sqs = boto3.client("sqs", **deployed.options(control.ROOT))  # type: ignore[call-overload]
    alarm = "sluice-local-upload-errors"
    told: list[dict[str, Any]] = []

    def heard(number: int) -> bool:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            told.append(json.loads(json.loads(message["Body"])["Message"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(told) >= number

    with deployed.subscribed(deployed.outputs["alerts_topic_arn"]) as url:
        for number, state in enumerate(("ALARM", "OK"), start=1):
            cloudwatch(deployed).set_alarm_state(AlarmName=alarm, StateValue=state, StateReason="a test")
            wait_for(lambda number=number: heard(number))  # type: ignore[misc]
    assert [(each["AlarmName"], each["NewStateValue"]) for each in told] == [(alarm, "ALARM"), (alarm, "OK")]
    assert "sluice-local-upload" in told[0]["AlarmDescription"]
    assert told[0]["AlarmDescription"].endswith("docs/operations.md#function-errors")


def test_the_dashboard_shows_what_is_there(deployed: Deployed) -> None:
    """Its references have become names: of alarms and functions that exist."""
    client = cloudwatch(deployed)
    body = client.get_dashboard(DashboardName=deployed.outputs["dashboard_name"])["DashboardBody"]
    assert "${" not in body
    first, *graphs = json.loads(body)["widgets"]
    alarms = client.describe_alarms(MaxRecords=100)["MetricAlarms"]
    assert sorted(first["properties"]["alarms"]) == sorted(alarm["AlarmArn"] for alarm in alarms)
    shown = {part for graph in graphs for metric in graph["properties"]["metrics"] for part in metric[3:-1:2]}
    assert {"sluice-local-upload", "sluice-local-files", "sluice-local-inbox", "v1"} <= shown
