"""Questions to the name server: addresses, MX and TLSA records, and whether DNSSEC vouches for them.

Only a validating name server's AD flag says that an answer is secure; where it does not validate, none is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.name
import dns.rdatatype
import dns.resolver

from gatepost.config import Config
from gatepost.dane import Tlsa

SECONDS = 30.0
"""Patience with one question."""
PAYLOAD = 1232
"""Bytes of an answer over UDP."""
LONGEST_NO = 300.0
"""Seconds for which an answer that there is nothing is kept."""


class TryLater(Exception):
    """The name server gives no answer, or says that it cannot (a dead or lame server, or DNSSEC that is bogus)."""


class NoSuchName(Exception):
    """The name does not exist."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Records of an answer, maybe none, and whether DNSSEC vouches for them. name: behind all CNAMEs."""

    records: tuple[Any, ...]
    is_secure: bool
    name: str


class Memory(dns.resolver.LRUCache):
    """Answers that are kept for as long as they say.

    dnscache gives no term with its answer that there is nothing; dnspython 2.3 (Debian 12) then keeps it for ever.
    """

    def put(self, key: Any, value: dns.resolver.Answer) -> None:
        """Keep an answer."""
        if not value.rrset:
            value.expiration = min(value.expiration, time.time() + LONGEST_NO)
        super().put(key, value)


class Resolver:
    """Asks the configured name server."""

    def __init__(self, config: Config) -> None:
        self._is_validating = config.is_validating
        self._resolver = dns.asyncresolver.Resolver(configure=False)
        self._resolver.nameservers = [config.name_server]
        self._resolver.port = config.name_server_port
        self._resolver.lifetime = SECONDS
        self._resolver.timeout = SECONDS / 3
        self._resolver.cache = Memory(2000)
        if config.is_validating:
            self._resolver.use_edns(0, dns.flags.DO, PAYLOAD)
            self._resolver.flags = dns.flags.RD | dns.flags.AD

    async def ask(self, name: str, kind: str) -> Answer:
        """The records of a kind; raises NoSuchName, TryLater."""
        try:
            wanted = dns.name.from_text(name.rstrip(".") + ".")
            answer = await self._resolver.resolve(wanted, kind, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            raise NoSuchName(name) from None
        except (UnicodeError, dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel, dns.name.BadEscape):
            raise NoSuchName(name) from None
        except (dns.exception.DNSException, OSError) as error:
            raise TryLater(f"{kind} of {name}: {error}") from error
        records = tuple(answer.rrset) if answer.rrset is not None else ()
        is_secure = self._is_validating and bool(answer.response.flags & dns.flags.AD)
        return Answer(records, is_secure, answer.canonical_name.to_text(omit_final_dot=True))

    async def addresses(self, name: str, family: str) -> Answer:
        """A name's addresses of a family (ipv4, ipv6) as text."""
        answer = await self.ask(name, "A" if family == "ipv4" else "AAAA")
        return Answer(tuple(record.address for record in answer.records), answer.is_secure, answer.name)

    async def exchangers(self, domain: str) -> Answer:
        """A domain's MX records as (preference, host without its last dot)."""
        answer = await self.ask(domain, "MX")
        found = tuple((r.preference, r.exchange.to_text().removesuffix(".")) for r in answer.records)
        return Answer(found, answer.is_secure, answer.name)

    async def tlsa(self, name: str, port: int) -> Answer:
        """The TLSA records of a server's port; none if the name does not exist."""
        try:
            answer = await self.ask(f"_{port}._tcp.{name}", "TLSA")
        except NoSuchName:
            return Answer((), False, name)
        records = tuple(Tlsa(r.usage, r.selector, r.mtype, bytes(r.cert)) for r in answer.records)
        return Answer(records, answer.is_secure, answer.name)
