"""The bytes of a file in S3, and the links with which callers send and download them."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Links carry their seconds; a caller whose clock is off still has to have some.
MIN_LINK_SECONDS = 1
_CONFLICTS = 6


class NoUploadError(Exception):
    """S3 knows no such multipart upload: it was completed, or aborted."""


@dataclass(frozen=True)
class Stored:
    """An object in S3: size in bytes, SHA-256 in base64, time, and version."""

    size: int
    checksum: str
    since: datetime
    version_id: str = ""


@dataclass(frozen=True)
class Part:
    """A part that S3 has: its number from 1, size in bytes, SHA-256 in base64, and S3's tag of it."""

    number: int
    size: int
    checksum: str
    tag: str


def client() -> S3Client:
    """S3 as links need it: signature version 4, without which nothing under a customer key is given out (S3,
    "Protecting data with SSE-KMS"), and the region's own address, since a preflight does not follow a redirect.
    """
    regional = f"https://s3.{os.environ['AWS_REGION']}.amazonaws.com"
    return boto3.client(
        "s3",
        endpoint_url=os.environ.get("AWS_ENDPOINT_URL") or regional,
        config=Config(signature_version="s3v4"),
    )


class Objects:
    """The bucket that holds the files."""

    def __init__(self, client: S3Client, bucket_name: str) -> None:
        self._client = client
        self._bucket_name = bucket_name

    def put(self, key: str, content: bytes, *, content_type: str, checksum: str) -> None:
        """Store the bytes of a new file under the bucket's key; S3 refuses them if they do not match the checksum.

        botocore repeats a request when the answer was lost. S3 then answers that the key exists (412), or that the
        first request is still running (409; S3, "How to prevent object overwrites with conditional writes"). Only the
        caller knows the key of a new file, so an object under this key has these bytes.

        Args:
            checksum: SHA-256 of the content in base64.

        Raises:
            ClientError: S3 refused.
        """
        for attempt in range(_CONFLICTS):
            try:
                self._client.put_object(
                    Bucket=self._bucket_name,
                    Key=key,
                    Body=content,
                    ContentType=content_type,
                    ChecksumSHA256=checksum,
                    IfNoneMatch="*",
                )
            except ClientError as error:
                if error.response["Error"]["Code"] == "PreconditionFailed":
                    return
                if error.response["Error"]["Code"] != "ConditionalRequestConflict" or attempt == _CONFLICTS - 1:
                    raise
                time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311 - jitter, not a secret
            else:
                return

    def head(self, key: str) -> Stored | None:
        """Return the object under a key, or None.

        Raises:
            ClientError: S3 refused.
        """
        try:
            found = self._client.head_object(Bucket=self._bucket_name, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if error.response["Error"]["Code"] == "404":
                return None
            raise
        return Stored(
            found["ContentLength"], found.get("ChecksumSHA256", ""), found["LastModified"], found.get("VersionId", "")
        )

    def is_there(self, key: str) -> bool:
        """Return whether there is an object under a key; this needs no permission to read it.

        Raises:
            ClientError: S3 refused.
        """
        found = self._client.list_objects_v2(Bucket=self._bucket_name, Prefix=key, MaxKeys=1)
        return [each["Key"] for each in found.get("Contents", [])] == [key]

    def tags(self, key: str) -> dict[str, str]:
        """Return the tags of an existing object.

        Raises:
            ClientError: S3 refused.
        """
        found = self._client.get_object_tagging(Bucket=self._bucket_name, Key=key)
        return {tag["Key"]: tag["Value"] for tag in found["TagSet"]}

    def read(self, key: str, start: int, count: int) -> bytes:
        """Read `count` bytes of an object from the position `start`; the object has to exist and to contain that range.

        Raises:
            ClientError: S3 refused.
        """
        found = self._client.get_object(Bucket=self._bucket_name, Key=key, Range=f"bytes={start}-{start + count - 1}")
        return found["Body"].read()

    def post_form(
        self, key: str, *, size: int, content_type: str, checksum: str, key_arn: str, seconds: int
    ) -> dict[str, Any]:
        """Return a form, `url` and `fields`, whose holder can store only these bytes under this key.

        The policy pins everything (S3, "POST policy"): S3 refuses another key, size, type, checksum or encryption.
        """
        fields = {
            "Content-Type": content_type,
            "x-amz-checksum-algorithm": "SHA256",
            "x-amz-checksum-sha256": checksum,
            "x-amz-server-side-encryption": "aws:kms",
            "x-amz-server-side-encryption-aws-kms-key-id": key_arn,
        }
        conditions: list[Any] = [{name: value} for name, value in fields.items()]
        form = self._client.generate_presigned_post(
            self._bucket_name,
            key,
            Fields=dict(fields),
            Conditions=[*conditions, ["content-length-range", size, size]],
            ExpiresIn=max(MIN_LINK_SECONDS, seconds),
        )
        return {"url": form["url"], "fields": form["fields"]}

    def begin_parts(self, key: str, *, content_type: str) -> str:
        """Start a multipart upload whose parts have SHA-256 checksums, and return its id.

        Raises:
            ClientError: S3 refused.
        """
        return self._client.create_multipart_upload(
            Bucket=self._bucket_name,
            Key=key,
            ContentType=content_type,
            ChecksumAlgorithm="SHA256",
            ChecksumType="COMPOSITE",
        )["UploadId"]

    def part_link(self, key: str, upload_id: str, *, number: int, size: int, checksum: str, seconds: int) -> str:
        """Return a link whose holder can put one part; size and checksum are signed: S3 accepts only these bytes."""
        return self._client.generate_presigned_url(
            "upload_part",
            Params={
                "Bucket": self._bucket_name,
                "Key": key,
                "UploadId": upload_id,
                "PartNumber": number,
                "ContentLength": size,
                "ChecksumSHA256": checksum,
            },
            ExpiresIn=max(MIN_LINK_SECONDS, seconds),
        )

    def parts(self, key: str, upload_id: str) -> list[Part]:
        """Yield the parts that S3 has, ordered by number.

        Raises:
            NoUploadError: the upload was completed or aborted.
            ClientError: S3 refused.
        """
        found: list[Part] = []
        try:
            for page in self._client.get_paginator("list_parts").paginate(
                Bucket=self._bucket_name, Key=key, UploadId=upload_id
            ):
                found += [
                    Part(part["PartNumber"], part["Size"], part.get("ChecksumSHA256", ""), part["ETag"])
                    for part in page.get("Parts", [])
                ]
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchUpload":
                raise NoUploadError(upload_id) from None
            raise
        return found

    def complete(self, key: str, upload_id: str, parts: Sequence[Part], *, size: int) -> None:
        """Complete a multipart upload; S3 checks the checksums of the parts and the total size again.

        Raises:
            NoUploadError: somebody else completed or aborted it.
            ClientError: S3 refused.
        """
        try:
            self._client.complete_multipart_upload(
                Bucket=self._bucket_name,
                Key=key,
                UploadId=upload_id,
                MultipartUpload={
                    "Parts": [
                        {"PartNumber": part.number, "ETag": part.tag, "ChecksumSHA256": part.checksum} for part in parts
                    ]
                },
                MpuObjectSize=size,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchUpload":
                raise NoUploadError(upload_id) from None
            raise

    def remove(self, key: str, *, leave_marker: bool) -> None:
        """Delete everything under a key: versions, delete markers and unfinished uploads.

        Args:
            leave_marker: mark what is there as deleted, and leave it to the lifecycle. S3 copies a marker to a bucket
                of copies, which hears of no version that is deleted ("What does Amazon S3 replicate?").

        Raises:
            ClientError: S3 refused; AccessDenied also for a version under a legal hold.
        """
        self.abort_uploads(key)
        for versions in self._client.get_paginator("list_object_versions").paginate(
            Bucket=self._bucket_name, Prefix=key
        ):
            stored = [each for each in versions.get("Versions", []) if each["Key"] == key]
            if leave_marker:
                if any(version["IsLatest"] for version in stored):
                    self._client.delete_object(Bucket=self._bucket_name, Key=key)
                continue
            marked = [each for each in versions.get("DeleteMarkers", []) if each["Key"] == key]
            for version in [*stored, *marked]:
                # One by one: to delete several at once takes the right to delete without naming a version.
                self._client.delete_object(Bucket=self._bucket_name, Key=key, VersionId=version["VersionId"])

    def remove_older(self, key: str) -> None:
        """Delete all versions of a key except the newest one and those under a legal hold.

        If the newest version is a delete marker, a user or the lifecycle deleted the object without naming a version.
        Then all versions stay, so that the object can be restored.

        Raises:
            ClientError: S3 refused a call for a reason other than a legal hold.
        """
        for versions in self._client.get_paginator("list_object_versions").paginate(
            Bucket=self._bucket_name, Prefix=key
        ):
            if any(marker["Key"] == key and marker["IsLatest"] for marker in versions.get("DeleteMarkers", [])):
                return
            for version in versions.get("Versions", []):
                if version["Key"] == key and not version["IsLatest"]:
                    try:
                        self._client.delete_object(Bucket=self._bucket_name, Key=key, VersionId=version["VersionId"])
                    except ClientError as error:
                        if error.response["Error"]["Code"] != "AccessDenied":
                            raise

    def abort_uploads(self, key: str) -> None:
        """Abort the unfinished multipart uploads of a key.

        Raises:
            ClientError: S3 refused.
        """
        for uploads in self._client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self._bucket_name, Prefix=key
        ):
            for upload in uploads.get("Uploads", []):
                if upload["Key"] == key:
                    self._abort(key, upload["UploadId"])

    def with_older_versions(self, prefix: str, *, start: str, pages: int) -> Iterator[str]:
        """Yield the keys below a prefix that have older versions, from a limited number of pages of S3's list.

        Keys whose newest version is a delete marker are left out; see `remove_older`.

        Args:
            start: the list begins after this key; after its end it continues at the beginning of the prefix.
            pages: number of pages to read, of a thousand versions each.

        Raises:
            ClientError: S3 refused.
        """
        deleted: set[str] = set()
        marker, from_the_top = {"KeyMarker": start}, False
        for _ in range(pages):
            page = self._client.list_object_versions(Bucket=self._bucket_name, Prefix=prefix, **marker)  # type: ignore[arg-type]
            # S3 lists the newest of a key first.
            deleted |= {each["Key"] for each in page.get("DeleteMarkers", []) if each["IsLatest"]}
            older = dict.fromkeys(each["Key"] for each in page.get("Versions", []) if not each["IsLatest"])
            yield from (key for key in older if key not in deleted)
            if page.get("IsTruncated"):
                marker = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
            elif from_the_top:
                return
            else:
                marker, from_the_top = {}, True

    def _abort(self, key: str, upload_id: str) -> None:
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket_name, Key=key, UploadId=upload_id)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchUpload":
                raise

    def download_link(self, key: str, *, file_name: str, content_type: str, seconds: int) -> str:
        """Return a link that downloads the object as an attachment with its name, valid for this many seconds.

        Args:
            content_type: `Content-Type` of the answer, independent of the type that the object was stored with.
        """
        return self._client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self._bucket_name,
                "Key": key,
                # RFC 6266: a name outside ASCII goes into filename*; "attachment" keeps a browser from running it.
                "ResponseContentType": content_type,
                "ResponseContentDisposition": f"attachment; filename*=UTF-8''{quote(file_name, safe='')}",
            },
            ExpiresIn=seconds,
        )


def seconds_left(ends: str, now: datetime, *, at_most: int) -> int:
    """Return the seconds for which a link may be valid that must not outlive a time.

    Args:
        ends: the time, as records hold it.
    """
    return max(MIN_LINK_SECONDS, min(at_most, int((datetime.fromisoformat(ends) - now).total_seconds())))
