"""Parts written out in a text: what a bounce quotes, and what readers see that look for parts in another way.

Where a part begins and ends is read in many ways: behind an empty line, by a boundary that is cut short, in the text
before the first part. In all of them the fields of the part stand at the beginnings of lines, so that is looked for.
Where the fields are out of sight, as a reader took a boundary from elsewhere, the beginning of a coded program is.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

from gatescan.judging import filetype
from gatescan.judging.budget import Budget
from gatescan.mime import header
from gatescan.model import Buffer
from gatescan.text.large import holds
from gatescan.text.words import loose_base64

Span = tuple[int, int]

_WORD = re.compile(rb"-(?<=content-)", re.IGNORECASE)
"""`content-`, found by its rarest byte: that takes a third of the time."""
_FIELD = re.compile(rb"^[ \t\v\f]{0,8}content-(?:type|disposition|transfer-encoding)[ \t]{0,8}:", re.M | re.I)
_BOUNDARY = re.compile(rb"\n[ \t]{0,4}--")
_TELLING = re.compile(rb"name[^\n]{0,20}=|base64|quoted|uue?ncod|uue\b|yenc|binhex|=\?", re.IGNORECASE)
"""What the fields of a part say that is more than the text itself shows: a name, or that it is encoded."""
_MAX_HEADER = 65_536
"""Bytes in which the fields of a part must end; a reader of a longer header is not known."""
_MAX_FIELDS = 4096
"""Bytes of a part's fields that are looked at for what is telling."""

_MARKS = (b"\nTV", b"\nUEsDB", b"\nf0VM", b"\nUmFyI", b"\nN3q8r", b"\n0M8R4", b"\nMZ=")
"""How lines begin with which programs, packed and compound files do in base64, and programs in quoted-printable."""
_STARTS = tuple(mark[1:] for mark in _MARKS)
_CODED = re.compile(
    rb"^(?:(?:TV[o-r]|UEsDB|f0VM|UmFyI|N3q8r|0M8R4)[A-Za-z0-9+/]{40,}={0,2}[ \t\r]*$|MZ=[0-9A-F]{2})",
    re.MULTILINE,
)
_CODE_END = re.compile(rb"\n[ \t\r]*\n|\n--")
_FILES = filetype.EXECUTABLES | filetype.ARCHIVES | {"ole"}
_MAX_FILES = 50


def holds_files(data: Buffer) -> bool:
    """Whether `files` may find one."""
    return bytes(data[:5]).startswith(_STARTS) or any(holds(data, mark) for mark in _MARKS)


def files(data: bytes, budget: Budget) -> Iterator[bytes]:
    """The first programs and packed files that stand in a text in base64 or quoted-printable. Raises LimitReached."""
    at = 0
    for _ in range(_MAX_FILES):
        found = _CODED.search(data, at)
        if found is None:
            return
        budget.tick()
        end = _CODE_END.search(data, found.end())
        at = end.start() if end else len(data)
        code = data[found.start() : at]
        content = binascii.a2b_qp(code) if code.startswith(b"MZ=") else loose_base64(code)
        budget.spend(len(content))
        if filetype.kind(content) in _FILES:
            yield content


def holds_fields(data: Buffer) -> bool:
    """Whether some MIME field may stand in `data`."""
    return _WORD.search(data) is not None


def entities(data: bytes, budget: Budget) -> Iterator[Span]:
    """Where the parts in a text begin and end that have a name or are encoded. Raises LimitReached; linear."""
    found, boundary = _FIELD.search(data), _BOUNDARY.search(data)
    while found:
        budget.tick()
        start = found.start()
        while boundary and boundary.start() < found.end():
            boundary = _BOUNDARY.search(data, boundary.end())
        end = boundary.start() + 1 if boundary else len(data)
        body = header.read(data, start, min(end, start + _MAX_HEADER)).body
        found = _FIELD.search(data, max(body, start + 1))
        if found:
            end = min(end, found.start())
        if _TELLING.search(data, start, min(body, start + _MAX_FIELDS)):
            yield start, end
