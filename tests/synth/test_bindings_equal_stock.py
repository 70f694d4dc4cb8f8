"""The slimmed provider gives the Terraform JSON that the installed one gives, and yields to it when that changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from synthesis import bindings
from tools.develop.setup import CDKS

REPOSITORY = Path(bindings.__file__).parent.parent

APP = f"""
import sys
from pathlib import Path

from synthesis import bindings, cdk

cdk.use()
bindings.use(Path(sys.argv[1]), [Path(__file__)])

import {bindings.IN_SOURCE}
from cdktf import App, TerraformOutput, TerraformStack
from {bindings.IN_SOURCE}.kms_key import KmsKey
from {bindings.IN_SOURCE}.lambda_function import LambdaFunction, LambdaFunctionEnvironment
from {bindings.IN_SOURCE}.provider import AwsProvider
from {bindings.IN_SOURCE}.s3_bucket import S3Bucket, S3BucketServerSideEncryptionConfiguration
from {bindings.IN_SOURCE}.s3_bucket import S3BucketServerSideEncryptionConfigurationRule as Rule
from {bindings.IN_SOURCE}.s3_bucket import (
    S3BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefault as Default,
)

app = App(outdir=sys.argv[2])
stack = TerraformStack(app, "small")
AwsProvider(stack, "aws", region="eu-central-1")
key = KmsKey(stack, "key", enable_key_rotation=True)
default = Default(sse_algorithm="aws:kms", kms_master_key_id=key.arn)
bucket = S3Bucket(
    stack,
    "bucket",
    bucket="small",
    server_side_encryption_configuration=S3BucketServerSideEncryptionConfiguration(
        rule=Rule(apply_server_side_encryption_by_default=default)
    ),
)
function = LambdaFunction(
    stack,
    "function",
    function_name="small",
    role="arn:aws:iam::123456789012:role/small",
    environment=LambdaFunctionEnvironment(variables={{"BUCKET": bucket.bucket, "ZÄHLER": "1"}}),
)
function.put_timeouts(create="5m")
TerraformOutput(stack, "size", value=function.environment.variables)
app.synth()
print({bindings.IN_SOURCE}.__file__)
"""


def synthesize(folder: Path, *path: Path, stock: bool = False) -> tuple[bytes, Path, str]:
    """Run the app in a new process; return its Terraform JSON, where its provider came from, and its stderr."""
    script = folder / "small_app.py"
    script.write_text(APP, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, REPOSITORY]))}
    environment[bindings.STOCK_VARIABLE] = "1" if stock else "0"
    # The installed package may come without byte code. Compiling its 2,138 modules takes a minute: once is enough.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    outdir = folder / ("stock" if stock else "slim")
    done = subprocess.run(
        [sys.executable, str(script), str(folder), str(outdir)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return (outdir / "stacks" / "small" / "cdk.tf.json").read_bytes(), Path(done.stdout.strip()), done.stderr


def of_bindings(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("bindings: ")]


@pytest.mark.slow
def test_slim_and_stock_give_the_same_bytes(tmp_path: Path) -> None:
    slim, slim_origin, slim_said = synthesize(tmp_path)
    stock, stock_origin, stock_said = synthesize(tmp_path, stock=True)
    assert slim == stock
    assert set(json.loads(slim)["resource"]) == {"aws_kms_key", "aws_lambda_function", "aws_s3_bucket"}

    assert slim_origin.is_relative_to(tmp_path / bindings._STORE)
    assert stock_origin == bindings._locate() / "__init__.py"
    assert len(of_bindings(slim_said)) == 1
    assert of_bindings(stock_said) == []


@pytest.mark.slow
def test_a_changed_provider_is_used_as_it_is(tmp_path: Path) -> None:
    """This one loads any submodule by its name: another layout, which this module does not know."""
    installed = bindings._locate()
    changed = tmp_path / "site" / bindings.PACKAGE
    changed.mkdir(parents=True)
    for path in installed.iterdir():
        if path.name not in ("__init__.py", "__pycache__"):
            (changed / path.name).symlink_to(path)
    (metadata,) = installed.parent.glob(f"{bindings.PACKAGE}-*.dist-info")
    (changed.parent / metadata.name).symlink_to(metadata)
    lazy = "import importlib\n\n\ndef __getattr__(name):\n    return importlib.import_module(f'{__name__}.{name}')\n"
    (changed / "__init__.py").write_text(f"from ._jsii import *\n\n{lazy}", encoding="utf-8")

    written, origin, said = synthesize(tmp_path, changed.parent)
    assert set(json.loads(written)["resource"]) == {"aws_kms_key", "aws_lambda_function", "aws_s3_bucket"}
    assert origin == changed / "__init__.py"
    (line,) = of_bindings(said)
    assert "synthesis will be slow: the provider's __init__.py does not list and load exactly the submodules" in line


# Everyone gets the speed, with nothing to remember.

REPORT = """
import atexit, runpy, sys
atexit.register(lambda: print("provider:", sys.modules["cdktf_cdktf_provider_aws"].__file__))
atexit.register(lambda: print("process:", sys.modules["jsii._kernel.providers.process"]._NodeProcess.__module__))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def provider_of(words: list[str], folder: Path) -> Path:
    """Where a program, given as its file and arguments, gets the provider from; it has no relay before jsii."""
    environment = {**os.environ, "ENVIRONMENT": "dev", "CDKTF_OUTDIR": str(folder)}
    for name in (bindings.STOCK_VARIABLE, "PYTHONPATH"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", REPORT, *words],
        capture_output=True,
        text=True,
        env=environment,
        cwd=REPOSITORY,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "process: synthesis.jsii_process" in done.stdout.splitlines()
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("provider: "))
    return Path(line.removeprefix("provider: "))


def test_what_cdktf_runs_takes_the_copy(tmp_path: Path) -> None:
    """`cdktf synth` and `cdktf deploy` run the command `app` of cdktf.json, and so do `make synth` and `make up`."""
    interpreter, *words = json.loads((REPOSITORY / "cdktf.json").read_text())["app"].split()
    assert REPOSITORY / interpreter in {environment.python for environment in CDKS.values()}
    assert words == ["main.py"]
    assert provider_of(words, tmp_path).is_relative_to(REPOSITORY / bindings._STORE)


def test_what_the_benchmarks_run_takes_the_copy(tmp_path: Path) -> None:
    words = ["tools/bench/many_environments.py", "1", str(tmp_path)]
    assert provider_of(words, tmp_path).is_relative_to(REPOSITORY / bindings._STORE)


def test_pytest_takes_the_copy() -> None:
    import cdktf_cdktf_provider_aws
    from jsii._kernel.providers import process

    if not bindings.stock_is_asked_for():
        assert process._NodeProcess.__module__ == "synthesis.jsii_process"
        assert Path(str(cdktf_cdktf_provider_aws.__file__)).is_relative_to(REPOSITORY / bindings._STORE)
