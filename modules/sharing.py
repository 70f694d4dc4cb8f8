"""Values that one stack shares with others: parameters of Systems Manager, whose name both sides compute.

The state of the other stack is not used: its reader would read all of it, and needs its place and its key. A parameter
is one value, which a policy can name, and a stack declares which values it shares.
"""

from __future__ import annotations

from collections.abc import Mapping

from cdktf_cdktf_provider_aws.data_aws_ssm_parameter import DataAwsSsmParameter
from cdktf_cdktf_provider_aws.ssm_parameter import SsmParameter
from constructs import Construct

from modules.foundation import Foundation


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


def shared_value(scope: Construct, construct_id: str, *, foundation: Foundation, project: str, name: str) -> str:
    """Return a value that another project shares in the same environment, account and region.

    Terraform reads the parameter when it plans, which needs `ssm:GetParameter` on that parameter.
    """
    parameter = DataAwsSsmParameter(
        scope, construct_id, name=foundation.parameter_name(name, project_name=project), with_decryption=False
    )
    return parameter.insecure_value
