"""One synthesis and one plan of every stack of every environment for all judges."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modules.settings import Settings
from tests.synth.conftest import ENVIRONMENTS, settings_of, synthesize
from tools.develop.offline_plan import offline_plan


@dataclass(frozen=True)
class Stack:
    """A stack of an environment as Terraform JSON.

    Attributes:
        folder: what synthesis wrote.
        environment: name of its environment.
        whole: whether it is the platform itself, not the state's bucket.
        settings: of its environment, with what is judged beside.
        name: what it is called here.
    """

    folder: Path
    environment: str
    whole: bool
    settings: Settings
    name: str

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


# What settings add is judged too: one environment gets webhooks, and prod is judged once more with every option on.
OPTIONAL = {"staging": {"webhook_urls": ("https://hooks.example.com/sluice",)}}
EVERYTHING = {
    "replica_region": "eu-central-1",
    "legal_hold": True,
    "s3_lifecycle_expiration_days": 0,
    "api_authorization": "jwt",
    "jwt_issuer": "https://issuer.example.com",
    "jwt_audience": "sluice",
    "cors_allowed_origins": ("https://app.example.com", "https://admin.example.com"),
    "webhook_urls": ("https://hooks.example.com/sluice", "https://other.example.com/in"),
    "alert_email": "ops@example.com",
    "handbook_url": "https://example.com/operations.md",
}


@pytest.fixture(scope="session")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> list[Stack]:
    made = []
    for title, every in (
        ("", [settings_of(name, **OPTIONAL.get(name, {})) for name in ENVIRONMENTS]),
        ("-with-everything", [settings_of("prod", **EVERYTHING)]),
    ):
        folder = tmp_path_factory.mktemp("judged")
        synthesize(folder, *every)
        made += [
            Stack(
                folder / "stacks" / f"{settings.prefix}{component}",
                settings.environment,
                not component,
                settings,
                f"{settings.prefix}{component}{title}",
            )
            for settings in every
            for component in ("", "-state")
        ]
    return made


@pytest.fixture(scope="session")
def plans(stacks: list[Stack], tmp_path_factory: pytest.TempPathFactory) -> list[Plan]:
    folder = tmp_path_factory.mktemp("plans")

    def plan(stack: Stack) -> Plan:
        return Plan(stack, folder / stack.name / "plan.json", offline_plan(stack.folder, folder / stack.name))

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(plan, stacks))
