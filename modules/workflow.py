"""The workflow of a file: S3 says that bytes are stored, the file is inspected, opened for download, and announced."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

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

from functions.common.contract import (
    FILES_PREFIX,
    PROCESSING_FAILED,
    FileEvent,
    NextStep,
    Quarantined,
    Rejected,
    State,
)
from modules.alarms import Advice, Alarm, Metric, any_count
from modules.encryption import CustomerKey
from modules.foundation import Foundation
from modules.functions import Function, tracing_statement
from modules.limits import WORKFLOW_SECONDS
from modules.metadata import Metadata
from modules.monitored import Graph, LogQuery, Monitored, Row
from modules.names import STORED_EVENTS, WORKFLOW, dead_letters_of
from modules.notifications import Notifications
from modules.permissions import Role
from modules.policy import Statement
from modules.queries import DENIED, FILE
from modules.queues import Queue, Sender
from modules.settings import Settings
from modules.storage import Storage

# EventBridge, "Retry policy": what it does without being told; written out so that a plan shows it.
EVENT_AGE_SECONDS = 24 * 3600
EVENT_RETRIES = 185
TIMEOUT_SECONDS = WORKFLOW_SECONDS
STEP_SECONDS = 60
# Errors of a busy service; a later attempt can succeed. `Sandbox.Timedout` means that a function reached its own
# timeout (Step Functions, "Handling errors in Step Functions workflows").
BUSY = [
    "States.Timeout",
    "Sandbox.Timedout",
    "Lambda.TooManyRequestsException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ClientExecutionTimeoutException",
    "DynamoDB.ProvisionedThroughputExceededException",
    "DynamoDB.RequestLimitExceededException",
    "DynamoDB.ThrottlingException",
    "DynamoDB.InternalServerErrorException",
    "DynamoDB.SdkClientException",
    "Sns.ThrottledException",
    "Sns.InternalErrorException",
    "Sns.SdkClientException",
]
BUSY_ATTEMPTS = 12
BUSY_DELAY_SECONDS = 60

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


class Workflow(Construct, Monitored):
    """State machine, the rule that starts it, and where events go that could not start it.

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
        name = f"{settings.prefix}-{WORKFLOW}"
        logs = CloudwatchLogGroup(
            self,
            "logs",
            name=f"{LOG_GROUPS}{name}",
            retention_in_days=settings.log_retention_days,
            kms_key_id=logs_key.arn,
        )
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
        # For every object below the files' prefix, and for nothing else.
        self.rules: dict[str, str] = {}
        self.dead_letters = self.start_on(
            self,
            "stored",
            foundation=settings.foundation,
            name=STORED_EVENTS,
            description="An object is stored: start the workflow of its file",
            pattern={
                "source": ["aws.s3"],
                "detail-type": ["Object Created"],
                "detail": {"bucket": {"name": [storage.bucket_name]}, "object": {"key": [{"prefix": FILES_PREFIX}]}},
            },
            queues_key=queues_key,
        )

    def start_on(
        self,
        scope: Construct,
        construct_id: str,
        *,
        foundation: Foundation,
        name: str,
        description: str,
        pattern: Mapping[str, object],
        queues_key: CustomerKey,
        reshape: CloudwatchEventTargetInputTransformer | None = None,
    ) -> Queue:
        """Start the workflow for every event of a pattern, and return where events go that could not.

        Args:
            scope: construct of whoever tells of these events.
            construct_id: what happened, such as `stored`; the rule is named after it.
            name: first part of the names of queue and role.
            reshape: how an event becomes the workflow's input; None for events that have its form.
        """
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

    def grant_start(self, role: Role, concern: str) -> None:
        """Let a role start the workflow."""
        role.grant(
            concern,
            Statement(sid="StartWorkflow", actions=["states:StartExecution"], resources=[self.state_machine_arn]),
        )


def _of_rule(rule: str, name: str, label: str = "") -> Metric:
    """Return a metric of a rule (EventBridge, "Monitoring Amazon EventBridge")."""
    return Metric("AWS/Events", name, {"RuleName": rule}, label=label)


_QUARANTINED = "File {} is in quarantine. What to do: HANDBOOK#files-in-quarantine"
_FAILED = "File {}: {} What to do: HANDBOOK#workflow-failures. Execution: {}"

# Step Functions, "Logging using CloudWatch Logs": groups with this prefix do not use up the policy's length.
LOG_GROUPS = "/aws/vendedlogs/states/"


