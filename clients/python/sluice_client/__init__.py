"""A client of Sluice: uploads that go on where they were cut off, downloads that are checked."""

from sluice_client.api import Api, Upload
from sluice_client.connection import Patience, connect
from sluice_client.errors import FileChangedError, ProblemError, SluiceError, UnreachableError
from sluice_client.sending import Sender
from sluice_client.state import States

__all__ = [
    "Api",
    "FileChangedError",
    "Patience",
    "ProblemError",
    "Sender",
    "SluiceError",
    "States",
    "UnreachableError",
    "Upload",
    "connect",
]
