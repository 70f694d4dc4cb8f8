"""Text from servers and file systems, made safe for a terminal, a line, and a folder."""

from __future__ import annotations

import os
import unicodedata

from sluice_client.errors import SluiceError

# Unicode Standard, "General Category": controls (C0 and C1), format characters (bidirectional overrides, invisible
# ones), surrogates, and separators of lines and paragraphs.
_OBEYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Format characters that Persian, Indian scripts and emoji cannot be written without.
_JOINERS = frozenset("\u200c\u200d")
LONGEST_TEXT = 500
# Microsoft Learn, "Naming Files, Paths, and Namespaces".
_RESERVED_BY_WINDOWS = frozenset('<>:"|?*')
_DEVICES = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    | {f"{device}{number}" for device in ("COM", "LPT") for number in "0123456789¹²³"}
)
# What a name that is too long keeps of its end, in bytes: `.tar.gz` and the like say what a file is.
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
    """Return text of a server as a part of one line: printable, and cut where it is very long."""
    return printable(text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}...")


def without_surrogates(text: str) -> str:
    """Return text that UTF-8 can write: JSON can hold half of a surrogate pair, and UTF-8 cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def local_name(file_name: str, *, longest: int = 255, windows: bool = os.name == "nt") -> str:
    """Return the name to store a file under in a folder; it neither leads out of the folder nor to a device.

    Characters that a terminal obeys or that the file system refuses become `_`. A name that is too long loses a part
    of its middle.

    Args:
        file_name: as the uploader gave it.
        longest: bytes that the file system takes for a name (POSIX, NAME_MAX); Windows counts UTF-16 units, which are
            fewer.
        windows: whether the rules of Windows hold too.

    Raises:
        SluiceError: nothing of the name can be used.
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
    # The bytes on disk are UTF-8, whatever the locale of this process is.
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
