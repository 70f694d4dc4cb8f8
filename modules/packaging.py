"""Packages of functions: the same bytes on every machine, only from the content of the files.

`TerraformAsset` of CDKTF is not used: its hash ignores file names, and its archives change with the times of files.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# The first moment a zip can express: the same for every file, so that touching one changes nothing.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_REGULAR_FILE_READABLE_BY_ALL = 0o100644 << 16


class PackagingError(Exception):
    """A package cannot be made; the text says what is missing and how to get it."""


@dataclass(frozen=True)
class Package:
    """An archive on disk.

    Attributes:
        path: where it is.
        source_code_hash: its SHA-256 in base64, as Lambda reports it and Terraform compares it.
    """

    path: Path
    source_code_hash: str


def write_archive(files: Mapping[str, bytes], path: Path) -> Package:
    """Write files, by their name in the archive, as a zip whose bytes only depend on names and contents.

    Nothing is compressed: what deflate makes of the same bytes differs from one zlib to the next. An archive that is
    there with these bytes stays as it is, its time included.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=_ZIP_EPOCH)
            entry.create_system = 3  # Unix, on whatever system this runs
            entry.external_attr = _REGULAR_FILE_READABLE_BY_ALL
            archive.writestr(entry, files[name])
    content = buffer.getvalue()
    if not path.is_file() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".partial")
        temporary.write_bytes(content)
        temporary.replace(path)
    return Package(path, _hash(content))


def source_code_hash(path: Path) -> str:
    """Return the SHA-256 of a file in base64."""
    return _hash(path.read_bytes())


def _hash(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def function_files(functions: Path, name: str) -> dict[str, bytes]:
    """Return the sources of one function: its folder and the shared code, by their names in the package.

    Args:
        functions: the folder of the functions' package.
        name: name of the function's folder in it.

    Raises:
        PackagingError: there is no such function.
    """
    if not (functions / name / "handler.py").is_file():
        raise PackagingError(f"{functions.name}/{name}/handler.py: there is no such function")
    sources = [functions / "__init__.py", *(functions / "common").rglob("*.py"), *(functions / name).rglob("*.py")]
    return {source.relative_to(functions.parent).as_posix(): source.read_bytes() for source in sources}


def layer_name(runtime: str, architecture: str) -> str:
    """Return the file name of the layer with the functions' dependencies for a runtime and an architecture."""
    return f"dependencies-{runtime}-{architecture}.zip"


def find_layer(layers: Path, runtime: str, architecture: str) -> Package:
    """Return the layer that set-up made from the lock.

    It is not made here: that takes a package index, and synthesis never uses the network.

    Raises:
        PackagingError: set-up has not made it.
    """
    path = layers / layer_name(runtime, architecture)
    if not path.is_file():
        raise PackagingError(
            f"the layer for {runtime} on {architecture} is not there; "
            f"run: make layer LAMBDA_RUNTIME={runtime} LAMBDA_ARCHITECTURE={architecture}"
        )
    return Package(path, source_code_hash(path))
