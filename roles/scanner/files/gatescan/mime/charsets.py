"""Bytes of text as a client reads them: without what a charset hides or passes over.

Only ASCII matters to those who look for tags and scripts, so nothing is decoded that need not be: UTF-16 and UTF-32
without their NULs are ASCII, and what ISO-2022 switches is a character set, not a letter.
"""

from __future__ import annotations

import base64
import re

from gatescan.model import Buffer
from gatescan.text.large import BLOCK, holds, windows
from gatescan.text.words import codec

HEAD = 1024
"""Bytes that show whether it is text."""
_CONTROLS = bytes(c for c in range(32) if c not in b"\0\t\n\f\r\x1b") + b"\x7f"
_ESCAPES = re.compile(rb"\x1b(?:[\x20-\x2f]{1,3}[\x30-\x7e]?|[NO])?")
_NOT_IN_LABELS = re.compile(r"[^a-z0-9]")
_EBCDIC = {
    name: f"cp{number}"
    for number in ("037", "273", "500", "1026", "1140")
    for name in (f"cp{number}", f"ibm{number}", f"ibm{number.lstrip('0')}", f"ccsid{number}", f"cp{number.lstrip('0')}")
}
_UTF7_BOM = re.compile(rb"\+/v[89+/]")
# A tag's beginning in UTF-7; base64 of a picture has no `-`.
_UTF7_TAG = re.compile(rb"\+ADw-[/!a-z]", re.IGNORECASE)
_UTF7_RUN = re.compile(rb"\+(ADw[A-Za-z0-9+/]{5,40})")
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s{0,9}=\s{0,9}[\"']?\s{0,9}([\w-]{1,40})", re.I)
_MARKS = re.compile(rb"\xef\xbb\xbf|\xff\xfe|\xfe\xff")
"""Byte order marks, once the NULs are gone."""
_META_BOUND = 65_536


def looks_binary(data: Buffer) -> bool:
    """Whether control bytes show that these bytes are no text.

    NULs alone show nothing: browsers pass over them, and UTF-16 is half of them. Of random bytes a tenth are others.
    """
    head = bytes(data[:HEAD])
    return head[:2] == b"\x1f\x8b" or (len(head) - len(head.translate(None, _CONTROLS))) * 33 > len(head)


def ascii_view(data: Buffer, charset: str) -> Buffer:
    """`data` with its ASCII in clear: without NULs and escape sequences, EBCDIC read. The same where that is all."""
    if ebcdic := _EBCDIC.get(_NOT_IN_LABELS.sub("", charset.lower())):
        data = bytes(data).decode(ebcdic, "replace").encode("utf-8", "replace")
    if holds(data, b"\0"):
        data = _without_nuls(data)
    if mark := _MARKS.match(data):
        data = data[mark.end() :]
    return _ESCAPES.sub(b"", data) if holds(data, b"\x1b") else data


def _without_nuls(data: Buffer) -> bytes:
    return (
        b"".join(window.translate(None, b"\0") for window in windows(data))
        if len(data) > BLOCK
        else bytes(data).translate(None, b"\0")
    )


def from_utf7(plain: Buffer, charset: str) -> bytes | None:
    """An HTML text decoded from UTF-7, if that is what it says or, where it says nothing, what a client may guess."""
    declared = codec(charset) if charset else None
    if not declared and (meta := _META_CHARSET.search(plain, 0, _META_BOUND)):
        declared = codec(meta[1].decode("ascii"))
    if declared == "utf-7" or _UTF7_BOM.match(plain) or _hides_tags(plain, said=declared is not None):
        return bytes(plain).decode("utf-7", "replace").encode("utf-8", "replace")
    return None


def _hides_tags(plain: Buffer, said: bool) -> bool:
    """Whether `<` stands there in UTF-7; `+ADw` alone comes up by chance in a picture's base64."""
    if not holds(plain, b"+ADw"):
        return False
    if _UTF7_TAG.search(plain):
        return True
    return not said and any(_is_ascii_run(run[1]) for run in _UTF7_RUN.finditer(plain))


def _is_ascii_run(sextets: bytes) -> bool:
    """Whether a run of UTF-7 is ASCII, each letter with a zero byte before it."""
    wide = base64.b64decode(sextets[: len(sextets) // 8 * 8])
    return not any(wide[::2])
