"""Common properties of all stacks: provider, backend, tags, addresses; synthesis depends only on its input."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cdktf import App, TerraformOutput
from constructs import Construct
from pydantic import ValidationError
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from stacks.base import SERVICES, AddressError, BaseStack
from synthesis.paths import ROOT
from tests.synth.conftest import ENDPOINT, ENVIRONMENTS, Synthesized, settings_of, synthesize
from tools.operate.console import Failure
from tools.operate.terraform import Terraform, find_program

LIBRARY = [sys.executable, "-m", "tools.operate.terraform_library"]

# Which service of the provider makes the resources of a kind.
SERVICE_OF = {
    "aws_api_gateway": "apigateway",
    "aws_cloudfront": "cloudfront",
    "aws_cloudwatch_dashboard": "cloudwatch",
    "aws_cloudwatch_event": "eventbridge",
    "aws_cloudwatch_log": "cloudwatchlogs",
    "aws_cloudwatch_metric": "cloudwatch",
    "aws_cloudwatch_query": "cloudwatchlogs",
    "aws_codedeploy": "codedeploy",
    "aws_cognito": "cognitoidp",
    "aws_dynamodb": "dynamodb",
    "aws_guardduty": "guardduty",
    "aws_iam": "iam",
    "aws_kms": "kms",
    "aws_lambda": "lambda",
    "aws_s3": "s3",
    "aws_scheduler": "scheduler",
    "aws_secretsmanager": "secretsmanager",
    "aws_sfn": "sfn",
    "aws_sns": "sns",
    "aws_sqs": "sqs",
    "aws_ssm": "ssm",
    "aws_wafv2": "wafv2",
}


def test_the_provider_is_explicit(any_stack: Synthesized, environment: str) -> None:
    settings = settings_of(environment)
    (provider,) = any_stack.json["provider"]["aws"]
    assert provider["default_tags"] == [
        {
            "tags": {
                "Project": "sluice",
                "Environment": environment,
                "Owner": settings.owner,
                "ManagedBy": "terraform",
            }
        }
    ]
    assert any_stack.json["terraform"]["required_providers"] == {
        "aws": {"source": "hashicorp/aws", "version": "5.100.0"}
    }


def test_the_state_is_in_s3_encrypted_and_locked(any_stack: Synthesized, environment: str) -> None:
    settings = settings_of(environment)
    component = "state" if any_stack.folder.name.endswith("-state") else "uploads"
    backend = any_stack.json["terraform"]["backend"]["s3"]
    backend.pop("endpoints", None)
    backend.pop("use_path_style", None)
    assert backend == {
        "bucket": f"sluice-{environment}-state-{settings.account_id}-us-east-1",
        "key": f"{component}.tfstate",
        "region": "us-east-1",
        "encrypt": True,
        "kms_key_id": f"arn:aws:kms:us-east-1:{settings.account_id}:alias/sluice-{environment}-state",
        "use_lockfile": True,
        "allowed_account_ids": [settings.account_id],
    }


def test_local_alone_points_at_the_embedded_aws(any_stack: Synthesized, environment: str) -> None:
    (provider,) = any_stack.json["provider"]["aws"]
    backend = any_stack.json["terraform"]["backend"]["s3"]
    if environment == "local":
        assert set(provider["endpoints"][0]) == set(SERVICES)
        assert set(provider["endpoints"][0].values()) == {ENDPOINT}
        assert backend["endpoints"] == {"s3": ENDPOINT, "sts": ENDPOINT}
        assert provider["s3_use_path_style"] is backend["use_path_style"] is True
    else:
        assert "endpoints" not in {*provider, *backend}
        assert "path_style" not in any_stack.text
        assert "127.0.0.1" not in any_stack.text
    assert not re.search(r'"skip_\w+"|access_key|secret_key', any_stack.text)


def test_every_service_that_is_used_has_an_endpoint_on_local(stack: Synthesized) -> None:
    used = {
        next(service for kind, service in SERVICE_OF.items() if name.startswith(kind)) for name in stack.resources()
    }
    assert used <= set(SERVICES)


def test_a_role_to_assume_is_in_provider_and_backend(tmp_path: Path) -> None:
    role = "arn:aws:iam::111111111111:role/deployer"
    app = App(outdir=str(tmp_path))
    BaseStack(app, settings=settings_of("dev", assume_role_arn=role))
    app.synth()
    content = Synthesized(tmp_path / "stacks" / "sluice-dev").json
    assert content["provider"]["aws"][0]["assume_role"] == [{"role_arn": role, "session_name": "sluice-dev"}]
    assert content["terraform"]["backend"]["s3"]["assume_role"] == {"role_arn": role}


def test_a_key_that_is_named_is_in_the_backend(tmp_path: Path) -> None:
    key_id = "12345678-1234-4234-8234-123456789abc"
    app = App(outdir=str(tmp_path))
    BaseStack(app, settings=settings_of("dev", state_kms_key_id=key_id))
    app.synth()
    backend = Synthesized(tmp_path / "stacks" / "sluice-dev").json["terraform"]["backend"]["s3"]
    assert backend["kms_key_id"] == f"arn:aws:kms:us-east-1:111111111111:key/{key_id}"


def test_the_key_of_the_state_has_the_alias_of_the_backend_and_its_bucket_takes_both_names(
    output: Path, environment: str
) -> None:
    """S3 may compare a condition with the name that a put gives, or with the key that it stands for."""
    state = Synthesized(output / "stacks" / f"sluice-{environment}-state")
    (alias,) = state.resources("aws_kms_alias").values()
    (key,) = state.resources("aws_kms_key")
    backend = state.json["terraform"]["backend"]["s3"]
    assert backend["kms_key_id"].rpartition(":")[2] == alias["name"]
    assert alias["target_key_id"] == f"${{{key}.key_id}}"
    (policy,) = state.resources("aws_s3_bucket_policy").values()
    (denial,) = (each for each in json.loads(policy["policy"])["Statement"] if each["Sid"] == "DenyOtherKeys")
    name = "s3:x-amz-server-side-encryption-aws-kms-key-id"
    assert denial["Condition"]["StringNotEquals"] == {name: [f"${{{key}.arn}}", backend["kms_key_id"]]}


def test_a_synthesis_leaves_its_own_environment_alone_in_the_folder(tmp_path: Path) -> None:
    variables = {**os.environ, "CDKTF_OUTDIR": str(tmp_path)}
    for environment in ("dev", "staging"):
        words = [sys.executable, str(ROOT / "main.py")]
        subprocess.run(words, cwd=ROOT, env={**variables, "ENVIRONMENT": environment}, check=True)
        assert [path.name for path in (tmp_path / "stacks").iterdir()] == [f"sluice-{environment}"]


@pytest.mark.parametrize(
    ("key_id", "taken"),
    [
        (None, True),
        ("12345678-1234-4234-8234-123456789abc", True),
        ("f0000000-ffff-1fff-bfff-ffffffffffff", True),
        ("mrk-0123456789abcdef0123456789abcdef", True),
        ("11111111-1111-1111-1111-111111111111", False),
        ("00000000-0000-0000-0000-000000000000", False),
        ("12345678-1234-6234-8234-123456789abc", False),
    ],
)
def test_settings_take_the_keys_that_terraforms_backend_takes(key_id: str | None, taken: bool, tmp_path: Path) -> None:
    """The backend checks the form of a key before it calls AWS; there is no AWS in this test."""
    arn = f"arn:aws:kms:us-east-1:111111111111:key/{key_id}" if key_id else settings_of("dev").state_key_arn
    backend = {
        "bucket": "x",
        "key": "x",
        "region": "us-east-1",
        "kms_key_id": arn,
        "access_key": "x",
        "secret_key": "x",
        "skip_credentials_validation": True,
        "skip_requesting_account_id": True,
        "max_retries": 0,
        "endpoints": {"s3": "http://127.0.0.1:9"},
        "use_path_style": True,
    }
    (tmp_path / "main.tf.json").write_text(json.dumps({"terraform": {"backend": {"s3": backend}}}))
    init = [*find_program(), "init", "-input=false", "-no-color"]
    done = subprocess.run(init, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert ("Invalid KMS Key" not in said) is taken
    assert ("connection refused" in said) is taken
    if taken:
        assert settings_of("dev", state_kms_key_id=key_id).state_key_arn == arn
    else:
        with pytest.raises(ValidationError):
            settings_of("dev", state_kms_key_id=key_id)


def test_addresses_are_plain_and_known(prod: Synthesized, snapshot: SnapshotAssertion) -> None:
    addresses = sorted(prod.resources())
    assert not [address for address in addresses if re.search(r"[0-9A-F]{8}|[^a-z0-9_.]", address)]
    assert "aws_s3_bucket.storage_uploads" in addresses
    assert "\n".join(addresses) == snapshot


def test_every_environment_has_the_addresses_of_prod_but_for_what_settings_leave_out(
    stack: Synthesized, prod: Synthesized
) -> None:
    optional = (
        "storage_access_logs",
        "storage_logging",
        "storage_cors",
        "firewall",
        "api_options",
        "releases",
        "scanning",
        "monitoring_scanning",
        "inspect_role_files_scan_result",
        "website",
        "monitoring_website",
        "authorization_domain",
        "authorization_page_client",
    )
    differing = {address.partition(".")[2] for address in set(stack.resources()) ^ set(prod.resources())}
    assert [name for name in differing if not name.startswith(optional)] == []


def test_two_elements_with_one_address_are_refused(tmp_path: Path) -> None:
    stack = BaseStack(App(outdir=str(tmp_path)), settings=settings_of("dev"))
    outer, inner = Construct(stack, "a"), Construct(stack, "a_b")
    assert TerraformOutput(outer, "b_c", value="1").friendly_unique_id == "a_b_c"
    other = TerraformOutput(inner, "c", value="2")
    with pytest.raises(
        Exception, match="sluice-dev/a_b/c and sluice-dev/a/b_c would both have the address a_b_c"
    ) as caught:
        other.friendly_unique_id  # noqa: B018 - reading it allocates the address
    assert AddressError.__name__ in repr(caught.value) or isinstance(caught.value, (AddressError, RuntimeError))


def test_the_json(stack: Synthesized, snapshot: SnapshotAssertion) -> None:
    """Show the changes of Terraform JSON in the pull request that makes them, without the hashes of sources."""
    assert readable(stack.json) == snapshot(extension_class=JSONSnapshotExtension)


def readable(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """JSON as a reviewer reads it: documents inside strings opened up, CDKTF's own notes and hashes left out."""
    if isinstance(value, dict):
        hashes = {"source_code_hash", "routes"}
        return {
            key: "(hash)" if key in hashes and isinstance(inner, str) else readable(inner)
            for key, inner in value.items()
            if key != "//"
        }
    if isinstance(value, list):
        return [readable(inner) for inner in value]
    if isinstance(value, str) and value.startswith('{"'):
        # A template of EventBridge's has places where JSON has values.
        with suppress(json.JSONDecodeError):
            return readable(json.loads(value))
    return value


