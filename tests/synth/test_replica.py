"""A second region as Terraform JSON: its provider, copies under keys of their own, and their alarms."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from stacks.guards import check
from tests.metric_math import Alarm
from tests.synth import test_monitoring, test_rows, test_stacks
from tests.synth.conftest import Synthesized, settings_of, synthesize
from tests.synth.seeds import change
from tests.synth.test_rows import many
from tests.synth.test_scanning import allow, statements
from tools.operate.policies import deployer_policies, planner_policies
from tools.operate.terraform import find_program

SETTINGS = settings_of("prod", replica_region="eu-central-1", alert_email="ops@example.com")
PROVIDER = "aws.replica"
# One provider, one bucket with access logs, one topic of alerts, one key a service: each a region. The tests here look
# at the second.
OF_A_REGION = {1, 13, 18, 19}
FILES, COPIES = "${aws_s3_bucket.storage_uploads.arn}", "${aws_s3_bucket.replica_files.arn}"


@pytest.fixture(scope="module")
def replicated(tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    """prod with a second region."""
    folder = tmp_path_factory.mktemp("replicated")
    synthesize(folder, SETTINGS)
    return Synthesized(folder / "stacks" / "sluice-prod")


def test_without_the_setting_there_is_nothing(stack: Synthesized) -> None:
    assert not re.search(r"replica[_.]|copier|copying|stream_enabled", json.dumps(stack.json["resource"]))
    assert stack.resources()["aws_lambda_function.discard"]["environment"]["variables"]["REPLICATED"] == "false"


def test_terraform_validates_it(replicated: Synthesized) -> None:
    test_stacks.validate(replicated, find_program())


def test_the_second_provider_is_that_of_the_first_in_another_region(replicated: Synthesized) -> None:
    first, second = replicated.json["provider"]["aws"]
    assert (second["alias"], second["region"]) == ("replica", "eu-central-1")
    assert {**second, "region": "us-east-1"} == {**first, "alias": "replica"}
    state = Synthesized(replicated.folder.with_name("sluice-prod-state"))
    assert len(state.json["provider"]["aws"]) == 1


def test_what_is_there_is_under_its_provider_and_nothing_else(replicated: Synthesized) -> None:
    under = {address for address, body in replicated.resources().items() if body.get("provider") == PROVIDER}
    assert under == {address for address in replicated.resources() if ".replica_" in address}
    assert {address.partition(".")[0] for address in under} >= {
        "aws_s3_bucket",
        "aws_s3_bucket_policy",
        "aws_dynamodb_table_replica",
        "aws_kms_key",
        "aws_sns_topic",
        "aws_cloudwatch_metric_alarm",
    }


@pytest.mark.parametrize("row", range(1, 21))
def test_every_row_holds_with_copies_too(replicated: Synthesized, tmp_path: Path, row: int) -> None:
    first = test_rows.seeded(test_rows.copied(replicated, tmp_path), without_the_second_region)
    assert test_rows.failing_as_prod(row, first if row in OF_A_REGION else replicated) == []


def without_the_second_region(content: dict[str, Any]) -> None:
    del content["provider"]["aws"][1]
    for named in content["resource"].values():
        for name in [each for each in named if each.startswith("replica_")]:
            del named[name]


@pytest.mark.parametrize(
    "look",
    [
        test_monitoring.test_every_alarm_ends_in_a_next_step_and_leads_to_its_section,
        test_monitoring.test_every_alarm_is_one_that_cloudwatch_takes,
        test_monitoring.test_every_metric_is_one_that_aws_publishes,
        test_stacks.test_every_service_that_is_used_has_an_endpoint_on_local,
    ],
)
def test_what_holds_for_every_environment_holds_with_copies_too(replicated: Synthesized, look: Any) -> None:  # noqa: ANN401
    look(*[replicated])


def test_the_bucket_of_copies_is_as_private_as_the_first(replicated: Synthesized) -> None:
    def about(bucket: str) -> dict[str, str]:
        """Return the settings of a bucket, by kind, without its own names."""
        return {
            kind: re.sub(
                rf"storage_key|replica_files_key|{bucket}(?=[_.\"])", "BUCKET", json.dumps(body, sort_keys=True)
            )
            for kind in (
                "aws_s3_bucket_ownership_controls",
                "aws_s3_bucket_public_access_block",
                "aws_s3_bucket_versioning",
                "aws_s3_bucket_server_side_encryption_configuration",
            )
            for address, found in replicated.resources(kind).items()
            if address.partition(".")[2].startswith(f"{bucket}_")
            for body in [{name: value for name, value in found.items() if name not in {"//", "provider"}}]
        }

    assert len(about("storage_uploads")) == 4
    assert about("replica_files") == about("storage_uploads")
    bucket = replicated.resources()["aws_s3_bucket.replica_files"]
    assert (bucket["bucket"], bucket["force_destroy"]) == ("sluice-prod-uploads-333333333333-eu-central-1", False)
    policy = statements(replicated, "aws_s3_bucket_policy.replica_files_policy")
    assert {name: each["Effect"] for name, each in policy.items()} == dict.fromkeys(
        [
            "DenyPlainHttp",
            "DenyForeignAccounts",
            "DenyOtherEncryption",
            "DenyOtherKeys",
            "DenyFilesThatAreNotClean",
            "DenyTagsOfOthers",
        ],
        "Deny",
    )
    assert policy["DenyFilesThatAreNotClean"]["Condition"] == {
        "StringNotEquals": {"s3:ExistingObjectTag/GuardDutyMalwareScanStatus": "NO_THREATS_FOUND"}
    }
    assert "Condition" not in policy["DenyTagsOfOthers"]


def test_who_asked_for_copies_is_written_down_in_their_region(replicated: Synthesized, tmp_path: Path) -> None:
    logging = replicated.resources()["aws_s3_bucket_logging.replica_logging"]
    assert logging["bucket"] == "${aws_s3_bucket.replica_files.bucket}"
    assert logging["target_bucket"] == "${aws_s3_bucket.replica_access_logs.bucket}"
    logs = replicated.resources()["aws_s3_bucket.replica_access_logs"]
    assert logs["bucket"] == "sluice-prod-access-333333333333-eu-central-1"
    policy = statements(replicated, "aws_s3_bucket_policy.replica_access_logs_policy")
    assert policy["AdmitAccessLogs"]["Condition"] == {
        "ArnEquals": {"aws:SourceArn": COPIES},
        "StringEquals": {"aws:SourceAccount": "333333333333"},
    }
    (rule,) = replicated.resources()["aws_s3_bucket_lifecycle_configuration.replica_access_logs_lifecycle"]["rule"]
    assert rule["expiration"] == [{"days": 90}]
    synthesize(tmp_path, SETTINGS.model_copy(update={"enable_access_logs": False}))
    without = Synthesized(tmp_path / "stacks" / "sluice-prod")
    assert not without.resources("aws_s3_bucket_logging")
    assert "access_logs" not in without.text


def test_keys_are_of_the_second_region_and_used_through_it(replicated: Synthesized) -> None:
    keys = {name: body for name, body in replicated.resources("aws_kms_key").items() if ".replica_" in name}
    assert len(keys) == 3
    for name, key in keys.items():
        found = {each["Sid"]: each for each in json.loads(key["policy"])["Statement"]}
        (via,) = [found["AccountUsesKeyThroughService"]["Condition"]["StringEquals"]["kms:ViaService"]]
        assert via.endswith(".eu-central-1.amazonaws.com"), name
        assert key["enable_key_rotation"] is True


def test_every_file_is_copied_within_a_quarter_of_an_hour(replicated: Synthesized) -> None:
    (copying,) = replicated.resources("aws_s3_bucket_replication_configuration").values()
    assert "provider" not in copying
    (rule,) = copying["rule"]
    assert (rule["status"], rule["filter"]) == ("Enabled", {"prefix": "uploads/"})
    assert rule["delete_marker_replication"] == {"status": "Enabled"}
    assert rule["source_selection_criteria"] == {"sse_kms_encrypted_objects": {"status": "Enabled"}}
    to = rule["destination"]
    assert (to["bucket"], to["encryption_configuration"]) == (
        COPIES,
        {"replica_kms_key_id": "${aws_kms_key.replica_files_key.arn}"},
    )
    assert to["replication_time"] == {"status": "Enabled", "time": {"minutes": 15}}
    assert to["metrics"] == {"status": "Enabled", "event_threshold": {"minutes": 15}}
    assert set(copying["depends_on"]) == {
        "aws_s3_bucket_versioning.replica_files_versioning",
        "aws_s3_bucket_versioning.storage_uploads_versioning",
    }


def test_who_copies_may_do_exactly_this(replicated: Synthesized) -> None:
    role = replicated.resources("aws_iam_role")["aws_iam_role.storage_copier"]
    assert json.loads(role["assume_role_policy"])["Statement"][0]["Principal"] == {"Service": "s3.amazonaws.com"}
    assert statements(replicated, "aws_iam_role_policy.storage_copier_files_copy") == {
        "FindFiles": allow(["s3:GetReplicationConfiguration", "s3:ListBucket"], FILES),
        "ReadFiles": allow(
            ["s3:GetObjectVersionAcl", "s3:GetObjectVersionForReplication", "s3:GetObjectVersionTagging"],
            f"{FILES}/uploads/*",
        ),
        "WriteCopies": allow(["s3:ReplicateDelete", "s3:ReplicateObject", "s3:ReplicateTags"], f"{COPIES}/uploads/*"),
        "DecryptFiles": allow(
            "kms:Decrypt",
            "${aws_kms_key.storage_key.arn}",
            StringEquals={"kms:ViaService": "s3.us-east-1.amazonaws.com"},
        ),
        "EncryptCopies": allow(
            ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"],
            "${aws_kms_key.replica_files_key.arn}",
            StringEquals={"kms:ViaService": "s3.eu-central-1.amazonaws.com"},
        ),
    }


def test_what_is_deleted_goes_from_the_copies_too(replicated: Synthesized) -> None:
    found = replicated.resources()
    assert found["aws_lambda_function.discard"]["environment"]["variables"]["REPLICATED"] == "true"
    remove = statements(replicated, "aws_iam_role_policy.discard_role_files_discard")["RemoveFiles"]
    assert remove["Action"] == ["s3:AbortMultipartUpload", "s3:DeleteObject"]
    for bucket in ("storage", "replica"):
        _, leftovers = found[f"aws_s3_bucket_lifecycle_configuration.{bucket}_lifecycle"]["rule"]
        assert leftovers["noncurrent_version_expiration"] == [{"noncurrent_days": 3}]
        assert leftovers["expiration"] == [{"expired_object_delete_marker": True}]


def test_records_and_quotas_are_copied(replicated: Synthesized) -> None:
    for name in ("files", "quotas"):
        table = replicated.resources()[f"aws_dynamodb_table.metadata_{name}"]
        assert (table["stream_enabled"], table["stream_view_type"]) == (True, "NEW_AND_OLD_IMAGES")
        assert table["lifecycle"] == {"ignore_changes": ["replica"]}
        copy = replicated.resources()[f"aws_dynamodb_table_replica.replica_{name}_table"]
        assert copy["global_table_arn"] == f"${{aws_dynamodb_table.metadata_{name}.arn}}"
        assert copy["kms_key_arn"] == "${aws_kms_key.replica_records_key.arn}"
        assert copy["deletion_protection_enabled"] is copy["point_in_time_recovery"] is True


def test_an_alarm_tells_a_topic_of_its_own_region(replicated: Synthesized) -> None:
    for address, alarm in replicated.resources("aws_cloudwatch_metric_alarm").items():
        there = ".replica_" in address
        topic = "replica_alerts" if there else "notifications_alerts"
        assert alarm["alarm_actions"] == alarm["ok_actions"] == [f"${{aws_sns_topic.{topic}.arn}}"], address
    late = Alarm.of(replicated.resources()["aws_cloudwatch_metric_alarm.replica_monitoring_copies_late"])
    (metric,) = late.metrics.values()
    assert (metric.namespace, metric.name, metric.statistic) == ("AWS/S3", "ReplicationLatency", "Maximum")
    assert late.body["threshold"] == 900
    emails = replicated.resources("aws_sns_topic_subscription")
    assert emails["aws_sns_topic_subscription.replica_alert_email"]["endpoint"] == "ops@example.com"


@pytest.mark.parametrize("fills_empty", [True, False])
@pytest.mark.parametrize(
    ("address", "work"),
    [
        ("replica_monitoring_copies_stand_still", "OperationsPendingReplication"),
        ("monitoring_files_copy_stands_still", "ConsumedWriteCapacityUnits"),
    ],
)
def test_a_copy_that_stands_still_raises_an_alarm(
    replicated: Synthesized, address: str, work: str, fills_empty: bool
) -> None:
    alarm = Alarm.of(replicated.resources()[f"aws_cloudwatch_metric_alarm.{address}"])
    busy = dict.fromkeys(range(10), 5.0)
    for late, state in (({}, "ALARM"), ({0: 1.0, 1: 1.0}, "ALARM"), (dict.fromkeys(range(10), 0.0), "OK")):
        assert alarm.state({work: busy, "ReplicationLatency": late}, 9, fills_empty=fills_empty) == state, late
    assert alarm.state({}, 9, fills_empty=fills_empty) == "OK", "nobody works"
    assert alarm.state({work: {9: 5.0}}, 9, fills_empty=fills_empty) == "OK", "it has just begun"


def test_files_that_are_held_are_held_there_too(tmp_path: Path) -> None:
    synthesize(
        tmp_path, settings_of("dev", replica_region="eu-west-1", legal_hold=True, s3_lifecycle_expiration_days=0)
    )
    stack = Synthesized(tmp_path / "stacks" / "sluice-dev")
    buckets = stack.resources("aws_s3_bucket")
    assert {
        buckets[f"aws_s3_bucket.{name}"]["object_lock_enabled"] for name in ("storage_uploads", "replica_files")
    } == {True}
    may = statements(stack, "aws_iam_role_policy.storage_copier_files_copy")
    assert {"s3:GetObjectLegalHold", "s3:GetObjectRetention"} <= set(may["ReadFiles"]["Action"])
    assert "s3:PutObjectLegalHold" in may["WriteCopies"]["Action"]


def test_copies_that_are_taken_away_leave_their_provider_and_the_streams_until_they_are_gone(tmp_path: Path) -> None:
    settings = settings_of("dev", replica_region="eu-west-1", replica_removed=True)
    synthesize(tmp_path, settings)
    stack = Synthesized(tmp_path / "stacks" / "sluice-dev")
    assert [each.get("alias") for each in stack.json["provider"]["aws"]] == [None, "replica"]
    assert not re.search(r"\.replica_|copier|copying", " ".join(stack.resources()))
    for table in stack.resources("aws_dynamodb_table").values():
        assert (table["stream_enabled"], table["lifecycle"]) == (True, {"ignore_changes": ["replica"]})
    assert stack.resources()["aws_lambda_function.discard"]["environment"]["variables"]["REPLICATED"] == "false"
    assert list(check(stack.json, settings)) == []


def allowed(policies: list[str]) -> set[tuple[str, str]]:
    """Actions of policies, each with a resource."""
    return {
        (action, resource)
        for policy in policies
        for statement in json.loads(policy)["Statement"]
        for action in many(statement["Action"])
        for resource in many(statement["Resource"])
    }


def test_a_deployer_may_keep_the_copies_and_a_planner_reads_none() -> None:
    policies = deployer_policies(SETTINGS)
    assert all(len(policy.replace(" ", "")) <= 6144 for policy in policies)
    without = deployer_policies(SETTINGS.model_copy(update={"replica_region": None}))
    copies = allowed(policies) - allowed(without)
    assert {"s3:PutReplicationConfiguration", "dynamodb:CreateTableReplica"} <= {action for action, _ in copies}
    assert allowed(without) < allowed(policies)
    assert not re.search(r'"dynamodb:(GetItem|Query|Scan|BatchGetItem)"', "".join(planner_policies(SETTINGS)))


def test_whoever_deploys_may_delete_the_copies_that_are_taken_away() -> None:
    assert deployer_policies(SETTINGS.model_copy(update={"replica_removed": True})) == deployer_policies(SETTINGS)


@pytest.mark.parametrize(
    "seed",
    [
        lambda content: content["provider"]["aws"][1].update(region="us-west-2"),
        lambda content: content["provider"]["aws"][1].update(alias="other"),
        lambda content: content["provider"]["aws"][1].pop("allowed_account_ids"),
        lambda content: content["provider"]["aws"].append({"alias": "replica", "region": "eu-central-1"}),
        change("aws_lambda_function", provider=PROVIDER),
        lambda content: content["resource"]["aws_s3_bucket"]["replica_files"].pop("provider"),
        lambda content: content["resource"]["aws_kms_key"]["replica_files_key"].update(provider="aws"),
    ],
)
def test_the_guard_refuses_another_region_than_the_one_intended(replicated: Synthesized, seed: Any) -> None:  # noqa: ANN401
    assert list(check(replicated.json, SETTINGS)) == []
    content = replicated.json
    seed(content)
    assert {finding.row for finding in check(content, SETTINGS)} == {1}
