"""AWS accepts all values that settings accept: tests of settings at their limits, against the limits of AWS."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from annotated_types import Ge, Le
from cdktf import App
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as run
from hypothesis import strategies as st
from pydantic import ValidationError

from modules import aws_limits
from modules.functions import Sources
from modules.packaging import layer_name
from modules.settings import Settings
from stacks.state import StateBackendStack
from stacks.uploads import UploadsStack
from synthesis.paths import ROOT
from tests.synth.aws_limits import RULES, faults, pattern
from tests.synth.conftest import PAGE, Synthesized

LONGEST_REGION = max(aws_limits.REGIONS, key=lambda region: (len(region), region == "ap-southeast-1"))
ACCOUNT = "111111111111"
_COUNT = itertools.count()


# Values at their limits


def numbers() -> dict[str, st.SearchStrategy[object]]:
    """Each number at its least, at its most and as it is by default; each choice and each switch."""
    found: dict[str, st.SearchStrategy[object]] = {}
    for name, field in Settings.model_fields.items():
        least = [each.ge for each in field.metadata if isinstance(each, Ge)]
        most = [each.le for each in field.metadata if isinstance(each, Le)]
        if field.annotation is bool:
            found[name] = st.booleans()
        elif field.annotation in {int, float}:
            assert least, f"{name} has no least value"
            assert most, f"{name} has no greatest value"
            found[name] = st.sampled_from([*least, *most, field.default])
        elif get_origin(field.annotation) is not None and "Literal" in str(field.annotation):
            found[name] = st.sampled_from(get_args(field.annotation))
    return found


def address(scheme: str, path: str, length: int) -> str:
    """An address of this length."""
    start = f"{scheme}://{'a' * 63}.example.com:65535{path}"
    return start + "x" * (length - len(start))


# Every mark of the printable ones, and letters beyond ASCII, but for what Terraform evaluates.
MARKS = "".join(map(chr, range(33, 127))).replace("${", "$").replace("%{", "%")
NAMES = st.sampled_from(["ab", "a1", "p" * 16, "a-b-c-d-e-f-g-h9", "awkward", "sthre", "xn"])


def types(total: int) -> tuple[str, ...]:
    """Return types with so many bytes in total, one of them as long as a type can be."""
    one = f"application/{'t' * 110}"
    found: list[str] = []
    while len(",".join(found)) + len(one) + 8 <= total:
        found.append(f"{one}{len(found):04}")
    return tuple(found)


def origins(total: int) -> tuple[str, ...]:
    found: list[str] = []
    while len(",".join(found)) + 30 <= total:
        found.append(f"https://a{len(found):04}.example.com")
    return tuple(found)


LONG_EMAIL = f"{'a' * 64}@{'b' * 63}.{'c' * 63}.example"
TEXTS: dict[str, st.SearchStrategy[object]] = {
    "project_name": NAMES,
    "environment": st.sampled_from(["ab", "e" * 16, "e" * 15, "e" * 10, "e9", "x2345678901234"]),
    "owner": st.sampled_from(["a", "o" * 64, "a_.:/=+-@ Ünï 名", "@"]),
    "primary_region": st.sampled_from(["us-east-1", LONGEST_REGION, "mx-central-1"]),
    "replica_region": st.sampled_from([None, "eu-west-1", "ap-southeast-4"]),
    "assume_role_arn": st.sampled_from([None, f"arn:aws:iam::{ACCOUNT}:role/{'p' * 200}/{'r' * 64}"]),
    "state_bucket": st.sampled_from([None, "s" * 63, "a-b"]),
    "jwt_issuer": st.sampled_from(["https://i.example", address("https", "/", 400)]),
    "jwt_audience": st.sampled_from(["a", "a" * 255, MARKS, "ünï " * 60]) | st.text(min_size=1, max_size=255),
    "handbook_url": st.sampled_from([None, "https://h.example", address("https", "/a_b/", 400)]),
    "alert_email": st.sampled_from([None, LONG_EMAIL, "a.!#%&'*+/=?^_`{|}~-@b.example"]),
    "webhook_urls": st.sampled_from(
        [(), ("https://h.example",), tuple(address("https", f"/{number}%20?a=", 200) for number in range(8))]
    ),
    "allowed_content_types": st.sampled_from([("*/*",), ("a/*",), types(1000), types(aws_limits.LISTS_BYTES)]),
    "cors_allowed_origins": st.sampled_from(
        [
            (),
            ("*",),
            ("https://app.example.com",),
            origins(1000),
            origins(2150),
            ("https://" + ".".join(["a" * 60] * 4),),
        ]
    ),
}


def together(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values, changed where they contradict each other for reasons other than limits of AWS."""
    if values["legal_hold"]:
        values["s3_lifecycle_expiration_days"] = 0
    if 0 < values["s3_lifecycle_expiration_days"] <= values["s3_lifecycle_transition_days"]:
        values["s3_lifecycle_expiration_days"] = values["s3_lifecycle_transition_days"] + 1
    if values["record_retention_days"] <= values["quarantine_retention_days"]:
        values["record_retention_days"] = values["quarantine_retention_days"] + 1
    if values["malware_scanning"]:
        values["max_upload_bytes"] = min(values["max_upload_bytes"], 100 * 10**9)
    if values["replica_region"] is None:
        values["replica_removed"] = False
    if values["api_authorization"] == "iam":
        values["enable_website"] = False
    if "*" in values["cors_allowed_origins"]:
        values["protect_data"] = False
    return values


