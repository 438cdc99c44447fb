"""Zip files, with a look at those that are Office documents: OOXML (ECMA-376 part 2) and OpenDocument."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from gatescan.judging import filetype, targets
from gatescan.judging.budget import Budget
from gatescan.model import Buffer, Part, Verdict
from gatescan.unpack import common, fields, opendocument, sheets, zipread
from gatescan.unpack.common import note

_TYPES = "[content_types].xml"
_MANIFEST = "meta-inf/manifest.xml"
_DOCUMENT_NAME = re.compile(
    r"\.(?:do[ct][xm]|xl[st][xm]|xlsb|xlam|p[po][ts][xm]|ppam|sld[xm]|thmx|vs[dst][xm]|o?xps|dwfx|o[dt][tspgfmhcbi]"
    r"|s[tx][wcidmg]|epub|idml|pages|numbers|key)\s*\Z",
    re.IGNORECASE,
)
"""Names of documents that are zip files inside: nobody unpacks them."""
_DOCUMENT_TYPE = re.compile(
    r"application/(?:vnd\.openxmlformats-officedocument|vnd\.oasis\.opendocument|vnd\.ms-[a-z]+\.[a-z.]*macroenabled"
    r"|epub\+zip)",
    re.IGNORECASE,
)
_DOCUMENT_MARKS = frozenset((b"[content_types].xml", b"mimetype", b"meta-inf/container.xml", b"index/document.iwa"))
_SHEET_TYPE = re.compile(r"ms-excel\.(?:intl)?macrosheet", re.IGNORECASE)
_TYPED = re.compile(r"<(?:\w{1,40}:)?(?:Default|Override)\b([^<>]*)", re.IGNORECASE)
_ODF_STREAMS = ("content.xml", "styles.xml", "meta.xml")
_ODF_LISTS = ("script-lb.xml", "script-lc.xml", "dialog-lb.xml", "dialog-lc.xml")
_BASIC_LINE = re.compile(r"\s*(?:(?:rem\b|').*|option\s+(?:vbasupport\s+\d|explicit|compatible)\s*)?\Z", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_RELATION = re.compile(r"<(?:\w{1,40}:)?Relationship\b([^<>]*)", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"\b(\w{1,40})\s*=\s*(?:\"([^\"]*)(?:\"|\Z)|'([^']*)(?:'|\Z))")
"""An unclosed value goes on to the end, so that it is looked at once only."""
_LOADED = frozenset(("attachedtemplate", "oleobject", "frame", "subdocument", "afchunk", "externallinkpath"))
"""Relations whose target is fetched when the document is opened. Links are everyday things, and images on the web."""
_SHOWN = frozenset(("image", "audio", "video", "media", "package", "control"))
"""Relations whose target is held, as that of a field, where it is on a share, which gets the proof of a password."""
# Words that begin at their rarest letter, and look back: large documents are searched in half the time.
_CLICK = re.compile(rb"k(?<=hlink)(?:Click|Hover|MouseOver)")
_INSTRUCTION = re.compile(rb"T(?<=nstrT)ext")
_SIMPLE_FIELD = re.compile(rb"S(?<=fldS)imple")
_HYPERLINK = re.compile(rb"PERLINK\s{0,9}\(", re.IGNORECASE)
_TOPIC = re.compile(rb"\|\s{0,9}(?:'|&apos;|&#)")
_FORMULA = re.compile(r"<(?:\w{1,40}:)?f\b[^<>]*>([^<]*\|[^<]*)")
_ACTION = re.compile(r"\baction\s*=\s*[\"']\s*ppaction:/*\s*program", re.IGNORECASE)
_DDE_LINK = re.compile(r"<(?:\w{1,40}:)?ddeLink\b")
_VISIO_LINK = re.compile(r"\bN\s{0,9}=\s{0,9}[\"']Address[\"']\s{1,9}V\s{0,9}=\s{0,9}(?:\"([^\"<>]*)|'([^'<>]*))")
_FIELD_MARK = re.compile(r"fldChar\b([^<>]*)")
_FIELD_CODE = re.compile(r"nstrText\b[^<>]*>([^<]*)")
_FIELD_SIMPLE = re.compile(r"fldSimple\b([^<>]*)")
_CLOSED_BY = {"<!--": "-->", "<![CDATA[": "]]>", "<?": "?>"}
_SECTION = re.compile("|".join(map(re.escape, _CLOSED_BY)))
_DDE_SUPPORT = b"\xe8\x02"
"""BrtBeginSupBook of a binary workbook, as the first record of a link."""


def members(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    """The members of a zip; findings for macros, remote content and locks when it is a document."""
    directories = zipread.directories(part, data)
    inner = is_document(part) and any(e.raw.lower() in _DOCUMENT_MARKS for d in directories for e in d.entries)
    document = Document(part)
    for member in zipread.members(part, data, budget, directories):
        member.inner = inner
        for name in member.names:
            document.look(member, name)
        yield member
    document.close()


def is_document(part: Part) -> bool:
    """Whether a part is opened as a document by whoever gets it, by its names, or by its type if it has none; a piece
    of a document always is."""
    if not part.names:
        return part.inner or _DOCUMENT_TYPE.match(part.content_type) is not None
    return part.inner or all(_DOCUMENT_NAME.search(name) for name in part.names)


class Document:
    """What the members of a document say: each by itself, and together."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._names: set[str] = set()
        self._sheets: list[tuple[str, str]] = []

    def look(self, member: Part, path: str) -> None:
        """Look at a member by one of its names."""
        part, name = self._part, path.replace("\\", "/").lower().lstrip("/")
        if len(member.data):
            self._names.add(name)
        if name.endswith(".rels"):
            _relations(part, common.as_text(member.data))
        elif name.endswith("vbaproject.bin"):
            _project(part, member)
        elif name == _TYPES:
            self._content_types(common.as_text(member.data))
        elif name == _MANIFEST:
            _manifest(part, common.as_text(member.data))
        elif name.startswith("xl/macrosheets/"):
            note(part, Verdict.POLICY, "macro-sheet", "a workbook with a macro sheet (Excel 4.0)")
        elif "externallink" in name:
            _external_link(part, bytes(member.data))
        elif _is_odf_code(name):
            _odf_code(part, common.as_text(member.data))
        elif name.endswith(".xml") or _is_xml(member.data):
            look_at_markup(part, bytes(member.data))
            if name.rpartition("/")[2] in _ODF_STREAMS:
                opendocument.look(part, bytes(member.data))

    def close(self) -> None:
        """What the list of types says, once it is known which members there are: a type without a part is nothing."""
        for name, extension in self._sheets:
            if name in self._names or (extension and any(known.endswith(extension) for known in self._names)):
                note(self._part, Verdict.POLICY, "macro-sheet", "a workbook with a macro sheet (Excel 4.0)")

    def _content_types(self, text: str) -> None:
        if not _SHEET_TYPE.search(html.unescape(text)):
            return
        for found in _TYPED.finditer(text):
            values = _attributes(found.group(1))
            if _SHEET_TYPE.search(values.get("contenttype", "")):
                extension = values.get("extension", "").lower()
                name = values.get("partname", "").lower().lstrip("/")
                self._sheets.append((name, f".{extension}" if extension else ""))


