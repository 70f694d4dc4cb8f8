"""API Gateway: REST APIs and the functions behind them."""

# mypy: disable-error-code="import-not-found"
import contextlib
import contextvars
import copy
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ministack import app
from ministack.core import iam_evaluator
from ministack.core.responses import AccountRegionScopedDict, get_account_id, get_region
from ministack.services import apigateway_v1 as rest_api
from ministack.services import lambda_svc

from . import hook, iam
from .hook import Function
from .settings import Settings

# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
REQUEST_LIMIT_BYTES = 10 * 1024 * 1024
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
INVOCATION_LIMIT_BYTES = 6 * 1024 * 1024

_SERVICE = "apigateway.amazonaws.com"
_credentials: contextvars.ContextVar[str] = contextvars.ContextVar("credentials", default="")


class _NoResponseError(Exception):
    """The function did not return a response; the argument is the status that the caller gets."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _TooLargeError(Exception):
    """The event for the function is larger than an invocation may be."""


def _too_large() -> object:
    return rest_api._GatewayError("REQUEST_TOO_LARGE", "Request Too Long", "RequestTooLargeException")


def _admitted(reference: str, source: str, credentials: str, account: str | None, region: str | None) -> bool:
    """Return whether API Gateway may invoke a function; a function that does not exist is left to ministack."""
    _, config, _ = lambda_svc._get_func_record_for_ref_in_scope(reference, account_id=account, region=region)
    if config is None:
        return True
    function = reference if reference.startswith("arn:") else config["FunctionArn"]
    if credentials.startswith("arn:aws:iam::") and ":role/" in credentials:
        return iam.role_may(credentials, "BackplaneAssumeRoleSession", "lambda:InvokeFunction", function, get_region())
    found = lambda_svc.function_policy_for_arn(function)
    policy = found[0] if found else None
    return iam.service_may(_SERVICE, "lambda:InvokeFunction", function, get_region(), source, policy)


def ask_the_function_for_permission(_: Settings) -> None:
    """Invoke a function only if its policy, or the role of the integration, lets API Gateway do so.

    AWS invokes an integration or an authorizer as apigateway.amazonaws.com with the ARN of the method or of the
    authorizer as aws:SourceArn, or with the role in `credentials`
    (https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-control-access-using-iam-policies-to-invoke-api.html).
    Without permission the caller gets 500 and "Internal server error". ministack invokes every function. The fix
    evaluates the policy first.
    """
    fix = "apigateway.ask_the_function_for_permission"
    hook.attribute(fix, lambda_svc, "_get_func_record_for_ref_in_scope")
    hook.attribute(fix, lambda_svc, "function_policy_for_arn")

    def make_integration(original: Function) -> Function:
        async def invoke(integration: Mapping[str, Any], *arguments: object, **options: object) -> object:
            token = _credentials.set(integration.get("credentials") or "")
            try:
                return await original(integration, *arguments, **options)
            finally:
                _credentials.reset(token)

        return invoke

    def make_call(original: Function) -> Function:
        async def call(
            function_ref: str, event: object, *, account_id: str | None = None, region: str | None = None
        ) -> object:
            context = event.get("requestContext") if isinstance(event, dict) else None
            if isinstance(context, dict) and context.get("apiId"):
                method = f"{context['stage']}/{context['httpMethod']}{context['resourcePath']}"
                source = f"arn:aws:execute-api:{get_region()}:{get_account_id()}:{context['apiId']}/{method}"
                if not _admitted(function_ref, source, _credentials.get(), account_id, region):
                    return None, "Invalid permissions on Lambda function"
            return await original(function_ref, event, account_id=account_id, region=region)

        return call

    def make_authorizer(original: Function) -> Function:
        async def invoke(authorizer: Mapping[str, Any], event: Any, account_id: str, region: str) -> object:  # noqa: ANN401
            reference = rest_api._extract_lambda_ref_from_integration_uri(authorizer.get("authorizerUri", ""))
            # methodArn is arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/PATH.
            api = event["methodArn"].split("/")[0]
            credentials = authorizer.get("authorizerCredentials") or ""
            if not _admitted(reference, f"{api}/authorizers/{authorizer['id']}", credentials, account_id, region):
                return None
            return await original(authorizer, event, account_id, region)

        return invoke

    hook.attribute(fix, rest_api, "_extract_lambda_ref_from_integration_uri")
    hook.replace(fix, rest_api, "_invoke_lambda_proxy_v1", make_integration, "integration")
    hook.replace(fix, rest_api, "_invoke_lambda_custom_v1", make_integration, "integration")
    hook.replace(fix, rest_api, "_call_lambda_raw", make_call, "function_ref event account_id region")
    hook.replace(fix, rest_api, "_invoke_authorizer_lambda", make_authorizer, "authorizer event account_id region")


def answer_at_the_host_name_of_an_api(_: Settings) -> None:
    """Serve an API at `API.execute-api.REGION.amazonaws.com`, as AWS does.

    `invoke_url` has this form ("Invoke REST APIs in API Gateway"). ministack serves APIs only at names below its own
    host. The fix accepts AWS's names too, which clients reach through the proxy.
    """
    fix = "apigateway.answer_at_the_host_name_of_an_api"
    hook.attribute(fix, app, "_EXECUTE_API_RE")
    own = re.escape(hook.attribute(fix, app, "_MINISTACK_HOST")) + r"(?::\d+)?"
    app._EXECUTE_API_RE = re.compile(rf"^([a-f0-9]{{8}})\.execute-api\.(?:{own}|[a-z0-9-]+\.amazonaws\.com(?:\.cn)?)$")


def keep_mock_integrations_without_method(_: Settings) -> None:
    """Store a MOCK integration without httpMethod, as it was put.

    AWS returns no httpMethod for a MOCK integration
    (https://docs.aws.amazon.com/apigateway/latest/api/API_Integration.html). ministack says POST, so that every plan
    replaces the integration, and a second apply removes the method with it. The fix takes the default away again.
    """
    fix = "apigateway.keep_mock_integrations_without_method"
    resources = hook.attribute(fix, rest_api, "_resources")
    response = hook.attribute(fix, rest_api, "_v1_response")

    def make(original: Function) -> Function:
        def put(api_id: str, resource_id: str, http_method: str, data: Mapping[str, Any]) -> object:
            answer = original(api_id, resource_id, http_method, data)
            if answer[0] != 201 or data.get("type") != "MOCK" or data.get("httpMethod"):
                return answer
            integration = resources[api_id][resource_id]["resourceMethods"][http_method]["methodIntegration"]
            integration.pop("httpMethod", None)
            return response(integration, 201)

        return put

    hook.replace(fix, rest_api, "_put_integration", make, "api_id resource_id http_method data")


def leave_out_absent_access_log_settings(_: Settings) -> None:
    """Leave accessLogSettings out of a stage that has none.

    AWS does so (https://docs.aws.amazon.com/apigateway/latest/api/API_Stage.html). ministack returns an empty object,
    which every plan wants to remove. The fix drops the empty object from the answer.
    """

    def make(original: Function) -> Function:
        def respond(data: object, status: int = 200) -> object:
            if isinstance(data, dict) and data.get("accessLogSettings") == {}:
                data = {name: value for name, value in data.items() if name != "accessLogSettings"}
            return original(data, status)

        return respond

    hook.replace("apigateway.leave_out_absent_access_log_settings", rest_api, "_v1_response", make, "data status")


def name_methods_of_settings(_: Settings) -> None:
    """Name a method in the settings of a stage with `~1` for each slash of its path, the first one too.

    AWS returns `~1health~1deep/GET` for GET /health/deep
    (https://docs.aws.amazon.com/apigateway/latest/api/API_Stage.html, methodSettings), and the provider looks for what
    it sent. ministack undoes the escape, so that every apply of such settings fails. The fix does it again in answers.
    """

    def escaped(key: str) -> str:
        path, _, method = key.rpartition("/")
        return f"{path.replace('/', '~1')}/{method}"

    def make(original: Function) -> Function:
        def respond(data: object, status: int = 200) -> object:
            if isinstance(data, dict) and data.get("methodSettings"):
                named = {escaped(key): value for key, value in data["methodSettings"].items()}
                data = {**data, "methodSettings": named}
            return original(data, status)

        return respond

    hook.replace("apigateway.name_methods_of_settings", rest_api, "_v1_response", make, "data status")


def deny_through_gateway_responses(_: Settings) -> None:
    """Answer a caller whom IAM denies with the gateway response ACCESS_DENIED.

    AWS does so, with the headers that the API sets for ACCESS_DENIED or DEFAULT_4XX, without which a browser sees no
    answer at all
    (https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html). ministack
    answers in the form of its own control plane. The fix takes the message over into the gateway response.
    """
    fix = "apigateway.deny_through_gateway_responses"
    kinds = hook.attribute(fix, rest_api, "_AUTHENTICATION_GATEWAY_ERRORS")
    kinds["AccessDenied"] = ("ACCESS_DENIED", "AccessDeniedException")

    def make(original: Function) -> Function:
        def enforce(
            api_id: str,
            stage: str,
            method: str,
            execute_path: str,
            headers: object,
            query_params: object,
            **rest: object,
        ) -> object:
            denied = original(api_id, stage, method, execute_path, headers, query_params, **rest)
            if denied is None or denied[0] != 403 or b'"AccessDeniedException"' not in denied[2]:
                return denied
            error = iam_evaluator.AuthError("AccessDenied", json.loads(denied[2])["message"])
            return rest_api.authentication_error_response(api_id, stage, error, headers, query_params) or denied

        return enforce

    hook.attribute(fix, rest_api, "authentication_error_response")
    hook.attribute(fix, iam_evaluator, "AuthError")
    hook.replace(fix, app, "_enforce_execute_api", make, "api_id stage method execute_path headers query_params")


def is_proxy_response(result: Mapping[str, Any]) -> bool:
    """Return whether API Gateway accepts a function's result from a proxy integration.

    An object with a numeric statusCode, a body that is a string, headers that are objects, and nothing but a
    boolean in isBase64Encoded:
    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html#api-gateway-simple-proxy-for-lambda-output-format
    """
    body = result.get("body")
    if result.get("error") or not isinstance(body, dict):
        return False
    return (
        str(body.get("statusCode", "")).isdecimal()
        and isinstance(body.get("body", ""), str | None)
        and isinstance(body.get("headers") or {}, dict)
        and isinstance(body.get("multiValueHeaders") or {}, dict)
        and isinstance(body.get("isBase64Encoded", False), bool | None)
    )


def hide_failures_of_functions(_: Settings) -> None:
    """Answer 502 and "Internal server error" when a function fails or returns something else than a response.

    AWS tells the caller nothing about a failed function, or with 500 about one that Lambda throttled, and sends the
    headers of the gateway response DEFAULT_5XX
    (https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-gatewayResponse-definition.html).
    ministack sends the text and the type of the exception, and accepts every result. The fix checks the result and
    answers through the gateway responses.
    """
    fix = "apigateway.hide_failures_of_functions"
    hook.attribute(fix, rest_api, "_GatewayError")

    def make_shape(original: Function) -> Function:
        def shape(result: Mapping[str, Any]) -> object:
            if result.get("throttle"):
                raise _NoResponseError(500)
            if not is_proxy_response(result):
                raise _NoResponseError(502)
            return original(result)

        return shape

    def make_invoke(original: Function) -> Function:
        async def invoke(*arguments: object, **options: object) -> object:
            try:
                return await original(*arguments, **options)
            except _NoResponseError as error:
                failure = rest_api._GatewayError("DEFAULT_5XX", "Internal server error")
                failure.status_code = error.status
                return failure

        return invoke

    def make_render(original: Function) -> Function:
        def render(error: object, request: object) -> object:
            status, headers, body = original(error, request)
            # A gateway response with another status overrides the 502.
            return getattr(error, "status_code", status) if status == 500 else status, headers, body

        return render

    hook.replace(fix, rest_api, "_lambda_proxy_response", make_shape, "result")
    hook.replace(fix, rest_api, "_invoke_lambda_proxy_v1", make_invoke, "integration")
    hook.replace(fix, rest_api, "_gateway_error_response", make_render, "error request")


def refuse_large_requests(_: Settings) -> None:
    """Answer 413 to a body above 10 MB, and to an event for a function above 6 MB.

    AWS answers through the gateway response REQUEST_TOO_LARGE with "Request Too Long"
    (https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html and
    https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html). ministack takes bodies of every size.
    The fix measures the body before anything else happens to it, and the event before the function gets it.
    """
    fix = "apigateway.refuse_large_requests"
    hook.attribute(fix, rest_api, "_GatewayError")

    def make_execute(original: Function) -> Function:
        async def execute(request: dict[str, Any], *arguments: Any) -> object:  # noqa: ANN401
            api_id, stage_name, _, _, _, body, *_ = arguments
            stage = rest_api._stages_v1.get(api_id, {}).get(stage_name)
            if stage is not None and len(body or b"") > REQUEST_LIMIT_BYTES:
                request["stage"] = stage
                return _too_large()
            try:
                return await original(request, *arguments)
            except _TooLargeError:
                return _too_large()

        return execute

    def make_call(original: Function) -> Function:
        async def call(function_ref: str, event: object, **options: object) -> object:
            if len(json.dumps(event, ensure_ascii=False).encode()) > INVOCATION_LIMIT_BYTES:
                raise _TooLargeError
            return await original(function_ref, event, **options)

        return call

    hook.attribute(fix, rest_api, "_stages_v1")
    hook.replace(fix, rest_api, "_execute_in_scope", make_execute, "request api_id stage_name method path headers body")
    hook.replace(fix, rest_api, "_call_lambda_raw", make_call, "function_ref event")


# Stores of ministack that a deployment copies. ministack itself copies gateway responses.
_DEPLOYED = ("_resources", "_models", "_request_validators", "_authorizers_v1")
_SNAPSHOTS = "deployed_snapshots"
# The copy for the current request; None if it is not a request to a stage.
_served: contextvars.ContextVar[Mapping[str, Any] | None] = contextvars.ContextVar("served", default=None)


class _Serving(AccountRegionScopedDict):  # type: ignore[misc]
    """A store of ministack that returns the deployed copy for requests to a stage, and the API for all other calls."""

    def __init__(self, name: str, store: AccountRegionScopedDict) -> None:
        super().__init__()
        self._name = name
        self._data = store._data

    def get(self, key: object, default: object = None) -> object:
        """Return the deployed copy for a request to a stage, else the value in the store."""
        snapshot = _served.get()
        if snapshot is None or snapshot["api_id"] != key:
            return super().get(key, default)
        return snapshot.get(self._name, default)

    def __deepcopy__(self, memo: dict[int, Any]) -> AccountRegionScopedDict:
        """Return a plain store of ministack, for the state that it writes."""
        plain = AccountRegionScopedDict()
        plain._data = copy.deepcopy(self._data, memo)
        return plain


def serve_what_was_deployed(_: Settings) -> None:
    """Serve a stage from the copy of the API that its deployment took, and refuse deployments that AWS refuses.

    On AWS "a deployment is a point-in-time snapshot of your API" that a change reaches only when it is deployed again
    (https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-deploy-api.html). AWS deploys no API without a
    method and none with a method that has no integration, and deletes no deployment that a stage serves
    (https://docs.aws.amazon.com/apigateway/latest/api/API_CreateDeployment.html and API_DeleteDeployment.html).
    ministack serves the API as it is at each request, and does all of that. The fix keeps a copy for each deployment,
    in ministack's state too, and routes requests by the copy of the stage's deployment.
    """
    fix = "apigateway.serve_what_was_deployed"
    snapshots = AccountRegionScopedDict()
    for name in _DEPLOYED:
        setattr(rest_api, name, _Serving(name, hook.attribute(fix, rest_api, name)))
    refuse = hook.attribute(fix, rest_api, "_v1_error")
    stages = hook.attribute(fix, rest_api, "_stages_v1")

    def why_not(api_id: str) -> str:
        """Return the reason why AWS would refuse to deploy the API; empty if there is none."""
        methods = [
            method
            for resource in rest_api._resources.get(api_id, {}).values()
            for method in resource["resourceMethods"].values()
        ]
        if not methods:
            return "The REST API doesn't contain any methods"
        return "" if all(each["methodIntegration"] for each in methods) else "No integration defined for method"

    @contextlib.contextmanager
    def serving(api_id: str, stage: Mapping[str, Any] | None) -> Iterator[None]:
        token = _served.set(snapshots.get(api_id, {}).get((stage or {}).get("deploymentId")))
        try:
            yield
        finally:
            _served.reset(token)

    def make_create(original: Function) -> Function:
        def create(api_id: str, data: Mapping[str, Any]) -> object:
            if api_id in rest_api._rest_apis and (reason := why_not(api_id)):
                return refuse("BadRequestException", reason, 400)
            answer = original(api_id, data)
            if answer[0] == 201:
                kept = {name: getattr(rest_api, name).get(api_id, {}) for name in _DEPLOYED}
                deployment_id = json.loads(answer[2])["id"]
                snapshots.setdefault(api_id, {})[deployment_id] = copy.deepcopy({**kept, "api_id": api_id})
            return answer

        return create

    def make_delete(original: Function) -> Function:
        def delete(api_id: str, deployment_id: str) -> object:
            if any(stage["deploymentId"] == deployment_id for stage in stages.get(api_id, {}).values()):
                words = "Active stages pointing to this deployment must be moved or deleted"
                return refuse("BadRequestException", words, 400)
            snapshots.get(api_id, {}).pop(deployment_id, None)
            return original(api_id, deployment_id)

        return delete

    def make_delete_api(original: Function) -> Function:
        def delete(api_id: str) -> object:
            snapshots.pop(api_id, None)
            return original(api_id)

        return delete

    def make_execute(original: Function) -> Function:
        async def execute(request: object, api_id: str, stage_name: str, *arguments: object) -> object:
            with serving(api_id, stages.get(api_id, {}).get(stage_name)):
                return await original(request, api_id, stage_name, *arguments)

        return execute

    def make_authorization(original: Function) -> Function:
        def authorization(api_id: str, stage_name: str, method: str, path: str) -> object:
            with serving(api_id, rest_api.stages_for_api(api_id).get(stage_name)):
                return original(api_id, stage_name, method, path)

        return authorization

    def make_state(original: Function) -> Function:
        return lambda: {**original(), _SNAPSHOTS: copy.deepcopy(snapshots)}

    def make_load(original: Function) -> Function:
        def load(data: Mapping[str, Any]) -> None:
            original(data)
            snapshots.update((data or {}).get(_SNAPSHOTS, {}))

        return load

    hook.replace(fix, rest_api, "_create_deployment", make_create, "api_id data")
    hook.replace(fix, rest_api, "_delete_deployment", make_delete, "api_id deployment_id")
    hook.replace(fix, rest_api, "_delete_rest_api", make_delete_api, "api_id")
    hook.replace(fix, rest_api, "_execute_in_scope", make_execute, "request api_id stage_name method path headers body")
    hook.replace(fix, rest_api, "method_authorization_type", make_authorization, "api_id stage_name method path")
    hook.replace(fix, rest_api, "get_state", make_state)
    hook.replace(fix, rest_api, "load_persisted_state", make_load, "data")


def change_methods_in_place(_: Settings) -> None:
    """Change a method, its responses and those of its integration in place, as UpdateMethod and the like do.

    AWS has UpdateMethodResponse and UpdateIntegrationResponse
    (https://docs.aws.amazon.com/apigateway/latest/api/API_UpdateMethodResponse.html and
    API_UpdateIntegrationResponse.html), which the provider calls where headers change, and turns the text of a patch
    into the truth value that the field has. ministack answers 404, and stores "false" as text, which is true. The fix
    answers both calls, and converts `apiKeyRequired` and the flags of headers.
    """
    fix = "apigateway.change_methods_in_place"
    patch = hook.attribute(fix, rest_api, "_apply_patch")
    respond = hook.attribute(fix, rest_api, "_v1_response")
    refuse = hook.attribute(fix, rest_api, "_v1_error")
    resources = hook.attribute(fix, rest_api, "_resources")

    def typed(operations: object) -> list[dict[str, Any]]:
        flags = ("/apiKeyRequired", "/responseParameters/method.response.", "/requestParameters/method.request.")
        return [
            {**each, "value": str(each["value"]).lower() == "true"}
            if each.get("path", "").startswith(flags) and str(each.get("value")).lower() in {"true", "false"}
            else each
            for each in (operations if isinstance(operations, list) else [])
        ]

    def make_update(original: Function) -> Function:
        def update(api_id: str, resource_id: str, http_method: str, data: Mapping[str, Any]) -> object:
            changed = {**data, "patchOperations": typed(data.get("patchOperations"))}
            return original(api_id, resource_id, http_method, changed)

        return update

    def find(parts: list[str]) -> dict[str, Any] | None:
        """Return the response at `restapis/ID/resources/ID/methods/VERB[/integration]/responses/STATUS`."""
        _, api_id, _, resource_id, _, verb, *rest = parts
        method = resources.get(api_id, {}).get(resource_id, {}).get("resourceMethods", {}).get(verb) or {}
        if rest[0] == "integration":
            found = (method.get("methodIntegration") or {}).get("integrationResponses", {}).get(rest[2])
        else:
            found = method.get("methodResponses", {}).get(rest[1])
        return found if isinstance(found, dict) else None

    def make_handle(original: Function) -> Function:
        async def handle(method: str, path: str, headers: object, body: bytes, query_params: object) -> object:
            parts = [part for part in path.strip("/").split("/") if part]
            if method != "PATCH" or parts[4:5] != ["methods"] or parts[-2:-1] != ["responses"]:
                return await original(method, path, headers, body, query_params)
            response = find(parts)
            if response is None:
                return refuse("NotFoundException", "Invalid Response status code specified", 404)
            operations = json.loads(body or b"{}").get("patchOperations")
            # An integration's headers are expressions, not flags.
            patch(response, operations if parts[6] == "integration" else typed(operations))
            return respond(response)

        return handle

    hook.replace(fix, rest_api, "_update_method", make_update, "api_id resource_id http_method data")
    hook.replace(fix, rest_api, "handle_request", make_handle, "method path headers body query_params")
