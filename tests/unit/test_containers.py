"""Types of zips and compound files, with content at any position; containers are written here, valid and broken."""

from __future__ import annotations

import io
import itertools
import random
import struct
import tarfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from functions.common.contract import HEAD_BYTES
from functions.inspect import zip_directory
from functions.inspect.compound_file import SIGNATURE, read_compound_file
from functions.inspect.file_type import judge
from functions.inspect.ranged_content import MAX_BYTES, MAX_READS, TAIL_BYTES, Content, TooLargeError
from functions.inspect.zip_directory import read_directory
from modules.settings import CONTENT_TYPES

OCTETS, ZIP, JAR = "application/octet-stream", "application/zip", "application/java-archive"
OFFICE = "application/vnd.openxmlformats-officedocument."
WORD, SHEET = f"{OFFICE}wordprocessingml.document", f"{OFFICE}spreadsheetml.sheet"
WORD_MACROS = "application/vnd.ms-word.document.macroenabled.12"
EXCEL_MACROS = "application/vnd.ms-excel.sheet.macroenabled.12"
RANDOM = random.Random(1)  # noqa: S311 - bytes that no signature is in, the same in every run
LONG = RANDOM.randbytes(100_000)
MANIFEST = ("META-INF/MANIFEST.MF", b"Main-Class: A\r\n")


def archive(
    *entries: tuple[str, bytes], compression: int = zipfile.ZIP_STORED, comment: bytes = b"", streamed: bool = False
) -> bytes:
    """A zip; streamed, its sizes come behind each entry, as Java and other writers of streams do it."""

    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return not streamed

    buffer = Stream()
    with zipfile.ZipFile(buffer, "w", compression) as whole:
        for name, content in entries:
            whole.writestr(name, content)
        whole.comment = comment
    return buffer.getvalue()


def parts(main: str, *others: str) -> tuple[str, bytes]:
    """A list of parts, as Office writes it."""
    listed = "".join(f'<Override PartName="/p{n}" ContentType="{each}"/>' for n, each in enumerate([main, *others]))
    types = "http://schemas.openxmlformats.org/package/2006/content-types"
    return "[Content_Types].xml", f'<?xml version="1.0"?>\n<Types xmlns="{types}">{listed}</Types>'.encode()


def refusal(declared: str, content: bytes, allowed: Sequence[str] = CONTENT_TYPES, *, strict: bool = False) -> str:
    return judge(declared, Content.of(content), allowed, strict=strict).refusal


def taken_as(declared: str, content: bytes, allowed: Sequence[str] = CONTENT_TYPES, *, strict: bool = False) -> str:
    verdict = judge(declared, Content.of(content), allowed, strict=strict)
    assert not verdict.refusal
    return verdict.media_type


