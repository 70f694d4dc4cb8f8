"""`make cost` prints the tables of docs/cost.md for an environment, and a test holds that page equal to them."""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modules.settings import Settings
from synthesis.paths import ROOT
from tools.capacity.assumptions import Assumptions
from tools.capacity.bill import (
    MILLION,
    SWEEPER_DAYS,
    THOUSAND,
    Line,
    Workload,
    downloads,
    kept,
    life,
    lines,
    standing,
    total,
)
from tools.capacity.platform import Platform, platform
from tools.develop.pages import fill
from tools.operate.account import read_settings
from tools.operate.console import exit_with, step
from tools.operate.prices import prices
from tools.operate.synthesize import synthesize, terraform_json

PAGE = ROOT / "docs" / "cost.md"


def money(dollars: float) -> str:
    """Format dollars and cents; less than half a cent is 0.00."""
    return f"{dollars:,.2f}"


def amount(quantity: float) -> str:
    """Format a quantity with as many digits as a reader needs."""
    return f"{quantity:,.0f}" if quantity >= 100 else f"{quantity:,.2f}".rstrip("0").rstrip(".")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown; columns of numbers are to the right."""
    body = [list(row) for row in rows]
    right = [all(re.fullmatch(r"[+-]?[\d,.]+", row[i]) for row in body) for i in range(len(head))]
    rule = ["---:" if each else "---" for each in right]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [list(head), rule, *body])


def bill_table(billed: Sequence[Line]) -> str:
    """Return a table of lines and their sum."""
    rows = [
        [
            line.service,
            line.item,
            amount(line.quantity),
            f"{prices()[line.price].unit}",
            line.counted,
            money(line.dollars),
        ]
        for line in billed
    ]
    return table(
        ["service", "item", "quantity", "unit", "counted", "dollars"],
        [*rows, ["**total**", "", "", "", "", money(total(billed))]],
    )


@dataclass(frozen=True)
class Change:
    """A setting, or a choice of the design, and the same bill with another value of it."""

    name: str
    words: str
    settings: Settings
    found: Platform
    assumed: Assumptions
    part_bytes: int | None = None

    def total(self, load: Workload) -> float:
        """Dollars of the uploads, without what comes after."""
        load = load if load.is_small else replace(load, part_bytes=self.part_bytes)
        return total(lines(load, self.settings, self.found, self.assumed))


def changes(settings: Settings, found: Platform, assumed: Assumptions) -> list[Change]:
    """Return what each setting does to the bill of an environment."""

    def change(name: str, words: str, **changed: object) -> Change:
        return Change(name, words, settings.model_copy(update=changed), found, assumed)

    def design(name: str, words: str, **changed: Any) -> Change:  # noqa: ANN401 - fields of Platform
        return Change(name, words, settings, replace(found, **changed), assumed)

    def other(name: str, words: str, **changed: Any) -> Change:  # noqa: ANN401 - fields of Assumptions
        return Change(name, words, settings, found, replace(assumed, **changed))

    scanning, xray, waf = found.scanning, settings.enable_xray_tracing, settings.enable_waf
    memory = settings.lambda_memory_size
    doubled = replace(found, memory={name: 2 * size for name, size in found.memory.items()})
    return [
        design("MALWARE_SCANNING", _flip(scanning), scanning=not scanning),
        change("ENABLE_XRAY_TRACING", _flip(xray), enable_xray_tracing=not xray),
        change("ENABLE_WAF", _flip(waf), enable_waf=not waf),
        change("LOG_RETENTION_DAYS", f"{settings.log_retention_days} to 7", log_retention_days=7),
        change("LAMBDA_ARCHITECTURE", "arm64 to x86_64", lambda_architecture="x86_64"),
        Change("LAMBDA_MEMORY_SIZE", f"{memory} to {2 * memory}, no faster", settings, doubled, assumed),
        change("REPLICA_REGION", "none to us-west-2", replica_region="us-west-2")
        if settings.replica_region is None
        else change("REPLICA_REGION", f"{settings.replica_region} to none", replica_region=None),
        # All functions have the memory of LAMBDA_MEMORY_SIZE, and a platform without webhooks has no function for them.
        design(
            "WEBHOOK_URLS",
            "one more",
            webhooks=found.webhooks + 1,
            memory={**found.memory, "webhooks": settings.lambda_memory_size},
        ),
        other("a client that polls", "5 questions instead of 1", status_calls=5),
        design("bucket keys", "off", bucket_keys=False),
        design("the workflow", "Express", express=True),
        Change("part size", "8 MiB to 64 MiB", settings, found, assumed, 64 * 2**20),
        Change("part size", "8 MiB to 1 GiB", settings, found, assumed, 2**30),
    ]


def _flip(on: bool) -> str:
    return "on to off" if on else "off to on"


def tables(settings: Settings, found: Platform, assumed: Assumptions) -> dict[str, str]:
    """Return every table of docs/cost.md by its name."""
    loads = {"million": MILLION, "thousand": THOUSAND}
    bills = {name: lines(load, settings, found, assumed) for name, load in loads.items()}
    months = [
        [
            load.name,
            amount(load.gigabytes),
            *(money(prices()[kind].of(load.gigabytes)) for kind in ("s3_standard", "s3_infrequent")),
        ]
        for load in loads.values()
    ]
    fetched = [
        [
            load.name,
            *(
                money(total(downloads(load, settings, found, assumed, infrequent=infrequent)))
                for infrequent in (False, True)
            ),
            money(prices()["data_out"].of(load.gigabytes)),
        ]
        for load in loads.values()
    ]
    days = settings.s3_lifecycle_expiration_days + SWEEPER_DAYS
    moved = [
        [
            words,
            *(
                f"{kept(size, 1000, days, transition=after):,.4f}"
                for after in (None, settings.s3_lifecycle_transition_days)
            ),
        ]
        for words, size in {"100 kB": 10**5, "500 kB": 5 * 10**5, "1 MB": 10**6, "10 MB": 10**7, "1 GB": 10**9}.items()
    ]
    effects = [
        [change.name, change.words, *(signed(change.total(load) - total(bills[name])) for name, load in loads.items())]
        for change in changes(settings, found, assumed)
    ]
    listed = [
        [
            name,
            f"{price.dollars:.10f}".rstrip("0").rstrip("."),
            f"{price.per:,} {price.unit}",
            price.page,
            price.section,
        ]
        for name, price in prices().items()
    ]
    return {
        **{name: bill_table(lines) for name, lines in bills.items()},
        "month": table(["files", "GB", "STANDARD, a month", "STANDARD_IA, a month"], months),
        **{f"life of a {name}": bill_table(life(load, settings, found, assumed)) for name, load in loads.items()},
        "downloads": table(["files", "from STANDARD", "from STANDARD_IA", "of that, data transfer out"], fetched),
        "transition": table(["1,000 files of", "STANDARD only", "with the transition"], moved),
        "standing": bill_table(standing(settings, found, assumed)),
        "settings": table(["setting", "change", *(load.name for load in loads.values())], effects),
        "prices": table(["price", "dollars", "for", "page", "section"], listed),
    }


def signed(dollars: float) -> str:
    """Format dollars more or less."""
    return f"{dollars:+,.2f}" if abs(dollars) >= 0.005 else "0.00"


def main() -> None:
    """Print the tables, or write them into docs/cost.md."""
    parser = argparse.ArgumentParser(prog="python -m tools.capacity.cost", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the tables of prod into docs/cost.md")
    options = parser.parse_args()
    if options.write:
        os.environ["ENVIRONMENT"] = "prod"  # the environment of the page
    settings = read_settings()
    with step("synthesis"), tempfile.TemporaryDirectory() as folder:
        found = platform(terraform_json(synthesize(Path(folder), {})))
    for name, text in tables(settings, found, Assumptions()).items():
        if options.write:
            fill(PAGE, name, text.split("\n"))
        else:
            print(f"\n{name}\n\n{text}")


if __name__ == "__main__":
    exit_with(main)
