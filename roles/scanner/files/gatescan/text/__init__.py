"""Strangers' text, made safe to show in logs, notices and on terminals."""

from __future__ import annotations

import unicodedata

_UNSAFE = frozenset(("Cs", "Cc", "Cf", "Co", "Cn", "Zl", "Zp"))
"""Unicode categories that are shown as an escape: controls, direction marks, surrogates, line separators."""


def printable(text: str, limit: int = 120) -> str:
    """One line of `text` with at most `limit` characters; what could move a cursor or hide is shown as an
    escape.
    """
    if len(text) > limit:
        text = text[: limit - 3] + "..."
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(char) for char in text)


def _escape(char: str) -> str:
    if unicodedata.category(char) not in _UNSAFE:
        return char
    point = ord(char)
    if 0xDC80 <= point <= 0xDCFF:
        return f"\\x{point - 0xDC00:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
