"""Questions to the name server."""

from __future__ import annotations

import time
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver

from gatekeeper.config import Config

LARGEST = 4096
"""Bytes of an answer that is kept: records of strangers can be large."""
LONGEST, LONGEST_NO = 3600.0, 300.0
"""Seconds for which an answer is kept, and one that there is nothing."""


class TryLater(Exception):
    """The name server gives no answer, or says that it cannot."""


class Memory(dns.resolver.LRUCache):
    """Answers that are kept for as long as they say, within bounds.

    dnscache gives no term with its answer that there is nothing; dnspython 2.3 (Debian 12) then keeps it for ever.
    """

    def put(self, key: Any, value: dns.resolver.Answer) -> None:
        """Keep an answer."""
        longest = LONGEST if value.rrset else LONGEST_NO
        value.expiration = min(value.expiration, time.time() + longest)
        if len(value.response.to_wire()) <= LARGEST:
            super().put(key, value)


class Resolver:
    """Asks the configured name server for addresses."""

    def __init__(self, config: Config, room: int = 5000) -> None:
        """room: answers that are kept."""
        self._resolver = dns.asyncresolver.Resolver(configure=False)
        self._resolver.nameservers = [config.name_server]
        self._resolver.port = config.name_server_port
        self._resolver.lifetime = config.dns_seconds
        self._resolver.timeout = config.dns_seconds / 2
        self._resolver.cache = Memory(room) if room else None

    async def addresses(self, name: str, kind: str = "A") -> list[str]:
        """A name's addresses, none if there are none; kind: A or AAAA. Raises TryLater."""
        try:
            found = dns.name.from_text(name.rstrip(".") + ".")
        except (dns.exception.DNSException, UnicodeError) as error:
            raise TryLater(f"{kind} of {name}: {error}") from error
        return [record.address for record in await self.records(found, kind)]

    async def records(self, name: dns.name.Name, kind: str) -> list[Any]:
        """A name's records of a kind, none if there are none. Raises TryLater."""
        try:
            answer = await self._resolver.resolve(name, kind, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return []
        except (dns.exception.DNSException, OSError, UnicodeError) as error:
            raise TryLater(f"{kind} of {name}: {error}") from error
        return list(answer.rrset or ())
