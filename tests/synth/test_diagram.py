"""The pictures in docs/: drawn from the Terraform JSON, fresh, and small enough to be understood."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from tests.synth.conftest import ENVIRONMENTS, Synthesized
from tools.develop.diagram import DOCS, FILES, Picture, digest, dot, svg


def picture_of(stack: Synthesized) -> Picture:
    return Picture(stack.json)


def reached(picture: Picture, start: str, kinds: set[str]) -> set[str]:
    """Boxes that arrows of some kinds lead to from one."""
    found, left = {start}, [start]
    while left:
        here = left.pop()
        for (begin, end), arrow in picture.arrows.items():
            if begin == here and arrow.forth and arrow.kind in kinds and end not in found:
                found.add(end)
                left.append(end)
    return found


def test_there_is_a_picture_of_every_environment() -> None:
    assert set(FILES) == set(ENVIRONMENTS)
    assert {path.name for path in DOCS.glob("architecture*.svg")} == set(FILES.values())


def test_each_picture_is_drawn_from_the_json_as_it_is(stack: Synthesized, environment: str) -> None:
    """If it fails: run `make diagram` and look at the difference."""
    drawn = (DOCS / FILES[environment]).read_text()
    assert f"source {digest(dot(picture_of(stack)))} -->" in drawn


@pytest.mark.slow
def test_each_picture_is_what_graphviz_draws_to_the_byte(stack: Synthesized, environment: str) -> None:
    assert svg(dot(picture_of(stack))) == (DOCS / FILES[environment]).read_text()


def test_a_change_of_the_json_makes_a_picture_stale(prod: Synthesized) -> None:
    changed: Any = copy.deepcopy(prod.json)
    changed["resource"]["aws_api_gateway_method"]["api_post_upload_method"]["http_method"] = "PUT"
    assert digest(dot(Picture(changed))) != digest(dot(picture_of(prod)))


def test_every_function_store_and_topic_is_drawn_once_and_by_name(stack: Synthesized) -> None:
    picture = picture_of(stack)
    for kind in ("aws_lambda_function", "aws_dynamodb_table", "aws_sns_topic", "aws_sfn_state_machine"):
        assert set(stack.resources(kind)) <= set(picture.boxes)
    labels = [box.lines for box in picture.boxes.values()]
    assert len(set(labels)) == len(labels)
    assert not [line for box in labels for line in box if "${" in line or "sluice" in line]


def test_a_newcomer_is_not_drowned(stack: Synthesized) -> None:
    picture = picture_of(stack)
    assert len(picture.boxes) <= 28
    assert len(picture.arrows) <= 50
    assert max(len(box.lines) for box in picture.boxes.values()) <= 6


def test_the_way_of_a_request_leads_to_every_function_of_the_api(prod: Synthesized) -> None:
    way = reached(picture_of(prod), "caller", {"request"})
    assert {"aws_wafv2_web_acl.firewall", "aws_api_gateway_rest_api.api"} < way
    assert {f"aws_lambda_function.{name}" for name in ("upload", "uploads", "files", "health")} < way
    assert "aws_lambda_function.sweep" not in way


def test_the_way_of_a_file_leads_from_the_upload_to_the_inbox(stack: Synthesized) -> None:
    way = reached(picture_of(stack), "aws_lambda_function.upload", {"file"})
    assert way >= {
        "aws_s3_bucket.storage_uploads",
        "aws_cloudwatch_event_rule.workflow_stored",
        "aws_sfn_state_machine.workflow",
        "aws_lambda_function.inspect",
        "aws_dynamodb_table.metadata_files",
        "aws_sns_topic.notifications_files",
        "aws_sqs_queue.notifications_inbox",
    }
    assert "aws_sns_topic.notifications_alerts" not in way


def test_failures_lead_to_the_operator_and_are_counted(prod: Synthesized) -> None:
    picture = picture_of(prod)
    assert "operator" in reached(picture, "dead_letters", {"failure"})
    alarms = len(prod.resources("aws_cloudwatch_metric_alarm"))
    assert picture.boxes["alarms"].lines[0] == f"{alarms} alarms"
    (count,) = re.findall(r"\d+", picture.boxes["dead_letters"].lines[0])
    drawn = [name for name in picture.boxes if name.startswith("aws_sqs_queue.")]
    assert int(count) + len(drawn) == len(prod.resources("aws_sqs_queue"))
