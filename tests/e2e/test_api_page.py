"""The lines of docs/api.md, as somebody types them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from synthesis.paths import ROOT
from tests.e2e.conftest import Deployed
from tests.openapi import document
from tools.develop.caller import Bearer

PAGE = ROOT / "docs" / "api.md"


def test_the_lines_of_the_page_upload_fetch_and_delete(deployed: Deployed, tmp_path: Path) -> None:
    assert isinstance(deployed.api.caller, Bearer)
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.S))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "API": deployed.api.url,
            "TOKEN": deployed.api.caller.token,
            "CURL_CA_BUNDLE": str(deployed.aws.ca_bundle),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "fetched.txt").read_text() == "Hello, Sluice!\n"
    assert "available 15 hello.txt" in done.stdout


def test_the_page_has_every_kind_of_problem() -> None:
    told = set(re.findall(r"^\| ([a-z-]+) \| (\d+) \|", PAGE.read_text(), re.M))
    kinds = document().component("Problem")["properties"]["type"]["enum"]
    assert {kind for kind, _ in told} == {kind.rpartition(":")[2] for kind in kinds} - {"blank"}
