"""Alarms, each with its next step, and the dashboard.

Every alarm tells the alert topic when it goes off and when it is over. Its section in docs/operations.md says what it
means and what to do. Names of metrics and dimensions are AWS's, from the page that each function here names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol

from cdktf_cdktf_provider_aws.cloudwatch_dashboard import CloudwatchDashboard
from cdktf_cdktf_provider_aws.cloudwatch_log_metric_filter import (
    CloudwatchLogMetricFilter,
    CloudwatchLogMetricFilterMetricTransformation,
)
from cdktf_cdktf_provider_aws.cloudwatch_metric_alarm import CloudwatchMetricAlarm
from constructs import Construct, Node

from modules.alarms import ERROR_RATE_PERCENT, PERIOD, STANDS_STILL, Advice, Alarms, AlertTopic, Metric
from modules.queues import RETENTION_SECONDS
from modules.settings import Settings

# A third of the default LAMBDA_TIMEOUT: it warns well before functions are stopped. Where LAMBDA_TIMEOUT is shorter
# than this, they are stopped first, and the alarm on 5xx answers tells that.
LATENCY_P99_MILLISECONDS = 5000
# A day before SQS deletes it. A queue that nobody has to read is no failure; a message that nobody will have read is.
OLDEST_MESSAGE_SECONDS = RETENTION_SECONDS - 24 * 3600
# A webhook is sent within seconds. What is tried again does not count here: SQS takes a message out of this metric once
# it was received three times ("Available CloudWatch metrics for Amazon SQS").
LATE_WEBHOOK_SECONDS = 900
# Receivers are other people's: one in two that fail is trouble of theirs that lasts, not a hiccup.
UNDELIVERED_PERCENT = 50

# An hour: four runs of the sweeper.
SCHEDULE_PERIODS = 12

# DynamoDB copies within a second, mostly ("Global tables: How it works").
LATE_COPY_MILLISECONDS = 60_000

# The values of the dimension `Operation` that requests to the table have; the permissions granted on it say which.
TABLE_OPERATIONS = ("GetItem", "PutItem", "Query", "TransactWriteItems", "UpdateItem")

# What the authorizer logs, as JSON, with each token that it refuses.
REFUSAL = "token refused"


class Watched(Protocol):
    """A construct with a name in AWS: a function, a queue or a table."""

    def __hash__(self) -> int: ...

    @property
    def node(self) -> Node: ...  # noqa: D102

    @property
    def name(self) -> str: ...  # noqa: D102


class WatchedAuthorizer(Watched, Protocol):
    """A function that API Gateway asks about tokens, and that fails for each token that it refuses."""

    @property
    def log_group(self) -> str: ...  # noqa: D102


class WatchedApi(Protocol):
    """A REST API that is deployed to one stage."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def stage_name(self) -> str: ...  # noqa: D102


class WatchedStorage(Protocol):
    """A bucket."""

    @property
    def bucket_name(self) -> str: ...  # noqa: D102


class WatchedWorkflow(Protocol):
    """A state machine, and the rules on the default event bus that start it."""

    @property
    def state_machine_arn(self) -> str: ...  # noqa: D102

    @property
    def rules(self) -> Mapping[str, str]: ...  # noqa: D102


class WatchedReplica(Protocol):
    """Copies of files and tables in a second region."""

    @property
    def region(self) -> str: ...  # noqa: D102

    @property
    def copied(self) -> Mapping[str, str]: ...  # noqa: D102


