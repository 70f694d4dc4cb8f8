"""Saved queries of Logs Insights: over the log groups that there are, and named where an operator reads."""

from __future__ import annotations

import json
import re

import pytest

from synthesis.paths import ROOT
from tests.synth.conftest import Synthesized, settings_of, synthesize

HANDBOOK = (ROOT / "docs" / "operations.md").read_text()
QUERY = "aws_cloudwatch_query_definition"


def queries(stack: Synthesized) -> dict[str, tuple[list[str], str]]:
    """Log groups by address, and text, of each query by the last part of its name."""
    return {
        body["name"].partition("/")[2]: (
            [re.sub(r"^\$\{(.*)\.name\}$", r"\1", group) for group in body["log_group_names"]],
            body["query_string"],
        )
        for body in stack.resources(QUERY).values()
    }


def test_they_look_at_every_log_group_that_is_theirs(stack: Synthesized) -> None:
    groups = set(stack.resources("aws_cloudwatch_log_group"))
    functions = {
        f"{address.replace('lambda_function', 'cloudwatch_log_group')}_logs"
        for address in stack.resources("aws_lambda_function")
    }
    assert functions < groups
    workflow = {"aws_cloudwatch_log_group.workflow_logs"}
    access = {"aws_cloudwatch_log_group.api_access_log"}
    found = {name: set(looked) for name, (looked, _) in queries(stack).items()}
    assert found == {
        "errors": functions,
        "file": functions | workflow,
        "denied": functions | workflow,
        "slow-requests": access,
        "refused-requests": access,
    }
    # CloudWatch Logs, "CloudWatch Logs quotas": a query looks at 50 log groups at most.
    assert max(len(looked) for looked in found.values()) <= 50


def test_they_ask_for_fields_of_the_access_log_that_it_has(prod: Synthesized) -> None:
    (stage,) = prod.resources("aws_api_gateway_stage").values()
    logged = set(json.loads(stage["access_log_settings"]["format"]))
    for name in ("slow-requests", "refused-requests"):
        text = queries(prod)[name][1]
        asked = set(re.findall(r"(?<![@\w])[a-z]+[A-Z]\w*", text)) | {"status"}
        assert {"httpMethod", "resourcePath"} < asked
        assert asked <= logged, name


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    """prod with an issuer's tokens and webhooks."""
    folder = tmp_path_factory.mktemp("everything")
    issuer = {"jwt_issuer": "https://issuer.example.com", "jwt_audience": "sluice"}
    urls = ("https://hooks.example.com/",)
    synthesize(folder, settings_of("prod", api_authorization="jwt", webhook_urls=urls, **issuer))
    return Synthesized(folder / "stacks" / "sluice-prod")


def test_a_query_about_one_function_reads_only_its_log(everything: Synthesized) -> None:
    found = queries(everything)
    assert found["issuer-errors"][0] == ["aws_cloudwatch_log_group.authorizer_logs"]
    assert found["undelivered-webhooks"][0] == ["aws_cloudwatch_log_group.webhooks_logs"]


def test_each_is_in_the_handbook_under_its_name_and_no_other_is(everything: Synthesized) -> None:
    named = set(re.findall(r"`sluice-prod/([a-z-]+)`", HANDBOOK))
    assert named == set(queries(everything))
    assert "FILE_ID" in queries(everything)["file"][1]
    assert "`FILE_ID`" in HANDBOOK
    assert not re.search(r"^ +fields @", HANDBOOK, re.MULTILINE), "a query is text in the page alone"
