"""Malware scanning: GuardDuty scans every file, and its result continues the workflow."""

from __future__ import annotations

from cdktf_cdktf_provider_aws.cloudwatch_event_target import CloudwatchEventTargetInputTransformer
from cdktf_cdktf_provider_aws.guardduty_malware_protection_plan import (
    GuarddutyMalwareProtectionPlan,
    GuarddutyMalwareProtectionPlanActions,
    GuarddutyMalwareProtectionPlanActionsTagging,
    GuarddutyMalwareProtectionPlanProtectedResource,
    GuarddutyMalwareProtectionPlanProtectedResourceS3Bucket,
)
from constructs import Construct

from functions.common.contract import FILES_PREFIX
from modules.deployer import any_resource
from modules.encryption import CustomerKey
from modules.foundation import Foundation
from modules.functions import Function
from modules.names import SCAN_EVENTS
from modules.policy_documents import Statement
from modules.roles import Role
from modules.storage import Storage
from modules.workflow import Workflow

GUARDDUTY = "malware-protection-plan.guardduty.amazonaws.com"
# GuardDuty makes a rule of this name for itself, to hear of new objects.
_OWN_RULE = "DO-NOT-DELETE-AmazonGuardDutyMalwareProtectionS3"

# Service Authorization Reference, "Amazon GuardDuty".
_KEEP = (
    "guardduty:DeleteMalwareProtectionPlan",
    "guardduty:GetMalwareProtectionPlan",
    "guardduty:ListTagsForResource",
    "guardduty:TagResource",
    "guardduty:UntagResource",
    "guardduty:UpdateMalwareProtectionPlan",
)


class Scanning(Construct):
    """GuardDuty Malware Protection for S3, with the gate in front of downloads and the rule for its results.

    It needs no detector: the plan works where GuardDuty itself is off ("Malware Protection for S3").

    Attributes:
        dead_letters: queue of the results that could not start the workflow.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        foundation: Foundation,
        storage: Storage,
        workflow: Workflow,
        inspect: Function,
        queues_key: CustomerKey,
    ) -> None:
        """
        Args:
            inspect: function that looks at files before they are clean.
            queues_key: encrypts dead letters.
        """
        super().__init__(scope, construct_id)
        self._foundation = foundation
        scanner = Role(
            self,
            "role",
            foundation=foundation,
            name="scanner",
            service=GUARDDUTY,
            description="GuardDuty scans files for malware",
        )
        storage.grant_scan(scanner)
        self._grant_own_rule(scanner, foundation)
        storage.grant_scan_result(inspect.role)
        storage.open_only_clean_files(scanner=scanner, inspect=inspect.role)
        GuarddutyMalwareProtectionPlan(
            self,
            "Default",
            role=scanner.arn,
            protected_resource=[
                GuarddutyMalwareProtectionPlanProtectedResource(
                    s3_bucket=[
                        GuarddutyMalwareProtectionPlanProtectedResourceS3Bucket(
                            bucket_name=storage.bucket_name, object_prefixes=[FILES_PREFIX]
                        )
                    ]
                )
            ],
            # The bucket's policy opens a file by its tag.
            actions=[
                GuarddutyMalwareProtectionPlanActions(
                    tagging=[GuarddutyMalwareProtectionPlanActionsTagging(status="ENABLED")]
                )
            ],
            # GuardDuty tests its permissions when the plan is created. It also adds EventBridge to the bucket's
            # notifications if it is missing; if Terraform wrote them at the same time, one change would be lost.
            depends_on=[*scanner.grants, storage.events],
        )
        self.dead_letters = workflow.start_on(
            self,
            "scanned",
            name=SCAN_EVENTS,
            description="A file was scanned: start its workflow with what was found",
            # GuardDuty, "Monitoring S3 object scans with Amazon EventBridge".
            pattern={
                "source": ["aws.guardduty"],
                "detail-type": ["GuardDuty Malware Protection Object Scan Result"],
                "detail": {
                    "s3ObjectDetails": {"bucketName": [storage.bucket_name], "objectKey": [{"prefix": FILES_PREFIX}]}
                },
            },
            queues_key=queues_key,
            # The form of S3's event, with the result beside it.
            reshape=CloudwatchEventTargetInputTransformer(
                input_paths={
                    "key": "$.detail.s3ObjectDetails.objectKey",
                    "status": "$.detail.scanResultDetails.scanResultStatus",
                },
                input_template='{"detail": {"object": {"key": <key>}, "scan": {"status": <status>}}}',
            ),
        )

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for the plan. The id of a plan is not known before the plan is made."""
        plans = self._foundation.arn("guardduty", "malware-protection-plan/*")
        return [
            Statement(sid="KeepScanning", actions=_KEEP, resources=[plans]),
            any_resource("BeginScanning", "no plan is named by this action", "guardduty:CreateMalwareProtectionPlan"),
        ]

    @staticmethod
    def _grant_own_rule(scanner: Role, foundation: Foundation) -> None:
        """Let GuardDuty keep the rule by which it hears of new objects (ids of statements as in its guide)."""
        rule = foundation.arn("events", f"rule/{_OWN_RULE}*")
        scanner.grant(
            "own_rule",
            Statement(
                sid="AllowManagedRuleToSendS3EventsToGuardDuty",
                actions=["events:DeleteRule", "events:PutRule", "events:PutTargets", "events:RemoveTargets"],
                resources=[rule],
                conditions={"StringLike": {"events:ManagedBy": GUARDDUTY}},
            ),
            Statement(
                sid="AllowGuardDutyToMonitorEventBridgeManagedRule",
                actions=["events:DescribeRule", "events:ListTargetsByRule"],
                resources=[rule],
            ),
        )
