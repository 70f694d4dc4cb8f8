"""Values that one stack shares with others: parameters of Systems Manager, whose name both sides compute.

The state of the other stack is not used: its reader would read all of it, and needs its place and its key. A parameter
is one value, which a policy can name, and a stack declares which values it shares.
"""

from __future__ import annotations

from collections.abc import Mapping

from cdktf_cdktf_provider_aws.data_aws_ssm_parameter import DataAwsSsmParameter
from cdktf_cdktf_provider_aws.ssm_parameter import SsmParameter
from constructs import Construct

from modules.deployer import any_resource
from modules.foundation import Foundation
from modules.policy_documents import Statement

_KEEP = (
    "ssm:AddTagsToResource",
    "ssm:DeleteParameter",
    "ssm:GetParameter",
    "ssm:GetParameters",
    "ssm:ListTagsForResource",
    "ssm:PutParameter",
    "ssm:RemoveTagsFromResource",
)


class SharedValues(Construct):
    """Values that an environment shares. They must not be secret: every reader of the parameter reads the value."""

    def __init__(
        self, scope: Construct, construct_id: str, *, foundation: Foundation, values: Mapping[str, tuple[str, str]]
    ) -> None:
        """
        Args:
            values: value and description, by a name in lower case with `-`.
        """
        super().__init__(scope, construct_id)
        self._foundation = foundation
        for name, (value, description) in values.items():
            SsmParameter(
                self,
                name.replace("-", "_"),
                name=foundation.parameter_name(name),
                description=description,
                type="String",
                # Shown in plans, unlike `value`: a reviewer sees what others will get.
                insecure_value=value,
            )

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for parameters."""
        name = self._foundation.parameter_name("*")
        return [
            Statement(
                sid="KeepSharedValues", actions=_KEEP, resources=[self._foundation.arn("ssm", f"parameter{name}")]
            ),
            any_resource("FindSharedValues", "it names no resource", "ssm:DescribeParameters"),
        ]


class SharedValue(Construct):
    """A value that another project shares in the same environment, account and region. Terraform reads it for a plan.

    Attributes:
        value: the value.
    """

    def __init__(self, scope: Construct, construct_id: str, *, foundation: Foundation, project: str, name: str) -> None:
        super().__init__(scope, construct_id)
        self._foundation = foundation
        self._name = foundation.parameter_name(name, project_name=project)
        self.value = DataAwsSsmParameter(self, "Default", name=self._name, with_decryption=False).insecure_value

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs to read the value."""
        parameter = self._foundation.arn("ssm", f"parameter{self._name}")
        return [Statement(sid="ReadSharedValues", actions=["ssm:GetParameter"], resources=[parameter])]