WORD_PARTS = [
    parts(f"{WORD}.main+xml"),
    ("_rels/.rels", b"<a/>"),
    ("word/document.xml", LONG),
    ("docProps/app.xml", b"<a/>"),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_document_is_one_in_every_order_of_its_entries(order: tuple[int, ...], compression: int) -> None:
    """A workbook of more than 100 rows begins with a long entry; one office suite writes the list of parts last."""
    content = archive(*(WORD_PARTS[each] for each in order), compression=compression)
    assert taken_as(WORD, content, strict=True) == WORD
    assert taken_as(OCTETS, content) == WORD
    assert taken_as(ZIP, content, strict=True) == ZIP


@pytest.mark.parametrize(
    ("main", "kind"),
    [
        (f"{OFFICE}wordprocessingml.template.main+xml", f"{OFFICE}wordprocessingml.template"),
        (f"{OFFICE}presentationml.slideshow.main+xml", f"{OFFICE}presentationml.slideshow"),
        ("application/vnd.ms-visio.drawing.main+xml", "application/vnd.ms-visio.drawing"),
        (
            "application/vnd.ms-excel.sheet.binary.macroEnabled.main",
            "application/vnd.ms-excel.sheet.binary.macroenabled.12",
        ),
    ],
)
def test_the_list_of_parts_tells_which_document_it_is(main: str, kind: str) -> None:
    content = archive(("x", LONG), parts(main))
    assert taken_as(OCTETS, content) == kind
    assert taken_as(kind, content, strict=True) == kind


PACKAGES: Mapping[str, list[tuple[str, bytes]]] = {
    "application/epub+zip": [("a", LONG), ("mimetype", b"application/epub+zip"), ("META-INF/container.xml", b"")],
    "application/vnd.oasis.opendocument.spreadsheet": [
        ("content.xml", LONG),
        ("META-INF/manifest.xml", b""),
        ("mimetype", b"application/vnd.oasis.opendocument.spreadsheet"),
        ("Basic/Standard/script-lb.xml", b""),
    ],
    "application/vnd.google-earth.kmz": [("files/a", LONG), ("doc.kml", b"")],
    "application/vnd.apple.pages": [("Data/a", LONG), ("Index/Document.iwa", b"")],
    "model/3mf": [parts("application/vnd.ms-package.3dmanufacturing-3dmodel+xml"), ("3D/3dmodel.model", LONG)],
    "application/vnd.comicbook+zip": [("1.jpg", LONG)],
    "model/vnd.usdz+zip": [("a.usdc", LONG)],
    ZIP: [("a.txt", LONG), ("x.jar", archive(MANIFEST)), ("lib/y.apk", archive(("AndroidManifest.xml", b"")))],
}


@pytest.mark.parametrize("kind", PACKAGES)
def test_other_packages_are_what_they_are(kind: str) -> None:
    assert taken_as(kind, archive(*PACKAGES[kind]), strict=True) == kind


RUNNING = {
    JAR: [MANIFEST],
    "lower case": [("meta-inf/manifest.mf", b"")],
    "backslashes": [("META-INF\\MANIFEST.MF", b"")],
    "application/vnd.android.package-archive": [("classes.dex", b"dex\n")],
    "of many": [("classes2.dex", b"dex\n")],
    "application/x-ios-app": [("Payload/A.app/Info.plist", b"")],
    "application/x-msix": [("AppxManifest.xml", b"")],
    "application/x-visual-studio-extension": [("extension.vsixmanifest", b"")],
    "application/x-xpinstall": [("install.rdf", b"")],
    "application/x-python-zipapp": [("__main__.py", b"")],
    WORD_MACROS: [parts("application/vnd.ms-word.document.macroEnabled.main+xml"), ("word/vbaProject.bin", b"")],
    "another part": [parts(f"{WORD}.main+xml", "application/vnd.ms-office.vbaProject"), ("word/a.bin", b"")],
    "escaped": [parts(f"{WORD}.main+xml", "application/vnd.ms-office.vba&#80;roject"), ("word/a.bin", b"")],
    "unlisted": [("word/vbaProject.bin", b"")],
    EXCEL_MACROS: [parts(f"{SHEET}.main+xml", "application/vnd.ms-excel.macrosheet+xml"), ("xl/a.xml", b"")],
    "application/x-opendocument-macros": [
        ("mimetype", b"application/vnd.oasis.opendocument.text"),
        ("META-INF/manifest.xml", b""),
        ("Basic/Standard/Module1.xml", b""),
    ],
    "application/vnd.openofficeorg.extension": [("META-INF/manifest.xml", b""), ("description.xml", b"")],
    "said": [("mimetype", b"application/java-archive")],
}
LABELS = [OCTETS, ZIP, WORD, SHEET, "application/epub+zip", "image/png", "text/plain", "application/vnd.comicbook+zip"]


def wrapped(entries: list[tuple[str, bytes]]) -> dict[str, bytes]:
    """A zip in which these entries are hard to find, in every way that programs still find them."""
    many = [(f"{'n' * 500}{number}", b"") for number in range(200)]
    plain = archive(*entries)
    return {
        "first": archive(*entries, ("a.txt", LONG)),
        "behind 9 kB": archive(("a.txt", b"text " * 1800), *entries),
        "behind the head": archive(("a.txt", LONG), *entries),
        "between": archive(("a.txt", LONG), *entries, ("b.txt", LONG)),
        "in a directory longer than the tail": archive(*many, *entries, *many),
        "compressed": archive(("a.txt", LONG), *entries, compression=zipfile.ZIP_DEFLATED),
        "streamed": archive(("a.txt", LONG), *entries, streamed=True),
        "with a comment": archive(("a.txt", LONG), *entries, comment=b"c" * 65_535),
        "twice": archive(*entries, ("a.txt", LONG), *entries),
        "behind another zip": archive(("a.txt", LONG)) + plain,
        "behind junk": RANDOM.randbytes(70_000) + plain,
        "behind text": b"hello " * 20_000 + plain,
        "behind a picture": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + LONG + plain,
        "in a picture": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + LONG + plain + b"\n",
        "behind a compound file": compound_file(["WordDocument"]) + plain,
        "before junk": archive(("a.txt", LONG), *entries) + b"\0" * 500,
        "before a false end": archive(("a.txt", LONG), *entries) + b"PK\5\6" + b"\xff" * 18,
        "before a false directory": archive(("a.txt", LONG), *entries) + false_directory(),
    }


def false_directory() -> bytes:
    """An entry and an end record of it, neither of which belongs to anything."""
    entry = struct.pack("<4s24xHHH12x", b"PK\1\2", 1, 0, 0) + b"a"
    return entry + struct.pack("<4s4xHHIIH", b"PK\5\6", 1, 1, len(entry), 0, 9)


@pytest.mark.filterwarnings("ignore:Duplicate")
@pytest.mark.parametrize("kind", RUNNING)
def test_nothing_that_runs_passes_as_something_else(kind: str) -> None:
    for way, content in wrapped(RUNNING[kind]).items():
        for label in LABELS:
            assert refusal(label, content), (way, label)
        assert refusal(OCTETS, content, strict=True), way


def test_what_runs_passes_under_its_name_where_that_is_allowed() -> None:
    for kind in (JAR, WORD_MACROS):
        content = archive(("a.txt", LONG), *RUNNING[kind])
        assert taken_as(kind, content, [*CONTENT_TYPES, kind]) == kind
        assert refusal(ZIP, content, [*CONTENT_TYPES, kind])


def test_a_zip_of_more_than_4_gib_has_its_directory_elsewhere() -> None:
    """The end record points nowhere; a record for zip64 before it tells (APPNOTE.TXT, 4.3.14)."""
    plain = archive(("a.txt", LONG), MANIFEST)
    end = plain.rindex(b"PK\5\6")
    size, start = struct.unpack("<II", plain[end + 12 : end + 20])
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 2, 2, size, start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    tail = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    large = plain[:end] + record + locator + tail
    assert zipfile.ZipFile(io.BytesIO(large)).namelist()[1] == MANIFEST[0]
    for content in (large, b"junk" * 9 + large, plain[:end] + record + locator + plain[end:]):
        assert "java-archive" in refusal(ZIP, content)


def test_a_zip_that_only_holds_programs_is_a_zip() -> None:
    jar = archive(MANIFEST, ("A.class", b"\xca\xfe\xba\xbe"))
    for content in (
        archive(("x.jar", jar)),
        archive(("a.txt", LONG), ("x.jar", jar)),
        archive(("x.jar", jar)) + b"\n",
        archive(("project/META-INF/MANIFEST.MF", b""), ("project/src/__main__.py", b"")),
        archive(("setup.exe", b"MZ\x90\0\3")),
    ):
        assert taken_as(ZIP, content, strict=True) == ZIP
        assert taken_as(OCTETS, content) == ZIP
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("x.jar")
        member.size = len(jar)
        tar.addfile(member, io.BytesIO(jar))
    assert taken_as("application/x-tar", buffer.getvalue(), strict=True) == "application/x-tar"


def test_a_zip_that_was_cut_off_is_a_zip_and_nothing_more() -> None:
    content = archive(*WORD_PARTS)[:90_000]
    assert taken_as(ZIP, content) == ZIP
    assert taken_as(WORD, content) == ZIP
    assert refusal(WORD, content, strict=True)
    assert refusal(ZIP, archive(MANIFEST, ("a", LONG))[:90_000]), "its first header says enough"


def test_a_list_of_parts_that_no_office_program_unpacks_makes_no_document() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as package:
        for name, content in WORD_PARTS:
            package.writestr(name, content)
    assert taken_as(WORD, buffer.getvalue()) == ZIP


@pytest.mark.parametrize("said", [b"application/vnd.sun.xml.writer", b""])
def test_macros_of_an_open_document_are_found_without_its_list_of_parts(said: bytes) -> None:
    content = archive(*[("mimetype", said)] * bool(said), ("content.xml", b""), ("Basic/Standard/Module1.xml", b"a"))
    assert "opendocument-macros" in refusal(ZIP, content)


# bounds


class Counted:
    """Content whose reads are counted, of a size that no test could hold."""

    def __init__(self, size: int, pieces: Mapping[int, bytes]) -> None:
        self.reads: list[tuple[int, int]] = []
        self._pieces = pieces
        self.content = Content(size, self._read)

    def _read(self, start: int, count: int) -> bytes:
        self.reads.append((start, count))
        found = bytearray(count)
        for at, piece in self._pieces.items():
            low, high = max(at, start), min(at + len(piece), start + count)
            if low < high:
                found[low - start : high - start] = piece[low - at : high - at]
        return bytes(found)


def test_one_read_more_judges_a_large_zip() -> None:
    size = 50 * 2**30
    entry = struct.pack("<4s24xHHH12x", b"PK\1\2", len(MANIFEST[0]), 0, 0) + MANIFEST[0].encode()
    start = size - 22 - 20 - 56 - len(entry)
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(entry), start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, start + len(entry), 1)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    counted = Counted(size, {0: b"PK\3\4", start: entry + record + locator + end})
    assert "java-archive" in judge(ZIP, counted.content, CONTENT_TYPES).refusal
    assert counted.reads == [(0, HEAD_BYTES), (size - TAIL_BYTES, TAIL_BYTES)]


