"""A message as mail clients see it: the leaves of its MIME tree, and what is odd about it.

`parse()` is the entry. `members()` looks into one part for what hides in text, HTML and signed wrappings;
`parse()` has done so for the parts that it returns, the judge does so for members of archives.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field

from gatescan.budget import Budget
from gatescan.mime import embedded
from gatescan.mime.header import unfold
from gatescan.mime.parameters import MAX_FIELD_BYTES
from gatescan.mime.sealed import END_TO_END
from gatescan.mime.tree import read_every_way
from gatescan.model import Buffer, Finding, Part
from gatescan.words import decode_words

__all__ = ["END_TO_END", "Parsed", "members", "parse"]

_BULK = (b"bulk", b"list", b"junk", b"auto_reply")


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
    """What an archive's member holds at this layer: files as text, in HTML, in wrappings.

    Findings go to `part.findings`. Raises LimitReached.
    """
    return embedded.members(part, "", budget)


def _describe(parsed: Parsed, fields: list[tuple[bytes, bytes]]) -> None:
    first: dict[bytes, bytes] = {}
    for name, value in fields:
        flat = unfold(value)
        parsed.headers.append((name.decode("ascii", "replace"), flat))
        first.setdefault(name, flat)
    parsed.subject, parsed.from_, parsed.message_id = (
        decode_words(first.get(name, b"")[:MAX_FIELD_BYTES]) for name in (b"subject", b"from", b"message-id")
    )
    parsed.is_list_or_auto = (
        b"list-id" in first
        or b"list-unsubscribe" in first
        or first.get(b"precedence", b"").lower() in _BULK
        or first.get(b"auto-submitted", b"no").lower().partition(b";")[0].strip() != b"no"
        or first.get(b"return-path", b"").strip() == b"<>"
    )
