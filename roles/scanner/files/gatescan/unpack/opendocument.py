"""OpenDocument (ODF 1.3): what runs or is fetched without a macro, in a packed document or a flat one.

Prefixes of names are the document's own, so that only what follows them counts.
"""

from __future__ import annotations

import html
import re

from gatescan.judging import targets
from gatescan.model import Part, Verdict
from gatescan.unpack import common
from gatescan.unpack.common import note

# Each begins at its rarest letter, and looks back.
_LINKS = re.compile(rb":(?=href\s{0,9}=)")
_DDE = re.compile(rb"[dD][dD][eE](?=-source|-connection-decl|\s{0,9}\()")
_ELEMENT = re.compile(
    r"<(?:[\w.-]{1,40}:)?(dde-source|dde-connection-decl|event-listener|a|object|object-ole|floating-frame|section-source"
    r"|table-source|template)(?=[\s/>])((?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*+)"
)
_ATTRIBUTE = re.compile(r"[\s\"'](?:[\w.-]{1,40}:)?([\w-]{1,40})\s{0,9}=\s{0,9}(?:\"([^\"]*)\"|'([^']*)')")
_FORMULA = re.compile(r"\bDDE\s{0,9}\(\s{0,9}(?!\"soffice\")", re.IGNORECASE)
_OF_FORMULA = re.compile(r":formula\s{0,9}=\s{0,9}(?:\"([^\"]*)\"|'([^']*)')")
_OWN = "soffice"
"""The program that LibreOffice names for a link to another of its documents."""
_SCRIPT_ELSEWHERE = re.compile(r"\s*vnd\.sun\.star\.script:.*\.\.", re.IGNORECASE | re.DOTALL)
_INNER = re.compile(r"\s*(?:vnd\.sun\.star\.(?!webdav)|file:///(?![/\\]))", re.IGNORECASE)
"""Places in the document itself or on this machine."""
_RELATIONS = {
    "object": "oleobject",
    "object-ole": "oleobject",
    "floating-frame": "frame",
    "section-source": "attachedtemplate",
    "template": "attachedtemplate",
    "table-source": "externallinkpath",
}
"""Relations of OOXML that do the same as these elements."""


def look(part: Part, data: bytes) -> None:
    """Findings for DDE, for clicks that start a program, and for what is fetched from elsewhere."""
    wide = b"\x00" in data[:4]
    linked = wide or _LINKS.search(data) is not None
    asks = wide or _DDE.search(data) is not None
    if not linked and not asks:
        return
    text = common.as_text(data)
    for found in _ELEMENT.finditer(text):
        kind = found.group(1)
        values = {key: html.unescape(a or b) for key, a, b in _ATTRIBUTE.findall(found.group(2))}
        if kind.startswith("dde"):
            if values.get("dde-application", _OWN).lower() != _OWN:
                note(part, Verdict.POLICY, "dde-link", "a document that asks another program for data")
        elif target := values.get("href", ""):
            _target(part, kind, target, values)
    if asks and any(_FORMULA.search(html.unescape(a or b)) for a, b in _OF_FORMULA.findall(text)):
        note(part, Verdict.POLICY, "dde-link", "a workbook that asks another program for data")


def _target(part: Part, kind: str, target: str, values: dict[str, str]) -> None:
    if kind in _RELATIONS:
        if not _INNER.match(target) and targets.from_elsewhere(_RELATIONS[kind], target):
            note(part, Verdict.POLICY, "remote-template", f"a document that loads something from elsewhere ({kind})")
    elif kind == "event-listener":
        if values.get("action") == "execute" or _SCRIPT_ELSEWHERE.match(target):
            note(part, Verdict.POLICY, "program-link", "a document that starts a program")
    elif targets.starts_program(target):
        note(part, Verdict.POLICY, "program-link", "a document with a link that starts a program")
