"""Backup, restore and unlock of the Terraform state of an environment.

`make state-backup`, `make state-versions`, `make state-restore` and `make unlock`; docs/operations.md, "State", says
when to use them. The bucket keeps versions of a state as long as its lifecycle says; a backup is a local file.
"""

from __future__ import annotations

import argparse
import getpass
import json
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

from modules.names import state_object_key
from modules.settings import Settings
from stacks.terraform_json import parsed
from synthesis.components import COMPONENTS, DEFAULT
from synthesis.paths import BUILD
from tools.operate.account import add_component, assume_role, options_of, read_settings
from tools.operate.console import Failure, exit_with, say, shown
from tools.operate.synthesize import synthesize
from tools.operate.terraform import Terraform

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import PutObjectRequestTypeDef

BACKUPS = BUILD / "state"
# Number of versions in a list, newest first.
_SHOWN = 20


@dataclass(frozen=True)
class Lock:
    """A lock that a run of Terraform holds (Terraform, "State: Locking")."""

    component: str
    id: str
    who: str
    operation: str
    since: str

    def __str__(self) -> str:
        return f"{self.component}: {self.operation} by {self.who} since {self.since}, lock {self.id}"


@dataclass(frozen=True)
class Version:
    """A version of a state in its bucket."""

    id: str
    moment: datetime
    size: int
    deleted: bool = False

    def __str__(self) -> str:
        what = "deleted" if self.deleted else f"{self.size:,} bytes"
        return f"{self.id}  {self.moment:%Y-%m-%d %H:%M:%S} UTC  {what}"


