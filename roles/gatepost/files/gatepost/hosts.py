"""What this process remembers of servers: how many deliveries they have, connections kept, and who asked to wait."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from gatepost.config import Config
from gatepost.model import Address, Failed, Server
from gatepost.session import PlainTextNeeded, Session
from gatepost.wire import Gone

REMEMBERED = 5000
"""Addresses whose wish is remembered."""

PUT_OFF = "Too many messages to this host are on their way already, and it is slow. (#4.4.5)\n"

SILENT = "This host takes connections, but it says nothing, and others wait for it already. (#4.4.2)\n"

Key = tuple[object, ...]


@dataclass(eq=False, slots=True)
class Listener:
    """A delivery that speaks with a server. clock: ends it."""

    session: Session
    clock: asyncio.Timeout
    is_dismissed: bool = False

    def give_up(self) -> None:
        """Nothing of the message leaves from here on."""
        self.is_dismissed = True
        self.clock.reschedule(0)
        self.session.wire.hang_up()


@dataclass(slots=True)
class Host:
    """A server, or a domain, at which somebody is present.

    most: who may be there at once; others wait. most_at_slow: who may be there or wait for it, once it is slow.
    finished_at: when it has last said what becomes of a message.
    """

    most: int
    most_at_slow: int
    limit: asyncio.Semaphore = field(init=False)
    present: int = 0
    is_slow: bool = False
    is_silent: bool = False
    finished_at: float = 0.0
    listening: set[Listener] = field(default_factory=set)
    watch: asyncio.Handle | None = None

    def __post_init__(self) -> None:
        self.limit = asyncio.Semaphore(self.most)

    def silent_since(self) -> float:
        """Since when it owes somebody an answer and has finished with nobody."""
        asked = min((listener.session.wire.asked_at for listener in self.listening), default=time.monotonic())
        return max(asked, self.finished_at)

    def dismiss(self, most: int) -> None:
        """Have those give up who are too many; not whose message may have been taken, for it would come twice."""
        leaving = [listener for listener in self.listening if not listener.session.is_critical]
        for listener in leaving[: max(0, len(self.listening) - most)]:
            self.listening.discard(listener)
            listener.give_up()

    def leave(self) -> None:
        """Nobody is present any more."""
        if self.watch:
            self.watch.cancel()


class Places:
    """Bounds the deliveries to one server, known by its addresses, so that a slow one does not take all there are.

    A domain has as many as may be present at a slow server, so that one whose servers are slow, or stall one after
    another when they have the whole of a message, does not either.

    Whoever finds no place waits. A server at which somebody waited longer than `patience` seconds is slow until its
    places are no longer all taken: a few wait for it then, the others are put off and leave qmail's places to others.
    A server that owes somebody an answer for so long, and has finished with nobody meanwhile, is silent until it has
    finished with somebody: only a few may listen to it.
    Once nobody new is let in, because another process serves now with bounds of its own, nobody does.
    """

    def __init__(self, config: Config) -> None:
        self._most = config.per_host
        self._most_at_slow = config.per_host + config.waiting_per_host
        self._most_at_silent = config.listening_per_host
        self._patience = config.patience_per_host
        self._hosts: dict[str, Host] = {}
        self._domains: dict[str, Host] = {}

    def at_domain(self, domain: str) -> AbstractAsyncContextManager[None]:
        """A place among those who deliver to a domain; raises Failed when too many wait for it."""
        return self._place(self._domains, domain.lower(), self._most_at_slow)

    def place(self, server: str) -> AbstractAsyncContextManager[None]:
        """A place among those who speak with a server; raises Failed when too many wait for it."""
        return self._place(self._hosts, server, self._most)

    @asynccontextmanager
    async def _place(self, hosts: dict[str, Host], name: str, most: int) -> AsyncIterator[None]:
        host = hosts.setdefault(name, Host(most, self._most_at_slow))
        self._refuse_beyond(host, host.present + 1)
        host.present += 1
        try:
            await self._wait(host)
            try:
                yield
            finally:
                host.limit.release()
        finally:
            host.present -= 1
            host.is_slow = host.is_slow and host.present >= host.most
            if not host.present:
                host.leave()
                del hosts[name]

    def _refuse_beyond(self, host: Host, present: int) -> None:
        """Raise Failed if so many may not be present. A silent server is no reason not to try the domain's next one."""
        if host.is_silent and present > self._most_at_silent:
            raise Failed("Z", SILENT, is_final=False)
        if host.is_slow and present > host.most_at_slow:
            raise Failed("Z", PUT_OFF)

    async def _wait(self, host: Host) -> None:
        if not host.limit.locked():
            await host.limit.acquire()  # at once
            return
        try:
            async with asyncio.timeout(self._patience):  # unlike wait_for it never swallows that the client is gone
                await host.limit.acquire()
                return
        except TimeoutError:
            host.is_slow = True
        self._refuse_beyond(host, host.present)
        await host.limit.acquire()

    @asynccontextmanager
    async def listening(self, server: str, session: Session) -> AsyncIterator[None]:
        """Speak with a server inside; raises Failed when it is silent, and too many listen to it."""
        host = self._hosts[server]
        listener = Listener(session, asyncio.timeout(None))
        session.wire.wait_from_now()  # a connection that was kept has asked its last question long ago
        host.listening.add(listener)
        try:
            async with listener.clock:
                if host.watch is None:
                    self._watch(host)
                yield
        except (TimeoutError, Failed, Gone, PlainTextNeeded):
            if not listener.is_dismissed:  # else it is the clock's, or comes of hanging up
                raise
        finally:
            host.listening.discard(listener)
        if listener.is_dismissed:
            raise Failed("Z", SILENT, is_final=False)

    def _watch(self, host: Host) -> None:
        """Look whether a server is silent, as often as it can have become so."""
        now = time.monotonic()
        since = host.silent_since()
        if now - since >= self._patience:
            host.is_silent = True
            host.dismiss(self._most_at_silent)
            since = now
        host.watch = asyncio.get_running_loop().call_at(since + self._patience, self._watch_soon, host)

    def _watch_soon(self, host: Host) -> None:
        """Let those go on first whose answer came in this turn of the loop: this process may have stood still."""
        host.watch = asyncio.get_running_loop().call_soon(self._watch, host)

    def finished(self, server: str) -> None:
        """A server has said what becomes of a message."""
        host = self._hosts[server]
        host.finished_at = time.monotonic()
        host.is_silent = False

    def leave(self) -> None:
        """Nobody new is let in: nobody listens for long to who is silent."""
        self._most_at_silent = 0
        for host in self._hosts.values():
            if host.is_silent:
                host.dismiss(0)


