"""A private, versioned and encrypted bucket, for any content."""

from __future__ import annotations

from cdktf_cdktf_provider_aws.s3_bucket import S3Bucket
from cdktf_cdktf_provider_aws.s3_bucket_notification import S3BucketNotification, S3BucketNotificationQueue
from cdktf_cdktf_provider_aws.s3_bucket_ownership_controls import (
    S3BucketOwnershipControls,
    S3BucketOwnershipControlsRule,
)
from cdktf_cdktf_provider_aws.s3_bucket_policy import S3BucketPolicy
from cdktf_cdktf_provider_aws.s3_bucket_public_access_block import S3BucketPublicAccessBlock
from cdktf_cdktf_provider_aws.s3_bucket_server_side_encryption_configuration import (
    S3BucketServerSideEncryptionConfigurationA,
    S3BucketServerSideEncryptionConfigurationRuleA,
    S3BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultA,
)
from cdktf_cdktf_provider_aws.s3_bucket_versioning import (
    S3BucketVersioningA,
    S3BucketVersioningVersioningConfiguration,
)
from constructs import Construct

from modules.encryption import CustomerKey
from modules.foundation import Foundation
from modules.policy_documents import Conditions, Statement, deny_plain_http, document
from modules.queues import Queue
from modules.roles import Grantee

_KEEP = (
    "s3:CreateBucket",
    "s3:DeleteBucket",
    "s3:DeleteBucketPolicy",
    "s3:GetAccelerateConfiguration",
    "s3:GetBucketAcl",
    "s3:GetBucketCORS",
    "s3:PutBucketCORS",
    "s3:GetBucketLogging",
    "s3:GetBucketNotification",
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetBucketOwnershipControls",
    "s3:GetBucketPolicy",
    "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketRequestPayment",
    "s3:GetBucketTagging",
    "s3:GetBucketVersioning",
    "s3:GetBucketWebsite",
    "s3:GetEncryptionConfiguration",
    "s3:GetLifecycleConfiguration",
    "s3:GetReplicationConfiguration",
    "s3:ListBucket",
    "s3:ListBucketVersions",
    "s3:PutBucketLogging",
    "s3:PutBucketNotification",
    "s3:PutBucketOwnershipControls",
    "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutBucketTagging",
    "s3:PutBucketVersioning",
    "s3:PutEncryptionConfiguration",
    "s3:PutLifecycleConfiguration",
)


def keep_buckets(*arns: str) -> Statement:
    """Return what Terraform needs for buckets with these ARNs."""
    return Statement(sid="KeepBuckets", actions=_KEEP, resources=arns)


