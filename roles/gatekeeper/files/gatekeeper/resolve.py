"""Questions to the name server. Answers are kept as text: dnspython is asked only for what is not known."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.resolver

from gatekeeper.config import Config

LARGEST = 8192
"""Bytes of memory of an answer that is kept: records of strangers can be large."""
LONGEST, LONGEST_NO = 3600.0, 300.0
"""Seconds for which an answer is kept, and one that there is nothing. dnscache gives no term with the latter; dnspython
2.3 (Debian 12) would then keep it for ever."""
SHORTEST = 1.0
"""Seconds for which any answer is kept: what was expected is not asked for again by who needs it."""
_LABEL = 63
_NAME = 253

Texts = tuple[str, ...]
Key = tuple[str, str]
"""A name in lower case, and the kind of its records."""


class TryLater(Exception):
    """The name server gives no answer, or says that it cannot."""


Question = asyncio.Task[Texts | TryLater]
"""One that was put to the name server."""


class Resolver:
    """Asks the configured name server. Who asks for a name that was asked for just before waits for the same answer."""

    def __init__(self, config: Config, room: int = 5000) -> None:
        """room: answers that are kept; the one unused for longest makes room."""
        self._resolver = dns.asyncresolver.Resolver(configure=False)
        self._server = config.name_server
        self._resolver.nameservers = [self._server]
        self._resolver.port = config.name_server_port
        self._resolver.lifetime = config.dns_seconds
        self._resolver.timeout = config.dns_seconds / 2
        self._room = room
        self._kept: OrderedDict[Key, tuple[Texts, float]] = OrderedDict()
        self._asking: dict[Key, tuple[Question, float]] = {}

    async def trouble(self, name: str) -> str:
        """Why the name server gives no answer, whatever is kept; empty if it gives one, and be it that it cannot."""
        try:
            question, seconds = dns.message.make_query(name, "A"), self._resolver.lifetime
            await dns.asyncquery.udp(question, self._server, seconds, self._resolver.port)
        except (dns.exception.DNSException, OSError) as error:
            return str(error) or type(error).__name__
        return ""

    async def records(self, name: str, kind: str) -> Texts:
        """A name's records (A, AAAA, TXT, MX by preference, PTR), none if there are none. Raises TryLater.

        Strings of a TXT record are put together; bytes above 127 are as in Latin-1.
        """
        key = _key(name, kind)
        known = self._known(key)
        return await heard(self._begun(key)) if known is None else known

    def expect(self, name: str, kind: str) -> Question | None:
        """Begin to ask for records that will be needed; None if they are known."""
        key = _key(name, kind)
        return self._begun(key) if self._known(key) is None else None

    def _known(self, key: Key) -> Texts | None:
        found = self._kept.get(key)
        if found is None:
            return None
        if not 0 < found[1] - time.time() <= LONGEST:  # a clock may be put back, too
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return found[0]

    def _begun(self, key: Key) -> Question:
        """A question that was put just now, or else is put: one that has waited for long may never be answered."""
        now = time.monotonic()
        begun = self._asking.get(key)
        if begun is None or now - begun[1] > self._resolver.timeout:
            begun = self._asking[key] = asyncio.create_task(self._ask(key)), now
            begun[0].add_done_callback(lambda done: self._end(key, done))
        return begun[0]

    def _end(self, key: Key, done: Question) -> None:
        if key in self._asking and self._asking[key][0] is done:
            del self._asking[key]

    async def _ask(self, key: Key) -> Texts | TryLater:
        """What the name server says, or why it says nothing: nobody may be there any more to hear of an error."""
        name, kind = key
        found = absolute(name)
        if found is None:
            return ()
        try:
            answer = await self._resolver.resolve(found, kind, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN as error:
            self._keep(key, (), _term(error.kwargs["responses"][found]))
            return ()
        except (dns.exception.DNSException, OSError, UnicodeError) as error:
            return TryLater(f"{kind} of {name}: {error}")
        texts = tuple(map(_READ[kind], sorted(answer.rrset or (), key=_preference)))
        self._keep(key, texts, answer.expiration)
        return texts

    def _keep(self, key: Key, texts: Texts, ends: float) -> None:
        now = time.time()
        ends = max(now + SHORTEST, min(ends, now + (LONGEST if texts else LONGEST_NO)))
        if sum(map(sys.getsizeof, texts)) <= LARGEST:
            self._kept[key] = (texts, ends)
        while len(self._kept) > self._room:
            self._kept.popitem(last=False)


async def heard(question: Question) -> Texts:
    """What the name server says. Who waits no longer takes the answer from nobody else. Raises TryLater."""
    said = await asyncio.shield(question)
    if isinstance(said, TryLater):
        raise TryLater(str(said))
    return said


def _key(name: str, kind: str) -> Key:
    return name.lower().removesuffix("."), kind


def absolute(name: str) -> dns.name.Name | None:
    """A name to ask for; None if there can be none: it has an empty label, or one that is too long.

    No character means anything but the dot: names come from strangers.
    """
    labels = [label.encode("latin-1", "replace") for label in name.removesuffix(".").split(".")]
    if not name or len(name) > _NAME or not all(0 < len(label) <= _LABEL for label in labels):
        return None
    return dns.name.Name([*labels, b""])


def _term(response: dns.message.QueryMessage) -> float:
    """Until when it counts that there is nothing."""
    return time.time() + response.resolve_chaining().minimum_ttl


def _preference(record: Any) -> int:
    return int(getattr(record, "preference", 0))


def _dotted(name: dns.name.Name) -> str:
    return b".".join(label for label in name.labels if label).decode("latin-1")


_READ: dict[str, Callable[[Any], str]] = {
    "A": lambda record: str(record.address),
    "AAAA": lambda record: str(record.address),
    "TXT": lambda record: b"".join(record.strings).decode("latin-1"),
    "MX": lambda record: _dotted(record.exchange),
    "PTR": lambda record: _dotted(record.target),
}
