"""Webhooks as Terraform JSON: none without addresses; with some, a queue, a secret and exact permissions for each."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from modules.names import receiver_slug
from modules.settings import WEBHOOK_ATTEMPTS
from tests.metric_math import Alarm
from tests.synth import test_monitoring, test_rows, test_stacks
from tests.synth.conftest import Synthesized, settings_of, synthesize
from tests.synth.test_rows import Json, many, referred
from tools.operate.terraform import find_program

A, B = "https://hooks.example.com/sluice", "https://hooks.example.com:8443/other?key=a=b%20c"
MAPPING = "aws_lambda_event_source_mapping"


@pytest.fixture(scope="module")
def webhooks(tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    """prod with two receivers."""
    folder = tmp_path_factory.mktemp("webhooks")
    synthesize(folder, settings_of("prod", webhook_urls=(A, B)))
    return Synthesized(folder / "stacks" / "sluice-prod")


def name_of(url: str) -> str:
    return receiver_slug(url).replace("-", "_")


def test_without_addresses_there_is_nothing(stack: Synthesized) -> None:
    assert not re.search(r"webhook|secretsmanager_secret|secrets_key", json.dumps(stack.json["resource"]))


def test_every_row_holds_with_webhooks_too(webhooks: Synthesized) -> None:
    assert [name for row in range(1, 21) for name in test_rows.failing_as_prod(row, webhooks)] == []


@pytest.mark.parametrize(
    "look",
    [
        test_monitoring.test_every_function_has_its_alarms,
        test_monitoring.test_every_queue_has_its_alarm,
        test_monitoring.test_every_alarm_tells_the_alert_topic_when_it_begins_and_ends,
        test_monitoring.test_every_alarm_ends_in_a_next_step_and_leads_to_its_section,
        test_monitoring.test_every_alarm_is_one_that_cloudwatch_takes,
        test_monitoring.test_every_metric_is_one_that_aws_publishes,
        test_monitoring.test_the_dashboard_shows_all_alarms_first,
        test_monitoring.test_the_widgets_of_the_dashboard_lie_side_by_side,
        test_monitoring.test_the_dashboard_shows_metrics_that_aws_publishes,
        test_stacks.test_every_service_that_is_used_has_an_endpoint_on_local,
    ],
)
def test_what_holds_for_every_environment_holds_with_webhooks_too(webhooks: Synthesized, look: Any) -> None:  # noqa: ANN401
    look(*[webhooks])


def test_terraform_validates_it(webhooks: Synthesized) -> None:
    test_stacks.validate(webhooks, find_program())


def test_a_receiver_has_a_queue_a_subscription_a_secret_and_a_mapping(webhooks: Synthesized) -> None:
    found = webhooks.resources()
    for url in (A, B):
        name = name_of(url)
        queue = found[f"aws_sqs_queue.webhook_{name}"]
        assert queue["name"] == f"sluice-prod-webhooks-{receiver_slug(url)}"
        assert json.loads(queue["redrive_policy"]) == {
            "deadLetterTargetArn": f"${{aws_sqs_queue.webhook_{name}_dead_letters.arn}}",
            "maxReceiveCount": WEBHOOK_ATTEMPTS,
        }
        # Lambda, "Using Lambda with Amazon SQS": six times the timeout of the function.
        assert queue["visibility_timeout_seconds"] >= 6 * found["aws_lambda_function.webhooks"]["timeout"]
        subscription = found[f"aws_sns_topic_subscription.webhook_{name}_subscription"]
        assert referred(subscription["topic_arn"], "arn") == "aws_sns_topic.notifications_files"
        assert referred(subscription["endpoint"], "arn") == f"aws_sqs_queue.webhook_{name}"
        assert subscription["raw_message_delivery"] is True
        test_rows.assert_admits(
            webhooks, f"aws_sqs_queue.webhook_{name}", "sns.amazonaws.com", "${aws_sns_topic.notifications_files.arn}"
        )
        mapping = found[f"{MAPPING}.webhooks_{name}"]
        assert referred(mapping["event_source_arn"], "arn") == f"aws_sqs_queue.webhook_{name}"
        assert referred(mapping["function_name"]) == "aws_lambda_alias.webhooks_live"
        assert mapping["function_response_types"] == ["ReportBatchItemFailures"]
        assert 2 <= mapping["scaling_config"]["maximum_concurrency"] <= 1000
        assert mapping["batch_size"] <= 10
        assert mapping["depends_on"] == [f"aws_iam_role_policy.webhooks_role_{name}_consume"]
    assert len(webhooks.resources(MAPPING)) == 2


def test_no_secret_is_in_the_json(webhooks: Synthesized) -> None:
    secrets = webhooks.resources("aws_secretsmanager_secret")
    assert {each["kms_key_id"] for each in secrets.values()} == {"${aws_kms_key.secrets_key.arn}"}
    assert {each["recovery_window_in_days"] for each in secrets.values()} == {30}
    # AWS keeps the name of a deleted secret for that long: an address that comes back needs another one.
    assert {each["name_prefix"] for each in secrets.values()} == {
        f"sluice-prod-webhooks-{receiver_slug(url)}-" for url in (A, B)
    }
    assert not any("name" in each for each in secrets.values())
    assert len(secrets) == 2
    assert "whsec_" not in webhooks.text
    assert not webhooks.resources("aws_secretsmanager_secret_version")


def test_the_function_may_do_exactly_this(webhooks: Synthesized) -> None:
    def statements(concern: str) -> list[Json]:
        policy = webhooks.resources("aws_iam_role_policy")[f"aws_iam_role_policy.webhooks_role_{concern}"]["policy"]
        return list(json.loads(policy)["Statement"])

    secrets = [f"${{aws_secretsmanager_secret.webhook_{name_of(url)}_secret.arn}}" for url in (A, B)]
    assert statements("secrets_read") == [
        {"Sid": "ReadSecrets", "Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": secrets},
        {
            "Sid": "DecryptSecrets",
            "Effect": "Allow",
            "Action": "kms:Decrypt",
            "Resource": "${aws_kms_key.secrets_key.arn}",
            "Condition": {"StringEquals": {"kms:ViaService": "secretsmanager.us-east-1.amazonaws.com"}},
        },
    ]
    for url in (A, B):
        queue = f"${{aws_sqs_queue.webhook_{name_of(url)}.arn}}"
        assert statements(f"{name_of(url)}_consume") == [
            {
                "Sid": "ReceiveMessages",
                "Effect": "Allow",
                "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
                "Resource": queue,
            },
            {
                "Sid": "PostponeMessages",
                "Effect": "Allow",
                "Action": "sqs:ChangeMessageVisibility",
                "Resource": queue,
            },
            {
                "Sid": "DecryptMessages",
                "Effect": "Allow",
                "Action": "kms:Decrypt",
                "Resource": "${aws_kms_key.queues_key.arn}",
                "Condition": {"StringEquals": {"kms:ViaService": "sqs.us-east-1.amazonaws.com"}},
            },
        ]
    services = {action.partition(":")[0] for action, _ in test_rows.granted(webhooks, "aws_iam_role.webhooks_role")}
    assert services == {"secretsmanager", "kms", "sqs", "logs", "xray"}


def test_nobody_else_reads_the_secrets_or_uses_their_key(webhooks: Synthesized) -> None:
    for address, each in test_rows.statements(webhooks, "aws_iam_role_policy"):
        if re.search("secretsmanager|secrets_key", json.dumps(each)):
            assert address == "aws_iam_role_policy.webhooks_role_secrets_read"
    (function,) = (
        each
        for each in webhooks.resources("aws_lambda_function").values()
        if "secret" in json.dumps(each["environment"]) or "example.com" in json.dumps(each["environment"])
    )
    assert function["function_name"] == "sluice-prod-webhooks"


def test_the_variables_of_the_function_fit_into_what_lambda_takes(tmp_path: Path) -> None:
    """Lambda, "Lambda quotas": 4 KB. The longest names, addresses and number that the settings let through."""
    urls = tuple(f"https://{'h' * 40}.example.com/{number}".ljust(200, "x") for number in range(8))
    settings = settings_of("dev", webhook_urls=urls, project_name="p" * 16, primary_region="ap-southeast-2")
    synthesize(tmp_path, settings)
    stack = Synthesized(tmp_path / "stacks" / settings.prefix)
    given = stack.resources("aws_lambda_function")["aws_lambda_function.webhooks"]["environment"]["variables"]
    queue = f"https://sqs.ap-southeast-2.amazonaws.com/111111111111/{'p' * 16}-{'e' * 16}-webhooks-{'s' * 24}"
    secret = f"arn:aws:secretsmanager:ap-southeast-2:111111111111:secret:{queue.rpartition('/')[2]}-AbCdEf"
    text = "".join(f"{name}{value}" for name, value in given.items())
    text = re.sub(r"\$\{aws_sqs_queue\.\w+\.url\}", queue, text)
    text = re.sub(r"\$\{aws_secretsmanager_secret\.\w+\.arn\}", secret, text)
    assert "${" not in text
    assert len(text) < 4096


def test_a_receiver_keeps_its_addresses_when_another_comes_first(webhooks: Synthesized, tmp_path: Path) -> None:
    synthesize(tmp_path, settings_of("prod", webhook_urls=("https://new.example.com/", A)))
    other = Synthesized(tmp_path / "stacks" / "sluice-prod").resources()
    own = {address for address in webhooks.resources() if name_of(A) in address}
    assert len(own) > 8
    for address in own:
        assert other[address] == webhooks.resources()[address] or address.startswith(MAPPING), address


def test_a_receiver_that_takes_nothing_alarms_and_one_that_stumbles_does_not(webhooks: Synthesized) -> None:
    alarms = {
        address: Alarm.of(body)
        for address, body in webhooks.resources("aws_cloudwatch_metric_alarm").items()
        if address.endswith("_undelivered")
    }
    assert len(alarms) == 2
    for alarm in alarms.values():

        def history(received: str, deleted: str, alarm: Alarm = alarm) -> list[str]:
            data = {
                "NumberOfMessagesReceived": test_monitoring.numbers(received),
                "NumberOfMessagesDeleted": test_monitoring.numbers(deleted),
            }
            return list(alarm.history(data, 6))

        assert history("4 4 4 4 - -", "0 0 0 4 - -") == ["OK", "ALARM", "ALARM", "OK", "OK", "OK"]
        assert history("1 1 1 - - -", "- - - - - -")[:4] == ["OK", "ALARM", "ALARM", "OK"]
        assert set(history("10 10 10 10 10 10", "5 6 7 8 9 10")) == {"OK"}
        assert set(history("4 8 - 4 8 -", "0 8 - 0 8 -")) == {"OK"}
        assert set(history("- - - - - -", "- - - - - -")) == {"OK"}


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("https://hooks.example.com", True),
        ("https://hooks.example.com:8443/a/b-c_d.e~f%20?g=h&i=j", True),
        ("http://hooks.example.com/", False),
        ("https://user:password@hooks.example.com/", False),
        ("https://hooks.example.com/a,b", False),
        ("https://hooks.example.com/a#b", False),
        ("https://hooks.example.com/${x}", False),
        ("https://hooks.example.com/\nx", False),
        ("https://hooks.example.com/" + "a" * 200, False),
        ("https://", False),
    ],
)
def test_which_addresses_are_taken(url: str, right: bool) -> None:
    if right:
        assert settings_of("dev", webhook_urls=(url,)).webhook_urls == (url,)
    else:
        with pytest.raises(ValidationError, match="webhook_urls"):
            settings_of("dev", webhook_urls=(url,))


def test_an_address_twice_and_too_many_are_refused() -> None:
    with pytest.raises(ValidationError, match="names an address twice"):
        settings_of("dev", webhook_urls=(A, A))
    with pytest.raises(ValidationError, match="webhook_urls"):
        settings_of("dev", webhook_urls=tuple(f"{A}{number}" for number in range(9)))


def test_the_deployer_may_map_only_its_own_functions() -> None:
    from tools.operate.policies import deployer_policies

    found = [
        each
        for policy in deployer_policies(settings_of("prod"))
        for each in json.loads(policy)["Statement"]
        if "lambda:CreateEventSourceMapping" in many(each["Action"])
    ]
    function = "arn:aws:lambda:us-east-1:333333333333:function:sluice-prod-*"
    assert [each["Condition"] for each in found] == [{"ArnLike": {"lambda:FunctionArn": function}}]
    assert not any("GetSecretValue" in policy for policy in deployer_policies(settings_of("prod")))
