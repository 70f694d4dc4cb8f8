"""Types of files by their first bytes: real small files of each kind, and random bytes."""

from __future__ import annotations

import ast
import gzip
import io
import json
import re
import struct
import time
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from functions.common import media_types
from functions.common.contract import HEAD_BYTES
from functions.common.media_types import canonical, permitted, with_other_names
from functions.inspect.file_type import judge
from functions.inspect.ranged_content import Content
from modules.settings import Settings

WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
DEFAULT = Settings.model_fields["allowed_content_types"].default
EVERYTHING = ("*/*",)
OCTETS = "application/octet-stream"


def refusal(declared: str, content: bytes, allowed: Sequence[str] = EVERYTHING, **options: Any) -> str:  # noqa: ANN401
    """Return the reason of a refusal; empty if the file is accepted."""
    return judge(declared, Content.of(content), allowed, **options).refusal


def taken_as(declared: str, content: bytes, allowed: Sequence[str] = EVERYTHING, **options: Any) -> str:  # noqa: ANN401
    """Return the type under which a file is handed out."""
    verdict = judge(declared, Content.of(content), allowed, **options)
    assert not verdict.refusal
    return verdict.media_type


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
ATOM_WITH_XHTML = (
    b'<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><content type="xhtml">'
    b'<div xmlns="http://www.w3.org/1999/xhtml"><a href="https://example.com">hi</a></div></content></feed>'
)
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


TAKEN = [kind for kind in SAMPLES if kind != "application/x-empty"]


@pytest.mark.parametrize("kind", TAKEN)
def test_each_kind_is_found(kind: str) -> None:
    assert taken_as(OCTETS, SAMPLES[kind], [OCTETS, kind]) == kind


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("kind", TAKEN)
def test_what_is_what_was_declared_passes_where_it_is_allowed_in_full(kind: str, strict: bool) -> None:
    assert taken_as(kind, SAMPLES[kind], [kind], strict=strict) == kind


@pytest.mark.parametrize(
    ("kind", "declared"),
    [
        (kind, declared)
        for declared in ("image/png", "application/pdf", "video/mp4", WORD, "text/plain", "audio/wav")
        for kind in TAKEN
        # XML may be read as text, and a .mov is MP4 but for its brand.
        if kind not in {declared, "application/xml"} and (kind, declared) != ("video/quicktime", "video/mp4")
    ],
)
def test_a_wrong_label_is_corrected_or_refused_where_the_setting_says_so(kind: str, declared: str) -> None:
    assert refusal(declared, SAMPLES[kind], strict=True)
    if kind in RUNS:
        assert kind in refusal(declared, SAMPLES[kind])
    else:
        assert taken_as(declared, SAMPLES[kind]) == kind


@pytest.mark.parametrize("kind", RUNS)
@pytest.mark.parametrize(
    "declared",
    ["application/octet-stream", "application/zip", "text/plain", "text/csv", "application/json", "application/x-own"],
)
def test_what_runs_never_passes_as_something_else(kind: str, declared: str) -> None:
    for allowed in (DEFAULT, EVERYTHING, ["application/*", "text/*", "image/*"]):
        for strict in (False, True):
            reason = refusal(declared, SAMPLES[kind], allowed, strict=strict)
            assert kind in reason


@pytest.mark.parametrize("kind", RUNS)
def test_what_runs_is_not_allowed_by_default_nor_by_a_pattern(kind: str) -> None:
    for allowed in (DEFAULT, EVERYTHING, [f"{kind.partition('/')[0]}/*"]):
        assert refusal(kind, SAMPLES[kind], allowed) == f"the type {kind} is not allowed"


