"""The upload platform of one environment."""

from __future__ import annotations

from cdktf import TerraformOutput
from constructs import Construct

from functions.common.contract import HEALTH_PROBE_ID, SWEEP_SCHEDULE
from modules.api import ACCESS_LOG_PREFIX, EXECUTION_LOG_PREFIX, Api, Throttle
from modules.api_bodies import COMPLETE_BODY, PARTS_BODY, START_BODY, UPLOAD_BODY
from modules.api_routes import KNOWN_ROUTES
from modules.authorization import Authorization, Authorizer
from modules.encryption import CustomerKey, admit_logs, admit_service
from modules.firewall import FIREWALL_LOG_PREFIX, Firewall
from modules.functions import Function, Layer, Shared, Sources
from modules.metadata import Metadata
from modules.monitored import Monitored
from modules.monitoring import Monitoring
from modules.names import FAILURES_QUEUE
from modules.notifications import Notifications
from modules.queries import Queries
from modules.queues import Queue
from modules.releases import Releases
from modules.replica import Replica
from modules.scanning import Scanning
from modules.schedule import Schedule
from modules.settings import Settings
from modules.sharing import SharedValues
from modules.storage import Storage
from modules.webhooks import Webhooks
from modules.workflow import LOG_GROUPS as STATES_LOG_GROUPS
from modules.workflow import Workflow
from stacks.base import BaseStack
from stacks.guards import REPLICA


