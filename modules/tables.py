"""The tables: one item for each file, and one for each owner with the sum of the owner's files."""

from __future__ import annotations

from collections.abc import Sequence

from cdktf import TerraformResourceLifecycle
from cdktf_cdktf_provider_aws.dynamodb_table import (
    DynamodbTable,
    DynamodbTableAttribute,
    DynamodbTableGlobalSecondaryIndex,
    DynamodbTablePointInTimeRecovery,
    DynamodbTableServerSideEncryption,
    DynamodbTableTtl,
)
from constructs import Construct

from functions.common.contract import BY_DUE, BY_OWNER, LISTED_ATTRIBUTES
from modules.alarms import Advice, Alarm, Metric, any_count
from modules.encryption import CustomerKey
from modules.foundation import Foundation
from modules.monitored import Graph, Monitored, Row
from modules.names import FILES_TABLE, QUOTAS_TABLE
from modules.policy_documents import Statement
from modules.roles import Grantee

# Values of the dimension `Operation` of the requests to a table, as the permissions that are granted here allow them.
TABLE_OPERATIONS = ("GetItem", "PutItem", "Query", "TransactWriteItems", "UpdateItem")

KEEP_TABLES = (
    "dynamodb:CreateTable",
    "dynamodb:DeleteTable",
    "dynamodb:DescribeContinuousBackups",
    "dynamodb:DescribeTable",
    "dynamodb:DescribeTimeToLive",
    "dynamodb:ListTagsOfResource",
    "dynamodb:TagResource",
    "dynamodb:UntagResource",
    "dynamodb:UpdateContinuousBackups",
    "dynamodb:UpdateTable",
    "dynamodb:UpdateTimeToLive",
)


class Table(Construct, Monitored):
    """A table that is paid by request, encrypted with a customer key, and recoverable if data is protected.

    Attributes:
        name: its name.
        arn: its ARN.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        foundation: Foundation,
        name: str,
        key: CustomerKey,
        hash_key: str,
        attributes: Sequence[str],
        indexes: Sequence[DynamodbTableGlobalSecondaryIndex],
        forget_at: str | None = None,
        replicable: bool = False,
    ) -> None:
        """
        Args:
            name: name of the table without the environment's prefix.
            attributes: names of the attributes in keys, `hash_key` too; all are text.
            forget_at: attribute with the second after which DynamoDB deletes an item.
            replicable: whether another region has, or had, a copy of it.
        """
        super().__init__(scope, construct_id)
        self._foundation = foundation
        table = DynamodbTable(
            self,
            "Default",
            name=f"{foundation.prefix}-{name}",
            billing_mode="PAY_PER_REQUEST",
            hash_key=hash_key,
            attribute=[DynamodbTableAttribute(name=attribute, type="S") for attribute in attributes],
            global_secondary_index=list(indexes),
            ttl=DynamodbTableTtl(attribute_name=forget_at, enabled=True) if forget_at else None,
            server_side_encryption=DynamodbTableServerSideEncryption(enabled=True, kms_key_arn=key.arn),
            point_in_time_recovery=DynamodbTablePointInTimeRecovery(enabled=foundation.protect_data),
            deletion_protection_enabled=foundation.protect_data,
            # DynamoDB makes copies from the table's stream, and keeps the stream on while a copy exists. So the stream
            # stays on when the copies are removed (DynamoDB, "Global tables: How it works").
            stream_enabled=True if replicable else None,
            stream_view_type="NEW_AND_OLD_IMAGES" if replicable else None,
            # A copy is a resource of its own, in its own region; without this, the table would plan to remove it
            # (Terraform, "Resource: aws_dynamodb_table_replica").
            lifecycle=TerraformResourceLifecycle(ignore_changes=["replica"]) if replicable else None,
        )
        self.name = table.name
        self.arn = table.arn

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for tables."""
        name = f"table/{self._foundation.prefix}-*"
        return [Statement(sid="KeepTables", actions=KEEP_TABLES, resources=[self._foundation.arn("dynamodb", name)])]

    def alarms(self) -> list[Alarm]:
        """Return the alarms on failed and throttled requests.

        CloudWatch lets alarms on DynamoDB's metrics keep their state where data is missing, whatever they ask for
        ("Configuring how CloudWatch alarms treat missing data"); FILL makes the zeros with which they end.
        """
        return [
            any_count(
                f"{self.node.id}_table_errors",
                self._by_operation("SystemErrors"),
                Advice(
                    f"DynamoDB failed on requests to the table {self.name} (HTTP 500).",
                    "look at AWS Health for the region; requests were tried again, so see whether callers got 5xx",
                    "table-errors",
                ),
            ),
            any_count(
                f"{self.node.id}_table_throttles",
                self._by_operation("ThrottledRequests"),
                Advice(
                    f"DynamoDB throttled requests to the table {self.name}.",
                    "see on the dashboard which operation it was and whether one key is hot, and slow its caller down",
                    "table-throttles",
                ),
            ),
        ]

    def dashboard_rows(self) -> list[Row]:
        """Return the row of the table."""
        capacity = [
            Metric("AWS/DynamoDB", f"Consumed{kind}CapacityUnits", {"TableName": self.name}, label=kind.lower())
            for kind in ("Read", "Write")
        ]
        return [
            Row(
                f"Table {self.node.id}",
                [
                    Graph("latency", self._by_operation("SuccessfulRequestLatency", "Average"), "ms"),
                    Graph("errors of DynamoDB", self._by_operation("SystemErrors"), "errors"),
                    Graph("throttled requests", self._by_operation("ThrottledRequests"), "requests"),
                    Graph("capacity", capacity, "units"),
                ],
            )
        ]

    def _by_operation(self, name: str, statistic: str = "Sum") -> list[Metric]:
        """Return a metric for each operation: together they are the table's (DynamoDB, "Metrics and dimensions")."""
        return [
            Metric("AWS/DynamoDB", name, {"TableName": self.name, "Operation": operation}, statistic, operation)
            for operation in TABLE_OPERATIONS
        ]


