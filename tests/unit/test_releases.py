"""Which versions a rollback goes to, and what CodeDeploy is asked; stubs of botocore check requests by their model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from modules.settings import Settings
from tools.operate import releases
from tools.operate.console import Failure
from tools.operate.releases import Function, Moved, app_spec, last_release, release, rollback

START = datetime(2026, 1, 1, tzinfo=UTC)
NAME = "sluice-prod-upload"


def function(name: str = NAME, live: str = "3", versions: int = 3, days: int = 0, **changed: Any) -> Function:  # noqa: ANN401
    """A function with a version a day, the last one some days after the start."""
    published = {str(number): START + timedelta(days=days + number - versions) for number in range(1, versions + 1)}
    values = {"next": None, "withdrawn": frozenset(), "revision": "r", **changed}
    return Function(name, live, versions=published, **values)


@pytest.mark.parametrize(
    ("found", "before"),
    [
        (function(), "2"),
        (function(live="2"), "1"),
        (function(live="1"), None),
        (function(withdrawn=frozenset({"2"})), "1"),
        (function(withdrawn=frozenset({"1", "2"})), None),
        (function(live="2", next="3"), "2"),
        (function(live="12", versions=12, withdrawn=frozenset({"11"})), "10"),
    ],
)
def test_a_rollback_goes_to_the_last_version_that_was_good(found: Function, before: str | None) -> None:
    assert found.before == before


def test_a_rollback_concerns_the_functions_of_the_last_release() -> None:
    today, with_it, older = function("a", days=9), function("b", days=9, versions=7, live="7"), function("c", days=2)
    assert last_release([today, older, with_it]) == [today, with_it]
    assert last_release([older, function("d", days=2)]) == [older, function("d", days=2)]


def test_the_app_spec_is_that_of_lambda() -> None:
    spec = json.loads(app_spec(function(live="2")))
    assert spec == {
        "version": 0.0,
        "Resources": [
            {
                "function": {
                    "Type": "AWS::Lambda::Function",
                    "Properties": {"Name": NAME, "Alias": "live", "CurrentVersion": "2", "TargetVersion": "3"},
                }
            }
        ],
    }


class Aws:
    """Stubs of the services; expects requests in the order that a test says."""

    def __init__(self) -> None:
        keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
        session = boto3.Session(region_name="us-east-1", **keys)  # type: ignore[arg-type]
        self.clients: dict[str, Any] = {name: session.client(name) for name in ("lambda", "codedeploy", "sts")}
        self.stubs = {name: Stubber(client) for name, client in self.clients.items()}
        for stub in self.stubs.values():
            stub.activate()

    def client(self, name: str) -> Any:  # noqa: ANN401
        return self.clients[name]

    def expect(self, service: str, operation: str, request: dict[str, Any], answer: dict[str, Any]) -> None:
        self.stubs[service].add_response(operation, answer, request)

    def describes(self, found: Function, tags: dict[str, str] | None = None) -> None:
        """Stub AWS's description of one function, and of the credentials."""
        self.expect("sts", "get_caller_identity", {}, {"Account": "333333333333"})
        arn = f"arn:aws:lambda:us-east-1:333333333333:function:{found.name}"
        listed = {"Functions": [{"FunctionName": found.name, "FunctionArn": arn}]}
        self.expect("lambda", "list_functions", {}, listed)
        tags = tags or {"Project": "sluice", "Environment": "prod"}
        self.expect("lambda", "list_tags", {"Resource": arn}, {"Tags": tags})
        if tags["Environment"] != "prod":
            return
        weights = {"RoutingConfig": {"AdditionalVersionWeights": {found.next: 0.1}}} if found.next else {}
        live = {"Name": "live", "FunctionVersion": found.live, "RevisionId": found.revision, **weights}
        withdrawn = [{"Name": f"withdrawn-{each}", "FunctionVersion": each} for each in sorted(found.withdrawn)]
        self.expect("lambda", "list_aliases", {"FunctionName": found.name}, {"Aliases": [live, *withdrawn]})
        versions = [
            {"Version": number, "LastModified": f"{moment:%Y-%m-%dT%H:%M:%S}.000+0000"}
            for number, moment in found.versions.items()
        ]
        latest = {"Version": "$LATEST", "LastModified": "2026-01-01T00:00:00.000+0000"}
        self.expect(
            "lambda", "list_versions_by_function", {"FunctionName": found.name}, {"Versions": [latest, *versions]}
        )

    def has_under_way(self, *deployments: str) -> None:
        self.expect(
            "codedeploy",
            "list_deployments",
            {"applicationName": "sluice-prod", "deploymentGroupName": NAME, "includeOnlyStatuses": ANY},
            {"deployments": list(deployments)},
        )

    def starts(self, found: Function) -> None:
        request = {
            "applicationName": "sluice-prod",
            "deploymentGroupName": NAME,
            "description": ANY,
            "revision": {
                "revisionType": "AppSpecContent",
                "appSpecContent": {"content": app_spec(found), "sha256": ANY},
            },
        }
        self.expect("codedeploy", "create_deployment", request, {"deploymentId": "d-1"})

    def ends(self, status: str, **more: object) -> None:
        answer = {"deploymentInfo": {"status": status, **more}}
        self.expect("codedeploy", "get_deployment", {"deploymentId": "d-1"}, answer)

    def is_withdrawn(self, version: str) -> None:
        request = {
            "FunctionName": NAME,
            "Name": f"withdrawn-{version}",
            "FunctionVersion": version,
            "Description": ANY,
        }
        self.expect("lambda", "create_alias", request, {})

    def is_pointed(self, version: str, **more: str) -> None:
        request = {
            "FunctionName": NAME,
            "Name": "live",
            "FunctionVersion": version,
            "RoutingConfig": {"AdditionalVersionWeights": {}},
            **more,
        }
        self.expect("lambda", "update_alias", request, {})


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(releases, "WAIT", {"Delay": 0, "MaxAttempts": 3})
    made = Aws()
    yield made
    for stub in made.stubs.values():
        stub.assert_no_pending_responses()


