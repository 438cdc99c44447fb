"""What scripts strew into their strings and take out before they use them, and numbers in the base that they name."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

_QUOTE = rb"[\"'`]"
_STRING = rb"(?:\"[^\"\n]{1,40}\"|'[^'\n]{1,40}'|`[^`\n]{1,40}`)"
_INSTEAD = rb"(?:\"[^\"\n]{0,4}\"|'[^'\n]{0,4}'|`[^`\n]{0,4}`)"
_CALLED = rb"(?:" + _QUOTE + rb"\s{0,9}\])?\s{0,9}\(\s{0,9}"
_MEMBER = rb"\s{0,9}(?:\.|\[\s{0,9}" + _QUOTE + rb")\s{0,9}"
_SPLIT = re.compile(
    rb"split" + _CALLED + rb"(" + _STRING + rb")\s{0,9}\)" + _MEMBER + rb"join" + _CALLED + rb"(" + _INSTEAD + rb")"
)
_REPLACED = re.compile(
    rb"replace(?:All)?" + _CALLED + rb"(?:/((?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.){1,60}\]){1,60})/[a-z]{0,4}"
    rb"|new\s{1,9}RegExp\(\s{0,9}(" + _STRING + rb")\s{0,9},\s{0,9}" + _QUOTE + rb"[a-z]{1,4}" + _QUOTE + rb"\s{0,9}\)"
    rb"|(" + _STRING + rb"))\s{0,9},\s{0,9}(" + _INSTEAD + rb")"
)
_ATOM = re.compile(rb"[^\\\[\](){}*+?|^$./]|\\[^\w\n]|\\[dDwWsS]|\[\^?(?:[^\]\\\[]|\\[^\w\n]|\\[dDwWsS]){1,60}\]")
_ATOMS = rb"(?:" + _ATOM.pattern + rb"){1,12}"
_SIMPLE = re.compile(_ATOMS + rb"(?:\|" + _ATOMS + rb"){0,7}\+?\Z", re.DOTALL)
"""An expression that means the same here and costs no more than its length."""
_SET_OPERATIONS = re.compile(rb"--|&&|~~|\|\|")
_PLAIN = re.compile(rb"(?:[^\\\[\](){}*+?|^$./]|\\[^\w\n]){1,40}\Z", re.DOTALL)
_BETWEEN_QUOTES = re.compile(rb"[\"'`<>]")
_LEAST = 5
"""Characters of a string with junk in it."""
_MOST = 24
"""Kinds of junk that are taken out of one layer."""

_BASE = re.compile(rb"parseInt\s{0,9}\([^;{}]{1,80}?,\s{0,9}(2|8|16|3[0-6])\s{0,9}\)")
_LONG = re.compile(rb"[\"'`]([0-9a-zA-Z][^\"'`\n]{99,}+)[\"'`]")
_DIGITS = b"0123456789abcdefghijklmnopqrstuvwxyz"
_WIDTHS = {2: 8, 8: 3, 36: 2}
"""Digits of a byte where nothing stands between two numbers."""
_LONGEST_NUMBER = 8

_LONG_STRING = re.compile(rb"([\"'`])([^\"'`\n]{2048,}+)\1")
"""From that length on it may be a hidden script or file."""
_INVISIBLE = re.compile(
    rb"[\"'`](?:\xe2\x80[\x8b-\x8f\xaa-\xae]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf|\xe3\x85\xa4|\xef\xbe\xa0|\xe1\x85[\x9f\xa0]"
    rb"|\xef\xb8[\x80-\x8f]|\xf3\xa0[\x80-\x87][\x80-\xbf]){256}"
)
"""Joiners, fillers, tags and selectors: what a script makes of them is in none of them."""
_SAMPLE = 8_192
_WORDS = re.compile(
    rb"function|return|document|window|var |let |https?:|base64,|[a-z]{2,9}(?: [a-z]{2,9}){3}|noitcnuf|nruter|tnemucod"
)
"""What stands in any script, page or prose of some length, read backwards too."""
_OF_LISTS = bytes(range(0x80, 0x100)) + b"0123456789 \t,.;:|/_+-=()#MLHVCSQTAZmlhvcsqtaze"
"""What lists, outlines of drawings, dates and texts of other scripts are made of."""
_ENCODED = re.compile(rb"[A-Za-z0-9+/_=-]+")

Undo = Callable[[bytes], bytes]
Pair = tuple[bytes | re.Pattern[bytes], bytes]
"""Junk, and what is put in its place."""


def without_junk(layer: bytes, flat: bytes, undo: Undo) -> bytes:
    """The strings and texts of `flat` that have junk in them, without it, one a line; empty if there are none.

    What is junk is what `layer`, of which `flat` was made, takes out of strings. undo: undoes the escapes of a string.
    """
    if b"split" not in flat and b"replace" not in flat:
        return b""
    pairs = list(dict.fromkeys((*_pairs(layer, undo), *_pairs(flat, undo))))[:_MOST]
    if not pairs:
        return b""
    pieces = _BETWEEN_QUOTES.split(flat)
    cleaned = ((piece, _cleaned(piece, pairs)) for piece in pieces if len(piece) >= _LEAST)
    return b"\n".join(b'"' + after + b'"' for before, after in cleaned if after != before)


def _cleaned(piece: bytes, pairs: list[Pair]) -> bytes:
    for junk, instead in pairs:
        piece = piece.replace(junk, instead) if isinstance(junk, bytes) else junk.sub(instead, piece)
    return piece


def _pairs(text: bytes, undo: Undo) -> Iterator[Pair]:
    """What is taken out, and what is put in its place."""
    for found in _SPLIT.finditer(text):
        yield from _pair(undo(found[1][1:-1]), found[2][1:-1])
    for found in _REPLACED.finditer(text):
        expression, built, plain, instead = found.groups()
        if plain:
            yield from _pair(undo(plain[1:-1]), instead[1:-1])
            continue
        expression = expression or built[1:-1].replace(b"\\\\", b"\\")
        if _PLAIN.match(expression):
            yield from _pair(re.sub(rb"\\(.)", rb"\1", expression), instead[1:-1])
        elif len(instead) == 2 and _SIMPLE.match(expression) and not _SET_OPERATIONS.search(expression):
            with contextlib.suppress(re.error):  # a range that runs backwards
                yield re.compile(rb"(?:" + expression.removesuffix(b"+") + rb")+", re.DOTALL), b""


def _pair(junk: bytes, instead: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Quotation marks are no junk: without them there is no string. Nor is what grows by it, as `&` to `&amp;` does."""
    if junk.strip(b"\"'`") and junk not in instead and len(instead) <= 2:
        yield junk, instead


