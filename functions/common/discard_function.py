"""Invokes the function `discard`, the only one that may delete bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import boto3

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


class DiscardFunction:
    """An asynchronous call of `discard`. Lambda retries it and keeps what failed; the sweeper finds what was lost."""

    def __init__(self, function_arn: str) -> None:
        self._function_arn = function_arn
        self._client: LambdaClient | None = None

    def __call__(self, file_id: str) -> None:
        """Have the function end a claimed file.

        Raises:
            ClientError: Lambda refused.
        """
        if self._client is None:
            # Few calls need it; the others start faster.
            self._client = boto3.client("lambda")
        self._client.invoke(
            FunctionName=self._function_arn,
            InvocationType="Event",
            Payload=json.dumps({"file_id": file_id}).encode(),
        )
