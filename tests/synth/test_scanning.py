"""The gate before a file is opened: GuardDuty's plan and role, the bucket's policy, the workflow; and legal holds."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modules.settings import SCANNED_BYTES, Settings
from tests.synth.conftest import Synthesized, settings_of, synthesize

BUCKET = "${aws_s3_bucket.storage_uploads.arn}"
FILES = f"{BUCKET}/uploads/*"
SCANNER, INSPECT = "${aws_iam_role.scanning_role.arn}", "${aws_iam_role.inspect_role.arn}"
TAG = "s3:ExistingObjectTag/GuardDutyMalwareScanStatus"
RULE = "arn:aws:events:us-east-1:333333333333:rule/DO-NOT-DELETE-AmazonGuardDutyMalwareProtectionS3*"
GUARDDUTY = "malware-protection-plan.guardduty.amazonaws.com"


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    """Synthesize an environment with legal holds."""
    folder = tmp_path_factory.mktemp("held")
    synthesize(folder, settings_of("dev", legal_hold=True, s3_lifecycle_expiration_days=0))
    return Synthesized(folder / "stacks" / "sluice-dev")


def statements(stack: Synthesized, address: str) -> dict[str, dict[str, Any]]:
    """Statements of a policy by their id."""
    found = json.loads(stack.resources()[address]["policy"])["Statement"]
    return {each.pop("Sid"): each for each in found}


def workflow(stack: Synthesized) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stack.resources()["aws_sfn_state_machine.workflow"]["definition"])
    return found


def allow(actions: str | list[str], resource: str, **condition: object) -> dict[str, Any]:
    body: dict[str, Any] = {"Effect": "Allow", "Action": actions, "Resource": resource}
    return {**body, "Condition": condition} if condition else body


# scanning


def test_the_plan_protects_the_files_and_tags_them(prod: Synthesized) -> None:
    plan = prod.resources()["aws_guardduty_malware_protection_plan.scanning"]
    assert plan["role"] == SCANNER
    assert plan["protected_resource"] == [
        {"s3_bucket": [{"bucket_name": "${aws_s3_bucket.storage_uploads.bucket}", "object_prefixes": ["uploads/"]}]}
    ]
    assert plan["actions"] == [{"tagging": [{"status": "ENABLED"}]}]
    grants = {
        address
        for address, body in prod.resources("aws_iam_role_policy").items()
        if body["role"] == "${aws_iam_role.scanning_role.id}"
    }
    first = {*grants, "aws_s3_bucket_notification.storage_events"}
    assert set(plan["depends_on"]) == first, "GuardDuty tries them when the plan is made"


def test_the_scanner_may_what_the_guide_says(prod: Synthesized) -> None:
    """GuardDuty, "Create or update IAM role policy"."""
    role = prod.resources()["aws_iam_role.scanning_role"]
    (trust,) = json.loads(role["assume_role_policy"])["Statement"]
    assert (trust["Principal"], trust["Action"]) == ({"Service": GUARDDUTY}, "sts:AssumeRole")
    assert statements(prod, "aws_iam_role_policy.scanning_role_own_rule") == {
        "AllowManagedRuleToSendS3EventsToGuardDuty": allow(
            ["events:DeleteRule", "events:PutRule", "events:PutTargets", "events:RemoveTargets"],
            RULE,
            StringLike={"events:ManagedBy": GUARDDUTY},
        ),
        "AllowGuardDutyToMonitorEventBridgeManagedRule": allow(
            ["events:DescribeRule", "events:ListTargetsByRule"], RULE
        ),
    }
    assert statements(prod, "aws_iam_role_policy.scanning_role_files_scan") == {
        "AllowMalwareScan": allow(["s3:GetObject", "s3:GetObjectVersion"], FILES),
        "AllowPostScanTag": allow(
            [
                "s3:GetObjectTagging",
                "s3:GetObjectVersionTagging",
                "s3:PutObjectTagging",
                "s3:PutObjectVersionTagging",
            ],
            FILES,
        ),
        "AllowEnableS3EventBridgeEvents": allow(["s3:GetBucketNotification", "s3:PutBucketNotification"], BUCKET),
        "AllowCheckBucketOwnership": allow("s3:ListBucket", BUCKET),
        "AllowPutValidationObject": allow("s3:PutObject", f"{BUCKET}/malware-protection-resource-validation-object"),
        "AllowDecryptForMalwareScan": allow(
            ["kms:Decrypt", "kms:GenerateDataKey"],
            "${aws_kms_key.storage_key.arn}",
            StringEquals={"kms:ViaService": "s3.us-east-1.amazonaws.com"},
        ),
    }


def gate(stack: Synthesized) -> None:
    """Check that only scanner and `inspect` read files without the tag, and that only the scanner sets tags."""
    found = statements(stack, "aws_s3_bucket_policy.storage_uploads_policy")
    assert found["DenyFilesThatAreNotClean"] == {
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:GetObject", "s3:GetObjectVersion"],
        "Resource": FILES,
        "Condition": {
            "StringNotEquals": {TAG: "NO_THREATS_FOUND"},
            "ArnNotEquals": {"aws:PrincipalArn": [SCANNER, INSPECT]},
        },
    }
    assert found["DenyTagsOfOthers"] == {
        "Effect": "Deny",
        "Principal": "*",
        "Action": [
            "s3:DeleteObjectTagging",
            "s3:DeleteObjectVersionTagging",
            "s3:PutObjectTagging",
            "s3:PutObjectVersionTagging",
        ],
        "Resource": FILES,
        "Condition": {"ArnNotEquals": {"aws:PrincipalArn": SCANNER}},
    }
    readers = {
        body["role"]
        for body in stack.resources("aws_iam_role_policy").values()
        for each in json.loads(body["policy"])["Statement"]
        if {"s3:GetObject", "s3:GetObjectVersion"}
        & set(each["Action"] if isinstance(each["Action"], list) else [each["Action"]])
    }
    assert readers == {f"${{aws_iam_role.{name}_role.id}}" for name in ("scanning", "inspect", "files")}


def test_the_bucket_serves_only_clean_files(prod: Synthesized) -> None:
    gate(prod)


def loosen(condition: str) -> Callable[[dict[str, Any]], object]:
    return lambda statement: statement["Condition"].pop(condition)


@pytest.mark.parametrize(
    ("sid", "seed"),
    [
        ("DenyFilesThatAreNotClean", lambda statement: statement.update(Action="s3:GetObject")),
        ("DenyFilesThatAreNotClean", lambda statement: statement.update(Resource=f"{BUCKET}/other/*")),
        ("DenyFilesThatAreNotClean", lambda statement: statement["Condition"].update(Null={TAG: "false"})),
        ("DenyFilesThatAreNotClean", loosen("StringNotEquals")),
        ("DenyTagsOfOthers", loosen("ArnNotEquals")),
        ("DenyTagsOfOthers", lambda statement: statement.update(Effect="Allow")),
    ],
)
def test_a_gate_that_is_ajar_fails_its_test(
    prod: Synthesized, tmp_path: Path, sid: str, seed: Callable[[dict[str, Any]], object]
) -> None:
    content = copy.deepcopy(prod.json)
    policy = content["resource"]["aws_s3_bucket_policy"]["storage_uploads_policy"]
    document = json.loads(policy["policy"])
    seed(next(each for each in document["Statement"] if each["Sid"] == sid))
    policy["policy"] = json.dumps(document)
    (tmp_path / "cdk.tf.json").write_text(json.dumps(content))
    with pytest.raises(AssertionError):
        gate(Synthesized(tmp_path))


def test_what_was_found_carries_the_workflow_on(prod: Synthesized) -> None:
    rule = prod.resources()["aws_cloudwatch_event_rule.scanning_scanned"]
    assert json.loads(rule["event_pattern"]) == {
        "source": ["aws.guardduty"],
        "detail-type": ["GuardDuty Malware Protection Object Scan Result"],
        "detail": {
            "s3ObjectDetails": {
                "bucketName": ["${aws_s3_bucket.storage_uploads.bucket}"],
                "objectKey": [{"prefix": "uploads/"}],
            }
        },
    }
    stored = prod.resources()["aws_cloudwatch_event_target.workflow_stored_target"]
    scanned = prod.resources()["aws_cloudwatch_event_target.scanning_scanned_target"]
    assert (scanned["arn"], scanned["retry_policy"]) == (stored["arn"], stored["retry_policy"])
    # EventBridge puts the values in, with quotes around them.
    template = scanned["input_transformer"]["input_template"].replace("<key>", '"uploads/1"').replace("<status>", '"S"')
    assert json.loads(template) == {"detail": {"object": {"key": "uploads/1"}, "scan": {"status": "S"}}}
    assert scanned["input_transformer"]["input_paths"] == {
        "key": "$.detail.s3ObjectDetails.objectKey",
        "status": "$.detail.scanResultDetails.scanResultStatus",
    }


def test_inspect_sees_what_was_found(prod: Synthesized) -> None:
    assert statements(prod, "aws_iam_role_policy.inspect_role_files_scan_result") == {
        "ReadScanResult": allow("s3:GetObjectTagging", FILES)
    }
    variables = prod.resources()["aws_lambda_function.inspect"]["environment"]["variables"]
    assert variables["MALWARE_SCANNING"] == "true"
    assert variables["ALLOWED_CONTENT_TYPES"].split(",") == list(settings_of("prod").allowed_content_types)


def test_the_workflow_waits_for_a_scan_and_puts_into_quarantine(stack: Synthesized) -> None:
    states = workflow(stack)["States"]
    left = {each["StringEquals"]: each["Next"] for each in states["WhatIsLeft"]["Choices"]}
    assert left["wait for scan"] == "WaitForScan"
    wait = states["WaitForScan"]["Parameters"]
    assert (wait["UpdateExpression"], wait["ConditionExpression"]) == (
        "SET #state = :scanning, due_time = :due REMOVE failure",
        "#state = :uploading",
    )
    caught = {error: each["Next"] for each in states["Inspect"]["Catch"] for error in each["ErrorEquals"]}
    assert caught["Rejected"] == caught["Quarantined"] == "ReadReason"
    assert states["ReadReason"]["Next"] == "WhatToDoWithIt"
    (quarantine,) = states["WhatToDoWithIt"]["Choices"]
    assert (quarantine["Variable"], quarantine["StringEquals"]) == ("$.failure.Error", "Quarantined")
    assert (quarantine["Next"], states["WhatToDoWithIt"]["Default"]) == ("Quarantine", "Reject")
    assert states["Inspect"]["Retry"][0] == {"ErrorEquals": ["Rejected", "Quarantined"], "MaxAttempts": 0}
    ending = states["Quarantine"]["Parameters"]["ExpressionAttributeValues"]
    assert ending[":ends_as"] == {"S": "quarantined"}


def test_without_the_setting_there_is_no_gate(stack: Synthesized, environment: str) -> None:
    scanning = settings_of(environment).malware_scanning
    assert scanning is (environment in {"prod", "local"})
    assert bool(stack.resources("aws_guardduty_malware_protection_plan")) is scanning
    denials = statements(stack, "aws_s3_bucket_policy.storage_uploads_policy")
    assert ("DenyFilesThatAreNotClean" in denials) is ("DenyTagsOfOthers" in denials) is scanning
    variables = stack.resources()["aws_lambda_function.inspect"]["environment"]["variables"]
    assert variables["MALWARE_SCANNING"] == str(scanning).lower()


def test_what_guardduty_cannot_scan_is_not_taken() -> None:
    assert settings_of("prod", max_upload_bytes=SCANNED_BYTES)
    with pytest.raises(ValueError, match="all end in quarantine"):
        settings_of("prod", max_upload_bytes=SCANNED_BYTES + 1)
    assert settings_of("dev", max_upload_bytes=SCANNED_BYTES + 1)


@pytest.mark.parametrize("wrong", ["png", "image/", "/png", "image/*/png", "*/png", "image/png; q=1", "", "a b/c"])
def test_a_pattern_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="allowed_content_types"):
        settings_of("dev", allowed_content_types=[wrong])


def test_patterns_of_types_are_as_people_write_them() -> None:
    wanted = ("image/*", "application/vnd.oasis.opendocument.*", "*/*", "application/pdf")
    assert settings_of("dev", allowed_content_types=[*wanted[:-1], "Application/PDF"]).allowed_content_types == wanted
    with pytest.raises(ValueError, match="allowed_content_types"):
        settings_of("dev", allowed_content_types=[])


def test_the_default_types_hold_nothing_that_runs() -> None:
    default = Settings.model_fields["allowed_content_types"].default
    assert not [each for each in default if each.partition("/")[2] in {"html", "javascript", "svg+xml", "x-sh"}]
    assert "*/*" not in default
    # Lambda, "Lambda quotas": 4 KB for all variables of a function.
    assert len(",".join(default)) < 1000


# legal hold


def test_a_held_file_is_held_by_s3_and_by_its_record(held: Synthesized) -> None:
    assert held.resources()["aws_s3_bucket.storage_uploads"]["object_lock_enabled"] is True
    states = workflow(held)["States"]
    opened = states["MakeAvailable"]["Parameters"]
    assert ", legal_hold = :held " in opened["UpdateExpression"]
    assert opened["ExpressionAttributeValues"][":held"] == {"BOOL": True}
    assert states["MakeAvailable"]["Next"] == "Hold"
    hold = states["Hold"]
    assert hold["Resource"] == "arn:aws:states:::aws-sdk:s3:putObjectLegalHold"
    assert hold["Parameters"] == {
        "Bucket": "${aws_s3_bucket.storage_uploads.bucket}",
        "Key.$": "$.detail.object.key",
        "LegalHold": {"Status": "ON"},
    }
    assert hold["Next"] == "Announce"
    # A run that ended between opening and holding is made up for before the file is announced.
    first = states["WhatIsLeft"]["Choices"][0]
    assert first["Next"] == "Hold"
    assert {each["StringEquals"] for each in first["And"]} == {"announce", "file_uploaded"}
    assert statements(held, "aws_iam_role_policy.workflow_role_files_hold") == {
        "HoldFiles": allow("s3:PutObjectLegalHold", FILES)
    }


def test_a_held_file_does_not_expire(held: Synthesized) -> None:
    rules = held.resources()["aws_s3_bucket_lifecycle_configuration.storage_lifecycle"]["rule"]
    assert not [rule for rule in rules if "expiration" in rule]
    with pytest.raises(ValueError, match="s3_lifecycle_expiration_days = 0"):
        settings_of("dev", legal_hold=True)


def test_without_the_setting_nothing_is_held(stack: Synthesized) -> None:
    assert not stack.resources()["aws_s3_bucket.storage_uploads"].get("object_lock_enabled")
    states = workflow(stack)["States"]
    assert "Hold" not in states
    assert states["MakeAvailable"]["Next"] == "Announce"
    assert "legal_hold" not in json.dumps(workflow(stack))
    assert "PutObjectLegalHold" not in stack.text
