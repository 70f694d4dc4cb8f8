"""Settings of the server that the fixes need."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Values that the server passes to its fixes.

    Attributes:
        endpoint_url: where every service answers.
        ca_bundle: the certificate authority that functions have to trust.
        lambda_python: the interpreter for functions.
        iam_log: file that gets every IAM decision as a line of JSON.
        proxy_url: proxy by which functions reach AWS at its own host names; without it they get the endpoint.

    """

    endpoint_url: str
    ca_bundle: Path
    lambda_python: Path
    iam_log: Path | None = None
    proxy_url: str | None = None
