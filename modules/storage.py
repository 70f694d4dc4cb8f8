"""The bucket of the files: private, versioned, encrypted with a customer key, with a lifecycle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cdktf_cdktf_provider_aws.s3_bucket_cors_configuration import (
    S3BucketCorsConfiguration,
    S3BucketCorsConfigurationCorsRule,
)
from cdktf_cdktf_provider_aws.s3_bucket_notification import S3BucketNotification
from cdktf_cdktf_provider_aws.s3_bucket_replication_configuration import (
    S3BucketReplicationConfigurationA,
)
from constructs import Construct

from functions.common.contract import FILES_PREFIX
from modules.alarms import Metric
from modules.bucket_rules import access_logs, lifecycle, only_clean_files, replication_rule
from modules.buckets import PrivateBucket
from modules.encryption import CustomerKey
from modules.foundation import Foundation
from modules.monitored import Graph, Monitored, Row
from modules.policy_documents import Statement
from modules.roles import Grantee, Role

PREFLIGHT_SECONDS = 600
# Headers of S3's answers that pages may read: address, checksum and version of a stored file; name, size and range of a
# download; and the ids that AWS Support asks for ("Getting Amazon S3 request IDs for Support").
EXPOSED_HEADERS = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Location",
    "x-amz-checksum-sha256",
    "x-amz-checksum-type",
    "x-amz-id-2",
    "x-amz-request-id",
    "x-amz-version-id",
)


class Storage(Construct, Monitored):
    """The files of an environment.

    Attributes:
        bucket_name: name of the bucket.
        bucket_arn: its ARN.
        events: configuration that makes S3 send events of new objects to EventBridge.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        foundation: Foundation,
        key: CustomerKey,
        transition_days: int = 30,
        expiration_days: int = 0,
        logs_access: bool = False,
        origins: Sequence[str] = (),
        legal_hold: bool = False,
        replicates: bool = False,
    ) -> None:
        """
        Args:
            transition_days: days until a file moves to STANDARD_IA (AWS: 30 or more).
            expiration_days: days until a file is DELETED; 0 keeps files for ever.
            logs_access: whether a second bucket gets S3's access logs.
            origins: origins whose pages may use links to the bucket.
            legal_hold: whether files can be held (S3 Object Lock).
            replicates: whether files are copied to a second region.
        """
        super().__init__(scope, construct_id)
        self._bucket = PrivateBucket(
            self,
            "uploads",
            foundation=foundation,
            name=foundation.bucket_name("uploads"),
            key=key,
            object_lock=legal_hold,
        )
        self._foundation = foundation
        self._key = key
        self._legal_hold = legal_hold
        self.bucket_name = self._bucket.name
        self.bucket_arn = self._bucket.arn
        self._files_arn = f"{self.bucket_arn}/{FILES_PREFIX}*"
        self._marks_what_it_deletes = replicates
        lifecycle(
            self,
            self._bucket,
            transition_days=transition_days,
            expiration_days=expiration_days,
            marked=replicates,
        )
        if logs_access:
            access_logs(self, self._bucket, foundation=foundation)
        if origins:
            self._admit_pages(origins)
        self.events = S3BucketNotification(self, "events", bucket=self._bucket.name, eventbridge=True)

    def dashboard_rows(self) -> list[Row]:
        """Return the row of the bucket, which S3 measures once a day ("Amazon S3 metrics and dimensions")."""
        sizes = [
            self._metric("BucketSizeBytes", "StandardStorage", "STANDARD"),
            self._metric("BucketSizeBytes", "StandardIAStorage", "STANDARD_IA"),
        ]
        objects = [self._metric("NumberOfObjects", "AllStorageTypes", "objects")]
        day = 86400
        graphs = [Graph("size", sizes, "bytes", period=day), Graph("objects", objects, "objects", period=day)]
        return [Row("Storage", graphs)]

    def _metric(self, name: str, storage_type: str, label: str) -> Metric:
        dimensions = {"BucketName": self.bucket_name, "StorageType": storage_type}
        return Metric("AWS/S3", name, dimensions, "Average", label)

    def _admit_pages(self, origins: Sequence[str]) -> None:
        """Let pages of the API's origins send bytes here and fetch them, by the links that the API gives."""
        S3BucketCorsConfiguration(
            self,
            "cors",
            bucket=self.bucket_name,
            cors_rule=[
                S3BucketCorsConfigurationCorsRule(
                    allowed_origins=list(origins),
                    allowed_methods=["GET", "POST", "PUT"],
                    allowed_headers=["*"],
                    expose_headers=list(EXPOSED_HEADERS),
                    max_age_seconds=PREFLIGHT_SECONDS,
                )
            ],
        )

    def copy_to(self, bucket: PrivateBucket, *, key: CustomerKey) -> Mapping[str, str]:
        """Copy every new file, and every deletion, to a bucket of another region.

        Args:
            key: key that encrypts the copies.

        Returns:
            The dimensions of the metrics of copying (S3, "Using S3 Replication metrics").
        """
        rule = "files"
        S3BucketReplicationConfigurationA(
            self,
            "copying",
            bucket=self._bucket.id,
            role=self._copier(bucket, key).arn,
            rule=[replication_rule(rule, bucket, key)],
            # S3 copies only between versioned buckets.
            depends_on=[self._bucket.versioning, bucket.versioning],
        )
        return {"SourceBucket": self.bucket_name, "DestinationBucket": bucket.name, "RuleId": rule}

    def _copier(self, bucket: PrivateBucket, key: CustomerKey) -> Role:
        """Make the role with which S3 reads files and writes copies.

        S3, "Setting up permissions for live replication", and "Amazon S3 replication failure reasons", which asks for
        more actions on the second region's key, and for the legal holds there.
        """
        role = Role(
            self,
            "copier",
            foundation=self._foundation,
            name="copier",
            service="s3.amazonaws.com",
            description="Copies files to the second region",
        )
        copies = f"{bucket.arn}/{FILES_PREFIX}*"
        held = ("s3:GetObjectLegalHold", "s3:GetObjectRetention") if self._legal_hold else ()
        hold = ("s3:PutObjectLegalHold",) if self._legal_hold else ()
        role.grant(
            "files_copy",
            Statement(
                sid="FindFiles",
                actions=["s3:GetReplicationConfiguration", "s3:ListBucket"],
                resources=[self.bucket_arn],
            ),
            Statement(
                sid="ReadFiles",
                actions=[
                    "s3:GetObjectVersionAcl",
                    "s3:GetObjectVersionForReplication",
                    "s3:GetObjectVersionTagging",
                    *held,
                ],
                resources=[self._files_arn],
            ),
            Statement(
                sid="WriteCopies",
                actions=[*hold, "s3:ReplicateDelete", "s3:ReplicateObject", "s3:ReplicateTags"],
                resources=[copies],
            ),
            self._key.statement("DecryptFiles", "kms:Decrypt"),
            key.statement("EncryptCopies", "kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"),
        )
        return role

    def grant_write(self, grantee: Grantee) -> None:
        """Let a role store files, encrypted under the bucket's key."""
        grantee.grant(
            "files_write",
            Statement(sid="PutFiles", actions=["s3:PutObject"], resources=[self._files_arn]),
            self._key.statement("EncryptFiles", "kms:GenerateDataKey"),
        )

    def grant_upload(self, grantee: Grantee) -> None:
        """Let a role hand out links that store files, whole or in parts, and put parts together.

        S3 asks for PutObject for each step of a multipart upload but for the list of parts, and for both actions on the
        key (S3, "Multipart upload API and permissions").
        """
        grantee.grant(
            "files_upload",
            Statement(sid="PutFiles", actions=["s3:PutObject"], resources=[self._files_arn]),
            Statement(sid="ListParts", actions=["s3:ListMultipartUploadParts"], resources=[self._files_arn]),
            self._key.statement("EncryptFiles", "kms:GenerateDataKey"),
            self._key.statement("DecryptParts", "kms:Decrypt"),
        )

    def grant_discard(self, grantee: Grantee) -> None:
        """Let a role remove files with all their versions, and the leftovers of uploads.

        Where files are copied, it marks them as deleted and the lifecycle removes them: the marker is copied, and no
        version that is deleted (S3, "What does Amazon S3 replicate?").
        """
        delete = "s3:DeleteObject" if self._marks_what_it_deletes else "s3:DeleteObjectVersion"
        grantee.grant(
            "files_discard",
            Statement(
                sid="FindLeftovers",
                actions=["s3:ListBucketMultipartUploads", "s3:ListBucketVersions"],
                resources=[self.bucket_arn],
            ),
            Statement(
                sid="RemoveFiles",
                actions=["s3:AbortMultipartUpload", delete],
                resources=[self._files_arn],
            ),
        )

    def grant_find(self, grantee: Grantee) -> None:
        """Let a role see whether a file exists, but not read it."""
        grantee.grant(
            "files_find",
            Statement(
                sid="ListFiles",
                actions=["s3:ListBucket"],
                resources=[self.bucket_arn],
                conditions={"StringLike": {"s3:prefix": f"{FILES_PREFIX}*"}},
            ),
        )

    def grant_find_versions(self, grantee: Grantee) -> None:
        """Let a role list the versions of files, but not read them."""
        grantee.grant(
            "files_find_versions",
            Statement(
                sid="ListVersions",
                actions=["s3:ListBucketVersions"],
                resources=[self.bucket_arn],
                conditions={"StringLike": {"s3:prefix": f"{FILES_PREFIX}*"}},
            ),
        )

    def grant_inspect(self, grantee: Grantee) -> None:
        """Let a role read stored files, and distinguish a missing file from a denied one."""
        grantee.grant(
            "files_inspect",
            Statement(sid="HeadFiles", actions=["s3:GetObject"], resources=[self._files_arn]),
            # Without it, S3 answers 403 where there is no object (S3, "HeadObject: Permissions").
            Statement(
                sid="FindFiles",
                actions=["s3:ListBucket"],
                resources=[self.bucket_arn],
            ),
            # Checksums of encrypted objects are shown only to callers who may decrypt (S3, "HeadObject: Permissions").
            self._key.statement("DecryptChecksums", "kms:Decrypt"),
        )

    def open_only_clean_files(self, *, scanner: Role, inspect: Role) -> None:
        """Deny all reads of a file before it is known to be clean, except to these two roles."""
        only_clean_files(self._bucket, scanner=scanner, inspect=inspect)

    def grant_scan(self, grantee: Grantee) -> None:
        """Let GuardDuty's role read files and tag them, hear of new ones, and try whether it can.

        GuardDuty, "Create or update IAM role policy"; the statements have the ids of that page.
        """
        grantee.grant(
            "files_scan",
            Statement(
                sid="AllowMalwareScan",
                actions=["s3:GetObject", "s3:GetObjectVersion"],
                resources=[self._files_arn],
            ),
            Statement(
                sid="AllowPostScanTag",
                actions=[
                    "s3:GetObjectTagging",
                    "s3:GetObjectVersionTagging",
                    "s3:PutObjectTagging",
                    "s3:PutObjectVersionTagging",
                ],
                resources=[self._files_arn],
            ),
            Statement(
                sid="AllowEnableS3EventBridgeEvents",
                actions=["s3:GetBucketNotification", "s3:PutBucketNotification"],
                resources=[self.bucket_arn],
            ),
            Statement(sid="AllowCheckBucketOwnership", actions=["s3:ListBucket"], resources=[self.bucket_arn]),
            Statement(
                sid="AllowPutValidationObject",
                actions=["s3:PutObject"],
                resources=[f"{self.bucket_arn}/malware-protection-resource-validation-object"],
            ),
            self._key.statement("AllowDecryptForMalwareScan", "kms:Decrypt", "kms:GenerateDataKey"),
        )

    def grant_scan_result(self, grantee: Grantee) -> None:
        """Let a role read the result of the scan of a file."""
        grantee.grant(
            "files_scan_result",
            Statement(sid="ReadScanResult", actions=["s3:GetObjectTagging"], resources=[self._files_arn]),
        )

    def grant_hold(self, grantee: Grantee) -> None:
        """Let a role put files under a legal hold."""
        grantee.grant(
            "files_hold",
            Statement(sid="HoldFiles", actions=["s3:PutObjectLegalHold"], resources=[self._files_arn]),
        )

    def grant_read(self, grantee: Grantee) -> None:
        """Let a role read files, or hand out links that read them."""
        grantee.grant(
            "files_read",
            Statement(sid="GetFiles", actions=["s3:GetObject"], resources=[self._files_arn]),
            self._key.statement("DecryptFiles", "kms:Decrypt"),
        )

    def grant_probe(self, grantee: Grantee) -> None:
        """Let a role see whether the bucket exists, but not list it."""
        grantee.grant(
            "files_probe",
            Statement(sid="FindBucket", actions=["s3:GetBucketLocation"], resources=[self.bucket_arn]),
        )
