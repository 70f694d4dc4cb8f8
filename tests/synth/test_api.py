"""The API in Terraform JSON: who may call, from which pages, how much, what is checked and what is logged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from functions.authorizer.tokens import ALGORITHMS
from functions.common.contract import EXPOSED_HEADERS
from modules.api import Api
from modules.api_routes import KNOWN_ROUTES
from modules.api_stage import access_log_format
from modules.settings import Settings
from tests.synth.conftest import Synthesized, settings_of, synthesize
from tests.synth.test_stacks import validate
from tools.operate.policies import deployer_policies
from tools.operate.terraform import find_program

JWT = {
    "api_authorization": "jwt",
    "jwt_issuer": "https://issuer.example.com/tenant/",
    "jwt_audience": "sluice",
}
HEADERS = (
    "'Content-Type,X-Amz-Date,Authorization,X-Api-Key,X-Amz-Security-Token,Idempotency-Key,X-Amz-Content-Sha256,"
    "X-Amz-User-Agent'"
)
# What a page may not read of an answer unless it is told so; a contract of ours and not of the code.
READABLE = {"Location", "Retry-After", "WWW-Authenticate", "x-amzn-RequestId", "x-amz-apigw-id"}
OPEN = {("GET", "health"), ("GET", "health/deep")}

Make = Callable[..., Synthesized]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """The platform's stack of an environment with changed settings, synthesized once."""
    made: dict[str, Synthesized] = {}

    def synthesized(name: str, **changed: Any) -> Synthesized:  # noqa: ANN401
        key = f"{name} {sorted(changed.items())}"
        if key not in made:
            folder = tmp_path_factory.mktemp("api")
            synthesize(folder, settings_of(name, **changed))
            made[key] = Synthesized(folder / "stacks" / f"sluice-{name}")
        return made[key]

    return synthesized


def paths(stack: Synthesized) -> dict[str, str]:
    """Paths by the reference that stands for their resource."""
    resources = stack.resources("aws_api_gateway_resource")
    known = {"${aws_api_gateway_rest_api.api.root_resource_id}": ""}
    while len(known) <= len(resources):
        for name, body in resources.items():
            if body["parent_id"] in known:
                known[f"${{{name}.id}}"] = f"{known[body['parent_id']]}/{body['path_part']}".lstrip("/")
    return known


def methods(stack: Synthesized) -> dict[tuple[str, str], dict[str, Any]]:
    """Methods by HTTP method and path."""
    where = paths(stack)
    return {
        (body["http_method"], where[body["resource_id"]]): body
        for body in stack.resources("aws_api_gateway_method").values()
    }


def one(stack: Synthesized, kind: str) -> dict[str, Any]:
    (body,) = stack.resources(kind).values()
    return body


def answers(stack: Synthesized) -> dict[str, dict[str, Any]]:
    found = stack.resources("aws_api_gateway_gateway_response").values()
    return {body["response_type"]: body for body in found}


# who may call


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (
            {},
            {
                "authorization": "COGNITO_USER_POOLS",
                "authorizer_id": "${aws_api_gateway_authorizer.api_authorizer.id}",
            },
        ),
        ({"api_authorization": "iam", "enable_website": False}, {"authorization": "AWS_IAM"}),
        (JWT, {"authorization": "CUSTOM", "authorizer_id": "${aws_api_gateway_authorizer.api_authorizer.id}"}),
    ],
)
def test_everything_but_health_and_preflight_asks_who_calls(
    make: Make, changed: dict[str, str], expected: dict[str, str]
) -> None:
    stack = make("dev", cors_allowed_origins=["https://app.example.com"], **changed)
    seen = 0
    for (method, path), body in methods(stack).items():
        asked = {name: body[name] for name in ("authorization", "authorizer_id") if name in body}
        is_open = method == "OPTIONS" or (method, path) in OPEN
        assert asked == ({"authorization": "NONE"} if is_open else expected), (method, path)
        assert "authorization_scopes" not in body
        seen += not is_open
    assert seen >= 2


