"""Releases in steps: CodeDeploy moves the traffic of functions to new versions, and back if errors rise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cdktf_cdktf_provider_aws.cloudwatch_metric_alarm import CloudwatchMetricAlarm
from cdktf_cdktf_provider_aws.codedeploy_app import CodedeployApp
from cdktf_cdktf_provider_aws.codedeploy_deployment_group import (
    CodedeployDeploymentGroup,
    CodedeployDeploymentGroupAlarmConfiguration,
    CodedeployDeploymentGroupAutoRollbackConfiguration,
    CodedeployDeploymentGroupDeploymentStyle,
    CodedeployDeploymentGroupTriggerConfiguration,
)
from constructs import Construct

from modules.deployer import any_resource
from modules.foundation import Foundation
from modules.functions import Function
from modules.notifications import Topic
from modules.policy_documents import Statement
from modules.roles import Role

# A tenth of the traffic for 15 minutes, then all of it. An alarm on the rate of errors needs two periods of 5 minutes:
# a shorter canary would be over before the alarm could stop it.
TRAFFIC = "CodeDeployDefault.LambdaCanary10Percent15Minutes"


# The last five are those of `make release` and `make rollback`.
_KEEP = (
    "codedeploy:CreateApplication",
    "codedeploy:CreateDeploymentGroup",
    "codedeploy:DeleteApplication",
    "codedeploy:DeleteDeploymentGroup",
    "codedeploy:GetApplication",
    "codedeploy:GetDeploymentGroup",
    "codedeploy:ListTagsForResource",
    "codedeploy:TagResource",
    "codedeploy:UntagResource",
    "codedeploy:UpdateDeploymentGroup",
    "codedeploy:CreateDeployment",
    "codedeploy:GetApplicationRevision",
    "codedeploy:GetDeployment",
    "codedeploy:GetDeploymentConfig",
    "codedeploy:ListDeployments",
    "codedeploy:RegisterApplicationRevision",
)


class Releases(Construct):
    """CodeDeploy's application of an environment, with a deployment group for each function.

    Terraform publishes a version and ignores the alias; `make release` has CodeDeploy move the traffic. While it
    moves, the alarm on the function's errors sends all of it back ("Redeploy and roll back a deployment"), whether or
    not anybody watches, and the alert topic is notified.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        foundation: Foundation,
        functions: Sequence[Function],
        error_alarms: Mapping[str, CloudwatchMetricAlarm],
        alerts: Topic,
    ) -> None:
        """
        Args:
            error_alarms: by the name of a function, the alarm on the rate of its errors.
            alerts: topic that is notified when a release was rolled back.
        """
        super().__init__(scope, construct_id)
        self._foundation = foundation
        application = CodedeployApp(self, "Default", name=foundation.prefix, compute_platform="Lambda")
        role = Role(
            self,
            "role",
            foundation=foundation,
            name="releases",
            service="codedeploy.amazonaws.com",
            description="Moves the traffic of functions from one version to the next",
        )
        # What AWS's policy AWSCodeDeployRoleForLambdaLimited allows on everything, on these functions and alarms.
        role.grant(
            "shift_traffic",
            Statement(
                sid="ShiftTraffic",
                actions=["lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "lambda:UpdateAlias"],
                resources=[arn for each in functions for arn in (each.function_arn, each.arn)],
            ),
            Statement(
                sid="WatchAlarms",
                actions=["cloudwatch:DescribeAlarms"],
                resources=[alarm.arn for alarm in error_alarms.values()],
            ),
        )
        alerts.grant_publish(role, "alert")
        for function in functions:
            function.ignore_alias_changes()
            CodedeployDeploymentGroup(
                self,
                function.node.id,
                app_name=application.name,
                deployment_group_name=function.name,
                service_role_arn=role.arn,
                deployment_config_name=TRAFFIC,
                deployment_style=CodedeployDeploymentGroupDeploymentStyle(
                    deployment_type="BLUE_GREEN", deployment_option="WITH_TRAFFIC_CONTROL"
                ),
                alarm_configuration=CodedeployDeploymentGroupAlarmConfiguration(
                    enabled=True, alarms=[error_alarms[function.name].alarm_name]
                ),
                auto_rollback_configuration=CodedeployDeploymentGroupAutoRollbackConfiguration(
                    enabled=True,
                    events=["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"],
                ),
                trigger_configuration=[
                    CodedeployDeploymentGroupTriggerConfiguration(
                        trigger_name="alerts",
                        trigger_events=["DeploymentFailure", "DeploymentRollback"],
                        trigger_target_arn=alerts.arn,
                    )
                ],
                # CodeDeploy checks when a group is made that its role may publish.
                depends_on=role.grants,
            )

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform and `make release` need for releases."""
        names = (
            f"application:{self._foundation.prefix}",
            f"deploymentgroup:{self._foundation.prefix}/*",
            "deploymentconfig:CodeDeployDefault.Lambda*",
        )
        return [
            Statement(
                sid="KeepReleases",
                actions=_KEEP,
                resources=[self._foundation.arn("codedeploy", name) for name in names],
            ),
            any_resource(
                "StopReleases",
                "CodeDeploy has no resource type for this action (Service Authorization Reference)",
                "codedeploy:StopDeployment",
            ),
        ]
