from __future__ import annotations

import json

import pytest

from modules.policy_documents import Statement, document


def test_a_document_is_json_with_a_version_and_single_values_without_a_list() -> None:
    statement = Statement(
        sid="ReadOne",
        actions=["s3:GetObject"],
        resources=["${aws_s3_bucket.files.arn}/*"],
        conditions={"StringEquals": {"kms:ViaService": ["s3.us-east-1.amazonaws.com"]}},
    )
    assert json.loads(document(statement)) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "ReadOne",
                "Effect": "Allow",
                "Action": "s3:GetObject",
                "Resource": "${aws_s3_bucket.files.arn}/*",
                "Condition": {"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"}},
            }
        ],
    }


@pytest.mark.parametrize("action", ["*", "s3:*", "s3:Get*", "s3", "GetObject", "s3:", "S3:GetObject"])
def test_an_action_that_is_not_exact_is_refused(action: str) -> None:
    with pytest.raises(ValueError, match="no exact action"):
        Statement(sid="Wide", actions=[action], resources=["arn:aws:s3:::files"])


def test_a_denial_may_be_wide() -> None:
    assert Statement(sid="No", effect="Deny", actions=["s3:*"], resources=["*"], principals="*").to_json() == {
        "Sid": "No",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": "*",
    }


def test_every_resource_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="without the reason"):
        Statement(sid="Wide", actions=["s3:GetObject"], resources=["*"])
    Statement(sid="Wide", actions=["xray:PutTraceSegments"], resources=["*"], any_resource="X-Ray has none")


def test_nothing_is_open_to_everyone() -> None:
    with pytest.raises(ValueError, match="allows everyone"):
        Statement(sid="Open", actions=["s3:GetObject"], resources=["arn:aws:s3:::files/*"], principals="*")


@pytest.mark.parametrize(("actions", "resources"), [([], ["arn:aws:s3:::a"]), (["s3:GetObject"], [])])
def test_an_empty_statement_is_refused(actions: list[str], resources: list[str]) -> None:
    with pytest.raises(ValueError, match="no action or no resource"):
        Statement(sid="Empty", actions=actions, resources=resources)


def test_two_statements_with_one_id_are_refused() -> None:
    one = Statement(sid="Same", actions=["s3:GetObject"], resources=["arn:aws:s3:::a/*"])
    with pytest.raises(ValueError, match="one id"):
        document(one, one)
