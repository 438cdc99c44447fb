"""A message as mail clients see it: the leaves of its MIME tree, and what is odd about it.

`parse()` takes one message apart into its leaves. `members()` is a reader as those of archives are: it gives what
one part holds, a level down, be it a leaf of the message or a member of an archive.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from gatescan.judging.budget import Budget
from gatescan.mime import embedded, enclosed, quoted
from gatescan.mime.header import unfold
from gatescan.mime.parameters import MAX_FIELD_BYTES
from gatescan.mime.sealed import END_TO_END
from gatescan.mime.tree import read_every_way
from gatescan.model import Buffer, Finding, Part
from gatescan.text.large import piece
from gatescan.text.words import decode_words

__all__ = ["END_TO_END", "Parsed", "members", "parse"]

_BULK = (b"bulk", b"list", b"junk", b"auto_reply")
_TELLING = frozenset((b"list-id", b"list-unsubscribe", b"precedence", b"auto-submitted", b"return-path"))
_BOUNDS = ("limit-bytes", "limit-parts", "limit-depth", "limit-time", "limit-readings")
"""Codes of what is cut short in a text that quotes parts; a huge header is none of them."""


@dataclass(slots=True)
class Parsed:
    """A message that was taken apart.

    parts: its leaves in every reading, decoded; equal ones once. findings: ambiguous, limit, policy and
    encrypted. headers: the fields of the message itself, (name in lower case, value on one line), in order.
    subject, from_, message_id: of the first such field, decoded; empty if there is none.
    is_list_or_auto: sent by a list or a machine, so that no notice may answer it.
    """

    parts: list[Part] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    subject: str = ""
    from_: str = ""
    message_id: str = ""
    is_list_or_auto: bool = False


def parse(data: Buffer, budget: Budget) -> Parsed:
    """Take a message apart. Never raises: a bound that is reached is a `limit` finding.

    `data` is best bytes or an mmap, which are searched in place; a memoryview is copied.
    Each entity and each file that is found counts as a part of the budget, each byte decoded as a byte.
    """
    octets = data if isinstance(data, (bytes, mmap.mmap)) else bytes(data)
    walk = read_every_way(octets, budget)
    parsed = Parsed(walk.parts, walk.findings)
    if walk.top is not None:
        _describe(parsed, walk.top.fields)
    return parsed


def members(part: Part, budget: Budget) -> Iterator[Part]:
    """What a part holds at this layer, one level down: messages, files as text, in HTML, in wrappings.

    Findings go to `part.findings`. Raises LimitReached.
    """
    messages = enclosed.messages(part, budget)
    for number, (start, end) in enumerate(messages, 1):
        yield from _message(part, start, end, number, budget)
    if not messages or part.content_type != "message/rfc822":
        text = embedded.is_text(part)
        yield from embedded.members(part, text, budget)
        if text and quoted.holds_fields(part.data):
            yield from _quoted(part, budget)
        if text and part.content_type and quoted.holds_files(part.data):
            yield from _coded(part, budget)


def _coded(part: Part, budget: Budget) -> Iterator[Part]:
    """The files that stand in a leaf of a message in a code, as some reader may see the fields that say so."""
    for number, content in enumerate(quoted.files(bytes(part.data), budget), 1):
        budget.part()
        yield Part(f"{part.path}/coded-{number}", (), "", content, part.depth + 1, inner=True, cut=True)


def _quoted(part: Part, budget: Budget) -> Iterator[Part]:
    """The named or encoded parts that are written out in a text; of what is odd about them only a bound matters there.

    At a bound the rest of the text is not looked at, as the message is held by that. A huge header is none: what looks
    like one in a text is a log or a table.
    """
    data = bytes(part.data)
    for number, (start, end) in enumerate(quoted.entities(data, budget), 1):
        parsed = parse(data[start:end], budget)
        for leaf in parsed.parts:
            if leaf.names or leaf.data:
                leaf.path = f"{part.path}/quoted-{number}"
                leaf.depth = part.depth + 1
                leaf.cut = True
                yield leaf
        if limits := [finding for finding in parsed.findings if finding.code in _BOUNDS]:
            part.findings += limits
            return


def _message(part: Part, start: int, end: int, number: int, budget: Budget) -> Iterator[Part]:
    """The leaves of one message in a part; the second one and later ones of a mailbox have their number in the path."""
    stem = part.path if number == 1 else f"{part.path}/message-{number}"
    parsed = parse(piece(part.data, start, end), budget)
    part.findings += [replace(finding, part=f"{stem}/{finding.part}".rstrip("/")) for finding in parsed.findings]
    for leaf in parsed.parts:
        leaf.path = f"{stem}/{leaf.path}"
        leaf.depth = part.depth + 1
        yield leaf


def _describe(parsed: Parsed, fields: list[tuple[bytes, bytes]]) -> None:
    first: dict[bytes, bytes] = {}
    for name, value in fields:
        flat = unfold(value) if b"\n" in value else value.rstrip()
        parsed.headers.append((str(name, "ascii", "replace"), flat))
        first.setdefault(name, flat)
    parsed.subject, parsed.from_, parsed.message_id = (
        decode_words(first.get(name, b"")[:MAX_FIELD_BYTES]) for name in (b"subject", b"from", b"message-id")
    )
    parsed.is_list_or_auto = is_list_or_auto(fields)


def is_list_or_auto(fields: list[tuple[bytes, bytes]]) -> bool:
    """Whether any of a header's fields says that a list or a machine sent the message."""
    return any(name in _TELLING and _tells(name, unfold(value).lower()) for name, value in fields)


def _tells(name: bytes, value: bytes) -> bool:
    if name == b"precedence":
        return value in _BULK
    if name == b"auto-submitted":
        return value.partition(b";")[0].strip() != b"no"
    return name != b"return-path" or value == b"<>"
