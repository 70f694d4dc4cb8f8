"""The web application firewall in front of the API, if the setting `enable_waf` is on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdktf_cdktf_provider_aws.cloudwatch_log_group import CloudwatchLogGroup
from cdktf_cdktf_provider_aws.wafv2_web_acl import (
    Wafv2WebAcl,
    Wafv2WebAclDefaultAction,
    Wafv2WebAclDefaultActionAllow,
    Wafv2WebAclRule,
    Wafv2WebAclRuleAction,
    Wafv2WebAclRuleActionBlock,
    Wafv2WebAclRuleOverrideAction,
    Wafv2WebAclRuleOverrideActionNone,
    Wafv2WebAclRuleVisibilityConfig,
    Wafv2WebAclVisibilityConfig,
)
from cdktf_cdktf_provider_aws.wafv2_web_acl_association import Wafv2WebAclAssociation
from cdktf_cdktf_provider_aws.wafv2_web_acl_logging_configuration import (
    Wafv2WebAclLoggingConfiguration,
    Wafv2WebAclLoggingConfigurationLoggingFilter,
    Wafv2WebAclLoggingConfigurationLoggingFilterFilter,
    Wafv2WebAclLoggingConfigurationLoggingFilterFilterCondition,
    Wafv2WebAclLoggingConfigurationLoggingFilterFilterConditionActionCondition,
    Wafv2WebAclLoggingConfigurationRedactedFields,
    Wafv2WebAclLoggingConfigurationRedactedFieldsSingleHeader,
)
from constructs import Construct

from modules.deployer import log_delivery, log_groups
from modules.encryption import CustomerKey
from modules.foundation import Foundation
from modules.policy_documents import Statement

# AWS WAF takes no other log groups ("Sending web ACL traffic logs to a CloudWatch Logs log group").
FIREWALL_LOG_PREFIX = "aws-waf-logs-"

# Requests of one address in five minutes: 20 a second on average, below what the whole stage admits.
REQUESTS_PER_ADDRESS = 6000
RATE_WINDOW_SECONDS = 300

# Managed rule groups of AWS. For each group: the rules that only count, with an example of what they would block (AWS
# WAF, "IP reputation rule groups" and "Baseline rule groups"). The name of a file may contain any words and have any
# ending. It is sent in the body as `file_name` and in the query as `prefix`, so rules that match words there must not
# block. This is no loss: the functions check each field themselves, put no name into a path, a command, a query or a
# page, and are not written in Java. Rules on paths, headers, cookies, methods and addresses block.
# SizeRestrictions_QUERYSTRING blocks as well: the longest prefix and cursor are shorter than its 2,048 bytes.
MANAGED_GROUPS: Mapping[str, Mapping[str, str]] = {
    "AWSManagedRulesAmazonIpReputationList": {},
    "AWSManagedRulesKnownBadInputsRuleSet": {
        "JavaDeserializationRCE_BODY": "a file that is named after the Java that it holds",
        "JavaDeserializationRCE_QUERYSTRING": "a list of such files by their prefix",
        "Log4JRCE_BODY": "a file that is named like a lookup, ${jndi:...}",
        "Log4JRCE_QUERYSTRING": "a list of such files by their prefix",
        "ReactJSRCE_BODY": "a file that is named like a reference of a React payload",
    },
    "AWSManagedRulesCommonRuleSet": {
        "CrossSiteScripting_BODY": "a file that is named <script>, or onload=1.txt",
        "CrossSiteScripting_QUERYARGUMENTS": "a list of such files by their prefix",
        "EC2MetaDataSSRF_BODY": "a capture that is named after the address it is of, 169.254.169.254.pcap",
        "EC2MetaDataSSRF_QUERYARGUMENTS": "a list of such files by their prefix",
        "GenericLFI_BODY": "a name with dots as paths have them, and base64, in which anything may stand",
        "GenericLFI_QUERYARGUMENTS": "a list of such files by their prefix",
        "GenericRFI_BODY": "a page that is saved under its address, http:192.0.2.1.html, and base64",
        "GenericRFI_QUERYARGUMENTS": "a list of such files by their prefix",
        "NoUserAgent_HEADER": "programs that do not name themselves; services are callers here",
        "RestrictedExtensions_QUERYARGUMENTS": "a list by a prefix that is a whole name, app.log or settings.ini",
        "SizeRestrictions_BODY": "every upload above 8 KB; the gateway and Lambda limit bodies",
    },
}


_KEEP = (
    "wafv2:AssociateWebACL",
    "wafv2:CreateWebACL",
    "wafv2:DeleteLoggingConfiguration",
    "wafv2:DeleteWebACL",
    "wafv2:DisassociateWebACL",
    "wafv2:GetLoggingConfiguration",
    "wafv2:GetWebACL",
    "wafv2:GetWebACLForResource",
    "wafv2:ListTagsForResource",
    "wafv2:PutLoggingConfiguration",
    "wafv2:TagResource",
    "wafv2:UntagResource",
    "wafv2:UpdateWebACL",
)

_PUT_BEFORE_API = (
    "apigateway:SetWebACL",
    "wafv2:AssociateWebACL",
    "wafv2:DisassociateWebACL",
    "wafv2:GetWebACLForResource",
)


class Firewall(Construct):
    """A web ACL in front of one stage. A blocked request gets 403 in the form of the API's other answers.

    Its log holds what it blocked or counted; what it let through is in the access log of the API.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, foundation: Foundation, stage_arn: str, logs_key: CustomerKey
    ) -> None:
        """
        Args:
            stage_arn: the stage of a REST API.
            logs_key: encrypts the log; its policy has to admit names that start with FIREWALL_LOG_PREFIX.
        """
        super().__init__(scope, construct_id)
        self._foundation = foundation
        acl = Wafv2WebAcl(
            self,
            "Default",
            name=foundation.prefix,
            description="Before the API",
            scope="REGIONAL",
            default_action=Wafv2WebAclDefaultAction(allow=Wafv2WebAclDefaultActionAllow()),
            rule=[
                _rate_limit(priority=0),
                *(
                    _managed(name, counted, priority=priority)
                    for priority, (name, counted) in enumerate(MANAGED_GROUPS.items(), start=1)
                ),
            ],
            visibility_config=Wafv2WebAclVisibilityConfig(
                cloudwatch_metrics_enabled=True, metric_name=foundation.prefix, sampled_requests_enabled=True
            ),
        )
        Wafv2WebAclAssociation(self, "association", resource_arn=stage_arn, web_acl_arn=acl.arn)
        logs = CloudwatchLogGroup(
            self,
            "logs",
            name=f"{FIREWALL_LOG_PREFIX}{foundation.prefix}-api",
            retention_in_days=foundation.log_retention_days,
            kms_key_id=logs_key.arn,
        )
        Wafv2WebAclLoggingConfiguration(
            self,
            "logging",
            resource_arn=acl.arn,
            log_destination_configs=[logs.arn],
            logging_filter=Wafv2WebAclLoggingConfigurationLoggingFilter(
                default_behavior="DROP",
                filter=[
                    Wafv2WebAclLoggingConfigurationLoggingFilterFilter(
                        behavior="KEEP",
                        requirement="MEETS_ANY",
                        condition=[
                            Wafv2WebAclLoggingConfigurationLoggingFilterFilterCondition(
                                action_condition=(
                                    Wafv2WebAclLoggingConfigurationLoggingFilterFilterConditionActionCondition(
                                        action=action
                                    )
                                )
                            )
                            for action in ("BLOCK", "COUNT")
                        ],
                    )
                ],
            ),
            # A token is as good as a password while it lives.
            redacted_fields=[
                Wafv2WebAclLoggingConfigurationRedactedFields(
                    single_header=Wafv2WebAclLoggingConfigurationRedactedFieldsSingleHeader(name="authorization")
                )
            ],
        )

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for the firewall and its place before an API."""
        foundation = self._foundation
        kinds = (f"webacl/{foundation.prefix}/*", "managedruleset/*")
        stages = f"arn:aws:apigateway:{foundation.region}::/restapis/*/stages/*"
        return [
            Statement(
                sid="KeepFirewall",
                actions=_KEEP,
                resources=[foundation.arn("wafv2", f"regional/{kind}") for kind in kinds],
            ),
            Statement(sid="PutFirewallBeforeApi", actions=_PUT_BEFORE_API, resources=[stages]),
            *log_groups(foundation, f"{FIREWALL_LOG_PREFIX}{foundation.prefix}-*"),
            log_delivery(),
        ]


def _rate_limit(*, priority: int) -> Wafv2WebAclRule:
    return Wafv2WebAclRule(
        name="RateLimit",
        priority=priority,
        action=Wafv2WebAclRuleAction(block=Wafv2WebAclRuleActionBlock()),
        # The binding takes statements as Terraform writes them.
        statement={
            "rate_based_statement": {
                "aggregate_key_type": "IP",
                "evaluation_window_sec": RATE_WINDOW_SECONDS,
                "limit": REQUESTS_PER_ADDRESS,
            }
        },
        visibility_config=_visible("RateLimit"),
    )


def _managed(name: str, counted: Mapping[str, str], *, priority: int) -> Wafv2WebAclRule:
    group: dict[str, Any] = {"vendor_name": "AWS", "name": name}
    if counted:
        group["rule_action_override"] = [{"name": rule, "action_to_use": {"count": {}}} for rule in counted]
    return Wafv2WebAclRule(
        name=name,
        priority=priority,
        override_action=Wafv2WebAclRuleOverrideAction(none=Wafv2WebAclRuleOverrideActionNone()),
        statement={"managed_rule_group_statement": group},
        visibility_config=_visible(name),
    )


def _visible(name: str) -> Wafv2WebAclRuleVisibilityConfig:
    return Wafv2WebAclRuleVisibilityConfig(
        cloudwatch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=True
    )
