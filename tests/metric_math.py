"""An evaluator of alarms as in CloudWatch: metric math and states, over data points of a test.

It knows the part of metric math that alarms here use, and refuses the rest. Sources, in the CloudWatch user guide:
"Using math expressions with CloudWatch metrics" and "Configuring how CloudWatch alarms treat missing data";
tests/unit/test_alarms.py holds their tables of examples against it.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

# Data points by period; a period that is not there has no data.
Series = Mapping[int, float]
State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]

_ARITHMETIC: Mapping[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISON: Mapping[type[ast.AST], Callable[[float, float], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_BREACHES: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


class UnknownSyntaxError(Exception):
    """The expression holds something that this evaluator does not know."""


def evaluate(  # noqa: C901 - one case for each kind of syntax
    expression: str, metrics: Mapping[str, Series], periods: Sequence[int], *, fills_empty: bool
) -> Series:
    """The time series of an expression.

    Args:
        metrics: data points by the id that the expression uses.
        periods: the periods that were asked for.
        fills_empty: whether FILL makes data points of a metric that has none at all. AWS does not say.

    Raises:
        UnknownSyntaxError: the expression is beyond this evaluator, or wrong.
    """

    def value(node: ast.expr) -> Series | float:
        match node:
            case ast.Constant(value=float() | int() as number):
                return number
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=float() | int() as number)):
                return -number
            case ast.Name(id=name) if name in metrics:
                return {period: metrics[name][period] for period in periods if period in metrics[name]}
            case ast.BinOp(left=left, op=kind, right=right) if type(kind) in _ARITHMETIC:
                return _combined(_ARITHMETIC[type(kind)], value(left), value(right))
            case ast.Compare(left=left, ops=[kind], comparators=[right]) if type(kind) in _COMPARISON:
                compare = _COMPARISON[type(kind)]
                return _combined(lambda a, b: float(compare(a, b)), value(left), value(right))
            case ast.Call(func=ast.Name(id="FILL"), args=[filled, filler]):
                return _filled(value(filled), value(filler), periods, fills_empty=fills_empty)
            case ast.Call(func=ast.Name(id="IF"), args=[condition, yes, no]):
                return _chosen(value(condition), value(yes), value(no))
        raise UnknownSyntaxError(ast.unparse(node))

    try:
        result = value(ast.parse(expression, mode="eval").body)
    except SyntaxError as error:
        raise UnknownSyntaxError(f"{expression}: {error}") from None
    if isinstance(result, (int, float)):
        raise UnknownSyntaxError(f"{expression}: a number, where an alarm needs a time series")
    return result


def _combined(apply: Callable[[float, float], float], left: Series | float, right: Series | float) -> Series | float:
    """Point by point; a missing value counts as 0, and a point that divides by zero is dropped."""
    if not isinstance(left, Mapping) and not isinstance(right, Mapping):
        return apply(left, right)
    periods = sorted({*(left if isinstance(left, Mapping) else ()), *(right if isinstance(right, Mapping) else ())})
    combined: dict[int, float] = {}
    for period in periods:
        try:
            combined[period] = apply(_at(left, period), _at(right, period))
        except ZeroDivisionError:
            continue
    return combined


def _at(value: Series | float, period: int) -> float:
    return value.get(period, 0) if isinstance(value, Mapping) else value


def _filled(filled: Series | float, filler: Series | float, periods: Sequence[int], *, fills_empty: bool) -> Series:
    if not isinstance(filled, Mapping) or isinstance(filler, Mapping):
        raise UnknownSyntaxError("FILL of anything but a time series with a number")
    return {period: filled.get(period, filler) for period in periods} if filled or fills_empty else {}


def _chosen(condition: Series | float, yes: Series | float, no: Series | float) -> Series:
    """Point by point of the condition; "Using IF expressions" says what a missing point of each becomes."""
    if not isinstance(condition, Mapping):
        raise UnknownSyntaxError("IF on a number")
    chosen: dict[int, float] = {}
    for period, truth in condition.items():
        if truth:
            chosen[period] = _at(yes, period)
        elif not isinstance(no, Mapping) or period in no:
            chosen[period] = _at(no, period)
    return chosen


def state(
    breaching: Sequence[bool | None],
    *,
    evaluation_periods: int,
    datapoints_to_alarm: int,
    missing: str,
    current: State = "OK",
) -> State:
    """The state of an alarm that sees these data points of its evaluation range, oldest first; None is missing.

    Where data is missing, CloudWatch looks further back than the evaluation periods, to the end of the range.

    Raises:
        UnknownSyntaxError: a way to treat missing data that no alarm here uses.
    """
    if missing not in {"notBreaching", "breaching", "ignore"}:
        raise UnknownSyntaxError(f"treat_missing_data = {missing!r}")
    real = [point for point in breaching if point is not None][-evaluation_periods:]
    lacking = evaluation_periods - len(real)
    bad = sum(real)
    if lacking and missing == "ignore":
        if bad >= datapoints_to_alarm:
            return "ALARM"
        return "OK" if not all(real) else current
    if missing == "breaching":
        bad += lacking
    return "ALARM" if bad >= datapoints_to_alarm else "OK"


@dataclass(frozen=True)
class Metric:
    """A metric as an alarm names it."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str
    period: int


