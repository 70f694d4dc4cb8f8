"""A bare function behind the API that only makes the AWS calls of `POST /upload`: no checks, no log."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import uuid
from typing import Any

import boto3

dynamodb = boto3.client("dynamodb")
s3 = boto3.client("s3")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Record a file and store it."""
    request = json.loads(event["body"])
    content = base64.b64decode(request["file_content"])
    file_id = str(uuid.uuid4())
    checksum = base64.b64encode(hashlib.sha256(content).digest()).decode()
    item = {
        "file_id": {"S": file_id},
        "owner": {"S": "bench"},
        "state": {"S": "bench"},
        "upload_time": {"S": "2026-01-01T00:00:00.000+00:00"},
        "file_name": {"S": request["file_name"]},
        "size": {"N": str(len(content))},
        "checksum": {"S": checksum},
    }
    put: Any = {
        "TableName": os.environ["TABLE_NAME"],
        "Item": item,
        "ConditionExpression": "attribute_not_exists(file_id)",
    }
    reserve: Any = {
        "TableName": os.environ["QUOTAS_TABLE_NAME"],
        "Key": {"owner": {"S": "bench"}},
        "UpdateExpression": "ADD files :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }
    dynamodb.transact_write_items(TransactItems=[{"Put": put}, {"Update": reserve}])
    s3.put_object(
        Bucket=os.environ["BUCKET_NAME"],
        Key=f"uploads/{file_id}",
        Body=content,
        ChecksumSHA256=checksum,
        IfNoneMatch="*",
    )
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps({"file_id": file_id}),
    }
