"""A message as authentication needs it: its header's fields, its body's digests, and who its author is.

Messages are as qmail has them: LF is a line's end and stands for CRLF, and CR is a character like others. A body is
read in blocks, so that a large message costs no memory.

An author counts only if no reader could see another one. The tricks by which one is shown and another one is checked
are many (several From fields, `From :`, a fold or a bare CR in front of one, several addresses, routes, groups,
encoded words): whatever is not plainly one address is looked at for every domain that stands in it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import quopri
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.header import decode_header
from itertools import chain, islice

from gatekeeper.addresses import in_ascii, is_domain

HEADER_LIMIT, FIELDS_LIMIT = 1 << 18, 2000
"""Bytes and fields of a header. In what comes behind them another author may stand: there is not one then."""
_NAME_LIMIT = 200
BLOCK = 1 << 18
"""Bytes that are read at once."""
DOMAINS = 10
"""Domains of authors that are looked at, and fields in which they may stand."""

_FROM, _SENDERS = b"from:", ("sender", "resent-from")
_NOT_PRINTABLE = bytes(code for code in range(256) if not ord("!") <= code <= ord("~"))
_RUN_OF_BLANKS = re.compile(rb"  +")
# A From that some readers see where no field begins. `h=From:To` of a signature, folded, is none.
_HIDDEN_FROM = re.compile(rb"(?:\r[ \t]*from[ \t]*:|\n[ \t]+from[ \t]*:[^:;\n]*@)", re.IGNORECASE)
_ATOM = r"[^\x00-\x20\x7f()<>\[\]:;@\\,\"]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_ADDRESS = rf'(?:{_ATOM}|"[^"\\@<>]*")@([a-z0-9._\u0080-\U0010ffff-]+)'
_BLANK = re.compile(r"[ \t]+|\([^()\\@<>]*\)")
_WORD = re.compile(rf"{_BLANK.pattern}|{_ATOM}|{_QUOTED}")
_IN_BRACKETS = re.compile(rf"<[ \t]*{_ADDRESS}[ \t]*>", re.IGNORECASE)
_BARE = re.compile(_ADDRESS, re.IGNORECASE)
_MENTIONED = re.compile(r"@[ \t]*([a-z0-9_\u0080-\U0010ffff](?:[a-z0-9._\u0080-\U0010ffff-]*))", re.IGNORECASE)
_BOUNDED = re.compile(r"@[a-z0-9._-]+(?=[ \t>),;\"']|\Z)", re.IGNORECASE)
_ENCODED_WORD = re.compile(r"=\?([^?\s]{1,40})\?([bq])\?([^?\s]*)\?=", re.IGNORECASE)
_BETWEEN_WORDS = re.compile(r"(?<=\?=)[ \t]+(?==\?)")
_COMMENT_MARKS = tuple(map(re.compile, (r"\\.|[\"()]", r"\\.|[()]", r"[()]")))
"""Where comments begin and end: by the RFC, for who knows no quotation marks, and for who knows no `\\(` either."""
_BLANKS_AT_DOTS = re.compile(r"(?<![ \t])[ \t]+(?=[@.])|(?<=[@.])[ \t]+")
_DIFFER = frozenset("ßς\u200c\u200d")
"""Characters that have one form in a name by IDNA 2003 and another one, or none, by IDNA 2008."""
_IN_ANGLES = re.compile(r"<([^<>]*)>")
_PIECE = re.compile(r"[^\s<>]+")
_FROM_LONGEST = 10_000


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a header. name: in lower case, without what is not printable. raw: all of it, ended by CRLF."""

    name: str
    raw: bytes

    @property
    def value(self) -> bytes:
        """What stands behind the colon, with its folds."""
        return self.raw.partition(b":")[2]


@dataclass(frozen=True, slots=True)
class Authors:
    """Whose name a message bears. domains: in lower case and ASCII. is_one: there is one, whoever reads it.
    is_cut: there may be more than were looked for."""

    domains: tuple[str, ...]
    is_one: bool
    is_cut: bool = False