def test_the_default_is_a_user_pool_that_an_administrator_fills(make: Make) -> None:
    pool = one(make("staging"), "aws_cognito_user_pool")
    assert pool["admin_create_user_config"] == {"allow_admin_create_user_only": True}
    assert pool["deletion_protection"] == "ACTIVE"
    assert one(make("dev"), "aws_cognito_user_pool")["deletion_protection"] == "INACTIVE"
    assert pool["user_pool_tier"] == "LITE"
    assert "user_pool_add_ons" not in pool
    assert "sms_configuration" not in pool
    assert (pool["mfa_configuration"], pool["software_token_mfa_configuration"]) == ("OPTIONAL", {"enabled": True})
    assert pool["account_recovery_setting"] == {"recovery_mechanism": [{"name": "verified_email", "priority": 1}]}
    policy = pool["password_policy"]
    assert policy["minimum_length"] >= 12
    assert all(policy[f"require_{kind}"] for kind in ("lowercase", "uppercase", "numbers", "symbols"))


def test_the_client_has_no_secret_and_sends_no_password_and_its_tokens_are_short(make: Make) -> None:
    client = make("prod").resources()["aws_cognito_user_pool_client.authorization_client"]
    assert client["generate_secret"] is False
    assert client["explicit_auth_flows"] == ["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
    assert (client["prevent_user_existence_errors"], client["enable_token_revocation"]) == ("ENABLED", True)
    assert (client["id_token_validity"], client["access_token_validity"], client["refresh_token_validity"]) == (
        60,
        60,
        12,
    )
    assert client["token_validity_units"] == [
        {"access_token": "minutes", "id_token": "minutes", "refresh_token": "hours"}
    ]
    local = make("local").resources()["aws_cognito_user_pool_client.authorization_client"]["explicit_auth_flows"]
    assert set(local) - set(client["explicit_auth_flows"]) == {"ALLOW_USER_PASSWORD_AUTH"}


def test_the_authorizer_asks_the_pool_and_forgets_within_a_minute(make: Make) -> None:
    authorizer = one(make("prod"), "aws_api_gateway_authorizer")
    assert authorizer["type"] == "COGNITO_USER_POOLS"
    assert authorizer["provider_arns"] == ["${aws_cognito_user_pool.authorization_users.arn}"]
    assert authorizer["identity_source"] == "method.request.header.Authorization"
    assert authorizer["authorizer_result_ttl_in_seconds"] <= 60


def test_an_issuers_tokens_are_checked_by_a_function_that_may_do_nothing_else(make: Make) -> None:
    stack = make("dev", **JWT)
    authorizer = one(stack, "aws_api_gateway_authorizer")
    assert authorizer["type"] == "TOKEN"
    assert authorizer["authorizer_uri"] == "${aws_lambda_alias.authorizer_live.invoke_arn}"
    assert authorizer["authorizer_result_ttl_in_seconds"] <= 60
    expression = re.compile(authorizer["identity_validation_expression"])
    assert expression.fullmatch("Bearer aa-_.bb.cc")
    for wrong in ("aa.bb.cc", "Bearer aa.bb", "Bearer a a.bb.cc", "Basic aa.bb.cc", "Bearer .."):
        assert not expression.fullmatch(wrong)

    permission = stack.resources("aws_lambda_permission")["aws_lambda_permission.api_authorizer_permission"]
    assert permission["source_arn"] == (
        "${aws_api_gateway_rest_api.api.execution_arn}/authorizers/${aws_api_gateway_authorizer.api_authorizer.id}"
    )
    assert permission["function_name"] == "${aws_lambda_function.authorizer.function_name}"

    function = stack.resources("aws_lambda_function")["aws_lambda_function.authorizer"]
    variables = function["environment"]["variables"]
    assert variables["JWT_ISSUER"] == "https://issuer.example.com/tenant/"
    assert variables["JWT_AUDIENCE"] == "sluice"
    assert "TABLE_NAME" not in variables
    actions = {
        action
        for name, policy in stack.resources("aws_iam_role_policy").items()
        if name.startswith("aws_iam_role_policy.authorizer_")
        for statement in json.loads(policy["policy"])["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    assert {action.partition(":")[0] for action in actions} <= {"logs", "kms", "sqs", "xray"}
    assert not stack.resources("aws_cognito_user_pool")
    assert not [algorithm for algorithm in ALGORITHMS if algorithm.startswith(("HS", "none"))]


def test_the_kind_of_authorization_that_is_not_chosen_leaves_nothing(make: Make) -> None:
    signed = make("dev", api_authorization="iam", enable_website=False)
    assert not signed.resources("aws_api_gateway_authorizer")
    assert not signed.resources("aws_cognito_user_pool")
    assert "user_pool_id" not in signed.json["output"]
    assert "aws_lambda_function.authorizer" not in make("dev").resources()
    assert {"user_pool_id", "user_pool_client_id"} <= set(make("dev").json["output"])


@pytest.mark.parametrize("changed", [JWT, {"api_authorization": "iam", "enable_website": False}, {"enable_waf": True}])
def test_terraform_validates_every_kind(make: Make, changed: dict[str, Any]) -> None:
    validate(make("dev", **changed), find_program())


# routes and permissions


def test_functions_are_integrated_as_proxies_and_called_by_post(make: Make) -> None:
    integrations = make("prod").resources("aws_api_gateway_integration")
    proxies = [body for body in integrations.values() if body["type"] == "AWS_PROXY"]
    assert len(proxies) >= 3
    for body in proxies:
        assert body["integration_http_method"] == "POST"
        assert re.fullmatch(r"\$\{aws_lambda_alias\.\w+\.invoke_arn\}", body["uri"])
    assert {body["type"] for body in integrations.values()} == {"AWS_PROXY", "MOCK"}


def test_the_api_may_call_each_function_only_on_its_route(make: Make) -> None:
    stack = make("prod")
    allowed = {
        body["source_arn"].removeprefix("${aws_api_gateway_rest_api.api.execution_arn}/v1/"): body["function_name"]
        for body in stack.resources("aws_lambda_permission").values()
        if body["principal"] == "apigateway.amazonaws.com"
    }
    assert allowed["POST/upload"] == "${aws_lambda_function.upload.function_name}"
    assert allowed["GET/files/*/content"] == "${aws_lambda_function.files.function_name}"
    assert allowed["GET/health/deep"] == "${aws_lambda_function.health.function_name}"
    assert not [route for route in allowed if route.startswith("$") or re.search(r"(^|/)\*/\*|^\*", route)]


# health


def test_the_deep_health_check_may_look_and_nothing_else(make: Make) -> None:
    policies = make("prod").resources("aws_iam_role_policy")

    def statements(concern: str) -> list[dict[str, Any]]:
        text = policies[f"aws_iam_role_policy.health_role_{concern}"]["policy"]
        found: list[dict[str, Any]] = json.loads(text)["Statement"]
        return found

    assert statements("files_probe") == [
        {
            "Sid": "FindBucket",
            "Effect": "Allow",
            "Action": "s3:GetBucketLocation",
            "Resource": "${aws_s3_bucket.storage_uploads.arn}",
        }
    ]
    read, decrypt = statements("records_probe")
    assert read == {
        "Sid": "ReadProbe",
        "Effect": "Allow",
        "Action": "dynamodb:GetItem",
        "Resource": "${aws_dynamodb_table.metadata_files.arn}",
        "Condition": {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": "health"}},
    }
    assert (decrypt["Action"], decrypt["Resource"]) == ("kms:Decrypt", "${aws_kms_key.metadata_key.arn}")


def test_the_deep_health_check_is_open_and_throttled_far_below_the_rest(make: Make) -> None:
    settings = {
        body["method_path"]: body["settings"]
        for body in make("prod").resources("aws_api_gateway_method_settings").values()
    }
    deep, rest = settings["~1health~1deep/GET"], settings["*/*"]
    assert (deep["throttling_rate_limit"], deep["throttling_burst_limit"]) == (1, 2)
    assert (rest["throttling_rate_limit"], rest["throttling_burst_limit"]) == (50, 100)


# pages of other origins


def test_without_origins_every_preflight_is_closed_and_there_is_no_header(make: Make) -> None:
    stack = make("dev", enable_website=False)
    asked = {path for method, path in methods(stack) if method != "OPTIONS"}
    closed = {path: body for (method, path), body in methods(stack).items() if method == "OPTIONS"}
    assert set(closed) == asked
    # A method that is removed from the configuration would stay in the stage; a key that does not exist closes it.
    assert all(body["api_key_required"] is True for body in closed.values())
    assert not [address for address in stack.resources() if "_usage_plan" in address or "gateway_api_key." in address]
    assert not preflights(stack)
    assert "Access-Control" not in stack.text
    assert "CORS_ALLOWED_ORIGINS" not in stack.text


def preflights(stack: Synthesized) -> dict[str, dict[str, Any]]:
    """Return the gateway's answers to OPTIONS, by path."""
    where = paths(stack)
    return {
        where[body["resource_id"]]: body
        for name, body in stack.resources("aws_api_gateway_integration_response").items()
        if name.startswith("aws_api_gateway_integration_response.api_options_")
    }


def test_every_path_answers_the_question_of_a_browser(make: Make) -> None:
    stack = make("dev", enable_website=False, cors_allowed_origins=["https://app.example.com"])
    asked: dict[str, set[str]] = {}
    for method, path in methods(stack):
        asked.setdefault(path, set()).add(method)
    answered = preflights(stack)
    assert set(answered) == set(asked)
    for path, body in answered.items():
        headers = {
            name.removeprefix("method.response.header."): value for name, value in body["response_parameters"].items()
        }
        assert headers["Access-Control-Allow-Headers"] == HEADERS
        assert set(headers["Access-Control-Allow-Methods"].strip("'").split(",")) == asked[path]
        assert headers["Access-Control-Allow-Origin"] == "'https://app.example.com'"
        assert headers["Vary"] == "'Origin'"
        assert "api_key_required" not in methods(stack)["OPTIONS", path]
        # API Gateway refuses headers that the method response does not declare.
        response = stack.resources("aws_api_gateway_method_response")
        declared = next(r for r in response.values() if r["http_method"] == body["http_method"])
        assert set(body["response_parameters"]) <= set(declared["response_parameters"])


def test_one_of_several_origins_is_answered_only_by_its_own_name(make: Make) -> None:
    stack = make("dev", enable_website=False, cors_allowed_origins=["https://one.example", "https://two.example:8443"])
    for path, body in preflights(stack).items():
        assert "method.response.header.Access-Control-Allow-Origin" not in body["response_parameters"]
        assert body["response_templates"]["application/json"] == (
            "#set($origin = $input.params('origin'))"
            "#if($origin == '')#set($origin = $input.params('Origin'))#end"
            "#if($origin == 'https://one.example' || $origin == 'https://two.example:8443')"
            "#set($context.responseOverride.header.Access-Control-Allow-Origin = $origin)#end{}"
        ), path
    functions = stack.resources("aws_lambda_function")
    for name in ("upload", "uploads", "files", "health"):
        variables = functions[f"aws_lambda_function.{name}"]["environment"]["variables"]
        assert variables["CORS_ALLOWED_ORIGINS"] == "https://one.example,https://two.example:8443"


def test_no_protected_environment_may_allow_every_origin() -> None:
    for name in ("staging", "prod"):
        with pytest.raises(ValueError, match="name the origins"):
            settings_of(name, cors_allowed_origins=["*"])


# what the gateway answers itself


@pytest.mark.parametrize("changed", [{}, JWT, {"api_authorization": "iam", "enable_website": False}])
def test_the_gateways_own_answers_are_json_and_tell_nothing_of_the_inside(make: Make, changed: dict[str, str]) -> None:
    found = answers(make("dev", **changed))
    assert {"DEFAULT_4XX", "DEFAULT_5XX", "UNAUTHORIZED", "ACCESS_DENIED", "BAD_REQUEST_BODY"} <= set(found)
    for response_type, body in found.items():
        template = body["response_templates"]["application/json"]
        # What the variables stand for: a string with its quotation marks, and one without.
        filled = template.replace("$context.error.messageString", '"Words"').replace("$context.requestId", "1")
        assert "$" not in filled, response_type
        answer = json.loads(filled)
        assert isinstance(answer["error"], str)
        assert answer["error"], response_type
        # Words of the gateway about the caller, the API or a failure of ours stay inside.
        if response_type != "DEFAULT_4XX":
            assert "messageString" not in template
    assert found["UNAUTHORIZED"]["status_code"] == "401"
    missing = "403" if changed.get("api_authorization") == "iam" else "404"
    assert found["MISSING_AUTHENTICATION_TOKEN"]["status_code"] == missing
    assert "status_code" not in found["DEFAULT_4XX"]
    assert "status_code" not in found["DEFAULT_5XX"]


@pytest.mark.parametrize(
    ("origins", "expected"),
    [
        (["https://app.example.com"], "'https://app.example.com'"),
        (["https://one.example", "https://two.example"], "method.request.header.Origin"),
    ],
)
def test_pages_can_read_the_gateways_own_answers(make: Make, origins: list[str], expected: str) -> None:
    for body in answers(make("dev", enable_website=False, cors_allowed_origins=origins)).values():
        headers = body["response_parameters"]
        assert headers["gatewayresponse.header.Access-Control-Allow-Origin"] == expected
        assert headers["gatewayresponse.header.Vary"] == "'Origin'"
        exposed = headers["gatewayresponse.header.Access-Control-Expose-Headers"].strip("'").split(",")
        assert set(exposed) == READABLE


def test_pages_can_read_the_same_headers_of_every_answer(make: Make) -> None:
    assert set(EXPOSED_HEADERS) == READABLE
    stack = make("dev", enable_website=False, cors_allowed_origins=["https://app.example.com"])
    health = stack.resources("aws_api_gateway_integration_response")[
        "aws_api_gateway_integration_response.api_get_health_integration_response"
    ]["response_parameters"]
    assert set(health["method.response.header.Access-Control-Expose-Headers"].strip("'").split(",")) == READABLE
    (rule,) = one(stack, "aws_s3_bucket_cors_configuration")["cors_rule"]
    # S3 gives no header a page may read unless the bucket's rules name it.
    assert {"ETag", "Location", "x-amz-checksum-sha256", "x-amz-version-id", "x-amz-request-id"} <= set(
        rule["expose_headers"]
    )
    assert "*" not in rule["expose_headers"]


# routes that are taken away


def test_a_route_that_is_not_there_any_more_is_closed_in_place(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = ("POST", "/uploads/{file_id}/parts")
    settings = {"cors_allowed_origins": ["https://app.example.com"]}
    before = make("dev", **settings)
    original = Api.route

    def others(self: Api, method: str, path: str, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        if (method, path) != gone:
            original(self, method, path, *arguments, **options)

    monkeypatch.setattr(Api, "route", others)
    synthesize(tmp_path, settings_of("dev", **settings))
    after = Synthesized(tmp_path / "stacks" / "sluice-dev")
    for kind in ("aws_api_gateway_resource", "aws_api_gateway_method", "aws_api_gateway_integration"):
        assert set(before.resources(kind)) == set(after.resources(kind)), kind
    closed = {route for route, body in methods(after).items() if body.get("api_key_required")}
    assert closed == {("POST", "uploads/{file_id}/parts"), ("OPTIONS", "uploads/{file_id}/parts")}
    # What the provider could only replace would be destroyed after its new self was made, and so be gone.
    name = "api_post_uploads_file_id_parts"
    for kind, same in (
        ("aws_api_gateway_method", ("http_method", "resource_id")),
        ("aws_api_gateway_integration", ("type", "integration_http_method", "http_method", "resource_id")),
    ):
        old, new = (stack.resources(kind)[f"{kind}.{name}_{kind.split('_')[-1]}"] for stack in (before, after))
        assert {key: old[key] for key in same} == {key: new[key] for key in same}
    # No permission lets the API call a function for it.
    gone_permission = f"aws_lambda_permission.{name}_permission"
    assert gone_permission in before.resources("aws_lambda_permission")
    assert gone_permission not in after.resources("aws_lambda_permission")
    triggers = [one(stack, "aws_api_gateway_deployment")["triggers"] for stack in (before, after)]
    assert triggers[0] != triggers[1]


def test_a_route_that_could_not_be_closed_later_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stacks.uploads.KNOWN_ROUTES", KNOWN_ROUTES[1:])
    with pytest.raises(Exception, match=r"GET /health/deep is not in modules/api_routes.py"):
        synthesize(tmp_path, settings_of("dev"))


def test_every_known_route_is_open(make: Make) -> None:
    stack = make("prod", enable_website=False)
    routed = {route for route, body in methods(stack).items() if not body.get("api_key_required")}
    assert {(method, path.strip("/")) for method, path in KNOWN_ROUTES} == routed - {("GET", "health")}


# what the gateway checks


def test_the_body_of_an_upload_is_checked_by_the_gateway(make: Make) -> None:
    stack = make("prod")
    method = methods(stack)["POST", "upload"]
    (name,) = set(method["request_models"].values())
    assert set(method["request_models"]) == {"application/json", "$default"}
    assert name == "${aws_api_gateway_model.api_post_upload_model.name}"
    model = stack.resources("aws_api_gateway_model")["aws_api_gateway_model.api_post_upload_model"]
    assert re.fullmatch("[A-Za-z0-9]+", model["name"])
    schema = json.loads(model["schema"])
    assert schema["$schema"] == "http://json-schema.org/draft-04/schema#"
    assert schema["type"] == "object"
    validator = one(stack, "aws_api_gateway_request_validator")
    assert validator["validate_request_body"] is True
    assert method["request_validator_id"] == "${aws_api_gateway_request_validator.api_body_validator.id}"


def test_the_gateway_checks_only_what_its_one_answer_is_right_for(make: Make) -> None:
    stack = make("prod")
    for address, model in stack.resources("aws_api_gateway_model").items():
        schema = json.loads(model["schema"])
        assert set(schema) == {"$schema", "title", "type", "properties"}, address
        assert schema["type"] == "object"
        # An empty schema takes anything; a description is for people.
        assert all(set(field) == {"description"} for field in schema["properties"].values()), address
    answer = json.loads(answers(stack)["BAD_REQUEST_BODY"]["response_templates"]["application/json"])
    assert (answer["status"], answer["detail"]) == (400, "Invalid JSON in request body")
    assert "JSON object" in answer["hint"]


def test_no_type_of_content_makes_the_gateways_own_answers_fail(make: Make) -> None:
    stack = make("dev", enable_website=False, cors_allowed_origins=["https://app.example.com"])
    mocks = [each for each in stack.resources("aws_api_gateway_integration").values() if each["type"] == "MOCK"]
    assert len(mocks) > 5
    for mock in mocks:
        # With WHEN_NO_MATCH, `Content-Type: text/plain` is a 500 of API Gateway's.
        assert mock["passthrough_behavior"] == "NEVER"
        assert mock["lifecycle"] == {"ignore_changes": ["passthrough_behavior"]}
    assert answers(stack)["UNSUPPORTED_MEDIA_TYPE"]["status_code"] == "415"


# stage and logs


@pytest.mark.parametrize(
    ("changed", "caller"),
    [
        ({}, "$context.authorizer.claims.sub"),
        (JWT, "$context.authorizer.principalId"),
        ({"api_authorization": "iam", "enable_website": False}, "$context.identity.userArn"),
    ],
)
def test_the_stage_logs_each_request_in_json(make: Make, changed: dict[str, str], caller: str) -> None:
    stage = one(make("dev", **changed), "aws_api_gateway_stage")
    log = stage["access_log_settings"]
    assert log["destination_arn"] == "${aws_cloudwatch_log_group.api_access_log.arn}"
    assert log["format"] == access_log_format(caller)
    fields = json.loads(log["format"])
    assert {"requestId", "requestTime", "httpMethod", "resourcePath", "status", "sourceIp", "caller"} <= set(fields)
    assert all(re.fullmatch(r"\$context(\.\w+)+", value) for value in fields.values())
    # Words of a client: API Gateway escapes nothing, and an Authorization header is as good as a password.
    assert not re.search(r"userAgent|context\.path|requestOverride|header", log["format"])
    assert stage["xray_tracing_enabled"] is True


def test_logs_of_the_api_are_made_before_it_writes_encrypted_and_kept_as_the_setting_says(make: Make) -> None:
    stack = make("prod")
    groups = stack.resources("aws_cloudwatch_log_group")
    access = groups["aws_cloudwatch_log_group.api_access_log"]
    execution = groups["aws_cloudwatch_log_group.api_execution_log"]
    assert access["name"] == "/aws/apigateway/sluice-prod-access"
    assert execution["name"] == "API-Gateway-Execution-Logs_${aws_api_gateway_rest_api.api.id}/v1"
    for group in (access, execution):
        assert group["kms_key_id"] == "${aws_kms_key.logs_key.arn}"
        assert group["retention_in_days"] == 90
    stage = one(stack, "aws_api_gateway_stage")
    assert "aws_cloudwatch_log_group.api_execution_log" in stage["depends_on"]
    assert "aws_api_gateway_account.api_account" in stage["depends_on"]

    (admitted,) = [
        statement
        for statement in json.loads(stack.resources("aws_kms_key")["aws_kms_key.logs_key"]["policy"])["Statement"]
        if statement["Sid"] == "LogsUseKey"
    ]
    home = "arn:aws:logs:us-east-1:333333333333:log-group"
    assert {
        f"{home}:/aws/apigateway/sluice-prod-*",
        f"{home}:API-Gateway-Execution-Logs_*",
        f"{home}:aws-waf-logs-sluice-prod-*",
    } <= set(admitted["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"])


def test_every_method_is_counted_and_its_errors_logged_without_bodies(make: Make) -> None:
    for body in make("prod").resources("aws_api_gateway_method_settings").values():
        settings = body["settings"]
        assert settings["metrics_enabled"] is True
        assert (settings["logging_level"], settings["data_trace_enabled"]) == ("ERROR", False)
        assert settings["throttling_rate_limit"] > 0


def test_the_role_of_the_account_is_set_unless_another_stack_does(make: Make) -> None:
    stack = make("prod")
    account = one(stack, "aws_api_gateway_account")
    assert account["cloudwatch_role_arn"] == "${aws_iam_role.api_logging_role.arn}"
    assert account["depends_on"] == ["aws_iam_role_policy.api_logging_role_logs_write"]
    role = stack.resources("aws_iam_role")["aws_iam_role.api_logging_role"]
    (trust,) = json.loads(role["assume_role_policy"])["Statement"]
    assert trust["Principal"] == {"Service": "apigateway.amazonaws.com"}

    other = make("prod", manage_api_gateway_account=False)
    assert not other.resources("aws_api_gateway_account")
    assert "aws_iam_role.api_logging_role" not in other.resources()


def test_tracing_of_the_stage_follows_the_setting(make: Make) -> None:
    assert one(make("dev", enable_xray_tracing=False), "aws_api_gateway_stage")["xray_tracing_enabled"] is False


def test_every_change_of_routes_or_rules_deploys_again(make: Make) -> None:
    stacks = [
        make("dev"),
        make("dev", api_authorization="iam", enable_website=False),
        make("dev", **JWT),
        make("dev", cors_allowed_origins=["https://app.example.com"]),
        make("dev", cors_allowed_origins=["https://other.example.com"]),
    ]
    triggers = [one(stack, "aws_api_gateway_deployment")["triggers"]["routes"] for stack in stacks]
    assert len(set(triggers)) == len(stacks)
    for stack in stacks:
        waits = set(one(stack, "aws_api_gateway_deployment")["depends_on"])
        for kind in ("aws_api_gateway_gateway_response", "aws_api_gateway_integration_response"):
            assert set(stack.resources(kind)) <= waits


# the firewall


def test_only_prod_has_a_firewall(make: Make) -> None:
    prod = make("prod")
    association = one(prod, "aws_wafv2_web_acl_association")
    assert association["resource_arn"] == "${aws_api_gateway_stage.api_stage.arn}"
    assert association["web_acl_arn"] == "${aws_wafv2_web_acl.firewall.arn}"
    assert not make("staging").resources("aws_wafv2_web_acl")


def test_the_firewall_limits_addresses_and_blocks_what_is_known_to_be_bad(make: Make) -> None:
    acl = one(make("prod"), "aws_wafv2_web_acl")
    assert acl["scope"] == "REGIONAL"
    limit, *groups = sorted(acl["rule"], key=lambda rule: int(rule["priority"]))
    assert len({rule["priority"] for rule in acl["rule"]}) == len(acl["rule"])
    assert limit["action"] == {"block": {}}
    assert limit["statement"]["rate_based_statement"]["aggregate_key_type"] == "IP"
    found = {rule["name"]: rule["statement"]["managed_rule_group_statement"] for rule in groups}
    assert set(found) == {
        "AWSManagedRulesAmazonIpReputationList",
        "AWSManagedRulesKnownBadInputsRuleSet",
        "AWSManagedRulesCommonRuleSet",
    }
    assert all(rule["override_action"] == {"none": {}} for rule in groups)
    counted = {
        name: {each["name"]: each["action_to_use"] for each in group.get("rule_action_override", [])}
        for name, group in found.items()
    }
    # AWS WAF, "AWS Managed Rules rule groups list". A name of a file, or a part of it, comes in the body and in the
    # query; what blocks by the words there blocks files by their names.
    everything = [(group, rule) for group, rules in MANAGED_RULES.items() for rule in rules]
    reads_names = {each for each in everything if each[1].endswith(("_BODY", "_QUERYARGUMENTS", "_QUERYSTRING"))}
    # The longest query that the API documents is far below 2,048 bytes; a service need not name itself.
    reads_names -= {("AWSManagedRulesCommonRuleSet", "SizeRestrictions_QUERYSTRING")}
    expected = reads_names | {("AWSManagedRulesCommonRuleSet", "NoUserAgent_HEADER")}
    assert {(group, rule) for group, rules in counted.items() for rule in rules} == expected
    assert all(action == {"count": {}} for rules in counted.values() for action in rules.values())
    # What protects stays: a third of the rules at least block, whatever is added above.
    assert len(everything) - len(expected) >= 21


MANAGED_RULES = {
    "AWSManagedRulesAmazonIpReputationList": (
        "AWSManagedIPReputationList",
        "AWSManagedReconnaissanceList",
        "AWSManagedIPDDoSList",
    ),
    "AWSManagedRulesKnownBadInputsRuleSet": (
        "JavaDeserializationRCE_HEADER",
        "JavaDeserializationRCE_BODY",
        "JavaDeserializationRCE_URIPATH",
        "JavaDeserializationRCE_QUERYSTRING",
        "Host_localhost_HEADER",
        "PROPFIND_METHOD",
        "ExploitablePaths_URIPATH",
        "Log4JRCE_HEADER",
        "Log4JRCE_QUERYSTRING",
        "Log4JRCE_BODY",
        "Log4JRCE_URIPATH",
        "ReactJSRCE_BODY",
    ),
    "AWSManagedRulesCommonRuleSet": (
        "NoUserAgent_HEADER",
        "UserAgent_BadBots_HEADER",
        "SizeRestrictions_QUERYSTRING",
        "SizeRestrictions_Cookie_HEADER",
        "SizeRestrictions_BODY",
        "SizeRestrictions_URIPATH",
        "EC2MetaDataSSRF_BODY",
        "EC2MetaDataSSRF_COOKIE",
        "EC2MetaDataSSRF_URIPATH",
        "EC2MetaDataSSRF_QUERYARGUMENTS",
        "GenericLFI_QUERYARGUMENTS",
        "GenericLFI_URIPATH",
        "GenericLFI_BODY",
        "RestrictedExtensions_URIPATH",
        "RestrictedExtensions_QUERYARGUMENTS",
        "GenericRFI_QUERYARGUMENTS",
        "GenericRFI_BODY",
        "GenericRFI_URIPATH",
        "CrossSiteScripting_COOKIE",
        "CrossSiteScripting_QUERYARGUMENTS",
        "CrossSiteScripting_BODY",
        "CrossSiteScripting_URIPATH",
    ),
}


def test_the_firewall_logs_what_it_stops_and_never_a_token(make: Make) -> None:
    stack = make("prod")
    logging = one(stack, "aws_wafv2_web_acl_logging_configuration")
    assert logging["log_destination_configs"] == ["${aws_cloudwatch_log_group.firewall_logs.arn}"]
    assert logging["redacted_fields"] == [{"single_header": {"name": "authorization"}}]
    group = stack.resources("aws_cloudwatch_log_group")["aws_cloudwatch_log_group.firewall_logs"]
    assert group["name"] == "aws-waf-logs-sluice-prod-api"
    assert group["kms_key_id"] == "${aws_kms_key.logs_key.arn}"


# whoever deploys


def granted(settings: Settings) -> list[dict[str, Any]]:
    return [statement for policy in deployer_policies(settings) for statement in json.loads(policy)["Statement"]]


def test_the_deployer_may_hand_api_gateway_the_logging_role_and_no_other() -> None:
    handed = [
        statement
        for statement in granted(settings_of("prod"))
        if statement["Action"] == "iam:PassRole"
        and "apigateway.amazonaws.com" in str(statement["Condition"]["StringEquals"]["iam:PassedToService"])
    ]
    assert [statement["Resource"] for statement in handed] == [
        "arn:aws:iam::333333333333:role/sluice-prod-api-logging-us-east-1"
    ]


def test_the_deployer_touches_firewalls_where_there_is_one() -> None:
    with_firewall = {
        name: any("wafv2:CreateWebACL" in statement["Action"] for statement in granted(settings_of(name)))
        for name in ("dev", "prod")
    }
    assert with_firewall == {"dev": False, "prod": True}


def test_policies_of_the_deployer_fit_into_managed_policies() -> None:
    for name in ("dev", "staging", "prod"):
        assert all(len(policy.replace(" ", "")) <= 6144 for policy in deployer_policies(settings_of(name)))
