"""The environment variables of a function, as a typed model that it validates when it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from functions.common.records import Quota

# Several values in one variable, with commas between them.
Listed = Annotated[tuple[str, ...], BeforeValidator(lambda text: tuple(text.split(",")) if text else ())]
TableName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{3,255}$")]
# Of an alias: which version answers is not the caller's business.
FunctionArn = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:lambda:[a-z0-9-]+:\d{12}:function:[\w-]+:[a-z]\w*$")]


class Environment(BaseModel):
    """Base of each function's variables: a field `bucket_name` is read from BUCKET_NAME."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=str.upper)

    @classmethod
    def load(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """Read and validate the variables.

        Raises:
            pydantic.ValidationError: a variable is missing or malformed. It ends the start of the function, so that a
                wrong deployment shows at once and not at the first request.
        """
        return cls.model_validate(dict(variables))

    @classmethod
    def names(cls) -> frozenset[str]:
        """The names of the variables, for a comparison with what is deployed."""
        return frozenset(name.upper() for name in cls.model_fields)


class FilesEnvironment(Environment):
    """Where files and their records are: names, never ids or ARNs."""

    bucket_name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    table_name: TableName


class StartEnvironment(FilesEnvironment):
    """What whoever begins an upload has to know: what is taken, and how much of it.

    Attributes:
        allowed_content_types: media types, of which the second part may be `*`.
        upload_expiry_hours: how long an upload may take.
        quota_bytes, quota_files: what one owner may have.
    """

    quotas_table_name: TableName
    allowed_content_types: Listed
    upload_expiry_hours: int = Field(ge=1)
    quota_bytes: int = Field(ge=1)
    quota_files: int = Field(ge=1)

    @property
    def quota(self) -> Quota:
        """What one owner may have."""
        return Quota(self.quota_bytes, self.quota_files)

    @property
    def expiry(self) -> timedelta:
        """How long an upload may take."""
        return timedelta(hours=self.upload_expiry_hours)


class ApiEnvironment(Environment):
    """What every function behind the API may have: the origins whose pages may read its answers; none by default."""

    cors_allowed_origins: Listed = ()