def _is_xml(data: Buffer) -> bool:
    """Whether a piece of a document is XML: what it is named does not matter to Office."""
    return bytes(data[:16]).lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n")[:1] == b"<"


def look_at_markup(part: Part, data: bytes) -> None:
    """What runs without a macro in a piece of a document that is XML: DDE fields, and clicks that start a program."""
    wide = b"\x00" in data[:4]
    clicks = wide or _CLICK.search(data) is not None or b"paction" in data
    coded = wide or _INSTRUCTION.search(data) is not None or _SIMPLE_FIELD.search(data) is not None
    linked = wide or b"ddeLink" in data
    calls = wide or _HYPERLINK.search(data) is not None
    asks = wide or _TOPIC.search(data) is not None
    drawn = wide or b"Address" in data
    if not clicks and not coded and not linked and not calls and not asks and not drawn:
        return
    text = common.as_text(data)
    formulas = _FORMULA.findall(text) if asks else ()
    if (linked and _DDE_LINK.search(text)) or any(sheets.asks_program(html.unescape(one)) for one in formulas):
        note(part, Verdict.POLICY, "dde-link", "a workbook that asks another program for data")
    if clicks and _ACTION.search(html.unescape(text)):
        note(part, Verdict.POLICY, "program-link", "a presentation that starts a program")
    for codes in {_field_codes(text), _field_codes(_plain(text))} if coded else ():
        look_at_fields(part, codes)
    if drawn and any(targets.starts_program(html.unescape(a or b)) for a, b in _VISIO_LINK.findall(text)):
        note(part, Verdict.POLICY, "program-link", "a drawing with a link that starts a program")
    if calls and sheets.has_program_link(html.unescape(text)):
        note(part, Verdict.POLICY, "program-link", "a workbook with a link that starts a program")


