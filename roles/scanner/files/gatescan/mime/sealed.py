"""End-to-end protection: S/MIME (CMS, RFC 5652) and OpenPGP (RFC 4880). What is only signed is opened."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from gatescan.budget import Budget
from gatescan.model import Buffer
from gatescan.words import loose_base64

SMIME = "smime-encrypted"
PGP = "pgp-encrypted"
END_TO_END = frozenset({SMIME, PGP})
"""Codes of findings that say: sealed from sender to recipient, as opposed to a sealed archive."""

_PKCS7 = bytes.fromhex("2a864886f70d0107")
_SMIME_TYPES = bytes.fromhex("2a864886f70d01091001")
_SIGNED = _PKCS7 + b"\x02"
_DATA = _PKCS7 + b"\x01"
_SEALED = (_PKCS7 + b"\x03", _PKCS7 + b"\x04", _PKCS7 + b"\x06", _SMIME_TYPES + b"\x17")
_COMPRESSED = _SMIME_TYPES + b"\x09"
_MAX_NESTING = 40

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


def open_cms(data: bytes, budget: Budget) -> Cms:
    """What is in a CMS object. Raises LimitReached."""
    head = data[:32]
    if any(oid in head for oid in _SEALED):
        return Cms("sealed")
    if _SIGNED in head:
        return Cms("signed", _content_after(data, _DATA, budget))
    if _COMPRESSED in head:
        packed = _content_after(data, _DATA, budget)
        inflater = zlib.decompressobj()
        try:
            content = inflater.decompress(packed, budget.bytes_left + 1)
        except zlib.error:
            content = b""
        budget.spend(len(content))
        return Cms("compressed", content) if content else Cms("unknown")
    return Cms("unknown")


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


def _content_after(data: bytes, oid: bytes, budget: Budget) -> bytes:
    """The octets of the eContent that follows its content type `oid`, in one or in many pieces."""
    at = data.find(oid)
    if at < 0:
        return b""
    # After the type: [0] EXPLICIT around an OCTET STRING, primitive or constructed of pieces.
    pieces: list[bytes] = []
    position, ends = at + len(oid), [len(data)]
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
