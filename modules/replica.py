"""A second region with a copy of every file and every record, under its own keys. It serves no requests.

What is covered and what is not, RPO and RTO: docs/operations.md, "Two regions".
"""

from __future__ import annotations

from cdktf import TerraformProvider, TerraformResource
from cdktf_cdktf_provider_aws.dynamodb_table_replica import DynamodbTableReplicaA
from constructs import Construct

from modules.alarms import STANDS_STILL, Advice, Alarm, Alarms, Metric, any_count
from modules.bucket_rules import access_logs, lifecycle, only_clean_files
from modules.buckets import PrivateBucket
from modules.encryption import CustomerKey, admit_service
from modules.monitored import Monitored
from modules.notifications import Topic, alarms_of, tell_by_email
from modules.policy_documents import Statement
from modules.settings import Settings
from modules.storage import Storage
from modules.tables import KEEP_TABLES, Metadata, Table

# What S3 promises of replication with time control: 99.99 % of files within it (S3, "Replication Time Control").
LATE_SECONDS = 900
# DynamoDB copies mostly within a second ("Global tables: How it works").
LATE_RECORD_MILLISECONDS = 60_000

# DynamoDB, "Global tables security": whoever makes a copy has to be allowed what filling it takes.
_FILL_TABLES = (
    "dynamodb:BatchWriteItem",
    "dynamodb:CreateTableReplica",
    "dynamodb:DeleteItem",
    "dynamodb:DeleteTableReplica",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:Scan",
    "dynamodb:UpdateItem",
)


