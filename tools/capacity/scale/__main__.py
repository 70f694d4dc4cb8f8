"""`make scale`: prints the tables of docs/scale.md for an environment, or writes them into it.

`python -m tools.capacity.scale [--write] [--without-simulation]`; ENVIRONMENT names the environment, `prod` by default.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from synthesis.paths import ROOT
from tools.capacity.scale import quotas, simulation
from tools.capacity.scale.model import Assumptions, Platform, bill, ceilings, raised_for, to_raise
from tools.develop.pages import fill
from tools.operate.console import exit_with, say
from tools.operate.synthesize import synthesize

PAGE = ROOT / "docs" / "scale.md"
RATES = (10, 1_000, 50_000)
MANY_SHARDS = 256


@dataclass(frozen=True)
class Retries:
    """How often the workflow tries again: the settings step_functions_retry_interval and so on."""

    interval: int
    attempts: int
    rate: float

    @classmethod
    def of(cls, stack: Mapping[str, Any]) -> Retries:
        """Read them from the state machine, where they ended up."""
        (machine,) = stack["resource"]["aws_sfn_state_machine"].values()
        states = json.loads(machine["definition"])["States"].values()
        retry = next(
            each for state in states for each in state.get("Retry", []) if each["ErrorEquals"] == ["States.ALL"]
        )
        return cls(retry["IntervalSeconds"], retry["MaxAttempts"], retry["BackoffRate"])


def number(value: float) -> str:
    """A figure with four digits that count, and commas."""
    if value == float("inf"):
        return "-"
    if value >= 1000:
        return f"{float(f'{value:.4g}'):,.0f}"
    return f"{value:.4g}"


def ceilings_table(platform: Platform, assumed: Assumptions) -> list[str]:
    """Every quota, the first to give way at the top."""
    lines = [
        "| gives way at, uploads/s | quota | default | an upload takes | raised by | what Sluice does | AWS page |",
        "|---:|---|---:|---:|---|---|---|",
    ]
    for each in ceilings(platform, assumed):
        at = f"{number(each.uploads)} an owner" if each.each_owner else number(each.uploads)
        limit = number(each.quota.limit) + (f", {number(each.quota.burst)} at once" if each.quota.burst else "")
        lines.append(
            f"| {at} | {each.quota.what} | {limit} | {number(each.used)} | {each.quota.raised_by} | {each.answer} | "
            f"{each.quota.page} |"
        )
    return lines


def raise_table(platform: Platform, assumed: Assumptions) -> list[str]:
    """What to raise for each rate, in order, for both types of workflow."""
    lines = ["| uploads/s | workflow | in this order |", "|---:|---|---|"]
    for rate in RATES:
        for workflow in ("STANDARD", "EXPRESS"):
            variant = replace(platform, workflow=workflow)
            named = [
                f"{place}. {each.quota.what}: {number(each.quota.limit)} to {number(each.used_at(rate))}"
                + (" (no quota: the key needs more values)" if each.quota.raised_by == "design" else "")
                + (" (grows by use, or ahead of time on request)" if each.quota.raised_by == "use" else "")
                for place, each in enumerate(to_raise(variant, assumed, rate), start=1)
            ]
            lines.append(f"| {rate:,} | {workflow.capitalize()} | {'<br>'.join(named) or 'nothing'} |")
    return lines


def bill_table(platform: Platform, assumed: Assumptions) -> list[str]:
    """Dollars of a million small uploads, for both types of workflow."""
    sides = [
        {line.what: line for line in bill(replace(platform, workflow=workflow), assumed)}
        for workflow in ("STANDARD", "EXPRESS")
    ]
    prices = {what: line.price for side in sides for what, line in side.items()}
    lines = ["| a million uploads | Standard, $ | Express, $ | AWS page |", "|---|---:|---:|---|"]
    for what in sorted(prices, key=lambda what: -max(side[what].dollars for side in sides if what in side)):
        cells = [number(side[what].dollars * 1e6) if what in side else "" for side in sides]
        lines.append(f"| {what} | {cells[0]} | {cells[1]} | {prices[what].page} |")
    totals = [number(sum(line.dollars for line in side.values()) * 1e6) for side in sides]
    return [*lines, f"| **together** | **{totals[0]}** | **{totals[1]}** | |"]


def steps_table(platform: Platform, assumed: Assumptions) -> list[str]:
    """Where a unit becomes cheaper, and how many uploads a second all month long that is."""
    takes = {line.what: line.units for line in bill(replace(platform, workflow="EXPRESS"), assumed)}
    units = {
        "API Gateway requests": takes["API Gateway request"],
        "Lambda GB-seconds, arm64": takes["Lambda GB-seconds"],
        "Step Functions Express GB-seconds": takes["Step Functions GB-seconds"],
    }
    lines = ["| unit | from, a month | uploads/s all month | then a million costs, $ |", "|---|---:|---:|---:|"]
    for what, beginning, dollars in quotas.STEPS:
        rate = beginning / units[what] / (30 * simulation.DAY)
        lines.append(f"| {what} | {number(beginning)} | {number(rate)} | {number(dollars * 1e6)} |")
    return lines


def simulation_table(platform: Platform, assumed: Assumptions, retries: Retries) -> list[str]:
    """A day of bursts at each rate, as deployed and with what has to be raised."""
    lines = [
        "| peak, uploads/s | quotas and settings | workflow | uploads | ended | tries throttled | "
        "most waiting at once | last end after the day, s | $ |",
        "|---:|---|---|---:|---|---|---|---:|---:|",
    ]
    shards = replace(assumed, index_keys=dict.fromkeys(assumed.index_keys, MANY_SHARDS))
    variants: Sequence[tuple[str, str, Assumptions]] = (
        ("as deployed", "STANDARD", assumed),
        ("throttle alone raised", "STANDARD", assumed),
        ("raised in order", "STANDARD", assumed),
        ("raised in order", "EXPRESS", assumed),
        (f"raised, {MANY_SHARDS} keys an index", "EXPRESS", shards),
    )
    for peak in RATES:
        arrivals = simulation.day_of_bursts(peak)
        for name, workflow, assumptions in variants:
            variant = replace(platform, workflow=workflow)  # type: ignore[arg-type]
            raised = raised_for(variant, assumptions, peak)
            if name == "as deployed":
                raised = {}
            elif name == "throttle alone raised":
                raised = {quota: factor for quota, factor in raised.items() if "throttle" in quota and "stage" in quota}
            if name != "as deployed" and (not raised or (assumptions is shards and peak < RATES[-1])):
                continue
            outcome = simulation.simulate(
                simulation.path(
                    variant,
                    assumptions,
                    retry_interval=retries.interval,
                    retry_attempts=retries.attempts,
                    retry_rate=retries.rate,
                    raised=raised,
                ),
                arrivals,
            )
            lines.append(_row(peak, name, workflow, outcome))
    return lines


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


def model_tables(stack: Mapping[str, Any]) -> dict[str, list[str]]:
    """The tables of the page that the model computes, by the name of their place."""
    platform, assumed = Platform.of(stack), Assumptions()
    return {
        "ceilings": ceilings_table(platform, assumed),
        "raise": raise_table(platform, assumed),
        "bill": bill_table(platform, assumed),
        "steps": steps_table(platform, assumed),
    }


def main() -> None:
    """Print the tables, or write them."""
    parser = argparse.ArgumentParser(prog="python -m tools.capacity.scale", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write them into docs/scale.md")
    parser.add_argument("--without-simulation", action="store_true", help="the model alone, which takes a second")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        variables = {"ENVIRONMENT": os.environ.get("ENVIRONMENT") or "prod"}
        stack = json.loads((synthesize(Path(folder), variables) / "cdk.tf.json").read_text())
    tables = model_tables(stack)
    if not options.without_simulation:
        tables["simulation"] = simulation_table(Platform.of(stack), Assumptions(), Retries.of(stack))
    for name, lines in tables.items():
        if options.write:
            fill(PAGE, name, lines)
        else:
            say("\n".join([*lines, ""]))


if __name__ == "__main__":
    exit_with(main)
