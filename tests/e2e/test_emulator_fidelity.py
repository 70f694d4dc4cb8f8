"""One test for each fix of the embedded AWS: it fails when the fix is off.

To see that for one fix: SLUICE_WITHOUT_FIX=s3.refuse_small_parts pytest tests/e2e/test_emulator_fidelity.py
"""

# ruff: noqa: ANN401 - what boto3 and JSON return has no type here
import base64
import contextlib
import hashlib
import io
import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from ssl import create_default_context
from typing import Any, TypeVar

import boto3
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials as SigningCredentials
from botocore.exceptions import ClientError

from tests.e2e.answers import Answer, fetch
from tests.samples import eicar, zip_under_a_password
from tools.embedded_aws import control
from tools.embedded_aws.control import Credentials, EmbeddedAws

T = TypeVar("T")

REGION = "us-east-1"
ACCOUNT = "000000000000"
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}

FUNCTION = """
import json, logging, os, sys

logging.info("info at import")

def handler(event, context):
    command = event.get("command") or json.loads(event.get("body") or "{}").get("command")
    if command == "fail":
        raise KeyError("what nobody should read")
    if command == "import":
        import hypercorn
    if command == "log":
        logging.getLogger(__name__).info("an info line")
        logging.getLogger(__name__).warning("a warning line")
    if command == "print":
        print("\\n".join(str(number) for number in range(2000)), end="")
    if command == "put":
        import boto3
        boto3.client("s3").put_object(Bucket=event["bucket"], Key="from-lambda", Body=b"x")
    if command == "malformed":
        return {"statusCode": 200, "body": {"not": "a string"}}
    return {
        "statusCode": 200,
        "body": json.dumps({
            "environment": dict(os.environ), "path": sys.path, "log_group": context.log_group_name,
            "milliseconds": context.get_remaining_time_in_millis(),
            "domain": event.get("requestContext", {}).get("domainName"),
        }),
    }
"""


# Its overloads know no service by a variable name.
_boto3: Any = boto3


