"""The stage after a change of the API serves added routes, and does not serve removed ones."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cdktf import App, TerraformOutput
from constructs import Construct

from modules.api import Api
from modules.api_stage import ACCESS_LOG_PREFIX, EXECUTION_LOG_PREFIX
from modules.authorization import Authorization
from modules.encryption import CustomerKey, admit_logs
from modules.functions import Function, Layer, Shared, Sources
from modules.queues import Queue
from modules.settings import Settings
from stacks.base import BaseStack
from tests.e2e.answers import Answer, fetch
from tests.synth.conftest import settings_of, sources_for
from tools.develop.layers import host_runtime
from tools.develop.local import LocalSystem
from tools.embedded_aws import control
from tools.embedded_aws.control import EmbeddedAws
from tools.operate.terraform import Terraform

pytestmark = pytest.mark.slow

PAGE, OTHER_PAGE = "https://app.example.com", "https://other.example.com"
ROUTES = (("GET", "/health/deep"), ("POST", "/health/deep"))


class RoutesStack(BaseStack):
    """An API with the routes that it is given, and one function behind them."""

    def __init__(
        self, scope: Construct, *, settings: Settings, sources: Sources, routes: tuple[tuple[str, str], ...]
    ) -> None:
        super().__init__(scope, settings=settings)
        groups = [f"{prefix}{settings.prefix}-" for prefix in ("/aws/lambda/", ACCESS_LOG_PREFIX)]
        admitted = [admit_logs(self.foundation, [*groups, EXECUTION_LOG_PREFIX])]
        logs_key = CustomerKey(
            self, "logs_key", foundation=self.foundation, purpose="logs", service="logs", admit=admitted
        )
        queues_key = CustomerKey(self, "queues_key", foundation=self.foundation, purpose="queues", service="sqs")
        shared = Shared(
            foundation=self.foundation,
            sources=sources,
            layer=Layer(self, "layer", foundation=self.foundation, sources=sources),
            environment_key=CustomerKey(self, "key", foundation=self.foundation, purpose="variables", service="lambda"),
            logs_key=logs_key,
            queues_key=queues_key,
            failures=Queue(self, "failures", foundation=self.foundation, name="failures", key=queues_key),
        )
        health = Function(
            self,
            "health",
            shared=shared,
            description="Answers that all is down, since nothing is there",
            environment={"BUCKET_NAME": "there-is-none", "TABLE_NAME": "there-is-none"},
        )
        authorization = Authorization(
            self,
            "authorization",
            foundation=self.foundation,
            kind=settings.api_authorization,
            plain_passwords=settings.is_local,
        )
        api = Api(
            self,
            "api",
            settings=settings,
            authorization=authorization,
            known_routes=ROUTES,
            logs_key=logs_key,
            origins=settings.cors_allowed_origins,
        )
        api.health_check()
        for method, path in routes:
            api.route(method, path, health)
        published = api.publish()
        TerraformOutput(self, "api_url", value=published.invoke_url, description="Address of the API's stage.")


class System:
    """The small stack on an embedded AWS of its own, applied again and again."""

    def __init__(self, folder: Path, system: LocalSystem, aws: EmbeddedAws) -> None:
        self._folder, self._system, self._aws = folder, system, aws
        self._url = ""
        self._initialised = False

    def apply(self, *origins: str, routes: tuple[tuple[str, str], ...] = ROUTES) -> Terraform:
        """Apply the stack with some origins and routes; a second plan is empty."""
        runtime, architecture = host_runtime()
        settings = settings_of(
            "local",
            aws_endpoint_url=self._aws.endpoint_url,
            lambda_runtime=runtime,
            lambda_architecture=architecture,
            api_authorization="iam",
            enable_website=False,
            cors_allowed_origins=list(origins),
        )
        app = App(outdir=str(self._folder))
        RoutesStack(app, settings=settings, sources=sources_for(self._folder, settings), routes=routes)
        app.synth()
        stack = self._folder / "stacks" / settings.prefix
        backend = {"terraform": {"backend": {"local": {"path": "small.tfstate"}}}}
        (stack / "backend_override.tf.json").write_text(json.dumps(backend))
        terraform = Terraform(stack, self._system.variables(self._aws))
        if not self._initialised:
            terraform.init()
            self._initialised = True
        terraform.plan()
        terraform.apply()
        assert str(terraform.plan()) == "No changes"
        api_id = terraform.outputs()["api_url"].removeprefix("https://").partition(".")[0]
        self._url = self._aws.api_url(api_id, "v1").rstrip("/")
        return terraform

    def ask(self, method: str, path: str, *, signed: bool = True, **headers: str) -> Answer:
        """Send a request, signed by a user with all permissions."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self._url}{path}"
        request = AWSRequest(method, url, headers=named)
        if signed:
            key = Credentials(control.ROOT.access_key, control.ROOT.secret_key)
            SigV4Auth(key, "execute-api", self._aws.region).add_auth(request)
        prepared = urllib.request.Request(url, headers=dict(request.headers.items()), method=method)
        return fetch(prepared, self._aws.ca_bundle)

    def preflight(self, path: str) -> Answer:
        """Send the preflight of a browser."""
        return self.ask("OPTIONS", path, signed=False, Origin=PAGE, Access_Control_Request_Method="GET")


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """An embedded AWS of its own, since names are those of `local`; the state in a file."""
    local = LocalSystem(tmp_path / "local")
    try:
        yield System(tmp_path / "cdktf.out", local, local.start())
    finally:
        local.stop()


def test_what_is_taken_away_is_not_served_any_more(system: System) -> None:
    system.apply()
    for path in ("/health", "/health/deep"):
        assert system.preflight(path).is_problem(403, "Missing Authentication Token")
    served = system.ask("GET", "/health/deep")
    assert (served.status, served.json["parts"]) == (503, {"records": "down", "files": "down"})
    # The gateway's own answers take no other type of content; on AWS it would be a 500.
    assert system.ask("GET", "/health", signed=False).status == 200
    assert system.ask("GET", "/health", signed=False, Content_Type="text/plain").status == 415

    system.apply(PAGE)
    for path in ("/health", "/health/deep"):
        answer = system.preflight(path)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, PAGE)
        assert "x-amz-content-sha256" in answer.headers["access-control-allow-headers"].lower()

    system.apply(OTHER_PAGE)
    assert system.preflight("/health/deep").headers["access-control-allow-origin"] == OTHER_PAGE

    # Preflights and a route are removed; the other route of the path stays.
    system.apply(routes=(("POST", "/health/deep"),))
    for path in ("/health", "/health/deep"):
        answer = system.preflight(path)
        assert answer.is_problem(403, "Missing Authentication Token")
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert system.ask("GET", "/health/deep").is_problem(403, "Missing Authentication Token")
    assert system.ask("GET", "/health", signed=False).status == 200

    system.apply(PAGE)
    assert system.preflight("/health/deep").status == 200
    assert system.ask("GET", "/health/deep").status == 503
