"""Releases: versions behind the alias `live`, and CodeDeploy where the setting says `canary`."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from modules.releases import TRAFFIC
from modules.settings import Settings
from tests.synth.conftest import Synthesized, settings_of

CANARY = {"local": False, "dev": False, "staging": True, "prod": True}


def functions(stack: Synthesized) -> dict[str, dict[str, Any]]:
    found = stack.resources("aws_lambda_function")
    assert len(found) >= 5
    return {address.partition(".")[2]: body for address, body in found.items()}


def test_every_function_is_published_behind_one_alias(stack: Synthesized) -> None:
    aliases = stack.resources("aws_lambda_alias")
    assert len(aliases) == len(functions(stack))
    for name, body in functions(stack).items():
        alias = aliases[f"aws_lambda_alias.{name}_live"]
        assert body["publish"] is True
        assert alias["name"] == "live"
        assert alias["function_name"] == f"${{aws_lambda_function.{name}.function_name}}"
        assert alias["function_version"] == f"${{aws_lambda_function.{name}.version}}"


def test_nothing_calls_a_function_but_by_its_alias(stack: Synthesized) -> None:
    """References to a function's own ARN are those of who manages it: CodeDeploy."""
    for address, body in stack.resources().items():
        own = re.findall(r"aws_lambda_function\.\w+\.(?:arn|invoke_arn|qualified_\w+)\}", json.dumps(body))
        assert not own or address == "aws_iam_role_policy.releases_role_shift_traffic", address
    for body in stack.resources("aws_lambda_permission").values():
        assert re.fullmatch(r"\$\{aws_lambda_alias\.\w+_live\.name\}", body["qualifier"])
    for body in stack.resources("aws_lambda_function_event_invoke_config").values():
        assert re.fullmatch(r"\$\{aws_lambda_alias\.\w+_live\.name\}", body["qualifier"])


def test_terraform_moves_the_alias_unless_codedeploy_does(stack: Synthesized, environment: str) -> None:
    ignored = ["function_version", "routing_config"]
    for address, alias in stack.resources("aws_lambda_alias").items():
        found = alias.get("lifecycle", {}).get("ignore_changes")
        assert found == (ignored if CANARY[environment] else None), address
    assert bool(stack.resources("aws_codedeploy_app")) is CANARY[environment]


def test_each_function_has_a_canary_that_its_own_alarm_stops(prod: Synthesized) -> None:
    (application,) = prod.resources("aws_codedeploy_app").values()
    assert application["compute_platform"] == "Lambda"
    alarms = prod.resources("aws_cloudwatch_metric_alarm")
    groups = prod.resources("aws_codedeploy_deployment_group")
    assert set(groups) == {f"aws_codedeploy_deployment_group.releases_{name}" for name in functions(prod)}
    for name in functions(prod):
        group = groups[f"aws_codedeploy_deployment_group.releases_{name}"]
        assert group["deployment_group_name"] == f"${{aws_lambda_function.{name}.function_name}}"
        assert group["deployment_style"] == {
            "deployment_type": "BLUE_GREEN",
            "deployment_option": "WITH_TRAFFIC_CONTROL",
        }
        (alarm,) = group["alarm_configuration"]["alarms"]
        assert group["alarm_configuration"]["enabled"] is True
        watched = alarms[re.sub(r"^\$\{(.*)\.alarm_name\}$", r"\1", alarm)]
        dimensions = [query["metric"]["dimensions"] for query in watched["metric_query"] if "metric" in query]
        assert dimensions == [{"FunctionName": f"${{aws_lambda_function.{name}.function_name}}"}] * 2
        assert {query["metric"]["metric_name"] for query in watched["metric_query"] if "metric" in query} == {
            "Errors",
            "Invocations",
        }
        assert group["auto_rollback_configuration"]["enabled"] is True
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["auto_rollback_configuration"]["events"]
        (trigger,) = group["trigger_configuration"]
        assert trigger["trigger_target_arn"] == "${aws_sns_topic.notifications_alerts.arn}"
        assert "DeploymentRollback" in trigger["trigger_events"]


def test_the_canary_lasts_longer_than_the_alarm_needs(prod: Synthesized) -> None:
    minutes = re.fullmatch(r"CodeDeployDefault\.LambdaCanary10Percent(\d+)Minutes", TRAFFIC)
    assert minutes
    alarm = prod.resources("aws_cloudwatch_metric_alarm")["aws_cloudwatch_metric_alarm.monitoring_upload_errors"]
    period = max(query["metric"]["period"] for query in alarm["metric_query"] if "metric" in query)
    assert int(minutes[1]) * 60 > alarm["evaluation_periods"] * period


def test_codedeploy_may_move_these_aliases_and_nothing_else(prod: Synthesized) -> None:
    policies = {
        address: json.loads(body["policy"])
        for address, body in prod.resources("aws_iam_role_policy").items()
        if body["role"] == "${aws_iam_role.releases_role.id}"
    }
    allowed = {
        statement["Sid"]: (statement["Action"], statement["Resource"])
        for policy in policies.values()
        for statement in policy["Statement"]
    }
    assert set(allowed) == {"ShiftTraffic", "WatchAlarms", "Publish", "EncryptMessages"}
    actions, resources = allowed["ShiftTraffic"]
    assert actions == ["lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "lambda:UpdateAlias"]
    assert set(resources) == {
        each
        for name in functions(prod)
        for each in (f"${{aws_lambda_function.{name}.arn}}", f"${{aws_lambda_alias.{name}_live.arn}}")
    }


def test_the_embedded_aws_has_no_canaries() -> None:
    with pytest.raises(ValueError, match="CodeDeploy, which the embedded AWS does not have"):
        settings_of("local", release_strategy="canary")
    assert Settings.model_fields["release_strategy"].default == "all-at-once"
