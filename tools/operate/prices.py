"""The AWS list prices in prices.toml: the one table that the plan report, `make cost` and `make scale` read."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PRICES = Path(__file__).with_name("prices.toml")


@dataclass(frozen=True)
class Tier:
    """A cheaper price within one month.

    Attributes:
        above: units in a month from which the price applies.
        dollars: price of as many units as the first tier's price is for.
    """

    above: float
    dollars: float


@dataclass(frozen=True)
class Price:
    """One list price: dollars for a number of units.

    Attributes:
        page: name of the AWS pricing page.
        section: what to look for on the page.
        dollars: price of `per` units in the first tier.
        up_to: units a month where the first tier ends, if it ends.
        then: later tiers.
    """

    page: str
    section: str
    dollars: float
    per: int
    unit: str
    up_to: int | None = None
    then: tuple[Tier, ...] = ()

    def of(self, quantity: float) -> float:
        """Return the dollars for a quantity.

        Raises:
            ValueError: the quantity is beyond the first tier.
        """
        if self.up_to is not None and quantity > self.up_to:
            raise ValueError(f"{self.section}: {quantity:,.0f} {self.unit} are beyond the first tier, {self.up_to:,}")
        return quantity * self.dollars / self.per


@cache
def prices(file: Path = PRICES) -> Mapping[str, Price]:
    """Return all prices by name."""
    return {
        name: Price(**{**fields, "then": tuple(Tier(**tier) for tier in fields.get("then", []))})
        for name, fields in tomllib.loads(file.read_text()).items()
        if isinstance(fields, dict)
    }
