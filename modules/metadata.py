"""The table of the records: one item a file."""

from __future__ import annotations

from cdktf_cdktf_provider_aws.dynamodb_table import (
    DynamodbTable,
    DynamodbTableAttribute,
    DynamodbTablePointInTimeRecovery,
    DynamodbTableServerSideEncryption,
)
from constructs import Construct

from modules.encryption import CustomerKey
from modules.permissions import Role
from modules.policy import Statement
from modules.settings import Settings


class Metadata(Construct):
    """The records of an environment, encrypted under a customer key.

    Attributes:
        table_name: name of the table.
        table_arn: its ARN.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, key: CustomerKey) -> None:
        super().__init__(scope, construct_id)
        table = DynamodbTable(
            self,
            "files",
            name=f"{settings.prefix}-files",
            billing_mode="PAY_PER_REQUEST",
            hash_key="file_id",
            attribute=[DynamodbTableAttribute(name="file_id", type="S")],
            server_side_encryption=DynamodbTableServerSideEncryption(enabled=True, kms_key_arn=key.arn),
            point_in_time_recovery=DynamodbTablePointInTimeRecovery(enabled=settings.protect_data),
            deletion_protection_enabled=settings.protect_data,
        )
        self.table_name = table.name
        self.table_arn = table.arn
        self._key = key

    def grant_record(self, role: Role) -> None:
        """Let a role write the record of a new file and carry it on."""
        role.grant(
            "records_write",
            Statement(
                sid="WriteRecords", actions=["dynamodb:PutItem", "dynamodb:UpdateItem"], resources=[self.table_arn]
            ),
            # DynamoDB, "Encryption at rest: usage notes": callers need Decrypt on the table's key, writers too.
            self._key.statement("UseTableKey", "kms:Decrypt"),
        )

    def grant_read(self, role: Role) -> None:
        """Let a role read the record of a file by its id."""
        role.grant(
            "records_read",
            Statement(sid="ReadRecords", actions=["dynamodb:GetItem"], resources=[self.table_arn]),
            self._key.statement("UseTableKey", "kms:Decrypt"),
        )
