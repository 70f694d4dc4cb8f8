"""What a file is by its first bytes, and whether that is what its owner declared.

puremagic knows the signatures of binary formats. Text has none: text is told as browsers tell it (MIME Sniffing
Standard, "Identifying a resource with an unknown MIME type"), and so is HTML, which must not pass as harmless.
A program never passes as something else: its few signatures are looked for first, whatever else matches.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass

import puremagic
from puremagic.main import magic_header_array

from functions.common.media_types import ANY_BYTES, EXECUTABLE, canonical, permitted

# All signatures of formats that people upload lie in here; what lies further in (ISO 9660: 32 KiB) costs more to read
# than it tells. One ranged request.
HEAD_BYTES = 8192

EMPTY = "application/x-empty"
_TEXT = "text/plain"
_XML = "application/xml"
_OLE = "application/x-ole-storage"
_PE = "application/vnd.microsoft.portable-executable"
_OPEN_XML = "application/vnd.openxmlformats-officedocument."

_PROGRAMS = (
    (b"\x7fELF", "application/x-elf"),
    (b"\xfe\xed\xfa\xce", "application/x-mach-binary"),
    (b"\xfe\xed\xfa\xcf", "application/x-mach-binary"),
    (b"\xce\xfa\xed\xfe", "application/x-mach-binary"),
    (b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    # Mach-O for several processors begins as a Java class does; neither is welcome.
    (b"\xca\xfe\xba\xbe", "application/java-vm"),
    (b"\x00asm", "application/wasm"),
    (b"dex\n", "application/vnd.android.dex"),
    (b"\x4c\x00\x00\x00\x01\x14\x02\x00", "application/x-ms-shortcut"),
    (b"#!", "text/x-shellscript"),
)
# Class id of installers, in the root entry of a compound file as Windows writes it ([MS-CFB], [MS-OLEPS]).
_INSTALLER = bytes.fromhex("8410 0c00 0000 0000 c000 000000000046")

# Formats that share a container. The head tells the container for sure, and what is in it not always.
_IN_OLE = frozenset(
    {
        "application/msword",
        "application/vnd.ms-excel",
        "application/vnd.ms-outlook",
        "application/vnd.ms-powerpoint",
        "application/vnd.ms-project",
        "application/vnd.visio",
    }
)
_IN_ISO_MEDIA = frozenset({"audio/mp4", "video/3gpp", "video/3gpp2", "video/mp4", "video/x-m4v"})
_IN_HEIF = frozenset({"image/avif", "image/heic", "image/heic-sequence", "image/heif", "image/heif-sequence"})
_IN_OGG = frozenset({"application/ogg", "audio/ogg", "audio/opus", "video/ogg"})
_IN_MATROSKA = frozenset({"audio/webm", "audio/x-matroska", "video/webm", "video/x-matroska"})
_CONTAINERS = (_IN_OLE | {_OLE}, _IN_ISO_MEDIA, _IN_HEIF, _IN_OGG, _IN_MATROSKA)

# Formats of text with a signature.
_MARKED_TEXT = frozenset({"application/pdf", "application/postscript", "application/rtf"})
# Formats of text whose names do not say so.
_TEXTUAL = frozenset(
    {_XML, "application/json", "application/sql", "application/toml", "application/x-ndjson", "application/yaml"}
)
_NEVER_TEXT = ("audio/", "font/", "image/", "video/")

# MIME Sniffing Standard: what a browser takes for HTML at the start of a resource, and what has to come behind it.
_HTML = re.compile(
    r"<(?:!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p)[\s>]", re.IGNORECASE
)
_BEFORE_ROOT = re.compile(
    r"\s*(?:<\?[^>]*\?>|<!--.*?-->|<!doctype[^>\[]*(?:\[[^\]]*\])?\s*>)\s*", re.IGNORECASE | re.DOTALL
)
_ROOT = re.compile(r"<(?:[\w.-]+:)?([\w.-]+)")
_SERVER_CODE = re.compile(r"<\?(?:php|=)|<%", re.IGNORECASE)
# "Binary data byte" of the same standard.
_BINARY = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))

# A signature of two bytes meets one file in some thousands by chance: it may confirm a type, and contradicts none.
_SURE_BYTES = 3
# A signature as long as this stays true beside a longer one: `RIFF....WAVE` and `RIFF....WAVEfmt `.
_TRUSTED_BYTES = 8
_KNOWN = frozenset(canonical(row.mime_type) for row in magic_header_array if row.mime_type)


@dataclass(frozen=True)
class _Found:
    """The likeliest type, whether it is sure, and every type that the bytes may be."""

    best: str
    sure: bool
    kinds: frozenset[str]


def detect(head: bytes) -> str:
    """The likeliest media type of a file.

    Args:
        head: its first HEAD_BYTES bytes, or all of it. It never raises, whatever they are.
    """
    return _look(head[:HEAD_BYTES]).best


def mismatch(declared: str, head: bytes, allowed: Sequence[str]) -> str | None:
    """Why a file is refused, in words for its owner, or None if it is what was declared.

    Args:
        declared: media type that the owner declared; application/octet-stream stands for every type that is allowed.
        head: its first HEAD_BYTES bytes, or all of it.
        allowed: media types and patterns such as `image/*`.
    """
    wanted = canonical(declared)
    if not permitted(wanted, allowed):
        return f"the type {wanted} is not allowed"
    found = _look(head[:HEAD_BYTES])
    if found.best == EMPTY:
        return "the file is empty"
    if wanted in found.kinds:
        return None
    if wanted == ANY_BYTES:
        if not found.sure or permitted(found.best, allowed):
            return None
        return f"the file is {found.best}, which is not allowed"
    if found.best in (_TEXT, _XML) and (_is_text(wanted) or not _has_signature(wanted)):
        return None
    if found.sure:
        return f"the file is {found.best}, and was declared as {wanted}"
    if _is_text(wanted) or _has_signature(wanted):
        return f"the file was declared as {wanted}, and is not"
    # No signature is known of what was declared, and none was found.
    return None


def _is_text(media_type: str) -> bool:
    """Whether a file of a type is text. An SVG is too, but text that does not say so is none."""
    named = media_type.startswith("text/") or media_type.endswith(("+json", "+xml")) or media_type in _TEXTUAL
    return named and media_type != "image/svg+xml"


def _has_signature(media_type: str) -> bool:
    """Whether files of a type can be told from text."""
    return (
        media_type.startswith(_NEVER_TEXT)
        or media_type in _KNOWN
        or media_type in EXECUTABLE
        or any(media_type in container for container in _CONTAINERS)
    )


def _look(head: bytes) -> _Found:
    if not head:
        return _only(EMPTY)
    for signature, kind in _PROGRAMS:
        if head.startswith(signature):
            return _only(kind)
    text = _text_of(head)
    if head.startswith(b"MZ") and text is None:
        return _only(_PE)
    if head.startswith(b"PK\x03\x04"):
        return _in_zip(head)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return _only("application/x-msi") if _INSTALLER in head else _Found(_OLE, True, _IN_OLE | {_OLE})
    signed = _by_signature(head)
    if signed.sure and signed.best in _MARKED_TEXT:
        return signed
    if text is not None:
        return _in_text(text)
    if head[4:8] == b"ftyp":
        return _in_iso_media(head[8:12].decode("latin-1"))
    # PDF may have something before it ("PDF Reference", implementation note 13): a kilobyte.
    if b"%PDF-" in head[:1024]:
        return _only("application/pdf")
    # The sync word of MPEG audio, for files without a tag before it.
    if not signed.sure and head[0] == 0xFF and len(head) > 1 and head[1] & 0xE6 in (0xE2, 0xE4, 0xE6):
        return _Found("audio/mpeg", False, signed.kinds | {"audio/mpeg"})
    return signed


def _in_iso_media(brand: str) -> _Found:
    """Video, audio or picture in ISO media, by the major brand (MP4 Registration Authority, "Brands")."""
    pictures = {"avif": "image/avif", "avis": "image/avif", "mif1": "image/heif", "msf1": "image/heif"}
    if brand in pictures or brand.startswith(("hei", "hev", "hem")):
        return _Found(pictures.get(brand, "image/heic"), True, _IN_HEIF)
    if brand == "qt  ":
        return _only("video/quicktime")
    best = "audio/mp4" if brand.startswith("M4") else "video/3gpp" if brand.startswith("3g") else "video/mp4"
    return _Found(best, True, _IN_ISO_MEDIA)


def _only(kind: str) -> _Found:
    return _Found(kind, True, frozenset({kind}))


def _by_signature(head: bytes) -> _Found:
    """What puremagic says: the longest signatures count, and what shares a container with them."""
    try:
        matches = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        matches = []
    # Signatures of the end of a file have a negative offset; the end is not here.
    named = [match for match in matches if match.mime_type and match.offset >= 0 and len(match.byte_match) > 1]
    if not named:
        return _Found(ANY_BYTES, False, frozenset({ANY_BYTES}))
    longest = max(len(match.byte_match) for match in named)
    sure = longest >= _SURE_BYTES
    kinds = {canonical(match.mime_type) for match in named if len(match.byte_match) >= min(longest, _TRUSTED_BYTES)}
    for container in _CONTAINERS:
        if kinds & container:
            kinds |= container
    best = max(named, key=lambda match: (match.confidence, len(match.byte_match)))
    return _Found(canonical(best.mime_type), sure, frozenset(kinds))


def _in_zip(head: bytes) -> _Found:
    """What is in a zip, by the names of its first entries (APPNOTE.TXT, 4.3.7; "Open Packaging Conventions")."""
    names = []
    at = head.find(b"PK\x03\x04")
    while at >= 0:
        length = int.from_bytes(head[at + 26 : at + 28], "little")
        names.append(head[at + 30 : at + 30 + length])
        at = head.find(b"PK\x03\x04", at + 4)
    if b"AndroidManifest.xml" in names or b"classes.dex" in names:
        return _only("application/vnd.android.package-archive")
    if b"META-INF/MANIFEST.MF" in names:
        return _only("application/java-archive")
    if names[0] == b"mimetype":
        # OpenDocument and EPUB say what they are in their first entry, which is not compressed.
        said = re.match(rb"[a-z]+/[a-z0-9.+-]+", head[38:138])
        if said:
            kind = canonical(said[0].removesuffix(b"PK").decode())
            return _Found(kind, True, frozenset({kind, "application/zip"}))
    if any(name in (b"[Content_Types].xml", b"_rels/.rels") for name in names):
        for folder, kind in ((b"word/", "wordprocessingml"), (b"xl/", "spreadsheetml"), (b"ppt/", "presentationml")):
            if any(name.startswith(folder) for name in names):
                return _office(kind)
        return _office("wordprocessingml", "spreadsheetml", "presentationml")
    return _only("application/zip")


def _office(*formats: str) -> _Found:
    """An Office document, whose template and slide show differ from it in a word that the head does not show."""
    endings = {
        "wordprocessingml": ("document", "template"),
        "spreadsheetml": ("sheet", "template"),
        "presentationml": ("presentation", "template", "slideshow"),
    }
    kinds = [f"{_OPEN_XML}{each}.{ending}" for each in formats for ending in endings[each]]
    return _Found(kinds[0], True, frozenset({*kinds, "application/zip"}))


def _text_of(head: bytes) -> str | None:
    """The head as text, or None if it is binary. Bytes of older encodings are text, and stand for themselves."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            try:
                # A character may be cut at the end.
                text = codecs.getincrementaldecoder(encoding)().decode(head[len(mark) :])
            except UnicodeDecodeError:
                return None
            break
    else:
        text = head.decode("latin-1")
    return None if _BINARY.search(text) else text


def _in_text(text: str) -> _Found:
    """Plain text, or text that a browser or a server would run."""
    start = text.lstrip()
    if _SERVER_CODE.match(start):
        return _only("application/x-httpd-php")
    rest = start
    while before := _BEFORE_ROOT.match(rest):
        rest = rest[before.end() :]
    root = _ROOT.match(rest)
    name = root[1].lower() if root else ""
    if name == "svg":
        return _only("image/svg+xml")
    # A comment at the start makes HTML of what follows; a text in which no tag follows is read as text.
    if name == "html" or _HTML.match(start) or _HTML.match(rest) or (start.startswith("<!--") and _HTML.search(rest)):
        return _Found("text/html", True, frozenset({"text/html", "application/xhtml+xml"}))
    if start[:5].lower() == "<?xml":
        return _Found(_XML, True, frozenset({_XML, _TEXT}))
    return _only(_TEXT)
