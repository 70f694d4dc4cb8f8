from __future__ import annotations

import json
import os
import re
import unicodedata
from pathlib import Path

import botocore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from modules.aws_limits import REGIONS
from modules.settings import Settings, SettingsError, load
from synthesis.paths import ROOT

COMPLETE = """
account_id = "111111111111"
state_kms_key_id = "12345678-1234-4234-8234-123456789abc"
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


@pytest.mark.parametrize(
    "key_id",
    [
        "11111111-1111-1111-1111-111111111111",
        "00000000-0000-0000-0000-000000000000",
        "12345678-1234-6234-8234-123456789abc",
        "12345678-1234-4234-c234-123456789abc",
        "12345678-1234-4234-8234-123456789ABC",
        "alias/sluice-dev-state",
        "mrk-12345678",
    ],
)
def test_an_id_that_terraforms_backend_would_not_take_is_refused(environments: Path, key_id: str) -> None:
    (environments / "dev.toml").write_text(f'account_id = "111111111111"\nstate_kms_key_id = "{key_id}"\n')
    said = complaint(environments)
    assert f"environments/dev.toml: state_kms_key_id = '{key_id}': " in said
    assert "Leave it out" in said


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


# What AWS would refuse at apply


def made(**changed: object) -> Settings:
    values: dict[str, object] = {"environment": "dev", "account_id": "111111111111", **changed}
    return Settings(**values)  # type: ignore[arg-type]


LONG_TYPE = "application/vnd.example.{:03}.document.with-a-long-name+xml"
REFUSED: list[tuple[dict[str, object], str]] = [
    # Lambda: 4 KB of variables
    ({"allowed_content_types": [LONG_TYPE.format(n) for n in range(75)]}, "name fewer, or patterns"),
    ({"cors_allowed_origins": [f"https://app-{n:03}.example.com" for n in range(120)]}, "name fewer, or patterns"),
    # tags
    ({"owner": "R&D"}, "letters, digits"),
    ({"owner": "R*D"}, "letters, digits"),
    ({"owner": "a,b"}, "letters, digits"),
    ({"owner": " padded"}, "letters, digits"),
    ({"owner": "two\nlines"}, "letters, digits"),
    ({"owner": "trailing\n"}, "letters, digits"),
    ({"owner": "aws:team"}, "begin with `aws:`"),
    ({"owner": ""}, "letters, digits"),
    # reserved beginnings
    ({"project_name": "ssm-files"}, "'ssm'"),
    ({"project_name": "ssmfiles"}, "'ssm'"),
    ({"project_name": "aws-files"}, "'aws'"),
    ({"project_name": "sthree"}, "'sthree-'"),
    ({"project_name": "amzn-s3-demo"}, "'amzn-s3-demo-'"),
    ({"project_name": "xn--a"}, "single hyphens"),
    ({"project_name": "files-"}, "last no hyphen"),
    ({"project_name": "a\n"}, "small letters"),
    # lengths
    ({"project_name": "p" * 16, "environment": "e" * 16}, "would have 64 characters, and S3 takes 63; 1 fewer"),
    (
        {"project_name": "p" * 16, "environment": "e" * 11, "replica_region": "ap-southeast-1"},
        "uploads-111111111111-ap",
    ),
    ({"project_name": "p" * 16, "environment": "e" * 11, "primary_region": "ap-southeast-1"}, "would have 64"),
    ({"handbook_url": f"https://example.com/{'a' * 800}"}, "at most 400"),
    ({"jwt_issuer": f"https://example.com/{'a' * 800}"}, "at most 400"),
    ({"jwt_audience": "a" * 256}, "at most 255"),
    ({"alert_email": f"{'a' * 65}@example.com"}, "in ASCII"),
    # one name for two environments
    ({"environment": "b-c"}, "hyphens divide names"),
    # partitions and regions
    ({"primary_region": "us-gov-west-1"}, "partition `aws`"),
    ({"primary_region": "cn-north-1"}, "partition `aws`"),
    ({"primary_region": "eusc-de-east-1"}, "partition `aws`"),
    ({"primary_region": "us-east-9"}, "allowed: af-south-1"),
    ({"primary_region": "aws-global"}, "allowed: af-south-1"),
    ({"replica_region": "cn-northwest-1"}, "partition `aws`"),
    ({"assume_role_arn": "arn:aws-us-gov:iam::111111111111:role/deployer"}, "partition `aws`"),
    ({"assume_role_arn": "arn:aws:iam::222222222222:role/deployer"}, "another account"),
    ({"assume_role_arn": f"arn:aws:iam::111111111111:role/{'r' * 65}"}, "ARN of a role"),
    # what Terraform evaluates
    ({"jwt_audience": "${foo}"}, "Terraform would evaluate"),
    ({"jwt_audience": "%{ if true }x%{ endif }"}, "Terraform would evaluate"),
    ({"jwt_audience": "$${foo}"}, "Terraform would evaluate"),
    ({"alert_email": "${foo}@example.com"}, "Terraform would evaluate"),
    ({"assume_role_arn": "arn:aws:iam::111111111111:role/${path.module}/r"}, "Terraform would evaluate"),
    ({"owner": "${foo}"}, "letters, digits"),
    # names of buckets
    ({"state_bucket": "xn--state"}, "'xn--'"),
    ({"state_bucket": "sthree-state"}, "'sthree-'"),
    ({"state_bucket": "state-s3alias"}, "'-s3alias'"),
    ({"state_bucket": "state--ol-s3"}, "'--ol-s3'"),
    ({"state_bucket": "a..b"}, "small letters"),
    ({"state_bucket": "s" * 64}, "63 characters at most"),
    ({"state_bucket": "ab"}, "3 to 63"),
    # digits and letters of other scripts
    ({"account_id": "\u0661" * 12}, "12 digits"),
    ({"handbook_url": "https://example.com/é"}, "letters, digits"),
    ({"webhook_urls": ["https://example.com/é"]}, "an address such as"),
    ({"cors_allowed_origins": ["https://a..example.com"]}, "origins such as"),
    ({"cors_allowed_origins": ["https://-"]}, "origins such as"),
    ({"webhook_urls": ["https://.."]}, "an address such as"),
    ({"alert_email": "someone@exämple.com"}, "in ASCII"),
    ({"alert_email": "two @example.com"}, "in ASCII"),
    ({"jwt_audience": "line\nfeed"}, "control character"),
    # numbers
    ({"quota_bytes": 2**64}, "less than or equal"),
    ({"quota_files": 10**30}, "less than or equal"),
    ({"step_functions_retry_interval": 300}, "wait 4500 seconds between the tries of a step"),
    ({"step_functions_max_attempts": 20, "step_functions_backoff_rate": 10}, "have to be less than 600"),
]


@pytest.mark.parametrize(("changed", "words"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_aws_or_terraform_would_refuse_later_is_refused_here(changed: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        made(**changed)
    assert words in str(caught.value)


ACCEPTED: list[dict[str, object]] = [
    {"owner": "Équipe données / plate-forme: a@b.example"},
    {"owner": "平台"},
    {"project_name": "my-files-2"},
    {"project_name": "awesome"},
    {"project_name": "p" * 16, "environment": "e" * 15},
    {"project_name": "p" * 16, "environment": "e" * 10, "primary_region": "ap-southeast-1"},
    {"jwt_audience": "https://api.example.com/ $1 100% {x}"},
    {"jwt_issuer": "https://issuer.example.com:8443/realms/a_b/"},
    {"assume_role_arn": "arn:aws:iam::111111111111:role/ci/deployers/deployer@a"},
    {"webhook_urls": ["https://hooks.example.com:8443/in/%20?a=b&c=~d"]},
    {"cors_allowed_origins": ["http://localhost:8000", "https://xn--bcher-kva.example"]},
    {"alert_email": "first.last+alerts@mail.example.com"},
    {"state_bucket": "s" * 63},
    {"primary_region": "mx-central-1", "replica_region": "us-west-2"},
]


@pytest.mark.parametrize("changed", ACCEPTED, ids=str)
def test_what_people_write_is_accepted(changed: dict[str, object]) -> None:
    settings = made(**changed)
    for name, value in changed.items():
        assert getattr(settings, name) == (tuple(value) if isinstance(value, list) else value)


def test_regions_are_those_of_the_partition_that_provider_5_100_knows() -> None:
    data = json.loads((Path(botocore.__file__).parent / "data" / "partitions.json").read_text())
    (partition,) = (each for each in data["partitions"] if each["id"] == "aws")
    assert set(partition["regions"]) - set(REGIONS) == {"aws-global", "ap-southeast-6"}
    assert all(re.match(partition["regionRegex"], region) for region in REGIONS)


@given(st.text(max_size=70) | st.from_regex(r"[\w .:/=+@-]{1,64}", fullmatch=True))
def test_an_owner_that_is_accepted_is_a_value_of_a_tag_for_iam(value: str) -> None:
    """IAM, "Tag": `[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*`, 256 characters."""
    try:
        owner = made(owner=value).owner
    except ValidationError:
        return
    assert len(owner) <= 256
    assert owner == owner.strip()
    for character in owner:
        assert unicodedata.category(character)[0] in "LNZ" or character in "_.:/=+-@", repr(character)


@given(
    st.sampled_from(
        [
            name
            for name, field in Settings.model_fields.items()
            if "str" in str(field.annotation) or "tuple" in str(field)
        ]
    ),
    st.text(max_size=40).map(lambda text: f"{text}${{a.b}}") | st.text(max_size=40).map(lambda text: f"%{{if}}{text}"),
    st.text(max_size=5),
)
def test_no_setting_takes_what_terraform_evaluates(name: str, template: str, before: str) -> None:
    text = f"{before}{template}"
    value = [text] if name in {"allowed_content_types", "cors_allowed_origins", "webhook_urls"} else text
    with pytest.raises(ValidationError):
        made(**{name: value})


@given(st.data())
def test_two_environments_never_have_one_prefix(data: st.DataObject) -> None:
    """Project and environment can be read back from the prefix, so it is theirs only."""
    projects = st.from_regex(r"[a-z][a-z0-9-]{1,8}", fullmatch=True)
    names = [data.draw(st.tuples(projects, projects)) for _ in range(2)]
    found = []
    for project, environment in names:
        try:
            found.append(made(project_name=project, environment=environment))
        except ValidationError:
            return
    for each in found:
        assert each.prefix.rpartition("-")[::2] == (each.project_name, each.environment)


def test_a_refusal_names_variable_value_and_what_is_allowed(
    environments: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OWNER", "R&D")
    assert complaint(environments) == (
        "variable OWNER = 'R&D': allowed: letters, digits and _ . : / = + - @, with single blanks between. "
        "Tag `Owner` on every resource."
    )
    monkeypatch.delenv("OWNER")
    monkeypatch.setenv("PRIMARY_REGION", "cn-north-1")
    text = complaint(environments)
    assert text.startswith("variable PRIMARY_REGION = 'cn-north-1': no region of AWS's partition `aws`")
    assert "eu-central-1" in text
