"""One delivery, from qmail's order to its report."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Collection

from gatepost import message, report, signing
from gatepost.config import Config
from gatepost.control import Control, ControlError
from gatepost.dial import dial
from gatepost.hosts import Kept, Places, Wishes
from gatepost.model import Account, Address, Failed, Order, Server
from gatepost.resolve import Resolver
from gatepost.session import PlainTextNeeded, Session
from gatepost.stalls import Stalls
from gatepost.tally import Tally, is_report
from gatepost.tcpto import Timeouts
from gatepost.ways import Ways
from gatepost.wire import Gone, Wire

CONNECT_SECONDS, REMOTE_SECONDS = 60, 1200
"""qmail-remote's own patience: control/timeoutconnect, control/timeoutremote."""
NO_CONNECTION = "Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)\n"
_WAIT = re.compile(r"^Remote host said: (421[ -]|4\d\d[ -]4\.7\.)", re.MULTILINE)
_HANGS_UP = re.compile(r"^Remote host said: 421[ -]", re.MULTILINE)
"""What is said of one sender, recipient or message (greylisting, say) is no wish of the server's; 421 is."""


class Deliverer:
    """Delivers; keeps what is worth keeping between deliveries."""

    def __init__(self, config: Config, own_addresses: Collection[str] = ()) -> None:
        self.config = config
        self.control = Control(config.home)
        self.timeouts = Timeouts(config.home, config.timeouts_descriptor)
        self.places = Places(config)
        self.stalls = Stalls(config)
        self.wishes = Wishes(config.back_off)
        self.kept = Kept(config)
        self.tally = Tally(config.tls_counts)
        self.ways = Ways(config, self.control, Resolver(config), own_addresses, self.tally)

    async def deliver(self, order: Order, account: Account) -> bytes:
        """Deliver, and report as qmail-remote does; whatever goes wrong, the report says what."""
        account.host = order.host.rstrip(".")  # with or without the root's dot it is the same domain
        started = time.monotonic()
        try:
            async with asyncio.timeout(self.config.deadline):
                return await self._deliver(order, account)
        except Failed as failed:
            return report.part(failed.letter, failed.text)
        except ControlError:
            return report.part("Z", "A control file cannot be read. (#4.3.0)\n")
        except TimeoutError:
            seconds = f"{self.config.deadline:g}"
            return report.part("Z", f"The delivery took longer than {seconds} seconds. {account.duplicate}(#4.4.2)\n")
        finally:
            account.times = {name: round(at - started, 3) for name, at in account.times.items()}
            account.times["end"] = round(time.monotonic() - started, 3)

    async def _deliver(self, order: Order, account: Account) -> bytes:
        addresses = (order.sender, *order.recipients)
        if any(map(message.has_broken_line, addresses)):
            raise Failed("D", "An address with a line's end in it is none. (#5.1.3)\n")
        if any(map(message.has_broken_domain, addresses)):
            raise Failed("D", "An address with blanks, quotes or brackets in its domain is none. (#5.1.3)\n")
        for name in ("timeoutremote", "timeoutconnect", "tlsca"):
            self.control.line(name)  # unreadable is known before anybody is called
        self.control.helo()
        heeds_policies = not is_report(order.message, self.config.reporter)
        if self.control.route(account.host) is not None:  # a server of the site's own
            return await self._by_domain(order, account, heeds_policies)
        async with self.stalls.watched(account):
            return await self._by_domain(order, account, heeds_policies)

    async def _by_domain(self, order: Order, account: Account, heeds_policies: bool) -> bytes:
        async with self.places.at_domain(account.host):
            servers = await self.ways.find(account.host, heeds_policies=heeds_policies)
            account.times["found"] = time.monotonic()
            signatures = await self._sign(order, account)
            return await self._by_one_of(servers, order, signatures, account)

    async def _by_one_of(self, servers: list[Server], order: Order, signatures: bytes, account: Account) -> bytes:
        """Deliver by the first server that talks."""
        last: Failed | None = None
        for server in servers:
            try:
                async with self.places.place(name_of(server)):
                    return await self._by(server, order, signatures, account)
            except Failed as failed:
                if failed.is_final:
                    raise
                last = failed
        raise last or Failed("Z", NO_CONNECTION)

    async def _sign(self, order: Order, account: Account) -> bytes:
        """The signature fields that go in front of the message."""
        if not self.config.signer:
            return b""
        try:
            made, account.signed = await signing.fields_for(order.message, self.config.signer)
        except signing.NotSigned as error:
            raise Failed("Z", f"The message is not signed: {error}. (#4.7.0)\n") from None
        except OSError:
            raise Failed("Z", "The message cannot be read. (#4.3.0)\n") from None
        return made

    async def _by(self, server: Server, order: Order, signatures: bytes, account: Account) -> bytes:
        """Deliver by one server; raises Failed, which is not final if the next one may be tried."""
        session = self.kept.take(server, self._names(server))
        if session:
            try:
                return await self._send(server, session, order, signatures, account)
            except Gone:
                session.wire.hang_up()
        last = Failed("Z", NO_CONNECTION, is_final=False)
        waiting = [address for address in server.addresses if not self.timeouts.is_away(address.text)]
        for address in list(waiting):
            if wish := self.wishes.of(address.text):
                waiting.remove(address)
                last = Failed("Z", wish, is_final=False)
        while waiting:
            try:
                session = await self._open(server, waiting, account)
            except Failed as failed:
                last = failed
                self._heed(failed.text, account.address)
                if failed.is_final:
                    raise
                continue
            if session is None:
                break
            try:
                return await self._send(server, session, order, signatures, account)
            except Gone:
                raise session.dropped() from None
        raise last

    def _names(self, server: Server) -> dict[str, bytes]:
        """This host's name in EHLO by family."""
        usual = self.control.helo()
        families = {address.family for address in server.addresses}
        return {family: message.raw(self.config.helo.get(family, usual)) for family in families}

    async def _open(self, server: Server, waiting: list[Address], account: Account) -> Session | None:
        """A session with the first address that answers; who was tried is no longer waiting. None if nobody answers."""
        account.wire = None
        wire = await self._dial(server, waiting, waiting.remove)
        if wire is None:
            return None
        waiting.remove(wire.address)
        address = wire.address
        account.times["connected"] = time.monotonic()
        helo = self._names(server)[address.family]
        session = Session(wire, helo, server.security)
        _note(account, server, session)
        try:
            try:
                await self._open_by_tls(account.host, server, session)
            except PlainTextNeeded:
                account.wire = None
                wire = await self._dial(server, [address], lambda _: None)
                if wire is None:
                    raise Failed("Z", NO_CONNECTION, is_final=False) from None
                session = Session(wire, helo, server.security)
                _note(account, server, session)
                await self._open_session(server, session, plain=True)
        except BaseException:
            session.wire.leave()
            raise
        account.times["ready"] = time.monotonic()
        return session

    async def _open_by_tls(self, domain: str, server: Server, session: Session) -> None:
        """Open a session, and count how that went."""
        try:
            await self._open_session(server, session, plain=False)
        finally:
            self.tally.session(domain, server, session)

    async def _open_session(self, server: Server, session: Session, plain: bool) -> None:
        async with self.places.listening(name_of(server), session):
            await session.open(plain=plain)

    async def _dial(self, server: Server, addresses: list[Address], drop: object) -> Wire | None:
        def failed(address: Address, timed_out: bool) -> None:
            self.timeouts.note(address.text, timed_out)
            if callable(drop):
                drop(address)

        wire = await dial(
            list(addresses),
            server.port,
            connect_seconds=self.control.number("timeoutconnect", CONNECT_SECONDS),
            head_start=self.config.head_start,
            seconds=self.control.number("timeoutremote", REMOTE_SECONDS),
            on_failure=failed,
        )
        if wire is not None:
            self.timeouts.note(wire.address.text, False)
        return wire

    async def _send(self, server: Server, session: Session, order: Order, signatures: bytes, account: Account) -> bytes:
        """Send over a session, and keep it or leave it."""
        wire = session.wire
        _note(account, server, session)
        is_taken = False
        try:
            size = os.fstat(order.message).st_size
            has_8bit = session.hello.offers("8BITMIME") and not all(b.isascii() for b in message.blocks(order.message))
            async with self.places.listening(name_of(server), session):
                told = await session.send(order, signatures, size, has_8bit, account)
            wire.messages += 1
            is_taken = told.rpartition(b"\0")[0].rpartition(b"\0")[2].startswith(b"K")
            if is_taken or not wire.is_over:
                self.places.finished(name_of(server))
        except asyncio.CancelledError:
            wire.hang_up()
            raise
        except OSError:
            raise Failed("Z", "The message cannot be read. (#4.3.0)\n") from None
        finally:
            if not is_taken or not self.kept.keep(server, session):
                wire.leave()
        if is_taken:
            self.wishes.forget(wire.address.text)
        else:
            self._heed(told.decode("latin-1"), wire.address.text, _HANGS_UP)
        return told

    def _heed(self, text: str, address: str, wish: re.Pattern[str] = _WAIT) -> None:
        """Leave a server alone for a while that asked for it."""
        if address and wish.search(text):
            self.wishes.note(address, text if text[:1] not in "rhsKZD" or "\0" not in text else _message_part(text))


def name_of(server: Server) -> str:
    """By what a server is known among those that have a bound: all its addresses.

    By one of them, a domain whose servers stall could name another one's address too, and take that one's places.
    """
    return " ".join(sorted(address.text for address in server.addresses))


def _note(account: Account, server: Server, session: Session) -> None:
    """Note to whom a delivery speaks, and by which TLS."""
    account.wire = wire = session.wire
    account.server, account.address, account.family = server.name, wire.address.text, wire.address.family
    account.port, account.is_reused = server.port, wire.messages > 0
    account.tls, account.cipher, account.verified = session.tls, session.cipher, session.verified


def _message_part(told: str) -> str:
    """The text of a report's last part."""
    return told.rstrip("\0").rpartition("\0")[2][1:]
