"""What SPF, DKIM and DMARC ask the name server for, over gatekeeper's own resolver."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Protocol

from gatekeeper.resolve import Question, Resolver, heard


class Names(Protocol):
    """The domain name system. No record is an empty sequence; what cannot be known now raises TryLater."""

    def for_message(self) -> Names:
        """The same for one message: what it expects is asked for it once, even if nobody answers."""

    def expect(self, name: str) -> None:
        """Begin to ask for TXT records that will be needed, so that nobody waits for one name after the other."""

    async def texts(self, name: str) -> Sequence[str]:
        """A name's TXT records, each with its strings put together; bytes above 127 are as in Latin-1."""

    async def addresses(self, name: str, kind: str) -> Sequence[str]:
        """A name's addresses; kind: A or AAAA."""

    async def exchanges(self, name: str) -> Sequence[str]:
        """A domain's mail servers."""

    async def pointers(self, address: str) -> Sequence[str]:
        """The names that an address says it has."""


class AskedNames:
    """Names of the name server."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._expected: dict[str, Question] = {}

    def for_message(self) -> AskedNames:
        """See Names."""
        return AskedNames(self._resolver)

    def expect(self, name: str) -> None:
        """See Names."""
        question = self._resolver.expect(name, "TXT") if name not in self._expected else None
        if question:
            self._expected[name] = question

    async def texts(self, name: str) -> Sequence[str]:
        """See Names."""
        question = self._expected.get(name)
        return await (heard(question) if question else self._resolver.records(name, "TXT"))

    async def addresses(self, name: str, kind: str) -> Sequence[str]:
        """See Names."""
        return await self._resolver.records(name, kind)

    async def exchanges(self, name: str) -> Sequence[str]:
        """See Names."""
        return await self._resolver.records(name, "MX")

    async def pointers(self, address: str) -> Sequence[str]:
        """See Names."""
        return await self._resolver.records(ipaddress.ip_address(address).reverse_pointer, "PTR")
