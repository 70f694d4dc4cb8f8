"""The API with an issuer's tokens: a small stack of the same modules on the embedded AWS, and an issuer on loopback."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import jwt
import pytest
from cdktf import App, TerraformOutput
from constructs import Construct
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from functions.common.contract import TOKEN_REFUSED
from functions.common.records import FileRecord, Quota, Records
from modules.alarms import count_lines
from modules.api import Api
from modules.api_stage import ACCESS_LOG_PREFIX, EXECUTION_LOG_PREFIX
from modules.authorization import Authorization, Authorizer
from modules.encryption import CustomerKey, admit_logs
from modules.functions import Function, Layer, Shared, Sources
from modules.queues import Queue
from modules.settings import Settings
from modules.tables import Metadata
from stacks.base import BaseStack
from tests.e2e.answers import Answer, fetch
from tests.e2e.conftest import wait_for
from tests.synth.conftest import settings_of, sources_for
from tools.develop.layers import host_runtime
from tools.develop.local import LocalSystem
from tools.embedded_aws import control
from tools.embedded_aws.control import EmbeddedAws
from tools.embedded_aws.layout import LOOPBACK, Layout
from tools.operate.terraform import Terraform

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Queues and their policies alone take the provider 50 seconds.
pytestmark = pytest.mark.slow

AUDIENCE = "sluice"
OWNER = "ann"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
LOG_GROUP = "/aws/lambda/sluice-local-authorizer"


class Issuer:
    """An OpenID provider of two documents, over HTTPS on loopback, that can go away and come back."""

    def __init__(self, tls: Path) -> None:
        """
        Args:
            tls: folder of a certificate for loopback, and its key.
        """
        self._trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._trust.load_cert_chain(tls / "server.pem", tls / "server.key")
        self._port = 0
        self.start()
        self.url = f"https://{LOOPBACK}:{self._port}"

    def start(self) -> None:
        issuer = self

        class Documents(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = issuer.document(self.path)
                self.send_response(200 if content else 404)
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name in http.server
                pass

        self._server = ThreadingHTTPServer((LOOPBACK, self._port), Documents)
        self._server.socket = self._trust.wrap_socket(self._server.socket, server_side=True)
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def document(self, path: str) -> dict[str, Any]:
        key = {**json.loads(RSAAlgorithm.to_jwk(KEY.public_key())), "kid": "one", "use": "sig", "alg": "RS256"}
        documents: dict[str, dict[str, Any]] = {
            "/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/keys"},
            "/keys": {"keys": [key]},
        }
        return documents.get(path, {})


class TokensStack(BaseStack):
    """The resources between a token and a file's record, wired as in the platform; no bucket, no workflow."""

    def __init__(self, scope: Construct, *, settings: Settings, sources: Sources) -> None:
        super().__init__(scope, settings=settings)

        def key(name: str, service: str) -> CustomerKey:
            return CustomerKey(self, f"{name}_key", foundation=self.foundation, purpose=name, service=service)

        groups = [f"{prefix}{settings.prefix}-" for prefix in ("/aws/lambda/", ACCESS_LOG_PREFIX)]
        logs_key = CustomerKey(
            self,
            "logs_key",
            foundation=self.foundation,
            purpose="logs",
            service="logs",
            admit=[admit_logs(self.foundation, [*groups, EXECUTION_LOG_PREFIX])],
        )
        queues_key = key("queues", "sqs")
        shared = Shared(
            foundation=self.foundation,
            sources=sources,
            layer=Layer(self, "layer", foundation=self.foundation, sources=sources),
            environment_key=key("variables", "lambda"),
            logs_key=logs_key,
            queues_key=queues_key,
            failures=Queue(self, "failures", foundation=self.foundation, name="failures", key=queues_key),
        )
        metadata = Metadata(self, "metadata", foundation=self.foundation, key=key("records", "dynamodb"))
        authorizer = Authorizer(
            self,
            "authorizer",
            shared=shared,
            description="Checks the tokens of the API's callers",
            environment={"JWT_ISSUER": settings.jwt_issuer or "", "JWT_AUDIENCE": settings.jwt_audience or ""},
        )
        files = Function(
            self,
            "files",
            shared=shared,
            description="Knows the owner of a file",
            # A link is signed without a look at the bucket.
            environment={
                "BUCKET_NAME": "there-is-none",
                "TABLE_NAME": metadata.files.name,
                "QUOTAS_TABLE_NAME": metadata.quotas.name,
                "MAX_UPLOAD_BYTES": str(settings.max_upload_bytes),
                "ALLOWED_CONTENT_TYPES": ",".join(settings.allowed_content_types),
                "QUOTA_BYTES": str(settings.quota_bytes),
                "QUOTA_FILES": str(settings.quota_files),
                "DISCARD_FUNCTION_ARN": "arn:aws:lambda:us-east-1:000000000000:function:none:live",
            },
        )
        metadata.grant_read(files.role)
        authorization = Authorization(
            self, "authorization", foundation=self.foundation, kind="jwt", function=authorizer
        )
        routes = [("GET", "/files/{file_id}/content")]
        api = Api(
            self,
            "api",
            settings=settings,
            authorization=authorization,
            known_routes=routes,
            logs_key=logs_key,
            origins=settings.cors_allowed_origins,
        )
        api.health_check()  # no API without one, says a guard
        api.route("GET", "/files/{file_id}/content", files)
        published = api.publish()
        count_lines(self, authorizer.refused, prefix=settings.prefix)
        TerraformOutput(self, "api_url", value=published.invoke_url, description="Address of the API's stage.")
        TerraformOutput(self, "quotas_table_name", value=metadata.quotas.name, description="Table of the quotas.")
        TerraformOutput(self, "table_name", value=metadata.files.name, description="Table of the records.")


