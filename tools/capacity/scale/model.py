"""What one upload takes of AWS, from the synthesized JSON and the settings, and so how many a second there can be.

What the JSON does not say (how long calls take, how large a record is) is an assumption with a name, in `Assumptions`.
The path is that of `POST /uploads`: the function writes the record and the owner's quota in one transaction and gives a
link, the client sends the bytes to S3, and S3's event starts the workflow.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Literal

from functions.common.contract import BY_DUE, DUE_SHARDS
from tools.capacity.scale import quotas
from tools.capacity.scale.quotas import Price, Quota

WorkflowType = Literal["STANDARD", "EXPRESS"]


@dataclass(frozen=True)
class Assumptions:
    """What has to be assumed, with why.

    Attributes:
        upload_seconds: the function behind POST /uploads: its own time and one transaction of DynamoDB.
        inspect_seconds: the workflow's function: GetItem, HeadObject and two ranged GetObject, one after the other.
        workflow_seconds: from its start to its end.
        transaction_seconds: how long DynamoDB holds the items of a transaction; a second one on the same item in that
            time is refused (DynamoDB, "Transaction conflict handling").
        record_kib: of a file; DynamoDB counts every begun KiB of a write.
        log_bytes: what functions and workflow write about one upload.
        express_mib: memory of an Express execution, in steps of 64.
        traced: share of requests that X-Ray samples (X-Ray, "Sampling": one a second, and 5 % of the others).
        index_keys: how many values the hash key of an index has at once; one that is not here has one an owner.
        kms_reuse: share of calls for which the service asks KMS again, where it may reuse a data key for minutes.
    """

    upload_seconds: float = 0.06
    inspect_seconds: float = 0.12
    workflow_seconds: float = 0.5
    transaction_seconds: float = 0.015
    record_kib: float = 0.8
    log_bytes: int = 8_000
    express_mib: int = 64
    traced: float = 0.05
    index_keys: Mapping[str, int] = field(default_factory=lambda: {BY_DUE: DUE_SHARDS})
    kms_reuse: float = 0.001


@dataclass(frozen=True)
class Platform:
    """What the Terraform JSON of an environment says about the path of an upload.

    Attributes:
        transitions: states that the workflow enters for an upload that becomes available.
        tasks: service calls of these states, by their resource.
        index_writes: writes of each index of the records' table for an upload, by its name.
        throttle: requests a second that the stage admits.
        burst: requests that it admits at once.
        memory_mib: of a function.
        architecture: of a function.
        workflow: type of the state machine.
        bucket_key: whether S3 uses a bucket key, and so asks KMS once in a while rather than for each object.
    """

    transitions: int
    tasks: Mapping[str, int]
    index_writes: Mapping[str, int]
    throttle: float
    burst: float
    memory_mib: int
    architecture: str
    workflow: WorkflowType
    bucket_key: bool

    @classmethod
    def of(cls, stack: Mapping[str, Any]) -> Platform:
        """Read the Terraform JSON of a stack.

        Raises:
            KeyError: it lacks a part of the path.
        """
        resources = stack["resource"]
        (machine,) = resources["aws_sfn_state_machine"].values()
        (table,) = (body for body in resources["aws_dynamodb_table"].values() if body["name"].endswith("-files"))
        every = next(
            body["settings"]
            for body in resources["aws_api_gateway_method_settings"].values()
            if body["method_path"] == "*/*"
        )
        function = next(iter(resources["aws_lambda_function"].values()))
        encryption = resources["aws_s3_bucket_server_side_encryption_configuration"]
        states = way(json.loads(machine["definition"]))
        updates = [written(state) for state in states if str(state.get("Resource")).endswith(":dynamodb:updateItem")]
        return cls(
            transitions=len(states),
            tasks=Counter(
                state["Resource"].removeprefix("arn:aws:states:::") for state in states if "Resource" in state
            ),
            index_writes={
                index["name"]: writes_of(index, updates) for index in table.get("global_secondary_index", [])
            },
            throttle=every["throttling_rate_limit"],
            burst=every["throttling_burst_limit"],
            memory_mib=function["memory_size"],
            architecture=function["architectures"][0],
            workflow=machine["type"],
            bucket_key=all(
                rule["bucket_key_enabled"]
                for name, body in encryption.items()
                if "uploads" in name
                for rule in body["rule"]
            ),
        )


def way(machine: Mapping[str, Any], start: str | None = None, seen: frozenset[str] = frozenset()) -> list[Any]:
    """The states that an upload without trouble enters: the longest way that makes a file available, and ends well.

    Branches of a Parallel or Map state all count, since all are entered. A way that leads back is not followed again.
    """
    name = start or str(machine["StartAt"])
    state = machine["States"][name]
    if state["Type"] == "Fail" or name in seen:
        return []
    inside = [*state.get("Branches", []), *(state[key] for key in ("ItemProcessor", "Iterator") if key in state)]
    entered = [state, *(each for branch in inside for each in way(branch))]
    if state["Type"] == "Succeed" or state.get("End"):
        return entered
    names = {str(follows) for follows in (state.get("Next"), state.get("Default")) if follows}
    names |= {str(choice["Next"]) for choice in state.get("Choices", [])}
    ways = [way(machine, each, seen | {name}) for each in sorted(names)]
    rest = max(ways, key=lambda states: (any(map(_makes_available, states)), len(states)), default=[])
    return [*entered, *rest] if rest else []


def _makes_available(state: Mapping[str, Any]) -> bool:
    """Return whether a state sets the record's state to `available`; a condition may name that value too."""
    parameters = state.get("Parameters", {})
    value = re.search(r"#state = (:\w+)", parameters.get("UpdateExpression", ""))
    return value is not None and parameters["ExpressionAttributeValues"].get(value[1]) == {"S": "available"}


