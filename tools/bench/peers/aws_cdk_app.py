"""The platform as a user of aws-cdk-lib writes it, for a comparison of synthesis times.

It runs in a separate environment (category `bench` of the Pipfile). `python aws_cdk_app.py INVENTORY OUT` reads
Sluice's Terraform JSON and makes the same functions, queues, alarms, routes and so on with the constructs (level 2)
that CDK's documentation recommends; a construct of level 1 stands only where there is no other. So both describe the
same system, however Sluice grows. CDK sets in one CloudFormation resource what is several resources in Terraform
(a bucket and its versioning, encryption and so on; a role and its policies), so it is not asked for more than Sluice.
"""

# aws_cdk is not in the environment that mypy looks at, so its types are unknown here.
# mypy: disable-error-code="misc, no-any-return"

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as scheduler_targets
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn

_REFERENCE = re.compile(r"\$\{\w+\.(\w+)\.(\w+)\}")

Resources = Mapping[str, Mapping[str, Any]]
PYTHON = {
    "python3.11": lambda_.Runtime.PYTHON_3_11,
    "python3.12": lambda_.Runtime.PYTHON_3_12,
    "python3.13": lambda_.Runtime.PYTHON_3_13,
}


class UploadsStack(cdk.Stack):
    """A stack with the resources of the inventory."""

    def __init__(self, app: cdk.App, name: str, *, inventory: Resources, folder: Path) -> None:
        """
        Args:
            inventory: Terraform resources: kind to name to arguments.
            folder: where the packages of the functions are.
        """
        super().__init__(app, name)
        self._inventory = inventory
        self._folder = folder
        self._keys = {
            key: kms.Key(
                self, key, enable_key_rotation=True, alias=f"{name}/{key}", pending_window=cdk.Duration.days(30)
            )
            for key in inventory["aws_kms_key"]
        }
        self._buckets = {
            bucket: s3.Bucket(
                self,
                bucket,
                versioned=True,
                enforce_ssl=True,
                event_bridge_enabled=True,
                encryption=s3.BucketEncryption.KMS,
                encryption_key=self._key("storage"),
                bucket_key_enabled=True,
                object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
                block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
                lifecycle_rules=[
                    s3.LifecycleRule(
                        prefix="uploads/",
                        expiration=cdk.Duration.days(90),
                        transitions=[
                            s3.Transition(
                                storage_class=s3.StorageClass.INFREQUENT_ACCESS, transition_after=cdk.Duration.days(30)
                            )
                        ],
                    ),
                    s3.LifecycleRule(
                        abort_incomplete_multipart_upload_after=cdk.Duration.days(7),
                        noncurrent_version_expiration=cdk.Duration.days(30),
                    ),
                ],
            )
            for bucket in inventory["aws_s3_bucket"]
        }
        self._tables = {table: self._table(table, body) for table, body in inventory["aws_dynamodb_table"].items()}
        self._queues = {
            queue: sqs.Queue(
                self,
                queue,
                retention_period=cdk.Duration.days(14),
                encryption=sqs.QueueEncryption.KMS,
                encryption_master_key=self._key("queues"),
                data_key_reuse=cdk.Duration.minutes(5),
                enforce_ssl=True,
            )
            for queue in inventory["aws_sqs_queue"]
        }
        self._topics = {
            topic: sns.Topic(self, topic, master_key=self._key("topics"), enforce_ssl=True)
            for topic in inventory["aws_sns_topic"]
        }
        for number, _ in enumerate(inventory.get("aws_sns_topic_subscription", {})):
            topic = list(self._topics.values())[number % len(self._topics)]
            queue = list(self._queues.values())[number]
            topic.add_subscription(subscriptions.SqsSubscription(queue))
        self._functions = self._all_functions()
        self._machines = {each: self._workflow(each, body) for each, body in inventory["aws_sfn_state_machine"].items()}
        for each in inventory.get("aws_scheduler_schedule", {}):
            scheduler.Schedule(
                self,
                each,
                schedule=scheduler.ScheduleExpression.rate(cdk.Duration.minutes(15)),
                target=scheduler_targets.LambdaInvoke(next(iter(self._functions.values()))),
            )
        self._api()
        self._alarms()

    def _key(self, word: str) -> kms.Key:
        return next((key for name, key in self._keys.items() if word in name), next(iter(self._keys.values())))

    def _log_group(self, name: str) -> logs.LogGroup:
        return logs.LogGroup(
            self, f"{name}_logs", retention=logs.RetentionDays.ONE_WEEK, encryption_key=self._key("logs")
        )

    def _table(self, name: str, body: Mapping[str, Any]) -> dynamodb.Table:
        types = {each["name"]: each["type"] for each in body["attribute"]}

        def attribute(key: str | None) -> dynamodb.Attribute | None:
            if not key:
                return None
            kind = dynamodb.AttributeType.NUMBER if types[key] == "N" else dynamodb.AttributeType.STRING
            return dynamodb.Attribute(name=key, type=kind)

        table = dynamodb.Table(
            self,
            name,
            partition_key=attribute(body["hash_key"]),
            sort_key=attribute(body.get("range_key")),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
            encryption_key=self._key("metadata"),
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
        )
        for index in body.get("global_secondary_index", []):
            table.add_global_secondary_index(
                index_name=index["name"],
                partition_key=attribute(index["hash_key"]),
                sort_key=attribute(index.get("range_key")),
                projection_type=dynamodb.ProjectionType.KEYS_ONLY,
            )
        return table

    def _all_functions(self) -> dict[str, lambda_.Function]:
        layers = [
            lambda_.LayerVersion(self, name, code=lambda_.Code.from_asset(str(self._file(body["filename"]))))
            for name, body in self._inventory.get("aws_lambda_layer_version", {}).items()
        ]
        made: dict[str, lambda_.Function] = {}
        on_failure = destinations.SqsDestination(next(iter(self._queues.values())))
        for name, body in self._inventory["aws_lambda_function"].items():
            function = lambda_.Function(
                self,
                name,
                runtime=PYTHON[body["runtime"]],
                architecture=lambda_.Architecture.ARM_64,
                handler=body["handler"],
                code=lambda_.Code.from_asset(str(self._file(body["filename"]))),
                layers=layers,
                memory_size=body["memory_size"],
                timeout=cdk.Duration.seconds(body["timeout"]),
                tracing=lambda_.Tracing.ACTIVE,
                log_group=self._log_group(name),
                environment_encryption=self._key("functions"),
                dead_letter_queue=self._queues.get(f"{name}_dead_letters", next(iter(self._queues.values()))),
                on_failure=on_failure,
                retry_attempts=2,
                max_event_age=cdk.Duration.hours(1),
                environment={
                    "BUCKET_NAME": next(iter(self._buckets.values())).bucket_name,
                    "TABLE_NAME": next(iter(self._tables.values())).table_name,
                    "POWERTOOLS_LOG_LEVEL": "INFO",
                },
            )
            next(iter(self._buckets.values())).grant_read_write(function)
            next(iter(self._tables.values())).grant_read_write_data(function)
            made[name] = function
        return made

    def _file(self, filename: str) -> Path:
        return self._folder / filename.removeprefix("${path.module}/")

    def _workflow(self, name: str, body: Mapping[str, Any]) -> sfn.StateMachine:
        machine = sfn.StateMachine(
            self,
            name,
            definition_body=sfn.DefinitionBody.from_string(_REFERENCE.sub(r"${\1_\2}", body["definition"])),
            definition_substitutions={
                f"{resource}_{attribute}": self._value(resource, attribute)
                for resource, attribute in set(_REFERENCE.findall(body["definition"]))
            },
            state_machine_type=sfn.StateMachineType.STANDARD,
            tracing_enabled=True,
            logs=sfn.LogOptions(destination=self._log_group(name), level=sfn.LogLevel.ALL, include_execution_data=True),
        )
        for topic in self._topics.values():
            topic.grant_publish(machine)
        next(iter(self._tables.values())).grant_read_write_data(machine)
        for function in self._functions.values():
            function.grant_invoke(machine)
        rule = events.Rule(
            self,
            f"{name}_stored",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={"object": {"key": [{"prefix": "uploads/"}]}},
            ),
        )
        rule.add_target(targets.SfnStateMachine(machine, dead_letter_queue=list(self._queues.values())[-1]))
        return machine

    def _value(self, resource: str, attribute: str) -> str:
        """Return the value that replaces a Terraform reference in the workflow."""
        if resource in self._functions:
            return self._functions[resource].function_arn
        if resource in self._topics:
            return self._topics[resource].topic_arn
        table = next(iter(self._tables.values()))
        return table.table_name if attribute == "name" else table.table_arn

    def _api(self) -> None:
        inventory = self._inventory
        api = apigateway.RestApi(
            self,
            "api",
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            cloud_watch_role=True,
            deploy_options=apigateway.StageOptions(
                stage_name="v1",
                tracing_enabled=True,
                metrics_enabled=True,
                logging_level=apigateway.MethodLoggingLevel.ERROR,
                throttling_rate_limit=50,
                throttling_burst_limit=100,
                access_log_destination=apigateway.LogGroupLogDestination(self._log_group("access")),
            ),
        )
        users = cognito.UserPool(self, "users", self_sign_up_enabled=False)
        users.add_client("client", auth_flows=cognito.AuthFlow(user_srp=True))
        authorizer = apigateway.CognitoUserPoolsAuthorizer(self, "authorizer", cognito_user_pools=[users])
        for name in inventory.get("aws_api_gateway_gateway_response", {}):
            api.add_gateway_response(
                name,
                type=apigateway.ResponseType.of(name.upper()),
                templates={"application/json": '{"error":$context.error.messageString}'},
            )
        model = api.add_model(
            "upload_body",
            content_type="application/json",
            schema=apigateway.JsonSchema(type=apigateway.JsonSchemaType.OBJECT, required=["file_name"]),
        )
        functions = list(self._functions.values())
        # As many resources as the API of the inventory has, one below the other in pairs, and a method on each leaf.
        nodes = [api.root]
        for number, _ in enumerate(inventory["aws_api_gateway_resource"]):
            nodes.append(nodes[(number + 1) // 2].add_resource(f"part{number}"))
        for number, method in enumerate(inventory["aws_api_gateway_method"].values()):
            open_to_all = method["authorization"] == "NONE"
            nodes[-1 - number % (len(nodes) - 1)].add_method(
                ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD")[number // (len(nodes) - 1)],
                apigateway.LambdaIntegration(functions[number % len(functions)]),
                **(
                    {}
                    if open_to_all
                    else {"authorizer": authorizer, "authorization_type": apigateway.AuthorizationType.COGNITO}
                ),
                **({"request_models": {"application/json": model}} if number == 0 else {}),
            )

    def _alarms(self) -> None:
        alerts = actions.SnsAction(list(self._topics.values())[-1])
        made = []
        for name, body in self._inventory["aws_cloudwatch_metric_alarm"].items():
            queries = body.get("metric_query") or []
            metric = _expression(queries) if queries else _metric(body)
            alarm = cloudwatch.Alarm(
                self,
                f"{name}_alarm",
                metric=metric,
                threshold=body.get("threshold", 0),
                evaluation_periods=body.get("evaluation_periods", 1),
                alarm_description=body.get("alarm_description"),
                treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            )
            alarm.add_alarm_action(alerts)
            alarm.add_ok_action(alerts)
            made.append(alarm)
        for name, body in self._inventory["aws_cloudwatch_dashboard"].items():
            widgets = len(json.loads(body["dashboard_body"])["widgets"])
            dashboard = cloudwatch.Dashboard(self, name)
            dashboard.add_widgets(cloudwatch.AlarmStatusWidget(alarms=made))
            for number in range(widgets - 1):
                dashboard.add_widgets(cloudwatch.GraphWidget(left=[made[number % len(made)].metric]))


def _metric(body: Mapping[str, Any]) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=body["namespace"],
        metric_name=body["metric_name"],
        dimensions_map=dict.fromkeys(body.get("dimensions") or {}, "sample"),
        statistic=body.get("statistic") or body.get("extended_statistic") or "Sum",
        period=cdk.Duration.seconds(body.get("period", 300)),
    )


def _expression(queries: list[Mapping[str, Any]]) -> cloudwatch.MathExpression:
    metrics: dict[str, cloudwatch.IMetric] = {}
    said = []
    for query in queries:
        if query.get("expression"):
            said.append(query["expression"])
            continue
        parts = query["metric"]
        first = parts[0] if isinstance(parts, list) else parts
        metrics[query["id"]] = _metric({**first, "statistic": first.get("stat")})
    return cloudwatch.MathExpression(expression=said[-1], using_metrics=metrics)


def main(inventory: Path, output: Path, *, validate: bool) -> None:
    """Synthesize the stack of an inventory into a folder.

    Args:
        validate: let CDK judge the template, as it does without being told.
    """
    resources = json.loads(inventory.read_text())["resource"]
    context = {} if validate else {"@aws-cdk/core:validateAgainstDefaultRules": False}
    app = cdk.App(outdir=str(output), analytics_reporting=False, context=context)
    UploadsStack(app, "uploads", inventory=resources, folder=inventory.parent)
    app.synth()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), validate="--no-validation" not in sys.argv)
