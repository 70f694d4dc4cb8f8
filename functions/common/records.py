"""The record of a file in DynamoDB: the truth about what exists, who owns it and in which state it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

State = Literal["uploading", "available", "rejected"]
BY_STATE = "by-state"


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
    file_url: str
    announced_time: str = ""

    @classmethod
    def of_item(cls, item: dict[str, object]) -> Self:
        """The record in a DynamoDB item; attributes that this version does not know are left out."""
        known = {field.name: item[field.name] for field in fields(cls) if field.name in item}
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
        item = {name: value for name, value in asdict(record).items() if value != ""}
        self._table.put_item(Item=item, ConditionExpression="attribute_not_exists(file_id)")

    def get(self, file_id: str) -> FileRecord | None:
        """Read the record of a file as it is now, or None."""
        item = self._table.get_item(Key={"file_id": file_id}, ConsistentRead=True).get("Item")
        return FileRecord.of_item(dict(item)) if item else None

    def uploading_since(self, moment: datetime) -> Iterator[str]:
        """Ids of the files that began before a moment and are still uploading, oldest first.

        Raises:
            ClientError: DynamoDB refused.
        """
        start: dict[str, Any] = {}
        while True:
            page = self._table.query(
                IndexName=BY_STATE,
                KeyConditionExpression="#state = :uploading AND upload_time < :moment",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={":uploading": "uploading", ":moment": timestamp(moment)},
                **start,
            )
            yield from (str(item["file_id"]) for item in page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def timestamp(moment: datetime) -> str:
    """A time as records hold it: ISO 8601 in UTC with milliseconds, so that text sorts as time does."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
