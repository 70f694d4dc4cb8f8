"""What the fixes need to know about the server that they are applied in."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Values that the server passes to its fixes."""

    endpoint_url: str
    ca_bundle: Path
    lambda_python: Path
    iam_log: Path | None = None