class RefusedTokens(Construct):
    """Counts the tokens that an authorizer refuses, from its log: Lambda counts them as errors of the function.

    CloudWatch Logs reads each line as it comes in (CloudWatch Logs, "Creating metrics from log events using filters").

    Attributes:
        metric: how many were refused.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, authorizer: WatchedAuthorizer
    ) -> None:
        super().__init__(scope, construct_id)
        # Dimensions would have to be in the line; the namespace tells environments of one account apart.
        self.metric = Metric(settings.prefix, "TokensRefused", {}, label="refused tokens")
        CloudwatchLogMetricFilter(
            self,
            "Default",
            name=f"{settings.prefix}-tokens-refused",
            log_group_name=authorizer.log_group,
            pattern=f'{{ $.message = "{REFUSAL}" }}',
            metric_transformation=CloudwatchLogMetricFilterMetricTransformation(
                namespace=self.metric.namespace, name=self.metric.name, value="1", unit="Count"
            ),
        )


class Monitoring(Alarms):
    """The alarms of an environment, and the dashboard that shows them first.

    Attributes:
        dashboard_name: name of the dashboard.
        error_alarms: by the name of a function, the alarm on the rate of its errors. It counts all invocations: whoever
            calls comes through the alias, and a call that did not should not go unseen.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        alerts: AlertTopic,
        functions: Sequence[Watched],
        queues: Sequence[Watched],
        api: WatchedApi | None = None,
        tables: Sequence[Watched] = (),
        storage: WatchedStorage | None = None,
        workflow: WatchedWorkflow | None = None,
        inbox: Watched | None = None,
        webhooks: Sequence[Watched] = (),
        authorizer: WatchedAuthorizer | None = None,
        replica: WatchedReplica | None = None,
        scheduled: Sequence[Watched] = (),
    ) -> None:
        """
        Args:
            alerts: where alarms go.
            functions: all functions, the authorizer among them.
            queues: the dead-letter queues.
            inbox: a queue that its readers may leave unread until messages expire.
            webhooks: queues of webhooks, one a receiver.
            authorizer: the function whose errors are refused tokens, mostly.
            replica: where files and tables are copied to.
            scheduled: functions that run several times an hour, by a schedule.
        """
        super().__init__(scope, construct_id, settings=settings, alerts=alerts)
        self.error_alarms: dict[str, CloudwatchMetricAlarm] = {}
        refused: Metric | None = None
        if authorizer is not None:
            refused = RefusedTokens(self, "tokens_refused", settings=settings, authorizer=authorizer).metric
            self._watch_authorizer(authorizer, refused)
        for function in functions:
            if authorizer is None or function.node.path != authorizer.node.path:
                self._watch_errors(function)
            self._watch_function(function)
        for function in scheduled:
            self._watch_schedule(function)
        if api is not None:
            self._watch_api(api)
        if workflow is not None:
            self._watch_workflow(workflow)
        for queue in queues:
            self._watch_dead_letters(queue)
        if inbox is not None:
            self._watch_inbox(inbox)
        for queue in webhooks:
            self._watch_webhooks(queue)
        for table in tables:
            self._watch_table(table)
            if replica is not None:
                self._watch_copy(table, replica)
        if replica is not None:
            self._watch_copies(replica)
        rows = [
            _alarms_row([alarm.arn for alarm in self.alarms]),
            *([_api_row(api)] if api is not None else []),
            _functions_row(functions, refused),
            *([_workflow_row(workflow)] if workflow is not None else []),
            _queues_row([*queues, *([inbox] if inbox is not None else []), *webhooks]),
            *([_webhooks_row(webhooks)] if webhooks else []),
            *(_table_row(table) for table in tables),
            *([_storage_row(storage)] if storage is not None else []),
        ]
        dashboard = CloudwatchDashboard(
            self,
            "dashboard",
            dashboard_name=settings.prefix,
            dashboard_body=json.dumps({"widgets": _placed(rows, settings.primary_region)}),
        )
        self.dashboard_name = dashboard.dashboard_name

    def _watch_errors(self, function: Watched) -> None:
        """An alarm on a function that fails (Lambda, "Types of metrics for Lambda functions")."""
        self.error_alarms[function.name] = self.rate(
            f"{_label(function)}_errors",
            errors=_of_function(function, "Errors"),
            requests=_of_function(function, "Invocations"),
            advice=Advice(
                f"More than {ERROR_RATE_PERCENT} % of the invocations of the function {function.name} failed, in two "
                "periods of 5 minutes.",
                f"read the errors in the log group /aws/lambda/{function.name}, and undo the last deployment if they "
                "began with it",
                "function-errors",
            ),
        )

    def _watch_authorizer(self, authorizer: WatchedAuthorizer, refused: Metric) -> None:
        """An alarm on an authorizer that fails for another reason than a token that it refuses.

        To fail is its only way to a 401 (API Gateway, "Output from an API Gateway Lambda authorizer"), so whoever sends
        wrong tokens makes errors of Lambda's. They are taken from both sides of the rate: left among the invocations,
        a flood of them would hide that nobody with a right token gets in. The count of the log may come in later than
        Lambda's; one period that looks bad meanwhile is not two.
        """
        self.error_alarms[authorizer.name] = self.rate(
            f"{_label(authorizer)}_errors",
            errors=_of_function(authorizer, "Errors"),
            requests=_of_function(authorizer, "Invocations"),
            neither=refused,
            advice=Advice(
                f"The function {authorizer.name} failed on more than {ERROR_RATE_PERCENT} % of the tokens that it did "
                "not refuse, in two periods of 5 minutes.",
                f"look for IssuerError in the log group /aws/lambda/{authorizer.name}, and see whether the issuer's "
                "keys can be had",
                "authorizer-errors",
            ),
        )

    def _watch_function(self, function: Watched) -> None:
        """More alarms on a function's metrics (Lambda, "Types of metrics for Lambda functions")."""
        name = _label(function)
        self.any(
            f"{name}_throttles",
            [_of_function(function, "Throttles")],
            Advice(
                f"Lambda turned invocations of the function {function.name} away, for lack of concurrency.",
                "compare the concurrency on the dashboard with the account's quota, and have the quota raised",
                "function-throttles",
            ),
        )
        self.any(
            f"{name}_lost_events",
            [_of_function(function, "DeadLetterErrors"), _of_function(function, "DestinationDeliveryFailures")],
            Advice(
                f"An event that the function {function.name} failed on could not be written to its dead-letter queue.",
                "see that the function's role may send to the queue and use its key, then find the event in the log",
                "lost-events",
            ),
        )

    def _watch_schedule(self, function: Watched) -> None:
        """An alarm on a schedule that stands still (Lambda, "Types of metrics for Lambda functions").

        Nobody else would miss its runs. Whether FILL makes zeros of a metric that has no data at all, CloudWatch does
        not say; missing data counts as no run.
        """
        self.expression(
            f"{_label(function)}_stopped",
            {"runs": _of_function(function, "Invocations")},
            "IF(FILL(runs, 0) > 0, 0, 1)",
            label="periods without a run",
            threshold=0,
            periods=SCHEDULE_PERIODS,
            datapoints=SCHEDULE_PERIODS,
            missing="breaching",
            advice=Advice(
                f"The function {function.name} did not run for {SCHEDULE_PERIODS * PERIOD // 60} minutes.",
                "see whether its schedule is there and enabled, and whether Lambda lets it run",
                "stopped-sweeper",
            ),
        )

    def _watch_api(self, api: WatchedApi) -> None:
        """Alarms on the stage's metrics (API Gateway, "Amazon API Gateway dimensions and metrics")."""
        self.rate(
            "api_errors",
            errors=_of_api(api, "5XXError"),
            requests=_of_api(api, "Count", "SampleCount"),
            advice=Advice(
                f"More than {ERROR_RATE_PERCENT} % of the answers of the API {api.name} were 5xx, in two periods of "
                "5 minutes.",
                "look which function fails or runs into its timeout, in the dashboard's row of functions",
                "api-errors",
            ),
        )
        self.level(
            "api_latency",
            _of_api(api, "Latency", "p99"),
            threshold=LATENCY_P99_MILLISECONDS,
            periods=3,
            missing="notBreaching",
            advice=Advice(
                f"One answer in a hundred of the API {api.name} took more than {LATENCY_P99_MILLISECONDS // 1000} "
                "seconds, for 15 minutes.",
                "compare the duration of the functions with the latency of the table on the dashboard",
                "api-latency",
            ),
        )

    def _watch_workflow(self, workflow: WatchedWorkflow) -> None:
        """Alarms on the workflow and on the rule that starts it.

        Sources: Step Functions, "Monitoring Step Functions metrics using Amazon CloudWatch"; EventBridge, "Monitoring
        Amazon EventBridge".
        """
        self.any(
            "workflow_failures",
            [_of_workflow(workflow, name) for name in ("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted")],
            Advice(
                "An execution of the workflow failed, timed out or was aborted, so that a file was not processed.",
                "open the execution in Step Functions, mend the cause, and redrive the execution",
                "workflow-failures",
            ),
        )
        self.any(
            "workflow_not_started",
            [
                _of_rule(rule, name)
                for rule in workflow.rules.values()
                for name in ("FailedInvocations", "InvocationsFailedToBeSentToDlq")
            ],
            Advice(
                f"A rule could not start the workflow for a file: {', '.join(workflow.rules.values())}.",
                "see that the rule's role may start the state machine, then redrive the rule's dead letters",
                "workflow-not-started",
            ),
        )

    def _watch_dead_letters(self, queue: Watched) -> None:
        """An alarm on a dead-letter queue (SQS, "Available CloudWatch metrics for Amazon SQS")."""
        self.level(
            f"{_label(queue)}_waiting",
            _of_queue(queue, "ApproximateNumberOfMessagesVisible"),
            threshold=0,
            periods=1,
            # A queue that nobody touches stops to report after six hours; the message is still in it.
            missing="ignore",
            advice=Advice(
                f"Messages that could not be processed lie in the dead-letter queue {queue.name}, for 14 days at most.",
                "read one message, mend what it failed on, then run `make redrive`",
                "dead-letters",
            ),
        )

    def _watch_inbox(self, queue: Watched) -> None:
        """An alarm on messages that nobody reads (SQS, "Available CloudWatch metrics for Amazon SQS")."""
        self.level(
            f"{_label(queue)}_expiring",
            _of_queue(queue, "ApproximateAgeOfOldestMessage"),
            threshold=OLDEST_MESSAGE_SECONDS,
            periods=1,
            # It is reported only while a message waits.
            missing="notBreaching",
            advice=Advice(
                f"SQS will delete messages of the queue {queue.name} within a day, and nobody has read them.",
                "start the queue's reader, or end the queue's subscription if nobody wants to read it",
                "expiring-messages",
            ),
        )

    def _watch_webhooks(self, queue: Watched) -> None:
        """Alarms on a receiver of webhooks (SQS, "Available CloudWatch metrics for Amazon SQS").

        A message that is received and not deleted was not taken, and will be received again.
        """
        name = _label(queue)
        self.expression(
            f"{name}_undelivered",
            {"received": _received(queue), "deleted": _deleted(queue)},
            "IF(FILL(received, 0) > 0, 100 * (FILL(received, 0) - FILL(deleted, 0)) / FILL(received, 0), 0)",
            label="not taken in percent",
            threshold=UNDELIVERED_PERCENT,
            periods=2,
            datapoints=2,
            advice=Advice(
                f"More than {UNDELIVERED_PERCENT} % of the webhooks of the queue {queue.name} were not taken, in two "
                "periods of 5 minutes.",
                "read in the log of the function webhooks what the receiver answers, and tell who runs it",
                "undelivered-webhooks",
            ),
        )
        self.level(
            f"{name}_late",
            _of_queue(queue, "ApproximateAgeOfOldestMessage"),
            threshold=LATE_WEBHOOK_SECONDS,
            periods=1,
            # It is reported only while a message waits.
            missing="notBreaching",
            advice=Advice(
                f"Webhooks of the queue {queue.name} wait for more than {LATE_WEBHOOK_SECONDS // 60} minutes to be "
                "sent.",
                "see whether the function webhooks runs, is throttled, or has no secret to sign with",
                "late-webhooks",
            ),
        )

    def _watch_table(self, table: Watched) -> None:
        """Alarms on the table (DynamoDB, "DynamoDB Metrics and dimensions").

        CloudWatch lets alarms on DynamoDB's metrics keep their state where data is missing, whatever they ask for
        ("Configuring how CloudWatch alarms treat missing data"); FILL makes the zeros with which they end.
        """
        self.any(
            f"{table.node.id}_table_errors",
            _of_table(table, "SystemErrors"),
            Advice(
                f"DynamoDB failed on requests to the table {table.name} (HTTP 500).",
                "look at AWS Health for the region; requests were tried again, so see whether callers got 5xx",
                "table-errors",
            ),
        )
        self.any(
            f"{table.node.id}_table_throttles",
            _of_table(table, "ThrottledRequests"),
            Advice(
                f"DynamoDB throttled requests to the table {table.name}.",
                "see on the dashboard which operation it was and whether one key is hot, and slow its caller down",
                "table-throttles",
            ),
        )

    def _watch_copies(self, replica: WatchedReplica) -> None:
        """An alarm on files that were not copied (S3, "Using S3 Replication metrics")."""
        self.any(
            "copies_failed",
            [Metric("AWS/S3", "OperationsFailedReplication", replica.copied)],
            Advice(
                f"S3 could not copy files, or what was deleted, to {replica.region}.",
                "find out what S3 may not do there, mend it, and have S3 Batch Replication copy what failed",
                "failed-copies",
            ),
        )

    def _watch_copy(self, table: Watched, replica: WatchedReplica) -> None:
        """Alarms on a table whose copy lags behind (DynamoDB, "DynamoDB Metrics and dimensions").

        A delay is told of what was copied. Where much is written and no delay is told, the copy stands still.
        """
        name, next_step = table.node.id, "see the status of the copy, whether its key can be used, and AWS Health"
        late = Metric(
            "AWS/DynamoDB",
            "ReplicationLatency",
            {"TableName": table.name, "ReceivingRegion": replica.region},
            "Average",
        )
        self.level(
            f"{name}_copy_late",
            late,
            threshold=LATE_COPY_MILLISECONDS,
            periods=3,
            missing="ignore",
            advice=Advice(
                f"The copy of the table {table.name} in {replica.region} is more than "
                f"{LATE_COPY_MILLISECONDS // 1000} seconds behind, for 15 minutes.",
                next_step,
                "late-copies",
            ),
        )
        written = Metric("AWS/DynamoDB", "ConsumedWriteCapacityUnits", {"TableName": table.name})
        self.expression(
            f"{name}_copy_stands_still",
            {"written": written, "late": late},
            STANDS_STILL.format(work="written", done="late"),
            label="stands still",
            threshold=0,
            periods=3,
            datapoints=3,
            advice=Advice(
                f"The table {table.name} is written to, and nothing reached its copy in {replica.region}.",
                next_step,
                "late-copies",
            ),
        )


