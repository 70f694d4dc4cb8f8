"""Reads the state machine: the states that an upload enters, their writes of the record, and how they retry."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from functions.common.contract import NextStep

FILES, QUOTAS = "metadata_files", "metadata_quotas"
# Answers of the choices for a file without trouble, and for one whose scan is not over.
OPENS = (NextStep.OPEN,)
WAITS = (NextStep.WAIT_FOR_SCAN,)
# An error that only a busy service raises; its retrier is the one that throttling meets.
THROTTLED = "DynamoDB.ThrottlingException"


def states_entered(definition: Mapping[str, Any], answers: Sequence[str]) -> list[str]:
    """Return the states that a run without failures enters, where each choice meets an answer or its default.

    Args:
        answers: values that choices compare with.

    Raises:
        ValueError: the path does not end well, or has a state with branches, which are not counted.
    """
    entered: list[str] = []
    name = definition["StartAt"]
    while True:
        if name in entered:
            raise ValueError(f"the workflow comes back to {name}")
        entered.append(name)
        state = definition["States"][name]
        if state["Type"] == "Fail":
            raise ValueError(f"the workflow fails in {name}")
        if state["Type"] == "Succeed" or state.get("End"):
            return entered
        if state["Type"] in {"Parallel", "Map"}:
            raise ValueError(f"{name} has branches, which are not counted")
        if state["Type"] == "Choice":
            taken = [choice["Next"] for choice in state["Choices"] if choice.get("StringEquals") in answers]
            name = taken[0] if taken else state["Default"]
        else:
            name = state["Next"]


@dataclass(frozen=True)
class Write:
    """A write of an item, which counts twice in a transaction, and the writes of indexes that follow.

    An index is written once where an entry comes or goes or its projection changes, and twice where its key changes
    (DynamoDB, "Provisioned throughput considerations for Global Secondary Indexes").

    Attributes:
        table: address of the table.
        indexes: writes by the name of the index.
    """

    what: str
    table: str
    in_transaction: bool = False
    indexes: Mapping[str, int] = field(default_factory=dict)

    def units(self, there: Collection[str], record_bytes: int) -> int:
        """Return the write units.

        Args:
            there: names of the indexes that the table has.
        """
        item = math.ceil(record_bytes / 1024)
        return item * ((2 if self.in_transaction else 1) + sum(n for name, n in self.indexes.items() if name in there))


def updates(definition: Mapping[str, Any], entered: Sequence[str], indexes: Sequence[Mapping[str, Any]]) -> list[Write]:
    """Return the writes of the record in the states that a run enters.

    Args:
        indexes: the secondary indexes of the records' table, as Terraform has them.
    """
    states = [(name, definition["States"][name]) for name in entered]
    return [
        Write(name, FILES, indexes={each["name"]: index_writes(each, written(state)) for each in indexes})
        for name, state in states
        if str(state.get("Resource")).endswith(":dynamodb:updateItem")
    ]


def written(state: Mapping[str, Any]) -> frozenset[str]:
    """Return the attributes that a state's update of a record sets or removes."""
    parameters = state["Parameters"]
    names = parameters.get("ExpressionAttributeNames", {})
    expression = re.sub(r"\b(SET|REMOVE|ADD|DELETE)\b", ",", parameters["UpdateExpression"])
    found = (re.match(r"\s*([#\w]+)", clause) for clause in expression.split(","))
    return frozenset(names.get(match[1], match[1]) for match in found if match)


def index_writes(index: Mapping[str, Any], changed: frozenset[str]) -> int:
    """Return the writes of an index after an update: two where its key changes, one where its projection does.

    DynamoDB, "Provisioned throughput considerations for Global Secondary Indexes".
    """
    if {index["hash_key"], index.get("range_key")} & changed:
        return 2
    return int(index["projection_type"] == "ALL" or bool(set(index.get("non_key_attributes", [])) & changed))


@dataclass(frozen=True)
class Retries:
    """How the workflow retries a state that a busy service throttles.

    Attributes:
        interval: seconds before the first retry.
        attempts: number of retries.
        rate: factor of each delay to the one before.
        longest: seconds that no delay exceeds.
    """

    interval: int
    attempts: int
    rate: float
    longest: int

    @classmethod
    def of(cls, definition: Mapping[str, Any]) -> Retries:
        """Read the retrier that matches a throttled call.

        Raises:
            StopIteration: no state retries such an error.
        """
        retry = next(
            each
            for state in definition["States"].values()
            for each in state.get("Retry", [])
            if {THROTTLED, "States.ALL"} & set(each["ErrorEquals"])
        )
        return cls(
            retry["IntervalSeconds"], retry["MaxAttempts"], retry["BackoffRate"], retry.get("MaxDelaySeconds", 10**6)
        )

    @property
    def delays(self) -> list[int]:
        """Seconds before each retry."""
        return [min(self.longest, round(self.interval * self.rate**number)) for number in range(self.attempts)]