@pytest.mark.parametrize("kind", RUNS)
def test_what_runs_and_is_allowed_still_does_not_pass_under_another_label(kind: str) -> None:
    allowed = [*DEFAULT, kind]
    assert taken_as(OCTETS, SAMPLES[kind], allowed) == kind
    assert kind in refusal("image/png", SAMPLES[kind], allowed)


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
        ("text/plain", b"a" * (HEAD_BYTES - 1) + "ü".encode() + b"a" * HEAD_BYTES),
        ("text/plain", b"10%\b\b\b20%\n"),
        ("text/plain", b"line\r\n\x1a"),
        ("text/plain", "hello, world\n".encode("utf-16-le")),
        ("text/plain", "hello, world\n".encode("utf-32")),
        ("text/plain", "Привет\n".encode("koi8-r")),
        ("text/plain", b"#![no_std]\nfn main() {}\n"),
        ("text/css", b"@import url(a.css);"),
        ("text/markdown", b"<p align=center>hi</p>\n# x"),
        ("text/markdown", b"<h1>Title</h1>\n\n```html\n<script src=a.js></script>\n```\nand `<body onload=x>`\n"),
        ("audio/amr", b"#!AMR\n<\x91\x17\0"),
        ("audio/amr", b"#!AMR\n<\xfd?\xeb<\x92P\xb7\x97J\x9bR"),
        ("audio/amr-wb", b"#!AMR-WB\nD\xfd?\xeb<\x92P\xb7\x97J\x9bR"),
        ("application/ttml+xml", b'<tt xmlns="http://www.w3.org/ns/ttml"><head/><body><p begin="1s">a</p></body></tt>'),
        ("application/vnd.citationstyles.style+xml", b'<?xml version="1.0"?><style xmlns="http://purl.org/net/xbib'),
        ("text/xml", b'<?xml version="1.0"?><style xmlns="http://purl.org/net/xbiblio/csl"><info/></style>'),
        ("text/xml", b'<?xml version="1.0"?><article><front><title/></front><body><table/></body></article>'),
        ("audio/x-mpegurl", b"#EXTM3U\n#EXTINF:1,a\na.mp3\n"),
        ("image/qoi", b"qoif\0\0\0\x10\0\0\0\x10\4\0"),
        ("font/otf", b"OTTO\0\x0c\0\x80\0\3"),
        ("image/x-canon-cr2", b"II*\0\x10\0\0\0CR\2\0" + bytes(20)),
        ("application/atom+xml", ATOM_WITH_XHTML),
        ("text/xml", b'<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="CDA.xsl"?><ClinicalDocument/>'),
        ("application/xml", b'<project><target name="a"><script language="x">a</script></target></project>'),
    ],
)
def test_what_people_upload_passes_even_strictly(declared: str, content: bytes) -> None:
    assert not refusal(declared, content, DEFAULT, strict=True)