@cache  # each question to a construct is a round trip to Node.js
def _label(construct: Watched) -> str:
    """What a construct is called in its stack, as its address says it."""
    return "_".join(part for part in construct.node.path.split("/")[1:] if part != "Default")


def _title(construct: Watched) -> str:
    """What the dashboard calls a construct."""
    return _label(construct).replace("_", " ")


def _of_function(function: Watched, name: str, statistic: str = "Sum") -> Metric:
    return Metric("AWS/Lambda", name, {"FunctionName": function.name}, statistic, _title(function))


def _of_api(api: WatchedApi, name: str, statistic: str = "Sum", label: str = "") -> Metric:
    return Metric("AWS/ApiGateway", name, {"ApiName": api.name, "Stage": api.stage_name}, statistic, label)


def _of_workflow(workflow: WatchedWorkflow, name: str, statistic: str = "Sum", label: str = "") -> Metric:
    return Metric("AWS/States", name, {"StateMachineArn": workflow.state_machine_arn}, statistic, label)


def _of_rule(rule: str, name: str, label: str = "") -> Metric:
    return Metric("AWS/Events", name, {"RuleName": rule}, label=label)


def _of_queue(queue: Watched, name: str) -> Metric:
    return Metric("AWS/SQS", name, {"QueueName": queue.name}, "Maximum", _title(queue))


