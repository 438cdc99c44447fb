"""DNS lists of clients (RFC 5782): by return code, over both families, and only those that are in order.

A list is in order when it lists 127.0.0.2, and neither 127.0.0.1 nor ::ffff:127.0.0.1. It is asked for them at the
start and every hour; one that fails, or that answers with an error code or with what is no answer of a list, is left
out until it is in order again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from gatekeeper.addresses import IPAddress
from gatekeeper.config import ERROR_CODES, Config
from gatekeeper.resolve import Resolver, TryLater

log = logging.getLogger("gatekeeper")

TEST = 3600.0
"""Seconds between two tests of a list."""
HURRY = 60.0
"""The same as long as a list has not answered any."""
LISTED, UNLISTED = ipaddress.ip_address("127.0.0.2"), ipaddress.ip_address("127.0.0.1")
UNLISTED_SIX = ipaddress.ip_address("::ffff:127.0.0.1")
_ANSWERS = ipaddress.ip_network("127.0.0.0/8")
KEPT = 300.0
"""Seconds for which a client's verdict is kept."""
SILENT, HASTE = 30.0, 0.5
"""Seconds for which a list counts as silent that gave no answer in time, and for which it is waited for meanwhile."""
ROOM = 20_000
"""Clients whose verdicts are kept."""


class Disordered(Exception):
    """A list that does not answer as one; the text says why."""


def question(address: IPAddress, zone: str) -> str:
    """The name by which a list has an address."""
    if address.version == 4:
        return ".".join(reversed(str(address).split("."))) + f".{zone}"
    return ".".join(reversed(f"{int(address):032x}")) + f".{zone}"


@dataclass(slots=True)
class State:
    """Whether a list is in order, when it is to be tested again, and until when it counts as silent."""

    is_in_order: bool = False
    test_at: float = 0.0
    why: str = ""
    silent_until: float = 0.0


@dataclass(slots=True)
class DnsLists:
    """The lists of a configuration."""

    config: Config
    resolver: Resolver
    clock: Callable[[], float]
    states: dict[str, State] = field(default_factory=dict)
    kept: OrderedDict[IPAddress, tuple[str, float]] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        """What is known of lists from before stays."""
        self.states = {zone: self.states.get(zone, State()) for zone in self.config.dns_lists}

    def known(self, client: IPAddress | None) -> str | None:
        """What `refusing` would say; None if the lists must be asked."""
        if client is None or not self.config.dns_lists or client.is_loopback or client.is_link_local:
            return ""
        found = self.kept.get(client)
        return found[0] if found and 0 <= self.clock() - found[1] < KEPT else None

    async def refusing(self, client: IPAddress | None) -> str:
        """The lists because of which a client is refused, by name; empty if it may come in."""
        known = self.known(client)
        if known is not None or client is None:
            return known or ""
        verdict, is_whole = await self._judge(client)
        if is_whole:
            self._keep(client, verdict)
        return verdict

    def _keep(self, client: IPAddress, verdict: str) -> None:
        self.kept[client] = (verdict, self.clock())
        while len(self.kept) > ROOM:
            self.kept.popitem(last=False)

    async def _judge(self, client: IPAddress) -> tuple[str, bool]:
        """The verdict, and whether all lists had a say."""
        zones = [zone for zone, state in self.states.items() if state.is_in_order]
        told = await asyncio.gather(*(self._weight(zone, client) for zone in zones))
        hits = [zone for zone, weight in zip(zones, told, strict=True) if weight]
        is_refused = sum(weight or 0 for weight in told) >= self.config.dns_threshold
        return ", ".join(hits) if is_refused and hits else "", None not in told and len(zones) == len(self.states)

    async def _weight(self, zone: str, client: IPAddress) -> int | None:
        """How much a list says against a client; None if it does not answer."""
        entry, patience, began = self.config.dns_lists[zone], self._patience(zone), time.monotonic()
        try:
            async with asyncio.timeout(patience):
                codes = await self._codes(zone, client)
        except (TryLater, TimeoutError):
            if HASTE < patience < 2 * (time.monotonic() - began):  # one that fails at once holds nobody up
                self.states[zone].silent_until = self.clock() + SILENT
            return None
        except Disordered as error:
            self._leave_out(zone, str(error))
            return None
        return entry.weight if any(code in network for code in codes for network in entry.codes) else 0

    def _patience(self, zone: str) -> float:
        """How long a list may take: each recipient of each message would wait for a dead one."""
        is_silent = 0 < self.states[zone].silent_until - self.clock() <= SILENT
        return min(HASTE, self.config.dns_seconds) if is_silent else self.config.dns_seconds

    async def _codes(self, zone: str, address: IPAddress) -> list[ipaddress.IPv4Address]:
        """A list's answers; raise Disordered, TryLater."""
        codes = [ipaddress.IPv4Address(text) for text in await self.resolver.records(question(address, zone), "A")]
        for code in codes:
            if code in ERROR_CODES:
                raise Disordered(f"it answers with the error code {code}: it does not want to be asked from here")
            if code not in _ANSWERS:
                raise Disordered(f"it answers with {code}, which is no answer of a list")
        return codes

    def _leave_out(self, zone: str, why: str) -> None:
        state = self.states[zone]
        if state.why != why:
            log.error("ALERT the DNS list %s is left out: %s", zone, why)
        self.states[zone] = State(False, self.clock() + TEST, why)

    async def test(self) -> None:
        """Test the lists whose time has come."""
        now = self.clock()
        due = [zone for zone, state in self.states.items() if state.test_at <= now or state.test_at > now + TEST]
        await asyncio.gather(*(self._test(zone) for zone in due))

    async def _test(self, zone: str) -> None:
        try:
            async with asyncio.timeout(self.config.dns_seconds * 2):
                if not await self._codes(zone, LISTED):
                    raise Disordered(f"it does not list {LISTED}, as every list does")
                if await self._codes(zone, UNLISTED):
                    raise Disordered(f"it lists {UNLISTED}, and so everybody")
                with contextlib.suppress(TryLater):  # one that knows no IPv6 may say so
                    if await self._codes(zone, UNLISTED_SIX):
                        raise Disordered("it lists everybody by IPv6")
        except (TryLater, TimeoutError) as error:
            self._not_tested(zone, str(error) or "no answer in time")
        except Disordered as error:
            self._leave_out(zone, str(error))
        else:
            if not self.states[zone].is_in_order:
                log.info("the DNS list %s is in order", zone)
            self.states[zone] = State(True, self.clock() + TEST)

    def status(self) -> list[dict[str, object]]:
        """What is to be known of each list. trouble: why it has no say; empty if it has."""
        return [
            {"zone": zone, "trouble": "" if state.is_in_order else state.why or "it has not been tested yet"}
            for zone, state in self.states.items()
        ]

    def _not_tested(self, zone: str, why: str) -> None:
        """No answer says nothing of the list; it stays as it is, and is tested again soon."""
        state = self.states[zone]
        if not state.is_in_order and state.why != why:
            log.warning("the DNS list %s has not been tested yet and is left out: %s", zone, why)
            state.why = why
        state.test_at = self.clock() + HURRY
