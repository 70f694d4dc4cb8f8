"""AWS's documented limits of each kind of resource here, checked on Terraform JSON.

Most limits come from botocore's models of the operations by which Terraform's provider makes the resources: lengths,
ranges, patterns and values of each argument. What the models leave out is in functions here, with the page's name.
"""

from __future__ import annotations

import functools
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import botocore.session
from botocore.model import ListShape, MapShape, Shape, StructureShape

from modules.aws_limits import REGIONS
from tools.develop.judges import ARNS

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Operation:
    """How the provider makes a resource.

    Attributes:
        service, name: the operation in botocore.
        inside: where in its input the resource's arguments are.
        names: the operation's names for arguments, where they differ by more than case and underscores.
        apart: arguments that are Terraform's own, or that other operations and members take.
    """

    service: str
    name: str
    inside: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    apart: tuple[str, ...] = ()


def _s3(name: str, *inside: str, apart: tuple[str, ...] = (), **names: str) -> Operation:
    return Operation("s3", name, inside, names, apart)


OPERATIONS = {
    "aws_api_gateway_account": Operation("apigateway", "UpdateAccount", apart=("cloudwatch_role_arn",)),
    "aws_api_gateway_authorizer": Operation("apigateway", "CreateAuthorizer"),
    "aws_api_gateway_deployment": Operation("apigateway", "CreateDeployment", apart=("triggers",)),
    "aws_api_gateway_gateway_response": Operation("apigateway", "PutGatewayResponse"),
    "aws_api_gateway_integration": Operation("apigateway", "PutIntegration"),
    "aws_api_gateway_integration_response": Operation("apigateway", "PutIntegrationResponse"),
    "aws_api_gateway_method": Operation("apigateway", "PutMethod", names={"authorization": "authorizationType"}),
    "aws_api_gateway_method_response": Operation("apigateway", "PutMethodResponse"),
    "aws_api_gateway_method_settings": Operation("apigateway", "UpdateStage", apart=("method_path", "settings")),
    "aws_api_gateway_model": Operation("apigateway", "CreateModel"),
    "aws_api_gateway_request_validator": Operation("apigateway", "CreateRequestValidator"),
    "aws_api_gateway_resource": Operation("apigateway", "CreateResource"),
    "aws_api_gateway_rest_api": Operation("apigateway", "CreateRestApi", apart=("body", "put_rest_api_mode")),
    "aws_api_gateway_stage": Operation(
        "apigateway", "CreateStage", names={"xray_tracing_enabled": "tracingEnabled"}, apart=("access_log_settings",)
    ),
    "aws_cloudfront_distribution": Operation(
        "cloudfront", "CreateDistribution", ("DistributionConfig",), apart=("origin",)
    ),
    "aws_cloudfront_origin_access_control": Operation(
        "cloudfront", "CreateOriginAccessControl", ("OriginAccessControlConfig",)
    ),
    "aws_cloudfront_response_headers_policy": Operation(
        "cloudfront", "CreateResponseHeadersPolicy", ("ResponseHeadersPolicyConfig",)
    ),
    "aws_cloudwatch_dashboard": Operation("cloudwatch", "PutDashboard"),
    "aws_cloudwatch_event_rule": Operation("events", "PutRule"),
    "aws_cloudwatch_event_target": Operation(
        "events", "PutTargets", ("Targets",), {"target_id": "Id", "input_paths": "InputPathsMap"}, ("rule",)
    ),
    "aws_cloudwatch_log_group": Operation(
        "logs", "CreateLogGroup", names={"name": "logGroupName"}, apart=("retention_in_days",)
    ),
    "aws_cloudwatch_log_metric_filter": Operation(
        "logs",
        "PutMetricFilter",
        names={
            "name": "filterName",
            "pattern": "filterPattern",
            "metric_transformation": "metricTransformations",
            "metric_transformation.name": "metricName",
            "metric_transformation.namespace": "metricNamespace",
            "metric_transformation.value": "metricValue",
        },
    ),
    "aws_cloudwatch_metric_alarm": Operation(
        "cloudwatch",
        "PutMetricAlarm",
        names={
            "metric_query": "Metrics",
            "metric_query.metric": "MetricStat",
            "evaluate_low_sample_count_percentiles": "EvaluateLowSampleCountPercentile",
        },
        apart=("dimensions",),
    ),
    "aws_cloudwatch_query_definition": Operation("logs", "PutQueryDefinition"),
    "aws_codedeploy_app": Operation("codedeploy", "CreateApplication", names={"name": "applicationName"}),
    "aws_codedeploy_deployment_group": Operation(
        "codedeploy",
        "CreateDeploymentGroup",
        names={"app_name": "applicationName", "trigger_configuration": "triggerConfigurations"},
    ),
    "aws_cognito_user_pool": Operation(
        "cognito-idp",
        "CreateUserPool",
        names={"name": "PoolName"},
        apart=("password_policy", "software_token_mfa_configuration"),
    ),
    "aws_cognito_user_pool_client": Operation("cognito-idp", "CreateUserPoolClient", names={"name": "ClientName"}),
    "aws_cognito_user_pool_domain": Operation("cognito-idp", "CreateUserPoolDomain"),
    "aws_dynamodb_table": Operation(
        "dynamodb",
        "CreateTable",
        names={
            "name": "TableName",
            "attribute": "AttributeDefinitions",
            "attribute.name": "AttributeName",
            "global_secondary_index": "GlobalSecondaryIndexes",
            "global_secondary_index.name": "IndexName",
        },
        apart=(
            "hash_key",
            "ttl",
            "server_side_encryption",
            "point_in_time_recovery",
            "stream_enabled",
            "stream_view_type",
        ),
    ),
    "aws_dynamodb_table_replica": Operation(
        "dynamodb",
        "UpdateTable",
        apart=("global_table_arn", "kms_key_arn", "point_in_time_recovery"),
    ),
    "aws_guardduty_malware_protection_plan": Operation("guardduty", "CreateMalwareProtectionPlan"),
    "aws_iam_role": Operation(
        "iam", "CreateRole", names={"name": "RoleName", "assume_role_policy": "AssumeRolePolicyDocument"}
    ),
    "aws_iam_role_policy": Operation(
        "iam", "PutRolePolicy", names={"name": "PolicyName", "policy": "PolicyDocument", "role": "RoleName"}
    ),
    "aws_kms_alias": Operation("kms", "CreateAlias", names={"name": "AliasName"}),
    "aws_kms_key": Operation("kms", "CreateKey", apart=("deletion_window_in_days", "enable_key_rotation")),
    "aws_lambda_alias": Operation("lambda", "CreateAlias"),
    "aws_lambda_event_source_mapping": Operation("lambda", "CreateEventSourceMapping"),
    "aws_lambda_function": Operation("lambda", "CreateFunction", apart=("filename", "source_code_hash")),
    "aws_lambda_function_event_invoke_config": Operation("lambda", "PutFunctionEventInvokeConfig"),
    "aws_lambda_layer_version": Operation("lambda", "PublishLayerVersion", apart=("filename", "source_code_hash")),
    "aws_lambda_permission": Operation("lambda", "AddPermission"),
    "aws_s3_bucket": _s3("CreateBucket", apart=("force_destroy",), object_lock_enabled="ObjectLockEnabledForBucket"),
    "aws_s3_bucket_cors_configuration": _s3(
        "PutBucketCors", "CORSConfiguration", apart=("bucket",), cors_rule="CORSRules"
    ),
    "aws_s3_bucket_lifecycle_configuration": _s3(
        "PutBucketLifecycleConfiguration", "LifecycleConfiguration", apart=("bucket",), rule="Rules"
    ),
    "aws_s3_bucket_logging": _s3("PutBucketLogging", "BucketLoggingStatus", "LoggingEnabled", apart=("bucket",)),
    "aws_s3_bucket_notification": _s3("PutBucketNotificationConfiguration", apart=("eventbridge",)),
    "aws_s3_bucket_ownership_controls": _s3(
        "PutBucketOwnershipControls", "OwnershipControls", apart=("bucket",), rule="Rules"
    ),
    "aws_s3_bucket_policy": _s3("PutBucketPolicy"),
    "aws_s3_bucket_public_access_block": _s3(
        "PutPublicAccessBlock", "PublicAccessBlockConfiguration", apart=("bucket",)
    ),
    "aws_s3_bucket_replication_configuration": _s3(
        "PutBucketReplication", "ReplicationConfiguration", apart=("bucket",), rule="Rules"
    ),
    "aws_s3_bucket_server_side_encryption_configuration": _s3(
        "PutBucketEncryption", "ServerSideEncryptionConfiguration", apart=("bucket",), rule="Rules"
    ),
    "aws_s3_bucket_versioning": _s3("PutBucketVersioning"),
    "aws_s3_object": _s3("PutObject", apart=("content", "source", "source_hash")),
    "aws_scheduler_schedule": Operation("scheduler", "CreateSchedule"),
    "aws_secretsmanager_secret": Operation(
        "secretsmanager", "CreateSecret", names={"name_prefix": "Name"}, apart=("recovery_window_in_days",)
    ),
    "aws_sfn_state_machine": Operation("stepfunctions", "CreateStateMachine"),
    "aws_sns_topic": Operation("sns", "CreateTopic", apart=("kms_master_key_id",)),
    "aws_sns_topic_policy": Operation("sns", "SetTopicAttributes", apart=("arn", "policy")),
    "aws_sns_topic_subscription": Operation("sns", "Subscribe", apart=("raw_message_delivery", "redrive_policy")),
    "aws_sqs_queue": Operation(
        "sqs",
        "CreateQueue",
        names={"name": "QueueName"},
        apart=(
            "kms_data_key_reuse_period_seconds",
            "kms_master_key_id",
            "message_retention_seconds",
            "redrive_policy",
            "visibility_timeout_seconds",
        ),
    ),
    "aws_sqs_queue_policy": Operation("sqs", "SetQueueAttributes", apart=("policy",)),
    "aws_ssm_parameter": Operation("ssm", "PutParameter", names={"insecure_value": "Value"}),
    "aws_wafv2_web_acl": Operation("wafv2", "CreateWebACL", names={"rule": "Rules"}),
    "aws_wafv2_web_acl_association": Operation("wafv2", "AssociateWebACL"),
    "aws_wafv2_web_acl_logging_configuration": Operation("wafv2", "PutLoggingConfiguration", ("LoggingConfiguration",)),
}

