"""One synthesis and one plan of every stack of every environment for all judges."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.synth.conftest import ENVIRONMENTS, settings_of, synthesize
from tools.plans import offline_plan


@dataclass(frozen=True)
class Stack:
    """A stack of an environment as Terraform JSON.

    Attributes:
        folder: what synthesis wrote.
        environment: name of its environment.
        whole: whether it is the platform itself, not the state's bucket.
    """

    folder: Path
    environment: str
    whole: bool

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def file(self) -> Path:
        return self.folder / "cdk.tf.json"

    @property
    def json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.file.read_text())
        return content


@dataclass(frozen=True)
class Plan:
    """The first plan of a stack."""

    stack: Stack
    file: Path
    json: Mapping[str, Any]


# What settings add is judged too: one environment gets it.
OPTIONAL = {"staging": {"webhook_urls": ("https://hooks.example.com/sluice",)}}


@pytest.fixture(scope="session")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> list[Stack]:
    folder = tmp_path_factory.mktemp("judged")
    synthesize(folder, *(settings_of(name, **OPTIONAL.get(name, {})) for name in ENVIRONMENTS))
    return [
        Stack(folder / "stacks" / f"sluice-{name}{component}", name, not component)
        for name in ENVIRONMENTS
        for component in ("", "-state")
    ]


@pytest.fixture(scope="session")
def plans(stacks: list[Stack], tmp_path_factory: pytest.TempPathFactory) -> list[Plan]:
    folder = tmp_path_factory.mktemp("plans")

    def plan(stack: Stack) -> Plan:
        return Plan(stack, folder / stack.name / "plan.json", offline_plan(stack.folder, folder / stack.name))

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(plan, stacks))
