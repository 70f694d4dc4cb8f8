"""The records of files in DynamoDB: which files exist, who owns them and in which state they are.

A record begins together with a reservation of its owner's quota, and ends together with its release, each in one
transaction, so that the quota is right under concurrency and after a crash at any point.
"""

from __future__ import annotations

import random
import time
import unicodedata
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Self

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from functions.common.contract import BY_DUE, BY_OWNER, DUE_SHARDS, Failure, State
from functions.common.failures import shown

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

Ending = Literal[State.ABORTED, State.REJECTED, State.EXPIRED, State.DELETED, State.QUARANTINED]
# The bytes of these files stay until the file is claimed.
KEPT = frozenset({State.UPLOADING, State.SCANNING, State.AVAILABLE, State.QUARANTINED})
# The bytes of these files count against the quota of their owner.
COUNTED = KEPT | {State.ENDING}

# The sweeper looks at a record without progress after this time, which is longer than S3's event and the workflow take.
LOOK_AFTER = timedelta(minutes=15)
# A link that was good a moment ago may have begun a transfer that ends this much later.
LATE_BYTES = timedelta(hours=1)
_CONFLICTS = 6
# Items that are read at once where some of them are left out.
_FILTERED_PAGE = 200
_RECOUNT_AFTER = timedelta(days=1)
# An index is a moment behind its table (DynamoDB, "Global secondary indexes: read consistency"). So an owner is counted
# only if no file of theirs began or ended within this time; other owners wait for the next run.
_INDEX_IS_CURRENT = timedelta(minutes=5)


class TakenError(Exception):
    """A record with this id exists already."""


class QuotaExceededError(Exception):
    """The owner's quota has no room for this upload."""


@dataclass(frozen=True)
class Quota:
    """The maximum of bytes and files of one owner, including unfinished uploads."""

    bytes: int
    files: int


@dataclass(frozen=True)
class Usage:
    """The bytes and files of one owner that count against the quota, including unfinished uploads."""

    bytes: int
    files: int


@dataclass(frozen=True)
class FileRecord:
    """The record of a file. Times are ISO 8601 in UTC, sizes are bytes, checksums are SHA-256 in base64, as S3 writes
    them.

    Attributes:
        checksum: of the whole file; for several parts that of their digests, `-`, and their number. Empty while parts
            arrive of an upload that was begun without it.
        ends_as: what a record in the state `ending` is about to be.
        expires_time: until when an upload may take; no link is good for longer.
        failure: reason why it is not available, as text of `failures.Failure`; show `shown_failure` to owners.
        part_size: bytes of a part, 0 for an upload in one piece.
        upload_id: S3's id of the multipart upload.
        run: name of the execution of the workflow that opened or refused the file.
        due_time: when the sweeper looks at the record next; empty means never.
        released: whether the quota was given back before the record was claimed.
        purge_time: seconds since 1970 after which DynamoDB forgets the record; 0 is never.
    """

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
    expires_time: str = ""
    ends_as: Ending | Literal[""] = ""
    failure: str = ""
    part_size: int = 0
    upload_id: str = ""
    available_time: str = ""
    announced_time: str = ""
    detected_type: str = ""
    run: str = ""
    due_shard: str = ""
    due_time: str = ""
    legal_hold: bool = False
    released: bool = False
    purge_time: int = 0

    @classmethod
    def of_item(cls, item: Mapping[str, object]) -> Self:
        """Return the record in an item; attributes that this version does not know are ignored."""
        known: dict[str, Any] = {field.name: item[field.name] for field in fields(cls) if field.name in item}
        numbers: dict[str, Any] = {
            name: int(str(known[name])) for name in ("size", "part_size", "purge_time") if name in known
        }
        return cls(**{"checksum": "", **known, **numbers})

    @property
    def shown_state(self) -> str:
        """The state as callers see it: a record in the state `ending` has already ended for them."""
        return self.ends_as if self.state == State.ENDING else self.state

    @property
    def shown_failure(self) -> Failure | None:
        """The reason why the file is not available, for its owner; None if there is nothing to show."""
        return shown(self.failure, self.shown_state)

    @property
    def to_be_announced(self) -> bool:
        """True if the result of the file is not announced to subscribers yet."""
        return self.state in {State.AVAILABLE, State.REJECTED, State.QUARANTINED} and not self.announced_time

    @property
    def counted(self) -> bool:
        """True if the bytes of the file count against its owner's quota."""
        return is_counted(self.state, self.ends_as)

    def expired(self, now: datetime) -> bool:
        """Return whether the time of the upload is over."""
        return bool(self.expires_time) and timestamp(now) >= self.expires_time