class States:
    """The states of one environment in their bucket, which is used with the role that Terraform assumes."""

    def __init__(self, settings: Settings) -> None:
        """Assume the role of the settings, if there is one.

        Raises:
            Failure: AWS does not let these credentials assume the role.
        """
        self._settings = settings
        self._bucket = settings.state_bucket_name
        session = boto3.Session(region_name=settings.primary_region)
        if settings.assume_role_arn:
            with _refusals(f"assuming the role {settings.assume_role_arn}"):
                session = assume_role(session.client("sts"), settings.assume_role_arn, settings.prefix)
        self._s3: S3Client = session.client("s3")

    def backup(self, component: str, folder: Path) -> Path | None:
        """Write the state into a file that only its owner can read, and return its path; None if there is no state.

        Raises:
            Failure: AWS refuses.
        """
        content = self._get(state_object_key(component))
        if content is None:
            return None
        state = _parsed(content)
        serial = state["serial"] if state else "damaged"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / state_object_key(f"{component}-{serial}")
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(content)
        return path

    def versions(self, component: str) -> list[Version]:
        """Return the versions of a state, newest first."""
        key = state_object_key(component)
        with _refusals(f"listing the versions of {key}"):
            pages = list(self._s3.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=key))
        found = [
            Version(each["VersionId"], each["LastModified"], each["Size"])
            for page in pages
            for each in page.get("Versions", [])
            if each["Key"] == key
        ]
        found += [
            Version(each["VersionId"], each["LastModified"], 0, deleted=True)
            for page in pages
            for each in page.get("DeleteMarkers", [])
            if each["Key"] == key
        ]
        return sorted(found, key=lambda version: version.moment, reverse=True)

    def restore(self, component: str, *, version: str = "", file: Path | None = None) -> int:
        """Make an older version, or a backup, the current state, and return its new serial.

        The serial is higher than all earlier ones, so that no old plan becomes valid. The state is written in the
        format of Terraform, under its lock. `terraform state push` is not used: if the state is gone, it does not
        compare serial and lineage.

        Raises:
            Failure: there is no such version or file, it is of another lineage, the lock is held, or AWS refuses.
        """
        key = state_object_key(component)
        content = file.read_bytes() if file else self._get(key, version)
        state = _parsed(content or b"")
        if state is None:
            raise Failure(
                "restoring the state",
                f"{file or f'version {version}'} is no Terraform state",
                "choose one that `make state-versions` lists with a size",
            )
        with self._locked(component):
            newest = self._newest(component)
            if newest and newest["lineage"] != state["lineage"]:
                raise Failure(
                    "restoring the state",
                    f"{file or version} is of lineage {state['lineage']}, and the state is of {newest['lineage']}",
                    "take one of this environment and component",
                )
            serial = max(state["serial"], newest["serial"] if newest else 0) + 1
            self._put(key, json.dumps({**state, "serial": serial}, indent=2))
        return int(serial)

    def locks(self) -> list[Lock]:
        """Return the locks that are held now."""
        found = []
        for component in COMPONENTS:
            content = self._get(_lock_name(component))
            if content is not None:
                about = json.loads(content)
                found.append(Lock(component, about["ID"], about["Who"], about["Operation"], about["Created"]))
        return found

    def unlock(self, lock_id: str) -> Lock:
        """Remove a lock, and return it.

        Raises:
            Failure: there is no lock with this id, or Terraform refuses.
        """
        held = self.locks()
        lock = next((each for each in held if each.id == lock_id), None)
        if lock is None:
            known = "; ".join(map(str, held)) or "no state is locked"
            raise Failure("unlock", f"there is no lock {lock_id}: {known}", "run `make unlock` to see what is held")
        self._terraform(lock.component).force_unlock(lock_id)
        return lock

    def _terraform(self, component: str) -> Terraform:
        folder = folder_of(self._settings) / f"{component}.cdktf.out"
        terraform = Terraform(synthesize(folder, {"ENVIRONMENT": self._settings.environment}, component), {})
        terraform.init()
        return terraform

    @contextmanager
    def _locked(self, component: str) -> Iterator[None]:
        """Hold Terraform's lock of a state (Terraform, "Backend type: s3", `use_lockfile`)."""
        lock = _lock_name(component)
        about = {
            "ID": str(uuid.uuid4()),
            "Operation": "state-restore",
            "Info": "",
            "Who": f"{getpass.getuser()}@{socket.gethostname()}",
            "Version": "",
            "Created": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "Path": f"{self._bucket}/{state_object_key(component)}",
        }
        if not self._put(lock, json.dumps(about), new=True):
            held = next((str(each) for each in self.locks() if each.component == component), component)
            raise Failure("restoring the state", f"it is locked: {held}", "wait, or see `make unlock`")
        try:
            yield
        finally:
            self._s3.delete_object(Bucket=self._bucket, Key=lock)

    def _put(self, key: str, text: str, *, new: bool = False) -> bool:
        """Write an object as the S3 backend does. With `new`, write only a new object; return False if there is one."""
        request: PutObjectRequestTypeDef = {
            "Bucket": self._bucket,
            "Key": key,
            "Body": text.encode(),
            "ServerSideEncryption": "aws:kms",
            "SSEKMSKeyId": self._settings.state_key_arn,
        }
        if new:
            request["IfNoneMatch"] = "*"
        with _refusals(f"writing {key}"):
            try:
                self._s3.put_object(**request)
            except ClientError as error:
                if new and error.response["Error"]["Code"] in {"PreconditionFailed", "ConditionalRequestConflict"}:
                    return False
                raise
        return True

    def _newest(self, component: str) -> Mapping[str, Any] | None:
        """Return the newest readable version, also if the state was deleted or damaged."""
        for version in self.versions(component)[:_SHOWN]:
            if not version.deleted and (state := _parsed(self._get(state_object_key(component), version.id) or b"")):
                return state
        return None

    def _get(self, key: str, version: str = "") -> bytes | None:
        with _refusals(f"reading {key}"):
            try:
                if version:
                    return self._s3.get_object(Bucket=self._bucket, Key=key, VersionId=version)["Body"].read()
                return self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            except ClientError as error:
                if error.response["Error"]["Code"] in {"NoSuchKey", "NoSuchVersion", "404"}:
                    return None
                raise