def wait_for(what: str, look: Callable[[], T | None], seconds: float = 20.0) -> T:
    """Poll until something true comes back."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"no {what} within {seconds:g} s")


class Cloud:
    """The embedded AWS as one user sees it."""

    def __init__(self, aws: EmbeddedAws, key: Credentials, iam_log: Path) -> None:
        self.aws, self.key, self.iam_log = aws, key, iam_log
        self._names = 0

    def client(self, service: str, region: str = REGION, **options: Any) -> Any:
        return _boto3.client(
            service,
            **options,
            endpoint_url=self.aws.endpoint_url,
            verify=str(self.aws.ca_bundle),
            region_name=region,
            aws_access_key_id=self.key.access_key,
            aws_secret_access_key=self.key.secret_key,
        )

    def name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}-{self._names}-{self.key.access_key[-6:].lower()}"

    def decisions(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.iam_log.read_text(encoding="utf-8").splitlines()]

    def role(self, service: str, *statements: Mapping[str, Any]) -> str:
        """Create a role that a service may assume, with the statements of a policy; return its ARN."""
        iam, name = self.client("iam"), self.name("role")
        trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        arn = iam.create_role(
            RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )["Role"]["Arn"]
        self.allow(str(arn), *statements)
        return str(arn)

    def allow(self, role: str, *statements: Mapping[str, Any]) -> None:
        """Set the statements of a role."""
        if statements:
            document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **each} for each in statements]}
            self.client("iam").put_role_policy(
                RoleName=role.rsplit("/", 1)[-1], PolicyName="p", PolicyDocument=json.dumps(document)
            )

    def function(self, role: str, **options: Any) -> str:
        """Create the test function; return its ARN."""
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("main.py", FUNCTION)
        return str(
            self.client("lambda").create_function(
                FunctionName=self.name("function"),
                Runtime="python3.11",
                Handler="main.handler",
                Role=role,
                Code={"ZipFile": code.getvalue()},
                Timeout=20,
                **options,
            )["FunctionArn"]
        )

    def invoke(self, function: str, event: object) -> tuple[Any, str | None]:
        """Invoke a function and wait; return its payload and the kind of its failure."""
        answer = self.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
        return json.loads(answer["Payload"].read()), answer.get("FunctionError")

    def send(
        self, method: str, url: str, body: bytes | None = None, *, sign_for: str = "", headers: Mapping[str, str] = {}
    ) -> Answer:
        """Send one request, signed by this user for a service if one is named."""
        request = AWSRequest(method, url, headers=dict(headers), data=body)
        if sign_for:
            SigV4Auth(SigningCredentials(self.key.access_key, self.key.secret_key), sign_for, REGION).add_auth(request)
        prepared = urllib.request.Request(url, data=body, headers=dict(request.headers.items()), method=method)
        return fetch(prepared, self.aws.ca_bundle)


class Api:
    """A REST API with one resource and one POST method."""

    def __init__(self, cloud: Cloud, authorization: str = "NONE", **method: Any) -> None:
        self.cloud, self.gateway = cloud, cloud.client("apigateway")
        self.id = self.gateway.create_rest_api(name=cloud.name("api"))["id"]
        root = self.gateway.get_resources(restApiId=self.id)["items"][0]["id"]
        self.resource = self.gateway.create_resource(restApiId=self.id, parentId=root, pathPart="upload")["id"]
        self.where = {"restApiId": self.id, "resourceId": self.resource, "httpMethod": "POST"}
        self.gateway.put_method(**self.where, authorizationType=authorization, **method)

    def integrate(self, function: str, **options: Any) -> None:
        """Lead the method to a function."""
        uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{function}/invocations"
        self.gateway.put_integration(**self.where, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri, **options)

    def permit(self, function: str) -> None:
        """Let this API invoke a function."""
        self.cloud.client("lambda").add_permission(
            FunctionName=function,
            StatementId=self.id,
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{self.id}/*/POST/upload",
        )

    def respond(self, kind: str) -> None:
        """Let a gateway response carry the CORS header."""
        parameters = {"gatewayresponse.header.Access-Control-Allow-Origin": "'https://files.example'"}
        self.gateway.put_gateway_response(restApiId=self.id, responseType=kind, responseParameters=parameters)

    def deploy(self) -> None:
        """Create the stage v1."""
        self.gateway.create_deployment(restApiId=self.id, stageName="v1")

    def post(self, event: object = None, **options: Any) -> Answer:
        """Call the method."""
        body = options.pop("body", None) or json.dumps(event or {}).encode()
        return self.cloud.send("POST", self.cloud.aws.api_url(self.id, "v1", "upload"), body, **options)


@pytest.fixture(scope="module")
def without_fixes() -> list[str]:
    return os.environ.get("SLUICE_WITHOUT_FIX", "").split()


@pytest.fixture(scope="module")
def cloud(
    tmp_path_factory: pytest.TempPathFactory, server_python: Path, lambda_python: Path, without_fixes: list[str]
) -> Iterator[Cloud]:
    directory = tmp_path_factory.mktemp("embedded-aws")
    log = directory / "iam.jsonl"
    aws = control.start(
        directory, server_python=server_python, lambda_python=lambda_python, iam_log=log, without_fixes=without_fixes
    )
    try:
        yield Cloud(aws, control.create_deployer(aws, EVERYTHING), log)
    finally:
        control.stop(directory)


@pytest.fixture(scope="module")
def lambda_role(cloud: Cloud) -> str:
    return cloud.role("lambda.amazonaws.com", {"Action": ["s3:PutObject", "sqs:SendMessage"], "Resource": "*"})


@pytest.fixture(scope="module")
def function(cloud: Cloud, lambda_role: str) -> str:
    return cloud.function(lambda_role)


@pytest.fixture
def bucket(cloud: Cloud) -> str:
    name = cloud.name("bucket")
    cloud.client("s3").create_bucket(Bucket=name)
    return name


def log_lines(cloud: Cloud, group: str) -> list[str]:
    """The messages of a log group, oldest first."""
    logs = cloud.client("logs")
    try:
        return [event["message"] for event in logs.filter_log_events(logGroupName=group)["events"]]
    except logs.exceptions.ResourceNotFoundException:
        return []


# The server itself.


def test_plain_http_is_what_a_policy_on_secure_transport_denies(cloud: Cloud, bucket: str) -> None:
    both = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": both}
    condition = {"Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    policy = {"Version": "2012-10-17", "Statement": [statement | condition]}
    s3 = cloud.client("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    over_http = f"{cloud.aws.plain_http_url}/{bucket}/k"
    assert (
        cloud.send("GET", over_http, sign_for="s3", headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}).status == 200
    )

    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    denied = cloud.send("GET", over_http, sign_for="s3", headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    assert denied.status == 403
    assert b"<Code>AccessDenied</Code>" in denied.body
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_state_survives_a_restart_and_temporary_files_do_not(
    tmp_path: Path, server_python: Path, lambda_python: Path
) -> None:
    options: dict[str, Any] = {"server_python": server_python, "lambda_python": lambda_python}
    first = control.start(tmp_path, **options)
    try:
        cloud = Cloud(first, control.create_deployer(first, EVERYTHING), tmp_path / "none")
        assert control.start(tmp_path, **options) == first
        cloud.client("s3").create_bucket(Bucket="kept")
        cloud.client("s3").put_object(Bucket="kept", Key="k", Body=b"x")
        cloud.client("logs").put_query_definition(name="kept", queryString="fields @message")
        function = cloud.function(cloud.role("lambda.amazonaws.com"))
        _, failure = cloud.invoke(function, {})
        assert failure is None
        assert list((tmp_path / "tmp").iterdir())
        api = Api(cloud)
        api.integrate(function)
        api.permit(function)
        api.deploy()
        api.gateway.delete_method(**api.where)

        control.stop(tmp_path)
        control.stop(tmp_path)
        assert control.running(tmp_path) is None
        assert not (tmp_path / "tmp").exists()

        second = control.start(tmp_path, **options)
        assert second.endpoint_url == first.endpoint_url
        assert control.running(tmp_path) == second
        cloud = Cloud(second, control.create_deployer(second, EVERYTHING), tmp_path / "none")
        assert cloud.client("s3").get_object(Bucket="kept", Key="k")["Body"].read() == b"x"
        (query,) = cloud.client("logs").describe_query_definitions()["queryDefinitions"]
        assert query["name"] == "kept"
        _, failure = cloud.invoke(function, {})
        assert failure is None
        # What a stage serves is kept apart from what the API has become.
        api.cloud = cloud
        assert api.post().status == 200
    finally:
        control.stop(tmp_path)


def test_a_port_in_use_is_one_clear_line(
    cloud: Cloud, tmp_path: Path, server_python: Path, lambda_python: Path
) -> None:
    port = int(cloud.aws.endpoint_url.rsplit(":", 1)[1])
    arguments = ["-m", "tools.embedded_aws.server", "--port", str(port), "--state", str(tmp_path)]

    ended = subprocess.run([server_python, *arguments], capture_output=True, text=True, check=False, timeout=30)

    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        f"embedded AWS: cannot listen on 127.0.0.1:{port} ([Errno 98] Address already in use); choose another --port"
    ]
    with pytest.raises(control.EmbeddedAwsError, match="start without a port to get a free one"):
        control.start(tmp_path, server_python=server_python, lambda_python=lambda_python, port=port)


def test_an_unknown_fix_is_named_with_those_that_exist(
    tmp_path: Path, server_python: Path, lambda_python: Path
) -> None:
    with pytest.raises(control.EmbeddedAwsError, match=r"no such fix: no\.fix\. There are: .*s3\.refuse_small_parts"):
        control.start(tmp_path, server_python=server_python, lambda_python=lambda_python, without_fixes=["no.fix"])


# iam


def test_every_decision_is_logged(cloud: Cloud, bucket: str) -> None:
    cloud.client("s3").put_object(Bucket=bucket, Key="logged", Body=b"x")

    assert {
        "principal": f"arn:aws:iam::{ACCOUNT}:user/deployer",
        "action": "s3:PutObject",
        "resource": f"arn:aws:s3:::{bucket}/logged",
        "allowed": True,
        "source": None,
    } in [{name: value for name, value in line.items() if name != "time"} for line in cloud.decisions()]


def test_a_role_is_passed_only_with_the_permission_to_pass_it(cloud: Cloud, lambda_role: str) -> None:
    statement = {"Effect": "Allow", "Action": "lambda:*", "Resource": "*"}
    passing = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": lambda_role} | {
        "Condition": {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    }
    without = {"Version": "2012-10-17", "Statement": [statement]}
    who = Cloud(cloud.aws, control.create_deployer(cloud.aws, without, name="passer"), cloud.iam_log)
    with pytest.raises(ClientError, match="not authorized to perform: iam:PassRole"):
        who.function(lambda_role)
    assert [
        line["allowed"]
        for line in cloud.decisions()
        if line["resource"] == lambda_role and line["action"] == "iam:PassRole"
    ][-1:] == [False]

    control.create_deployer(cloud.aws, without | {"Statement": [statement, passing]}, name="passer")
    assert who.function(lambda_role)


def test_a_role_has_to_trust_the_service_that_gets_it(cloud: Cloud) -> None:
    role, definition = cloud.role("ec2.amazonaws.com"), json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass"}}})

    with pytest.raises(ClientError, match="cannot be assumed by Lambda"):
        cloud.function(role)
    with pytest.raises(ClientError, match=r"states\.amazonaws\.com, nor the regional one is authorized"):
        cloud.client("stepfunctions").create_state_machine(
            name=cloud.name("machine"), definition=definition, roleArn=role
        )


# resources


def test_a_policy_may_name_what_a_request_is_about(cloud: Cloud, lambda_role: str) -> None:
    here, alias = f"{REGION}:{ACCOUNT}", f"alias/{cloud.name('alias')}"
    key = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    named = {"Action": "lambda:CreateFunction", "Resource": f"arn:aws:lambda:{here}:function:function-*"}
    passing = {"Action": "iam:PassRole", "Resource": lambda_role}
    aliases = {"Action": "kms:CreateAlias", "Resource": [f"arn:aws:kms:{here}:{alias}", key]}
    policy = may(named, passing, aliases)
    user = Cloud(cloud.aws, control.create_deployer(cloud.aws, policy, name="namer"), cloud.iam_log)

    assert user.function(lambda_role)
    user.client("kms").create_alias(AliasName=alias, TargetKeyId=key)
    with pytest.raises(ClientError, match="AccessDenied"):
        user.client("kms").create_alias(AliasName="alias/another", TargetKeyId=key)


def test_a_policy_may_name_the_function_of_a_mapping(cloud: Cloud, function: str) -> None:
    queue = cloud.client("sqs").create_queue(QueueName=cloud.name("queue"))["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue.rpartition('/')[2]}"
    role = cloud.role("lambda.amazonaws.com", {"Action": "sqs:*", "Resource": arn})
    mapped = cloud.function(role)
    wanted = {"ArnLike": {"lambda:FunctionArn": mapped}}
    policy = may({"Action": "lambda:CreateEventSourceMapping", "Resource": "*", "Condition": wanted})
    user = Cloud(cloud.aws, control.create_deployer(cloud.aws, policy, name="mapper"), cloud.iam_log)

    client = user.client("lambda")
    mapping = client.create_event_source_mapping(EventSourceArn=arn, FunctionName=mapped)["UUID"]
    with pytest.raises(ClientError, match="AccessDenied"):
        client.create_event_source_mapping(EventSourceArn=arn, FunctionName=function)

    for action, call in {
        "GetEventSourceMapping": client.get_event_source_mapping,
        "UpdateEventSourceMapping": lambda UUID: client.update_event_source_mapping(UUID=UUID, BatchSize=5),  # noqa: N803
        "DeleteEventSourceMapping": client.delete_event_source_mapping,
    }.items():
        with pytest.raises(ClientError, match="AccessDenied"):
            call(UUID=mapping)
        named = {"Action": f"lambda:{action}", "Resource": f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:*"}
        control.create_deployer(cloud.aws, may(named), name="mapper")
        call(UUID=mapping)


# CloudFront


def distribution_of(bucket: str) -> dict[str, Any]:
    """The least that makes a distribution of a bucket."""
    return {
        "CallerReference": bucket,
        "Comment": "",
        "Enabled": True,
        "DefaultRootObject": "index.html",
        "Origins": {
            "Quantity": 1,
            "Items": [
                {
                    "Id": "page",
                    "DomainName": f"{bucket}.s3.{REGION}.amazonaws.com",
                    "S3OriginConfig": {"OriginAccessIdentity": ""},
                }
            ],
        },
        "DefaultCacheBehavior": {
            "TargetOriginId": "page",
            "ViewerProtocolPolicy": "https-only",
            "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6",
        },
    }


def tagged(configuration: dict[str, Any]) -> dict[str, Any]:
    """The same with a tag, as Terraform makes it."""
    return {"DistributionConfig": configuration, "Tags": {"Items": [{"Key": "owner", "Value": "us"}]}}


@pytest.fixture
def page(cloud: Cloud, bucket: str) -> dict[str, Any]:
    """A distribution that signs its requests to a bucket with a page, and may read it if it is not of an account."""
    s3, cloudfront = cloud.client("s3"), cloud.client("cloudfront")
    s3.put_object(Bucket=bucket, Key="index.html", Body=b"<p>page", ContentType="text/html")
    s3.put_object(Bucket=bucket, Key="assets/a b.js", Body=b"1", ContentType="text/javascript")
    access = cloudfront.create_origin_access_control(
        OriginAccessControlConfig={
            "Name": bucket,
            "SigningProtocol": "sigv4",
            "SigningBehavior": "always",
            "OriginAccessControlOriginType": "s3",
        }
    )["OriginAccessControl"]["Id"]
    configuration = distribution_of(bucket)
    configuration["Origins"]["Items"][0]["OriginAccessControlId"] = access
    made: dict[str, Any] = cloudfront.create_distribution(DistributionConfig=configuration)["Distribution"]
    readers = {
        "Effect": "Allow",
        "Principal": {"Service": "cloudfront.amazonaws.com"},
        "Action": "s3:GetObject",
        "Condition": {"StringEquals": {"aws:SourceArn": made["ARN"]}},
    }
    others = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Condition": {
            "StringNotEquals": {"aws:PrincipalAccount": ACCOUNT},
            "BoolIfExists": {"aws:PrincipalIsAWSService": "false"},
        },
    }
    statements = [{**each, "Resource": f"arn:aws:s3:::{bucket}/*"} for each in (readers, others)]
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    return made


def ask_distribution(cloud: Cloud, identifier: str, path: str = "/") -> Answer:
    at = f"{cloud.aws.endpoint_url}/_aws/cloudfront/{identifier}{path}"
    return fetch(urllib.request.Request(at), cloud.aws.ca_bundle)


def test_a_distribution_is_served_at_a_path(cloud: Cloud, page: dict[str, Any]) -> None:
    assert ask_distribution(cloud, page["Id"]).body == b"<p>page"
    assert ask_distribution(cloud, page["Id"], "/assets/a%20b.js").body == b"1"
    assert ask_distribution(cloud, "E0000000000000").body != b"<p>page"


def test_a_distribution_needs_the_key_of_what_it_reads(
    cloud: Cloud, page: dict[str, Any], bucket: str, key: str
) -> None:
    s3, kms = cloud.client("s3"), cloud.client("kms")
    encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    s3.put_object(Bucket=bucket, Key="index.html", Body=b"under a key", **encryption)
    assert ask_distribution(cloud, page["Id"]).status == 403

    admitted = {
        "Effect": "Allow",
        "Principal": {"Service": "cloudfront.amazonaws.com"},
        "Action": "kms:Decrypt",
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:SourceArn": page["ARN"]}},
    }
    policy = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    policy["Statement"].append(admitted)
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))
    assert ask_distribution(cloud, page["Id"]).body == b"under a key"


def test_a_policy_of_headers_has_only_what_it_sets(cloud: Cloud, bucket: str) -> None:
    options = {"ContentTypeOptions": {"Override": True}}
    made = cloud.client("cloudfront").create_response_headers_policy(
        ResponseHeadersPolicyConfig={"Name": bucket, "SecurityHeadersConfig": options}
    )

    told = made["ResponseHeadersPolicy"]["ResponseHeadersPolicyConfig"]
    assert told["SecurityHeadersConfig"] == options
    assert not {"CustomHeadersConfig", "RemoveHeadersConfig"} & set(told)


def test_a_policy_may_name_kinds_of_resources_of_cloudfront(cloud: Cloud, bucket: str) -> None:
    ours = f"arn:aws:cloudfront::{ACCOUNT}"
    read = {"Action": "cloudfront:GetOriginAccessControl", "Resource": f"{ours}:origin-access-control/*"}
    make = {"Action": "cloudfront:CreateOriginAccessControl", "Resource": "*"}
    distribute = {"Action": "cloudfront:CreateDistribution", "Resource": f"{ours}:distribution/*"}
    policy = may(read, make, distribute)
    user = Cloud(cloud.aws, control.create_deployer(cloud.aws, policy, name="publisher"), cloud.iam_log)
    cloudfront = user.client("cloudfront")
    control_of = {"Name": bucket, "SigningProtocol": "sigv4", "SigningBehavior": "always"}

    made = cloudfront.create_origin_access_control(
        OriginAccessControlConfig={**control_of, "OriginAccessControlOriginType": "s3"}
    )["OriginAccessControl"]
    assert cloudfront.get_origin_access_control(Id=made["Id"])
    with pytest.raises(ClientError, match="AccessDenied"):
        cloudfront.delete_origin_access_control(Id=made["Id"], IfMatch="x")
    assert cloudfront.create_distribution(DistributionConfig=distribution_of(bucket))
    with pytest.raises(ClientError, match="TagResource"):
        cloudfront.create_distribution_with_tags(
            DistributionConfigWithTags=tagged({**distribution_of(bucket), "CallerReference": f"{bucket}-tagged"})
        )


def test_a_distribution_with_tags_needs_the_permission_to_set_tags(cloud: Cloud, bucket: str) -> None:
    kinds = f"arn:aws:cloudfront::{ACCOUNT}:distribution/*"
    policy = may({"Action": ["cloudfront:CreateDistribution", "cloudfront:TagResource"], "Resource": kinds})
    user = Cloud(cloud.aws, control.create_deployer(cloud.aws, policy, name="tagger"), cloud.iam_log)

    assert user.client("cloudfront").create_distribution_with_tags(
        DistributionConfigWithTags=tagged(distribution_of(bucket))
    )


def test_a_function_knows_the_address_of_its_api(cloud: Cloud, function: str) -> None:
    api = Api(cloud)
    api.integrate(function)
    api.permit(function)
    api.deploy()

    domain = api.post().json["domain"]

    assert f"https://{domain}/v1/upload" == cloud.aws.api_url(api.id, "v1", "upload")


# kms


@pytest.fixture
def key(cloud: Cloud) -> str:
    """A customer's key with the default policy, which leaves everything to IAM."""
    return str(cloud.client("kms").create_key()["KeyMetadata"]["Arn"])


