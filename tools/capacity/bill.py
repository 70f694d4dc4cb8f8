"""The bill of uploads: counts from the settings and the Terraform JSON, times the prices of tools/operate/prices.toml.

Every line is a quantity times a price, and says how the quantity is counted. docs/cost.md and docs/scale.md show these
lines.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from functions.common.contract import (
    BY_DUE,
    BY_OWNER,
    HEAD_BYTES,
    MAX_FIRST_PARTS,
    MAX_PARTS,
    MAX_PARTS_PER_CALL,
    MAX_POST_BYTES,
    MIN_PART_BYTES,
)
from modules.settings import Settings
from tools.capacity.assumptions import Assumptions
from tools.capacity.platform import HOURS, Platform
from tools.capacity.workflow import FILES, QUOTAS, Write
from tools.operate.prices import prices

# AWS bills by binary gigabytes ("Amazon S3 pricing": how usage is measured), and a month has 730 hours.
GB = 2**30
SECONDS = HOURS * 3600
# S3, "ListParts": so many an answer.
PARTS_A_LIST = 1_000
# `AFTER_LIFECYCLE` in functions/inspect/logic.py: the sweeper looks at a file a day after its expiry.
SWEEPER_DAYS = 1
SMALLEST_MOVED = 128 * 2**10
"""Bytes."""


@dataclass(frozen=True)
class Workload:
    """Files of one size, all uploaded in one month.

    Attributes:
        size: bytes of a file.
        part_bytes: bytes of a part; by default those that the function `uploads` chooses.
    """

    name: str
    files: int
    size: int
    part_bytes: int | None = None

    @property
    def is_small(self) -> bool:
        """True if a file is sent as one form."""
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
        """Gigabytes of all files."""
        return self.files * self.size / GB


MILLION = Workload("1,000,000 files of 1 MB", 1_000_000, 1_000_000)
THOUSAND = Workload("1,000 files of 10 GB", 1_000, 10_000_000_000)


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
        """Price of the quantity."""
        return prices()[self.price].of(self.quantity)


def api_calls(load: Workload, assumed: Assumptions) -> dict[str, int]:
    """Return the calls of the API for a file, by the function that answers."""
    if load.is_small:
        return {"uploads": 1, "files": assumed.status_calls}
    for_links = math.ceil(max(0, load.parts - MAX_FIRST_PARTS) / MAX_PARTS_PER_CALL)
    start_and_complete = 2
    return {"uploads": start_and_complete + for_links, "files": assumed.status_calls}


START = (
    Write("start: the record", FILES, True, {BY_DUE: 1, BY_OWNER: 1}),
    Write("start: the owner's quota", QUOTAS, True),
)
START_IN_PARTS = (*START, Write("id of the multipart upload", FILES))
END = (
    Write("claimed", FILES, indexes={BY_DUE: 2, BY_OWNER: 1}),
    Write("end: the record", FILES, True, {BY_DUE: 1, BY_OWNER: 1}),
    Write("end: the owner's quota", QUOTAS, True),
)


@dataclass(frozen=True)
class Usage:
    """Requests and writes of one file, from the first call to the event.

    Attributes:
        calls: calls of the API by the function that answers.
        runs: runs of the workflow.
        states: states that these runs enter.
        writes: writes of records and quotas.
        puts: writes to S3.
        gets: reads of S3.
        keyed: requests to S3 that need the key.
    """

    calls: Mapping[str, int]
    runs: int
    states: int
    writes: tuple[Write, ...]
    puts: int
    gets: int
    keyed: int

    @property
    def requests(self) -> int:
        """Calls of the API."""
        return sum(self.calls.values())

    @property
    def invocations(self) -> Mapping[str, int]:
        """Invocations by function."""
        return {**self.calls, "inspect": self.runs}

    @property
    def invoked(self) -> int:
        """Invocations of all functions."""
        return self.requests + self.runs

    @property
    def reads(self) -> int:
        """Reads of DynamoDB: one an invocation, but for the start."""
        return self.invoked - 1


def usage(load: Workload, found: Platform, assumed: Assumptions) -> Usage:
    """Count what one file takes."""
    lists = 0 if load.is_small else math.ceil(load.parts / PARTS_A_LIST)
    looks = assumed.looks + (load.size > HEAD_BYTES)
    return Usage(
        calls=api_calls(load, assumed),
        runs=found.runs,
        states=found.all_states,
        writes=(START if load.is_small else START_IN_PARTS) + found.updates,
        puts=1 if load.is_small else load.parts + 2 + lists,
        gets=(looks + found.scanning) * found.runs,
        # A data key for the object, Decrypt for each part, for the end, and for each look of `inspect`.
        keyed=(1 if load.is_small else load.parts + 2) + looks * found.runs,
    )


def lines(load: Workload, settings: Settings, found: Platform, assumed: Assumptions) -> list[Line]:
    """Return the bill of a month's uploads, from the first call to the event; see `life` for what comes after."""
    files = load.files
    takes = usage(load, found, assumed)
    architecture = f"lambda_{settings.lambda_architecture}"
    requests, runs, states = files * takes.requests, files * takes.runs, takes.states
    invoked = files * takes.invoked
    seconds = sum(gb_seconds(name, files * count, found, assumed) for name, count in takes.invocations.items())
    written = sum(found.units(write, assumed) for write in takes.writes)
    lists = 0 if load.is_small else math.ceil(load.parts / PARTS_A_LIST)
    stored = "one form" if load.is_small else f"{load.parts:,} parts, create, {lists} lists, complete"
    keyed = files * takes.keyed
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
        Line("API Gateway", "requests", requests, "api_request", f"{takes.requests} a file"),
        Line("Lambda", "requests", invoked, "lambda_request", "one a call, and `inspect`"),
        Line("Lambda", "duration", seconds, architecture, f"{settings.lambda_memory_size} MiB"),
        Line("DynamoDB", "writes", files * written, "dynamodb_write", f"{written} units a file"),
        Line("DynamoDB", "reads", files * takes.reads, "dynamodb_read", "one an invocation, but for the start"),
        Line("S3", "PUT, POST, LIST", files * takes.puts, "s3_put", stored),
        Line("S3", "GET, HEAD", files * takes.gets, "s3_get", "`inspect`"),
        Line("KMS", "requests of S3", keyed * share, "kms_request", f"{share:.0%} of {keyed:,}"),
        Line("KMS", "variables of functions", invoked * assumed.cold_share, "kms_request", "one a cold start"),
        # GuardDuty tags what it scanned, and S3 tells that too.
        Line("EventBridge", "events of S3", runs, "eventbridge_opt_in", f"{takes.runs} a file"),
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
        duration = gb_seconds("webhooks", told, found, assumed)
        result += [
            Line("SQS", "webhooks", told * (1 + assumed.receive_requests), "sqs_request", "send, receive, delete"),
            Line("Lambda", "requests of webhooks", told, "lambda_request", f"{found.webhooks} a file"),
            Line("Lambda", "duration of webhooks", duration, architecture, "while the receiver answers"),
        ]
    result.append(Line("Data transfer", "in", load.gigabytes, "data_in", "free"))
    if settings.replicates:
        result += [
            Line("S3", "PUT of copies", files, "s3_put", "one a file"),
            Line("S3", "copies in time", load.gigabytes, "s3_replication_time", "every byte once"),
            Line("Data transfer", "to the second region", load.gigabytes, "data_between_regions", "every byte once"),
            # A write of a transaction counts once where it is copied; the difference is left in.
            Line("DynamoDB", "writes of copies", files * written, "dynamodb_replicated_write", "no more than writes"),
        ]
    return result


