"""Structured fields (Content-Type, Content-Disposition): the value and its parameters, in every reading.

A well-formed field is read once, by one regex. Anything else goes through several readers, each with the
habits of a kind of client, and every value that one of them sees is kept.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple

from gatescan.mime.header import unfold
from gatescan.text.words import decode_extended, decode_words, text

MAX_FIELD_BYTES = 8192
"""Of one structured field. A name of 255 characters in its longest spelling, twice, stays below it."""

_ORDINARY_VALUE = re.compile(rb"[ \t]*([A-Za-z0-9!#$&^_.+-]++(?:/[A-Za-z0-9!#$&^_.+-]++)?)[ \t]*")
_ORDINARY_PARAMETER = re.compile(
    rb'(?:;[ \t]*)+([A-Za-z0-9_.-]++(?:\*[0-9]{0,3}\*?)?)[ \t]*=[ \t]*(?:"([^"\\\0]*+)"|([^\s;"()\\\0]++))[ \t]*'
)
_END = re.compile(rb"[; \t]*\Z")

_ATTRIBUTE = rb"([^\s;=\"'()]{1,80}(?:\*[0-9]{0,9}\*?)?)\s*=\s*"
_BY_RFC = re.compile(_ATTRIBUTE + rb'(?:"((?:[^"\\]++|\\.)*)(?:"|\Z)|([^\s;"]*+))', re.DOTALL)
_QUOTES_KEPT_PLAIN = re.compile(_ATTRIBUTE + rb'(?:"([^"]*+)"?|([^;]*+))', re.DOTALL)
_QUOTES_UNKNOWN = re.compile(_ATTRIBUTE + rb'"?([^;"]*+)', re.DOTALL)
# An unquoted value that goes on: `a@b.com; papers.zip` is one name, as what follows is no parameter.
_UNQUOTED_TO_END = re.compile(_ATTRIBUTE + rb"([^\"\s;][^;]*+(?:;(?![ \t]*[\w*-]+[ \t]*=)[^;]*+)*)", re.DOTALL)
# Quotation marks that stand for nothing: `"bar"foo` is barfoo to some readers, and bar to others.
_QUOTES_DROPPED = re.compile(_ATTRIBUTE + rb"((?:\"[^\"]*\"?|[^\";])+)", re.DOTALL)
_ONE_QUOTED = re.compile(rb"\s*\"[^\"]*\"?\s*")
_TYPE = re.compile(rb"([A-Za-z0-9!#$&^_.+-]+)[ \t]*(?:/[ \t]*([A-Za-z0-9!#$&^_.+-]+))?")
_ADDRESS = re.compile(rb"[^@\s\"]+@[^@\s\"]+\.com", re.IGNORECASE)
_FOLD_AND_BLANKS = re.compile(rb"(?<![ \t\r])[ \t\r]*+\n[ \t]++")
_WIDE = re.compile(rb"utf-?_?(?:16|32)|ucs-?[24]", re.IGNORECASE)
_SECTION = re.compile(rb"([^*]+)\*(?:([0-9]{1,9})(\*?))?\Z")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_LEXEME = re.compile(rb'\\.|"(?:[^"\\]++|\\.)*"|[()]', re.DOTALL)


class Structured(NamedTuple):
    """A structured field.

    values: the value (a media type, a disposition) in lower case, in every reading, the likeliest first.
    parameters: (name in lower case, value) as found, not decoded, in order, of all readings.
    odd: it isn't well-formed, so clients may differ. repeated: one parameter has two values.
    """

    values: tuple[str, ...]
    parameters: tuple[tuple[bytes, bytes], ...]
    odd: bool
    repeated: frozenset[bytes] = frozenset()

    def all(self, *names: bytes) -> list[tuple[bytes, bytes]]:
        """The parameters of these names, those in RFC 2231 sections too."""
        return [(n, v) for n, v in self.parameters if n.partition(b"*")[0] in names]


NOTHING = Structured((), (), False)
"""A field that isn't there."""


@lru_cache(maxsize=512)
def parse(value: bytes) -> Structured:
    """A structured field from its value as found, folds and all (at most MAX_FIELD_BYTES of it)."""
    ordinary = None if _folded_in_quotes(value) else _ordinary(unfold(value))
    if ordinary is not None:
        return ordinary
    return _every_reading(value[:MAX_FIELD_BYTES])


def _folded_in_quotes(value: bytes) -> bool:
    """Whether a fold stands in a quoted string: some clients keep its blank, some don't."""
    return b"\n" in value and any(b"\n" in quoted for quoted in value.split(b'"')[1::2])


def _ordinary(flat: bytes) -> Structured | None:
    if len(flat) > MAX_FIELD_BYTES:
        return None
    head = _ORDINARY_VALUE.match(flat)
    if head is None:
        return None
    position, parameters, seen = head.end(), [], set()
    while match := _ORDINARY_PARAMETER.match(flat, position):
        name = match[1].lower()
        if name in seen:
            return None
        seen.add(name)
        parameters.append((name, match[3] if match[2] is None else match[2]))
        position = match.end()
    if not _END.match(flat, position):
        return None
    return Structured((_whole_type(head[1]),), tuple(parameters), False)


