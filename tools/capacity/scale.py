"""`make scale`: prints the tables of docs/scale.md for an environment, or writes them into it.

`python -m tools.capacity.scale [--write] [--without-simulation]`. ENVIRONMENT names the environment, `prod` by default.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from modules.settings import Settings
from modules.settings import load as load_settings
from synthesis.paths import ROOT
from tools.capacity import quotas, simulation
from tools.capacity.assumptions import Assumptions
from tools.capacity.bill import MILLION, lines, total
from tools.capacity.ceilings import ceilings, raised_for, to_raise
from tools.capacity.cost import money
from tools.capacity.platform import Platform, platform
from tools.develop.pages import fill
from tools.operate.console import exit_with, say
from tools.operate.prices import prices
from tools.operate.synthesize import synthesize, terraform_json

PAGE = ROOT / "docs" / "scale.md"
RATES = (10, 1_000, 50_000)
MANY_SHARDS = 256


def number(value: float) -> str:
    """Format a figure with four significant digits and commas."""
    if value == float("inf"):
        return "-"
    if value >= 1000:
        return f"{float(f'{value:.4g}'):,.0f}"
    return f"{value:.4g}"


def ceilings_table(found: Platform, assumed: Assumptions) -> list[str]:
    """Return every quota, the first to be reached at the top."""
    rows = [
        "| gives way at, uploads/s | quota | default | an upload takes | raised by | what Sluice does | AWS page |",
        "|---:|---|---:|---:|---|---|---|",
    ]
    for each in ceilings(found, assumed):
        at = f"{number(each.uploads)} an owner" if each.each_owner else number(each.uploads)
        limit = number(each.quota.limit) + (f", {number(each.quota.burst)} at once" if each.quota.burst else "")
        rows.append(
            f"| {at} | {each.quota.what} | {limit} | {number(each.used)} | {each.quota.raised_by} | {each.answer} | "
            f"{each.quota.page} |"
        )
    return rows


def raise_table(found: Platform, assumed: Assumptions) -> list[str]:
    """Return what to raise for each rate, in order, for both types of workflow."""
    rows = ["| uploads/s | workflow | in this order |", "|---:|---|---|"]
    for rate in RATES:
        for workflow in ("STANDARD", "EXPRESS"):
            variant = replace(found, express=workflow == "EXPRESS")
            named = [
                f"{place}. {each.quota.what}: {number(each.quota.limit)} to {number(each.used_at(rate))}"
                + (" (no quota: the key needs more values)" if each.quota.raised_by == "design" else "")
                + (" (grows by use, or ahead of time on request)" if each.quota.raised_by == "use" else "")
                for place, each in enumerate(to_raise(variant, assumed, rate), start=1)
            ]
            rows.append(f"| {rate:,} | {workflow.capitalize()} | {'<br>'.join(named) or 'nothing'} |")
    return rows


def bill_table(found: Platform, settings: Settings, assumed: Assumptions) -> list[str]:
    """Return the lines of the bill of docs/cost.md that cost anything, for both types of workflow."""
    sides = [
        {(line.service, line.item): line for line in lines(MILLION, settings, replace(found, express=express), assumed)}
        for express in (False, True)
    ]
    shown = {key: line.price for side in sides for key, line in side.items() if line.dollars}
    table = ["| a million uploads | Standard, $ | Express, $ | AWS page |", "|---|---:|---:|---|"]
    for key in sorted(shown, key=lambda key: -max(side[key].dollars for side in sides if key in side)):
        cells = [money(side[key].dollars) if key in side else "" for side in sides]
        table.append(f"| {': '.join(key)} | {cells[0]} | {cells[1]} | {prices()[shown[key]].page} |")
    totals = [money(total(side.values())) for side in sides]
    return [*table, f"| **total** | **{totals[0]}** | **{totals[1]}** | |"]


def steps_table(found: Platform, settings: Settings, assumed: Assumptions) -> list[str]:
    """Return where a unit becomes cheaper, and the rate of uploads that reaches it in a month."""
    bill = lines(MILLION, settings, replace(found, express=True), assumed)
    table = ["| unit | from, a month | uploads/s all month | then a million costs, $ |", "|---|---:|---:|---:|"]
    for name, price in prices().items():
        units = sum(line.quantity for line in bill if line.price == name) / MILLION.files
        for tier in price.then if units else ():
            rate = tier.above / units / (30 * simulation.DAY)
            dollars = tier.dollars / price.per * 1e6
            table.append(
                f"| {price.page}: {price.section} | {number(tier.above)} | {number(rate)} | {number(dollars)} |"
            )
    return table


def simulation_table(found: Platform, settings: Settings, assumed: Assumptions) -> list[str]:
    """Return a day of bursts at each rate, as deployed and with what has to be raised."""
    rows = [
        "| peak, uploads/s | quotas and settings | workflow | uploads | ended | tries throttled | "
        "most waiting at once | last end after the day, s | $ |",
        "|---:|---|---|---:|---|---|---|---:|---:|",
    ]
    shards = replace(assumed, index_keys=dict.fromkeys(assumed.index_keys, MANY_SHARDS))
    variants: Sequence[tuple[str, str, Assumptions]] = (
        ("as deployed", "STANDARD", assumed),
        ("only the throttle raised", "STANDARD", assumed),
        ("raised in order", "STANDARD", assumed),
        ("raised in order", "EXPRESS", assumed),
        (f"raised, {MANY_SHARDS} keys an index", "EXPRESS", shards),
    )
    for peak in RATES:
        arrivals = simulation.day_of_bursts(peak)
        for name, workflow, assumptions in variants:
            variant = replace(found, express=workflow == "EXPRESS")
            raised = raised_for(variant, assumptions, peak)
            if name == "as deployed":
                raised = {}
            elif name == "only the throttle raised":
                raised = {quota: factor for quota, factor in raised.items() if quota == quotas.STAGE_THROTTLE}
            if name != "as deployed" and (not raised or (assumptions is shards and peak < RATES[-1])):
                continue
            outcome = simulation.simulate(
                simulation.steps_of_upload(variant, settings, assumptions, raised=raised),
                arrivals,
            )
            rows.append(_row(peak, name, workflow, outcome))
    return rows


def _row(peak: float, name: str, workflow: str, outcome: simulation.Outcome) -> str:
    ends = "<br>".join(f"{end} {count:,}" for end, count in sorted(outcome.ends.items()))
    met = [(step, passage) for step, passage in outcome.steps.items() if passage.throttled]
    throttled = "<br>".join(f"{step} {number(passage.throttled)}" for step, passage in met) or "none"
    waiting = "<br>".join(f"{step} {number(passage.most_waiting)}" for step, passage in met) or "none"
    after = max(0, outcome.last_end - simulation.DAY)
    return (
        f"| {peak:,} | {name} | {workflow.capitalize()} | {outcome.arrived:,} | {ends} | {throttled} | {waiting} | "
        f"{after:,} | {number(outcome.dollars)} |"
    )


def model_tables(found: Platform, settings: Settings) -> dict[str, list[str]]:
    """Return the tables of the page that need no simulation, by the name of their place."""
    assumed = Assumptions()
    return {
        "ceilings": ceilings_table(found, assumed),
        "raise": raise_table(found, assumed),
        "bill": bill_table(found, settings, assumed),
        "steps": steps_table(found, settings, assumed),
    }


def main() -> None:
    """Print the tables, or write them into docs/scale.md."""
    parser = argparse.ArgumentParser(prog="python -m tools.capacity.scale", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write them into docs/scale.md")
    parser.add_argument("--without-simulation", action="store_true", help="only the model, which takes a second")
    options = parser.parse_args()
    os.environ["ENVIRONMENT"] = os.environ.get("ENVIRONMENT") or "prod"
    with tempfile.TemporaryDirectory() as folder:
        found = platform(terraform_json(synthesize(Path(folder), {})))
    settings = load_settings(ROOT / "environments")
    tables = model_tables(found, settings)
    if not options.without_simulation:
        tables["simulation"] = simulation_table(found, settings, Assumptions())
    for name, table in tables.items():
        if options.write:
            fill(PAGE, name, table)
        else:
            say("\n".join([*table, ""]))


if __name__ == "__main__":
    exit_with(main)
