"""The environment variables of a function, as a typed model that it validates when it starts.

msgspec rather than pydantic: its import is far shorter, and every cold start pays for imports.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Protocol, Self

import msgspec
from msgspec import Meta

from functions.common.records import Quota

Count = Annotated[int, Meta(ge=1)]
TableName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{3,255}$")]
# Of an alias: which version answers is not the caller's business.
FunctionArn = Annotated[str, Meta(pattern=r"^arn:aws[a-z-]*:lambda:[a-z0-9-]+:\d{12}:function:[\w-]+:[a-z]\w*$")]


class FromText(Protocol):
    """The type of a field that parses the text of its variable itself."""

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse the text of a variable.

        Raises:
            ValueError: it is malformed.
        """


class Listed(tuple[str, ...]):
    """A tuple of values, in one variable with commas between them."""

    __slots__ = ()

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Split the text at its commas."""
        return cls(text.split(",") if text else ())


def _read(kind: type[FromText], text: str) -> FromText:
    return kind.from_text(text)


class Environment(msgspec.Struct, frozen=True, kw_only=True, rename="upper"):
    """Base class of each function's variables: a field `bucket_name` is read from BUCKET_NAME."""

    @classmethod
    def load(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """Read and validate the variables.

        Raises:
            msgspec.ValidationError: a variable is missing or malformed. It ends the start of the function, so that a
                wrong deployment shows at once and not at the first request.
        """
        # Numbers and truth values are text here, which is what `strict` is about.
        return msgspec.convert(dict(variables), cls, strict=False, dec_hook=_read)

    @classmethod
    def names(cls) -> frozenset[str]:
        """Return the names of the variables, to compare them with the deployed ones."""
        return frozenset(cls.__struct_encode_fields__)


class FilesEnvironment(Environment, frozen=True, kw_only=True):
    """The environment variables with the names of bucket and tables; never ids or ARNs."""

    bucket_name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    table_name: TableName


class LimitsEnvironment(FilesEnvironment, frozen=True, kw_only=True):
    """The environment variables with the limits of an upload and of its owner, and the table of what owners use.

    Attributes:
        max_upload_bytes: of one file.
        allowed_content_types: media types, of which the second part may be `*`.
        quota_bytes, quota_files: what one owner may have.
    """

    quotas_table_name: TableName
    max_upload_bytes: Count
    allowed_content_types: Listed
    quota_bytes: Count
    quota_files: Count

    @property
    def quota(self) -> Quota:
        """The quota of one owner."""
        return Quota(self.quota_bytes, self.quota_files)


class StartEnvironment(LimitsEnvironment, frozen=True, kw_only=True):
    """The environment variables of the calls that start uploads.

    Attributes:
        upload_expiry_hours: how long an upload may take.
    """

    upload_expiry_hours: Count

    @property
    def expiry(self) -> timedelta:
        """The time after which an unfinished upload expires."""
        return timedelta(hours=self.upload_expiry_hours)


class ApiEnvironment(Environment, frozen=True, kw_only=True):
    """The environment variables of every function behind the API: origins whose pages may read its answers."""

    cors_allowed_origins: Listed = Listed()
