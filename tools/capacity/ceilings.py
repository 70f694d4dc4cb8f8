"""The uploads a second at which each AWS quota is reached, for small files, from the counts that the bill has too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

from tools.capacity import quotas
from tools.capacity.assumptions import Assumptions
from tools.capacity.bill import MILLION, billed_seconds, usage
from tools.capacity.platform import Platform
from tools.capacity.quotas import Quota
from tools.capacity.workflow import FILES, QUOTAS, Write


@dataclass(frozen=True)
class Demand:
    """Units of the quotas that one small upload takes.

    Attributes:
        start_seconds: time of the functions behind the API.
        workflow_seconds: time of the functions that the workflow invokes.
        start_writes: write units of the records' table, its indexes included, before the workflow.
        update_writes: those of the workflow.
        start_index_writes: writes of each index before the workflow, by the index's name.
        index_writes: writes of each index in all.
        owner_quota_writes: write units of the owner's item.
    """

    api_requests: int
    invocations: int
    start_seconds: float
    workflow_seconds: float
    start_writes: int
    update_writes: int
    start_index_writes: Mapping[str, int]
    index_writes: Mapping[str, int]
    owner_quota_writes: int
    s3_writes: int
    s3_reads: int
    kms_requests: float
    runs: int
    transitions: int

    @property
    def function_seconds(self) -> float:
        """Time of all functions."""
        return self.start_seconds + self.workflow_seconds

    @property
    def table_writes(self) -> int:
        """Write units of the records' table, its indexes included."""
        return self.start_writes + self.update_writes


def demand(found: Platform, assumed: Assumptions) -> Demand:
    """Return what one small upload takes of each quota."""
    takes = usage(MILLION, found, assumed)
    updates = found.updates
    start = takes.writes[: len(takes.writes) - len(updates)]

    def units(writes: tuple[Write, ...], table: str) -> int:
        return sum(found.units(write, assumed) for write in writes if write.table == table)

    def indexed(writes: tuple[Write, ...]) -> Counter[str]:
        counted: Counter[str] = Counter()
        for write in writes:
            if write.table == FILES:
                counted.update({name: n for name, n in write.indexes.items() if name in found.indexes[FILES]})
        return counted

    return Demand(
        api_requests=takes.requests,
        invocations=takes.invoked,
        start_seconds=sum(count * billed_seconds(name, assumed) for name, count in takes.calls.items()),
        workflow_seconds=takes.runs * billed_seconds("inspect", assumed),
        start_writes=units(start, FILES),
        update_writes=units(updates, FILES),
        start_index_writes=indexed(start),
        index_writes=indexed(takes.writes),
        owner_quota_writes=units(takes.writes, QUOTAS),
        s3_writes=takes.puts,
        s3_reads=takes.gets,
        kms_requests=takes.keyed * (assumed.bucket_key_share if found.bucket_keys else 1)
        + takes.invoked * assumed.cold_share,
        runs=takes.runs,
        transitions=takes.states,
    )


@dataclass(frozen=True)
class Ceiling:
    """The rate at which a quota is reached.

    Attributes:
        used: units of it that one upload takes.
        uploads: uploads a second at which it is used up; of one owner where `each_owner`.
        answer: how Sluice deals with it.
        each_owner: whether it holds for each owner, and not for all together.
    """

    quota: Quota
    used: float
    uploads: float
    answer: str
    each_owner: bool = False

    def used_at(self, uploads: float) -> float:
        """Return the limit that is needed for so many uploads a second."""
        return self.quota.limit * uploads / self.uploads


