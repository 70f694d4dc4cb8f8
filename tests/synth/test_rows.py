"""The twenty rows of docs/rows.md, as far as stacks/guards.py does not check them: each test is named after its row.

The tests read the Terraform JSON of every environment. At the end, each row is broken on purpose in a copy of that
JSON, and a test of the row has to fail. The guards run on the same JSON, and test_guards.py breaks the rows for them:
a check that a guard makes on every resource is not repeated here.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import inspect
import json
import os
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from synthesis.paths import ROOT
from tests.metric_math import Alarm, Series
from tests.synth.conftest import Synthesized, settings_of, synthesize
from tests.synth.seeds import API, add, body, change, remove, statement
from tests.unit.fakes import rest_event
from tests.unit.memory import Aws, call

Json = dict[str, Any]


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    """The platform of an environment whose settings differ from the defaults."""
    folder = tmp_path_factory.mktemp("changed")
    settings = settings_of(
        "dev",
        primary_region="eu-central-1",
        assume_role_arn="arn:aws:iam::111111111111:role/deployer",
        log_retention_days=14,
        enable_xray_tracing=False,
        s3_lifecycle_transition_days=45,
        s3_lifecycle_expiration_days=400,
        step_functions_retry_interval=7,
        step_functions_max_attempts=3,
        step_functions_backoff_rate=1.5,
        enable_website=False,
        cors_allowed_origins=("https://app.example.com",),
        api_authorization="jwt",
        jwt_issuer="https://issuer.example.com",
        jwt_audience="sluice",
    )
    synthesize(folder, settings)
    return Synthesized(folder / "stacks" / "sluice-dev")


# Reading Terraform JSON


def many(value: Any) -> list[Any]:  # noqa: ANN401 - JSON
    return value if isinstance(value, list) else [value]


def referred(value: object, attribute: str = "") -> str:
    """The address of which a text is one attribute, and nothing else; empty where it is not."""
    found = re.fullmatch(r"\$\{(aws_\w+\.\w+)\.(\w+)\}", str(value))
    return found[1] if found and attribute in {"", found[2]} else ""


def nested(value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - JSON
    """Every name in a JSON value, however deep, with what it holds."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name != "//":
                yield name, inner
                yield from nested(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from nested(inner)


def documents(stack: Synthesized) -> Iterator[tuple[str, str]]:
    """Address and text of each policy document."""
    for address, resource in stack.resources().items():
        for name, text in nested(resource):
            if isinstance(text, str) and (name in {"policy", "assume_role_policy"} or '"Statement"' in text):
                yield address, text


def statements(stack: Synthesized, kind: str = "") -> Iterator[tuple[str, Json]]:
    """Address and statement of each policy document of one kind of resource, or of all."""
    for address, text in documents(stack):
        if kind in {"", address.partition(".")[0]}:
            for each in json.loads(text)["Statement"]:
                yield address, each


def granted(stack: Synthesized, role: str) -> Iterator[tuple[str, str]]:
    """Action and resource of everything that a role may do."""
    for policy in stack.resources("aws_iam_role_policy").values():
        if referred(policy["role"]) == role:
            for each in json.loads(policy["policy"])["Statement"]:
                assert each["Effect"] == "Allow"
                yield from ((action, arn) for action in many(each["Action"]) for arn in many(each["Resource"]))


def trusted(stack: Synthesized, role: str) -> str:
    """The service that may take a role on."""
    (each,) = json.loads(stack.resources("aws_iam_role")[role]["assume_role_policy"])["Statement"]
    return str(each["Principal"]["Service"])


def routes(stack: Synthesized) -> dict[tuple[str, str], str]:
    """Address of each method of the API, by verb and path."""
    resources = stack.resources("aws_api_gateway_resource")

    def path(resource_id: str) -> str:
        if referred(resource_id, "root_resource_id"):
            return ""
        found = resources[referred(resource_id, "id")]
        return f"{path(found['parent_id'])}/{found['path_part']}"

    methods = stack.resources("aws_api_gateway_method")
    return {(method["http_method"], path(method["resource_id"])): address for address, method in methods.items()}


def integrations(stack: Synthesized) -> dict[str, Json]:
    """Return the integration of each method, by the method's address."""
    found: dict[str, Json] = {}
    for integration in stack.resources("aws_api_gateway_integration").values():
        method = referred(integration["http_method"], "http_method")
        assert method not in found
        assert integration["resource_id"] == stack.resources()[method]["resource_id"]
        found[method] = integration
    return found


def function_behind(stack: Synthesized, reference: str, attribute: str = "invoke_arn") -> str:
    """Address of the function whose alias this is the `invoke_arn` or another attribute of; empty where it is not."""
    alias = stack.resources("aws_lambda_alias").get(referred(reference, attribute), {})
    return referred(alias.get("function_name"), "function_name")


def called(stack: Synthesized) -> dict[tuple[str, str], str]:
    """Address of the function behind each route that has one."""
    behind = integrations(stack)
    return {
        route: function_behind(stack, behind[method]["uri"])
        for route, method in routes(stack).items()
        if behind[method]["type"] != "MOCK"
    }


def definition(stack: Synthesized) -> Json:
    """The state machine."""
    (machine,) = stack.resources("aws_sfn_state_machine").values()
    found: Json = json.loads(machine["definition"])
    return found


def only(stack: Synthesized, kind: str) -> str:
    """Address of the only resource of a kind."""
    (address,) = stack.resources(kind)
    return address


# 1: a provider was created and never used, so resources could land in another region


def test_row_01_provider_used(any_stack: Synthesized, environment: str) -> None:
    settings = settings_of(environment)
    assert set(any_stack.json["provider"]) == {"aws"}
    assert "module" not in any_stack.json
    assert "data" not in any_stack.json
    for region, account in re.findall(r"arn:aws:[a-z0-9-]+:([a-z0-9-]*):(\d*):", any_stack.text):
        assert region in {"", settings.primary_region}
        assert account in {"", settings.account_id}


def test_row_01_provider_region_and_role_are_settings(changed: Synthesized) -> None:
    for stack in (changed, Synthesized(changed.folder.with_name("sluice-dev-state"))):
        (provider,) = stack.json["provider"]["aws"]
        assert provider["region"] == "eu-central-1"
        assert provider["assume_role"][0]["role_arn"] == "arn:aws:iam::111111111111:role/deployer"
        assert stack.json["terraform"]["backend"]["s3"]["region"] == "eu-central-1"
        assert "us-east-1" not in stack.text


# 2: API to Lambda integration brittle


def test_row_02_integration_calls_a_function_that_exists(stack: Synthesized) -> None:
    behind = integrations(stack)
    assert set(behind) == set(routes(stack).values()), "each method is answered by one integration"
    assert {("POST", "/upload"), ("GET", "/files/{file_id}/content")} <= set(called(stack))
    for (verb, path), method in routes(stack).items():
        integration = behind[method]
        if integration["type"] == "MOCK":
            assert verb == "OPTIONS" or (verb, path) == ("GET", "/health"), "nobody answers this"
            continue
        assert function_behind(stack, integration["uri"]) in stack.resources("aws_lambda_function")


def test_row_02_integration_is_deployed(stack: Synthesized) -> None:
    (deployment,) = stack.resources("aws_api_gateway_deployment").values()
    waited = set(deployment["depends_on"])
    for address in list(waited):
        waited |= set(stack.resources()[address].get("depends_on", []))
    assert set(stack.resources("aws_api_gateway_integration")) <= waited


# 3: invoke permission's source_arn assembled by hand, too wide


def assert_permissions_are_exact(stack: Synthesized) -> None:
    (stage,) = stack.resources("aws_api_gateway_stage").values()
    execution_arn = f"${{{referred(stage['rest_api_id'], 'id')}.execution_arn}}"
    wanted = [
        (function, f"{execution_arn}/{stage['stage_name']}/{verb}{re.sub(r'{[^}]*}', '*', path)}")
        for (verb, path), function in called(stack).items()
    ]
    wanted += [
        (function_behind(stack, authorizer["authorizer_uri"]), f"{execution_arn}/authorizers/${{{address}.id}}")
        for address, authorizer in stack.resources("aws_api_gateway_authorizer").items()
        if "authorizer_uri" in authorizer
    ]
    permissions = stack.resources("aws_lambda_permission").values()
    assert {(each["action"], each["principal"]) for each in permissions} == {
        ("lambda:InvokeFunction", "apigateway.amazonaws.com")
    }
    found = [(referred(each["function_name"], "function_name"), each["source_arn"]) for each in permissions]
    assert sorted(found) == sorted(wanted)
    for each in permissions:
        alias = stack.resources("aws_lambda_alias")[referred(each["qualifier"], "name")]
        assert alias["function_name"] == each["function_name"], "who calls comes through the alias"


def test_row_03_permission_is_down_to_stage_method_and_path(stack: Synthesized) -> None:
    assert_permissions_are_exact(stack)


def test_row_03_permission_of_an_authorizer_is_only_for_itself(changed: Synthesized) -> None:
    assert changed.resources("aws_api_gateway_authorizer")
    assert_permissions_are_exact(changed)


# 4: policy JSON holding unresolved values


def resolved(stack: Synthesized, text: str) -> str:
    """A text as Terraform will have resolved it: what the JSON says of a resource, else a value of AWS's form."""
    shapes = {
        "arn": "arn:aws:service:us-east-1:111111111111:kind/name",
        "execution_arn": "arn:aws:execute-api:us-east-1:111111111111:abcde12345",
        "invoke_arn": "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/f/invocations",
        "url": "https://sqs.us-east-1.amazonaws.com/111111111111/name",
        "id": "abcde12345",
        "domain_name": "d111111abcdef8.cloudfront.net",
    }

    def value(reference: re.Match[str]) -> str:
        address, attribute = reference[1], reference[2]
        said = stack.resources()[address].get(attribute, shapes.get(attribute))
        assert isinstance(said, str), f"{reference[0]}: no such attribute"
        return resolved(stack, said)

    return re.sub(r"\$\{(aws_\w+\.\w+)\.(\w+)\}", value, text)


ARN = re.compile(r"arn:aws:[a-z0-9-]+:([a-z0-9-]+|):(\d{12}|):\S+")


def test_row_04_policies_are_json_with_a_version(any_stack: Synthesized) -> None:
    found = 0
    for address, text in documents(any_stack):
        assert json.loads(text)["Version"] == "2012-10-17", address
        finished = resolved(any_stack, text)
        assert not re.search(r"\$\{|TfToken|TOKEN\[|None|undefined", finished), address
        document = json.loads(finished)
        assert document["Version"] == "2012-10-17"
        sids = [each["Sid"] for each in document["Statement"]]
        assert sids, address
        assert len(set(sids)) == len(sids), address
        for each in document["Statement"]:
            assert each["Effect"] in {"Allow", "Deny"}
            assert all(re.fullmatch(r"[a-z0-9-]+:(\*|[A-Z]\w+)", action) for action in many(each["Action"])), address
            if "assume_role_policy" not in any_stack.resources()[address]:
                for arn in many(each["Resource"]):
                    assert arn == "*" or ARN.fullmatch(arn), f"{address}: {arn}"
        found += 1
    kinds = ("aws_iam_role", "aws_iam_role_policy", "aws_s3_bucket_policy", "aws_kms_key")
    assert found >= sum(len(any_stack.resources(kind)) for kind in kinds) > 0


# 5: BUCKET_NAME was a resource id

NAME_OF = {"aws_s3_bucket": "bucket", "aws_dynamodb_table": "name", "aws_lambda_function": "function_name"}

STARTED = """
import importlib, json, sys
from msgspec.structs import fields as fields_of
from functions.common.environment import Environment
fields, load = {}, Environment.load.__func__
def noted(model, *given):
    fields.update({field.encode_name: field.required for field in fields_of(model)})
    return load(model, *given)
Environment.load = classmethod(noted)
importlib.import_module(sys.argv[1])
print(json.dumps(fields))
"""


def variables(function: Json) -> dict[str, str]:
    """A function's own variables, without those of the logger's library."""
    found: dict[str, str] = function["environment"]["variables"]
    return {name: value for name, value in found.items() if not name.startswith("POWERTOOLS_")}


@functools.cache
def started(module: str, given: tuple[tuple[str, str], ...]) -> dict[str, bool]:
    """Start a function's module with these variables alone; which variables it validates, and if it needs them."""
    done = subprocess.run(
        [sys.executable, "-c", STARTED, module],
        cwd=ROOT,
        env={**dict(given), "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    model: dict[str, bool] = json.loads(done.stdout)
    return model


def test_row_05_variables_hold_names(stack: Synthesized) -> None:
    for address, function in stack.resources("aws_lambda_function").items():
        for name, value in variables(function).items():
            found = re.fullmatch(r"\$\{(aws_\w+)\.\w+\.(\w+)\}", value)
            if name.endswith("_NAME"):
                assert found, f"{address}: {name} = {value}"
                assert found[2] == NAME_OF[found[1]], f"{address}: {name} = {value}"
            elif name.endswith("_ARN"):
                assert found, f"{address}: {name} = {value}"
                assert found[2] == "arn", f"{address}: {name} = {value}"
            else:
                assert not found, f"{address}: {name} does not say what it holds"
        buckets = re.findall(r"\$\{(aws_s3_bucket\.\w+)", function["environment"]["variables"].get("BUCKET_NAME", ""))
        assert set(buckets) <= {"aws_s3_bucket.storage_uploads"}


def assert_model_is_deployed(function: Json, given: Mapping[str, str]) -> None:
    """A start with these variables succeeds, and the function is deployed with those that are validated."""
    model = started(function["handler"].rpartition(".")[0], tuple(sorted(given.items())))
    needed = {name for name, required in model.items() if required}
    assert needed <= set(variables(function)) <= set(model), function["function_name"]


def as_resolved(stack: Synthesized, function: Json) -> dict[str, str]:
    given = {name: resolved(stack, value) for name, value in variables(function).items()}
    of_their_form = {
        "STATE_MACHINE_ARN": "arn:aws:states:us-east-1:111111111111:stateMachine:sluice-prod-file",
        "DISCARD_FUNCTION_ARN": "arn:aws:lambda:us-east-1:111111111111:function:sluice-prod-discard:live",
    }
    return {name: of_their_form.get(name, value) for name, value in given.items()}


def test_row_05_variables_are_those_of_the_model(stack: Synthesized, prod: Synthesized) -> None:
    deployed = prod.resources("aws_lambda_function")
    for address, function in stack.resources("aws_lambda_function").items():
        assert_model_is_deployed(function, as_resolved(prod, deployed[address]))


def test_row_05_variables_that_settings_add_are_those_of_the_model(changed: Synthesized) -> None:
    for function in changed.resources("aws_lambda_function").values():
        assert_model_is_deployed(function, as_resolved(changed, function))


# 6: public-read ACLs


def holds(operator: str, key: str, wanted: list[str], context: Mapping[str, str]) -> bool:
    """Whether a condition holds (IAM, "IAM JSON policy elements: Condition operators")."""
    if operator == "Null":
        return (key not in context) == (wanted == ["true"])
    if operator.endswith("IfExists"):
        return key not in context or holds(operator.removesuffix("IfExists"), key, wanted, context)
    if operator == "Bool":
        return context.get(key) in wanted
    if operator in {"StringNotEquals", "ArnNotEquals"}:
        return context.get(key) not in wanted
    raise AssertionError(f"this test does not know {operator}")


def denied(policy: Json, action: str, resource: str, context: Mapping[str, str]) -> bool:
    """Whether a bucket policy denies a request."""
    return any(
        each["Effect"] == "Deny"
        and each["Principal"] == "*"
        and any(fnmatchcase(action, pattern) for pattern in many(each["Action"]))
        and any(fnmatchcase(resource, pattern) for pattern in many(each["Resource"]))
        and all(
            holds(operator, key, many(wanted), context)
            for operator, keys in each.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
        for each in policy["Statement"]
    )


def of_bucket(stack: Synthesized, kind: str, bucket: str) -> Json:
    """The one resource of a kind that is about a bucket."""
    (found,) = (each for each in stack.resources(kind).values() if referred(each["bucket"]) == bucket)
    return found


def test_row_06_public_buckets_admit_only_services_of_aws(any_stack: Synthesized) -> None:
    for address, each in statements(any_stack, "aws_s3_bucket_policy"):
        if each["Effect"] == "Allow":
            assert set(each["Principal"]) == {"Service"}, address
            condition = each["Condition"]["StringEquals"]
            ours = condition.get("aws:SourceArn", "").startswith("${aws_cloudfront_distribution.")
            assert ours or "aws:SourceAccount" in condition, address


def test_row_06_public_read_acls_are_nowhere(any_stack: Synthesized) -> None:
    for address, resource in any_stack.resources().items():
        assert not {"acl", "grant", "access_control_policy"} & {name for name, _ in nested(resource)}, address
    for source in [*(ROOT / "functions").rglob("*.py"), *(ROOT / "modules").rglob("*.py")]:
        # The deployer reads the ACL of a bucket, since Terraform does.
        text = source.read_text().replace('"s3:GetBucketAcl"', "")
        assert not re.search(r"\bACL\s*=|public-read|object_acl|bucket_acl|BucketAcl", text), source.name


def test_row_06_public_requests_are_denied_by_the_bucket(any_stack: Synthesized, environment: str) -> None:
    account = settings_of(environment).account_id
    ours = {"aws:SecureTransport": "true", "aws:PrincipalAccount": account, "aws:PrincipalIsAWSService": "false"}
    ours["s3:ExistingObjectTag/GuardDutyMalwareScanStatus"] = "NO_THREATS_FOUND"
    plain = {**ours, "aws:SecureTransport": "false"}
    foreign = {**ours, "aws:PrincipalAccount": "999999999999"}
    nobody = {"aws:SecureTransport": "true"}
    for bucket in any_stack.resources("aws_s3_bucket"):
        policy = json.loads(of_bucket(any_stack, "aws_s3_bucket_policy", bucket)["policy"])
        home, thing = f"${{{bucket}.arn}}", f"${{{bucket}.arn}}/uploads/1"
        for action, resource in (("s3:ListBucket", home), ("s3:GetObject", thing), ("s3:PutObject", thing)):
            assert not denied(policy, action, resource, ours), bucket
            for stranger in (plain, foreign, nobody):
                assert denied(policy, action, resource, stranger), f"{bucket}: {action} of {stranger}"
        encryption = of_bucket(any_stack, "aws_s3_bucket_server_side_encryption_configuration", bucket)
        key = encryption["rule"][0]["apply_server_side_encryption_by_default"].get("kms_master_key_id")
        if key is None:
            continue  # a bucket of access logs, for which row 19 has the reason
        algorithm, key_id = "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id"
        assert not denied(policy, "s3:PutObject", thing, {**ours, algorithm: "aws:kms", key_id: key}), bucket
        assert denied(policy, "s3:PutObject", thing, {**ours, algorithm: "AES256"}), bucket
        assert denied(policy, "s3:PutObject", thing, {**ours, algorithm: "aws:kms", key_id: f"{key}-other"}), bucket


# 7: no direct path from S3 to processing


def test_row_07_path_from_s3_to_the_workflow(stack: Synthesized) -> None:
    machine, rule = only(stack, "aws_sfn_state_machine"), "aws_cloudwatch_event_rule.workflow_stored"
    body_of_rule = stack.resources()[rule]
    pattern = json.loads(body_of_rule["event_pattern"])
    assert (pattern["source"], pattern["detail-type"]) == (["aws.s3"], ["Object Created"])
    assert body_of_rule.get("state", "ENABLED") == "ENABLED"
    (name,) = pattern["detail"]["bucket"]["name"]
    bucket = referred(name, "bucket")
    assert of_bucket(stack, "aws_s3_bucket_notification", bucket)["eventbridge"] is True
    targets = list(stack.resources("aws_cloudwatch_event_target").values())
    assert rule in {referred(target["rule"], "name") for target in targets}
    for target in targets:
        assert referred(target["arn"], "arn") == machine
        role = referred(target["role_arn"], "arn")
        assert trusted(stack, role) == "events.amazonaws.com"
        assert list(granted(stack, role)) == [("states:StartExecution", f"${{{machine}.arn}}")]
    # What the API stores is what the rule waits for.
    (key,) = pattern["detail"]["object"]["key"]
    writer = stack.resources()[called(stack)["POST", "/upload"]]
    puts = [arn for action, arn in granted(stack, referred(writer["role"])) if action == "s3:PutObject"]
    assert puts == [f"${{{bucket}.arn}}/{key['prefix']}*"]


def test_row_07_path_takes_a_doubled_event_once(stack: Synthesized) -> None:
    states = definition(stack)["States"]
    steps = [
        each
        for each in states.values()
        if each.get("Resource", "").endswith(":dynamodb:updateItem")
        and "#state = " in each["Parameters"]["UpdateExpression"]
    ]
    assert steps
    for step in steps:
        values = step["Parameters"]["ExpressionAttributeValues"]
        assert (values[":uploading"], values[":scanning"]) == ({"S": "uploading"}, {"S": "scanning"})
        waits = step["Parameters"]["UpdateExpression"].startswith("SET #state = :scanning")
        opens = "#state = :available" in step["Parameters"]["UpdateExpression"]
        # A step whose answer was lost is done again by the run that did it, and by no other.
        mine = "#state = :available" if opens else "#state = :ending AND ends_as = :ends_as"
        again = f"#state IN (:uploading, :scanning) OR ({mine} AND run = :run)"
        assert step["Parameters"]["ConditionExpression"] == ("#state = :uploading" if waits else again)
        assert waits or values[":run"] == {"S.$": "$$.Execution.Name"}
        first = step["Catch"][0]
        assert first["ErrorEquals"] == ["DynamoDB.ConditionalCheckFailedException"]
        assert states[first["Next"]]["Type"] == "Succeed"


def test_row_07_path_is_taken_by_a_schedule_where_an_event_was_lost(stack: Synthesized) -> None:
    (schedule,) = stack.resources("aws_scheduler_schedule").values()
    assert re.fullmatch(r"rate\(([1-9]|[1-5]\d) minutes\)", schedule["schedule_expression"])
    sweeper = stack.resources()[function_behind(stack, schedule["target"]["arn"], "arn")]
    allowed = set(granted(stack, referred(sweeper["role"])))
    assert ("states:StartExecution", f"${{{only(stack, 'aws_sfn_state_machine')}.arn}}") in allowed
    assert ("dynamodb:Query", "${aws_dynamodb_table.metadata_files.arn}/index/by-due") in allowed


# 8: no dead-letter queues


def dead_letter_queues(stack: Synthesized) -> set[str]:
    """Every queue that something sends to what it could not handle."""
    targets = [
        json.dumps(inner)
        for name, inner in nested(stack.json["resource"])
        if name in {"dead_letter_config", "on_failure", "redrive_policy"}
    ]
    return set(re.findall(r"\$\{(aws_sqs_queue\.\w+)\.arn\}", " ".join(targets)))


def assert_may_send(stack: Synthesized, role: str, queue: str) -> None:
    """A role may send to a queue, which takes the queue's key too (SQS, "Key management")."""
    key = stack.resources()[queue]["kms_master_key_id"]
    wanted = {("sqs:SendMessage", f"${{{queue}.arn}}"), ("kms:GenerateDataKey", key), ("kms:Decrypt", key)}
    assert wanted <= set(granted(stack, role)), f"{role} may not send to {queue}"


def assert_admits(stack: Synthesized, queue: str, service: str, source: str) -> None:
    """A queue's policy lets a service in on behalf of one resource, and of no other."""
    found = [
        each["Condition"]
        for policy in stack.resources("aws_sqs_queue_policy").values()
        if referred(policy["queue_url"]) == queue
        for each in json.loads(policy["policy"])["Statement"]
        if (each["Effect"], each["Principal"], each["Action"]) == ("Allow", {"Service": service}, "sqs:SendMessage")
    ]
    assert found == [{"ArnEquals": {"aws:SourceArn": source}}], queue


def test_row_08_dead_letters_of_functions(stack: Synthesized) -> None:
    functions = stack.resources("aws_lambda_function")
    queues = []
    for address, function in functions.items():
        queue = referred(function["dead_letter_config"]["target_arn"], "arn")
        queues.append(queue)
        # By this name `make redrive` finds out which function a dead letter is of.
        assert stack.resources()[queue]["name"] == f"{function['function_name']}-dead-letters"
        (config,) = (
            each
            for each in stack.resources("aws_lambda_function_event_invoke_config").values()
            if referred(each["function_name"], "function_name") == address
        )
        assert (config["maximum_retry_attempts"], config["maximum_event_age_in_seconds"]) == (2, 3600)
        failures = referred(config["destination_config"]["on_failure"]["destination"], "arn")
        for each in (queue, failures):
            assert_may_send(stack, referred(function["role"]), each)
    assert len(set(queues)) == len(functions) > 0, "each function has a queue of its own"


def test_row_08_dead_letters_of_events_schedules_and_subscriptions(stack: Synthesized) -> None:
    for target in stack.resources("aws_cloudwatch_event_target").values():
        queue = referred(target["dead_letter_config"]["arn"], "arn")
        assert_admits(stack, queue, "events.amazonaws.com", f"${{{referred(target['rule'])}.arn}}")
    for schedule in stack.resources("aws_scheduler_schedule").values():
        target = schedule["target"]
        queue = referred(target["dead_letter_config"]["arn"], "arn")
        assert_may_send(stack, referred(target["role_arn"]), queue)
    subscriptions = list(stack.resources("aws_sns_topic_subscription").values())
    assert any(each["protocol"] == "sqs" for each in subscriptions)
    for each in subscriptions:
        if each["protocol"] != "email":  # SNS gives mail up by itself, and tells so in its delivery status
            queue = referred(json.loads(each["redrive_policy"])["deadLetterTargetArn"], "arn")
            assert_admits(stack, queue, "sns.amazonaws.com", each["topic_arn"])


def test_row_08_dead_letters_are_redriven(stack: Synthesized) -> None:
    assert dead_letter_queues(stack) <= set(stack.resources("aws_sqs_queue"))
    for address, queue in stack.resources("aws_sqs_queue").items():
        assert queue["kms_data_key_reuse_period_seconds"] == 300, address
    policies = [
        each["redrive_policy"] for each in stack.resources("aws_sqs_queue").values() if "redrive_policy" in each
    ]
    assert policies
    assert all(json.loads(policy)["maxReceiveCount"] > 1 for policy in policies)
    # `make redrive` empties what is named so, and removes the reports of it from the queue of failures.
    names = {stack.resources()[queue]["name"] for queue in dead_letter_queues(stack)}
    assert {name for name in names if not name.endswith("-dead-letters")} == {f"{stack.folder.name}-failures"}
    assert re.search(r"^redrive:.*\n\t.*-m tools\.operate\.redrive$", (ROOT / "Makefile").read_text(), re.MULTILINE)


# 9: raw Lambda ARNs in Step Functions


def tasks(stack: Synthesized) -> dict[str, Json]:
    """The states that call something."""
    found = {name: each for name, each in definition(stack)["States"].items() if each["Type"] == "Task"}
    assert {each["Type"] for each in definition(stack)["States"].values()} <= {
        "Task",
        "Pass",
        "Choice",
        "Succeed",
        "Fail",
    }, "this test does not look into other states"
    return found


def after(states: Json, name: str) -> list[str]:
    """The types and services of a state and of those that come behind it."""
    each = states[name]
    said = each["Resource"].removeprefix("arn:aws:states:::") if each["Type"] == "Task" else each["Type"]
    return [said, *(after(states, each["Next"]) if "Next" in each else [])]


def retried(step: Json) -> Json:
    """The retrier of every error that has no retrier of its own."""
    (found,) = (each for each in step["Retry"] if each["ErrorEquals"] == ["States.ALL"])
    return dict(found)


def test_row_09_raw_arns_are_service_integrations(stack: Synthesized) -> None:
    resources = {step["Resource"] for step in tasks(stack).values()}
    prefix = "arn:aws:states:::"
    assert resources == {f"{prefix}lambda:invoke", f"{prefix}dynamodb:updateItem", f"{prefix}sns:publish"}
    for step in tasks(stack).values():
        if step["Resource"].endswith("lambda:invoke"):
            assert referred(step["Parameters"]["FunctionName"], "arn") in stack.resources("aws_lambda_alias")


def test_row_09_raw_failures_are_retried_with_backoff_and_jitter(stack: Synthesized, environment: str) -> None:
    settings = settings_of(environment)
    for name, step in tasks(stack).items():
        assert retried(step) == {
            "ErrorEquals": ["States.ALL"],
            "IntervalSeconds": settings.step_functions_retry_interval,
            "MaxAttempts": settings.step_functions_max_attempts,
            "BackoffRate": settings.step_functions_backoff_rate,
            "JitterStrategy": "FULL",
        }, name
        assert settings.step_functions_backoff_rate > 1
        assert settings.step_functions_max_attempts > 0


def test_row_09_raw_retries_follow_their_settings(changed: Synthesized) -> None:
    for step in tasks(changed).values():
        retrier = retried(step)
        assert (retrier["IntervalSeconds"], retrier["MaxAttempts"], retrier["BackoffRate"]) == (7, 3, 1.5)


def test_row_09_raw_failures_are_caught_recorded_and_told(stack: Synthesized) -> None:
    states = definition(stack)["States"]
    told = ["sns:publish", "Fail"]
    recorded = ["dynamodb:updateItem", *told]
    for name, step in tasks(stack).items():
        (target,) = (each["Next"] for each in step["Catch"] if each["ErrorEquals"] == ["States.ALL"])
        assert step["Catch"][-1]["ErrorEquals"] == ["States.ALL"], "Step Functions wants it last"
        # What fails while a failure is recorded is still told; what fails while it is told is still a failure.
        wanted = {tuple(recorded): [recorded, told], tuple(told): [["Fail"]]}.get(
            tuple(after(states, name)), [recorded]
        )
        assert after(states, target) in wanted, name
        if after(states, target) == recorded:
            assert "failure = :why" in states[target]["Parameters"]["UpdateExpression"]
            assert step["Catch"][-1]["ResultPath"] == "$.failure"
    topics = {referred(states[name]["Parameters"]["TopicArn"]) for name in states if after(states, name) == told}
    assert topics == {"aws_sns_topic.notifications_alerts"}


def test_row_09_raw_runs_are_logged(stack: Synthesized) -> None:
    (machine,) = stack.resources("aws_sfn_state_machine").values()
    assert machine["logging_configuration"]["include_execution_data"] is True
    allowed = {action for action, _ in granted(stack, referred(machine["role_arn"]))}
    assert {"logs:CreateLogDelivery", "logs:PutResourcePolicy", "logs:DescribeLogGroups"} <= allowed
    waited = machine["depends_on"]
    assert any("logs_deliver" in address for address in waited), "Step Functions asks for it when it is created"


# 10: log access on *, retentions that differ


def test_row_10_log_groups_have_a_key_that_admits_them(stack: Synthesized, environment: str) -> None:
    settings = settings_of(environment)
    patterns = [
        pattern
        for _, each in statements(stack, "aws_kms_key")
        if each["Principal"] == {"Service": f"logs.{settings.primary_region}.amazonaws.com"}
        for pattern in many(each["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"])
    ]
    groups = stack.resources("aws_cloudwatch_log_group")
    assert len({group["kms_key_id"] for group in groups.values()}) == 1
    for address, group in groups.items():
        assert referred(group["kms_key_id"], "arn") in stack.resources("aws_kms_key"), address
        arn = f"arn:aws:logs:{settings.primary_region}:{settings.account_id}:log-group:{group['name']}"
        assert any(fnmatchcase(arn, pattern) for pattern in patterns), f"{address}: its key does not admit it"


def test_row_10_log_groups_are_there_before_their_writers(stack: Synthesized) -> None:
    """Every group has one writer, which refers to it or waits for it."""
    writers = [
        referred(function["logging_config"]["log_group"], "name")
        for function in stack.resources("aws_lambda_function").values()
    ]
    for machine in stack.resources("aws_sfn_state_machine").values():
        destination = machine["logging_configuration"]["log_destination"]
        writers.append(referred(destination.removesuffix(":*"), "arn"))
    for stage in stack.resources("aws_api_gateway_stage").values():
        if "access_log_settings" in stage:
            writers.append(referred(stage["access_log_settings"]["destination_arn"], "arn"))
        # API Gateway itself names the group of its errors after API and stage.
        named = f"API-Gateway-Execution-Logs_{stage['rest_api_id']}/{stage['stage_name']}"
        for address, group in stack.resources("aws_cloudwatch_log_group").items():
            if group["name"] == named:
                assert address in stage["depends_on"]
                writers.append(address)
    for firewall in stack.resources("aws_wafv2_web_acl_logging_configuration").values():
        writers += [referred(arn, "arn") for arn in firewall["log_destination_configs"]]
    assert sorted(writers) == sorted(stack.resources("aws_cloudwatch_log_group"))


def test_row_10_log_access_is_only_to_the_own_group(stack: Synthesized) -> None:
    writing = {"logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"}
    own = {
        referred(function["role"]): referred(function["logging_config"]["log_group"])
        for function in stack.resources("aws_lambda_function").values()
    }
    assert len(own) == len(stack.resources("aws_lambda_function")), "each function has a role of its own"
    for role in stack.resources("aws_iam_role"):
        found = {(action, arn) for action, arn in granted(stack, role) if action in writing}
        if role in own:
            stream = f"${{{own[role]}.arn}}:*"
            assert found == {("logs:CreateLogStream", stream), ("logs:PutLogEvents", stream)}, role
        elif found:
            # One role writes for every API of the account, whose groups API Gateway names.
            (account,) = stack.resources("aws_api_gateway_account").values()
            assert referred(account["cloudwatch_role_arn"]) == role
            assert trusted(stack, role) == "apigateway.amazonaws.com"
            assert not any(arn == "*" for _, arn in found), role


# 11: packaging that cannot be reproduced


def package(stack: Synthesized, resource: Json) -> Path:
    """The archive of a function or layer, once its hash is what Terraform is told."""
    path: Path = stack.folder / resource["filename"].removeprefix("${path.module}/")
    digest = base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()
    assert digest == resource["source_code_hash"], path.name
    return path


def test_row_11_packaging_holds_nothing_of_the_machine(stack: Synthesized) -> None:
    for function in stack.resources("aws_lambda_function").values():
        (layer,) = function["layers"]
        assert referred(layer, "arn") == only(stack, "aws_lambda_layer_version")
        with zipfile.ZipFile(package(stack, function)) as archive:
            entries = archive.infolist()
            own = function["handler"].split(".")[1]
            assert {Path(entry.filename).parts[:2] for entry in entries} == {
                ("functions", "__init__.py"),
                ("functions", "common"),
                ("functions", own),
            }, "its own sources alone; dependencies are in the layer"
            for entry in entries:
                source = (ROOT / entry.filename).read_bytes()
                assert archive.read(entry) == source
    for resource in (*stack.resources("aws_lambda_function").values(), *layers(stack)):
        with zipfile.ZipFile(package(stack, resource)) as archive:
            names = archive.namelist()
            assert names == sorted(names)
            assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
            same = {(each.date_time, each.external_attr, each.create_system) for each in archive.infolist()}
            assert same == {((1980, 1, 1, 0, 0, 0), 0o100644 << 16, 3)}
            assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_STORED}


def layers(stack: Synthesized) -> list[Json]:
    return list(stack.resources("aws_lambda_layer_version").values())


def test_row_11_packaging_takes_dependencies_from_the_lock_for_the_platform(stack: Synthesized) -> None:
    lock = json.loads((ROOT / "Pipfile.lock").read_text())
    wanted = {
        f"{name.replace('-', '_')}-{pinned['version'].removeprefix('==')}".lower()
        for name, pinned in lock["functions"].items()
        if name not in lock["lambda-runtime"]
    }
    assert all(pinned["hashes"] for pinned in lock["functions"].values())
    (layer,) = layers(stack)
    for function in stack.resources("aws_lambda_function").values():
        assert [function["runtime"]] == layer["compatible_runtimes"]
        assert function["architectures"] == layer["compatible_architectures"]
    with zipfile.ZipFile(package(stack, layer)) as archive:
        found = {name.split("/")[1] for name in archive.namelist() if ".dist-info/" in name}
        assert {name.removesuffix(".dist-info").replace("-", "_").lower() for name in found} == {
            name.replace("-", "_") for name in wanted
        }
        native = [name for name in archive.namelist() if name.endswith(".so")]
        assert native, "native wheels are included"
        for name in native:
            # ELF, "Machine": what the code runs on.
            (machine,) = struct.unpack_from("<H", archive.read(name), 18)
            assert {"arm64": 183, "x86_64": 62}[layer["compatible_architectures"][0]] == machine, name


def test_row_11_packaging_gives_every_environment_the_same_bytes(stack: Synthesized, prod: Synthesized) -> None:
    for address, function in stack.resources("aws_lambda_function").items():
        assert package(stack, function).read_bytes() == package(prod, prod.resources()[address]).read_bytes()


# 12: endpoint assembled by hand


def test_row_12_endpoint_is_the_stages_invoke_url(stack: Synthesized) -> None:
    stage = only(stack, "aws_api_gateway_stage")
    assert stack.json["output"]["api_url"]["value"] == f"${{{stage}.invoke_url}}"


def test_row_12_endpoints_are_described_and_not_put_together(any_stack: Synthesized) -> None:
    assert any_stack.json["output"]
    for name, output in any_stack.json["output"].items():
        assert re.fullmatch(r"[A-Z].{10,}\.", output["description"]), name
        if name == "website_url":
            # CloudFront tells the domain of a distribution, and no address.
            assert re.fullmatch(r"https://\S*\$\{aws_cloudfront_distribution\.website\.\w+\}/", output["value"])
            continue
        assert referred(output["value"]), f"{name}: it is more than an attribute of a resource"
    for address, resource in any_stack.resources().items():
        if address in {"aws_s3_object.website_config_json", "aws_cloudfront_response_headers_policy.website_headers"}:
            # A page names origins, and neither an API nor a pool has an attribute with its origin.
            continue
        for name, text in nested(resource):
            assert not (isinstance(text, str) and re.search(r"https?://\S*amazonaws|execute-api\.", text)), (
                f"{address}: {name}"
            )


# 13: inline lifecycle rules


def test_row_13_inline_arguments_are_resources_of_their_own(any_stack: Synthesized) -> None:
    for bucket, resource in any_stack.resources("aws_s3_bucket").items():
        assert set(resource) <= {"//", "bucket", "force_destroy", "depends_on", "lifecycle", "provider", "tags"}, bucket
        for kind in ("ownership_controls", "public_access_block", "versioning"):
            assert of_bucket(any_stack, f"aws_s3_bucket_{kind}", bucket)


def rules(stack: Synthesized, bucket: str) -> list[Json]:
    found: list[Json] = of_bucket(stack, "aws_s3_bucket_lifecycle_configuration", bucket)["rule"]
    assert {each["status"] for each in found} == {"Enabled"}
    return found


def assert_days(stack: Synthesized, transition: int, expiration: int) -> None:
    (files,) = (each for each in rules(stack, "aws_s3_bucket.storage_uploads") if "transition" in each)
    assert files["transition"] == [{"days": transition, "storage_class": "STANDARD_IA"}]
    assert files["expiration"] == [{"days": expiration}]


def test_row_13_inline_lifecycle_is_apart_and_leaves_nothing_behind(stack: Synthesized, environment: str) -> None:
    settings = settings_of(environment)
    assert_days(stack, settings.s3_lifecycle_transition_days, settings.s3_lifecycle_expiration_days)
    for bucket in stack.resources("aws_s3_bucket"):
        everything = [each for each in rules(stack, bucket) if each["filter"] == [{"prefix": ""}]]
        for leftover, days in (
            ("abort_incomplete_multipart_upload", "days_after_initiation"),
            ("noncurrent_version_expiration", "noncurrent_days"),
        ):
            assert any(1 <= each[leftover][0][days] <= 30 for each in everything if leftover in each), bucket


def test_row_13_inline_days_are_settings(changed: Synthesized) -> None:
    assert_days(changed, 45, 400)


def test_row_13_inline_access_logging_is_apart_and_on_in_prod(prod: Synthesized) -> None:
    targets = {
        referred(each["bucket"]): referred(each["target_bucket"])
        for each in prod.resources("aws_s3_bucket_logging").values()
    }
    assert set(targets) == {"aws_s3_bucket.storage_uploads", "aws_s3_bucket.website_bucket"}
    assert not set(targets) & set(targets.values())
    for target in targets.values():
        (admitted,) = (
            each
            for each in json.loads(of_bucket(prod, "aws_s3_bucket_policy", target)["policy"])["Statement"]
            if each["Effect"] == "Allow"
        )
        assert admitted["Principal"] == {"Service": "logging.s3.amazonaws.com"}


# 14: handlers without validation


def post(text: str) -> tuple[int, Json]:
    return call("upload", rest_event("POST", "/upload", text))


GOOD = {"file_name": "a.txt", "file_content": "aGVsbG8=", "content_type": "text/plain"}


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("", 400, "Missing request body"),
        ("{", 400, "Invalid JSON"),
        ("[]", 400, "object"),
        (json.dumps({**GOOD, "file_name": None}), 400, "Missing file_name"),
        (json.dumps({**GOOD, "file_name": 7}), 400, "Invalid file_name"),
        (json.dumps({**GOOD, "file_name": "../a"}), 400, "Invalid file_name"),
        (json.dumps({**GOOD, "file_name": "a" * 256}), 400, "file_name"),
        (json.dumps({**GOOD, "file_content": None}), 400, "Missing file_content"),
        (json.dumps({**GOOD, "file_content": ""}), 400, "Empty file_content"),
        (json.dumps({**GOOD, "file_content": "aGVsbG8"}), 400, "base64"),
        (json.dumps({**GOOD, "file_content": "A" * 6_100_000}), 413, "larger than"),
        (json.dumps({**GOOD, "content_type": "nonsense"}), 400, "Invalid content_type"),
    ],
)
def test_row_14_validation_comes_before_anything_is_written(aws: Aws, text: str, status: int, words: str) -> None:
    answered, answer = post(text)
    assert answered == status
    assert set(answer) == {"error"}
    assert words in answer["error"]
    assert (aws.items(), aws.s3.objects) == ({}, {})


def test_row_14_validation_is_the_gateways_too(stack: Synthesized) -> None:
    models = stack.resources("aws_api_gateway_model")
    validators = stack.resources("aws_api_gateway_request_validator")
    found = 0
    for (verb, _), address in routes(stack).items():
        if verb in {"POST", "PUT", "PATCH"}:
            method = stack.resources()[address]
            assert validators[referred(method["request_validator_id"], "id")]["validate_request_body"] is True
            used = {
                model: json.loads(each["schema"])
                for name in method["request_models"].values()
                for model, each in models.items()
                if model == referred(name, "name")
            }
            assert "application/json" in method["request_models"]
            assert used
            for schema in used.values():
                assert schema["type"] == "object"
            found += 1
    assert found
    assert {"file_name", "file_content", "content_type"} == set(properties_of(stack, "post_upload"))
    assert {"file_name", "size", "content_type", "checksum"} < set(properties_of(stack, "post_uploads"))


def properties_of(stack: Synthesized, route: str) -> dict[str, Any]:
    model = stack.resources("aws_api_gateway_model")[f"aws_api_gateway_model.api_{route}_model"]
    properties: dict[str, Any] = json.loads(model["schema"])["properties"]
    return properties


# 15: no CORS, no health check


def test_row_15_health_is_answered_by_the_gateway_itself(stack: Synthesized) -> None:
    method = routes(stack)["GET", "/health"]
    assert stack.resources()[method]["authorization"] == "NONE"
    assert integrations(stack)[method]["type"] == "MOCK"
    (answer,) = (
        each
        for each in stack.resources("aws_api_gateway_integration_response").values()
        if referred(each["http_method"]) == method
    )
    assert answer["status_code"].endswith("}") or answer["status_code"] == "200"
    assert '{"status": "ok"}' in answer["response_templates"]["application/json"]


def test_row_15_health_and_preflight_alone_are_open(stack: Synthesized) -> None:
    for (verb, path), address in routes(stack).items():
        is_open = verb == "OPTIONS" or path in {"/health", "/health/deep"}
        assert (stack.resources()[address]["authorization"] == "NONE") == is_open, f"{verb} {path}"


def test_row_15_health_deep_asks_what_the_api_needs(stack: Synthesized) -> None:
    function = stack.resources()[called(stack)["GET", "/health/deep"]]
    asked = {
        arn for action, arn in granted(stack, referred(function["role"])) if action.startswith(("s3:", "dynamodb:"))
    }
    assert {re.split(r"[.{]", arn)[1] for arn in asked} == {"aws_s3_bucket", "aws_dynamodb_table"}


def test_row_15_cors_never_admits_every_page_to_prod(prod: Synthesized) -> None:
    with pytest.raises(ValueError, match="cors_allowed_origins"):
        settings_of("prod", cors_allowed_origins=("*",))
    for address, resource in prod.resources().items():
        for name, value in nested(resource):
            assert not (name.endswith("Access-Control-Allow-Origin") and value == "'*'"), address


def test_row_15_cors_lets_the_page_of_every_environment_call(stack: Synthesized, environment: str) -> None:
    page = stack.json["output"]["website_url"]["value"]
    # On the embedded AWS the page shares the origin of the API; there is another one to test with.
    origin = "http://localhost:8000" if environment == "local" else page.rstrip("/")
    found = routes(stack)
    answers = {
        referred(each["http_method"]): each for each in stack.resources("aws_api_gateway_integration_response").values()
    }
    for _, path in list(found):
        preflight = found["OPTIONS", path]
        assert stack.resources()[preflight]["authorization"] == "NONE"
        assert f"'{origin}'" in json.dumps(answers[preflight]), path
    functions = stack.resources("aws_lambda_function").values()
    told = [each["environment"]["variables"].get("CORS_ALLOWED_ORIGINS") for each in functions]
    assert len([origins for origins in told if origins]) >= 4
    assert all(origin in origins.split(",") for origins in told if origins)


def test_row_15_cors_is_on_every_path_and_every_answer(changed: Synthesized) -> None:
    responses = changed.resources("aws_api_gateway_gateway_response")
    found = routes(changed)
    answers = {
        referred(each["http_method"]): each
        for each in changed.resources("aws_api_gateway_integration_response").values()
    }
    for verb, path in list(found):
        preflight = found["OPTIONS", path]
        assert changed.resources()[preflight]["authorization"] == "NONE"
        headers = {
            name.removeprefix("method.response.header."): value
            for name, value in answers[preflight]["response_parameters"].items()
        }
        assert headers["Access-Control-Allow-Origin"] == "'https://app.example.com'"
        assert verb in headers["Access-Control-Allow-Methods"].strip("'").split(",")
        assert set(headers["Access-Control-Allow-Headers"].strip("'").split(",")) >= {
            "Content-Type",
            "X-Amz-Date",
            "Authorization",
            "X-Api-Key",
            "X-Amz-Security-Token",
        }
    by_type = {each["response_type"]: each["response_parameters"] for each in responses.values()}
    assert {"DEFAULT_4XX", "DEFAULT_5XX"} <= set(by_type)
    for parameters in by_type.values():
        own = parameters["gatewayresponse.header.Access-Control-Allow-Origin"]
        assert own in {"'https://app.example.com'", "method.request.header.Origin"}
    for address in called(changed).values():
        given = changed.resources()[address]["environment"]["variables"]
        assert given["CORS_ALLOWED_ORIGINS"] == "https://app.example.com", address


# 16: wildcards in policies

# Service Authorization Reference: actions without a resource type; for log delivery, Step Functions says so in "Logging
# using CloudWatch Logs".
NO_RESOURCE_TYPE = {
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
}
# Names that nobody can know before: streams of one log group, objects below one prefix of one bucket.
OPEN_ENDED = re.compile(
    r"\$\{aws_cloudwatch_log_group\.\w+\.arn\}:\*|\$\{aws_s3_bucket\.(storage_uploads|replica_files)\.arn\}/uploads/\*"
)


def test_row_16_wildcards_are_where_aws_has_no_resource_level(any_stack: Synthesized) -> None:
    roles = any_stack.resources("aws_iam_role_policy")
    for address, each in statements(any_stack):
        if each["Effect"] != "Allow":
            continue
        where = f"{address}: {each['Sid']}"
        for arn in many(each.get("Resource", "")):
            if "*" not in arn:
                continue
            if address.startswith("aws_kms_key."):
                assert arn == "*", where  # in a key's policy, that key
            elif arn == "*":
                assert set(many(each["Action"])) <= NO_RESOURCE_TYPE, where
            elif address.startswith("aws_s3_bucket_policy."):
                assert re.fullmatch(r"\$\{aws_s3_bucket\.\w+\.arn\}/\*", arn), where
                assert set(each["Principal"]) == {"Service"}, where
            elif "DO-NOT-DELETE-AmazonGuardDutyMalwareProtectionS3" in arn:
                # GuardDuty names its rule itself, and takes the role on alone.
                role = referred(roles[address]["role"])
                assert trusted(any_stack, role) == "malware-protection-plan.guardduty.amazonaws.com", where
                assert re.fullmatch(r"arn:aws:events:[a-z0-9-]+:\d{12}:rule/DO-NOT-DELETE-\w+\*", arn), where
            elif not OPEN_ENDED.fullmatch(arn):
                # The account's one role for the logs of all its APIs.
                assert trusted(any_stack, referred(roles[address]["role"])) == "apigateway.amazonaws.com", where
                assert re.fullmatch(r"arn:aws:logs:[a-z0-9-]+:\d{12}:log-group:\S*\*", arn), where


def test_row_16_wildcards_name_their_reason_in_the_code() -> None:
    """The builder refuses a `*` without one; here: nobody builds a policy beside it."""
    for source in [*(ROOT / "modules").rglob("*.py"), *(ROOT / "stacks").rglob("*.py")]:
        if source.name not in {"policy_documents.py", "guards.py"}:
            assert not re.search(r'["\'](Statement|Effect)["\']\s*:', source.read_text()), source.name


# 17: X-Ray permission without tracing


def tracing_roles(stack: Synthesized) -> set[str]:
    return {
        role
        for role in stack.resources("aws_iam_role")
        if {"xray:PutTraceSegments", "xray:PutTelemetryRecords"} <= {action for action, _ in granted(stack, role)}
    }


def test_row_17_tracing_is_permitted_where_it_is_on(stack: Synthesized) -> None:
    roles = {referred(each["role"]) for each in stack.resources("aws_lambda_function").values()}
    roles |= {referred(each["role_arn"]) for each in stack.resources("aws_sfn_state_machine").values()}
    assert tracing_roles(stack) == roles


def test_row_17_tracing_is_one_setting(changed: Synthesized) -> None:
    assert "xray:" not in changed.text


# 18: alarms on absolute counts


def alarms(stack: Synthesized, metric: str, **dimensions: str) -> list[Alarm]:
    """The alarms on a metric of one thing."""
    return [
        alarm
        for alarm in map(Alarm.of, stack.resources("aws_cloudwatch_metric_alarm").values())
        if any(each.name == metric and dimensions.items() <= each.dimensions.items() for each in alarm.metrics.values())
    ]


def steady(*points: float) -> Series:
    return dict(enumerate(points))


def assert_is_a_rate(alarm: Alarm, errors: str, requests: str) -> None:
    """It goes off above 1 % in two periods of 300 s, and with no requests it keeps quiet."""

    def state_of(failed: Series, asked: Series) -> str:
        return alarm.state({errors: failed, requests: asked}, 3)

    assert {each.period for each in alarm.metrics.values()} == {300}
    many_requests = steady(*[1_000_000.0] * 4)
    assert state_of(steady(*[9_000.0] * 4), many_requests) == "OK", "it counts errors"
    assert state_of(steady(*[10_000.0] * 4), many_requests) == "OK", "1 % is not above 1 %"
    assert state_of(steady(*[10_001.0] * 4), many_requests) == "ALARM"
    assert state_of(steady(0, 0, 0, 10_001), many_requests) == "OK", "one period is not two"
    assert state_of(steady(1, 1, 1, 1), steady(10, 10, 10, 10)) == "ALARM", "a small number of requests counts too"
    assert state_of({}, {}) == "OK"
    nobody = {errors: steady(0, 0), requests: steady(0, 0)}
    assert alarm.series(nobody, range(2), fills_empty=True) == steady(0, 0), "it divides by zero"
    assert state_of(steady(0, 0, 0, 0), steady(0, 0, 0, 0)) == "OK", "nobody called"
    assert alarm.body["treat_missing_data"] == "notBreaching"


def test_row_18_alarms_on_errors_are_rates(stack: Synthesized) -> None:
    for address in stack.resources("aws_lambda_function"):
        (alarm,) = alarms(stack, "Errors", FunctionName=f"${{{address}.function_name}}")
        names = {each.dimensions["FunctionName"] for each in alarm.metrics.values()}
        assert names == {f"${{{address}.function_name}}"}, "errors of one function, requests of another"
        assert_is_a_rate(alarm, "Errors", "Invocations")
    stage = only(stack, "aws_api_gateway_stage")
    (alarm,) = alarms(stack, "5XXError", Stage=f"${{{stage}.stage_name}}")
    assert_is_a_rate(alarm, "5XXError", "Count")


def test_row_18_alarms_watch_everything_that_can_fail(stack: Synthesized) -> None:
    for address in stack.resources("aws_lambda_function"):
        (alarm,) = alarms(stack, "Throttles", FunctionName=f"${{{address}.function_name}}")
        assert alarm.state({"Throttles": steady(0, 0, 0, 1)}, 3) == "ALARM"
    (latency,) = alarms(stack, "Latency", Stage=f"${{{only(stack, 'aws_api_gateway_stage')}.stage_name}}")
    assert latency.body["extended_statistic"] == "p99"
    assert latency.state({"Latency": steady(*[29_000.0] * 4)}, 3) == "ALARM"
    assert dead_letter_queues(stack)
    for address in dead_letter_queues(stack):
        (alarm,) = alarms(stack, "ApproximateNumberOfMessagesVisible", QueueName=f"${{{address}.name}}")
        assert alarm.state({"ApproximateNumberOfMessagesVisible": steady(0, 0, 0, 1)}, 3) == "ALARM", address
        assert alarm.state({"ApproximateNumberOfMessagesVisible": steady(0, 0, 0, 0)}, 3) == "OK", address
    machine = only(stack, "aws_sfn_state_machine")
    for ended in ("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"):
        (alarm,) = alarms(stack, ended, StateMachineArn=f"${{{machine}.arn}}")
        assert alarm.state({ended: steady(0, 0, 0, 1)}, 3) == "ALARM"
    operations = {
        action.partition(":")[2] for role in stack.resources("aws_iam_role") for action, _ in granted(stack, role)
    }
    for table in stack.resources("aws_dynamodb_table"):
        (alarm,) = alarms(stack, "SystemErrors", TableName=f"${{{table}.name}}")
        for operation in {"GetItem", "PutItem", "UpdateItem", "Query"} & operations | {"TransactWriteItems"}:
            assert alarm.state({f"SystemErrors {operation}": steady(0, 0, 0, 1)}, 3) == "ALARM", operation


def test_row_18_alarms_may_publish_to_the_alert_topic(stack: Synthesized) -> None:
    topic = "${aws_sns_topic.notifications_alerts.arn}"
    (admitted,) = (
        each
        for _, each in statements(stack, "aws_sns_topic_policy")
        if each["Effect"] == "Allow" and each["Resource"] == topic
    )
    assert (admitted["Principal"], admitted["Action"]) == ({"Service": "cloudwatch.amazonaws.com"}, "sns:Publish")


# 19: AES256

WEBSITE_KEY = "aws_kms_key.website_key"


def keys_by_service(stack: Synthesized) -> dict[str, set[str]]:
    """The keys under which each service keeps what it keeps."""
    logged = {referred(each["target_bucket"]) for each in stack.resources("aws_s3_bucket_logging").values()}
    buckets = [
        each["rule"][0]
        for each in stack.resources("aws_s3_bucket_server_side_encryption_configuration").values()
        # S3 cannot write access logs under a customer key ("Enabling Amazon S3 server access logging").
        if referred(each["bucket"]) not in logged
    ]
    assert all(rule["bucket_key_enabled"] is True for rule in buckets)
    defaults = [rule["apply_server_side_encryption_by_default"] for rule in buckets]
    tables = [each["server_side_encryption"] for each in stack.resources("aws_dynamodb_table").values()]
    found = {
        "s3": [each["kms_master_key_id"] for each in defaults],
        "dynamodb": [each["kms_key_arn"] for each in tables],
        "sqs": [each["kms_master_key_id"] for each in stack.resources("aws_sqs_queue").values()],
        "sns": [each["kms_master_key_id"] for each in stack.resources("aws_sns_topic").values()],
        "logs": [each["kms_key_id"] for each in stack.resources("aws_cloudwatch_log_group").values()],
        "lambda": [each["kms_key_arn"] for each in stack.resources("aws_lambda_function").values()],
        "secretsmanager": [each["kms_key_id"] for each in stack.resources("aws_secretsmanager_secret").values()],
    }
    return {service: {referred(key, "arn") for key in keys} for service, keys in found.items() if keys}


def test_row_19_aes256_gives_way_to_a_customer_key_a_service(any_stack: Synthesized) -> None:
    keys = keys_by_service(any_stack)
    is_state = any_stack.folder.name.endswith("-state")
    assert set(keys) - {"secretsmanager"} == (
        {"s3"} if is_state else {"s3", "dynamodb", "sqs", "sns", "logs", "lambda"}
    ), "secrets are there with webhooks alone"
    # CloudFront may use the key of the page, and so it has nothing to do with the files of people.
    page = set(any_stack.resources("aws_kms_key")) & {WEBSITE_KEY}
    of_services = [key for used in keys.values() for key in used - page]
    assert len(of_services) == len(keys), "one key a service"
    assert {*of_services, *page} == set(any_stack.resources("aws_kms_key"))
    for address, key in any_stack.resources("aws_kms_key").items():
        assert 7 <= key["deletion_window_in_days"] <= 30, address


def test_row_19_aes256_keys_are_used_only_through_their_service(any_stack: Synthesized, environment: str) -> None:
    settings = settings_of(environment)
    for service, key in ((service, key) for service, used in keys_by_service(any_stack).items() for key in used):
        for each in json.loads(any_stack.resources()[key]["policy"])["Statement"]:
            assert each["Effect"] == "Allow"
            if "AWS" not in each["Principal"]:
                continue
            assert each["Principal"] == {"AWS": f"arn:aws:iam::{settings.account_id}:root"}
            if {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"} & set(many(each["Action"])):
                via = f"{service}.{settings.primary_region}.amazonaws.com"
                assert each["Condition"]["StringEquals"]["kms:ViaService"] == via
                assert each["Condition"]["StringEquals"]["kms:CallerAccount"] == settings.account_id


def test_row_19_aes256_keys_admit_the_services_that_must_use_them(stack: Synthesized, environment: str) -> None:
    settings = settings_of(environment)
    home = f"{settings.primary_region}:{settings.account_id}"
    keys = keys_by_service(stack)
    (queues,), (topics,), (logs,) = keys["sqs"], keys["sns"], keys["logs"]
    # EventBridge and SNS send to encrypted queues, CloudWatch to an encrypted topic, Logs writes encrypted groups.
    wanted = {
        (queues, "events.amazonaws.com"): f"arn:aws:events:{home}:rule/sluice-{environment}-",
        (queues, "sns.amazonaws.com"): f"arn:aws:sns:{home}:sluice-{environment}-",
        (topics, "cloudwatch.amazonaws.com"): f"arn:aws:cloudwatch:{home}:alarm:sluice-{environment}-",
        (logs, f"logs.{settings.primary_region}.amazonaws.com"): f"arn:aws:logs:{home}:log-group:",
    }
    found = set()
    for key, each in statements(stack, "aws_kms_key"):
        if "Service" not in each["Principal"]:
            continue
        service = each["Principal"]["Service"]
        if key == WEBSITE_KEY:
            assert (service, each["Action"]) == ("cloudfront.amazonaws.com", "kms:Decrypt")
            ours = {"aws:SourceArn": "${aws_cloudfront_distribution.website.arn}"}
            assert each["Condition"] == {"StringEquals": ours}
            continue
        found.add((key, service))
        assert {"kms:Decrypt", "kms:GenerateDataKey"} <= set(each["Action"])
        scope = each["Condition"]["ArnLike"]
        if key != logs:
            assert each["Condition"]["StringEquals"] == {"aws:SourceAccount": settings.account_id}
        (arns,) = (scope.get("aws:SourceArn"), scope.get("kms:EncryptionContext:aws:logs:arn"))[key == logs :][:1]
        assert all(arn.startswith(wanted[key, service]) for arn in many(arns)), f"{key}: {service}"
    assert found == set(wanted)


# 20: the pipeline assumed a repository nobody created


def test_row_20_repository_and_state_are_made_here(stack: Synthesized) -> None:
    made = Synthesized(stack.folder.with_name(f"{stack.folder.name}-state"))
    (bucket,) = made.resources("aws_s3_bucket").values()
    backends = [each.json["terraform"]["backend"]["s3"] for each in (stack, made)]
    assert {each["bucket"] for each in backends} == {bucket["bucket"]}
    assert [each["key"] for each in backends] == ["uploads.tfstate", "state.tfstate"]
    assert all(each["encrypt"] is True and each["use_lockfile"] is True for each in backends)
    assert referred(made.json["output"]["state_kms_key_id"]["value"], "key_id") == only(made, "aws_kms_key")
    command = r"^bootstrap:.*\n\t.*-m tools\.operate\.bootstrap \$\(OF_COMPONENT\)$"
    assert re.search(command, (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_row_20_no_repository_is_referred_to(any_stack: Synthesized) -> None:
    for address, resource in any_stack.resources().items():
        kind = address.partition(".")[0]
        assert not re.match(r"aws_(code(commit|build|pipeline|artifact)|ecr)", kind), address
        assert not {"image_uri", "repository_url"} & {name for name, _ in nested(resource)}, address
        assert resource.get("package_type", "Zip") == "Zip", address
    files = [*ROOT.glob("*.py"), ROOT / "Makefile", ROOT / "cdktf.json", ROOT / ".ci" / "run"]
    for folder in ("synthesis", "stacks", "modules", "functions", "tools"):
        files += (ROOT / folder).rglob("*.py")
    files += [*(ROOT / "environments").glob("*.toml"), *(ROOT / ".github").rglob("*.yml")]
    for file in files:
        if file != ROOT / "stacks" / "guards.py":  # which refuses them by name
            assert not re.search(r"codecommit|codepipeline|codebuild|\becr\b", file.read_text(), re.I), file.name


# Each row broken on purpose


def edit(kind: str, name: str, argument: str, mend: Callable[[Any], None]) -> Callable[[Json], None]:
    """A defect inside a JSON document that an argument of a resource holds."""

    def seed(content: Json) -> None:
        resource = body(content, kind, name)
        document = json.loads(resource[argument])
        mend(document)
        resource[argument] = json.dumps(document)

    return seed


def without(sid: str) -> Callable[[Any], None]:
    """Leaves one statement out of a policy."""

    def mend(document: Json) -> None:
        before = len(document["Statement"])
        document["Statement"] = [each for each in document["Statement"] if each["Sid"] != sid]
        assert len(document["Statement"]) == before - 1

    return mend


def each_of(kind: str, **arguments: object) -> Callable[[Json], None]:
    """A defect that sets arguments of every resource of a kind."""

    def seed(content: Json) -> None:
        for resource in content["resource"][kind].values():
            resource.update(arguments)

    return seed


def renamed(kind: str, name: str, wrong: str) -> Callable[[Json], None]:
    return lambda content: body(content, kind, name).update(name=wrong)


def rule_without(argument: str) -> Callable[[Json], None]:
    def seed(content: Json) -> None:
        for rule in body(content, "aws_s3_bucket_lifecycle_configuration", "storage_lifecycle")["rule"]:
            rule.pop(argument, None)

    return seed


def variable(name: str, value: str | None) -> Callable[[Json], None]:
    def seed(content: Json) -> None:
        given = body(content, "aws_lambda_function", "upload")["environment"]["variables"]
        given.pop(name, None)
        if value is not None:
            given[name] = value

    return seed


def unguarded(content: Json) -> None:
    for query in body(content, "aws_cloudwatch_metric_alarm", "monitoring_upload_errors")["metric_query"]:
        if "expression" in query:
            query["expression"] = "100 * errors / requests"


def counted(content: Json) -> None:
    for query in body(content, "aws_cloudwatch_metric_alarm", "monitoring_upload_errors")["metric_query"]:
        if "expression" in query:
            query["expression"] = "FILL(errors, 0)"


def no_bucket_key(content: Json) -> None:
    rule = body(content, "aws_s3_bucket_server_side_encryption_configuration", "storage_uploads_encryption")["rule"]
    rule[0]["bucket_key_enabled"] = False


def other_backend(content: Json) -> None:
    content["terraform"]["backend"]["s3"]["bucket"] = "somebody-elses-bucket"


STATEMENT = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Sid": "A", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "x"}]}
)
OF_THE_ACCOUNT = {
    "Sid": "Admit",
    "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::333333333333:root"},
    "Action": "s3:GetObject",
    "Resource": "${aws_s3_bucket.storage_uploads.arn}/uploads/*",
}
UPLOADS = "storage_uploads_policy"
MACHINE = ("aws_sfn_state_machine", "workflow", "definition")
RULE = ("aws_cloudwatch_event_rule", "workflow_stored", "event_pattern")

BREAKS: list[tuple[int, Callable[[Json], object]]] = [
    (1, lambda content: content.update(data={"aws_region": {"here": {}}})),
    (1, change("aws_sns_topic_policy", policy="arn:aws:sns:eu-west-1:333333333333:x")),
    (2, change("aws_api_gateway_integration", "api_post_upload_integration", uri="${aws_lambda_alias.no.invoke_arn}")),
    (2, remove("aws_api_gateway_integration_response")),
    (2, change("aws_api_gateway_deployment", depends_on=[])),
    (3, remove("aws_lambda_permission")),
    (3, change("aws_lambda_permission", "api_post_upload_permission", source_arn=None)),
    (3, change("aws_lambda_permission", principal="*")),
    (4, change("aws_iam_role_policy", policy=STATEMENT)),
    (4, change("aws_iam_role_policy", policy=STATEMENT.replace('"x"', '"${aws_s3_bucket.nowhere.arn}"'))),
    (4, change("aws_iam_role", assume_role_policy="None")),
    (5, variable("BUCKET_NAME", None)),
    (5, variable("BUCKET_NAME", "sluice-prod-uploads")),
    (5, variable("COLOUR", "blue")),
    (5, variable("TABLE_NAME", "${aws_dynamodb_table.metadata_files.arn}")),
    *[
        (6, edit("aws_s3_bucket_policy", UPLOADS, "policy", without(sid)))
        for sid in ("DenyPlainHttp", "DenyForeignAccounts", "DenyOtherEncryption", "DenyOtherKeys")
    ],
    (6, edit("aws_s3_bucket_policy", UPLOADS, "policy", lambda each: each["Statement"].append(OF_THE_ACCOUNT))),
    (6, change("aws_s3_bucket", grant=[{"type": "Group", "permissions": ["READ"]}])),
    (7, edit(*RULE, lambda pattern: pattern["detail"]["object"].update(key=[{"prefix": "files/"}]))),
    (7, edit(*RULE, lambda pattern: pattern.update({"detail-type": ["Object Deleted"]}))),
    (7, remove("aws_scheduler_schedule")),
    (7, edit(*MACHINE, lambda each: each["States"]["MakeAvailable"]["Parameters"].pop("ConditionExpression"))),
    (7, change("aws_iam_role_policy", "workflow_starter_start", policy=STATEMENT)),
    (8, each_of("aws_lambda_function_event_invoke_config", maximum_retry_attempts=0)),
    (8, each_of("aws_sqs_queue", kms_data_key_reuse_period_seconds=60)),
    (8, edit("aws_sqs_queue_policy", "workflow_dead_letters_policy", "policy", without("AdmitEvents"))),
    (8, change("aws_iam_role_policy", "upload_role_dead_letters_send", policy=STATEMENT)),
    (8, renamed("aws_sqs_queue", "upload_dead_letters", "sluice-prod-dlq")),
    (9, edit(*MACHINE, lambda each: each["States"]["Announce"]["Retry"][-1].pop("JitterStrategy"))),
    (9, edit(*MACHINE, lambda each: each["States"]["Inspect"]["Catch"][-1].update(Next="Failed"))),
    (9, edit(*MACHINE, lambda each: each["States"]["RecordFailure"].update(Next="Failed"))),
    (9, edit(*MACHINE, lambda each: each["States"]["Announce"].update(Resource="${aws_lambda_function.upload.arn}"))),
    (9, lambda content: body(content, MACHINE[0])["logging_configuration"].pop("include_execution_data")),
    (10, change("aws_lambda_function", "upload", logging_config={"log_group": "${aws_cloudwatch_log_group.x.name}"})),
    (10, renamed("aws_cloudwatch_log_group", "upload_logs", "/elsewhere/upload")),
    (10, change("aws_iam_role_policy", "upload_role_logs_write", policy=STATEMENT)),
    (10, remove("aws_api_gateway_account")),
    (10, change("aws_api_gateway_stage", depends_on=[])),
    (11, change("aws_lambda_function", source_code_hash="47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")),
    (11, change("aws_lambda_layer_version", compatible_architectures=["x86_64"])),
    (12, lambda content: content["output"]["api_url"].update(value="${aws_api_gateway_stage.api_stage.id}")),
    (12, lambda content: content["output"]["bucket_name"].update(description="")),
    (13, change("aws_s3_bucket", cors_rule=[{"allowed_methods": ["GET"], "allowed_origins": ["*"]}])),
    (13, remove("aws_s3_bucket_logging")),
    (13, rule_without("transition")),
    (13, rule_without("abort_incomplete_multipart_upload")),
    (13, rule_without("noncurrent_version_expiration")),
    (14, change("aws_api_gateway_method", "api_post_upload_method", request_validator_id=None)),
    (14, change("aws_api_gateway_model", schema="{}")),
    (14, change("aws_api_gateway_request_validator", validate_request_body=False)),
    (15, change("aws_api_gateway_method", "api_get_health_method", authorization="AWS_IAM")),
    (15, change("aws_iam_role_policy", "health_role_files_probe", policy=STATEMENT)),
    (15, change("aws_api_gateway_method", "api_post_upload_method", authorization="NONE")),
    (16, statement(Resource="${aws_s3_bucket.storage_uploads.arn}/*")),
    (17, change("aws_iam_role_policy", "upload_role_tracing", policy=STATEMENT)),
    (18, unguarded),
    (18, counted),
    (18, edit("aws_sns_topic_policy", "notifications_alerts_policy", "policy", without("AdmitCloudwatch"))),
    *[
        (18, lambda content, name=name: content["resource"]["aws_cloudwatch_metric_alarm"].pop(f"monitoring_{name}"))
        for name in (
            "upload_errors",
            "upload_throttles",
            "api_errors",
            "api_latency",
            "workflow_failures",
            "files_table_errors",
            "sweep_schedule_dead_letters_waiting",
        )
    ],
    (19, no_bucket_key),
    (19, change("aws_sqs_queue", kms_master_key_id="${aws_kms_key.storage_key.arn}")),
    (19, edit("aws_kms_key", "topics_key", "policy", without("CloudwatchUsesKey"))),
    (19, edit("aws_kms_key", "queues_key", "policy", lambda each: each["Statement"][2].pop("Condition"))),
    (19, edit("aws_kms_key", "storage_key", "policy", lambda each: each["Statement"][1].pop("Condition"))),
    (20, other_backend),
    (20, add("aws_codecommit_repository", repository_name="sluice")),
]


# Defects in the JSON of `changed`: what a module that does not look at the setting would write.
UNSET: list[tuple[int, Callable[[Json], object]]] = [
    (1, lambda content: content["provider"]["aws"][0].update(region="us-east-1")),
    (1, lambda content: content["provider"]["aws"][0].pop("assume_role")),
    (1, change("aws_cloudwatch_event_rule", description="for us-east-1")),
    (3, change("aws_lambda_permission", "api_authorizer_permission", source_arn=f"{API}/authorizers/*")),
    (5, lambda content: body(content, "aws_lambda_function", "authorizer")["environment"]["variables"].clear()),
    (9, edit(*MACHINE, lambda each: each["States"]["Announce"]["Retry"][-1].update(MaxAttempts=4))),
    (13, rule_without("expiration")),
    (15, change("aws_api_gateway_gateway_response", "api_default_5xx_response", response_parameters={})),
    (15, remove("aws_api_gateway_integration_response")),
    (15, variable("CORS_ALLOWED_ORIGINS", None)),
    (17, change("aws_iam_role_policy", policy=STATEMENT.replace("s3:GetObject", "xray:PutTraceSegments"))),
]


def failing(row: int, **given: object) -> list[str]:
    """The tests of a row that fail with these fixtures, of those that ask for no other ones."""
    found = []
    for name, test in list(globals().items()):
        if name.startswith(f"test_row_{row:02}_"):
            wanted = list(inspect.signature(test).parameters)
            if wanted and set(wanted) <= set(given):
                try:
                    test(**{parameter: given[parameter] for parameter in wanted})
                except Exception:  # noqa: BLE001 - however a test fails, it fails
                    found.append(name)
    return found


def failing_as_prod(row: int, broken: Synthesized) -> list[str]:
    return failing(row, stack=broken, any_stack=broken, prod=broken, environment="prod")


def copied(stack: Synthesized, folder: Path) -> Synthesized:
    """A copy of a stack to break; what it refers to beside it is there too."""
    copy = folder / stack.folder.name
    copy.mkdir()
    (copy / "packages").symlink_to(stack.folder / "packages")
    beside = f"{stack.folder.name}-state"
    (folder / beside).symlink_to(stack.folder.with_name(beside))
    (copy / "cdk.tf.json").write_text(stack.text)
    return Synthesized(copy)


def seeded(stack: Synthesized, seed: Callable[[Json], object]) -> Synthesized:
    content = stack.json
    seed(content)
    (stack.folder / "cdk.tf.json").write_text(json.dumps(content))
    return stack


@pytest.mark.parametrize(("row", "seed"), BREAKS)
def test_a_broken_row_fails_its_test(
    prod: Synthesized, tmp_path: Path, row: int, seed: Callable[[Json], object]
) -> None:
    assert failing_as_prod(row, seeded(copied(prod, tmp_path), seed))


@pytest.mark.parametrize(("row", "seed"), UNSET)
def test_a_setting_without_effect_fails_the_test_of_its_row(
    changed: Synthesized, tmp_path: Path, row: int, seed: Callable[[Json], object]
) -> None:
    assert failing(row, changed=seeded(copied(changed, tmp_path), seed))


def test_an_unbroken_copy_fails_none(prod: Synthesized, changed: Synthesized, tmp_path: Path) -> None:
    as_prod, as_changed = copied(prod, tmp_path), copied(changed, tmp_path)
    assert [name for row in range(1, 21) for name in failing_as_prod(row, as_prod)] == []
    assert [name for row in range(1, 21) for name in failing(row, changed=as_changed)] == []


def test_every_row_is_broken_somehow() -> None:
    assert {row for row, *_ in [*BREAKS, *UNSET]} == set(range(1, 21))
