"""What uploads cost: counts from the settings and the Terraform JSON, times AWS's list prices in prices.toml.

`make cost` prints the tables of docs/cost.md, and a test holds that page equal to them. Every line is a quantity times
a price, and says how the quantity is counted. What cannot be read from the tree is an assumption in `Assumptions`.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from functions.common.contract import (
    BY_DUE,
    BY_OWNER,
    HEAD_BYTES,
    MAX_FIRST_PARTS,
    MAX_PARTS,
    MAX_PARTS_PER_CALL,
    MAX_POST_BYTES,
    MIN_PART_BYTES,
    NextStep,
)
from modules.settings import Settings
from modules.settings import load as load_settings
from synthesis.paths import ROOT
from tools.operate.console import exit_with, step
from tools.operate.synthesize import synthesize

PRICES = Path(__file__).with_name("prices.toml")
PAGE = ROOT / "docs" / "cost.md"
# AWS bills by binary gigabytes ("Amazon S3 pricing": how usage is measured), and a month has 730 hours.
GB = 2**30
HOURS = 730
SECONDS = HOURS * 3600
# S3, "ListParts": so many an answer.
PARTS_A_LIST = 1_000
# functions/inspect: the sweeper looks at a file a day after its expiry.
SWEEPER_DAYS = 1
SMALLEST_MOVED = 128 * 2**10
# What choices of the workflow are answered on the way of a file that is all right.
OPENS = (NextStep.OPEN,)


@dataclass(frozen=True)
class Price:
    """One list price: dollars for so many units.

    Attributes:
        page: name of AWS's pricing page.
        section: what to look for on it.
        up_to: units where the first tier ends; only the first is known here.
    """

    page: str
    section: str
    dollars: float
    per: int
    unit: str
    up_to: int | None = None

    def of(self, quantity: float) -> float:
        """Dollars for a quantity.

        Raises:
            ValueError: it is beyond the first tier.
        """
        if self.up_to is not None and quantity > self.up_to:
            raise ValueError(f"{self.section}: {quantity:,.0f} {self.unit} are beyond the first tier, {self.up_to:,}")
        return quantity * self.dollars / self.per


@cache
def prices(file: Path = PRICES) -> Mapping[str, Price]:
    """All prices by name."""
    listed = tomllib.loads(file.read_text())
    return {name: Price(**fields) for name, fields in listed.items() if isinstance(fields, dict)}


@dataclass(frozen=True)
class Workload:
    """Files of one size, all uploaded in one month."""

    name: str
    files: int
    size: int
    part_bytes: int | None = None

    @property
    def is_small(self) -> bool:
        """Whether a file goes as one form."""
        return self.size <= MAX_POST_BYTES

    @property
    def parts(self) -> int:
        """Parts of a file: 1 for one that goes as a form."""
        if self.is_small:
            return 1
        part = self.part_bytes or MIN_PART_BYTES
        while self.part_bytes is None and math.ceil(self.size / part) > MAX_PARTS:
            part *= 2
        return math.ceil(self.size / part)

    @property
    def gigabytes(self) -> float:
        """Of all files."""
        return self.files * self.size / GB


MILLION = Workload("1,000,000 files of 1 MB", 1_000_000, 1_000_000)
THOUSAND = Workload("1,000 files of 10 GB", 1_000, 10_000_000_000)


@dataclass(frozen=True)
class Assumptions:
    """What cannot be read from the tree.

    Attributes:
        milliseconds: billed duration of an invocation by function, at the memory of the settings.
        cold_share: share of invocations that start a new environment.
        cold_milliseconds: what such a start adds.
        status_calls: how often a client asks for the state of a file.
        looks: requests to S3 of `inspect` for one file: size and checksum, first bytes. A file of more than HEAD_BYTES
            needs one more, for the last bytes.
        record_bytes: of a record in DynamoDB.
        function_log_bytes: log lines of an invocation, the platform's among them.
        access_log_bytes: a line of the API's access log.
        state_log_bytes: what the workflow logs for a state, at level ALL with data.
        log_compression: stored bytes for each ingested one (CloudWatch's own figure).
        bucket_key_share: share of S3's requests that reach KMS with a bucket key (S3: "up to 99 percent" fewer).
        xray_share: share of requests that are traced beyond the first in each second (X-Ray's default rule).
        receive_requests: requests to the inbox for each message: receive and delete.
        express_seconds: duration of a run, if the workflow were Express.
        data_key_minutes: how long SNS, SQS and DynamoDB use a data key again.
    """

    milliseconds: Mapping[str, int] = field(
        default_factory=lambda: {
            "uploads": 80,
            "files": 40,
            "inspect": 120,
            "discard": 150,
            "sweep": 500,
            "webhooks": 300,
        }
    )
    cold_share: float = 0.01
    cold_milliseconds: int = 1_200
    status_calls: int = 1
    looks: int = 2
    record_bytes: int = 700
    function_log_bytes: int = 900
    access_log_bytes: int = 750
    state_log_bytes: int = 2_500
    log_compression: float = 0.15
    bucket_key_share: float = 0.01
    xray_share: float = 0.05
    receive_requests: int = 2
    express_seconds: float = 1.5
    data_key_minutes: int = 5


@dataclass(frozen=True)
class Platform:
    """What the model reads from the Terraform JSON of an environment.

    Attributes:
        states: states of a run that opens a file.
        waiting_states: states of the run before it that finds the scan not done, with malware scanning.
        indexes: names of the secondary indexes by the address of their table.
        memory: MiB by function.
        scanning: whether GuardDuty looks at every file.
        webhooks: URLs that are told of every file.
        bucket_keys: whether S3 asks KMS for a key for many objects at once.
        express: whether the workflow is an Express one.
        standing: units for a month that cost the same however many files there are, by the name of the price.
    """

    states: int
    waiting_states: int
    indexes: Mapping[str, frozenset[str]]
    memory: Mapping[str, int]
    scanning: bool
    webhooks: int
    bucket_keys: bool
    express: bool
    standing: Mapping[str, float]


def platform(stack: Mapping[str, Any]) -> Platform:
    """Read the counts from a stack's Terraform JSON."""

    def of(kind: str) -> dict[str, Any]:
        return dict(stack["resource"].get(kind, {}))

    (machine,) = of("aws_sfn_state_machine").values()
    definition = json.loads(machine["definition"])
    encryption = of("aws_s3_bucket_server_side_encryption_configuration")["storage_uploads_encryption"]
    methods = [method for method in of("aws_api_gateway_method").values() if method["http_method"] != "OPTIONS"]
    alarms = [
        len([each for each in alarm.get("metric_query", []) if "metric" in each]) or 1
        for alarm in of("aws_cloudwatch_metric_alarm").values()
    ]
    schedules = [runs_a_month(schedule["schedule_expression"]) for schedule in of("aws_scheduler_schedule").values()]
    return Platform(
        states=len(path(definition, OPENS)),
        waiting_states=len(path(definition, [NextStep.WAIT_FOR_SCAN])),
        indexes={
            name: frozenset(index["name"] for index in table.get("global_secondary_index", []))
            for name, table in of("aws_dynamodb_table").items()
        },
        memory={name: function["memory_size"] for name, function in of("aws_lambda_function").items()},
        scanning=bool(of("aws_guardduty_malware_protection_plan")),
        # One a receiver.
        webhooks=len(of("aws_lambda_event_source_mapping")),
        bucket_keys=encryption["rule"][0]["bucket_key_enabled"],
        express=machine["type"] == "EXPRESS",
        standing={
            "kms_key": len(of("aws_kms_key")),
            "alarm_metric": sum(alarms),
            "dashboard": len(of("aws_cloudwatch_dashboard")),
            # API Gateway, "Amazon CloudWatch metrics": five of each method, once detailed metrics are on.
            "metric": 5 * len(methods),
            "scheduler_invocation": sum(schedules),
            "waf_acl": len(of("aws_wafv2_web_acl")),
            "waf_rule": sum(len(acl["rule"]) for acl in of("aws_wafv2_web_acl").values()),
            "secret": len(of("aws_secretsmanager_secret")),
        },
    )


def runs_a_month(expression: str) -> float:
    """Runs of a schedule such as `rate(15 minutes)`."""
    found = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression)
    if found is None:
        raise ValueError(f"a schedule of another form: {expression}")
    return HOURS * 60 / (int(found[1]) * {"minute": 1, "hour": 60, "day": 1440}[found[2]])


def path(definition: Mapping[str, Any], answers: Sequence[str]) -> list[str]:
    """The states that a run enters when nothing fails and each choice meets one of these answers, or its default.

    Raises:
        ValueError: that path does not end well.
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
        if state["Type"] == "Choice":
            taken = [choice["Next"] for choice in state["Choices"] if choice.get("StringEquals") in answers]
            name = taken[0] if taken else state["Default"]
        else:
            name = state["Next"]


@dataclass(frozen=True)
class Line:
    """A line of a bill.

    Attributes:
        price: name of the price.
        counted: how the quantity is counted, for a reader.
    """

    service: str
    item: str
    quantity: float
    price: str
    counted: str

    @property
    def dollars(self) -> float:
        """What it costs."""
        return prices()[self.price].of(self.quantity)


def api_calls(load: Workload, assumed: Assumptions) -> dict[str, int]:
    """Calls of the API for a file, by the function that answers."""
    if load.is_small:
        return {"uploads": 1, "files": assumed.status_calls}
    for_links = math.ceil(max(0, load.parts - MAX_FIRST_PARTS) / MAX_PARTS_PER_CALL)
    start_and_complete = 2
    return {"uploads": start_and_complete + for_links, "files": assumed.status_calls}


@dataclass(frozen=True)
class Write:
    """A write of an item: its units, twice in a transaction, and those of the indexes that it changes.

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

    def units(self, found: Platform, assumed: Assumptions) -> int:
        """Write units."""
        item = math.ceil(assumed.record_bytes / 1024)
        there = found.indexes.get(self.table, frozenset())
        return item * (2 if self.in_transaction else 1) + sum(
            item * count for name, count in self.indexes.items() if name in there
        )


FILES, QUOTAS = "metadata_files", "metadata_quotas"
START = (
    Write("start: the record", FILES, True, {BY_DUE: 1, BY_OWNER: 1}),
    Write("start: the owner's quota", QUOTAS, True),
)
START_IN_PARTS = (*START, Write("id of the multipart upload", FILES))
OPEN = (
    Write("available", FILES, indexes={BY_OWNER: 1}),
    Write("announced", FILES, indexes={BY_DUE: 2}),
)
SCAN = (Write("waits for its scan", FILES, indexes={BY_DUE: 2, BY_OWNER: 1}),)
END = (
    Write("claimed", FILES, indexes={BY_DUE: 2, BY_OWNER: 1}),
    Write("end: the record", FILES, True, {BY_DUE: 1, BY_OWNER: 1}),
    Write("end: the owner's quota", QUOTAS, True),
)


def lines(load: Workload, settings: Settings, found: Platform, assumed: Assumptions) -> list[Line]:
    """What the uploads of a month cost, from the first call to the event; what comes after is apart: see `life`."""
    files = load.files
    architecture = f"lambda_{settings.lambda_architecture}"
    calls = api_calls(load, assumed)
    requests = files * sum(calls.values())
    # With a scan, the first run finds that it is not over, and its result starts another.
    runs = files * (2 if found.scanning else 1)
    states = found.states + (found.waiting_states if found.scanning else 0)
    invocations = {name: files * count for name, count in calls.items()} | {"inspect": runs}
    invoked = sum(invocations.values())
    seconds = sum(gb_seconds(name, count, found, assumed) for name, count in invocations.items())
    writes = (START if load.is_small else START_IN_PARTS) + OPEN + (SCAN if found.scanning else ())
    written = sum(write.units(found, assumed) for write in writes)
    lists = 0 if load.is_small else math.ceil(load.parts / PARTS_A_LIST)
    stored = "one form" if load.is_small else f"{load.parts:,} parts, create, {lists} lists, complete"
    puts = files * (1 if load.is_small else load.parts + 2 + lists)
    # A data key for the object, Decrypt for each part, for the end, and for each look of `inspect`.
    looks = assumed.looks + (load.size > HEAD_BYTES)
    keyed = files * (1 if load.is_small else load.parts + 2) + looks * runs
    share = assumed.bucket_key_share if found.bucket_keys else 1
    logs = {
        "logs of functions": (
            invoked * assumed.function_log_bytes,
            f"{assumed.function_log_bytes} bytes an invocation",
        ),
        "access log": (requests * assumed.access_log_bytes, f"{assumed.access_log_bytes} bytes a request"),
        "log of the workflow": (files * states * assumed.state_log_bytes, f"{assumed.state_log_bytes:,} bytes a state"),
    }
    compressed = sum(size for size, _ in logs.values()) / GB * assumed.log_compression
    days = settings.log_retention_days
    result = [
        Line("API Gateway", "requests", requests, "api_request", f"{sum(calls.values())} a file"),
        Line("Lambda", "requests", invoked, "lambda_request", "one a call, and `inspect`"),
        Line("Lambda", "duration", seconds, architecture, f"{settings.lambda_memory_size} MiB"),
        Line("DynamoDB", "writes", files * written, "dynamodb_write", f"{written} units a file"),
        Line("DynamoDB", "reads", invoked - files, "dynamodb_read", "one an invocation, but for the start"),
        Line("S3", "PUT, POST, LIST", puts, "s3_put", stored),
        Line("S3", "GET, HEAD", (looks + found.scanning) * runs, "s3_get", "`inspect`"),
        Line("KMS", "requests of S3", keyed * share, "kms_request", f"{share:.0%} of {keyed:,}"),
        Line("KMS", "variables of functions", invoked * assumed.cold_share, "kms_request", "one a cold start"),
        # GuardDuty tags what it scanned, and S3 tells that too.
        Line("EventBridge", "events of S3", runs, "eventbridge_opt_in", f"{runs // files} a file"),
        *(_express(runs, assumed) if found.express else _standard(files, states)),
        Line("SNS", "publish", files, "sns_request", "one a file"),
        Line("SNS", "to the inbox", files, "sns_to_sqs", "free"),
        Line("SQS", "inbox", files * (1 + assumed.receive_requests), "sqs_request", "send, receive, delete"),
        *(Line("CloudWatch", item, size / GB, "logs_ingestion", counted) for item, (size, counted) in logs.items()),
        Line("CloudWatch", "logs kept", compressed * days * 24 / HOURS, "logs_storage", f"{days} days, compressed"),
    ]
    if settings.enable_xray_tracing:
        traces = traced(requests, assumed) + traced(runs, assumed)
        result.append(Line("X-Ray", "traces", traces, "xray_trace", "API and workflow, see below"))
    if found.scanning:
        result.append(Line("GuardDuty", "objects", files, "guardduty_object", "one a file"))
        result.append(Line("GuardDuty", "data", load.gigabytes, "guardduty_data", "every byte once"))
        result.append(Line("EventBridge", "results of scans", files, "eventbridge_management", "free"))
    if settings.enable_waf:
        result.append(Line("WAF", "requests", requests, "waf_request", "one a call"))
    if found.webhooks:
        told = files * found.webhooks
        duration = told * assumed.milliseconds["webhooks"] / 1000 * settings.lambda_memory_size / 1024
        result += [
            Line("SQS", "webhooks", told * (1 + assumed.receive_requests), "sqs_request", "send, receive, delete"),
            Line("Lambda", "requests of webhooks", told, "lambda_request", f"{found.webhooks} a file"),
            Line("Lambda", "duration of webhooks", duration, architecture, "while the receiver answers"),
        ]
    result.append(Line("Data transfer", "in", load.gigabytes, "data_in", "free"))
    if settings.replica_region:
        result += [
            Line("S3", "PUT of copies", files, "s3_put", "one a file"),
            Line("S3", "copies in time", load.gigabytes, "s3_replication_time", "every byte once"),
            Line("Data transfer", "to the second region", load.gigabytes, "data_between_regions", "every byte once"),
            # A write of a transaction counts once where it is copied; the difference is left in.
            Line("DynamoDB", "writes of copies", files * written, "dynamodb_replicated_write", "no more than writes"),
        ]
    return result


def gb_seconds(name: str, invocations: float, found: Platform, assumed: Assumptions) -> float:
    """What a function's duration is billed by; starts of new environments count (AWS Lambda Pricing: INIT)."""
    milliseconds = assumed.milliseconds[name] + assumed.cold_share * assumed.cold_milliseconds
    return invocations * milliseconds / 1000 * found.memory[name] / 1024


def _standard(files: int, states: int) -> list[Line]:
    return [Line("Step Functions", "transitions", files * states, "states_transition", f"{states} states a file")]


def _express(runs: int, assumed: Assumptions) -> list[Line]:
    seconds = runs * assumed.express_seconds * 64 / 1024
    return [
        Line("Step Functions", "runs", runs, "states_express_request", "Express"),
        Line("Step Functions", "duration", seconds, "states_express_duration", f"{assumed.express_seconds} s in 64 MB"),
    ]


def traced(events: float, assumed: Assumptions) -> float:
    """Traces of events that are spread evenly over a month: the worst case of X-Ray's default rule."""
    return min(events, SECONDS) + assumed.xray_share * max(0, events - SECONDS)


def standing(settings: Settings, found: Platform, assumed: Assumptions) -> list[Line]:
    """What a month costs without a single upload."""
    words = {
        "kms_key": ("KMS", "customer keys", "one a service"),
        "alarm_metric": ("CloudWatch", "alarms", "every metric of each alarm"),
        "dashboard": ("CloudWatch", "dashboard", "one"),
        "metric": ("CloudWatch", "metrics of the API", "5 a method"),
        "scheduler_invocation": ("EventBridge", "schedules", "the sweeper's"),
        "waf_acl": ("WAF", "web ACL", "one"),
        "waf_rule": ("WAF", "rules", "managed groups count as one"),
        "secret": ("Secrets Manager", "secrets", "those of webhooks"),
    }
    result = [
        Line(*words[price][:2], units, price, words[price][2]) for price, units in found.standing.items() if units
    ]
    sweeps = found.standing["scheduler_invocation"]
    seconds = gb_seconds("sweep", sweeps, found, assumed)
    result.append(Line("Lambda", "sweeper", seconds, f"lambda_{settings.lambda_architecture}", f"{sweeps:,.0f} runs"))
    if not settings.replicates:
        # functions/sweep: to the end of the list, and from its beginning.
        result.append(Line("S3", "LIST", 2 * sweeps, "s3_put", "the sweeper, two pages a run"))
    keyed = 3 * HOURS * 60 / assumed.data_key_minutes
    result.append(Line("KMS", "data keys", keyed, "kms_request", "SNS, SQS and DynamoDB, each 5 minutes"))
    return result


def life(load: Workload, settings: Settings, found: Platform, assumed: Assumptions) -> list[Line]:
    """What files cost after their upload until the last version and record are gone, as the settings have it.

    Raises:
        ValueError: files are kept for ever.
    """
    if not settings.s3_lifecycle_expiration_days:
        raise ValueError("files are kept for ever: multiply the price of a month")
    month = HOURS / 24
    # modules/storage.py: what expires stays for 30 days as an old version, unless the sweeper removes it: a day later.
    standard = settings.s3_lifecycle_transition_days
    infrequent = settings.s3_lifecycle_expiration_days + SWEEPER_DAYS - standard
    # DynamoDB, "Item sizes and formats": 100 bytes an item for its storage, of each index too.
    copies = 1 + len(found.indexes.get(FILES, ())) / 2
    records = load.files * copies * (assumed.record_bytes + 100) / GB
    known = (settings.s3_lifecycle_expiration_days + SWEEPER_DAYS + settings.record_retention_days) / month
    ended = sum(write.units(found, assumed) for write in END)
    seconds = gb_seconds("discard", load.files, found, assumed)
    result = [
        Line("S3", "STANDARD", load.gigabytes * standard / month, "s3_standard", f"{standard} days"),
        Line("S3", "transition", load.files, "s3_transition", "one a file"),
        Line(
            "S3",
            "STANDARD_IA",
            load.gigabytes * infrequent / month,
            "s3_infrequent",
            f"{infrequent} days, then removed",
        ),
        Line("S3", "LIST", load.files * 2, "s3_put", "`discard`: versions, unfinished uploads; DELETE is free"),
        Line(
            "EventBridge", "events of S3", load.files * 4, "eventbridge_opt_in", "moved, expired, both versions removed"
        ),
        Line("Lambda", "requests", load.files, "lambda_request", "`discard`"),
        Line("Lambda", "duration", seconds, f"lambda_{settings.lambda_architecture}", "`discard`"),
        Line("DynamoDB", "writes", load.files * ended, "dynamodb_write", f"{ended} units a file: claim, end, quota"),
        Line(
            "DynamoDB", "records", records * known, "dynamodb_storage", f"{known * month:.0f} days with their indexes"
        ),
    ]
    if settings.protect_data:
        result.append(Line("DynamoDB", "backup", records * known, "dynamodb_backup", "point-in-time recovery"))
    if settings.replica_region:
        # The second region keeps the same, under the same rules.
        kept = {"STANDARD", "transition", "STANDARD_IA", "records", "backup"}
        result += [replace(line, item=f"{line.item} of copies") for line in result if line.item in kept]
    return result


def downloads(
    load: Workload, settings: Settings, found: Platform, assumed: Assumptions, *, infrequent: bool = False
) -> list[Line]:
    """What it costs that every file is downloaded once, over the internet.

    Args:
        infrequent: after the transition to STANDARD_IA.
    """
    architecture = f"lambda_{settings.lambda_architecture}"
    seconds = gb_seconds("files", load.files, found, assumed)
    result = [
        Line("API Gateway", "requests", load.files, "api_request", "one a download"),
        Line("Lambda", "requests", load.files, "lambda_request", "one a download"),
        Line("Lambda", "duration", seconds, architecture, "`files`"),
        Line("DynamoDB", "reads", load.files, "dynamodb_read", "one a download"),
        Line("S3", "GET", load.files, "s3_infrequent_get" if infrequent else "s3_get", "one a download"),
    ]
    if infrequent:
        result.append(Line("S3", "retrieval", load.gigabytes, "s3_infrequent_retrieval", "every byte"))
    if settings.enable_waf:
        result.append(Line("WAF", "requests", load.files, "waf_request", "one a download"))
    result.append(Line("Data transfer", "out", load.gigabytes, "data_out", "every byte"))
    return result


def kept(size: int, files: int, days: int, *, transition: int | None) -> float:
    """Dollars for the bytes of files that are kept for some days, with or without a transition to STANDARD_IA.

    Args:
        transition: after how many days. A smaller file than 128 KiB stays where it is, since S3 moves none (S3,
            "Transitioning objects using Amazon S3 Lifecycle": default minimum object size).
    """
    gigabytes = files * size / GB
    month = HOURS / 24
    if transition is None or size < SMALLEST_MOVED:
        return prices()["s3_standard"].of(gigabytes * days / month)
    return (
        prices()["s3_standard"].of(gigabytes * transition / month)
        + prices()["s3_transition"].of(files)
        + prices()["s3_infrequent"].of(gigabytes * (days - transition) / month)
    )


def total(billed: Iterable[Line]) -> float:
    """Dollars of all lines."""
    return sum(line.dollars for line in billed)


# tables


def money(dollars: float) -> str:
    """Dollars and cents; less than half a cent is 0.00."""
    return f"{dollars:,.2f}"


def amount(quantity: float) -> str:
    """A quantity with as many digits as a reader needs."""
    return f"{quantity:,.0f}" if quantity >= 100 else f"{quantity:,.2f}".rstrip("0").rstrip(".")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; columns of numbers are to the right."""
    body = [list(row) for row in rows]
    right = [all(re.fullmatch(r"[+-]?[\d,.]+", row[i]) for row in body) for i in range(len(head))]
    rule = ["---:" if each else "---" for each in right]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [list(head), rule, *body])


def bill(billed: Sequence[Line]) -> str:
    """A table of lines and their sum."""
    rows = [
        [
            line.service,
            line.item,
            amount(line.quantity),
            f"{prices()[line.price].unit}",
            line.counted,
            money(line.dollars),
        ]
        for line in billed
    ]
    return table(
        ["service", "item", "quantity", "unit", "counted", "dollars"],
        [*rows, ["**total**", "", "", "", "", money(total(billed))]],
    )


@dataclass(frozen=True)
class Change:
    """A setting, or a choice of the design, and the same bill with another value of it."""

    name: str
    words: str
    settings: Settings
    found: Platform
    assumed: Assumptions
    part_bytes: int | None = None

    def total(self, load: Workload) -> float:
        """Dollars of the uploads alone."""
        load = load if load.is_small else replace(load, part_bytes=self.part_bytes)
        return total(lines(load, self.settings, self.found, self.assumed))


def changes(settings: Settings, found: Platform, assumed: Assumptions) -> list[Change]:
    """What each setting does to the bill of an environment."""

    def change(name: str, words: str, **changed: object) -> Change:
        return Change(name, words, settings.model_copy(update=changed), found, assumed)

    def design(name: str, words: str, **changed: Any) -> Change:  # noqa: ANN401 - fields of Platform
        return Change(name, words, settings, replace(found, **changed), assumed)

    def other(name: str, words: str, **changed: Any) -> Change:  # noqa: ANN401 - fields of Assumptions
        return Change(name, words, settings, found, replace(assumed, **changed))

    scanning, xray, waf = found.scanning, settings.enable_xray_tracing, settings.enable_waf
    memory = settings.lambda_memory_size
    doubled = replace(found, memory={name: 2 * size for name, size in found.memory.items()})
    return [
        design("MALWARE_SCANNING", _flip(scanning), scanning=not scanning),
        change("ENABLE_XRAY_TRACING", _flip(xray), enable_xray_tracing=not xray),
        change("ENABLE_WAF", _flip(waf), enable_waf=not waf),
        change("LOG_RETENTION_DAYS", f"{settings.log_retention_days} to 7", log_retention_days=7),
        change("LAMBDA_ARCHITECTURE", "arm64 to x86_64", lambda_architecture="x86_64"),
        Change("LAMBDA_MEMORY_SIZE", f"{memory} to {2 * memory}, no faster", settings, doubled, assumed),
        change("REPLICA_REGION", "none to us-west-2", replica_region="us-west-2")
        if settings.replica_region is None
        else change("REPLICA_REGION", f"{settings.replica_region} to none", replica_region=None),
        design("WEBHOOK_URLS", "one more", webhooks=found.webhooks + 1),
        other("a client that polls", "5 questions instead of 1", status_calls=5),
        design("bucket keys", "off", bucket_keys=False),
        design("the workflow", "Express", express=True),
        Change("part size", "8 MiB to 64 MiB", settings, found, assumed, 64 * 2**20),
        Change("part size", "8 MiB to 1 GiB", settings, found, assumed, 2**30),
    ]


def _flip(on: bool) -> str:
    return "on to off" if on else "off to on"


def tables(settings: Settings, found: Platform, assumed: Assumptions) -> dict[str, str]:
    """Every table of docs/cost.md by its name."""
    loads = {"million": MILLION, "thousand": THOUSAND}
    bills = {name: lines(load, settings, found, assumed) for name, load in loads.items()}
    months = [
        [
            load.name,
            amount(load.gigabytes),
            *(money(prices()[kind].of(load.gigabytes)) for kind in ("s3_standard", "s3_infrequent")),
        ]
        for load in loads.values()
    ]
    fetched = [
        [
            load.name,
            *(
                money(total(downloads(load, settings, found, assumed, infrequent=infrequent)))
                for infrequent in (False, True)
            ),
            money(prices()["data_out"].of(load.gigabytes)),
        ]
        for load in loads.values()
    ]
    days = settings.s3_lifecycle_expiration_days + SWEEPER_DAYS
    moved = [
        [
            words,
            *(
                f"{kept(size, 1000, days, transition=after):,.4f}"
                for after in (None, settings.s3_lifecycle_transition_days)
            ),
        ]
        for words, size in {"100 kB": 10**5, "500 kB": 5 * 10**5, "1 MB": 10**6, "10 MB": 10**7, "1 GB": 10**9}.items()
    ]
    effects = [
        [change.name, change.words, *(signed(change.total(load) - total(bills[name])) for name, load in loads.items())]
        for change in changes(settings, found, assumed)
    ]
    listed = [
        [
            name,
            f"{price.dollars:.10f}".rstrip("0").rstrip("."),
            f"{price.per:,} {price.unit}",
            price.page,
            price.section,
        ]
        for name, price in prices().items()
    ]
    return {
        **{name: bill(lines) for name, lines in bills.items()},
        "month": table(["files", "GB", "STANDARD, a month", "STANDARD_IA, a month"], months),
        **{f"life of a {name}": bill(life(load, settings, found, assumed)) for name, load in loads.items()},
        "downloads": table(["files", "from STANDARD", "from STANDARD_IA", "of that, data transfer out"], fetched),
        "transition": table(["1,000 files of", "STANDARD alone", "with the transition"], moved),
        "standing": bill(standing(settings, found, assumed)),
        "settings": table(["setting", "change", *(load.name for load in loads.values())], effects),
        "prices": table(["price", "dollars", "for", "page", "section"], listed),
    }


def signed(dollars: float) -> str:
    """Dollars more or less."""
    return f"{dollars:+,.2f}" if abs(dollars) >= 0.005 else "0.00"


def filled(page: str, every: Mapping[str, str]) -> str:
    """A page with each table between its marks, as it is now.

    Raises:
        KeyError: the page has a mark of a table that is not there.
    """
    return re.sub(
        r"(<!-- table: ([\w ]+) -->\n).*?(<!-- end -->)",
        lambda mark: f"{mark[1]}{every[mark[2]]}\n{mark[3]}",
        page,
        flags=re.S,
    )


def main() -> None:
    """Print the tables, or write them into docs/cost.md."""
    parser = argparse.ArgumentParser(prog="python -m tools.capacity.cost", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the tables into docs/cost.md")
    options = parser.parse_args()
    with step("synthesis"), tempfile.TemporaryDirectory() as folder:
        stack = synthesize(Path(folder), {})
        found = platform(json.loads((stack / "cdk.tf.json").read_text()))
    every = tables(load_settings(ROOT / "environments"), found, Assumptions())
    if options.write:
        PAGE.write_text(filled(PAGE.read_text(), every))
        return
    for name, text in every.items():
        print(f"\n{name}\n\n{text}")


if __name__ == "__main__":
    exit_with(main)
