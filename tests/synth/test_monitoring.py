"""Row 18: alarms that fire when they should, each with a next step, for everything that is deployed; the dashboard.

Alarms are read from the synthesized JSON, and their expressions are evaluated over made-up data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.common.contract import TOKEN_REFUSED
from modules.alarms import Advice, Metric, any_count
from synthesis.paths import ROOT
from tests.metric_math import Alarm, Series, evaluate
from tests.synth.conftest import Synthesized, settings_of, synthesize

ALARM = "aws_cloudwatch_metric_alarm"

# What AWS publishes: metric to its dimensions and the statistics that make sense of it. Pages: Lambda, "Types of
# metrics for Lambda functions"; API Gateway, "Amazon API Gateway dimensions and metrics"; SQS, "Available CloudWatch
# metrics for Amazon SQS"; Step Functions, "Monitoring Step Functions metrics using Amazon CloudWatch"; EventBridge,
# "Monitoring Amazon EventBridge"; DynamoDB, "DynamoDB Metrics and dimensions"; S3, "Amazon S3 metrics and dimensions".
COUNT = {"Sum"}
TIME = {"Average", "p50", "p99"}
PUBLISHED: Mapping[str, Mapping[str, tuple[set[str], set[str]]]] = {
    "AWS/Lambda": {
        **dict.fromkeys(["Invocations", "Errors", "Throttles"], ({"FunctionName"}, COUNT)),
        **dict.fromkeys(["DeadLetterErrors", "DestinationDeliveryFailures"], ({"FunctionName"}, COUNT)),
        "Duration": ({"FunctionName"}, TIME),
        "ConcurrentExecutions": ({"FunctionName"}, {"Maximum"}),
    },
    "AWS/ApiGateway": {
        "Count": ({"ApiName", "Stage"}, {"SampleCount"}),
        **dict.fromkeys(["4XXError", "5XXError"], ({"ApiName", "Stage"}, {"Sum", "Average"})),
        "Latency": ({"ApiName", "Stage"}, TIME),
    },
    "AWS/SQS": {
        **dict.fromkeys(
            ["ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"], ({"QueueName"}, {"Maximum"})
        ),
        **dict.fromkeys(["NumberOfMessagesReceived", "NumberOfMessagesDeleted"], ({"QueueName"}, COUNT)),
    },
    "AWS/States": {
        **dict.fromkeys(
            [f"Executions{end}" for end in ("Started", "Succeeded", "Failed", "TimedOut", "Aborted")],
            ({"StateMachineArn"}, COUNT),
        ),
        "ExecutionTime": ({"StateMachineArn"}, TIME),
    },
    "AWS/Events": dict.fromkeys(
        ["TriggeredRules", "FailedInvocations", "InvocationsSentToDlq", "InvocationsFailedToBeSentToDlq"],
        ({"RuleName"}, COUNT),
    ),
    "AWS/DynamoDB": {
        **dict.fromkeys(["SystemErrors", "ThrottledRequests"], ({"TableName", "Operation"}, COUNT)),
        "SuccessfulRequestLatency": ({"TableName", "Operation"}, TIME),
        **dict.fromkeys(["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"], ({"TableName"}, COUNT)),
        "ReplicationLatency": ({"TableName", "ReceivingRegion"}, {"Average", "Maximum"}),
    },
    "AWS/S3": {
        **dict.fromkeys(["BucketSizeBytes", "NumberOfObjects"], ({"BucketName", "StorageType"}, {"Average"})),
        "OperationsFailedReplication": ({"SourceBucket", "DestinationBucket", "RuleId"}, COUNT),
        "ReplicationLatency": ({"SourceBucket", "DestinationBucket", "RuleId"}, {"Maximum"}),
        "OperationsPendingReplication": ({"SourceBucket", "DestinationBucket", "RuleId"}, {"Minimum", "Maximum"}),
    },
    # CloudFront, "View CloudFront and edge function metrics".
    "AWS/CloudFront": {
        "Requests": ({"DistributionId", "Region"}, COUNT),
        **dict.fromkeys(["4xxErrorRate", "5xxErrorRate"], ({"DistributionId", "Region"}, {"Average"})),
    },
    # Made from a log by the platform itself.
    "sluice-dev": {"TokensRefused": (set(), COUNT)},
}


def alarms_of(stack: Synthesized) -> dict[str, Alarm]:
    """Alarms by the last part of their address."""
    found = {address.partition(".monitoring_")[2]: Alarm.of(body) for address, body in stack.resources(ALARM).items()}
    assert len(found) > 10
    return found


@pytest.fixture(scope="session")
def alarms(output: Path) -> dict[str, Alarm]:
    return alarms_of(Synthesized(output / "stacks" / "sluice-prod"))


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    """The platform where an authorizer of its own checks an issuer's tokens, and that sends webhooks."""
    folder = tmp_path_factory.mktemp("tokens")
    issuer = {"jwt_issuer": "https://issuer.example.com", "jwt_audience": "sluice"}
    synthesize(
        folder,
        settings_of(
            "dev",
            api_authorization="jwt",
            webhook_urls=("https://hooks.example.com/",),
            enable_website=True,
            **issuer,
        ),
    )
    return Synthesized(folder / "stacks" / "sluice-dev")


