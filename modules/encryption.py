"""Customer keys: one for each service, rotated, with a policy that names the users and the service."""

from __future__ import annotations

from collections.abc import Sequence

from cdktf_cdktf_provider_aws.kms_alias import KmsAlias
from cdktf_cdktf_provider_aws.kms_key import KmsKey
from constructs import Construct

from modules.deployer import any_resource
from modules.foundation import Foundation
from modules.monitored import Monitored
from modules.policy_documents import Statement, document
from modules.roles import Grantee

_THIS_KEY = "in the policy of a key, `*` means that key (KMS, Key policies)"

# KMS, "Allows key administrators to administer the KMS key", written out.
_ADMINISTRATION = (
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:CreateGrant",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListKeyRotations",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:RetireGrant",
    "kms:RevokeGrant",
    "kms:RotateKeyOnDemand",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
)
_USE = (
    "kms:Decrypt",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)

_KEEP = (
    "kms:CreateAlias",
    "kms:CreateGrant",
    "kms:Decrypt",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:EnableKeyRotation",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
)


class CustomerKey(Construct, Monitored):
    """A customer key for one service.

    Attributes:
        arn: ARN of the key.
        key_id: its id.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        foundation: Foundation,
        purpose: str,
        service: str,
        admit: Sequence[Statement] = (),
    ) -> None:
        """
        Args:
            purpose: kind of data that the key encrypts; part of its description and of its alias.
            service: the AWS service through which the account's principals use it, such as `s3`.
            admit: statements for AWS services that use the key on their own behalf.
        """
        super().__init__(scope, construct_id)
        self._foundation = foundation
        self._via = f"{service}.{foundation.region}.amazonaws.com"
        account = {"AWS": [f"arn:aws:iam::{foundation.account_id}:root"]}
        self._statements = [
            Statement(
                sid="AccountAdministersKey",
                actions=_ADMINISTRATION,
                resources=["*"],
                any_resource=_THIS_KEY,
                principals=account,
            ),
            # Opens the key to the account's IAM policies, which each name the key; only through this service.
            Statement(
                sid="AccountUsesKeyThroughService",
                actions=_USE,
                resources=["*"],
                any_resource=_THIS_KEY,
                principals=account,
                conditions={"StringEquals": {"kms:ViaService": self._via, "kms:CallerAccount": foundation.account_id}},
            ),
            *admit,
        ]
        self._key = KmsKey(
            self,
            "Default",
            description=f"{foundation.prefix}: {purpose}",
            enable_key_rotation=True,
            deletion_window_in_days=foundation.key_deletion_window_days,
            policy=document(*self._statements),
        )
        KmsAlias(
            self,
            "alias",
            name=f"alias/{foundation.prefix}-{purpose.replace(' ', '-')}",
            target_key_id=self._key.key_id,
        )
        self.arn = self._key.arn
        self.key_id = self._key.key_id

    def add_to_policy(self, *statements: Statement) -> None:
        """Add statements to the key's policy that name resources which are constructed after the key."""
        self._statements.extend(statements)
        self._key.policy = document(*self._statements)

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for keys."""
        return keep_keys(self._foundation)

    def statement(self, sid: str, *actions: str) -> Statement:
        """Return the statement of a grant that lets a role use the key through its service."""
        return Statement(
            sid=sid,
            actions=actions,
            resources=[self.arn],
            conditions={"StringEquals": {"kms:ViaService": self._via}},
        )

    def grant_decrypt(self, grantee: Grantee, concern: str) -> None:
        """Let a role decrypt through the key's service."""
        grantee.grant(concern, self.statement("Decrypt", "kms:Decrypt"))


def keep_keys(foundation: Foundation) -> list[Statement]:
    """Return what Terraform needs for keys. The id of a key is not known before the key is made."""
    names = ("key/*", f"alias/{foundation.prefix}-*")
    return [
        Statement(sid="KeepKeys", actions=_KEEP, resources=[foundation.arn("kms", name) for name in names]),
        any_resource("MakeKeys", "no key is named by these actions", "kms:CreateKey", "kms:ListAliases"),
    ]


def admit_service(foundation: Foundation, service: str, sources: str) -> Statement:
    """Let an AWS service use a key for what it delivers on behalf of this account's resources.

    Args:
        service: its name, such as `events`.
        sources: the resources for which it acts: an ARN, or the part of an ARN behind the account, such as
            `rule/sluice-dev-*`.

    Source: SNS and SQS, "Key management: Enable compatibility between event sources from AWS services".
    """
    home = f"arn:aws:{service}:{foundation.region}:{foundation.account_id}"
    # An ARN may be a reference, which Terraform resolves.
    arns = sources if sources.startswith(("arn:", "${")) else f"{home}:{sources}"
    return Statement(
        sid=f"{service.capitalize()}UsesKey",
        actions=["kms:GenerateDataKey", "kms:Decrypt"],
        resources=["*"],
        any_resource=_THIS_KEY,
        principals={"Service": [f"{service}.amazonaws.com"]},
        conditions={
            "StringEquals": {"aws:SourceAccount": foundation.account_id},
            "ArnLike": {"aws:SourceArn": arns},
        },
    )


def admit_distribution(arn: str) -> Statement:
    """Let a CloudFront distribution decrypt what it reads from its bucket.

    Source: CloudFront, "Restrict access to an Amazon S3 origin: SSE-KMS".
    """
    return Statement(
        sid="DistributionDecrypts",
        actions=["kms:Decrypt"],
        resources=["*"],
        any_resource=_THIS_KEY,
        principals={"Service": ["cloudfront.amazonaws.com"]},
        conditions={"StringEquals": {"aws:SourceArn": arn}},
    )


def admit_logs(foundation: Foundation, log_group_prefixes: Sequence[str]) -> Statement:
    """Let CloudWatch Logs use a key for the log groups with these name prefixes in this account and region.

    Source: CloudWatch Logs, "Encrypt log data using AWS KMS".
    """
    home = foundation.arn("logs", "log-group")
    return Statement(
        sid="LogsUseKey",
        actions=["kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey"]
        + ["kms:GenerateDataKeyWithoutPlaintext"],
        resources=["*"],
        any_resource=_THIS_KEY,
        principals={"Service": [f"logs.{foundation.region}.amazonaws.com"]},
        conditions={
            "ArnLike": {"kms:EncryptionContext:aws:logs:arn": [f"{home}:{prefix}*" for prefix in log_group_prefixes]}
        },
    )
