"""AWS quotas and prices on the path of an upload, as data. Each names the page of AWS that says so.

Quotas are the defaults of an account in us-east-1; other regions have less of some. Prices are those of us-east-1
without free tiers and discounts. Nobody fetches them: whoever changes one reads the page, and moves the date.
"""

from __future__ import annotations

from dataclasses import dataclass

AS_OF = "November 2026"
"""When the figures were last written down. AWS changes both; the pages count."""

REGION = "us-east-1"


@dataclass(frozen=True)
class Quota:
    """What AWS lets pass.

    Attributes:
        limit: units a second, unless `what` says otherwise.
        burst: units at once, on top of what comes back each second; 0 where AWS names none.
        page: the page of AWS, by its title.
        raised_by: who can change it: `request` (Service Quotas), `setting` (Sluice), `use` (it grows by itself),
            `design` (nobody: keys have to spread).
    """

    what: str
    limit: float
    page: str
    raised_by: str
    burst: float = 0


API_GATEWAY_REQUESTS = Quota(
    "API Gateway: requests of the account", 10_000, "API Gateway quotas: account-level", "request", burst=5_000
)
LAMBDA_CONCURRENCY = Quota(
    "Lambda: invocations at once, of the account", 1_000, "Lambda quotas: concurrent executions", "request"
)
LAMBDA_RATE = Quota(
    "Lambda: invocations a second, ten times those at once",
    10 * LAMBDA_CONCURRENCY.limit,
    "Understanding Lambda function scaling",
    "request",
)
LAMBDA_SCALING = Quota(
    "Lambda: new environments of a function in 10 s", 1_000, "Lambda scaling behavior: concurrency scaling rate", "use"
)
DYNAMODB_TABLE_WRITES = Quota(
    "DynamoDB: write units of a table", 40_000, "DynamoDB quotas: throughput default quotas", "request"
)
DYNAMODB_NEW_TABLE_WRITES = Quota(
    "DynamoDB: write units of a new on-demand table",
    4_000,
    "DynamoDB on-demand capacity mode: initial throughput",
    "use",
)
DYNAMODB_PARTITION_WRITES = Quota(
    "DynamoDB: write units of one partition key",
    1_000,
    "Best practices for designing partition keys in DynamoDB",
    "design",
)
S3_WRITES = Quota("S3: writes below one prefix", 3_500, "Best practices design patterns: Amazon S3 performance", "use")
S3_READS = Quota("S3: reads below one prefix", 5_500, "Best practices design patterns: Amazon S3 performance", "use")
KMS_REQUESTS = Quota(
    "KMS: cryptographic requests (symmetric)",
    100_000,
    "KMS request quotas: us-east-1; 10,000 in most regions",
    "request",
)
EVENTBRIDGE_INVOCATIONS = Quota(
    "EventBridge: invocations of targets", 18_750, "EventBridge quotas: invocations throttle limit", "request"
)
STANDARD_STARTS = Quota(
    "Step Functions Standard: StartExecution",
    300,
    "Step Functions service quotas: API action throttling",
    "request",
    burst=1_300,
)
STANDARD_TRANSITIONS = Quota(
    "Step Functions Standard: state transitions",
    5_000,
    "Step Functions service quotas: state throttling",
    "request",
    burst=5_000,
)
EXPRESS_STARTS = Quota(
    "Step Functions Express: StartExecution",
    6_000,
    "Step Functions service quotas: API action throttling",
    "request",
    burst=6_000,
)
SNS_PUBLISHES = Quota("SNS: Publish to standard topics", 30_000, "SNS endpoints and quotas: API throttling", "request")
LOG_WRITES = Quota("CloudWatch Logs: PutLogEvents", 5_000, "CloudWatch Logs quotas", "request")


@dataclass(frozen=True)
class Price:
    """What a unit costs.

    Attributes:
        dollars: of one unit.
        page: the page of AWS, by its title.
    """

    dollars: float
    page: str


MILLION = 1_000_000

API_REQUEST = Price(3.50 / MILLION, "API Gateway pricing: REST APIs, first 333 million a month")
LAMBDA_REQUEST = Price(0.20 / MILLION, "Lambda pricing")
LAMBDA_GB_SECOND = {
    "arm64": Price(0.0000133334, "Lambda pricing: Arm, first 7.5 billion GB-seconds a month"),
    "x86_64": Price(0.0000166667, "Lambda pricing: x86, first 6 billion GB-seconds a month"),
}
DYNAMODB_WRITE = Price(0.625 / MILLION, "DynamoDB pricing: on-demand capacity")
DYNAMODB_READ = Price(0.125 / MILLION, "DynamoDB pricing: on-demand capacity")
S3_PUT = Price(0.005 / 1_000, "S3 pricing: requests, Standard")
S3_GET = Price(0.0004 / 1_000, "S3 pricing: requests, Standard")
KMS_REQUEST = Price(0.03 / 10_000, "KMS pricing")
EVENTBRIDGE_EVENT = Price(1.00 / MILLION, "EventBridge pricing: opt-in events of AWS services, which S3's are")
STANDARD_TRANSITION = Price(0.025 / 1_000, "Step Functions pricing: Standard")
EXPRESS_REQUEST = Price(1.00 / MILLION, "Step Functions pricing: Express")
EXPRESS_GB_SECOND = Price(0.00001667, "Step Functions pricing: Express, first 1,000 GB-hours a month")
SNS_PUBLISH = Price(0.50 / MILLION, "SNS pricing: standard topics; deliveries to SQS are free")
SQS_REQUEST = Price(0.40 / MILLION, "SQS pricing: standard queues")
LOG_GB = Price(0.50, "CloudWatch pricing: logs, collect")
XRAY_TRACE = Price(5.00 / MILLION, "X-Ray pricing: traces recorded")

# Where a unit becomes cheaper within a month: name, units a month, dollars of a unit from there on.
STEPS = (
    ("API Gateway requests", 333 * MILLION, 2.80 / MILLION),
    ("API Gateway requests", 1_000 * MILLION, 2.38 / MILLION),
    ("API Gateway requests", 20_000 * MILLION, 1.51 / MILLION),
    ("Lambda GB-seconds, arm64", 7_500 * MILLION, 0.0000120001),
    ("Step Functions Express GB-seconds", 3.6 * MILLION, 0.00000833),
    ("Step Functions Express GB-seconds", 18 * MILLION, 0.00000456),
)
