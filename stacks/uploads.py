"""The upload platform of one environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from cdktf import TerraformOutput
from constructs import Construct

from functions.common.contract import SWEEP_SCHEDULE
from modules.api import Api
from modules.api_bodies import COMPLETE_BODY, PARTS_BODY, START_BODY, UPLOAD_BODY
from modules.api_routes import KNOWN_ROUTES
from modules.api_stage import PublishedApi, Throttle
from modules.authorization import Authorization, SignIn
from modules.encryption import CustomerKey
from modules.firewall import Firewall
from modules.functions import Function, Layer, Shared, Sources
from modules.monitored import Monitored
from modules.monitoring import Monitoring
from modules.names import FAILURES_QUEUE
from modules.notifications import Notifications
from modules.policy_documents import Statement
from modules.queries import Queries
from modules.queues import Queue
from modules.releases import Releases
from modules.replica import Replica
from modules.scanning import Scanning
from modules.schedule import Schedule
from modules.settings import Settings
from modules.sharing import SharedValues
from modules.storage import Storage
from modules.tables import Metadata
from modules.webhooks import Webhooks, keep_secrets
from modules.website import Website
from modules.workflow import Workflow
from stacks.base import BaseStack
from stacks.guards import REPLICA
from stacks.upload_functions import UploadFunctions
from stacks.upload_keys import UploadKeys


class UploadsStack(BaseStack):
    """The upload platform: it connects the modules, and decides which options of the settings exist."""

    def __init__(self, scope: Construct, *, settings: Settings, sources: Sources) -> None:
        super().__init__(scope, settings=settings)
        keys = UploadKeys(self, self.foundation)
        website = self._website()
        # On the embedded AWS the page shares the origin of the API and the bucket.
        of_page = [website.origin] if website and not settings.aws_endpoint_url else []
        origins = (*settings.cors_allowed_origins, *of_page)
        storage = self._storage(keys, origins)
        metadata = self._metadata(keys)
        replica = self._replica(storage, metadata)
        notifications = self._notifications(keys)
        shared = self._shared(sources, keys)
        functions = UploadFunctions(
            self,
            settings=settings,
            shared=shared,
            storage=storage,
            metadata=metadata,
            storage_key_arn=keys.storage.arn,
            origins=origins,
        )
        workflow = self._workflow(storage, metadata, notifications, functions, keys)
        scanning = self._scanning(storage, workflow, functions, keys)
        sweep = functions.sweep(workflow)
        schedule = self._schedule(sweep, keys)
        health = functions.health()
        authorizer = functions.authorizer() if settings.api_authorization == "jwt" else None
        authorization = Authorization(
            self,
            "authorization",
            foundation=self.foundation,
            kind=settings.api_authorization,
            function=authorizer,
            plain_passwords=settings.is_local,
        )
        api = self._api(authorization, functions, health, keys, origins)
        if website:
            self._publish(website, api, authorization, sources)
        webhooks = self._webhooks(notifications, keys)
        sender = functions.sender(webhooks) if webhooks else None

        every_function = [
            *(functions.upload, functions.uploads, functions.files, functions.inspect, functions.discard),
            *(sweep, health),
            *(each for each in (authorizer, sender) if each),
        ]
        # The order is the one of the dashboard.
        monitored: list[Monitored] = [
            *every_function,
            schedule,
            api,
            workflow,
            *(function.dead_letters for function in every_function),
            shared.failures,
            workflow.dead_letters,
            *([scanning.dead_letters] if scanning else []),
            schedule.dead_letters,
            *notifications.queues,
            *(webhooks.dead_letters if webhooks else []),
            notifications.inbox,
            *([webhooks] if webhooks else []),
            *([webhooks.secrets_key] if webhooks else []),
            metadata.files,
            metadata.quotas,
            *([replica] if replica else []),
            storage,
            *([website] if website else []),
            *keys.all,
            *([website.key] if website else []),
        ]
        monitoring = Monitoring(
            self, "monitoring", foundation=self.foundation, alerts=notifications.alerts, monitored=monitored
        )
        Queries(self, "queries", foundation=self.foundation, monitored=monitored)
        if settings.release_strategy == "canary":
            self._releases(every_function, monitoring, notifications)
        self._share(api, notifications)
        self._outputs(
            {
                "api_url": (api.invoke_url, "Address of the API's stage."),
                "api_execution_arn": (api.execution_arn, "What a policy names to allow calls."),
                "files_topic_arn": (notifications.files.arn, "Topic of the events of files."),
                "inbox_url": (notifications.inbox.url, "Queue that holds the events of files."),
                "dashboard_name": (monitoring.dashboard_name, "CloudWatch dashboard with all alarms."),
                "alerts_topic_arn": (notifications.alerts.arn, "Topic of alarms and failures."),
                "state_machine_arn": (workflow.state_machine_arn, "Workflow of a file."),
                "bucket_name": (storage.bucket_name, "Bucket of the files."),
                "table_name": (metadata.files.name, "Table of the records."),
                "quotas_table_name": (metadata.quotas.name, "Table of what owners take up."),
            }
        )
        self._share_user_pool(authorization)
        if website:
            self._outputs({"website_url": (website.address, "Page on which people send files.")})

    def _website(self) -> Website | None:
        """Make the bucket and the distribution of the page, if the settings ask for it."""
        settings = self.settings
        if not settings.enable_website:
            return None
        return Website(
            self,
            "website",
            foundation=self.foundation,
            domain=settings.website_domain,
            certificate_arn=settings.website_certificate_arn,
            logs_access=settings.enable_access_logs,
            endpoint_url=settings.aws_endpoint_url,
        )

    def _publish(self, website: Website, api: PublishedApi, authorization: Authorization, sources: Sources) -> None:
        """Put the page into its bucket, with what it has to know of API, sign-in and limits."""
        settings = self.settings
        if settings.api_authorization == "jwt":
            sign_in = SignIn.at_issuer(
                settings.jwt_issuer or "", audience=settings.jwt_audience or "", client_id=settings.website_client_id
            )
        else:
            sign_in = authorization.sign_in(website.address, endpoint_url=settings.aws_endpoint_url)
        host = f"https://{api.rest_api_id}.execute-api.{settings.primary_region}.amazonaws.com"
        bucket = f"https://{settings.files_bucket_name}.s3.{settings.primary_region}.amazonaws.com"
        website.publish(
            sources=sources,
            config={
                # The embedded AWS has the API at a path of the origin of the page.
                "api": f"{settings.aws_endpoint_url}/_aws/execute-api/{api.rest_api_id}/{api.stage_name}"
                if settings.aws_endpoint_url
                else api.invoke_url,
                "sign_in": asdict(sign_in),
                "limits": {
                    "max_upload_bytes": settings.max_upload_bytes,
                    "allowed_content_types": list(settings.allowed_content_types),
                },
            },
            # The stage's own address would be a cycle: its deployment waits for the address of the page.
            connects=[] if settings.aws_endpoint_url else [host, bucket, *sign_in.origins],
        )

    def _storage(self, keys: UploadKeys, origins: Sequence[str]) -> Storage:
        """Make the bucket of the files."""
        settings = self.settings
        return Storage(
            self,
            "storage",
            foundation=self.foundation,
            key=keys.storage,
            transition_days=settings.s3_lifecycle_transition_days,
            expiration_days=settings.s3_lifecycle_expiration_days,
            logs_access=settings.enable_access_logs,
            origins=origins,
            legal_hold=settings.legal_hold,
            replicates=settings.replicates,
        )

    def _metadata(self, keys: UploadKeys) -> Metadata:
        """Make the tables of records and quotas."""
        return Metadata(
            self,
            "metadata",
            foundation=self.foundation,
            key=keys.metadata,
            replicable=self.settings.replica_region is not None,
        )

    def _replica(self, storage: Storage, metadata: Metadata) -> Replica | None:
        """Make the copies in the second region, if the settings name one.

        The provider of that region stays while copies are removed, so that Terraform can reach them.
        """
        settings = self.settings
        if not settings.replica_region:
            return None
        provider = self.replica_provider()
        if not settings.replicates:
            return None
        return Replica(self, REPLICA, settings=settings, provider=provider, storage=storage, metadata=metadata)

    def _notifications(self, keys: UploadKeys) -> Notifications:
        """Make the topics of file events and alerts."""
        return Notifications(
            self,
            "notifications",
            foundation=self.foundation,
            key=keys.topics,
            queues_key=keys.queues,
            alert_email=self.settings.alert_email,
        )

    def _shared(self, sources: Sources, keys: UploadKeys) -> Shared:
        """Make what all functions have in common: the layer and the queue of failed invocations."""
        return Shared(
            foundation=self.foundation,
            sources=sources,
            layer=Layer(self, "layer", foundation=self.foundation, sources=sources),
            environment_key=keys.functions,
            logs_key=keys.logs,
            queues_key=keys.queues,
            failures=Queue(self, "failures", foundation=self.foundation, name=FAILURES_QUEUE, key=keys.queues),
        )

    def _workflow(
        self,
        storage: Storage,
        metadata: Metadata,
        notifications: Notifications,
        functions: UploadFunctions,
        keys: UploadKeys,
    ) -> Workflow:
        """Make the state machine that every stored file passes."""
        return Workflow(
            self,
            "workflow",
            settings=self.settings,
            storage=storage,
            metadata=metadata,
            notifications=notifications,
            inspect=functions.inspect,
            discard=functions.discard,
            logs_key=keys.logs,
            queues_key=keys.queues,
        )

    def _scanning(
        self, storage: Storage, workflow: Workflow, functions: UploadFunctions, keys: UploadKeys
    ) -> Scanning | None:
        """Make the malware scan of new files, if the settings ask for it."""
        if not self.settings.malware_scanning:
            return None
        return Scanning(
            self,
            "scanning",
            foundation=self.foundation,
            storage=storage,
            workflow=workflow,
            inspect=functions.inspect,
            queues_key=keys.queues,
        )

    def _schedule(self, sweep: Function, keys: UploadKeys) -> Schedule:
        """Make the schedule of the sweeper."""
        return Schedule(
            self,
            SWEEP_SCHEDULE,
            foundation=self.foundation,
            function=sweep,
            every="15 minutes",
            queues_key=keys.queues,
        )

    def _api(
        self,
        authorization: Authorization,
        functions: UploadFunctions,
        health: Function,
        keys: UploadKeys,
        origins: Sequence[str],
    ) -> PublishedApi:
        """Make the API with its routes, and the firewall in front of it if the settings ask for it."""
        api = Api(
            self,
            "api",
            settings=self.settings,
            authorization=authorization,
            known_routes=KNOWN_ROUTES,
            logs_key=keys.logs,
            origins=origins,
        )
        api.health_check()
        # Open to all, and each call costs an invocation: enough calls for a monitor, too few to do harm.
        api.route("GET", "/health/deep", health, open_to_all=True, throttle=Throttle(rate=1, burst=2))
        api.route("POST", "/upload", functions.upload, body=UPLOAD_BODY)
        api.route("POST", "/uploads", functions.uploads, body=START_BODY)
        api.route("GET", "/uploads/{file_id}", functions.uploads)
        api.route("DELETE", "/uploads/{file_id}", functions.uploads)
        api.route("POST", "/uploads/{file_id}/parts", functions.uploads, body=PARTS_BODY)
        api.route("POST", "/uploads/{file_id}/complete", functions.uploads, body=COMPLETE_BODY)
        api.route("GET", "/files", functions.files)
        api.route("GET", "/files/{file_id}", functions.files)
        api.route("DELETE", "/files/{file_id}", functions.files)
        api.route("GET", "/files/{file_id}/content", functions.files)
        api.route("GET", "/quota", functions.files)
        published = api.publish()
        if self.settings.enable_waf:
            Firewall(self, "firewall", foundation=self.foundation, stage_arn=published.stage_arn, logs_key=keys.logs)
        return published

    def _webhooks(self, notifications: Notifications, keys: UploadKeys) -> Webhooks | None:
        """Make the queues and secrets of the webhooks, if the settings name receivers."""
        if not self.settings.webhook_urls:
            return None
        return Webhooks(
            self,
            "webhook",
            foundation=self.foundation,
            urls=self.settings.webhook_urls,
            backoff_seconds=self.settings.webhook_backoff_seconds,
            files=notifications.files,
            queues_key=keys.queues,
            secrets_key=CustomerKey(
                self, "secrets_key", foundation=self.foundation, purpose="secrets", service="secretsmanager"
            ),
        )

    def _releases(self, functions: Sequence[Function], monitoring: Monitoring, notifications: Notifications) -> None:
        """Let CodeDeploy move the traffic of each function, and go back when its alarm on errors goes off."""
        Releases(
            self,
            "releases",
            foundation=self.foundation,
            functions=functions,
            error_alarms={each.name: monitoring.created[each.error_alarm().name] for each in functions},
            alerts=notifications.alerts,
        )

    def _share(self, api: PublishedApi, notifications: Notifications) -> None:
        """Publish the values that other teams' systems read."""
        SharedValues(
            self,
            "shared",
            foundation=self.foundation,
            values={
                "api-url": (api.invoke_url, "Address of the API"),
                "files-topic-arn": (notifications.files.arn, "Topic of the events of files"),
            },
        )

    def _share_user_pool(self, authorization: Authorization) -> None:
        """Declare what an application needs to sign users in, if the API has a user pool of its own."""
        if authorization.user_pool_id and authorization.client_id:
            self._outputs(
                {
                    "user_pool_id": (authorization.user_pool_id, "User pool of those who may call."),
                    "user_pool_client_id": (
                        authorization.client_id,
                        "What an application names when its users sign in.",
                    ),
                }
            )

    def _outputs(self, values: Mapping[str, tuple[str, str]]) -> None:
        """Declare Terraform outputs: values and descriptions by name."""
        for name, (value, description) in values.items():
            TerraformOutput(self, name, value=value, description=description)

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for every component, and to add and remove receivers of webhooks."""
        return [*super().deployer_statements(), keep_secrets(self.foundation)]