@dataclass(frozen=True)
class Small:
    """The small stack as Terraform made it, and a file that the owner may have."""

    aws: EmbeddedAws
    issuer: Issuer
    terraform: Terraform
    url: str
    iam_log: Path

    def ask(self, token: str | None) -> Answer:
        """Ask for the file's content with a token."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        request = urllib.request.Request(f"{self.url}/files/1/content", headers=headers)
        return fetch(request, self.aws.ca_bundle)

    def token(
        self,
        key: Any = KEY,  # noqa: ANN401 - whatever PyJWT signs with
        *,
        alg: str | None = "RS256",
        kid: str = "one",
        **changed: object,
    ) -> str:
        """A right token, but for what is changed. No two are the same: API Gateway remembers decisions by token."""
        claims = {"iss": self.issuer.url, "aud": AUDIENCE, "sub": OWNER, "exp": int(time.time()) + 600}
        return jwt.encode({**claims, "jti": uuid.uuid4().hex, **changed}, key, algorithm=alg, headers={"kid": kid})

    def logged(self) -> list[str]:
        """The lines of the authorizer's log."""
        logs = boto3.client("logs", **root(self.aws))
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=LOG_GROUP)
        return [event["message"] for page in pages for event in page["events"]]

    def refused(self) -> int:
        """How many lines the metric filter counts: those that are JSON and have this message."""
        lines = [json.loads(line) for line in self.logged() if line.startswith("{")]
        return sum(line["message"] == TOKEN_REFUSED for line in lines)

    def failed(self, error: str) -> int:
        """How many invocations of the authorizer failed with an error of this name, as Lambda logs it."""
        return sum(line.startswith(f"[ERROR] {error}: ") for line in self.logged())