def test_the_same_input_gives_the_same_bytes(output: Path, tmp_path: Path) -> None:
    synthesize(tmp_path / "again", *(settings_of(name) for name in ENVIRONMENTS))
    for first in sorted(output.rglob("*")):
        again = tmp_path / "again" / first.relative_to(output)
        if first.is_file():
            assert again.read_bytes() == first.read_bytes(), first.name


NO_NETWORK_PYTHON = """
import socket, sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise RuntimeError(f"synthesis uses the network: {event} {arguments!r}")
sys.addaudithook(refuse)
"""
NO_NETWORK_NODE = """
const refuse = () => { throw new Error('synthesis uses the network'); };
for (const module of ['net', 'tls', 'http', 'https']) {
  Object.assign(require(module), { connect: refuse, request: refuse });
}
"""


@pytest.mark.parametrize("name", ["dev", "staging", "prod"])
def test_synthesis_takes_no_credentials_and_no_network(name: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK_PYTHON)
    (tmp_path / "refuse.cjs").write_text(NO_NETWORK_NODE)
    # NODE_OPTIONS would not get through: see synthesis/child_environment.py.
    node = tmp_path / "node"
    node.write_text(f'#!/bin/sh\nexec "{shutil.which("node")}" --require "{tmp_path / "refuse.cjs"}" "$@"\n')
    node.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": os.environ["HOME"],
        "PYTHONPATH": str(tmp_path),
        "ENVIRONMENT": name,
        "CDKTF_OUTDIR": str(tmp_path / "out"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    done = subprocess.run(
        [sys.executable, "main.py"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out" / "stacks" / f"sluice-{name}" / "cdk.tf.json").is_file()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ENVIRONMENT": "pord"}, "there is no such environment; allowed: dev, local, prod, staging"),
        ({"LOG_RETENTION_DAYS": "8"}, "variable LOG_RETENTION_DAYS = 8: allowed: 1, 3, 5, 7"),
        ({"LOG_RETENTION_DAY": "7"}, "did you mean LOG_RETENTION_DAYS?"),
        ({"LAMBDA_RUNTIME": "python3.12"}, "make layer LAMBDA_RUNTIME=python3.12 LAMBDA_ARCHITECTURE=arm64"),
    ],
)
def test_bad_input_is_one_clear_line_and_leaves_nothing_behind(
    variables: dict[str, str], words: str, tmp_path: Path
) -> None:
    environment = {**os.environ, **variables, "CDKTF_OUTDIR": str(tmp_path / "out")}
    done = subprocess.run(
        [sys.executable, "main.py"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not list((tmp_path / "out").rglob("cdk.tf.json"))


def test_terraform_validates_every_stack(any_stack: Synthesized) -> None:
    validate(any_stack, find_program())


def test_the_library_validates_as_the_program_does(prod: Synthesized, tmp_path: Path) -> None:
    prod = Synthesized(Path(shutil.copytree(prod.folder, tmp_path / "copy", symlinks=True)))
    validate(prod, LIBRARY)
    broken = json.loads(prod.text)
    broken["resource"]["aws_s3_bucket"]["storage_uploads"]["colour"] = "blue"
    (prod.folder / "cdk.tf.json").write_text(json.dumps(broken))
    with pytest.raises(Failure, match="terraform validate failed: Error: Extraneous JSON object property"):
        Terraform(prod.folder, {}, LIBRARY).validate()


def validate(stack: Synthesized, program: list[str]) -> None:
    terraform = Terraform(stack.folder, {}, program)
    terraform.init("-backend=false")
    terraform.validate()