@pytest.fixture
def prod() -> Settings:
    return Settings(environment="prod", account_id="333333333333", release_strategy="canary")


def test_a_release_has_codedeploy_move_the_traffic_and_waits(aws: Any, prod: Settings) -> None:  # noqa: ANN401
    found = function(live="2")
    aws.describes(found)
    aws.has_under_way()
    aws.starts(found)
    aws.ends("InProgress")
    aws.ends("Succeeded")
    assert release(prod, aws) == [Moved(NAME, "2", "3")]


def test_a_release_that_the_alarm_stopped_fails_and_is_not_tried_again(aws: Any, prod: Settings) -> None:  # noqa: ANN401
    found = function(live="2")
    aws.describes(found)
    aws.has_under_way()
    aws.starts(found)
    why = {"code": "ALARM_ACTIVE", "message": "One or more alarms have been activated"}
    aws.ends("Stopped", errorInformation=why)
    aws.ends("Stopped", errorInformation=why)
    aws.is_withdrawn("3")
    with pytest.raises(Failure, match="upload Stopped: One or more alarms have been activated"):
        release(prod, aws)
    said: list[str] = []
    aws.describes(function(live="2", withdrawn=frozenset({"3"})))
    aws.has_under_way()
    assert release(prod, aws, report=said.append) == []
    assert "3 was rolled back" in said[0]


def test_a_release_under_way_is_waited_for(aws: Any, prod: Settings) -> None:  # noqa: ANN401
    aws.describes(function(live="2", next="3"))
    aws.has_under_way("d-1")
    aws.ends("Succeeded")
    assert release(prod, aws) == [Moved(NAME, "2", "3")]


def test_there_is_nothing_to_release_where_terraform_does_it(aws: Any, prod: Settings) -> None:  # noqa: ANN401
    said: list[str] = []
    settings = prod.model_copy(update={"release_strategy": "all-at-once"})
    assert release(settings, aws, report=said.append) == []
    assert said == ["RELEASE_STRATEGY is all-at-once: Terraform moves the aliases itself."]


def test_a_rollback_points_back_and_marks_what_it_took_back(aws: Any, prod: Settings) -> None:  # noqa: ANN401
    aws.describes(function())
    aws.is_pointed("2", RevisionId="r")
    aws.is_withdrawn("3")
    assert rollback(prod, aws) == [Moved(NAME, "3", "2")]


def test_a_rollback_during_a_canary_stops_it(aws: Any, prod: Settings) -> None:  # noqa: ANN401
    aws.describes(function(live="2", next="3"))
    aws.has_under_way("d-1")
    aws.expect("codedeploy", "stop_deployment", {"deploymentId": "d-1", "autoRollbackEnabled": True}, {})
    aws.is_pointed("2")
    aws.is_withdrawn("3")
    assert rollback(prod, aws) == [Moved(NAME, "3", "2")]


def test_a_rollback_may_go_to_a_version_by_its_number_and_forward_again(aws: Any, prod: Settings) -> None:  # noqa: ANN401
    aws.describes(function(live="1", withdrawn=frozenset({"3"})))
    aws.is_pointed("3", RevisionId="r")
    aws.expect("lambda", "delete_alias", {"FunctionName": NAME, "Name": "withdrawn-3"}, {})
    assert rollback(prod, aws, only="upload", version="3") == [Moved(NAME, "1", "3")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"only": "uplaod"}, "no function uplaod"),
        ({"only": "upload", "version": "9"}, "no version 9"),
        ({"only": "upload"}, "no version is before"),
    ],
)
def test_a_rollback_that_is_impossible_is_an_error(aws: Any, prod: Settings, arguments: Any, words: str) -> None:  # noqa: ANN401
    aws.describes(function(live="1", versions=1))
    with pytest.raises(Failure, match=words):
        rollback(prod, aws, **arguments)


def test_functions_of_another_environment_with_a_similar_name_are_left_alone(aws: Any, prod: Settings) -> None:  # noqa: ANN401
    aws.describes(function("sluice-prod-eu-upload"), {"Project": "sluice", "Environment": "prod-eu"})
    with pytest.raises(Failure, match="none is deployed with the tags of sluice-prod"):
        rollback(prod, aws)


def test_credentials_of_another_account_are_refused(aws: Any, prod: Settings) -> None:  # noqa: ANN401
    aws.expect("sts", "get_caller_identity", {}, {"Account": "111111111111"})
    with pytest.raises(Failure, match="account 111111111111"):
        rollback(prod, aws)