def written(state: Mapping[str, Any]) -> frozenset[str]:
    """The attributes that a state's update of a record sets or removes."""
    parameters = state["Parameters"]
    names = parameters.get("ExpressionAttributeNames", {})
    expression = re.sub(r"\b(SET|REMOVE|ADD|DELETE)\b", ",", parameters["UpdateExpression"])
    found = (re.match(r"\s*([#\w]+)", clause) for clause in expression.split(","))
    return frozenset(names.get(match[1], match[1]) for match in found if match)


def writes_of(index: Mapping[str, Any], updates: Sequence[frozenset[str]]) -> int:
    """Writes of an index: one for a new entry, two where its key changes, one where what it shows does.

    DynamoDB, "Global secondary indexes: write capacity considerations".
    """
    keys = {index["hash_key"], index.get("range_key")}
    shown = set(index.get("non_key_attributes", []))
    every = index["projection_type"] == "ALL"
    return 1 + sum(2 if keys & update else 1 if every or shown & update else 0 for update in updates)


@dataclass(frozen=True)
class Demand:
    """What one upload takes, in the units of the quotas and of the bill."""

    api_requests: float
    invocations: float
    function_seconds: float
    table_writes: float
    index_writes: Mapping[str, float]
    owner_quota_writes: float
    reads: float
    s3_writes: float
    s3_reads: float
    kms_requests: float
    events: float
    starts: float
    transitions: float
    publishes: float
    queue_requests: float
    log_calls: float


def demand(platform: Platform, assumed: Assumptions) -> Demand:
    """Add up what one upload takes.

    A write in a transaction counts twice (DynamoDB, "Read and write capacity: transactions").
    """
    unit = ceil(assumed.record_kib)
    updates = platform.tasks.get("dynamodb:updateItem", 0)
    inspections = platform.tasks.get("lambda:invoke", 0)
    publishes = platform.tasks.get("sns:publish", 0)
    # HeadObject, and GetObject for head and tail of a file of more than 64 KiB.
    s3_reads = 3.0
    objects_and_reads = 1 + s3_reads
    return Demand(
        api_requests=1,
        invocations=1 + inspections,
        function_seconds=assumed.upload_seconds + inspections * assumed.inspect_seconds,
        table_writes=2 * unit + updates * unit,
        index_writes=platform.index_writes,
        owner_quota_writes=2,
        reads=1,
        s3_writes=1,
        s3_reads=s3_reads,
        kms_requests=objects_and_reads * (assumed.kms_reuse if platform.bucket_key else 1)
        # DynamoDB, SNS and SQS reuse a data key for some minutes.
        + (2 + updates + 2 * publishes) * assumed.kms_reuse,
        events=1,
        starts=1,
        transitions=platform.transitions,
        publishes=publishes,
        queue_requests=3,  # the delivery is free of charge; a reader receives and deletes, and SNS sends
        log_calls=1 + inspections,
    )