def root(aws: EmbeddedAws) -> Any:  # noqa: ANN401 - options of boto3, which differ by service
    return {
        "endpoint_url": aws.endpoint_url,
        "verify": str(aws.ca_bundle),
        "region_name": aws.region,
        "aws_access_key_id": control.ROOT.access_key,
        "aws_secret_access_key": control.ROOT.secret_key,
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """An embedded AWS of its own, since names are those of `local`; the state in a file."""
    folder = tmp_path_factory.mktemp("jwt")
    iam_log = folder / "iam.jsonl"
    system = LocalSystem(folder / "local")
    try:
        aws = system.start(iam_log=iam_log)
        issuer = Issuer(Layout(aws.directory).tls)
        try:
            terraform = deploy(folder / "cdktf.out", system, aws, issuer)
            outputs = terraform.outputs()
            dynamodb: DynamoDBClient = boto3.client("dynamodb", **root(aws))
            records = Records(dynamodb, outputs["table_name"], outputs["quotas_table_name"])
            file = ("text/plain", 1, "checksum", "uploads/1", "available", "2026-01-01T00:00:00.000Z", "https://file")
            record = FileRecord("1", f"user:{OWNER}", "a.txt", *file)  # type: ignore[arg-type]
            records.create(record, quota=Quota(1, 1), now=datetime.now(UTC))
            api_id = outputs["api_url"].removeprefix("https://").partition(".")[0]
            yield Small(aws, issuer, terraform, aws.api_url(api_id, "v1").rstrip("/"), iam_log)
        finally:
            issuer.stop()
    finally:
        system.stop()


def deploy(folder: Path, system: LocalSystem, aws: EmbeddedAws, issuer: Issuer) -> Terraform:
    """Synthesize and apply the small stack as the deployer of the whole one."""
    runtime, architecture = host_runtime()
    settings = settings_of(
        "local",
        aws_endpoint_url=aws.endpoint_url,
        lambda_runtime=runtime,
        lambda_architecture=architecture,
        api_authorization="jwt",
        jwt_issuer=issuer.url,
        jwt_audience=AUDIENCE,
    )
    app = App(outdir=str(folder))
    TokensStack(app, settings=settings, sources=sources_for(folder, settings))
    app.synth()
    stack = folder / "stacks" / settings.prefix
    backend = {"terraform": {"backend": {"local": {"path": "small.tfstate"}}}}
    (stack / "backend_override.tf.json").write_text(json.dumps(backend))
    terraform = Terraform(stack, system.variables(aws))
    terraform.init()
    terraform.plan()
    terraform.apply()
    return terraform


def test_the_bearer_of_a_right_token_is_its_subject(small: Small) -> None:
    owner = small.ask(small.token())
    assert owner.status == 200
    assert "/uploads/1?" in owner.json["download_url"]
    other = small.ask(small.token(sub="bob"))
    assert (other.status, other.json["detail"]) == (404, "No such file")


def part(value: object) -> str:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def unsigned(small: Small, signature: str) -> str:
    return f"{part({'alg': 'none', 'kid': 'one'})}.{small.token().split('.')[1]}.{signature}"


def signed_with_the_public_key(small: Small) -> str:
    """HMAC with what everyone knows: the forgery that a list with both RS256 and HS256 lets in."""
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{part({'alg': 'HS256', 'kid': 'one'})}.{small.token().split('.')[1]}"
    return f"{signed}.{part(hmac.new(public, signed.encode(), hashlib.sha256).digest())}"


def tampered(small: Small) -> str:
    header, _, signature = small.token().split(".")
    return f"{header}.{small.token().split('.')[1]}.{signature}"


WRONG: dict[str, Callable[[Small], str]] = {
    "signed by someone else": lambda small: small.token(OTHER_KEY),
    "tampered": tampered,
    "other audience": lambda small: small.token(aud="other"),
    "other issuer": lambda small: small.token(iss="https://issuer.example.com"),
    "expired": lambda small: small.token(exp=int(time.time()) - 60),
    "alg none": lambda small: unsigned(small, "AAAA"),
    "HS256 with the public key": signed_with_the_public_key,
    "unknown kid": lambda small: small.token(kid="two"),
}


def is_unauthorized(answered: Answer) -> bool:
    return (answered.status, answered.json["error"], answered.headers.get("www-authenticate")) == (
        401,
        "Unauthorized",
        "Bearer",
    )


@pytest.mark.parametrize("wrong", WRONG)
def test_every_other_token_is_a_401_and_counted_as_refused(small: Small, wrong: str) -> None:
    refused, failed = small.refused(), small.failed("Unauthorized")
    assert is_unauthorized(small.ask(WRONG[wrong](small)))
    wait_for(lambda: (small.refused(), small.failed("Unauthorized")) == (refused + 1, failed + 1))


def test_what_is_no_token_is_a_401_before_a_function_is_paid_for(small: Small) -> None:
    lines = len(small.logged())
    for token in (None, "", "a.b", unsigned(small, "")):
        assert is_unauthorized(small.ask(token)), token
    assert len(small.logged()) == lines


def test_an_issuer_that_is_down_is_a_500_and_lets_nobody_in(small: Small) -> None:
    # After a failed invocation the next one starts anew, without the keys (docs/emulator.md, trap 7).
    before = small.refused()
    assert is_unauthorized(small.ask(WRONG["other audience"](small)))
    wait_for(lambda: small.refused() == before + 1)
    assert small.failed("IssuerError") == 0
    small.issuer.stop()
    try:
        for token in (small.token(), WRONG["signed by someone else"](small)):
            answered = small.ask(token)
            assert answered.status == 500
            assert (answered.json["error"], bool(answered.json["request_id"])) == ("Internal server error", True)
    finally:
        small.issuer.start()
    # What the alarm on the authorizer tells apart: these are errors, and no refused tokens.
    wait_for(lambda: small.failed("IssuerError") == 2)
    assert small.refused() == before + 1
    assert small.ask(small.token()).status == 200


def test_the_deployer_of_the_platform_may_do_it_and_a_second_plan_is_empty(small: Small) -> None:
    assert str(small.terraform.plan()) == "No changes"
    decisions = [json.loads(line) for line in small.iam_log.read_text().splitlines()]
    assert "logs:PutMetricFilter" in {decision["action"] for decision in decisions}
    denied = [
        decision
        for decision in decisions
        if not decision["allowed"]
        and ("user/deployer" in str(decision["principal"]) or ":assumed-role/" in str(decision["principal"]))
    ]
    assert denied == []
