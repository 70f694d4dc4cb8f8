"""What the stage serves after a change of the API: what was added is there, and what was taken away is not."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cdktf import App

from modules.api import Api
from modules.functions import Sources
from modules.settings import load
from stacks.uploads import UploadsStack
from tests.conftest import ROOT
from tests.e2e.answers import Answer, fetch
from tests.e2e.conftest import Deployed
from tools.terraform import Terraform

pytestmark = pytest.mark.slow

PAGE = "https://app.example.com"
Apply = Callable[..., Terraform]


@pytest.fixture
def apply(deployed: Deployed) -> Iterator[Apply]:
    """Applies the platform of the session as it would be with other settings, or without some routes."""
    before = dict(deployed.system.settings)

    def change(*, without: tuple[str, str] | None = None, **settings: str) -> Terraform:
        deployed.system.settings |= settings
        terraform = deployed.system.synthesize(deployed.aws)
        if without is not None:
            synthesize_without(without, deployed)
        deployed.system.apply(terraform)
        return terraform

    try:
        yield change
    finally:
        deployed.system.settings = before
        deployed.system.apply(deployed.system.synthesize(deployed.aws))


def synthesize_without(route: tuple[str, str], deployed: Deployed) -> None:
    """Synthesize over what is there, as if the line of a route had been deleted."""
    folder = deployed.terraform.folder.parents[1]
    with pytest.MonkeyPatch.context() as patched:
        for name, value in deployed.system.variables(deployed.aws).items():
            patched.setenv(name, value)
        original = Api.route

        def others(self: Api, method: str, path: str, *arguments: object, **options: object) -> None:
            if (method, path) != route:
                original(self, method, path, *arguments, **options)  # type: ignore[arg-type]

        patched.setattr(Api, "route", others)
        settings = load(ROOT / "environments")
        app = App(outdir=str(folder))
        output = Path(app.outdir).resolve() / "stacks" / settings.prefix
        sources = Sources(functions=ROOT / "functions", layers=ROOT / ".build" / "layers", output=output)
        UploadsStack(app, settings=settings, sources=sources)
        app.synth()


def preflight(deployed: Deployed, path: str, origin: str = PAGE) -> Answer:
    """What a browser asks before a page of another origin may call."""
    headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    request = urllib.request.Request(f"{deployed.api.url}{path}", headers=headers, method="OPTIONS")
    return fetch(request, deployed.aws.ca_bundle)


def test_origins_are_changed_taken_away_and_given_back(deployed: Deployed, apply: Apply) -> None:
    apply(CORS_ALLOWED_ORIGINS=json.dumps([PAGE]))
    for path in ("/files", "/files/1/content", "/upload"):
        answer = preflight(deployed, path)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, PAGE), path

    terraform = apply(CORS_ALLOWED_ORIGINS="[]")
    for path in ("/files", "/files/1/content", "/upload"):
        answer = preflight(deployed, path)
        assert (answer.status, answer.json["error"]) == (404, "No such path or method"), path
        assert not [name for name in answer.headers if name.lower().startswith("access-control")], path
    assert deployed.api.request("GET", "/files")[0] == 200
    assert str(terraform.plan()) == "No changes"

    apply(CORS_ALLOWED_ORIGINS=json.dumps([PAGE, "https://other.example.com"]))
    assert preflight(deployed, "/files").status == 200


def test_a_wrong_type_of_content_is_no_failure_of_ours(deployed: Deployed) -> None:
    request = urllib.request.Request(f"{deployed.api.url}/health", headers={"Content-Type": "text/plain"})
    answer = fetch(request, deployed.aws.ca_bundle)
    assert answer.is_problem(415, "Unsupported media type; send no Content-Type, or application/json")


def test_an_id_that_no_file_can_have_is_not_there(deployed: Deployed) -> None:
    for file_id in ("%22", "a" * 2100, "%00", "%F0%9F%98%80", "%ff", "a%20b"):
        for method, path in (("GET", "files/{}"), ("GET", "uploads/{}"), ("DELETE", "files/{}")):
            status, body = deployed.api.request(method, f"/{path.format(file_id)}")
            assert (status, json.loads(body)["detail"]) == (404, "No such file"), (method, file_id)


def test_a_route_that_was_deleted_is_closed_by_the_next_apply(deployed: Deployed, apply: Apply) -> None:
    assert deployed.api.request("GET", "/files/nothing/content")[0] == 404
    file_id = deployed.upload()
    terraform = apply(without=("GET", "/files/{file_id}/content"))
    status, body = deployed.api.request("GET", f"/files/{file_id}/content")
    assert (status, json.loads(body)["error"]) == (404, "No such path or method")
    assert preflight(deployed, f"/files/{file_id}/content", "http://localhost:8000").status == 404
    assert deployed.api.request("GET", f"/files/{file_id}")[0] == 200
    assert str(terraform.plan()) == "No changes"
