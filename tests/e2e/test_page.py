"""The page in a real browser: people sign in, send files and get them back, whatever happens meanwhile."""

from __future__ import annotations

import base64
import hashlib
import random
import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, Playwright, Route, expect

from tests.e2e.page import WIDE, Gate, Site, Visitor
from tools.develop.caller import add_user, new_password

if TYPE_CHECKING:
    from tests.e2e.conftest import Deployed

expect.set_options(timeout=30_000)

# A picture of one pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="
)
# The beginning of a program for Windows.
PROGRAM = b"MZ" + bytes(58) + (128).to_bytes(4, "little") + bytes(64) + b"PE\0\0" + bytes(64)
FILES = [
    ("invoice.pdf", "application/pdf", PROGRAM),
    ("notes.txt", "text/plain", b"Bring the tickets"),
    ("holiday.png", "image/png", PNG),
]
LONGEST_GAP_MS = 200
# 15 parts of 8 MiB.
LARGE, COUNT = 120_000_000, 15


@pytest.fixture(scope="session")
def site(deployed: Deployed) -> Site:
    def add_person(name: str) -> tuple[str, str]:
        password = new_password()
        return add_user(deployed.aws, deployed.outputs["user_pool_id"], name, password), password

    return Site(deployed.outputs["website_url"], deployed.aws.ca_bundle.parent / "server.pem", add_person)


@pytest.fixture(scope="module")
def chromium(playwright: Playwright, browser_program: Path, site: Site) -> Iterator[Browser]:
    with site.browser(playwright, browser_program) as started:
        yield started


@pytest.fixture
def come(chromium: Browser, site: Site) -> Iterator[Callable[..., Visitor]]:
    """Lets a new person come to the page; in the end, the browser must not have complained."""
    visitors: list[Visitor] = []

    def come(locale: str = "en-GB", name: str = "") -> Visitor:
        context = chromium.new_context(locale=locale, viewport={"width": WIDE[0], "height": WIDE[1]})
        visitor = Visitor(context.new_page(), site, *site.add_person(name or f"person-{secrets.token_hex(4)}"))
        visitors.append(visitor)
        return visitor

    yield come
    for visitor in visitors:
        visitor.page.context.close()
    assert [complaint for visitor in visitors for complaint in visitor.unexpected()] == []


