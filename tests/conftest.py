"""Shared by all tests: the provider bindings come first, as in main.py."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

from synthesis.boot import boot
from synthesis.child_environment import enter_local
from tools.develop.browser import CHOSEN, browser
from tools.operate.console import Failure

if TYPE_CHECKING:
    from playwright.sync_api import Playwright

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("sluice", deadline=None)
hypothesis.settings.load_profile("sluice")

# Each of these deploys a system of its own, or none.
APART = {
    "test_api_jwt",
    "test_deploy_prod_to_an_account",
    "test_deploy_to_an_account",
    "test_embedded_aws_host_names",
    "test_emulator_fidelity",
    "test_legal_hold",
    "test_make_up",
    "test_replica",
}

boot()


class ByWhatTheyShare(LoadScopeScheduling):  # type: ignore[misc]
    """A scheduler that gives all tests with a slow common resource to one worker, such as the system of e2e.

    xdist's own groups (`--dist loadgroup`) do not come through with pytest 9.2: a test's id is no longer to be changed.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = Path(nodeid.partition("::")[0])
        return path.stem if path.stem in APART else path.parent.name


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """Collect and start the longest tests, e2e, first."""
    config.option.loadscopereorder = False
    return ByWhatTheyShare(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the Pythons on which tests ran."""
    passed = (report.nodeid for report in terminalreporter.stats.get("passed", []))
    others = sorted(match[1] for name in passed if (match := re.search(r"test_pythons\.py::.*\[(3\.\d+)\]$", name)))
    too = f", synthesis on {' and '.join(others)} too" if others else ""
    terminalreporter.write_line(f"Python {platform.python_version()}{too}")


def _forget_the_caller() -> None:
    """Hide the user's settings and AWS access from the tests, and variables that change the programs they start."""
    from modules.settings import Settings

    enter_local()
    of_client = ("SLUICE_URL", "SLUICE_TOKEN", "SLUICE_TOKEN_COMMAND", "SLUICE_CA_BUNDLE")
    for name in [name for name in os.environ if name.lower() in Settings.model_fields or name in of_client]:
        del os.environ[name]


@pytest.fixture(scope="session")
def browser_program() -> Path:
    """The program of a browser; on a machine without one, the tests of the page are skipped, but not in CI."""
    try:
        return browser()
    except Failure as failure:
        if os.environ.get("CI") or os.environ.get(CHOSEN):
            raise
        pytest.skip(f"{failure.cause}: {failure.remedy}")


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Playwright, of which a process can have only one.

    Its event loop runs until it stops, and `asyncio.run` of other tests would refuse to start another one.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        yield started


# When this is imported, and not in a fixture: the one system of e2e is deployed before any fixture of a test.
_forget_the_caller()
