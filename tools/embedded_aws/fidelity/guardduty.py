"""GuardDuty: Malware Protection for S3, limited to its effect on a bucket, its tags and its events.

ministack has no GuardDuty. This is a stand-in for one feature of it: plans are kept, and every object that is created
below a plan's prefix gets a verdict, a tag and an event. It only detects the test file of EICAR, which
every scanner reports as malware; it is no protection.
"""

# mypy: disable-error-code="import-not-found"
import contextvars
import copy
import hashlib
import json
import re
import secrets
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from ministack import app
from ministack.core import iam_actions
from ministack.core.responses import (
    AccountRegionScopedDict,
    error_response_json,
    get_account_id,
    get_region,
    json_response,
)
from ministack.services import eventbridge as events
from ministack.services import s3

from . import hook, iam, kms
from .hook import Function
from .settings import Settings

PRINCIPAL = "malware-protection-plan.guardduty.amazonaws.com"
SESSION = "GuardDutyMalwareProtection"
TAG = "GuardDutyMalwareScanStatus"
# The 68 characters of EICAR's test file, which must not lie here in one piece: scanners would take this file for it.
_EICAR_BEGINS = b"X5O!P%@AP"
_EICAR_LENGTH = 68
_EICAR_SHA256 = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"

_REFUSED = "The request was rejected because the provided IAM role does not have the required permissions."
_plans = AccountRegionScopedDict()
_Answer = tuple[int, dict[str, str], bytes]


def stand_in(_: Settings) -> None:
    """Store malware protection plans, and scan new objects in the buckets that they protect.

    AWS scans an object when it is created below the prefixes of a plan, puts the tag GuardDutyMalwareScanStatus on it
    and sends "GuardDuty Malware Protection Object Scan Result" to the default event bus, all with the role of the plan
    (https://docs.aws.amazon.com/guardduty/latest/ug/gdu-malware-protection-s3.html). A plan whose role lacks a
    permission is refused. ministack does not know the service. The fix answers the calls on plans and on their tags,
    asks the plan's role before everything that it does, and says THREATS_FOUND for EICAR's test file, UNSUPPORTED for
    a zip under a password, ACCESS_DENIED for what the role may not read, and NO_THREATS_FOUND for all else.
    """
    fix = "guardduty.stand_in"
    for name in ("SERVICE_HANDLERS", "_lazy_handler", "_loaded_modules", "_state_map"):
        hook.attribute(fix, app, name)
    for name in ("SERVICE_TO_IAM_NAMESPACE", "_BOTOCORE_SERVICE_MAP"):
        hook.attribute(fix, iam_actions, name)
    for name in ("_get_object_data", "_object_tags", "_persist_version_state", "_buckets", "_bucket_notifications"):
        hook.attribute(fix, s3, name)
    hook.attribute(fix, events, "_dispatch_event")
    app._loaded_modules["guardduty"] = sys.modules[__name__]
    app._state_map["guardduty"] = "guardduty"
    app.SERVICE_HANDLERS["guardduty"] = app._lazy_handler("guardduty")
    iam_actions.SERVICE_TO_IAM_NAMESPACE["guardduty"] = "guardduty"
    iam_actions._BOTOCORE_SERVICE_MAP["guardduty"] = ["guardduty"]

    def make_arn(original: Function) -> Function:
        def extract_resource_arn(service: str, method: str, path: str, *rest: object) -> str:
            if service != "guardduty":
                return str(original(service, method, path, *rest))
            named = unquote(path).strip("/")
            if named.startswith("tags/"):
                return named.removeprefix("tags/")
            return _arn(named.partition("/")[2]) if "/" in named else "*"

        return extract_resource_arn

    def make_fire(original: Function) -> Function:
        def fire(bucket_name: str, key: str, event_name: str, *rest: object, **options: Any) -> None:  # noqa: ANN401
            original(bucket_name, key, event_name, *rest, **options)
            if not event_name.startswith("s3:ObjectCreated:"):
                return
            version = options.get("version_id")
            for plan in _protecting(bucket_name, key):
                context = contextvars.copy_context()
                threading.Thread(target=context.run, args=(_scan, plan, bucket_name, key, version), daemon=True).start()

        return fire

    parameters = "service method path headers body query_params region account_id"
    hook.replace(fix, iam_actions, "extract_resource_arn", make_arn, parameters)
    hook.replace(fix, s3, "_fire_s3_event_async", make_fire, "bucket_name key event_name version_id")


