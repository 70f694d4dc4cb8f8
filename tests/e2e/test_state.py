"""docs/operations.md, "State": every command in it, when a lock or a state is lost. It is the deployed platform's."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

from synthesis.components import COMPONENTS
from synthesis.paths import ROOT
from tests.e2e.conftest import Deployed, wait_for
from tests.e2e.test_plan import make
from tools.operate.console import Failure
from tools.operate.terraform import Terraform, cli_configuration, find_program

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "sluice-local-state-000000000000-us-east-1"
KEY = "uploads.tfstate"
# What was made here, by target and the names of its variables, to be compared with the page.
made: set[tuple[str, ...]] = set()


@pytest.fixture(scope="module")
def variables(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the variables that direct make to the embedded AWS, as the deployer."""
    return {**deployed.system.variables(deployed.aws), "TF_CLI_CONFIG_FILE": str(cli_configuration())}


@pytest.fixture(scope="module")
def s3(deployed: Deployed, variables: dict[str, str]) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=deployed.aws.endpoint_url,
        verify=str(deployed.aws.ca_bundle),
        region_name=deployed.aws.region,
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.fixture(autouse=True)
def _the_state_stays(s3: S3Client) -> Iterator[None]:
    """The platform's resources are in the state before and after each test, and nobody holds its lock.

    What a test that failed leaves behind is mended, for the sake of the others.
    """
    before = s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read()
    assert len(json.loads(before)["resources"]) > 100
    yield
    held = is_locked(s3)
    if held:
        s3.delete_object(Bucket=BUCKET, Key=f"{KEY}.tflock")
    there = KEY in {each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET, Prefix=KEY).get("Contents", [])}
    same = there and resources(s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read()) == resources(before)
    if not same:
        s3.put_object(Bucket=BUCKET, Key=KEY, Body=before)
    assert same
    assert not held


