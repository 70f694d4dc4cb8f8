"""Hands a claimed file to the function `discard`, which alone may delete bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import boto3

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


class Discarding:
    """Invokes `discard` without waiting. Lambda tries again and keeps what failed; the sweeper finds what was lost."""

    def __init__(self, function_arn: str) -> None:
        self._function_arn = function_arn
        self._client: LambdaClient | None = None

    def __call__(self, file_id: str) -> None:
        """Have a claimed file ended.

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