@st.composite
def accepted(draw: st.DrawFn) -> Settings:
    """Settings that are accepted, most of their values at a limit."""
    values: dict[str, Any] = {name: draw(strategy) for name, strategy in {**numbers(), **TEXTS}.items()}
    for _ in range(8):
        try:
            return Settings(account_id=ACCOUNT, **together(values))
        except ValidationError as error:
            # What does not fit is given up for a shorter value, so that the rest stays at its limit.
            said = str(error)
            if "Terraform would evaluate" in said or "control character" in said or "jwt_audience" in said:
                values["jwt_audience"] = MARKS
            elif "too long together" in said:
                values["environment"] = values["environment"][: -int(said.split(" fewer")[0].split()[-1])] or "ab"
                if len(values["environment"]) < 2:
                    values["environment"], values["project_name"] = "ab", values["project_name"][:-2]
            elif "bytes together" in said:
                values["enable_website"] &= bool(values["cors_allowed_origins"])
                values["cors_allowed_origins"] = ()
            elif "step_functions_retry_interval" in said:
                values["step_functions_max_attempts"] = 1
            elif "is primary_region" in said:
                values["replica_region"] = "us-west-2"
            else:
                raise
    raise AssertionError(said)


def sources(folder: Path, settings: Settings) -> Sources:
    """Provide packages for every runtime and processor; their content does not matter here."""
    layers = folder / "layers"
    layers.mkdir(exist_ok=True)
    (layers / layer_name(settings.lambda_runtime, settings.lambda_architecture)).write_bytes(b"a layer")
    return Sources(functions=ROOT / "functions", layers=layers, output=folder / "stacks" / settings.prefix, page=PAGE)


def synthesized(folder: Path, settings: Settings) -> list[dict[str, Any]]:
    """Both stacks of an environment as Terraform JSON."""
    app = App(outdir=str(folder))
    UploadsStack(app, settings=settings, sources=sources(folder, settings))
    StateBackendStack(app, settings=settings)
    app.synth()
    return [Synthesized(folder / "stacks" / f"{settings.prefix}{part}").json for part in ("", "-state")]


def look(folder: Path, settings: Settings) -> None:
    own = folder / str(next(_COUNT))
    own.mkdir()
    found = [fault for content in synthesized(own, settings) for fault in faults(content)]
    assert found == []