def is_counted(state: str, ends_as: str) -> bool:
    """Return whether the bytes of a file count against its owner's quota.

    An earlier release gave back the quota of a file in quarantine at once, and left `ends_as` in its record.
    """
    return state in COUNTED and not (state == State.QUARANTINED and bool(ends_as))


class Records:
    """The tables of records and quotas."""

    def __init__(self, client: DynamoDBClient, table_name: str, quotas_table_name: str = "") -> None:
        """
        Args:
            quotas_table_name: for those who begin and end records, and those who read quotas.
        """
        self._client = client
        self._table_name = table_name
        self._quotas_table_name = quotas_table_name

    def create(self, record: FileRecord, *, quota: Quota, now: datetime) -> None:
        """Write a new record, and reserve its bytes in its owner's quota, in one transaction.

        Raises:
            TakenError: the file id is taken.
            QuotaExceededError: the owner has no room.
            ClientError: DynamoDB refused.
        """
        item = {name: value for name, value in asdict(record).items() if value not in ("", 0, False)}
        item |= {"due_shard": shard_of(record.file_id)} if record.due_time else {}
        put: TransactWriteItemTypeDef = {
            "Put": {
                "TableName": self._table_name,
                "Item": to_item(item),
                "ConditionExpression": "attribute_not_exists(file_id)",
            }
        }
        reserve: TransactWriteItemTypeDef = {
            "Update": {
                "TableName": self._quotas_table_name,
                "Key": to_item({"owner": record.owner}),
                "UpdateExpression": (
                    "SET due_shard = :shard, due_time = if_not_exists(due_time, :recount), changed_time = :now "
                    "ADD #bytes :size, #files :one, #version :one"
                ),
                "ConditionExpression": (
                    "(attribute_not_exists(#bytes) AND :size <= :bytes AND :one <= :files) "
                    "OR (#bytes <= :bytes_left AND #files < :files)"
                ),
                "ExpressionAttributeNames": {"#bytes": "bytes", "#files": "files", "#version": "version"},
                "ExpressionAttributeValues": to_item(
                    {
                        ":shard": shard_of(record.owner),
                        ":recount": timestamp(now + _RECOUNT_AFTER),
                        ":now": timestamp(now),
                        ":size": record.size,
                        ":one": 1,
                        ":bytes": quota.bytes,
                        ":bytes_left": quota.bytes - record.size,
                        ":files": quota.files,
                    }
                ),
            }
        }
        refused = self._transact([put, reserve])
        if refused and refused[0]:
            raise TakenError(record.file_id)
        if refused:
            raise QuotaExceededError(record.owner)

    def get(self, file_id: str) -> FileRecord | None:
        """Read the record of a file with strong consistency; None if there is none.

        Raises:
            ClientError: DynamoDB refused.
        """
        item = self._client.get_item(
            TableName=self._table_name, Key=to_item({"file_id": file_id}), ConsistentRead=True
        ).get("Item")
        return FileRecord.of_item(from_item(item)) if item else None

    def usage(self, owner: str) -> Usage:
        """Read how much of an owner's quota is used, with strong consistency; zeros if they never uploaded anything.

        Raises:
            ClientError: DynamoDB refused.
        """
        item = from_item(self._quota_item(owner) or {})
        # A quota that drifted may be below zero until the sweeper counts it again.
        return Usage(*(max(0, int(str(item.get(name, 0)))) for name in ("bytes", "files")))

    def remember_upload_id(self, file_id: str, upload_id: str) -> bool:
        """Store S3's id of a multipart upload; False if the record has one already or is not uploading any more.

        Raises:
            ClientError: DynamoDB refused.
        """
        return self._change(
            file_id,
            {"upload_id": upload_id},
            "#state = :uploading AND attribute_not_exists(upload_id)",
            {":uploading": State.UPLOADING},
        )

    def remember_checksum(self, file_id: str, checksum: str) -> bool:
        """Store the checksum of an upload in parts; False if the record has another or is not uploading any more.

        Raises:
            ClientError: DynamoDB refused.
        """
        return self._change(
            file_id,
            {"checksum": checksum},
            "#state = :uploading AND attribute_not_exists(checksum)",
            {":uploading": State.UPLOADING},
        )

    def claim(self, record: FileRecord, ends_as: Ending, *, of: Sequence[State], now: datetime) -> bool:
        """Begin the end of a record: from now on the file cannot be opened or downloaded. False if its state is
        another.

        The caller then invokes the function `discard`, which ends it; if that fails, the sweeper does.

        Args:
            of: the states in which it may be claimed.

        Raises:
            ClientError: DynamoDB refused.
        """
        return self._claim(record, ends_as, of=of, now=now) is None

    def give_up(self, record: FileRecord, *, now: datetime) -> str:
        """Claim an upload as aborted and return its state.

        The state is ENDING if this call claimed the upload. If the claim failed, it is the state of the record.

        Raises:
            ClientError: DynamoDB refused.
        """
        other = self._claim(record, State.ABORTED, of=(State.UPLOADING, State.SCANNING), now=now)
        return State.ENDING if other is None else str(other.get("state", ""))

    def _claim(
        self, record: FileRecord, ends_as: Ending, *, of: Sequence[State], now: datetime
    ) -> Mapping[str, object] | None:
        states = {f":state{number}": state for number, state in enumerate(of)}
        changes: dict[str, object] = {
            "state": State.ENDING,
            "ends_as": ends_as,
            "due_shard": shard_of(record.file_id),
            "due_time": timestamp(now + LOOK_AFTER),
        }
        if not record.counted:
            changes["released"] = True
        return self._change_or_see(
            record.file_id,
            changes,
            f"#state IN ({', '.join(states)}) AND (attribute_not_exists(legal_hold) OR legal_hold = :no)",
            {**states, ":no": False},
        )

    def quarantine(self, record: FileRecord, *, due: datetime) -> None:
        """Put a claimed record into quarantine. Its bytes stay, and count against the quota until it is claimed again.

        Args:
            due: when the sweeper has to look again.

        Raises:
            ClientError: DynamoDB refused.
        """
        self._change(
            record.file_id,
            {
                "state": State.QUARANTINED,
                "ends_as": None,
                "due_shard": shard_of(record.file_id),
                "due_time": timestamp(due),
            },
            "#state = :ending AND ends_as = :quarantined",
            {":ending": State.ENDING, ":quarantined": State.QUARANTINED},
        )

    def finish(self, record: FileRecord, *, due: datetime | None, purge: datetime, now: datetime) -> None:
        """End a claimed record, and release its bytes in its owner's quota; the call is idempotent.

        Args:
            due: when the sweeper has to look again.
            purge: when the record is forgotten.

        Raises:
            ClientError: DynamoDB refused.
        """
        values: dict[str, object] = {
            ":ends_as": record.ends_as,
            ":ending": State.ENDING,
            ":purge": int(purge.timestamp()),
        }
        expression = "SET #state = :ends_as, purge_time = :purge"
        if due:
            expression += ", due_shard = :shard, due_time = :due"
            values |= {":shard": shard_of(record.file_id), ":due": timestamp(due)}
        else:
            expression += " REMOVE due_shard, due_time"
        end: TransactWriteItemTypeDef = {
            "Update": {
                "TableName": self._table_name,
                "Key": to_item({"file_id": record.file_id}),
                "UpdateExpression": expression,
                "ConditionExpression": "#state = :ending AND ends_as = :ends_as",
                "ExpressionAttributeNames": {"#state": "state"},
                "ExpressionAttributeValues": to_item(values),
            }
        }
        release: TransactWriteItemTypeDef = {
            "Update": {
                "TableName": self._quotas_table_name,
                "Key": to_item({"owner": record.owner}),
                "UpdateExpression": "SET changed_time = :now ADD #bytes :size, #files :one, #version :change",
                "ExpressionAttributeNames": {"#bytes": "bytes", "#files": "files", "#version": "version"},
                "ExpressionAttributeValues": to_item(
                    {":now": timestamp(now), ":size": -record.size, ":one": -1, ":change": 1}
                ),
            }
        }
        self._transact([end] if record.released else [end, release])

    def look_again(self, file_id: str, due: datetime | None, *, seen: str) -> bool:
        """Set when the sweeper looks at a record next; None is never. False if another caller has changed it.

        Args:
            seen: the due time that the record had.

        Raises:
            ClientError: DynamoDB refused.
        """
        changes = {"due_time": timestamp(due)} if due else {"due_shard": None, "due_time": None}
        return self._change(file_id, changes, "due_time = :seen", {":seen": seen})

    def due(self, now: datetime) -> Iterator[str]:
        """Yield the ids of the due records, the oldest of each shard first.

        Raises:
            ClientError: DynamoDB refused.
        """
        for item in self._due(self._table_name, now):
            yield str(item["file_id"])

    def due_quotas(self, now: datetime) -> Iterator[str]:
        """Yield the owners whose quota is due for a recount.

        Raises:
            ClientError: DynamoDB refused.
        """
        for item in self._due(self._quotas_table_name, now):
            yield str(item["owner"])

    def of_owner(
        self, owner: str, *, limit: int, after: Mapping[str, str] | None, state: str = "", prefix: str = ""
    ) -> tuple[list[dict[str, Any]], dict[str, str] | None]:
        """Return a page of an owner's files, newest first, as items of the index, and the start of the next page or
        None.

        A file that is ending has the state that it ends as.

        Args:
            limit: how many at most.
            after: where the page starts, as an earlier call said.
            state: return only files in this state.
            prefix: return only files whose name starts with it; both are compared in one Unicode normalization form.

        Raises:
            ClientError: DynamoDB refused.
        """
        files: list[dict[str, Any]] = []
        prefix = unicodedata.normalize("NFC", prefix)
        start = dict(after) if after else None
        for item in self._pages(
            TableName=self._table_name,
            IndexName=BY_OWNER,
            KeyConditionExpression="#owner = :owner",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues=to_item({":owner": owner}),
            ScanIndexForward=False,
            Limit=max(limit + 1, _FILTERED_PAGE if state or prefix else 0),
            **({"ExclusiveStartKey": to_item({"owner": owner, **start})} if start else {}),
        ):
            state_shown = str(item.get("ends_as") if item["state"] == State.ENDING else item["state"])
            name = unicodedata.normalize("NFC", str(item["file_name"]))
            if (not state or state_shown == state) and name.startswith(prefix):
                if len(files) == limit:
                    return files, {name: str(files[-1][name]) for name in ("file_id", "upload_time")}
                files.append({**item, "state": state_shown})
        return files, None

    def recount(self, owner: str, *, now: datetime) -> bool:
        """Count an owner's bytes and files and correct the quota; return False if it is changing or has just changed.

        Raises:
            ClientError: DynamoDB refused.
        """
        item = self._quota_item(owner)
        if item is None:
            return False
        before = from_item(item)
        if before.get("changed_time", "") > timestamp(now - _INDEX_IS_CURRENT):
            return False
        counted = [
            int(str(each["size"]))
            for each in self._pages(
                TableName=self._table_name,
                IndexName=BY_OWNER,
                KeyConditionExpression="#owner = :owner",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues=to_item({":owner": owner}),
            )
            if is_counted(str(each["state"]), str(each.get("ends_as", "")))
        ]
        try:
            self._client.update_item(
                TableName=self._quotas_table_name,
                Key=to_item({"owner": owner}),
                UpdateExpression="SET #bytes = :bytes, #files = :files, due_time = :due",
                ConditionExpression="#version = :version",
                ExpressionAttributeNames={"#bytes": "bytes", "#files": "files", "#version": "version"},
                ExpressionAttributeValues=to_item(
                    {
                        ":bytes": sum(counted),
                        ":files": len(counted),
                        ":version": before["version"],
                        ":due": timestamp(now + _RECOUNT_AFTER),
                    }
                ),
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _quota_item(self, owner: str) -> Mapping[str, Any] | None:
        return self._client.get_item(
            TableName=self._quotas_table_name, Key=to_item({"owner": owner}), ConsistentRead=True
        ).get("Item")

    def _change(
        self, file_id: str, changes: Mapping[str, object], condition: str, values: Mapping[str, object]
    ) -> bool:
        """Change a record if a condition holds; return whether the record has the new values now."""
        return self._change_or_see(file_id, changes, condition, values) is None

    def _change_or_see(
        self, file_id: str, changes: Mapping[str, object], condition: str, values: Mapping[str, object]
    ) -> Mapping[str, object] | None:
        """Change a record if a condition holds; return None if it has the new values now, else the record as it is.

        botocore repeats a request when the answer was lost. The condition then fails, because the first request made
        the change. So a record that already has all new values counts as changed.

        Args:
            changes: attributes and their new values; None removes one.
            condition: `#state` in it is the attribute `state`.
            values: of the condition.
        """
        new = {name: value for name, value in changes.items() if value is not None}
        gone = [name for name in changes if name not in new]
        sets = [f"#{name} = :new_{name}" for name in new]
        try:
            self._client.update_item(
                TableName=self._table_name,
                Key=to_item({"file_id": file_id}),
                UpdateExpression=(f"SET {', '.join(sets)}" if sets else "")
                + (f" REMOVE {', '.join(f'#{name}' for name in gone)}" if gone else ""),
                ConditionExpression=condition,
                ExpressionAttributeNames={
                    f"#{name}": name for name in [*changes, *(["state"] if "#state" in condition else [])]
                },
                ExpressionAttributeValues=to_item({**{f":new_{name}": new[name] for name in new}, **values}),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as error:
            item: Mapping[str, Any] = error.response.get("Item") or {}  # type: ignore[assignment]
            found = from_item(item)
            if not found or any(found.get(name) != value for name, value in changes.items()):
                return found
        return None

    def _due(self, table_name: str, now: datetime) -> Iterator[dict[str, Any]]:
        for shard in range(DUE_SHARDS):
            yield from self._pages(
                TableName=table_name,
                IndexName=BY_DUE,
                KeyConditionExpression="due_shard = :shard AND due_time <= :now",
                ExpressionAttributeValues=to_item({":shard": str(shard), ":now": timestamp(now)}),
            )

    def _pages(self, **query: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - boto3's own arguments
        """Every item that a query finds."""
        start: dict[str, Any] = {}
        while True:
            page = self._client.query(**{**query, **start})
            yield from (from_item(item) for item in page["Items"])
            if not page.get("LastEvaluatedKey"):
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _transact(self, writes: Sequence[TransactWriteItemTypeDef]) -> list[bool] | None:
        """Write all or nothing: None when it is written, else which conditions failed.

        The token makes the write idempotent if botocore repeats it after a lost answer (DynamoDB, "TransactWriteItems:
        idempotency"). DynamoDB does not wait for another transaction on the same item, and boto3 does not try again
        ("TransactionCanceledException"). So this method tries again after a moment.

        Raises:
            ClientError: DynamoDB refused, or others kept changing the same items.
        """
        token = str(uuid.uuid4())
        for attempt in range(_CONFLICTS):
            try:
                self._client.transact_write_items(TransactItems=writes, ClientRequestToken=token)
            except self._client.exceptions.TransactionCanceledException as error:
                codes = [reason.get("Code", "None") for reason in error.response.get("CancellationReasons", [])]
                if "ConditionalCheckFailed" in codes:
                    return [code == "ConditionalCheckFailed" for code in codes]
                if "TransactionConflict" not in codes or attempt == _CONFLICTS - 1:
                    raise
                # DynamoDB has decided on this attempt, so the next one needs a new token.
                token = str(uuid.uuid4())
            except ClientError as error:
                # The earlier attempt, whose answer was lost, is still running: repeat it with the same token.
                if error.response["Error"]["Code"] != "TransactionInProgressException" or attempt == _CONFLICTS - 1:
                    raise
            else:
                return None
            time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311 - jitter, not a secret
        raise AssertionError


_serializer = TypeSerializer()
_deserializer = TypeDeserializer()


def to_item(values: Mapping[str, object]) -> dict[str, Any]:
    """Convert values to the form of DynamoDB."""
    return {name: _serializer.serialize(value) for name, value in values.items()}


def from_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Convert values from the form of DynamoDB."""
    return {name: _deserializer.deserialize(value) for name, value in item.items()}


def shard_of(name: str) -> str:
    """Return the key of the index of due items for the item with this id."""
    return str(zlib.crc32(name.encode()) % DUE_SHARDS)


def timestamp(moment: datetime) -> str:
    """Return a time as records have it: ISO 8601 in UTC with milliseconds, so that texts sort in the order of time."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
