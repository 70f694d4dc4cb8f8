"""AWS in memory, for the tests of functions. Only they pay for its imports."""

from __future__ import annotations

from tests.unit.memory import aws

__all__ = ["aws"]
