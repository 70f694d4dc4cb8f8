"""What whoever deploys Sluice may do, a policy a concern: for an IAM user or role, and for the embedded AWS.

The embedded AWS enforces them: Terraform runs there as a user who holds these policies and nothing else.
`make deployer-policies ENVIRONMENT=dev` prints them for an account of your own, and `make planner-policies` those of
whoever only plans and looks for drift: what of them reads.

Names of actions and resources: AWS, Service Authorization Reference. Some actions that the provider calls have other
names in IAM; they are listed by the name that IAM checks.
"""

from __future__ import annotations

import argparse
import json
import re

from modules.policy_documents import POLICY_VERSION, Statement, document
from modules.settings import Settings, SettingsError, load
from synthesis.paths import ROOT
from tools.operate.console import Failure, exit_with

_STATE = ("s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObject")

_BUCKETS = (
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

_TABLES = (
    "dynamodb:CreateTable",
    "dynamodb:DeleteTable",
    "dynamodb:DescribeContinuousBackups",
    "dynamodb:DescribeTable",
    "dynamodb:DescribeTimeToLive",
    "dynamodb:ListTagsOfResource",
    "dynamodb:TagResource",
    "dynamodb:UntagResource",
    "dynamodb:UpdateContinuousBackups",
    "dynamodb:UpdateTable",
    "dynamodb:UpdateTimeToLive",
)

_COPIED_TABLES = (
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

_KEYS = (
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

_ROLES = (
    "iam:CreateRole",
    "iam:DeleteRole",
    "iam:DeleteRolePolicy",
    "iam:GetRole",
    "iam:GetRolePolicy",
    "iam:ListAttachedRolePolicies",
    "iam:ListInstanceProfilesForRole",
    "iam:ListRolePolicies",
    "iam:PutRolePolicy",
    "iam:TagRole",
    "iam:UntagRole",
    "iam:UpdateAssumeRolePolicy",
    "iam:UpdateRole",
    "iam:UpdateRoleDescription",
)

_FUNCTIONS = (
    "lambda:AddPermission",
    "lambda:CreateAlias",
    "lambda:CreateFunction",
    "lambda:DeleteAlias",
    "lambda:DeleteFunction",
    "lambda:DeleteFunctionEventInvokeConfig",
    "lambda:GetAlias",
    "lambda:GetFunction",
    "lambda:GetFunctionCodeSigningConfig",
    "lambda:GetFunctionConfiguration",
    "lambda:GetFunctionEventInvokeConfig",
    "lambda:GetPolicy",
    "lambda:ListAliases",
    "lambda:ListTags",
    "lambda:ListVersionsByFunction",
    "lambda:PublishVersion",
    "lambda:PutFunctionEventInvokeConfig",
    "lambda:RemovePermission",
    "lambda:TagResource",
    "lambda:UntagResource",
    "lambda:UpdateAlias",
    "lambda:UpdateFunctionCode",
    "lambda:UpdateFunctionConfiguration",
)

_LAYERS = ("lambda:DeleteLayerVersion", "lambda:GetLayerVersion", "lambda:ListLayers", "lambda:PublishLayerVersion")

_LOGS = (
    "logs:AssociateKmsKey",
    "logs:CreateLogGroup",
    "logs:DeleteLogGroup",
    "logs:DeleteMetricFilter",
    "logs:DescribeMetricFilters",
    "logs:DisassociateKmsKey",
    "logs:ListTagsForResource",
    "logs:PutMetricFilter",
    "logs:PutRetentionPolicy",
    "logs:TagResource",
    "logs:UntagResource",
)

_PARAMETERS = (
    "ssm:AddTagsToResource",
    "ssm:DeleteParameter",
    "ssm:GetParameter",
    "ssm:GetParameters",
    "ssm:ListTagsForResource",
    "ssm:PutParameter",
    "ssm:RemoveTagsFromResource",
)

_QUERIES = ("logs:DeleteQueryDefinition", "logs:DescribeQueryDefinitions", "logs:PutQueryDefinition")

_QUEUES = (
    "sqs:CreateQueue",
    "sqs:DeleteQueue",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:ListQueueTags",
    "sqs:SetQueueAttributes",
    "sqs:TagQueue",
    "sqs:UntagQueue",
)

_TOPICS = (
    "sns:CreateTopic",
    "sns:DeleteTopic",
    "sns:GetTopicAttributes",
    "sns:ListSubscriptionsByTopic",
    "sns:ListTagsForResource",
    "sns:SetTopicAttributes",
    "sns:Subscribe",
    "sns:TagResource",
    "sns:UntagResource",
)

_MAPPINGS = (
    "lambda:DeleteEventSourceMapping",
    "lambda:GetEventSourceMapping",
    "lambda:ListTags",
    "lambda:TagResource",
    "lambda:UntagResource",
    "lambda:UpdateEventSourceMapping",
)

# The value of a secret is none of the deployer's business.
_SECRETS = (
    "secretsmanager:CreateSecret",
    "secretsmanager:DeleteSecret",
    "secretsmanager:DescribeSecret",
    "secretsmanager:GetResourcePolicy",
    "secretsmanager:TagResource",
    "secretsmanager:UntagResource",
    "secretsmanager:UpdateSecret",
)

# A subscription is no type of resource to IAM.
_SUBSCRIPTIONS = ("sns:GetSubscriptionAttributes", "sns:SetSubscriptionAttributes", "sns:Unsubscribe")

_WORKFLOWS = (
    "states:CreateStateMachine",
    "states:DeleteStateMachine",
    "states:DescribeStateMachine",
    "states:ListStateMachineVersions",
    "states:ListTagsForResource",
    "states:TagResource",
    "states:UntagResource",
    "states:UpdateStateMachine",
)

_RULES = (
    "events:DeleteRule",
    "events:DescribeRule",
    "events:DisableRule",
    "events:EnableRule",
    "events:ListTagsForResource",
    "events:ListTargetsByRule",
    "events:PutRule",
    "events:PutTargets",
    "events:RemoveTargets",
    "events:TagResource",
    "events:UntagResource",
)

_SCHEDULES = (
    "scheduler:CreateSchedule",
    "scheduler:DeleteSchedule",
    "scheduler:GetSchedule",
    "scheduler:UpdateSchedule",
)

_ALARMS = (
    "cloudwatch:DeleteAlarms",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:ListTagsForResource",
    "cloudwatch:PutMetricAlarm",
    "cloudwatch:TagResource",
    "cloudwatch:UntagResource",
)

_DASHBOARDS = ("cloudwatch:DeleteDashboards", "cloudwatch:GetDashboard", "cloudwatch:PutDashboard")

_LOG_DELIVERY = (
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
)

# Services that Terraform hands a role to.
_TAKE_ROLES = (
    "codedeploy.amazonaws.com",
    "events.amazonaws.com",
    "lambda.amazonaws.com",
    "scheduler.amazonaws.com",
    "states.amazonaws.com",
)

_USERS = (
    "cognito-idp:CreateUserPoolClient",
    "cognito-idp:DeleteUserPool",
    "cognito-idp:DeleteUserPoolClient",
    "cognito-idp:DescribeUserPool",
    "cognito-idp:DescribeUserPoolClient",
    "cognito-idp:GetUserPoolMfaConfig",
    "cognito-idp:ListTagsForResource",
    "cognito-idp:SetUserPoolMfaConfig",
    "cognito-idp:TagResource",
    "cognito-idp:UntagResource",
    "cognito-idp:UpdateUserPool",
    "cognito-idp:UpdateUserPoolClient",
)

# The last five are those of `make release` and `make rollback`.
_RELEASES = (
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

_FIREWALL = (
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

# Service Authorization Reference, "Amazon GuardDuty".
_SCANNING = (
    "guardduty:DeleteMalwareProtectionPlan",
    "guardduty:GetMalwareProtectionPlan",
    "guardduty:ListTagsForResource",
    "guardduty:TagResource",
    "guardduty:UntagResource",
    "guardduty:UpdateMalwareProtectionPlan",
)

_API = ("apigateway:DELETE", "apigateway:GET", "apigateway:PATCH", "apigateway:POST", "apigateway:PUT")


def deployer_policies(settings: Settings) -> list[str]:
    """Policy documents for the deployer of one environment, each short enough for a managed policy of IAM."""
    here = f"{settings.primary_region}:{settings.account_id}"
    named = f"{settings.prefix}-*"
    roles = f"arn:aws:iam::{settings.account_id}:role/{settings.foundation.role_name('*')}"
    state = f"arn:aws:s3:::{settings.state_bucket_name}"

    def allow(sid: str, actions: tuple[str, ...], *resources: str, any_resource: str = "") -> Statement:
        return Statement(sid=sid, actions=actions, resources=resources, any_resource=any_resource)

    storage = document(
        allow("KeepState", _STATE, f"{state}/*"),
        allow("KeepBuckets", _BUCKETS, state, f"arn:aws:s3:::{named}"),
        # S3 API, "CreateBucket": a bucket with Object Lock takes more than a bucket.
        *(
            [allow("LockObjects", ("s3:PutBucketObjectLockConfiguration",), f"arn:aws:s3:::{named}")]
            if settings.legal_hold
            else []
        ),
        # Only where the settings do not protect the data does Terraform empty a bucket before it deletes it.
        *([allow("EmptyBuckets", _empty(settings), f"arn:aws:s3:::{named}/*")] if not settings.protect_data else []),
        allow("KeepTables", _TABLES, f"arn:aws:dynamodb:{here}:table/{named}"),
        # A key's id is not known before it is made.
        allow("KeepKeys", _KEYS, f"arn:aws:kms:{here}:key/*", f"arn:aws:kms:{here}:alias/{named}"),
        allow("MakeKeys", ("kms:CreateKey", "kms:ListAliases"), "*", any_resource="no key is named by these actions"),
        allow("KnowYourself", ("sts:GetCallerIdentity",), "*", any_resource="it names no resource"),
    )
    compute = document(
        allow("KeepRoles", _ROLES, roles),
        Statement(
            sid="HandRolesToServices",
            actions=["iam:PassRole"],
            resources=[roles],
            conditions={"StringEquals": {"iam:PassedToService": _TAKE_ROLES}},
        ),
        Statement(
            sid="HandRoleToApiGateway",
            actions=["iam:PassRole"],
            resources=[f"arn:aws:iam::{settings.account_id}:role/{settings.foundation.role_name('api-logging')}"],
            conditions={"StringEquals": {"iam:PassedToService": ["apigateway.amazonaws.com"]}},
        ),
        allow("KeepFunctions", _FUNCTIONS, f"arn:aws:lambda:{here}:function:{named}"),
        allow("FindFunctions", ("lambda:ListFunctions",), "*", any_resource="it names no resource"),
        allow("KeepLayers", _LAYERS, f"arn:aws:lambda:{here}:layer:{named}", f"arn:aws:lambda:{here}:layer:{named}:*"),
        allow(
            "KeepLogs",
            _LOGS,
            f"arn:aws:logs:{here}:log-group:/aws/lambda/{named}",
            f"arn:aws:logs:{here}:log-group:/aws/vendedlogs/states/{named}",
            f"arn:aws:logs:{here}:log-group:/aws/apigateway/{named}",
            # API Gateway puts the id of an API behind it.
            f"arn:aws:logs:{here}:log-group:API-Gateway-Execution-Logs_*",
            f"arn:aws:logs:{here}:log-group:aws-waf-logs-{named}",
        ),
        allow(
            "KeepSharedValues",
            _PARAMETERS,
            f"arn:aws:ssm:{here}:parameter{settings.foundation.parameter_name('*')}",
        ),
        allow("FindSharedValues", ("ssm:DescribeParameters",), "*", any_resource="it names no resource"),
        allow("KeepQueries", _QUERIES, "*", any_resource="a saved query is no resource to IAM"),
        allow("FindLogs", ("logs:DescribeLogGroups",), f"arn:aws:logs:{here}:log-group:*"),
        allow(
            "KeepApi",
            _API,
            f"arn:aws:apigateway:{settings.primary_region}::/restapis",
            f"arn:aws:apigateway:{settings.primary_region}::/restapis/*",
            f"arn:aws:apigateway:{settings.primary_region}::/tags/*",
            f"arn:aws:apigateway:{settings.primary_region}::/account",
        ),
    )
    messages = document(
        allow("KeepQueues", _QUEUES, f"arn:aws:sqs:{here}:{named}"),
        allow("KeepTopics", _TOPICS, f"arn:aws:sns:{here}:{named}", f"arn:aws:sns:{here}:{named}:*"),
        allow("KeepSubscriptions", _SUBSCRIPTIONS, "*", any_resource="SNS has no resource type for subscriptions"),
        allow("KeepWorkflows", _WORKFLOWS, f"arn:aws:states:{here}:stateMachine:{named}"),
        allow("KeepRules", _RULES, f"arn:aws:events:{here}:rule/{named}"),
        allow("KeepSchedules", _SCHEDULES, f"arn:aws:scheduler:{here}:schedule/default/{named}"),
        allow("KeepAlarms", _ALARMS, f"arn:aws:cloudwatch:{here}:alarm:{named}"),
        allow("KeepDashboard", _DASHBOARDS, f"arn:aws:cloudwatch::{settings.account_id}:dashboard/{settings.prefix}"),
        allow(
            "DeliverLogs",
            _LOG_DELIVERY,
            "*",
            any_resource="log delivery has no resource type (Step Functions, Logging using CloudWatch Logs)",
        ),
        allow("CheckDefinitions", ("states:ValidateStateMachineDefinition",), "*", any_resource="it names no resource"),
    )
    copies = [_copies(settings)] if settings.replica_region else []
    return [storage, compute, messages, _access(settings), *copies]


def _empty(settings: Settings) -> tuple[str, ...]:
    """What empties a bucket.

    The provider lifts the legal hold of a version that S3 does not let go. It also says that it may pass over a
    retention, which takes its permission whether there is one or not.
    """
    lift = ("s3:BypassGovernanceRetention", "s3:GetObject", "s3:PutObjectLegalHold") if settings.legal_hold else ()
    return ("s3:DeleteObject", "s3:DeleteObjectVersion", *lift)


def _copies(settings: Settings) -> str:
    """What is in the second region, and what copies to it."""
    there = settings.in_replica_region
    region = f"{there.primary_region}:{there.account_id}"
    tables = [f"arn:aws:dynamodb:{region}:table/{there.prefix}-*"]
    replication = "replication.dynamodb.amazonaws.com"
    return document(
        Statement(
            sid="KeepCopying",
            actions=["s3:PutReplicationConfiguration"],
            resources=[f"arn:aws:s3:::{settings.prefix}-*"],
        ),
        Statement(
            sid="HandRoleToS3",
            actions=["iam:PassRole"],
            resources=[f"arn:aws:iam::{settings.account_id}:role/{settings.foundation.role_name('copier')}"],
            conditions={"StringEquals": {"iam:PassedToService": ["s3.amazonaws.com"]}},
        ),
        # DynamoDB, "Global tables security": who makes a copy has to be allowed what filling it takes.
        Statement(sid="KeepCopiedTables", actions=[*_TABLES, *_COPIED_TABLES], resources=tables),
        Statement(
            sid="LetDynamoDBCopy",
            actions=["iam:CreateServiceLinkedRole"],
            resources=[
                f"arn:aws:iam::{settings.account_id}:role/aws-service-role/{replication}/"
                "AWSServiceRoleForDynamoDBReplication"
            ],
            conditions={"StringEquals": {"iam:AWSServiceName": replication}},
        ),
        # A key's id is not known before it is made.
        Statement(
            sid="KeepKeysOfCopies",
            actions=_KEYS,
            resources=[f"arn:aws:kms:{region}:key/*", f"arn:aws:kms:{region}:alias/{there.prefix}-*"],
        ),
        Statement(
            sid="KeepTopicOfCopies",
            actions=_TOPICS,
            resources=[f"arn:aws:sns:{region}:{there.prefix}-*", f"arn:aws:sns:{region}:{there.prefix}-*:*"],
        ),
        Statement(
            sid="KeepAlarmOfCopies",
            actions=_ALARMS,
            resources=[f"arn:aws:cloudwatch:{region}:alarm:{there.prefix}-*"],
        ),
    )


def _access(settings: Settings) -> str:
    """What decides who may call the API, and which version of a function answers."""
    here = f"{settings.primary_region}:{settings.account_id}"
    firewall = [
        Statement(
            sid="KeepFirewall",
            actions=_FIREWALL,
            resources=[
                f"arn:aws:wafv2:{here}:regional/{kind}" for kind in (f"webacl/{settings.prefix}/*", "managedruleset/*")
            ],
        ),
        Statement(
            sid="PutFirewallBeforeApi",
            actions=[
                "apigateway:SetWebACL",
                "wafv2:AssociateWebACL",
                "wafv2:DisassociateWebACL",
                "wafv2:GetWebACLForResource",
            ],
            resources=[f"arn:aws:apigateway:{settings.primary_region}::/restapis/*/stages/*"],
        ),
    ]
    releases = [
        Statement(
            sid="KeepReleases",
            actions=_RELEASES,
            resources=[
                f"arn:aws:codedeploy:{here}:{kind}"
                for kind in (
                    f"application:{settings.prefix}",
                    f"deploymentgroup:{settings.prefix}/*",
                    "deploymentconfig:CodeDeployDefault.Lambda*",
                )
            ],
        ),
        Statement(
            sid="StopReleases",
            actions=["codedeploy:StopDeployment"],
            resources=["*"],
            any_resource="CodeDeploy has no resource type for this action (Service Authorization Reference)",
        ),
    ]
    return document(
        # A pool's id is not known before it is made.
        Statement(sid="KeepUsers", actions=_USERS, resources=[f"arn:aws:cognito-idp:{here}:userpool/*"]),
        Statement(
            sid="MakeUserPool",
            actions=["cognito-idp:CreateUserPool"],
            resources=["*"],
            any_resource="no pool is named by this action",
        ),
        *_webhooks(settings),
        *(firewall if settings.enable_waf else []),
        *(releases if settings.release_strategy == "canary" else []),
        *(_scanning(settings) if settings.malware_scanning else []),
    )


def _webhooks(settings: Settings) -> list[Statement]:
    """What sends webhooks."""
    here = f"{settings.primary_region}:{settings.account_id}"
    return [
        Statement(
            sid="KeepSecrets",
            actions=_SECRETS,
            resources=[f"arn:aws:secretsmanager:{here}:secret:{settings.prefix}-*"],
        ),
        # A mapping's id is not known before it is made.
        Statement(sid="KeepMappings", actions=_MAPPINGS, resources=[f"arn:aws:lambda:{here}:event-source-mapping:*"]),
        Statement(
            sid="MapQueuesToFunctions",
            actions=["lambda:CreateEventSourceMapping"],
            resources=["*"],
            any_resource="IAM restricts it by the function alone, as the condition does",
            conditions={
                "ArnLike": {"lambda:FunctionArn": f"arn:aws:lambda:{here}:function:{settings.prefix}-*"},
            },
        ),
    ]


def _scanning(settings: Settings) -> list[Statement]:
    """What keeps the plan by which GuardDuty scans files, and hands its role to it."""
    return [
        # A plan's id is not known before it is made.
        Statement(
            sid="KeepScanning",
            actions=_SCANNING,
            resources=[f"arn:aws:guardduty:{settings.primary_region}:{settings.account_id}:malware-protection-plan/*"],
        ),
        Statement(
            sid="BeginScanning",
            actions=["guardduty:CreateMalwareProtectionPlan"],
            resources=["*"],
            any_resource="no plan is named by this action",
        ),
        Statement(
            sid="HandRoleToGuardDuty",
            actions=["iam:PassRole"],
            resources=[f"arn:aws:iam::{settings.account_id}:role/{settings.foundation.role_name('scanner')}"],
            conditions={"StringEquals": {"iam:PassedToService": ["malware-protection-plan.guardduty.amazonaws.com"]}},
        ),
    ]


# Actions that tell something and change nothing, and what Terraform asks of a definition when it plans.
_READS = re.compile(r"[a-z0-9-]+:(Get|List|Describe)\w*|apigateway:GET|states:ValidateStateMachineDefinition")


def planner_policies(settings: Settings) -> list[str]:
    """Policy documents for whoever plans one environment and changes nothing.

    They are what of the deployer's reads, so that one who may deploy may also plan, and no more has to be kept up. It
    reads the state, and with it whatever secret is in there; it reads no file, record or message.
    """
    found = []
    for policy in deployer_policies(settings):
        content = json.loads(policy)
        for statement in content["Statement"]:
            actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
            reads = [action for action in actions if _READS.fullmatch(action) and action not in _COPIED_TABLES]
            statement["Sid"] = re.sub("^Keep", "Read", statement["Sid"])
            statement["Action"] = reads[0] if len(reads) == 1 else reads
        content["Statement"] = [statement for statement in content["Statement"] if statement["Action"]]
        found.append(json.dumps(content))
    here = f"{settings.primary_region}:{settings.account_id}"
    secrets = [
        Statement(
            sid="DecryptVariables",
            actions=["kms:Decrypt"],
            # A key's id is not known before it is made.
            resources=[f"arn:aws:kms:{here}:key/*"],
            conditions={"StringEquals": {"kms:ViaService": f"lambda.{settings.primary_region}.amazonaws.com"}},
        ),
        Statement(
            sid="DecryptState",
            actions=["kms:Decrypt"],
            resources=[settings.state_key_arn if settings.state_kms_key_id else f"arn:aws:kms:{here}:key/*"],
            # IAM names a key by its ARN; this condition selects the key with the alias ("kms:ResourceAliases").
            conditions={}
            if settings.state_kms_key_id
            else {"ForAnyValue:StringEquals": {"kms:ResourceAliases": settings.state_key_alias}},
        ),
    ]
    return [*found, document(*secrets)]


# What GitHub's identity provider has to be called in the account (GitHub, "Configuring OpenID Connect in AWS").
GITHUB = "token.actions.githubusercontent.com"


def trust_policy(settings: Settings, repository: str, *, plans: bool) -> str:
    """Who may take the planner's or the deployer's role on: jobs of one repository on GitHub, with no key of anybody's.

    The planner's is for pull requests and for `main`, the deployer's for jobs that GitHub let into the environment of
    this name, which it does after the approval that is asked for there.

    Args:
        repository: `owner/name`.
    """
    subjects = (
        [f"repo:{repository}:pull_request", f"repo:{repository}:ref:refs/heads/main"]
        if plans
        else f"repo:{repository}:environment:{settings.environment}"
    )
    statement = {
        "Sid": "JobsTakeRole",
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::{settings.account_id}:oidc-provider/{GITHUB}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{GITHUB}:aud": "sts.amazonaws.com", f"{GITHUB}:sub": subjects}},
    }
    return json.dumps({"Version": POLICY_VERSION, "Statement": [statement]})


def main() -> None:
    """Print the policies of the environment that ENVIRONMENT names."""
    parser = argparse.ArgumentParser(prog="python -m tools.operate.policies", description=__doc__)
    parser.add_argument("--planner", action="store_true", help="of whoever only plans")
    parser.add_argument("--repository", help="owner/name on GitHub; prints the trust policy first")
    options = parser.parse_args()
    try:
        settings = load(ROOT / "environments")
    except SettingsError as error:
        raise Failure("reading the settings", str(error), "mend it and run the same command again") from None
    trust = [trust_policy(settings, options.repository, plans=options.planner)] if options.repository else []
    for policy in [*trust, *(planner_policies(settings) if options.planner else deployer_policies(settings))]:
        print(json.dumps(json.loads(policy), indent=2))


if __name__ == "__main__":
    exit_with(main)
