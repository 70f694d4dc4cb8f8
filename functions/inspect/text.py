"""Types of text files, and the search for text that browsers, shells or Office programs would run.

Text has no signature. HTML is detected as browsers detect it (MIME Sniffing Standard, "Identifying a resource with an
unknown MIME type"); XML is parsed. HTML in which nothing can run, such as the heading of a README.md, is text.
"""

from __future__ import annotations

import codecs
import html
import re
from typing import Final
from xml.parsers import expat

from functions.inspect.ranged_content import Content, TooLargeError

TEXT: Final = "text/plain"
XML: Final = "application/xml"
HTML: Final = "text/html"
SVG: Final = "image/svg+xml"
XHTML: Final = "application/xhtml+xml"
XSLT: Final = "application/xslt+xml"
XUL: Final = "application/vnd.mozilla.xul+xml"
PHP: Final = "application/x-httpd-php"
SCRIPT: Final = "text/x-shellscript"
SHORTCUT: Final = "application/x-ms-shortcut"
# Elements of macros in Office documents that are one XML file (Word 2003, Flat OPC, flat OpenDocument).
XML_MACROS: Final = "application/vnd.ms-word.document.macroenabled.12"
OPEN_DOCUMENT_MACROS: Final = "application/x-opendocument-macros"

# XML is inspected up to this size; of other text, only the head is inspected.
XML_BYTES: Final = 2**20
# Limit of the elements, names and values that the parser makes of it: entities, default values and namespaces multiply.
_MAX_PARSED: Final = 64 * XML_BYTES
_ELEMENT_COSTS: Final = 100

_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# "Binary data byte" of the same standard, except for control characters that old programs and devices write in text.
_BINARY: Final = re.compile(r"[\x00\x02-\x07\x0e-\x1a]")
_SEPARATORS: Final = re.compile(r"[\x01\x08\x0b\x1c-\x1f]")
_ASCII_SHARE: Final = 0.9
_BLANKS: Final = "\ufeff\0 \t\r\n\f\v"

_BEFORE_ROOT: Final = re.compile(
    r"\s*(?:<\?[^>]*\?>|<!--.*?-->|<!doctype[^>\[]*+(?:\[[^\]]*+\]\s*+)?>)\s*", re.IGNORECASE | re.DOTALL
)
_DECLARATION: Final = re.compile(rb"\A[\xef\xbb\xbf\s\0]*<\?xml", re.IGNORECASE)
_ROOT: Final = re.compile(r"<(?:[\w.-]+:)?([\w.-]+)")
_SERVER_CODE: Final = re.compile(r"<\?(?:php|=)|<%", re.IGNORECASE)
# These tags begin a document, whose head, scripts and frames can run; the other tags of HTML only mark up text.
_DOCUMENT: Final = re.compile(
    r"<(?:!doctype html|html|head|body|title|style|script|iframe|frameset|hta:application)[\s/>]", re.IGNORECASE
)
_MARKUP: Final = re.compile(
    r"<(?:a|abbr|article|audio|b|big|blockquote|br|button|center|code|col|dd|del|details|div|dl|dt|em|embed|fieldset"
    r"|figure|font|footer|form|h[1-6]|header|hr|i|img|input|ins|kbd|label|li|link|main|map|marquee|math|meta|nav"
    r"|noscript|object|ol|p|picture|pre|q|s|samp|section|select|small|source|span|strike|strong|sub|summary|sup"
    r"|table|tbody|td|template|textarea|th|thead|tr|tt|u|ul|var|video|base|applet|frame)[\s/>]",
    re.IGNORECASE,
)
_TAG: Final = re.compile(r"<([a-z][^\s/>]*)", re.IGNORECASE)
_ATTRIBUTE: Final = re.compile(r"""[\s/]*([^\s/>=]+)?\s*(?:=\s*("[^"]*"?|'[^']*'?|[^\s>]*))?""")
_RUNNING_TAGS: Final = frozenset(
    {
        "applet",
        "base",
        "body",
        "embed",
        "frame",
        "frameset",
        "head",
        "html",
        "iframe",
        "link",
        "meta",
        "object",
        "script",
        "style",
        "title",
    }
)
_RUNNING_VALUES: Final = ("javascript:", "vbscript:", "data:text/html", "data:application/xhtml")
# Tags that show that XML with names of HTML is meant for a browser.
_SCRIPTED_TAGS: Final = frozenset(
    {"applet", "base", "embed", "frame", "frameset", "iframe", "meta", "object", "script"}
)
_UNSEEN: Final = re.compile(r"[\x00-\x20]")
_BLANKS_OF_VALUE: Final = re.compile(
    r"(?:[\x00-\x20]|&#0*(?:[0-2]?\d|3[0-2]);?(?!\d)|&#x0*(?:1?[0-9a-f]|20);?(?![0-9a-f])|&tab;|&newline;)*+",
    re.IGNORECASE,
)
_CODE_SPAN: Final = re.compile(r"`[^`\n]+`")
_FENCE: Final = re.compile(r"[ \t>]{0,12}(`{3,}|~{3,})")

