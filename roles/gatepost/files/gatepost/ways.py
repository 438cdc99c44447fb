"""Where a delivery can go: the route of the domain, else the servers that DNS names, each with what its TLS must be."""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections.abc import Collection, Iterable
from dataclasses import replace

from gatepost import dane, results, sts
from gatepost.config import Config
from gatepost.control import Control, keys_of
from gatepost.model import Address, Failed, Level, Policy, Route, Security, Server
from gatepost.resolve import NoSuchName, Resolver, TryLater
from gatepost.results import Outcome
from gatepost.tally import Tally

MOST_SERVERS = 16
"""Servers of a domain that are looked up."""
MOST_ADDRESSES = 16
"""Addresses of one server that are tried."""


LOOP = (
    "Sorry. Although I'm listed as a best-preference MX or A for that host,\n"
    "it isn't in my control/locals file, so I don't treat it as local. (#5.4.6)\n"
)


class Ways:
    """Finds the servers for a domain."""

    def __init__(
        self, config: Config, control: Control, resolver: Resolver, own_addresses: Collection[str], tally: Tally
    ) -> None:
        """own_addresses: of this host; mail that leads back to them would go round for ever."""
        self.config = config
        self.control = control
        self.resolver = resolver
        self.own_addresses = frozenset(own_addresses)
        self.tally = tally

    async def find(self, domain: str, *, heeds_policies: bool = True) -> list[Server]:
        """The servers in the order in which they are tried; raises Failed and ControlError.

        heeds_policies: whether DANE and MTA-STS count; without them nothing is told to the domain either.
        """
        route = self.control.route(domain)
        if route is not None:
            return [await self._by_route(route)]
        address = literal(domain)
        if address is not None:
            security = Security(self._level_of(domain), "this domain", (address.text,))
            server = Server(address.text, (address,), self.config.port, security)
            if self._is_own(server):
                raise Failed("D", LOOP)
            return [server]
        try:
            return await self._by_dns(domain, heeds_policies)
        except NoSuchName as error:
            raise no_such_host(str(error)) from None
        except TryLater:
            raise Failed("Z", "CNAME lookup failed temporarily. (#4.4.3)\n") from None

    # Routes

    async def _by_route(self, route: Route) -> Server:
        authorities = ""
        if route.level is Level.VERIFIED:
            authorities = self.control.line("tlsca") or self.config.authorities
        address = literal(route.host)
        name = address.text if address else route.host
        security = Security(route.level, "this route", (name,), authorities=authorities)
        if address is not None:
            return Server(name, (address,), route.port, security)
        try:
            addresses, _ = await self._addresses(name)
        except NoSuchName:
            raise no_such_host(name) from None
        except TryLater:
            raise Failed("Z", "Sorry, I couldn't find any host by that name. (#4.1.2)\n") from None
        if not addresses:
            raise Failed("D", "Sorry, I couldn't find a mail exchanger or IP address. (#5.4.4)\n")
        return Server(name, addresses, route.port, security)

    # DNS

    async def _by_dns(self, domain: str, heeds_policies: bool) -> list[Server]:
        answer = await self.resolver.exchangers(domain)
        exchangers: list[tuple[int, str]] = list(answer.records)
        if any(host == "" for _, host in exchangers):
            if len(exchangers) == 1:
                raise Failed("D", "Sorry, this domain says that it takes no mail (null MX). (#5.1.10)\n")
            exchangers = [(preference, host) for preference, host in exchangers if host]
        policy = await self._sts(domain) if heeds_policies else None
        implied = [(0, domain)] if not exchangers else []
        random.shuffle(exchangers)
        ordered = sorted(exchangers or implied, key=lambda item: item[0])[:MOST_SERVERS]
        found = await asyncio.gather(
            *(self._exchanger(domain, host, answer.is_secure, policy, heeds_policies) for _, host in ordered),
            return_exceptions=True,
        )
        return self._usable([preference for preference, _ in ordered], found)

    def _usable(self, preferences: list[int], found: Iterable[Server | BaseException | None]) -> list[Server]:
        """The servers that can be tried; raises what hinders when there is none."""
        servers: list[tuple[int, Server]] = []
        hindrances: list[BaseException] = []
        results = list(found)
        for preference, item in zip(preferences, results, strict=True):
            if isinstance(item, Server):
                servers.append((preference, item))
            elif isinstance(item, BaseException):
                hindrances.append(item)
        own = [preference for preference, server in servers if self._is_own(server)]
        if own:
            servers = [(preference, server) for preference, server in servers if preference < min(own)]
            if not servers:
                for preference, item in zip(preferences, results, strict=True):
                    if preference < min(own) and isinstance(item, TryLater | Failed):
                        raise item
                raise Failed("D", LOOP)
        if servers:
            return [server for _, server in servers]
        for kind in (Failed, TryLater, NoSuchName):
            for hindrance in hindrances:
                if isinstance(hindrance, kind):
                    raise hindrance
        for hindrance in hindrances:
            raise hindrance
        raise Failed("D", "Sorry, I couldn't find a mail exchanger or IP address. (#5.4.4)\n")

    def _is_own(self, server: Server) -> bool:
        return any(
            address.text in self.own_addresses
            or (not self.config.takes_loopback and ipaddress.ip_address(address.text).is_loopback)
            for address in server.addresses
        )

    async def _exchanger(
        self, domain: str, host: str, is_secure: bool, policy: sts.Policy | None, heeds_policies: bool
    ) -> Server | None:
        """One server of a domain, None if it has no address. An MX that is an address itself is taken at its word."""
        address = literal(host)
        addresses, is_address_secure = ((address,), False) if address else await self._addresses(host)
        if not addresses:
            return None
        usual = self._usual(domain, host)
        if not heeds_policies or usual.level is Level.NEVER:
            return Server(host, addresses, self.config.port, usual)
        security, told = await self._security(domain, usual, is_secure and is_address_secure, policy)
        return Server(host, addresses, self.config.port, security, told)

    def _usual(self, domain: str, host: str) -> Security:
        """What TLS to a server of a domain must be by the site's own word; else it is optional."""
        level = self._level_of(domain)
        if level is Level.VERIFIED:
            return Security(level, "this domain", (host,), authorities=self.config.authorities)
        return Security(level, "this domain", (host, domain))

    async def _security(
        self, domain: str, usual: Security, is_secure: bool, policy: sts.Policy | None
    ) -> tuple[Security, Policy]:
        """What TLS to a server of a domain must be, and by which policy: DANE, else MTA-STS, else the usual."""
        host = usual.names[0]
        if is_secure:
            records = await self._tlsa(domain, host)
            if records:
                return self._by_dane(domain, usual, records)
        if policy is None:
            return usual, Policy()
        told = Policy("sts", policy.lines, policy.hosts)
        if not policy.allows(host):
            why = f"{printable(host)} is no server that the domain's MTA-STS policy names"
            self.tally.add(domain, told, Outcome(results.FAILED, why), host)
            raise Failed("Z", f"{why}. (#4.7.5)\n")
        return Security(Level.VERIFIED, "MTA-STS", (host,), authorities=self.config.authorities), told

    async def _tlsa(self, domain: str, host: str) -> tuple[dane.Tlsa, ...]:
        """The TLSA records of a server that DNSSEC vouches for; raises TryLater when it cannot tell."""
        try:
            answer = await self.resolver.tlsa(host, self.config.port)
        except TryLater as error:
            outcome = Outcome(results.DNSSEC_INVALID, str(error))
            self.tally.add(domain, Policy("tlsa", hosts=(host,)), outcome, host)
            raise
        return answer.records if answer.is_secure else ()

    def _by_dane(self, domain: str, usual: Security, records: tuple[dane.Tlsa, ...]) -> tuple[Security, Policy]:
        host = usual.names[0]
        told = Policy("tlsa", tuple(map(str, records)), (host,))
        tlsa = dane.usable(records)
        if tlsa:
            return Security(Level.VERIFIED, "DANE", (host, domain), tlsa), told
        self.tally.add(domain, told, Outcome(results.TLSA_INVALID, "no TLSA record is one that SMTP can use"), host)
        # records that cannot be used still promise TLS (RFC 7672, 2.2)
        if usual.level is Level.OPTIONAL:
            return replace(usual, level=Level.REQUIRED, whose="DANE"), told
        return usual, told

    async def _sts(self, domain: str) -> sts.Policy | None:
        if not self.config.sts_socket or self._level_of(domain) is Level.NEVER:
            return None
        try:
            return await sts.policy_of(self.config.sts_socket, domain)
        except sts.PolicyUnavailable as error:
            if error.is_domains:
                self.tally.add(domain, Policy("sts"), Outcome(results.STS_FETCH_ERROR, str(error)))
            raise Failed("Z", f"{error}. (#4.7.5)\n") from None

    def _level_of(self, domain: str) -> Level:
        for key in keys_of(domain):
            if key in self.config.domains:
                return Level.of(self.config.domains[key])
        return Level.OPTIONAL

    async def _addresses(self, name: str) -> tuple[tuple[Address, ...], bool]:
        """A server's addresses, both families in turn, and whether DNSSEC vouches for all of them."""
        families = ["ipv4", "ipv6"] if self.config.is_ipv6_used else ["ipv4"]
        answers = await asyncio.gather(
            *(self.resolver.addresses(name, family) for family in families), return_exceptions=True
        )
        found: dict[str, list[Address]] = {}
        problems = [answer for answer in answers if isinstance(answer, BaseException)]
        for family, answer in zip(families, answers, strict=True):
            if not isinstance(answer, BaseException):
                found[family] = [plain(text) for text in answer.records]
                random.shuffle(found[family])
        late = next((problem for problem in problems if isinstance(problem, TryLater)), None)
        # with DNSSEC an answer that does not come may be one that somebody keeps away
        if late and (self.config.is_validating or not any(found.values())):
            raise late
        if problems and not any(found.values()):
            raise problems[0]
        is_secure = all(not isinstance(answer, BaseException) and answer.is_secure for answer in answers)
        return tuple(interleave(found, self.config.prefer))[:MOST_ADDRESSES], is_secure