# Of every resource.
_META = {"//", "depends_on", "lifecycle", "provider", "for_each", "count"}


# References, as AWS will see them


_REFERENCE = re.compile(r"(?<!\$)\$\{(aws_[a-z0-9_]+\.[a-z0-9_]+)\.([a-z0-9_]+)\}")
_KEY = "12345678-90ab-cdef-1234-567890abcdef"
_SAMPLES = {
    "id": "abcdefghij",
    "domain_name": "dabcdefghijklm.cloudfront.net",
    "key_id": _KEY,
    "root_resource_id": "abcdefghij",
    "version": "1234",
    "invoke_url": "https://abcdefghij.execute-api.{region}.amazonaws.com/v1",
    "url": "https://sqs.{region}.amazonaws.com/{account}/{name}",
    "execution_arn": "arn:aws:execute-api:{here}:abcdefghij",
    "invoke_arn": "arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/"
    "arn:aws:lambda:{here}:function:{function_name}:live/invocations",
}
_MORE_ARNS = {
    "aws_api_gateway_stage": "arn:aws:apigateway:{region}::/restapis/abcdefghij/stages/v1",
    "aws_lambda_layer_version": "arn:aws:lambda:{here}:layer:{layer_name}:1234",
    "aws_wafv2_web_acl": "arn:aws:wafv2:{here}:regional/webacl/{name}/" + _KEY,
}