def is_locked(s3: S3Client) -> bool:
    return bool(s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{KEY}.tflock").get("Contents"))


def resources(content: bytes) -> object:
    try:
        return json.loads(content)["resources"]
    except ValueError:
        return None


def run(target: str, variables: dict[str, str], **given: str) -> tuple[int, str]:
    made.add((target, *sorted(given)))
    return make(target, *(f"{name}={value}" for name, value in given.items()), **variables)


def test_a_lock_that_was_left_is_shown_with_its_holder_and_taken_away(
    deployed: Deployed, variables: dict[str, str], s3: S3Client
) -> None:
    assert run("unlock", variables)[1].endswith("No state is locked.\n")
    apply = subprocess.Popen(
        [*find_program(), "apply", "-input=true", "-refresh=false"],
        cwd=deployed.terraform.folder,
        env={**os.environ, **variables, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: is_locked(s3))
    finally:
        os.killpg(apply.pid, signal.SIGKILL)
        apply.communicate()

    code, said = run("unlock", variables)
    lock = re.search(r"^uploads: OperationTypeApply by \S+@\S+ since \S+Z, lock (\S+)$", said, re.MULTILINE)
    assert code == 0
    assert lock, said
    assert f"make unlock ENVIRONMENT=local LOCK={lock[1]}" in said

    code, said = run("unlock", variables, LOCK="00000000-0000-0000-0000-000000000000")
    assert code == 2
    assert f"lock {lock[1]}" in said
    with pytest.raises(Failure, match=r"lock(.|\n)*see State in docs/operations\.md"):
        deployed.terraform.read_back()
    code, said = run("state-restore", variables, FILE=str(backup(variables)))
    assert code == 2
    assert "it is locked: uploads: OperationTypeApply" in said

    code, said = run("unlock", variables, LOCK=lock[1])
    assert code == 0, said
    assert run("unlock", variables)[1].endswith("No state is locked.\n")


def backup(variables: dict[str, str]) -> Path:
    """The newest backup of the platform's state."""
    code, said = run("state-backup", variables)
    assert code == 0, said
    path = re.search(r"^uploads: (\S+)$", said, re.MULTILINE)
    assert path, said
    return ROOT / path[1]


def test_only_its_owner_can_read_a_backup(variables: dict[str, str], s3: S3Client, tmp_path: Path) -> None:
    code, said = run("state-backup", variables, TO=str(tmp_path))
    assert code == 0, said
    files = {file.name.rpartition("-")[0]: file for file in tmp_path.iterdir()}
    # Other tests may have left the empty states of further components.
    assert {"state", "uploads"} <= files.keys() <= COMPONENTS.keys()
    assert {file.stat().st_mode & 0o777 for file in files.values()} == {0o600}
    assert files["uploads"].read_bytes() == s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read()


def test_a_state_that_was_deleted_comes_back_from_a_version(
    deployed: Deployed, variables: dict[str, str], s3: S3Client
) -> None:
    before = json.loads(s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read())
    s3.delete_object(Bucket=BUCKET, Key=KEY)
    code, said = run("state-versions", variables)
    assert code == 0, said
    lines = [line for line in said.splitlines() if "UTC" in line]
    assert lines[0].endswith("deleted")
    version, _, rest = lines[1].partition(" ")
    assert rest.endswith("bytes")

    code, said = run("state-restore", variables, VERSION=version)
    assert code == 0, said
    restored = json.loads(s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read())
    assert (restored["serial"], restored["lineage"]) == (before["serial"] + 1, before["lineage"])
    assert f"with serial {restored['serial']}" in said
    head = s3.head_object(Bucket=BUCKET, Key=KEY)
    assert head["ServerSideEncryption"] == "aws:kms"
    assert head["SSEKMSKeyId"] == f"arn:aws:kms:us-east-1:000000000000:key/{deployed.state_key_id}"


def test_a_damaged_state_comes_back_from_a_backup(variables: dict[str, str], s3: S3Client) -> None:
    saved = backup(variables)
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"{ half a sta")
    code, said = run("state-restore", variables, FILE=str(saved))
    assert code == 0, said
    assert "what was there is in" in said
    assert "uploads-damaged.tfstate" in said


def test_what_is_no_state_and_what_is_of_another_lineage_is_refused(
    variables: dict[str, str], s3: S3Client, tmp_path: Path
) -> None:
    file = tmp_path / "other.tfstate"
    file.write_text("{}")
    code, said = run("state-restore", variables, FILE=str(file))
    assert code == 2
    assert "is no Terraform state" in said
    state = json.loads(s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read())
    file.write_text(json.dumps({**state, "lineage": "another", "resources": []}))
    code, said = run("state-restore", variables, FILE=str(file))
    assert code == 2
    assert "lineage" in said


def test_the_state_of_the_bucket_has_versions_too(variables: dict[str, str]) -> None:
    code, said = run("state-versions", variables, COMPONENT="state")
    assert code == 0
    assert "bytes" in said


def test_a_plan_from_before_is_refused_in_words(deployed: Deployed, variables: dict[str, str], tmp_path: Path) -> None:
    """A root of nothing but a value, with its state in the same bucket: the plan and the state are real."""
    backend = json.loads((deployed.terraform.folder / "cdk.tf.json").read_text())["terraform"]["backend"]
    backend["s3"]["key"] = f"tiny-{secrets.token_hex(4)}.tfstate"
    content = {"terraform": {"backend": backend}, "resource": {"terraform_data": {"a": {"input": "one"}}}}
    (tmp_path / "main.tf.json").write_text(json.dumps(content))
    terraform = Terraform(tmp_path, variables)
    terraform.init()
    terraform.plan()
    terraform.plan(to="second")
    terraform.apply()
    with pytest.raises(Failure, match=r"stale(.|\n)*the state has moved on since that plan: run `make plan` again"):
        terraform.apply("second")


def test_every_command_of_the_page_was_run_here() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    section = page.partition("\n## State\n")[2].partition("\n## ")[0]
    commands = [line.split()[1:] for line in section.splitlines() if line.startswith("    make ")]
    wanted = {
        (words[0], *sorted(word.partition("=")[0] for word in words[1:] if not word.startswith("ENVIRONMENT=")))
        for words in commands
    }
    assert len(wanted) > 5
    # These are run by test_plan.py and test_system.py.
    assert wanted - made <= {("plan",), ("bootstrap",)}
