"""Fetches a file, goes on where the connection was cut, and checks what came."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

import httpx

from sluice_client.api import Api
from sluice_client.connection import PASSING, said_of
from sluice_client.errors import SluiceError, UnreachableError
from sluice_client.parts import Rules, checksum_of
from sluice_client.sending import Unwatched, Watcher


def fetch(
    api: Api,
    file_id: str,
    target: Path | None = None,
    *,
    replace: bool = False,
    rules: Rules = Rules(),  # noqa: B008 - it is frozen
    watcher: Watcher | None = None,
) -> Path:
    """Download a file; it appears under its name when it is whole and right.

    Args:
        target: a folder, or a name; by default the file's own name, here.
        replace: overwrite what is there.

    Raises:
        SluiceError: it cannot be fetched, or what came is not what was stored.
    """
    file = api.file(file_id)
    watcher = watcher or Unwatched()
    # The name comes from whoever uploaded: it must not lead out of the folder.
    own = Path(file.file_name.replace("\\", "/")).name
    if target is None or target.is_dir():
        if own in {"", ".", ".."}:
            raise SluiceError(f"{file_id} is named {file.file_name!r}; say where to put it")
        target = (target or Path()) / own
    if target.exists() and not replace:
        raise SluiceError(f"{target} is there already")
    composite = "-" in file.checksum
    body = _Body(rules.part_size(file.size) if composite else 0, file.size)
    partial = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        with partial.open("xb") as written:
            watcher.stage("fetching", file.size)
            failures = 0
            while body.count < file.size:
                failed, before = None, body.count
                url = api.download_link(file_id)
                try:
                    with api.http.stream("GET", url, headers=_from(body.count)) as response:
                        if response.status_code == (206 if body.count else 200):
                            for chunk in response.iter_raw():
                                body.take(chunk)
                                written.write(chunk)
                                watcher.advance(len(chunk))
                        elif response.status_code not in PASSING | {403}:
                            raise SluiceError(f"S3 refused {file_id}: HTTP {response.status_code}")
                        else:
                            failed = SluiceError(f"S3 refused {file_id}: HTTP {response.status_code}")
                except httpx.TransportError as error:
                    failed = UnreachableError(said_of(error, httpx.URL(url).host))
                if body.count < file.size:
                    failed = failed or SluiceError(f"{file_id} ended after {body.count} of {file.size} bytes")
                    failures = 1 if body.count > before else failures + 1
                    if failures >= api.patience.attempts:
                        raise failed
                    api.tell(f"{failed}; trying again")
                    api.patience.pause(failures)
        if body.checksum() != file.checksum:
            raise SluiceError(f"What came for {file_id} is not what was stored: its checksum is another")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _from(offset: int) -> dict[str, str]:
    return {"Accept-Encoding": "identity", **({"Range": f"bytes={offset}-"} if offset else {})}


class _Body:
    """Takes the checksum of bytes as they come, whole or part by part.

    Args:
        part_size: 0 for a file that was sent in one piece.
    """

    def __init__(self, part_size: int, size: int) -> None:
        self._part_size = part_size
        self._size = size
        self._digests: list[bytes] = []
        self._open = hashlib.sha256()
        self._room = part_size or size
        self.count = 0

    def take(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self.count += len(chunk)
        if self.count > self._size:
            raise SluiceError("More bytes came than the file has")
        rest = memoryview(chunk)
        while rest:
            fitting, rest = rest[: self._room], rest[self._room :]
            self._open.update(fitting)
            self._room -= len(fitting)
            if not self._room:
                self._close()

    def checksum(self) -> str:
        """The checksum of all that came."""
        if self._room < (self._part_size or self._size):
            self._close()
        return checksum_of(self._digests, self._part_size)

    def _close(self) -> None:
        self._digests.append(self._open.digest())
        self._open = hashlib.sha256()
        self._room = self._part_size or self._size
