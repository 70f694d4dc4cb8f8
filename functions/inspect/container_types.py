"""Types of zips and compound files, by the names in their directories.

Program types and macros are checked first, before the type that a package itself declares.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Final, TypeVar
from xml.parsers import expat

from functions.common.media_types import MACROS, RUNS, canonical
from functions.inspect.compound_file import CompoundFile
from functions.inspect.ranged_content import Content, TooLargeError
from functions.inspect.type_evidence import Found, only
from functions.inspect.zip_directory import MAX_UNPACKED, ZipDirectory, unpack

_Kind = TypeVar("_Kind")

ZIP: Final = "application/zip"
OLE: Final = "application/x-ole-storage"
JAR: Final = "application/java-archive"
APK: Final = "application/vnd.android.package-archive"
OPEN_XML: Final = "application/vnd.openxmlformats-officedocument."
OPEN_DOCUMENT: Final = "application/vnd.oasis.opendocument."

# Names of entries, in upper case. One such entry makes a zip a program or an installer.
_RUNNING: Final = (
    (re.compile(r"META-INF/MANIFEST\.MF$|WEB-INF/"), JAR),
    (re.compile(r"(?:BASE/MANIFEST/)?ANDROIDMANIFEST\.XML$|CLASSES\d*\.DEX$|BUNDLECONFIG\.PB$"), APK),
    (re.compile(r"PAYLOAD/[^/]+\.APP/"), "application/x-ios-app"),
    (re.compile(r"APPX(?:BUNDLE)?MANIFEST\.XML$|APPXMETADATA/"), "application/x-msix"),
    (re.compile(r"EXTENSION\.VSIXMANIFEST$"), "application/x-visual-studio-extension"),
    (re.compile(r"INSTALL\.RDF$|META-INF/MOZILLA\.(?:RSA|SF)$"), "application/x-xpinstall"),
    (re.compile(r"META-INF/AIR/"), "application/vnd.adobe.air-application-installer-package+zip"),
    (re.compile(r"__MAIN__\.PYC?$"), "application/x-python-zipapp"),
)
# Names of entries that show the type of other zips.
_PARTS: Final = (
    (re.compile(r"META-INF/CONTAINER\.XML$"), ("application/epub+zip",)),
    (re.compile(r"DOC\.KML$"), ("application/vnd.google-earth.kmz",)),
    (re.compile(r"3D/[^/]+\.MODEL$"), ("model/3mf",)),
    (
        re.compile(r"FIXEDDOCSEQ\.FDSEQ$|FIXEDDOCUMENTSEQUENCE\.FDSEQ$"),
        ("application/vnd.ms-xpsdocument", "application/oxps"),
    ),
    (
        re.compile(r"INDEX/DOCUMENT\.IWA$|INDEX\.ZIP$|INDEX\.XML(?:\.GZ)?$|INDEX\.APXL(?:\.GZ)?$"),
        (
            "application/vnd.apple.pages",
            "application/vnd.apple.numbers",
            "application/vnd.apple.keynote",
            "application/x-iwork-keynote-sffkey",
            "application/x-iwork-pages-sffpages",
            "application/x-iwork-numbers-sffnumbers",
        ),
    ),
)
# One pattern first: a zip may have hundreds of thousands of names.
_RUNNING_NAMES: Final = re.compile("|".join(pattern.pattern for pattern, _ in _RUNNING))
_PART_NAMES: Final = re.compile("|".join(pattern.pattern for pattern, _ in _PARTS))
_SAID: Final = re.compile(rb"(?:application/[a-z0-9.+-]+|image/openraster)")
_VBA_OPEN_DOCUMENT: Final = re.compile(r"SCRIPTS/.+[^/]$|BASIC/.+/(?!SCRIPT-L[BC]\.XML$|DIALOG-L[BC]\.XML$)[^/]+\.XML$")
_VBA_OPEN_XML: Final = re.compile(r"(?:.*/)?VBAPROJECT[^/]*\.BIN$|XL/MACROSHEETS/")
_OF_OPEN_DOCUMENT: Final = frozenset({"META-INF/MANIFEST.XML", "CONTENT.XML"})
_FOLDERS: Final = (
    ("WORD/", "wordprocessingml.document", "word.document"),
    ("XL/", "spreadsheetml.sheet", "excel.sheet"),
    ("PPT/", "presentationml.presentation", "powerpoint.presentation"),
    ("VISIO/", "", "visio.drawing"),
)
# Content types of parts that run: VBA projects, Excel 4 macro sheets, and main parts that are macro-enabled.
_RUNNING_PARTS: Final = re.compile(r"vbaproject|macrosheet|macroenabled", re.IGNORECASE)
_MAIN_PART: Final = re.compile(r"(application/vnd\.(?:ms-|openxmlformats-)[\w.-]+)\.main(?:\+xml)?", re.IGNORECASE)
# A document with more lists of its parts than this is made to be read in different ways by different programs.
_MAX_LISTS: Final = 8

# Class ids of Windows Installer ([MS-OLEPS], "Installer"): package, patch, transform.
_INSTALLERS: Final = frozenset(
    bytes.fromhex(f"{first:02x}100c0000000000c000000000000046") for first in (0x84, 0x86, 0x82)
)
IN_OLE: Final = frozenset(
    {
        OLE,
        "application/msword",
        "application/vnd.ms-excel",
        "application/vnd.ms-outlook",
        "application/vnd.ms-powerpoint",
        "application/vnd.ms-project",
        "application/vnd.ms-publisher",
        "application/vnd.ms-works",
        "application/vnd.visio",
        "application/x-hwp",
    }
)
# A stream that shows the type of a compound file, that type, and the macro-enabled type of the same program.
_STREAMS: Final = (
    ("WORDDOCUMENT", "application/msword", "word.document"),
    ("WORKBOOK", "application/vnd.ms-excel", "excel.sheet"),
    ("BOOK", "application/vnd.ms-excel", "excel.sheet"),
    ("POWERPOINT DOCUMENT", "application/vnd.ms-powerpoint", "powerpoint.presentation"),
    ("VISIODOCUMENT", "application/vnd.visio", "visio.drawing"),
    ("__PROPERTIES_VERSION1.0", "application/vnd.ms-outlook", ""),
    ("__NAMEID_VERSION1.0", "application/vnd.ms-outlook", ""),
    ("HWPSUMMARYINFORMATION", "application/x-hwp", ""),
    ("\x05HWPSUMMARYINFORMATION", "application/x-hwp", ""),
    ("QUILL", "application/vnd.ms-publisher", ""),
    ("MATOST", "application/vnd.ms-works", ""),
)
_VBA_STREAMS: Final = frozenset({"_VBA_PROJECT", "_VBA_PROJECT_CUR", "VBA", "MACROS", "PROJECTWM"})


def in_zip(content: Content, directory: ZipDirectory) -> Found:
    """Return the type of a zip, by the names of all its entries and the list of parts of an Office document.

    Raises:
        TooLargeError: the limits of this inspection are reached, or there are too many lists of parts.
    """
    names = directory.names
    if kind := _first(_RUNNING, [*filter(_RUNNING_NAMES.match, names)]):
        return only(kind)
    said = _said(content, directory)
    if said in RUNS:
        return only(said)
    if not directory.whole:
        # Programs cannot open a zip without a directory as anything else, and its content cannot be known.
        return only(ZIP)
    if said.startswith((OPEN_DOCUMENT, "application/vnd.sun.xml.")) or names & _OF_OPEN_DOCUMENT:
        return _in_open_document(names, said)
    if "[CONTENT_TYPES].XML" in names:
        return _in_open_xml(content, directory)
    if any(_VBA_OPEN_XML.match(name) for name in names):
        # Some program may find a list of parts in entries that are not found here.
        return only(_macros_of(names))
    if said:
        return _package(said)
    if kinds := _first(_PARTS, [*filter(_PART_NAMES.match, names)]):
        return Found(kinds[0], True, frozenset({*kinds, ZIP}))
    return only(ZIP)


def _first(table: Iterable[tuple[re.Pattern[str], _Kind]], names: Collection[str]) -> _Kind | None:
    return next((kind for pattern, kind in table if any(pattern.match(name) for name in names)), None)


def _package(kind: str) -> Found:
    return Found(kind, True, frozenset({kind, ZIP}))


def _said(content: Content, directory: ZipDirectory) -> str:
    """Return the type that OpenDocument, EPUB and similar formats declare in an entry that is not compressed."""
    head = content.head
    if head[30:38] == b"mimetype" and head[26:28] == b"\x08\0" and (said := _SAID.match(head[38:138])):
        return canonical(said[0].removesuffix(b"PK").decode())
    for entry in directory.entries.get("MIMETYPE", [])[:1]:
        for unpacked in unpack(content, entry, 100):
            if said := _SAID.match(unpacked.strip()[:100]):
                return canonical(said[0].decode())
    return ""


def _in_open_document(names: Collection[str], said: str) -> Found:
    """Return the type of an OpenDocument file, and whether it has macros or is an extension of the office program."""
    if any(_VBA_OPEN_DOCUMENT.match(name) for name in names):
        return only("application/x-opendocument-macros")
    if "DESCRIPTION.XML" in names and "CONTENT.XML" not in names:
        return only("application/vnd.openofficeorg.extension")
    return _package(said or ZIP)


def _listed_types(content: Content, directory: ZipDirectory) -> list[str] | None:
    """Return the content types in all lists of parts, or None where no list can be unpacked.

    Raises:
        TooLargeError: there are too many lists, or one is too large.
    """
    lists = directory.entries.get("[CONTENT_TYPES].XML", [])
    if len(lists) > _MAX_LISTS:
        raise TooLargeError(f"it has {len(lists)} lists of its parts")
    types: list[str] | None = None
    for entry in lists:
        for unpacked in unpack(content, entry):
            if len(unpacked) > MAX_UNPACKED:
                raise TooLargeError(f"its list of parts has more than {MAX_UNPACKED} bytes")
            types = [*(types or []), *_content_types(unpacked)]
    return types


def _in_open_xml(content: Content, directory: ZipDirectory) -> Found:
    """Return the type of an Office document, and whether it has macros, by its list of parts ("Open Packaging")."""
    names = directory.names
    listed = _listed_types(content, directory)
    types = listed or []
    mains = [found[1].lower() for each in types if (found := _MAIN_PART.fullmatch(each.strip()))]
    if any(_RUNNING_PARTS.search(each) and "sheet.binary" not in each.lower() for each in types) or any(
        _VBA_OPEN_XML.match(name) for name in names
    ):
        kind = next((f"{main}.12" for main in mains if f"{main}.12" in MACROS), _macros_of(names))
        return only(kind)
    if listed is None:
        # Programs of Office cannot unpack this list, so they do not open the file as a document.
        return only(ZIP)
    for main in mains:
        kind = f"{main}.12" if main.endswith("macroenabled") else main
        return Found(kind, True, frozenset({kind, ZIP}))
    for folder, ending, _ in _FOLDERS:
        if any(name.startswith(folder) for name in names):
            kind = OPEN_XML + ending if ending else "application/vnd.ms-visio.drawing"
            return Found(kind, True, frozenset({kind, ZIP}))
    if kinds := _first(_PARTS, [*filter(_PART_NAMES.match, names)]):
        return Found(kinds[0], True, frozenset({*kinds, ZIP}))
    return Found(ZIP, True, frozenset({ZIP, *(OPEN_XML + ending for _, ending, _ in _FOLDERS if ending)}))


def _macros_of(names: Iterable[str]) -> str:
    kind = next((kind for folder, _, kind in _FOLDERS if any(name.startswith(folder) for name in names)), "")
    return f"application/vnd.ms-{kind or 'word.document'}.macroenabled.12"


def _content_types(listed: bytes) -> list[str]:
    """Return the content types in a list of parts; in a damaged list, those before the error.

    Raises:
        TooLargeError: default values of attributes make it many times as large.
    """
    found: list[str] = []
    parsed = 0
    parser = expat.ParserCreate()

    def element(_: str, attributes: dict[str, str]) -> None:
        nonlocal parsed
        parsed += sum(len(value) for value in attributes.values())
        if parsed > 4 * MAX_UNPACKED:
            raise TooLargeError("its list of parts grows too large when it is parsed")
        found.extend(value for name, value in attributes.items() if name.rpartition(":")[2] == "ContentType")

    parser.StartElementHandler = element
    with suppress(expat.ExpatError, ValueError, LookupError):
        parser.Parse(listed, True)
    return found


def in_compound_file(file: CompoundFile | None) -> Found:
    """Return the type of a compound file, by its streams."""
    if file is None:
        return Found(OLE, True, IN_OLE)
    # The names of an installer's tables begin with this character.
    if file.root_class in _INSTALLERS or any(name.startswith("\u4840") for name in file.names):
        return only("application/x-msi")
    names = file.names
    if "ENCRYPTEDPACKAGE" in names:
        return Found(
            OLE, True, frozenset({OLE, *(f"{OPEN_XML}{ending}" for _, ending, _ in _FOLDERS if ending), *MACROS})
        )
    kind, macros = next(
        ((kind, macros) for stream, kind, macros in _STREAMS if stream in names), (OLE, "word.document")
    )
    needs = f"application/vnd.ms-{macros or 'word.document'}.macroenabled.12" if names & _VBA_STREAMS else ""
    return Found(kind, True, IN_OLE if kind == OLE else frozenset({kind, OLE}), needs)
