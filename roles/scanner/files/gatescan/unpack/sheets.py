"""Spreadsheets that are no container: SYLK, web pages, and the records of Excel 2 to 5 without a compound file around
them.

Excel opens the first and the last by their bytes, whatever they are named, and both may be macro sheets; pages it opens
under its own names.
"""

from __future__ import annotations

import html
import re
import struct
from collections.abc import Iterator

from gatescan.judging import targets
from gatescan.judging.budget import Budget
from gatescan.model import Buffer, Part, Verdict
from gatescan.unpack.common import as_text, note

_COMMAND = re.compile(
    rb"\b(?:EXEC|CALL|REGISTER(?:\.ID)?|RUN|HALT|ALERT|FORMULA(?:\.[A-Z]{3,7})?|INITIATE|EXECUTE|FOPEN)[ \t]{0,20}\(",
    re.IGNORECASE,
)
"""Functions that only a macro sheet has."""
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'|\[(?:'.|[^\[\]']){0,255}+\]")
"""Strings, sheets and columns, whose names may have any letter."""
_HYPERLINK = re.compile(
    r"HYPERLINK\s{0,9}\(((?:CONCAT(?:ENATE)?\s{0,9}\((?:[^\"()]|\"[^\"]{0,2000}\")*+\)|[^\"(),;]|\"[^\"]{0,2000}\")*+)",
    re.IGNORECASE,
)
"""Its first argument, whose pieces another function may join."""
_STRING = re.compile(r"\"([^\"]*)\"")
_SHEET_NAME = re.compile(r"\.xl[a-z]{1,2}[ .]*\Z", re.IGNORECASE)
_SHEET_TYPE = re.compile(
    r"application/(?:vnd\.ms-|x-ms|ms)-?excel|application/vnd\.openxmlformats-officedocument\.spread", re.IGNORECASE
)
_OF_EXCEL = b"schemas-microsoft-com:office:excel"
_CELL = re.compile(r">\s*([=+@-][^<]{3,2000})|\bfmla\s{0,9}=\s{0,9}(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_PAGE_LINK = re.compile(r"href\s{0,9}=\s{0,9}[\"']?\s{0,9}((?:file:|\\\\)[^\"'<>]{1,500})", re.IGNORECASE)
_SOURCE = re.compile(
    r"<\w{1,40}:(?:AttachedTemplate|WorksheetSource)\b[^<>]{0,200}?\bHRef\s{0,9}=\s{0,9}(?:\"([^\"<>]{1,500})|'([^'<>]{1,500}))",
    re.IGNORECASE,
)
"""What a page of Word or Excel says that its template or its sheet is."""
_PAGE_DDE = re.compile(
    r"\s*[=+@-]?\s*(?:'[^'|]{1,200}'|[a-z][\w.]{0,60})"
    r"(?:\s*\|\s*'(?:[^']|''){0,1000}+'\s*!\s*|\|[^\s'!|]{1,1000}!)['\w$]",
    re.IGNORECASE,
)
"""A cell with a DDE link. Prose has bars too, as in `- Sales | Marketing: see you!`: there the topic must be quoted, or
stand without a blank."""
_BOF = frozenset((0x009, 0x209, 0x409, 0x809))
_BOUND_SHEET, _MACROS = 0x85, 0x40


def is_sylk(data: Buffer) -> bool:
    return bytes(data[:3]) == b"ID;"


def is_old(data: Buffer) -> bool:
    """Whether it begins as the sheets of Excel 2 to 5 do: the mark, the record's size, the kind of sheet."""
    head = bytes(data[:8])
    if len(head) < 8 or head[0] != 9 or head[1] not in (0, 2, 4, 8):
        return False
    return int.from_bytes(head[2:4], "little") in (4, 6, 8, 16) and int.from_bytes(head[6:8], "little") & 0xFE2F == 0


def sylk(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    """A SYLK file holds no other; findings for macros and DDE."""
    for number, line in enumerate(data.replace(b"\r", b"\n").split(b"\n")):
        if number % 1000 == 0:
            budget.tick()
        kind, _, rest = line.lstrip().partition(b";")
        if kind not in (b"C", b"O", b"NN"):
            continue
        expression = rest[1:] if rest[:1] == b"E" else rest.partition(b";E")[2]
        if _is_macro(kind, rest.split(b";"), expression):
            note(part, Verdict.POLICY, "macro-sheet", "a sheet with macros (Excel 4.0)")
        if expression and asks_program(expression.decode("latin-1")):
            note(part, Verdict.POLICY, "dde-link", "a sheet that asks another program for data")
        if expression and has_program_link(expression.decode("latin-1")):
            note(part, Verdict.POLICY, "program-link", "a sheet with a link that starts a program")
    yield from ()


def _is_macro(kind: bytes, fields: list[bytes], expression: bytes) -> bool:
    """Whether a record says that the sheet is one of macros, names what runs by itself, or is a command."""
    if kind == b"O":
        return any(field.strip() == b"E" for field in fields)
    if kind == b"NN":
        return any(field[:1] == b"N" and b"auto_" in field[1:20].lower() for field in fields)
    return _COMMAND.search(expression) is not None


def asks_program(formula: str) -> bool:
    """Whether a formula has a DDE link, `program|'topic'!item`: no other formula has a bar outside names."""
    return "|" in formula and "|" in _QUOTED.sub("", formula)


def has_program_link(text: str) -> bool:
    """Whether a formula in a text makes a link that starts a program."""
    links = (_STRING.findall(found[1]) for found in _HYPERLINK.finditer(text))
    return any(targets.starts_program("".join(pieces)) for pieces in links)


def is_page(part: Part, kind: str) -> bool:
    """Whether Excel opens a part that is a web page: by its name, its type, or what Excel itself writes in it."""
    if kind not in ("html", "xml", "text"):
        return False
    named = any(_SHEET_NAME.search(name) for name in part.names) or _SHEET_TYPE.match(part.content_type) is not None
    return b"<" in bytes(part.data[:4096]) and (named or _OF_EXCEL in bytes(part.data[:65536]))


def page(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    """A web page that Excel opens holds no file for it; findings for DDE and links in its cells."""
    budget.spend(len(data))
    text = as_text(data)
    links = (html.unescape(found[1]) for found in _PAGE_LINK.finditer(text))
    if any(targets.starts_program(link) and not targets.on_own_server(link) for link in links):
        note(part, Verdict.POLICY, "program-link", "a sheet with a link that starts a program")
    for number, found in enumerate(_CELL.finditer(text)):
        if number % 1000 == 0:
            budget.tick()
        formula = html.unescape(found[1] or found[2] or found[3] or "")
        if _PAGE_DDE.match(formula):
            note(part, Verdict.POLICY, "dde-link", "a sheet that asks another program for data")
        if has_program_link(formula):
            note(part, Verdict.POLICY, "program-link", "a sheet with a link that starts a program")
    yield from ()


def loads_from_elsewhere(page: str) -> bool:
    """Whether a page that Word or Excel wrote has its template or a sheet on another machine."""
    sources = (html.unescape(found[1] or found[2]) for found in _SOURCE.finditer(page))
    return any(targets.from_elsewhere(kind, one) for one in sources for kind in ("externallinkpath", "picture"))


def old(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    """A sheet of Excel 2 to 5 holds no file; findings for macros."""
    at = 0
    while at + 4 <= len(data):
        kind, size = struct.unpack_from("<HH", data, at)
        body = data[at + 4 : at + 4 + size]
        sheet = kind in _BOF and int.from_bytes(body[2:4], "little") == _MACROS
        if sheet or (kind == _BOUND_SHEET and len(body) > 5 and body[5] == 1):
            note(part, Verdict.POLICY, "macro-sheet", "a workbook with a macro sheet (Excel 4.0)")
        at += 4 + size
        budget.tick()
    yield from ()
