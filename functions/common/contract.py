"""Facts that the infrastructure and the functions agree on; each is written down here and nowhere else.

`modules` imports this file to synthesize, and the package of every function contains it, so it needs only the standard
library. Facts that callers of the API know are in docs/openapi.yaml too; a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

# Files in S3. The lifecycle, the scan and every permission are for keys that begin with this prefix.
FILES_PREFIX = "uploads/"
# GuardDuty, "S3 object potential scan result value": the tag of a scanned object, and its value for a clean one.
SCAN_TAG = "GuardDutyMalwareScanStatus"
SCAN_CLEAN = "NO_THREATS_FOUND"

# Indexes of the tables: records and quotas by the time when they are due, records by owner.
BY_DUE = "by-due"
BY_OWNER = "by-owner"
# Attributes of a record in the index by owner, beside its keys.
LISTED_ATTRIBUTES = ("file_name", "content_type", "size", "state", "ends_as", "checksum")
# The items of the index by time are spread over so many keys: one key takes 1,000 writes a second (DynamoDB,
# "Designing partition keys to distribute your workload"), so this many take 16,000.
DUE_SHARDS = 16
# The id of a record that does not exist. The function `health` may read only this one.
HEALTH_PROBE_ID = "health"

# The alias of every function. Callers invoke the alias, so a release or a rollback moves only one pointer.
LIVE_ALIAS = "live"
# The schedule of the function `sweep`, and the field of its event that names it.
SWEEP_SCHEDULE = "sweep_schedule"
TASK = "task"

# Messages of log lines that a metric filter or a saved query looks for.
TOKEN_REFUSED = "token refused"  # noqa: S105 - no secret
NOT_DELIVERED = "not delivered"

# What every secret of a webhook begins with (Standard Webhooks, "Signature scheme").
WEBHOOK_SECRET_PREFIX = "whsec_"  # noqa: S105 - no secret

# A file of up to this many bytes is sent in one piece; a larger one in parts (S3, "Multipart upload limits"). A part
# has the smallest size, doubled until the file has no more parts than S3 allows.
MAX_POST_BYTES = 100_000_000
MIN_PART_BYTES = 8 * 2**20
MAX_PARTS = 10_000
MAX_FILE_BYTES = 5 * 2**40
# Links to parts in the answer to a start, and in one later call.
MAX_FIRST_PARTS = 10
MAX_PARTS_PER_CALL = 100
# Bytes of a file in the body of POST /upload. Lambda takes 6 MB a request ("Lambda quotas"), with base64 and JSON.
MAX_CONTENT_BYTES = 4_500_000
MAX_NAME_BYTES = 255
# Files on a page of a list.
DEFAULT_PAGE = 50
MAX_PAGE = 100
# Seconds for which a link to a file's content is good.
CONTENT_LINK_SECONDS = 60
# Bytes that the inspection reads of a file in its first request: every signature is in them.
HEAD_BYTES = 65_536

# What becomes of a file whose declared type is wrong but harmless: its type is corrected, or it is rejected.
ContentTypeCheck = Literal["correct", "strict"]

# Headers that a page of another origin may read (Fetch standard, "CORS-safelisted response-header name"): the address
# of an upload, the time to wait, and the request ids that AWS Support and the logs know.
EXPOSED_HEADERS = ("Location", "Retry-After", "WWW-Authenticate", "x-amzn-RequestId", "x-amz-apigw-id")

# Refusals that both API Gateway and the functions answer with.
UNAUTHORIZED = "Unauthorized"
NO_ROUTE = "No such path or method"
INVALID_JSON = "Invalid JSON in request body"


class State(StrEnum):
    """The state of a file, as its record holds it. Callers see `ends_as` in place of `ending`."""

    UPLOADING = "uploading"
    SCANNING = "scanning"
    AVAILABLE = "available"
    ENDING = "ending"
    ABORTED = "aborted"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DELETED = "deleted"
    QUARANTINED = "quarantined"


class NextStep(StrEnum):
    """The next step for a file after its inspection; the workflow branches on it.

    To discard a file that is in use means to remove its older versions.
    """

    OPEN = "open"
    WAIT_FOR_SCAN = "wait for scan"
    ANNOUNCE = "announce"
    ALERT_AND_ANNOUNCE = "alert and announce"
    DISCARD = "discard"
    NOTHING = "nothing"


class FileEvent(StrEnum):
    """The kinds of events that subscribers and webhooks get about files."""

    UPLOADED = "file_uploaded"
    REJECTED = "file_rejected"
    QUARANTINED = "file_quarantined"


class FailureCode(StrEnum):
    """The reasons why a file is not available, for programs. A new reason is one more line here and in OpenAPI."""

    TYPE_MISMATCH = "type_mismatch"
    TYPE_NOT_ALLOWED = "type_not_allowed"
    NOT_JUDGED = "not_judged"
    SIZE_MISMATCH = "size_mismatch"
    CHECKSUM_MISMATCH = "checksum_mismatch"
    BYTES_MISSING = "bytes_missing"
    NOT_AS_DECLARED = "not_as_declared"
    MALWARE_FOUND = "malware_found"
    SCAN_FAILED = "scan_failed"
    SCAN_LATE = "scan_late"
    NOT_CLEAN = "not_clean"
    PROCESSING_FAILED = "processing_failed"


@dataclass(frozen=True)
class Failure:
    """The reason why a file is not available.

    Attributes:
        code: the kind of failure, for programs.
        sentence: the reason in words, for people; it contains nothing that AWS said.
    """

    code: FailureCode
    sentence: str

    def __str__(self) -> str:
        """Return the text that a record holds."""
        return f"{self.code}: {self.sentence}"


PROCESSING_FAILED = Failure(FailureCode.PROCESSING_FAILED, "the file could not be processed yet; it is tried again")


class Problem(StrEnum):
    """The kinds of errors that the API answers with, as the end of their type (RFC 9457)."""

    INVALID_REQUEST = "invalid-request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    QUOTA_EXCEEDED = "quota-exceeded"
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    TOO_LARGE = "too-large"
    UNSUPPORTED_TYPE = "unsupported-type"
    IDEMPOTENCY_KEY_REUSED = "idempotency-key-reused"
    TOO_MANY_REQUESTS = "too-many-requests"
    INTERNAL = "internal"


PROBLEM_JSON = "application/problem+json"


def problem_body(kind: Problem, status: int, detail: str) -> dict[str, object]:
    """Return the members of an error that RFC 9457 names.

    Args:
        status: the HTTP status.
        detail: what is wrong this time, and what to do about it.
    """
    return {
        "type": f"urn:sluice:problem:{kind}",
        "title": kind.replace("-", " ").capitalize(),
        "status": status,
        "detail": detail,
    }


# Errors whose class names are read outside of the functions: by the workflow, or by a saved query.


class FileFailureError(Exception):
    """Base of errors that carry a failure. The workflow writes its text into the record, and the owner reads it."""

    def __init__(self, code: FailureCode, sentence: str) -> None:
        super().__init__(str(Failure(code, sentence)))


class Rejected(FileFailureError):  # noqa: N818 - the workflow knows this name
    """The file is not as declared; another attempt would have the same result."""


class Quarantined(FileFailureError):  # noqa: N818 - the workflow knows this name
    """The file may be malware: its bytes are kept, and downloads are refused."""


class IssuerError(Exception):
    """The keys of the issuer of tokens cannot be fetched, or are not keys."""


class WebhookReceiver(NamedTuple):
    """A receiver of webhooks, as the variable RECEIVERS has it: three values with `=` between them.

    Attributes:
        url: address of the receiver.
    """

    queue_url: str
    secret_arn: str
    url: str

    def __str__(self) -> str:
        return "=".join(self)

    @classmethod
    def from_text(cls, text: str) -> WebhookReceiver:
        """Read what `str` writes.

        Raises:
            TypeError: a value is missing.
        """
        return cls(*text.split("=", 2))

    @property
    def queue_name(self) -> str:
        """Name of the queue."""
        return self.queue_url.rpartition("/")[2]


def object_key(file_id: str) -> str:
    """Return the key of a file's object in the bucket."""
    return f"{FILES_PREFIX}{file_id}"


def stored_event(key: str) -> dict[str, object]:
    """Return the part of S3's event about a stored object that the workflow reads (S3, "Event message structure")."""
    return {"detail": {"object": {"key": key}}}