@pytest.mark.parametrize(
    ("declared", "content", "words"),
    [
        ("text/plain", b"<html>", "text/html"),
        ("text/plain", b"\xef\xbb\xbf \n<HTML\nlang=en>", "text/html"),
        ("text/plain", "<script>alert(1)</script>".encode("utf-16"), "text/html"),
        ("text/plain", "<script>alert(1)</script>".encode("utf-16-le"), "text/html"),
        ("text/plain", b"<!-- a --><script>alert(1)</script>", "text/html"),
        ("text/plain", b"<!-- a -->text<script >alert(1)</script>", "text/html"),
        ("text/markdown", b"<p>hi</p><script>alert(1)</script>", "text/html"),
        ("text/markdown", b"<p>hi\n```\n<script>alert(1)</script>\n", "text/html"),
        ("text/markdown", b"<p onclick=alert(1)>hi</p>", "text/html"),
        ("text/plain", b"<img src=x\nonerror=alert(1)>", "text/html"),
        ("text/plain", b"<img src='>'/onerror='alert(1)'>", "text/html"),
        ("text/plain", b"<a href=' java&#x0A;script:alert(1)'>hi</a>", "text/html"),
        ("text/plain", b"<x onpointerenter=alert(1)>hi", "text/html"),
        ("text/plain", b"<p><object data=a></object>", "text/html"),
        ("text/plain", b"<HTA:APPLICATION id=a>", "text/html"),
        ("application/octet-stream", b"<html>\0<script>alert(1)</script>", "text/html"),
        ("application/octet-stream", b"\0\0<script>\0alert(1)</script>", "text/html"),
        ("application/xml", b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"/>', "text/html"),
        ("application/xml", b'<?xml version="1.0"?><x:html xmlns:x="http://www.w3.org/1999/xhtml"/>', "text/html"),
        ("application/xml", b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><svg/>', "image/svg+xml"),
        ("application/xml", b'<r><x:script xmlns:x="http://www.w3.org/1999/xhtml">a</x:script></r>', "xhtml+xml"),
        ("application/xml", b'<r><x:script xmlns:x="http://www.w3.org/1999/xhtm&#108;">a</x:script></r>', "xhtml+xml"),
        (
            "application/xml",
            b'<!DOCTYPE r [<!ATTLIST s xmlns CDATA #FIXED "http://www.w3.org/1999/xhtml">]><r><s onclick="a"/></r>',
            "xhtml+xml",
        ),
        ("application/rss+xml", b'<rss><g onload="a" xmlns="http://www.w3.org/2000/svg"/></rss>', "xhtml+xml"),
        ("text/xml", b'<r xmlns:x="http://www.w3.org/1999/xhtml"><x:a href="javascript:a"/></r>', "xhtml+xml"),
        (
            "application/xml",
            b"<r><!--" + b"-" * 0 + b" " * 100_000 + b'--><x:script xmlns:x="http://www.w3.org/1999/xhtml"/></r>',
            "xhtml+xml",
        ),
        (
            "application/xml",
            '<r><x:script xmlns:x="http://www.w3.org/1999/xhtml"/></r>'.encode("utf-16"),
            "xhtml+xml",
        ),
        ("application/xml", b'<a xmlns:x="http://www.w3.org/1999/XSL/Transform"><x:template/></a>', "xslt+xml"),
        (
            "application/xml",
            b'<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="data:text/xml,a"?><r/>',
            "xslt+xml",
        ),
        ("application/xml", b'<tt xmlns="urn:a"><head/><script>alert(1)</script></tt>', "text/html"),
        ("application/xml", b'<p xmlns="urn:a"><a href="&#106;avascript:alert(1)">a</a></p>', "text/html"),
        ("application/xml", b'<?xml version="1.0"?><table><img src="a" onerror="alert(1)"/></table>', "text/html"),
        ("application/xml", b'<?xml version="1.0"?><title><script>alert(1)</script></title>', "text/html"),
        ("text/plain", b"<a href='" + b" " * 300 + b"&#x09;" * 90 + b"javascript:alert(1)'>a</a>", "text/html"),
        (
            "application/xml",
            b'<r xmlns:s="http://www.w3.org/2000/svg"><s:animate values="a;javascript:alert(1)"/></r>',
            "xhtml+xml",
        ),
        ("application/xml", b'<?XML version="1.0"?>\n<scriptlet><script>a</script></scriptlet>', "shellscript"),
        ("application/xml", b"<window xmlns='http://www.mozilla.org/keymaster/gatekeeper/there.is.only.xul'/>", "xul"),
        (
            "application/xml",
            b'<p:package xmlns:p="http://schemas.microsoft.com/office/2006/xmlPackage"><p:part '
            b'p:contentType="application/vnd.ms-word.document.macroEnabled.main+xml"/></p:package>',
            "macroenabled",
        ),
        ("text/plain", b"[DEFAULT]\r\nBASEURL=a\r\n\r\n[InternetShortcut]\r\nURL=file:a\r\n", "shortcut"),
        ("application/octet-stream", b"\x1bLJ\2\0", "lua"),
        ("application/octet-stream", b"Joy!peffpwpc\0\0\0\1", "x-mach-binary"),
        ("application/octet-stream", b"JM\1\0PK\3\4", "java-archive"),
        ("application/octet-stream", b"\x7a\x1a\x20\x10\0\0", "symbian"),
        ("application/octet-stream", b"flatpak\0\1\0\x89\xe5", "flatpak"),
        ("text/plain", b"MZqFpD='\n" + b"#" * 60 + b"\n'\nexec a\n", "portable-executable"),
        ("application/xml", b"<job id='a'><script language='VBScript'>a</script></job>", "shellscript"),
        ("application/xml", b"<?xml version='1.0'?><jnlp spec='1.0+'/>", "jnlp"),
        (
            "application/xml",
            b'<assembly xmlns="urn:schemas-microsoft-com:asm.v1"><deployment '
            b'xmlns="urn:schemas-microsoft-com:asm.v2"/></assembly>',
            "ms-application",
        ),
        (
            "application/xml",
            b'<w:wordDocument xmlns:w="http://schemas.microsoft.com/office/word/2003/wordml"><w:docSuppData/>'
            b"</w:wordDocument>",
            "macroenabled",
        ),
        (
            "application/xml",
            b'<p:package xmlns:p="http://schemas.microsoft.com/office/2006/xmlPackage"><p:part '
            b'p:contentType="application/vnd.ms-office.vbaProject"/></p:package>',
            "macroenabled",
        ),
        ("text/plain", b"<svg onload=alert(1)>", "image/svg+xml"),
        ("image/png", b"<svg/>", "image/svg+xml"),
        ("image/gif", ELF, "application/x-elf"),
        ("application/octet-stream", b"\xca\xfe\xba\xbf\0\0\0\1", "x-mach-binary"),
        ("application/octet-stream", b"CWS\x0a\0\0\1\0", "flash"),
        ("application/octet-stream", b"ITSF\3\0\0\0`\0\0\0", "htmlhelp"),
        ("application/octet-stream", b"!<arch>\ndebian-binary   0", "debian"),
        ("application/octet-stream", b"\xed\xab\xee\xdb\3\0", "rpm"),
        ("application/octet-stream", b"Cr24\3\0\0\0", "chrome-extension"),
        ("application/octet-stream", b"xar!\0\x1c\0\1", "installer"),
        ("application/octet-stream", b"\xcb\r\r\n\0\0\0\0", "python-code"),
        ("application/octet-stream", b"\x1bLuaS\0", "lua"),
        ("text/plain", b"\xef\xbb\xbf#!/bin/sh\nrm -rf /\n", "shellscript"),
        ("audio/amr", b"#!AMR\nrm -rf /\n", "shellscript"),
        ("application/octet-stream", b"#!/bin/sh\nexec tail -n +3 $0 | sh\n\0\1\2", "shellscript"),
        ("text/plain", b"#!/usr/bin/python\n# \xe9\n", "shellscript"),
        ("text/plain", b"@echo off\r\nrem \xe9\r\n", "shellscript"),
        ("text/plain", b"<html>\xe9", "text/html"),
        ("text/plain", b"<p onclick=a>\xe9", "text/html"),
        ("text/plain", b"<?php \xe9", "php"),
        ("application/xml", b"<?xml version='1.0'?><MMC_ConsoleFile/>", "ms-application"),
        ("application/xml", b"<libraryDescription xmlns='a'/>", "shortcut"),
        ("text/plain", b"@echo off\r\ndel *.*\r\n", "shellscript"),
        ("text/plain", b"[InternetShortcut]\r\nURL=file://host/a.exe\r\n", "shortcut"),
        ("text/plain", b"; a\r\n[autorun]\r\nopen=a.exe\r\n", "shortcut"),
        ("text/plain", b"[Desktop Entry]\nExec=rm\n", "desktop"),
        ("text/plain", "Windows Registry Editor Version 5.00\r\n".encode("utf-16"), "regedit"),
        ("application/octet-stream", b"", "empty"),
        ("text/plain", b"", "empty"),
        ("application/x-sh", b"echo", "the type text/x-shellscript is not allowed"),
        ("application/x-msdownload", PE, "not allowed"),
        ("application/vnd.ms-excel.sheet.macroEnabled.12", SAMPLES[SHEET], "not allowed"),
        ("application/hta", b"hi", "not allowed"),
    ],
)
def test_what_is_dangerous_or_not_allowed_is_refused_in_words(declared: str, content: bytes, words: str) -> None:
    for strict in (False, True):
        assert words in refusal(declared, content, DEFAULT, strict=strict)


@pytest.mark.parametrize(
    ("declared", "content", "words", "corrected"),
    [
        ("image/png", b"hello", "text/plain", "text/plain"),
        ("image/png", b"\0\1\2\3", "declared as image/png, and is not", OCTETS),
        ("image/png", BMP, "image/bmp", "image/bmp"),
        ("image/x-unheard-of", b"hello", "text/plain", "text/plain"),
        ("application/json", png(), "image/png", "image/png"),
        ("application/json", b"\0\1", "declared as application/json, and is not", OCTETS),
        ("text/plain", b"a\0b", "declared as text/plain, and is not", OCTETS),
        ("text/plain", SAMPLES["application/pdf"], "application/pdf", "application/pdf"),
        ("text/plain", b"%PDF-1.4\n", "application/pdf", "application/pdf"),
        ("video/x-msvideo", WAV, "audio/wav", "audio/wav"),
        (SHEET, SAMPLES[WORD], WORD, WORD),
        (WORD, SAMPLES["application/zip"], "application/zip", "application/zip"),
        ("application/vnd.ms-excel", b"a\tb\n1\t2\n", "text/plain", "text/plain"),
        ("application/msword", SAMPLES["application/rtf"], "application/rtf", "application/rtf"),
        ("application/x-gzip", b"PK\3\4" + bytes(30), "application/zip", "application/zip"),
        # As a label, these would have a browser look for itself, or run parts.
        ("application/unknown", b"<p>hi</p>", "", "text/plain"),
    ],
)
def test_a_harmless_label_is_corrected(declared: str, content: bytes, words: str, corrected: str) -> None:
    assert taken_as(declared, content, DEFAULT) == corrected
    assert words in refusal(declared, content, DEFAULT, strict=True)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.html", b"hello <script>alert(1)</script>", "text/html"),
        ("A.HTM. .", png(), "text/html"),
        ("a.svg", png(), "image/svg+xml"),
        ("a.xhtml", b"hello", "xhtml"),
        ("a.hta", b"\0\1", "text/html"),
        ("a.bat", b"del *.*", "shellscript"),
        ("a.js", b"var a", "javascript"),
        ("a.vbs", b"Dim a", "vbscript"),
        ("a.url", b"URL=a", "shortcut"),
    ],
)
def test_a_name_by_which_a_computer_renders_or_runs_a_file_does_not_pass(name: str, content: bytes, words: str) -> None:
    assert words in refusal(OCTETS, content, DEFAULT, file_name=name)