@pytest.fixture
def visitor(come: Callable[..., Visitor]) -> Visitor:
    """Someone who has signed in."""
    visitor = come()
    visitor.sign_in()
    return visitor


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that goes in parts; no two parts are equal."""
    file = tmp_path_factory.mktemp("large") / "lecture.mp4"
    head = bytes.fromhex("00000018667479706d703432000000006d70343269736f6d")
    file.write_bytes(head + random.Random(14).randbytes(LARGE - len(head)))  # noqa: S311 - no secret
    return file


def test_what_a_person_drops_is_what_they_get_back(visitor: Visitor) -> None:
    content = PNG + b"drop"
    visitor.drop("holiday.png", "image/png", content)
    expect(visitor.row("holiday.png")).to_contain_text("available")
    assert visitor.save("holiday.png") == content


def test_a_folder_is_sent_with_all_that_is_in_it(visitor: Visitor, tmp_path: Path) -> None:
    for name in ("one.txt", "two.txt"):
        (tmp_path / "trip" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "trip" / name).write_text(name)
    with visitor.page.expect_file_chooser() as chooser:
        visitor.page.get_by_role("button", name="browse folders").click()
    chooser.value.set_files(tmp_path / "trip")
    for name in ("one.txt", "two.txt"):
        expect(visitor.row(name)).to_contain_text("available")


@pytest.mark.slow
def test_a_large_file_outlasts_lost_connections_and_links_that_expired(visitor: Visitor, large: Path) -> None:
    visitor.expected += ["ERR_INTERNET_DISCONNECTED", "ERR_CONNECTION_RESET", "status of 403"]
    page, refused = visitor.page, 0

    def expire(route: Route) -> None:
        """Make a link look an hour older: S3 looks at that before it looks at the signature."""
        nonlocal refused
        refused += 1
        url = re.sub(r"X-Amz-Date=\d{8}T\d{6}Z", "X-Amz-Date=20260101T000000Z", route.request.url)
        route.continue_(url=url)

    gate = Gate(page, passes=5)
    page.route(re.compile(r"[?&]partNumber="), expire, times=4)
    visitor.choose(large)
    visitor.until(lambda: len(visitor.parts) == 5 and bool(gate.held))
    page.context.set_offline(True)
    gate.open(passes=5)
    visitor.until(lambda: any("DISCONNECTED" in each for each in visitor.complaints))
    page.context.set_offline(False)
    visitor.until(lambda: bool(gate.held))
    gate.cut()
    gate.open(passes=COUNT)
    expect(visitor.row(large.name)).to_contain_text("available", timeout=90_000)
    assert refused == 4
    assert sum("403" in each for each in visitor.complaints) == 4
    assert hashlib.sha256(visitor.save(large.name)).digest() == hashlib.sha256(large.read_bytes()).digest()
    assert sorted(visitor.parts) == list(range(1, COUNT + 1))
    told = [each for each in visitor.announced() if large.name in each]
    assert told == [*(f"{large.name}: {percent} % sent." for percent in (25, 50, 75)), f"{large.name} is stored."]


@pytest.mark.slow
def test_the_first_byte_of_five_gigabytes_does_not_wait_for_the_last_to_be_read(
    visitor: Visitor, tmp_path: Path
) -> None:
    file = tmp_path / "film.mp4"
    with file.open("wb") as written:
        written.write(bytes.fromhex("00000018667479706d703432000000006d70343269736f6d"))
        written.truncate(5_000_000_000)
    page = visitor.page
    gate = Gate(page, passes=0)
    visitor.choose(file)
    chosen = time.monotonic()
    visitor.until(lambda: bool(gate.held))
    # To read and hash all of it takes several times as long; a quiet machine needs a second.
    assert time.monotonic() - chosen < 5
    page.get_by_role("button", name="Cancel").first.click()
    gate.leave()
    expect(page.get_by_text("browse files")).to_be_visible()


def test_after_a_pause_and_a_reload_no_part_is_sent_twice(visitor: Visitor, large: Path) -> None:
    page = visitor.page
    gate = Gate(page, passes=6)
    visitor.choose(large)
    visitor.until(lambda: len(visitor.parts) == 6 and bool(gate.held))
    page.get_by_role("button", name="Pause").first.click()
    expect(page.get_by_text("Paused: 42%")).to_be_visible()
    gate.leave()
    page.reload()
    unfinished = page.get_by_role("region", name="Not finished")
    expect(unfinished).to_contain_text(large.name)
    with page.expect_file_chooser() as chooser:
        unfinished.get_by_role("button", name="Choose file").click()
    chooser.value.set_files(large)
    expect(visitor.row(large.name)).to_contain_text("available", timeout=90_000)
    expect(unfinished).to_be_hidden()
    assert sorted(visitor.parts) == list(range(1, COUNT + 1))


@pytest.mark.slow
def test_another_file_does_not_continue_an_upload(visitor: Visitor, large: Path, tmp_path: Path) -> None:
    page = visitor.page
    gate = Gate(page, passes=1)
    visitor.choose(large)
    visitor.until(lambda: bool(visitor.parts and gate.held))
    page.get_by_role("button", name="Pause").first.click()
    page.reload()
    unfinished = page.get_by_role("region", name="Not finished")
    other = tmp_path / large.name
    other.write_bytes(b"another")
    with page.expect_file_chooser() as chooser:
        unfinished.get_by_role("button", name="Choose file").click()
    chooser.value.set_files(other)
    expect(unfinished.get_by_role("alert")).to_contain_text(f"This is not the {large.name}")
    unfinished.get_by_role("button", name="Discard").click()
    expect(unfinished).to_be_hidden()


def test_a_rejected_file_says_why(visitor: Visitor) -> None:
    visitor.expected += [r"\[Uppy\]"]
    visitor.drop("holiday.png", "image/png", PROGRAM)
    expect(visitor.row("holiday.png")).to_contain_text("rejected")
    why = "Its content is of another type than its name says."
    expect(visitor.row("holiday.png")).to_contain_text(why)
    assert f"holiday.png was not sent: {why}" in visitor.announced()


def test_a_file_that_is_still_checked_is_in_the_list(come: Callable[..., Visitor]) -> None:
    visitor = come()
    # As if a scan took longer.
    visitor.page.add_init_script(
        """
        const ask = fetch;
        globalThis.fetch = async (url, ...rest) => {
          const answer = await ask(url, ...rest);
          if (globalThis.checked || !/[/]files[?/]/.test(url)) return answer;
          return new Response((await answer.text()).replaceAll('"available"', '"scanning"'), answer);
        };
        """
    )
    visitor.sign_in()
    visitor.drop("thesis.txt", "text/plain", b"Long")
    expect(visitor.row("thesis.txt")).to_contain_text("being checked")
    visitor.page.evaluate("() => { globalThis.checked = true; }")
    expect(visitor.row("thesis.txt")).to_contain_text("available")
    expect(visitor.page.get_by_text("Complete", exact=True)).to_be_visible()


def test_a_stranger_sees_nothing(visitor: Visitor, come: Callable[..., Visitor]) -> None:
    with visitor.page.expect_response(lambda response: response.url.endswith("/uploads")) as started:
        visitor.drop("diary.txt", "text/plain", b"Dear diary")
    expect(visitor.row("diary.txt")).to_contain_text("available")
    stranger = come()
    stranger.expected += ["status of 404"]
    stranger.sign_in()
    expect(stranger.page.get_by_text("You have no files yet.")).to_be_visible()
    file = started.value.url.replace("/uploads", f"/files/{started.value.json()['file_id']}")
    assert (visitor.asks(file), stranger.asks(file), stranger.asks(f"{file}/content")) == (200, 404, 404)


@pytest.mark.slow
def test_the_page_answers_while_it_hashes_and_sends(visitor: Visitor, chromium: Browser, large: Path) -> None:
    with visitor.longest_gap(chromium) as longest:
        visitor.choose(large)
        expect(visitor.row(large.name)).to_contain_text("available", timeout=90_000)
    assert longest[0] <= LONGEST_GAP_MS


def test_the_browser_holds_the_page_to_its_policy(visitor: Visitor) -> None:
    """The answer's headers do, whatever a script that got into the page tries; and these tests would see it."""
    visitor.expected += ["Content Security Policy", "requires 'Trusted", "elsewhere.example"]
    refused = visitor.page.evaluate(
        """async () => {
          const refused = [];
          addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
          const add = (name, given) => document.body.append(Object.assign(document.createElement(name), given));
          try { document.body.innerHTML = "<p>"; } catch { /* what it should be */ }
          try { add("script", { src: "https://elsewhere.example/script.js" }); } catch { /* the same */ }
          add("style", { textContent: "p { color: red }" });
          add("img", { src: "https://elsewhere.example/image.png" });
          add("iframe", { src: "https://elsewhere.example/" });
          await fetch("https://elsewhere.example/").catch(() => {});
          while (refused.length < 6) await new Promise(requestAnimationFrame);
          return refused;
        }"""
    )
    assert sorted(refused) == [
        "connect-src",
        "frame-src",
        "img-src",
        "require-trusted-types-for",
        "require-trusted-types-for",
        "style-src-elem",
    ]
    assert sum("Content Security Policy" in each for each in visitor.complaints) >= len(refused)


