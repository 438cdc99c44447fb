"""Where the header of an entity ends, and the fields in it, in every way a client may see them."""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass

from gatescan.judging.budget import LimitReached

Octets = bytes | mmap.mmap
"""A message's bytes in a form that can be searched in place."""

MAX_HEADER_BYTES = 1_000_000
MAX_HEADER_LINES = 10_000
_CUT_LINE = 900
"""Bytes of a line that a relay may have cut: at 998 octets by the standard, a little earlier by some."""

_BLANK_LINE = re.compile(rb"\n\r*\n")
_AT_ONCE = re.compile(rb"\r*\n")
# No possessive group, `(...)*+`, in this package: Python 3.11.2 misreads them. `[...]*+` is sound.
# A field, or a line that a mailbox put there; the latter has no groups.
_REST = rb"([ \t]*+):[ \t]*+([^\n]*+(?:\n[ \t][^\n]*+)*)\n?|>?From [^\n]*\n)"
_FIELD = re.compile(rb"^(?:([!-9;-~]++)" + _REST, re.MULTILINE)
_FIELD_OR_NAMELESS = re.compile(rb"^(?:([!-9;-~]*+)" + _REST, re.MULTILINE)
# The look-behind keeps runs of CR linear: only their first one starts a try.
_FOLD = re.compile(rb"(?<!\r)\r*+\n")
_BLANK_FOLD = re.compile(rb"\n[ \t]++\r*+(?=\n)")
_JUNK_FIELD = re.compile(rb"^([^\n:]{1,200}):([^\n]*+(?:\n[ \t][^\n]*+)*)", re.MULTILINE)
_NOT_NAME = bytes(set(range(256)) - set(range(0x21, 0x7F)))
_MIME_FIELD = re.compile(rb"^content-(?:type|disposition|transfer-encoding)", re.MULTILINE | re.IGNORECASE)
_FOLDED_HINT = re.compile(rb"\n[ \t]++[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-")
# A fold that reads like a field of its own; `h=From:Content-Type:To` of a DKIM signature is none.
_FOLDED_FIELD = re.compile(
    rb"^[ \t]++(content-(?:type(?=[ \t]*:[ \t]*[a-z]+/)|disposition(?=[ \t]*:[ \t]*(?:attachment|inline))"
    rb"|transfer-encoding(?=[ \t]*:[ \t]*(?:base64|quoted|x-|uu|binhex))))[ \t]*:([^\n]*+(?:\n[ \t][^\n]*+)*)",
    re.MULTILINE | re.IGNORECASE,
)


@dataclass(slots=True)
class Header:
    """The header of one entity in one reading.

    fields: (name in lower case, value as found with its folds), in order.
    raw: the bytes of the header; body: where the body starts in the entity's buffer.
    odd: other readings may differ. by_relay: this reading ends where a relay cut a line that was too long for it.
    """

    fields: list[tuple[bytes, bytes]]
    raw: bytes
    body: int
    odd: bool = False
    by_relay: bool = False


def unfold(value: bytes) -> bytes:
    """A field's value on one line, without the white space around it."""
    return (_FOLD.sub(b"", value) if b"\n" in value else value).strip()


def read(data: Octets, start: int, end: int) -> Header:
    """The header of the entity in data[start:end], as most clients read it.

    Lines that are no field are passed over; a line of white space is a fold. `odd` tells that there was
    such a line, and that `other_readings()` should be asked. Raises LimitReached on a header that is huge.
    """
    at_once = _AT_ONCE.match(data, start, end)
    if at_once:
        return Header([], b"", at_once.end())
    blank = _BLANK_LINE.search(data, start, end)
    stop, body = (blank.start() + 1, blank.end()) if blank else (end, end)
    _check_size(data, start, stop)
    raw = data[start:stop]
    fields: list[tuple[bytes, bytes]] = []
    position, odd = 0, False
    for match in _FIELD.finditer(raw):
        name, space, value = match.groups()
        begins, ends = match.span()
        if begins != position or space:
            odd = True
        if name:
            fields.append((name.lower(), value))
        position = ends
    if _FOLDED_HINT.search(raw) and _FOLDED_FIELD.search(raw):
        odd = True
    if position != len(raw) or b"\n \n" in raw or b"\n\t\n" in raw or b"\0" in raw:
        odd = True
    return Header(fields, raw, body, odd or _BLANK_FOLD.search(raw) is not None)


def other_readings(data: Octets, header: Header, start: int, end: int) -> list[Header]:
    """The readings of an odd header that differ from `read()` in a way that may matter; often none.

    A reader may end the header at the first line that is no field (be it one that begins with a colon or not), take a
    broken name for the right one, take the fold of a field for a field, or pass over a field with a blank before its
    colon.
    """
    raw, others = header.raw, []
    for cut in dict.fromkeys((_first_break(raw, _FIELD), _first_break(raw, _FIELD_OR_NAMELESS))):
        if cut is None or raw[cut[0] :].isspace():
            continue
        before = raw[: cut[0]]
        by_relay = cut[0] - 1 - before.rfind(b"\n", 0, cut[0] - 1) >= _CUT_LINE
        early = Header(_fields(before), before, start + cut[1], by_relay=by_relay)
        others.append(early)
    tolerant = _tolerant_fields(raw)
    if tolerant:
        others.append(Header(header.fields + tolerant, raw, header.body))
    if _FOLDED_FIELD.search(raw):
        others.append(Header(_unfolded(raw), raw, header.body))
    strict = [(m[1].lower(), m[3]) for m in _FIELD.finditer(raw) if m[1] and not m[2]]
    if any(m[2] and m[1].lower().startswith(b"content-") for m in _FIELD.finditer(raw)):
        others.append(Header(strict, raw, header.body))
    return others


def _check_size(data: Octets, start: int, stop: int) -> None:
    size = stop - start
    if size > MAX_HEADER_BYTES:
        raise LimitReached("header-size", f"a header of more than {MAX_HEADER_BYTES} bytes")
    if size > MAX_HEADER_LINES and data[start:stop].count(b"\n") > MAX_HEADER_LINES:
        raise LimitReached("header-lines", f"a header of more than {MAX_HEADER_LINES} lines")


def _fields(raw: bytes) -> list[tuple[bytes, bytes]]:
    return [(m[1].lower(), m[3]) for m in _FIELD.finditer(raw) if m[1]]


def _first_break(raw: bytes, field: re.Pattern[bytes]) -> tuple[int, int] | None:
    """(end of the header, start of the body) for a client that stops at the first line that is no such `field`."""
    blank = _BLANK_FOLD.search(raw)
    stop = (blank.start() + 1, blank.end() + 1) if blank else None
    position = 0
    for match in field.finditer(raw):
        if match.start() != position or match[2]:
            break
        position = match.end()
    if position < len(raw) and (stop is None or position < stop[0]):
        stop = (position, position)
    return stop


def _unfolded(raw: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of a reader that takes an indented line which reads like a MIME field for one."""
    return _fields(_FOLDED_FIELD.sub(lambda match: match[0].lstrip(b" \t"), raw))


def _tolerant_fields(raw: bytes) -> list[tuple[bytes, bytes]]:
    """MIME fields whose names are right once NUL, 8-bit bytes and spaces are taken out."""
    found = []
    for match in _JUNK_FIELD.finditer(raw):
        name = match[1].translate(None, _NOT_NAME).lower()
        if len(name) != len(match[1].rstrip(b" \t")) and _MIME_FIELD.match(name):
            found.append((name, match[2]))
    return found