def _received(queue: Watched) -> Metric:
    return Metric("AWS/SQS", "NumberOfMessagesReceived", {"QueueName": queue.name}, "Sum", f"{_title(queue)} sent")


def _deleted(queue: Watched) -> Metric:
    return Metric("AWS/SQS", "NumberOfMessagesDeleted", {"QueueName": queue.name}, "Sum", f"{_title(queue)} taken")


def _of_table(table: Watched, name: str, statistic: str = "Sum") -> list[Metric]:
    """A metric of a table, for each operation: together they are the table's."""
    return [
        Metric("AWS/DynamoDB", name, {"TableName": table.name, "Operation": operation}, statistic, operation)
        for operation in TABLE_OPERATIONS
    ]


@dataclass(frozen=True)
class _Widget:
    """One widget of the dashboard (CloudWatch API, "Dashboard body structure and syntax")."""

    kind: Literal["alarm", "metric"]
    properties: Mapping[str, object]
    height: int = 6


@dataclass(frozen=True)
class _Graph:
    """Metrics over time in one widget.

    Attributes:
        unit: what the axis counts.
        limit: where an alarm goes off, drawn as a line.
    """

    title: str
    metrics: Sequence[Metric]
    unit: str = ""
    limit: int | None = None
    period: int = PERIOD

    def widget(self, region: str) -> _Widget:
        """The widget, for a region."""
        properties: dict[str, object] = {
            "title": self.title,
            "region": region,
            "view": "timeSeries",
            "period": self.period,
            "metrics": [
                [metric.namespace, metric.name]
                + [part for dimension in metric.dimensions.items() for part in dimension]
                + [{"stat": metric.statistic, "label": metric.label or metric.name}]
                for metric in self.metrics
            ],
            "yAxis": {"left": {"min": 0, "label": self.unit, "showUnits": False}},
        }
        if self.limit is not None:
            properties["annotations"] = {"horizontal": [{"label": "alarm", "value": self.limit}]}
        return _Widget("metric", properties)


