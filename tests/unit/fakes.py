"""AWS in memory, as far as the functions use it. Names of arguments are boto3's."""
# ruff: noqa: N803, ANN401

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def refusal(code: str, operation: str) -> ClientError:
    """Return the error that boto3 raises when AWS refuses a call."""
    return ClientError({"Error": {"Code": code, "Message": f"secret detail of {operation}"}}, operation)


FILES, QUOTAS = "files", "quotas"


def create_tables(client: DynamoDBClient) -> None:
    """Create the two tables of modules/tables.py."""
    due = {"IndexName": "by-due", "KeySchema": _key("due_shard", "due_time"), "Projection": {"ProjectionType": "ALL"}}
    own = {"IndexName": "by-owner", "KeySchema": _key("owner", "upload_time"), "Projection": {"ProjectionType": "ALL"}}
    for name, key, indexes in ((FILES, "file_id", [due, own]), (QUOTAS, "owner", [due])):
        keys = {key, *(part["AttributeName"] for index in indexes for part in index["KeySchema"])}
        client.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=_key(key),
            AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in sorted(keys)],
            GlobalSecondaryIndexes=indexes,  # type: ignore[arg-type]
        )


def _key(*names: str) -> Any:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)]


class FakeS3:
    """A versioned S3 bucket in memory, with the operations of the functions; it checks checksums and sizes."""

    def __init__(self) -> None:
        self.versions: dict[str, list[tuple[str, bytes, str]]] = {}
        self.uploads: dict[str, tuple[str, dict[int, bytes]]] = {}
        self.failing = False
        self.ranges: list[tuple[int, int]] = []
        self.kept: set[str] = set()
        self.markers: dict[str, list[str]] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.modified = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
        self._ids = itertools.count(1)

    @property
    def objects(self) -> dict[str, bytes]:
        """Return the current version of each object."""
        return {
            key: versions[-1][1]
            for key, versions in self.versions.items()
            if versions and self._history(key)[-1] == versions[-1][0]
        }

    def _history(self, key: str) -> list[str]:
        """Ids of versions and delete markers, oldest first."""
        ids = [*(version[0] for version in self.versions.get(key, [])), *self.markers.get(key, [])]
        return sorted(ids, key=lambda each: int(each[1:]))

    def store(self, key: str, content: bytes, checksum: str = "") -> None:
        """Store a version."""
        self.versions.setdefault(key, []).append((f"v{next(self._ids)}", content, checksum or sha256(content)))

    def put_object(self, **request: Any) -> None:
        self._may_fail("PutObject")
        assert request["ContentType"]
        assert request["IfNoneMatch"] == "*"
        assert request["ChecksumSHA256"] == sha256(request["Body"])
        if request["Key"] in self.objects:
            raise refusal("PreconditionFailed", "PutObject")
        self.store(request["Key"], request["Body"])

    def head_object(self, *, Bucket: str, Key: str, ChecksumMode: str) -> dict[str, Any]:
        self._may_fail("HeadObject")
        assert ChecksumMode == "ENABLED"
        if not self.versions.get(Key):
            raise refusal("404", "HeadObject")
        version, content, checksum = self.versions[Key][-1]
        return {
            "ContentLength": len(content),
            "ChecksumSHA256": checksum,
            "VersionId": version,
            "LastModified": self.modified,
        }

    def list_objects_v2(self, *, Bucket: str, Prefix: str, MaxKeys: int) -> dict[str, Any]:
        self._may_fail("ListObjectsV2")
        found = sorted(key for key in self.objects if key.startswith(Prefix))[:MaxKeys]
        return {"Contents": [{"Key": key} for key in found]} if found else {}

    def get_object_tagging(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        self._may_fail("GetObjectTagging")
        assert Key in self.objects
        return {"TagSet": [{"Key": name, "Value": value} for name, value in self.tags.get(Key, {}).items()]}

    def get_object(self, *, Bucket: str, Key: str, Range: str) -> dict[str, Any]:
        first, _, last = Range.removeprefix("bytes=").partition("-")
        assert 0 <= int(first) <= int(last) < len(self.objects[Key]), "S3 answers 416 where nothing of a range is there"
        self.ranges.append((int(first), int(last)))
        return {"Body": io.BytesIO(self.objects[Key][int(first) : int(last) + 1])}

    def create_multipart_upload(self, **request: Any) -> dict[str, str]:
        assert (request["ChecksumAlgorithm"], request["ChecksumType"]) == ("SHA256", "COMPOSITE")
        upload_id = f"m{next(self._ids)}"
        self.uploads[upload_id] = (request["Key"], {})
        return {"UploadId": upload_id}

    def complete_multipart_upload(self, **request: Any) -> None:
        key, parts = self._upload(request["UploadId"])
        listed = request["MultipartUpload"]["Parts"]
        assert [part["PartNumber"] for part in listed] == sorted(parts)
        assert [part["ChecksumSHA256"] for part in listed] == [sha256(parts[number]) for number in sorted(parts)]
        content = b"".join(parts[number] for number in sorted(parts))
        assert request["MpuObjectSize"] == len(content)
        digests = b"".join(hashlib.sha256(parts[number]).digest() for number in sorted(parts))
        self.store(key, content, f"{sha256(digests)}-{len(parts)}")
        del self.uploads[request["UploadId"]]

    def abort_multipart_upload(self, *, Bucket: str, Key: str, UploadId: str) -> None:
        self._upload(UploadId)
        del self.uploads[UploadId]

    def delete_object(self, *, Bucket: str, Key: str, VersionId: str = "") -> None:
        if VersionId in self.kept:
            raise refusal("AccessDenied", "DeleteObject")
        markers = self.markers.setdefault(Key, [])
        if not VersionId:
            markers.append(f"d{next(self._ids)}")
        self.markers[Key] = [marker for marker in markers if marker != VersionId]
        self.versions[Key] = [version for version in self.versions.get(Key, []) if version[0] != VersionId]

    def get_paginator(self, operation: str) -> Any:
        """Pages with one item each."""
        pages = {
            "list_parts": self._list_parts,
            "list_multipart_uploads": self._list_multipart_uploads,
            "list_object_versions": self._list_object_versions,
        }[operation]

        return SimpleNamespace(paginate=pages)

    def _list_parts(self, *, Bucket: str, Key: str, UploadId: str) -> list[dict[str, Any]]:
        _, parts = self._upload(UploadId)
        return [{}] + [
            {"Parts": [{"PartNumber": number, "Size": len(part), "ChecksumSHA256": sha256(part), "ETag": f"e{number}"}]}
            for number, part in sorted(parts.items())
        ]

    def _list_multipart_uploads(self, *, Bucket: str, Prefix: str) -> list[dict[str, Any]]:
        found = [(upload_id, key) for upload_id, (key, _) in self.uploads.items() if key.startswith(Prefix)]
        return [{}] + [{"Uploads": [{"Key": key, "UploadId": upload_id}]} for upload_id, key in found]

    def list_object_versions(self, *, Bucket: str, Prefix: str, KeyMarker: str = "") -> dict[str, Any]:
        """Return one page with all versions after a key."""
        pages = self._list_object_versions(Bucket=Bucket, Prefix=Prefix)
        listed = {
            kind: [each for page in pages for each in page.get(kind, []) if each["Key"] > KeyMarker]
            for kind in ("Versions", "DeleteMarkers")
        }
        return {**listed, "IsTruncated": False}

    def _list_object_versions(self, *, Bucket: str, Prefix: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = [{}]
        for key in self.versions:
            if key.startswith(Prefix):
                for version in reversed(history := self._history(key)):
                    kind = "DeleteMarkers" if version in self.markers.get(key, []) else "Versions"
                    found.append({kind: [{"Key": key, "VersionId": version, "IsLatest": version == history[-1]}]})
        return found

    def _upload(self, upload_id: str) -> tuple[str, dict[int, bytes]]:
        if upload_id not in self.uploads:
            raise refusal("NoSuchUpload", "ListParts")
        return self.uploads[upload_id]

    def _may_fail(self, operation: str) -> None:
        if self.failing:
            raise refusal("503", operation)

    def generate_presigned_url(self, operation: str, *, Params: dict[str, Any], ExpiresIn: int) -> str:
        if operation == "upload_part":
            signed = "&".join(f"{name}={Params[name]}" for name in ("PartNumber", "ContentLength", "ChecksumSHA256"))
            return f"https://signed/{operation}/{Params['Key']}?for={ExpiresIn}&upload={Params['UploadId']}&{signed}"
        return f"https://signed/{operation}/{Params['Key']}?for={ExpiresIn}&type={Params['ResponseContentType']}&{Params['ResponseContentDisposition']}"

    def generate_presigned_post(
        self, bucket: str, key: str, *, Fields: dict[str, str], Conditions: list[Any], ExpiresIn: int
    ) -> dict[str, Any]:
        return {
            "url": f"https://{bucket}?for={ExpiresIn}",
            "fields": {**Fields, "key": key, "policy": json.dumps(Conditions)},
        }


def sha256(content: bytes) -> str:
    """Return a checksum as S3 writes it."""
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


@dataclass
class FakeContext:
    """The context that Lambda passes to a handler."""

    function_name: str = "sluice-test-upload"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:000000000000:function:sluice-test-upload"
    aws_request_id: str = "11111111-2222-3333-4444-555555555555"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 15000


def rest_event(
    method: str,
    path: str,
    body: str | None = None,
    *,
    user_arn: str | None = "arn:aws:iam::000000000000:user/ann",
    authorizer: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Return the event of API Gateway for a function (API Gateway, "Lambda proxy integration: input format").

    Args:
        user_arn: who signed, where the method asks for signatures.
        authorizer: what an authorizer says about the caller, where there is one; there is no signer then.
    """
    headers = {"Content-Type": "application/json", **(headers or {})}
    event: dict[str, Any] = {
        "resource": path,
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": {name: [value] for name, value in query.items()} if query else None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "abc123",
            "domainName": "abc123.execute-api.us-east-1.amazonaws.com",
            "httpMethod": method,
            "identity": {"sourceIp": "192.0.2.1", "userArn": None if authorizer else user_arn},
            "path": f"/v1{path}",
            "requestId": "request-1",
            "resourcePath": path,
            "stage": "v1",
        },
        "body": body,
        "isBase64Encoded": False,
    }
    if authorizer:
        event["requestContext"]["authorizer"] = authorizer
    return event
