"""A construct that gets another name: every resource in it is moved, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from cdktf import App

from modules.encryption import CustomerKey
from modules.notifications import Topic
from stacks.base import BaseStack, RenameError
from tests.synth.conftest import Synthesized, settings_of
from tests.synth.test_stacks import validate
from tools.operate.terraform import find_program

SETTINGS = settings_of("dev")


def stack_with(folder: Path, *names: str) -> BaseStack:
    """A stack with a topic under each name."""
    stack = BaseStack(App(outdir=str(folder)), settings=SETTINGS, component="small")
    key = CustomerKey(stack, "key", foundation=stack.foundation, purpose="small", service="sns")
    for name in names:
        Topic(stack, name, foundation=stack.foundation, name=name, key=key)
    return stack


def test_every_resource_of_the_construct_is_moved_and_no_other(tmp_path: Path) -> None:
    stack = stack_with(tmp_path, "events", "events_of_others")
    stack.rename("news", "events")
    stack.rename("old_key", "key")
    app = stack.node.root
    assert isinstance(app, App)
    app.synth()
    written = Synthesized(tmp_path / "stacks" / "sluice-dev-small")
    assert written.json["moved"] == [
        {"from": "aws_sns_topic.news", "to": "aws_sns_topic.events"},
        {"from": "aws_sns_topic_policy.news_policy", "to": "aws_sns_topic_policy.events_policy"},
        {"from": "aws_kms_key.old_key", "to": "aws_kms_key.key"},
        {"from": "aws_kms_alias.old_key_alias", "to": "aws_kms_alias.key_alias"},
    ]
    validate(written, find_program())


def test_a_resource_alone_may_be_renamed(tmp_path: Path) -> None:
    stack = stack_with(tmp_path, "events")
    stack.rename("events/access", "events/policy")
    assert stack.to_terraform()["moved"] == [
        {"from": "aws_sns_topic_policy.events_access", "to": "aws_sns_topic_policy.events_policy"}
    ]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("news", "evnets", "no resource is there"),
        ("news", "event", "no resource is there"),
        ("key", "events", "something is at key still"),
        ("events/policy", "events", "something is at events/policy still"),
    ],
)
def test_a_rename_that_leads_nowhere_or_is_none_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(RenameError, match=words):
        stack_with(tmp_path, "events").rename(old, new)


def test_nothing_is_moved_where_nothing_was_renamed(tmp_path: Path) -> None:
    assert "moved" not in stack_with(tmp_path, "events").to_terraform()
