"""The record of a file in DynamoDB: the truth about what exists, who owns it and in which state it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

State = Literal["uploading", "available"]


@dataclass(frozen=True)
class FileRecord:
    """One file. Times are ISO 8601 in UTC, sizes are bytes, checksums are SHA-256 in base64, as S3 writes them."""

    file_id: str
    owner: str
    file_name: str
    content_type: str
    size: int
    checksum: str
    object_key: str
    state: State
    upload_time: str

    @classmethod
    def of_item(cls, item: dict[str, object]) -> Self:
        """The record in a DynamoDB item; attributes that this version does not know are left out."""
        known = {field.name: item[field.name] for field in fields(cls)}
        return cls(**{**known, "size": int(str(item["size"]))})  # type: ignore[arg-type]  # checked when written


class Records:
    """The table of records."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def create(self, record: FileRecord) -> None:
        """Write a new record.

        Raises:
            ClientError: DynamoDB refused; ConditionalCheckFailedException if the file id is taken.
        """
        self._table.put_item(Item=asdict(record), ConditionExpression="attribute_not_exists(file_id)")

    def make_available(self, file_id: str) -> None:
        """Open a file for download once its bytes are stored; twice does no harm.

        Raises:
            ClientError: DynamoDB refused, or there is no record of this file.
        """
        self._table.update_item(
            Key={"file_id": file_id},
            UpdateExpression="SET #state = :available",
            ConditionExpression="attribute_exists(file_id)",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":available": "available"},
        )

    def get(self, file_id: str) -> FileRecord | None:
        """Read the record of a file as it is now, or None."""
        item = self._table.get_item(Key={"file_id": file_id}, ConsistentRead=True).get("Item")
        return FileRecord.of_item(dict(item)) if item else None
