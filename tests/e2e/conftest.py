"""One embedded AWS and one apply for all tests of this folder."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

from tests.receiver import Receiver, receiving
from tools.develop.local import Api, LocalSystem, local_settings
from tools.develop.setup import EMBEDDED_AWS, LAMBDA
from tools.embedded_aws import control
from tools.embedded_aws.control import Credentials, EmbeddedAws
from tools.operate.terraform import Terraform
from tools.operate.webhook_secrets import make_secrets

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient


# Two receivers on one host, told apart by their paths.
WEBHOOK_PATHS = ("/first", "/second")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests that examine the whole session, and those that destroy, last."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something is so; fail if it is not after some seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def server_python() -> Path:
    """Return the interpreter with the embedded AWS."""
    return EMBEDDED_AWS.python


@pytest.fixture(scope="session")
def lambda_python() -> Path:
    """Return the interpreter with the packages of the Lambda runtime."""
    return LAMBDA.python


@dataclass(frozen=True)
class Deployed:
    """The deployed platform."""

    system: LocalSystem
    aws: EmbeddedAws
    terraform: Terraform
    api: Api
    outputs: dict[str, str]
    iam_log: Path
    # Where webhooks go, and what they are signed with; there are none on systems that a test deploys for itself.
    listening: Receiver | None = None
    webhook_secrets: dict[str, str] = field(default_factory=dict)
    # ARNs that a test had a policy deny.
    denied_on_purpose: set[str] = field(default_factory=set)

    @property
    def receiver(self) -> Receiver:
        """Start the receiver of webhooks."""
        assert self.listening is not None
        return self.listening

    def options(self, user: Credentials) -> dict[str, str]:
        """Return the arguments of boto3 for a user."""
        return {
            "endpoint_url": self.aws.endpoint_url,
            "verify": str(self.aws.ca_bundle),
            "region_name": self.aws.region,
            "aws_access_key_id": user.access_key,
            "aws_secret_access_key": user.secret_key,
        }

    def session(self, user: Credentials, token: str | None = None) -> boto3.Session:
        """Return a boto3 session that acts as a user, or as an assumed role with its session token."""
        import botocore.session

        core = botocore.session.Session()
        core.set_config_variable("ca_bundle", str(self.aws.ca_bundle))
        session = boto3.Session(
            user.access_key, user.secret_key, token, region_name=self.aws.region, botocore_session=core
        )
        create = session.client
        session.client = lambda name, **options: create(  # type: ignore[method-assign, assignment]
            name, endpoint_url=self.aws.endpoint_url, **options
        )
        return session

    @property
    def state_key_id(self) -> str:
        """Id of the key that the state is encrypted under."""
        kms = boto3.client("kms", **self.options(control.ROOT))  # type: ignore[call-overload]
        return str(kms.describe_key(KeyId="alias/sluice-local-state")["KeyMetadata"]["KeyId"])

    @contextmanager
    def subscribed(self, topic_arn: str) -> Iterator[str]:
        """Create a queue for the test that is subscribed to a topic; return its URL."""
        root = {**self.options(control.ROOT)}
        sqs, sns = boto3.client("sqs", **root), boto3.client("sns", **root)  # type: ignore[call-overload]
        url = sqs.create_queue(QueueName=f"listener-{secrets.token_hex(4)}")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "sns.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": arn,
                },
                {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sqs:*", "Resource": arn},
            ],
        }
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
        subscription = sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=arn)["SubscriptionArn"]
        try:
            yield url
        finally:
            sns.unsubscribe(SubscriptionArn=subscription)
            sqs.delete_queue(QueueUrl=url)

    @property
    def operator(self) -> Credentials:
        """Create a user with the permissions of an operator: files, records, queues, functions, workflow."""
        account = "000000000000"
        key = f"arn:aws:kms:us-east-1:{account}:key/*"
        return control.create_deployer(
            self.aws,
            {
                "Version": "2012-10-17",
                "Statement": [
                    {"Effect": "Allow", "Action": actions.split(), "Resource": resource}
                    for actions, resource in {
                        "s3:GetObject s3:PutObject": f"arn:aws:s3:::{self.outputs['bucket_name']}/*",
                        "dynamodb:GetItem dynamodb:PutItem": f"arn:aws:dynamodb:us-east-1:{account}:table/*",
                        "kms:DescribeKey kms:Decrypt kms:GenerateDataKey": key,
                        "sqs:*": f"arn:aws:sqs:us-east-1:{account}:*",
                        "sqs:ListQueues sts:GetCallerIdentity": "*",
                        "states:StartExecution": f"arn:aws:states:us-east-1:{account}:stateMachine:*",
                        "states:DescribeExecution": f"arn:aws:states:us-east-1:{account}:execution:*",
                        "lambda:InvokeFunction": f"arn:aws:lambda:us-east-1:{account}:function:*",
                        "secretsmanager:ListSecrets secretsmanager:PutSecretValue": "*",
                    }.items()
                ],
            },
            name="operator",
        )

    def upload(self, content: bytes = b"hello", /, **fields: str) -> str:
        """Upload a file in one request; its id."""
        body = {"file_name": "a.txt", "file_content": base64.b64encode(content).decode(), **fields}
        status, answer = self.api.request("POST", "/upload", json.dumps(body).encode())
        assert status == 200, answer
        return str(json.loads(answer)["file_id"])

    def s3(self) -> S3Client:
        return boto3.client("s3", **self.options(self.operator))  # type: ignore[call-overload, no-any-return]

    def dynamodb(self) -> DynamoDBClient:
        return boto3.client("dynamodb", **self.options(self.operator))  # type: ignore[call-overload, no-any-return]

    def decisions(self) -> list[dict[str, object]]:
        """Return all IAM decisions so far."""
        return [json.loads(line) for line in self.iam_log.read_text().splitlines()]


@pytest.fixture
def deployed_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Deployed]]:
    """Deploys a system of the test's own, with other settings, on an embedded AWS of its own; stops it in the end."""
    system = LocalSystem(tmp_path / "local")

    def deploy(**settings: str) -> Deployed:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        iam_log = tmp_path / "iam.jsonl"
        aws = system.start(iam_log=iam_log)
        system.bootstrap(aws)
        terraform = system.synthesize(aws)
        system.apply(terraform)
        api = system.api(aws, terraform)
        return Deployed(system, aws, terraform, api, api.outputs, iam_log)

    yield deploy
    system.stop()


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Bootstrap and apply once; stop when the session ends, whatever the tests did."""
    folder = tmp_path_factory.mktemp("system")
    iam_log = folder / "iam.jsonl"
    system = LocalSystem(folder / "local")
    try:
        aws = system.start(iam_log=iam_log)
        tls = aws.ca_bundle.parent
        with receiving(tls / "server.pem", tls / "server.key") as receiver:
            urls = [f"{receiver.url}{path}" for path in WEBHOOK_PATHS]
            system.settings |= {"WEBHOOK_URLS": json.dumps(urls), "WEBHOOK_BACKOFF_SECONDS": "0"}
            system.bootstrap(aws)
            terraform = system.synthesize(aws)
            system.apply(terraform)
            api = system.api(aws, terraform)
            deployed = Deployed(system, aws, terraform, api, api.outputs, iam_log, receiver, {})
            settings = local_settings(aws).model_copy(update={"webhook_urls": tuple(urls)})
            secrets_by_url = make_secrets(settings, deployed.session(deployed.operator))
            deployed.webhook_secrets.update(zip(WEBHOOK_PATHS, secrets_by_url.values(), strict=True))
            yield deployed
    finally:
        system.stop()


@pytest.fixture
def session(deployed: Deployed) -> boto3.Session:
    """AWS as the operator."""
    return deployed.session(deployed.operator)


@pytest.fixture
def sqs(session: boto3.Session) -> SQSClient:
    return session.client("sqs")


@pytest.fixture
def functions(session: boto3.Session) -> LambdaClient:
    return session.client("lambda")
