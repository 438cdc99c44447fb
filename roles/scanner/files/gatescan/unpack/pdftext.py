"""PDF strings: literal and hexadecimal, PDFDocEncoding (near enough Latin-1) and UTF-16 (ISO 32000-1, 7.3.4, 7.9.2)."""

from __future__ import annotations

import binascii
import re

_LITERAL = rb"\((?:[^()\\]|\\.|\((?:[^()\\]|\\.){0,400}\)){0,2000}\)"
_HEX = rb"<[0-9A-Fa-f\s]{0,2000}>"
STRING = re.compile(_LITERAL + rb"|" + _HEX, re.DOTALL)
NAME_STRING = re.compile(rb"/(?:UF|F|DOS|Mac|Unix)\s*(" + _LITERAL + rb"|" + _HEX + rb")", re.DOTALL)
"""A string that is a file name in a file specification."""
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|(\r\n|[\r\n])|(.))", re.DOTALL)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def raw_string(token: bytes) -> bytes:
    """The bytes that a string's text stands for."""
    if token[:1] == b"<":
        digits = re.sub(rb"[^0-9A-Fa-f]", b"", token)
        return binascii.unhexlify(digits + b"0" * (len(digits) % 2))
    return _ESCAPE.sub(_unescape, token[1:-1])


def _unescape(found: re.Match[bytes]) -> bytes:
    octal, line_end, letter = found.groups()
    if octal is not None:
        return bytes((int(octal, 8) & 0xFF,))
    return b"" if line_end is not None else _LETTERS.get(letter, letter)


def decode_string(raw: bytes) -> str:
    """A text string's bytes as text."""
    if raw[:2] == b"\xfe\xff":
        return raw[2:].decode("utf-16-be", "replace")
    if raw[:2] == b"\xff\xfe":
        return raw[2:].decode("utf-16-le", "replace")
    if raw[:3] == b"\xef\xbb\xbf":
        return raw[3:].decode("utf-8", "replace")
    return raw.decode("latin-1")