def has_unreadable(flat: bytes) -> bool:
    """Whether a string of a script is long and says nothing: no word, no list, no drawing. What is in base64, in
    percent signs or in the digits of a base is decoded elsewhere. Nor does one of letters that nobody sees."""
    return _INVISIBLE.search(flat) is not None or any(
        _is_unreadable(found[2][:_SAMPLE]) for found in _LONG_STRING.finditer(flat)
    )


def _is_unreadable(sample: bytes) -> bool:
    if _ENCODED.fullmatch(sample) or _WORDS.search(sample) or 20 * sample.count(b"%") >= len(sample):
        return False
    return 4 * len(sample.translate(None, _OF_LISTS)) >= len(sample)


def numbers(flat: bytes) -> Iterator[bytes]:
    """The bytes that long strings of numbers make, in each base that the script names."""
    if b"parseInt" not in flat:
        return
    bases = {int(found[1]) for found in _BASE.finditer(flat)}
    for literal in _LONG.finditer(flat) if bases else ():
        text = literal[1].lower()
        for base in bases:
            values = _values(text, base)
            if values and max(values) < 256:
                yield bytes(values)


def _values(text: bytes, base: int) -> list[int]:
    """The numbers of a string in which the same stands between any two; empty if it is no such string."""
    digits = _DIGITS[:base]
    other = text.translate(None, digits)
    if not other:
        width = _WIDTHS.get(base, 0)
        groups = [text[at : at + width] for at in range(0, len(text), width)] if width else []
    else:
        start = text.find(other[:1])
        end = start
        while text[end : end + 1] and text[end] not in digits:
            end += 1
        groups = text.split(text[start:end])
    if any(not group or len(group) > _LONGEST_NUMBER or group.translate(None, digits) for group in groups):
        return []
    return [int(group, base) for group in groups]