def ceilings(found: Platform, assumed: Assumptions) -> list[Ceiling]:
    """Return every quota on the path, the first to be reached at the top."""
    takes = demand(found, assumed)
    stage = Quota(quotas.STAGE_THROTTLE, found.throttle, "setting `API_THROTTLE_RATE`", "setting", burst=found.burst)

    def of(quota: Quota, used: float, answer: str, *, units: float = 1, each_owner: bool = False) -> Ceiling:
        return Ceiling(quota, used, quota.limit * units / used if used else float("inf"), answer, each_owner)

    reached = [
        of(stage, takes.api_requests, "protects everything behind it: 429 at once, and clients try again"),
        of(quotas.API_GATEWAY_REQUESTS, takes.api_requests, "the bytes go to S3 and not through the API"),
        of(
            quotas.LAMBDA_CONCURRENCY,
            takes.function_seconds,
            "short functions; none waits for a client's bytes",
        ),
        of(
            quotas.LAMBDA_RATE,
            takes.invocations,
            "the workflow calls DynamoDB and SNS itself, without a function in between",
        ),
        of(
            quotas.LAMBDA_SCALING,
            max(assumed.milliseconds["uploads"] / 1000, takes.workflow_seconds),
            "a burst up to this rate starts at once; above it, as much more comes every 10 s",
        ),
        of(
            quotas.DYNAMODB_TABLE_WRITES,
            takes.table_writes,
            "one record a file; the workflow writes what changed and no more",
        ),
        of(quotas.DYNAMODB_NEW_TABLE_WRITES, takes.table_writes, "grows to twice the last peak within 30 minutes"),
        of(quotas.S3_WRITES, takes.s3_writes, "keys are `uploads/` and a random UUID, which S3 splits by itself"),
        of(quotas.S3_READS, takes.s3_reads, "the same; the workflow tries again on 503"),
        of(quotas.KMS_REQUESTS, takes.kms_requests, "bucket keys; queues reuse a data key for 300 s")
        if found.bucket_keys
        else of(quotas.KMS_REQUESTS, takes.kms_requests, "none: the bucket has no bucket key"),
        of(quotas.EVENTBRIDGE_INVOCATIONS, takes.runs, "tries for 24 hours, then the event is a dead letter"),
        of(quotas.SNS_PUBLISHES, 1, "one message a file; the workflow tries again"),
        of(quotas.LOG_WRITES, takes.invocations, "an upper bound: Lambda sends lines in batches"),
    ]
    for name, used in takes.index_writes.items():
        keys = assumed.index_keys.get(name)
        of_keys = f"keys: {keys}" if keys else "of one owner"
        partition = replace(
            quotas.DYNAMODB_PARTITION_WRITES, what=f"DynamoDB: write units of index `{name}`, {of_keys}"
        )
        if keys:
            reached.append(of(partition, used, "the key spreads over shards", units=keys))
        else:
            reached.append(of(partition, used, "one key an owner: owners spread", each_owner=True))
    item = replace(
        quotas.DYNAMODB_PARTITION_WRITES, what="DynamoDB: write units of an owner's quota item", raised_by="design"
    )
    reached += [
        of(item, takes.owner_quota_writes, "one item an owner: owners spread", each_owner=True),
        of(
            quotas.DYNAMODB_TRANSACTIONS_OF_AN_ITEM,
            assumed.transaction_seconds,
            "the function tries again some times; an owner who sends more at once is slowed down",
            each_owner=True,
        ),
    ]
    if not found.express:
        reached += [
            of(quotas.STANDARD_STARTS, takes.runs, "EventBridge tries for 24 hours: files become available later"),
            of(quotas.STANDARD_TRANSITIONS, takes.transitions, "Step Functions delays a state and loses none"),
        ]
    else:
        reached.append(of(quotas.EXPRESS_STARTS, takes.runs, "EventBridge tries for 24 hours"))
    return sorted(reached, key=lambda each: (each.each_owner, each.uploads))


def to_raise(found: Platform, assumed: Assumptions, uploads: float) -> list[Ceiling]:
    """Return the quotas that are reached below a number of uploads a second, in their order."""
    return [each for each in ceilings(found, assumed) if not each.each_owner and each.uploads < uploads]


def raised_for(found: Platform, assumed: Assumptions, uploads: float) -> dict[str, float]:
    """Return the factor by which each quota below a number of uploads a second has to grow, with a fifth to spare."""
    return {
        each.quota.what: ceil(1.2 * uploads / each.uploads * 10) / 10
        for each in ceilings(found, assumed)
        if not each.each_owner and each.quota.raised_by != "design" and each.uploads < 1.2 * uploads
    }
