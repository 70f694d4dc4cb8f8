"""The states of the workflow of a file, in Amazon States Language: one method for each state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from functions.common.contract import (
    PROCESSING_FAILED,
    FileEvent,
    NextStep,
    Quarantined,
    Rejected,
    State,
)
from modules.aws_limits import WORKFLOW_SECONDS
from modules.settings import Settings

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

_QUARANTINED = "File {} is in quarantine. What to do: HANDBOOK#files-in-quarantine"
_FAILED = "File {}: {} What to do: HANDBOOK#workflow-failures. Execution: {}"

# A function's exception reaches the workflow as the name of its class.
_REFUSALS = [Rejected.__name__, Quarantined.__name__]
# The states in which a file is not decided yet, as values of an expression.
_UNDECIDED = {":uploading": {"S": State.UPLOADING}, ":scanning": {"S": State.SCANNING}}
# If the answer of a step was lost, the step is repeated. The name of the execution shows that it is already done.
_RUN = {":run": {"S.$": "$$.Execution.Name"}}
_NOW = {":now": {"S.$": "$$.State.EnteredTime"}}
_DUE = {":due": {"S.$": "$.inspection.found.due_time"}}
_CONDITION_FAILED = "DynamoDB.ConditionalCheckFailedException"
# The record does not meet the condition: another execution has done the step.
_ALREADY = {"ErrorEquals": [_CONDITION_FAILED], "ResultPath": None, "Next": "Done"}
_TO_FAILURE = {"ErrorEquals": ["States.ALL"], "ResultPath": "$.failure", "Next": "RecordFailure"}


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
    """Return the state machine in Amazon States Language.

    Its input is S3's event as EventBridge delivers it. A condition on the record lets a file pass from `uploading` to
    `available` only once, so a duplicate event changes nothing. If the announcement failed, an event that is sent again
    makes up for it: the record also says whether the file was announced.
    """
    states = _States(settings, inspect_arn, discard_arn, bucket_name, table_name, files_topic_arn, alerts_topic_arn)
    return {
        "Comment": "From stored bytes to an available file, or to one that is refused and removed; announced once",
        "StartAt": "NameFile",
        "TimeoutSeconds": WORKFLOW_SECONDS,
        "States": {
            "NameFile": states.name_file(),
            "Inspect": states.inspect(),
            "WhatIsLeft": states.what_is_left(),
            "MakeAvailable": states.make_available(),
            **({"Hold": states.hold()} if settings.legal_hold else {}),
            "WaitForScan": states.wait_for_scan(),
            "AlertPeople": states.alert_people(),
            "Announce": states.announce(),
            "RememberAnnouncement": states.remember_announcement(),
            "Done": {"Type": "Succeed"},
            "ReadReason": states.read_reason(),
            "WhatToDoWithIt": states.what_to_do_with_it(),
            "Reject": states.end_as(State.REJECTED),
            "Quarantine": states.end_as(State.QUARANTINED),
            "EndFile": states.discard(following="Inspect"),
            "RemoveRest": states.discard(following="Done"),
            "RecordFailure": states.record_failure(),
            "TellSomeone": states.tell_someone(),
            "Failed": {
                "Type": "Fail",
                "Error": "FileNotProcessed",
                "Cause": "See the execution's history, or the alert",
            },
        },
    }


@dataclass(frozen=True)
class _States:
    """The states of one environment's workflow, and what they call."""

    settings: Settings
    inspect_arn: str
    discard_arn: str
    bucket_name: str
    table_name: str
    files_topic_arn: str
    alerts_topic_arn: str

    def name_file(self) -> dict[str, Any]:
        """Take the id of the file from the key of the object."""
        return {
            "Type": "Pass",
            "Parameters": {
                "file_id.$": "States.ArrayGetItem(States.StringSplit($.detail.object.key, '/'), 1)",
                "detail.$": "$.detail",
            },
            "Next": "Inspect",
        }

    def inspect(self) -> dict[str, Any]:
        """Compare the stored object with its record; a refusal is an error with the name of the exception."""
        return _task(
            "lambda:invoke",
            {"FunctionName": self.inspect_arn, "Payload.$": "$"},
            ResultSelector={"found.$": "$.Payload"},
            ResultPath="$.inspection",
            Retry=[{"ErrorEquals": _REFUSALS, "MaxAttempts": 0}, *self._retry()],
            Catch=[{"ErrorEquals": _REFUSALS, "ResultPath": "$.failure", "Next": "ReadReason"}, _TO_FAILURE],
            Next="WhatIsLeft",
        )

    def what_is_left(self) -> dict[str, Any]:
        """Go to the next step that the inspection returned."""
        hold_first = {
            "And": [
                {"Variable": "$.inspection.found.left", "StringEquals": NextStep.ANNOUNCE},
                {"Variable": "$.inspection.found.event", "StringEquals": FileEvent.UPLOADED},
            ],
            "Next": "Hold",
        }
        following = {
            NextStep.OPEN: "MakeAvailable",
            NextStep.WAIT_FOR_SCAN: "WaitForScan",
            NextStep.ANNOUNCE: "Announce",
            NextStep.ALERT_AND_ANNOUNCE: "AlertPeople",
            NextStep.DISCARD: "RemoveRest",
        }
        return {
            "Type": "Choice",
            "Choices": [
                *([hold_first] if self.settings.legal_hold else []),
                *(
                    {"Variable": "$.inspection.found.left", "StringEquals": left, "Next": state}
                    for left, state in following.items()
                ),
            ],
            "Default": "Done",
        }

    def make_available(self) -> dict[str, Any]:
        """Open the file for download.

        The record says that the file is held before S3 does, so that no caller can delete it in between.
        """
        held = self.settings.legal_hold
        return self._update(
            "SET #state = :available, available_time = :now, detected_type = :type, run = :run"
            f"{', legal_hold = :held' if held else ''} REMOVE failure",
            "#state IN (:uploading, :scanning) OR (#state = :available AND run = :run)",
            {
                **_RUN,
                ":available": {"S": State.AVAILABLE},
                **_UNDECIDED,
                **_NOW,
                ":type": {"S.$": "$.inspection.found.detected_type"},
                **({":held": {"BOOL": True}} if held else {}),
            },
            Next="Hold" if held else "Announce",
        )

    def hold(self) -> dict[str, Any]:
        """Put the object under a legal hold."""
        return self._call(
            "aws-sdk:s3:putObjectLegalHold",
            {"Bucket": self.bucket_name, "Key.$": "$.detail.object.key", "LegalHold": {"Status": "ON"}},
            following="Announce",
        )

    def wait_for_scan(self) -> dict[str, Any]:
        """Record that the file waits for the malware scan, whose result starts the workflow again."""
        return self._update(
            "SET #state = :scanning, due_time = :due REMOVE failure",
            "#state = :uploading",
            {":scanning": {"S": State.SCANNING}, ":uploading": {"S": State.UPLOADING}, **_DUE},
            Next="Done",
        )

    def alert_people(self) -> dict[str, Any]:
        """Tell operators that a file is in quarantine."""
        text = _QUARANTINED.replace("HANDBOOK", self.settings.handbook)
        return self._call(
            "sns:publish",
            {
                "TopicArn": self.alerts_topic_arn,
                "Subject": f"{self.settings.prefix}: a file is in quarantine",
                "Message.$": f"States.Format('{text}', $.file_id)",
            },
            following="Announce",
        )

    def announce(self) -> dict[str, Any]:
        """Publish the event of the file."""
        return self._call(
            "sns:publish",
            {
                "TopicArn": self.files_topic_arn,
                "Subject.$": "$.inspection.found.subject",
                "Message.$": "$.inspection.found.message",
                "MessageAttributes": {"event": {"DataType": "String", "StringValue.$": "$.inspection.found.event"}},
            },
            following="RememberAnnouncement",
        )

    def remember_announcement(self) -> dict[str, Any]:
        """Record that the file was announced.

        If the file was claimed meanwhile, its due_time stays, so that the sweeper ends the file in time.
        """
        announced = (State.AVAILABLE, State.REJECTED, State.QUARANTINED)
        return self._update(
            "SET announced_time = :now, due_time = :due",
            "#state IN (:available, :rejected, :quarantined)",
            {**_NOW, **_DUE, **{f":{state}": {"S": state} for state in announced}},
            Next="Done",
        )

    def read_reason(self) -> dict[str, Any]:
        """Parse a function's exception, which arrives as JSON text (Lambda, "Errors and automatic retries")."""
        return {
            "Type": "Pass",
            "Parameters": {"said.$": "States.StringToJson($.failure.Cause)"},
            "ResultPath": "$.reason",
            "Next": "WhatToDoWithIt",
        }

    def what_to_do_with_it(self) -> dict[str, Any]:
        """Choose between quarantine and rejection."""
        return {
            "Type": "Choice",
            "Choices": [{"Variable": "$.failure.Error", "StringEquals": Quarantined.__name__, "Next": "Quarantine"}],
            "Default": "Reject",
        }

    def end_as(self, state: State) -> dict[str, Any]:
        """Claim the file, so that no caller can open it any more; it is announced under its final state."""
        return self._update(
            "SET #state = :ending, ends_as = :ends_as, failure = :why, run = :run",
            "#state IN (:uploading, :scanning) OR (#state = :ending AND ends_as = :ends_as AND run = :run)",
            {
                **_RUN,
                ":ending": {"S": State.ENDING},
                ":ends_as": {"S": state},
                **_UNDECIDED,
                ":why": {"S.$": "$.reason.said.errorMessage"},
            },
            Next="EndFile",
        )

    def discard(self, *, following: str) -> dict[str, Any]:
        """End a claimed file: remove its bytes and release its quota."""
        return self._call(
            "lambda:invoke",
            {"FunctionName": self.discard_arn, "Payload": {"file_id.$": "$.file_id"}},
            following=following,
        )

    def record_failure(self) -> dict[str, Any]:
        """Record that the file could not be processed, and make it due, so that the sweeper's next run tries again.

        The owner sees a fixed text and no error message of AWS; the alert has the cause.
        """
        return self._update(
            "SET failure = :why, due_time = :now",
            "#state IN (:uploading, :scanning)",
            {":why": {"S": str(PROCESSING_FAILED)}, **_NOW, **_UNDECIDED},
            Catch=[{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": "TellSomeone"}],
            Next="TellSomeone",
        )

    def tell_someone(self) -> dict[str, Any]:
        """Send operators the whole error, since a timeout has no cause, and end the execution as failed."""
        text = _FAILED.replace("HANDBOOK", self.settings.handbook)
        return _task(
            "sns:publish",
            {
                "TopicArn": self.alerts_topic_arn,
                "Subject": f"{self.settings.prefix}: a file could not be processed",
                "Message.$": f"States.Format('{text}', $.file_id, States.JsonToString($.failure), $$.Execution.Id)",
            },
            Retry=self._retry(),
            Catch=[{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": "Failed"}],
            ResultPath=None,
            Next="Failed",
        )

    def _retry(self) -> list[dict[str, Any]]:
        """Return the retries of a task: more attempts while a service is busy, fewer for other errors."""
        retry = {
            "IntervalSeconds": self.settings.step_functions_retry_interval,
            "MaxAttempts": self.settings.step_functions_max_attempts,
            "BackoffRate": self.settings.step_functions_backoff_rate,
            "JitterStrategy": "FULL",
        }
        # MaxDelaySeconds has to be greater than IntervalSeconds (Amazon States Language, "Retrying after error").
        longest = max(BUSY_DELAY_SECONDS, self.settings.step_functions_retry_interval + 1)
        return [
            {"ErrorEquals": BUSY, **retry, "MaxAttempts": BUSY_ATTEMPTS, "MaxDelaySeconds": longest},
            {"ErrorEquals": ["States.ALL"], **retry},
        ]

    def _call(self, resource: str, parameters: dict[str, Any], *, following: str) -> dict[str, Any]:
        """Return a task whose result is not used."""
        return _task(resource, parameters, Retry=self._retry(), Catch=[_TO_FAILURE], ResultPath=None, Next=following)

    def _update(self, expression: str, condition: str, values: dict[str, Any], **rest: object) -> dict[str, Any]:
        """Return a task that updates the record if the condition holds; otherwise the execution ends, by default."""
        names = {"#state": "state"} if "#state" in expression + condition else {}
        parameters = {
            "TableName": self.table_name,
            "Key": {"file_id": {"S.$": "$.file_id"}},
            "UpdateExpression": expression,
            "ConditionExpression": condition,
            "ExpressionAttributeValues": values,
            **({"ExpressionAttributeNames": names} if names else {}),
        }
        retry = [{"ErrorEquals": [_CONDITION_FAILED], "MaxAttempts": 0}, *self._retry()]
        defaults = {"Retry": retry, "ResultPath": None, "Catch": [_ALREADY, _TO_FAILURE]}
        return _task("dynamodb:updateItem", parameters, **{**defaults, **rest})


def _task(resource: str, parameters: dict[str, Any], **rest: object) -> dict[str, Any]:
    """Return a task that calls a service integration."""
    return {
        "Type": "Task",
        "Resource": f"arn:aws:states:::{resource}",
        "Parameters": parameters,
        "TimeoutSeconds": STEP_SECONDS,
        **rest,
    }
