"""The base class of all stacks: backend, provider, tags, and readable addresses."""

from __future__ import annotations

import jsii
from cdktf import (
    S3Backend,
    S3BackendAssumeRoleConfig,
    S3BackendEndpointConfig,
    TerraformElement,
    TerraformResource,
    TerraformStack,
)
from cdktf_cdktf_provider_aws.provider import (
    AwsProvider,
    AwsProviderAssumeRole,
    AwsProviderDefaultTags,
    AwsProviderEndpoints,
)
from constructs import Construct, IValidation, Node

from modules.buckets import keep_buckets
from modules.deployer import any_resource
from modules.encryption import keep_keys
from modules.names import address_of, state_object_key
from modules.policy_documents import Statement
from modules.settings import Settings
from stacks.guards import REPLICA, check
from stacks.versions import PROVIDER, PROVIDER_VERSION, TERRAFORM_VERSIONS

# The services that the stacks use, by their argument in the provider's `endpoints`.
SERVICES = (
    "apigateway",
    "cloudfront",
    "cloudwatch",
    "cloudwatchlogs",
    "codedeploy",
    "cognitoidp",
    "dynamodb",
    "eventbridge",
    "guardduty",
    "iam",
    "kms",
    "lambda",
    "s3",
    "scheduler",
    "secretsmanager",
    "sfn",
    "sns",
    "sqs",
    "ssm",
    "sts",
    "wafv2",
)

_KEEP_STATE = ("s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObject")


class AddressError(Exception):
    """Two elements of a stack would have one Terraform address; CDKTF would merge them and lose one, silently."""


class RenameError(Exception):
    """A rename that Terraform could not follow; the text says why."""


@jsii.implements(IValidation)
class _Guards:
    """Hands the findings of the guards to the synthesis, which then writes nothing and fails."""

    def __init__(self, stack: BaseStack) -> None:
        self._stack = stack

    def validate(self) -> list[str]:
        return [str(finding) for finding in check(self._stack.to_terraform(), self._stack.settings)]


class BaseStack(TerraformStack):
    """A Terraform root with an explicit AWS provider and its state in S3.

    Attributes:
        settings: the settings of the environment.
        foundation: the part of them that constructs take.
    """

    def __init__(self, scope: Construct, *, settings: Settings, component: str = "") -> None:
        """
        Args:
            component: what the stack is, for its name and the key of its state; empty for the environment's main one.
        """
        # CDKTF asks for addresses while it builds the stack, which is before attributes of ours can be set.
        self.__dict__["_paths"] = {}
        super().__init__(scope, f"{settings.prefix}-{component}" if component else settings.prefix)
        self.settings = settings
        self.foundation = settings.foundation
        self._moved: list[dict[str, str]] = []
        self.add_override("terraform.required_version", TERRAFORM_VERSIONS)
        self._backend(component or "uploads")
        self._provider("aws", settings.primary_region)
        self.node.add_validation(_Guards(self))

    def rename(self, old: str, new: str) -> None:
        """Tell Terraform that a construct has another name now, so that what it made stays what it is.

        Without it, a plan destroys each resource of the construct and makes it anew under the new address. With it,
        Terraform moves their entries in the state (Terraform, "Moved block syntax"). Call it behind the constructs.

        Args:
            old: path that the construct had in the stack, such as `notifications/inbox`.
            new: its path now.

        Raises:
            RenameError: no resource is at the new path, or something still is at the old one.
        """
        below_old, below_new = (f"{self.node.path}/{path}/" for path in (old, new))
        elements = [each for each in self.node.find_all() if isinstance(each, TerraformElement)]
        if any(f"{each.node.path}/".startswith(below_old) for each in elements):
            raise RenameError(f"{old} was renamed to {new}, and something is at {old} still")
        moved = [
            {
                "from": f"{each.terraform_resource_type}.{address_of(below_old + each.node.path[len(below_new) :])}",
                "to": f"{each.terraform_resource_type}.{address_of(each.node.path)}",
            }
            for each in elements
            if isinstance(each, TerraformResource) and f"{each.node.path}/".startswith(below_new)
        ]
        if not moved:
            raise RenameError(f"{old} was renamed to {new}, and no resource is there")
        self._moved += moved
        self.add_override("moved", self._moved)

    def _backend(self, component: str) -> None:
        settings = self.settings
        S3Backend(
            self,
            bucket=settings.state_bucket_name,
            key=state_object_key(component),
            region=settings.primary_region,
            encrypt=True,
            kms_key_id=settings.state_key_arn,
            allowed_account_ids=[settings.account_id],
            assume_role=S3BackendAssumeRoleConfig(role_arn=settings.assume_role_arn)
            if settings.assume_role_arn
            else None,
            use_path_style=True if settings.is_local else None,
            endpoints=S3BackendEndpointConfig(s3=settings.aws_endpoint_url, sts=settings.aws_endpoint_url)
            if settings.aws_endpoint_url
            else None,
        )
        # The binding of CDKTF 0.21 is older than this argument.
        self.add_override("terraform.backend.s3.use_lockfile", True)

    def _provider(self, construct_id: str, region: str, alias: str | None = None) -> AwsProvider:
        settings = self.settings
        provider = AwsProvider(
            self,
            construct_id,
            alias=alias,
            region=region,
            allowed_account_ids=[settings.account_id],
            assume_role=[AwsProviderAssumeRole(role_arn=settings.assume_role_arn, session_name=settings.prefix)]
            if settings.assume_role_arn
            else None,
            default_tags=[
                AwsProviderDefaultTags(
                    tags={
                        "Project": settings.project_name,
                        "Environment": settings.environment,
                        "Owner": settings.owner,
                        "ManagedBy": "terraform",
                    }
                )
            ],
            s3_use_path_style=True if settings.is_local else None,
            endpoints=[AwsProviderEndpoints(**dict.fromkeys(_python_names(), settings.aws_endpoint_url))]
            if settings.aws_endpoint_url
            else None,
        )
        self.add_override("terraform.required_providers.aws", {"source": PROVIDER, "version": PROVIDER_VERSION})
        return provider

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for every component: its state, and what `make bootstrap` makes for it."""
        state = f"arn:aws:s3:::{self.settings.state_bucket_name}"
        return [
            Statement(sid="KeepState", actions=_KEEP_STATE, resources=[f"{state}/*"]),
            keep_buckets(state),
            *keep_keys(self.foundation),
            any_resource("KnowYourself", "it names no resource", "sts:GetCallerIdentity"),
        ]

    def replica_provider(self) -> AwsProvider:
        """Create the provider of the second region; only constructs below `replica` use it, and all of them do."""
        return self._provider("aws_replica", self.settings.in_replica_region.primary_region, alias=REPLICA)

    def _allocate_logical_id(self, tf_element: TerraformElement | Node) -> str:
        """Return the address of an element: its path in the stack, joined with `_`, without a hash.

        Raises:
            AddressError: another element has it.
        """
        # `to_string` of a construct is its path, in one round trip to Node.js where `node.path` takes two.
        path = tf_element.path if isinstance(tf_element, Node) else tf_element.to_string()
        address = address_of(path)
        other = self.__dict__["_paths"].setdefault(address, path)
        if other != path:
            raise AddressError(f"{path} and {other} would both have the address {address}; rename one of them")
        return address


def _python_names() -> list[str]:
    """Return the provider's arguments for SERVICES: `lambda` is a keyword, so the binding adds an underscore."""
    return [f"{service}_" if service == "lambda" else service for service in SERVICES]
