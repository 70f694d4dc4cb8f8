"""Reads from the Terraform JSON of an environment what the models of cost and scale need."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.capacity.assumptions import Assumptions
from tools.capacity.workflow import FILES, OPENS, WAITS, Retries, Write, states_entered, updates

# A month of a price list.
HOURS = 730


@dataclass(frozen=True)
class Platform:
    """The part of an environment's Terraform JSON that the models read.

    Attributes:
        states: states of a run that opens a file.
        waiting_states: states of the run before it that finds the scan not done, with malware scanning.
        opens: writes of the record by a run that opens a file.
        waits: writes of the record by a run that finds the scan not done.
        retries: how the workflow retries a throttled call.
        throttle: requests a second that the API's stage admits.
        burst: requests that the stage admits at once.
        indexes: names of the secondary indexes by the address of their table.
        memory: MiB by function.
        scanning: whether GuardDuty looks at every file.
        webhooks: URLs that are told of every file.
        bucket_keys: whether S3 asks KMS for a key for many objects at once.
        express: whether the workflow is an Express one.
        standing: units for a month that cost the same however many files there are, by the name of the price.
    """

    states: int
    waiting_states: int
    opens: tuple[Write, ...]
    waits: tuple[Write, ...]
    retries: Retries
    throttle: float
    burst: float
    indexes: Mapping[str, frozenset[str]]
    memory: Mapping[str, int]
    scanning: bool
    webhooks: int
    bucket_keys: bool
    express: bool
    standing: Mapping[str, float]

    @property
    def runs(self) -> int:
        """Runs of the workflow for one file: with a scan, the first one waits for the result, which starts another."""
        return 2 if self.scanning else 1

    @property
    def all_states(self) -> int:
        """States of all runs for one file."""
        return self.states + (self.waiting_states if self.scanning else 0)

    @property
    def updates(self) -> tuple[Write, ...]:
        """Writes of the record by all runs for one file."""
        return self.opens + (self.waits if self.scanning else ())

    def units(self, write: Write, assumed: Assumptions) -> int:
        """Return the write units of a write, with those of the indexes that the table has."""
        return write.units(self.indexes.get(write.table, frozenset()), assumed.record_bytes)


def platform(stack: Mapping[str, Any]) -> Platform:
    """Read the counts from a stack's Terraform JSON.

    Raises:
        KeyError: the stack lacks a part of the path of an upload.
        ValueError: the workflow has a path that the model cannot follow, or a schedule has another form.
    """

    def of(kind: str) -> dict[str, Any]:
        return dict(stack["resource"].get(kind, {}))

    (machine,) = of("aws_sfn_state_machine").values()
    definition = json.loads(machine["definition"])
    encryption = of("aws_s3_bucket_server_side_encryption_configuration")["storage_uploads_encryption"]
    methods = [method for method in of("aws_api_gateway_method").values() if method["http_method"] != "OPTIONS"]
    alarms = [
        len([each for each in alarm.get("metric_query", []) if "metric" in each]) or 1
        for alarm in of("aws_cloudwatch_metric_alarm").values()
    ]
    schedules = [runs_a_month(schedule["schedule_expression"]) for schedule in of("aws_scheduler_schedule").values()]
    opened, waited = states_entered(definition, OPENS), states_entered(definition, WAITS)
    shown = of("aws_dynamodb_table")[FILES].get("global_secondary_index", [])
    (stage,) = (each for each in of("aws_api_gateway_method_settings").values() if each["method_path"] == "*/*")
    return Platform(
        states=len(opened),
        waiting_states=len(waited),
        opens=tuple(updates(definition, opened, shown)),
        waits=tuple(updates(definition, waited, shown)),
        retries=Retries.of(definition),
        throttle=stage["settings"]["throttling_rate_limit"],
        burst=stage["settings"]["throttling_burst_limit"],
        indexes={
            name: frozenset(index["name"] for index in table.get("global_secondary_index", []))
            for name, table in of("aws_dynamodb_table").items()
        },
        memory={name: function["memory_size"] for name, function in of("aws_lambda_function").items()},
        scanning=bool(of("aws_guardduty_malware_protection_plan")),
        # One a receiver.
        webhooks=len(of("aws_lambda_event_source_mapping")),
        bucket_keys=encryption["rule"][0]["bucket_key_enabled"],
        express=machine["type"] == "EXPRESS",
        standing={
            "kms_key": len(of("aws_kms_key")),
            "alarm_metric": sum(alarms),
            "dashboard": len(of("aws_cloudwatch_dashboard")),
            # API Gateway, "Amazon CloudWatch metrics": five of each method, once detailed metrics are on.
            "metric": 5 * len(methods),
            "scheduler_invocation": sum(schedules),
            "waf_acl": len(of("aws_wafv2_web_acl")),
            "waf_rule": sum(len(acl["rule"]) for acl in of("aws_wafv2_web_acl").values()),
            "secret": len(of("aws_secretsmanager_secret")),
        },
    )


def runs_a_month(expression: str) -> float:
    """Return the runs of a schedule such as `rate(15 minutes)`."""
    found = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression)
    if found is None:
        raise ValueError(f"a schedule of another form: {expression}")
    return HOURS * 60 / (int(found[1]) * {"minute": 1, "hour": 60, "day": 1440}[found[2]])