def may(*statements: Mapping[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **each} for each in statements]}


def test_an_encrypted_object_needs_the_key_too(cloud: Cloud, bucket: str, key: str) -> None:
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    cloud.client("s3").put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": default}]},
    )
    on_objects = {"Action": ["s3:PutObject", "s3:GetObject"], "Resource": f"arn:aws:s3:::{bucket}/*"}
    user = Cloud(cloud.aws, control.create_deployer(cloud.aws, may(on_objects), name="writer"), cloud.iam_log)
    s3 = user.client("s3")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")

    control.create_deployer(
        cloud.aws, may(on_objects, {"Action": "kms:GenerateDataKey", "Resource": key}), name="writer"
    )
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    s3.head_object(Bucket=bucket, Key="k")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.get_object(Bucket=bucket, Key="k")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.create_multipart_upload(Bucket=bucket, Key="large")

    both = ["kms:GenerateDataKey", "kms:Decrypt"]
    control.create_deployer(cloud.aws, may(on_objects, {"Action": both, "Resource": key}), name="writer")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    s3.create_multipart_upload(Bucket=bucket, Key="large")


def test_an_object_that_was_put_with_an_alias_is_under_its_key(cloud: Cloud, key: str) -> None:
    alias = f"alias/{cloud.name('alias')}"
    cloud.client("kms").create_alias(AliasName=alias, TargetKeyId=key)
    bucket = cloud.name("bucket")
    cloud.client("s3").create_bucket(Bucket=bucket)
    by_alias = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": f"arn:aws:kms:{REGION}:{ACCOUNT}:{alias}"}
    on_bucket = {"Action": ["s3:PutObject", "s3:GetObject"], "Resource": f"arn:aws:s3:::{bucket}/*"}

    def user(aliases: str) -> Any:
        condition = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": aliases}}
        on_key = {"Action": ["kms:GenerateDataKey", "kms:Decrypt"], "Resource": "*", "Condition": condition}
        made = control.create_deployer(cloud.aws, may(on_bucket, on_key), name="aliased")
        return Cloud(cloud.aws, made, cloud.iam_log).client("s3")

    user(alias).put_object(Bucket=bucket, Key="a", Body=b"x", **by_alias)
    assert cloud.client("s3").head_object(Bucket=bucket, Key="a")["SSEKMSKeyId"] == key
    assert user(alias).get_object(Bucket=bucket, Key="a")["Body"].read() == b"x"
    with pytest.raises(ClientError, match="AccessDenied"):
        user("alias/another").get_object(Bucket=bucket, Key="a")


def test_an_encrypted_topic_and_queue_need_the_key_too(cloud: Cloud, key: str) -> None:
    topic = cloud.client("sns").create_topic(Name=cloud.name("topic"), Attributes={"KmsMasterKeyId": key})["TopicArn"]
    queue = cloud.client("sqs").create_queue(QueueName=cloud.name("queue"), Attributes={"KmsMasterKeyId": key})
    on_both = {"Action": ["sns:Publish", "sqs:SendMessage"], "Resource": "*"}
    user = Cloud(cloud.aws, control.create_deployer(cloud.aws, may(on_both), name="sender"), cloud.iam_log)
    calls: list[Callable[[], object]] = [
        lambda: user.client("sns").publish(TopicArn=topic, Message="x"),
        lambda: user.client("sqs").send_message(QueueUrl=queue["QueueUrl"], MessageBody="x"),
    ]
    for call in calls:
        with pytest.raises(ClientError, match=r"not authorized to perform: kms:GenerateDataKey|AuthorizationError"):
            call()

    both = {"Action": ["kms:GenerateDataKey", "kms:Decrypt"], "Resource": key}
    control.create_deployer(cloud.aws, may(on_both, both), name="sender")
    for call in calls:
        call()


def test_an_encrypted_secret_needs_the_key_too(cloud: Cloud, key: str) -> None:
    secret = cloud.client("secretsmanager").create_secret(Name=cloud.name("secret"), SecretString="x", KmsKeyId=key)
    on_secret = {"Action": ["secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"], "Resource": "*"}
    user = Cloud(cloud.aws, control.create_deployer(cloud.aws, may(on_secret), name="reader"), cloud.iam_log)
    secrets = user.client("secretsmanager")
    with pytest.raises(ClientError, match="AccessDenied"):
        secrets.get_secret_value(SecretId=secret["ARN"])

    control.create_deployer(cloud.aws, may(on_secret, {"Action": "kms:Decrypt", "Resource": key}), name="reader")
    assert secrets.get_secret_value(SecretId=secret["ARN"])["SecretString"] == "x"
    with pytest.raises(ClientError, match="AccessDenied"):
        secrets.put_secret_value(SecretId=secret["ARN"], SecretString="y")


def test_a_secret_without_a_value_has_no_version(cloud: Cloud) -> None:
    secrets = cloud.client("secretsmanager")
    secret = secrets.create_secret(Name=cloud.name("secret"))["ARN"]
    assert not secrets.describe_secret(SecretId=secret).get("VersionIdsToStages")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        secrets.get_secret_value(SecretId=secret)
    for value in ("x", "y"):
        secrets.put_secret_value(SecretId=secret, SecretString=value)
    assert secrets.get_secret_value(SecretId=secret)["SecretString"] == "y"
    assert secrets.get_secret_value(SecretId=secret, VersionStage="AWSPREVIOUS")["SecretString"] == "x"


def test_the_keys_of_aws_are_there_in_every_region(cloud: Cloud) -> None:
    kms = cloud.client("kms")
    key = kms.describe_key(KeyId="alias/aws/dynamodb")["KeyMetadata"]
    assert key["Arn"] == f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key['KeyId']}"
    assert key["KeyManager"] == "AWS"
    assert kms.describe_key(KeyId="alias/aws/dynamodb")["KeyMetadata"] == key
    with pytest.raises(ClientError, match="NotFoundException"):
        kms.describe_key(KeyId="alias/none")


def test_a_copy_of_a_table_has_a_key_of_its_own_region(cloud: Cloud) -> None:
    dynamodb = cloud.client("dynamodb")
    name, keys = (
        cloud.name("table"),
        {region: f"arn:aws:kms:{region}:{ACCOUNT}:key/x" for region in (REGION, "eu-west-1")},
    )
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": keys[REGION]},
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    copy = {"RegionName": "eu-west-1", "KMSMasterKeyId": keys["eu-west-1"]}
    dynamodb.update_table(TableName=name, ReplicaUpdates=[{"Create": copy}])
    (replica,) = dynamodb.describe_table(TableName=name)["Table"]["Replicas"]
    assert replica["KMSMasterKeyId"] == keys["eu-west-1"]
    for region, key in keys.items():
        there = cloud.client("dynamodb", region).describe_table(TableName=name)["Table"]
        assert there["SSEDescription"]["KMSMasterKeyArn"] == key


def encrypted_queue(cloud: Cloud, service: str, *, open_key: bool, acting_for: str = ACCOUNT) -> tuple[str, str]:
    """Create a queue that lets a service in, with a key that does or does not; return its URL and ARN.

    Args:
        acting_for: the account for whose resources the key lets the service in.
    """
    account = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*"}
    admit = {"Effect": "Allow", "Principal": {"Service": service}, "Action": ["kms:GenerateDataKey*", "kms:Decrypt"]}
    admit["Condition"] = {"StringEquals": {"aws:SourceAccount": acting_for}}
    statements = [{**each, "Resource": "*"} for each in ([account, admit] if open_key else [account])]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    key, name = cloud.client("kms").create_key(Policy=policy)["KeyMetadata"]["Arn"], cloud.name("queue")
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
    send = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sqs:SendMessage", "Resource": arn}
    attributes = {"KmsMasterKeyId": key, "Policy": json.dumps({"Version": "2012-10-17", "Statement": [send]})}
    return cloud.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"], arn


def receive(cloud: Cloud, queue: str) -> Any:
    found = cloud.client("sqs").receive_message(QueueUrl=queue, MessageAttributeNames=["All"]).get("Messages")
    return found and found[0]


def decided(cloud: Cloud, principal: str, resource: str) -> list[bool]:
    """The decisions about an AWS service and a resource, oldest first."""
    found = [line for line in cloud.decisions() if (line["principal"], line["resource"]) == (principal, resource)]
    return [line["allowed"] for line in found]


def test_a_service_needs_the_key_of_a_queue(cloud: Cloud) -> None:
    topic = cloud.client("sns").create_topic(Name=cloud.name("topic"))["TopicArn"]
    closed_url, closed = encrypted_queue(cloud, "sns.amazonaws.com", open_key=False)
    open_url, open_ = encrypted_queue(cloud, "sns.amazonaws.com", open_key=True)
    for queue in (closed, open_):
        cloud.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)

    cloud.client("sns").publish(TopicArn=topic, Message="x")

    assert wait_for("message", lambda: receive(cloud, open_url))
    assert receive(cloud, closed_url) is None


def test_a_bucket_uses_the_key_of_a_queue_for_its_account(cloud: Cloud, bucket: str) -> None:
    """The ARN of a bucket has no account, and the key's policy may name the account (aws:SourceAccount)."""
    _, closed = encrypted_queue(cloud, "s3.amazonaws.com", open_key=True, acting_for="999999999999")
    url, open_ = encrypted_queue(cloud, "s3.amazonaws.com", open_key=True)
    s3 = cloud.client("s3")

    def announce(queue: str) -> None:
        to_queue = {"QueueArn": queue, "Events": ["s3:ObjectCreated:*"]}
        s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [to_queue]}
        )

    with pytest.raises(ClientError, match="Unable to validate the following destination"):
        announce(closed)
    announce(open_)
    assert wait_for("message", lambda: receive(cloud, url))


# lambda_runtime


