"""All routes that an environment may have deployed, with or without a function that answers them.

If a route is removed from `stacks/uploads.py` and stays in this list, the next apply closes it (see `Api` for the
reason). It can be removed from this list after every environment was applied without it.
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
    ("GET", "/quota"),
)
