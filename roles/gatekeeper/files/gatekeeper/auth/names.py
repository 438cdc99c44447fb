"""What SPF, DKIM and DMARC ask the name server for, over gatekeeper's own resolver."""

from __future__ import annotations

from typing import Protocol

import dns.name
import dns.reversename

from gatekeeper.resolve import Resolver

_LABEL = 63
_NAME = 253


class Names(Protocol):
    """The domain name system. No record is an empty list; what cannot be known now raises TryLater."""

    async def texts(self, name: str) -> list[str]:
        """A name's TXT records, each with its strings put together; bytes above 127 are as in Latin-1."""

    async def addresses(self, name: str, kind: str) -> list[str]:
        """A name's addresses; kind: A or AAAA."""

    async def exchanges(self, name: str) -> list[str]:
        """A domain's mail servers."""

    async def pointers(self, address: str) -> list[str]:
        """The names that an address says it has."""


def absolute(name: str) -> dns.name.Name | None:
    """A name to ask for; None if there can be none: it has an empty label, or one that is too long.

    No character means anything but the dot: names come from strangers.
    """
    labels = [label.encode("latin-1", "replace") for label in name.removesuffix(".").split(".")]
    if not name or len(name) > _NAME or not all(0 < len(label) <= _LABEL for label in labels):
        return None
    return dns.name.Name([*labels, b""])


class AskedNames:
    """Names of the name server."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def texts(self, name: str) -> list[str]:
        """See Names."""
        found = absolute(name)
        records = await self._resolver.records(found, "TXT") if found else []
        return [b"".join(record.strings).decode("latin-1") for record in records]

    async def addresses(self, name: str, kind: str) -> list[str]:
        """See Names."""
        found = absolute(name)
        return [record.address for record in await self._resolver.records(found, kind)] if found else []

    async def exchanges(self, name: str) -> list[str]:
        """See Names."""
        found = absolute(name)
        records = await self._resolver.records(found, "MX") if found else []
        return [_text(record.exchange) for record in sorted(records, key=lambda record: int(record.preference))]

    async def pointers(self, address: str) -> list[str]:
        """See Names."""
        return [_text(record.target) for record in await self._resolver.records(_reverse(address), "PTR")]


def _reverse(address: str) -> dns.name.Name:
    return dns.reversename.from_address(address)


def _text(name: dns.name.Name) -> str:
    return b".".join(label for label in name.labels if label).decode("latin-1")
