"""How an alarm is made: a metric or a formula of some, a threshold, and the next step.

Constructs declare alarms as data (`modules/monitored.py`); `Alarms` makes the resources. Every alarm tells the alert
topic when it goes off and when it is over. Its section in docs/operations.md says what it means and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from cdktf import ITerraformDependable
from cdktf_cdktf_provider_aws.cloudwatch_log_metric_filter import (
    CloudwatchLogMetricFilter,
    CloudwatchLogMetricFilterMetricTransformation,
)
from cdktf_cdktf_provider_aws.cloudwatch_metric_alarm import (
    CloudwatchMetricAlarm,
    CloudwatchMetricAlarmMetricQuery,
    CloudwatchMetricAlarmMetricQueryMetric,
)
from constructs import Construct

from modules.foundation import Foundation
from modules.names import slug
from modules.policy_documents import Statement

PERIOD = 300
ERROR_RATE_PERCENT = 1

# 1 where there is work and no data point says that some of it was done. A difference, since a series without any data
# counts as zero in one, and in IF as no answer.
STANDS_STILL = "(FILL({work}, 0) > 0) - (FILL({done}, -1) >= 0)"

# CloudWatch, "Limits that apply to alarms based on metric math expressions".
MOST_METRICS = 10

_KEEP = (
    "cloudwatch:DeleteAlarms",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:ListTagsForResource",
    "cloudwatch:PutMetricAlarm",
    "cloudwatch:TagResource",
    "cloudwatch:UntagResource",
)


class AlertTopic(Protocol):
    """The topic that alarms publish to; its policy and its key have to admit CloudWatch."""

    @property
    def arn(self) -> str: ...  # noqa: D102

    @property
    def policy(self) -> ITerraformDependable: ...  # noqa: D102


@dataclass(frozen=True)
class Metric:
    """One metric of CloudWatch, and how its samples of a period become one number.

    Attributes:
        statistic: such as `Sum`, or a percentile such as `p99`.
        label: name of the metric on the dashboard.
    """

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str = "Sum"
    label: str = ""

    @property
    def is_percentile(self) -> bool:
        """Whether it takes `extended_statistic` rather than `statistic`."""
        return self.statistic.startswith("p")


@dataclass(frozen=True, kw_only=True)
class LogMetric(Metric):
    """The number of lines in a log group that match a pattern.

    Attributes:
        log_group: name of the log group.
        pattern: in the syntax of CloudWatch Logs, "Filter pattern syntax for metric filters".
        filter_id: construct id and last part of the name of the metric filter.
    """

    log_group: str
    pattern: str
    filter_id: str


@dataclass(frozen=True)
class Advice:
    """The text of an alarm.

    Attributes:
        happened: what happened, a sentence.
        next_step: what to do now, as the end of a sentence.
        section: anchor of the alarm's section in docs/operations.md.
    """

    happened: str
    next_step: str
    section: str

    def text(self, handbook: str) -> str:
        """Return the whole text, with the place of the handbook."""
        return f"{self.happened} Next: {self.next_step}. More: {handbook}#{self.section}"


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """An alarm as a construct declares it. It goes off above its threshold.

    Attributes:
        name: last part of its address and of its name, in lower case with underscores.
        metrics: by the id that the expression uses.
        expression: metric math (CloudWatch, "Using math expressions"); empty for the value of the only metric.
        label: name of the expression's result.
        periods: number of periods of PERIOD seconds that are looked at.
        datapoints: number of those in which the threshold has to be exceeded; None for all.
        missing: how a period without data is treated.
    """

    name: str
    metrics: Mapping[str, Metric]
    threshold: int
    periods: int
    advice: Advice
    expression: str = ""
    label: str = ""
    datapoints: int | None = None
    missing: Literal["notBreaching", "breaching", "ignore"] = "notBreaching"


def error_rate(name: str, *, errors: Metric, requests: Metric, advice: Advice, excluded: Metric | None = None) -> Alarm:
    """Return an alarm on the share of errors, in percent, in two consecutive periods.

    FILL makes a period without requests a zero. Otherwise CloudWatch would use older periods instead, and two bad
    periods with quiet ones between them would be enough.

    Args:
        excluded: counted by both other metrics, and subtracted from both.
    """
    metrics = {"errors": errors, "requests": requests}
    failed, asked = "FILL(errors, 0)", "FILL(requests, 0)"
    if excluded is not None:
        metrics["neither"] = excluded
        failed, asked = f"({failed} - FILL(neither, 0))", f"({asked} - FILL(neither, 0))"
    return Alarm(
        name=name,
        metrics=metrics,
        expression=f"IF({asked} > 0, 100 * {failed} / {asked}, 0)",
        label="errors in percent",
        threshold=ERROR_RATE_PERCENT,
        periods=2,
        advice=advice,
    )


def any_count(name: str, metrics: Sequence[Metric], advice: Advice) -> Alarm:
    """Return an alarm on a sum of counts above zero; it is over after two periods with a sum of zero.

    A period may be filled with zero before its late data comes in (CloudWatch, "Using math expressions", on FILL in
    alarms): the alarm looks at two periods, and one is enough.

    Raises:
        ValueError: more metrics than CloudWatch takes.
    """
    if len(metrics) > MOST_METRICS:
        raise ValueError(f"alarm {name}: {len(metrics)} metrics; CloudWatch takes {MOST_METRICS}")
    by_id = {f"m{index}": metric for index, metric in enumerate(metrics)}
    return Alarm(
        name=name,
        metrics=by_id,
        expression=" + ".join(f"FILL({metric_id}, 0)" for metric_id in by_id),
        label="count",
        threshold=0,
        periods=2,
        datapoints=1,
        advice=advice,
    )


class Alarms(Construct):
    """Alarms that publish to one topic.

    Attributes:
        created: the alarms so far, by the names that their constructs declared.
    """

    def __init__(self, scope: Construct, construct_id: str, *, foundation: Foundation, alerts: AlertTopic) -> None:
        """
        Args:
            alerts: where alarms go; CloudWatch publishes only to topics of its own region.
        """
        super().__init__(scope, construct_id)
        self._foundation = foundation
        self._alerts = alerts
        self.created: dict[str, CloudwatchMetricAlarm] = {}

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for alarms."""
        name = f"alarm:{self._foundation.prefix}-*"
        return [Statement(sid="KeepAlarms", actions=_KEEP, resources=[self._foundation.arn("cloudwatch", name)])]

    def create(self, alarm: Alarm) -> None:
        """Create an alarm, and a metric filter for each of its metrics that is counted from a log."""
        for metric in alarm.metrics.values():
            if isinstance(metric, LogMetric):
                count_lines(self, metric, prefix=self._foundation.prefix)
        value = None if alarm.expression else next(iter(alarm.metrics.values()))
        percentile = value is not None and value.is_percentile
        self.created[alarm.name] = CloudwatchMetricAlarm(
            self,
            alarm.name,
            alarm_name=f"{self._foundation.prefix}-{slug(alarm.name)}",
            alarm_description=alarm.advice.text(self._foundation.handbook),
            metric_query=_queries(alarm) if alarm.expression else None,
            namespace=value.namespace if value else None,
            metric_name=value.name if value else None,
            dimensions=value.dimensions if value else None,
            statistic=value.statistic if value and not percentile else None,
            extended_statistic=value.statistic if value and percentile else None,
            # Most environments have fewer requests in five minutes than a p99 is sure of (1,000): with `ignore`, the
            # alarm would not fire there, and would keep its state once it had fired.
            evaluate_low_sample_count_percentiles="evaluate" if percentile else None,
            period=PERIOD if value else None,
            comparison_operator="GreaterThanThreshold",
            threshold=alarm.threshold,
            evaluation_periods=alarm.periods,
            datapoints_to_alarm=alarm.datapoints or alarm.periods,
            treat_missing_data=alarm.missing,
            alarm_actions=[self._alerts.arn],
            ok_actions=[self._alerts.arn],
            # This alarm fires as soon as it exists. Its message is lost if the topic's policy does not admit it.
            depends_on=[self._alerts.policy] if alarm.missing == "breaching" else None,
        )


