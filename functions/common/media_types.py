"""Media types as callers declare them and as the setting ALLOWED_CONTENT_TYPES lists them.

`text/Plain; charset=utf-8` is `text/plain`; old and vendors' names of a type are the registered one's (IANA, "Media
Types"). A pattern such as `image/*` covers a whole kind, but never a type that runs in a browser or on a computer:
those have to be named in full.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

ANY_BYTES = "application/octet-stream"

# Opened in a browser or put on a server, these run what their author wrote.
ACTIVE = frozenset(
    {
        "application/x-httpd-php",
        "application/xhtml+xml",
        "application/xslt+xml",
        "image/svg+xml",
        "text/html",
        "text/javascript",
    }
)
# Started on a computer, these run what their author wrote.
EXECUTABLE = frozenset(
    {
        "application/java-archive",
        "application/java-vm",
        "application/vnd.android.dex",
        "application/vnd.android.package-archive",
        "application/vnd.microsoft.portable-executable",
        "application/wasm",
        "application/x-elf",
        "application/x-mach-binary",
        "application/x-ms-shortcut",
        "application/x-msi",
        "text/x-shellscript",
    }
)

_SAME = {
    "application/csv": "text/csv",
    "application/ecmascript": "text/javascript",
    "application/font-sfnt": "font/sfnt",
    "application/font-woff": "font/woff",
    "application/javascript": "text/javascript",
    "application/mspowerpoint": "application/vnd.ms-powerpoint",
    "application/x-bat": "text/x-shellscript",
    "application/x-bzip": "application/x-bzip2",
    "application/x-dosexec": "application/vnd.microsoft.portable-executable",
    "application/x-executable": "application/x-elf",
    "application/x-font-ttf": "font/ttf",
    "application/x-font-woff": "font/woff",
    "application/x-gzip": "application/gzip",
    "application/x-javascript": "text/javascript",
    "application/x-ms-installer": "application/x-msi",
    "application/x-msdownload": "application/vnd.microsoft.portable-executable",
    "application/x-pdf": "application/pdf",
    "application/x-rar": "application/vnd.rar",
    "application/x-rar-compressed": "application/vnd.rar",
    "application/x-sh": "text/x-shellscript",
    "application/x-sqlite3": "application/vnd.sqlite3",
    "application/x-yaml": "application/yaml",
    "application/x-zip": "application/zip",
    "application/x-zip-compressed": "application/zip",
    "audio/m4a": "audio/mp4",
    "audio/mid": "audio/midi",
    "audio/mp3": "audio/mpeg",
    "audio/vnd.wave": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/x-aiff": "audio/aiff",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/mp4",
    "audio/x-midi": "audio/midi",
    "audio/x-mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-bmp": "image/bmp",
    "image/x-icon": "image/vnd.microsoft.icon",
    "image/x-ms-bmp": "image/bmp",
    "image/x-png": "image/png",
    "text/ecmascript": "text/javascript",
    "text/json": "application/json",
    "text/rtf": "application/rtf",
    "text/x-javascript": "text/javascript",
    "text/xml": "application/xml",
    "text/yaml": "application/yaml",
    "video/avi": "video/x-msvideo",
    "video/msvideo": "video/x-msvideo",
}


def canonical(media_type: str) -> str:
    """The registered name of a media type, in lower case and without parameters."""
    bare = media_type.partition(";")[0].strip().lower()
    return _SAME.get(bare, bare)


def permitted(media_type: str, allowed: Iterable[str]) -> bool:
    """Whether a list of types and patterns lets a media type in."""
    name = canonical(media_type)
    patterns = {canonical(pattern) for pattern in allowed}
    if name in ACTIVE or name in EXECUTABLE:
        return name in patterns
    return any(fnmatchcase(name, pattern) for pattern in patterns)
