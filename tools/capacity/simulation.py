"""Simulates a day of bursts, second by second: throttles, retries, queues, failures and dollars.

Uploads are counted, not made one by one: those that arrive in the same second and have been tried as often are one
number, so that 50,000 a second take as long as ten. Jitter is a spread of that number over the seconds of a delay.
Each step of the path is a SimPy process that lets pass what its quotas have left, and sends the rest to its next try,
or to its end when it has been tried often enough.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter, defaultdict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

import simpy

from modules.settings import Settings
from tools.capacity import quotas
from tools.capacity.assumptions import Assumptions
from tools.capacity.bill import MILLION, lines
from tools.capacity.ceilings import demand
from tools.capacity.platform import Platform
from tools.operate.prices import prices

DAY = 86_400
# Into so many parts the jitter of a delay spreads what was throttled in one second.
SLOTS = 4
# EventBridge, "Retry policy": 24 hours or 185 tries, ever further apart; the longest delay is not told, and assumed.
EVENT_AGE = 86_400
EVENT_TRIES = 185
EVENT_LONGEST_DELAY = 3_600
# DynamoDB, "On-demand capacity mode": a table serves up to twice its last peak; a faster rise within 30
# minutes is throttled.
TABLE_GROWS_EVERY = 1_800
# A client that does as AWS's SDKs do: twice as long each time, with jitter, and then it reports a failure to its user.
CLIENT_DELAYS = (1, 2, 4, 8, 16, 32)

ANNOUNCED = "announced"
REFUSED = "refused: the client gave up"
NOT_STORED = "not stored: the client gave up"
DEAD_LETTER = "dead letter of the rule"
FAILED = "workflow failed, alert"


@dataclass
class Bucket:
    """Tokens that come back at a rate, up to what the bucket holds (the scheme of AWS's throttles)."""

    rate: float
    burst: float = 0
    grows_to: float = 0
    """A rate that grows with use: every half an hour it may become twice the highest rate so far."""
    tokens: float = field(init=False)
    _peak: float = field(default=0.0, init=False)
    _seconds: int = field(default=0, init=False)
    _before: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.tokens = self._before = max(self.rate, self.burst)

    def refill(self) -> None:
        """Advance by one second."""
        self._peak = max(self._peak, self._before - self.tokens)
        self._seconds += 1
        if self.grows_to and self._seconds % TABLE_GROWS_EVERY == 0:
            self.rate = max(self.rate, min(self.grows_to, 2 * self._peak))
            self._peak = 0.0
        self.tokens = self._before = min(max(self.rate, self.burst), self.tokens + self.rate)


@dataclass(frozen=True)
class Step:
    """A step on the path of an upload.

    Attributes:
        limits: buckets, and how many tokens of each one upload takes; steps may share one.
        delays: seconds before each next try; the last one has no next. None where AWS itself lets an upload wait.
        end: the end of an upload whose last try failed.
        seconds: until what passed is at the next step.
        dollars: of one upload that passes.
        retry_dollars: of each try that is throttled.
    """

    name: str
    limits: Sequence[tuple[Bucket, float]]
    delays: Sequence[int] | None
    end: str
    seconds: int = 1
    dollars: float = 0.0
    retry_dollars: float = 0.0


@dataclass
class Passage:
    """Counts of a step.

    Attributes:
        passed: uploads.
        throttled: tries.
        most_waiting: uploads at once that waited for their next try.
    """

    passed: int = 0
    throttled: int = 0
    most_waiting: int = 0


@dataclass(frozen=True)
class Outcome:
    """The ends of a day's uploads.

    Attributes:
        arrived: uploads.
        ends: how many ended in which way.
        steps: what happened at each step, by name.
        last_end: second of the last end, from the start of the day.
        dollars: of everything.
    """

    arrived: int
    ends: Mapping[str, int]
    steps: Mapping[str, Passage]
    last_end: int
    dollars: float


class _Station:
    """A step at work."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.passage = Passage()
        self.ends: Counter[str] = Counter()
        self.last_end = 0
        self.expected = 0
        self.waiting = 0
        self.next: _Station | None = None
        # Second to tries so far to uploads.
        self._due: dict[int, Counter[int]] = defaultdict(Counter)

    def expect(self, second: int, uploads: int, tries: int = 0) -> None:
        """Let uploads come at a second."""
        if uploads:
            self._due[second][tries] += uploads
            self.expected += uploads
            self.waiting += uploads if tries else 0

    def work(self, environment: simpy.Environment) -> Generator[simpy.Event, None, None]:
        """Run the step."""
        while True:
            now = int(environment.now)
            due = self._due.pop(now, None)
            if due:
                self._pass(now, due)
            self.passage.most_waiting = max(self.passage.most_waiting, self.waiting)
            yield environment.timeout(1)

    def _pass(self, now: int, due: Counter[int]) -> None:
        # Those who waited longest are not favoured: AWS throttles whatever comes when the bucket is empty. Those with
        # the fewest tries come first here, which is the worst case for what ends.
        for tries in sorted(due):
            uploads = due[tries]
            admitted = min([uploads, *(int(bucket.tokens / used) for bucket, used in self.step.limits if used)])
            for bucket, used in self.step.limits:
                bucket.tokens -= admitted * used
            self.expected -= uploads
            self.waiting -= uploads if tries else 0
            self.passage.passed += admitted
            if self.next is not None:
                self.next.expect(now + self.step.seconds, admitted)
            elif admitted:
                self.ends[ANNOUNCED] += admitted
                self.last_end = now
            throttled = uploads - admitted
            self.passage.throttled += throttled
            if not throttled:
                continue
            delays = self.step.delays
            if delays is None:
                self.expect(now + 1, throttled, 1)
            elif tries < len(delays):
                for second, part in spread(throttled, delays[tries]):
                    self.expect(now + second, part, tries + 1)
            else:
                self.ends[self.step.end] += throttled
                self.last_end = now


def spread(uploads: int, delay: int) -> list[tuple[int, int]]:
    """Return full jitter over a delay: uploads in equal parts over its seconds, as (second, uploads)."""
    slots = min(SLOTS, delay, uploads)
    part, rest = divmod(uploads, slots)
    return [(max(1, round(delay * (slot + 1) / slots)), part + (slot < rest)) for slot in range(slots)]


def simulate(steps: Sequence[Step], arrivals: Sequence[int]) -> Outcome:
    """Send uploads through the steps, one number of them a second, until every one has ended."""
    environment = simpy.Environment()
    stations = [_Station(step) for step in steps]
    for station, following in itertools.pairwise(stations):
        station.next = following
    for second, uploads in enumerate(arrivals):
        stations[0].expect(second, uploads)
    buckets = {id(bucket): bucket for step in steps for bucket, _ in step.limits}

    def refill() -> Generator[simpy.Event, None, None]:
        while True:
            yield environment.timeout(1)
            for bucket in buckets.values():
                bucket.refill()

    environment.process(refill())
    for station in stations:
        environment.process(station.work(environment))
    while any(station.expected for station in stations):
        environment.run(until=int(environment.now) + 60)

    ends: Counter[str] = Counter()
    for station in stations:
        ends.update(station.ends)
    passages = {station.step.name: station.passage for station in stations}
    dollars = sum(
        step.dollars * passages[step.name].passed + step.retry_dollars * passages[step.name].throttled for step in steps
    )
    return Outcome(sum(arrivals), ends, passages, max(station.last_end for station in stations), dollars)


def day_of_bursts(
    peak: float, *, seed: int = 6, bursts: int = 12, seconds: int = 300, quiet: float = 0.02
) -> list[int]:
    """Return the uploads of each second of a day: bursts at a peak rate, evenly apart, and a share of it in between.

    Args:
        seconds: that a burst lasts.
        quiet: share of the peak between bursts.
    """
    chance = random.Random(seed)  # noqa: S311 - arrivals, not secrets
    every = DAY // bursts
    return [_poisson(chance, peak if second % every < seconds else peak * quiet) for second in range(DAY)]


def _poisson(chance: random.Random, mean: float) -> int:
    """Return the arrivals of a second, which are independent; a normal distribution where there are many."""
    if mean > 50:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    count, product, limit = 0, chance.random(), math.exp(-mean)
    while product > limit:
        count += 1
        product *= chance.random()
    return count


# Services of the bill by the step that pays for them. Those of SHARED are split between the API and the workflow.
PAID_AT = {
    "API Gateway": "POST /uploads",
    "X-Ray": "POST /uploads",
    "WAF": "POST /uploads",
    "S3": "bytes to S3",
    "KMS": "bytes to S3",
    "Data transfer": "bytes to S3",
    "EventBridge": "start of the workflow",
    "Step Functions": "transitions of the workflow",
    "GuardDuty": "inspection and update",
    "SNS": "announcement",
    "SQS": "announcement",
}
SHARED = frozenset({"Lambda", "DynamoDB", "CloudWatch"})


def steps_of_upload(
    found: Platform, settings: Settings, assumed: Assumptions, *, raised: Mapping[str, float] | None = None
) -> list[Step]:
    """Return the steps of a small upload on a platform.

    Args:
        raised: factors of quotas by their text.

    Raises:
        KeyError: the bill has a service that no step pays for.
    """
    takes = demand(found, assumed)
    factors = dict(raised or {})

    def bucket(quota: quotas.Quota, units: float = 1) -> Bucket:
        factor = factors.get(quota.what, 1.0)
        return Bucket(quota.limit * units * factor, quota.burst * factor)

    throttle = factors.get("the stage's own throttle", 1.0)
    stage = Bucket(found.throttle * throttle, found.burst * throttle)
    concurrency = bucket(quotas.LAMBDA_CONCURRENCY)  # seconds of function time that fit into a second
    most_writes = quotas.DYNAMODB_TABLE_WRITES
    writes = bucket(quotas.DYNAMODB_NEW_TABLE_WRITES)
    writes.grows_to = most_writes.limit * factors.get(most_writes.what, 1.0)
    # An index that cannot keep up holds back the writes of its table (DynamoDB, "Global secondary indexes").
    keys = {
        name: Bucket(quotas.DYNAMODB_PARTITION_WRITES.limit * assumed.index_keys[name])
        for name in takes.index_writes
        if name in assumed.index_keys
    }
    dollars = _dollars(found, settings, assumed)
    return [
        Step(
            "POST /uploads",
            [
                (stage, takes.api_requests),
                (bucket(quotas.API_GATEWAY_REQUESTS), takes.api_requests),
                (concurrency, takes.start_seconds),
                (writes, takes.start_writes),
                *((key, takes.start_index_writes[name]) for name, key in keys.items()),
            ],
            CLIENT_DELAYS,
            REFUSED,
            dollars=dollars["POST /uploads"],
        ),
        Step(
            "bytes to S3",
            [(bucket(quotas.S3_WRITES), takes.s3_writes), (bucket(quotas.KMS_REQUESTS), takes.kms_requests)],
            CLIENT_DELAYS,
            NOT_STORED,
            dollars=dollars["bytes to S3"],
        ),
        Step(
            "start of the workflow",
            [
                (bucket(quotas.EVENTBRIDGE_INVOCATIONS), takes.runs),
                (bucket(quotas.EXPRESS_STARTS if found.express else quotas.STANDARD_STARTS), takes.runs),
            ],
            event_delays(),
            DEAD_LETTER,
            dollars=dollars["start of the workflow"],
        ),
        # Step Functions delays a transition and loses none. Express has no quota of them.
        Step(
            "transitions of the workflow",
            [] if found.express else [(bucket(quotas.STANDARD_TRANSITIONS), takes.transitions)],
            None,
            FAILED,
            dollars=dollars["transitions of the workflow"],
        ),
        Step(
            "inspection and update",
            [
                (concurrency, takes.workflow_seconds),
                (writes, takes.update_writes),
                *((key, takes.index_writes[name] - takes.start_index_writes[name]) for name, key in keys.items()),
                (bucket(quotas.S3_READS), takes.s3_reads),
            ],
            found.retries.delays,
            FAILED,
            dollars=dollars["inspection and update"],
            retry_dollars=0.0 if found.express else prices()["states_transition"].of(1),
        ),
        Step(
            "announcement",
            [(bucket(quotas.SNS_PUBLISHES), 1)],
            found.retries.delays,
            FAILED,
            dollars=dollars["announcement"],
        ),
    ]


def _dollars(found: Platform, settings: Settings, assumed: Assumptions) -> dict[str, float]:
    """Return the dollars of one upload by step, from the bill of a million."""
    takes = demand(found, assumed)
    at_start = 1 - takes.workflow_seconds / takes.function_seconds
    spent: dict[str, float] = defaultdict(float)
    for line in lines(MILLION, settings, found, assumed):
        each = line.dollars / MILLION.files
        if line.service in SHARED:
            spent["POST /uploads"] += each * at_start
            spent["inspection and update"] += each * (1 - at_start)
        else:
            spent[PAID_AT[line.service]] += each
    return spent


def event_delays() -> list[int]:
    """Return the seconds before each try of EventBridge: longer and longer, until the event is too old."""
    delays: list[int] = []
    while len(delays) < EVENT_TRIES and sum(delays) < EVENT_AGE:
        delays.append(min(2 ** len(delays), EVENT_LONGEST_DELAY))
    return delays