def _every_reading(value: bytes) -> Structured:
    flat = unfold(value)
    plain = _without_comments(flat)
    found: dict[tuple[bytes, bytes], None] = {}
    first: dict[bytes, set[bytes]] = {}
    for match in _BY_RFC.finditer(plain):
        name = match[1].lower()
        content = match[3] if match[2] is None else _ESCAPE.sub(rb"\1", match[2])
        first.setdefault(name, set()).add(content)
        found[name, content] = None
    texts = dict.fromkeys((plain, flat, unfold(value.replace(b"\0", b"")), value.partition(b"\0")[0]))
    for reading in (*texts, _FOLD_AND_BLANKS.sub(b"", value)):
        for pattern in (_QUOTES_KEPT_PLAIN, _QUOTES_UNKNOWN, _UNQUOTED_TO_END):
            for match in pattern.finditer(reading):
                content = match[match.lastindex or 1]
                found[match[1].lower(), content.strip()] = None
        for match in _QUOTES_DROPPED.finditer(reading) if b'"' in reading else ():
            if b'"' in match[2] and not _ONE_QUOTED.fullmatch(match[2]):
                found[match[1].lower(), match[2].replace(b'"', b"").strip()] = None
    for name, content in list(found):
        # A client that reads on to `; papers.zip` has a name; the address before it alone is none.
        address, semicolon, _ = content.partition(b";")
        if semicolon and _ADDRESS.fullmatch(address):
            found.pop((name, address), None)
    values = dict.fromkeys(v for t in texts if (v := _type(t)))
    repeated = frozenset(name for name, contents in first.items() if len(contents) > 1)
    return Structured(tuple(values), tuple(found), True, repeated)


def _type(flat: bytes) -> str:
    match = _TYPE.search(flat)
    if match is None:
        return ""
    return _whole_type(match[0].translate(None, b" \t"))


def _whole_type(value: bytes) -> str:
    """A media type or disposition in lower case; `text` alone is what RFC 1049 had for text/plain."""
    name = value.decode("ascii").lower()
    return "text/plain" if name == "text" else name


def _without_comments(flat: bytes) -> bytes:
    """`flat` without its (comments), which may nest; quoted strings are left alone. One pass."""
    if b"(" not in flat:
        return flat
    out, depth, position = [], 0, 0
    for match in _LEXEME.finditer(flat):
        token = match[0]
        if depth == 0 and token != b"(":
            out.append(flat[position : match.end()])
        elif depth == 0:
            out.append(flat[position : match.start()])
        position = match.end()
        depth += (token == b"(") - (token == b")" and depth > 0)
    if depth == 0:
        out.append(flat[position:])
    return b"".join(out)


def readings(parameters: list[tuple[bytes, bytes]]) -> list[bytes]:
    """Every value of one parameter: plain ones as found, RFC 2231 sections joined. Not decoded."""
    plain = [value for name, value in parameters if b"*" not in name]
    return [*plain, *(joined for joined, _ in _joined_sections(parameters))]


def decoded_readings(parameters: list[tuple[bytes, bytes]]) -> list[str]:
    """Every value of one parameter as text: RFC 2047 and RFC 2231 decoded, 8-bit bytes as best can be."""
    found: dict[str, None] = {}
    for name, value in parameters:
        if b"*" not in name:
            found[decode_words(value)] = None
            if _WIDE.search(value):
                found[decode_words(value, little_endian=True)] = None
            if not value.isascii():
                found[text(value, "shift_jis")] = None
    for joined, extended in _joined_sections(parameters):
        decode = decode_extended if extended else decode_words
        found[decode(joined)] = None
        if _WIDE.search(joined):
            found[decode(joined, little_endian=True)] = None
    return [name for name in found if name]


def _joined_sections(parameters: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bool]]:
    """(value, whether it is percent-encoded) for each way to join the sections `name*0*`, `name*1` ..."""
    sections: list[tuple[int, bytes, bool]] = []
    whole: list[tuple[bytes, bool]] = []
    for name, value in parameters:
        match = _SECTION.match(name)
        if match is None:
            continue
        if match[2] is None:
            whole.append((value, True))
        else:
            sections.append((int(match[2]), value, bool(match[3])))
    if not sections:
        return whole
    extended = any(encoded for _, _, encoded in sections)
    by_number = sorted(sections, key=lambda s: s[0])
    first = {number: (value, encoded) for number, value, encoded in reversed(by_number)}
    last = {number: (value, encoded) for number, value, encoded in by_number}
    unbroken = [first[n] for n in takewhile(first.__contains__, range(len(first)))]
    orders = ([first[n] for n in sorted(first)], [last[n] for n in sorted(last)], unbroken)
    joined = dict.fromkeys(b"".join(_protected(v, e, extended) for v, e in order) for order in orders)
    joined[b"".join(_protected(v, e, extended) for _, v, e in sections)] = None
    joined[b"".join(v for _, v, _ in sections)] = None
    return [*whole, *((value, extended) for value in joined)]


def _protected(value: bytes, encoded: bool, extended: bool) -> bytes:
    """A section that isn't percent-encoded among some that are: its own `%` must survive decoding."""
    return value if encoded or not extended else value.replace(b"%", b"%25")
