"""Rules of a bucket of files: lifecycle, access logs, replication, and the gate in front of unscanned files."""

from __future__ import annotations

from cdktf_cdktf_provider_aws.s3_bucket_lifecycle_configuration import (
    S3BucketLifecycleConfiguration,
    S3BucketLifecycleConfigurationRule,
    S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload,
    S3BucketLifecycleConfigurationRuleExpiration,
    S3BucketLifecycleConfigurationRuleFilter,
    S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration,
    S3BucketLifecycleConfigurationRuleTransition,
)
from cdktf_cdktf_provider_aws.s3_bucket_logging import S3BucketLoggingA
from cdktf_cdktf_provider_aws.s3_bucket_replication_configuration import (
    S3BucketReplicationConfigurationRule,
    S3BucketReplicationConfigurationRuleDeleteMarkerReplication,
    S3BucketReplicationConfigurationRuleDestination,
    S3BucketReplicationConfigurationRuleDestinationEncryptionConfiguration,
    S3BucketReplicationConfigurationRuleDestinationMetrics,
    S3BucketReplicationConfigurationRuleDestinationMetricsEventThreshold,
    S3BucketReplicationConfigurationRuleDestinationReplicationTime,
    S3BucketReplicationConfigurationRuleDestinationReplicationTimeTime,
    S3BucketReplicationConfigurationRuleFilter,
    S3BucketReplicationConfigurationRuleSourceSelectionCriteria,
    S3BucketReplicationConfigurationRuleSourceSelectionCriteriaSseKmsEncryptedObjects,
)
from constructs import Construct

from functions.common.contract import FILES_PREFIX, SCAN_CLEAN, SCAN_TAG
from modules.buckets import PrivateBucket
from modules.encryption import CustomerKey
from modules.foundation import Foundation
from modules.policy_documents import Conditions, Statement
from modules.roles import Role

_ABORT_LEFTOVERS = S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload(days_after_initiation=7)
_EXPIRE_OLD_VERSIONS = S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration(noncurrent_days=30)
# Where files are copied, an old version is what was deleted: it stays until its marker is copied, with time to
# repair a copy that failed.
_EXPIRE_DELETED_FILES = S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration(noncurrent_days=3)
# The one time that S3 takes (S3, "Replication Time Control").
_COPIED_WITHIN_MINUTES = 15


def lifecycle(
    scope: Construct, bucket: PrivateBucket, *, transition_days: int, expiration_days: int, marked: bool
) -> None:
    """Move files to cheaper storage, DELETE them after `expiration_days`, and remove leftovers of uploads.

    Args:
        transition_days: days until a file moves to STANDARD_IA.
        expiration_days: days until a file is DELETED; 0 keeps files for ever.
        marked: whether a deleted file gets a delete marker, which is copied between two regions. Both buckets need it:
            S3 does not copy what its own rules delete ("What does Amazon S3 replicate?").
    """
    rules = [
        S3BucketLifecycleConfigurationRule(
            id="files",
            status="Enabled",
            filter=[S3BucketLifecycleConfigurationRuleFilter(prefix=FILES_PREFIX)],
            transition=[
                S3BucketLifecycleConfigurationRuleTransition(days=transition_days, storage_class="STANDARD_IA")
            ],
            expiration=[S3BucketLifecycleConfigurationRuleExpiration(days=expiration_days)]
            if expiration_days
            else None,
        ),
        _cleaning_rule(
            "leftovers",
            old_versions=_EXPIRE_DELETED_FILES if marked else _EXPIRE_OLD_VERSIONS,
            expiration=S3BucketLifecycleConfigurationRuleExpiration(expired_object_delete_marker=True)
            if marked
            else None,
        ),
    ]
    _configure(scope, "lifecycle", bucket, rules)


def leftovers(scope: Construct, bucket: PrivateBucket) -> None:
    """Remove old versions of the objects of a bucket, and leftovers of uploads."""
    _configure(scope, "lifecycle", bucket, [_cleaning_rule("leftovers")])


def _cleaning_rule(
    rule_id: str,
    *,
    old_versions: S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration = _EXPIRE_OLD_VERSIONS,
    expiration: S3BucketLifecycleConfigurationRuleExpiration | None = None,
) -> S3BucketLifecycleConfigurationRule:
    """Return a rule for the whole bucket that removes old versions and leftovers of uploads."""
    return S3BucketLifecycleConfigurationRule(
        id=rule_id,
        status="Enabled",
        filter=[S3BucketLifecycleConfigurationRuleFilter(prefix="")],
        abort_incomplete_multipart_upload=[_ABORT_LEFTOVERS],
        noncurrent_version_expiration=[old_versions],
        expiration=[expiration] if expiration else None,
    )


def _configure(
    scope: Construct, construct_id: str, bucket: PrivateBucket, rules: list[S3BucketLifecycleConfigurationRule]
) -> None:
    S3BucketLifecycleConfiguration(
        scope,
        construct_id,
        bucket=bucket.name,
        rule=rules,
        # Rules for old versions are refused by a bucket that has no versions yet.
        depends_on=[bucket.versioning],
    )


