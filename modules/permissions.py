"""Roles: what each function and service may do, a small policy for each concern."""

from __future__ import annotations

from cdktf import ITerraformDependable
from cdktf_cdktf_provider_aws.iam_role import IamRole
from cdktf_cdktf_provider_aws.iam_role_policy import IamRolePolicy
from constructs import Construct

from modules.foundation import Foundation
from modules.policy import Statement, assume_role_document, document


class Role(Construct):
    """What one function or service may do: a role, and a small inline policy for each concern.

    Attributes:
        arn: ARN of the role.
        name: its name.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, foundation: Foundation, name: str, service: str, description: str
    ) -> None:
        """
        Args:
            name: part of the role's name between prefix and region, 20 characters at most.
            service: the AWS service that takes the role on, such as `lambda.amazonaws.com`.
            description: what the role is for.
        """
        super().__init__(scope, construct_id)
        role = IamRole(
            self,
            "Default",
            name=foundation.role_name(name),
            description=description,
            assume_role_policy=assume_role_document(service),
        )
        self.arn = role.arn
        self.name = role.name
        self._id = role.id
        self._grants: list[ITerraformDependable] = []

    @property
    def grants(self) -> list[ITerraformDependable]:
        """The policies so far, for what must not be made before they are there."""
        return list(self._grants)

    def grant(self, concern: str, *statements: Statement) -> None:
        """Allow what these statements say, as an inline policy with the name of its concern.

        Args:
            concern: lower case with underscores, unique in the role: part of the policy's name and address.
        """
        policy = IamRolePolicy(
            self, concern, name=concern.replace("_", "-"), role=self._id, policy=document(*statements)
        )
        self._grants.append(policy)
