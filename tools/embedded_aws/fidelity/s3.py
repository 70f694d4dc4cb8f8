"""S3: sizes and headers that AWS does not accept, and functions that it may not invoke."""

# mypy: disable-error-code="import-not-found"
import json
import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from ministack.services import eventbridge, lambda_svc, s3

from . import hook, iam
from .hook import Function
from .settings import Settings

MINIMUM_PART_BYTES = 5 * 1024 * 1024


def refuse_small_parts(_: Settings) -> None:
    """Answer EntityTooSmall when a part of a multipart upload, other than the last, is below 5 MiB.

    AWS checks the sizes when the upload is completed
    (https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html). ministack completes it. The
    fix looks at the parts that the request names before ministack does; what else is wrong stays ministack's answer.
    """
    fix = "s3.refuse_small_parts"
    uploads = hook.attribute(fix, s3, "_multipart_uploads")
    error = hook.attribute(fix, s3, "_error")

    def make(original: Function) -> Function:
        def complete(
            bucket_name: str, key: str, body: bytes, query_params: dict[str, Any], headers: object = None
        ) -> object:
            upload_id = (query_params.get("uploadId") or [""])[0]
            parts = (uploads.get(upload_id) or {}).get("parts") or {}
            named = sorted({int(number) for number in re.findall(rb"<PartNumber>\s*(\d+)\s*</PartNumber>", body)})
            if all(number in parts for number in named):
                for number in named[:-1]:
                    size = len(parts[number]["body"])
                    if size < MINIMUM_PART_BYTES:
                        return error(
                            "EntityTooSmall",
                            "Your proposed upload is smaller than the minimum allowed size",
                            400,
                            f"/{bucket_name}/{key}",
                            extra={
                                "ProposedSize": str(size),
                                "MinSizeAllowed": str(MINIMUM_PART_BYTES),
                                "PartNumber": str(number),
                            },
                        )
            return original(bucket_name, key, body, query_params, headers)

        return complete

    hook.replace(fix, s3, "_complete_multipart_upload", make, "bucket_name key body query_params headers")


def check_posted_bytes(_: Settings) -> None:
    """Refuse a posted form whose file is not what its checksum says, and keep the checksum with the object.

    AWS reads `x-amz-checksum-sha256` and its like in a form as it reads the headers of a put
    (https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html). ministack lets the policy compare the field
    and looks no further. The fix compares the bytes, and hands the checksum on to the record of the object.
    """
    fix = "s3.check_posted_bytes"
    parse = hook.attribute(fix, s3, "_parse_multipart_form")
    resolve = hook.attribute(fix, s3, "_resolve_object_checksums")
    posted: ContextVar[dict[str, str] | None] = ContextVar("posted", default=None)

    def make_post(original: Function) -> Function:
        def post(bucket_name: str, body: bytes, headers: dict[str, str]) -> object:
            form = parse(headers.get("content-type", ""), body)
            named = {name.lower(): value for name, _, _, value in form}
            claimed = {
                name: value.decode("latin-1") for name, value in named.items() if name.startswith("x-amz-checksum-")
            }
            claimed.pop("x-amz-checksum-algorithm", None)
            checksums, refused = resolve(named.get("file", b""), claimed)
            if refused:
                return refused
            token = posted.set(checksums)
            try:
                return original(bucket_name, body, headers)
            finally:
                posted.reset(token)

        return post

    def make_record(original: Function) -> Function:
        def build(
            body: bytes, headers: dict[str, str], etag: str | None = None, checksums: dict[str, str] | None = None
        ) -> object:
            return original(body, headers, etag=etag, checksums=checksums or posted.get())

        return build

    hook.replace(fix, s3, "_post_object", make_post, "bucket_name body headers")
    hook.replace(fix, s3, "_build_object_record", make_record, "body headers etag checksums")


# This header only has the hash of the payload; it does not change what S3 does.
_MAY_BE_UNSIGNED = frozenset({"x-amz-content-sha256"})