@pytest.mark.parametrize("name", ["a.html.txt", "html", "a.md", "a.json", "bat", "js.csv", "", "."])
def test_other_names_do_not_count(name: str) -> None:
    assert not refusal("text/plain", b"hello", DEFAULT, file_name=name)


def test_a_file_named_as_it_is_passes_where_that_is_allowed() -> None:
    allowed = [*DEFAULT, "text/html"]
    assert taken_as("text/html", b"<html>", allowed, file_name="a.html") == "text/html"
    assert taken_as("text/html", b"hello", allowed, file_name="a.html") == "text/html"


def test_bytes_of_an_allowed_type_alone_pass_without_a_declaration() -> None:
    allowed = ["application/octet-stream", "image/png"]
    assert not refusal(OCTETS, png(), allowed)
    assert refusal(OCTETS, JPEG, allowed) == "the file is image/jpeg, which is not allowed"
    assert refusal(OCTETS, b"text", allowed) == "the file is text/plain, which is not allowed"
    assert refusal(OCTETS, png(), ["image/png"]) == "the type application/octet-stream is not allowed"
    assert "image/jpeg, which is not allowed" in refusal("image/png", JPEG, ["image/png"])
    assert "octet-stream, which is not allowed" in refusal("image/png", b"\0\1\2\3", ["image/*"])


