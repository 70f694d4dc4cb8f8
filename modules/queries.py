"""Saved queries of Logs Insights for operators; docs/operations.md says when to run which."""

from __future__ import annotations

from collections.abc import Sequence

from cdktf_cdktf_provider_aws.cloudwatch_query_definition import CloudwatchQueryDefinition
from constructs import Construct

from modules.deployer import any_resource
from modules.foundation import Foundation
from modules.monitored import LogQuery, Monitored
from modules.policy_documents import Statement

# Placeholder in a query that the operator replaces by the id of a file.
FILE_ID = "FILE_ID"

# Lines of functions are JSON in which Powertools names level and message; lines that Lambda itself writes are text.
ERRORS = LogQuery(
    "errors",
    [
        "fields @timestamp, service, message, code, exception_name, function_request_id, @message",
        'filter level in ["ERROR", "CRITICAL"] or @message like /Task timed out|Runtime exited|Unhandled/',
        "sort @timestamp desc",
        "limit 100",
    ],
)
FILE = LogQuery(
    "file",
    [
        "fields @timestamp, @log, coalesce(message, type) as happened, @message",
        f"filter @message like /{FILE_ID}/",
        "sort @timestamp asc",
        "limit 1000",
    ],
)
DENIED = LogQuery(
    "denied",
    [
        "fields @timestamp, @log, @message",
        "filter @message like /AccessDenied|not authorized to perform|KMS.*Exception/",
        "sort @timestamp desc",
        "limit 100",
    ],
)

_KEEP = ("logs:DeleteQueryDefinition", "logs:DescribeQueryDefinitions", "logs:PutQueryDefinition")


class Queries(Construct):
    """The saved queries of an environment, in a folder with its name (CloudWatch Logs, "Saving queries")."""

    def __init__(
        self, scope: Construct, construct_id: str, *, foundation: Foundation, monitored: Sequence[Monitored]
    ) -> None:
        """
        Args:
            monitored: constructs in the order of their queries.
        """
        super().__init__(scope, construct_id)
        merged: dict[str, LogQuery] = {}
        for query in (query for construct in monitored for query in construct.log_queries()):
            earlier = merged[query.name].log_groups if query.name in merged else ()
            merged[query.name] = query.of(*earlier, *query.log_groups)
        for name, query in merged.items():
            CloudwatchQueryDefinition(
                self,
                name.replace("-", "_"),
                name=f"{foundation.prefix}/{name}",
                log_group_names=list(query.log_groups),
                query_string="\n| ".join(query.lines),
            )

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for saved queries."""
        return [any_resource("KeepQueries", "a saved query is no resource to IAM", *_KEEP)]
