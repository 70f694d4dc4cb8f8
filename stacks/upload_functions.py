"""The functions of the upload platform: their environment variables, and the permissions of their roles."""

from __future__ import annotations

from collections.abc import Sequence

from constructs import Construct

from functions.common.contract import HEALTH_PROBE_ID
from modules.authorization import Authorizer
from modules.functions import Function, Shared
from modules.settings import Settings
from modules.storage import Storage
from modules.tables import Metadata
from modules.webhooks import Webhooks
from modules.workflow import Workflow


class UploadFunctions:
    """The functions of the upload platform, with their grants.

    Functions that need more than storage and records are made by the methods.

    Attributes:
        discard: ends a claimed file.
        upload: stores a small file.
        uploads: starts, continues and completes uploads of any size.
        files: lists, shows, serves and deletes files; tells the limits of uploads, and how much of the quota is used.
        inspect: compares a stored object with its record.
    """

    def __init__(
        self,
        scope: Construct,
        *,
        settings: Settings,
        shared: Shared,
        storage: Storage,
        metadata: Metadata,
        storage_key_arn: str,
        origins: Sequence[str],
    ) -> None:
        """
        Args:
            origins: origins whose pages may read the answers of the API.
            storage_key_arn: ARN of the key that callers name when they store a file by a link.
        """
        self._scope = scope
        self._settings = settings
        self._shared = shared
        self._storage = storage
        self._metadata = metadata
        self._bucket_and_table = {"BUCKET_NAME": storage.bucket_name, "TABLE_NAME": metadata.files.name}
        self._quotas = {"QUOTAS_TABLE_NAME": metadata.quotas.name}
        self._limits = {
            "MAX_UPLOAD_BYTES": str(settings.max_upload_bytes),
            "ALLOWED_CONTENT_TYPES": ",".join(settings.allowed_content_types),
            "QUOTA_BYTES": str(settings.quota_bytes),
            "QUOTA_FILES": str(settings.quota_files),
        }
        self._start = self._limits | {"UPLOAD_EXPIRY_HOURS": str(settings.upload_expiry_hours)}
        self._replicated = {"REPLICATED": str(settings.replicates).lower()}
        self._cors = {"CORS_ALLOWED_ORIGINS": ",".join(origins)} if origins else {}
        self.discard = self._discard()
        self._discarding = {"DISCARD_FUNCTION_ARN": self.discard.arn}
        self.upload = self._upload()
        self.uploads = self._uploads(storage_key_arn)
        self.files = self._files()
        self.inspect = self._inspect()

    def sweep(self, workflow: Workflow) -> Function:
        """Make the function that continues or ends files that are due, and starts the workflow for them."""
        sweep = Function(
            self._scope,
            "sweep",
            shared=self._shared,
            description="Brings on files that got stuck, ends what is over, counts quotas",
            environment=self._bucket_and_table
            | self._quotas
            | self._discarding
            | self._replicated
            | {"STATE_MACHINE_ARN": workflow.state_machine_arn},
        )
        self._storage.grant_find(sweep.role)
        if not self._settings.replicates:
            self._storage.grant_find_versions(sweep.role)
        self._metadata.grant_read(sweep.role)
        self._metadata.grant_find_due(sweep.role)
        self._metadata.grant_carry_on(sweep.role)
        self._metadata.grant_recount(sweep.role)
        self.discard.grant_invoke(sweep.role, "discard")
        workflow.grant_start(sweep.role, "workflow_start")
        return sweep

    def health(self) -> Function:
        """Make the function that checks what the API depends on."""
        health = Function(
            self._scope,
            "health",
            shared=self._shared,
            description="Checks what the API needs: GET /health/deep",
            environment=self._bucket_and_table | self._cors,
        )
        self._storage.grant_probe(health.role)
        self._metadata.grant_probe(health.role, HEALTH_PROBE_ID)
        return health

    def authorizer(self) -> Authorizer:
        """Make the function that checks the tokens of an issuer other than the user pool."""
        issuer, audience = self._settings.jwt_issuer or "", self._settings.jwt_audience or ""
        return Authorizer(
            self._scope,
            "authorizer",
            shared=self._shared,
            description="Checks the tokens of the API's callers",
            environment={"JWT_ISSUER": issuer, "JWT_AUDIENCE": audience},
        )

    def sender(self, webhooks: Webhooks) -> Function:
        """Make the function that sends webhooks."""
        sender = Function(
            self._scope,
            "webhooks",
            shared=self._shared,
            description="Posts the events of files to the receivers, signed",
            environment=webhooks.environment,
        )
        webhooks.deliver(sender)
        return sender

    def _discard(self) -> Function:
        """Make the function that removes the bytes of a claimed file and releases its quota."""
        discard = Function(
            self._scope,
            "discard",
            shared=self._shared,
            description="Ends a claimed file: removes its bytes and gives its quota back",
            environment=self._bucket_and_table
            | self._quotas
            | self._replicated
            | {"RECORD_RETENTION_DAYS": str(self._settings.record_retention_days)},
        )
        self._storage.grant_discard(discard.role)
        self._metadata.grant_read(discard.role)
        self._metadata.grant_finish(discard.role)
        return discard

    def _upload(self) -> Function:
        """Make the function of POST /upload."""
        upload = Function(
            self._scope,
            "upload",
            shared=self._shared,
            description="Stores a small file: POST /upload",
            environment=self._bucket_and_table | self._quotas | self._start | self._discarding | self._cors,
        )
        self._storage.grant_write(upload.role)
        self._metadata.grant_start(upload.role)
        self._metadata.grant_carry_on(upload.role)
        self.discard.grant_invoke(upload.role, "discard")
        return upload

    def _uploads(self, storage_key_arn: str) -> Function:
        """Make the function of /uploads."""
        uploads = Function(
            self._scope,
            "uploads",
            shared=self._shared,
            description="Uploads of any size, whose bytes go to S3 directly: /uploads",
            environment=self._bucket_and_table
            | self._quotas
            | self._start
            | self._discarding
            | {
                "LINK_SECONDS": str(self._settings.link_seconds),
                "STORAGE_KEY_ARN": storage_key_arn,
            }
            | self._cors,
        )
        self._storage.grant_upload(uploads.role)
        self._storage.grant_find(uploads.role)
        self._metadata.grant_start(uploads.role)
        self._metadata.grant_read(uploads.role)
        self._metadata.grant_carry_on(uploads.role)
        self.discard.grant_invoke(uploads.role, "discard")
        return uploads

    def _files(self) -> Function:
        """Make the function of /files."""
        files = Function(
            self._scope,
            "files",
            shared=self._shared,
            description="What an owner has: list, look at, fetch, delete: /files; limits: /quota",
            environment=self._bucket_and_table | self._quotas | self._limits | self._discarding | self._cors,
        )
        self._storage.grant_read(files.role)
        self._metadata.grant_read(files.role)
        self._metadata.grant_list(files.role)
        self._metadata.grant_read_quota(files.role)
        self._metadata.grant_carry_on(files.role)
        self.discard.grant_invoke(files.role, "discard")
        return files

    def _inspect(self) -> Function:
        """Make the function that the workflow calls first."""
        settings = self._settings
        inspect = Function(
            self._scope,
            "inspect",
            shared=self._shared,
            description="First step of the workflow: is what is stored what was recorded?",
            environment=self._bucket_and_table
            | {
                "ALLOWED_CONTENT_TYPES": ",".join(settings.allowed_content_types),
                "CONTENT_TYPE_CHECK": settings.content_type_check,
                "MALWARE_SCANNING": str(settings.malware_scanning).lower(),
                "EXPIRATION_DAYS": str(settings.s3_lifecycle_expiration_days),
                "QUARANTINE_RETENTION_DAYS": str(settings.quarantine_retention_days),
            },
        )
        self._storage.grant_inspect(inspect.role)
        self._metadata.grant_read(inspect.role)
        return inspect
