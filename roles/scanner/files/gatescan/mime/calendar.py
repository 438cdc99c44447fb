"""Files that a calendar entry (RFC 5545) or a visiting card (RFC 6350) carries in itself, also written as XML or JSON
(RFC 6321, 6351, 7095, 7265)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from gatescan.judging import targets
from gatescan.judging.budget import Budget
from gatescan.model import Buffer
from gatescan.text.words import loose_base64, text

_HEAD = 4096
"""Bytes in which it begins: programs pass over lines in front that they do not know."""
_LINE_END = re.compile(rb"(?<!\r)\r++\n|\r")
_FOLD = re.compile(rb"\n[ \t]")
_PARAMETER = rb"(?:;[^:;=\"\r\n]{1,60}(?:=(?:[^\";:\r\n]|\"[^\"\r\n]*\")*)?)"
_PROPERTY = re.compile(rb"^[a-z0-9.-]{1,60}(" + _PARAMETER + rb"+):([^\r\n]+)", re.MULTILINE | re.IGNORECASE)
_DATA_URL = re.compile(rb"^[a-z0-9.-]{1,60}(" + _PARAMETER + rb"*):data:([^,\r\n]{0,200}),([^\r\n]+)", re.M | re.I)
_LINK = re.compile(
    rb"^(?:attach|url|conference|location|x-[a-z0-9-]{1,40})"
    + _PARAMETER
    + rb"*:\s{0,9}((?:file|search|ms-|\\\\)[^\r\n]{1,1000})",
    re.MULTILINE | re.IGNORECASE,
)
_IN_BASE64 = re.compile(rb";\s*(?:encoding\s*=\s*\"?(?:base64|b)\b|value\s*=\s*\"?binary|base64\b)", re.IGNORECASE)
_NAME = re.compile(rb";\s*(?:[a-z-]{0,20}file-?name|(?:x-)?label)\s*=\s*(?:\"([^\"]+)\"|([^;:\"]+))", re.IGNORECASE)

_OTHER_FORM = re.compile(rb"urn:ietf:params:xml:ns:(?:icalendar|vcard)-|\[\s*\"v(?:calendar|card)\"", re.IGNORECASE)
_OTHER_VALUE = re.compile(
    rb"<(?:[\w.-]{1,20}:)?(?:binary|uri)>\s*(?:data:([^,<]{0,200}),)?([^<]{4,})|\"(?:binary|uri)\"\s*,\s*\"(?:data:([^,\"]{0,200}),)?"
    rb"([^\"]{4,})\"",
    re.IGNORECASE,
)
_OTHER_NAME = re.compile(
    rb"<(?:[\w.-]{1,20}:)?(?:[a-z-]{0,20}file-?name|(?:x-)?label)>\s*(?:<(?:[\w.-]{1,20}:)?text>\s*)?([^<]+)"
    rb"|\"(?:[a-z-]{0,20}file-?name|(?:x-)?label)\"\s*:\s*\"([^\"]+)\"",
    re.IGNORECASE,
)
_PARAMETERS = 2_000
"""Bytes before a value in which its parameters stand."""

File = tuple[str, bytes]


def is_calendar(data: Buffer) -> bool:
    """Whether `data` begins as a calendar or a card does."""
    head = bytes(data[:_HEAD])
    return ((b":V" in head or b":v" in head) and b"begin:v" in head.lower()) or _OTHER_FORM.search(head) is not None


def starts_program(data: Buffer) -> bool:
    """Whether an entry or a card has a link that starts a program, which does not lie on the recipient's own server."""
    links = (found[1].decode("utf-8", "replace").replace("\\\\", "\\") for found in _LINK.finditer(_unfolded(data)))
    return any(targets.starts_program_by_address(link) and not targets.on_own_server(link) for link in links)


def _unfolded(data: Buffer) -> bytes:
    return _FOLD.sub(b"", _LINE_END.sub(b"\n", bytes(data)))


def files(data: Buffer, budget: Budget) -> Iterator[File]:
    """(name, content) of each property that holds a file in base64 or a `data:` address. Raises LimitReached."""
    budget.spend(len(data))
    if _OTHER_FORM.search(bytes(data[:_HEAD])):
        yield from _in_other_form(bytes(data), budget)
        return
    flat = _unfolded(data)
    for found in _PROPERTY.finditer(flat):
        budget.tick()
        if _IN_BASE64.search(found[1]):
            yield _file(found[1], loose_base64(found[2]), budget)
    for found in _DATA_URL.finditer(flat):
        budget.tick()
        encoded = unquote_to_bytes(found[3])
        yield _file(found[1], loose_base64(encoded) if b"base64" in found[2].lower() else encoded, budget)


def _in_other_form(data: bytes, budget: Budget) -> Iterator[File]:
    before = 0
    for found in _OTHER_VALUE.finditer(data):
        budget.tick()
        written_out = found[1] or found[3]
        value = unquote_to_bytes((found[2] or found[4]).replace(b"\\/", b"/"))
        if found[0][1:].lstrip(b'"').lower().startswith(b"uri") and written_out is None:
            continue
        content = loose_base64(value) if written_out is None or b"base64" in written_out.lower() else value
        budget.spend(len(content))
        *_, name = [None, *_OTHER_NAME.finditer(data, max(before, found.start() - _PARAMETERS), found.start())]
        before = found.end()
        yield (text(name[1] or name[2]).strip() if name else ""), content


def _file(parameters: bytes, content: bytes, budget: Budget) -> File:
    budget.spend(len(content))
    name = _NAME.search(parameters)
    return (text(name[1] or name[2]).strip() if name else ""), content
