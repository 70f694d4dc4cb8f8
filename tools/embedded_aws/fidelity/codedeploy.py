"""CodeDeploy: deployments of Lambda functions, limited to their effect on aliases.

ministack has no CodeDeploy. This is a stand-in for its platform Lambda: applications and deployment groups are kept,
and a deployment moves all of the traffic at once, where AWS would wait as the deployment configuration says.
"""

# mypy: disable-error-code="import-not-found"
import copy
import json
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ministack import app
from ministack.core import iam_actions
from ministack.core.responses import (
    AccountRegionScopedDict,
    error_response_json,
    get_account_id,
    get_region,
    json_response,
    new_uuid,
)
from ministack.services import cloudwatch, lambda_svc

from . import hook, iam
from .hook import Function
from .settings import Settings

PRINCIPAL = "codedeploy.amazonaws.com"
SESSION = "codedeploy"

_applications = AccountRegionScopedDict()
_groups = AccountRegionScopedDict()
_deployments = AccountRegionScopedDict()
_tags = AccountRegionScopedDict()
_Answer = tuple[int, dict[str, str], bytes]


class _RefusedError(Exception):
    """AWS refuses a call; arguments: the code and the message."""


def stand_in(_: Settings) -> None:
    """Store applications and deployment groups of the platform Lambda, and run deployments.

    AWS moves the traffic of an alias from one version to another as an AppSpec file says, with the role of the
    deployment group, and goes back where an alarm of the group goes off
    (https://docs.aws.amazon.com/codedeploy/latest/userguide/deployment-steps-lambda.html). ministack does not know the
    service. The fix answers the calls on applications, groups, deployments and tags. A deployment has ended when it is
    created: with all of the traffic moved, or, where an alarm of the group is on or its role may not move the alias,
    with none.
    """
    fix = "codedeploy.stand_in"
    for name in ("SERVICE_HANDLERS", "_lazy_handler", "_loaded_modules", "_state_map"):
        hook.attribute(fix, app, name)
    hook.attribute(fix, iam_actions, "SERVICE_TO_IAM_NAMESPACE")
    hook.attribute(fix, lambda_svc, "_update_alias")
    hook.attribute(fix, lambda_svc, "_functions")
    hook.attribute(fix, cloudwatch, "_alarms")
    app._loaded_modules["codedeploy"] = sys.modules[__name__]
    app._state_map["codedeploy"] = "codedeploy"
    app.SERVICE_HANDLERS["codedeploy"] = app._lazy_handler("codedeploy")
    iam_actions.SERVICE_TO_IAM_NAMESPACE["codedeploy"] = "codedeploy"

    def make_arn(original: Function) -> Function:
        def extract_resource_arn(
            service: str,
            method: str,
            path: str,
            headers: Mapping[str, str],
            body: bytes,
            query_params: object,
            region: str,
            account_id: str,
        ) -> str:
            if service != "codedeploy":
                return str(original(service, method, path, headers, body, query_params, region, account_id))
            return _resource(headers.get("x-amz-target", "").rpartition(".")[2], json.loads(body or b"{}"))

        return extract_resource_arn

    parameters = "service method path headers body query_params region account_id"
    hook.replace(fix, iam_actions, "extract_resource_arn", make_arn, parameters)

    def more(action: str, _: str, __: Mapping[str, Any]) -> Iterable[tuple[str, str, Mapping[str, Any]]]:
        # CodeDeploy, "CodeDeploy permissions reference": further permissions that a deployment needs.
        request = iam.signed_request()
        if action != "codedeploy:CreateDeployment" or request is None:
            return []
        fields = json.loads(request.body)
        application = str(fields.get("applicationName"))
        group = _groups.get(f"{application}/{fields.get('deploymentGroupName')}") or {}
        configuration = fields.get("deploymentConfigName") or group.get("deploymentConfigName", "")
        return [
            ("codedeploy:GetDeploymentConfig", _arn(f"deploymentconfig:{configuration}"), {}),
            ("codedeploy:RegisterApplicationRevision", _arn(f"application:{application}"), {}),
        ]

    iam.also_ask(fix, more)


async def handle_request(method: str, path: str, headers: Mapping[str, str], body: bytes, _: object) -> _Answer:
    """Answer a call, with the interface of ministack's services."""
    action = headers.get("x-amz-target", "").rpartition(".")[2]
    fields = json.loads(body or b"{}")
    try:
        if action not in _ACTIONS:
            raise _RefusedError(
                "InvalidAction", f"The stand-in for CodeDeploy knows no {action or f'{method} {path}'}."
            )
        answered: _Answer = json_response(_ACTIONS[action](fields))
    except _RefusedError as refused:
        answered = error_response_json(*refused.args, 400)
    return answered


def get_state() -> dict[str, Any]:
    """Return the state to save at a stop."""
    return {
        "applications": copy.deepcopy(_applications),
        "groups": copy.deepcopy(_groups),
        "deployments": copy.deepcopy(_deployments),
        "tags": copy.deepcopy(_tags),
    }