# Beginnings of text files that a computer runs or that point to a program, and of other text with a fixed beginning.
_BEGINNINGS: Final = (
    (re.compile(r"@(?:echo|setlocal|cls|rem)\b", re.IGNORECASE), SCRIPT),
    (re.compile(r"(?:[;#][^\n]*\n|\s)*\[(?:InternetShortcut|autorun)\]", re.IGNORECASE), SHORTCUT),
    (re.compile(r"\[Shell\]\s+(?:Command|IconFile)\s*=", re.IGNORECASE), SHORTCUT),
    # Other sections may come first: that of a property set, or [DEFAULT].
    (re.compile(r"\[(?:(?!\[InternetShortcut\])[^\n]*+\n\s*+)++\[InternetShortcut\]", re.IGNORECASE), SHORTCUT),
    (re.compile(r"(?:#[^\n]*\n|\s)*\[(?:Desktop Entry|KDE Desktop Entry)\]"), "application/x-desktop"),
    (re.compile(r"d\d+:(?:announce|comment|created|creation|info|nodes)"), "application/x-bittorrent"),
    (re.compile(r"Windows Registry Editor Version|REGEDIT4"), "text/x-ms-regedit"),
)
_XHTML_NAMESPACE: Final = "http://www.w3.org/1999/xhtml"
_SVG_NAMESPACE: Final = "http://www.w3.org/2000/svg"
_RENDERED: Final = frozenset({_XHTML_NAMESPACE, _SVG_NAMESPACE, "http://www.w3.org/1998/Math/MathML"})
_XUL_NAMESPACE: Final = "http://www.mozilla.org/keymaster/gatekeeper/there.is.only.xul"
_XSL_NAMESPACE: Final = "http://www.w3.org/1999/XSL/Transform"
_ASSEMBLY_NAMESPACES: Final = frozenset(f"urn:schemas-microsoft-com:asm.v{number}" for number in (1, 2, 3))
_SCRIPT_ROOTS: Final = frozenset({"job", "package", "component", "scriptlet"})
# Root elements of XML files that make Windows or Java run or install a program.
_RUNNING_ROOTS: Final = {
    "MMC_ConsoleFile": "application/x-ms-application",
    "PCSettings": SHORTCUT,
    "jnlp": "application/x-java-jnlp-file",
    "libraryDescription": SHORTCUT,
    "searchConnectorDescription": SHORTCUT,
}
_XML_MACROS: Final = re.compile(r"vbaproject|macroenabled", re.IGNORECASE)
_OPEN_OFFICE: Final = "http://openoffice.org/2004/office"