class UploadsStack(BaseStack):
    """Wires the modules: who may do what to which, and which route leads where."""

    def __init__(self, scope: Construct, *, settings: Settings, sources: Sources) -> None:
        super().__init__(scope, settings=settings)
        foundation = self.foundation
        storage_key = CustomerKey(self, "storage_key", foundation=foundation, purpose="files", service="s3")
        metadata_key = CustomerKey(self, "metadata_key", foundation=foundation, purpose="records", service="dynamodb")
        functions_key = CustomerKey(self, "functions_key", foundation=foundation, purpose="variables", service="lambda")
        logs_key = CustomerKey(
            self,
            "logs_key",
            foundation=foundation,
            purpose="logs",
            service="logs",
            admit=[
                admit_logs(
                    foundation,
                    [
                        f"/aws/lambda/{foundation.prefix}-",
                        f"{STATES_LOG_GROUPS}{foundation.prefix}-",
                        f"{ACCESS_LOG_PREFIX}{foundation.prefix}-",
                        EXECUTION_LOG_PREFIX,
                        f"{FIREWALL_LOG_PREFIX}{foundation.prefix}-",
                    ],
                )
            ],
        )
        queues_key = CustomerKey(
            self,
            "queues_key",
            foundation=foundation,
            purpose="queues",
            service="sqs",
            admit=[
                admit_service(foundation, "events", f"rule/{foundation.prefix}-*"),
                admit_service(foundation, "sns", f"{foundation.prefix}-*"),
            ],
        )
        topics_key = CustomerKey(
            self,
            "topics_key",
            foundation=foundation,
            purpose="topics",
            service="sns",
            admit=[admit_service(foundation, "cloudwatch", f"alarm:{foundation.prefix}-*")],
        )

        storage = Storage(
            self,
            "storage",
            foundation=foundation,
            key=storage_key,
            transition_days=settings.s3_lifecycle_transition_days,
            expiration_days=settings.s3_lifecycle_expiration_days,
            logs_access=settings.enable_access_logs,
            origins=settings.cors_allowed_origins,
            legal_hold=settings.legal_hold,
            replicates=settings.replicates,
        )
        metadata = Metadata(
            self,
            "metadata",
            foundation=foundation,
            key=metadata_key,
            replicable=settings.replica_region is not None,
        )
        provider = self.replica_provider() if settings.replica_region else None
        replica = (
            Replica(self, REPLICA, settings=settings, provider=provider, storage=storage, metadata=metadata)
            if provider and settings.replicates
            else None
        )
        notifications = Notifications(
            self,
            "notifications",
            foundation=foundation,
            key=topics_key,
            queues_key=queues_key,
            alert_email=settings.alert_email,
        )

        shared = Shared(
            foundation=foundation,
            sources=sources,
            layer=Layer(self, "layer", foundation=foundation, sources=sources),
            environment_key=functions_key,
            logs_key=logs_key,
            queues_key=queues_key,
            failures=Queue(self, "failures", foundation=foundation, name=FAILURES_QUEUE, key=queues_key),
        )
        bucket_and_table = {"BUCKET_NAME": storage.bucket_name, "TABLE_NAME": metadata.files.name}
        quotas = {"QUOTAS_TABLE_NAME": metadata.quotas.name}
        start = {
            "ALLOWED_CONTENT_TYPES": ",".join(settings.allowed_content_types),
            "UPLOAD_EXPIRY_HOURS": str(settings.upload_expiry_hours),
            "QUOTA_BYTES": str(settings.quota_bytes),
            "QUOTA_FILES": str(settings.quota_files),
        }
        replicated = {"REPLICATED": str(settings.replicates).lower()}
        cors = (
            {"CORS_ALLOWED_ORIGINS": ",".join(settings.cors_allowed_origins)} if settings.cors_allowed_origins else {}
        )

        discard = Function(
            self,
            "discard",
            shared=shared,
            description="Ends a claimed file: removes its bytes and gives its quota back",
            environment=bucket_and_table
            | quotas
            | replicated
            | {"RECORD_RETENTION_DAYS": str(settings.record_retention_days)},
        )
        storage.grant_discard(discard.role)
        metadata.grant_read(discard.role)
        metadata.grant_finish(discard.role)
        discarding = {"DISCARD_FUNCTION_ARN": discard.arn}

        upload = Function(
            self,
            "upload",
            shared=shared,
            description="Stores a small file: POST /upload",
            environment=bucket_and_table | quotas | start | discarding | cors,
        )
        storage.grant_write(upload.role)
        metadata.grant_start(upload.role)
        metadata.grant_carry_on(upload.role)
        discard.grant_invoke(upload.role, "discard")

        uploads = Function(
            self,
            "uploads",
            shared=shared,
            description="Uploads of any size, whose bytes go to S3 directly: /uploads",
            environment=bucket_and_table
            | quotas
            | start
            | discarding
            | {
                "MAX_UPLOAD_BYTES": str(settings.max_upload_bytes),
                "LINK_SECONDS": str(settings.link_seconds),
                "STORAGE_KEY_ARN": storage_key.arn,
            }
            | cors,
        )
        storage.grant_upload(uploads.role)
        storage.grant_find(uploads.role)
        metadata.grant_start(uploads.role)
        metadata.grant_read(uploads.role)
        metadata.grant_carry_on(uploads.role)
        discard.grant_invoke(uploads.role, "discard")

        files = Function(
            self,
            "files",
            shared=shared,
            description="What an owner has: list, look at, fetch, delete: /files",
            environment=bucket_and_table | discarding | cors,
        )
        storage.grant_read(files.role)
        metadata.grant_read(files.role)
        metadata.grant_list(files.role)
        metadata.grant_carry_on(files.role)
        discard.grant_invoke(files.role, "discard")

        inspect = Function(
            self,
            "inspect",
            shared=shared,
            description="First step of the workflow: is what is stored what was recorded?",
            environment=bucket_and_table
            | {
                "ALLOWED_CONTENT_TYPES": ",".join(settings.allowed_content_types),
                "CONTENT_TYPE_CHECK": settings.content_type_check,
                "MALWARE_SCANNING": str(settings.malware_scanning).lower(),
                "EXPIRATION_DAYS": str(settings.s3_lifecycle_expiration_days),
                "QUARANTINE_RETENTION_DAYS": str(settings.quarantine_retention_days),
            },
        )
        storage.grant_inspect(inspect.role)
        metadata.grant_read(inspect.role)

        workflow = Workflow(
            self,
            "workflow",
            settings=settings,
            storage=storage,
            metadata=metadata,
            notifications=notifications,
            inspect=inspect,
            discard=discard,
            logs_key=logs_key,
            queues_key=queues_key,
        )

        scanning = (
            Scanning(
                self,
                "scanning",
                foundation=foundation,
                storage=storage,
                workflow=workflow,
                inspect=inspect,
                queues_key=queues_key,
            )
            if settings.malware_scanning
            else None
        )

        sweep = Function(
            self,
            "sweep",
            shared=shared,
            description="Brings on files that got stuck, ends what is over, counts quotas",
            environment=bucket_and_table
            | quotas
            | discarding
            | replicated
            | {"STATE_MACHINE_ARN": workflow.state_machine_arn},
        )
        storage.grant_find(sweep.role)
        if not settings.replicates:
            storage.grant_find_versions(sweep.role)
        metadata.grant_read(sweep.role)
        metadata.grant_find_due(sweep.role)
        metadata.grant_carry_on(sweep.role)
        metadata.grant_recount(sweep.role)
        discard.grant_invoke(sweep.role, "discard")
        workflow.grant_start(sweep.role, "workflow_start")
        schedule = Schedule(
            self, SWEEP_SCHEDULE, foundation=foundation, function=sweep, every="15 minutes", queues_key=queues_key
        )

        health = Function(
            self,
            "health",
            shared=shared,
            description="Checks what the API needs: GET /health/deep",
            environment=bucket_and_table | cors,
        )
        storage.grant_probe(health.role)
        metadata.grant_probe(health.role, HEALTH_PROBE_ID)

        authorizer = self._authorizer(shared) if settings.api_authorization == "jwt" else None
        authorization = Authorization(self, "authorization", settings=settings, function=authorizer)
        api = Api(
            self,
            "api",
            settings=settings,
            authorization=authorization,
            known_routes=KNOWN_ROUTES,
            logs_key=logs_key,
        )
        api.health_check()
        # Open to all, and it costs an invocation: enough for a monitor, too little for mischief.
        api.route("GET", "/health/deep", health, open_to_all=True, throttle=Throttle(rate=1, burst=2))
        api.route("POST", "/upload", upload, body=UPLOAD_BODY)
        api.route("POST", "/uploads", uploads, body=START_BODY)
        api.route("GET", "/uploads/{file_id}", uploads)
        api.route("DELETE", "/uploads/{file_id}", uploads)
        api.route("POST", "/uploads/{file_id}/parts", uploads, body=PARTS_BODY)
        api.route("POST", "/uploads/{file_id}/complete", uploads, body=COMPLETE_BODY)
        api.route("GET", "/files", files)
        api.route("GET", "/files/{file_id}", files)
        api.route("DELETE", "/files/{file_id}", files)
        api.route("GET", "/files/{file_id}/content", files)
        api.publish()
        if settings.enable_waf:
            Firewall(self, "firewall", foundation=foundation, stage_arn=api.stage_arn, logs_key=logs_key)

        webhooks = (
            Webhooks(
                self,
                "webhook",
                foundation=foundation,
                urls=settings.webhook_urls,
                backoff_seconds=settings.webhook_backoff_seconds,
                files=notifications.files,
                queues_key=queues_key,
                secrets_key=CustomerKey(
                    self, "secrets_key", foundation=foundation, purpose="secrets", service="secretsmanager"
                ),
            )
            if settings.webhook_urls
            else None
        )
        sender = self._sender(shared, webhooks) if webhooks else None

        functions = [
            *(upload, uploads, files, inspect, discard, sweep, health),
            *(each for each in (authorizer, sender) if each),
        ]
        monitored: list[Monitored] = [
            *functions,
            schedule,
            api,
            workflow,
            *(function.dead_letters for function in functions),
            shared.failures,
            workflow.dead_letters,
            *([scanning.dead_letters] if scanning else []),
            schedule.dead_letters,
            *notifications.queues,
            *(webhooks.dead_letters if webhooks else []),
            notifications.inbox,
            *([webhooks] if webhooks else []),
            metadata.files,
            metadata.quotas,
            *([replica] if replica else []),
            storage,
            *(storage_key, metadata_key, functions_key, logs_key, queues_key, topics_key),
        ]
        monitoring = Monitoring(
            self,
            "monitoring",
            foundation=foundation,
            alerts=notifications.alerts,
            monitored=monitored,
        )
        Queries(self, "queries", foundation=foundation, monitored=monitored)
        if settings.release_strategy == "canary":
            Releases(
                self,
                "releases",
                foundation=foundation,
                functions=functions,
                error_alarms={each.name: monitoring.created[each.error_alarm().name] for each in functions},
                alerts=notifications.alerts,
            )

        SharedValues(
            self,
            "shared",
            foundation=foundation,
            values={
                "api-url": (api.invoke_url, "Address of the API"),
                "files-topic-arn": (notifications.files.arn, "Topic of the events of files"),
            },
        )

        TerraformOutput(self, "api_url", value=api.invoke_url, description="Address of the API's stage.")
        TerraformOutput(
            self, "api_execution_arn", value=api.execution_arn, description="What a policy names to allow calls."
        )
        TerraformOutput(
            self, "files_topic_arn", value=notifications.files.arn, description="Topic of the events of files."
        )
        TerraformOutput(
            self, "inbox_url", value=notifications.inbox.url, description="Queue that holds the events of files."
        )
        TerraformOutput(
            self, "dashboard_name", value=monitoring.dashboard_name, description="CloudWatch dashboard with all alarms."
        )
        TerraformOutput(
            self, "alerts_topic_arn", value=notifications.alerts.arn, description="Topic of alarms and failures."
        )
        TerraformOutput(
            self,
            "state_machine_arn",
            value=workflow.state_machine_arn,
            description="Workflow of a file.",
        )
        TerraformOutput(self, "bucket_name", value=storage.bucket_name, description="Bucket of the files.")
        TerraformOutput(self, "table_name", value=metadata.files.name, description="Table of the records.")
        TerraformOutput(
            self, "quotas_table_name", value=metadata.quotas.name, description="Table of what owners take up."
        )
        if authorization.user_pool_id and authorization.client_id:
            TerraformOutput(
                self, "user_pool_id", value=authorization.user_pool_id, description="User pool of those who may call."
            )
            TerraformOutput(
                self,
                "user_pool_client_id",
                value=authorization.client_id,
                description="What an application names when its users sign in.",
            )

    def _authorizer(self, shared: Shared) -> Authorizer:
        """The function that checks the tokens of an issuer of one's own."""
        settings = self.settings
        return Authorizer(
            self,
            "authorizer",
            shared=shared,
            description="Checks the tokens of the API's callers",
            environment={"JWT_ISSUER": settings.jwt_issuer or "", "JWT_AUDIENCE": settings.jwt_audience or ""},
        )

    def _sender(self, shared: Shared, webhooks: Webhooks) -> Function:
        """The function that sends webhooks."""
        sender = Function(
            self,
            "webhooks",
            shared=shared,
            description="Posts the events of files to the receivers, signed",
            environment=webhooks.environment,
        )
        webhooks.deliver(sender)
        return sender
