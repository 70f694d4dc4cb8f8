"""Assumptions of docs/cost.md and docs/scale.md: values that the Terraform JSON does not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from functions.common.contract import BY_DUE, DUE_SHARDS


@dataclass(frozen=True)
class Assumptions:
    """Values that have to be assumed, each with its reason.

    Attributes:
        milliseconds: billed duration of an invocation by function, at the memory of the settings. `uploads`: 60 and
            not 80, since docs/benchmarks.md measured 1.4 ms of its own and the rest is one transaction of DynamoDB.
            `inspect`: one read of DynamoDB and three requests to S3, one after the other.
        cold_share: share of invocations that start a new environment.
        cold_milliseconds: duration that such a start adds. docs/benchmarks.md measured 0.7 s for the import; the
            runtime's own start is added.
        status_calls: how often a client asks for the state of a file. The bill and the API's throttle count it.
        looks: requests to S3 of `inspect` for one file: size and checksum, first bytes. A file of more than HEAD_BYTES
            needs one more, for the last bytes.
        record_bytes: size of a record in DynamoDB. A write is rounded up to whole KiB, so 700 bytes and 0.8 KiB cost
            the same; 700 is nearer to a record with a file name of ordinary length.
        transaction_seconds: how long DynamoDB holds the items of a transaction; a second one on the same item in that
            time is refused (DynamoDB, "Transaction conflict handling").
        index_keys: number of values that the hash key of an index has at once; an index that is not listed has one
            value an owner.
        function_log_bytes: log lines of an invocation, the platform's among them.
        access_log_bytes: a line of the API's access log.
        state_log_bytes: size of the log of one state, at level ALL with data: three events, each with the data of the
            run. A total of 8 kB an upload would be less than seven states write.
        log_compression: stored bytes for each ingested one (CloudWatch's own figure).
        bucket_key_share: share of S3's requests that reach KMS with a bucket key. AWS names no better figure than
            "up to 99 percent" fewer (S3, "Reducing the cost of SSE-KMS with Amazon S3 Bucket Keys").
        xray_share: share of requests that are traced beyond the first in each second (X-Ray's default rule).
        receive_requests: requests to the inbox for each message: receive and delete.
        express_seconds: duration of a run, if the workflow were Express: 0.12 s for `inspect` and some 0.1 s for each
            of the three calls of DynamoDB and SNS. Express bills steps of 0.1 s.
        express_mib: memory of an Express run, which Express bills in steps of 64 MB.
        data_key_minutes: how long SNS, SQS and DynamoDB use a data key again.
    """

    milliseconds: Mapping[str, int] = field(
        default_factory=lambda: {
            "uploads": 60,
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
    transaction_seconds: float = 0.015
    index_keys: Mapping[str, int] = field(default_factory=lambda: {BY_DUE: DUE_SHARDS})
    function_log_bytes: int = 900
    access_log_bytes: int = 750
    state_log_bytes: int = 2_500
    log_compression: float = 0.15
    bucket_key_share: float = 0.01
    xray_share: float = 0.05
    receive_requests: int = 2
    express_seconds: float = 0.5
    express_mib: int = 64
    data_key_minutes: int = 5
