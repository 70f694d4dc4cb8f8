"""The meter of the page in a real browser: how much of the quota is used, as a stand-in of the API says."""

from __future__ import annotations

import json
import mimetypes
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, Route, expect

from synthesis.paths import ROOT
from tests.npm import npm

ORIGIN, API = "https://page.example", "https://page.example/api"
ISSUER = "https://issuer.example"
SIGN_IN = {
    "issuer": ISSUER,
    "client_id": "page",
    "sends": "id_token",
    "endpoints": {"authorization_endpoint": f"{ISSUER}/authorize", "token_endpoint": f"{ISSUER}/token"},
}
LIMITS = {"max_upload_bytes": 10**9, "allowed_content_types": ["*/*"]}
FILE = {
    "file_id": "0b9f9a5e-4f0a-4d57-9a3c-0f6f1f3a2b10",
    "file_name": "hello.txt",
    "size": 15,
    "content_type": "text/plain",
    "state": "available",
    "upload_time": "2026-11-25T09:00:00.000+00:00",
}


def quota(used_bytes: int, used_files: int) -> dict[str, int]:
    return {
        "used_bytes": used_bytes,
        "used_files": used_files,
        "quota_bytes": 50 * 2**30,
        "quota_files": 10_000,
        "left_bytes": 50 * 2**30 - used_bytes,
        "left_files": 10_000 - used_files,
    }


class Stand:
    """A stand-in of the API. A quota of None stands for an API that refuses to tell it."""

    def __init__(self, page: Path) -> None:
        self._page = page
        self.files = [FILE]
        self.quota: dict[str, int] | None = quota(0, 0)
        self.asked: list[str] = []

    def answer(self, route: Route) -> None:
        """Answer a request of the page."""
        path = route.request.url.removeprefix(f"{ORIGIN}/").partition("?")[0]
        if path == "config.json":
            route.fulfill(json={"api": API, "sign_in": SIGN_IN, "limits": LIMITS})
        elif path.startswith("api/"):
            call = f"{route.request.method} {path.removeprefix('api')}"
            self.asked.append(call)
            if call == "GET /files":
                route.fulfill(json={"files": self.files, "cursor": None})
            elif call == "GET /quota" and self.quota:
                route.fulfill(json=self.quota)
            elif call == f"DELETE /files/{FILE['file_id']}":
                self.files = []
                route.fulfill(status=204)
            else:
                route.fulfill(status=403, json={"type": "urn:sluice:problem:forbidden", "detail": "Forbidden"})
        else:
            file = self._page / (path or "index.html")
            route.fulfill(path=file, content_type=mimetypes.guess_type(file)[0])


@pytest.fixture(scope="module")
def chromium(playwright: Playwright, browser_program: Path) -> Iterator[Browser]:
    with playwright.chromium.launch(executable_path=browser_program) as started:
        yield started


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "page"
    npm(ROOT / "web", "run", "--silent", "build", WEB_OUT=str(folder))
    return folder


@pytest.fixture
def stand(built: Path) -> Stand:
    return Stand(built)


@pytest.fixture
def come(chromium: Browser, stand: Stand) -> Iterator[Callable[..., Page]]:
    """Lets someone who has signed in open the page; in the end, no error may be left uncaught."""
    contexts = []
    errors: list[str] = []

    def come(locale: str = "en-GB", languages: Sequence[str] | None = None) -> Page:
        context = chromium.new_context(locale=locale)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        session: dict[str, Any] = {
            "id_token": "token",
            "access_token": "token",
            "token_type": "Bearer",
            "profile": {"sub": "ann", "email": "ann@example.com"},
            "expires_at": int(time.time()) + 3600,
        }
        stored = json.dumps([f"oidc.user:{ISSUER}:page", json.dumps(session)])
        page.add_init_script(f"sessionStorage.setItem(...{stored})")
        if languages is not None:
            page.add_init_script(
                f"Object.defineProperty(navigator, 'languages', {{ get: () => {json.dumps(languages)} }})"
            )
        page.route(re.compile(re.escape(ORIGIN)), stand.answer)
        page.goto(f"{ORIGIN}/")
        expect(page.get_by_text("ann@example.com")).to_be_visible()
        return page

    yield come
    for context in contexts:
        context.close()
    assert errors == []


@pytest.mark.parametrize(
    ("locale", "name", "words"),
    [
        ("en-GB", "Used quota", "Used: 1.5 GB of 50 GB, 14 of 10,000 files"),
        ("de-DE", "Belegter Speicherplatz", "Belegt: 1,5 GB von 50 GB, 14 von 10.000 Dateien"),
    ],
)
def test_a_meter_with_a_name_and_words_shows_the_quota(
    stand: Stand, come: Callable[..., Page], locale: str, name: str, words: str
) -> None:
    stand.quota = quota(6 * 2**28, 14)
    meter = come(locale).get_by_role("meter", name=name)
    expect(meter).to_have_accessible_description(words)
    assert meter.evaluate("(element) => [element.value, element.min, element.max]") == [0.03, 0, 1]


# The first is what Chromium says on Linux with LANG=C.
@pytest.mark.parametrize("languages", [["en-US@posix"], ["en_US"], ["C"], []])
def test_the_page_opens_where_the_language_of_the_browser_is_no_tag(
    stand: Stand, come: Callable[..., Page], languages: list[str]
) -> None:
    stand.quota = quota(6 * 2**28, 14)
    page = come(languages=languages)
    expect(page.get_by_text("Used: 1.5 GB of 50 GB, 14 of 10,000 files")).to_be_visible()


def test_the_meter_stands_for_what_is_nearer_to_its_end(stand: Stand, come: Callable[..., Page]) -> None:
    stand.quota = quota(5_000_000_000, 9_700)
    meter = come().get_by_role("meter")
    expect(meter).to_have_attribute("value", "0.97")


def test_the_quota_is_asked_for_with_the_list_and_again_after_a_deletion(
    stand: Stand, come: Callable[..., Page]
) -> None:
    stand.quota = quota(15, 1)
    page = come()
    expect(page.get_by_text("Used: 15 bytes of 50 GB")).to_be_visible()
    stand.quota = quota(16, 2)
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_text("Used: 16 bytes of 50 GB")).to_be_visible()
    page.get_by_role("button", name="Delete: hello.txt").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("You have no files yet.")).to_be_visible()
    # The bytes are removed a moment later.
    stand.quota = quota(0, 0)
    asked = stand.asked.count("GET /files")
    expect(page.get_by_text("Used: 0 bytes of 50 GB")).to_be_visible(timeout=10_000)
    assert stand.asked.count("GET /files") == asked, "rows are not replaced for it, so that the focus stays"


def test_without_an_answer_there_is_no_meter_and_the_page_works(stand: Stand, come: Callable[..., Page]) -> None:
    stand.quota = None
    page = come()
    expect(page.get_by_role("row").filter(has_text="hello.txt")).to_contain_text("available")
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_role("row").filter(has_text="hello.txt")).to_contain_text("available")
    expect(page.get_by_role("meter")).to_have_count(0)
    expect(page.get_by_role("alert").filter(has_text=re.compile("."))).to_have_count(0)
    stand.quota = quota(15, 1)
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_role("meter")).to_be_visible()
