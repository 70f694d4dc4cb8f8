"""A client of Sluice: resumable uploads, and downloads with a check of the checksum."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sluice_client.api import Api, Upload
    from sluice_client.connections import connect
    from sluice_client.errors import FileChangedError, ProblemError, SluiceError, UnreachableError
    from sluice_client.receiving import Receiver
    from sluice_client.retries import Patience
    from sluice_client.sending import Sender
    from sluice_client.state import States

__all__ = [
    "Api",
    "FileChangedError",
    "Patience",
    "ProblemError",
    "Receiver",
    "Sender",
    "SluiceError",
    "States",
    "UnreachableError",
    "Upload",
    "connect",
]

_MODULES = {
    "api": ("Api", "Upload"),
    "connections": ("connect",),
    "retries": ("Patience",),
    "errors": ("FileChangedError", "ProblemError", "SluiceError", "UnreachableError"),
    "receiving": ("Receiver",),
    "sending": ("Sender",),
    "state": ("States",),
}


def __getattr__(name: str) -> object:
    """Import a name on first use (PEP 562), so that the command line can handle ^C before it imports them all."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"sluice_client.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
