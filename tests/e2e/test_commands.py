"""The make targets for operators, with their output. Plans and the state have separate tests."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import Deployed
from tests.e2e.test_plan import make
from tools.embedded_aws import control

pytestmark = pytest.mark.slow


@pytest.fixture
def operator(deployed: Deployed) -> dict[str, str]:
    """Return the variables that direct make to the embedded AWS, as a user with all permissions."""
    root = deployed.aws.environment(control.ROOT.access_key, control.ROOT.secret_key)
    return {**deployed.system.variables(deployed.aws), **root}


def test_dead_letters_are_redriven(operator: dict[str, str]) -> None:
    code, said = make("redrive", **operator)
    assert code == 0, said
    assert re.search(r"^(\d+ from sluice-local-\S+|There are no dead letters\.)$", said, re.MULTILINE), said


def test_receivers_have_their_secrets(operator: dict[str, str]) -> None:
    code, said = make("webhook-secret", **operator)
    assert code == 0, said
    assert "Every receiver has a secret" in said
    assert "whsec_" not in said


def test_where_traffic_moves_at_once_there_is_nothing_to_release(operator: dict[str, str]) -> None:
    code, said = make("release", **operator)
    assert code == 0, said
    assert "all-at-once" in said


def test_the_cost_of_uploads_is_printed(operator: dict[str, str]) -> None:
    code, said = make("cost", **operator)
    assert code == 0, said
    assert said.count("**total**") >= 2


def test_a_report_is_cut_to_what_a_comment_takes(operator: dict[str, str]) -> None:
    code, said = make("plan", "LIMIT=21000", **operator)
    assert code == 0, said
    assert "Plan of local" in said