@pytest.mark.parametrize("reason", ["expired", "refused"])
def test_a_token_that_no_longer_serves_is_renewed_without_a_word(visitor: Visitor, reason: str) -> None:
    visitor.expected += ["status of 401"]
    if reason == "expired":
        visitor.session(expires_at=1)
    else:
        visitor.forge_token()
    with visitor.page.expect_response(lambda response: response.url.endswith("/oauth2/token")) as renewed:
        visitor.drop("note.txt", "text/plain", b"later")
    assert renewed.value.ok
    expect(visitor.row("note.txt")).to_contain_text("available")
    expect(visitor.page.get_by_text("Your session has ended")).to_be_hidden()
    assert any("401" in each for each in visitor.complaints) is (reason == "refused")


@pytest.mark.slow
def test_an_upload_waits_until_the_person_has_signed_in_again(visitor: Visitor, large: Path) -> None:
    page = visitor.page
    gate = Gate(page, passes=4)
    visitor.choose(large)
    visitor.until(lambda: len(visitor.parts) == 4 and bool(gate.held))
    visitor.session(expires_at=1, refresh_token=None)
    gate.open(passes=COUNT)
    ended = page.get_by_role("alert").filter(has_text="Your session has ended")
    expect(ended).to_be_visible()
    with page.context.expect_page() as opened:
        ended.get_by_role("link", name="Sign in").click()
    visitor.at_the_pool(opened.value)
    visitor.until(opened.value.is_closed)
    expect(visitor.row(large.name)).to_contain_text("available", timeout=90_000)
    expect(ended).to_be_hidden()
    assert sorted(visitor.parts) == list(range(1, COUNT + 1))


def test_files_are_deleted_only_after_a_question_and_signing_out_ends_the_session(visitor: Visitor) -> None:
    page = visitor.page
    visitor.drop("draft.txt", "text/plain", b"draft")
    delete = visitor.row("draft.txt").get_by_role("button", name="Delete")
    delete.click()
    question = page.get_by_role("dialog", name="Delete draft.txt?")
    question.get_by_role("button", name="Cancel").click()
    expect(visitor.row("draft.txt")).to_be_visible()
    delete.click()
    question.get_by_role("button", name="Delete").click()
    expect(visitor.row("draft.txt")).to_be_hidden()
    assert "draft.txt was deleted." in visitor.announced()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("Password")).to_be_visible()


