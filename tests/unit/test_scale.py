"""The model of what an upload takes, and the simulation of a day: nothing vanishes, and a quota passes what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.settings import Settings
from tools.capacity import quotas
from tools.capacity.assumptions import Assumptions
from tools.capacity.bill import MILLION, lines, total
from tools.capacity.ceilings import ceilings, demand, raised_for, to_raise
from tools.capacity.platform import Platform
from tools.capacity.quotas import Quota
from tools.capacity.simulation import (
    ANNOUNCED,
    CLIENT_DELAYS,
    EVENT_AGE,
    EVENT_TRIES,
    Bucket,
    Outcome,
    Step,
    day_of_bursts,
    event_delays,
    simulate,
    spread,
    steps_of_upload,
)
from tools.capacity.workflow import FILES, QUOTAS, Retries, Write, index_writes, updates, written

PLATFORM = Platform(
    states=7,
    waiting_states=5,
    opens=(Write("available", FILES, indexes={"by-owner": 1}), Write("announced", FILES, indexes={"by-due": 2})),
    waits=(Write("waits", FILES, indexes={"by-due": 2, "by-owner": 1}),),
    retries=Retries(2, 4, 2.0, 60),
    throttle=50,
    burst=100,
    indexes={FILES: frozenset({"by-due", "by-owner"}), QUOTAS: frozenset({"by-due"})},
    memory=dict.fromkeys(("uploads", "files", "inspect"), 512),
    scanning=False,
    webhooks=0,
    bucket_keys=True,
    express=False,
    standing={},
)
SETTINGS = Settings(environment="dev", account_id="111111111111")
ASSUMED = Assumptions()


def at(platform: Platform, words: str) -> float:
    """The uploads a second at which the quota of these words gives way."""
    (found,) = (each.uploads for each in ceilings(platform, ASSUMED) if words in each.quota.what)
    return found


# The model.


def test_known_ceilings() -> None:
    # A start and a question for the state.
    assert at(PLATFORM, "stage's own throttle") == 25
    assert at(PLATFORM, "Standard: StartExecution") == 300
    assert at(PLATFORM, "state transitions") == pytest.approx(5000 / 7)
    assert at(PLATFORM, "`by-due`") == pytest.approx(16 * 1000 / 3)
    assert at(PLATFORM, "invocations at once") == pytest.approx(1000 / (0.06 + 0.04 + 0.12 + 3 * 0.012))
    # The record in the transaction, two updates, and the writes of the indexes.
    assert at(PLATFORM, "write units of a table") == pytest.approx(40_000 / (2 + 2 + 3 + 2))


def test_what_limits_one_owner_is_told_apart() -> None:
    of_owners = [each.quota.what for each in ceilings(PLATFORM, ASSUMED) if each.each_owner]
    assert len(of_owners) == 3
    assert any("`by-owner`" in what for what in of_owners)


def test_an_index_with_one_key_is_a_hot_key() -> None:
    hot = replace(ASSUMED, index_keys={"by-due": 1})
    (found,) = (each for each in ceilings(PLATFORM, hot) if "`by-due`" in each.quota.what)
    assert found.uploads == pytest.approx(1000 / 3)
    assert found.quota.raised_by == "design"


def test_without_a_bucket_key_every_object_asks_kms() -> None:
    with_key, without = at(PLATFORM, "KMS"), at(replace(PLATFORM, bucket_keys=False), "KMS")
    assert without == pytest.approx(100_000 / 4, rel=0.01)
    assert with_key > 50 * without


def test_the_first_to_give_way_is_at_the_top_and_express_lifts_what_standard_has() -> None:
    rates = [each.uploads for each in ceilings(PLATFORM, ASSUMED) if not each.each_owner]
    assert rates == sorted(rates)
    express = replace(PLATFORM, express=True)
    assert at(express, "Express: StartExecution") == 6000
    assert not [each for each in ceilings(express, ASSUMED) if "Standard" in each.quota.what]


def test_what_to_raise_comes_in_order_and_is_what_gives_way_below_the_rate() -> None:
    named = to_raise(PLATFORM, ASSUMED, 1000)
    assert [each.uploads for each in named] == sorted(each.uploads for each in named)
    assert named[0].quota.raised_by == "setting"
    assert all(each.uploads < 1000 for each in named)
    assert to_raise(PLATFORM, ASSUMED, 10) == []
    assert named[0].used_at(1000) == 2000


def test_a_record_above_a_kib_costs_twice_the_units() -> None:
    larger = replace(ASSUMED, record_bytes=1025)
    assert demand(PLATFORM, larger).table_writes == 2 * demand(PLATFORM, ASSUMED).table_writes


def test_a_scan_is_a_second_run_that_takes_its_quotas() -> None:
    scanned = replace(PLATFORM, scanning=True)
    assert at(scanned, "Standard: StartExecution") == 150
    assert at(scanned, "state transitions") == pytest.approx(5000 / (7 + 5))
    assert at(scanned, "`by-due`") == pytest.approx(16 * 1000 / 5)


def test_an_index_is_written_where_its_keys_or_what_it_shows_change() -> None:
    index = {"hash_key": "shard", "range_key": "due", "projection_type": "INCLUDE", "non_key_attributes": ["state"]}
    updates: list[dict[str, Any]] = [
        {"Parameters": {"UpdateExpression": "SET #s = :s, time = :now", "ExpressionAttributeNames": {"#s": "state"}}},
        {"Parameters": {"UpdateExpression": "SET told = if_not_exists(told, :now) REMOVE shard, due ADD n :one"}},
        {"Parameters": {"UpdateExpression": "SET other = :o"}},
    ]
    names = [written(update) for update in updates]
    assert names == [{"state", "time"}, {"told", "shard", "due", "n"}, {"other"}]
    assert [index_writes(index, each) for each in names] == [1, 2, 0]
    keys = {**index, "projection_type": "KEYS_ONLY", "non_key_attributes": []}
    assert [index_writes(keys, each) for each in names] == [0, 2, 0]
    assert [index_writes({**index, "projection_type": "ALL"}, each) for each in names] == [1, 2, 1]


def test_the_writes_of_a_run_are_the_updates_of_the_states_that_it_enters() -> None:
    update = {"Resource": "arn:aws:states:::dynamodb:updateItem", "Parameters": {"UpdateExpression": "SET due = :due"}}
    definition = {"States": {"A": update, "B": {"Resource": "arn:aws:states:::sns:publish"}, "C": update}}
    index = {"name": "by-due", "hash_key": "shard", "range_key": "due", "projection_type": "KEYS_ONLY"}
    assert updates(definition, ["A", "B"], [index]) == [Write("A", FILES, indexes={"by-due": 2})]


def test_throttling_meets_the_retrier_of_busy_services() -> None:
    busy = {"ErrorEquals": ["DynamoDB.ThrottlingException"], "IntervalSeconds": 2, "MaxAttempts": 7, "BackoffRate": 2}
    other = {**busy, "ErrorEquals": ["States.ALL"], "MaxAttempts": 4}
    retries = Retries.of({"States": {"A": {"Retry": [{**busy, "MaxDelaySeconds": 60}, other]}}})
    assert retries.delays == [2, 4, 8, 16, 32, 60, 60]
    assert Retries.of({"States": {"A": {"Retry": [other]}}}).delays == [2, 4, 8, 16]


def test_every_quota_names_its_page() -> None:
    values = [value for value in vars(quotas).values() if isinstance(value, Quota)]
    assert len(values) > 12
    for value in values:
        assert len(value.page) > 2, value
        assert value.limit > 0


# The simulation.

COUNTS = st.lists(st.one_of(st.just(0), st.integers(0, 20), st.integers(0, 100_000)), max_size=40)
RATES = st.one_of(st.just(0.0), st.floats(0, 50), st.floats(0, 1e6))
DELAYS = st.lists(st.integers(1, 40), max_size=5)
USED = st.one_of(st.just(0.0), st.floats(0.001, 3))
LIMITS = st.lists(st.tuples(RATES, RATES, USED), min_size=1, max_size=3)
STEPS = st.lists(st.tuples(LIMITS, DELAYS), min_size=1, max_size=4)


def steps_of(drawn: Sequence[tuple[list[tuple[float, float, float]], list[int]]]) -> list[Step]:
    return [
        Step(f"step {place}", [(Bucket(rate, burst), used) for rate, burst, used in limits], delays, f"lost at {place}")
        for place, (limits, delays) in enumerate(drawn)
    ]


@settings(max_examples=150, deadline=None)
@given(STEPS, COUNTS)
def test_every_upload_ends_somewhere_and_only_once(
    drawn: list[tuple[list[tuple[float, float, float]], list[int]]], arrivals: list[int]
) -> None:
    outcome = simulate(steps_of(drawn), arrivals)
    assert outcome.arrived == sum(arrivals)
    assert sum(outcome.ends.values()) == sum(arrivals)
    assert all(count >= 0 for count in outcome.ends.values())
    assert set(outcome.ends) <= {ANNOUNCED, *(f"lost at {place}" for place in range(len(drawn)))}
    # What passes a step comes to the next one, and what does not is lost there.
    left = sum(arrivals)
    for place, passage in enumerate(outcome.steps.values()):
        left -= outcome.ends.get(f"lost at {place}", 0)
        assert passage.passed == left
    assert outcome.ends.get(ANNOUNCED, 0) == left


@settings(max_examples=20, deadline=None)
@given(COUNTS, st.booleans(), st.sampled_from([1.0, 20.0, 1000.0]))
def test_every_upload_of_the_platform_ends_somewhere(arrivals: list[int], express: bool, throttle: float) -> None:
    outcome = run(replace(PLATFORM, express=express), arrivals, {"the stage's own throttle": throttle})
    assert sum(outcome.ends.values()) == sum(arrivals)


def run(platform: Platform, arrivals: Sequence[int], raised: dict[str, float] | None = None) -> Outcome:
    steps = steps_of_upload(platform, SETTINGS, ASSUMED, raised=raised)
    return simulate(steps, arrivals)


def test_a_bucket_lets_pass_its_burst_at_once_and_its_rate_after_that() -> None:
    outcome = simulate([Step("gate", [(Bucket(10, 25), 1)], (), "refused")], [1000] * 5)
    assert outcome.ends == {ANNOUNCED: 25 + 4 * 10, "refused": 5000 - 65}


def test_two_steps_share_a_bucket() -> None:
    shared = Bucket(10)
    first, second = Step("a", [(shared, 1)], (), "a"), Step("b", [(shared, 1)], (), "b")
    outcome = simulate([first, second], [10, 10, 0])
    # The second that the first ten come to step b, ten more come to step a and take all there is.
    assert outcome.ends == {"b": 10, ANNOUNCED: 10}


def test_where_aws_lets_uploads_wait_none_is_lost() -> None:
    outcome = simulate([Step("queue", [(Bucket(10), 1)], None, "never")], [100])
    assert outcome.ends == {ANNOUNCED: 100}
    assert outcome.last_end == 9
    assert outcome.steps["queue"].most_waiting == 90


def test_tries_are_counted_and_the_last_one_ends() -> None:
    outcome = simulate([Step("shut", [(Bucket(0), 1)], (1, 2), "refused", retry_dollars=1.0)], [1])
    assert outcome.ends == {"refused": 1}
    assert outcome.steps["shut"].throttled == 3
    assert outcome.dollars == 3.0


def test_a_table_grows_to_twice_its_peak() -> None:
    bucket = Bucket(10, grows_to=1000)
    for _ in range(1800):
        bucket.tokens -= 8
        bucket.refill()
    assert bucket.rate == 16


@given(st.integers(1, 10**6), st.integers(1, 100))
def test_jitter_spreads_over_the_delay_and_loses_none(uploads: int, delay: int) -> None:
    parts = spread(uploads, delay)
    assert sum(part for _, part in parts) == uploads
    assert all(1 <= second <= delay for second, _ in parts)


def test_eventbridge_tries_for_a_day() -> None:
    delays = event_delays()
    assert len(delays) <= EVENT_TRIES
    assert EVENT_AGE <= sum(delays) < EVENT_AGE + max(delays)
    assert delays == sorted(delays)


def test_a_burst_below_every_quota_is_announced_at_once_and_costs_what_the_bill_says() -> None:
    outcome = run(PLATFORM, [10] * 100)
    assert outcome.ends == {ANNOUNCED: 1000}
    assert not any(passage.throttled for passage in outcome.steps.values())
    expected = total(lines(MILLION, SETTINGS, PLATFORM, ASSUMED)) / 1000
    assert outcome.dollars == pytest.approx(expected)


def test_the_throttle_refuses_and_raising_in_order_mends_it() -> None:
    arrivals = [1000] * 120
    assert run(PLATFORM, arrivals).ends[ANNOUNCED] < 20_000
    raised = raised_for(PLATFORM, ASSUMED, 1000)
    assert run(PLATFORM, arrivals, raised).ends == {ANNOUNCED: 120_000}


def test_a_day_of_bursts_is_the_same_day_each_time() -> None:
    day = day_of_bursts(10)
    assert day == day_of_bursts(10)
    assert len(day) == 86_400
    assert sum(day[:300]) / 300 == pytest.approx(10, rel=0.15)
    assert sum(day[1000:7000]) / 6000 == pytest.approx(0.2, rel=0.3)
    assert CLIENT_DELAYS
