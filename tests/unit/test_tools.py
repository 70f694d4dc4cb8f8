"""The tools that a person runs: what they say when something is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stacks.versions import PROVIDER, PROVIDER_VERSION
from synthesis.paths import ROOT
from tools.develop import setup
from tools.develop.layers import make_layer
from tools.develop.lock import without_sources
from tools.develop.requirements import requirements
from tools.operate import terraform
from tools.operate.console import Failure, cause_in, run
from tools.operate.terraform import REGISTRY, Changes, cli_configuration, find_mirrors, find_program

LOCK = {
    "_meta": {"sources": [{"url": "https://example.invalid/simple"}]},
    "default": {
        "boto3": {"version": "==1.0", "hashes": ["sha256:b", "sha256:a"], "markers": "python_version >= '3.9'"}
    },
    "functions": {
        "boto3": {"version": "==1.0", "hashes": ["sha256:a"]},
        "zlib": {"version": "==2", "hashes": ["sha256:c"]},
    },
}


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "Pipfile.lock"
    path.write_text(json.dumps(LOCK))
    return path


def test_requirements_are_pinned_hashed_and_sorted(lock: Path) -> None:
    assert requirements(lock, ["default"]) == ("boto3==1.0 ; python_version >= '3.9' --hash=sha256:a --hash=sha256:b\n")


def test_what_the_runtime_has_is_left_out(lock: Path) -> None:
    assert requirements(lock, ["functions"], without=["default"]) == "zlib==2 --hash=sha256:c\n"


def test_the_last_category_decides_and_some_packages_are_lacking(lock: Path) -> None:
    assert requirements(lock, ["default", "functions"], lacking=["zlib"]) == "boto3==1.0 --hash=sha256:a\n"


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("cdktf", {"cdktf": "0.21.0", "cdktf-cdktf-provider-aws": "20.1.0"}),
        ("cdktf-provider-6", {"cdktf": "0.21.0", "cdktf-cdktf-provider-aws": "21.22.1"}),
        ("cdktn", {"cdktn": "0.24.0", "cdktn-provider-aws": "25.8.1"}),
    ],
)
def test_environments_of_cdks_differ_in_nothing_but_the_cdk(name: str, own: dict[str, str]) -> None:
    def packages(environment: setup.Environment) -> dict[str, str]:
        lines = requirements(setup.LOCK, environment.categories, lacking=environment.lacking).splitlines()
        assert all("--hash=sha256:" in line for line in lines)
        pins = [re.split(r"\[.*?\]==|==", line.split()[0]) for line in lines]
        return {pin[0]: pin[1] for pin in pins}

    found = packages(setup.CDKS[name])
    assert {package: version for package, version in found.items() if package.startswith("cdkt")} == own
    common = [{p: v for p, v in packages(each).items() if not p.startswith("cdkt")} for each in setup.CDKS.values()]
    assert common[0] == common[1] == common[2]


def test_an_unknown_cdk_is_an_error_that_lists_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDK", "cdk")
    with pytest.raises(Failure, match=r"CDK is 'cdk'; it can be cdktf, cdktf-provider-6, cdktn"):
        setup.chosen_cdk()
    monkeypatch.delenv("CDK")
    assert setup.chosen_cdk() is setup.PROJECT


@pytest.mark.parametrize("name", setup.CDKS)
def test_make_uses_the_environment_of_the_cdk(name: str) -> None:
    make = ["make", "--dry-run", "--old-file=setup", "synth", f"CDK={name}"]
    own = {key: text for key, text in os.environ.items() if key not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    done = subprocess.run(make, cwd=ROOT, env=own, capture_output=True, text=True, check=True)
    python = setup.CDKS[name].python.relative_to(ROOT)
    assert done.stdout == f"ENVIRONMENT=dev {python} main.py \n"


def test_a_lock_names_no_index() -> None:
    assert json.loads(without_sources(json.dumps(LOCK)))["_meta"]["sources"] == []
    assert json.loads(setup.LOCK.read_text())["_meta"]["sources"] == []


@pytest.mark.parametrize("version", [(3, 10), (3, 14), (2, 7)])
def test_another_python_is_refused(version: tuple[int, int]) -> None:
    with pytest.raises(Failure, match=r"needs 3\.11 to 3\.13"):
        setup.check_python(version)


def test_a_machine_without_node_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failure, match=r"no `node` on PATH(.|\n)*install Node\.js"):
        setup.check_node()


def test_an_old_node_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v16.20.0\n")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(Failure, match=r"v16\.20\.0 is too old"):
        setup.check_node()


def test_the_command_without_node_ends_with_two_lines_and_no_stack_trace(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "develop" / "setup.py")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().count("\n") == 1
    assert "what to do: install Node.js" in done.stderr


def test_terraform_on_the_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "terraform"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_program() == [str(program)]
    program.unlink()
    assert find_program() == [sys.executable, "-m", "tools.operate.terraform_library"]


def test_no_terraform_at_all_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Failure, match=r"no `terraform` on PATH(.|\n)*install Terraform 1\.10"):
        find_program()


def mirror(folder: Path) -> Path:
    provider = folder / "registry.terraform.io" / "hashicorp" / "aws" / PROVIDER_VERSION / "linux_amd64"
    provider.mkdir(parents=True)
    return folder


def test_a_mirror_is_found_by_its_layout(tmp_path: Path) -> None:
    wanted = mirror(tmp_path / "a" / "b")
    (tmp_path / "c" / "registry.terraform.io" / "hashicorp" / "random").mkdir(parents=True)
    assert list(find_mirrors(tmp_path)) == [wanted]
    assert list(find_mirrors(tmp_path, depth=2)) == []


def test_the_mirror_that_is_named_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVIDER_MIRROR", str(mirror(tmp_path / "mine")))
    assert f'path = "{tmp_path / "mine"}"' in cli_configuration(tmp_path / "build").read_text()


def test_a_folder_that_is_no_mirror_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVIDER_MIRROR", str(tmp_path))
    with pytest.raises(Failure, match="holds no registry"):
        cli_configuration(tmp_path / "build")


def test_the_registry_is_used_where_it_answers_and_a_mirror_where_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROVIDER_MIRROR", raising=False)
    found = mirror(tmp_path / "mine")
    monkeypatch.setattr(terraform, "find_mirrors", lambda: iter([found]))
    monkeypatch.setattr(terraform, "registry_answers", lambda: True)
    assert "filesystem_mirror" not in cli_configuration(tmp_path / "one").read_text()
    monkeypatch.setattr(terraform, "registry_answers", lambda: False)
    assert str(found) in cli_configuration(tmp_path / "two").read_text()
    monkeypatch.setattr(terraform, "find_mirrors", lambda: iter([]))
    with pytest.raises(Failure, match="set PROVIDER_MIRROR"):
        cli_configuration(tmp_path / "three")


def test_a_programs_error_line_is_the_cause() -> None:
    assert cause_in(["│ ", "│ Error: no such bucket", "│ more"]) == "Error: no such bucket"
    assert cause_in(["one", "two", ""]) == "two"
    assert cause_in([]) == "it printed nothing"


def test_a_program_that_fails_leaves_its_output_in_a_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"
    with pytest.raises(Failure, match=r"trying failed: fatal: no(.|\n)*do that"):
        run(["sh", "-c", "echo first; echo fatal: no; exit 3"], doing="trying", remedy="do that", log=log)
    assert log.read_text() == "first\nfatal: no\n"
    with pytest.raises(Failure, match="cannot be started"):
        run([tmp_path / "nothing"], doing="trying", remedy="do that", log=log)


def test_changes_are_told_in_words() -> None:
    assert str(Changes()) == "No changes"
    assert str(Changes(1, 2, 3)) == "1 to add, 2 to change, 3 to destroy"
    assert str(Changes(bring_in=2)) == "2 to import, 0 to add, 0 to change, 0 to destroy"
    assert Changes(bring_in=2)


@pytest.mark.parametrize(("runtime", "architecture"), [("python3.13", "arm64"), ("python3.13", "x86_64")])
def test_a_layer_has_the_same_bytes_whenever_it_is_made(tmp_path: Path, runtime: str, architecture: str) -> None:
    one = make_layer(runtime, architecture, tmp_path / "one").read_bytes()
    two = make_layer(runtime, architecture, tmp_path / "two").read_bytes()
    assert one == two
    machine = {"arm64": b"aarch64", "x86_64": b"x86_64"}[architecture]
    assert b"cpython-313-" + machine + b"-linux-gnu.so" in one
    assert b".dist-info/RECORD" not in one
    assert b"python/botocore/" not in one


def test_the_commands_of_operators_start_no_jsii() -> None:
    """Importing cdktf starts Node.js in the environment of the shell, whatever that exports."""
    named = set(re.findall(r"-m (tools\.[a-z_.]+)", (ROOT / "Makefile").read_text()))
    # These synthesize in their own process.
    named -= {"tools.bench", "tools.develop.diagram", "tools.capacity.scale"}
    assert {"tools.develop.local", "tools.operate.plan", "tools.operate.policies", "tools.operate.bootstrap"} <= named
    packages = {name for name in named if (ROOT / name.replace(".", "/")).is_dir()}
    names = sorted(named - packages) + sorted(f"{name}.__main__" for name in packages)
    lines = ["import importlib, sys", f"for name in {names}:", "    importlib.import_module(name)"]
    script = "\n".join([*lines, "assert 'jsii' not in sys.modules"])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("version", "options"), [(PROVIDER_VERSION, ""), ("1.2.3", " -upgrade")])
def test_init_takes_another_version_of_the_provider_only_after_a_change_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, options: str
) -> None:
    monkeypatch.setattr(terraform, "cli_configuration", lambda: tmp_path)
    (tmp_path / ".terraform.lock.hcl").write_text(f'provider "{REGISTRY}/{PROVIDER}" {{\n  version = "{version}"\n}}\n')
    terraform.Terraform(tmp_path, {}, ["sh", "-c", 'echo "$@" > said', "sh"]).init()
    assert (tmp_path / "said").read_text() == f"init -input=false -no-color -reconfigure{options}\n"
