"""End-to-end protection: S/MIME (CMS, RFC 5652) and OpenPGP (RFC 4880). What is only signed is opened."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from gatescan.judging.budget import Budget
from gatescan.model import Buffer
from gatescan.text.words import loose_base64

SMIME = "smime-encrypted"
PGP = "pgp-encrypted"
END_TO_END = frozenset({SMIME, PGP})
"""Codes of findings that say: sealed from sender to recipient, as opposed to a sealed archive."""

_PKCS7 = bytes.fromhex("2a864886f70d0107")
_SMIME_TYPES = bytes.fromhex("2a864886f70d01091001")
_DATA = _PKCS7 + b"\x01"
_STAMPED = _SMIME_TYPES + b"\x1f"
_IN_CLEAR = (_PKCS7 + b"\x02", _PKCS7 + b"\x05", _DATA, _SMIME_TYPES + b"\x02", _STAMPED)
"""What shows its content: signed, digested, bare, authenticated and time-stamped data."""
_SEALED = (_PKCS7 + b"\x03", _PKCS7 + b"\x04", _PKCS7 + b"\x06", _SMIME_TYPES + b"\x17")
_COMPRESSED = _SMIME_TYPES + b"\x09"
_MAX_NESTING = 40
_TEXT_HEAD = 4096
_BEFORE_TEXT = b"\xef\xbb\xbf \t\r\n"
_PEM = re.compile(rb"-----BEGIN [A-Z0-9 #]{1,40}-----\s*(?=M)")

_ARMOUR = re.compile(
    rb"^-----BEGIN PGP MESSAGE[^\n]{0,60}-----[ \t]*\r*\n(?:[A-Za-z][\w-]*:[^\n]*\n)*\s*([A-Za-z0-9+/=\s]{16})",
    re.MULTILINE,
)
# Packets that open an encrypted message: session keys, and the encrypted data itself.
_PGP_SEALED = frozenset({1, 3, 9, 18, 20})


@dataclass(frozen=True, slots=True)
class Cms:
    """A CMS object: its kind (`signed`, `sealed`, `compressed`, `unknown`) and what it carries in clear."""

    kind: str
    content: bytes = b""


def looks_like_cms(data: bytes) -> bool:
    """Whether `data` begins as DER or BER of a CMS object."""
    head = data[:24]
    return head[:1] == b"\x30" and (b"\x06\x09" + _PKCS7 in head or b"\x06\x0b" + _SMIME_TYPES in head)


def cms_in_text(data: Buffer) -> bytes | None:
    """The DER of a CMS object that is written as PEM or as bare base64; None if the text is none."""
    head = bytes(data[:_TEXT_HEAD])
    is_armoured = b"-----BEGIN " in head
    if not is_armoured and head.lstrip(_BEFORE_TEXT)[:1] != b"M":
        return None
    armour = _PEM.search(head) if is_armoured else None
    start = armour.end() if armour else len(head) - len(head.lstrip(_BEFORE_TEXT))
    if head[start : start + 1] != b"M" or not looks_like_cms(loose_base64(head[start : start + 80])):
        return None
    body = bytes(data[start:])
    return loose_base64(body.partition(b"-----END")[0])


def open_cms(data: bytes, budget: Budget) -> Cms:
    """What is in a CMS object. Raises LimitReached."""
    head = data[:32]
    if any(oid in head for oid in _SEALED):
        return Cms("sealed")
    if any(oid in head for oid in _IN_CLEAR):
        return Cms("signed", _content(data, budget))
    if _COMPRESSED in head:
        packed = _content(data, budget)
        inflater = zlib.decompressobj()
        try:
            content = inflater.decompress(packed, budget.bytes_left + 1)
        except zlib.error:
            content = b""
        budget.spend(len(content))
        return Cms("compressed", content) if content else Cms("unknown")
    return Cms("unknown")


def _content(data: bytes, budget: Budget) -> bytes:
    """The octets that a signature or a compression wraps, whatever their declared type is; empty if there are none."""
    if _STAMPED in data[:32]:
        return _stamped(data, budget)
    at = _after_type(data, budget)
    content = _octets(data, at, budget) if at >= 0 else b""
    if not content and (at := data.find(_DATA)) >= 0:
        content = _octets(data, at + len(_DATA), budget)
    return content


def _stamped(data: bytes, budget: Budget) -> bytes:
    """The file in time-stamped data (RFC 5544): an OCTET STRING behind a version, an address and a description."""
    position = data.find(_STAMPED) + len(_STAMPED)
    while 0 <= position < len(data):
        tag, _, start = _tag(data, position)
        if tag in (0x04, 0x24):
            return _octets(data, position, budget)
        # [0] and the SEQUENCE in it are entered, a description is passed over.
        outer = tag == 0xA0 or (tag == 0x30 and _tag(data, start)[0] == 0x02) if start < len(data) else False
        position = start if outer else _end(data, position, budget)
    return b""


def _after_type(data: bytes, budget: Budget) -> int:
    """Where the eContent begins, by the structure of the object; -1 if that is broken."""
    # ContentInfo: SEQUENCE, type, [0], SEQUENCE; then a version, the algorithms, and the SEQUENCE that is looked for.
    position = 0
    for wanted in (0x30, 0x06, 0xA0, 0x30, 0x02, 0, 0x30, 0x06):
        if not 0 <= position < len(data):
            return -1
        tag, _, start = _tag(data, position)
        if wanted not in (0, tag):
            return -1
        position = start if wanted in (0x30, 0xA0) else _end(data, position, budget)
    return position


def _end(data: bytes, position: int, budget: Budget) -> int:
    """Where the element at `position` ends; -1 if it does not."""
    nesting = 0
    while position < len(data):
        budget.tick()
        tag, length, start = _tag(data, position)
        if tag == 0 and length == 0:
            nesting -= 1
            position = start
        elif length < 0:
            nesting += 1
            position = start
        else:
            position = start + length
        if nesting <= 0:
            return position
    return -1


def is_sealed_pgp(body: Buffer) -> bool:
    """Whether a text holds an armoured OpenPGP message that is encrypted, not just signed or quoted."""
    armour = _ARMOUR.search(body)
    return armour is not None and _first_packet(loose_base64(armour[1])) in _PGP_SEALED


def is_sealed_packet(data: bytes) -> bool:
    """Whether `data` is a binary OpenPGP message that is encrypted, by its first packet."""
    return _first_packet(data) in _PGP_SEALED


def _first_packet(data: bytes) -> int:
    """The tag of the first OpenPGP packet; 0 if it is none."""
    if not data or not data[0] & 0x80:
        return 0
    return data[0] & 0x3F if data[0] & 0x40 else data[0] >> 2 & 0x0F


def _octets(data: bytes, position: int, budget: Budget) -> bytes:
    """The octets of the eContent at `position`: [0] EXPLICIT around an OCTET STRING, whole or in many pieces."""
    pieces: list[bytes] = []
    ends = [len(data)]
    while position < len(data) and len(ends) < _MAX_NESTING:
        if position >= ends[-1]:
            ends.pop()
            if len(ends) <= 1:
                break
            continue
        tag, length, start = _tag(data, position)
        if tag == 0 and length == 0 and len(ends) > 1:
            ends.pop()
            position = start
            if len(ends) <= 1:
                break
        elif tag in (0xA0, 0x24):
            ends.append(min(ends[-1], start + length if length >= 0 else len(data)))
            position = start
        elif tag == 0x04 and length >= 0:
            pieces.append(data[start : start + length])
            position = start + length
            if len(pieces) % 1000 == 0:
                budget.tick()
            if len(ends) == 1:
                break
        else:
            break
    content = b"".join(pieces)
    budget.spend(len(content))
    return content


def _tag(data: bytes, position: int) -> tuple[int, int, int]:
    """(tag, length or -1 for indefinite, start of the content) of the element at `position`."""
    tag = data[position]
    first = data[position + 1] if position + 1 < len(data) else 0
    start = position + 2
    if first < 0x80:
        return tag, first, start
    if first == 0x80:
        return tag, -1, start
    size = first & 0x7F
    return tag, int.from_bytes(data[start : start + min(size, 8)], "big"), start + size