def test_a_small_file_is_read_once_and_a_large_one_twice() -> None:
    for size, reads in ((10, 1), (HEAD_BYTES, 1), (HEAD_BYTES + 1, 2), (50 * 2**30, 2)):
        counted = Counted(size, {0: b"\1\2\3"})
        judge(OCTETS, counted.content, CONTENT_TYPES)
        assert len(counted.reads) == reads


def test_a_directory_beyond_the_bound_is_not_judged_and_so_refused() -> None:
    entry = struct.pack("<4s24xHHH12x", b"PK\1\2", 1000, 0, 0) + b"n" * 1000
    count = MAX_BYTES // len(entry) + 1000
    size = 100 * 2**20 + 22

    def read(start: int, counted: int) -> bytes:
        end = struct.pack("<4s4xHHIIH", b"PK\5\6", 0, 0, count * len(entry), 0, 0)
        if start + counted > size - 22:
            return (bytes(counted) + end)[-counted:]
        first = size - 22 - count * len(entry)
        skipped = (start - first) % len(entry)
        return (entry * (counted // len(entry) + 2))[skipped : skipped + counted]

    content = Content(size, read)
    assert "cannot be judged" in judge(ZIP, content, CONTENT_TYPES).refusal


@pytest.mark.filterwarnings("ignore:Duplicate")
def test_a_list_of_parts_beyond_the_bound_is_not_judged_and_so_refused() -> None:
    name, listed = parts(f"{WORD}.main+xml")
    content = archive((name, listed.replace(b"<Override", b" " * 4 * 2**20 + b"<Override")), ("word/a.xml", b""))
    assert taken_as(WORD, archive((name, listed.replace(b"<Override", b" " * 2**20 + b"<Override")))) == WORD
    assert "cannot be judged" in refusal(WORD, content)
    assert "cannot be judged" in refusal(ZIP, archive(*[(name, listed)] * 9, ("word/a.xml", b"")))
    growing = b"<!DOCTYPE T [<!ATTLIST O ContentType CDATA '" + b"a" * 2**20 + b"'>]><Types>" + b"<O/>" * 2**17
    assert "cannot be judged" in refusal(WORD, archive((name, growing), ("word/a.xml", b"")))


def test_more_ends_than_a_zip_has_are_not_followed() -> None:
    content = archive(("a.txt", LONG), MANIFEST) + b"PK\5\6".ljust(40, b"\xff") * 900
    assert "cannot be judged" in refusal(ZIP, content)


def test_no_content_is_read_beyond_its_bounds() -> None:
    counted = Counted(2**40, {})
    for number in range(MAX_READS):
        counted.content.range(2**20 * (number + 1), 10)
    with pytest.raises(TooLargeError):
        counted.content.range(2**20, 10)
    with pytest.raises(TooLargeError):
        Counted(2**40, {}).content.range(2**20, MAX_BYTES + 1)
    assert Content.of(b"abc").range(1, 9) == b"bc"
    assert Content.of(b"abc").range(3, 1) == Content.of(b"abc").range(-1, 1) == b""


# compound files


def compound_file(
    names: Iterable[str], *, root_class: bytes = bytes(16), size: int = 512, gap: int = 0, end: int = 0
) -> bytes:
    """A compound file with these streams, whose directory lies scattered ([MS-CFB])."""
    blob = b""
    for number, name in enumerate(["Root Entry", *names]):
        encoded = name.encode("utf-16-le") + b"\0\0"
        kind = 2 if number else 5
        blob += struct.pack("<64sHBB12s16s32x", encoded, len(encoded), kind, 1, b"\xff" * 12, root_class)
    chunks = [blob[at : at + size].ljust(size, b"\0") for at in range(0, len(blob), size)]
    places = [1 + number * (gap + 1) for number in range(len(chunks))]
    first_table, numbers = places[-1] + 1 + end, size // 4
    count = -(-first_table // numbers)
    following = [0xFFFFFFFF] * (numbers * count)
    for here, after in itertools.pairwise([*places, 0xFFFFFFFE]):
        following[here] = after
    sectors = dict(zip(places, chunks, strict=True))
    for number in range(count):
        part = following[number * numbers : (number + 1) * numbers]
        sectors[first_table + number] = struct.pack(f"<{numbers}I", *part)
    tables = [*range(first_table, first_table + count)]
    header = SIGNATURE + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, size.bit_length() - 1, 6)
    header += struct.pack("<9I", 0, count, places[0], 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
    header += struct.pack("<109I", *tables, *[0xFFFFFFFF] * (109 - count))
    body = b"".join(sectors.get(number, bytes(size)) for number in range(max(sectors) + 1))
    return header.ljust(size, b"\0") + body


MSI_CLASS = bytes.fromhex("84100c0000000000c000000000000046")


@pytest.mark.parametrize(("size", "gap", "end"), [(512, 0, 0), (512, 7, 0), (4096, 3, 0), (512, 300, 4000)])
@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["WordDocument", "1Table"], "application/msword"),
        (["Workbook"], "application/vnd.ms-excel"),
        (["Book"], "application/vnd.ms-excel"),
        (["PowerPoint Document", "Current User"], "application/vnd.ms-powerpoint"),
        (["VisioDocument"], "application/vnd.visio"),
        (["__properties_version1.0", *(f"__recip_{n}" for n in range(40))], "application/vnd.ms-outlook"),
        (["Contents"], "application/x-ole-storage"),
        ([f"{n}" for n in range(40)], "application/x-ole-storage"),
    ],
)
def test_a_compound_file_is_what_its_streams_say(names: list[str], kind: str, size: int, gap: int, end: int) -> None:
    content = compound_file(names, size=size, gap=gap, end=end)
    assert taken_as(OCTETS, content) == kind
    assert taken_as(kind, content, strict=True) == kind
    others = [*(f"other {n}" for n in range(20)), *names]
    for hidden in (["Macros"], ["_VBA_PROJECT_CUR"], ["VBA", "_VBA_PROJECT"]):
        full = compound_file([*others, *hidden], size=size, gap=gap, end=end)
        assert "holds macros" in refusal(kind, full)
        assert "holds macros" in refusal(OCTETS, full)
        assert "holds macros" in refusal(ZIP, full)
    installer = compound_file(others, root_class=MSI_CLASS, size=size, gap=gap, end=end)
    assert "x-msi" in refusal(kind, installer)
    assert "x-msi" in refusal(OCTETS, installer)