class Resolver:
    """A replacer of references by samples, which have the length of AWS's values."""

    def __init__(self, content: Json) -> None:
        self._content = content
        provider = content["provider"]["aws"]
        self._account = provider[0]["allowed_account_ids"][0]
        self._regions = {each.get("alias"): each["region"] for each in provider}

    def text(self, value: str) -> str:
        """Return a text with samples."""
        return _REFERENCE.sub(lambda match: self._sample(match[1], match[2]), value)

    def json(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        """Return a JSON value with samples."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.json(each) for each in value]
        return {name: self.json(each) for name, each in value.items()} if isinstance(value, dict) else value

    def _sample(self, address: str, attribute: str) -> str:
        kind, _, name = address.partition(".")
        body = self._content["resource"][kind][name]
        if isinstance(body.get(attribute), str):
            return self.text(body[attribute])
        region = self._regions[str(body["provider"]).removeprefix("aws.") if "provider" in body else None]
        if "name_prefix" in body:
            # Terraform, "Resource: aws_secretsmanager_secret": 26 characters that are behind the prefix.
            body = {**body, "name": body["name_prefix"] + "2" * 26}
        values = {**self.json(body), "region": region, "account": self._account, "here": f"{region}:{self._account}"}
        if kind in {"aws_s3_bucket", "aws_iam_role"} and attribute == "id":
            return str(values.get("bucket") or values.get("name"))
        if kind == "aws_cognito_user_pool" and attribute == "id":
            return f"{region}_abcdefghi"
        if attribute == "arn":
            return {**ARNS, **_MORE_ARNS}[kind].format(**values)
        return _SAMPLES[attribute].format(**values)


# botocore's models


@functools.cache
def _input(service: str, operation: str) -> StructureShape:
    shape = _session().get_service_model(service).operation_model(operation).input_shape
    assert isinstance(shape, StructureShape)
    return shape


@functools.cache
def _session() -> botocore.session.Session:
    return botocore.session.Session()


# Character classes of the models that Python's `re` does not have; every character beyond ASCII counts as a letter.
_CLASSES = {
    r"\p{L}": "A-Za-z\u00aa-\uffff",
    r"\p{M}": "\u0300-\u036f",
    r"\p{Z}": " \u00a0\u2028\u2029",
    r"\p{N}": "0-9",
    r"\p{S}": r"$+<=>^`|~",
    r"\p{P}": r"!-#%-*,-/:;?@\[-\]_{}",
    r"\uD800\uDC00-\uDBFF\uDFFF": "\U00010000-\U0010ffff",
    r"\x{10FFFF}": "\U0010ffff",
}


@functools.cache
def pattern(text: str) -> re.Pattern[str]:
    """Return a pattern of a model in the syntax of Python."""
    for before, after in _CLASSES.items():
        text = text.replace(before, after)
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: re.escape(chr(int(match[1], 16))), text)
    return re.compile(text, re.DOTALL)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def shape_faults(where: str, value: Any, shape: Shape, names: Mapping[str, str], path: str = "") -> Iterator[str]:  # noqa: ANN401
    """Yield the violations of a model in a value of Terraform JSON."""
    if isinstance(shape, StructureShape):
        for each in value if isinstance(value, list) else [value]:
            yield from _member_faults(where, each, shape, names, path)
        return
    limits = shape.metadata
    if shape.type_name == "string":
        yield from _text_faults(where, str(value), limits)
    elif isinstance(shape, ListShape):
        values = value if isinstance(value, list) else [value]
        yield from _range_faults(where, len(values), limits, "entries")
        for each in values:
            yield from shape_faults(where, each, shape.member, names, path)
    elif isinstance(shape, MapShape):
        yield from _range_faults(where, len(value), limits, "entries")
        for name, inner in value.items():
            yield from shape_faults(f"{where} (its name)", name, shape.key, names, path)
            yield from shape_faults(f"{where}.{name}", inner, shape.value, names, path)
    elif shape.type_name in {"integer", "long", "float", "double"} and isinstance(value, int | float):
        yield from _range_faults(where, value, limits, "")


def _member_faults(
    where: str,
    value: Any,  # noqa: ANN401
    shape: StructureShape,
    names: Mapping[str, str],
    path: str,
) -> Iterator[str]:
    members = {_plain(name): member for name, member in shape.members.items()}
    for name, inner in value.items() if isinstance(value, dict) else ():
        dotted = f"{path}.{name}".strip(".")
        member = members.get(_plain(names.get(dotted, name)))
        if member is not None:
            yield from shape_faults(f"{where}.{name}", inner, member, names, dotted)


def _text_faults(where: str, text: str, limits: Mapping[str, Any]) -> Iterator[str]:
    yield from _range_faults(where, len(text), limits, "characters")
    if "enum" in limits and text not in limits["enum"]:
        yield f"{where} is {text!r}, which is none of {', '.join(limits['enum'])}"
    if "pattern" in limits and not pattern(limits["pattern"]).fullmatch(text):
        yield f"{where} is {text!r}, which is not of the form {limits['pattern']}"


def _range_faults(where: str, value: float, limits: Mapping[str, Any], unit: str) -> Iterator[str]:
    if not limits.get("min", value) <= value <= limits.get("max", value):
        allowed = f"{limits.get('min', '')}..{limits.get('max', '')}"
        yield f"{where} has {value} {unit}, and {allowed} are allowed".replace("  ", " ")


def model_faults(content: Json) -> Iterator[str]:
    """Yield the violations of the models in the resources; a kind or argument without a model is a fault, too."""
    for kind, named in content["resource"].items():
        if kind not in OPERATIONS:
            yield f"{kind}: say in OPERATIONS how it is made"
            continue
        made = OPERATIONS[kind]
        shape: Shape = _input(made.service, made.name)
        outer = {_plain(name) for name in shape.members}  # type: ignore[attr-defined]
        for part in made.inside:
            assert isinstance(shape, StructureShape)
            shape = shape.members[part]
        if isinstance(shape, ListShape):
            shape = shape.member
        assert isinstance(shape, StructureShape)
        members = {_plain(name) for name in shape.members} | outer
        for name, body in named.items():
            arguments = {each: value for each, value in body.items() if each not in {*_META, *made.apart}}
            for argument in arguments:
                if _plain(made.names.get(argument, argument)) not in members:
                    yield f"{kind}.{name}.{argument}: say in OPERATIONS what it is called"
            yield from shape_faults(f"{kind}.{name}", arguments, shape, made.names)


# What the models leave out


def _every(content: Json, kind: str) -> Iterator[tuple[str, Json]]:
    for name, body in content["resource"].get(kind, {}).items():
        yield f"{kind}.{name}", body


def _length(text: str) -> int:
    """Characters of a policy, of which IAM counts no blanks."""
    return len(re.sub(r"\s", "", text))


def functions(content: Json) -> Iterator[str]:
    """Lambda, "Lambda quotas": 4 KB of variables, which Lambda measures as JSON; 10,240 MiB; 900 seconds."""
    for address, body in _every(content, "aws_lambda_function"):
        if not (128 <= body["memory_size"] <= 10240 and 1 <= body["timeout"] <= 900):
            yield f"{address}: {body['memory_size']} MiB, {body['timeout']} s"
        found = body["environment"]["variables"]
        if (size := len(json.dumps(found, separators=(",", ":")).encode())) > 4096:
            yield f"{address}: {size} bytes of variables"
        for name, value in found.items():
            if name.startswith("AWS_") or not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]+", name) or "\0" in value:
                yield f"{address}: variable {name}"


def policies(content: Json) -> Iterator[str]:
    """Sizes of policies.

    IAM, "IAM and AWS STS quotas": 10,240 characters of inline policies a role, 2,048 of its trust policy; S3, "Bucket
    policies": 20 KB; KMS, "Quotas": 32 KB; SNS, "Amazon SNS quotas": 30 KB; SQS: 8 KB is far below every limit.
    """
    roles: dict[str, int] = defaultdict(int)
    for _, body in _every(content, "aws_iam_role_policy"):
        roles[body["role"]] += _length(body["policy"])
    for role, size in roles.items():
        if size > 10240:
            yield f"role {role}: {size} characters of inline policies"
    for address, body in _every(content, "aws_iam_role"):
        if _length(body["assume_role_policy"]) > 2048:
            yield f"{address}: its trust policy"
    kinds = {"aws_s3_bucket_policy": 20480, "aws_kms_key": 32768, "aws_sns_topic_policy": 30720}
    for kind, most in {**kinds, "aws_sqs_queue_policy": 8192}.items():
        for address, body in _every(content, kind):
            if len(body["policy"].encode()) > most:
                yield f"{address}: {len(body['policy'])} characters of policy"


def permissions(content: Json) -> Iterator[str]:
    """Size of the resource policy of each function."""
    used: dict[str, int] = defaultdict(int)
    for _, body in _every(content, "aws_lambda_permission"):
        # Lambda, "Lambda quotas": 20 KB of resource policy, in which a statement has some 250 characters of its own.
        used[body["function_name"]] += 250 + len(body["source_arn"]) + len(body["function_name"])
    for function, size in used.items():
        if size > 20480:
            yield f"{function}: {size} characters of permissions"


def buckets(content: Json) -> Iterator[str]:
    """S3, "General purpose bucket naming rules"."""
    for address, body in _every(content, "aws_s3_bucket"):
        name = body["bucket"]
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", name):
            yield f"{address}: {name}"
        if re.match(r"xn--|sthree-|amzn-s3-demo-", name) or re.search(r"-s3alias$|--ol-s3$|--x-s3$|--table-s3$", name):
            yield f"{address}: {name}"


def names(content: Json) -> Iterator[str]:
    """Names where the models are wider than the services.

    SQS "CreateQueue", SNS "CreateTopic", DynamoDB "CreateTable", SSM "PutParameter", KMS "CreateAlias", Lambda
    "CreateFunction".
    """
    forms = {
        "aws_sqs_queue": r"[A-Za-z0-9_-]{1,80}",
        "aws_sns_topic": r"[A-Za-z0-9_-]{1,256}",
        "aws_dynamodb_table": r"[A-Za-z0-9_.-]{3,255}",
    }
    for kind, form in {**forms, "aws_ssm_parameter": r"/(?!aws|ssm)[a-z0-9_.-]+(/[a-z0-9_.-]+){0,14}"}.items():
        for address, body in _every(content, kind):
            if not re.fullmatch(form, body["name"]):
                yield f"{address}: {body['name']}"
    for address, body in _every(content, "aws_kms_alias"):
        if not re.fullmatch(r"alias/(?!aws/)[A-Za-z0-9/_-]{1,250}", body["name"]):
            yield f"{address}: {body['name']}"
    for address, body in _every(content, "aws_lambda_function"):
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", body["function_name"]):
            yield f"{address}: {body['function_name']}"


def duplicates(content: Json) -> Iterator[str]:
    """Names that have to be unique in a region, or in all regions for roles and buckets."""
    for kind in ("aws_sqs_queue", "aws_s3_bucket", "aws_iam_role", "aws_cloudwatch_metric_alarm"):
        seen: dict[tuple[str, ...], str] = {}
        for name, body in content["resource"].get(kind, {}).items():
            own = body.get("name") or body.get("bucket") or body.get("alarm_name")
            region = "" if kind in {"aws_s3_bucket", "aws_iam_role"} else str(body.get("provider"))
            if seen.setdefault((region, own), name) != name:
                yield f"{kind}.{name}: {own} is the name of {seen[region, own]} too"


def tags(content: Json) -> Iterator[str]:
    """IAM, "Tag": the strictest of the services here; AWS Billing, "User-defined tag restrictions"."""
    for provider in content["provider"]["aws"]:
        (default,) = provider["default_tags"]
        for name, value in default["tags"].items():
            for text, most in ((name, 128), (value, 256)):
                right = pattern(r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*").fullmatch(text)
                if not right or len(text) > most or text.lower().startswith("aws:") or text != text.strip():
                    yield f"tag {name}: {value!r}"


def references(content: Json) -> Iterator[str]:
    """Terraform evaluates just what refers to resources that are there, and nothing that came from a setting.

    Terraform, "Strings and templates": `${` and `%{` begin a template wherever they are.
    """
    known = {f"{kind}.{name}" for kind, named in content["resource"].items() for name in named}
    text = json.dumps(content, ensure_ascii=False)
    for match in re.finditer(r"(\$\{|%\{)([^}]*)", text):
        inner = match[2]
        refers = re.fullmatch(r"(aws_\w+\.\w+)\.\w+", inner)
        if inner == "path.module" or (match[1] == "${" and refers and refers[1] in known):
            continue
        yield f"Terraform would evaluate {match[0]}}}"


def partition(content: Json) -> Iterator[str]:
    """IAM, "Amazon Resource Names": the partition of an ARN is that of its region."""
    for region in (each["region"] for each in content["provider"]["aws"]):
        if region not in REGIONS:
            yield f"region {region}"
    for arn in set(re.findall(r"arn:[a-z-]+:[a-z0-9-]+:[a-z0-9-]*:", json.dumps(content))):
        _, part, _, region, _ = arn.split(":")
        if part != "aws" or region not in {"", *REGIONS}:
            yield arn


def machines(content: Json) -> Iterator[str]:
    """Step Functions, "Quotas" and "Retrying after an error"; SNS, "Publish": 100 ASCII characters of subject."""
    for address, body in _every(content, "aws_sfn_state_machine"):
        definition = json.loads(body["definition"])
        if len(body["definition"].encode()) > 1024**2:
            yield f"{address}: its definition"
        for name, state in definition["States"].items():
            subject = str(state.get("Parameters", {}).get("Subject", "-"))
            if len(subject) > 100 or not subject.isascii():
                yield f"{address}: the subject of {name}"
            for retry in state.get("Retry", []):
                interval, attempts = retry.get("IntervalSeconds", 1), retry.get("MaxAttempts", 3)
                rate, longest = retry.get("BackoffRate", 2.0), retry.get("MaxDelaySeconds")
                if not (0 < interval < 99999999 and 0 <= attempts < 99999999 and rate >= 1):
                    yield f"{address}: {name} is tried again after {interval} s"
                if longest is not None and not interval < longest < 31622400:
                    yield f"{address}: {name} waits {longest} s at most"
                waits = sum(min(interval * rate**each, longest or 1e99) for each in range(attempts))
                if waits >= definition["TimeoutSeconds"]:
                    yield f"{address}: {name} waits {waits:.0f} s between its tries, longer than the whole may run"


def dashboards(content: Json) -> Iterator[str]:
    """CloudWatch, "CloudWatch service quotas" and "Dashboard body structure": widgets, metrics, alarms in a widget."""
    for address, body in _every(content, "aws_cloudwatch_dashboard"):
        widgets = json.loads(body["dashboard_body"])["widgets"]
        counts = [len(each["properties"].get("metrics", [])) for each in widgets]
        alarms = [len(each["properties"].get("alarms", [])) for each in widgets]
        if len(widgets) > 500 or max(counts) > 500 or sum(counts) > 2500 or max(alarms) > 100:
            yield f"{address}: {len(widgets)} widgets, {max(counts)} of {sum(counts)} metrics, {max(alarms)} alarms"
        for each in widgets:
            if not (each["x"] + each["width"] <= 24 and 1 <= each["height"] <= 1000):
                yield f"{address}: a widget of height {each['height']}"


def queues(content: Json) -> Iterator[str]:
    """SQS, "SetQueueAttributes"; Lambda, "Using Lambda with Amazon SQS": hidden for six timeouts of the function."""
    timeouts = {body["function_name"]: body["timeout"] for _, body in _every(content, "aws_lambda_function")}
    by_arn = {}
    for address, body in _every(content, "aws_sqs_queue"):
        hidden, kept = body.get("visibility_timeout_seconds", 30), body["message_retention_seconds"]
        by_arn[body["name"]] = hidden
        reuse = body["kms_data_key_reuse_period_seconds"]
        if not (0 <= hidden <= 43200 and 60 <= kept <= 1209600 and 60 <= reuse <= 86400):
            yield f"{address}: {hidden} s hidden, {kept} s kept, {reuse} s of a key"
        if "redrive_policy" in body and not 1 <= json.loads(body["redrive_policy"])["maxReceiveCount"] <= 1000:
            yield f"{address}: its redrive policy"
    for address, body in _every(content, "aws_lambda_event_source_mapping"):
        hidden = by_arn[body["event_source_arn"].rpartition(":")[2]]
        if hidden < 6 * timeouts[body["function_name"].split(":")[6]]:
            yield f"{address}: its queue hides messages for {hidden} s"


_LOG_DAYS = {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}


def days(content: Json) -> Iterator[str]:
    """CloudWatch Logs "PutRetentionPolicy", KMS "ScheduleKeyDeletion", Secrets Manager "DeleteSecret"."""
    for address, body in _every(content, "aws_cloudwatch_log_group"):
        if body["retention_in_days"] not in _LOG_DAYS:
            yield f"{address}: {body['retention_in_days']} days"
    for address, body in _every(content, "aws_kms_key"):
        if not 7 <= body["deletion_window_in_days"] <= 30:
            yield f"{address}: {body['deletion_window_in_days']} days"
    for address, body in _every(content, "aws_secretsmanager_secret"):
        if body["recovery_window_in_days"] not in {0, *range(7, 31)}:
            yield f"{address}: {body['recovery_window_in_days']} days"


def lifecycles(content: Json) -> Iterator[str]:
    """S3, "Lifecycle configuration elements"."""
    for address, body in _every(content, "aws_s3_bucket_lifecycle_configuration"):
        for rule in body["rule"]:
            moves = [each["days"] for each in rule.get("transition", [])]
            ends = [each["days"] for each in rule.get("expiration", []) if each.get("days")]
            if any(day < 30 for day in moves) or any(not 0 < day < 2**31 for day in [*moves, *ends]):
                yield f"{address}: {moves}, {ends} days"
            if moves and ends and max(moves) >= min(ends):
                yield f"{address}: it deletes after {ends} days what it moves after {moves}"


def sizes(content: Json) -> Iterator[str]:
    """Sizes that have one number.

    EventBridge, "Quotas": 2,048 characters of a pattern. S3, "CORS configuration": 100 rules, 64 KB. Logs Insights: 50
    log groups of a query. Metric math: 10 metrics of an alarm.
    """
    for address, body in _every(content, "aws_cloudwatch_event_rule"):
        if len(body["event_pattern"]) > 2048:
            yield f"{address}: its pattern"
    for address, body in _every(content, "aws_s3_bucket_cors_configuration"):
        if len(body["cors_rule"]) > 100 or len(json.dumps(body["cors_rule"])) > 64 * 1024:
            yield f"{address}: its rules"
    for address, body in _every(content, "aws_cloudwatch_query_definition"):
        if len(body["log_group_names"]) > 50:
            yield f"{address}: {len(body['log_group_names'])} log groups"
    for address, body in _every(content, "aws_cloudwatch_metric_alarm"):
        if len([query for query in body.get("metric_query", []) if "metric" in query]) > 10:
            yield f"{address}: its metrics"


def subscriptions(content: Json) -> Iterator[str]:
    """SNS, "Subscribe": the endpoint of the protocol email is an address."""
    for address, body in _every(content, "aws_sns_topic_subscription"):
        if body["protocol"] == "email" and not re.fullmatch(r"[!-?A-~]{1,64}@[A-Za-z0-9.-]+", body["endpoint"]):
            yield f"{address}: {body['endpoint']}"


def sizes_of_apis(content: Json) -> Iterator[str]:
    """API Gateway, "Quotas": 300 KB of a mapping template, 400 KB of a model."""
    for kind in ("aws_api_gateway_integration_response", "aws_api_gateway_gateway_response"):
        for address, body in _every(content, kind):
            if any(len(template) > 300 * 1024 for template in body.get("response_templates", {}).values()):
                yield f"{address}: its template"
    for address, body in _every(content, "aws_api_gateway_model"):
        if len(body["schema"]) > 400 * 1024:
            yield f"{address}: its schema"


def throttles(content: Json) -> Iterator[str]:
    """API Gateway, "Quotas": 10,000 requests a second of an account, and 5,000 at once."""
    for address, body in _every(content, "aws_api_gateway_method_settings"):
        admitted = body["settings"]
        if not (0 < admitted["throttling_rate_limit"] <= 10000 and 0 < admitted["throttling_burst_limit"] <= 5000):
            yield f"{address}: {admitted}"


RULES: tuple[Callable[[Json], Iterator[str]], ...] = (
    model_faults,
    functions,
    policies,
    permissions,
    buckets,
    names,
    duplicates,
    tags,
    partition,
    machines,
    dashboards,
    queues,
    days,
    lifecycles,
    sizes,
    sizes_of_apis,
    subscriptions,
    throttles,
)


def faults(content: Json) -> list[str]:
    """Return the faults in a Terraform root that AWS or Terraform would refuse."""
    resolver = Resolver(content)
    seen = {**content, "resource": resolver.json(content["resource"])}
    return [*references(content), *(fault for rule in RULES for fault in rule(seen))]