def load_persisted_state(data: Mapping[str, Any]) -> None:
    """Load the state that was saved at a stop."""
    for name, kept in (
        ("applications", _applications),
        ("groups", _groups),
        ("deployments", _deployments),
        ("tags", _tags),
    ):
        kept.update(data.get(name, {}))


def _arn(end: str) -> str:
    return f"arn:aws:codedeploy:{get_region()}:{get_account_id()}:{end}"


def _resource(action: str, fields: Mapping[str, Any]) -> str:
    """Return the ARN of a call's resource (Service Authorization Reference, "AWS CodeDeploy")."""
    if fields.get("ResourceArn"):
        return str(fields["ResourceArn"])
    if action == "StopDeployment":
        return "*"
    about = _deployments.get(fields.get("deploymentId", "")) or fields
    group = about.get("deploymentGroupName") or about.get("currentDeploymentGroupName")
    application = about.get("applicationName")
    if application and group:
        return _arn(f"deploymentgroup:{application}/{group}")
    if fields.get("deploymentConfigName"):
        return _arn(f"deploymentconfig:{fields['deploymentConfigName']}")
    return _arn(f"application:{application}") if application else "*"


def _application(fields: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] | None = _applications.get(fields.get("applicationName", ""))
    if found is None:
        name = fields.get("applicationName")
        raise _RefusedError("ApplicationDoesNotExistException", f"No application found for name: {name}")
    return found


def _group(fields: Mapping[str, Any]) -> dict[str, Any]:
    application = _application(fields)["applicationName"]
    name = fields.get("currentDeploymentGroupName") or fields.get("deploymentGroupName")
    found: dict[str, Any] | None = _groups.get(f"{application}/{name}")
    if found is None:
        raise _RefusedError("DeploymentGroupDoesNotExistException", f"No Deployment Group found for name: {name}")
    return found


def _create_application(fields: Mapping[str, Any]) -> dict[str, Any]:
    name, platform = fields["applicationName"], fields.get("computePlatform", "Server")
    if platform != "Lambda":
        raise _RefusedError("InvalidComputePlatformException", "The stand-in for CodeDeploy knows only Lambda.")
    if name in _applications:
        raise _RefusedError("ApplicationAlreadyExistsException", f"Application already exists: {name}")
    _applications[name] = {
        "applicationId": new_uuid(),
        "applicationName": name,
        "computePlatform": platform,
        "createTime": time.time(),
        "linkedToGitHub": False,
    }
    _tags[_arn(f"application:{name}")] = list(fields.get("tags") or [])
    return {"applicationId": _applications[name]["applicationId"]}


def _delete_application(fields: Mapping[str, Any]) -> dict[str, Any]:
    name = fields["applicationName"]
    _applications.pop(name, None)
    _tags.pop(_arn(f"application:{name}"), None)
    for group in [key for key in _groups if key.startswith(f"{name}/")]:
        del _groups[group]
    return {}


def _create_group(fields: Mapping[str, Any]) -> dict[str, Any]:
    application = _application(fields)
    name = f"{application['applicationName']}/{fields['deploymentGroupName']}"
    if name in _groups:
        raise _RefusedError("DeploymentGroupAlreadyExistsException", f"Deployment group already exists: {name}")
    group = {
        **{key: value for key, value in fields.items() if key != "tags"},
        "computePlatform": application["computePlatform"],
        "deploymentGroupId": new_uuid(),
    }
    _check(group)
    _groups[name] = group
    _tags[_arn(f"deploymentgroup:{name}")] = list(fields.get("tags") or [])
    return {"deploymentGroupId": group["deploymentGroupId"]}


def _update_group(fields: Mapping[str, Any]) -> dict[str, Any]:
    group = _group(fields)
    named = ("applicationName", "currentDeploymentGroupName", "newDeploymentGroupName")
    changed = {**group, **{key: value for key, value in fields.items() if key not in named}}
    _check(changed)
    application, new = group["applicationName"], fields.get("newDeploymentGroupName") or group["deploymentGroupName"]
    del _groups[f"{application}/{group['deploymentGroupName']}"]
    _groups[f"{application}/{new}"] = {**changed, "deploymentGroupName": new}
    return {"hooksNotCleanedUp": []}


def _check(group: Mapping[str, Any]) -> None:
    """Check a group as CodeDeploy does: its role has to trust CodeDeploy, and may publish to its topics."""
    role = str(group.get("serviceRoleArn", ""))
    if not iam.trusts(role, PRINCIPAL):
        raise _RefusedError("InvalidRoleException", f"AWS CodeDeploy does not have the permissions to assume {role}.")
    for trigger in group.get("triggerConfigurations") or []:
        topic = trigger["triggerTargetArn"]
        if not iam.role_may(role, SESSION, "sns:Publish", topic, get_region()):
            raise _RefusedError("InvalidTriggerConfigException", f"{role} may not publish to {topic}.")


def _delete_group(fields: Mapping[str, Any]) -> dict[str, Any]:
    name = f"{fields['applicationName']}/{fields['deploymentGroupName']}"
    _groups.pop(name, None)
    _tags.pop(_arn(f"deploymentgroup:{name}"), None)
    return {"hooksNotCleanedUp": []}


