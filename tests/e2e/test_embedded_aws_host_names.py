"""An embedded AWS at AWS's own host names, behind its proxy: neither clients nor functions know an endpoint."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.e2e.account import ACCOUNT, Account, account
from tools.embedded_aws.control import Credentials

FUNCTION = """
import json, os
import boto3

def handler(event, context):
    if event.get("bucket"):
        boto3.client("s3").put_object(Bucket=event["bucket"], Key="from a function", Body=b"x")
    names = sorted(name for name in os.environ if "ENDPOINT" in name or name.endswith("PROXY"))
    body = {"names": names, "domain": event.get("requestContext", {}).get("domainName")}
    return {"statusCode": 200, "body": json.dumps(body)}
"""


@pytest.fixture(scope="module")
def somewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with account(tmp_path_factory.mktemp("account")) as opened:
        yield opened


@pytest.fixture(scope="module")
def user(somewhere: Account) -> Credentials:
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    return somewhere.deployer(json.dumps(everything, indent=2))


@pytest.fixture(scope="module")
def session(somewhere: Account, user: Credentials) -> boto3.Session:
    return somewhere.session(user)


def get(somewhere: Account, url: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Return the answer to an HTTPS client with the proxy; the client resolves no host name of AWS."""
    try:
        with somewhere.opener().open(urllib.request.Request(url, data=body), timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_each_host_name_leads_to_its_service_in_the_account(session: boto3.Session) -> None:
    assert session.client("sts").get_caller_identity()["Account"] == ACCOUNT
    assert [each["UserName"] for each in session.client("iam").list_users()["Users"]] == ["deployer"]
    assert session.client("sqs", region_name="eu-west-1").create_queue(QueueName="q")["QueueUrl"]
    session.client("dynamodb", region_name="eu-west-1").list_tables()
    (key,) = [session.client("kms", region_name="eu-west-1").create_key()["KeyMetadata"]["Arn"]]
    assert key.startswith(f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/")


@pytest.mark.parametrize("style", ["virtual", "path"])
@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_a_bucket_answers_at_its_own_name_and_links_to_it_are_good(
    somewhere: Account, session: boto3.Session, region: str, style: str
) -> None:
    bucket, name = f"files-{region}-{style}", "a name with blanks+plus/ünïcode"
    regional = f"https://s3.{region}.amazonaws.com"
    config = Config(signature_version="s3v4", s3={"addressing_style": style})  # type: ignore[arg-type]
    s3 = session.client("s3", region_name=region, endpoint_url=regional, config=config)
    constraint = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=bucket, **constraint)  # type: ignore[arg-type]

    s3.put_object(Bucket=bucket, Key=name, Body=b"bytes")
    link = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": name})

    assert link.startswith(f"https://{bucket}.s3.{region}." if style == "virtual" else f"{regional}/{bucket}/")
    assert get(somewhere, link) == (200, b"bytes")
    status, answer = get(somewhere, link.replace("name", "game"))
    assert (status, b"SignatureDoesNotMatch" in answer) == (403, True)


def test_a_wrong_secret_is_refused(somewhere: Account, user: Credentials) -> None:
    other = somewhere.session(Credentials(user.access_key, "x" * 40))

    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        other.client("sts").get_caller_identity()


@pytest.fixture(scope="module")
def function(session: boto3.Session) -> str:
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam = session.client("iam")
    role = iam.create_role(
        RoleName="function", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    statement = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName="function", PolicyName="p", PolicyDocument=document)
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("main.py", FUNCTION)
    return session.client("lambda").create_function(
        FunctionName="f", Runtime="python3.11", Handler="main.handler", Role=role, Code={"ZipFile": code.getvalue()}
    )["FunctionArn"]


def test_a_function_reaches_aws_and_knows_no_endpoint(session: boto3.Session, function: str) -> None:
    s3 = session.client("s3")
    s3.create_bucket(Bucket="of-functions")

    answer = session.client("lambda").invoke(FunctionName=function, Payload=b'{"bucket": "of-functions"}')

    said = json.loads(json.loads(answer["Payload"].read())["body"])
    assert said["names"] == ["HTTPS_PROXY", "NO_PROXY"]
    assert [each["Key"] for each in s3.list_objects_v2(Bucket="of-functions")["Contents"]] == ["from a function"]


def test_an_api_answers_at_its_own_name_and_tells_functions_that(
    somewhere: Account, session: boto3.Session, function: str
) -> None:
    gateway = session.client("apigateway")
    api = gateway.create_rest_api(name="api")["id"]
    root = gateway.get_resources(restApiId=api)["items"][0]["id"]
    where = {"restApiId": api, "resourceId": root, "httpMethod": "GET"}
    gateway.put_method(**where, authorizationType="NONE")  # type: ignore[arg-type]
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function}/invocations"
    gateway.put_integration(**where, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)  # type: ignore[arg-type]
    session.client("lambda").add_permission(
        FunctionName=function, StatementId="api", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com"
    )
    gateway.create_deployment(restApiId=api, stageName="v1")
    domain = f"{api}.execute-api.us-east-1.amazonaws.com"

    status, answer = get(somewhere, f"https://{domain}/v1/")

    assert status == 200, answer
    assert json.loads(answer)["domain"] == domain


def test_a_name_without_a_certificate_is_not_trusted(somewhere: Account) -> None:
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        get(somewhere, "https://a.b.c.amazonaws.com/")


def test_a_host_out_of_reach_is_told_so(somewhere: Account) -> None:
    with pytest.raises(OSError, match="502 Bad Gateway"):
        get(somewhere, "https://nowhere.invalid/")
