"""The example beside the platform: its own state, its own deployer, and one value that the platform shares."""

from __future__ import annotations

import json
from collections.abc import Iterator

import boto3
import pytest
from botocore.exceptions import ClientError

from modules.policy import Statement, document
from tests.e2e.conftest import Deployed, wait_for
from tools.develop.local import local_settings
from tools.embedded_aws import control
from tools.operate.policies import deployer_policies
from tools.operate.synthesize import synthesize
from tools.operate.terraform import Terraform

pytestmark = pytest.mark.slow

HERE = "us-east-1:000000000000"


@pytest.fixture(scope="module")
def inbox(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    """Applied by a deployer who may keep what is called `inbox-local-…`, and of the platform read one parameter."""
    platform = deployed.system.variables(deployed.aws)
    settings = local_settings(deployed.aws).model_copy(
        update={"project_name": "inbox", "state_bucket": local_settings(deployed.aws).state_bucket_name}
    )
    extra = document(
        Statement(
            sid="ReadWhatIsShared",
            actions=["ssm:GetParameter"],
            resources=[f"arn:aws:ssm:{HERE}:parameter/sluice/local/files-topic-arn"],
        ),
        Statement(
            sid="SubscribeToThePlatform", actions=["sns:Subscribe"], resources=[deployed.outputs["files_topic_arn"]]
        ),
        Statement(
            sid="MapQueuesToFunctions",
            actions=["lambda:CreateEventSourceMapping"],
            resources=["*"],
            any_resource="IAM restricts it by the function alone, as the condition does",
            conditions={"ArnLike": {"lambda:FunctionArn": f"arn:aws:lambda:{HERE}:function:inbox-local-*"}},
        ),
        Statement(
            sid="KeepMappings",
            actions=[f"lambda:{verb}EventSourceMapping" for verb in ("Delete", "Get", "Update")]
            + ["lambda:ListTags", "lambda:TagResource"],
            resources=[f"arn:aws:lambda:{HERE}:event-source-mapping:*"],
        ),
    )
    deployer = control.create_deployer(
        deployed.aws, [json.loads(each) for each in [*deployer_policies(settings), extra]], name="inbox-deployer"
    )
    variables = {
        **platform,
        **deployed.aws.environment(deployer.access_key, deployer.secret_key),
        "PROJECT_NAME": "inbox",
        "STATE_BUCKET": settings.state_bucket_name,
        # The bucket is another project's, and so is its key.
        "STATE_KMS_KEY_ID": deployed.state_key_id,
    }
    stack = synthesize(tmp_path_factory.mktemp("inbox"), variables, "inbox")
    terraform = Terraform(stack, variables)
    terraform.init()
    terraform.validate()
    terraform.plan()
    terraform.apply()
    yield terraform
    left = len([address for address in terraform.resources() if not address.startswith("data.")])
    assert terraform.destroy().remove == left > 20


def test_what_the_platform_announces_is_kept_by_the_inbox(deployed: Deployed, inbox: Terraform) -> None:
    file_id = deployed.upload(b"agreed", file_name="minutes.txt")
    s3 = boto3.client("s3", **deployed.options(control.ROOT))  # type: ignore[call-overload]
    where = {"Bucket": "inbox-local-uploads-000000000000-us-east-1", "Key": f"uploads/{file_id}/file_uploaded.json"}

    def kept() -> bool:
        try:
            s3.head_object(**where)
        except ClientError:
            return False
        return True

    wait_for(kept, seconds=60)
    document = json.loads(s3.get_object(**where)["Body"].read())
    assert (document["event"], document["file_name"]) == ("file_uploaded", "minutes.txt")


def test_a_second_plan_of_it_is_empty(inbox: Terraform) -> None:
    assert str(inbox.plan()) == "No changes"
