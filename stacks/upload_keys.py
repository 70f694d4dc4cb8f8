"""The customer keys of the upload platform: one for each kind of data."""

from __future__ import annotations

from constructs import Construct

from modules.api_stage import ACCESS_LOG_PREFIX, EXECUTION_LOG_PREFIX
from modules.encryption import CustomerKey, admit_logs, admit_service
from modules.firewall import FIREWALL_LOG_PREFIX
from modules.foundation import Foundation
from modules.workflow import LOG_GROUPS as STATES_LOG_GROUPS


class UploadKeys:
    """The keys, with the services that their policies admit.

    Attributes:
        storage: key of the files.
        metadata: key of the records.
        functions: key of the environment variables.
        logs: key of the log groups.
        queues: key of the queues.
        topics: key of the topics.
    """

    def __init__(self, scope: Construct, foundation: Foundation) -> None:
        prefix = foundation.prefix
        self.storage = CustomerKey(scope, "storage_key", foundation=foundation, purpose="files", service="s3")
        self.metadata = CustomerKey(scope, "metadata_key", foundation=foundation, purpose="records", service="dynamodb")
        self.functions = CustomerKey(
            scope, "functions_key", foundation=foundation, purpose="variables", service="lambda"
        )
        log_groups = [
            f"/aws/lambda/{prefix}-",
            f"{STATES_LOG_GROUPS}{prefix}-",
            f"{ACCESS_LOG_PREFIX}{prefix}-",
            EXECUTION_LOG_PREFIX,
            f"{FIREWALL_LOG_PREFIX}{prefix}-",
        ]
        self.logs = CustomerKey(
            scope,
            "logs_key",
            foundation=foundation,
            purpose="logs",
            service="logs",
            admit=[admit_logs(foundation, log_groups)],
        )
        self.queues = CustomerKey(
            scope,
            "queues_key",
            foundation=foundation,
            purpose="queues",
            service="sqs",
            admit=[
                admit_service(foundation, "events", f"rule/{prefix}-*"),
                admit_service(foundation, "sns", f"{prefix}-*"),
            ],
        )
        self.topics = CustomerKey(
            scope,
            "topics_key",
            foundation=foundation,
            purpose="topics",
            service="sns",
            admit=[admit_service(foundation, "cloudwatch", f"alarm:{prefix}-*")],
        )

    @property
    def all(self) -> list[CustomerKey]:
        """Every key, in the order of the dashboard."""
        return [self.storage, self.metadata, self.functions, self.logs, self.queues, self.topics]
