"""The Terraform state of an environment, when something is wrong with it: back it up, restore it, take its lock away.

`make state-backup`, `make state-versions`, `make state-restore` and `make unlock`; docs/operations.md, "State", says
when. The bucket keeps every version of a state for as long as the bucket's lifecycle says; a backup is a file of yours.
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

from modules.settings import Settings, SettingsError, load
from synthesis.paths import BUILD, ROOT
from tools.operate.console import Failure, exit_with, say, shown
from tools.operate.synthesize import synthesize
from tools.operate.terraform import Terraform

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import PutObjectRequestTypeDef

# What has a state: the platform, and the bucket of the states itself.
COMPONENTS = ("uploads", "state")
BACKUPS = BUILD / "state"
# Newest versions that are listed.
_SHOWN = 20


@dataclass(frozen=True)
class Lock:
    """A lock that somebody holds (Terraform, "State: Locking")."""

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
    """The states of one environment in their bucket."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bucket = settings.state_bucket_name
        self._s3: S3Client = boto3.Session(region_name=settings.primary_region).client("s3")

    def backup(self, component: str, folder: Path) -> Path | None:
        """Write the state into a file that only its owner reads, and return it; None if there is no state.

        Raises:
            Failure: AWS refuses.
        """
        content = self._get(f"{component}.tfstate")
        if content is None:
            return None
        state = _parsed(content)
        serial = state["serial"] if state else "damaged"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{component}-{serial}.tfstate"
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(content)
        return path

    def versions(self, component: str) -> list[Version]:
        """The versions of a state, the newest first."""
        key = f"{component}.tfstate"
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
        """Make an older version, or a backup, the state again, and return its new serial.

        It gets a serial above every one before, so that no plan of then becomes valid by it. It is written as Terraform
        writes it, under Terraform's lock. `terraform state push` forgets serial and lineage where the state is gone.

        Raises:
            Failure: there is no such version or file, it is of another lineage, the lock is held, or AWS refuses.
        """
        key = f"{component}.tfstate"
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
        """The locks that are held now."""
        found = []
        for component in COMPONENTS:
            content = self._get(f"{component}.tfstate.tflock")
            if content is not None:
                about = json.loads(content)
                found.append(Lock(component, about["ID"], about["Who"], about["Operation"], about["Created"]))
        return found

    def unlock(self, lock_id: str) -> Lock:
        """Take a lock away from whoever holds it, and return what it was.

        Raises:
            Failure: nobody holds a lock of this id, or Terraform refuses.
        """
        held = self.locks()
        lock = next((each for each in held if each.id == lock_id), None)
        if lock is None:
            known = "; ".join(map(str, held)) or "nobody holds a lock"
            raise Failure("unlock", f"there is no lock {lock_id}: {known}", "run `make unlock` to see what is held")
        self._terraform(lock.component).force_unlock(lock_id)
        return lock

    def _terraform(self, component: str) -> Terraform:
        environment = self._settings.environment
        folder = BUILD / "state" / f"{environment}.cdktf.out"
        terraform = Terraform(synthesize(folder, {"ENVIRONMENT": environment}, component), {})
        terraform.init()
        return terraform

    @contextmanager
    def _locked(self, component: str) -> Iterator[None]:
        """Hold Terraform's lock of a state (Terraform, "Backend type: s3", `use_lockfile`)."""
        key = f"{component}.tfstate"
        about = {
            "ID": str(uuid.uuid4()),
            "Operation": "state-restore",
            "Info": "",
            "Who": f"{getpass.getuser()}@{socket.gethostname()}",
            "Version": "",
            "Created": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "Path": f"{self._bucket}/{key}",
        }
        if not self._put(f"{key}.tflock", json.dumps(about), new=True):
            held = next((str(lock) for lock in self.locks() if lock.component == component), component)
            raise Failure("restoring the state", f"somebody holds its lock: {held}", "wait, or see `make unlock`")
        try:
            yield
        finally:
            self._s3.delete_object(Bucket=self._bucket, Key=f"{key}.tflock")

    def _put(self, key: str, text: str, *, new: bool = False) -> bool:
        """Write an object as the S3 backend does; with `new`, false if there is one."""
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
        """The newest version that can be read, also where the state was deleted or damaged."""
        for version in self.versions(component)[:_SHOWN]:
            if not version.deleted and (state := _parsed(self._get(f"{component}.tfstate", version.id) or b"")):
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


class _refusals:  # noqa: N801 - it is used as a word
    """Says in words what AWS refuses."""

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
    """A state as Terraform writes it, or None."""
    try:
        state = json.loads(content)
    except ValueError:
        return None
    return state if isinstance(state, dict) and {"serial", "lineage", "version"} <= state.keys() else None


def main() -> None:
    """Do what the command line says for the environment that ENVIRONMENT names."""
    parser = argparse.ArgumentParser(prog="python -m tools.operate.state", description=__doc__)
    parser.add_argument("command", choices=["backup", "versions", "restore", "unlock"])
    parser.add_argument("--component", choices=COMPONENTS, default=COMPONENTS[0])
    parser.add_argument("--to", type=Path, help="folder of backups")
    parser.add_argument("--version", default="", help="which version to restore")
    parser.add_argument("--file", type=Path, help="which backup to restore")
    parser.add_argument("--lock", default="", help="id of the lock to take away")
    options = parser.parse_args()
    try:
        settings = load(ROOT / "environments")
    except SettingsError as error:
        raise Failure("reading the settings", str(error), "mend it and run the same command again") from None
    commands = {"backup": _backup, "versions": _versions, "restore": _restore, "unlock": _unlock}
    commands[options.command](States(settings), settings.environment, options)


def _backup(states: States, name: str, options: argparse.Namespace) -> None:
    """Write a copy of the state of every component of the environment `name`."""
    for component in COMPONENTS:
        path = states.backup(component, options.to or BACKUPS / name)
        say(f"{component}: {shown(path) if path else 'there is no state'}")


def _versions(states: States, name: str, options: argparse.Namespace) -> None:
    """List the newest versions of a component's state."""
    for version in states.versions(options.component)[:_SHOWN]:
        say(str(version))


def _restore(states: States, name: str, options: argparse.Namespace) -> None:
    """Make a version or a backup the newest state again, with a backup of the present one.

    Raises:
        Failure: the command line names no version and no file, or both.
    """
    if bool(options.version) == bool(options.file):
        raise Failure("restoring the state", "name one VERSION or one FILE", f"make state-versions ENVIRONMENT={name}")
    if (saved := states.backup(options.component, options.to or BACKUPS / name)) is not None:
        say(f"what was there is in {shown(saved)}")
    serial = states.restore(options.component, version=options.version, file=options.file)
    say(f"The state is restored, with serial {serial}. What happened since then: make plan ENVIRONMENT={name}")


def _unlock(states: States, name: str, options: argparse.Namespace) -> None:
    """Remove the lock that the command line names, or list the locks."""
    if options.lock:
        say(f"Taken away: {states.unlock(options.lock)}")
        return
    held = states.locks()
    for lock in held:
        say(str(lock))
    if held:
        say(f"\nAsk them first. If nobody is at work any more: make unlock ENVIRONMENT={name} LOCK={held[0].id}")
    else:
        say("Nobody holds a lock.")


if __name__ == "__main__":
    exit_with(main)
