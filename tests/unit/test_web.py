"""The page in `web/`: types, size, bytes that are the same again, and texts in every language."""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
from pathlib import Path

import pytest

from functions.common.contract import FailureCode, State
from modules.website import CONTENT_TYPES, HASHED
from synthesis.paths import ROOT
from tests.npm import npm

WEB = ROOT / "web"
# Bytes of all scripts and styles, compressed by gzip.
LIMIT = 130_000


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "page"
    npm(WEB, "run", "--silent", "build", WEB_OUT=str(folder))
    return folder


def files(folder: Path) -> dict[str, str]:
    """Hashes of the files of a page by their names."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_types_fit() -> None:
    npm(WEB, "run", "--silent", "check")


def test_the_page_loads_little(built: Path) -> None:
    loaded = [path for path in built.rglob("*") if path.suffix in {".js", ".css"}]
    assert sum(len(gzip.compress(path.read_bytes(), 9)) for path in loaded) <= LIMIT


def test_the_same_sources_give_the_same_bytes_in_any_folder(built: Path, tmp_path: Path) -> None:
    clone = tmp_path / "Müllers Läden (neu)"
    for folder in ("web", "clients/javascript", "clients/uppy"):
        shutil.copytree(ROOT / folder, clone / folder, ignore=shutil.ignore_patterns("node_modules", "dist", ".build"))
    (clone / "web" / "node_modules").symlink_to(WEB / "node_modules")
    npm(clone / "web", "run", "--silent", "build", WEB_OUT=str(tmp_path / "again"))
    assert files(tmp_path / "again") == files(built)


def test_names_of_scripts_and_styles_have_their_hash_and_every_type_is_known(built: Path) -> None:
    for name in files(built):
        assert Path(name).suffix in CONTENT_TYPES
        assert (HASHED.search(name) is not None) is name.startswith("assets/"), name


def test_the_page_has_no_inline_code_and_nothing_of_another_origin(built: Path) -> None:
    page = (built / "index.html").read_text()
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)", page)
    assert all(address.startswith("./") for address in re.findall(r'(?:src|href)="([^"]*)"', page))
    styles = "".join(path.read_text() for path in built.rglob("*.css"))
    assert not re.search(r"@import|url\((?!['\"]?data:)", styles)


def test_every_state_and_reason_has_words_in_every_language() -> None:
    texts = (WEB / "src" / "texts.ts").read_text()
    languages = re.findall(r"^const \w+(?:: typeof en)? = \{$(.*?)^\};$", texts, re.DOTALL | re.MULTILINE)
    assert len(languages) == 2
    for language in languages:
        named = set(re.findall(r"^    (\w+): \"", language, re.MULTILINE))
        assert {*FailureCode, *State} - {State.ENDING} <= named


def test_the_lock_names_no_registry() -> None:
    assert '"resolved"' not in (WEB / "package-lock.json").read_text()
