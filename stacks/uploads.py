"""The upload platform of one environment."""

from __future__ import annotations

from cdktf import TerraformOutput
from constructs import Construct

from modules.api import Api
from modules.encryption import CustomerKey, admit_logs
from modules.functions import Function, Layer, Sources
from modules.metadata import Metadata
from modules.settings import Settings
from modules.storage import Storage
from stacks.base import BaseStack


class UploadsStack(BaseStack):
    """Wires the modules: who may do what to which, and which route leads where."""

    def __init__(self, scope: Construct, *, settings: Settings, sources: Sources) -> None:
        super().__init__(scope, settings=settings)
        storage_key = CustomerKey(self, "storage_key", settings=settings, purpose="files", service="s3")
        metadata_key = CustomerKey(self, "metadata_key", settings=settings, purpose="records", service="dynamodb")
        functions_key = CustomerKey(self, "functions_key", settings=settings, purpose="variables", service="lambda")
        logs_key = CustomerKey(
            self,
            "logs_key",
            settings=settings,
            purpose="logs",
            service="logs",
            admit=[admit_logs(settings, [f"/aws/lambda/{settings.prefix}-"])],
        )
        storage = Storage(self, "storage", settings=settings, key=storage_key)
        metadata = Metadata(self, "metadata", settings=settings, key=metadata_key)

        layer = Layer(self, "layer", settings=settings, sources=sources)
        where_files_are = {"BUCKET_NAME": storage.bucket_name, "TABLE_NAME": metadata.table_name}

        def function(name: str, description: str) -> Function:
            return Function(
                self,
                name,
                settings=settings,
                sources=sources,
                layer=layer,
                description=description,
                environment=where_files_are,
                environment_key=functions_key,
                logs_key=logs_key,
            )

        upload = function("upload", "Stores a small file: POST /upload")
        storage.grant_write(upload.role)
        metadata.grant_record(upload.role)
        download = function("download", "Leads the owner of a file to its content: GET /files/{file_id}/content")
        storage.grant_read(download.role)
        metadata.grant_read(download.role)

        api = Api(self, "api", settings=settings)
        api.health_check()
        api.route("POST", "/upload", upload)
        api.route("GET", "/files/{file_id}/content", download)
        api.publish()

        TerraformOutput(self, "api_url", value=api.invoke_url, description="Address of the API's stage.")
        TerraformOutput(
            self, "api_execution_arn", value=api.execution_arn, description="What a policy names to allow calls."
        )
        TerraformOutput(self, "bucket_name", value=storage.bucket_name, description="Bucket of the files.")
        TerraformOutput(self, "table_name", value=metadata.table_name, description="Table of the records.")