# CloudWatch reads more data points than an alarm evaluates, so that it has some where data is missing. How many
# more, AWS says in an example alone: 5 for 3.
EXTRA_DATA_POINTS = 2


@dataclass(frozen=True)
class Alarm:
    """An alarm as it is in Terraform JSON."""

    metrics: Mapping[str, Metric]
    expression: str
    body: Mapping[str, Any]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Alarm:
        """Read an `aws_cloudwatch_metric_alarm`, on one metric or on an expression.

        Raises:
            ValueError: it returns no series, or more than one.
        """
        if "metric_query" not in body:
            statistic = body.get("statistic") or body["extended_statistic"]
            metric = Metric(body["namespace"], body["metric_name"], body["dimensions"], statistic, body["period"])
            return cls({"m": metric}, "m", body)
        (returned,) = (query for query in body["metric_query"] if query.get("return_data"))
        metrics = {
            query["id"]: Metric(
                query["metric"]["namespace"],
                query["metric"]["metric_name"],
                query["metric"].get("dimensions", {}),
                query["metric"]["stat"],
                query["metric"]["period"],
            )
            for query in body["metric_query"]
            if "metric" in query
        }
        return cls(metrics, returned["expression"], body)

    def series(self, data: Mapping[str, Series], periods: Sequence[int], *, fills_empty: bool) -> Series:
        """Return the values that the alarm compares with its threshold.

        Args:
            data: data points by name of the metric, or by name and operation as `SystemErrors GetItem`; a metric that
                is not there has none.
        """
        found = {}
        for query_id, metric in self.metrics.items():
            name = " ".join(
                [metric.name, *([metric.dimensions["Operation"]] if "Operation" in metric.dimensions else [])]
            )
            found[query_id] = data.get(name, {})
        return evaluate(self.expression, found, periods, fills_empty=fills_empty)

    def state(
        self,
        data: Mapping[str, Series],
        now: int,
        *,
        fills_empty: bool = True,
        current: State = "OK",
        missing: str = "",
    ) -> State:
        """The state of the alarm once period `now` is over.

        Args:
            missing: what missing data counts as, if not what the alarm says.
        """
        wanted = self.body["evaluation_periods"]
        periods = range(now - wanted - EXTRA_DATA_POINTS + 1, now + 1)
        points = self.series(data, periods, fills_empty=fills_empty)
        breaches = _BREACHES[self.body["comparison_operator"]]
        return state(
            [breaches(points[period], self.body["threshold"]) if period in points else None for period in periods],
            evaluation_periods=wanted,
            datapoints_to_alarm=self.body.get("datapoints_to_alarm", wanted),
            missing=missing or self.body["treat_missing_data"],
            current=current,
        )

    def history(
        self, data: Mapping[str, Series], until: int, *, fills_empty: bool = True, missing: str = ""
    ) -> list[State]:
        """The state after each period from 0 on, each kept where the next one keeps it."""
        states: list[State] = []
        current: State = "INSUFFICIENT_DATA"
        for now in range(until):
            current = self.state(data, now, fills_empty=fills_empty, current=current, missing=missing)
            states.append(current)
        return states
