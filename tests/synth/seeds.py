"""The failures of the twenty rows as changes of Terraform JSON, which guards and tests of rows have to find."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Content = dict[str, Any]


def body(content: Content, kind: str, name: str = "") -> Content:
    """The body of a resource: the named one, or the first of its kind."""
    named: dict[str, Content] = content["resource"][kind]
    return named[name] if name else next(iter(named.values()))


def change(kind: str, name: str = "", **arguments: object) -> Callable[[Content], None]:
    """A defect that sets arguments of one resource; None removes one."""

    def seed(content: Content) -> None:
        found = body(content, kind, name)
        for argument, value in arguments.items():
            found.pop(argument, None)
            if value is not None:
                found[argument] = value

    return seed


def add(kind: str, **arguments: object) -> Callable[[Content], None]:
    """A defect that adds a resource."""
    return lambda content: content["resource"].setdefault(kind, {}).update(seeded=arguments)


def remove(kind: str) -> Callable[[Content], None]:
    """A defect that leaves out every resource of a kind."""
    return lambda content: content["resource"].pop(kind)


def statement(**changed: object) -> Callable[[Content], None]:
    """A defect in the first statement of a function's policy for files."""

    def seed(content: Content) -> None:
        policy = body(content, "aws_iam_role_policy", "upload_role_files_write")
        document = json.loads(policy["policy"])
        document["Statement"][0].update(changed)
        policy["policy"] = json.dumps(document)

    return seed


def state(**changed: object) -> Callable[[Content], None]:
    """A defect in the workflow's first task."""

    def seed(content: Content) -> None:
        machine = body(content, "aws_sfn_state_machine")
        definition = json.loads(machine["definition"])
        definition["States"]["Inspect"].update(changed)
        machine["definition"] = json.dumps(definition)

    return seed


def region(content: Content) -> None:
    content["provider"]["aws"][0]["region"] = "eu-west-1"


def any_account(content: Content) -> None:
    del content["provider"]["aws"][0]["allowed_account_ids"]


def second_provider(content: Content) -> None:
    content["provider"]["aws"].append({"alias": "other", "region": "eu-west-1"})


def hand_made_address(content: Content) -> None:
    content["output"]["api_url"]["value"] = "https://${aws_api_gateway_rest_api.api.id}.execute-api.us-east-1.com"


def bucket_id_as_name(content: Content) -> None:
    values = body(content, "aws_lambda_function", "upload")["environment"]["variables"]
    values["BUCKET_NAME"] = "${aws_s3_bucket.storage_uploads.id}"


def no_health(content: Content) -> None:
    content["resource"]["aws_api_gateway_resource"] = {
        name: found
        for name, found in content["resource"]["aws_api_gateway_resource"].items()
        if found["path_part"] != "health"
    }


API = "${aws_api_gateway_rest_api.api.execution_arn}"
UNPUBLISHED = "${aws_lambda_function.upload.invoke_arn}"
TRUST = json.dumps({"Version": "2012-10-17", "Statement": [{"Sid": "A", "Effect": "Allow", "Principal": "*"}]})

