"""Whole messages in a part: attached mail, mailboxes, and web archives that Office opens by their bytes."""

from __future__ import annotations

import re

from gatescan.judging.budget import Budget
from gatescan.model import Buffer, Part
from gatescan.text.large import BLOCK, windows

Span = tuple[int, int]

_HEAD = 4096
_FIELD = rb"(?:[!-9;-~]{1,60}:[^\n]*(?:\n|\Z)(?:[ \t][^\n]*(?:\n|\Z))*)"
_START = re.compile(rb"(?:>?From [^\n]*\n)?" + _FIELD + b"{2}", re.ASCII)
_KNOWN_FIELD = re.compile(rb"^(?:mime-version|content-type|received|from|subject|date):", re.MULTILINE | re.IGNORECASE)
_MIME_FIELD = re.compile(rb"(?:mime-version|content-[a-z-]{2,40}):", re.IGNORECASE)
_BEFORE = re.compile(rb"(?:\xef\xbb\xbf)?\s{0,200}")
_MIME_VERSION = b"mime-version:"

_MAIL_NAME = re.compile(r"\.(?:eml|emltpl|mht|mhtml|nws|mbox|mbx|mbs|email|rfc822)[ .]*\Z", re.IGNORECASE)
_OFFICE_NAME = re.compile(
    r"\.(?:do[ct][xm]?|rtf|wbk|wps|wri|xl[stawm][xm]?|xlsb|csv|slk|dif|p[po][pts][xm]?|mht|mhtml|htm|html)[ .]*\Z",
    re.IGNORECASE,
)
_NO_EXTENSION = re.compile(r"[^.]*\Z")
_OFFICE_TYPE = re.compile(r"application/(?:ms-?word|vnd\.ms-|x-ms|rtf|vnd\.openxmlformats)")
_OF_OTHERS = (b"\xd0\xcf\x11\xe0", b"PK\x03\x04", b"{\\rt")
"""How files begin that Office does not read as a web archive."""

_NEXT_IN_MAILBOX = re.compile(rb"\n\r?\n(?=From [^\n]{3,200}\n[!-9;-~]{1,60}:)")
"""The empty line between two messages of a mailbox."""
_MANY = 200


def starts_as_message(data: Buffer) -> bool:
    """Whether `data` begins with at least two header fields, one of them well-known."""
    head = bytes(data[:_HEAD])
    return _START.match(head) is not None and _KNOWN_FIELD.search(head) is not None


def starts_as_entity(data: Buffer) -> bool:
    """Whether `data` begins as a message or with one MIME field, as what S/MIME signs does."""
    head = bytes(data[:_HEAD])
    return _MIME_FIELD.match(head) is not None or starts_as_message(head)


def messages(part: Part, budget: Budget) -> list[Span]:
    """Where the messages in a part are that some client would open as such; often none. Raises LimitReached."""
    if not part.names and part.content_type.startswith("text/"):
        return []
    start = 0 if part.content_type == "message/rfc822" and starts_as_entity(part.data) else _beginning(part)
    if start < 0:
        return []
    return [(start, len(part.data)), *_further(part.data, budget)]


def _beginning(part: Part) -> int:
    """Where the first message begins; -1 if the part is none by its name and bytes."""
    head = bytes(part.data[:_HEAD])
    if head.startswith(_OF_OTHERS):
        return -1
    by_mail = any(_MAIL_NAME.search(name) for name in part.names)
    by_office = any(_OFFICE_NAME.search(n) for n in part.names) or _OFFICE_TYPE.match(part.content_type) is not None
    bare = not part.content_type.startswith("text/") and all(_NO_EXTENSION.match(name) for name in part.names)
    if not (by_mail or by_office or bare):
        return -1
    before = _BEFORE.match(head)
    start = before.end() if before else 0
    if starts_as_message(head[start:]) or (not bare and _MIME_FIELD.match(head, start)):
        return start
    return _behind_another(part.data) if by_office else -1


def _behind_another(data: Buffer) -> int:
    """Where a web archive begins behind the head of another format, such as PDF: Word looks for its first field."""
    for number, window in enumerate(windows(data, len(_MIME_VERSION))):
        lower = window.lower()
        found = lower.find(_MIME_VERSION)
        while found >= 0:
            position = number * BLOCK + found
            if position == 0 or bytes(data[position - 1 : position]) in (b"\n", b"\r"):
                return position
            found = lower.find(_MIME_VERSION, found + 1)
    return -1


def _further(data: Buffer, budget: Budget) -> list[Span]:
    """The second and later messages of a mailbox."""
    starts = []
    for match in _NEXT_IN_MAILBOX.finditer(data):
        starts.append(match.end())
        if len(starts) % _MANY == 0:
            budget.tick()
    return [(start, end) for start, end in zip(starts, [*starts[1:], len(data)], strict=False)]
