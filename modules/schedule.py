"""Runs a function on a schedule, and keeps what could not be delivered."""

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

from modules.encryption import CustomerKey
from modules.functions import MAX_EVENT_AGE_SECONDS, MAX_RETRIES, Function
from modules.permissions import Role
from modules.queues import Queue
from modules.settings import Settings


class Schedule(Construct):
    """A schedule of EventBridge Scheduler that invokes one function.

    Attributes:
        dead_letters: queue of the invocations that could not be delivered.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        function: Function,
        every: str,
        queues_key: CustomerKey,
    ) -> None:
        """
        Args:
            every: number and unit, such as `15 minutes` (EventBridge Scheduler, "Rate-based schedules").
            queues_key: what encrypts dead letters.
        """
        super().__init__(scope, construct_id)
        slug = construct_id.replace("_", "-")
        self.dead_letters = Queue(self, "dead_letters", settings=settings, name=f"{slug}-dead-letters", key=queues_key)
        role = Role(
            self,
            "role",
            settings=settings,
            name=slug,
            service="scheduler.amazonaws.com",
            description=f"Schedule {slug}",
        )
        function.grant_invoke(role, "invoke")
        # Scheduler sends dead letters with the schedule's own role ("Configuring a dead-letter queue").
        self.dead_letters.grant_send(role, "dead_letters_send")
        SchedulerSchedule(
            self,
            "Default",
            name=f"{settings.prefix}-{slug}",
            schedule_expression=f"rate({every})",
            flexible_time_window=SchedulerScheduleFlexibleTimeWindow(mode="OFF"),
            target=SchedulerScheduleTarget(
                arn=function.arn,
                role_arn=role.arn,
                input=json.dumps({"task": construct_id}),
                dead_letter_config=SchedulerScheduleTargetDeadLetterConfig(arn=self.dead_letters.arn),
                retry_policy=SchedulerScheduleTargetRetryPolicy(
                    maximum_event_age_in_seconds=MAX_EVENT_AGE_SECONDS, maximum_retry_attempts=MAX_RETRIES
                ),
            ),
            # A rate-based schedule runs as soon as it is created ("Rate-based schedules").
            depends_on=role.grants,
        )
