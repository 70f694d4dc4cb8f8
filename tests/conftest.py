"""Shared by all tests: the provider bindings come first, as in main.py; and AWS in memory."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

from tests.unit.memory import aws
from tools.bindings import quiet_node_banner, use

__all__ = ["aws"]

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("sluice", deadline=None)
hypothesis.settings.load_profile("sluice")

ROOT = Path(__file__).resolve().parent.parent

quiet_node_banner()
use(ROOT)


@pytest.fixture(autouse=True)
def _no_settings_from_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings and AWS access of whoever runs the tests do not reach them."""
    from modules.settings import Settings

    for name in list(os.environ):
        if name.lower() in Settings.model_fields or name.startswith("AWS_"):
            monkeypatch.delenv(name)