def test_an_installer_is_one_by_its_tables_too() -> None:
    assert "x-msi" in refusal(OCTETS, compound_file(["\u4840\u3f7f\u4164\u422f\u4836"]))


def test_a_compound_file_that_holds_a_program_is_one() -> None:
    content = compound_file(["__properties_version1.0"]) + archive(MANIFEST) + bytes(400)
    assert taken_as(OCTETS, content) == "application/vnd.ms-outlook"


def test_a_zip_without_entries_is_a_zip() -> None:
    assert taken_as(ZIP, archive(), strict=True) == ZIP


def test_a_compound_file_with_macros_passes_where_their_type_is_allowed() -> None:
    content = compound_file(["WordDocument", "Macros"])
    assert taken_as("application/msword", content, [*CONTENT_TYPES, WORD_MACROS]) == "application/msword"
    assert refusal("application/msword", content, [*CONTENT_TYPES, EXCEL_MACROS])


def test_the_class_of_an_installer_in_a_text_is_no_installer() -> None:
    content = compound_file(["WordDocument"]) + MSI_CLASS
    assert taken_as("application/msword", content, strict=True) == "application/msword"


def test_an_encrypted_document_is_one() -> None:
    content = compound_file(["EncryptionInfo", "EncryptedPackage"])
    assert taken_as(SHEET, content, strict=True) == SHEET


