"""The workflow of a file: S3 says that bytes are stored, the file is inspected, opened for download, and announced."""

from __future__ import annotations

import json
from collections.abc import Mapping

from cdktf_cdktf_provider_aws.cloudwatch_event_rule import CloudwatchEventRule
from cdktf_cdktf_provider_aws.cloudwatch_event_target import (
    CloudwatchEventTarget,
    CloudwatchEventTargetDeadLetterConfig,
    CloudwatchEventTargetInputTransformer,
    CloudwatchEventTargetRetryPolicy,
)
from cdktf_cdktf_provider_aws.cloudwatch_log_group import CloudwatchLogGroup
from cdktf_cdktf_provider_aws.sfn_state_machine import (
    SfnStateMachine,
    SfnStateMachineLoggingConfiguration,
    SfnStateMachineTracingConfiguration,
)
from constructs import Construct

from functions.common.contract import FILES_PREFIX
from modules.alarms import Advice, Alarm, Metric, any_count
from modules.deployer import any_resource, log_delivery, log_groups
from modules.encryption import CustomerKey
from modules.functions import Function, tracing_statement
from modules.monitored import Graph, LogQuery, Monitored, Row
from modules.names import STORED_EVENTS, WORKFLOW, dead_letters_of
from modules.notifications import Notifications
from modules.policy_documents import Statement
from modules.queries import DENIED, FILE
from modules.queues import Queue, Sender
from modules.roles import Grantee, Role
from modules.settings import Settings
from modules.storage import Storage
from modules.tables import Metadata
from modules.workflow_states import definition

# EventBridge, "Retry policy": what it does without being told; written out so that a plan shows it.
EVENT_AGE_SECONDS = 24 * 3600
EVENT_RETRIES = 185
# Step Functions, "Logging using CloudWatch Logs": groups with this prefix do not use up the policy's length.
LOG_GROUPS = "/aws/vendedlogs/states/"

# CloudWatch Logs delivery for Step Functions has no resource level (Step Functions, "Logging using CloudWatch Logs").
_LOG_DELIVERY = (
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
)

_KEEP = (
    "states:CreateStateMachine",
    "states:DeleteStateMachine",
    "states:DescribeStateMachine",
    "states:ListStateMachineVersions",
    "states:ListTagsForResource",
    "states:TagResource",
    "states:UntagResource",
    "states:UpdateStateMachine",
)

_KEEP_RULES = (
    "events:DeleteRule",
    "events:DescribeRule",
    "events:DisableRule",
    "events:EnableRule",
    "events:ListTagsForResource",
    "events:ListTargetsByRule",
    "events:PutRule",
    "events:PutTargets",
    "events:RemoveTargets",
    "events:TagResource",
    "events:UntagResource",
)