def folder_of(settings: Settings, folder: Path = BACKUPS) -> Path:
    """Return the folder for the backups of an environment. Each project has one of its own."""
    return folder / settings.environment / settings.project_name


def _lock_name(component: str) -> str:
    """Return the key of the lock of a state (Terraform, "Backend type: s3", `use_lockfile`)."""
    return f"{state_object_key(component)}.tflock"


class _refusals:  # noqa: N801 - it is used as a word
    """Turns refusals of AWS into failures with a remedy."""

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ClientError):
            remedy = "use credentials that hold what `make deployer-policies` prints"
            if error.response["Error"]["Code"] == "NoSuchBucket":
                remedy = "run `make bootstrap` for this environment: it makes the bucket of the state"
            raise Failure(self._doing, str(error), remedy) from None


def _parsed(content: bytes) -> Mapping[str, Any] | None:
    """Return a state as Terraform writes it, or None."""
    state = parsed(content.decode(errors="replace"))
    return state if isinstance(state, dict) and {"serial", "lineage", "version"} <= state.keys() else None


def main() -> None:
    """Run the command line in the environment that ENVIRONMENT names."""
    parser = argparse.ArgumentParser(prog="python -m tools.operate.state", description=__doc__)
    parser.add_argument("command", choices=["backup", "versions", "restore", "unlock"])
    add_component(parser, default=None)
    parser.add_argument("--to", type=Path, help="folder of backups")
    parser.add_argument("--version", default="", help="which version to restore")
    parser.add_argument("--file", type=Path, help="which backup to restore")
    parser.add_argument("--lock", default="", help="id of the lock to take away")
    options = parser.parse_args()
    settings = read_settings()
    commands = {"backup": _backup, "versions": _versions, "restore": _restore, "unlock": _unlock}
    commands[options.command](States(settings), settings, options)


def _backup(states: States, settings: Settings, options: argparse.Namespace) -> None:
    """Write a copy of the state of a component, or of every component."""
    for component in [options.component] if options.component else COMPONENTS:
        path = states.backup(component, options.to or folder_of(settings))
        say(f"{component}: {shown(path) if path else 'there is no state'}")


def _versions(states: States, settings: Settings, options: argparse.Namespace) -> None:
    """List the newest versions of a component's state."""
    for version in states.versions(options.component or DEFAULT)[:_SHOWN]:
        say(str(version))


def _restore(states: States, settings: Settings, options: argparse.Namespace) -> None:
    """Make a version or a backup the newest state again, with a backup of the present one.

    Raises:
        Failure: the command line names no version and no file, or both.
    """
    component = options.component or DEFAULT
    target = f"ENVIRONMENT={settings.environment}{options_of(component)}"
    if bool(options.version) == bool(options.file):
        raise Failure("restoring the state", "name one VERSION or one FILE", f"make state-versions {target}")
    if (saved := states.backup(component, options.to or folder_of(settings))) is not None:
        say(f"what was there is in {shown(saved)}")
    serial = states.restore(component, version=options.version, file=options.file)
    say(f"The state is restored, with serial {serial}. What happened since then: make plan {target}")


def _unlock(states: States, settings: Settings, options: argparse.Namespace) -> None:
    """Remove the lock that the command line names, or list the locks."""
    if options.lock:
        say(f"Taken away: {states.unlock(options.lock)}")
        return
    held = [lock for lock in states.locks() if options.component in {None, lock.component}]
    for lock in held:
        say(str(lock))
    if held:
        unlock = f"make unlock ENVIRONMENT={settings.environment} LOCK={held[0].id}"
        say(f"\nAsk them first. If their run has ended: {unlock}")
    else:
        say("No state is locked.")


if __name__ == "__main__":
    exit_with(main)