def interleave(found: dict[str, list[Address]], prefer: str) -> list[Address]:
    """Addresses of both families in turn, the preferred one first."""
    first = found.get(prefer, [])
    second = [address for family, addresses in found.items() if family != prefer for address in addresses]
    paired = [address for pair in zip(first, second, strict=False) for address in pair]
    shorter = min(len(first), len(second))
    return paired + first[shorter:] + second[shorter:]


def literal(host: str) -> Address | None:
    """An address, in brackets or not, that is meant as it stands."""
    text = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if text.lower().startswith("ipv6:"):
        text = text[5:]
    try:
        return plain(text)
    except ValueError:
        return None


def plain(text: str) -> Address:
    """An address in its one form: an IPv4 address that is mapped into IPv6 is itself. Raises ValueError."""
    address = ipaddress.ip_address(text)
    address = getattr(address, "ipv4_mapped", None) or address
    return Address(str(address), f"ipv{address.version}")


def printable(name: str) -> str:
    """A name for a message, without what is no visible ASCII."""
    return "".join(c if "!" <= c <= "~" else "?" for c in name)


def no_such_host(name: str) -> Failed:
    """How qmail-remote reports a name that does not exist."""
    return Failed("D", f"Sorry, I couldn't find any host named {printable(name)}. (#5.1.2)\n")
