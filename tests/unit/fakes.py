"""AWS in memory, as far as the functions use it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError


def refusal(code: str, operation: str) -> ClientError:
    """What boto3 raises when AWS refuses."""
    return ClientError({"Error": {"Code": code, "Message": f"secret detail of {operation}"}}, operation)


@dataclass
class FakeTable:
    """A DynamoDB table with `file_id` as its key."""

    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    failing: str = ""

    def _call(self, operation: str) -> None:
        if self.failing == operation:
            raise refusal("ProvisionedThroughputExceededException", operation)

    def put_item(self, *, Item: dict[str, Any], ConditionExpression: str) -> None:  # noqa: N803 - boto3's names
        self._call("PutItem")
        assert ConditionExpression == "attribute_not_exists(file_id)"
        if Item["file_id"] in self.items:
            raise refusal("ConditionalCheckFailedException", "PutItem")
        self.items[Item["file_id"]] = dict(Item)

    def query(self, **query: Any) -> dict[str, Any]:  # noqa: ANN401
        """One item a page, as far as the sweeper asks."""
        self._call("Query")
        assert query["IndexName"] == "by-state"
        assert query["KeyConditionExpression"] == "#state = :uploading AND upload_time < :moment"
        moment = query["ExpressionAttributeValues"][":moment"]
        found = sorted(
            (item["upload_time"], file_id)
            for file_id, item in self.items.items()
            if item["state"] == "uploading" and item["upload_time"] < moment
        )
        after = [file_id for _, file_id in found]
        if "ExclusiveStartKey" in query:
            after = after[after.index(query["ExclusiveStartKey"]["file_id"]) + 1 :]
        page: dict[str, Any] = {"Items": [{"file_id": file_id} for file_id in after[:1]]}
        return page if len(after) <= 1 else {**page, "LastEvaluatedKey": {"file_id": after[0]}}

    def get_item(self, *, Key: dict[str, Any], ConsistentRead: bool) -> dict[str, Any]:  # noqa: N803
        self._call("GetItem")
        assert ConsistentRead
        return {"Item": self.items[Key["file_id"]]} if Key["file_id"] in self.items else {}


@dataclass
class FakeS3:
    """An S3 bucket that checks checksums."""

    objects: dict[str, bytes] = field(default_factory=dict)
    failing: bool = False

    def put_object(self, **request: Any) -> None:  # noqa: ANN401
        if self.failing:
            raise refusal("SlowDown", "PutObject")
        assert request["ContentType"]
        assert request["IfNoneMatch"] == "*"
        assert request["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(request["Body"]).digest()).decode()
        self.objects[request["Key"]] = request["Body"]

    def head_object(self, *, Bucket: str, Key: str, ChecksumMode: str) -> dict[str, Any]:  # noqa: N803
        if self.failing:
            raise refusal("503", "HeadObject")
        assert ChecksumMode == "ENABLED"
        if Key not in self.objects:
            raise refusal("404", "HeadObject")
        content = self.objects[Key]
        return {
            "ContentLength": len(content),
            "ChecksumSHA256": base64.b64encode(hashlib.sha256(content).digest()).decode(),
        }

    def generate_presigned_url(self, operation: str, *, Params: dict[str, str], ExpiresIn: int) -> str:  # noqa: N803
        return f"https://signed/{operation}/{Params['Key']}?for={ExpiresIn}&{Params['ResponseContentDisposition']}"


@dataclass
class FakeContext:
    """What Lambda hands to a handler beside the event."""

    function_name: str = "sluice-test-upload"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:000000000000:function:sluice-test-upload"
    aws_request_id: str = "11111111-2222-3333-4444-555555555555"


def rest_event(
    method: str,
    path: str,
    body: str | None = None,
    *,
    user_arn: str | None = "arn:aws:iam::000000000000:user/ann",
    authorizer: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    """What API Gateway sends to a function (API Gateway, "Lambda proxy integration: input format").

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
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
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
