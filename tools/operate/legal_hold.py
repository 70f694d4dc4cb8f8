"""`make release-hold FILE_ID=... ENVIRONMENT=...`: releases the legal hold of a file.

S3 holds every version of the file, and the record shows this to its owner. S3 is released first: after an interruption,
the file still cannot be deleted, and the same command completes the release. The file stays until its owner deletes it.
"""

from __future__ import annotations

import sys

import boto3

from modules.names import FILES_TABLE
from modules.settings import Settings
from tools.operate.account import operator, require_account
from tools.operate.console import Failure, exit_with, say


def release(settings: Settings, session: boto3.Session, file_id: str) -> int:
    """Release the hold of every version of a file, and return their number.

    Args:
        session: credentials and region; an account other than the settings' is refused.

    Raises:
        Failure: the credentials are for another account, or there is no such file.
        ClientError: AWS refused.
    """
    require_account(settings, session)
    s3, dynamodb = session.client("s3"), session.client("dynamodb")
    table = f"{settings.prefix}-{FILES_TABLE}"
    item = dynamodb.get_item(TableName=table, Key={"file_id": {"S": file_id}}, ConsistentRead=True).get("Item")
    if item is None:
        raise Failure("release-hold", f"there is no record of {file_id!r} in {table}", "name the file_id of a file")
    key = item["object_key"]["S"]
    released = 0
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=settings.files_bucket_name, Prefix=key):
        for version in page.get("Versions", []):
            if version["Key"] == key:
                s3.put_object_legal_hold(
                    Bucket=settings.files_bucket_name,
                    Key=key,
                    VersionId=version["VersionId"],
                    LegalHold={"Status": "OFF"},
                )
                released += 1
    dynamodb.update_item(
        TableName=table,
        Key={"file_id": {"S": file_id}},
        UpdateExpression="SET legal_hold = :released",
        ConditionExpression="attribute_exists(file_id)",
        ExpressionAttributeValues={":released": {"BOOL": False}},
    )
    return released


def main() -> None:
    """Release the file that the argument names, in the environment that ENVIRONMENT names."""
    if len(sys.argv) != 2 or not sys.argv[1]:
        raise Failure("release-hold", "no file is named", "make release-hold FILE_ID=... ENVIRONMENT=...")
    settings, session = operator()
    file_id = sys.argv[1]
    released = release(settings, session, file_id)
    say(f"{file_id}: the hold of {released} version(s) is lifted.")


if __name__ == "__main__":
    exit_with(main)