class Wishes:
    """Addresses that said 421 or 4.7.x: they are left alone for a while, and their words are told meanwhile."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def note(self, address: str, text: str) -> None:
        """Remember who asked to wait, and in which words."""
        self._until[address] = (time.monotonic() + self._seconds, text)
        self._until.move_to_end(address)
        while len(self._until) > REMEMBERED:
            self._until.popitem(last=False)

    def forget(self, address: str) -> None:
        """It took a message."""
        self._until.pop(address, None)

    def of(self, address: str) -> str | None:
        """What an address said that is to be left alone now; None if it is not."""
        until, text = self._until.get(address, (0.0, ""))
        if until > time.monotonic():
            return text
        self._until.pop(address, None)
        return None


class Kept:
    """Connections that are kept open for the next message to the same server, for a few seconds.

    There are no more than deliveries at once, so that mail to a thousand servers does not take all descriptors; the
    oldest makes room.
    """

    def __init__(self, config: Config) -> None:
        self._seconds = config.reuse_seconds
        self._messages = config.reuse_messages
        self._per_host = config.per_host
        self._most = config.deliveries
        self._sessions: dict[Key, list[tuple[Session, asyncio.TimerHandle]]] = {}

    def take(self, server: Server, helo: dict[str, bytes]) -> Session | None:
        """A kept connection to one of the server's addresses, with the same security; the newest one."""
        for address in server.addresses:
            key = _key(server, address, helo[address.family])
            while sessions := self._sessions.get(key):
                session, timer = sessions.pop()
                timer.cancel()
                if not sessions:
                    del self._sessions[key]
                if not session.wire.is_over and not session.wire.replies.has_more:
                    return session
                session.wire.hang_up()
        return None

    def keep(self, server: Server, session: Session) -> bool:
        """Keep a connection whose last message was taken; False: it must be left."""
        wire = session.wire
        if not self._seconds or wire.is_over or wire.replies.has_more or wire.messages >= self._messages:
            return False
        key = _key(server, wire.address, session.helo)
        if len(self._sessions.get(key, ())) >= self._per_host:
            return False
        if sum(map(len, self._sessions.values())) >= self._most:
            self._leave_oldest()
        timer = asyncio.get_running_loop().call_later(self._seconds, self._expire, key, session)
        self._sessions.setdefault(key, []).append((session, timer))
        return True

    def _leave_oldest(self) -> None:
        kept = ((timer, key, session) for key, sessions in self._sessions.items() for session, timer in sessions)
        timer, key, session = min(kept, key=lambda item: item[0].when())
        timer.cancel()
        self._expire(key, session)

    def _expire(self, key: Key, session: Session) -> None:
        rest = [item for item in self._sessions.get(key, []) if item[0] is not session]
        if rest:
            self._sessions[key] = rest
        else:
            self._sessions.pop(key, None)
        session.wire.leave()

    def leave_all(self) -> None:
        """Leave every connection, at the end."""
        for sessions in self._sessions.values():
            for session, timer in sessions:
                timer.cancel()
                session.wire.leave()
        self._sessions.clear()


def _key(server: Server, address: Address, helo: bytes) -> Key:
    return (address.text, server.port, server.security, helo)
