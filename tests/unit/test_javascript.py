"""The clients in TypeScript: types, behaviour against a fake server in Node.js, and sizes."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from synthesis.paths import ROOT
from tests.npm import npm

CLIENT, UPPY = ROOT / "clients" / "javascript", ROOT / "clients" / "uppy"
PACKAGES = {"client": CLIENT, "uppy": UPPY}
# Bytes of all that a page loads, compressed by gzip.
LIMITS = {CLIENT: 6_000, UPPY: 3_000}


@pytest.mark.parametrize("folder", LIMITS, ids=lambda folder: folder.name)
def test_the_types_fit(folder: Path) -> None:
    npm(folder, "run", "--silent", "check")


def test_what_the_documentation_imports_is_there(tmp_path: Path) -> None:
    (tmp_path / "sign-in.js").write_text("export const signIn = () => 'token';")
    blocks = re.findall(r"^```js\n(.*?)^```", (ROOT / "docs" / "browser.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    assert len(blocks[0].splitlines()) <= 20
    for number, block in enumerate(blocks):
        page = tmp_path / f"page{number}.js"
        page.write_text(block)
        sources = [f"--alias:@sluice/{name}={folder / 'src' / 'index.ts'}" for name, folder in PACKAGES.items()]
        options = ["--bundle", "--format=esm", "--external:@uppy/core", f"--outfile={tmp_path / 'out.js'}"]
        npm(CLIENT, "exec", "--", "esbuild", str(page), *sources, *options)


@pytest.mark.slow
def test_the_packages_are_built() -> None:
    """The plugin is built with the types of the client as a page gets them."""
    for folder in LIMITS:
        npm(folder, "run", "--silent", "build")
        assert {"index.js", "index.d.ts"} <= {file.name for file in (folder / "dist").iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("folder", LIMITS, ids=lambda folder: folder.name)
def test_the_client_behaves(folder: Path) -> None:
    npm(folder, "test", "--silent")


def test_the_types_of_the_api_are_those_of_the_document(tmp_path: Path) -> None:
    fresh = tmp_path / "openapi.ts"
    npm(CLIENT, "exec", "--", "openapi-typescript", str(ROOT / "docs" / "openapi.yaml"), "--output", str(fresh))
    assert fresh.read_text() == (CLIENT / "src" / "openapi.ts").read_text(), "npm run generate"


@pytest.mark.parametrize(("folder", "limit"), LIMITS.items(), ids=lambda value: getattr(value, "name", str(value)))
def test_a_page_loads_little(folder: Path, limit: int) -> None:
    npm(folder, "run", "--silent", "bundle")
    size = sum(len(gzip.compress(file.read_bytes(), 9)) for file in (folder / "dist").glob("*.js"))
    assert size <= limit


@pytest.mark.parametrize("folder", LIMITS, ids=lambda folder: folder.name)
def test_a_page_gets_no_code_of_others(folder: Path) -> None:
    package = json.loads((folder / "package.json").read_text())
    assert "dependencies" not in package
    # Registries differ from machine to machine; npm finds a package by its name, and compares its hash.
    assert '"resolved"' not in (folder / "package-lock.json").read_text()