def text_of(head: bytes) -> tuple[str | None, bool]:
    """Return the head as text, or None if it is binary; and whether its encoding is one of Unicode.

    Text in older encodings is decoded byte by byte, since any bytes are valid in them.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return _decoded(head[len(mark) :], encoding), True
    if (text := _decoded(head, "utf-8")) is not None:
        return text, True
    for encoding in ("utf-16-le", "utf-16-be") if len(head) % 2 == 0 else ():
        text = _decoded(head, encoding)
        if text and sum("\t" <= character <= "~" for character in text) >= _ASCII_SHARE * len(text):
            return text, True
    text = _decoded(head, "latin-1")
    return (None if text and _SEPARATORS.search(text) else text), False


def _decoded(head: bytes, encoding: str) -> str | None:
    try:
        # The last character may be cut off.
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return None
    return text if _is_text(text) else None


def _is_text(text: str) -> bool:
    # DOS ends a text with ^Z.
    return not _BINARY.search(text.removesuffix("\0").removesuffix("\x1a"))


def markup_of(head: bytes) -> str | None:
    """Return the HTML, SVG or XML at the beginning of a binary file, or None; a browser renders it nevertheless."""
    text = head.decode("latin-1").lstrip(_BLANKS + "\xef\xbb\xbf")
    return text if text.startswith("<") and (_DOCUMENT.match(text) or _ROOT.match(text) or text[:2] in "<!<?") else None


def look_at_text(text: str, content: Content) -> str:
    """Return the likeliest media type of text: plain text, XML, or a type that runs.

    Args:
        text: head of the file.
        content: the whole file; XML is read up to XML_BYTES.

    Raises:
        TooLargeError: the limits of this inspection are reached, or XML grows too large when it is parsed.
    """
    start = text.lstrip(_BLANKS)
    for pattern, kind in _BEGINNINGS:
        if pattern.match(start):
            return kind
    if not start.startswith("<"):
        return TEXT
    if _SERVER_CODE.match(start):
        return PHP
    return _look_at_markup(start, content)


def _look_at_markup(start: str, content: Content) -> str:
    """Return the likeliest media type of text that begins with `<`."""
    at = 0
    while before := _BEFORE_ROOT.match(start, at):
        at = before.end()
    root = _ROOT.match(start, at)
    name = root[1].lower() if root else ""
    if name in {"svg", "html"}:
        return SVG if name == "svg" else HTML
    is_document = bool(_DOCUMENT.match(start) or _DOCUMENT.match(start, at))
    is_markup = is_document or bool(_MARKUP.match(start, at))
    is_xml = start[:5].lower() == "<?xml"
    rest = content.range(len(content.head), XML_BYTES - len(content.head))
    look = _look_at_xml(content.head + rest)
    if look.found:
        return look.found
    if look.is_sound and (is_xml or root) and not (is_markup and look.is_scripted):
        # Formats of XML use names of HTML: <article> of DocBook, <style> of citation styles, <tt> of subtitles.
        is_html = is_document and look.has_root if is_xml else is_markup
        if look.namespace or not is_html:
            return XML
    if is_document:
        return HTML
    if is_xml and not is_markup:
        return XML
    return HTML if _runs(start) else XML if is_xml else TEXT


def _runs(text: str) -> bool:
    """Return whether a browser would run something in HTML. Code that Markdown quotes does not count."""
    text = _without_code(text)
    at = 0
    while tag := _TAG.search(text, at):
        if tag[1].lower() in _RUNNING_TAGS:
            return True
        at = tag.end()
        while at < len(text) and text[at] != ">":
            attribute = _ATTRIBUTE.match(text, at)
            if not attribute or attribute.end() == at:
                break
            name, value = (attribute[1] or "").lower(), attribute[2] or ""
            if (name.startswith("on") and len(name) > 2) or _is_running(value.strip("\"'")):
                return True
            at = attribute.end()
    return False


def _is_running(value: str) -> bool:
    blanks = _BLANKS_OF_VALUE.match(value)
    start = blanks.end() if blanks else 0
    seen = _UNSEEN.sub("", html.unescape(value[start : start + 200])).lower()
    # Values of an animation follow each other.
    return any(each.startswith(_RUNNING_VALUES) for each in seen.split(";"))


def _without_code(text: str) -> str:
    kept, fence = [], ""
    for line in text.splitlines(keepends=True):
        marked = _FENCE.match(line)
        if fence:
            fence = "" if marked and marked[1].startswith(fence) else fence
        elif marked:
            fence = marked[1]
        else:
            kept.append(line)
    # A code fence without an end is not a code fence.
    return text if fence else _CODE_SPAN.sub("", "".join(kept))


class _XmlLook:
    """A handler of XML events that notes elements and instructions that would run."""

    def __init__(self) -> None:
        self.found = ""
        self.is_sound = False
        self.is_scripted = False
        self.has_root = False
        self.namespace = ""
        self._root = ""
        self._parsed = 0

    def element(self, name: str, attributes: dict[str, str]) -> None:
        """Check an element; its names begin with their namespace."""
        self._parsed += _ELEMENT_COSTS + len(name) + sum(len(each) + len(value) for each, value in attributes.items())
        if self._parsed > _MAX_PARSED:
            raise TooLargeError("its XML grows too large when it is parsed")
        namespace, _, local = name.rpartition(" ")
        if not self.has_root:
            self.has_root, self._root, self.namespace = True, local, namespace
        self._note(self._kind(namespace, local, attributes))

    def _kind(self, namespace: str, local: str, attributes: dict[str, str]) -> str:
        if namespace == _XSL_NAMESPACE or any(name.startswith(_XSL_NAMESPACE) for name in attributes):
            return XSLT
        runs = any(name.lower().startswith("on") or _is_running(value) for name, value in attributes.items())
        self.is_scripted |= runs or local.lower() in _SCRIPTED_TAGS
        if namespace in _RENDERED and (runs or local.lower() in _RUNNING_TAGS):
            return XHTML
        if namespace == _XUL_NAMESPACE:
            return XUL
        if local in _RUNNING_ROOTS and self._root == local:
            return _RUNNING_ROOTS[local]
        if not namespace and local == "script" and self._root in _SCRIPT_ROOTS:
            return SCRIPT
        if namespace in _ASSEMBLY_NAMESPACES and self._root == "assembly" and local in {"deployment", "entryPoint"}:
            return "application/x-ms-application"
        if local == "docSuppData" or any(_XML_MACROS.search(value) for value in attributes.values()):
            return XML_MACROS
        if namespace == _OPEN_OFFICE and local == "module":
            return OPEN_DOCUMENT_MACROS
        return ""

    def instruction(self, target: str, data: str) -> None:
        """Check a processing instruction: a style sheet may be a program inside the instruction itself."""
        if target == "xml-stylesheet" and re.search(r"""href\s*=\s*["']\s*(?:data|javascript):""", data, re.IGNORECASE):
            self._note(XSLT)

    def _note(self, kind: str) -> None:
        self.found = self.found or kind


def _look_at_xml(beginning: bytes) -> _XmlLook:
    """Check the beginning of an XML file for what would run, and whether it is valid XML.

    Raises:
        TooLargeError: it grows beyond _MAX_PARSED.
    """
    # Windows also reads scripts that begin with <?XML.
    beginning = _DECLARATION.sub(b"<?xml", beginning, count=1)
    for encoding in (None, "iso-8859-1"):
        look = _XmlLook()
        parser = expat.ParserCreate(encoding, " ")
        parser.StartElementHandler = look.element
        parser.ProcessingInstructionHandler = look.instruction
        try:
            parser.Parse(beginning, False)
        except (expat.ExpatError, ValueError, LookupError) as error:
            # The parser does not know this encoding; in most encodings the ASCII letters are the same.
            known = (
                isinstance(error, expat.ExpatError)
                and error.code != expat.errors.codes[expat.errors.XML_ERROR_UNKNOWN_ENCODING]
            )
            if look.found or known:
                return look
        else:
            look.is_sound = True
            return look
    return look
