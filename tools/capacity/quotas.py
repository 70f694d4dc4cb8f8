"""AWS quotas on the path of an upload: the defaults of an account in us-east-1; some regions have less.

Each quota names its AWS page. They are not updated automatically: read the page before you change one. Prices are
in tools/operate/prices.toml.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quota:
    """A quota of AWS.

    Attributes:
        limit: units a second, unless `what` says otherwise.
        burst: units at once, on top of what comes back each second; 0 where AWS names none.
        page: the page of AWS, by its title.
        raised_by: how it grows: by `request` (Service Quotas), by a `setting` of Sluice, by `use` (AWS raises it with
            traffic), or only by `design` (keys have to spread).
    """

    what: str
    limit: float
    page: str
    raised_by: str
    burst: float = 0


STAGE_THROTTLE = "the stage's own throttle"
"""Name of the quota that the setting API_THROTTLE_RATE makes."""

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
DYNAMODB_TRANSACTIONS_OF_AN_ITEM = Quota(
    "DynamoDB: transactions on one item, one after the other", 1, "DynamoDB transactions: conflicts", "design"
)
