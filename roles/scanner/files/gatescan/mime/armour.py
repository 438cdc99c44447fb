"""Files written out as text: uuencode, yEnc, BinHex. Found by their marks in any text."""

from __future__ import annotations

import binascii
import io
import re
from collections.abc import Iterator

from gatescan.judging.budget import Budget, LimitReached
from gatescan.model import Buffer
from gatescan.text.large import blocks, holds, windows
from gatescan.text.words import loose_base64, text

# Two spaces and no mode are what Outlook took for a beginning, too.
_UU_BEGIN = re.compile(rb"^([> \t]{0,8})begin(-base64)?[ \t]{1,4}([0-7]{3,4}[ \t]{1,4})?([^\s][^\n]*+)\n", re.MULTILINE)
_UU_END = re.compile(rb"^[> \t]{0,8}(?:end\b|====|begin[ \t-])", re.MULTILINE)
_UU_LINE = re.compile(rb"[\x20-\x60]{1,200}[ \t\r]*\Z")
_UU_QUOTED = re.compile(rb"(?:>[ \t]?){1,8}")
# Both have the word `begin`, so a text is searched for that once.
_YENC_BEGIN = re.compile(rb"^=ybegin ([^\n]{1,1000})\n", re.MULTILINE)
_YENC_NAME = re.compile(rb"name=([^\r\n]+)")
_YENC_PART = re.compile(rb"=ypart [^\n]*\n")
_YENC_END = re.compile(rb"^=y(?:end\b|begin )", re.MULTILINE)
_BINHEX_BEGIN = re.compile(rb"\(This file must be converted with BinHex[^\n]{0,80}\n\s{0,20}:")
_BINHEX_END = re.compile(rb":")
_BINHEX_ALPHABET = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
_BASE64_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_FROM_BINHEX = bytes.maketrans(_BINHEX_ALPHABET, _BASE64_ALPHABET)
_NOT_BINHEX = bytes(set(range(256)) - set(_BINHEX_ALPHABET))
_UU_FOLDED = bytes(0x20 + (c - 0x20 & 0x3F) for c in range(256))
_MINUS_42 = bytes((i - 42) & 255 for i in range(256))
_MINUS_106 = bytes((i - 106) & 255 for i in range(256))

_FIRST_LINES = 65_536
"""Bytes after the line `begin` that show whether it is data."""

File = tuple[str, bytes]
"""Name as found, content."""

MAX_BEGINNINGS = 20_000
"""Lines in one text that look like the beginning of a file, before it is taken for an attack."""


def files(body: Buffer, budget: Budget) -> Iterator[File]:
    """Every file that is written out in a text, in any of the three spellings. Raises LimitReached.

    Each search goes on where the last one ended, so the cost is linear.
    """
    if holds(body, b"begin"):
        yield from uu_files(body, budget)
        yield from yenc_files(body, budget)
    if holds(body, b"converted with BinHex"):
        yield from binhex_files(body, budget)


def uu_files(body: Buffer, budget: Budget) -> Iterator[File]:
    """The uuencoded files in `body`. Prose that has a line `begin 644 ...` has no such line after it."""
    position = tries = 0
    while begin := _UU_BEGIN.search(body, position):
        tries += 1
        if tries > MAX_BEGINNINGS:
            raise LimitReached("parts", f"more than {MAX_BEGINNINGS} lines that begin a file")
        position = begin.end()
        end = _UU_END.search(body, position)
        stop = end.start() if end else len(body)
        lines = body[position:stop]
        quote, is_base64, mode, name = begin.groups()
        if is_base64:
            content = loose_base64(lines)
        elif _looks_uuencoded(_first_lines(lines, quote), has_mode=bool(mode)):
            content = _uu_lines(lines, quote)
        else:
            continue
        position = stop
        budget.spend(len(content))
        yield text(name.strip()), content


def uu_without_begin(body: Buffer) -> bytes:
    """A body that is declared as uuencoded, but has no line `begin`; empty if it is no such lines."""
    end = _UU_END.search(body)
    lines = body[: end.start()] if end else body
    first = _first_lines(lines)
    quoted = _UU_QUOTED.match(first[0]) if first and not _is_whole(first[0]) else None
    quote = quoted[0] if quoted else b""
    return _uu_lines(lines, quote) if _looks_uuencoded(_first_lines(lines, quote), has_mode=True) else b""


def _first_lines(lines: Buffer, quote: bytes = b"") -> list[bytes]:
    """The first five that are not empty, without line ends and what quotes them."""
    found = bytes(lines[:_FIRST_LINES]).lstrip(b"\r\n").split(b"\n", 5)[:5]
    bare = (line.rstrip(b"\r").removeprefix(quote) for line in found)
    return [line for line in bare if line.strip()]


