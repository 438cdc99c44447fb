"""Zip files, with a look at those that are Office documents: OOXML (ECMA-376 part 2) and OpenDocument."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from gatescan.budget import Budget
from gatescan.model import Part, Verdict
from gatescan.unpack import zipread
from gatescan.unpack.common import note

_TYPES = "[content_types].xml"
_MANIFEST = "meta-inf/manifest.xml"
_MACRO_TYPE = re.compile(r"macroEnabled|vnd\.ms-office\.vbaProject|ms-excel\.(?:intl)?macrosheet", re.IGNORECASE)
_SHEET_TYPE = re.compile(r"ms-excel\.(?:intl)?macrosheet", re.IGNORECASE)
_ODF_MACRO = re.compile(
    r"full-path\s*=\s*[\"'](?:Basic|Scripts)/[^\"']+\.(?!xml)\w+[\"']|full-path\s*=\s*[\"']Basic/"
    r"(?![^\"']*script-l[bc]\.xml)[^\"']+\.xml[\"']"
)
_RELATION = re.compile(r"<(?:\w{1,40}:)?Relationship\b([^<>]*)", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"\b(\w{1,40})\s*=\s*(?:\"([^\"]*)(?:\"|\Z)|'([^']*)(?:'|\Z))")
"""An unclosed value goes on to the end, so that it is looked at once only."""
_REMOTE = re.compile(
    r"\s*(?:(?!file:)[a-z][a-z0-9+.-]+:|file:/*(?:\\\\|//)?(?![/\\]*[a-z]:|[/\\]*[^/\\]*$)|\\\\|//)",
    re.IGNORECASE,
)
_LOADED = frozenset(("attachedtemplate", "oleobject", "frame", "subdocument", "afchunk", "externallinkpath"))
"""Relations whose target is fetched when the document is opened. Images and hyperlinks are everyday things."""
_WEB = re.compile(r"\s*(?:https?|ftp):", re.IGNORECASE)


def members(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    """The members of a zip; findings for macros, remote content and locks when it is a document."""
    for member in zipread.members(part, data, budget):
        for name in member.names:
            _look(part, member, name.replace("\\", "/").lower())
        yield member


def _look(part: Part, member: Part, name: str) -> None:
    """`name`: one of the member's names, in lower case."""
    if name.endswith(".rels"):
        _relations(part, _text(member))
    elif name.endswith("vbaproject.bin"):
        note(part, Verdict.POLICY, "macro", "a document with a macro project")
    elif name == _TYPES:
        _content_types(part, _text(member))
    elif name == _MANIFEST:
        _manifest(part, _text(member))
    elif name.startswith("xl/macrosheets/"):
        note(part, Verdict.POLICY, "macro-sheet", "a workbook with a macro sheet (Excel 4.0)")
    elif name.startswith("xl/externallinks/") and b"<ddeLink" in bytes(member.data):
        note(part, Verdict.POLICY, "dde-link", "a workbook that asks another program for data")


def _text(member: Part) -> str:
    data = bytes(member.data)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in data[:4]:
        return data.decode("utf-16-be" if data[:1] in (b"\xfe", b"\x00") else "utf-16-le", "replace")
    return data.decode("utf-8", "replace")


def _content_types(part: Part, text: str) -> None:
    text = html.unescape(text)
    if _SHEET_TYPE.search(text):
        note(part, Verdict.POLICY, "macro-sheet", "a workbook with a macro sheet (Excel 4.0)")
    elif _MACRO_TYPE.search(text):
        note(part, Verdict.POLICY, "macro", "a document that may run macros")


def _manifest(part: Part, text: str) -> None:
    if "encryption-data" in text:
        note(part, Verdict.ENCRYPTED, "encrypted-office", "a document that needs a password")
    if "opendocument" in text and _ODF_MACRO.search(html.unescape(text)):
        note(part, Verdict.POLICY, "macro", "a document with a macro project")


def _relations(part: Part, text: str) -> None:
    if "xternal" not in text:
        return
    for relation in _RELATION.finditer(text):
        found = {k.lower(): html.unescape(a or b) for k, a, b in _ATTRIBUTE.findall(relation.group(1))}
        kind = found.get("type", "").rpartition("/")[2].lower()
        target = found.get("target", "")
        remote = _WEB if kind == "externallinkpath" else _REMOTE
        if kind in _LOADED and found.get("targetmode", "").lower() == "external" and remote.match(target):
            note(
                part,
                Verdict.POLICY,
                "remote-template",
                f"a document that loads something from elsewhere ({kind})",
            )
