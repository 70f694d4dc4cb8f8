"""The evaluator of alarms says what the tables of the CloudWatch user guide say."""

from __future__ import annotations

import pytest

from tests.metric_math import Series, State, UnknownSyntaxError, evaluate, state

PERIODS = range(5)


def series(text: str) -> Series:
    """Data points as the user guide writes them: numbers, and `-` where there is none."""
    return {period: float(point) for period, point in enumerate(text.split()) if point != "-"}


@pytest.mark.parametrize(
    ("expression", "metrics", "expected"),
    [
        # "Comparison and logical operators"
        ("metric1 < metric2", {"metric1": "30 20 0 0", "metric2": "20 - 20 -"}, "0 0 1 0"),
        ("metric1 >= 30", {"metric1": "30 20 0 0"}, "1 0 0 0"),
        # "Using IF expressions"
        (
            "IF(metric1, metric2, metric3)",
            {"metric1": "1 1 0 0 -", "metric2": "30 - 0 0 30", "metric3": "0 0 20 - 20"},
            "30 0 20 - -",
        ),
        ("IF(metric1, 5, metric3)", {"metric1": "1 1 0 0 -", "metric3": "0 0 20 - 20"}, "5 5 20 - -"),
        ("IF(metric1, metric2, 5)", {"metric1": "1 1 0 0 -", "metric2": "30 - 0 0 30"}, "30 0 5 5 -"),
        # "Basic arithmetic functions": missing values are 0, a division by zero is dropped
        ("m1 + m2", {"m1": "1 - 3 -", "m2": "10 20 - -"}, "11 20 3 -"),
        ("m1 / m2", {"m1": "1 2 3 -", "m2": "2 0 - 5"}, "0.5 - - 0"),
        ("100 * m1 - 1", {"m1": "1 - 2"}, "99 - 199"),
        # "FILL"
        ("FILL(m1, 10)", {"m1": "1 - 3 - -"}, "1 10 3 10 10"),
    ],
)
def test_metric_math_is_as_documented(expression: str, metrics: dict[str, str], expected: str) -> None:
    found = evaluate(expression, {name: series(text) for name, text in metrics.items()}, PERIODS, fills_empty=True)
    assert found == series(expected)


def test_fill_of_a_metric_without_data_is_either() -> None:
    assert evaluate("FILL(m1, 0)", {"m1": {}}, PERIODS, fills_empty=True) == dict.fromkeys(PERIODS, 0)
    assert evaluate("FILL(m1, 0)", {"m1": {}}, PERIODS, fills_empty=False) == {}


@pytest.mark.parametrize(
    "expression",
    ["m2", "FILL(1, 0)", "FILL(m1, REPEAT)", "fill(m1, 0)", "IF(1, m1, 0)", "IF(m1, 0)", "SUM(METRICS())", "1 + 1"]
    + ["m1 AND m1", "m1 < 2 < 3", "m1 ** 2", "m1 +"],
)
def test_what_the_evaluator_does_not_know_is_refused(expression: str) -> None:
    with pytest.raises(UnknownSyntaxError):
        evaluate(expression, {"m1": {0: 1}}, PERIODS, fills_empty=True)


KEPT = "Retain current state"


@pytest.mark.parametrize(
    ("points", "datapoints", "ignore", "breaching", "not_breaching"),
    [
        # "How alarm state is evaluated when data is missing", three of three
        ("0 - X - X", 3, "OK", "OK", "OK"),
        ("0 - - - -", 3, "OK", "OK", "OK"),
        ("- - - - -", 3, KEPT, "ALARM", "OK"),
        ("0 X X - X", 3, "ALARM", "ALARM", "ALARM"),
        ("- - - - X", 3, KEPT, "ALARM", "OK"),
        ("X - - - -", 3, KEPT, "ALARM", "OK"),
        # two of three
        ("0 - X - X", 2, "ALARM", "ALARM", "ALARM"),
        ("0 0 X 0 X", 2, "ALARM", "ALARM", "ALARM"),
        ("0 - X - -", 2, "OK", "ALARM", "OK"),
        ("- - - - 0", 2, "OK", "ALARM", "OK"),
        ("- - - - X", 2, KEPT, "ALARM", "OK"),
    ],
)
@pytest.mark.parametrize("current", ["OK", "ALARM", "INSUFFICIENT_DATA"])
def test_the_state_is_as_documented(
    points: str, datapoints: int, ignore: str, breaching: str, not_breaching: str, current: State
) -> None:
    breaches = [{"X": True, "0": False, "-": None}[point] for point in points.split()]
    expected = {"ignore": ignore, "breaching": breaching, "notBreaching": not_breaching}
    for missing, wanted in expected.items():
        found = state(breaches, evaluation_periods=3, datapoints_to_alarm=datapoints, missing=missing, current=current)
        assert found == (current if wanted == KEPT else wanted), missing


def test_a_way_to_treat_missing_data_that_no_alarm_uses_is_refused() -> None:
    with pytest.raises(UnknownSyntaxError, match="missing"):
        state([None], evaluation_periods=1, datapoints_to_alarm=1, missing="missing")
