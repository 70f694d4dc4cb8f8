"""Queries of Logs Insights that an operator needs, saved: docs/operations.md says when to run which."""

from __future__ import annotations

from collections.abc import Sequence

from cdktf_cdktf_provider_aws.cloudwatch_query_definition import CloudwatchQueryDefinition
from constructs import Construct

from modules.settings import Settings

SLOW_MILLISECONDS = 1000
# What stands in a query for what its reader knows and it cannot.
FILE_ID = "FILE_ID"


class Queries(Construct):
    """The saved queries of an environment, in a folder with its name (CloudWatch Logs, "Saving queries").

    They are in the syntax of CloudWatch Logs Insights. Lines of functions are JSON in which Powertools names level and
    message; what Lambda itself writes is text. Lines of the access log are JSON.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        functions: Sequence[str],
        workflows: Sequence[str],
        access: Sequence[str],
        authorizer: str | None = None,
        webhooks: str | None = None,
    ) -> None:
        """
        Args:
            functions: names of the log groups of functions.
            workflows: those of state machines.
            access: those of access logs of APIs.
            authorizer: that of the function that asks an issuer.
            webhooks: that of the function that sends webhooks.
        """
        super().__init__(scope, construct_id)
        self._prefix = settings.prefix
        if functions:
            self._save(
                "errors",
                functions,
                "fields @timestamp, service, message, code, exception_name, function_request_id, @message",
                'filter level in ["ERROR", "CRITICAL"] or @message like /Task timed out|Runtime exited|Unhandled/',
                "sort @timestamp desc",
                "limit 100",
            )
            self._save(
                "file",
                [*functions, *workflows],
                "fields @timestamp, @log, coalesce(message, type) as happened, @message",
                f"filter @message like /{FILE_ID}/",
                "sort @timestamp asc",
                "limit 1000",
            )
            self._save(
                "denied",
                [*functions, *workflows],
                "fields @timestamp, @log, @message",
                "filter @message like /AccessDenied|not authorized to perform|KMS.*Exception/",
                "sort @timestamp desc",
                "limit 100",
            )
        if access:
            self._save(
                "slow-requests",
                access,
                "fields @timestamp, httpMethod, resourcePath, status, responseLatency, integrationLatency, requestId",
                f"filter responseLatency > {SLOW_MILLISECONDS}",
                "sort responseLatency desc",
                "limit 100",
            )
            self._save(
                "refused-requests",
                access,
                "filter status >= 400 and status < 500",
                "stats count(*) as times, count_distinct(sourceIp) as addresses, max(@timestamp) as last"
                " by status, errorResponseType, httpMethod, resourcePath",
                "sort times desc",
                "limit 100",
            )

        if authorizer:
            self._save(
                "issuer-errors",
                [authorizer],
                "fields @timestamp, @requestId, @message",
                "filter @message like /IssuerError|Task timed out|Runtime exited|ImportModuleError/",
                "sort @timestamp desc",
                "limit 50",
            )
        if webhooks:
            self._save(
                "undelivered-webhooks",
                [webhooks],
                "fields @timestamp, receiver, reason, receives",
                'filter message = "not delivered"',
                "sort @timestamp desc",
                "limit 50",
            )

    def _save(self, name: str, log_groups: Sequence[str], *lines: str) -> None:
        CloudwatchQueryDefinition(
            self,
            name.replace("-", "_"),
            name=f"{self._prefix}/{name}",
            log_group_names=list(log_groups),
            query_string="\n| ".join(lines),
        )