def definition(
    settings: Settings,
    *,
    inspect_arn: str,
    discard_arn: str,
    bucket_name: str,
    table_name: str,
    files_topic_arn: str,
    alerts_topic_arn: str,
) -> dict[str, Any]:
    """The state machine in Amazon States Language.

    Its input is S3's event as EventBridge hands it over. A file passes `uploading` to `available` once, by a condition
    on its record; a doubled event finds that done. An event that comes again after the announcement failed makes up
    for it: whether it was announced is in the record too.
    """
    retry = {
        "IntervalSeconds": settings.step_functions_retry_interval,
        "MaxAttempts": settings.step_functions_max_attempts,
        "BackoffRate": settings.step_functions_backoff_rate,
        "JitterStrategy": "FULL",
    }
    quarantined, failed_words = (text.replace("HANDBOOK", settings.handbook) for text in (_QUARANTINED, _FAILED))
    record_key = {"file_id": {"S.$": "$.file_id"}}

    def task(resource: str, parameters: dict[str, Any], **rest: object) -> dict[str, Any]:
        return {
            "Type": "Task",
            "Resource": f"arn:aws:states:::{resource}",
            "Parameters": parameters,
            "TimeoutSeconds": STEP_SECONDS,
            **rest,
        }

    def update(expression: str, condition: str, values: dict[str, Any], **rest: object) -> dict[str, Any]:
        names = {"#state": "state"} if "#state" in expression + condition else {}
        parameters = {
            "TableName": table_name,
            "Key": record_key,
            "UpdateExpression": expression,
            "ConditionExpression": condition,
            "ExpressionAttributeValues": values,
            **({"ExpressionAttributeNames": names} if names else {}),
        }
        return task("dynamodb:updateItem", parameters, **{"Retry": retries, "ResultPath": None, **rest})

    # MaxDelaySeconds has to be greater than IntervalSeconds (Amazon States Language, "Retrying after error").
    longest = max(BUSY_DELAY_SECONDS, settings.step_functions_retry_interval + 1)
    # What cannot get better is not tried again; everything else is.
    tries = [
        {"ErrorEquals": BUSY, **retry, "MaxAttempts": BUSY_ATTEMPTS, "MaxDelaySeconds": longest},
        {"ErrorEquals": ["States.ALL"], **retry},
    ]
    retries = [{"ErrorEquals": ["DynamoDB.ConditionalCheckFailedException"], "MaxAttempts": 0}, *tries]
    failed = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.failure", "Next": "RecordFailure"}]

    # If the answer of a step was lost, the step is repeated. The name of the run shows that it is already done.
    mine = {":run": {"S.$": "$$.Execution.Name"}}

    def end_as(state: State) -> dict[str, Any]:
        """Claim the file, so that nobody opens it any more; it is announced as what it became."""
        return update(
            "SET #state = :ending, ends_as = :ends_as, failure = :why, run = :run",
            "#state IN (:uploading, :scanning) OR (#state = :ending AND ends_as = :ends_as AND run = :run)",
            {
                **mine,
                ":ending": {"S": State.ENDING},
                ":ends_as": {"S": state},
                ":uploading": {"S": State.UPLOADING},
                ":scanning": {"S": State.SCANNING},
                ":why": {"S.$": "$.reason.said.errorMessage"},
            },
            Catch=[already, *failed],
            Next="EndFile",
        )

    def discard(after: str) -> dict[str, Any]:
        return task(
            "lambda:invoke",
            {"FunctionName": discard_arn, "Payload": {"file_id.$": "$.file_id"}},
            Retry=tries,
            Catch=failed,
            ResultPath=None,
            Next=after,
        )

    # A function's exception reaches the workflow as the name of its class.
    refusals = [Rejected.__name__, Quarantined.__name__]
    held = settings.legal_hold
    # The record says that the file is held before S3 does: nobody can delete it in between.
    hold = task(
        "aws-sdk:s3:putObjectLegalHold",
        {"Bucket": bucket_name, "Key.$": "$.detail.object.key", "LegalHold": {"Status": "ON"}},
        Retry=tries,
        Catch=failed,
        ResultPath=None,
        Next="Announce",
    )
    hold_first = [
        {
            "And": [
                {"Variable": "$.inspection.found.left", "StringEquals": NextStep.ANNOUNCE},
                {"Variable": "$.inspection.found.event", "StringEquals": FileEvent.UPLOADED},
            ],
            "Next": "Hold",
        }
    ] * held
    already = {"ErrorEquals": ["DynamoDB.ConditionalCheckFailedException"], "ResultPath": None, "Next": "Done"}
    return {
        "Comment": "From stored bytes to an available file, or to one that is refused and removed; announced once",
        "StartAt": "NameFile",
        "TimeoutSeconds": TIMEOUT_SECONDS,
        "States": {
            "NameFile": {
                "Type": "Pass",
                "Parameters": {
                    "file_id.$": "States.ArrayGetItem(States.StringSplit($.detail.object.key, '/'), 1)",
                    "detail.$": "$.detail",
                },
                "Next": "Inspect",
            },
            "Inspect": task(
                "lambda:invoke",
                {"FunctionName": inspect_arn, "Payload.$": "$"},
                ResultSelector={"found.$": "$.Payload"},
                ResultPath="$.inspection",
                Retry=[
                    {"ErrorEquals": refusals, "MaxAttempts": 0},
                    *tries,
                ],
                Catch=[
                    {
                        "ErrorEquals": refusals,
                        "ResultPath": "$.failure",
                        "Next": "ReadReason",
                    },
                    *failed,
                ],
                Next="WhatIsLeft",
            ),
            "WhatIsLeft": {
                "Type": "Choice",
                "Choices": [
                    *hold_first,
                    *(
                        {"Variable": "$.inspection.found.left", "StringEquals": left, "Next": state}
                        for left, state in {
                            NextStep.OPEN: "MakeAvailable",
                            NextStep.WAIT_FOR_SCAN: "WaitForScan",
                            NextStep.ANNOUNCE: "Announce",
                            NextStep.ALERT_AND_ANNOUNCE: "AlertPeople",
                            NextStep.DISCARD: "RemoveRest",
                        }.items()
                    ),
                ],
                "Default": "Done",
            },
            "MakeAvailable": update(
                "SET #state = :available, available_time = :now, detected_type = :type, run = :run"
                f"{', legal_hold = :held' * held} REMOVE failure",
                "#state IN (:uploading, :scanning) OR (#state = :available AND run = :run)",
                {
                    **mine,
                    ":available": {"S": State.AVAILABLE},
                    ":uploading": {"S": State.UPLOADING},
                    ":scanning": {"S": State.SCANNING},
                    ":now": {"S.$": "$$.State.EnteredTime"},
                    ":type": {"S.$": "$.inspection.found.detected_type"},
                    **({":held": {"BOOL": True}} if held else {}),
                },
                Catch=[already, *failed],
                Next="Hold" if held else "Announce",
            ),
            **({"Hold": hold} if held else {}),
            "WaitForScan": update(
                "SET #state = :scanning, due_time = :due REMOVE failure",
                "#state = :uploading",
                {
                    ":scanning": {"S": State.SCANNING},
                    ":uploading": {"S": State.UPLOADING},
                    ":due": {"S.$": "$.inspection.found.due_time"},
                },
                Catch=[already, *failed],
                Next="Done",
            ),
            "AlertPeople": task(
                "sns:publish",
                {
                    "TopicArn": alerts_topic_arn,
                    "Subject": f"{settings.prefix}: a file is in quarantine",
                    "Message.$": f"States.Format('{quarantined}', $.file_id)",
                },
                Retry=tries,
                Catch=failed,
                ResultPath=None,
                Next="Announce",
            ),
            "Announce": task(
                "sns:publish",
                {
                    "TopicArn": files_topic_arn,
                    "Subject.$": "$.inspection.found.subject",
                    "Message.$": "$.inspection.found.message",
                    "MessageAttributes": {"event": {"DataType": "String", "StringValue.$": "$.inspection.found.event"}},
                },
                Retry=tries,
                Catch=failed,
                ResultPath=None,
                Next="RememberAnnouncement",
            ),
            "RememberAnnouncement": update(
                "SET announced_time = :now, due_time = :due",
                # If the file was claimed meanwhile, its due_time stays, so that the sweeper ends the file in time.
                "#state IN (:available, :rejected, :quarantined)",
                {
                    ":now": {"S.$": "$$.State.EnteredTime"},
                    ":due": {"S.$": "$.inspection.found.due_time"},
                    **{f":{state}": {"S": state} for state in (State.AVAILABLE, State.REJECTED, State.QUARANTINED)},
                },
                Catch=[already, *failed],
                Next="Done",
            ),
            "Done": {"Type": "Succeed"},
            # What a function raises comes as text of JSON (Lambda, "Errors and automatic retries").
            "ReadReason": {
                "Type": "Pass",
                "Parameters": {"said.$": "States.StringToJson($.failure.Cause)"},
                "ResultPath": "$.reason",
                "Next": "WhatToDoWithIt",
            },
            "WhatToDoWithIt": {
                "Type": "Choice",
                "Choices": [
                    {"Variable": "$.failure.Error", "StringEquals": Quarantined.__name__, "Next": "Quarantine"}
                ],
                "Default": "Reject",
            },
            "Reject": end_as(State.REJECTED),
            "Quarantine": end_as(State.QUARANTINED),
            "EndFile": discard("Inspect"),
            "RemoveRest": discard("Done"),
            "RecordFailure": update(
                # The owner reads no error message of AWS; the alert has the cause. The sweeper's next run tries again.
                "SET failure = :why, due_time = :now",
                "#state IN (:uploading, :scanning)",
                {
                    ":why": {"S": str(PROCESSING_FAILED)},
                    ":now": {"S.$": "$$.State.EnteredTime"},
                    ":uploading": {"S": State.UPLOADING},
                    ":scanning": {"S": State.SCANNING},
                },
                Catch=[{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": "TellSomeone"}],
                Next="TellSomeone",
            ),
            "TellSomeone": task(
                "sns:publish",
                {
                    "TopicArn": alerts_topic_arn,
                    "Subject": f"{settings.prefix}: a file could not be processed",
                    # The whole error, since a timeout has no cause.
                    "Message.$": f"States.Format('{failed_words}', $.file_id, States.JsonToString($.failure), "
                    "$$.Execution.Id)",
                },
                Retry=tries,
                Catch=[{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": "Failed"}],
                ResultPath=None,
                Next="Failed",
            ),
            "Failed": {
                "Type": "Fail",
                "Error": "FileNotProcessed",
                "Cause": "See the execution's history, or the alert",
            },
        },
    }