def test_a_function_finds_what_awss_runtime_has_and_nothing_of_the_emulators(cloud: Cloud, function: str) -> None:
    answer, _ = cloud.invoke(function, {})
    seen = json.loads(answer["body"])
    name = function.rsplit(":", 1)[1]

    environment = seen["environment"]
    assert environment["AWS_LAMBDA_LOG_GROUP_NAME"] == seen["log_group"] == f"/aws/lambda/{name}"
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == name
    assert environment["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.11"
    assert environment["_HANDLER"] == "main.handler"
    assert not {"GATEWAY_PORT", "AUTH", "STATE_DIR", "MINISTACK_REGION"} & environment.keys()
    assert seen["path"][0] == environment["LAMBDA_TASK_ROOT"]
    assert 0 < seen["milliseconds"] <= 20_000


def test_an_undeclared_import_fails_as_on_aws(cloud: Cloud, function: str) -> None:
    answer, failure = cloud.invoke(function, {"command": "import"})

    assert failure == "Unhandled"
    assert (answer["errorType"], answer["errorMessage"]) == ("ModuleNotFoundError", "No module named 'hypercorn'")


def test_a_failure_carries_the_name_of_the_exception(cloud: Cloud, function: str) -> None:
    answer, failure = cloud.invoke(function, {"command": "fail"})

    assert failure == "Unhandled"
    assert answer["errorType"] == "KeyError"
    assert any("in handler" in frame for frame in answer["stackTrace"])


def test_warnings_are_logged_and_information_is_not(cloud: Cloud, function: str) -> None:
    cloud.invoke(function, {"command": "log"})

    lines = wait_for(
        "warning",
        lambda: [line for line in log_lines(cloud, f"/aws/lambda/{function.rsplit(':', 1)[1]}") if "[WARNING]" in line],
    )
    assert lines[0].endswith("\ta warning line")
    assert not [line for line in log_lines(cloud, f"/aws/lambda/{function.rsplit(':', 1)[1]}") if "info" in line]


def test_every_line_belongs_to_its_invocation(cloud: Cloud, lambda_role: str) -> None:
    function = cloud.function(lambda_role)
    for command in ("print", "", "print"):
        cloud.invoke(function, {"command": command})

    lines = log_lines(cloud, f"/aws/lambda/{function.rsplit(':', 1)[1]}")
    ends = [number for number, line in enumerate(lines) if line.startswith("END")]
    invocations = [lines[start + 1 : end] for start, end in zip([-1, *ends], ends, strict=False)]
    printed = [[line for line in each if line.isdecimal()] for each in invocations]
    assert sorted(len(each) for each in printed) == [0, 2000, 2000]
    assert not [line for line in lines if "\x1e" in line]


def test_json_log_format_reaches_the_function(cloud: Cloud, lambda_role: str) -> None:
    function = cloud.function(lambda_role, LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "INFO"})
    cloud.invoke(function, {"command": "log"})

    lines = wait_for(
        "information",
        lambda: [
            line for line in log_lines(cloud, f"/aws/lambda/{function.rsplit(':', 1)[1]}") if "an info line" in line
        ],
    )
    assert json.loads(lines[0])["level"] == "INFO"


def test_a_function_calls_back_over_tls_as_its_role(cloud: Cloud, function: str, lambda_role: str, bucket: str) -> None:
    answer, failure = cloud.invoke(function, {"command": "put", "bucket": bucket})

    assert failure is None, answer
    session = f"{lambda_role.rsplit('/', 1)[1]}/{function.rsplit(':', 1)[1]}"
    assert [line["principal"] for line in cloud.decisions() if line["resource"].endswith(f"{bucket}/from-lambda")] == [
        f"arn:aws:sts::{ACCOUNT}:assumed-role/{session}"
    ]


def test_a_queue_is_mapped_only_to_a_function_that_may_read_it(cloud: Cloud, key: str) -> None:
    queue = cloud.client("sqs").create_queue(QueueName=cloud.name("queue"), Attributes={"KmsMasterKeyId": key})
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue['QueueUrl'].rpartition('/')[2]}"
    reading = {"Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], "Resource": arn}
    decrypting = {"Action": "kms:Decrypt", "Resource": key}
    role = cloud.role("lambda.amazonaws.com")
    function = cloud.function(role)
    create = cloud.client("lambda").create_event_source_mapping

    for statements in ([], [reading], [{**reading, "Action": "sqs:ReceiveMessage"}, decrypting]):
        cloud.allow(role, *statements)
        with pytest.raises(ClientError, match="does not have permissions to call"):
            create(EventSourceArn=arn, FunctionName=function)
    cloud.allow(role, reading, decrypting)
    assert create(EventSourceArn=arn, FunctionName=function)["UUID"]


def test_a_failed_event_reaches_the_dead_letter_queue_and_the_destination(cloud: Cloud, lambda_role: str) -> None:
    sqs = cloud.client("sqs")
    queues = {name: sqs.create_queue(QueueName=cloud.name(name))["QueueUrl"] for name in ("dead", "failed")}
    arns = {name: f"arn:aws:sqs:{REGION}:{ACCOUNT}:{url.rsplit('/', 1)[1]}" for name, url in queues.items()}
    function = cloud.function(lambda_role, DeadLetterConfig={"TargetArn": arns["dead"]})
    client = cloud.client("lambda")
    client.put_function_event_invoke_config(
        FunctionName=function,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": arns["failed"]}},
    )

    client.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps({"command": "fail"}).encode())

    record = json.loads(wait_for("record", lambda: receive(cloud, queues["failed"]))["Body"])
    dead = wait_for("dead letter", lambda: receive(cloud, queues["dead"]))
    assert record["requestPayload"] == {"command": "fail"}
    assert json.loads(dead["Body"]) == {"command": "fail"}
    attributes = {name: value["StringValue"] for name, value in dead["MessageAttributes"].items()}
    assert attributes["ErrorCode"] == "200"
    assert attributes["ErrorMessage"] == "'what nobody should read'"
    assert set(attributes) == {"RequestID", "ErrorCode", "ErrorMessage"}


def test_an_event_for_an_alias_is_handled_as_the_alias_says(cloud: Cloud, lambda_role: str) -> None:
    queue = cloud.client("sqs").create_queue(QueueName=cloud.name("failed"))["QueueUrl"]
    function, client = cloud.function(lambda_role), cloud.client("lambda")
    version = client.publish_version(FunctionName=function)["Version"]
    client.create_alias(FunctionName=function, Name="live", FunctionVersion=version)
    client.put_function_event_invoke_config(
        FunctionName=function,
        Qualifier="live",
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue.rsplit('/', 1)[1]}"}},
    )
    payload = json.dumps({"command": "fail"}).encode()
    client.invoke(FunctionName=function, Qualifier="live", InvocationType="Event", Payload=payload)
    record = wait_for("record", lambda: receive(cloud, queue))
    assert json.loads(record["Body"])["requestPayload"] == {"command": "fail"}


def test_a_policy_may_name_the_alias_that_is_invoked(cloud: Cloud, lambda_role: str) -> None:
    function, client = cloud.function(lambda_role), cloud.client("lambda")
    version = client.publish_version(FunctionName=function)["Version"]
    client.create_alias(FunctionName=function, Name="live", FunctionVersion=version)
    policy = may({"Action": "lambda:InvokeFunction", "Resource": f"{function}:live"})
    user = Cloud(cloud.aws, control.create_deployer(cloud.aws, policy, name="caller"), cloud.iam_log)
    assert user.client("lambda").invoke(FunctionName=function, Qualifier="live", Payload=b"{}")["StatusCode"] == 200
    assert user.client("lambda").invoke(FunctionName=f"{function}:live", Payload=b"{}")["StatusCode"] == 200
    with pytest.raises(ClientError, match="AccessDenied"):
        user.client("lambda").invoke(FunctionName=function, Payload=b"{}")


# stepfunctions


