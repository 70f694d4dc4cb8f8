"""One synthesis of every environment for all tests of this folder."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cdktf import App

from modules.functions import Sources
from modules.settings import Settings
from stacks.state import StateBackendStack
from stacks.uploads import UploadsStack
from synthesis.paths import ROOT
from tests.unit.memory import aws

__all__ = ["aws"]

ENVIRONMENTS = ("local", "dev", "staging", "prod")
ENDPOINT = "https://127.0.0.1:4566"
# A page as `web/` builds it, in small.
PAGE = ROOT / "tests" / "synth" / "page"


def settings_of(name: str, **changed: object) -> Settings:
    """The settings in an environment's file, with changes."""
    values: dict[str, Any] = tomllib.loads((ROOT / "environments" / f"{name}.toml").read_text())
    if name == "local":
        values |= {"aws_endpoint_url": ENDPOINT}
    return Settings(**{**values, "environment": name, **changed})


def sources_for(folder: Path, settings: Settings) -> Sources:
    """Where packages come from and go to, for a stack in a folder of cdktf's."""
    output = folder / "stacks" / settings.prefix
    return Sources(functions=ROOT / "functions", layers=ROOT / ".build" / "layers", output=output, page=PAGE)


def synthesize(folder: Path, *every: Settings) -> None:
    """Synthesize both stacks of some environments into a folder, in one app."""
    app = App(outdir=str(folder))
    for settings in every:
        UploadsStack(app, settings=settings, sources=sources_for(folder, settings))
        StateBackendStack(app, settings=settings)
    app.synth()


@dataclass(frozen=True)
class Synthesized:
    """One stack's Terraform JSON."""

    folder: Path

    @property
    def text(self) -> str:
        return (self.folder / "cdk.tf.json").read_text()

    @property
    def json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.text)
        return content

    def resources(self, kind: str = "") -> dict[str, dict[str, Any]]:
        """Resources by address, of one kind or of all."""
        return {
            f"{resource_kind}.{name}": body
            for resource_kind, named in self.json["resource"].items()
            for name, body in named.items()
            if kind in {"", resource_kind}
        }


@pytest.fixture(scope="session")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthesis")
    synthesize(folder, *(settings_of(name) for name in ENVIRONMENTS))
    return folder


@pytest.fixture(params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stack(output: Path, environment: str) -> Synthesized:
    """The platform's stack of each environment in turn."""
    return Synthesized(output / "stacks" / f"sluice-{environment}")


@pytest.fixture
def prod(output: Path) -> Synthesized:
    return Synthesized(output / "stacks" / "sluice-prod")


@pytest.fixture(params=["", "-state"])
def any_stack(output: Path, environment: str, request: pytest.FixtureRequest) -> Synthesized:
    """Each stack of each environment in turn."""
    return Synthesized(output / "stacks" / f"sluice-{environment}{request.param}")
