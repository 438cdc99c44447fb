"""Where a delivery can go: the route of the domain, else the servers that DNS names, each with what its TLS must be."""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections.abc import Collection, Iterable
from dataclasses import replace

from gatepost import dane, sts
from gatepost.config import Config
from gatepost.control import Control, keys_of
from gatepost.model import Address, Failed, Level, Route, Security, Server
from gatepost.resolve import NoSuchName, Resolver, TryLater

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

    def __init__(self, config: Config, control: Control, resolver: Resolver, own_addresses: Collection[str]) -> None:
        """own_addresses: of this host; mail that leads back to them would go round for ever."""
        self.config = config
        self.control = control
        self.resolver = resolver
        self.own_addresses = frozenset(own_addresses)

    async def find(self, domain: str) -> list[Server]:
        """The servers in the order in which they are tried; raises Failed and ControlError."""
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
            return await self._by_dns(domain)
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

    async def _by_dns(self, domain: str) -> list[Server]:
        answer = await self.resolver.exchangers(domain)
        exchangers: list[tuple[int, str]] = list(answer.records)
        if any(host == "" for _, host in exchangers):
            if len(exchangers) == 1:
                raise Failed("D", "Sorry, this domain says that it takes no mail (null MX). (#5.1.10)\n")
            exchangers = [(preference, host) for preference, host in exchangers if host]
        policy = await self._sts(domain)
        implied = [(0, domain)] if not exchangers else []
        random.shuffle(exchangers)
        ordered = sorted(exchangers or implied, key=lambda item: item[0])[:MOST_SERVERS]
        found = await asyncio.gather(
            *(self._exchanger(domain, host, answer.is_secure, policy) for _, host in ordered), return_exceptions=True
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

    async def _exchanger(self, domain: str, host: str, is_secure: bool, policy: sts.Policy | None) -> Server | None:
        """One server of a domain, None if it has no address. An MX that is an address itself is taken at its word."""
        address = literal(host)
        addresses, is_address_secure = ((address,), False) if address else await self._addresses(host)
        if not addresses:
            return None
        security = await self._security(domain, host, is_secure and is_address_secure, policy)
        return Server(host, addresses, self.config.port, security)

    async def _security(self, domain: str, host: str, is_secure: bool, policy: sts.Policy | None) -> Security:
        """What TLS to a server of a domain must be: the site's word, else DANE, else MTA-STS, else optional."""
        level = self._level_of(domain)
        usual = Security(level, "this domain", (host, domain))
        if level is Level.VERIFIED:
            usual = replace(usual, names=(host,), authorities=self.config.authorities)
        if level is Level.NEVER:
            return usual
        if is_secure:
            records = await self.resolver.tlsa(host, self.config.port)
            if records.is_secure and records.records:
                tlsa = dane.usable(records.records)
                if tlsa:
                    return Security(Level.VERIFIED, "DANE", (host, domain), tlsa)
                # records that cannot be used still promise TLS (RFC 7672, 2.2)
                return replace(usual, level=Level.REQUIRED, whose="DANE") if level is Level.OPTIONAL else usual
        if policy is not None:
            if not policy.allows(host):
                text = f"{printable(host)} is no server that the domain's MTA-STS policy names. (#4.7.5)\n"
                raise Failed("Z", text)
            return Security(Level.VERIFIED, "MTA-STS", (host,), authorities=self.config.authorities)
        return usual

    async def _sts(self, domain: str) -> sts.Policy | None:
        if not self.config.sts_socket or self._level_of(domain) is Level.NEVER:
            return None
        try:
            return await sts.policy_of(self.config.sts_socket, domain)
        except sts.PolicyUnavailable as error:
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
