"""Accepted findings of the judges, and samples for references."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.develop import judges
from tools.develop.judges import Accepted, JudgeFinding
from tools.operate.console import Failure

OPEN = JudgeFinding("CKV_1", "aws_s3_bucket.state", "a bucket is open")
STACK = {
    "provider": {
        "aws": [
            {"region": "eu-central-1", "allowed_account_ids": ["111111111111"]},
            {"region": "eu-west-1", "allowed_account_ids": ["111111111111"], "alias": "replica"},
        ]
    },
    "resource": {
        "aws_s3_bucket": {"files": {"bucket": "files"}},
        "aws_sns_topic": {"alerts": {"name": "alerts", "provider": "aws.replica"}},
        "aws_sqs_queue": {"letters": {"name": "${aws_s3_bucket.files.bucket}-letters"}},
    },
}


def test_a_finding_that_nothing_accepts_is_a_complaint() -> None:
    entries = [Accepted("CKV_2", "*", "another rule"), Accepted("CKV_1", "aws_s3_bucket.files", "another bucket")]
    wrong = judges.complaints({"dev": [OPEN]}, entries)
    assert wrong[-1] == "dev: CKV_1 aws_s3_bucket.state: a bucket is open"
    assert len(wrong) == 3


@pytest.mark.parametrize(
    "entry",
    [
        Accepted("CKV_1", "aws_s3_bucket.*", "all buckets"),
        Accepted("CKV_1", "aws_s3_bucket.state", "here", environments=("dev",)),
        Accepted("CKV_1", "*", "says so", says="*is open"),
    ],
)
def test_what_is_accepted_is_none(entry: Accepted) -> None:
    assert judges.complaints({"dev": [OPEN], "prod": []}, [entry]) == []


def test_an_entry_holds_where_it_says_and_has_to_be_found_there() -> None:
    entry = Accepted("CKV_1", "*", "in two of them", environments=("dev", "staging"))
    assert judges.complaints({"dev": [OPEN], "staging": [], "prod": [OPEN]}, [entry]) == [
        "accepted, and found no more: CKV_1 * (staging)",
        "prod: CKV_1 aws_s3_bucket.state: a bucket is open",
    ]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ('reason = ""', "no reason"),
        ('reason = "because"', "no reason"),
        ('reason = "it is wanted so here"\nenviroments = ["dev"]', "enviroments"),
        ("", "reason"),
    ],
)
def test_an_entry_without_a_reason_or_with_a_typo_is_refused(entry: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "exceptions.toml"
    file.write_text(f'[[checkov]]\ncheck = "CKV_1"\naddress = "*"\n{entry}\n')
    with pytest.raises(Failure, match=words):
        judges.accepted("checkov", file)


def test_every_judge_in_the_file_is_one() -> None:
    assert judges.accepted("checkov")
    assert judges.accepted("parliament")
    lines = judges.EXCEPTIONS.read_text().splitlines()
    assert {line for line in lines if line.startswith("[")} == {"[[checkov]]", "[[parliament]]"}


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("${aws_s3_bucket.files.arn}/*", "arn:aws:s3:::files/*"),
        ("${aws_sqs_queue.letters.arn}", "arn:aws:sqs:eu-central-1:111111111111:files-letters"),
        ("${aws_sqs_queue.letters.name}", "files-letters"),
        ("${aws_sns_topic.alerts.arn}", "arn:aws:sns:eu-west-1:111111111111:alerts"),
        ("user/$${aws:username}", "user/${aws:username}"),
    ],
)
def test_a_document_is_judged_as_aws_would_see_it(text: str, seen: str) -> None:
    assert judges.resolved(text, STACK) == seen


@pytest.mark.parametrize("text", ["${aws_s3_bucket.files.tags_all}", "${aws_efs_mount.x.arn}", "${upper(var.name)}"])
def test_a_document_with_a_hole_is_not_judged(text: str) -> None:
    with pytest.raises(Failure, match="no sample"):
        judges.resolved(text, STACK)


def test_documents_are_found_by_what_they_hold() -> None:
    policy, machine = json.dumps({"Statement": []}), json.dumps({"StartAt": "A"})
    resources = {"aws_x": {"y": {"policy": policy, "definition": machine, "name": "{", "event": '{"source": []}'}}}
    assert judges.policies(resources) == {"aws_x.y:policy": policy}
    assert judges.state_machines(resources) == {"aws_x.y:definition": machine}