@dataclass(slots=True)
class Message:
    """A message. body: a fresh run over the body's blocks."""

    header: bytes
    body: Callable[[], Iterator[bytes]]
    size: int
    fields: tuple[Field, ...] = ()
    _digests: dict[bool, tuple[bytes, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fields = tuple(islice(split(self.header), FIELDS_LIMIT))

    @property
    def is_whole(self) -> bool:
        """Whether all of the header is known."""
        return len(self.header) < HEADER_LIMIT and len(self.fields) < FIELDS_LIMIT

    def named(self, name: str) -> list[Field]:
        """The fields of a name, in order."""
        return [item for item in self.fields if item.name == name]

    def digest(self, is_relaxed: bool) -> tuple[bytes, int]:
        """The body's SHA-256 in the relaxed or the simple form, and how many bytes that form has."""
        if is_relaxed not in self._digests:
            found = Body(is_relaxed)
            for block in self.body():
                found.feed(block)
            self._digests[is_relaxed] = found.end()
        return self._digests[is_relaxed]


def of_bytes(data: bytes) -> Message:
    """A message that is there."""
    end = _body_start(data)
    return Message(data[:end], lambda: iter((data[end:],)), len(data))


def of_file(fd: int, start: int = 0) -> Message:
    """A message in a file from a position on; the file stays open while it is used. Raises OSError."""
    size = max(os.fstat(fd).st_size - start, 0)
    head = _read(fd, start, min(size, HEADER_LIMIT))
    if len(head) == size:
        return of_bytes(head)
    end = _body_start(head)
    return Message(head[:end], lambda: _blocks(fd, start + end), size)


def _body_start(data: bytes) -> int:
    if data.startswith(b"\n"):
        return 1
    found = data.find(b"\n\n", 0, HEADER_LIMIT)
    return found + 2 if found >= 0 else min(len(data), HEADER_LIMIT)


def _read(fd: int, start: int, length: int) -> bytes:
    pieces = []
    while length and (piece := os.pread(fd, min(length, BLOCK), start)):
        pieces.append(piece)
        start, length = start + len(piece), length - len(piece)
    return b"".join(pieces)


def _blocks(fd: int, start: int) -> Iterator[bytes]:
    while block := os.pread(fd, BLOCK, start):
        yield block
        start += len(block)


def split(header: bytes) -> Iterator[Field]:
    """A header's fields, each with its continuation lines."""
    for text in re.split(rb"\n(?![ \t])", header.removesuffix(b"\n").removesuffix(b"\n")):
        if text:
            name = text.partition(b":")[0][:_NAME_LIMIT].translate(None, _NOT_PRINTABLE)
            yield Field(name.lower().decode("ascii"), text.replace(b"\n", b"\r\n") + b"\r\n")


class Body:
    """A body's digest, taken block by block."""

    def __init__(self, is_relaxed: bool) -> None:
        self._is_relaxed = is_relaxed
        self._digest = hashlib.sha256()
        self._length = 0
        self._line_ends = 0
        self._is_blank = False

    def feed(self, text: bytes) -> None:
        """Take a block."""
        if self._is_relaxed:
            text = single_blanks(b" " + text if self._is_blank else text).replace(b" \n", b"\n")
            self._is_blank = text.endswith(b" ")
            text = text[:-1] if self._is_blank else text
        kept = text.rstrip(b"\n")
        if kept:
            self._end_lines()
            self._update(kept.replace(b"\n", b"\r\n"))
        self._line_ends += len(text) - len(kept)

    def _end_lines(self) -> None:
        while self._line_ends:
            now = min(self._line_ends, BLOCK)
            self._update(b"\r\n" * now)
            self._line_ends -= now

    def _update(self, text: bytes) -> None:
        self._digest.update(text)
        self._length += len(text)

    def end(self) -> tuple[bytes, int]:
        """The digest of all that was fed, and the bytes that went into it."""
        if self._length or not self._is_relaxed:
            self._update(b"\r\n")
        return self._digest.digest(), self._length


def relaxed(item: Field) -> bytes:
    """A field in the relaxed form, ended by CRLF."""
    name, _, value = item.raw.partition(b":")
    return name.strip(b" \t\r\n").lower() + b":" + plain(value) + b"\r\n"


def plain(value: bytes) -> bytes:
    """A field's value on one line, with single blanks."""
    return single_blanks(value.replace(b"\r\n", b"")).strip(b" ")


def single_blanks(text: bytes) -> bytes:
    """Text with one blank for each run of blanks and tabs; most has none."""
    text = text.replace(b"\t", b" ")
    return _RUN_OF_BLANKS.sub(b" ", text) if b"  " in text else text


# Authors


def authors(message: Message) -> Authors:
    """Whose name a message bears. Where programs see no author in From, some show a sender: that is never plain."""
    found = _in_from(message)
    is_seen = any(item.raw[: len(_FROM)].lower() == _FROM for item in message.named("from"))
    if found.is_cut or (found.domains and is_seen):
        return found
    fields = [item for item in message.fields if item.name in _SENDERS]
    domains = dict.fromkeys(found.domains + _mentioned(_text(_ends(item.value)) for item in fields[:DOMAINS]))
    return Authors(tuple(domains)[:DOMAINS], False, max(len(fields), len(domains)) > DOMAINS)


def _in_from(message: Message) -> Authors:
    found = [item.value for item in message.named("from")]
    header = b"\n" + message.header
    hidden = [match[0] + _line(header, match.end()) for match in islice(_HIDDEN_FROM.finditer(header), DOMAINS)]
    is_cut = len(found) + len(hidden) > DOMAINS or any(len(value) > _FROM_LONGEST for value in found)
    is_cut |= not message.is_whole
    if len(found) == 1 and not hidden and not is_cut:
        return _of_value(_text(found[0]))
    domains = _mentioned(_text(_ends(value)) for value in (*found, *hidden)[:DOMAINS])
    return Authors(domains[:DOMAINS], False, is_cut or len(domains) > DOMAINS)


def _line(header: bytes, start: int) -> bytes:
    return header[start : start + 1000].partition(b"\n")[0]


def _ends(value: bytes) -> bytes:
    """A value of a length that can be read: a name may be of any, and the address stands behind it."""
    return value if len(value) <= _FROM_LONGEST else value[:_FROM_LONGEST] + b" " + value[-_FROM_LONGEST:]


def _text(value: bytes) -> str:
    return value.replace(b"\r\n", b"").decode("utf-8", "replace").strip(" \t\r")


def _of_value(text: str) -> Authors:
    one = _of_one(text)
    if is_domain(in_ascii(one)) and _DIFFER.isdisjoint(one):
        return Authors((in_ascii(one),), True)
    domains = _mentioned([text])
    is_one = len(domains) == 1 and text.isprintable() and text.count("@") == len(_BOUNDED.findall(text))
    is_plain = not one and not _ENCODED_WORD.search(text)
    return Authors(domains[:DOMAINS], is_one and is_plain and is_domain(domains[0]), len(domains) > DOMAINS)


def _of_one(text: str) -> str:
    """The domain of a text that is one address, with or without a name; empty if it is not plainly that."""
    at = _behind(text, 0, _WORD)
    found = _IN_BRACKETS.match(text, at) if text[at : at + 1] == "<" else _BARE.match(text, _behind(text, 0, _BLANK))
    return found[1] if found and _behind(text, found.end(), _BLANK) == len(text) else ""


def _behind(text: str, at: int, what: re.Pattern[str]) -> int:
    """Where a run of something ends. A loop, as patterns within patterns can take for ever."""
    while found := what.match(text, at):
        at = found.end()
    return at


def _mentioned(texts: Iterable[str]) -> tuple[str, ...]:
    """Every domain that stands in these texts, up to one more than are looked at."""
    found: dict[str, None] = {}
    readings = dict.fromkeys(chain.from_iterable(map(_readings, texts)))
    for match in chain.from_iterable(map(_MENTIONED.finditer, readings)):
        found[in_ascii(match[1].strip(".-"))] = None
        if len(found) > DOMAINS:
            break
    return tuple(found)


def _readings(text: str) -> Iterator[str]:
    """What readers may take a text for: encoded words read, without comments in addresses, cut at what is no text."""
    for read in dict.fromkeys((text, *_words_read(text), *_words_read(_uncommented(text, _COMMENT_MARKS[0])))):
        marks = _COMMENT_MARKS if "(" in read else ()
        for reading in dict.fromkeys((read, *(_uncommented(read, kind) for kind in marks))):
            yield from (reading, _BLANKS_AT_DOTS.sub("", reading), reading.replace("\ufffd", " "))


def _words_read(text: str) -> Iterator[str]:
    """Text with its encoded words read: neighbours are one word, but not for all readers."""
    yield _ENCODED_WORD.sub(_decoded, text)
    yield _ENCODED_WORD.sub(_decoded, _BETWEEN_WORDS.sub("", text))


def _uncommented(text: str, marks: re.Pattern[str]) -> str:
    """Text without comments and those within them; one that does not end stays. One pass, however many there are."""
    begun: list[int] = []
    cuts: list[tuple[int, int]] = []
    is_quoted = False
    for mark in marks.finditer(text):
        if mark[0] == '"':
            is_quoted ^= not begun
        elif mark[0] == "(" and not is_quoted:
            begun.append(mark.start())
        elif mark[0] == ")" and begun:
            start = begun.pop()
            while cuts and cuts[-1][0] > start:
                cuts.pop()
            cuts.append((start, mark.end()))
    edges = [0, *chain.from_iterable(cuts), len(text)]
    return "".join(text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))


def _decoded(found: re.Match[str]) -> str:
    data = found[3].encode("ascii", "replace")
    try:
        text = base64.b64decode(data + b"==") if found[2] in "bB" else quopri.decodestring(data, header=True)
    except binascii.Error:
        return ""
    return _in_charset(text, found[1].partition("*")[0])


# What people see of them


def shown_name(message: Message) -> str:
    """What stands beside addresses in From, encoded words read."""
    texts = (_guessed(item.value[:_FROM_LONGEST]) for item in message.named("from")[:DOMAINS])
    return " ".join(_beside_addresses(_unencoded(text)) for text in texts)


def _guessed(value: bytes) -> str:
    """A value as readers show it: where it is no UTF-8, which it should be, most take it for Windows' charset."""
    value = value.replace(b"\r\n", b"")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("cp1252", "replace")


def _beside_addresses(text: str) -> str:
    """What a reader shows as a name: an address, too, where another one is meant, as in `"ann@a.test" <eve@b.test>`."""
    meant = {address for address in _IN_ANGLES.findall(text) if "@" in address}
    rest = _IN_ANGLES.sub(lambda found: " " if found[1] in meant else found[0], text.replace("\\", ""))
    pieces = (found[0] for found in _PIECE.finditer(rest))
    return " ".join(piece for piece in pieces if "@" not in piece or meant - {piece.strip("\"'")})


def _unencoded(text: str) -> str:
    try:
        parts = decode_header(text)
    except HeaderParseError:
        return text
    return "".join(part if isinstance(part, str) else _in_charset(part, charset or "utf-8") for part, charset in parts)


def _in_charset(data: bytes, charset: str) -> str:
    try:
        return data.decode(charset, "replace")
    except (LookupError, ValueError):
        return data.decode("utf-8", "replace")
