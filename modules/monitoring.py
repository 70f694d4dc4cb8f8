"""The alarms of an environment and its dashboard, from the declarations of its constructs (`modules/monitored.py`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cdktf_cdktf_provider_aws.cloudwatch_dashboard import CloudwatchDashboard
from constructs import Construct

from modules.alarms import Alarms, AlertTopic
from modules.foundation import Foundation
from modules.monitored import Graph, Monitored, Row
from modules.policy_documents import Statement

_KEEP = ("cloudwatch:DeleteDashboards", "cloudwatch:GetDashboard", "cloudwatch:PutDashboard")


class Monitoring(Alarms):
    """The alarms of an environment, and the dashboard that shows them first.

    Attributes:
        dashboard_name: name of the dashboard.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        foundation: Foundation,
        alerts: AlertTopic,
        monitored: Sequence[Monitored],
    ) -> None:
        """
        Args:
            alerts: where alarms go.
            monitored: constructs in the order of their alarms and of their rows on the dashboard.
        """
        super().__init__(scope, construct_id, foundation=foundation, alerts=alerts)
        for construct in monitored:
            for alarm in construct.alarms():
                self.create(alarm)
        rows = _merged([row for construct in monitored for row in construct.dashboard_rows()])
        widgets = [
            [_alarms_widget([alarm.arn for alarm in self.created.values()])],
            *([_metrics_widget(row, graph, foundation.region) for graph in row.graphs] for row in rows),
        ]
        dashboard = CloudwatchDashboard(
            self,
            "dashboard",
            dashboard_name=foundation.prefix,
            dashboard_body=json.dumps({"widgets": _placed(widgets)}),
        )
        self.dashboard_name = dashboard.dashboard_name

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for alarms and for the dashboard."""
        dashboard = f"arn:aws:cloudwatch::{self._foundation.account_id}:dashboard/{self._foundation.prefix}"
        return [*super().deployer_statements(), Statement(sid="KeepDashboard", actions=_KEEP, resources=[dashboard])]


def _merged(rows: Sequence[Row]) -> list[Row]:
    """Return rows with one title as one row, and their graphs with one title as one graph with the metrics of all."""
    merged: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: not row.at_top):
        graphs = {graph.title: graph for graph in merged[row.title].graphs} if row.title in merged else {}
        for graph in row.graphs:
            earlier = graphs[graph.title].metrics if graph.title in graphs else ()
            graphs[graph.title] = replace(graph, metrics=[*earlier, *graph.metrics])
        merged[row.title] = replace(row, graphs=list(graphs.values()))
    return list(merged.values())


@dataclass(frozen=True)
class _Widget:
    """One widget of the dashboard (CloudWatch API, "Dashboard body structure and syntax")."""

    kind: str
    properties: Mapping[str, object]
    height: int = 6


def _alarms_widget(arns: Sequence[str]) -> _Widget:
    """Return the widget of all alarms; those that changed last come first."""
    properties = {"title": "Alarms", "alarms": list(arns), "sortBy": "stateUpdatedTimestamp"}
    return _Widget("alarm", properties, height=2 + len(arns) // 6)


def _metrics_widget(row: Row, graph: Graph, region: str) -> _Widget:
    """Return the widget of a graph."""
    properties: dict[str, object] = {
        "title": f"{row.title}: {graph.title}",
        "region": region,
        "view": "timeSeries",
        "period": graph.period,
        "metrics": [
            [metric.namespace, metric.name]
            + [part for dimension in metric.dimensions.items() for part in dimension]
            + [{"stat": metric.statistic, "label": metric.label or metric.name}]
            for metric in graph.metrics
        ],
        "yAxis": {"left": {"min": 0, "label": graph.unit, "showUnits": False}},
    }
    if graph.limit is not None:
        properties["annotations"] = {"horizontal": [{"label": "alarm", "value": graph.limit}]}
    return _Widget("metric", properties)


def _placed(rows: Sequence[Sequence[_Widget]]) -> list[dict[str, object]]:
    """Return the widgets of rows, one row below the other; those of a row share the 24 columns evenly."""
    placed: list[dict[str, object]] = []
    top = 0
    for widgets in rows:
        width = 24 // len(widgets)
        for index, widget in enumerate(widgets):
            placed.append(
                {
                    "type": widget.kind,
                    "x": index * width,
                    "y": top,
                    "width": width,
                    "height": widget.height,
                    "properties": widget.properties,
                }
            )
        top += max(widget.height for widget in widgets)
    return placed