def test_a_chain_that_leads_in_a_circle_ends() -> None:
    content = bytearray(compound_file(["WordDocument", *(f"{n}" for n in range(20))]))
    for at in range(512, len(content), 4):
        if content[at : at + 4] == b"\xfe\xff\xff\xff":
            content[at : at + 4] = b"\1\0\0\0"
    assert taken_as("application/msword", bytes(content)) == "application/msword"


def test_a_directory_that_lies_all_over_a_file_is_not_followed_for_ever() -> None:
    content = compound_file([f"{n}" for n in range(300)], gap=140)
    assert "cannot be judged" in refusal("application/msword", content)


# anything at all

ZIPS = st.builds(
    lambda entries, comment, streamed: archive(*entries, comment=comment, streamed=streamed),
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=9),
            st.binary(max_size=40),
        ),
        max_size=5,
        unique_by=lambda e: e[0],
    ),
    st.binary(max_size=40),
    st.booleans(),
)
CHANGES = st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=6)), max_size=6)


def changed(content: bytes, changes: list[tuple[int, bytes]]) -> bytes:
    for at, piece in changes:
        at %= len(content) + 1
        content = content[:at] + piece + content[at + len(piece) :]
    return content


@settings(max_examples=300, deadline=None)
@given(ZIPS, CHANGES, st.binary(max_size=40), st.binary(max_size=40))
@example(b"PK\5\6" * 40, [], b"", b"")
def test_the_directory_of_a_zip_is_read_whatever_is_in_it(
    content: bytes, changes: list[tuple[int, bytes]], before: bytes, behind: bytes
) -> None:
    counted = Content.of(before + changed(content, changes) + behind)
    try:
        found = read_directory(counted)
    except TooLargeError:
        return
    if found and not (changes or before or behind):
        assert found.names >= {zip_directory._plain(name.encode()) for name in zip_names(content)}