@pytest.fixture(params=["local", "dev", "staging", "prod", "tokens"])
def stack(output: Path, tokens: Synthesized, request: pytest.FixtureRequest) -> Synthesized:
    """The platform's stack of each environment in turn, and of one with all that settings add."""
    return tokens if request.param == "tokens" else Synthesized(output / "stacks" / f"sluice-{request.param}")


@pytest.fixture
def authorizer_errors(tokens: Synthesized) -> Alarm:
    return alarms_of(tokens)["authorizer_errors"]


def watched(stack: Synthesized, kind: str, dimension: str, attribute: str) -> Iterator[tuple[str, dict[str, Alarm]]]:
    """Each resource of a kind, with its alarms by metric: those whose dimension is an attribute of the resource."""
    resources = stack.resources(kind)
    assert resources, f"no {kind}: this would test nothing"
    for address, body in resources.items():
        names = {f"${{{address}.{attribute}}}", body.get("name"), body.get(attribute)} - {None}
        yield (
            address,
            {
                metric.name: alarm
                for alarm in alarms_of(stack).values()
                for metric in alarm.metrics.values()
                if metric.dimensions.get(dimension) in names
            },
        )


def watching(alarms: dict[str, Alarm], metric: str) -> list[Alarm]:
    """The alarms on a metric."""
    found = [alarm for alarm in alarms.values() if metric in {other.name for other in alarm.metrics.values()}]
    assert found
    return found


# What is watched


def test_every_function_has_its_alarms(stack: Synthesized) -> None:
    for address, alarms in watched(stack, "aws_lambda_function", "FunctionName", "function_name"):
        wanted = {"Errors", "Invocations", "Throttles", "DeadLetterErrors", "DestinationDeliveryFailures"}
        assert set(alarms) == wanted, address
        # The one that runs by a schedule has another alarm on its runs.
        assert (alarms["Errors"] is alarms["Invocations"]) == (address != "aws_lambda_function.sweep")
        refusals = {"TokensRefused"} & {metric.name for metric in alarms["Errors"].metrics.values()}
        assert bool(refusals) == (address == "aws_lambda_function.authorizer")


def test_every_stage_has_its_alarms(stack: Synthesized) -> None:
    for address, alarms in watched(stack, "aws_api_gateway_stage", "Stage", "stage_name"):
        assert set(alarms) == {"Count", "5XXError", "Latency"}, address
    for address, alarms in watched(stack, "aws_api_gateway_rest_api", "ApiName", "name"):
        assert set(alarms) == {"Count", "5XXError", "Latency"}, address


