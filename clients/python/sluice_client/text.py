"""Functions that make text of servers and file systems safe for terminals, single lines and folders."""

from __future__ import annotations

import os
import unicodedata

from sluice_client.errors import SluiceError

# Unicode Standard, "General Category": controls (C0 and C1), format characters (bidirectional overrides, invisible
# ones), surrogates, and separators of lines and paragraphs.
_OBEYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Format characters that Persian, Indian scripts and emoji need.
_JOINERS = frozenset("\u200c\u200d")
LONGEST_TEXT = 500
# Microsoft Learn, "Naming Files, Paths, and Namespaces".
_RESERVED_BY_WINDOWS = frozenset('<>:"|?*')
_DEVICES = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    | {f"{device}{number}" for device in ("COM", "LPT") for number in "0123456789¹²³"}
)
# Bytes that a shortened name keeps at its end: `.tar.gz` and the like show the type of a file.
_LONGEST_END = 32


def _is_shown(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in _OBEYED


def printable(text: str) -> str:
    r"""Return text with every character that a terminal obeys or hides replaced by its escape, such as `\x1b`."""
    if text.isprintable():
        return text
    return "".join(
        character if _is_shown(character) else character.encode("unicode_escape").decode() for character in text
    )


def quoted(text: str) -> str:
    """Return text of a server as part of one line: printable, and cut if it is very long."""
    return printable(text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}...")


def without_surrogates(text: str) -> str:
    """Return text that UTF-8 can encode: JSON can contain half of a surrogate pair, UTF-8 cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def local_name(file_name: str, *, longest: int = 255, windows: bool = os.name == "nt") -> str:
    """Return a safe name for a file in a folder; it cannot lead out of the folder or to a device.

    Characters that a terminal obeys or that the file system refuses become `_`. A name that is too long loses a part
    of its middle.

    Args:
        file_name: name that the uploader gave.
        longest: limit of the file system in bytes (POSIX, NAME_MAX); Windows counts UTF-16 units, which are fewer.
        windows: whether the rules of Windows apply, too.

    Raises:
        SluiceError: no part of the name can be used.
    """
    name = next((part for part in reversed(file_name.replace("\\", "/").split("/")) if part), "")
    name = "".join(
        character if _is_shown(character) and not (windows and character in _RESERVED_BY_WINDOWS) else "_"
        for character in name
    )
    if windows:
        name = name.rstrip(" .")
        if name.partition(".")[0].rstrip().upper() in _DEVICES:
            name = f"_{name}"
    if name in {"", ".", ".."}:
        raise SluiceError(f"it is named '{quoted(file_name)}'; name the file to write with --to")
    name = _shortened(name, longest)
    # The bytes on disk are UTF-8, independent of the locale of this process.
    return os.fsdecode(name.encode())


def _shortened(name: str, longest: int) -> str:
    if len(name.encode()) <= longest:
        return name
    stem, dot, end = name.partition(".")
    if len(end.encode()) > _LONGEST_END:
        stem, dot, end = name.rpartition(".")
    end = f"{dot}{end}"
    if not stem or len(end.encode()) > _LONGEST_END:
        stem, end = name, ""
    kept = stem.encode()[: longest - len(end.encode())].decode(errors="ignore")
    return f"{kept}{end}"
