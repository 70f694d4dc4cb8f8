"""A schedule that invokes a function, with a dead-letter queue."""

from __future__ import annotations

import json

from cdktf_cdktf_provider_aws.scheduler_schedule import (
    SchedulerSchedule,
    SchedulerScheduleFlexibleTimeWindow,
    SchedulerScheduleTarget,
    SchedulerScheduleTargetDeadLetterConfig,
    SchedulerScheduleTargetRetryPolicy,
)
from constructs import Construct

from functions.common.contract import TASK
from modules.alarms import PERIOD, Advice, Alarm
from modules.encryption import CustomerKey
from modules.foundation import Foundation
from modules.functions import MAX_EVENT_AGE_SECONDS, MAX_RETRIES, Function
from modules.monitored import Monitored, label_of
from modules.names import dead_letters_of, slug
from modules.policy_documents import Statement
from modules.queues import Queue
from modules.roles import Role

# An hour without a run.
STOPPED_PERIODS = 12

_KEEP = (
    "scheduler:CreateSchedule",
    "scheduler:DeleteSchedule",
    "scheduler:GetSchedule",
    "scheduler:UpdateSchedule",
)


class Schedule(Construct, Monitored):
    """A schedule of EventBridge Scheduler that invokes one function.

    Attributes:
        dead_letters: queue of the invocations that could not be delivered.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        foundation: Foundation,
        function: Function,
        every: str,
        queues_key: CustomerKey,
    ) -> None:
        """
        Args:
            every: number and unit, such as `15 minutes` (EventBridge Scheduler, "Rate-based schedules"); several times
                an hour, since the alarm goes off after an hour without a run.
            queues_key: encrypts dead letters.
        """
        super().__init__(scope, construct_id)
        self._foundation, self._function = foundation, function
        name = slug(construct_id)
        self.dead_letters = Queue(
            self, "dead_letters", foundation=foundation, name=dead_letters_of(name), key=queues_key
        )
        role = Role(
            self,
            "role",
            foundation=foundation,
            name=name,
            service="scheduler.amazonaws.com",
            description=f"Schedule {name}",
        )
        function.grant_invoke(role, "invoke")
        # Scheduler sends dead letters with the schedule's own role ("Configuring a dead-letter queue").
        self.dead_letters.grant_send(role, "dead_letters_send")
        SchedulerSchedule(
            self,
            "Default",
            name=f"{foundation.prefix}-{name}",
            schedule_expression=f"rate({every})",
            flexible_time_window=SchedulerScheduleFlexibleTimeWindow(mode="OFF"),
            target=SchedulerScheduleTarget(
                arn=function.arn,
                role_arn=role.arn,
                input=json.dumps({TASK: construct_id}),
                dead_letter_config=SchedulerScheduleTargetDeadLetterConfig(arn=self.dead_letters.arn),
                retry_policy=SchedulerScheduleTargetRetryPolicy(
                    maximum_event_age_in_seconds=MAX_EVENT_AGE_SECONDS, maximum_retry_attempts=MAX_RETRIES
                ),
            ),
            # A rate-based schedule runs as soon as it is created ("Rate-based schedules").
            depends_on=role.grants,
        )

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for schedules."""
        name = f"schedule/default/{self._foundation.prefix}-*"
        return [Statement(sid="KeepSchedules", actions=_KEEP, resources=[self._foundation.arn("scheduler", name)])]

    def alarms(self) -> list[Alarm]:
        """Return the alarm on a schedule that does not run.

        CloudWatch does not document whether FILL makes zeros of a metric that has no data at all; missing data counts
        as no run.
        """
        return [
            Alarm(
                name=f"{label_of(self._function)}_stopped",
                metrics={"runs": self._function.metric("Invocations")},
                expression="IF(FILL(runs, 0) > 0, 0, 1)",
                label="periods without a run",
                threshold=0,
                periods=STOPPED_PERIODS,
                missing="breaching",
                advice=Advice(
                    f"The function {self._function.name} did not run for {STOPPED_PERIODS * PERIOD // 60} minutes.",
                    "see whether its schedule is there and enabled, and whether Lambda lets it run",
                    "stopped-sweeper",
                ),
            )
        ]