class Replica(Construct, Monitored):
    """Everything in here is in the second region: its bucket and tables, their keys, and a topic for its alarms.

    CloudWatch has the delay of S3's copies in the region where they arrive, and its alarms publish only to topics of
    their own region: so two alarms and a topic are here. The other alarms on copies are in the first region.

    Attributes:
        region: the second region.
        copied: dimensions of the metrics of copying files.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        provider: TerraformProvider,
        storage: Storage,
        metadata: Metadata,
    ) -> None:
        """
        Args:
            provider: of the second region.
            storage: the files; they are copied from now on, not those that are there already.
            metadata: the records; DynamoDB copies all.
        """
        super().__init__(scope, construct_id)
        self._foundation = settings.foundation
        there = settings.in_replica_region.foundation
        self._there = there
        self.region = there.region
        files_key = CustomerKey(self, "files_key", foundation=there, purpose="files", service="s3")
        records_key = CustomerKey(self, "records_key", foundation=there, purpose="records", service="dynamodb")
        topics_key = CustomerKey(
            self,
            "topics_key",
            foundation=there,
            purpose="topics",
            service="sns",
            admit=[admit_service(there, "cloudwatch", f"alarm:{there.prefix}-*")],
        )
        bucket = PrivateBucket(
            self,
            "files",
            foundation=there,
            name=there.bucket_name("uploads"),
            key=files_key,
            object_lock=settings.legal_hold,
        )
        lifecycle(
            self,
            bucket,
            transition_days=settings.s3_lifecycle_transition_days,
            expiration_days=settings.s3_lifecycle_expiration_days,
            marked=True,
        )
        if settings.enable_access_logs:
            access_logs(self, bucket, foundation=there)
        if settings.malware_scanning:
            only_clean_files(bucket)
        self._tables = (metadata.files, metadata.quotas)
        for table in self._tables:
            DynamodbTableReplicaA(
                self,
                table.node.id + "_table",
                global_table_arn=table.arn,
                kms_key_arn=records_key.arn,
                point_in_time_recovery=settings.protect_data,
                deletion_protection_enabled=settings.protect_data,
            )
        alerts = Topic(self, "alerts", foundation=there, name="alerts", key=topics_key, publishers=[alarms_of(there)])
        tell_by_email(self, alerts, settings.alert_email)
        self.copied = storage.copy_to(bucket, key=files_key)
        alarms = Alarms(self, "monitoring", foundation=there, alerts=alerts)
        for alarm in self._alarms_there():
            alarms.create(alarm)
        for each in self.node.find_all():
            if isinstance(each, TerraformResource):
                each.provider = provider

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for copies, beside what the constructs in here need."""
        service = "replication.dynamodb.amazonaws.com"
        account, prefix = self._foundation.account_id, self._foundation.prefix
        return [
            Statement(
                sid="KeepCopying", actions=["s3:PutReplicationConfiguration"], resources=[f"arn:aws:s3:::{prefix}-*"]
            ),
            Statement(
                sid="KeepCopiedTables",
                actions=[*KEEP_TABLES, *_FILL_TABLES],
                resources=[self._there.arn("dynamodb", f"table/{prefix}-*")],
            ),
            Statement(
                sid="LetDynamoDBCopy",
                actions=["iam:CreateServiceLinkedRole"],
                resources=[
                    f"arn:aws:iam::{account}:role/aws-service-role/{service}/AWSServiceRoleForDynamoDBReplication"
                ],
                conditions={"StringEquals": {"iam:AWSServiceName": service}},
            ),
        ]

    def _alarms_there(self) -> list[Alarm]:
        """Return the alarms on files whose copies are late (S3, "Using S3 Replication metrics").

        S3 may report a delay only while it copies. It always reports the number of files that wait: if files wait and
        there is no delay, copying stands still.
        """
        late = Metric("AWS/S3", "ReplicationLatency", self.copied, "Maximum")
        waiting = Metric("AWS/S3", "OperationsPendingReplication", self.copied, "Minimum")
        next_step = "look at AWS Health for both regions, and at the alarm on copies that failed"
        return [
            Alarm(
                name="copies_late",
                metrics={"late": late},
                threshold=LATE_SECONDS,
                periods=1,
                missing="ignore",
                advice=Advice(
                    f"Files reach the copy in {self.region} more than {LATE_SECONDS // 60} minutes late.",
                    next_step,
                    "late-copies",
                ),
            ),
            Alarm(
                name="copies_stand_still",
                metrics={"waiting": waiting, "late": late},
                expression=STANDS_STILL.format(work="waiting", done="late"),
                label="stands still",
                threshold=0,
                periods=3,
                advice=Advice(
                    f"Files wait for their copy in {self.region}, and none was made for 15 minutes.",
                    next_step,
                    "late-copies",
                ),
            ),
        ]

    def alarms(self) -> list[Alarm]:
        """Return the alarms on copies of records, and on copies that failed (S3, "Using S3 Replication metrics")."""
        return [
            *(alarm for table in self._tables for alarm in self._alarms_of(table)),
            any_count(
                "copies_failed",
                [Metric("AWS/S3", "OperationsFailedReplication", self.copied)],
                Advice(
                    f"S3 could not copy files, or what was deleted, to {self.region}.",
                    "find out what S3 may not do there, mend it, and have S3 Batch Replication copy what failed",
                    "failed-copies",
                ),
            ),
        ]

    def _alarms_of(self, table: Table) -> list[Alarm]:
        """Return the alarms on a table whose copy is late (DynamoDB, "DynamoDB Metrics and dimensions").

        DynamoDB reports the delay of writes that were copied. If there are writes and no delay, copying stands still.
        """
        name, next_step = table.node.id, "see the status of the copy, whether its key can be used, and AWS Health"
        dimensions = {"TableName": table.name, "ReceivingRegion": self.region}
        late = Metric("AWS/DynamoDB", "ReplicationLatency", dimensions, "Average")
        written = Metric("AWS/DynamoDB", "ConsumedWriteCapacityUnits", {"TableName": table.name})
        return [
            Alarm(
                name=f"{name}_copy_late",
                metrics={"late": late},
                threshold=LATE_RECORD_MILLISECONDS,
                periods=3,
                missing="ignore",
                advice=Advice(
                    f"The copy of the table {table.name} in {self.region} is more than "
                    f"{LATE_RECORD_MILLISECONDS // 1000} seconds behind, for 15 minutes.",
                    next_step,
                    "late-copies",
                ),
            ),
            Alarm(
                name=f"{name}_copy_stands_still",
                metrics={"written": written, "late": late},
                expression=STANDS_STILL.format(work="written", done="late"),
                label="stands still",
                threshold=0,
                periods=3,
                advice=Advice(
                    f"The table {table.name} is written to, and nothing reached its copy in {self.region}.",
                    next_step,
                    "late-copies",
                ),
            ),
        ]
