"""Bytes of a header made readable: RFC 2047 encoded words, RFC 2231 values, character sets."""

from __future__ import annotations

import binascii
import io
import re
from urllib.parse import unquote_to_bytes

from gatescan.model import Buffer
from gatescan.text.large import BLOCK, windows

# Only these reach Python's codec machinery: the sender chooses the label, and codecs.lookup() keeps
# every unknown one for ever, while `idna` or `punycode` take quadratic time.
_CHARSETS = {
    "utf8": "utf-8", "utf7": "utf-7", "utf16": "utf-16", "utf16le": "utf-16-le", "utf16be": "utf-16-be",
    "utf32": "utf-32", "utf32le": "utf-32-le", "utf32be": "utf-32-be", "ucs2": "utf-16", "ucs4": "utf-32",
    "iso10646ucs2": "utf-16", "iso10646ucs4": "utf-32",
    "unicode11utf7": "utf-7", "ascii": "latin-1", "usascii": "latin-1",
    "shiftjis": "cp932", "sjis": "cp932", "xsjis": "cp932", "windows31j": "cp932", "cp932": "cp932",
    "eucjp": "euc_jp", "iso2022jp": "iso2022_jp_ext", "iso2022jp1": "iso2022_jp_1",
    "iso2022jp2": "iso2022_jp_2", "euckr": "cp949", "ksc56011987": "cp949", "cp949": "cp949",
    "iso2022kr": "iso2022_kr", "gb2312": "gb18030", "gbk": "gb18030", "gb18030": "gb18030",
    "hzgb2312": "hz", "big5": "big5hkscs", "big5hkscs": "big5hkscs", "koi8r": "koi8_r", "koi8u": "koi8_u",
    "macintosh": "mac_roman", "tis620": "tis_620",
    **{f"{kind}{n}": f"cp{n}" for kind in ("ibm", "cp") for n in ("037", "273", "424", "500", "875", "1026", "1140")},
    **{f"iso8859{n}": f"iso8859_{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)},
    **{f"windows{n}": f"cp{n}" for n in (874, *range(1250, 1259))},
    **{f"cp{n}": f"cp{n}" for n in (437, 850, 852, 866, 874, *range(1250, 1259))},
}  # spellings of like charsets share a line # fmt: skip

_UNORDERED = ("utf-16", "utf-32")
_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
_LABEL_NOISE = re.compile(r"[^a-z0-9]+")
# Linear: a try starts at `=?` only, and none of the pieces can run over the next `?`.
_ENCODED_WORD = re.compile(rb"=\?([^?\s]{1,60})\?([bBqQ])\?([^?]*+)(?:\?=|\Z)")
_BLANK = re.compile(rb"\s*+\Z")
_QP_BYTE = re.compile(rb"=([0-9A-Fa-f]{2})")
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))


def codec(label: str) -> str | None:
    """The name of Python's codec for a charset label as found in mail; None for an unknown one."""
    return _CHARSETS.get(_LABEL_NOISE.sub("", label.lower()))


def text(raw: bytes, charset: str = "", little_endian: bool = False) -> str:
    """`raw` as text by its declared charset, else as UTF-8, else each byte as one character. Never fails.

    Wide characters without a byte order mark are big-endian (RFC 2781), but little-endian to many programs.
    """
    if not charset and raw.isascii():
        return raw.decode("ascii")
    for name in (codec(charset) if charset else None, "utf-8"):
        if name in _UNORDERED and not raw.startswith(_MARKS):
            name += "-le" if little_endian else "-be"
        if name:
            try:
                return raw.decode(name)
            except UnicodeError:
                pass
    return raw.decode("latin-1")


def loose_base64(encoded: Buffer) -> bytes:
    """Base64 decoded with everything passed over that isn't in its alphabet, padding too. Never fails.

    An incomplete last group gives what it can.
    """
    if isinstance(encoded, bytes) and len(encoded) <= BLOCK:
        return _last_sextets(encoded.translate(None, _NOT_BASE64))
    out = io.BytesIO()
    carry = b""
    for window in windows(encoded):
        sextets = carry + window.translate(None, _NOT_BASE64)
        whole = len(sextets) // 4 * 4
        out.write(binascii.a2b_base64(sextets[:whole]))
        carry = sextets[whole:]
    out.write(_last_sextets(carry))
    return out.getvalue()


def _last_sextets(sextets: bytes) -> bytes:
    if len(sextets) % 4 == 1:
        sextets = sextets[:-1]
    return binascii.a2b_base64(sextets + b"=" * (-len(sextets) % 4))


def _word_bytes(encoding: bytes, payload: bytes) -> bytes:
    if encoding in b"qQ":
        return _QP_BYTE.sub(lambda m: bytes((int(m[1], 16),)), payload.replace(b"_", b" "))
    return loose_base64(payload)


def decode_words(raw: bytes, little_endian: bool = False) -> str:
    """`raw` with every encoded word decoded, also inside quotes, as clients do.

    Words in a row with one charset are joined before the charset is decoded, so that a character which
    is split between two words is read whole.
    """
    if b"=?" not in raw:
        return text(raw)
    out: list[str] = []
    pending, charset, end = b"", "", 0
    for word in _ENCODED_WORD.finditer(raw):
        gap = raw[end : word.start()]
        label = word[1].partition(b"*")[0].decode("latin-1")
        apart = not (pending and _BLANK.match(gap))
        if apart or label.lower() != charset.lower():
            out.append(text(pending, charset, little_endian))
            pending = b""
        if apart:
            out.append(text(gap))
        pending += _word_bytes(word[2], word[3])
        charset, end = label, word.end()
    out += [text(pending, charset, little_endian), text(raw[end:])]
    return "".join(out)


def decode_extended(raw: bytes, little_endian: bool = False) -> str:
    """An RFC 2231 value `charset'language'percent-encoded` as text; parts that are missing are tolerated."""
    pieces = raw.split(b"'", 2)
    if len(pieces) == 3:
        return text(unquote_to_bytes(pieces[2]), pieces[0].decode("latin-1"), little_endian)
    return text(unquote_to_bytes(raw))
