"""docs/cost.md is what tools/capacity/bill.py counts of the Terraform JSON of prod."""

from __future__ import annotations

import json
import re

import pytest

from tests.synth.conftest import Synthesized, settings_of
from tools.capacity import bill, cost
from tools.capacity.assumptions import Assumptions
from tools.capacity.platform import platform, runs_a_month
from tools.capacity.workflow import OPENS, states_entered
from tools.develop.pages import part


def test_the_page_has_the_tables_as_they_are_now(prod: Synthesized) -> None:
    tables = cost.tables(settings_of("prod"), platform(prod.json), Assumptions())
    assert set(re.findall(r"<!-- ([\w ]+): written by ", cost.PAGE.read_text())) == set(tables)
    for name, table in tables.items():
        assert part(cost.PAGE, name) == table.split("\n"), "run `make cost WRITE=1`, then read the difference"


def test_the_path_that_is_paid_for_opens_and_announces(stack: Synthesized) -> None:
    (machine,) = stack.resources("aws_sfn_state_machine").values()
    entered = states_entered(json.loads(machine["definition"]), OPENS)
    assert {"Inspect", "MakeAvailable", "Announce", "Done"} <= set(entered)
    assert platform(stack.json).states == len(entered)


def test_writes_are_of_tables_and_indexes_that_are_there(stack: Synthesized) -> None:
    found = platform(stack.json)
    for write in (*bill.START_IN_PARTS, *found.opens, *found.waits, *bill.END):
        assert set(write.indexes) <= found.indexes[write.table], write.what


def test_every_function_that_is_paid_for_is_there(stack: Synthesized) -> None:
    memory = platform(stack.json).memory
    assert {"uploads", "files", "inspect", "discard", "sweep"} <= set(memory)
    assert set(memory.values()) == {settings_of("prod").lambda_memory_size}


def test_a_schedule_of_another_form_is_no_guess() -> None:
    assert runs_a_month("rate(15 minutes)") == 2920
    assert runs_a_month("rate(1 hour)") == 730
    with pytest.raises(ValueError, match="another form"):
        runs_a_month("cron(0 * * * ? *)")
