"""Roles that grants add permissions to: a role of this stack, or one that exists already."""

from __future__ import annotations

import re

from cdktf import ITerraformDependable
from cdktf_cdktf_provider_aws.iam_role import IamRole
from cdktf_cdktf_provider_aws.iam_role_policy import IamRolePolicy
from constructs import Construct

from modules.foundation import Foundation
from modules.monitored import label_of
from modules.names import slug
from modules.policy_documents import Statement, assume_role_document, document

_ROLE_ARN = re.compile(
    r"arn:(?P<partition>[\w-]+):iam::(?P<account>\d{12}):role/(?P<path>([!-.0-~]+/)*)(?P<name>[\w+=,.@-]{1,64})",
    re.ASCII,
)
# IAM refuses changes to the roles of these paths ("Service-linked roles"; IAM Identity Center, "Permission sets").
_PATHS_OF_AWS = ("aws-service-role/", "aws-reserved/")

_KEEP = (
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

# Services that may get every role of the environment. Every other service may get just the role that is made for it.
_TAKE_EVERY_ROLE = {
    "codedeploy.amazonaws.com": "CodeDeploy",
    "events.amazonaws.com": "EventBridge",
    "lambda.amazonaws.com": "Lambda",
    "scheduler.amazonaws.com": "Scheduler",
    "states.amazonaws.com": "StepFunctions",
}
# What a grant to an existing role takes.
_KEEP_GRANTS = ("iam:DeleteRolePolicy", "iam:GetRolePolicy", "iam:PutRolePolicy")


class Grantee(Construct):
    """A role that grants of resources add permissions to: a small inline policy for each concern.

    Attributes:
        arn: ARN of the role.
        name: its name.
    """

    arn: str
    name: str

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        self._grants: list[ITerraformDependable] = []

    @property
    def grants(self) -> list[ITerraformDependable]:
        """The policies so far, for `depends_on` of resources that need them."""
        return list(self._grants)

    def grant(self, concern: str, *statements: Statement) -> None:
        """Allow what these statements say, as an inline policy with the name of its concern.

        Args:
            concern: lower case with underscores, unique in the role: part of the policy's name and address.
        """
        policy = IamRolePolicy(
            self,
            concern,
            name=self._policy_name(slug(concern)),
            role=self._role(),
            policy=document(*statements),
        )
        self._grants.append(policy)

    def _role(self) -> str:
        """Return the name of the role as policies refer to it."""
        return self.name

    def _policy_name(self, concern: str) -> str:
        return concern


class Role(Grantee):
    """A role of this stack, which one AWS service takes on."""

    def __init__(
        self, scope: Construct, construct_id: str, *, foundation: Foundation, name: str, service: str, description: str
    ) -> None:
        """
        Args:
            name: part of the role's name between prefix and region, 20 characters at most.
            service: the AWS service that takes the role on, such as `lambda.amazonaws.com`.
            description: purpose of the role.
        """
        super().__init__(scope, construct_id)
        self._foundation, self._short_name, self._service = foundation, name, service
        role = IamRole(
            self,
            "Default",
            name=foundation.global_name(name),
            description=description,
            assume_role_policy=assume_role_document(service),
        )
        self.arn = role.arn
        self.name = role.name
        self._id = role.id

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for roles, and to pass this one to its service."""
        roles = f"arn:aws:iam::{self._foundation.account_id}:role"
        every, own = (f"{roles}/{self._foundation.global_name(name)}" for name in ("*", self._short_name))
        service = _TAKE_EVERY_ROLE.get(self._service)
        return [
            Statement(sid="KeepRoles", actions=_KEEP, resources=[every]),
            Statement(
                sid=f"PassRolesTo{service}" if service else f"PassRole{self._short_name.title().replace('-', '')}",
                actions=["iam:PassRole"],
                resources=[every if service else own],
                conditions={"StringEquals": {"iam:PassedToService": [self._service]}},
            ),
        ]

    def _role(self) -> str:
        return self._id


class ExistingRole(Grantee):
    """A role that another team or stack owns, in the same account. Grants add inline policies to it.

    A policy replaces one of the same name. So the names contain the environment, the construct's path and the region,
    and differ from the names that the owner, other environments and other constructs use.
    """

    def __init__(self, scope: Construct, construct_id: str, *, foundation: Foundation, arn: str) -> None:
        """
        Args:
            arn: ARN of the role with its path, such as `arn:aws:iam::111111111111:role/partners/reader`.

        Raises:
            ValueError: no inline policy can be added to a role with this ARN; the text says why.
        """
        super().__init__(scope, construct_id)
        self.arn = arn
        self.name = _name_of(arn, foundation.account_id)
        self._foundation = foundation

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for the grants."""
        return [Statement(sid="GrantToExistingRoles", actions=_KEEP_GRANTS, resources=[self.arn])]

    def _policy_name(self, concern: str) -> str:
        return self._foundation.global_name(f"{slug(label_of(self))}-{concern}")


def _name_of(arn: str, account_id: str) -> str:
    """Return the name of the role with this ARN.

    Raises:
        ValueError: it is no ARN of a role, or its role cannot get an inline policy from this account.
    """
    allowed = f"give the ARN of a role of the account, such as arn:aws:iam::{account_id}:role/partners/reader"
    found = _ROLE_ARN.fullmatch(arn)
    if found is None:
        raise ValueError(f"{arn!r} is not the ARN of a role; {allowed}")
    if found["partition"] != "aws":
        raise ValueError(f"{arn} is in the partition {found['partition']}; {allowed}")
    if found["account"] != account_id:
        raise ValueError(
            f"{arn} is a role of another account, to which this one cannot add a policy, and whose requests the "
            f"buckets here deny; {allowed}, which the other account may assume"
        )
    if found["path"].startswith(_PATHS_OF_AWS):
        raise ValueError(f"{arn} is managed by AWS, and IAM refuses to add a policy to it; {allowed}")
    return found["name"]