def run(cloud: Cloud, role: str, resource: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Run a state machine of one task; return its execution."""
    states, task = cloud.client("stepfunctions"), {"Type": "Task", "Resource": resource, "Parameters": parameters}
    definition = {"StartAt": "A", "States": {"A": task | {"End": True}}}
    machine = states.create_state_machine(name=cloud.name("machine"), definition=json.dumps(definition), roleArn=role)
    started = states.start_execution(stateMachineArn=machine["stateMachineArn"], input="{}")["executionArn"]

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = states.describe_execution(executionArn=started)
        return None if found["status"] == "RUNNING" else found

    return wait_for("end of the execution", ended)


def test_a_task_does_only_what_the_role_of_its_state_machine_may(cloud: Cloud, function: str, bucket: str) -> None:
    cloud.client("s3").put_object(Bucket=bucket, Key="k", Body=b"{}")
    table = cloud.name("table")
    cloud.client("dynamodb").create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    table_arn, object_arn = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}", f"arn:aws:s3:::{bucket}/k"
    item = {"id": {"S": "1"}}
    tasks: dict[tuple[str, str, str], tuple[str, dict[str, Any]]] = {
        ("lambda:InvokeFunction", function, "Lambda.AWSLambdaException"): (
            "arn:aws:states:::lambda:invoke",
            {"FunctionName": function, "Payload": {}},
        ),
        ("dynamodb:PutItem", table_arn, "DynamoDB.AmazonDynamoDBException"): (
            "arn:aws:states:::dynamodb:putItem",
            {"TableName": table, "Item": item},
        ),
        ("dynamodb:GetItem", table_arn, "DynamoDb.AccessDeniedException"): (
            "arn:aws:states:::aws-sdk:dynamodb:getItem",
            {"TableName": table, "Key": item},
        ),
        ("s3:GetObject", object_arn, "S3.S3Exception"): (
            "arn:aws:states:::aws-sdk:s3:headObject",
            {"Bucket": bucket, "Key": "k"},
        ),
    }
    for (action, arn, error), task in tasks.items():
        role = cloud.role("states.amazonaws.com")
        denied = run(cloud, role, *task)
        assert (denied["status"], denied.get("error")) == ("FAILED", error)
        assert f"not authorized to perform: {action} on resource: {arn}" in denied["cause"]

        cloud.allow(role, {"Action": action, "Resource": arn})
        allowed = run(cloud, role, *task)
        assert allowed["status"] == "SUCCEEDED", allowed


def test_a_state_machine_keeps_its_tracing_configuration(cloud: Cloud) -> None:
    states, role = cloud.client("stepfunctions"), cloud.role("states.amazonaws.com")
    definition = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}})
    arn = states.create_state_machine(
        name=cloud.name("machine"), definition=definition, roleArn=role, tracingConfiguration={"enabled": True}
    )["stateMachineArn"]
    assert states.describe_state_machine(stateMachineArn=arn)["tracingConfiguration"] == {"enabled": True}

    states.update_state_machine(stateMachineArn=arn, tracingConfiguration={"enabled": False})
    assert states.describe_state_machine(stateMachineArn=arn)["tracingConfiguration"] == {"enabled": False}


# apigateway


def test_an_api_needs_the_permission_of_the_function(cloud: Cloud, function: str) -> None:
    api = Api(cloud)
    api.integrate(function)
    api.deploy()
    denied = api.post()
    assert (denied.status, denied.json) == (500, {"message": "Internal server error"})

    api.permit(function)
    assert api.post().status == 200

    source = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api.id}/v1/POST/upload"
    decisions = [line["allowed"] for line in cloud.decisions() if line["source"] == source]
    assert decisions == [False, True]


def test_an_api_may_invoke_through_the_role_of_its_integration(cloud: Cloud, function: str) -> None:
    role = cloud.role("apigateway.amazonaws.com")
    api = Api(cloud)
    api.integrate(function, credentials=role)
    api.deploy()
    assert api.post().status == 500

    cloud.allow(role, {"Action": "lambda:InvokeFunction", "Resource": function})
    assert api.post().status == 200


def test_a_mock_integration_has_no_method(cloud: Cloud) -> None:
    api = Api(cloud)
    templates = {"application/json": '{"statusCode": 200}'}
    api.gateway.put_integration(**api.where, type="MOCK", requestTemplates=templates)

    integration = api.gateway.get_integration(**api.where)
    assert "httpMethod" not in integration
    assert integration["requestTemplates"] == templates


def test_settings_of_a_method_are_named_with_the_slashes_escaped(cloud: Cloud) -> None:
    api = Api(cloud)
    api.gateway.put_integration(**api.where, type="MOCK")
    api.deploy()
    api.gateway.update_stage(
        restApiId=api.id,
        stageName="v1",
        patchOperations=[
            {"op": "replace", "path": f"/{path}/throttling/burstLimit", "value": "7"}
            for path in ("~1health~1deep/GET", "*/*")
        ],
    )
    settings = api.gateway.get_stage(restApiId=api.id, stageName="v1")["methodSettings"]
    assert {name: setting["throttlingBurstLimit"] for name, setting in settings.items()} == {
        "~1health~1deep/GET": 7,
        "*/*": 7,
    }


def test_a_stage_without_access_logs_says_nothing_about_them(cloud: Cloud) -> None:
    api = Api(cloud)
    api.gateway.put_integration(**api.where, type="MOCK")
    api.deploy()

    assert "accessLogSettings" not in api.gateway.get_stage(restApiId=api.id, stageName="v1")


def test_whom_iam_denies_reads_the_gateway_response(cloud: Cloud, function: str) -> None:
    nobody = Cloud(cloud.aws, control.create_deployer(cloud.aws, [], name="nobody"), cloud.iam_log)
    api = Api(cloud, "AWS_IAM")
    api.integrate(function)
    api.permit(function)
    api.respond("ACCESS_DENIED")
    api.deploy()
    url = cloud.aws.api_url(api.id, "v1", "upload")

    denied = nobody.send("POST", url, b"{}", sign_for="execute-api")
    assert denied.status == 403
    assert denied.headers["access-control-allow-origin"] == "https://files.example"
    assert "is not authorized to perform: execute-api:Invoke" in denied.json["message"]
    assert cloud.send("POST", url, b"{}", sign_for="execute-api").status == 200
    unsigned = cloud.send("POST", url, b"{}")
    assert (unsigned.status, unsigned.json) == (403, {"message": "Missing Authentication Token"})


def test_a_caller_reads_nothing_about_a_failed_function(cloud: Cloud, function: str) -> None:
    api = Api(cloud)
    api.integrate(function)
    api.permit(function)
    api.respond("DEFAULT_5XX")
    api.deploy()

    for command in ("fail", "malformed"):
        answer = api.post({"command": command})
        assert (answer.status, answer.json) == (502, {"message": "Internal server error"}), command
        assert answer.headers["access-control-allow-origin"] == "https://files.example"


def test_a_large_request_is_refused(cloud: Cloud, function: str) -> None:
    api = Api(cloud)
    api.integrate(function)
    api.permit(function)
    api.deploy()

    assert api.post(body=b"a" * 5_000_000).status == 502  # it reaches the function, which cannot parse it
    for size in (10 * 1024 * 1024 + 1, 7_000_000):
        answer = api.post(body=b"a" * size)
        assert (answer.status, answer.json) == (413, {"message": "Request Too Long"}), size


def test_a_stage_serves_what_was_deployed_to_it(cloud: Cloud, function: str) -> None:
    api = Api(cloud)
    api.integrate(function)
    api.permit(function)
    api.deploy()
    first = api.gateway.get_stage(restApiId=api.id, stageName="v1")["deploymentId"]

    other = {**api.where, "httpMethod": "PUT"}
    api.gateway.put_method(**other, authorizationType="NONE")
    with pytest.raises(ClientError, match="No integration defined for method"):
        api.gateway.create_deployment(restApiId=api.id)
    api.gateway.put_integration(**other, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
    api.gateway.delete_method(**api.where)
    url = cloud.aws.api_url(api.id, "v1", "upload")
    assert (api.post().status, cloud.send("PUT", url, b"{}").status) == (200, 403)

    second = api.gateway.create_deployment(restApiId=api.id)["id"]
    assert (api.post().status, cloud.send("PUT", url, b"{}").status) == (200, 403)
    for deployment, statuses in ((second, (403, 200)), (first, (200, 403))):
        change = {"op": "replace", "path": "/deploymentId", "value": deployment}
        api.gateway.update_stage(restApiId=api.id, stageName="v1", patchOperations=[change])
        assert (api.post().status, cloud.send("PUT", url, b"{}").status) == statuses
    with pytest.raises(ClientError, match="Active stages pointing to this deployment"):
        api.gateway.delete_deployment(restApiId=api.id, deploymentId=first)
    api.gateway.delete_deployment(restApiId=api.id, deploymentId=second)


def test_an_api_without_methods_is_not_deployed(cloud: Cloud) -> None:
    gateway = cloud.client("apigateway")
    api_id = gateway.create_rest_api(name=cloud.name("api"))["id"]
    with pytest.raises(ClientError, match="doesn't contain any methods"):
        gateway.create_deployment(restApiId=api_id)


def test_who_may_call_is_what_was_deployed_too(cloud: Cloud, function: str) -> None:
    api = Api(cloud, "AWS_IAM")
    api.integrate(function)
    api.permit(function)
    api.deploy()
    change = {"op": "replace", "path": "/authorizationType", "value": "NONE"}
    api.gateway.update_method(**api.where, patchOperations=[change])
    assert api.post().status == 403
    api.deploy()
    assert api.post().status == 200


def test_a_method_is_changed_in_place(cloud: Cloud) -> None:
    api = Api(cloud)
    api.gateway.put_integration(**api.where, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
    response = {**api.where, "statusCode": "200"}
    header = "method.response.header.X-One"
    api.gateway.put_method_response(**response, responseParameters={header: False})
    api.gateway.put_integration_response(**response, responseParameters={header: "'a'"})

    change = {"op": "replace", "path": f"/responseParameters/{header}", "value": "true"}
    assert api.gateway.update_method_response(**response, patchOperations=[change])["responseParameters"] == {
        header: True
    }
    change = {"op": "replace", "path": f"/responseParameters/{header}", "value": "'true'"}
    api.gateway.update_integration_response(**response, patchOperations=[change])
    found = api.gateway.get_integration_response(**response)
    assert found["responseParameters"] == {header: "'true'"}
    with pytest.raises(ClientError, match="Invalid Response status code"):
        api.gateway.update_method_response(**{**response, "statusCode": "204"}, patchOperations=[change])

    url = cloud.aws.api_url(api.id, "v1", "upload")
    for flag, status in (("true", 403), ("false", 200)):
        change = {"op": "replace", "path": "/apiKeyRequired", "value": flag}
        assert api.gateway.update_method(**api.where, patchOperations=[change])["apiKeyRequired"] is (flag == "true")
        api.deploy()
        assert cloud.send("POST", url, b"{}").status == status


# cloudwatch


def ask_cloudwatch(cloud: Cloud, **parameters: str) -> Answer:
    """In the query protocol, which the AWS provider of Terraform speaks and boto3 no longer does."""
    body = urllib.parse.urlencode({"Version": "2010-08-01", **parameters}).encode()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    return cloud.send("POST", cloud.aws.endpoint_url + "/", body, sign_for="monitoring", headers=form)


def test_a_policy_may_name_alarms_and_dashboards(cloud: Cloud) -> None:
    alarm = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:named-*"
    dashboard = f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/named"
    actions = ["cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms", "cloudwatch:ListTagsForResource"]
    policy = may(
        {"Action": actions, "Resource": alarm},
        {"Action": ["cloudwatch:PutDashboard", "cloudwatch:DeleteDashboards"], "Resource": dashboard},
    )
    user = Cloud(cloud.aws, control.create_deployer(cloud.aws, policy, name="watcher"), cloud.iam_log)

    def status(action: str, parameter: str, value: str) -> int:
        return ask_cloudwatch(user, **{"Action": action, parameter: value, "DashboardBody": "{}"}).status

    assert status("DescribeAlarms", "AlarmNames.member.1", "named-a") == 200
    assert status("DescribeAlarms", "AlarmNames.member.1", "another") == 403
    assert status("DeleteAlarms", "AlarmNames.member.1", "another") == 403
    assert status("ListTagsForResource", "ResourceARN", alarm.replace("named-*", "another")) == 403
    assert status("PutDashboard", "DashboardName", "named") == 200
    assert status("PutDashboard", "DashboardName", "another") == 403
    assert status("DeleteDashboards", "DashboardNames.member.1", "another") == 403
    assert status("DeleteDashboards", "DashboardNames.member.1", "named") == 200


def test_an_alarm_comes_back_as_it_was_put(cloud: Cloud) -> None:
    name, metric = cloud.name("alarm"), "Metrics.member.2.MetricStat"
    common = {"AlarmName": name, "ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": "2"}
    put = ask_cloudwatch(
        cloud,
        **common | {"Action": "PutMetricAlarm", "Threshold": "1", "AlarmDescription": "errors & <more>"},
        **{"InsufficientDataActions.member.1": f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms"},
        **{"Metrics.member.1.Id": "rate", "Metrics.member.1.Expression": "100*errors", "Metrics.member.2.Id": "errors"},
        **{f"{metric}.Metric.Namespace": "AWS/Lambda", f"{metric}.Metric.MetricName": "Errors"},
        **{f"{metric}.Metric.Dimensions.member.1.Name": "FunctionName"},
        **{f"{metric}.Metric.Dimensions.member.1.Value": "f", f"{metric}.Period": "300", f"{metric}.Stat": "Sum"},
    )
    assert put.status == 200

    listed = ask_cloudwatch(cloud, **{"Action": "DescribeAlarms", "AlarmNames.member.1": name}).body.decode()
    assert "<Expression>100*errors</Expression>" in listed
    assert "<Stat>Sum</Stat>" in listed
    assert "<Name>FunctionName</Name><Value>f</Value>" in listed
    assert "<AlarmDescription>errors &amp; &lt;more&gt;</AlarmDescription>" in listed
    assert "<InsufficientDataActions><member>arn:" in listed
    assert "<Statistic>" not in listed
    assert "<Period>60</Period>" not in listed


def test_an_alarm_reaches_a_topic_that_lets_cloudwatch_in(cloud: Cloud) -> None:
    sns, alarms, name = cloud.client("sns"), cloud.client("cloudwatch"), cloud.name("alarm")
    topics = [sns.create_topic(Name=cloud.name("topic"))["TopicArn"] for _ in range(2)]
    nobody = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sns:Publish"}
    policy = {"Version": "2012-10-17", "Statement": [{**nobody, "Resource": topics[0]}]}
    sns.set_topic_attributes(TopicArn=topics[0], AttributeName="Policy", AttributeValue=json.dumps(policy))
    urls = []
    for topic in topics:
        url, arn = encrypted_queue(cloud, "sns.amazonaws.com", open_key=True)
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        urls.append(url)
    alarms.put_metric_alarm(
        AlarmName=name,
        Namespace="n",
        MetricName="m",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=topics,
    )

    alarms.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")

    assert wait_for("notification", lambda: receive(cloud, urls[1]))
    assert receive(cloud, urls[0]) is None
    assert [decided(cloud, "cloudwatch.amazonaws.com", topic) for topic in topics] == [[False], [True]]


# eventbridge


def rule_for(cloud: Cloud, target: str, **options: Any) -> tuple[str, str]:
    """Create a rule with one target; return its ARN and the source of the events that it matches."""
    events, name = cloud.client("events"), cloud.name("rule")
    arn = events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))["RuleArn"]
    events.put_targets(Rule=name, Targets=[{"Id": "t", "Arn": target, **options}])
    return str(arn), name


def emit(cloud: Cloud, source: str, detail: object) -> None:
    entry = {"Source": source, "DetailType": "test", "Detail": json.dumps(detail)}
    assert cloud.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0


def test_an_event_reaches_a_target_that_lets_eventbridge_in(cloud: Cloud, function: str) -> None:
    url, queue = encrypted_queue(cloud, "events.amazonaws.com", open_key=True)
    dead_url, dead = encrypted_queue(cloud, "events.amazonaws.com", open_key=True)
    closed_url, closed = encrypted_queue(cloud, "events.amazonaws.com", open_key=False)
    for target in (queue, closed, function):
        _, source = rule_for(cloud, target, DeadLetterConfig={"Arn": dead})
        emit(cloud, source, {"to": target})

    assert json.loads(wait_for("event", lambda: receive(cloud, url))["Body"])["detail"] == {"to": queue}
    undelivered = [
        json.loads(wait_for("event", lambda: receive(cloud, dead_url))["Body"])["detail"]["to"] for _ in "12"
    ]
    assert sorted(undelivered) == sorted([closed, function])
    assert receive(cloud, closed_url) is None
    assert decided(cloud, "events.amazonaws.com", function) == [False]


def test_an_event_of_s3_names_the_version_that_was_stored(cloud: Cloud) -> None:
    url, queue = encrypted_queue(cloud, "events.amazonaws.com", open_key=True)
    s3, events, bucket = cloud.client("s3"), cloud.client("events"), cloud.name("bucket")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    rule = cloud.name("rule")
    events.put_rule(
        Name=rule, EventPattern=json.dumps({"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}})
    )
    events.put_targets(Rule=rule, Targets=[{"Id": "t", "Arn": queue}])
    version = s3.put_object(Bucket=bucket, Key="a", Body=b"x")["VersionId"]
    detail = json.loads(wait_for("event", lambda: receive(cloud, url))["Body"])["detail"]
    assert (detail["reason"], detail["object"]["version-id"]) == ("PutObject", version)


def test_a_state_machine_is_started_with_the_role_of_the_target(cloud: Cloud) -> None:
    states, definition = cloud.client("stepfunctions"), {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}
    machine = states.create_state_machine(
        name=cloud.name("machine"), definition=json.dumps(definition), roleArn=cloud.role("states.amazonaws.com")
    )["stateMachineArn"]
    role = cloud.role("events.amazonaws.com")
    _, source = rule_for(cloud, machine, RoleArn=role)
    emit(cloud, source, {})
    assert states.list_executions(stateMachineArn=machine)["executions"] == []

    cloud.allow(role, {"Action": "states:StartExecution", "Resource": machine})
    emit(cloud, source, {})
    assert wait_for("execution", lambda: states.list_executions(stateMachineArn=machine)["executions"])


def test_a_function_that_fails_on_an_event_is_tried_again_and_its_event_kept(cloud: Cloud, lambda_role: str) -> None:
    queue = cloud.client("sqs").create_queue(QueueName=cloud.name("dead"))["QueueUrl"]
    dead = {"TargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue.rsplit('/', 1)[1]}"}
    function = cloud.function(lambda_role, DeadLetterConfig=dead)
    rule, source = rule_for(cloud, function, Input=json.dumps({"command": "fail"}))
    cloud.client("lambda").add_permission(
        FunctionName=function,
        StatementId="events",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule,
    )

    emit(cloud, source, {})

    assert json.loads(wait_for("dead letter", lambda: receive(cloud, queue))["Body"]) == {"command": "fail"}
    lines = log_lines(cloud, f"/aws/lambda/{function.rsplit(':', 1)[1]}")
    assert len([line for line in lines if line.startswith("[ERROR] KeyError")]) == 3


# cognito


def test_an_authorizer_accepts_only_the_tokens_of_its_user_pool(cloud: Cloud, function: str) -> None:
    pools, password = cloud.client("cognito-idp"), "Correct-Horse-7"
    pool = pools.create_user_pool(PoolName=cloud.name("pool"))["UserPool"]
    flows = ["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
    app = pools.create_user_pool_client(UserPoolId=pool["Id"], ClientName="c", ExplicitAuthFlows=flows)
    who = {"UserPoolId": pool["Id"], "Username": "ada"}
    pools.admin_create_user(**who, MessageAction="SUPPRESS")
    pools.admin_set_user_password(**who, Password=password, Permanent=True)
    tokens = pools.admin_initiate_auth(
        UserPoolId=pool["Id"],
        ClientId=app["UserPoolClient"]["ClientId"],
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "ada", "PASSWORD": password},
    )["AuthenticationResult"]
    token = tokens["IdToken"]

    api = Api(cloud)
    authorizer = api.gateway.create_authorizer(
        restApiId=api.id,
        name="pool",
        type="COGNITO_USER_POOLS",
        providerARNs=[pool["Arn"]],
        identitySource="method.request.header.Authorization",
    )
    api.gateway.delete_method(**api.where)
    api.gateway.put_method(**api.where, authorizationType="COGNITO_USER_POOLS", authorizerId=authorizer["id"])
    api.integrate(function)
    api.permit(function)
    api.deploy()

    assert api.post().status == 401
    header, claims, signature = token.split(".")
    forged = ".".join((header, claims, signature[:-8] + signature[-8:][::-1]))
    assert api.post(headers={"Authorization": forged}).status == 401
    assert api.post(headers={"Authorization": f"Bearer {token}"}).status == 200
    # A method without scopes needs the identity of the user, which only an ID token has.
    assert api.post(headers={"Authorization": tokens["AccessToken"]}).status == 401
    assert api.post(headers={"Authorization": tokens["RefreshToken"]}).status == 401

    scopes = ["aws.cognito.signin.user.admin"]
    asks = {"authorizationType": "COGNITO_USER_POOLS", "authorizerId": authorizer["id"], "authorizationScopes": scopes}
    api.gateway.delete_method(**api.where)
    api.gateway.put_method(**api.where, **asks)
    api.integrate(function)
    api.deploy()
    assert api.post(headers={"Authorization": tokens["AccessToken"]}).status == 200
    assert api.post(headers={"Authorization": token}).status == 401


def test_a_refreshed_token_has_the_time_of_the_sign_in(cloud: Cloud) -> None:
    pools, password = cloud.client("cognito-idp"), "Correct-Horse-7"
    pool = pools.create_user_pool(PoolName=cloud.name("pool"))["UserPool"]
    flows = ["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
    app = pools.create_user_pool_client(UserPoolId=pool["Id"], ClientName="c", ExplicitAuthFlows=flows)
    who = {"UserPoolId": pool["Id"], "ClientId": app["UserPoolClient"]["ClientId"]}
    pools.admin_create_user(UserPoolId=pool["Id"], Username="ada", MessageAction="SUPPRESS")
    pools.admin_set_user_password(UserPoolId=pool["Id"], Username="ada", Password=password, Permanent=True)

    def sign_in(flow: str, **said: str) -> dict[str, str]:
        signed_in: dict[str, str] = pools.admin_initiate_auth(**who, AuthFlow=flow, AuthParameters=said)[
            "AuthenticationResult"
        ]
        return signed_in

    def claims(tokens: Mapping[str, str], kind: str) -> dict[str, Any]:
        payload = tokens[kind].split(".")[1]
        found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return found

    first = sign_in("ADMIN_USER_PASSWORD_AUTH", USERNAME="ada", PASSWORD=password)
    issued = claims(first, "IdToken")["iat"]

    def refresh() -> dict[str, str] | None:
        tokens = sign_in("REFRESH_TOKEN_AUTH", REFRESH_TOKEN=first["RefreshToken"])
        return tokens if claims(tokens, "IdToken")["iat"] > issued else None

    again = wait_for("token of a later second", refresh)
    for kind in ("IdToken", "AccessToken"):
        assert claims(again, kind)["auth_time"] == claims(first, kind)["auth_time"]


# logs


def test_a_saved_query_is_kept_changed_and_deleted(cloud: Cloud) -> None:
    logs, name = cloud.client("logs"), cloud.name("query")

    def described() -> list[dict[str, Any]]:
        return list(logs.describe_query_definitions(queryDefinitionNamePrefix=name)["queryDefinitions"])

    query = {"name": name, "logGroupNames": ["/aws/lambda/f"]}
    saved = logs.put_query_definition(**query, queryString="fields @message")["queryDefinitionId"]
    logs.put_query_definition(**query, queryString="fields @log", queryDefinitionId=saved)
    (found,) = described()
    assert isinstance(found.pop("lastModified"), int)
    assert found == {**query, "queryString": "fields @log", "queryDefinitionId": saved}
    assert logs.delete_query_definition(queryDefinitionId=saved)["success"] is True
    assert described() == []
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.delete_query_definition(queryDefinitionId=saved)


# s3


def test_a_form_stores_just_the_bytes_of_its_checksum_and_keeps_that(cloud: Cloud, bucket: str) -> None:
    s3 = cloud.client("s3")
    # SHA-256 of "abc" (FIPS 180-2).
    checksum = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
    fields = {"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-sha256": checksum}
    form = s3.generate_presigned_post(
        bucket, "posted", Fields=dict(fields), Conditions=[{name: value} for name, value in fields.items()]
    )

    def post(content: bytes) -> int:
        lines = [
            f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in form["fields"].items()
        ]
        last = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + content + b"\r\n--x--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        request = urllib.request.Request(form["url"], "".join(lines).encode() + last, headers)
        trust = create_default_context(cafile=str(cloud.aws.ca_bundle))
        try:
            return int(urllib.request.urlopen(request, context=trust).status)
        except urllib.error.HTTPError as error:
            return error.code

    assert post(b"abd") == 400
    assert post(b"abc") == 204
    assert s3.head_object(Bucket=bucket, Key="posted", ChecksumMode="ENABLED")["ChecksumSHA256"] == checksum


def test_a_small_part_is_refused_when_the_upload_is_completed(cloud: Cloud, bucket: str) -> None:
    s3 = cloud.client("s3")

    def upload(*sizes: int) -> None:
        where = {"Bucket": bucket, "Key": "large"}
        where["UploadId"] = s3.create_multipart_upload(**where)["UploadId"]
        parts = [
            {"PartNumber": number, "ETag": s3.upload_part(**where, PartNumber=number, Body=b"a" * size)["ETag"]}
            for number, size in enumerate(sizes, start=1)
        ]
        s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})

    with pytest.raises(ClientError) as refused:
        upload(5 * 1024 * 1024 - 1, 10)
    assert refused.value.response["Error"]["Code"] == "EntityTooSmall"

    upload(5 * 1024 * 1024, 10)
    assert s3.head_object(Bucket=bucket, Key="large")["ContentLength"] == 5 * 1024 * 1024 + 10


HEADERS = {
    "x-amz-tagging": "a=b",
    "x-amz-storage-class": "GLACIER",
    "x-amz-copy-source": "/other/k",
    "X-Amz-Meta-A": "b",
}


@pytest.mark.parametrize("header", [*HEADERS, "x-amz-checksum-sha256"])
def test_whoever_has_a_link_can_add_no_header_of_s3(cloud: Cloud, bucket: str, header: str) -> None:
    s3 = cloud.client("s3", config=Config(signature_version="s3v4"))
    where, body = {"Bucket": bucket, "Key": "k"}, b"body"
    checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
    value = HEADERS.get(header, checksum)
    upload = s3.create_multipart_upload(**where)["UploadId"]
    part = {**where, "UploadId": upload, "PartNumber": 1}
    for url in (s3.generate_presigned_url("put_object", where), s3.generate_presigned_url("upload_part", part)):
        refused = cloud.send("PUT", url, body, headers={header: value})
        assert refused.status == 403
        assert b"<Code>AccessDenied</Code>" in refused.body
        assert f"<HeadersNotSigned>{header.lower()}</HeadersNotSigned>".encode() in refused.body
        # What has nothing to do with S3 is not S3's concern.
        assert cloud.send("PUT", url, body, headers={"X-Amzn-Trace-Id": "Root=1", "Content-Type": "a/b"}).status == 200
    assert s3.get_object_tagging(**where)["TagSet"] == []
    assert s3.get_object(**where)["Metadata"] == {}


def test_a_header_that_a_link_covers_has_to_be_sent(cloud: Cloud, bucket: str) -> None:
    s3, body = cloud.client("s3", config=Config(signature_version="s3v4")), b"body"
    checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
    url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "k", "ChecksumSHA256": checksum})
    assert "x-amz-checksum-sha256" in urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["X-Amz-SignedHeaders"][0]
    assert cloud.send("PUT", url, body).status == 403
    assert cloud.send("PUT", url, body, headers={"x-amz-checksum-sha256": checksum}).status == 200


def test_a_signed_request_covers_all_headers_of_s3(cloud: Cloud, bucket: str) -> None:
    url, body = f"{cloud.aws.endpoint_url}/{bucket}/k", b"body"
    request = AWSRequest("PUT", url, headers={"x-amz-meta-a": "b"}, data=body)
    S3SigV4Auth(SigningCredentials(cloud.key.access_key, cloud.key.secret_key), "s3", REGION).add_auth(request)
    signed = dict(request.headers.items())
    assert cloud.send("PUT", url, body, headers=signed).status == 200
    refused = cloud.send("PUT", url, body, headers={**signed, "x-amz-tagging": "a=b"})
    assert refused.status == 403
    assert b"<HeadersNotSigned>x-amz-tagging</HeadersNotSigned>" in refused.body


def test_a_bucket_notifies_a_function_that_lets_it_in(cloud: Cloud, function: str, lambda_role: str) -> None:
    bucket, client = cloud.name("bucket"), cloud.client("s3")
    client.create_bucket(Bucket=bucket)
    open_function = cloud.function(lambda_role)
    cloud.client("lambda").add_permission(
        FunctionName=open_function,
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn=f"arn:aws:s3:::{bucket}",
        SourceAccount=ACCOUNT,
    )
    notify = [{"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]} for arn in (function, open_function)]
    client.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"LambdaFunctionConfigurations": notify}
    )

    client.put_object(Bucket=bucket, Key="k", Body=b"x")

    assert wait_for("decision", lambda: decided(cloud, "s3.amazonaws.com", open_function)) == [True]
    assert wait_for("decision", lambda: decided(cloud, "s3.amazonaws.com", function)) == [False]
    assert wait_for("invocation", lambda: log_lines(cloud, f"/aws/lambda/{open_function.rsplit(':', 1)[1]}"))


# guardduty


@dataclass(frozen=True)
class Protected:
    """A bucket that a plan protects below `uploads/`, and a queue that hears what was found."""

    bucket: str
    role: str
    plan: str
    queue: str


SCANNER = "malware-protection-plan.guardduty.amazonaws.com"
TAGGING = ("GetObjectTagging", "GetObjectVersionTagging", "PutObjectTagging", "PutObjectVersionTagging")


def scanner_statements(bucket: str, *without: str) -> list[dict[str, Any]]:
    """Return the statements of the guide for the role of a plan, without some actions."""
    rule = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/DO-NOT-DELETE-AmazonGuardDutyMalwareProtectionS3*"
    managed = [f"events:{name}" for name in ("PutRule", "DeleteRule", "PutTargets", "RemoveTargets")]
    on_objects = ["GetObject", "GetObjectVersion", "PutObject", *TAGGING]
    on_bucket = ["ListBucket", "GetBucketNotification", "PutBucketNotification"]
    return [
        {"Action": managed, "Resource": rule, "Condition": {"StringLike": {"events:ManagedBy": SCANNER}}},
        {"Action": ["events:DescribeRule", "events:ListTargetsByRule"], "Resource": rule},
        {
            "Action": [f"s3:{name}" for name in on_objects if name not in without],
            "Resource": f"arn:aws:s3:::{bucket}/*",
        },
        {"Action": [f"s3:{name}" for name in on_bucket if name not in without], "Resource": f"arn:aws:s3:::{bucket}"},
    ]


def protect(cloud: Cloud, bucket: str, role: str) -> str:
    """Create a plan; return its id."""
    return str(
        cloud.client("guardduty").create_malware_protection_plan(
            Role=role,
            ProtectedResource={"S3Bucket": {"BucketName": bucket, "ObjectPrefixes": ["uploads/"]}},
            Actions={"Tagging": {"Status": "ENABLED"}},
            Tags={"a": "b"},
        )["MalwareProtectionPlanId"]
    )


@pytest.fixture
def protected(cloud: Cloud, bucket: str) -> Iterator[Protected]:
    cloud.client("s3").put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    role = cloud.role(SCANNER, *scanner_statements(bucket))
    plan = protect(cloud, bucket, role)
    sqs, events, name = cloud.client("sqs"), cloud.client("events"), cloud.name("scanned")
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["aws.guardduty"], "detail": {"s3ObjectDetails": {"bucketName": [bucket]}}}
    rule = events.put_rule(Name=name, EventPattern=json.dumps(pattern))["RuleArn"]
    admit = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
    }
    policy = {"Version": "2012-10-17", "Statement": [admit]}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
    yield Protected(bucket, role, plan, queue)
    guardduty = cloud.client("guardduty")
    with contextlib.suppress(guardduty.exceptions.ResourceNotFoundException):
        guardduty.delete_malware_protection_plan(MalwareProtectionPlanId=plan)


def scan_result(cloud: Cloud, protected: Protected, key: str, content: bytes) -> tuple[Any, dict[str, str]]:
    """Put an object, wait for the event about it, and return that and the object's tags."""
    s3 = cloud.client("s3")
    s3.put_object(Bucket=protected.bucket, Key=key, Body=content)
    event = json.loads(wait_for("scan result", lambda: receive(cloud, protected.queue))["Body"])
    tags = s3.get_object_tagging(Bucket=protected.bucket, Key=key)["TagSet"]
    return event, {tag["Key"]: tag["Value"] for tag in tags}


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"harmless", "NO_THREATS_FOUND"),
        (eicar(), "THREATS_FOUND"),
        (b"before " * 9 + eicar() + b" behind", "THREATS_FOUND"),
        (eicar()[:-1] + b"?", "NO_THREATS_FOUND"),
        (zip_under_a_password(), "UNSUPPORTED"),
    ],
    ids=["harmless", "test file", "test file within", "not quite the test file", "zip under a password"],
)
def test_an_object_is_scanned_tagged_and_told(cloud: Cloud, protected: Protected, content: bytes, status: str) -> None:
    event, tags = scan_result(cloud, protected, "uploads/a b", content)
    assert tags == {"GuardDutyMalwareScanStatus": status}
    assert event["source"] == "aws.guardduty"
    assert event["detail-type"] == "GuardDuty Malware Protection Object Scan Result"
    assert event["detail"]["s3ObjectDetails"]["objectKey"] == "uploads/a b"
    assert event["detail"]["scanResultDetails"]["scanResultStatus"] == status
    assert bool(event["detail"]["scanResultDetails"]["threats"]) is (status == "THREATS_FOUND")