class Metadata(Construct):
    """The records of an environment, encrypted with a customer key.

    Attributes:
        files: table of the records.
        quotas: table of the bytes and files of each owner.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        foundation: Foundation,
        key: CustomerKey,
        replicable: bool = False,
    ) -> None:
        """
        Args:
            replicable: whether another region has, or had, copies of the tables.
        """
        super().__init__(scope, construct_id)
        due = DynamodbTableGlobalSecondaryIndex(
            name=BY_DUE, hash_key="due_shard", range_key="due_time", projection_type="KEYS_ONLY"
        )
        self.files = Table(
            self,
            "files",
            foundation=foundation,
            name=FILES_TABLE,
            key=key,
            hash_key="file_id",
            attributes=["file_id", "due_shard", "due_time", "owner", "upload_time"],
            indexes=[
                due,
                DynamodbTableGlobalSecondaryIndex(
                    name=BY_OWNER,
                    hash_key="owner",
                    range_key="upload_time",
                    projection_type="INCLUDE",
                    non_key_attributes=list(LISTED_ATTRIBUTES),
                ),
            ],
            forget_at="purge_time",
            replicable=replicable,
        )
        self.quotas = Table(
            self,
            "quotas",
            foundation=foundation,
            name=QUOTAS_TABLE,
            key=key,
            hash_key="owner",
            attributes=["owner", "due_shard", "due_time"],
            indexes=[due],
            replicable=replicable,
        )
        self._key = key

    def grant_start(self, grantee: Grantee) -> None:
        """Let a role write the record of a new file and reserve its owner's quota, in one transaction.

        IAM asks for the actions that a transaction is made of (DynamoDB, "IAM policies for transactions").
        """
        self._grant(
            grantee,
            "records_start",
            Statement(sid="CreateRecords", actions=["dynamodb:PutItem"], resources=[self.files.arn]),
            Statement(sid="ReserveQuota", actions=["dynamodb:UpdateItem"], resources=[self.quotas.arn]),
        )

    def grant_carry_on(self, grantee: Grantee) -> None:
        """Let a role bring a record from one state to the next."""
        self._grant(
            grantee,
            "records_update",
            Statement(sid="UpdateRecords", actions=["dynamodb:UpdateItem"], resources=[self.files.arn]),
        )

    def grant_finish(self, grantee: Grantee) -> None:
        """Let a role end a record and release its owner's quota, in one transaction."""
        self._grant(
            grantee,
            "records_finish",
            Statement(
                sid="FinishRecords", actions=["dynamodb:UpdateItem"], resources=[self.files.arn, self.quotas.arn]
            ),
        )

    def grant_read(self, grantee: Grantee) -> None:
        """Let a role read the record of a file by its id."""
        self._grant(
            grantee,
            "records_read",
            Statement(sid="ReadRecords", actions=["dynamodb:GetItem"], resources=[self.files.arn]),
        )

    def grant_list(self, grantee: Grantee) -> None:
        """Let a role list the files of an owner."""
        self._grant(grantee, "records_list", self._query("ListFiles", self.files, BY_OWNER))

    def grant_find_due(self, grantee: Grantee) -> None:
        """Let a role find the records and quotas whose time has come."""
        self._grant(
            grantee,
            "records_find",
            self._query("FindDueRecords", self.files, BY_DUE),
            self._query("FindDueQuotas", self.quotas, BY_DUE),
        )

    def grant_read_quota(self, grantee: Grantee) -> None:
        """Let a role read how much of an owner's quota is used."""
        self._grant(
            grantee,
            "quotas_read",
            Statement(sid="ReadQuotas", actions=["dynamodb:GetItem"], resources=[self.quotas.arn]),
        )

    def grant_recount(self, grantee: Grantee) -> None:
        """Let a role count what an owner has, and correct the quota."""
        self._grant(
            grantee,
            "quotas_recount",
            self._query("CountFiles", self.files, BY_OWNER),
            Statement(
                sid="CorrectQuotas",
                actions=["dynamodb:GetItem", "dynamodb:UpdateItem"],
                resources=[self.quotas.arn],
            ),
        )

    def grant_probe(self, grantee: Grantee, file_id: str) -> None:
        """Let a role see whether the table can be read, by asking for this one record and no other."""
        self._grant(
            grantee,
            "records_probe",
            Statement(
                sid="ReadProbe",
                actions=["dynamodb:GetItem"],
                resources=[self.files.arn],
                conditions={"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [file_id]}},
            ),
        )

    def _query(self, sid: str, table: Table, index: str) -> Statement:
        return Statement(sid=sid, actions=["dynamodb:Query"], resources=[f"{table.arn}/index/{index}"])

    def _grant(self, grantee: Grantee, concern: str, *statements: Statement) -> None:
        grantee.grant(
            concern,
            *statements,
            # DynamoDB, "Encryption at rest: usage notes": callers need Decrypt on the table's key, writers too.
            self._key.statement("UseTableKey", "kms:Decrypt"),
        )