def look_at_fields(part: Part, codes: str) -> None:
    """Findings for the fields of a document of Word."""
    if fields.asks_program(codes):
        note(part, Verdict.POLICY, "dde-link", "a document that asks another program for data")
    if fields.loads_from_elsewhere(codes):
        note(part, Verdict.POLICY, "remote-template", "a document that loads something from elsewhere (a field)")
    if fields.starts_program(codes):
        note(part, Verdict.POLICY, "program-link", "a document with a link that starts a program")


def _plain(text: str) -> str:
    """XML with its CDATA sections written as other text is, and without comments and instructions; linear."""
    pieces, at = [], 0
    for opening in _SECTION.finditer(text):
        if opening.start() < at:  # it stands inside another
            continue
        closing = _CLOSED_BY[opening[0]]
        end = text.find(closing, opening.end())
        if end < 0:  # nobody's XML: all of the rest is looked at
            break
        pieces.append(text[at : opening.start()])
        if opening[0] == "<![CDATA[":
            pieces.append(html.escape(text[opening.end() : end]))
        at = end + len(closing)
    return "".join(pieces) + text[at:]


def _field_codes(text: str) -> str:
    """The instructions of the fields in a piece of a document, as `fields` reads them."""
    found = [(mark.start(), _boundary(mark.group(1))) for mark in _FIELD_MARK.finditer(text)]
    found += ((code.start(), html.unescape(code.group(1))) for code in _FIELD_CODE.finditer(text))
    for simple in _FIELD_SIMPLE.finditer(text):
        closes = text[max(0, simple.start() - 42) : simple.start()].rpartition("<")[2].startswith("/")
        begin = "" if closes else fields.BEGIN + _attributes(simple.group(1)).get("instr", "")
        end = fields.END if closes or simple.group(1).rstrip().endswith("/") else ""
        found.append((simple.start(), begin + end))
    return "".join(code for _, code in sorted(found))


def _boundary(attributes: str) -> str:
    kind = _attributes(attributes).get("fldchartype", "").lower()
    return {"begin": fields.BEGIN, "separate": fields.SEPARATE, "end": fields.END}.get(kind, "")


def _attributes(text: str) -> dict[str, str]:
    """A tag's attributes, by their names in lower case without a prefix."""
    return {key.lower(): html.unescape(a or b) for key, a, b in _ATTRIBUTE.findall(text)}


def _project(part: Part, member: Part) -> None:
    """The macro project of a document is opened as a compound file, and judged there. What is none is not known."""
    if member.sealed or (len(member.data) and filetype.kind(member.data) not in ("ole", "msi")):
        note(part, Verdict.POLICY, "macro", "a document with a macro project that can't be read")


def _external_link(part: Part, data: bytes) -> None:
    packed = data[:2] == _DDE_SUPPORT and data[3:5] == b"\x01\x00"
    if packed or "ddelink" in common.as_text(data).lower():
        note(part, Verdict.POLICY, "dde-link", "a workbook that asks another program for data")


def _is_odf_code(name: str) -> bool:
    """Whether a member of OpenDocument is a module: `Basic/Standard/Module1.xml`, or any file below `Scripts`."""
    *folders, base = name.split("/")
    if "basic" in folders:
        return base.endswith(".xml") and base not in _ODF_LISTS
    return "scripts" in folders[:1] and bool(base) and not base.endswith(".xml")


def _odf_code(part: Part, text: str) -> None:
    """A module of OpenDocument: LibreOffice writes empty ones for the sheets of workbooks that it converts."""
    if is_code(html.unescape(_TAG.sub("", text))):
        note(part, Verdict.POLICY, "macro", "a document with a macro project")


def is_code(text: str) -> bool:
    """Whether a module in Basic has a line that is no remark and no option."""
    return not all(_BASIC_LINE.match(line) for line in text.splitlines())


def _manifest(part: Part, text: str) -> None:
    if "encryption-data" in text:
        note(part, Verdict.ENCRYPTED, "encrypted-office", "a document that needs a password")


def _relations(part: Part, text: str) -> None:
    if "xternal" not in text and "&#" not in text:
        return
    for relation in _RELATION.finditer(text):
        found = _attributes(relation.group(1))
        kind = found.get("type", "").rpartition("/")[2].lower()
        target = found.get("target", "")
        if found.get("targetmode", "").lower() != "external":
            continue
        if kind in _LOADED and targets.from_elsewhere(kind, target):
            what = f"a document that loads something from elsewhere ({kind})"
            note(part, Verdict.POLICY, "remote-template", what)
        elif kind in _SHOWN and targets.from_elsewhere("picture", target):
            note(part, Verdict.POLICY, "remote-template", f"a document with a {kind} on a share of another network")
        elif kind == "hyperlink" and targets.starts_program(target):
            note(part, Verdict.POLICY, "program-link", "a document with a link that starts a program")
