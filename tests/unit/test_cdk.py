"""The names of cdktf stand for the CDK that is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from synthesis.paths import ROOT

PACKAGES = {
    "cdktf": ("cdktf/__init__.py", "cdktf_cdktf_provider_aws/__init__.py"),
    "cdktn": ("cdktn/__init__.py", "cdktn_provider_aws/__init__.py", "cdktn_provider_aws/s3_bucket/__init__.py"),
}


def run(code: str, site: Path, *installed: str) -> subprocess.CompletedProcess[str]:
    """Run a program that has only these CDKs, made up, and no installed package."""
    for name in installed:
        for file in PACKAGES[name]:
            path = site / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"NAME = {path.parent.name!r}\n")
    return subprocess.run(
        [sys.executable, "-S", "-c", f"from synthesis import cdk\ncdk.use()\ncdk.use()\n{code}"],
        env={"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("installed", "found"), [(["cdktf"], "cdktf"), (["cdktn"], "cdktn"), (["cdktf", "cdktn"], "cdktf")]
)
def test_cdktf_is_used_where_it_is_installed(tmp_path: Path, installed: list[str], found: str) -> None:
    done = run("import cdktf; print(cdktf.NAME)", tmp_path, *installed)
    assert done.stdout == f"{found}\n", done.stderr


def test_without_either_the_error_is_that_of_cdktf(tmp_path: Path) -> None:
    assert run("import cdktf", tmp_path).stderr.endswith("No module named 'cdktf'\n")


def test_a_folder_of_the_same_name_is_not_cdktf(tmp_path: Path) -> None:
    (tmp_path / "cdktf").mkdir()
    assert run("import cdktf; print(cdktf.NAME)", tmp_path, "cdktn").stdout == "cdktn\n"


def test_a_module_has_two_names_and_is_one_object(tmp_path: Path) -> None:
    code = """
from cdktf_cdktf_provider_aws.s3_bucket import NAME
import cdktf_cdktf_provider_aws, cdktf_cdktf_provider_aws.s3_bucket, cdktn_provider_aws.s3_bucket, sys
assert cdktf_cdktf_provider_aws is cdktn_provider_aws
assert sys.modules["cdktf_cdktf_provider_aws.s3_bucket"] is cdktn_provider_aws.s3_bucket
assert cdktn_provider_aws.s3_bucket.__spec__.name == cdktn_provider_aws.s3_bucket.__name__
assert len([finder for finder in sys.meta_path if type(finder).__module__ == "synthesis.cdk"]) == 1
print(cdktn_provider_aws.s3_bucket.__spec__.name, NAME)
"""
    done = run(code, tmp_path, "cdktn")
    assert done.stdout == "cdktn_provider_aws.s3_bucket s3_bucket\n", done.stderr


def test_what_cdktn_lacks_is_an_error_with_its_name(tmp_path: Path) -> None:
    done = run("import cdktf_cdktf_provider_aws.absent", tmp_path, "cdktn")
    assert done.stderr.endswith("No module named 'cdktn_provider_aws.absent'\n")