def zip_names(content: bytes) -> list[str]:
    """Names that are the same in every encoding of a zip."""
    return [name for name in zipfile.ZipFile(io.BytesIO(content)).namelist() if name.isascii()]


@settings(max_examples=300, deadline=None)
@given(CHANGES, st.integers(0, 3000))
def test_the_directory_of_a_compound_file_is_read_whatever_is_in_it(
    changes: list[tuple[int, bytes]], length: int
) -> None:
    content = changed(compound_file([f"{n}" for n in range(12)], gap=1), changes)[:length]
    try:
        read_compound_file(Content.of(content))
    except TooLargeError:
        return


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from(sorted(RUNNING)),
    label=st.sampled_from(LABELS),
    before=st.binary(max_size=200),
    others=st.lists(st.tuples(st.text("abc/.", min_size=1, max_size=9), st.binary(max_size=90)), max_size=5),
    place=st.integers(0, 5),
    comment=st.binary(max_size=200),
    strict=st.booleans(),
)
@pytest.mark.filterwarnings("ignore:Duplicate")
def test_no_wrapper_makes_a_program_something_else(
    kind: str,
    label: str,
    before: bytes,
    others: list[tuple[str, bytes]],
    place: int,
    comment: bytes,
    strict: bool,
) -> None:
    content = archive(*others[:place], *RUNNING[kind], *others[place:], comment=comment)
    assert refusal(label, before + content, strict=strict)
