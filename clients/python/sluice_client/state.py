"""Saved state of unfinished uploads, so that another run can resume without hashing the file again."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sluice_client.parts import LocalFile

# Limit of a file; the digests of 10,000 parts take 680 kB.
_MOST_BYTES = 2_000_000
_DIGEST = re.compile("([0-9a-f]{64})?")


@dataclass(frozen=True)
class Remembered:
    """The saved state of one unfinished upload.

    Attributes:
        digests: SHA-256 of each part, in hexadecimal; empty for parts that were not hashed yet.
        content_type, file_id: type and id of the upload; empty before it was started.
    """

    size: int
    mtime_ns: int
    part_size: int
    digests: tuple[str, ...]
    content_type: str = ""
    file_id: str = ""

    @classmethod
    def of(cls, found: object) -> Remembered:
        """Read the state from parsed JSON.

        Raises:
            ValueError, TypeError, KeyError: the JSON does not have the form that this version writes.
        """
        if not isinstance(found, dict):
            raise TypeError
        known = {field.name: found[field.name] for field in fields(cls)}
        remembered = cls(**{**known, "digests": tuple(known["digests"])})
        numbers = (remembered.size, remembered.mtime_ns, remembered.part_size)
        texts = (remembered.content_type, remembered.file_id, *remembered.digests)
        if not all(type(number) is int for number in numbers) or not all(isinstance(text, str) for text in texts):
            raise TypeError
        if not 0 < remembered.part_size <= remembered.size:
            raise ValueError
        if len(remembered.digests) != -(-remembered.size // remembered.part_size):
            raise ValueError
        if not all(_DIGEST.fullmatch(digest) for digest in remembered.digests):
            raise ValueError
        return remembered

    def is_of(self, file: LocalFile, part_size: int) -> bool:
        """Return whether the file is still the same, by its size and modification time."""
        return (self.size, self.mtime_ns, self.part_size) == (file.size, file.mtime_ns, part_size)


class States:
    """A folder with one small file for each unfinished upload of a local file to an API.

    It only saves time. So an error here does not stop an upload: without the folder, another run hashes the file again.
    """

    def __init__(self, folder: Path | None = None, tell: Callable[[str], None] = lambda message: None) -> None:
        """
        Args:
            folder: by default `sluice` where programs keep their state (XDG Base Directory Specification).
            tell: called once with a message if the state cannot be saved.
        """
        self._folder = folder or _default_folder()
        self._tell = tell
        self._told = False

    def load(self, api: str, path: Path) -> Remembered | None:
        """Return the saved state; None if it cannot be read or another version wrote it."""
        try:
            place = self._place(api, path)
            if not place.is_file():
                return None
            with place.open("rb") as opened:
                return Remembered.of(json.loads(opened.read(_MOST_BYTES)))
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def save(self, api: str, path: Path, remembered: Remembered) -> None:
        """Save the state atomically. An error is only reported, once."""
        try:
            self._write(self._place(api, path), {"api": api, "path": os.path.realpath(path), **asdict(remembered)})
        except OSError as error:
            if not self._told:
                self._told = True
                said = error.strerror or error
                self._tell(f"The state of this upload cannot be saved ({said}); another run would read the file again")

    def forget(self, api: str, path: Path) -> None:
        """Delete the saved state of an upload."""
        with contextlib.suppress(OSError):
            self._place(api, path).unlink()

    def _write(self, place: Path, fields: dict[str, object]) -> None:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=place.parent, prefix=place.stem, suffix=".tmp")
        try:
            with os.fdopen(descriptor, "w") as written:
                json.dump(fields, written)
                written.flush()
                os.fsync(written.fileno())
            Path(name).replace(place)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise

    def _place(self, api: str, path: Path) -> Path:
        if self._folder is None:
            raise FileNotFoundError(errno.ENOENT, "no home folder")
        # `resolve` would fail if links form a loop or the working folder is gone.
        name = hashlib.sha256(f"{api}\n{os.path.realpath(path)}".encode(errors="surrogatepass")).hexdigest()
        return self._folder / f"{name[:32]}.json"


def _default_folder() -> Path | None:
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    # By the specification, relative paths are ignored.
    if base.is_absolute():
        return base / "sluice"
    try:
        return Path.home() / ".local" / "state" / "sluice"
    except RuntimeError:
        return None