def test_what_the_scanner_may_not_read_or_tag_is_told_so(cloud: Cloud, protected: Protected) -> None:
    cloud.allow(protected.role, *scanner_statements(protected.bucket, "GetObject"))
    event, tags = scan_result(cloud, protected, "uploads/a", b"x")
    assert event["detail"]["scanResultDetails"]["scanResultStatus"] == "ACCESS_DENIED"
    assert tags == {"GuardDutyMalwareScanStatus": "ACCESS_DENIED"}
    cloud.allow(protected.role, *scanner_statements(protected.bucket, "PutObjectTagging"))
    event, tags = scan_result(cloud, protected, "uploads/b", b"x")
    assert event["detail"]["scanResultDetails"]["scanResultStatus"] == "NO_THREATS_FOUND"
    assert tags == {}


def test_outside_of_the_prefix_and_without_a_plan_nothing_is_scanned(cloud: Cloud, protected: Protected) -> None:
    s3, guardduty = cloud.client("s3"), cloud.client("guardduty")
    s3.put_object(Bucket=protected.bucket, Key="other", Body=eicar())
    scan_result(cloud, protected, "uploads/first", b"x")
    assert s3.get_object_tagging(Bucket=protected.bucket, Key="other")["TagSet"] == []
    assert [
        plan["MalwareProtectionPlanId"] for plan in guardduty.list_malware_protection_plans()["MalwareProtectionPlans"]
    ]
    guardduty.delete_malware_protection_plan(MalwareProtectionPlanId=protected.plan)
    with pytest.raises(guardduty.exceptions.ResourceNotFoundException):
        guardduty.get_malware_protection_plan(MalwareProtectionPlanId=protected.plan)
    s3.put_object(Bucket=protected.bucket, Key="uploads/second", Body=eicar())
    again = protect(cloud, protected.bucket, protected.role)
    scan_result(cloud, protected, "uploads/third", b"x")
    guardduty.delete_malware_protection_plan(MalwareProtectionPlanId=again)
    assert s3.get_object_tagging(Bucket=protected.bucket, Key="uploads/second")["TagSet"] == []