async def handle_request(
    method: str, path: str, _headers: object, body: bytes, query_params: Mapping[str, Any]
) -> _Answer:
    """Answer a call, with the interface of ministack's services."""
    kind, _, name = unquote(path).strip("/").partition("/")
    fields = json.loads(body) if body else {}
    match method, kind, bool(name):
        case "POST", "malware-protection-plan", False:
            return _create(fields)
        case "GET", "malware-protection-plan", False:
            return _answered({"malwareProtectionPlans": [{"malwareProtectionPlanId": plan_id} for plan_id in _plans]})
        case "GET" | "PATCH" | "DELETE", "malware-protection-plan", True:
            plan = _plans.get(name)
            if plan is None:
                return _refused("The request was rejected because the input malwareProtectionPlanId is not valid.", 404)
            return _on_plan(method, name, plan, fields)
        case "GET" | "POST" | "DELETE", "tags", True:
            plan = _plans.get(name.rpartition("/")[2])
            if plan is None:
                return _refused("The request was rejected because the resource does not exist.", 400)
            return _on_tags(method, plan["tags"], fields, query_params)
    return _refused(f"The stand-in for GuardDuty knows no {method} {path}.", 400)


def get_state() -> dict[str, Any]:
    """Return the state to save at a stop."""
    return {"plans": copy.deepcopy(_plans)}


def load_persisted_state(data: Mapping[str, Any]) -> None:
    """Load the state that was saved at a stop."""
    _plans.update(data.get("plans", {}))


def _create(fields: Mapping[str, Any]) -> _Answer:
    plan_id = secrets.token_hex(16)
    bucket = (fields.get("protectedResource") or {}).get("s3Bucket") or {}
    plan = {
        "arn": _arn(plan_id),
        "role": fields.get("role", ""),
        "protectedResource": {
            "s3Bucket": {
                "bucketName": bucket.get("bucketName", ""),
                "objectPrefixes": bucket.get("objectPrefixes") or [],
            }
        },
        "actions": fields.get("actions") or {"tagging": {"status": "DISABLED"}},
        "createdAt": time.time(),
        "status": "ACTIVE",
        "statusReasons": [],
        "tags": dict(fields.get("tags") or {}),
    }
    if not _role_suffices(plan):
        return _refused(_REFUSED, 400)
    _plans[plan_id] = plan
    return _answered({"malwareProtectionPlanId": plan_id})


def _on_plan(method: str, plan_id: str, plan: dict[str, Any], fields: Mapping[str, Any]) -> _Answer:
    if method == "GET":
        return _answered(plan)
    if method == "DELETE":
        del _plans[plan_id]
        return _answered({})
    changed = copy.deepcopy(plan)
    changed |= {name: fields[name] for name in ("role", "actions") if fields.get(name)}
    prefixes = ((fields.get("protectedResource") or {}).get("s3Bucket") or {}).get("objectPrefixes")
    if prefixes is not None:
        changed["protectedResource"]["s3Bucket"]["objectPrefixes"] = prefixes
    if not _role_suffices(changed):
        return _refused(_REFUSED, 400)
    _plans[plan_id] = changed
    return _answered({})


def _on_tags(method: str, tags: dict[str, str], fields: Mapping[str, Any], query: Mapping[str, Any]) -> _Answer:
    if method == "GET":
        return _answered({"tags": tags})
    if method == "POST":
        tags.update(fields.get("tags") or {})
    else:
        for name in query.get("tagKeys") or []:
            tags.pop(name, None)
    return 204, {}, b""


def _answered(body: Mapping[str, Any]) -> _Answer:
    answer: _Answer = json_response(body)
    return answer


def _refused(message: str, status: int) -> _Answer:
    code = "ResourceNotFoundException" if status == 404 else "BadRequestException"
    answer: _Answer = error_response_json(code, message, status)
    return answer


def _arn(plan_id: str) -> str:
    return f"arn:aws:guardduty:{get_region()}:{get_account_id()}:malware-protection-plan/{plan_id}"


def _role_suffices(plan: Mapping[str, Any]) -> bool:
    """Return whether the role trusts GuardDuty and has all permissions of the guide ("Create or update IAM role
    policy").
    """
    if not plan["role"] or not iam.trusts(plan["role"], PRINCIPAL):
        return False
    bucket = f"arn:aws:s3:::{plan['protectedResource']['s3Bucket']['bucketName']}"
    prefixes = plan["protectedResource"]["s3Bucket"]["objectPrefixes"] or [""]
    rule = f"arn:aws:events:{get_region()}:{get_account_id()}:rule/DO-NOT-DELETE-AmazonGuardDutyMalwareProtectionS3-x"
    wanted: list[tuple[str, str]] = []
    wanted += [(f"events:{name}", rule) for name in ("PutRule", "DeleteRule", "PutTargets", "RemoveTargets")]
    wanted += [(f"events:{name}", rule) for name in ("DescribeRule", "ListTargetsByRule")]
    wanted += [(f"s3:{name}", bucket) for name in ("GetBucketNotification", "PutBucketNotification", "ListBucket")]
    wanted += [("s3:PutObject", f"{bucket}/malware-protection-resource-validation-object")]
    reads = ["GetObject", "GetObjectVersion"]
    if plan["actions"]["tagging"]["status"] == "ENABLED":
        reads += ["GetObjectTagging", "GetObjectVersionTagging", "PutObjectTagging", "PutObjectVersionTagging"]
    wanted += [(f"s3:{name}", f"{bucket}/{prefix}x") for prefix in prefixes for name in reads]
    # Every one is asked, so that the log of decisions shows what the role is for.
    decisions = [_role_may(plan, action, resource) for action, resource in wanted]
    return all(decisions)


