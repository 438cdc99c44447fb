"""Documents as one XML file: Flat OPC, WordprocessingML, SpreadsheetML and Visio of 2003, flat OpenDocument, and the
XDP of Acrobat, which has a PDF in it.

Their programs open them by the namespace of their root, whatever they are named.
"""

from __future__ import annotations

import binascii
import html
import re
from collections.abc import Iterator

from gatescan.judging import targets
from gatescan.judging.budget import Budget
from gatescan.model import Buffer, Part, Verdict
from gatescan.unpack import common, opendocument, packages, sheets
from gatescan.unpack.common import make, note, spend_within

_HEAD = 1 << 16
_NAMESPACES = (
    b"http://schemas.microsoft.com/office/2006/xmlPackage",
    b"http://schemas.microsoft.com/office/word/2003/wordml",
    b"urn:schemas-microsoft-com:office:spreadsheet",
    b"http://schemas.microsoft.com/visio/2003/core",
    b'mimetype="application/vnd.oasis.opendocument',
    b"http://ns.adobe.com/xdp/",
    b'progid="Word.Document"',
    b'progid="Excel.Sheet"',
)
_PART = re.compile(r"<(?:\w{1,40}:)?part\b([^<>]*)>", re.IGNORECASE)
_BINARY = re.compile(
    r"<(?:\w{1,40}:)?(?:binaryData|binData|docOleData|binary-data|VBProjectData|ForeignData|chunk)\b([^<>]*)>\s*(?:<!\[CDATA\[)?"
    r"([^<]*)",
    re.IGNORECASE,
)
_TEMPLATE = re.compile(r"<(?:\w{1,40}:)?attachedTemplate\b([^<>]*)", re.IGNORECASE)
_BOOK_PATH = re.compile(r"<(?:\w{1,40}:)?Path\b[^<>]*>([^<]*)", re.IGNORECASE)
_FORMULA = re.compile(r"\b(?:Formula|RefersTo)\s*=\s*(?:\"([^\"<]*)|'([^'<]*))", re.IGNORECASE)
_LINK = re.compile(
    r"<(?:\w{1,40}:)?(?:hlink\b[^<>]*?\bdest\s{0,9}=\s{0,9}\"([^\"<>]*)|Address\b[^<>]*>([^<]*))", re.IGNORECASE
)
"""Of Word and of Visio; in others' data an address may be any text."""
_SCRIPTS = re.compile(r"<(?:\w{1,40}:)?(?:module|source-code)\b[^<>]*>([^<]*)", re.IGNORECASE)
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]+")
_ATTRIBUTE = re.compile(r"(?:\w{1,40}:)?(\w{1,40})\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")


def is_one(data: Buffer) -> bool:
    """Whether a text that begins with a tag names one of Office's namespaces near its beginning."""
    start = bytes(data[:64]).lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n")
    if not start.startswith(b"<"):
        return False
    head = bytes(data[:_HEAD])
    if b"\x00" in head[:4]:
        head = head.replace(b"\x00", b"")
    if b"&#" in head:
        head += html.unescape(head.decode("latin-1")).encode("utf-8")
    return any(name in head for name in _NAMESPACES)


def members(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    """The files in such a document; findings for what it loads or starts. Raises LimitReached."""
    text = common.as_text(data)
    document = packages.Document(part)
    starts = [(found.start(), _named(found.group(1))) for found in _PART.finditer(text)]
    if not starts or starts[0][0] > 0:
        starts.insert(0, (0, ""))
    ends = [start for start, _ in starts[1:]] + [len(text)]
    for (start, name), end in zip(starts, ends, strict=True):
        budget.tick()
        piece = text[start:end]
        yield from _binaries(part, budget, document, name, piece)
        if name.lower().endswith((".xml", ".rels")):
            document.look(Part("", (), "", piece.encode()), name)
    document.close()
    _look(part, text)


def _binaries(part: Part, budget: Budget, document: packages.Document, name: str, piece: str) -> Iterator[Part]:
    """The files that stand in base64 in one piece of the document."""
    for found in _BINARY.finditer(piece):
        content = _decoded(html.unescape(found.group(2)))
        shown = name or _named(found.group(1))
        if not content or not spend_within(part, budget, shown, len(content)):
            continue
        member = make(part, budget, (shown,) if shown else (), content)
        member.inner = True
        if shown:
            document.look(member, shown)
        yield member


def _look(part: Part, text: str) -> None:
    packages.look_at_markup(part, text.encode())
    opendocument.look(part, text.encode())
    for found in _TEMPLATE.finditer(text):
        if any(
            targets.from_elsewhere("attachedtemplate", html.unescape(a or b))
            for _, a, b in _ATTRIBUTE.findall(found.group(1))
        ):
            note(part, Verdict.POLICY, "remote-template", "a document with a template elsewhere")
    links = (html.unescape(found.group(1) or found.group(2)) for found in _LINK.finditer(text))
    if any(targets.starts_program_by_address(link) for link in links):
        note(part, Verdict.POLICY, "program-link", "a document with a link that starts a program")
    paths = any("|" in html.unescape(found.group(1)) for found in _BOOK_PATH.finditer(text)) and "SupBook" in text
    formulas = (html.unescape(found.group(1) or found.group(2) or "") for found in _FORMULA.finditer(text))
    if "office:spreadsheet" in text and (paths or any(sheets.asks_program(formula) for formula in formulas)):
        note(part, Verdict.POLICY, "dde-link", "a workbook that asks another program for data")
    if any(packages.is_code(html.unescape(found.group(1))) for found in _SCRIPTS.finditer(text)):
        note(part, Verdict.POLICY, "macro", "a document with a macro project")


def _named(attributes: str) -> str:
    for key, a, b in _ATTRIBUTE.findall(attributes):
        if key.lower() == "name":
            return html.unescape(a or b).lstrip("/")
    return ""


def _decoded(text: str) -> bytes:
    digits = _NOT_BASE64.sub("", text)
    return binascii.a2b_base64(digits[: len(digits) - (len(digits) % 4 == 1)] + "==")
