"""How an alarm is made: a metric or a formula of some, a threshold, and what to do next.

Every alarm tells the alert topic when it goes off and when it is over. Its section in docs/operations.md says what it
means and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from cdktf import ITerraformDependable
from cdktf_cdktf_provider_aws.cloudwatch_metric_alarm import (
    CloudwatchMetricAlarm,
    CloudwatchMetricAlarmMetricQuery,
    CloudwatchMetricAlarmMetricQueryMetric,
)
from constructs import Construct

from modules.settings import Settings

PERIOD = 300
ERROR_RATE_PERCENT = 1

# One where there is work and nothing is told of what was done. A difference, since a series without any data counts as
# zero in one, and in IF as no answer.
STANDS_STILL = "(FILL({work}, 0) > 0) - (FILL({done}, -1) >= 0)"

# CloudWatch, "Limits that apply to alarms based on metric math expressions".
MOST_METRICS = 10


class AlertTopic(Protocol):
    """The topic that alarms are told to; its policy and its key have to admit CloudWatch."""

    @property
    def arn(self) -> str: ...  # noqa: D102

    @property
    def policy(self) -> ITerraformDependable: ...  # noqa: D102


@dataclass(frozen=True)
class Metric:
    """One metric of AWS's, and how its samples of a period become one number.

    Attributes:
        statistic: such as `Sum`, or a percentile such as `p99`.
        label: what the dashboard calls it.
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


@dataclass(frozen=True)
class Advice:
    """What an alarm says to whoever gets it.

    Attributes:
        happened: what happened, a sentence.
        next_step: what to do now, as the end of a sentence.
        section: anchor of the alarm's section in docs/operations.md.
    """

    happened: str
    next_step: str
    section: str

    def text(self, handbook: str) -> str:
        """All of it, with where the handbook is."""
        return f"{self.happened} Next: {self.next_step}. More: {handbook}#{self.section}"


class Alarms(Construct):
    """Alarms that one topic is told of.

    Attributes:
        alarms: those that were made so far.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, alerts: AlertTopic) -> None:
        """
        Args:
            alerts: where alarms go; CloudWatch publishes to topics of its own region alone.
        """
        super().__init__(scope, construct_id)
        self._prefix = settings.prefix
        self._handbook = settings.handbook
        self._alerts = alerts
        self.alarms: list[CloudwatchMetricAlarm] = []

    def rate(
        self, construct_id: str, *, errors: Metric, requests: Metric, advice: Advice, neither: Metric | None = None
    ) -> CloudwatchMetricAlarm:
        """An alarm on the share of errors, in percent, in two periods one after the other.

        FILL makes a period without requests a zero. Otherwise CloudWatch would go back to older periods, so that two
        bad ones with quiet ones between them would do.

        Args:
            neither: what counts as an error and a request, and is none that this is about.
        """
        metrics = {"errors": errors, "requests": requests}
        failed, asked = "FILL(errors, 0)", "FILL(requests, 0)"
        if neither is not None:
            metrics["neither"] = neither
            failed, asked = f"({failed} - FILL(neither, 0))", f"({asked} - FILL(neither, 0))"
        return self.expression(
            construct_id,
            metrics,
            f"IF({asked} > 0, 100 * {failed} / {asked}, 0)",
            label="errors in percent",
            threshold=ERROR_RATE_PERCENT,
            periods=2,
            datapoints=2,
            advice=advice,
        )

    def any(self, construct_id: str, metrics: Sequence[Metric], advice: Advice) -> None:
        """An alarm on anything at all that is counted, over as soon as two periods have none.

        A period may be filled with zero before its late data comes in (CloudWatch, "Using math expressions", on FILL
        in alarms): the alarm looks at two periods, and one is enough.

        Raises:
            ValueError: more metrics than CloudWatch takes.
        """
        if len(metrics) > MOST_METRICS:
            raise ValueError(f"alarm {construct_id}: {len(metrics)} metrics; CloudWatch takes {MOST_METRICS}")
        queries = {f"m{index}": metric for index, metric in enumerate(metrics)}
        self.expression(
            construct_id,
            queries,
            " + ".join(f"FILL({query_id}, 0)" for query_id in queries),
            label="count",
            threshold=0,
            periods=2,
            datapoints=1,
            advice=advice,
        )

    def expression(
        self,
        construct_id: str,
        metrics: Mapping[str, Metric],
        expression: str,
        *,
        label: str,
        threshold: int,
        periods: int,
        datapoints: int,
        advice: Advice,
        missing: Literal["notBreaching", "breaching"] = "notBreaching",
    ) -> CloudwatchMetricAlarm:
        """An alarm on metric math.

        Args:
            missing: what it counts as if none of the metrics has any data.
        """
        queries = [
            CloudwatchMetricAlarmMetricQuery(
                id=query_id,
                metric=CloudwatchMetricAlarmMetricQueryMetric(
                    namespace=metric.namespace,
                    metric_name=metric.name,
                    dimensions=metric.dimensions or None,
                    stat=metric.statistic,
                    period=PERIOD,
                ),
            )
            for query_id, metric in metrics.items()
        ]
        result = CloudwatchMetricAlarmMetricQuery(id="result", expression=expression, label=label, return_data=True)
        alarm = CloudwatchMetricAlarm(
            self,
            construct_id,
            alarm_name=self._name(construct_id),
            alarm_description=advice.text(self._handbook),
            metric_query=[result, *queries],
            comparison_operator="GreaterThanThreshold",
            threshold=threshold,
            evaluation_periods=periods,
            datapoints_to_alarm=datapoints,
            treat_missing_data=missing,
            alarm_actions=[self._alerts.arn],
            ok_actions=[self._alerts.arn],
            # This alarm fires as soon as it exists. Its message is lost if the topic's policy does not admit it.
            depends_on=[self._alerts.policy] if missing == "breaching" else None,
        )
        self.alarms.append(alarm)
        return alarm

    def level(
        self,
        construct_id: str,
        metric: Metric,
        *,
        threshold: int,
        periods: int,
        missing: Literal["notBreaching", "ignore"],
        advice: Advice,
    ) -> None:
        """An alarm on one metric that is above a threshold in some periods."""
        self.alarms.append(
            CloudwatchMetricAlarm(
                self,
                construct_id,
                alarm_name=self._name(construct_id),
                alarm_description=advice.text(self._handbook),
                namespace=metric.namespace,
                metric_name=metric.name,
                dimensions=metric.dimensions,
                statistic=None if metric.is_percentile else metric.statistic,
                extended_statistic=metric.statistic if metric.is_percentile else None,
                # Most environments have fewer requests in five minutes than a p99 is sure of (1,000): with `ignore`,
                # the alarm would keep silent there, and keep its state once it had spoken.
                evaluate_low_sample_count_percentiles="evaluate" if metric.is_percentile else None,
                period=PERIOD,
                comparison_operator="GreaterThanThreshold",
                threshold=threshold,
                evaluation_periods=periods,
                datapoints_to_alarm=periods,
                treat_missing_data=missing,
                alarm_actions=[self._alerts.arn],
                ok_actions=[self._alerts.arn],
            )
        )

    def _name(self, construct_id: str) -> str:
        return f"{self._prefix}-{construct_id.replace('_', '-')}"
