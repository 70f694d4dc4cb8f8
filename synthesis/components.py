"""The components that can be deployed, each a Terraform root with its own state. Standard library only."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from synthesis.paths import LAYERS, PAGE, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cdktf import App

    from modules.functions import Sources
    from modules.settings import Settings
    from stacks.base import BaseStack


class Component(NamedTuple):
    """A component, which `make synth COMPONENT=NAME` synthesizes.

    Attributes:
        title: what it deploys, for people.
        add: adds its stack to an app; the last argument is the output folder of the app.
    """

    title: str
    add: Callable[[App, Settings, Path], BaseStack]


def component_of(name: str) -> Component:
    """Return the component with this name.

    Raises:
        SystemExit: no component has this name; the message lists the names.
    """
    if name not in COMPONENTS:
        sys.exit(f"error: there is no component {name!r}; the components are {', '.join(COMPONENTS)}")
    return COMPONENTS[name]


def _uploads(app: App, settings: Settings, output: Path) -> BaseStack:
    from stacks.uploads import UploadsStack

    return UploadsStack(
        app, settings=settings, sources=_sources(ROOT / "functions", output / "stacks" / settings.prefix)
    )


def _state(app: App, settings: Settings, output: Path) -> BaseStack:
    from stacks.state import StateBackendStack

    return StateBackendStack(app, settings=settings)


def _inbox(app: App, settings: Settings, output: Path) -> BaseStack:
    from examples.inbox import InboxStack

    folder = output / "stacks" / f"{settings.prefix}-inbox"
    return InboxStack(app, settings=settings, sources=_sources(ROOT / "examples" / "functions", folder))


def _partner_bucket(app: App, settings: Settings, output: Path) -> BaseStack:
    from examples.partner_bucket import PartnerBucketStack

    return PartnerBucketStack(app, settings=settings)


def _sources(functions: Path, output: Path) -> Sources:
    from modules.functions import Sources

    return Sources(functions=functions, layers=LAYERS, output=output, page=PAGE)


COMPONENTS = {
    "uploads": Component("the upload platform", _uploads),
    "state": Component("the bucket that holds the Terraform state", _state),
    "inbox": Component("the example: an inbox of the platform's events", _inbox),
    "partner-bucket": Component("the example: a bucket that only a partner's role may read", _partner_bucket),
}
DEFAULT = "uploads"