def _looks_uuencoded(first: list[bytes], has_mode: bool) -> bool:
    """Whether data follows: the first character of a line counts the bytes in the rest of it.

    Blanks, which are zeros, may be lost at the end of a line, and something may stand behind it.
    """
    if not first:
        return False
    if _is_whole(first[0]) and b" " not in first[0][1:-1].strip():
        return True
    # Blanks are what prose has, too; but no prose has so many lines without a small letter, be they only as long as
    # they say, or behind a line `begin 644 ...`.
    return (has_mode or _is_whole(first[0])) and all(_UU_LINE.match(line[: _uu_length(line)]) for line in first)


def _is_whole(line: bytes) -> bool:
    """Whether a line is as long as its count says, give or take what padding and checksums make of it."""
    wanted = _uu_length(line)
    return wanted - 3 <= len(line) <= wanted + 2 and _UU_LINE.match(line) is not None


def _uu_length(line: bytes) -> int:
    """Characters of a line by its count, the count itself among them."""
    return 1 + ((line[0] - 0x20 & 0x3F) + 2) // 3 * 4


def _uu_lines(lines: Buffer, quote: bytes = b"") -> bytes:
    out = io.BytesIO()
    for block in blocks(lines, b"\n"):
        for line in block.split(b"\n"):
            if bare := line.removeprefix(quote).rstrip(b"\r"):
                out.write(_uu_line(bare))
    return out.getvalue()


def _uu_line(line: bytes) -> bytes:
    """One line, leniently: by its count, also with junk behind it, else as many whole groups as there are."""
    count = min(45, (len(line) - 1) // 4 * 3)
    folded = line[1:61].translate(_UU_FOLDED)
    for attempt in (line, line[: _uu_length(line)], bytes((0x20 + count,)) + folded[: (count + 2) // 3 * 4]):
        try:
            return binascii.a2b_uu(attempt)
        except binascii.Error:
            continue
    return b""


def yenc_files(body: Buffer, budget: Budget) -> Iterator[File]:
    """The yEnc files in `body`; of a file in several parts, each part by itself."""
    position = 0
    while begin := _YENC_BEGIN.search(body, position):
        budget.tick()
        name = _YENC_NAME.search(begin[1])
        part = _YENC_PART.match(body, begin.end())
        start = part.end() if part else begin.end()
        end = _YENC_END.search(body, start)
        position = end.start() if end else len(body)
        content = _yenc(body[start:position])
        budget.spend(len(content))
        yield text(name[1].strip()) if name else "", content


def _yenc(encoded: Buffer) -> bytes:
    out = io.BytesIO()
    carry = b""
    for window in windows(encoded):
        bare = carry + window.translate(None, b"\r\n")
        carry = b"=" if bare.endswith(b"=") else b""  # what it escapes is in the next window
        first, *escaped = bare.split(b"=")
        out.write(first.translate(_MINUS_42))
        for run in escaped:
            out.write(run[:1].translate(_MINUS_106) + run[1:].translate(_MINUS_42))
    return out.getvalue()


def binhex_files(body: Buffer, budget: Budget) -> Iterator[File]:
    """The data forks and resource forks of the BinHex 4.0 files in `body`."""
    position = 0
    while begin := _BINHEX_BEGIN.search(body, position):
        budget.tick()
        end = _BINHEX_END.search(body, begin.end())
        position = end.start() if end else len(body)
        sextets = bytes(body[begin.end() : position]).translate(None, _NOT_BINHEX).translate(_FROM_BINHEX)
        packed = loose_base64(sextets)
        yield from _binhex_forks(_run_lengths_undone(packed, budget))


def _run_lengths_undone(packed: bytes, budget: Budget) -> bytes:
    """0x90 N repeats the byte before it to N in all; 0x90 0 is the byte 0x90."""
    first, *runs = packed.split(b"\x90")
    out = bytearray(first)
    skip = False
    for run in runs:
        if skip:
            # This piece begins right after a 0x90 that was itself a count.
            skip = False
            out += run
            continue
        if not run:
            skip = True
            count = 0x90
        else:
            count = run[0]
        if count == 0:
            out.append(0x90)
        elif out:
            budget.spend(count - 1)
            out += out[-1:] * (count - 1)
        out += run[1:]
    budget.spend(len(packed))
    return bytes(out)


def _binhex_forks(raw: bytes) -> list[File]:
    if not raw or len(raw) < raw[0] + 22:
        return []
    name = text(raw[1 : 1 + raw[0]], "macintosh")
    sizes = raw[0] + 12
    data_size = int.from_bytes(raw[sizes : sizes + 4], "big")
    resource_size = int.from_bytes(raw[sizes + 4 : sizes + 8], "big")
    start = sizes + 10
    data = raw[start : start + data_size]
    resource = raw[start + data_size + 2 : start + data_size + 2 + resource_size]
    return [(name, fork) for fork in (data, resource) if fork]
