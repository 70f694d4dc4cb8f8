"""Grants: exact actions on exact ARNs, the key's among them, for a role of the stack and for an existing one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cdktf import App

from modules.buckets import PrivateBucket
from modules.encryption import CustomerKey
from modules.notifications import Topic
from modules.queues import Queue
from modules.roles import ExistingRole, Grantee, Role
from modules.storage import Storage
from modules.tables import Metadata
from stacks.base import BaseStack
from tests.synth.conftest import settings_of

ACCOUNT = settings_of("dev").account_id
ARN = f"arn:aws:iam::{ACCOUNT}:role/team/reports/service"

Grant = Callable[[BaseStack, CustomerKey, Grantee], object]


def bucket(stack: BaseStack, key: CustomerKey) -> PrivateBucket:
    return PrivateBucket(stack, "bucket", foundation=stack.foundation, name="a-bucket", key=key)


def use_of_key(sid: str, *actions: str, service: str = "s3") -> dict[str, Any]:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": actions[0] if len(actions) == 1 else list(actions),
        "Resource": "${aws_kms_key.key.arn}",
        "Condition": {"StringEquals": {"kms:ViaService": f"{service}.us-east-1.amazonaws.com"}},
    }


def allow(sid: str, actions: str | list[str], resource: str) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}


GRANTS: dict[str, tuple[str, Grant, list[dict[str, Any]]]] = {
    "files_read": (
        "s3",
        lambda stack, key, to: Storage(stack, "files", foundation=stack.foundation, key=key).grant_read(to),
        [
            allow("GetFiles", "s3:GetObject", "${aws_s3_bucket.files_uploads.arn}/uploads/*"),
            use_of_key("DecryptFiles", "kms:Decrypt"),
        ],
    ),
    "files_write": (
        "s3",
        lambda stack, key, to: Storage(stack, "files", foundation=stack.foundation, key=key).grant_write(to),
        [
            allow("PutFiles", "s3:PutObject", "${aws_s3_bucket.files_uploads.arn}/uploads/*"),
            use_of_key("EncryptFiles", "kms:GenerateDataKey"),
        ],
    ),
    "objects_read": (
        "s3",
        lambda stack, key, to: bucket(stack, key).grant_read(to),
        [
            allow("ListObjects", "s3:ListBucket", "${aws_s3_bucket.bucket.arn}"),
            allow("GetObjects", "s3:GetObject", "${aws_s3_bucket.bucket.arn}/*"),
            use_of_key("DecryptObjects", "kms:Decrypt"),
        ],
    ),
    "quotas_read": (
        "dynamodb",
        lambda stack, key, to: Metadata(stack, "metadata", foundation=stack.foundation, key=key).grant_read_quota(to),
        [
            allow("ReadQuotas", "dynamodb:GetItem", "${aws_dynamodb_table.metadata_quotas.arn}"),
            use_of_key("UseTableKey", "kms:Decrypt", service="dynamodb"),
        ],
    ),
    "consume": (
        "sqs",
        lambda stack, key, to: Queue(stack, "queue", foundation=stack.foundation, name="q", key=key).grant_consume(
            to, "consume"
        ),
        [
            allow(
                "ReceiveMessages",
                ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
                "${aws_sqs_queue.queue.arn}",
            ),
            allow("PostponeMessages", "sqs:ChangeMessageVisibility", "${aws_sqs_queue.queue.arn}"),
            use_of_key("DecryptMessages", "kms:Decrypt", service="sqs"),
        ],
    ),
    "publish": (
        "sns",
        lambda stack, key, to: Topic(stack, "topic", foundation=stack.foundation, name="t", key=key).grant_publish(
            to, "publish"
        ),
        [
            allow("Publish", "sns:Publish", "${aws_sns_topic.topic.arn}"),
            use_of_key("EncryptMessages", "kms:GenerateDataKey", "kms:Decrypt", service="sns"),
        ],
    ),
}


def own(stack: BaseStack) -> Grantee:
    return Role(
        stack, "grantee", foundation=stack.foundation, name="service", service="lambda.amazonaws.com", description="-"
    )


def existing(stack: BaseStack) -> Grantee:
    return ExistingRole(stack, "grantee", foundation=stack.foundation, arn=ARN)


@pytest.mark.parametrize("concern", GRANTS)
@pytest.mark.parametrize(
    ("make", "role", "policy_name"),
    [(own, "${aws_iam_role.grantee.id}", "{}"), (existing, "service", "sluice-dev-grantee-{}-us-east-1")],
)
def test_a_grant_has_these_statements_and_no_others(
    tmp_path: Path, concern: str, make: Callable[[BaseStack], Grantee], role: str, policy_name: str
) -> None:
    service, grant, expected = GRANTS[concern]
    stack = BaseStack(App(outdir=str(tmp_path)), settings=settings_of("dev"))
    key = CustomerKey(stack, "key", foundation=stack.foundation, purpose="test", service=service)
    grantee = make(stack)
    grant(stack, key, grantee)
    resources = json.loads(json.dumps(stack.to_terraform()))["resource"]
    assert set(resources["aws_iam_role_policy"]) == {f"grantee_{concern}"}
    policy = resources["aws_iam_role_policy"][f"grantee_{concern}"]
    assert policy["role"] == role
    assert policy["name"] == policy_name.format(concern.replace("_", "-"))
    assert json.loads(policy["policy"])["Statement"] == expected
    # A role of another team is not made again.
    assert ("aws_iam_role" in resources) == (make is own)


@pytest.mark.parametrize(
    ("arn", "words"),
    [
        ("arn:aws:iam::999999999999:role/team/service", "a role of another account"),
        (f"arn:aws-us-gov:iam::{ACCOUNT}:role/service", "in the partition aws-us-gov"),
        (f"arn:aws:iam::{ACCOUNT}:user/service", "not the ARN of a role"),
        (f"arn:aws:iam::{ACCOUNT}:role/team/", "not the ARN of a role"),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/service/session", "not the ARN of a role"),
        ("service", "not the ARN of a role"),
        (f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/s3.amazonaws.com/AWSServiceRoleForS3", "managed by AWS"),
        (f"arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_A_1", "managed by AWS"),
    ],
)
def test_a_role_that_cannot_get_a_policy_is_refused_with_words(tmp_path: Path, arn: str, words: str) -> None:
    stack = BaseStack(App(outdir=str(tmp_path)), settings=settings_of("dev"))
    with pytest.raises(ValueError, match=words) as error:
        ExistingRole(stack, "grantee", foundation=stack.foundation, arn=arn)
    assert f"arn:aws:iam::{ACCOUNT}:role/partners/reader" in str(error.value)


def test_a_role_without_a_path_has_its_name_as_well(tmp_path: Path) -> None:
    stack = BaseStack(App(outdir=str(tmp_path)), settings=settings_of("dev"))
    role = ExistingRole(stack, "grantee", foundation=stack.foundation, arn=f"arn:aws:iam::{ACCOUNT}:role/service")
    assert (role.name, role.arn) == ("service", f"arn:aws:iam::{ACCOUNT}:role/service")