_Row = Sequence[_Graph | _Widget]


def _placed(rows: Sequence[_Row], region: str) -> list[dict[str, object]]:
    """Widgets of rows one below the other; those of a row share the 24 columns evenly."""
    placed: list[dict[str, object]] = []
    top = 0
    for row in rows:
        widgets = [item.widget(region) if isinstance(item, _Graph) else item for item in row]
        width = 24 // len(widgets)
        for index, widget in enumerate(widgets):
            placed.append(
                {
                    "type": widget.kind,
                    "x": index * width,
                    "y": top,
                    "width": width,
                    "height": widget.height,
                    "properties": widget.properties,
                }
            )
        top += max(widget.height for widget in widgets)
    return placed


def _alarms_row(arns: Sequence[str]) -> _Row:
    """All alarms, those that went off first."""
    properties = {"title": "Alarms", "alarms": list(arns), "sortBy": "stateUpdatedTimestamp"}
    return [_Widget("alarm", properties, height=2 + len(arns) // 6)]


def _api_row(api: WatchedApi) -> _Row:
    # The average of an error metric is its share of the requests (API Gateway, "dimensions and metrics").
    shares = [_of_api(api, "4XXError", "Average", "4xx"), _of_api(api, "5XXError", "Average", "5xx")]
    latencies = [_of_api(api, "Latency", "p50", "p50"), _of_api(api, "Latency", "p99", "p99")]
    return [
        _Graph("API: requests", [_of_api(api, "Count", "SampleCount", "requests")], "requests"),
        _Graph("API: share of errors", shares, "of 1"),
        _Graph("API: latency", latencies, "ms", limit=LATENCY_P99_MILLISECONDS),
    ]


def _functions_row(functions: Sequence[Watched], refused: Metric | None) -> _Row:
    def graph(title: str, unit: str, name: str, statistic: str = "Sum", more: Sequence[Metric] = ()) -> _Graph:
        metrics = [_of_function(each, name, statistic) for each in functions]
        return _Graph(f"Functions: {title}", [*metrics, *more], unit)

    return [
        graph("errors", "errors", "Errors", more=[refused] if refused is not None else []),
        graph("duration, p99", "ms", "Duration", "p99"),
        graph("throttles", "throttles", "Throttles"),
        graph("concurrency", "at once", "ConcurrentExecutions", "Maximum"),
    ]


def _workflow_row(workflow: WatchedWorkflow) -> _Row:
    ends = {"Started": "started", "Succeeded": "succeeded", "Failed": "failed"}
    ends |= {"TimedOut": "timed out", "Aborted": "aborted"}
    starts = {"TriggeredRules": "events", "FailedInvocations": "failed", "InvocationsSentToDlq": "dead letters"}
    return [
        _Graph(
            "Workflow: executions",
            [_of_workflow(workflow, f"Executions{name}", label=label) for name, label in ends.items()],
            "executions",
        ),
        _Graph(
            "Workflow: duration",
            [_of_workflow(workflow, "ExecutionTime", statistic, statistic) for statistic in ("p50", "p99")],
            "ms",
        ),
        _Graph(
            "Workflow: starts by events",
            [
                _of_rule(rule, name, f"{what} {label}")
                for what, rule in workflow.rules.items()
                for name, label in starts.items()
            ],
            "events",
        ),
    ]


def _queues_row(queues: Sequence[Watched]) -> _Row:
    def graph(title: str, unit: str, name: str) -> _Graph:
        return _Graph(f"Queues: {title}", [_of_queue(queue, name) for queue in queues], unit)

    return [
        graph("messages", "messages", "ApproximateNumberOfMessagesVisible"),
        graph("age of the oldest message", "s", "ApproximateAgeOfOldestMessage"),
    ]


def _webhooks_row(queues: Sequence[Watched]) -> _Row:
    sent_and_taken = [metric for queue in queues for metric in (_received(queue), _deleted(queue))]
    return [_Graph("Webhooks: sent and taken", sent_and_taken, "webhooks")]


def _table_row(table: Watched) -> _Row:
    capacity = [
        Metric("AWS/DynamoDB", f"Consumed{kind}CapacityUnits", {"TableName": table.name}, label=kind.lower())
        for kind in ("Read", "Write")
    ]
    return [
        _Graph(f"Table {table.node.id}: latency", _of_table(table, "SuccessfulRequestLatency", "Average"), "ms"),
        _Graph(f"Table {table.node.id}: errors of DynamoDB", _of_table(table, "SystemErrors"), "errors"),
        _Graph(f"Table {table.node.id}: throttled requests", _of_table(table, "ThrottledRequests"), "requests"),
        _Graph(f"Table {table.node.id}: capacity", capacity, "units"),
    ]


def _storage_row(storage: WatchedStorage) -> _Row:
    """What the bucket holds, measured once a day (S3, "Amazon S3 metrics and dimensions")."""

    def of_bucket(name: str, storage_type: str, label: str) -> Metric:
        dimensions = {"BucketName": storage.bucket_name, "StorageType": storage_type}
        return Metric("AWS/S3", name, dimensions, "Average", label)

    sizes = [
        of_bucket("BucketSizeBytes", "StandardStorage", "STANDARD"),
        of_bucket("BucketSizeBytes", "StandardIAStorage", "STANDARD_IA"),
    ]
    day = 86400
    return [
        _Graph("Storage: size", sizes, "bytes", period=day),
        _Graph("Storage: objects", [of_bucket("NumberOfObjects", "AllStorageTypes", "objects")], "objects", period=day),
    ]