def dead_letter_targets(value: object) -> Iterator[str]:
    """Where any part of a resource sends what it could not handle."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in {"dead_letter_config", "on_failure", "redrive_policy"}:
                yield json.dumps(inner)
            yield from dead_letter_targets(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from dead_letter_targets(inner)


def test_every_schedule_has_its_alarm(stack: Synthesized) -> None:
    """It goes off where nothing runs for an hour, and stays quiet with a run in each quarter of one."""
    schedules = stack.resources("aws_scheduler_schedule").values()
    assert schedules
    for schedule in schedules:
        alias = stack.resources()[re.sub(r"[${}]|\.arn", "", schedule["target"]["arn"])]
        name = alias["function_name"].removeprefix("${aws_lambda_function.").removesuffix(".function_name}")
        alarm = Alarm.of(stack.resources(ALARM)[f"{ALARM}.monitoring_{name}_stopped"])
        (metric,) = alarm.metrics.values()
        assert (metric.name, metric.dimensions) == ("Invocations", {"FunctionName": alias["function_name"]})
        often: Series = {period: float(period % 3 == 0) for period in range(40) if period % 3 == 0}
        for fills_empty in (True, False):
            assert alarm.state({"Invocations": often}, 30, fills_empty=fills_empty) == "OK"
            assert alarm.state({"Invocations": {0: 1.0}}, 30, fills_empty=fills_empty) == "ALARM"
            assert alarm.state({}, 30, fills_empty=fills_empty) == "ALARM"


def test_every_queue_has_its_alarm(stack: Synthesized) -> None:
    """Messages in a dead-letter queue; the age of the oldest in a queue that has readers; what a function leaves."""
    dead_letters = set(re.findall(r"aws_sqs_queue\.\w+", " ".join(dead_letter_targets(stack.json["resource"]))))
    assert dead_letters
    mappings = stack.resources("aws_lambda_event_source_mapping").values()
    mapped = {mapping["event_source_arn"].removeprefix("${").removesuffix(".arn}") for mapping in mappings}
    for address, alarms in watched(stack, "aws_sqs_queue", "QueueName", "name"):
        if address in mapped:
            wanted = {"ApproximateAgeOfOldestMessage", "NumberOfMessagesReceived", "NumberOfMessagesDeleted"}
            assert set(alarms) == wanted, address
            continue
        allowed = [{"ApproximateNumberOfMessagesVisible"}]
        if address not in dead_letters:
            allowed.append({"ApproximateAgeOfOldestMessage"})
        assert set(alarms) in allowed, address


def test_every_workflow_and_rule_has_its_alarm(stack: Synthesized) -> None:
    for address, alarms in watched(stack, "aws_sfn_state_machine", "StateMachineArn", "arn"):
        assert set(alarms) == {"ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"}, address
    for address, alarms in watched(stack, "aws_cloudwatch_event_rule", "RuleName", "name"):
        assert set(alarms) == {"FailedInvocations", "InvocationsFailedToBeSentToDlq"}, address


def test_every_table_has_its_alarms_for_each_operation_that_somebody_may_call(stack: Synthesized) -> None:
    granted = {
        action.partition(":")[2]
        for body in stack.resources("aws_iam_role_policy").values()
        for action in re.findall(r"dynamodb:\w+", body["policy"])
    }
    # Conditions: in a transaction, and on keys; no request of its own (DynamoDB, "Using IAM with transactions").
    granted -= {"ConditionCheckItem", "LeadingKeys"}
    assert granted
    for address, alarms in watched(stack, "aws_dynamodb_table", "TableName", "name"):
        assert set(alarms) == {"SystemErrors", "ThrottledRequests"}, address
        for alarm in alarms.values():
            operations = {metric.dimensions["Operation"] for metric in alarm.metrics.values()}
            assert granted <= operations, f"{address}: TABLE_OPERATIONS lacks {granted - operations}"


# What every alarm is


def test_every_alarm_tells_the_alert_topic_when_it_begins_and_ends(stack: Synthesized) -> None:
    topics = {
        topic for body in stack.resources(ALARM).values() for topic in [*body["alarm_actions"], *body["ok_actions"]]
    }
    (topic,) = topics
    address = re.fullmatch(r"\$\{(aws_sns_topic\.\w*alerts)\.arn\}", topic)
    assert address
    assert address[1] in stack.resources("aws_sns_topic")
    for body in stack.resources(ALARM).values():
        assert body["alarm_actions"] == body["ok_actions"] == [topic]
        assert body.get("actions_enabled", True) is True


def anchors(markdown: str) -> list[str]:
    """Anchors that GitHub gives to the headings of a page: lower case, no punctuation, dashes; a second one gets -1."""
    found: list[str] = []
    for heading in re.findall(r"^#+ +(.*?) *#*$", re.sub(r"(?ms)^```.*?^```", "", markdown), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        earlier = sum(1 for other in found if re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", other))
        found.append(f"{anchor}-{earlier}" if earlier else anchor)
    return found


def test_anchors_are_githubs() -> None:
    page = "# A `b` c\n## What, why?\n```\n# no heading\n```\n## Two  words & more\n## What, why?\n### [x](y) z #\n"
    assert anchors(page) == ["a-b-c", "what-why", "two--words--more", "what-why-1", "x-z"]


# The pages of alarms; what follows is about plans and the state.
HANDBOOK = (ROOT / "docs" / "operations.md").read_text().partition("\n## Plans and drift\n")[0]


def test_every_alarm_ends_in_a_next_step_and_leads_to_its_section(stack: Synthesized) -> None:
    for address, body in stack.resources(ALARM).items():
        said = re.fullmatch(
            r"(?P<happened>[A-Z].+?\.) Next: (?P<next>[a-z].{20,}?)\. More: docs/operations\.md#(?P<anchor>[\w-]+)",
            body["alarm_description"],
        )
        assert said, address
        assert said["happened"].count(". ") == said["next"].count(". ") == 0, f"{address}: a sentence each"
        assert said["anchor"] in anchors(HANDBOOK), address
        # CloudWatch API, PutMetricAlarm: 1,024 characters; the references become names, which are shorter.
        assert len(body["alarm_description"]) <= 1024


# What the workflow itself tells the alert topic.
TOLD_BY_THE_WORKFLOW = {"files-in-quarantine"}


def test_an_alarm_leads_to_every_section(tokens: Synthesized, tmp_path: Path) -> None:
    synthesize(tmp_path, settings_of("dev", replica_region="eu-central-1"))
    two_regions = Synthesized(tmp_path / "stacks" / "sluice-dev")
    descriptions = [
        body["alarm_description"] for stack in (tokens, two_regions) for body in stack.resources(ALARM).values()
    ]
    linked = {description.partition("docs/operations.md#")[2] for description in descriptions}
    assert linked == {anchor for anchor in anchors(HANDBOOK) if anchor not in {"operations", *TOLD_BY_THE_WORKFLOW}}


def test_alarms_and_failures_lead_to_the_handbook_of_the_team(tmp_path: Path) -> None:
    page = "https://github.com/acme/sluice/blob/main/docs/operations.md"
    synthesize(tmp_path, settings_of("dev", handbook_url=page))
    stack = Synthesized(tmp_path / "stacks" / "sluice-dev")
    for address, body in stack.resources(ALARM).items():
        assert re.search(rf"More: {re.escape(page)}#[\w-]+$", body["alarm_description"]), address
    (machine,) = stack.resources("aws_sfn_state_machine").values()
    assert f"What to do: {page}#workflow-failures" in machine["definition"]


def test_every_section_says_what_it_means_where_to_look_and_what_to_do() -> None:
    _, *sections = re.split(r"^## ", HANDBOOK, flags=re.MULTILINE)
    assert len(sections) > 8
    for section in sections:
        parts = re.findall(r"^\*\*(.+?)\.\*\* (.{40,})", section, re.MULTILINE)
        assert [title for title, _ in parts] == ["What it means", "Look at", "Do next"], section.partition("\n")[0]
    for target in re.findall(r"\]\(#([^)]*)\)", HANDBOOK):
        assert target in anchors(HANDBOOK), target


def test_every_alarm_is_known_by_its_name(stack: Synthesized) -> None:
    bodies = stack.resources(ALARM)
    names = [body["alarm_name"] for body in bodies.values()]
    assert len(set(names)) == len(names)
    for address, body in bodies.items():
        plain = address.partition(".monitoring_")[2].replace("_", "-")
        assert body["alarm_name"] == f"{stack.folder.name}-{plain}"


def test_every_alarm_is_one_that_cloudwatch_takes(stack: Synthesized) -> None:
    for address, body in stack.resources(ALARM).items():
        alarm = Alarm.of(body)
        assert body["datapoints_to_alarm"] <= body["evaluation_periods"], address
        assert {metric.period for metric in alarm.metrics.values()} == {300}, address
        breaching = {"breaching"} if address.endswith("_stopped") else set()
        assert body["treat_missing_data"] in {"notBreaching", "ignore"} | breaching, address
        if "metric_query" in body:
            assert not {"metric_name", "namespace", "statistic", "extended_statistic", "period", "dimensions"} & set(
                body
            )
            ids = [query["id"] for query in body["metric_query"]]
            assert len(set(ids)) == len(ids)
            assert all(re.fullmatch(r"[a-z]\w*", name) for name in ids), address
            assert 1 <= len(alarm.metrics) <= 10, address
            assert set(re.findall(r"\b[a-z]\w*", alarm.expression)) == set(alarm.metrics), address
            evaluate(alarm.expression, {query: {0: 1.0} for query in alarm.metrics}, range(1), fills_empty=True)
        else:
            percentile = "extended_statistic" in body
            assert percentile != ("statistic" in body), address
            assert ("evaluate_low_sample_count_percentiles" in body) == percentile, address


def test_every_metric_is_one_that_aws_publishes(stack: Synthesized) -> None:
    for address, alarm in alarms_of(stack).items():
        for metric in alarm.metrics.values():
            check_published(address, metric.namespace, metric.name, metric.dimensions, metric.statistic)


def check_published(where: str, namespace: str, name: str, dimensions: Mapping[str, str], statistic: str) -> None:
    known_dimensions, statistics = PUBLISHED[namespace][name]
    assert set(dimensions) == known_dimensions, f"{where}: {name}"
    assert statistic in statistics, f"{where}: {name}"


def test_latency_warns_before_functions_run_into_their_timeout(stack: Synthesized) -> None:
    (latency,) = (body for address, body in stack.resources(ALARM).items() if address.endswith("api_latency"))
    for function in stack.resources("aws_lambda_function").values():
        assert latency["threshold"] < function["timeout"] * 1000 / 2


def test_an_alarm_on_more_metrics_than_cloudwatch_takes_is_refused() -> None:
    metrics = [Metric("AWS/DynamoDB", "SystemErrors", {"Operation": str(number)}) for number in range(11)]
    with pytest.raises(ValueError, match="11 metrics; CloudWatch takes 10"):
        any_count("too_many", metrics, Advice("", "", ""))


# When alarms fire

BOTH_FILLS = pytest.mark.parametrize("fills_empty", [True, False], ids=["fill-makes-zeros", "fill-keeps-nothing"])
RATES = {"upload_errors": ("Errors", "Invocations"), "api_errors": ("5XXError", "Count")}
ON_RATES = pytest.mark.parametrize("name", RATES)


def numbers(text: str) -> Series:
    """Data points by period: `1 - 3`, with `-` where there is none."""
    return {period: float(point) for period, point in enumerate(text.split()) if point != "-"}


def rate_data(name: str, errors: str, requests: str) -> dict[str, Series]:
    errors_metric, requests_metric = RATES[name]
    return {errors_metric: numbers(errors), requests_metric: numbers(requests)}


@BOTH_FILLS
@ON_RATES
@pytest.mark.parametrize(
    ("case", "errors", "requests", "fires_in"),
    [
        ("no data at all", "", "", []),
        ("zero requests", "0 0 0 0 0", "0 0 0 0 0", []),
        ("no errors", "0 0 0 0", "500 1 30 7", []),
        ("exactly 1 %", "1 10 3 7", "100 1000 300 700", []),
        ("just above 1 % for one period", "0 11 0 0", "1000 1000 1000 1000", []),
        ("just above 1 % for two periods", "0 11 11 0 0", "1000 1000 1000 1000 1000", [2]),
        ("as long as it lasts", "11 11 11 0 11", "1000 1000 1000 1000 1000", [1, 2]),
        ("1 error in 1 request, once", "- 1 - - -", "- 1 - - -", []),
        ("1 error in 1 request, twice", "- 1 1 - -", "- 1 1 - -", [2]),
        ("all fail", "9 9 9", "9 9 9", [1, 2]),
        ("errors missing while requests are there", "- - - -", "100 100 100 100", []),
        ("errors missing in one bad period", "50 - 50 50", "100 100 100 100", [3]),
        ("requests missing while errors are there", "5 5 5 5", "- - - -", []),
        ("two bad periods with quiet ones between", "1 - - 1 -", "1 - - 1 -", []),
        ("two bad periods with good ones between", "9 0 9 0", "10 10 10 10", []),
        ("bad, then nobody calls any more", "9 9 - - -", "10 10 - - -", [1]),
    ],
)
def test_an_error_rate_fires_above_one_percent_in_two_periods(
    alarms: dict[str, Alarm], name: str, case: str, errors: str, requests: str, fires_in: list[int], fills_empty: bool
) -> None:
    history = alarms[name].history(rate_data(name, errors, requests), 8, fills_empty=fills_empty)
    assert [now for now, state in enumerate(history) if state == "ALARM"] == fires_in, case
    assert set(history) <= {"OK", "ALARM"}, "missing data is not breaching, and never leaves the state open"


def test_every_function_has_the_same_rate(alarms: dict[str, Alarm]) -> None:
    rates = watching(alarms, "Errors")
    assert len(rates) >= 2
    wanted: dict[str, object] = {"threshold": 1, "evaluation_periods": 2, "datapoints_to_alarm": 2}
    wanted |= {"comparison_operator": "GreaterThanThreshold", "treat_missing_data": "notBreaching"}
    for alarm in rates:
        assert alarm.expression == alarms["upload_errors"].expression
        assert {key: alarm.body[key] for key in wanted} == wanted


def test_refused_tokens_are_counted_from_the_log_of_the_authorizer(tokens: Synthesized, prod: Synthesized) -> None:
    """That the authorizer logs them so: unit/test_authorizer.py, and e2e/test_api_jwt.py."""
    (counted,) = tokens.resources("aws_cloudwatch_log_metric_filter").values()
    assert counted["log_group_name"] == "${aws_cloudwatch_log_group.authorizer_logs.name}"
    assert counted["pattern"] == f'{{ $.message = "{TOKEN_REFUSED}" }}'
    (made,) = [counted["metric_transformation"]]
    assert made == {"namespace": "sluice-dev", "name": "TokensRefused", "value": "1", "unit": "Count"}
    assert not prod.resources("aws_cloudwatch_log_metric_filter")


@BOTH_FILLS
@pytest.mark.parametrize(
    ("case", "errors", "refused", "requests", "fires_in"),
    [
        ("wrong tokens alone", "9 9 9 9", "9 9 9 9", "9 9 9 9", []),
        ("wrong tokens among right ones", "50 60 70 1", "50 60 70 1", "100 100 100 100", []),
        ("the issuer is down", "5 5 5 5", "- - - -", "5 5 5 5", [1, 2, 3]),
        ("the issuer is down, and wrong tokens came before", "90 5 5 5", "90 - - -", "100 5 5 5", [2, 3]),
        ("a flood of wrong tokens, and every right one fails", *["100000 100000", "99995 99995", "100000 100000"], [1]),
        ("exactly 1 % of what was not refused", "51 51", "50 50", "150 150", []),
        ("more than 1 % of what was not refused", "52 52", "50 50", "150 150", [1]),
        ("the log comes a period late, once", "50 50 50", "50 - 50", "60 60 60", []),
        ("more lines than errors, at the edge of a period", "4 9 4", "5 8 5", "5 9 5", []),
        ("nobody calls", "- - -", "- - -", "- - -", []),
        ("no refusals are known", "0 0 0", "- - -", "100 100 100", []),
    ],
)
def test_the_authorizer_is_judged_by_the_tokens_that_it_did_not_refuse(
    authorizer_errors: Alarm,
    case: str,
    errors: str,
    refused: str,
    requests: str,
    fires_in: list[int],
    fills_empty: bool,
) -> None:
    data = {"Errors": numbers(errors), "TokensRefused": numbers(refused), "Invocations": numbers(requests)}
    history = authorizer_errors.history(data, len(errors.split()), fills_empty=fills_empty)
    assert [now for now, state in enumerate(history) if state == "ALARM"] == fires_in, case
    assert set(history) <= {"OK", "ALARM"}


# Errors are a part of the requests where both are counted; a period may lack either or both.
COUNTED = st.integers(0, 10**9).flatmap(lambda requests: st.tuples(st.integers(0, requests), st.just(requests)))
POINT = COUNTED | st.tuples(st.none(), st.integers(0, 10**9)) | st.tuples(st.integers(0, 10**9), st.none())
POINTS = st.lists(POINT | st.just((None, None)) | st.just((1, 100)) | st.just((0, 0)), max_size=12)
Points = list[tuple[int | None, int | None]]


def published(name: str, points: Points) -> dict[str, Series]:
    errors, requests = RATES[name]
    return {
        errors: {period: point[0] for period, point in enumerate(points) if point[0] is not None},
        requests: {period: point[1] for period, point in enumerate(points) if point[1] is not None},
    }


ANY_ALARM = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@BOTH_FILLS
@ON_RATES
@ANY_ALARM
@given(points=POINTS)
def test_a_rate_is_always_a_share(alarms: dict[str, Alarm], name: str, fills_empty: bool, points: Points) -> None:
    series = alarms[name].series(published(name, points), range(len(points)), fills_empty=fills_empty)
    assert all(0 <= rate <= 100 for rate in series.values())  # NaN is not


@BOTH_FILLS
@ON_RATES
@ANY_ALARM
@given(points=POINTS)
def test_a_rate_fires_just_where_whole_numbers_say_so(
    alarms: dict[str, Alarm], name: str, fills_empty: bool, points: Points
) -> None:
    bad = [bool(requests) and 100 * (errors or 0) > (requests or 0) for errors, requests in points]
    expected = [now > 0 and bad[now] and bad[now - 1] for now in range(len(points))]
    history = alarms[name].history(published(name, points), len(points), fills_empty=fills_empty)
    assert [state == "ALARM" for state in history] == expected


@BOTH_FILLS
@ON_RATES
@ANY_ALARM
@given(requests=st.lists(st.none() | st.integers(0, 10**9), max_size=12), zeros=st.booleans())
def test_a_rate_never_fires_on_no_errors(
    alarms: dict[str, Alarm], name: str, fills_empty: bool, requests: list[int | None], zeros: bool
) -> None:
    points: Points = [(0 if zeros else None, number) for number in requests]
    assert "ALARM" not in alarms[name].history(published(name, points), len(points) + 5, fills_empty=fills_empty)


OPERATIONS = ("GetItem", "PutItem", "Query", "TransactWriteItems", "UpdateItem")
COUNTS = {
    "upload_throttles": ["Throttles"],
    "upload_lost_events": ["DeadLetterErrors", "DestinationDeliveryFailures"],
    "workflow_failures": ["ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"],
    "workflow_not_started": ["FailedInvocations", "InvocationsFailedToBeSentToDlq"],
    "files_table_errors": [f"SystemErrors {operation}" for operation in OPERATIONS],
    "quotas_table_throttles": [f"ThrottledRequests {operation}" for operation in OPERATIONS],
}


@BOTH_FILLS
@pytest.mark.parametrize(("name", "metric"), [(name, metric) for name, metrics in COUNTS.items() for metric in metrics])
def test_a_single_failure_of_any_kind_fires_and_is_over_after_two_periods(
    alarms: dict[str, Alarm], name: str, metric: str, fills_empty: bool
) -> None:
    failed_once = {metric: numbers("- - 1 - - - - -")}
    # CloudWatch's own rule for DynamoDB: missing data keeps the state, whatever the alarm asks for.
    missing = "ignore" if "_table_" in name else ""
    history = alarms[name].history(failed_once, 8, fills_empty=fills_empty, missing=missing)
    assert [state == "ALARM" for state in history] == [False, False, True, True, False, False, False, False]
    assert history[-1] == "OK"
    others = {other: numbers("0 0 0 0 0 0 0 0") for other in COUNTS[name] if other != metric}
    history = alarms[name].history(failed_once | others, 8, fills_empty=fills_empty, missing=missing)
    assert [state == "ALARM" for state in history] == [False, False, True, True, False, False, False, False]


@BOTH_FILLS
@pytest.mark.parametrize("name", COUNTS)
def test_a_count_keeps_quiet_where_nothing_failed(alarms: dict[str, Alarm], name: str, fills_empty: bool) -> None:
    assert set(alarms[name].history({}, 5, fills_empty=fills_empty)) == {"OK"}
    zeros = {metric: numbers("0 - 0 0 -") for metric in COUNTS[name]}
    assert set(alarms[name].history(zeros, 5, fills_empty=fills_empty)) == {"OK"}


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_sees_a_failure_that_is_reported_a_period_late(alarms: dict[str, Alarm], name: str) -> None:
    """FILL has made a zero of the newest period by then (CloudWatch, "Using math expressions", on FILL in alarms)."""
    metric = COUNTS[name][0]
    assert alarms[name].state({metric: {}}, 3) == "OK"
    assert alarms[name].state({metric: {3: 1.0}}, 4) == "ALARM"


@ANY_ALARM
@given(
    name=st.sampled_from(sorted(COUNTS)),
    counts=st.lists(st.lists(st.none() | st.integers(0, 3), min_size=5, max_size=5), max_size=10),
    fills_empty=st.booleans(),
)
def test_a_count_fires_just_where_one_of_two_periods_has_any(
    alarms: dict[str, Alarm], name: str, counts: list[list[int | None]], fills_empty: bool
) -> None:
    metrics = COUNTS[name]
    data = {
        metric: {period: float(row[index] or 0) for period, row in enumerate(counts) if row[index] is not None}
        for index, metric in enumerate(metrics)
    }
    any_failed = [any(row[: len(metrics)]) for row in counts]
    expected = [failed or (now > 0 and any_failed[now - 1]) for now, failed in enumerate(any_failed)]
    history = alarms[name].history(data, len(counts), fills_empty=fills_empty)
    assert [state == "ALARM" for state in history] == expected


def test_one_dead_letter_fires_until_the_queue_is_empty(alarms: dict[str, Alarm]) -> None:
    messages = {"ApproximateNumberOfMessagesVisible": numbers("0 0 1 1 - - - - - 1 0 - - - -")}
    for alarm in watching(alarms, "ApproximateNumberOfMessagesVisible"):
        fired = [state == "ALARM" for state in alarm.history(messages, 15)]
        assert fired == [False] * 2 + [True] * 8 + [False] * 5


def test_a_dead_letter_is_not_forgotten_when_sqs_stops_to_report(alarms: dict[str, Alarm]) -> None:
    messages = {"ApproximateNumberOfMessagesVisible": numbers("0 1")}
    for alarm in watching(alarms, "ApproximateNumberOfMessagesVisible"):
        assert alarm.history(messages, 300)[-1] == "ALARM"
        assert alarm.history(messages, 300, missing="notBreaching")[-1] == "OK", "why the alarm asks for `ignore`"


def test_a_message_that_will_be_deleted_within_a_day_fires(alarms: dict[str, Alarm], prod: Synthesized) -> None:
    (alarm,) = watching(alarms, "ApproximateAgeOfOldestMessage")
    (metric,) = alarm.metrics.values()
    address = metric.dimensions["QueueName"].removeprefix("${").removesuffix(".name}")
    kept_for = prod.resources("aws_sqs_queue")[address]["message_retention_seconds"]
    limit = kept_for - 86400
    history = alarm.history({"ApproximateAgeOfOldestMessage": numbers(f"300 {limit} {limit + 1} 10 -")}, 5)
    assert history == ["OK", "OK", "ALARM", "OK", "OK"]


def test_a_slow_api_fires_after_three_slow_periods(alarms: dict[str, Alarm]) -> None:
    history = alarms["api_latency"].history({"Latency": numbers("5001 5001 100 5001 5001 5001 5000 - - -")}, 10)
    assert [now for now, state in enumerate(history) if state == "ALARM"] == [5]


# The dashboard


def widgets_of(stack: Synthesized) -> list[dict[str, Any]]:
    (dashboard,) = stack.resources("aws_cloudwatch_dashboard").values()
    widgets: list[dict[str, Any]] = json.loads(dashboard["dashboard_body"])["widgets"]
    return widgets


def test_the_dashboard_shows_all_alarms_first(stack: Synthesized) -> None:
    first = widgets_of(stack)[0]
    assert (first["type"], first["x"], first["y"], first["width"]) == ("alarm", 0, 0, 24)
    shown = first["properties"]["alarms"]
    assert sorted(shown) == sorted(f"${{{address}.arn}}" for address in stack.resources(ALARM))
    assert len(shown) <= 100  # CloudWatch API, "Dashboard body structure and syntax"


def test_the_widgets_of_the_dashboard_lie_side_by_side(stack: Synthesized) -> None:
    taken: dict[tuple[int, int], str] = {}
    titles = []
    for widget in widgets_of(stack):
        title = widget["properties"]["title"]
        titles.append(title)
        assert widget["x"] + widget["width"] <= 24
        for x in range(widget["x"], widget["x"] + widget["width"]):
            for y in range(widget["y"], widget["y"] + widget["height"]):
                assert taken.setdefault((x, y), title) == title
    assert len(set(titles)) == len(titles)
    rows = dict.fromkeys(title.partition(":")[0] for title in titles)
    assert [title for title in rows if title not in {"Page", "Webhooks"}] == [
        *["Alarms", "API", "Functions", "Workflow", "Queues", "Table files", "Table quotas", "Storage"]
    ]


def test_the_dashboard_shows_metrics_that_aws_publishes(stack: Synthesized) -> None:
    shown = set()
    for widget in widgets_of(stack)[1:]:
        properties = widget["properties"]
        assert properties["region"] == "us-east-1"
        for namespace, name, *dimensions, options in properties["metrics"]:
            named = dict(zip(dimensions[::2], dimensions[1::2], strict=True))
            check_published(properties["title"], namespace, name, named, options["stat"])
            assert re.fullmatch(r"[\w ]+", options["label"]), "a name that a person reads"
            shown |= {(name, value) for value in named.values()}
        labels = [options["label"] for *_, options in properties["metrics"]]
        assert len(set(labels)) == len(labels), properties["title"]
    for address in stack.resources("aws_lambda_function"):
        assert {("Errors", f"${{{address}.function_name}}"), ("Duration", f"${{{address}.function_name}}")} <= shown


def test_the_dashboard_shows_refused_tokens_beside_the_errors_that_they_are(tokens: Synthesized) -> None:
    (graph,) = (widget for widget in widgets_of(tokens) if widget["properties"]["title"] == "Functions: errors")
    assert ["sluice-dev", "TokensRefused", {"stat": "Sum", "label": "refused tokens"}] in graph["properties"]["metrics"]


def test_the_latency_graph_shows_where_the_alarm_goes_off(stack: Synthesized) -> None:
    (graph,) = (widget for widget in widgets_of(stack) if widget["properties"]["title"] == "API: latency")
    (line,) = graph["properties"]["annotations"]["horizontal"]
    (alarm,) = (body for address, body in stack.resources(ALARM).items() if address.endswith("api_latency"))
    assert line["value"] == alarm["threshold"]