def _role_may(plan: Mapping[str, Any], action: str, resource: str) -> bool:
    """Return whether the role of a plan may do something, and may use the key that this needs."""
    context = {"events:managedby": PRINCIPAL} if action.startswith("events:") else {}
    if not iam.role_may(plan["role"], SESSION, action, resource, get_region(), context):
        return False
    return all(
        iam.role_may(plan["role"], SESSION, wanted, key, get_region(), kms.via(action, get_region()))
        for wanted, key in kms.needed(action, resource)
    )


def _protecting(bucket_name: str, key: str) -> Iterator[dict[str, Any]]:
    for plan in list(_plans.values()):
        bucket = plan["protectedResource"]["s3Bucket"]
        if bucket["bucketName"] == bucket_name and key.startswith(tuple(bucket["objectPrefixes"] or [""])):
            yield plan


def _scan(plan: Mapping[str, Any], bucket_name: str, key: str, version: str | None) -> None:
    """Scan an object, tag it, and send the event, in this order."""
    status, reasons = _verdict(plan, bucket_name, key, version)
    bucket = s3._buckets.get(bucket_name)
    if bucket is None or not s3._bucket_notifications.get(bucket_name):
        return
    arn = f"arn:aws:s3:::{bucket_name}/{key}"
    if plan["actions"]["tagging"]["status"] == "ENABLED" and _role_may(plan, "s3:PutObjectTagging", arn):
        tags = s3._object_tags.get((bucket_name, key, version)) or {}
        s3._object_tags[(bucket_name, key, version)] = {**tags, TAG: status}
        s3._persist_version_state(bucket_name, key, bucket)
    detail = {
        "schemaVersion": "1.0",
        "scanStatus": "COMPLETED" if status in ("NO_THREATS_FOUND", "THREATS_FOUND") else "SKIPPED",
        "resourceType": "S3_OBJECT",
        "s3ObjectDetails": {
            "bucketName": bucket_name,
            "objectKey": key,
            "eTag": str((bucket["objects"].get(key) or {}).get("etag", "")).strip('"'),
            "versionId": version or "null",
            "s3Throttled": False,
        },
        "scanResultDetails": {
            "scanResultStatus": status,
            "threats": [{"name": "EICAR-Test-File"}] if status == "THREATS_FOUND" else None,
            "statusReasons": reasons,
        },
    }
    events._dispatch_event(
        {
            "EventId": secrets.token_hex(16),
            "Source": "aws.guardduty",
            "DetailType": "GuardDuty Malware Protection Object Scan Result",
            "Detail": json.dumps(detail),
            "EventBusName": "default",
            "Time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "Resources": [plan["arn"]],
            "Account": get_account_id(),
            "Region": get_region(),
        }
    )


def _verdict(
    plan: Mapping[str, Any], bucket_name: str, key: str, version: str | None
) -> tuple[str, Iterable[str] | None]:
    if not _role_may(plan, "s3:GetObject", f"arn:aws:s3:::{bucket_name}/{key}"):
        return "ACCESS_DENIED", ["ACCESS_DENIED"]
    content = s3._get_object_data(bucket_name, key, version)
    if content is None:
        return "FAILED", None
    if holds_test_file(content):
        return "THREATS_FOUND", None
    # APPNOTE.TXT, 4.4.4: the first flag of an entry says that it is encrypted.
    if content[:4] == b"PK\x03\x04" and len(content) > 6 and content[6] & 1:
        return "UNSUPPORTED", ["PASSWORD_PROTECTED"]
    return "NO_THREATS_FOUND", None


def holds_test_file(content: bytes) -> bool:
    """Return whether the content contains the test file of EICAR."""
    return any(
        hashlib.sha256(content[found.start() : found.start() + _EICAR_LENGTH]).hexdigest() == _EICAR_SHA256
        for found in re.finditer(re.escape(_EICAR_BEGINS), content)
    )
