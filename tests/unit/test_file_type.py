"""What a file is by its first bytes: real small files of each kind, and anything at all."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from functions.common.media_types import canonical, permitted
from functions.inspect.file_type import HEAD_BYTES, detect, mismatch
from modules.settings import Settings

WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
DEFAULT = Settings.model_fields["allowed_content_types"].default
EVERYTHING = ("*/*",)


def archive(*names: str, first: bytes = b"", compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip with these entries; the first may be one called `mimetype`, as OpenDocument has it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as whole:
        if first:
            whole.writestr("mimetype", first, zipfile.ZIP_STORED)
        for name in names:
            whole.writestr(name, "content " * 9)
    return buffer.getvalue()


def png() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(4))) + chunk(b"IEND", b"")


JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffdb0043000302020302020303030304030304")
WAV = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x44\xac\0\0\x88\x58\1\0\2\0\x10\0data\0\0\0\0"
BMP = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 58, 0, 0, 54, 40, 1, 1, 1, 24, 0, 4, 2835, 2835, 0, 0) + bytes(4)
ELF = b"\x7fELF\2\1\1" + bytes(9) + b"\2\0\x3e\0\1\0\0\0" + bytes(40)
PE = b"MZ\x90\0\3\0\0\0\4\0\0\0\xff\xff\0\0" + bytes(112) + b"PE\0\0"
SAMPLES = {
    "image/png": png(),
    "image/jpeg": JPEG,
    "image/gif": b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2D\1\0;",
    "image/bmp": BMP,
    "image/webp": b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\0\0\0\x10\7\x10\x11\x11\x88\x88\xfe\7\0",
    "image/tiff": b"II*\0\x08\0\0\0" + bytes(12),
    "image/heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(8),
    "image/avif": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(8),
    "application/pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
    "application/zip": archive("a.txt", "b/c.txt"),
    "application/gzip": gzip.compress(b"hello", mtime=0),
    "application/x-tar": b"a.txt".ljust(257, b"\0") + b"ustar\x0000" + bytes(248),
    "application/x-7z-compressed": b"7z\xbc\xaf\x27\x1c\0\4" + bytes(24),
    "application/vnd.rar": b"Rar!\x1a\7\1\0" + bytes(8),
    WORD: archive("[Content_Types].xml", "_rels/.rels", "word/document.xml"),
    SHEET: archive("[Content_Types].xml", "_rels/.rels", "xl/workbook.xml"),
    "application/vnd.oasis.opendocument.text": archive("a.xml", first=b"application/vnd.oasis.opendocument.text"),
    "application/epub+zip": archive("META-INF/container.xml", first=b"application/epub+zip"),
    "application/x-ole-storage": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504),
    "video/mp4": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(8),
    "video/quicktime": b"\0\0\0\x14ftypqt  \0\0\2\0qt  " + bytes(8),
    "video/webm": b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\1\x42\xf7\x81\1\x42\xf2\x81\4\x42\xf3\x81\x08\x42\x82\x84webm",
    "audio/wav": WAV,
    "audio/flac": b"fLaC\0\0\0\x22" + bytes(34),
    "audio/mpeg": b"ID3\3\0\0\0\0\0\x0aTIT2" + bytes(20),
    "application/x-elf": ELF,
    "application/vnd.microsoft.portable-executable": PE,
    "application/x-mach-binary": b"\xcf\xfa\xed\xfe\7\0\0\1" + bytes(24),
    "application/java-vm": b"\xca\xfe\xba\xbe\0\0\0\x3d",
    "application/wasm": b"\0asm\1\0\0\0",
    "application/java-archive": archive("META-INF/MANIFEST.MF", "A.class"),
    "application/vnd.android.package-archive": archive("AndroidManifest.xml", "classes.dex"),
    "application/x-ms-shortcut": bytes.fromhex("4c0000000114020000000000c000000000000046"),
    "text/x-shellscript": b"#!/bin/sh\nrm -rf /\n",
    "application/x-httpd-php": b"\n<?php system($_GET['c']); ?>",
    "text/html": b"  <!DOCTYPE html>\n<html><body>hi",
    "image/svg+xml": b'<?xml version="1.0"?>\n<!-- a -->\n<svg xmlns="http://www.w3.org/2000/svg"></svg>',
    "application/xml": b'<?xml version="1.0" encoding="UTF-8"?><order><a/></order>',
    "application/rtf": b"{\\rtf1\\ansi hello}",
    "text/plain": b"hello, world\n",
    "application/x-empty": b"",
}
RUNS = [
    kind
    for kind in SAMPLES
    if kind.startswith(("application/x-elf", "application/x-mach", "application/java", "application/wasm"))
    or kind
    in {
        "application/vnd.microsoft.portable-executable",
        "application/vnd.android.package-archive",
        "application/x-ms-shortcut",
        "application/x-httpd-php",
        "text/x-shellscript",
        "text/html",
        "image/svg+xml",
    }
]


@pytest.mark.parametrize("kind", SAMPLES)
def test_each_kind_is_found(kind: str) -> None:
    assert detect(SAMPLES[kind]) == kind


@pytest.mark.parametrize("kind", [kind for kind in SAMPLES if kind != "application/x-empty"])
def test_what_is_what_was_declared_passes_where_it_is_allowed_in_full(kind: str) -> None:
    assert mismatch(kind, SAMPLES[kind], [kind]) is None


@pytest.mark.parametrize(
    ("kind", "declared"),
    [
        (kind, declared)
        for declared in ("image/png", "application/pdf", "video/mp4", WORD, "text/plain", "audio/wav")
        for kind in SAMPLES
        # XML may be read as text.
        if kind not in {declared, "application/xml"}
    ],
)
def test_one_kind_does_not_pass_as_another(kind: str, declared: str) -> None:
    assert mismatch(declared, SAMPLES[kind], EVERYTHING)


@pytest.mark.parametrize("kind", RUNS)
@pytest.mark.parametrize(
    "declared",
    ["application/octet-stream", "application/zip", "text/plain", "text/csv", "application/json", "application/x-own"],
)
def test_what_runs_never_passes_as_something_else(kind: str, declared: str) -> None:
    for allowed in (DEFAULT, EVERYTHING, ["application/*", "text/*", "image/*"]):
        reason = mismatch(declared, SAMPLES[kind], allowed)
        assert reason
        assert permitted(declared, allowed) <= (kind in reason)


@pytest.mark.parametrize("kind", RUNS)
def test_what_runs_is_not_allowed_by_default_nor_by_a_pattern(kind: str) -> None:
    for allowed in (DEFAULT, EVERYTHING, [f"{kind.partition('/')[0]}/*"]):
        assert mismatch(kind, SAMPLES[kind], allowed) == f"the type {kind} is not allowed"


@pytest.mark.parametrize(
    ("declared", "content"),
    [
        ("text/plain; charset=utf-8", b"hello"),
        ("TEXT/Plain", b"hello"),
        ("text/plain", "größer".encode("latin-1")),
        ("text/plain", "größer €".encode("cp1252")),
        ("text/plain; charset=utf-16", "größer".encode("utf-16")),
        ("text/plain", "größer".encode("utf-8-sig")),
        ("text/plain", b"BM is what two letters of a bitmap are"),
        ("text/plain", b"MZ are two letters of a program"),
        ("text/plain", b"GIF89a is no picture"),
        ("text/plain", b"function is a word of puremagic's"),
        ("text/plain", b"PK are initials"),
        ("text/plain", SAMPLES["application/xml"]),
        ("text/plain", b"{}"),
        ("text/markdown", b"<!-- a note -->\n# Title\nText"),
        ("text/markdown", b"Text about <script> and <html>"),
        ("text/csv", b"a;b\n1;2\n"),
        ("application/csv", b"a,b\n"),
        ("text/calendar", b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n"),
        ("application/json", json.dumps({"a": [1, "ü"]}).encode()),
        ("application/json", b"[1, 2]"),
        ("application/geo+json", b"{}"),
        ("text/xml", SAMPLES["application/xml"]),
        ("application/xml", b"<order/>"),
        ("application/atom+xml", b'<?xml version="1.0"?><feed/>'),
        ("image/jpg", JPEG),
        ("image/x-ms-bmp", BMP),
        ("audio/x-wav", WAV),
        ("audio/wave", WAV),
        ("application/x-zip-compressed", SAMPLES["application/zip"]),
        ("application/zip", SAMPLES[WORD]),
        (WORD, archive("[Content_Types].xml", "_rels/.rels", "docProps/app.xml")),
        (SHEET, archive("_rels/.rels", "docProps/app.xml")),
        ("application/x-gzip", gzip.compress(b"", mtime=0)),
        ("application/msword", SAMPLES["application/x-ole-storage"]),
        ("application/vnd.ms-excel", SAMPLES["application/x-ole-storage"]),
        ("audio/mp4", b"\0\0\0\x20ftypM4A \0\0\2\0M4A mp42isom" + bytes(8)),
        ("audio/mp4", SAMPLES["video/mp4"]),
        ("video/mp4", b"\0\0\0\x18ftypdash\0\0\0\0iso6mp41"),
        ("image/heif", SAMPLES["image/heic"]),
        ("audio/mpeg", b"\xff\xfb\x90\x44" + bytes(60)),
        ("audio/mpeg", b"\xff\xf3\x44\xc4" + bytes(60)),
        ("video/x-matroska", SAMPLES["video/webm"]),
        ("application/pdf", b"\xef\xbb\xbf\n%PDF-1.4\n\0\1"),
        ("application/octet-stream", png()),
        ("application/octet-stream", b"\x13\x37\0\1\2\3unknown"),
        ("application/octet-stream", b"plain"),
        ("application/octet-stream", b"BM\0\1\2"),
        ("application/x-parquet", b"PAR1\x15\4\x15\0"),
        ("application/x-own-text", b"a = 1\n"),
        ("text/plain", b"a" * (HEAD_BYTES - 1) + "ü".encode()),
    ],
)
def test_what_people_upload_passes(declared: str, content: bytes) -> None:
    assert mismatch(declared, content[:HEAD_BYTES], [*DEFAULT, "application/*"]) is None


@pytest.mark.parametrize(
    ("declared", "content", "words"),
    [
        ("text/plain", b"<html>", "text/html"),
        ("text/plain", b"\xef\xbb\xbf \n<HTML\nlang=en>", "text/html"),
        ("text/plain", "<script>alert(1)</script>".encode("utf-16"), "text/html"),
        ("text/plain", b"<!-- a --><script>alert(1)</script>", "text/html"),
        ("text/plain", b"<!-- a -->text<script >alert(1)</script>", "text/html"),
        ("application/xml", b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"/>', "text/html"),
        ("application/xml", b'<?xml version="1.0"?><x:html xmlns:x="http://www.w3.org/1999/xhtml"/>', "text/html"),
        ("application/xml", b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><svg/>', "image/svg+xml"),
        ("text/plain", b"<svg onload=alert(1)>", "image/svg+xml"),
        ("image/png", b"<svg/>", "image/svg+xml"),
        ("image/png", b"hello", "text/plain"),
        ("image/png", b"\0\1\2\3", "declared as image/png, and is not"),
        ("image/png", BMP, "declared as image/png, and is not"),
        ("image/x-unheard-of", b"hello", "text/plain"),
        ("application/json", png(), "image/png"),
        ("application/json", b"\0\1", "declared as application/json, and is not"),
        ("text/plain", b"a\0b", "declared as text/plain, and is not"),
        ("text/plain", SAMPLES["application/pdf"], "application/pdf"),
        ("text/plain", b"%PDF-1.4\n", "application/pdf"),
        ("video/x-msvideo", WAV, "audio/wav"),
        (SHEET, SAMPLES[WORD], WORD),
        (WORD, SAMPLES["application/zip"], "application/zip"),
        (WORD, SAMPLES["application/java-archive"], "application/java-archive"),
        (
            "application/msword",
            SAMPLES["application/x-ole-storage"][:80] + bytes.fromhex("84100c0000000000c000000000000046"),
            "msi",
        ),
        ("image/gif", ELF, "application/x-elf"),
        ("application/octet-stream", b"", "empty"),
        ("text/plain", b"", "empty"),
        ("application/x-sh", b"echo", "the type text/x-shellscript is not allowed"),
        ("application/x-msdownload", PE, "not allowed"),
        ("application/vnd.ms-excel.sheet.macroEnabled.12", SAMPLES[SHEET], "not allowed"),
    ],
)
def test_what_is_not_what_was_declared_is_refused_in_words(declared: str, content: bytes, words: str) -> None:
    assert words in str(mismatch(declared, content, [*DEFAULT, "image/*"]))


def test_bytes_of_an_allowed_type_alone_pass_without_a_declaration() -> None:
    allowed = ["application/octet-stream", "image/png"]
    assert mismatch("application/octet-stream", png(), allowed) is None
    assert mismatch("application/octet-stream", JPEG, allowed) == "the file is image/jpeg, which is not allowed"
    assert mismatch("application/octet-stream", b"text", allowed) == "the file is text/plain, which is not allowed"
    assert mismatch("application/octet-stream", png(), ["image/png"])


def test_a_pattern_covers_a_kind_and_aliases_but_nothing_that_runs() -> None:
    assert canonical(" Image/JPG ; q=1") == "image/jpeg"
    assert permitted("image/jpg", ["image/*"])
    assert permitted("image/jpg", ["image/jpeg"])
    assert permitted("image/jpeg", ["image/jpg"])
    assert not permitted("image/svg+xml", ["image/*"])
    assert permitted("image/svg+xml", ["image/svg+xml"])
    assert not permitted("imagex/png", ["image/*"])


SIGNATURES = st.sampled_from([content[:40] for content in SAMPLES.values()])


@settings(max_examples=400, deadline=None)
@given(
    declared=st.one_of(st.text(max_size=40), st.sampled_from([*SAMPLES, "application/octet-stream"])),
    head=st.one_of(
        st.binary(max_size=400),
        st.builds(lambda first, rest: first + rest, SIGNATURES, st.binary(max_size=200)),
        st.text(max_size=200).map(str.encode),
        st.text(alphabet="<>!-?[]xmlhtsvg /", max_size=300).map(str.encode),
    ),
)
@example(declared="text/plain", head=b"<!--" * 2000)
@example(declared="text/plain", head=b"<!doctype" * 900)
@example(declared="application/zip", head=b"PK\x03\x04")
@example(declared="application/zip", head=b"PK\x03\x04" * 2048)
@example(declared="text/plain", head=b"\xff\xfe\x00\xd8")
def test_no_bytes_make_it_raise_and_it_is_always_the_same(declared: str, head: bytes) -> None:
    found = detect(head)
    assert found.count("/") == 1
    reason = mismatch(declared, head, EVERYTHING)
    assert reason is None or reason
    assert mismatch(declared, head, EVERYTHING) == reason
    # What is found in the bytes is one of the things that they pass as.
    if head and permitted(found, [found]):
        assert mismatch(found, head, [found]) is None


@settings(deadline=None)
@given(rest=st.binary(max_size=200), declared=st.sampled_from(["text/plain", "image/png", "application/zip", WORD]))
def test_nothing_behind_its_first_bytes_hides_a_program(rest: bytes, declared: str) -> None:
    assert mismatch(declared, ELF + rest, EVERYTHING)
    assert mismatch(declared, b"#!/bin/sh\n" + rest, EVERYTHING)