@dataclass(frozen=True)
class Ceiling:
    """Where a quota gives way.

    Attributes:
        quota: which.
        used: units of it that one upload takes.
        uploads: uploads a second at which it is used up; of one owner where `each_owner`.
        answer: what Sluice does about it.
        each_owner: whether it holds for one owner alone, and so not for all together.
    """

    quota: Quota
    used: float
    uploads: float
    answer: str
    each_owner: bool = False

    def used_at(self, uploads: float) -> float:
        """What the quota has to be for so many uploads a second."""
        return self.quota.limit * uploads / self.uploads


def ceilings(platform: Platform, assumed: Assumptions) -> list[Ceiling]:
    """Every quota on the path, the one that gives way first at the top."""
    takes = demand(platform, assumed)
    stage = Quota(
        "the stage's own throttle", platform.throttle, "setting `API_THROTTLE_RATE`", "setting", burst=platform.burst
    )

    def of(quota: Quota, used: float, answer: str, *, units: float = 1) -> Ceiling:
        return Ceiling(quota, used, quota.limit * units / used if used else float("inf"), answer)

    writes = takes.table_writes + sum(takes.index_writes.values())
    found = [
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
            max(assumed.upload_seconds, assumed.inspect_seconds),
            "a burst up to this rate starts at once; above it, as much more comes every 10 s",
        ),
        of(quotas.DYNAMODB_TABLE_WRITES, writes, "one record a file; the workflow writes what changed and no more"),
        of(quotas.DYNAMODB_NEW_TABLE_WRITES, writes, "grows to twice the last peak within 30 minutes"),
        of(quotas.S3_WRITES, takes.s3_writes, "keys are `uploads/` and a random UUID, which S3 splits by itself"),
        of(quotas.S3_READS, takes.s3_reads, "the same; the workflow tries again on 503"),
        of(quotas.KMS_REQUESTS, takes.kms_requests, "bucket keys; queues reuse a data key for 300 s")
        if platform.bucket_key
        else of(quotas.KMS_REQUESTS, takes.kms_requests, "none: the bucket has no bucket key"),
        of(quotas.EVENTBRIDGE_INVOCATIONS, takes.events, "tries for 24 hours, then the event is a dead letter"),
        of(quotas.SNS_PUBLISHES, takes.publishes, "one message a file; the workflow tries again"),
        of(quotas.LOG_WRITES, takes.log_calls, "an upper bound: Lambda sends lines in batches"),
    ]
    for name, used in takes.index_writes.items():
        keys = assumed.index_keys.get(name)
        partition = Quota(
            f"DynamoDB: write units of index `{name}`, " + (f"keys: {keys}" if keys else "of one owner"),
            quotas.DYNAMODB_PARTITION_WRITES.limit,
            quotas.DYNAMODB_PARTITION_WRITES.page,
            quotas.DYNAMODB_PARTITION_WRITES.raised_by,
        )
        if keys:
            found.append(of(partition, used, "the key spreads over shards", units=keys))
        else:
            found.append(
                Ceiling(partition, used, partition.limit / used, "one key an owner: owners spread", each_owner=True)
            )
    found.append(
        Ceiling(
            Quota(
                "DynamoDB: write units of an owner's quota item",
                quotas.DYNAMODB_PARTITION_WRITES.limit,
                quotas.DYNAMODB_PARTITION_WRITES.page,
                "design",
            ),
            takes.owner_quota_writes,
            quotas.DYNAMODB_PARTITION_WRITES.limit / takes.owner_quota_writes,
            "one item an owner: owners spread",
            each_owner=True,
        )
    )
    found.append(
        Ceiling(
            Quota(
                "DynamoDB: transactions on one item, one after the other",
                1,
                "DynamoDB transactions: conflicts",
                "design",
            ),
            assumed.transaction_seconds,
            1 / assumed.transaction_seconds,
            "the function tries again some times; an owner who sends more at once is slowed down",
            each_owner=True,
        )
    )
    if platform.workflow == "STANDARD":
        found += [
            of(quotas.STANDARD_STARTS, takes.starts, "EventBridge tries for 24 hours: files become available later"),
            of(quotas.STANDARD_TRANSITIONS, takes.transitions, "Step Functions delays a state and loses none"),
        ]
    else:
        found.append(of(quotas.EXPRESS_STARTS, takes.starts, "EventBridge tries for 24 hours"))
    return sorted(found, key=lambda each: (each.each_owner, each.uploads))