def test_where_one_kind_that_runs_is_allowed_its_like_is_not() -> None:
    allowed = [*DEFAULT, "application/xhtml+xml"]
    assert refusal(OCTETS, b"<html>", allowed)
    assert taken_as("application/xhtml+xml", b"<html xmlns='a'/>", allowed) == "application/xhtml+xml"


@pytest.mark.parametrize("declared", [OCTETS, "application/msword", "application/vnd.ms-works"])
def test_a_container_passes_where_one_of_its_kinds_is_allowed(declared: str) -> None:
    """`.doc` without a declared type: the head says a compound file, and application/msword is allowed."""
    allowed = [OCTETS, "application/msword", "application/vnd.ms-works"]
    assert not refusal(declared, SAMPLES["application/x-ole-storage"], allowed)


def test_a_pattern_covers_a_kind_and_aliases_but_nothing_that_runs() -> None:
    assert canonical(" Image/JPG ; q=1") == "image/jpeg"
    assert permitted("image/jpg", ["image/*"])
    assert permitted("image/jpg", ["image/jpeg"])
    assert permitted("image/jpeg", ["image/jpg"])
    assert not permitted("image/svg+xml", ["image/*"])
    assert permitted("image/svg+xml", ["image/svg+xml"])
    assert not permitted("imagex/png", ["image/*"])


@pytest.mark.parametrize(
    ("allowed", "more"),
    [
        (DEFAULT, []),
        (EVERYTHING, []),
        (["image/*", "application/zip"], ["application/x-zip", "application/x-zip-compressed"]),
        # A setting may have any of the names.
        (["application/x-zip"], ["application/x-zip-compressed", "application/zip"]),
        (["application/vnd.ms-*"], []),
    ],
)
def test_a_list_for_browsers_has_the_other_names_of_types_that_are_allowed(
    allowed: Sequence[str], more: list[str]
) -> None:
    assert with_other_names(allowed) == [*allowed, *more]