def _queries(alarm: Alarm) -> list[CloudwatchMetricAlarmMetricQuery]:
    """Return the expression of an alarm, and the metrics in it."""
    return [
        CloudwatchMetricAlarmMetricQuery(id="result", expression=alarm.expression, label=alarm.label, return_data=True),
        *(
            CloudwatchMetricAlarmMetricQuery(
                id=metric_id,
                metric=CloudwatchMetricAlarmMetricQueryMetric(
                    namespace=metric.namespace,
                    metric_name=metric.name,
                    dimensions=metric.dimensions or None,
                    stat=metric.statistic,
                    period=PERIOD,
                ),
            )
            for metric_id, metric in alarm.metrics.items()
        ),
    ]


def count_lines(scope: Construct, metric: LogMetric, *, prefix: str) -> None:
    """Let CloudWatch Logs count a metric as lines come in ("Creating metrics from log events using filters").

    Args:
        prefix: first part of the names of the environment's resources.
    """
    CloudwatchLogMetricFilter(
        scope,
        metric.filter_id,
        name=f"{prefix}-{slug(metric.filter_id)}",
        log_group_name=metric.log_group,
        pattern=metric.pattern,
        metric_transformation=CloudwatchLogMetricFilterMetricTransformation(
            namespace=metric.namespace, name=metric.name, value="1", unit="Count"
        ),
    )
