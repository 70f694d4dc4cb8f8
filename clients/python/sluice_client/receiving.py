"""Downloads of files, which continue after a lost connection and check the checksum."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from pathlib import Path

from sluice_client.api import Api, File
from sluice_client.errors import SluiceError, UnreachableError
from sluice_client.parts import Rules, checksum_of
from sluice_client.retries import PASSING, retry_after
from sluice_client.sending import Unwatched, Watcher
from sluice_client.text import local_name, printable, quoted

_CHECKSUM = re.compile(r"[A-Za-z0-9+/]{43}=(-[1-9][0-9]{0,4})?")
_NAME_MAX = 255


class Receiver:
    """A receiver of files from one API.

    Args:
        replace: overwrite existing files, except those that this receiver wrote.
    """

    def __init__(
        self,
        api: Api,
        *,
        replace: bool = False,
        rules: Rules = Rules(),  # noqa: B008 - frozen dataclass
        watcher: Watcher | None = None,
    ) -> None:
        self._api = api
        self._replace = replace
        self._rules = rules
        self._watcher = watcher or Unwatched()
        # Written files by device and inode: a file can have several names, for example if the file system ignores case.
        self._written: set[tuple[int, int]] = set()

    def fetch(self, file_id: str, target: Path | None = None) -> Path:
        """Download a file. It appears under its name only when it is complete and its checksum is right.

        Args:
            target: a folder or a file name; by default the name of the file, in the working folder.

        Raises:
            SluiceError: the file cannot be downloaded or written, or its checksum is wrong.
        """
        file = self._api.file(file_id)
        if target is None or target.is_dir():
            folder = target or Path()
            target = folder / local_name(file.file_name, longest=_longest_name(folder))
        # A symbolic link is kept; the file to which it points is replaced.
        place = Path(os.path.realpath(target)) if target.is_symlink() else target
        if not place.parent.is_dir():
            raise SluiceError(f"there is no folder {printable(str(place.parent))}")
        self._check(place, target)
        body = _Body(self._part_size(file), file.size)
        partial = place.with_name(f".sluice-{secrets.token_hex(8)}.part")
        try:
            self._receive(file_id, body, file.size, partial)
            if body.checksum() != file.checksum:
                raise SluiceError(f"The download of {file_id} is damaged: its checksum differs from the stored one")
            self._publish(partial, place, target)
            found = place.stat()
        except OSError as error:
            raise SluiceError(f"{printable(str(target))} cannot be written: {error.strerror or error}") from None
        finally:
            with contextlib.suppress(OSError):
                partial.unlink()
        self._written.add((found.st_dev, found.st_ino))
        return target

    def _part_size(self, file: File) -> int:
        found = _CHECKSUM.fullmatch(file.checksum)
        part_size = self._rules.part_size(file.size) if found and found[1] else 0
        if not found or (found[1] and not part_size):
            raise SluiceError("its checksum is of a kind that this version of the client does not know")
        return part_size

    def _check(self, place: Path, target: Path) -> None:
        if not place.exists():
            return
        if not self._replace:
            raise SluiceError(f"{printable(str(target))} exists already")
        if not place.is_file():
            raise SluiceError(f"{printable(str(target))} is not a file, so it is not replaced")
        found = place.stat()
        if (found.st_dev, found.st_ino) in self._written:
            raise SluiceError(f"{printable(str(target))} was written by this command for another file")

    def _receive(self, file_id: str, body: _Body, size: int, partial: Path) -> None:
        with partial.open("xb") as written:
            self._watcher.stage("fetching", size)
            failures = 0
            while body.count < size:
                failed: SluiceError | None = None
                before, at_least = body.count, 0.0
                url = self._api.download_link(file_id)
                try:
                    with self._api.http.fetch(url, headers=_from(body.count)) as (reply, chunks):
                        if reply.status == (206 if body.count else 200):
                            for chunk in chunks:
                                body.take(chunk)
                                written.write(chunk)
                                self._watcher.advance(len(chunk))
                        elif reply.status not in PASSING | {403}:
                            raise SluiceError(f"S3 refused {quoted(file_id)}: HTTP {reply.status}")
                        else:
                            failed = SluiceError(f"S3 refused {quoted(file_id)}: HTTP {reply.status}")
                            at_least = retry_after(reply.headers)
                except UnreachableError as error:
                    failed = error
                if body.count < size:
                    failed = failed or SluiceError(f"{quoted(file_id)} ended after {body.count} of {size} bytes")
                    # An answer with a few bytes in each attempt would never end.
                    failures = 1 if body.count - before >= self._api.http.enough_bytes else failures + 1
                    if failures >= self._api.patience.attempts:
                        raise failed
                    self._api.tell(f"{failed}; trying again")
                    self._api.patience.pause(failures, at_least=at_least)

    def _publish(self, partial: Path, place: Path, target: Path) -> None:
        if self._replace:
            partial.replace(place)
            return
        try:
            # Unlike a rename, this fails if such a file was created in the meantime.
            place.hardlink_to(partial)
        except FileExistsError:
            raise SluiceError(f"{printable(str(target))} exists already") from None
        except OSError:
            # This file system has no hard links.
            self._check(place, target)
            partial.rename(place)


def _longest_name(folder: Path) -> int:
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        return _NAME_MAX


def _from(offset: int) -> dict[str, str]:
    return {"Range": f"bytes={offset}-"} if offset else {}


class _Body:
    """The checksum of a download, computed as the bytes arrive.

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
        """Add the next bytes."""
        self.count += len(chunk)
        if self.count > self._size:
            raise SluiceError("The download has more bytes than the file")
        rest = memoryview(chunk)
        while rest:
            fitting, rest = rest[: self._room], rest[self._room :]
            self._open.update(fitting)
            self._room -= len(fitting)
            if not self._room:
                self._close()

    def checksum(self) -> str:
        """Return the checksum of all bytes."""
        if self._room < (self._part_size or self._size) or not self._digests:
            self._close()
        return checksum_of(self._digests, self._part_size)

    def _close(self) -> None:
        self._digests.append(self._open.digest())
        self._open = hashlib.sha256()
        self._room = self._part_size or self._size
