from __future__ import annotations

import base64
import hashlib
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.packaging import PackagingError, find_layer, function_files, source_code_hash, write_archive
from synthesis.paths import ROOT

FUNCTIONS = ROOT / "functions"


def package(functions: Path, target: Path) -> bytes:
    return write_archive(function_files(functions, "upload"), target).path.read_bytes()


def test_the_same_bytes_twice(tmp_path: Path) -> None:
    assert package(FUNCTIONS, tmp_path / "one.zip") == package(FUNCTIONS, tmp_path / "two.zip")


def test_the_same_bytes_from_another_folder_with_touched_files_and_other_modes(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "functions"
    shutil.copytree(FUNCTIONS, copy)
    for file in copy.rglob("*.py"):
        os.utime(file, (1_000_000_000, 1_000_000_000))
        file.chmod(0o600)
    assert package(copy, tmp_path / "copy.zip") == package(FUNCTIONS, tmp_path / "original.zip")


def test_byte_code_and_editors_files_do_not_get_in(tmp_path: Path) -> None:
    copy = tmp_path / "functions"
    shutil.copytree(FUNCTIONS, copy)
    (copy / "upload" / "__pycache__").mkdir(exist_ok=True)
    (copy / "upload" / "__pycache__" / "handler.cpython-313.pyc").write_bytes(b"x")
    (copy / "upload" / "handler.py~").write_text("old")
    assert package(copy, tmp_path / "copy.zip") == package(FUNCTIONS, tmp_path / "original.zip")


def test_a_change_of_a_file_or_of_its_name_changes_the_hash(tmp_path: Path) -> None:
    hashes = {
        write_archive(files, tmp_path / f"{number}.zip").source_code_hash
        for number, files in enumerate([{"a.py": b"1"}, {"a.py": b"2"}, {"b.py": b"1"}, {"a.py": b"1", "b.py": b""}])
    }
    assert len(hashes) == 4


def test_an_unchanged_package_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "upload.zip"
    first = write_archive(function_files(FUNCTIONS, "upload"), path)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    assert write_archive(function_files(FUNCTIONS, "upload"), path) == first
    assert path.stat().st_mtime == 1_000_000_000

    changed = write_archive({**function_files(FUNCTIONS, "upload"), "functions/more.py": b""}, path)
    assert path.stat().st_mtime != 1_000_000_000
    assert changed.source_code_hash == source_code_hash(path) != first.source_code_hash
    assert [file.name for file in tmp_path.iterdir()] == ["upload.zip"]


def test_a_damaged_package_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "upload.zip"
    first = write_archive({"a.py": b"1"}, path)
    path.write_bytes(b"cut off")
    assert write_archive({"a.py": b"1"}, path) == first
    assert source_code_hash(path) == first.source_code_hash


def test_the_hash_is_what_lambda_reports(tmp_path: Path) -> None:
    made = write_archive({"a.py": b"1"}, tmp_path / "a.zip")
    assert made.source_code_hash == base64.b64encode(hashlib.sha256(made.path.read_bytes()).digest()).decode()


def test_a_function_gets_its_own_sources_and_the_shared_ones() -> None:
    names = set(function_files(FUNCTIONS, "upload"))
    assert {"functions/__init__.py", "functions/upload/handler.py", "functions/common/rest_api.py"} <= names
    assert not any(name.startswith("functions/download/") for name in names)


def test_an_unknown_function_is_named() -> None:
    with pytest.raises(PackagingError, match=r"functions/uplaod/handler\.py: there is no such function"):
        function_files(FUNCTIONS, "uplaod")


def test_a_missing_layer_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(PackagingError, match=r"make layer LAMBDA_RUNTIME=python3\.12 LAMBDA_ARCHITECTURE=arm64"):
        find_layer(tmp_path, "python3.12", "arm64")


NAMES = st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8}){0,2}\.py", fullmatch=True)


@given(st.dictionaries(NAMES, st.binary(max_size=200), max_size=8))
def test_an_archive_holds_what_was_put_in_whatever_the_order(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    one = write_archive(files, folder / "one.zip")
    two = write_archive(dict(reversed(files.items())), folder / "two.zip")
    assert one.path.read_bytes() == two.path.read_bytes()
    with zipfile.ZipFile(one.path) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files
        assert {entry.date_time for entry in archive.infolist()} <= {(1980, 1, 1, 0, 0, 0)}
        assert {entry.external_attr >> 16 for entry in archive.infolist()} <= {0o100644}
