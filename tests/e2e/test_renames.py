"""A rename as Terraform sees it: with `rename` it moves, without it, it destroys and makes anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from cdktf import App

from modules.encryption import CustomerKey
from modules.notifications import Topic
from modules.settings import Settings
from stacks.base import BaseStack
from tests.e2e.conftest import Deployed
from tools.develop.local import local_settings
from tools.operate.terraform import Changes, Terraform

pytestmark = pytest.mark.slow


class Small(BaseStack):
    """A key and a topic, in a state of their own."""

    def __init__(self, folder: Path, *, settings: Settings, topic: str, was: str = "") -> None:
        app = App(outdir=str(folder))
        super().__init__(app, settings=settings, component="small")
        key = CustomerKey(self, "key", foundation=self.foundation, purpose="small", service="sns")
        # The name in AWS stays: it is the address that changes.
        Topic(self, topic, foundation=self.foundation, name="small", key=key)
        if was:
            self.rename(was, topic)
        app.synth()
        self.folder = folder / "stacks" / f"{settings.prefix}-small"


def test_a_renamed_construct_is_moved_and_nothing_is_replaced(deployed: Deployed, tmp_path: Path) -> None:
    variables = deployed.system.variables(deployed.aws)
    settings = local_settings(deployed.aws)

    def terraform(name: str, *, topic: str, was: str = "") -> Terraform:
        made = Terraform(Small(tmp_path / name, settings=settings, topic=topic, was=was).folder, variables)
        made.init()
        return made

    first = terraform("first", topic="events")
    first.plan()
    first.apply()
    arn = first.show_state()["aws_sns_topic"]["events"]["arn"]
    try:
        # What the guard is there for: Terraform takes another address for another thing.
        careless = terraform("careless", topic="news")
        assert careless.plan() == Changes(add=2, change=0, remove=2)

        renamed = terraform("renamed", topic="news", was="events")
        assert renamed.plan() == Changes()
        plan = renamed.show()
        assert isinstance(plan["resource_changes"], list)
        moved = {
            each["previous_address"]: (each["address"], each["change"]["actions"])
            for each in plan["resource_changes"]
            if "previous_address" in each
        }
        assert moved == {
            "aws_sns_topic.events": ("aws_sns_topic.news", ["no-op"]),
            "aws_sns_topic_policy.events_policy": ("aws_sns_topic_policy.news_policy", ["no-op"]),
        }
        renamed.apply()
        assert renamed.show_state()["aws_sns_topic"]["news"]["arn"] == arn
        assert renamed.plan() == Changes()
    finally:
        assert terraform("last", topic="news").destroy().remove == 4
