"""Values that one stack shares with others: parameters of Systems Manager, by a name that both sides make alike.

Not the other stack's state: who reads that reads all of it, and has to know where it is and under which key. A
parameter is one value, which a policy names, and what is shared is what the stack says that it shares.
"""

from __future__ import annotations

from collections.abc import Mapping

from cdktf_cdktf_provider_aws.data_aws_ssm_parameter import DataAwsSsmParameter
from cdktf_cdktf_provider_aws.ssm_parameter import SsmParameter
from constructs import Construct

from modules.foundation import Foundation


class SharedValues(Construct):
    """What an environment shares. Nothing secret: whoever may read the parameter reads the value."""

    def __init__(
        self, scope: Construct, construct_id: str, *, foundation: Foundation, values: Mapping[str, tuple[str, str]]
    ) -> None:
        """
        Args:
            values: by a name in lower case with `-`, the value and what it is for.
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
    """What another project shares in the same environment, account and region. Terraform reads it when it plans.

    Whoever plans has to be allowed `ssm:GetParameter` on that parameter.
    """
    parameter = DataAwsSsmParameter(
        scope, construct_id, name=foundation.parameter_name(name, project_name=project), with_decryption=False
    )
    return parameter.insecure_value