# A synthesis takes seconds: few examples, and none is made smaller.
UNHURRIED = run(
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("limits")


@pytest.mark.parametrize("authorization", ["cognito", "iam", "jwt"])
def test_everything_at_its_most_is_what_aws_accepts(folder: Path, authorization: str) -> None:
    most = {
        name: max(int(str(each.le)) for each in field.metadata if isinstance(each, Le))
        for name, field in Settings.model_fields.items()
        if field.annotation in {int, float}
    }
    look(
        folder,
        Settings(
            account_id=ACCOUNT,
            **together(
                {
                    **most,
                    "step_functions_retry_interval": 1,
                    "step_functions_max_attempts": 4,
                    "step_functions_backoff_rate": 4.0,
                    "environment": "e" * 10,
                    "project_name": "p" * 16,
                    "owner": "o" * 64,
                    "primary_region": LONGEST_REGION,
                    "replica_region": "ap-southeast-4",
                    "replica_removed": False,
                    "assume_role_arn": f"arn:aws:iam::{ACCOUNT}:role/{'p' * 200}/{'r' * 64}",
                    "api_authorization": authorization,
                    "jwt_issuer": address("https", "/", 400),
                    "jwt_audience": "\U0001f600" * 255,
                    "handbook_url": address("https", "/", 400),
                    "alert_email": LONG_EMAIL,
                    "webhook_urls": tuple(address("https", f"/{number}%20?a=", 200) for number in range(8)),
                    "allowed_content_types": types(1000),
                    "cors_allowed_origins": origins(aws_limits.LISTS_BYTES - 1100),
                    "legal_hold": True,
                    "malware_scanning": True,
                    "protect_data": True,
                    "enable_waf": True,
                    "enable_website": authorization != "iam",
                    "enable_access_logs": True,
                    "release_strategy": "canary",
                    "log_retention_days": 3653,
                }
            ),
        ),
    )


@run(UNHURRIED, max_examples=12, derandomize=True, database=None)
@given(settings=accepted())
def test_what_settings_accept_aws_accepts(folder: Path, settings: Settings) -> None:
    look(folder, settings)


@pytest.mark.slow
@run(UNHURRIED, max_examples=40)
@given(settings=accepted())
def test_what_settings_accept_aws_accepts_however_it_is_drawn(folder: Path, settings: Settings) -> None:
    look(folder, settings)


# The limits themselves


@pytest.fixture(scope="module")
def small(folder: Path) -> dict[str, Any]:
    settings = Settings(
        environment="dev",
        account_id=ACCOUNT,
        webhook_urls=("https://h.example",),
        cors_allowed_origins=("https://a.example", "https://b.example"),
        alert_email="a@b.example",
    )
    own = folder / "small"
    own.mkdir()
    return synthesized(own, settings)[0]


def put(kind: str, **arguments: object) -> Callable[[dict[str, Any]], None]:
    """Change the last resource of a kind."""
    return lambda content: list(content["resource"][kind].values())[-1].update(arguments)


def policy(size: int) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Sid": "A", "Resource": ["a" * 100] * (size // 104)}]})


def in_machine(**element: object) -> Callable[[dict[str, Any]], None]:
    def damage(content: dict[str, Any]) -> None:
        (body,) = content["resource"]["aws_sfn_state_machine"].values()
        definition = json.loads(body["definition"])
        definition["States"]["Announce"].update(element)
        body["definition"] = json.dumps(definition)

    return damage


def in_dashboard(content: dict[str, Any]) -> None:
    (body,) = content["resource"]["aws_cloudwatch_dashboard"].values()
    dashboard = json.loads(body["dashboard_body"])
    dashboard["widgets"][0]["properties"]["alarms"] = ["a"] * 101
    body["dashboard_body"] = json.dumps(dashboard)


def tag(value: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["provider"]["aws"][0]["default_tags"][0]["tags"].update(Owner=value)


def region(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["provider"]["aws"][0].update(region=name)


BEYOND: list[Callable[[dict[str, Any]], None]] = [
    put("aws_cloudwatch_metric_alarm", alarm_description="x" * 1025),
    put("aws_cloudwatch_metric_alarm", alarm_name="x" * 256),
    put("aws_cloudwatch_metric_alarm", treat_missing_data="x" * 256),
    put("aws_iam_role", name="x" * 65),
    put("aws_iam_role", name="a b"),
    put("aws_iam_role", description="x" * 1001),
    put("aws_iam_role", assume_role_policy=policy(2200)),
    put("aws_iam_role_policy", name="x" * 129),
    put("aws_iam_role_policy", policy=policy(10400)),
    put("aws_s3_bucket_policy", policy=policy(21000)),
    put("aws_sns_topic_policy", policy=policy(31000)),
    put("aws_sqs_queue_policy", policy=policy(9000)),
    put("aws_kms_key", policy=policy(33000)),
    put("aws_kms_key", description="x" * 8193),
    put("aws_kms_key", deletion_window_in_days=31),
    put("aws_kms_alias", name="alias/aws/x"),
    put("aws_kms_alias", name="x" * 20),
    put("aws_lambda_function", description="x" * 257),
    put("aws_lambda_function", function_name="x" * 65),
    put("aws_lambda_function", timeout=901),
    put("aws_lambda_function", memory_size=10241),
    put("aws_lambda_function", runtime="python2.0"),
    put("aws_lambda_function", environment={"variables": {"A_B": "x" * 4100}}),
    put("aws_lambda_function", environment={"variables": {"A-B": "x"}}),
    put("aws_lambda_function", handler="x" * 129),
    put("aws_lambda_event_source_mapping", batch_size=10001),
    put("aws_lambda_event_source_mapping", scaling_config={"maximum_concurrency": 1}),
    put("aws_lambda_permission", statement_id="x" * 101),
    put("aws_s3_bucket", bucket="x" * 64),
    put("aws_s3_bucket", bucket="xn--x"),
    put("aws_s3_bucket", bucket="x-s3alias"),
    put("aws_s3_bucket_lifecycle_configuration", rule=[{"transition": [{"days": 29}]}]),
    put("aws_s3_bucket_lifecycle_configuration", rule=[{"transition": [{"days": 60}], "expiration": [{"days": 60}]}]),
    put("aws_s3_bucket_cors_configuration", cors_rule=[{"allowed_origins": ["x" * 70000]}]),
    put("aws_sqs_queue", name="x" * 81),
    put("aws_sqs_queue", visibility_timeout_seconds=43201),
    put("aws_sqs_queue", message_retention_seconds=1209601),
    put("aws_sqs_queue", name="sluice-dev-failures"),
    put("aws_sns_topic", name="a b"),
    put("aws_sns_topic_subscription", protocol="email", endpoint="nobody"),
    put("aws_ssm_parameter", name="/ssm-files/dev/x"),
    put("aws_ssm_parameter", name="/AWS/dev/x"),
    put("aws_ssm_parameter", description="x" * 1025),
    put("aws_secretsmanager_secret", recovery_window_in_days=3),
    put("aws_cloudwatch_log_group", retention_in_days=8),
    put("aws_cloudwatch_log_group", name="a b"),
    put("aws_cloudwatch_event_rule", event_pattern="x" * 2049),
    put("aws_cloudwatch_event_rule", name="x" * 65),
    put("aws_cloudwatch_event_target", retry_policy={"maximum_retry_attempts": 186}),
    put("aws_cloudwatch_query_definition", log_group_names=["a"] * 51),
    put("aws_cloudwatch_dashboard", dashboard_body='{"widgets": [{"properties": {"metrics": [' + "1," * 600 + "1]}}]}"),
    in_dashboard,
    put("aws_scheduler_schedule", name="x" * 65),
    put("aws_scheduler_schedule", name="a b"),
    put("aws_cognito_user_pool", name="a&b"),
    put("aws_cognito_user_pool_client", refresh_token_validity=315360001),
    put("aws_dynamodb_table", name="x" * 256),
    put("aws_dynamodb_table", name="a b"),
    put("aws_api_gateway_method_settings", settings={"throttling_rate_limit": 10001, "throttling_burst_limit": 1}),
    put("aws_sfn_state_machine", name="x" * 81),
    put("aws_sfn_state_machine", definition='{"States": {}, "Comment": "' + "x" * 1024**2 + '"}'),
    in_machine(Retry=[{"IntervalSeconds": 300, "MaxAttempts": 20, "BackoffRate": 10}]),
    in_machine(Retry=[{"IntervalSeconds": 2, "MaxDelaySeconds": 1}]),
    in_machine(Parameters={"Subject": "x" * 101}),
    put("aws_lambda_function", description='${file("/etc/passwd")}'),
    put("aws_lambda_function", description="%{ if true }"),
    put("aws_lambda_function", description="${aws_s3_bucket.nowhere.arn}"),
    put("aws_lambda_function", colour="blue"),
    lambda content: content["resource"].update(aws_new_kind={"a": {}}),
    tag("R&D"),
    tag("x" * 257),
    tag("aws:x"),
    region("cn-north-1"),
    region("us-east-9"),
]


def test_what_is_within_the_limits_has_no_faults(small: dict[str, Any]) -> None:
    assert faults(small) == []


@pytest.mark.parametrize("damage", BEYOND)
def test_what_is_beyond_a_limit_is_a_fault(small: dict[str, Any], damage: Callable[[dict[str, Any]], None]) -> None:
    content = copy.deepcopy(small)
    damage(content)
    try:
        assert faults(content)
    except (KeyError, IndexError, ValueError):
        # The damage left something out that another rule reads: the rule that it is about has to see it.
        assert any(seen(rule, content) for rule in RULES)


def seen(rule: Callable[[Any], Any], content: dict[str, Any]) -> bool:
    try:
        return bool(list(rule(content)))
    except (KeyError, IndexError, ValueError):
        return False


def test_patterns_of_the_models_are_read_as_they_are_meant() -> None:
    letters = pattern(r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*")
    assert letters.fullmatch("Ünï 名 a1_.:/=+-@")
    assert not letters.fullmatch("R&D")
    anything = pattern("[\\u0009\\u000A\\u000D\\u0020-\\u00FF]*")
    assert anything.fullmatch("a\té\n")
    assert not anything.fullmatch("名")


# Names that two environments of one account could share


def test_an_environment_may_be_in_two_regions_of_an_account(folder: Path, small: dict[str, Any]) -> None:
    """Roles and buckets have no regions, so no name may occur in both."""
    own = folder / "elsewhere"
    own.mkdir()
    other = synthesized(own, Settings(environment="dev", account_id=ACCOUNT, primary_region="eu-west-1"))[0]

    def global_names(content: dict[str, Any]) -> set[str]:
        roles = {str(body["name"]) for body in content["resource"]["aws_iam_role"].values()}
        return roles | {str(body["bucket"]) for body in content["resource"]["aws_s3_bucket"].values()}

    assert global_names(small)
    assert global_names(other)
    assert not global_names(small) & global_names(other)


def test_no_name_of_one_environment_is_one_of_another(small: dict[str, Any]) -> None:
    """A project `a-b` may have an environment `c` beside `a` with `b`: no name of `a-b` is another name of `a-b-c`."""
    for kind in ("aws_iam_role", "aws_sqs_queue", "aws_sns_topic", "aws_lambda_function", "aws_dynamodb_table"):
        ends = [
            str(body.get("name") or body.get("function_name")).removeprefix("sluice-dev-")
            for body in small["resource"][kind].values()
        ]
        for one, other in itertools.permutations(ends, 2):
            # `a-b` + `c` + other == `a` + `b` + one, where one begins with the `c` that an environment may be.
            assert not one.endswith(f"-{other}"), (kind, one, other)