def refuse_headers_that_are_not_signed(_: Settings) -> None:
    """Refuse a signed request with an `x-amz-` header that its signature does not cover.

    AWS wants each such header among the signed ones (X-Amz-SignedHeaders,
    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html), so that the holder of a link can do
    what it says and nothing else: no other tags, storage class, encryption or source of a copy. It
    answers 403 AccessDenied and names the headers. ministack follows them. The fix compares the names.
    """
    fix = "s3.refuse_headers_that_are_not_signed"
    error = hook.attribute(fix, s3, "_error")

    def make(original: Function) -> Function:
        def verify(method: str, path: str, headers: dict[str, str], query_params: dict[str, Any]) -> object:
            refused = original(method, path, headers, query_params)
            signed = _signed_headers(headers, query_params)
            if refused is not None or signed is None:
                return refused
            # By now ministack has made headers of what came behind the body, which the signed header announces.
            trailers = {name.strip().lower() for name in headers.get("x-amz-trailer", "").split(",")}
            names = {name.lower() for name in headers} - signed - trailers - _MAY_BE_UNSIGNED
            unsigned = sorted(name for name in names if name.startswith("x-amz-"))
            if unsigned:
                said = "There were headers present in the request which were not signed"
                return error("AccessDenied", said, 403, path, extra={"HeadersNotSigned": ", ".join(unsigned)})
            return None

        return verify

    hook.replace(fix, s3, "_verify_presigned_sigv4", make, "method path headers query_params")


def _signed_headers(headers: Mapping[str, str], query_params: Mapping[str, Any]) -> set[str] | None:
    """Return the header names that a signature covers (Signature Version 4); None if there is no signature."""
    query = {name.lower(): value for name, value in query_params.items()}
    if "x-amz-signature" in query:
        named = query.get("x-amz-signedheaders") or ""
        return set(str(named[0] if isinstance(named, list) else named).lower().split(";"))
    found = re.search(r"^AWS4-\S+ .*SignedHeaders=([^,\s]+)", headers.get("authorization", ""))
    return set(found[1].lower().split(";")) if found else None


def ask_functions_for_permission(_: Settings) -> None:
    """Notify only a function whose policy lets S3 invoke it on behalf of the bucket.

    AWS needs a permission for s3.amazonaws.com on the function
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/grant-destinations-permissions-to-s3.html). ministack asks
    topics and queues, but not functions. The fix takes the bucket from the event and asks the policy.
    """
    fix = "s3.ask_functions_for_permission"
    hook.attribute(fix, lambda_svc, "function_policy_for_arn")

    def make(original: Function) -> Function:
        def deliver(arn: str, event_payload: dict[str, Any], bucket_region: str) -> None:
            bucket = event_payload["Records"][0]["s3"]["bucket"]
            source = f"arn:aws:s3:::{bucket['name']}"
            found = lambda_svc.function_policy_for_arn(arn)
            policy = found[0] if found else None
            account = s3._bucket_owner_account(bucket["name"]) or arn.split(":")[4]
            action = "lambda:InvokeFunction"
            if iam.service_may("s3.amazonaws.com", action, arn, bucket_region, source, policy, account):
                original(arn, event_payload, bucket_region)
            else:
                s3.logger.warning("S3 notification: %s does not let %s in", arn, source)

        return deliver

    hook.attribute(fix, s3, "_bucket_owner_account")
    hook.replace(fix, s3, "_deliver_event_to_lambda", make, "arn event_payload bucket_region")


_stored_version: ContextVar[str | None] = ContextVar("stored_version", default=None)


def name_the_version_in_events(_: Settings) -> None:
    """Add the version of the object to events for EventBridge.

    AWS does where the bucket has versions
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html); ministack has it only in notifications.
    """
    fix = "s3.name_the_version_in_events"

    def make_fire(original: Function) -> Function:
        def fire(*words: object, version_id: str | None = None, **named: object) -> object:
            token = _stored_version.set(version_id)
            try:
                return original(*words, version_id=version_id, **named)
            finally:
                _stored_version.reset(token)

        return fire

    def make_dispatch(original: Function) -> Function:
        def dispatch(event: dict[str, Any], *words: object, **named: object) -> object:
            version = _stored_version.get()
            if version and event.get("Source") == "aws.s3":
                detail = json.loads(event["Detail"])
                detail["object"]["version-id"] = version
                event = {**event, "Detail": json.dumps(detail)}
            return original(event, *words, **named)

        return dispatch

    hook.replace(fix, s3, "_fire_s3_event", make_fire, "version_id")
    hook.replace(fix, eventbridge, "_dispatch_event", make_dispatch)
