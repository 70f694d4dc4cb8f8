"""The examples beside the platform: each has its own state and its own deployer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import pytest
from boto3 import Session
from botocore.exceptions import ClientError

from modules.policy_documents import Statement, document
from tests.e2e.conftest import Deployed, wait_for
from tests.e2e.test_plan import make
from tools.develop.local import local_settings
from tools.embedded_aws import control
from tools.embedded_aws.control import Credentials
from tools.operate.plan.__main__ import PLANS
from tools.operate.policies import deployer_policies
from tools.operate.terraform import Terraform, cli_configuration

pytestmark = pytest.mark.slow

HERE = "us-east-1:000000000000"
PARTNER = "arn:aws:iam::000000000000:role/partner-reader"


@contextmanager
def applied(deployed: Deployed, component: str, project: str) -> Iterator[Terraform]:
    """Deploy a component as another project with `make plan` and `make apply`, with the policies of its deployer."""
    platform = deployed.system.variables(deployed.aws)
    settings = local_settings(deployed.aws).model_copy(
        update={"project_name": project, "state_bucket": local_settings(deployed.aws).state_bucket_name}
    )
    policies = [json.loads(each) for each in deployer_policies(settings, component)]
    deployer = control.create_deployer(deployed.aws, policies, name=f"{project}-deployer")
    variables = {
        **platform,
        **deployed.aws.environment(deployer.access_key, deployer.secret_key),
        "PROJECT_NAME": project,
        "STATE_BUCKET": settings.state_bucket_name,
        # The bucket is another project's, and so is its key.
        "STATE_KMS_KEY_ID": deployed.state_key_id,
    }
    command = {**variables, "TF_CLI_CONFIG_FILE": str(cli_configuration())}
    code, said = make("validate", "plan", f"COMPONENT={component}", **command)
    assert code == 0, said
    assert f"Plan of {component} in local" in said
    code, said = make("apply", f"COMPONENT={component}", **command)
    assert code == 0, said
    assert " to add, 0 to change, 0 to destroy" in said
    stacks = PLANS / "local" / project / f"{component}.cdktf.out" / "stacks"
    terraform = Terraform(next(stacks.iterdir()), variables)
    yield terraform
    left = len([address for address in terraform.resources() if not address.startswith("data.")])
    assert terraform.destroy().remove == left > 20


@pytest.fixture(scope="module")
def inbox(deployed: Deployed) -> Iterator[Terraform]:
    with applied(deployed, "inbox", "inbox") as terraform:
        yield terraform


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


@pytest.fixture(scope="module")
def partner(deployed: Deployed) -> Iterator[Session]:
    """Deploy the bucket for a role of the partner, which exists before; yield a session of that role."""
    root = deployed.session(control.ROOT)
    iam = root.client("iam")
    trust = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"}
    trusted = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam.create_role(RoleName="partner-reader", AssumeRolePolicyDocument=trusted)
    with applied(deployed, "partner-bucket", "partner") as terraform:
        assert str(terraform.plan()) == "No changes"
        assume = document(Statement(sid="AssumeRole", actions=["sts:AssumeRole"], resources=[PARTNER]))
        user = control.create_deployer(deployed.aws, json.loads(assume), name="partner")
        sts = deployed.session(user).client("sts")
        key = sts.assume_role(RoleArn=PARTNER, RoleSessionName="reads")["Credentials"]
        yield deployed.session(Credentials(key["AccessKeyId"], key["SecretAccessKey"]), key["SessionToken"])
    assert iam.list_role_policies(RoleName="partner-reader")["PolicyNames"] == []
    iam.delete_role(RoleName="partner-reader")


def test_the_partner_hears_of_an_object_and_only_the_partner_reads_it(deployed: Deployed, partner: Session) -> None:
    bucket, name = "partner-local-documents-000000000000-us-east-1", "offers/1.txt"
    everything = Statement(
        sid="UseTheBucket",
        actions=["s3:PutObject", "s3:GetObject"],
        resources=[f"arn:aws:s3:::{bucket}/*"],
    )
    keys = Statement(
        sid="UseItsKey",
        actions=["kms:Decrypt", "kms:GenerateDataKey"],
        resources=[f"arn:aws:kms:{HERE}:key/*"],
    )
    colleague = control.create_deployer(deployed.aws, json.loads(document(everything, keys)), name="colleague")
    writer = deployed.session(colleague).client("s3")
    writer.put_object(Bucket=bucket, Key=name, Body=b"an offer")

    queues = partner.client("sqs")
    url = f"{deployed.aws.endpoint_url}/000000000000/partner-local-announced"
    announced: list[str] = []

    def hears() -> bool:
        for message in queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            records = json.loads(message["Body"]).get("Records", [])
            announced.extend(record["s3"]["object"]["key"] for record in records)
            queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return name in announced

    wait_for(hears, seconds=60)
    reader = partner.client("s3")
    assert reader.get_object(Bucket=bucket, Key=name)["Body"].read() == b"an offer"
    assert [each["Key"] for each in reader.list_objects_v2(Bucket=bucket)["Contents"]] == [name]
    with pytest.raises(ClientError, match="AccessDenied"):
        writer.get_object(Bucket=bucket, Key=name)
    deployed.denied_on_purpose.add(f"arn:aws:s3:::{bucket}/{name}")
    with pytest.raises(ClientError, match="AccessDenied"):
        reader.put_object(Bucket=bucket, Key=name, Body=b"another offer")


def test_a_component_is_not_applied_with_the_plan_of_another(deployed: Deployed, inbox: Terraform) -> None:
    variables = {**deployed.system.variables(deployed.aws), "PROJECT_NAME": "inbox"}
    code, said = make("apply", "COMPONENT=state", **variables)
    assert code == 2
    assert "there is no plan of state in local" in said
    assert "make plan ENVIRONMENT=local COMPONENT=state" in said
