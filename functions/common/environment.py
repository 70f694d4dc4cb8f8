"""The environment variables of a function, as a typed model that it validates when it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

# Several values in one variable, with commas between them.
Listed = Annotated[tuple[str, ...], BeforeValidator(lambda text: tuple(text.split(",")) if text else ())]


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
    table_name: str = Field(pattern=r"^[A-Za-z0-9_.-]{3,255}$")


class ApiEnvironment(Environment):
    """What every function behind the API may have: the origins whose pages may read its answers; none by default."""

    cors_allowed_origins: Listed = ()