def test_a_plan_comes_back_as_it_was_put(cloud: Cloud, protected: Protected) -> None:
    guardduty = cloud.client("guardduty")
    where = {"MalwareProtectionPlanId": protected.plan}
    plan = guardduty.get_malware_protection_plan(**where)
    assert plan["Role"] == protected.role
    assert plan["ProtectedResource"]["S3Bucket"] == {"BucketName": protected.bucket, "ObjectPrefixes": ["uploads/"]}
    assert plan["Actions"] == {"Tagging": {"Status": "ENABLED"}}
    assert (plan["Status"], plan["Tags"]) == ("ACTIVE", {"a": "b"})
    guardduty.update_malware_protection_plan(
        **where, ProtectedResource={"S3Bucket": {"ObjectPrefixes": ["x/"]}}, Actions={"Tagging": {"Status": "DISABLED"}}
    )
    guardduty.tag_resource(ResourceArn=plan["Arn"], Tags={"c": "d"})
    guardduty.untag_resource(ResourceArn=plan["Arn"], TagKeys=["a"])
    plan = guardduty.get_malware_protection_plan(**where)
    assert plan["ProtectedResource"]["S3Bucket"]["ObjectPrefixes"] == ["x/"]
    assert plan["Actions"] == {"Tagging": {"Status": "DISABLED"}}
    assert guardduty.list_tags_for_resource(ResourceArn=plan["Arn"])["Tags"] == {"c": "d"}


@pytest.mark.parametrize("missing", ["PutObject", "GetObject", "PutObjectTagging", "ListBucket"])
def test_a_plan_needs_a_role_that_suffices(cloud: Cloud, bucket: str, missing: str) -> None:
    role = cloud.role(SCANNER, *scanner_statements(bucket, missing))
    with pytest.raises(ClientError, match="BadRequestException"):
        protect(cloud, bucket, role)
    cloud.allow(role, *scanner_statements(bucket))
    assert protect(cloud, bucket, role)
    foreign = cloud.role("lambda.amazonaws.com", *scanner_statements(bucket))
    with pytest.raises(ClientError, match="BadRequestException"):
        protect(cloud, bucket, foreign)