def billed_seconds(name: str, assumed: Assumptions) -> float:
    """Return the duration of a function; starts of new environments count (AWS Lambda Pricing: INIT)."""
    return (assumed.milliseconds[name] + assumed.cold_share * assumed.cold_milliseconds) / 1000


def gb_seconds(name: str, invocations: float, found: Platform, assumed: Assumptions) -> float:
    """Return the billed GB-seconds of a function."""
    return invocations * billed_seconds(name, assumed) * found.memory[name] / 1024


def _standard(files: int, states: int) -> list[Line]:
    return [Line("Step Functions", "transitions", files * states, "states_transition", f"{states} states a file")]


def _express(runs: int, assumed: Assumptions) -> list[Line]:
    # Billed by 100 ms (AWS Step Functions Pricing).
    seconds = runs * math.ceil(assumed.express_seconds * 10) / 10 * assumed.express_mib / 1024
    counted = f"{assumed.express_seconds} s in {assumed.express_mib} MB"
    return [
        Line("Step Functions", "runs", runs, "states_express_request", "Express"),
        Line("Step Functions", "duration", seconds, "states_express_duration", counted),
    ]


def traced(events: float, assumed: Assumptions) -> float:
    """Return the traces of events that are spread evenly over a month: the worst case of X-Ray's default rule."""
    return min(events, SECONDS) + assumed.xray_share * max(0, events - SECONDS)


def standing(settings: Settings, found: Platform, assumed: Assumptions) -> list[Line]:
    """Return the bill of a month without a single upload."""
    words = {
        "kms_key": ("KMS", "customer keys", "one a service, one for the page"),
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
    """Return the bill of files after their upload until the last version and record are gone, as the settings have it.

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
    ended = sum(found.units(write, assumed) for write in END)
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
    if settings.replicates:
        # The second region keeps the same, under the same rules.
        copied = {"STANDARD", "transition", "STANDARD_IA", "records", "backup"}
        result += [replace(line, item=f"{line.item} of copies") for line in result if line.item in copied]
    return result


def downloads(
    load: Workload, settings: Settings, found: Platform, assumed: Assumptions, *, infrequent: bool = False
) -> list[Line]:
    """Return the bill of one download of every file, over the internet.

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
    """Return the dollars for keeping files for some days, with or without a transition to STANDARD_IA.

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
    """Return the dollars of all lines."""
    return sum(line.dollars for line in billed)
