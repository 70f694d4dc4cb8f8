"""The bucket that holds the Terraform state of an environment, and its key. `make bootstrap` applies it once."""

from __future__ import annotations

from cdktf import TerraformOutput
from constructs import Construct

from modules.buckets import PrivateBucket
from modules.encryption import CustomerKey
from modules.settings import Settings
from stacks.base import BaseStack


class StateBackendStack(BaseStack):
    """State bucket and key. Its own state lies in it too, once it is there."""

    def __init__(self, scope: Construct, *, settings: Settings) -> None:
        super().__init__(scope, settings=settings, component="state")
        key = CustomerKey(self, "state_key", foundation=self.foundation, purpose="state", service="s3")
        bucket = PrivateBucket(
            self,
            "state",
            foundation=self.foundation,
            name=settings.state_bucket_name,
            key=key,
            key_alias_arn=settings.state_key_alias_arn,
        )
        TerraformOutput(self, "state_bucket", value=bucket.name, description="Bucket of the Terraform state.")
        TerraformOutput(self, "state_kms_key_id", value=key.key_id, description="Id of the key of the state.")
