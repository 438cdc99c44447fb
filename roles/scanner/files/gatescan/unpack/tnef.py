"""TNEF (winmail.dat; MS-OXTNEF): attachments, and the body where it is HTML or compressed RTF.

A reader of our own: small, in memory, without a program that writes the sender's names to disk.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from gatescan.judging.budget import Budget
from gatescan.model import Part
from gatescan.unpack.common import make, spellings, spend_within, unique, unopenable

_TITLE, _DATA, _RENDERING, _PROPERTIES = 0x8010, 0x800F, 0x9002, 0x9005
_MESSAGE_PROPERTIES = 0x9003
_NAME_TAGS = (0x3707, 0x3704, 0x3001)
_DATA_TAG, _RTF_TAG, _HTML_TAG = 0x3701, 0x1009, 0x1013
_FIXED = {0x0002: 4, 0x0003: 4, 0x0004: 4, 0x0005: 8, 0x0006: 8, 0x0007: 8, 0x000A: 4, 0x000B: 4, 0x0014: 8}
_FIXED |= {0x0040: 8, 0x0048: 16}
_VARIABLE = frozenset((0x000D, 0x001E, 0x001F, 0x0102))
_VALUES_MAX = 20_000
_OBJECT_ID = 16
_RTF_PRIMER = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor "
    b"MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par "
    b"\\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)


@dataclass(slots=True)
class _Attachment:
    names: list[str] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)


def members(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    """The attachments of every reading; a damaged file yields what came before the damage. Raises LimitReached."""
    attachments: list[_Attachment] = []
    bodies: list[bytes] = []
    whole = _read(data, budget, attachments, bodies)
    for attachment in attachments:
        names = unique(*attachment.names)
        for content in dict.fromkeys(attachment.contents):
            if spend_within(part, budget, names[0] if names else "", len(content)):
                yield make(part, budget, names, content)
        if names and not attachment.contents:
            yield make(part, budget, names, b"", sealed=True)
    for body in bodies:
        budget.spend(len(body))
        yield make(part, budget, (), body)
    if not whole:
        unopenable(part, "a damaged TNEF file")


def _read(data: bytes, budget: Budget, attachments: list[_Attachment], bodies: list[bytes]) -> bool:
    """Walk the attributes; False when they end in the middle of one or are none."""
    at = 6
    seen = 0
    while at + 9 <= len(data):
        level, tag, _, size = struct.unpack_from("<BHHL", data, at)
        value = data[at + 9 : at + 9 + size]
        if level not in (1, 2) or len(value) < size:
            return False
        budget.tick()
        seen += 1
        at += 9 + size + 2
        if level == 2:
            if tag == _RENDERING or not attachments:
                attachments.append(_Attachment())
            _attribute(attachments[-1], tag, value)
        elif tag == _MESSAGE_PROPERTIES:
            _body(value, budget, bodies)
    return seen > 0 and not data[at:].strip(b"\x00\r\n")


def _attribute(attachment: _Attachment, tag: int, value: bytes) -> None:
    if tag == _TITLE:
        attachment.names += spellings(value.rstrip(b"\x00"))
    elif tag == _DATA:
        attachment.contents.append(value)
    elif tag == _PROPERTIES:
        for name, kind, content in _properties(value):
            if name in _NAME_TAGS:
                attachment.names += _text(kind, content)
            elif name == _DATA_TAG:
                attachment.contents.append(content[_OBJECT_ID:] if kind == 0x000D else content)


def _text(kind: int, content: bytes) -> tuple[str, ...]:
    if kind == 0x001F:
        return (content.decode("utf-16-le", "replace").rstrip("\x00"),)
    return spellings(content.rstrip(b"\x00"))


def _body(value: bytes, budget: Budget, bodies: list[bytes]) -> None:
    for name, _, content in _properties(value):
        if name == _HTML_TAG:
            bodies.append(content)
        elif name == _RTF_TAG and (rtf := expand_rtf(content, budget)):
            bodies.append(rtf)


def _properties(value: bytes) -> Iterator[tuple[int, int, bytes]]:
    """MAPI properties: identifier, type, bytes. Ends at what it doesn't understand."""
    try:
        (count,) = struct.unpack_from("<L", value, 0)
        at = 4
        for _ in range(min(count, _VALUES_MAX)):
            kind, name = struct.unpack_from("<HH", value, at)
            at += 4
            if name & 0x8000:
                at = _skip_name(value, at)
            many = bool(kind & 0x1000)
            base = kind & 0x0FFF
            values = 1
            if many or base in _VARIABLE:
                (values,) = struct.unpack_from("<L", value, at)
                at += 4
            for _ in range(values):
                if at >= len(value):
                    return
                if base in _VARIABLE:
                    (size,) = struct.unpack_from("<L", value, at)
                    at += 4
                elif base in _FIXED:
                    size = _FIXED[base]
                else:
                    return
                yield name, base, value[at : at + size]
                at += size + -size % 4
    except struct.error:
        return


def _skip_name(value: bytes, at: int) -> int:
    """A named property has a GUID and a number or a text in front of its value."""
    (form,) = struct.unpack_from("<L", value, at + 16)
    at += 20
    (size,) = struct.unpack_from("<L", value, at)
    return at + 4 if form == 0 else at + 4 + size + -size % 4


def expand_rtf(data: bytes, budget: Budget) -> bytes:
    """Compressed RTF (MS-OXRTFCP); what was readable when it is damaged. Raises LimitReached."""
    if len(data) < 16:
        return b""
    _, size, mark = struct.unpack_from("<LL4s", data, 0)
    if mark == b"MELA":
        return data[16 : 16 + size]
    if mark != b"LZFu":
        return b""
    window = _Window()
    at = 16
    while at < len(data) and len(window.out) < size:
        control = data[at]
        at += 1
        before = len(window.out)
        for bit in range(8):
            if control >> bit & 1:
                pair = int.from_bytes(data[at : at + 2], "big")
                at += 2
                if pair >> 4 == window.write or at > len(data):
                    return bytes(window.out)
                window.repeat(pair >> 4, (pair & 15) + 2)
            else:
                window.add(data[at : at + 1])
                at += 1
        budget.spend(len(window.out) - before)
        budget.tick()
    return bytes(window.out[:size])


class _Window:
    """The last 4096 bytes of what came out, which a reference names by their place in it."""

    def __init__(self) -> None:
        self.ring = bytearray(_RTF_PRIMER) + bytes(4096 - len(_RTF_PRIMER))
        self.write = len(_RTF_PRIMER)
        self.out = bytearray()

    def add(self, chunk: bytes) -> None:
        """A byte as it stands there; none at the end of the data, which takes a place all the same."""
        self.ring[self.write] = chunk[0] if chunk else 0
        self.write = (self.write + 1) % 4096
        self.out += chunk

    def repeat(self, offset: int, length: int) -> None:
        """Bytes that came out before, or come out meanwhile."""
        for place in range(offset, offset + length):
            byte = self.ring[place % 4096]
            self.ring[self.write] = byte
            self.write = (self.write + 1) % 4096
            self.out.append(byte)
