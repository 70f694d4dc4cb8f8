"""docs/scale.md says what the model computes from the Terraform JSON of prod, and agrees with docs/cost.md."""

from __future__ import annotations

import pytest

from tests.synth.conftest import Synthesized, settings_of
from tools.capacity import cost
from tools.capacity.assumptions import Assumptions
from tools.capacity.platform import platform
from tools.capacity.scale import PAGE, model_tables, simulation_table
from tools.develop.pages import part

REMEDY = "run `make scale WRITE=1`, then read the difference"


def test_the_tables_are_what_the_model_says(prod: Synthesized) -> None:
    for name, lines in model_tables(platform(prod.json), settings_of("prod")).items():
        assert part(PAGE, name) == lines, REMEDY


def test_both_pages_say_the_same_of_a_million_uploads() -> None:
    """Every line that costs anything is on both pages, with the same dollars."""
    million = "\n".join(part(cost.PAGE, "million"))
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in million.splitlines()[2:]]
    of_cost = {f"{row[0]}: {row[1]}": row[-1] for row in rows[:-1]}
    table = [[cell.strip() for cell in row.strip("|").split("|")] for row in part(PAGE, "bill")[2:]]
    of_scale = {row[0]: row[1] for row in table[:-1] if row[1]}
    assert of_scale == {name: dollars for name, dollars in of_cost.items() if dollars != "0.00"}
    assert table[-1][1] == f"**{rows[-1][-1]}**"


@pytest.mark.slow
def test_the_table_of_the_day_of_bursts_is_what_the_simulation_says(prod: Synthesized) -> None:
    lines = simulation_table(platform(prod.json), settings_of("prod"), Assumptions())
    assert part(PAGE, "simulation") == lines, REMEDY