def access_logs(
    scope: Construct,
    bucket: PrivateBucket,
    *,
    foundation: Foundation,
    purpose: str = "access",
    prefix: str = FILES_PREFIX,
) -> None:
    """Log the requests to a bucket in a second bucket (S3, "Server access logging").

    Args:
        foundation: foundation with the region of the bucket; S3 requires both buckets in one region.
        purpose: part of the name of the second bucket.
        prefix: first part of the keys of the logs.
    """
    logs = PrivateBucket(
        scope,
        "access_logs",
        foundation=foundation,
        name=foundation.bucket_name(purpose),
        key=None,
    )
    logs.add_to_policy(
        Statement(
            sid="AdmitAccessLogs",
            actions=["s3:PutObject"],
            resources=[f"{logs.arn}/*"],
            principals={"Service": ["logging.s3.amazonaws.com"]},
            conditions={
                "ArnEquals": {"aws:SourceArn": bucket.arn},
                "StringEquals": {"aws:SourceAccount": foundation.account_id},
            },
        )
    )
    expiration = S3BucketLifecycleConfigurationRuleExpiration(days=foundation.log_retention_days)
    _configure(scope, "access_logs_lifecycle", logs, [_cleaning_rule("logs", expiration=expiration)])
    S3BucketLoggingA(
        scope,
        "logging",
        bucket=bucket.name,
        target_bucket=logs.name,
        target_prefix=prefix,
        # S3 accepts a target only if its policy admits the service ("Enabling Amazon S3 server access logging").
        depends_on=[logs.policy],
    )


def only_clean_files(bucket: PrivateBucket, *, scanner: Role | None = None, inspect: Role | None = None) -> None:
    """Deny all reads of a file before the scanner has tagged it as clean, whatever link or policy the caller has.

    GuardDuty, "Using tag-based access control (TBAC) with Malware Protection for S3". A negated condition holds where
    its key is absent (IAM, "Condition operators"), so that a file without the tag is closed. The principal of a
    presigned link is the role that signed it.

    Args:
        scanner: reads files before they have the tag; only this role may tag files.
        inspect: may read files before they have the tag, too.
    """
    files = [f"{bucket.arn}/{FILES_PREFIX}*"]

    def but(*roles: Role | None) -> Conditions:
        arns = [role.arn for role in roles if role is not None]
        return {"ArnNotEquals": {"aws:PrincipalArn": arns if len(arns) > 1 else arns[0]}} if arns else {}

    bucket.add_to_policy(
        Statement(
            sid="DenyFilesThatAreNotClean",
            effect="Deny",
            actions=["s3:GetObject", "s3:GetObjectVersion"],
            resources=files,
            principals="*",
            conditions={
                "StringNotEquals": {f"s3:ExistingObjectTag/{SCAN_TAG}": SCAN_CLEAN},
                **but(scanner, inspect),
            },
        ),
        Statement(
            sid="DenyTagsOfOthers",
            effect="Deny",
            actions=[
                "s3:DeleteObjectTagging",
                "s3:DeleteObjectVersionTagging",
                "s3:PutObjectTagging",
                "s3:PutObjectVersionTagging",
            ],
            resources=files,
            principals="*",
            conditions=but(scanner),
        ),
    )


def replication_rule(name: str, bucket: PrivateBucket, key: CustomerKey) -> S3BucketReplicationConfigurationRule:
    """Return the rule that copies every file to a bucket within the time that S3 promises, encrypted with its key."""
    return S3BucketReplicationConfigurationRule(
        id=name,
        status="Enabled",
        priority=0,
        filter=S3BucketReplicationConfigurationRuleFilter(prefix=FILES_PREFIX),
        delete_marker_replication=S3BucketReplicationConfigurationRuleDeleteMarkerReplication(status="Enabled"),
        source_selection_criteria=S3BucketReplicationConfigurationRuleSourceSelectionCriteria(
            sse_kms_encrypted_objects=(
                S3BucketReplicationConfigurationRuleSourceSelectionCriteriaSseKmsEncryptedObjects(status="Enabled")
            )
        ),
        destination=S3BucketReplicationConfigurationRuleDestination(
            bucket=bucket.arn,
            encryption_configuration=(
                S3BucketReplicationConfigurationRuleDestinationEncryptionConfiguration(replica_kms_key_id=key.arn)
            ),
            metrics=S3BucketReplicationConfigurationRuleDestinationMetrics(
                status="Enabled",
                event_threshold=S3BucketReplicationConfigurationRuleDestinationMetricsEventThreshold(
                    minutes=_COPIED_WITHIN_MINUTES
                ),
            ),
            replication_time=S3BucketReplicationConfigurationRuleDestinationReplicationTime(
                status="Enabled",
                time=S3BucketReplicationConfigurationRuleDestinationReplicationTimeTime(minutes=_COPIED_WITHIN_MINUTES),
            ),
        ),
    )