def test_a_plan_takes_permissions_on_itself_and_to_pass_its_role(cloud: Cloud, protected: Protected) -> None:
    plan = f"arn:aws:guardduty:{REGION}:{ACCOUNT}:malware-protection-plan/{protected.plan}"
    create = {"Effect": "Allow", "Action": "guardduty:CreateMalwareProtectionPlan", "Resource": "*"}
    read = {"Effect": "Allow", "Action": "guardduty:GetMalwareProtectionPlan", "Resource": plan}
    user = control.create_deployer(cloud.aws, {"Version": "2012-10-17", "Statement": [create, read]}, name="planner")
    limited = Cloud(cloud.aws, user, cloud.iam_log)
    assert limited.client("guardduty").get_malware_protection_plan(MalwareProtectionPlanId=protected.plan)
    with pytest.raises(ClientError, match="iam:PassRole"):
        protect(limited, protected.bucket, protected.role)


def test_a_policy_may_except_a_role_by_its_arn(cloud: Cloud, bucket: str) -> None:
    """The value of aws:PrincipalArn in the session of a role: the bucket denies everyone else."""
    reads = {"Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    admitted = cloud.role("states.amazonaws.com", reads)
    other = cloud.role("states.amazonaws.com", reads)
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {"ArnNotEquals": {"aws:PrincipalArn": [admitted]}},
    }
    s3 = cloud.client("s3")
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    head = {"Bucket": bucket, "Key": "a"}
    assert run(cloud, admitted, "arn:aws:states:::aws-sdk:s3:headObject", head)["status"] == "SUCCEEDED"
    assert run(cloud, other, "arn:aws:states:::aws-sdk:s3:headObject", head)["status"] == "FAILED"
    with pytest.raises(ClientError, match="403"):
        s3.head_object(**head)


def test_what_a_task_publishes_has_its_attributes(cloud: Cloud) -> None:
    sns, sqs = cloud.client("sns"), cloud.client("sqs")
    topic = sns.create_topic(Name=cloud.name("topic"))["TopicArn"]
    url = sqs.create_queue(QueueName=cloud.name("queue"))["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    admit = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [{**admit, "Resource": arn}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    role = cloud.role("states.amazonaws.com", {"Action": "sns:Publish", "Resource": topic})
    attributes = {"event": {"DataType": "String", "StringValue": "file_uploaded"}}
    message = {"TopicArn": topic, "Message": "x", "MessageAttributes": attributes}
    assert run(cloud, role, "arn:aws:states:::sns:publish", message)["status"] == "SUCCEEDED"
    told = json.loads(wait_for("message", lambda: receive(cloud, url))["Body"])
    assert told["MessageAttributes"] == {"event": {"Type": "String", "Value": "file_uploaded"}}


def test_a_task_may_put_a_legal_hold(cloud: Cloud) -> None:
    s3, bucket = cloud.client("s3"), cloud.name("held")
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    version = s3.put_object(Bucket=bucket, Key="a", Body=b"x")["VersionId"]
    hold = {"Bucket": bucket, "Key": "a", "LegalHold": {"Status": "ON"}}
    task = "arn:aws:states:::aws-sdk:s3:putObjectLegalHold"
    everything = f"arn:aws:s3:::{bucket}/*"
    reader = cloud.role("states.amazonaws.com", {"Action": "s3:GetObject", "Resource": everything})
    assert run(cloud, reader, task, hold)["status"] == "FAILED"
    holder = cloud.role("states.amazonaws.com", {"Action": "s3:PutObjectLegalHold", "Resource": everything})
    assert run(cloud, holder, task, hold)["status"] == "SUCCEEDED"
    assert s3.get_object_legal_hold(Bucket=bucket, Key="a")["LegalHold"] == {"Status": "ON"}
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(Bucket=bucket, Key="a", VersionId=version)


# codedeploy


@dataclass
class Releasing:
    """A function with two versions, an alias at the first, and a deployment group whose role may move it."""

    cloud: Cloud
    function: str
    role: str
    application: str
    alarm: str

    @property
    def live(self) -> str:
        alias = self.cloud.client("lambda").get_alias(FunctionName=self.function, Name="live")
        return str(alias["FunctionVersion"])

    def deploy(self) -> dict[str, Any]:
        properties = {"Name": self.function, "Alias": "live", "CurrentVersion": "1", "TargetVersion": "2"}
        resource = {"function": {"Type": "AWS::Lambda::Function", "Properties": properties}}
        content = {"content": json.dumps({"version": 0.0, "Resources": [resource]})}
        deploy = self.cloud.client("codedeploy")
        deployment = deploy.create_deployment(
            applicationName=self.application,
            deploymentGroupName="group",
            revision={"revisionType": "AppSpecContent", "appSpecContent": content},
        )["deploymentId"]
        found: dict[str, Any] = deploy.get_deployment(deploymentId=deployment)["deploymentInfo"]
        return found


@pytest.fixture
def releasing(cloud: Cloud, lambda_role: str) -> Releasing:
    functions, deploy, alarm = cloud.client("lambda"), cloud.client("codedeploy"), cloud.name("alarm")
    arn = cloud.function(lambda_role)
    name = arn.rpartition(":")[2]
    functions.publish_version(FunctionName=name)
    functions.update_function_configuration(FunctionName=name, Description="changed")
    functions.publish_version(FunctionName=name)
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    role = cloud.role(
        "codedeploy.amazonaws.com", {"Action": ["lambda:GetAlias", "lambda:UpdateAlias"], "Resource": arn}
    )
    cloud.client("cloudwatch").put_metric_alarm(
        **{"AlarmName": alarm, "Namespace": "n", "MetricName": "m", "Statistic": "Sum", "Period": 60},
        **{"EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold"},
    )
    application = cloud.name("application")
    deploy.create_application(applicationName=application, computePlatform="Lambda", tags=[{"Key": "a", "Value": "b"}])
    deploy.create_deployment_group(
        applicationName=application,
        deploymentGroupName="group",
        deploymentConfigName="CodeDeployDefault.LambdaAllAtOnce",
        serviceRoleArn=role,
        alarmConfiguration={"enabled": True, "alarms": [{"name": alarm}]},
    )
    return Releasing(cloud, name, role, application, alarm)


def test_a_deployment_moves_an_alias_to_another_version(releasing: Releasing) -> None:
    assert releasing.live == "1"

    assert releasing.deploy()["status"] == "Succeeded"

    assert releasing.live == "2"


def test_a_deployment_stops_where_an_alarm_of_its_group_is_on(releasing: Releasing) -> None:
    releasing.cloud.client("cloudwatch").set_alarm_state(
        AlarmName=releasing.alarm, StateValue="ALARM", StateReason="a test"
    )

    found = releasing.deploy()

    assert (found["status"], found["errorInformation"]["code"]) == ("Stopped", "ALARM_ACTIVE")
    assert releasing.live == "1"


def test_a_deployment_moves_nothing_that_its_role_may_not_move(releasing: Releasing) -> None:
    releasing.cloud.allow(releasing.role, {"Action": "lambda:GetAlias", "Resource": "*"})

    found = releasing.deploy()

    assert (found["status"], found["errorInformation"]["code"]) == ("Failed", "IAM_ROLE_PERMISSIONS")
    assert releasing.live == "1"


def test_a_deployment_group_comes_back_as_it_was_put(releasing: Releasing) -> None:
    deploy = releasing.cloud.client("codedeploy")
    where = {"applicationName": releasing.application}

    deploy.update_deployment_group(
        **where,
        currentDeploymentGroupName="group",
        deploymentConfigName="CodeDeployDefault.LambdaLinear10PercentEvery1Minute",
    )

    group = deploy.get_deployment_group(**where, deploymentGroupName="group")["deploymentGroupInfo"]
    assert group["deploymentConfigName"] == "CodeDeployDefault.LambdaLinear10PercentEvery1Minute"
    assert group["serviceRoleArn"] == releasing.role
    assert group["alarmConfiguration"] == {"enabled": True, "alarms": [{"name": releasing.alarm}]}
    arn = f"arn:aws:codedeploy:{REGION}:{ACCOUNT}:application:{releasing.application}"
    assert deploy.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    deploy.delete_deployment_group(**where, deploymentGroupName="group")
    deploy.delete_application(**where)
    with pytest.raises(ClientError, match="ApplicationDoesNotExistException"):
        deploy.get_application(**where)


def test_a_deployment_takes_the_permissions_that_codedeploy_lists(releasing: Releasing) -> None:
    here = f"arn:aws:codedeploy:{REGION}:{ACCOUNT}"
    every = {
        "codedeploy:CreateDeployment": f"{here}:deploymentgroup:{releasing.application}/group",
        "codedeploy:GetDeployment": f"{here}:deploymentgroup:{releasing.application}/group",
        "codedeploy:GetDeploymentConfig": f"{here}:deploymentconfig:CodeDeployDefault.LambdaAllAtOnce",
        "codedeploy:RegisterApplicationRevision": f"{here}:application:{releasing.application}",
    }
    for missing in [*every][:1] + [*every][2:]:
        named = [{"Action": action, "Resource": resource} for action, resource in every.items() if action != missing]
        user = control.create_deployer(releasing.cloud.aws, may(*named), name="releaser")
        with pytest.raises(ClientError, match=f"not authorized to perform: {missing}"):
            Releasing(Cloud(releasing.cloud.aws, user, releasing.cloud.iam_log), *_rest(releasing)).deploy()
    named = [{"Action": action, "Resource": resource} for action, resource in every.items()]
    user = control.create_deployer(releasing.cloud.aws, may(*named), name="releaser")

    released = Releasing(Cloud(releasing.cloud.aws, user, releasing.cloud.iam_log), *_rest(releasing)).deploy()

    assert released["status"] == "Succeeded"


def _rest(releasing: Releasing) -> tuple[str, str, str, str]:
    return releasing.function, releasing.role, releasing.application, releasing.alarm


# waf


def test_the_log_of_a_firewall_is_kept_and_goes_with_it(cloud: Cloud) -> None:
    waf, name = cloud.client("wafv2"), cloud.name("acl")
    visible = {"SampledRequestsEnabled": True, "CloudWatchMetricsEnabled": True, "MetricName": name}
    acl = waf.create_web_acl(Name=name, Scope="REGIONAL", DefaultAction={"Allow": {}}, VisibilityConfig=visible)[
        "Summary"
    ]
    wanted = {
        "ResourceArn": acl["ARN"],
        "LogDestinationConfigs": ["arn:aws:logs:us-east-1:000000000000:log-group:aws-waf-logs-a"],
    }

    waf.put_logging_configuration(LoggingConfiguration=wanted)

    kept = waf.get_logging_configuration(ResourceArn=acl["ARN"])["LoggingConfiguration"]
    assert {key: kept[key] for key in wanted} == wanted
    waf.delete_web_acl(Name=name, Scope="REGIONAL", Id=acl["Id"], LockToken=acl["LockToken"])
    with pytest.raises(ClientError, match="WAFNonexistentItemException"):
        waf.get_logging_configuration(ResourceArn=acl["ARN"])