def test_people_read_the_page_in_their_language(come: Callable[..., Visitor]) -> None:
    visitor = come(locale="de-AT")
    visitor.sign_in()
    page = visitor.page
    expect(page.get_by_role("heading", name="Dateien senden")).to_be_visible()
    visitor.drop("Notiz.txt", "text/plain", b"Servus")
    expect(visitor.row("Notiz.txt")).to_contain_text("verf\u00fcgbar")
    assert "Notiz.txt ist gespeichert." in visitor.announced()
    assert page.locator("html").get_attribute("lang") == "de"
    page.get_by_label("Sprache").select_option("English")
    expect(page.get_by_role("heading", name="Send files")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Send files")).to_be_visible()


def test_the_keyboard_suffices(come: Callable[..., Visitor], tmp_path: Path) -> None:
    visitor = come()
    page = visitor.page
    page.goto(visitor.site.url)
    visitor.tab_to("Sign in")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Username")).to_be_focused()
    page.keyboard.type(visitor.name)
    page.keyboard.press("Tab")
    page.keyboard.type(visitor.password)
    page.keyboard.press("Enter")
    expect(page.get_by_text("You have no files yet.")).to_be_visible()
    file = tmp_path / "letter.txt"
    file.write_text("Dear friend")
    visitor.tab_to("browse files")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(file)
    expect(visitor.row("letter.txt")).to_contain_text("available")
    visitor.tab_to("Download: letter.txt")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.path().read_text() == "Dear friend"
    visitor.tab_to("Delete: letter.txt")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Delete: letter.txt")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(visitor.row("letter.txt")).to_be_hidden()
    # The focus stays near the button that is gone.
    expect(page.get_by_role("button", name="Refresh")).to_be_focused()
    visitor.tab_to("Sign out")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


@pytest.mark.slow
def test_what_is_shown_before_and_after_sending_suits_everyone(come: Callable[..., Visitor]) -> None:
    """In light and dark, wide and on a phone, as all states."""
    visitor = come()
    page = visitor.page
    visitor.expected += ["status of 503", r"\[Uppy\]"]
    page.route("**/config.json", lambda route: route.fulfill(status=503))
    page.goto(visitor.site.url)
    expect(page.get_by_role("alert")).to_contain_text("could not start")
    wrong = visitor.looks_right("not-started")
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    wrong += visitor.looks_right("welcome")
    visitor.sign_in()
    expect(page.get_by_text("You have no files yet.")).to_be_visible()
    wrong += visitor.looks_right("empty")
    for name, media_type, content in FILES:
        visitor.drop(name, media_type, content)
    for name in ("holiday.png", "notes.txt"):
        expect(visitor.row(name)).to_contain_text("available")
    expect(visitor.row("invoice.pdf")).to_contain_text("Its content is of another type")
    wrong += visitor.looks_right("rejected")
    visitor.row("notes.txt").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    wrong += visitor.looks_right("question")
    page.keyboard.press("Escape")
    page.reload()
    expect(visitor.row("holiday.png")).to_be_visible()
    wrong += visitor.looks_right("files")
    assert wrong == [], "\n".join(wrong)


@pytest.mark.slow
def test_what_is_shown_while_sending_suits_everyone(come: Callable[..., Visitor], large: Path) -> None:
    """`make picture` shows the first of these states in the README."""
    visitor = come(name="ann")
    visitor.sign_in()
    page = visitor.page
    visitor.drop("Itinerary.txt", "text/plain", b"Ferry at nine. " * 200)
    visitor.drop("Harbour.png", "image/png", PNG + bytes(2_400_000))
    for name in ("Itinerary.txt", "Harbour.png"):
        expect(visitor.row(name)).to_contain_text("available")
    page.reload()
    expect(visitor.row("Harbour.png")).to_be_visible()
    gate = Gate(page, passes=6)
    visitor.choose(large)
    visitor.until(lambda: len(visitor.parts) == 6 and bool(gate.held))
    expect(page.get_by_text("Uploading: 42%")).to_be_visible()
    wrong = visitor.looks_right("sending")
    page.get_by_role("button", name="Pause").first.click()
    expect(page.get_by_text("Paused: 42%")).to_be_visible()
    wrong += visitor.looks_right("paused")
    gate.leave()
    page.reload()
    expect(page.get_by_role("region", name="Not finished")).to_contain_text(large.name)
    wrong += visitor.looks_right("unfinished")
    visitor.session(expires_at=1, refresh_token=None)
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_text("Your session has ended")).to_be_visible()
    wrong += visitor.looks_right("session-ended")
    assert wrong == [], "\n".join(wrong)
