from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from modules.settings import Settings, SettingsError, load
from tests.conftest import ROOT

COMPLETE = """
account_id = "111111111111"
state_kms_key_id = "11111111-1111-1111-1111-111111111111"
"""


@pytest.fixture
def environments(tmp_path: Path) -> Path:
    folder = tmp_path / "environments"
    folder.mkdir()
    (folder / "dev.toml").write_text(COMPLETE)
    (folder / "prod.toml").write_text(COMPLETE + "log_retention_days = 90\n")
    return folder


def complaint(environments: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        load(environments)
    return str(caught.value)


def test_dev_is_the_default_and_defaults_apply(environments: Path) -> None:
    settings = load(environments)
    assert (settings.environment, settings.log_retention_days, settings.lambda_runtime) == ("dev", 7, "python3.13")


def test_a_variable_wins_over_the_file_and_the_file_over_the_default(
    environments: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "prod")
    assert load(environments).log_retention_days == 90
    monkeypatch.setenv("LOG_RETENTION_DAYS", "14")
    assert load(environments).log_retention_days == 14
    monkeypatch.setenv("LOG_RETENTION_DAYS", "")
    assert load(environments).log_retention_days == 90


def test_settings_are_frozen(environments: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load(environments).owner = "someone else"  # type: ignore[misc]


def test_an_unknown_environment_names_those_that_are_there(environments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "pord")
    assert complaint(environments) == "ENVIRONMENT = 'pord': there is no such environment; allowed: dev, prod"


def test_a_misspelt_setting_in_the_file_gets_a_suggestion(environments: Path) -> None:
    (environments / "dev.toml").write_text(COMPLETE + "log_retention = 7\n")
    assert "environments/dev.toml: log_retention: there is no such setting; did you mean log_retention_days?" in (
        complaint(environments)
    )


def test_a_misspelt_variable_gets_a_suggestion(environments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_RETENTION_DAY", "7")
    assert "variable LOG_RETENTION_DAY: there is no such setting; did you mean LOG_RETENTION_DAYS?" in (
        complaint(environments)
    )


def test_a_retention_that_cloudwatch_does_not_know_names_variable_value_and_what_is_allowed(
    environments: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_RETENTION_DAYS", "8")
    text = complaint(environments)
    assert text.startswith("variable LOG_RETENTION_DAYS = 8: allowed: 1, 3, 5, 7, 14, 30")


def test_a_wrong_value_in_the_file_names_the_file(environments: Path) -> None:
    (environments / "dev.toml").write_text(COMPLETE + "lambda_memory_size = 64\n")
    assert complaint(environments).startswith("environments/dev.toml: lambda_memory_size = 64: ")


def test_several_faults_are_told_at_once(environments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDA_TIMEOUT", "30")
    monkeypatch.setenv("ACCOUNT_ID", "12")
    text = complaint(environments)
    assert "variable LAMBDA_TIMEOUT = '30'" in text
    assert "variable ACCOUNT_ID = '12'" in text


def test_broken_toml_names_the_file(environments: Path) -> None:
    (environments / "dev.toml").write_text("owner = \n")
    assert complaint(environments).startswith("environments/dev.toml: not valid TOML: ")


def test_files_are_not_deleted_before_they_move(environments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_LIFECYCLE_EXPIRATION_DAYS", "30")
    assert "s3_lifecycle_expiration_days = 30 must be 0 (never) or more than s3_lifecycle_transition_days = 30" in (
        complaint(environments)
    )
    monkeypatch.setenv("S3_LIFECYCLE_EXPIRATION_DAYS", "0")
    assert load(environments).s3_lifecycle_expiration_days == 0


def test_only_local_can_be_pointed_at_another_aws(environments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    assert "only `local` may set it" in complaint(environments)


def test_local_has_to_know_where_its_aws_is(environments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (environments / "local.toml").write_text('account_id = "000000000000"\n')
    monkeypatch.setenv("ENVIRONMENT", "local")
    assert "run `make up`" in complaint(environments)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:4566")
    assert load(environments).is_local


@pytest.mark.parametrize("name", ["dev", "staging", "prod"])
def test_the_environments_of_this_repository_are_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", name)
    settings = load(ROOT / "environments")
    assert settings.environment == name
    assert settings.protect_data == (name != "dev")


def test_every_setting_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    missing = [name for name in Settings.model_fields if f"`{name.upper()}`" not in readme]
    assert missing == []


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_whatever_the_value_of_a_number_is_the_answer_is_settings_or_an_explanation(value: str) -> None:
    before = dict(os.environ)
    os.environ["LAMBDA_MEMORY_SIZE"] = value
    try:
        assert 128 <= load(ROOT / "environments").lambda_memory_size <= 10240
    except SettingsError as error:
        assert str(error).startswith("variable LAMBDA_MEMORY_SIZE = ")
    finally:
        os.environ.clear()
        os.environ.update(before)
