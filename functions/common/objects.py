"""The bytes of a file in S3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class Stored:
    """What S3 has: size in bytes, SHA-256 in base64."""

    size: int
    checksum: str


class Objects:
    """The bucket that holds the files."""

    def __init__(self, client: S3Client, bucket_name: str) -> None:
        self._client = client
        self._bucket_name = bucket_name

    def put(self, key: str, content: bytes, *, content_type: str, checksum: str) -> None:
        """Store the bytes under the bucket's key; S3 refuses them if they do not match the checksum.

        Args:
            checksum: SHA-256 of the content in base64.

        Raises:
            ClientError: S3 refused; PreconditionFailed if the object key is taken.
        """
        self._client.put_object(
            Bucket=self._bucket_name,
            Key=key,
            Body=content,
            ContentType=content_type,
            ChecksumSHA256=checksum,
            IfNoneMatch="*",
        )

    def head(self, key: str) -> Stored | None:
        """What is stored under a key, or None.

        Raises:
            ClientError: S3 refused.
        """
        try:
            found = self._client.head_object(Bucket=self._bucket_name, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if error.response["Error"]["Code"] == "404":
                return None
            raise
        return Stored(found["ContentLength"], found.get("ChecksumSHA256", ""))

    def download_link(self, key: str, *, file_name: str, seconds: int) -> str:
        """A link that gives the object, as an attachment with its name, to whoever holds it for this many seconds."""
        return self._client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self._bucket_name,
                "Key": key,
                # RFC 6266: a name outside ASCII goes into filename*; "attachment" keeps a browser from running it.
                "ResponseContentDisposition": f"attachment; filename*=UTF-8''{quote(file_name, safe='')}",
            },
            ExpiresIn=seconds,
        )
