"""What is remembered of unfinished uploads, so that another run goes on without hashing and starting again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sluice_client.parts import LocalFile


@dataclass(frozen=True)
class Remembered:
    """One unfinished upload.

    Attributes:
        digests: SHA-256 of each part, in hexadecimal.
        content_type, file_id: what it was begun with, and what the API called it; empty before.
    """

    size: int
    mtime_ns: int
    part_size: int
    digests: tuple[str, ...]
    content_type: str = ""
    file_id: str = ""

    def is_of(self, file: LocalFile, part_size: int) -> bool:
        """Whether the file is still the same, by its size and time."""
        return (self.size, self.mtime_ns, self.part_size) == (file.size, file.mtime_ns, part_size)


class States:
    """A folder with one small file for each unfinished upload of a local file to an API."""

    def __init__(self, folder: Path | None = None) -> None:
        """
        Args:
            folder: by default `sluice` where programs keep their state (XDG Base Directory Specification).
        """
        base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        self._folder = folder or Path(base) / "sluice"

    def load(self, api: str, path: Path) -> Remembered | None:
        """What is remembered; nothing where it cannot be read, since hashing again does no harm."""
        try:
            found = json.loads(self._place(api, path).read_text())
            known = {field.name: found[field.name] for field in fields(Remembered)}
            return Remembered(**{**known, "digests": tuple(known["digests"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def save(self, api: str, path: Path, remembered: Remembered) -> None:
        """Write it down, whole or not at all."""
        place = self._place(api, path)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=place.stem, suffix=".tmp")
        try:
            with os.fdopen(descriptor, "w") as written:
                json.dump({"api": api, "path": str(path.resolve()), **asdict(remembered)}, written)
                written.flush()
                os.fsync(written.fileno())
            Path(name).replace(place)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise

    def forget(self, api: str, path: Path) -> None:
        """Nothing is left to go on with."""
        self._place(api, path).unlink(missing_ok=True)

    def _place(self, api: str, path: Path) -> Path:
        name = hashlib.sha256(f"{api}\n{path.resolve()}".encode(errors="surrogateescape")).hexdigest()
        return self._folder / f"{name[:32]}.json"
