"""Every route that some environment may have deployed, whether or not a function still answers it.

A route that is taken out of `stacks/uploads.py` and stays here is closed by the next apply (`Api` says why Terraform
cannot remove it). Once every environment was applied without the route, it can go from here as well.
"""

from __future__ import annotations

KNOWN_ROUTES: tuple[tuple[str, str], ...] = (
    ("GET", "/health/deep"),
    ("POST", "/upload"),
    ("POST", "/uploads"),
    ("GET", "/uploads/{file_id}"),
    ("DELETE", "/uploads/{file_id}"),
    ("POST", "/uploads/{file_id}/parts"),
    ("POST", "/uploads/{file_id}/complete"),
    ("GET", "/files"),
    ("GET", "/files/{file_id}"),
    ("DELETE", "/files/{file_id}"),
    ("GET", "/files/{file_id}/content"),
)