SEEDS: list[tuple[int, Callable[[Content], None]]] = [
    (1, region),
    (1, any_account),
    (1, second_provider),
    (1, change("aws_s3_bucket", provider="aws.other")),
    (1, change("aws_dynamodb_table", region="eu-west-1")),
    (2, change("aws_api_gateway_integration", "api_post_upload_integration", integration_http_method="GET")),
    (2, change("aws_api_gateway_integration", "api_post_upload_integration", type="AWS")),
    (2, change("aws_api_gateway_integration", "api_post_upload_integration", uri="arn:aws:lambda:us-east-1:1:f")),
    (2, change("aws_api_gateway_integration", "api_post_upload_integration", uri=UNPUBLISHED)),
    (3, change("aws_lambda_permission", qualifier=None)),
    (3, change("aws_lambda_permission", source_arn="arn:aws:execute-api:us-east-1:111111111111:abc/*/*")),
    (3, change("aws_lambda_permission", source_arn=f"{API}/*/POST/upload")),
    (3, change("aws_lambda_permission", source_arn=f"{API}/*")),
    (4, change("aws_iam_role_policy", policy='{"Version": "2012-10-17", "Statement": [')),
    (4, change("aws_iam_role_policy", policy='{"Statement": []}')),
    (4, change("aws_s3_bucket_policy", policy='{"Version": "2008-10-17", "Statement": []}')),
    (5, bucket_id_as_name),
    (6, add("aws_s3_bucket_acl", bucket="b", acl="public-read")),
    (6, change("aws_s3_bucket", acl="public-read")),
    (6, change("aws_s3_bucket_public_access_block", "storage_uploads_public_access", block_public_acls=False)),
    (6, remove("aws_s3_bucket_ownership_controls")),
    (6, remove("aws_s3_bucket_policy")),
    (7, remove("aws_cloudwatch_event_target")),
    (7, change("aws_s3_bucket_notification", eventbridge=None)),
    (8, change("aws_lambda_function", dead_letter_config=None)),
    (8, remove("aws_lambda_function_event_invoke_config")),
    (8, change("aws_cloudwatch_event_target", dead_letter_config=None)),
    (8, change("aws_sns_topic_subscription", redrive_policy=None)),
    (8, change("aws_sqs_queue", message_retention_seconds=345600)),
    (9, state(Resource="${aws_lambda_function.inspect.arn}")),
    (9, state(Retry=[])),
    (9, state(Catch=[])),
    (9, change("aws_sfn_state_machine", logging_configuration={"level": "ERROR"})),
    (9, change("aws_sfn_state_machine", definition="not json")),
    (10, change("aws_cloudwatch_log_group", retention_in_days=1)),
    (10, change("aws_cloudwatch_log_group", kms_key_id=None)),
    (10, change("aws_lambda_function", logging_config=None)),
    (10, statement(Action="logs:PutLogEvents", Resource="*")),
    (11, change("aws_lambda_function", filename="upload.zip")),
    (11, change("aws_lambda_function", source_code_hash=None)),
    (11, change("aws_lambda_function", layers=[])),
    (12, hand_made_address),
    (12, lambda content: content["output"]["api_url"].pop("description")),
    (13, change("aws_s3_bucket", lifecycle_rule=[{"id": "inline"}])),
    (13, remove("aws_s3_bucket_versioning")),
    (15, no_health),
    (16, statement(Action="s3:*")),
    (16, statement(Resource="*")),
    (16, change("aws_iam_role", assume_role_policy=TRUST)),
    (17, change("aws_lambda_function", tracing_config={"mode": "PassThrough"})),
    (17, change("aws_api_gateway_stage", xray_tracing_enabled=False)),
    (17, change("aws_sfn_state_machine", tracing_configuration=None)),
    (18, add("aws_cloudwatch_metric_alarm", metric_name="Errors", alarm_actions=["a"], alarm_description="x" * 30)),
    (18, add("aws_cloudwatch_metric_alarm", alarm_description="x" * 30)),
    (18, add("aws_cloudwatch_metric_alarm", alarm_actions=["a"])),
    (19, change("aws_kms_key", enable_key_rotation=False)),
    (
        19,
        change(
            "aws_s3_bucket_server_side_encryption_configuration",
            "storage_uploads_encryption",
            rule=[{"sse_algorithm": "AES256"}],
        ),
    ),
    (19, change("aws_sqs_queue", kms_master_key_id="alias/aws/sqs")),
    (19, change("aws_sns_topic", kms_master_key_id=None)),
    (19, change("aws_dynamodb_table", server_side_encryption=None)),
    (20, add("aws_ecr_repository", name="sluice")),
    (20, change("aws_lambda_function", image_uri="1.dkr.ecr.us-east-1.amazonaws.com/sluice")),
]
