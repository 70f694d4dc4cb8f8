"""The monitoring that a construct declares: alarms, rows of the dashboard, queries of its logs.

A construct that is monitored has `Monitored` as a base class and declares beside its resources, as data. `Monitoring`
and `Queries` take a list of such constructs and make the resources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from constructs import Construct

from modules.alarms import PERIOD, Alarm, Metric
from modules.names import address_of


@dataclass(frozen=True)
class Graph:
    """Metrics over time in one widget of the dashboard.

    Attributes:
        unit: label of the axis.
        limit: threshold of an alarm, drawn as a line.
        period: in seconds.
    """

    title: str
    metrics: Sequence[Metric]
    unit: str = ""
    limit: int | None = None
    period: int = PERIOD


@dataclass(frozen=True)
class Row:
    """A row of the dashboard. Rows with one title become one row, and their graphs with one title become one graph.

    Attributes:
        at_top: shown above the other rows.
    """

    title: str
    graphs: Sequence[Graph]
    at_top: bool = False


@dataclass(frozen=True)
class LogQuery:
    """A query of CloudWatch Logs Insights. Queries with one name are saved as one query of all their log groups.

    Attributes:
        name: in lower case with dashes.
        lines: commands of the query.
        log_groups: names of the log groups.
    """

    name: str
    lines: Sequence[str]
    log_groups: Sequence[str] = ()

    def of(self, *log_groups: str) -> LogQuery:
        """Return the same query of these log groups."""
        return replace(self, log_groups=log_groups)


class Monitored:
    """A construct that declares its monitoring. It declares nothing by default."""

    def alarms(self) -> Sequence[Alarm]:
        """Return the alarms of the construct. Each has a section in docs/operations.md."""
        return ()

    def dashboard_rows(self) -> Sequence[Row]:
        """Return the rows of the dashboard that show the construct."""
        return ()

    def log_queries(self) -> Sequence[LogQuery]:
        """Return the saved queries of the logs of the construct. Each is named in docs/operations.md."""
        return ()


@cache  # each question to a construct is a round trip to Node.js
def label_of(construct: Construct) -> str:
    """Return the path of a construct in its stack, joined with underscores as in its address."""
    return address_of(construct.node.path)


def title_of(construct: Construct) -> str:
    """Return the name of a construct on the dashboard."""
    return label_of(construct).replace("_", " ")