def to_raise(platform: Platform, assumed: Assumptions, uploads: float) -> list[Ceiling]:
    """What gives way below a number of uploads a second, in the order in which it does."""
    return [each for each in ceilings(platform, assumed) if not each.each_owner and each.uploads < uploads]


@dataclass(frozen=True)
class Cost:
    """One line of a bill for one upload.

    Attributes:
        what: of which service.
        units: that one upload takes.
        price: of a unit.
    """

    what: str
    units: float
    price: Price

    @property
    def dollars(self) -> float:
        """Of one upload."""
        return self.units * self.price.dollars


def bill(platform: Platform, assumed: Assumptions) -> list[Cost]:
    """What one small upload costs, without the storage of its bytes; the largest line first."""
    takes = demand(platform, assumed)
    gib_seconds = takes.function_seconds * platform.memory_mib / 1024
    lines = [
        Cost("API Gateway request", takes.api_requests, quotas.API_REQUEST),
        Cost("Lambda invocations", takes.invocations, quotas.LAMBDA_REQUEST),
        Cost("Lambda GB-seconds", gib_seconds, quotas.LAMBDA_GB_SECOND[platform.architecture]),
        Cost("DynamoDB write units", takes.table_writes + sum(takes.index_writes.values()), quotas.DYNAMODB_WRITE),
        Cost("DynamoDB read units", takes.reads, quotas.DYNAMODB_READ),
        Cost("S3 writes", takes.s3_writes, quotas.S3_PUT),
        Cost("S3 reads", takes.s3_reads, quotas.S3_GET),
        Cost("KMS requests", takes.kms_requests, quotas.KMS_REQUEST),
        Cost("EventBridge event", takes.events, quotas.EVENTBRIDGE_EVENT),
        Cost("SNS message", takes.publishes, quotas.SNS_PUBLISH),
        Cost("SQS requests of a reader", takes.queue_requests - 1, quotas.SQS_REQUEST),
        Cost("CloudWatch Logs GB", assumed.log_bytes / 1e9, quotas.LOG_GB),
        Cost("X-Ray traces", assumed.traced, quotas.XRAY_TRACE),
    ]
    if platform.workflow == "STANDARD":
        lines.append(Cost("Step Functions transitions", takes.transitions, quotas.STANDARD_TRANSITION))
    else:
        # Billed by 100 ms (Step Functions pricing).
        seconds = ceil(assumed.workflow_seconds * 10) / 10
        lines += [
            Cost("Step Functions executions", takes.starts, quotas.EXPRESS_REQUEST),
            Cost("Step Functions GB-seconds", seconds * assumed.express_mib / 1024, quotas.EXPRESS_GB_SECOND),
        ]
    return sorted(lines, key=lambda line: -line.dollars)


def raised_for(platform: Platform, assumed: Assumptions, uploads: float) -> dict[str, float]:
    """By what each quota below a number of uploads a second has to be multiplied, with a fifth to spare."""
    return {
        each.quota.what: ceil(1.2 * uploads / each.uploads * 10) / 10
        for each in ceilings(platform, assumed)
        if not each.each_owner and each.quota.raised_by != "design" and each.uploads < 1.2 * uploads
    }
