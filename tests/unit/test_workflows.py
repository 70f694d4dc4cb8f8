"""The workflows of GitHub Actions: what judges say of them, and that another CI could do the same with make."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from synthesis.paths import ROOT
from tools.develop.setup import SUPPORTED_PYTHON

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONS = sorted((ROOT / ".github" / "actions").glob("*/action.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def workflow(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())
    return content


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in FILES:
        for name, job in yaml.safe_load(file.read_text())["jobs"].items():
            for step in job.get("steps", [job]):
                yield f"{file.name}: {name}", step
    for file in ACTIONS:
        for step in yaml.safe_load(file.read_text())["runs"]["steps"]:
            yield str(file), step


def make_lines() -> set[str]:
    """Targets that the workflows make."""
    return {match[1] for _, step in steps() for match in re.finditer(r"^make (\S+)", step.get("run", ""), re.MULTILINE)}


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["zizmor", "--offline", "--no-progress", str(ROOT / ".github")], id="zizmor"),
        pytest.param(["actionlint", "-no-color", *map(str, FILES)], id="actionlint"),
    ],
)
def test_judges_find_nothing(command: list[str]) -> None:
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_workflows_make_is_there_to_make() -> None:
    assert make_lines() >= {"validate", "judges", "plan", "apply", "drift"}
    assert make_lines() <= TARGETS


def test_ci_tests_every_python_that_set_up_accepts() -> None:
    versions = [
        step["with"]["python-version"] for where, step in steps() if where == "ci.yml: ci" and "python" in str(step)
    ]
    versions += workflow("ci")["jobs"]["python"]["strategy"]["matrix"]["python"]
    first, last = SUPPORTED_PYTHON
    assert sorted(versions) == [f"3.{minor}" for minor in range(first[1], last[1] + 1)]


def test_actions_are_pinned_by_commit() -> None:
    used = [(where, step["uses"]) for where, step in steps() if "uses" in step]
    assert len(used) > 10
    for where, action in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}|\$/\.github/[\w./-]+", action), f"{where}: {action}"


def test_a_token_is_given_for_what_a_job_does_and_is_not_kept() -> None:
    for file in FILES:
        content = yaml.safe_load(file.read_text())
        assert content["permissions"] == {}, file.name
        for name, job in content["jobs"].items():
            writes = {scope for scope, level in job["permissions"].items() if level == "write"}
            assert writes <= {"id-token", "pull-requests"}, f"{file.name}: {name}"
            assert writes != {"id-token", "pull-requests"}, f"{file.name}: {name}"
    for where, step in steps():
        if str(step.get("uses")).startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False, where


def test_nothing_is_pasted_into_a_script() -> None:
    assert [where for where, step in steps() if "${{" in step.get("run", "")] == []


def test_prod_comes_last_and_each_waits_for_its_environment() -> None:
    jobs = workflow("deploy")["jobs"]
    assert (jobs["dev"]["needs"], jobs["staging"]["needs"], jobs["prod"]["needs"]) == (
        "find",
        ["find", "dev"],
        ["find", "staging"],
    )
    assert workflow("apply")["jobs"]["apply"]["environment"] == "${{ inputs.environment }}"


# The scripts that talk to GitHub, against a gh that writes down what it is asked

GH = """#!/bin/sh
printf '%s\\n' "$*" >> "$CALLS"
case "$*" in
  *--method*) ;;
  *comments*) printf '%s' "$COMMENTS" ;;
  *pulls*) printf '%s' "$HEAD" ;;
  *workflows/plan.yml*) printf '%s' "$RUN" ;;
  *actions/runs/*) printf '%s' "${WORKFLOW:-.github/workflows/plan.yml}" ;;
esac
"""


def run_step(folder: Path, file: str, job: str, name: str, **variables: str) -> tuple[int, str, list[str]]:
    """Exit code, output and calls of gh of the script of a step."""
    (script,) = [step["run"] for step in workflow(file)["jobs"][job]["steps"] if step.get("name") == name]
    gh = folder / "bin" / "gh"
    gh.parent.mkdir(exist_ok=True)
    gh.write_text(GH)
    gh.chmod(0o755)
    calls, output = folder / "calls", folder / "output"
    calls.write_text("")
    output.write_text("")
    given = {"REPOSITORY": "a/b", "NUMBER": "7", "GITHUB_SHA": "c0ffee", "GITHUB_OUTPUT": str(output), **variables}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env={"PATH": f"{gh.parent}:/usr/bin:/bin", "CALLS": str(calls), **given},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr + output.read_text(), calls.read_text().splitlines()


@pytest.mark.parametrize(
    ("comments", "expected"),
    [
        ("", "--method POST repos/a/b/issues/7/comments --field body=@comment.md --silent"),
        ("41\n42\n", "--method PATCH repos/a/b/issues/comments/41 --field body=@comment.md --silent"),
    ],
)
def test_there_is_one_comment(tmp_path: Path, comments: str, expected: str) -> None:
    for environment in ("dev", "staging", "prod"):
        folder = tmp_path / f"plan-{environment}" / "sluice" / "uploads"
        folder.mkdir(parents=True)
        (folder / "report.md").write_text(f"{environment}\n")
    code, said, calls = run_step(
        tmp_path, "plan", "comment", "post one comment, or update it", COMMENTS=comments
    )  # fmt: skip
    assert code == 0, said
    assert calls[-1] == f"api {expected}"
    body = (tmp_path / "comment.md").read_text()
    assert body == "<!-- sluice: plan -->\n\ndev\n\nstaging\n\nprod\n"


FIND = "find the plans that were reviewed"


def test_the_plan_of_the_pull_request_is_found(tmp_path: Path) -> None:
    code, said, calls = run_step(tmp_path, "deploy", "find", FIND, HEAD="abc", RUN="99", GIVEN="")
    assert (code, said) == (0, "run=99\n")
    assert "head_sha=abc" in calls[1]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"GIVEN": ""}, "No pull request with plans"),
        ({"GIVEN": "", "HEAD": "abc"}, "No pull request with plans"),
        ({"GIVEN": "1; echo x"}, "Not the number of a run"),
        ({"GIVEN": "5", "WORKFLOW": ".github/workflows/evil.yml"}, "not a run of plan"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, variables: dict[str, str], expected: str) -> None:
    code, said, _ = run_step(tmp_path, "deploy", "find", FIND, **variables)
    assert code == 1
    assert expected in said
    assert "run=" not in said


def test_the_plans_of_all_environments_fit_into_one_comment() -> None:
    jobs = workflow("plan")["jobs"]
    (line,) = [step["run"] for step in jobs["plan"]["steps"] if "make plan" in step.get("run", "")]
    limit = int(re.search(r"LIMIT=(\d+)", line)[1])  # type: ignore[index]
    environments = jobs["plan"]["strategy"]["matrix"]["environment"]
    assert len(environments) * (limit + 1) + len("<!-- sluice: plan -->\n") <= 65_536
    posted = re.search(r"for planned in (.*);", jobs["comment"]["steps"][-1]["run"])
    assert posted
    assert (
        set(posted[1].split())
        == set(environments)
        == {file.stem for file in (ROOT / "environments").glob("*.toml")} - {"local"}
    )


def test_files_of_a_plan_are_named_with_project_and_component() -> None:
    text = "".join(path.read_text() for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")))
    named = re.findall(r"\S+/(?:report\.md|drift\.md|tfplan|reviewed\.json)\b", text)
    assert len(named) == 7
    assert [each for each in named if "/*/uploads/" not in each] == []