class Workflow(Construct, Monitored):
    """The state machine, the rule that starts it, and the dead-letter queue of the rule.

    Attributes:
        state_machine_arn: ARN of the state machine.
        rules: names of the rules that start it, by what happened.
        dead_letters: queue of the events that could not start it.
        log_group: name of the log group of its runs.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        storage: Storage,
        metadata: Metadata,
        notifications: Notifications,
        inspect: Function,
        discard: Function,
        logs_key: CustomerKey,
        queues_key: CustomerKey,
    ) -> None:
        """
        Args:
            inspect: function that compares what is stored with what was recorded.
            discard: function that ends a claimed file.
            logs_key: what encrypts the log group.
            queues_key: what encrypts dead letters.
        """
        super().__init__(scope, construct_id)
        self._foundation = settings.foundation
        name = f"{settings.prefix}-{WORKFLOW}"
        logs = CloudwatchLogGroup(
            self,
            "logs",
            name=f"{LOG_GROUPS}{name}",
            retention_in_days=settings.log_retention_days,
            kms_key_id=logs_key.arn,
        )
        role = self._role(settings, storage, metadata, notifications, inspect=inspect, discard=discard)
        machine = SfnStateMachine(
            self,
            "Default",
            name=name,
            type="STANDARD",
            role_arn=role.arn,
            definition=json.dumps(
                definition(
                    settings,
                    inspect_arn=inspect.arn,
                    discard_arn=discard.arn,
                    bucket_name=storage.bucket_name,
                    table_name=metadata.files.name,
                    files_topic_arn=notifications.files.arn,
                    alerts_topic_arn=notifications.alerts.arn,
                )
            ),
            logging_configuration=SfnStateMachineLoggingConfiguration(
                level="ALL", include_execution_data=True, log_destination=f"{logs.arn}:*"
            ),
            tracing_configuration=SfnStateMachineTracingConfiguration(enabled=settings.enable_xray_tracing),
            depends_on=role.grants,
        )
        self.state_machine_arn = machine.arn
        self.log_group = logs.name
        self.rules: dict[str, str] = {}
        self.dead_letters = self.start_on(
            self,
            "stored",
            name=STORED_EVENTS,
            description="An object is stored: start the workflow of its file",
            # Only objects below the prefix of files start it.
            pattern={
                "source": ["aws.s3"],
                "detail-type": ["Object Created"],
                "detail": {"bucket": {"name": [storage.bucket_name]}, "object": {"key": [{"prefix": FILES_PREFIX}]}},
            },
            queues_key=queues_key,
        )

    def _role(
        self,
        settings: Settings,
        storage: Storage,
        metadata: Metadata,
        notifications: Notifications,
        *,
        inspect: Function,
        discard: Function,
    ) -> Role:
        """Make the role of the state machine, with a grant for each thing that its states call."""
        role = Role(
            self,
            "role",
            foundation=settings.foundation,
            name="file-workflow",
            service="states.amazonaws.com",
            description="Workflow of a file",
        )
        inspect.grant_invoke(role, "inspect")
        discard.grant_invoke(role, "discard")
        metadata.grant_carry_on(role)
        if settings.legal_hold:
            storage.grant_hold(role)
        notifications.files.grant_publish(role, "announce")
        notifications.alerts.grant_publish(role, "alert")
        role.grant(
            "logs_deliver",
            Statement(
                sid="DeliverLogs",
                actions=_LOG_DELIVERY,
                resources=["*"],
                any_resource="log delivery has no resource type (Step Functions, Logging using CloudWatch Logs)",
            ),
        )
        if settings.enable_xray_tracing:
            role.grant("tracing", tracing_statement())
        return role

    def start_on(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        description: str,
        pattern: Mapping[str, object],
        queues_key: CustomerKey,
        reshape: CloudwatchEventTargetInputTransformer | None = None,
    ) -> Queue:
        """Start the workflow for every event of a pattern, and return the queue of the events that could not start it.

        Args:
            scope: construct that sends these events.
            construct_id: what happened, such as `stored`; the rule is named after it.
            name: first part of the names of queue and role.
            reshape: how an event becomes the workflow's input; None for events that have its form.
        """
        foundation = self._foundation
        rule = CloudwatchEventRule(
            scope,
            construct_id,
            name=f"{foundation.prefix}-{construct_id}",
            description=description,
            event_pattern=json.dumps(pattern),
        )
        dead_letters = Queue(
            scope,
            "dead_letters",
            foundation=foundation,
            name=dead_letters_of(name),
            key=queues_key,
            senders=[Sender("events.amazonaws.com", rule.arn)],
        )
        starter = Role(
            scope,
            "starter",
            foundation=foundation,
            name=f"{name}-starter",
            service="events.amazonaws.com",
            description="Starts the workflow of a file",
        )
        self.grant_start(starter, "start")
        CloudwatchEventTarget(
            scope,
            f"{construct_id}_target",
            rule=rule.name,
            target_id="workflow",
            arn=self.state_machine_arn,
            role_arn=starter.arn,
            input_transformer=reshape,
            dead_letter_config=CloudwatchEventTargetDeadLetterConfig(arn=dead_letters.arn),
            retry_policy=CloudwatchEventTargetRetryPolicy(
                maximum_event_age_in_seconds=EVENT_AGE_SECONDS, maximum_retry_attempts=EVENT_RETRIES
            ),
            # EventBridge does not retry a delivery that it has no permission for ("Retrying event delivery").
            depends_on=[*starter.grants, dead_letters.policy],
        )
        self.rules[construct_id] = rule.name
        return dead_letters

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for state machines and for the rules that start them."""
        foundation, named = self._foundation, f"{self._foundation.prefix}-*"
        return [
            Statement(
                sid="KeepWorkflows", actions=_KEEP, resources=[foundation.arn("states", f"stateMachine:{named}")]
            ),
            any_resource("CheckDefinitions", "it names no resource", "states:ValidateStateMachineDefinition"),
            Statement(sid="KeepRules", actions=_KEEP_RULES, resources=[foundation.arn("events", f"rule/{named}")]),
            *log_groups(foundation, f"{LOG_GROUPS}{named}"),
            log_delivery(),
        ]

    def alarms(self) -> list[Alarm]:
        """Return the alarms on executions that failed, and on rules that could not start one."""
        ends = ("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted")
        starts = ("FailedInvocations", "InvocationsFailedToBeSentToDlq")
        return [
            any_count(
                "workflow_failures",
                [self._metric(name) for name in ends],
                Advice(
                    "An execution of the workflow failed, timed out or was aborted, so that a file was not processed.",
                    "open the execution in Step Functions, mend the cause, and redrive the execution",
                    "workflow-failures",
                ),
            ),
            any_count(
                "workflow_not_started",
                [_of_rule(rule, name) for rule in self.rules.values() for name in starts],
                Advice(
                    f"A rule could not start the workflow for a file: {', '.join(self.rules.values())}.",
                    "see that the rule's role may start the state machine, then redrive the rule's dead letters",
                    "workflow-not-started",
                ),
            ),
        ]

    def dashboard_rows(self) -> list[Row]:
        """Return the row of the workflow."""
        ends = {"Started": "started", "Succeeded": "succeeded", "Failed": "failed"}
        ends |= {"TimedOut": "timed out", "Aborted": "aborted"}
        starts = {"TriggeredRules": "events", "FailedInvocations": "failed", "InvocationsSentToDlq": "dead letters"}
        executions = [self._metric(f"Executions{name}", label=label) for name, label in ends.items()]
        durations = [self._metric("ExecutionTime", statistic, statistic) for statistic in ("p50", "p99")]
        events = [
            _of_rule(rule, name, f"{happened} {label}")
            for happened, rule in self.rules.items()
            for name, label in starts.items()
        ]
        return [
            Row(
                "Workflow",
                [
                    Graph("executions", executions, "executions"),
                    Graph("duration", durations, "ms"),
                    Graph("starts by events", events, "events"),
                ],
            )
        ]

    def log_queries(self) -> list[LogQuery]:
        """Return the queries that look at executions too."""
        return [query.of(self.log_group) for query in (FILE, DENIED)]

    def _metric(self, name: str, statistic: str = "Sum", label: str = "") -> Metric:
        """Return a metric of the state machine ("Monitoring Step Functions metrics using Amazon CloudWatch")."""
        return Metric("AWS/States", name, {"StateMachineArn": self.state_machine_arn}, statistic, label)

    def grant_start(self, grantee: Grantee, concern: str) -> None:
        """Let a role start the workflow."""
        grantee.grant(
            concern,
            Statement(sid="StartWorkflow", actions=["states:StartExecution"], resources=[self.state_machine_arn]),
        )


def _of_rule(rule: str, name: str, label: str = "") -> Metric:
    """Return a metric of a rule (EventBridge, "Monitoring Amazon EventBridge")."""
    return Metric("AWS/Events", name, {"RuleName": rule}, label=label)
