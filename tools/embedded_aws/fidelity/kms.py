"""KMS: services need permission on the key that encrypts their data."""

# mypy: disable-error-code="import-not-found"
import uuid
from collections.abc import Mapping
from typing import Any

from ministack.core.responses import get_account_id
from ministack.services import kms, s3, secretsmanager, sns, sqs

from . import hook, iam
from .hook import Function
from .settings import Settings

_ALGORITHM = "x-amz-server-side-encryption"
_KEY_ID = f"{_ALGORITHM}-aws-kms-key-id"
_ENCRYPT, _DECRYPT = "kms:GenerateDataKey", "kms:Decrypt"
_MESSAGES = {
    "sns:Publish": (_ENCRYPT, _DECRYPT),
    "sqs:SendMessage": (_ENCRYPT, _DECRYPT),
    "sqs:ReceiveMessage": (_DECRYPT,),
}
_SECRETS = {
    "secretsmanager:GetSecretValue": (_DECRYPT,),
    "secretsmanager:PutSecretValue": (_ENCRYPT, _DECRYPT),
}
_enabled = False


def needed(action: str, resource: str, context: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
    """Return the actions on keys that an allowed action also needs, with the ARNs of the keys.

    Empty while the fix `ask_the_key` is off, and for keys that AWS manages, whose policies let everyone in.

    Args:
        action: the IAM action that was allowed.
        resource: the ARN it was allowed on.
        context: the condition keys of the request, by name in lower case.

    """
    if not _enabled:
        return []
    if action in _MESSAGES:
        key = _arn_of_key(_attributes(resource).get("KmsMasterKeyId"))
        return [(wanted, key) for wanted in _MESSAGES[action]] if key else []
    if action in _SECRETS:
        key = _arn_of_key((secretsmanager._resolve(resource)[1] or {}).get("KmsKeyId"))
        return [(wanted, key) for wanted in _SECRETS[action]] if key else []
    bucket, _, name = resource.removeprefix("arn:aws:s3:::").partition("/")
    if action == "s3:PutObject":
        encryption = _requested(context or {}) or s3._bucket_default_sse_headers(bucket)
        request = iam.signed_request()
        parts = request is not None and {"uploads", "uploadId"} & set(request.query_params)
        wanted_actions: tuple[str, ...] = (_ENCRYPT, _DECRYPT) if parts else (_ENCRYPT,)
    elif action in ("s3:GetObject", "s3:GetObjectVersion") and not _only_head():
        stored = ((s3._buckets.get(bucket) or {}).get("objects") or {}).get(name) or {}
        encryption = s3._stored_sse_headers(stored) or s3._bucket_default_sse_headers(bucket)
        wanted_actions = (_DECRYPT,)
    else:
        return []
    key = _arn_of_key(encryption.get(_KEY_ID)) if encryption.get(_ALGORITHM) == "aws:kms" else None
    return [(wanted, key) for wanted in wanted_actions] if key else []


def via(action: str, region: str) -> dict[str, str]:
    """Return the condition keys of a call to KMS that another service makes for its caller.

    Args:
        action: what the caller did at the other service.
        region: the region of the call.

    """
    service = f"{action.partition(':')[0]}.{region}.amazonaws.com"
    return {"kms:viaservice": service, "kms:calleraccount": get_account_id()}


def service_may_encrypt(service: str, target: str, region: str, source: str, account: str = "") -> bool:
    """Decide whether the key of a topic or queue lets a service publish to it; True when it has no key.

    Args:
        account: aws:SourceAccount; by default the account in `source`. The ARN of a bucket has none.
    """
    alias = _attributes(target).get("KmsMasterKeyId") or ""
    if not _enabled or not alias:
        return True
    key = _arn_of_key(alias)
    if key is None:
        # The policy of an AWS managed key admits no other service, and cannot be changed.
        iam.record(service, _ENCRYPT, alias, False, source)
        return False
    policy = kms.key_policy_for_arn(key)
    text = policy[0] if policy else None
    return all(iam.service_may(service, action, key, region, source, text, account) for action in (_ENCRYPT, _DECRYPT))


def service_may_read(service: str, resource: str, region: str, source: str) -> bool:
    """Decide whether the key of an object lets a service read it; True when it has no key.

    Args:
        resource: ARN of the object.
        source: what the service acts for (aws:SourceArn).
    """
    for action, key in needed("s3:GetObject", resource):
        policy = kms.key_policy_for_arn(key)
        if not iam.service_may(service, action, key, region, source, policy[0] if policy else None):
            return False
    return True


def _attributes(arn: str) -> dict[str, Any]:
    found = sqs._queue_by_arn(arn) if ":sqs:" in arn else sns._topic_by_arn_any_scope(arn) if ":sns:" in arn else None
    return (found or {}).get("attributes") or {}


def _arn_of_key(name: object) -> str | None:
    if not isinstance(name, str) or not name or "alias/aws/" in name:
        return None
    found = kms._resolve_key(name)
    # A key that does not exist permits nothing.
    return str(found["Arn"]) if found else name


def _aliases_of(arn: str) -> list[str]:
    """Return the aliases of a key, for the condition key kms:ResourceAliases."""
    home, _, key_id = arn.rpartition(":key/")
    return [
        str(alias).removeprefix(f"{home}:")
        for alias, target in kms._aliases.items()
        if target == key_id and str(alias).startswith(home)
    ]


def _requested(context: Mapping[str, Any]) -> dict[str, str]:
    """Return the encryption that a PutObject asks for in its headers, or in the fields of its form."""
    request = iam.signed_request()
    headers = {str(name).lower(): value for name, value in (request.headers if request else {}).items()}
    asked = {name: headers.get(name) or context.get(f"s3:{name}") for name in (_ALGORITHM, _KEY_ID)}
    return {name: str(value) for name, value in asked.items() if value}


def _only_head() -> bool:
    request = iam.signed_request()
    return request is not None and request.method == "HEAD"


def ask_the_key(_: Settings) -> None:
    """Deny a call to S3, SNS, SQS or Secrets Manager when the caller, or the calling service, may not use the key.

    AWS checks the key that encrypts an object, a topic, a queue or a secret as part of the call, with the permissions
    of the caller and the policy of the key
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html,
    https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html,
    https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html,
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html). ministack
    checks the key only in direct calls to KMS. The fix finds the key of an allowed call and decides about it too,
    for callers after `enforce`, and for services after the policy of the topic or queue.
    """
    global _enabled
    fix = "kms.ask_the_key"
    for owner, name in (
        (kms, "_aliases"),
        (kms, "_resolve_key"),
        (kms, "key_policy_for_arn"),
        (s3, "_bucket_default_sse_headers"),
        (s3, "_stored_sse_headers"),
        (s3, "_buckets"),
        (secretsmanager, "_resolve"),
        (sns, "_topic_by_arn_any_scope"),
        (sqs, "_queue_by_arn"),
    ):
        hook.attribute(fix, owner, name)
    _enabled = True

    def more(action: str, resource: str, context: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
        keys = needed(action, resource, context)
        return [
            (wanted, key, {**via(action, iam.request_region()), "kms:resourcealiases": _aliases_of(key)})
            for wanted, key in keys
        ]

    iam.also_ask(fix, more)

    def make_policy(original: Function) -> Function:
        def allows(target: str, service: str, source_arn: str, source_account: str) -> bool:
            return bool(original(target, service, source_arn, source_account)) and service_may_encrypt(
                service, target, iam.request_region(), source_arn, source_account
            )

        return allows

    hook.replace(fix, sqs, "queue_policy_allows", make_policy, "queue_arn service source_arn source_account")
    hook.replace(fix, sns, "topic_policy_allows", make_policy, "topic_arn service source_arn source_account")


def describe_keys_of_aws(_: Settings) -> None:
    """Describe the key behind an AWS managed alias, such as `alias/aws/dynamodb`.

    Each account has them in each region (https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html, "AWS
    managed keys"), and Terraform asks for one before it takes a key for the customer's. ministack knows none.
    """
    fix = "kms.describe_keys_of_aws"
    respond = hook.attribute(fix, kms, "json_response")

    def make(original: Function) -> Function:
        def describe_key(data: Mapping[str, Any]) -> object:
            alias = str(data.get("KeyId", "")).rpartition(":")[2]
            if not alias.startswith("alias/aws/"):
                return original(data)
            home = f"arn:aws:kms:{iam.request_region()}:{get_account_id()}"
            key_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{home}:{alias}"))
            return respond(
                {
                    "KeyMetadata": {
                        "KeyId": key_id,
                        "Arn": f"{home}:key/{key_id}",
                        "KeyManager": "AWS",
                        "KeyState": "Enabled",
                        "Enabled": True,
                        "KeyUsage": "ENCRYPT_DECRYPT",
                        "KeySpec": "SYMMETRIC_DEFAULT",
                        "Origin": "AWS_KMS",
                    }
                }
            )

        return describe_key

    hook.replace(fix, kms, "_describe_key", make, "data")


def name_the_key_behind_an_alias(_: Settings) -> None:
    """Store and return the ARN of the key of an object that was put with the key's alias or id.

    S3 resolves what a put names and answers with the ARN of the key, which is what HeadObject says later; an alias that
    moves leaves objects under their key (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html). ministack
    keeps the words of the request.
    """
    fix = "kms.name_the_key_behind_an_alias"

    def make(original: Function) -> Function:
        def resolve(headers: Mapping[str, str], bucket_name: str) -> tuple[dict[str, str] | None, object]:
            found, error = original(headers, bucket_name)
            if found and _KEY_ID in found:
                found[_KEY_ID] = _arn_of_key(found[_KEY_ID]) or found[_KEY_ID]
            return found, error

        return resolve

    hook.replace(fix, s3, "_resolve_sse_write_headers", make, "headers bucket_name")
