"""Which browser the tests of the page get: a named one, one of the machine, or the one that an npm package carries."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from playwright.sync_api import Playwright

from synthesis.paths import ROOT
from tools.develop.browser import CHOSEN, browser, carried, of_machine
from tools.operate.console import Failure


def program(file: Path, status: int = 0) -> Path:
    """Make a program that answers like a browser, or like one that cannot start."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\nexit {status}\n")
    file.chmod(0o755)
    return file


def test_the_named_one_comes_first(tmp_path: Path) -> None:
    named, other = program(tmp_path / "mine"), program(tmp_path / "bin" / "chromium")
    assert browser({CHOSEN: str(named), "PATH": str(other.parent)}) == named


@pytest.mark.parametrize("status", [1, None])
def test_a_named_one_that_does_not_start_is_refused(tmp_path: Path, status: int | None) -> None:
    named = tmp_path / "mine"
    if status:
        program(named, status)
    with pytest.raises(Failure, match=f"{CHOSEN} names {named}, which does not start") as caught:
        browser({CHOSEN: str(named), "PATH": ""})
    assert f"{CHOSEN}=" in caught.value.remedy


def test_one_of_the_machine_is_found_and_one_that_does_not_start_is_passed_over(tmp_path: Path) -> None:
    program(tmp_path / "chromium-browser", status=1)
    edge = program(tmp_path / "microsoft-edge")
    assert of_machine(str(tmp_path), places=[]) == edge
    installed = program(tmp_path / "Applications" / "Google Chrome")
    assert of_machine("", places=[str(tmp_path / "absent"), str(installed)]) == installed
    assert of_machine("", places=[]) is None


def test_a_machine_without_one_gets_advice_where_the_package_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    with pytest.raises(Failure, match="no Chrome, Edge or Chromium") as caught:
        carried(tmp_path / "chromium")
    assert "install Chrome" in caught.value.remedy


@pytest.mark.slow
def test_the_one_of_the_package_starts_with_its_own_libraries_and_fonts(tmp_path: Path, playwright: Playwright) -> None:
    try:
        found = carried(tmp_path / "chromium")
    except Failure as failure:
        if "no Chrome" in failure.cause:
            pytest.skip("the package is for Linux on x86-64")
        raise
    # It works wherever the folder is.
    moved = (tmp_path / "chromium").rename(tmp_path / "moved")
    with playwright.chromium.launch(executable_path=moved / found.name) as chromium:
        page = chromium.new_page()
        page.goto("data:text/html,<p style='font-family: system-ui'>hello")
        session = page.context.new_cdp_session(page)
        session.send("DOM.enable")
        session.send("CSS.enable")
        root = session.send("DOM.getDocument")["root"]["nodeId"]
        text = session.send("DOM.querySelector", {"nodeId": root, "selector": "p"})["nodeId"]
        fonts = session.send("CSS.getPlatformFontsForNode", {"nodeId": text})["fonts"]
    assert [font["familyName"] for font in fonts] == ["Open Sans"]


def test_the_lock_names_no_registry() -> None:
    assert '"resolved"' not in (ROOT / "tools" / "develop" / "chromium" / "package-lock.json").read_text()
