"""People at the page in a real browser, and what the browser must not have to report."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Playwright, Request, Response, Route, expect

from synthesis.paths import BUILD, ROOT
from tools.develop.browser import accepting

# Pictures of every state, for people.
PICTURES = BUILD / "page"
_AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
# What a page asks of the network beside its own requests would fail on a machine that is cut off, at every start.
_QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
WIDE, PHONE = (1280, 900), (390, 844)
_OF_PARTS = re.compile(r"[?&]partNumber=")

# Remembers what screen readers are told, and has the console say what the Content Security Policy refused.
_WATCH = """
globalThis.announced = [];
new MutationObserver((changes) => {
  for (const { target } of changes) {
    const status = (target.nodeType === 1 ? target : target.parentElement)?.closest("[role=status]");
    if (status?.textContent && announced.at(-1) !== status.textContent) announced.push(status.textContent);
  }
}).observe(document, { subtree: true, childList: true, characterData: true });
addEventListener("securitypolicyviolation", (event) =>
  console.error(`Content Security Policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""
# Files as a person drops them: the browser makes no real ones from a script, but the page cannot tell.
_DROP = """([name, type, content]) => {
  const dropped = new DataTransfer();
  const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
  dropped.items.add(new File([bytes], name, { type }));
  return dropped;
}"""
# When a page could not answer: from one tick of a timer to the next, if that took longer than the timer says.
_GAPS = """() => {
  globalThis.gaps = [];
  const time = () => performance.timeOrigin + performance.now();
  let last = time();
  setInterval(() => {
    const now = time();
    if (now - last > 20) gaps.push([last, now]);
    last = now;
  }, 10);
}"""


_SESSION = """(changed) => {
  const key = Object.keys(sessionStorage).find((each) => each.startsWith("oidc.user:"));
  sessionStorage.setItem(key, JSON.stringify({ ...JSON.parse(sessionStorage.getItem(key)), ...changed }));
}"""
_NAME = "(element) => (element.getAttribute('aria-label') ?? element.textContent).trim()"
# Uppy follows a change of the scheme a moment later, and its colours change gradually.
_SETTLE = """async (scheme) => {
  const frame = () => new Promise(requestAnimationFrame);
  const late = () => document.querySelector(`.uppy-Dashboard:not([data-uppy-theme="${scheme}"])`);
  do await frame();
  while (late());
  await frame();
  document.getAnimations().forEach((each) => each instanceof CSSTransition && each.finish());
}"""
_SENT = """() =>
  JSON.parse(Object.entries(sessionStorage).find(([key]) => key.startsWith("oidc.user:"))[1]).id_token"""
_ASK = """async ([url, token]) => (await fetch(url, { headers: { Authorization: `Bearer ${token}` } })).status"""


def _outside(gap: Sequence[float], others: Sequence[Sequence[float]]) -> float:
    """Return how much of a time is in none of some others, which do not overlap."""
    start, end = gap
    return end - start - sum(max(0, min(end, last) - max(start, first)) for first, last in others)


@dataclass(frozen=True)
class Site:
    """The deployed page.

    Attributes:
        url: its address.
        certificate: certificate of its server, which no browser knows.
        add_person: adds a user to the pool; takes the name before the @, returns address and password.
    """

    url: str
    certificate: Path
    add_person: Callable[[str], tuple[str, str]]

    @property
    def origin(self) -> str:
        """Scheme, host and port, with a slash."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}/"

    @contextmanager
    def browser(self, playwright: Playwright, program: Path) -> Iterator[Browser]:
        """Start a browser that accepts this certificate, and no other that it does not know."""
        arguments = [accepting(self.certificate), *_QUIET]
        with playwright.chromium.launch(executable_path=program, args=arguments) as browser:
            yield browser


@dataclass
class Gate:
    """Lets some of a tab's parts pass to S3, and holds those after them.

    Attributes:
        passes: how many may still pass.
        held: those that wait.
    """

    page: Page
    passes: int
    held: list[Route] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.route(_OF_PARTS, self._meet)

    def _meet(self, route: Route) -> None:
        if self.passes:
            self.passes -= 1
            route.continue_()
        else:
            self.held.append(route)

    def open(self, passes: int) -> None:
        """Let those that wait pass, and some more."""
        held, self.held, self.passes = self.held, [], passes
        for route in held:
            self._meet(route)

    def cut(self) -> None:
        """Lose the connections of those that wait."""
        held, self.held = self.held, []
        for route in held:
            route.abort("connectionreset")

    def leave(self) -> None:
        """Hold nothing any more."""
        self.page.unroute_all(behavior="ignoreErrors")


@dataclass
class Visitor:
    """A person with a tab of the page.

    Attributes:
        page: the tab.
        site: the deployed page.
        name: address of the user.
        password: their password.
        complaints: what the browser reported: errors and warnings of the console, the Content Security Policy
            included, uncaught errors, requests to other origins.
        expected: patterns of complaints that the test brings about.
        parts: number of each part that S3 took, in their order.
    """

    page: Page
    site: Site
    name: str
    password: str
    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        context = self.page.context
        context.add_init_script(_WATCH)
        context.add_init_script(path=_AXE)
        context.on("request", self._asked)
        context.on("response", self._answered)
        context.on("page", self._watch)
        self._watch(self.page)
        # Playwright takes choosers of files over only while there is a listener, and begins a moment late.
        self.page.on("filechooser", lambda _: None)

    def _watch(self, page: Page) -> None:
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))

    def _said(self, message: ConsoleMessage) -> None:
        # The sign-in pages are those of the pool.
        if message.type in {"error", "warning"} and not message.location["url"].startswith(f"{self.site.origin}oauth2"):
            self.complaints.append(f"{message.type}: {message.text} ({message.location['url']})")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.site.origin, "data:", "blob:")):
            self.complaints.append(f"another origin: {request.url}")

    def _answered(self, response: Response) -> None:
        query = parse_qs(urlsplit(response.url).query)
        if response.request.method == "PUT" and response.ok and "partNumber" in query:
            self.parts.append(int(query["partNumber"][0]))

    def unexpected(self) -> list[str]:
        """Return the complaints that the test did not bring about."""
        return [each for each in self.complaints if not any(re.search(pattern, each) for pattern in self.expected)]

    def sign_in(self) -> None:
        """Open the page, and sign in at the pool."""
        self.page.goto(self.site.url)
        self.page.get_by_role("button", name=re.compile("Sign in|Anmelden")).click()
        self.at_the_pool()
        expect(self.page.get_by_text(self.name)).to_be_visible()

    def at_the_pool(self, page: Page | None = None) -> None:
        """Give name and password on the pages of the pool."""
        page = page or self.page
        page.get_by_label("Username").fill(self.name)
        page.get_by_label("Password").fill(self.password)
        page.get_by_role("button", name="Sign in").click()

    def drop(self, name: str, media_type: str, content: bytes) -> None:
        """Drop a file."""
        given = [name, media_type, base64.b64encode(content).decode()]
        dropped = self.page.evaluate_handle(_DROP, given)
        zone = self.page.locator(".uppy-Dashboard-inner")
        for event in ("dragenter", "dragover", "drop"):
            zone.dispatch_event(event, {"dataTransfer": dropped})

    def choose(self, *files: Path) -> None:
        """Choose files from the disk."""
        with self.page.expect_file_chooser() as chooser:
            self.page.get_by_role("button", name=re.compile("browse files|Dateien durchsuchen")).click()
        chooser.value.set_files(files)

    @contextmanager
    def longest_gap(self, browser: Browser) -> Iterator[list[float]]:
        """Measure for how many milliseconds the page cannot answer; the longest time is in the list afterwards.

        Times in which an empty page of another process could not answer either are the machine's, and do not count.
        """
        found: list[float] = []
        with browser.new_context() as context:
            idle = context.new_page()
            for page in (idle, self.page):
                page.evaluate(_GAPS)
            yield found
            of_machine, of_page = (page.evaluate("() => globalThis.gaps") for page in (idle, self.page))
        found.append(max((_outside(gap, of_machine) for gap in of_page), default=0))

    def session(self, **changed: object) -> None:
        """Change what the page knows of the session; None removes a field."""
        self.page.evaluate(_SESSION, changed)

    def forge_token(self) -> None:
        """Spoil the signature of the token that the page sends, so that the API refuses it."""
        token = str(self.page.evaluate(_SENT))
        self.session(id_token=f"{token[:-8]}{token[:-9:-1]}")

    def tab_to(self, name: str) -> None:
        """Press the key for the next element until that of a name has the focus, and shows it."""
        for _ in range(60):
            self.page.keyboard.press("Tab")
            focused = self.page.locator(":focus")
            if focused.count() and focused.evaluate(_NAME) == name:
                assert focused.evaluate("(element) => getComputedStyle(element).outlineStyle") != "none", name
                return
        raise AssertionError(f"the keyboard does not reach {name}")

    def asks(self, url: str) -> int:
        """Call the API with this person's token, from the page; return the status of the answer."""
        return int(self.page.evaluate(_ASK, [url, self.page.evaluate(_SENT)]))

    def row(self, name: str) -> Locator:
        """Return the line of a file in the list."""
        return self.page.get_by_role("row").filter(has=self.page.get_by_role("rowheader", name=name, exact=True))

    def until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Let the browser work until something is so."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not come to be"
            self.page.wait_for_timeout(20)

    def announced(self) -> list[str]:
        """Return what screen readers were told since the page was loaded."""
        told: list[str] = self.page.evaluate("() => globalThis.announced")
        return told

    def save(self, name: str) -> bytes:
        """Download a file of the list."""
        with self.page.expect_download() as download:
            self.row(name).get_by_role("button", name=re.compile("Download|Herunterladen")).click()
        assert download.value.suggested_filename == name
        return download.value.path().read_bytes()

    def picture(self, name: str) -> None:
        """Take a picture of the whole page."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png", full_page=True)

    def barriers(self) -> list[str]:
        """Return what axe finds wrong for people with disabilities, in every rule it has."""
        # A rule that axe cannot decide is no finding.
        found: dict[str, Any] = self.page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
        return [
            f"{each['id']}: {node['html'][:200]} {' '.join(node['failureSummary'].split())}"
            for each in found["violations"]
            for node in each["nodes"]
        ]

    def looks_right(self, state: str, sizes: Sequence[tuple[int, int]] = (WIDE, PHONE)) -> list[str]:
        """Take a picture of a state in light and dark, wide and on a phone; return the barriers."""
        before = self.page.viewport_size
        wrong = []
        for width, height in sizes:
            self.page.set_viewport_size({"width": width, "height": height})
            for scheme in ("light", "dark"):
                self.page.emulate_media(color_scheme=scheme)
                self.page.evaluate(_SETTLE, scheme)
                name = f"{state}-{'wide' if (width, height) == WIDE else 'phone'}-{scheme}"
                self.picture(name)
                wrong += [f"{name}: {barrier}" for barrier in self.barriers()]
        if before:
            self.page.set_viewport_size(before)
        self.page.emulate_media(color_scheme="light")
        return wrong
