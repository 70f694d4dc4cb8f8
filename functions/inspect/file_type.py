"""The type of a file by its bytes, and the decision whether the file is accepted under its declared type.

A file is refused if its bytes are dangerous or of a type that is not allowed. A wrong but harmless label is corrected.
The inspection first looks for programs, scripts and macros, in the whole container, so that these never pass as another
type. puremagic knows the signatures of other binary formats.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import puremagic
from puremagic.main import magic_header_array

from functions.common.contract import FailureCode
from functions.common.media_types import ANY_BYTES, RUNS, canonical, not_allowed, permitted
from functions.inspect import compound_file
from functions.inspect.container_types import IN_OLE, OLE, ZIP, in_compound_file, in_zip
from functions.inspect.ranged_content import Content, TooLargeError
from functions.inspect.text import HTML, SCRIPT, TEXT, XHTML, XML, look_at_text, markup_of, text_of
from functions.inspect.type_evidence import Found, only
from functions.inspect.zip_directory import read_directory

EMPTY: Final = "application/x-empty"
_PE: Final = "application/vnd.microsoft.portable-executable"
_PDF: Final = "application/pdf"
_TAR: Final = "application/x-tar"
_ISO: Final = "application/vnd.efi.iso"
# The useful signatures of puremagic are within this many bytes.
_SIGNATURE_BYTES: Final = 8192

_PROGRAMS: Final = (
    (b"\x7fELF", "application/x-elf"),
    (b"\xfe\xed\xfa\xce", "application/x-mach-binary"),
    (b"\xfe\xed\xfa\xcf", "application/x-mach-binary"),
    (b"\xce\xfa\xed\xfe", "application/x-mach-binary"),
    (b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    # Mach-O for several processors begins as a Java class does; neither is welcome.
    (b"\xca\xfe\xba\xbe", "application/java-vm"),
    (b"\xca\xfe\xba\xbf", "application/x-mach-binary"),
    (b"\xbe\xba\xfe\xca", "application/x-mach-binary"),
    (b"\x00asm", "application/wasm"),
    (b"dex\n", "application/vnd.android.dex"),
    (b"dey\n", "application/vnd.android.dex"),
    (b"\x4c\x00\x00\x00\x01\x14\x02\x00", "application/x-ms-shortcut"),
    (b"?_\x03\x00", "application/vnd.ms-htmlhelp"),
    (b"ITSF\x03\x00\x00\x00", "application/vnd.ms-htmlhelp"),
    (b"!<arch>\ndebian-binary", "application/vnd.debian.binary-package"),
    (b"\xed\xab\xee\xdb", "application/x-rpm"),
    (b"Cr24", "application/x-chrome-extension"),
    (b"xar!", "application/vnd.apple.installer+xml"),
    (b"BC\xc0\xde", "application/x-llvm"),
    (b"\xde\xc0\x17\x0b", "application/x-llvm"),
    (b"\x1bLua", "application/x-lua-bytecode"),
    (b"\x1bLJ", "application/x-lua-bytecode"),
    (b"FasdUAS ", "application/x-applescript"),
    (b"Joy!peff", "application/x-mach-binary"),
    (b"JM\x01\x00PK", "application/java-archive"),
    (b"\x7a\x1a\x20\x10", "application/vnd.symbian.install"),
    (b"flatpak\x00\x01\x00\x89\xe5", "application/vnd.flatpak"),
    # Programs for every system at once are shell scripts by their first bytes ("Actually Portable Executable").
    (b"MZqFpD='", _PE),
    (b"jartsr='", _PE),
)
_FLASH: Final = re.compile(rb"[FCZ]WS[\x01-\x40]")
# Magic numbers of compiled Python: 2.x, then 3.0 to 3.19 and later.
_PYTHON: Final = ((50_000, 62_300), (3_000, 4_200))
_SOUND: Final = (
    (b"#!AMR-WB", "audio/amr-wb"),
    (b"#!AMR", "audio/amr"),
    (b"#!SILK_V3", "audio/silk"),
    (b"#!EVRC", "audio/evrc"),
)
# Signatures that puremagic does not have, or has in a longer form, which some files do not match.
_SIGNATURES: Final = (
    (b"%FDF-", "application/vnd.fdf"),
    (b"%!PS", "application/postscript"),
    (b"$FL2@(#)", "application/x-spss-sav"),
    (b"070701", "application/x-cpio"),
    (b"070702", "application/x-cpio"),
    (b"070707", "application/x-cpio"),
    (b"\xc7\x71", "application/x-cpio"),
    (b"\x1f\x9d", "application/x-compress"),
    (b"\x89HDF\r\n\x1a\n", "application/x-hdf"),
    (b"CDF\x01", "application/x-netcdf"),
    (b"CDF\x02", "application/x-netcdf"),
    (b"CDF\x05", "application/x-netcdf"),
    (b"BLENDER", "application/x-blender"),
    (b"MSWIM\0\0\0", "application/x-ms-wim"),
    (b"KDMV", "application/x-vmdk"),
    (b"SIMPLE  =", "image/fits"),
    (b"\xabKTX 11\xbb\r\n\x1a\n", "image/ktx"),
    (b"\xabKTX 20\xbb\r\n\x1a\n", "image/ktx2"),
    (b"\0MRM", "image/x-minolta-mrw"),
    (b"II\x1a\0\0\0HEAPCCDR", "image/x-canon-crw"),
    (b"ttcf\0", "font/collection"),
    (b"\xde\x12\x04\x95", "application/x-gettext-translation"),
    (b"\x95\x04\x12\xde", "application/x-gettext-translation"),
    (b"\xffWPC", "application/vnd.wordperfect"),
    (b"\x09\0\x04\0", "application/vnd.ms-excel"),
    (b"\x09\2\x06\0", "application/vnd.ms-excel"),
    (b"\x09\4\x06\0", "application/vnd.ms-excel"),
    (b"\x09\x08\x08\0", "application/vnd.ms-excel"),
    (b"#?RADIANCE", "image/vnd.radiance"),
    (b"#?RGBE", "image/vnd.radiance"),
)

_BITMAP_HEADERS: Final = frozenset(size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124))

# Formats that share a container. The bytes always show the container, but not always the format inside it.
_IN_ISO_MEDIA: Final = frozenset(
    {
        "audio/3gpp",
        "audio/3gpp2",
        "audio/mp4",
        "video/3gpp",
        "video/3gpp2",
        "video/mj2",
        "video/mp4",
        "video/quicktime",
        "video/x-m4v",
    }
)
_IN_HEIF: Final = frozenset(
    {
        "image/avif",
        "image/avif-sequence",
        "image/heic",
        "image/heic-sequence",
        "image/heif",
        "image/heif-sequence",
    }
)
_IN_TIFF: Final = frozenset(
    {"image/tiff", "image/tiff-fx", "image/x-adobe-dng", "image/vnd.ms-modi"}
    | {f"image/x-canon-{kind}" for kind in ("cr2", "crw")}
    | {f"image/x-nikon-{kind}" for kind in ("nef", "nrw")}
    | {f"image/x-sony-{kind}" for kind in ("arw", "sr2", "srf")}
    | {f"image/x-kodak-{kind}" for kind in ("dcr", "k25", "kdc")}
    | {f"image/x-{kind}" for kind in ("epson-erf", "hasselblad-3fr", "leaf-mos", "mamiya-mef", "minolta-mrw")}
    | {f"image/x-{kind}" for kind in ("olympus-orf", "panasonic-raw", "panasonic-rw", "panasonic-rw2", "pentax-pef")}
    | {f"image/x-{kind}" for kind in ("phaseone-iiq", "raw", "dcraw", "samsung-srw", "leica-rwl", "fuji-raf")}
)
_IN_JPEG_2000: Final = frozenset({"image/jp2", "image/jpm", "image/jpx", "video/mj2"})
_CONTAINERS: Final = (
    IN_OLE,
    _IN_ISO_MEDIA,
    _IN_HEIF,
    _IN_TIFF,
    frozenset({"application/ogg", "audio/ogg", "audio/opus", "audio/speex", "video/ogg"}),
    frozenset({"audio/webm", "audio/x-matroska", "video/webm", "video/x-matroska", "application/x-matroska"}),
    frozenset({"application/vnd.ms-asf", "audio/x-ms-wma", "video/x-ms-asf", "video/x-ms-wmv"}),
    frozenset({"application/vnd.rn-realmedia", "audio/vnd.rn-realaudio", "audio/x-pn-realaudio"}),
    _IN_JPEG_2000,
    frozenset({"audio/mpeg", "audio/mp2", "audio/mpa", "audio/mpa-robust"}),
    frozenset(
        {
            "application/gzip",
            "application/x-abiword",
            "application/x-dia-diagram",
            "application/x-gnumeric",
            "image/svg+xml-compressed",
        }
    ),
    frozenset({"audio/aiff", "audio/x-aifc", "audio/aifc"}),
    frozenset({"audio/amr", "audio/amr-wb"}),
    frozenset({"audio/basic", "audio/x-au"}),
    frozenset({"application/x-plist", "application/x-bplist"}),
    frozenset({"application/wordperfect", "application/vnd.wordperfect"}),
    frozenset({"application/x-123", "application/vnd.lotus-1-2-3"}),
    frozenset({"application/vnd.rar", "application/vnd.comicbook-rar"}),
    frozenset({"font/ttf", "font/otf", "font/sfnt", "font/collection"}),
    frozenset({"application/x-netcdf", "application/x-hdf"}),
    frozenset({"application/postscript", "application/illustrator", _PDF}),
)
# Types that a plain zip may have, beside all types that end in `+zip` (RFC 6839).
_IN_ZIP: Final = frozenset(
    {
        "application/epub+zip",
        "application/vnd.adobe.xd",
        "application/vnd.apple.keynote",
        "application/vnd.apple.numbers",
        "application/vnd.apple.pages",
        "application/vnd.comicbook+zip",
        "application/vnd.google-earth.kmz",
        "application/vnd.recordare.musicxml",
        "application/vnd.sketch",
        "application/x-figma",
        "application/x-sketch",
        "application/x-zip-compressed-fb2",
        "model/3mf",
        "model/vnd.usdz+zip",
    }
)

# Formats that are text, or binary without a signature.
_EITHER: Final = frozenset(
    {
        "application/pgp-encrypted",
        "application/pgp-keys",
        "application/pgp-signature",
        "application/pkcs10",
        "application/x-plist",
        "image/vnd.dxf",
        "model/stl",
    }
)
# Formats that contain other files without compression.
_HOLDS_FILES: Final = frozenset(
    {OLE, _ISO, _TAR, "application/vnd.sqlite3", "application/x-archive", "application/x-cpio"}
)

# Text formats that have a signature.
_MARKED_TEXT: Final = frozenset({_PDF, "application/postscript", "application/rtf"})
# Text formats whose media types do not show that they are text.
_TEXTUAL: Final = frozenset(
    {
        XML,
        "application/json",
        "application/mbox",
        "application/n-triples",
        "application/pem-certificate-chain",
        "application/pkcs8",
        "application/sql",
        "application/toml",
        "application/trig",
        "application/x-bibtex",
        "application/x-latex",
        "application/x-ndjson",
        "application/x-pem-file",
        "application/x-subrip",
        "application/x-tex",
        "application/x-texinfo",
        "application/yaml",
        "audio/mpegurl",
        "audio/x-scpls",
        "image/x-portable-anymap",
        "image/x-portable-bitmap",
        "image/x-portable-graymap",
        "image/x-portable-pixmap",
        "image/x-xbitmap",
        "image/x-xpixmap",
        "message/rfc822",
        "model/gltf+json",
        "model/iges",
        "model/mtl",
        "model/obj",
        "model/step",
        "model/vrml",
    }
)
_NEVER_TEXT: Final = ("audio/", "font/", "image/", "video/")

# By its name, a computer decides how to open a text file, and a browser how to open any file.
_RENDERED_NAMES: Final = {
    **dict.fromkeys(("htm", "html", "hta", "shtml", "htc"), HTML),
    **dict.fromkeys(("xht", "xhtml"), XHTML),
    "svg": "image/svg+xml",
}
_RUN_NAMES: Final = {
    **dict.fromkeys(("bat", "cmd"), SCRIPT),
    **dict.fromkeys(("js", "jse", "mjs"), "text/javascript"),
    **dict.fromkeys(("vbe", "vbs", "wsf", "wsh", "wsc", "sct"), "text/vbscript"),
    **dict.fromkeys(("url", "scf"), "application/x-ms-shortcut"),
    "reg": "text/x-ms-regedit",
}

# A signature of two bytes meets one file in some thousands by chance: it may confirm a type, and contradicts none.
_SURE_BYTES: Final = 3
# A signature as long as this stays true beside a longer one: `RIFF....WAVE` and `RIFF....WAVEfmt `.
_TRUSTED_BYTES: Final = 8
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*")
_KNOWN: Final = frozenset(canonical(row.mime_type) for row in magic_header_array if row.mime_type) | {
    kind for _, kind in (*_SOUND, *_SIGNATURES)
}


@dataclass(frozen=True)
class Verdict:
    """The decision about a file.

    Attributes:
        refusal: reason of a refusal, in words for the owner; empty if the file is accepted.
        media_type: type under which the file is handed out: the declared type if the bytes agree with it.
        code: kind of the refusal, for programs.
    """

    refusal: str
    media_type: str = ANY_BYTES
    code: FailureCode = FailureCode.TYPE_MISMATCH


def judge(
    declared: str, content: Content, allowed: Sequence[str], *, file_name: str = "", strict: bool = False
) -> Verdict:
    """Decide whether a file is accepted, and under which media type.

    It reads up to 64 KiB of the head and 64 KiB of the tail. It reads the directory of a container too, within the
    limits of Content.

    Args:
        declared: media type that the owner declared; application/octet-stream agrees with any bytes.
        allowed: media types and patterns such as `image/*`.
        file_name: name under which users save the file.
        strict: refuse a wrong label instead of correcting it.
    """
    wanted = canonical(declared)
    if not permitted(wanted, allowed):
        return Verdict(not_allowed(wanted), code=FailureCode.TYPE_NOT_ALLOWED)
    try:
        found = _look(content)
    except TooLargeError as error:
        return Verdict(f"the file cannot be judged: {error}", code=FailureCode.NOT_JUDGED)
    if found.best == EMPTY:
        return Verdict("the file is empty")
    if found.best in RUNS and wanted not in {*found.kinds, ANY_BYTES}:
        return Verdict(f"the file is {found.best}, and was declared as {wanted}")
    if found.needs and not permitted(found.needs, allowed):
        return Verdict(
            f"the file holds macros, which takes {found.needs}, and that is not allowed",
            code=FailureCode.TYPE_NOT_ALLOWED,
        )
    named = _by_name(file_name, found)
    if named and not permitted(named, allowed):
        return Verdict(f"the file is named as {named}, which is not allowed", code=FailureCode.TYPE_NOT_ALLOWED)
    return _label(wanted, found, allowed, strict=strict)


def _label(wanted: str, found: Found, allowed: Sequence[str], *, strict: bool) -> Verdict:
    if wanted in found.kinds and wanted != ANY_BYTES:
        return Verdict("", wanted)
    # Bytes that several types share are accepted if one of these types is allowed.
    shared = {found.best} if found.best in RUNS else found.kinds
    is_allowed = any(permitted(kind, allowed) for kind in shared)
    if wanted == ANY_BYTES:
        if found.sure and not is_allowed:
            return Verdict(f"the file is {found.best}, which is not allowed", code=FailureCode.TYPE_NOT_ALLOWED)
        return Verdict("", found.best if is_allowed else ANY_BYTES)
    if _agrees(wanted, found):
        return Verdict("", wanted)
    if strict:
        said = (
            f"is {found.best}, and was declared as {wanted}" if found.sure else f"was declared as {wanted}, and is not"
        )
        return Verdict(f"the file {said}")
    best = found.best if found.sure else ANY_BYTES
    if not (is_allowed if found.sure else permitted(ANY_BYTES, allowed)):
        return Verdict(
            f"the file is {best}, which is not allowed, and was declared as {wanted}", code=FailureCode.TYPE_NOT_ALLOWED
        )
    return Verdict("", best)


def _agrees(wanted: str, found: Found) -> bool:
    """Return whether bytes may be of a type that they do not show: a text format, or a format in a known container."""
    if found.best == XML:
        return _is_text(wanted) or not _has_signature(wanted)
    if found.best == TEXT:
        return (_is_text(wanted) or not _has_signature(wanted)) and not _is_binary(wanted)
    if found.best == ZIP:
        return wanted.endswith("+zip") or wanted in _IN_ZIP
    if found.best == "application/vnd.sqlite3":
        return wanted.endswith("+sqlite3")
    # Neither the bytes nor the declared type have a known signature.
    return not found.sure and (wanted in _EITHER or not (_is_text(wanted) or _is_known(wanted)))


def _is_text(media_type: str) -> bool:
    """Return whether a file of a type is text. An SVG is text too; text that does not declare it is not SVG."""
    if media_type in _EITHER:
        return True
    named = media_type.startswith(("text/", "message/")) or media_type.endswith(("+json", "+xml"))
    return (named or media_type in _TEXTUAL) and media_type != "image/svg+xml"


def _is_binary(media_type: str) -> bool:
    return media_type.endswith(("+zip", "+sqlite3")) or media_type in _IN_ZIP


def _has_signature(media_type: str) -> bool:
    """Return whether files of a type can be distinguished from text."""
    return media_type.startswith(_NEVER_TEXT) or _is_known(media_type)


def _is_known(media_type: str) -> bool:
    """Return whether the signature of a type is known here."""
    return media_type in _KNOWN or media_type in RUNS or any(media_type in container for container in _CONTAINERS)


def _by_name(file_name: str, found: Found) -> str:
    """Return the type that runs or renders under this name; empty if there is none. Windows ignores dots at the end."""
    _, dot, ending = file_name.rstrip(". ").lower().rpartition(".")
    if not dot:
        return ""
    return _RENDERED_NAMES.get(ending) or (_RUN_NAMES.get(ending, "") if found.best in (TEXT, XML) else "")


def _look(content: Content) -> Found:
    head = content.head
    if not head:
        return only(EMPTY)
    if program := _program(content):
        return only(program)
    if head.startswith(compound_file.SIGNATURE):
        found = in_compound_file(compound_file.read_compound_file(content))
    else:
        found = _in_head(content)
    if found.best in RUNS:
        return found
    packed = read_directory(content)
    if packed is None:
        return found
    if head.startswith(b"PK"):
        return in_zip(content, packed)
    # A zip behind other bytes may be a program. The last file in a container may be a zip as well.
    if packed.ends_file or not found.kinds & _HOLDS_FILES:
        behind = in_zip(content, packed)
        if behind.best in RUNS or not found.sure:
            return behind
    return found


def _program(content: Content) -> str:
    head = content.head
    for signature, kind in _PROGRAMS:
        if head.startswith(signature):
            return kind
    text, is_unicode = text_of(head)
    if head[:2] in (b"MZ", b"ZM"):
        # The header of a program may be text, too; it contains the position of the program ("PE Format": e_lfanew).
        start = int.from_bytes(head[60:64], "little")
        if text is None or content.range(start, 4)[:2] in (b"PE", b"NE", b"LE", b"LX"):
            return _PE
    if text is None and _FLASH.match(head):
        return "application/vnd.adobe.flash.movie"
    # pcapng has a similar beginning.
    if text is None and head[2:4] == b"\r\n" and head[:2] != b"\n\r":
        magic = int.from_bytes(head[:2], "little")
        if any(least <= magic <= most for least, most in _PYTHON):
            return "application/x-python-code"
    bare = head.removeprefix(codecs.BOM_UTF8)
    # Rust source files begin with `#![`.
    if bare.startswith(b"#!") and not (bare.startswith(b"#![") and text is not None):
        is_sound = not is_unicode and head.startswith(tuple(signature for signature, _ in _SOUND))
        return "" if is_sound else SCRIPT
    return ""


def _in_head(content: Content) -> Found:
    """Return the type of a file by its head, for files that are neither programs nor compound files."""
    head = content.head
    text, is_unicode = text_of(head)
    signed = _by_signature(head[:_SIGNATURE_BYTES])
    if signed.sure and signed.best in _MARKED_TEXT:
        return signed
    if head.startswith(b"%!PS"):
        return Found("application/postscript", True, _sharing({"application/postscript"}))
    binary = _binary(head) or _pdf_or_sound(head, signed)
    # In an old encoding every byte is a letter, so a signature of a binary format is stronger evidence.
    kind = look_at_text(text, content) if text is not None else ""
    if kind and (kind in RUNS or is_unicode or binary.best == ANY_BYTES):
        kinds = {
            HTML: {HTML, XHTML},
            XML: {XML, TEXT},
            # Other bytes may stand before a PDF, up to a kilobyte ("PDF Reference", implementation note 13).
            TEXT: {TEXT, _PDF} if b"%PDF-" in head[:1024] else {TEXT},
        }.get(kind, {kind})
        return Found(kind, True, frozenset(kinds))
    if markup := markup_of(head):
        kind = look_at_text(markup, content)
        if kind in RUNS:
            return only(kind)
    return binary


def _binary(head: bytes) -> Found | None:
    """Return the type of formats that puremagic does not know, or knows by a signature that is too short."""
    for signature, kind in (*_SOUND, *_SIGNATURES):
        if head.startswith(signature):
            return Found(kind, True, _sharing({kind}))
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"IIU\0", b"IIRO"):
        return Found("image/tiff", True, _IN_TIFF)
    if head.startswith(b"\0\0\0\x0cjP  \r\n\x87\n"):
        return Found("video/mj2" if head[20:24] == b"mjp2" else "image/jp2", True, _IN_JPEG_2000)
    # A bitmap has the size of its second header there ("BITMAPINFOHEADER structure"), and a size in four bytes.
    if head[:2] == b"BM" and head[14:18] in _BITMAP_HEADERS:
        return only("image/bmp")
    if head[:4] == b"RIFF" and head[8:11] in (b"CDR", b"cdr"):
        return only("application/vnd.corel-draw")
    if _is_transport_stream(head):
        return Found("video/mp2t", True, frozenset({"video/mp2t", "video/vnd.dlna.mpeg-tts"}))
    return _iso_media(head) or _archive(head)


def _iso_media(head: bytes) -> Found | None:
    """Return the type of ISO media and of QuickTime, by their first box."""
    if head[4:8] == b"ftyp":
        return _in_iso_media(head[8:12].decode("latin-1"))
    if head[4:8] in (b"moov", b"mdat", b"wide", b"skip", b"pnot", b"free") and head[:1] == b"\0":
        return Found("video/quicktime", True, _IN_ISO_MEDIA)
    return None


def _archive(head: bytes) -> Found | None:
    """Return the type of a disk image or of a tar archive, whose marks are not at the beginning."""
    if head[32_769:32_774] in (b"CD001", b"BEA01", b"NSR02", b"NSR03"):
        return only(_ISO)
    if _is_tar(head[:512]):
        return only(_TAR)
    return None


def _is_transport_stream(head: bytes) -> bool:
    """Return whether the bytes are MPEG packets (ISO 13818-1) of 188 bytes, or of 192 bytes with a time before each."""
    return any(len(head) > at + size and head[at] == head[at + size] == 0x47 for at, size in ((0, 188), (4, 192)))


def _is_tar(header: bytes) -> bool:
    """Return whether a tar header has the right checksum (POSIX, pax, "ustar Interchange Format")."""
    if len(header) < 512 or not header[0]:
        return False
    try:
        stored = int(header[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    return stored == sum(header) - sum(header[148:156]) + 8 * 32


def _pdf_or_sound(head: bytes, signed: Found) -> Found:
    if b"%PDF-" in head[:1024]:
        return only(_PDF)
    # The sync words of MPEG audio and of AAC, for files without a tag before them.
    if not signed.sure and head[0] == 0xFF and len(head) > 1:
        if head[1] & 0xF6 == 0xF0:
            return Found("audio/aac", False, signed.kinds | {"audio/aac"})
        if head[1] & 0xE6 in (0xE2, 0xE4, 0xE6):
            return Found("audio/mpeg", False, signed.kinds | {"audio/mpeg"})
    return signed


def _in_iso_media(brand: str) -> Found:
    """Return the type of ISO media (video, audio or picture), by the major brand (MP4 Registration Authority,
    "Brands").
    """
    pictures = {"avif": "image/avif", "avis": "image/avif", "mif1": "image/heif", "msf1": "image/heif"}
    if brand in pictures or brand.startswith(("hei", "hev", "hem")):
        return Found(pictures.get(brand, "image/heic"), True, _IN_HEIF)
    if brand == "crx ":
        return only("image/x-canon-cr3")
    if brand == "qt  ":
        return Found("video/quicktime", True, _IN_ISO_MEDIA)
    best = "audio/mp4" if brand.startswith("M4") else "video/3gpp" if brand.startswith("3g") else "video/mp4"
    return Found(best, True, _IN_ISO_MEDIA)


def _by_signature(head: bytes) -> Found:
    """Return the types of the longest signatures that puremagic finds, and the types that share a container with them.

    Types that run are left out: our own signatures for them, which are fewer and longer, decide.
    """
    try:
        matches = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        matches = []
    # Signatures of the end of a file have a negative offset; the end is not here.
    named = [
        match
        for match in matches
        if match.offset >= 0
        and len(match.byte_match) > 1
        and _MEDIA_TYPE.fullmatch(canonical(match.mime_type))
        and canonical(match.mime_type) not in RUNS
    ]
    if not named:
        return Found(ANY_BYTES, False, frozenset({ANY_BYTES}))
    longest = max(len(match.byte_match) for match in named)
    kinds = {canonical(match.mime_type) for match in named if len(match.byte_match) >= min(longest, _TRUSTED_BYTES)}
    likeliest = max(named, key=lambda match: (match.confidence, len(match.byte_match)))
    best = canonical(likeliest.mime_type)
    return Found(best, longest >= _SURE_BYTES, _sharing(kinds | {best}))


def _sharing(kinds: set[str]) -> frozenset[str]:
    """Return these types, and all types that share a container with one of them."""
    return frozenset(kinds).union(*(container for container in _CONTAINERS if kinds & container))
