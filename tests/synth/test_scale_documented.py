"""docs/scale.md says what the model computes from the Terraform JSON of prod."""

from __future__ import annotations

import pytest

from tests.synth.conftest import Synthesized
from tools.capacity.scale.__main__ import PAGE, Retries, model_tables, simulation_table
from tools.capacity.scale.model import Assumptions, Platform
from tools.develop.pages import part

REMEDY = "run `make scale WRITE=1`, then read the difference"


def test_the_tables_are_what_the_model_says(prod: Synthesized) -> None:
    for name, lines in model_tables(prod.json).items():
        assert part(PAGE, name) == lines, REMEDY


@pytest.mark.slow
def test_the_table_of_the_day_of_bursts_is_what_the_simulation_says(prod: Synthesized) -> None:
    lines = simulation_table(Platform.of(prod.json), Assumptions(), Retries.of(prod.json))
    assert part(PAGE, "simulation") == lines, REMEDY