class PrivateBucket(Construct):
    """A bucket without public access or ACLs: versioned, with one key, only over TLS, only for this account.

    A bucket that S3 writes access logs to has no customer key: S3 cannot write them under one ("Enabling Amazon S3
    server access logging: Permissions for log delivery").

    Attributes:
        arn: ARN of the bucket.
        name: its name.
        policy: its policy, for `depends_on` of resources that S3 refuses without it.
        versioning: its versioning, for the same purpose.
        encryption: its encryption, for the same purpose.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        foundation: Foundation,
        name: str,
        key: CustomerKey | None,
        object_lock: bool = False,
        key_alias_arn: str | None = None,
    ) -> None:
        """
        Args:
            name: name of the bucket, unique in all of AWS.
            key: encrypts the objects; None for a bucket of access logs.
            key_alias_arn: ARN of the key's alias, if writers name the key by its alias.
            object_lock: whether versions can be held. It is fixed when the bucket is created.
        """
        super().__init__(scope, construct_id)
        self._foundation, self._object_lock = foundation, object_lock
        bucket = S3Bucket(
            self,
            "Default",
            bucket=name,
            force_destroy=not foundation.protect_data,
            object_lock_enabled=object_lock or None,
        )
        self._key = key
        self.arn = bucket.arn
        self.name = bucket.bucket
        self.id = bucket.id
        S3BucketOwnershipControls(
            self,
            "ownership",
            bucket=bucket.id,
            rule=S3BucketOwnershipControlsRule(object_ownership="BucketOwnerEnforced"),
        )
        public_access = S3BucketPublicAccessBlock(
            self,
            "public_access",
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
        )
        self.versioning = S3BucketVersioningA(
            self,
            "versioning",
            bucket=bucket.id,
            versioning_configuration=S3BucketVersioningVersioningConfiguration(status="Enabled"),
        )
        self.encryption = S3BucketServerSideEncryptionConfigurationA(
            self,
            "encryption",
            bucket=bucket.id,
            rule=[
                S3BucketServerSideEncryptionConfigurationRuleA(
                    bucket_key_enabled=key is not None,
                    apply_server_side_encryption_by_default=(
                        S3BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultA(
                            sse_algorithm="aws:kms" if key else "AES256", kms_master_key_id=key.arn if key else None
                        )
                    ),
                )
            ],
        )
        self._statements = self._denials(foundation, key, key_alias_arn)
        self.policy = S3BucketPolicy(
            self,
            "policy",
            bucket=bucket.id,
            policy=document(*self._statements),
            # S3 refuses a policy while the public access block of the same bucket changes.
            depends_on=[public_access],
        )

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for buckets, and to empty them if the settings do not protect the data."""
        named = f"arn:aws:s3:::{self._foundation.prefix}-*"
        found = [keep_buckets(named)]
        # The provider lifts the legal hold of a version that S3 does not let go. It also says that it may pass over a
        # retention, which takes its permission whether there is one or not.
        lift = ("s3:BypassGovernanceRetention", "s3:GetObject", "s3:PutObjectLegalHold")
        if self._object_lock:
            # S3 API, "CreateBucket": a bucket with Object Lock takes more than a bucket.
            locks = ["s3:PutBucketObjectLockConfiguration"]
            found.append(Statement(sid="LockObjects", actions=locks, resources=[named]))
        if not self._foundation.protect_data:
            empty = ["s3:DeleteObject", "s3:DeleteObjectVersion", *(lift if self._object_lock else ())]
            found.append(Statement(sid="EmptyBuckets", actions=empty, resources=[f"{named}/*"]))
        return found

    def add_to_policy(self, *statements: Statement) -> None:
        """Add statements to the bucket's policy that name resources which are constructed after the bucket."""
        self._statements.extend(statements)
        self.policy.policy = document(*self._statements)

    def grant_read(self, grantee: Grantee, concern: str = "objects_read") -> None:
        """Let a role list and read the objects."""
        grantee.grant(
            concern,
            Statement(sid="ListObjects", actions=["s3:ListBucket"], resources=[self.arn]),
            Statement(sid="GetObjects", actions=["s3:GetObject"], resources=[f"{self.arn}/*"]),
            *([self._key.statement("DecryptObjects", "kms:Decrypt")] if self._key else []),
        )

    def deny_other_readers(self, *readers: Grantee) -> None:
        """Deny every other principal of the account to read objects, whatever its own policies allow."""
        self.add_to_policy(
            Statement(
                sid="DenyOtherReaders",
                effect="Deny",
                actions=["s3:GetObject", "s3:GetObjectVersion"],
                resources=[f"{self.arn}/*"],
                principals="*",
                conditions={"ArnNotEquals": {"aws:PrincipalArn": [reader.arn for reader in readers]}},
            )
        )

    def announce_to(self, queue: Queue) -> None:
        """Let S3 send an event to a queue for each new object.

        The policies of the queue and of its key have to admit `s3.amazonaws.com` for this bucket.
        """
        S3BucketNotification(
            self,
            "announcements",
            bucket=self.id,
            queue=[S3BucketNotificationQueue(queue_arn=queue.arn, events=["s3:ObjectCreated:*"])],
            # S3 sends a test message when this is created (S3, "Amazon S3 Event Notifications").
            depends_on=[queue.policy],
        )

    def _denials(self, foundation: Foundation, key: CustomerKey | None, key_alias_arn: str | None) -> list[Statement]:
        """Return the statements that deny requests, whatever an IAM policy allows."""
        objects = f"{self.arn}/*"
        denials = [
            deny_plain_http("s3:*", self.arn, objects),
            Statement(
                sid="DenyForeignAccounts",
                effect="Deny",
                actions=["s3:*"],
                resources=[self.arn, objects],
                principals="*",
                conditions={
                    "StringNotEquals": {"aws:PrincipalAccount": foundation.account_id},
                    "BoolIfExists": {"aws:PrincipalIsAWSService": "false"},
                },
            ),
        ]
        if key is None:
            return denials
        return [
            *denials,
            # A put that names no encryption gets the bucket's key; one that names another is refused. `Null` is needed:
            # IAM takes StringNotEquals as true where the key is absent ("Condition operators").
            Statement(
                sid="DenyOtherEncryption",
                effect="Deny",
                actions=["s3:PutObject"],
                resources=[objects],
                principals="*",
                conditions=_present_but_not("s3:x-amz-server-side-encryption", "aws:kms"),
            ),
            Statement(
                sid="DenyOtherKeys",
                effect="Deny",
                actions=["s3:PutObject"],
                resources=[objects],
                principals="*",
                conditions=_present_but_not(
                    "s3:x-amz-server-side-encryption-aws-kms-key-id",
                    [key.arn, key_alias_arn] if key_alias_arn else key.arn,
                ),
            ),
        ]


def _present_but_not(key: str, allowed: str | list[str]) -> Conditions:
    return {"StringNotEquals": {key: allowed}, "Null": {key: "false"}}