def _create_deployment(fields: Mapping[str, Any]) -> dict[str, Any]:
    group = _group(fields)
    deployment_id = f"d-{secrets.token_hex(5)[:9].upper()}"
    content = fields["revision"]["appSpecContent"]["content"]
    failure = _move(group, json.loads(content)["Resources"])
    now = time.time()
    _deployments[deployment_id] = {
        "applicationName": group["applicationName"],
        "deploymentGroupName": group["deploymentGroupName"],
        "deploymentConfigName": group["deploymentConfigName"],
        "deploymentId": deployment_id,
        "computePlatform": "Lambda",
        "description": fields.get("description", ""),
        "revision": fields["revision"],
        "createTime": now,
        "completeTime": now,
        "creator": "user",
        "status": "Succeeded" if failure is None else "Stopped" if failure[0] == "ALARM_ACTIVE" else "Failed",
        **({} if failure is None else {"errorInformation": {"code": failure[0], "message": failure[1]}}),
    }
    return {"deploymentId": deployment_id}


def _move(group: Mapping[str, Any], resources: Iterable[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Move the aliases of an AppSpec file; return code and message of the error that prevents it, or None."""
    alarms = group.get("alarmConfiguration") or {}
    for each in alarms.get("alarms") or [] if alarms.get("enabled") else []:
        if (cloudwatch._alarms.get(each["name"]) or {}).get("StateValue") == "ALARM":
            return "ALARM_ACTIVE", f"One or more alarms have been activated: {each['name']}"
    for resource in resources:
        for about in (named["Properties"] for named in resource.values()):
            function = lambda_svc._functions.get(about["Name"])
            alias = (function or {}).get("aliases", {}).get(about["Alias"])
            if function is None or alias is None or alias["FunctionVersion"] != about["CurrentVersion"]:
                return "INVALID_LAMBDA_CONFIGURATION", f"{about['Name']} has no alias {about['Alias']} as it is named."
            arn = f"{function['config']['FunctionArn'].removesuffix(':$LATEST')}:{about['Alias']}"
            for action in ("lambda:GetAlias", "lambda:UpdateAlias"):
                if not iam.role_may(group["serviceRoleArn"], SESSION, action, arn.rpartition(":")[0], get_region()):
                    return "IAM_ROLE_PERMISSIONS", f"The role may not {action} on {arn}."
            moved = {"FunctionVersion": about["TargetVersion"], "RoutingConfig": {"AdditionalVersionWeights": {}}}
            lambda_svc._update_alias(about["Name"], about["Alias"], moved)
    return None


def _get_deployment(fields: Mapping[str, Any]) -> dict[str, Any]:
    found = _deployments.get(fields.get("deploymentId", ""))
    if found is None:
        raise _RefusedError("DeploymentDoesNotExistException", f"No deployment {fields.get('deploymentId')}")
    return {"deploymentInfo": found}


def _list_deployments(fields: Mapping[str, Any]) -> dict[str, Any]:
    wanted = {name: fields[name] for name in ("applicationName", "deploymentGroupName") if fields.get(name)}
    statuses = fields.get("includeOnlyStatuses")
    found = [
        each["deploymentId"]
        for each in _deployments.values()
        if all(each[name] == value for name, value in wanted.items()) and (not statuses or each["status"] in statuses)
    ]
    return {"deployments": found}


def _stop_deployment(fields: Mapping[str, Any]) -> dict[str, Any]:
    _get_deployment(fields)
    raise _RefusedError("DeploymentAlreadyCompletedException", "The deployment has already completed.")


def _tag(fields: Mapping[str, Any]) -> dict[str, Any]:
    named = {each["Key"] for each in fields["Tags"]}
    kept = [each for each in _tags.get(fields["ResourceArn"]) or [] if each["Key"] not in named]
    _tags[fields["ResourceArn"]] = [*kept, *fields["Tags"]]
    return {}


def _untag(fields: Mapping[str, Any]) -> dict[str, Any]:
    kept = [each for each in _tags.get(fields["ResourceArn"]) or [] if each["Key"] not in fields["TagKeys"]]
    _tags[fields["ResourceArn"]] = kept
    return {}


_ACTIONS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "CreateApplication": _create_application,
    "GetApplication": lambda fields: {"application": _application(fields)},
    "DeleteApplication": _delete_application,
    "CreateDeploymentGroup": _create_group,
    "GetDeploymentGroup": lambda fields: {"deploymentGroupInfo": _group(fields)},
    "UpdateDeploymentGroup": _update_group,
    "DeleteDeploymentGroup": _delete_group,
    "CreateDeployment": _create_deployment,
    "GetDeployment": _get_deployment,
    "ListDeployments": _list_deployments,
    "StopDeployment": _stop_deployment,
    "TagResource": _tag,
    "UntagResource": _untag,
    "ListTagsForResource": lambda fields: {"Tags": _tags.get(fields["ResourceArn"]) or []},
}