@given(st.lists(st.sampled_from(sorted({*media_types._SAME, *media_types._SAME.values(), *DEFAULT})), min_size=1))
def test_every_type_in_a_list_for_browsers_is_taken(allowed: list[str]) -> None:
    named = [name for name in with_other_names(allowed) if "*" not in name]
    assert [name for name in named if not permitted(name, allowed)] == []


@pytest.mark.parametrize(
    "content",
    [
        b"<!doctype" + b" " * HEAD_BYTES,
        b"[{0}]" + b"\n" * HEAD_BYTES,
        b"[Shell]" + b"\n" * HEAD_BYTES,
        b"[a]\n" * (HEAD_BYTES // 4),
        b"<p a='" + b"&#9;" * (HEAD_BYTES // 4),
        b"<r xmlns='" + b"a" * 2**19 + b"'>" + b"<a/>" * 2**17,
        b"<!DOCTYPE r [<!ENTITY b '" + b"<a/>" * 25_000 + b"'>]><r>" + b"&b;" * 300_000,
    ],
    ids=["doctype", "property set", "command", "sections", "blanks", "namespace", "entity"],
)
def test_no_bytes_take_long(content: bytes) -> None:
    """An inspection has 15 seconds; a look that backs up or copies without bound takes minutes of these."""
    begun = time.process_time()
    judge(OCTETS, Content.of(content), DEFAULT)
    assert time.process_time() - begun < 3


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
    verdict = judge(declared, Content.of(head), EVERYTHING)
    assert verdict.media_type.count("/") == 1 or verdict.media_type == canonical(declared)
    assert judge(declared, Content.of(head), EVERYTHING) == verdict
    # What is taken is never handed out as what runs, for no pattern allows that.
    assert verdict.media_type not in media_types.RUNS
    # What is handed out as one type passes as that type, even strictly.
    if not verdict.refusal and verdict.media_type != OCTETS:
        assert taken_as(verdict.media_type, head, strict=True) == verdict.media_type


@settings(deadline=None)
@given(rest=st.binary(max_size=200), declared=st.sampled_from(["text/plain", "image/png", "application/zip", WORD]))
def test_nothing_behind_its_first_bytes_hides_a_program(rest: bytes, declared: str) -> None:
    assert refusal(declared, ELF + rest)
    assert refusal(declared, b"#!/bin/sh\n" + rest)


def test_a_program_hides_behind_no_header_of_text() -> None:
    """MZ and 58 printable bytes, and far behind them what Windows runs ("PE Format")."""
    start = 0x0909_0909
    header = (b"MZ".ljust(60, b"a") + struct.pack("<I", start)).ljust(HEAD_BYTES, b" ")

    def verdict(behind: bytes) -> str:
        def read(at: int, count: int) -> bytes:
            return header[:count] if at == 0 else (b" " * (start - at) + behind)[:count]

        return judge("text/plain", Content(start + len(behind), read), EVERYTHING).refusal

    assert "portable-executable" in verdict(b"PE\0\0" + bytes(90))
    assert not verdict(b"text" * 9)


def rows() -> list[tuple[str, str, bytes, str]]:
    """Ordinary files: name, type as clients declare it, first bytes, and what they are handed out as."""
    lines = (Path(__file__).parent / "ordinary_files.tsv").read_text().splitlines()
    found = [line.split("\t") for line in lines if not line.startswith("#")]
    return [(name, declared, unescaped(head), taken or declared) for name, declared, head, taken in found]


def unescaped(head: str) -> bytes:
    """Bytes as the table writes them, in escapes of Python, `*N` behind a byte that comes N times."""
    content: bytes = ast.literal_eval(f'b"{head}"')
    return re.sub(rb"(?s)(.)\*(\d+);", lambda found: found[1] * int(found[2]), content)


@pytest.mark.parametrize(("name", "declared", "head", "taken"), rows())
def test_ordinary_files_are_taken_by_default(name: str, declared: str, head: bytes, taken: str) -> None:
    assert taken_as(declared, head, DEFAULT, file_name=name) == canonical(taken)
    # A client that does not know the type says nothing, and is not worse off.
    assert not refusal(OCTETS, head, DEFAULT, file_name=name)
