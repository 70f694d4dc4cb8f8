"""The table of the records: one item a file."""

from __future__ import annotations

from cdktf_cdktf_provider_aws.dynamodb_table import (
    DynamodbTable,
    DynamodbTableAttribute,
    DynamodbTableGlobalSecondaryIndex,
    DynamodbTablePointInTimeRecovery,
    DynamodbTableServerSideEncryption,
)
from constructs import Construct

from modules.encryption import CustomerKey
from modules.permissions import Role
from modules.policy import Statement
from modules.settings import Settings

BY_STATE = "by-state"


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
            attribute=[
                DynamodbTableAttribute(name="file_id", type="S"),
                DynamodbTableAttribute(name="state", type="S"),
                DynamodbTableAttribute(name="upload_time", type="S"),
            ],
            # What is stuck in a state, oldest first: for the sweeper.
            global_secondary_index=[
                DynamodbTableGlobalSecondaryIndex(
                    name=BY_STATE,
                    hash_key="state",
                    range_key="upload_time",
                    projection_type="KEYS_ONLY",
                )
            ],
            server_side_encryption=DynamodbTableServerSideEncryption(enabled=True, kms_key_arn=key.arn),
            point_in_time_recovery=DynamodbTablePointInTimeRecovery(enabled=settings.protect_data),
            deletion_protection_enabled=settings.protect_data,
        )
        self.table_name = table.name
        self.table_arn = table.arn
        self._key = key

    def grant_record(self, role: Role) -> None:
        """Let a role write the record of a new file."""
        self._grant(role, "records_create", "CreateRecords", "dynamodb:PutItem")

    def grant_carry_on(self, role: Role) -> None:
        """Let a role bring a record from one state to the next."""
        self._grant(role, "records_update", "UpdateRecords", "dynamodb:UpdateItem")

    def grant_read(self, role: Role) -> None:
        """Let a role read the record of a file by its id."""
        self._grant(role, "records_read", "ReadRecords", "dynamodb:GetItem")

    def grant_find_stuck(self, role: Role) -> None:
        """Let a role list the records of a state by their age."""
        self._grant(role, "records_find", "FindRecords", "dynamodb:Query", index=BY_STATE)

    def _grant(self, role: Role, concern: str, sid: str, action: str, *, index: str = "") -> None:
        resource = f"{self.table_arn}/index/{index}" if index else self.table_arn
        role.grant(
            concern,
            Statement(sid=sid, actions=[action], resources=[resource]),
            # DynamoDB, "Encryption at rest: usage notes": callers need Decrypt on the table's key, writers too.
            self._key.statement("UseTableKey", "kms:Decrypt"),
        )

    def grant_probe(self, role: Role, file_id: str) -> None:
        """Let a role see whether the table can be read, by asking for this one record and no other."""
        role.grant(
            "records_probe",
            Statement(
                sid="ReadProbe",
                actions=["dynamodb:GetItem"],
                resources=[self.table_arn],
                conditions={"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [file_id]}},
            ),
            self._key.statement("UseTableKey", "kms:Decrypt"),
        )
