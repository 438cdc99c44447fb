"""What this process remembers of servers: how many deliveries they have, connections kept, and who asked to wait."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gatepost.config import Config
from gatepost.model import Address, Failed, Server
from gatepost.session import Session

REMEMBERED = 5000
"""Addresses whose wish is remembered."""

PUT_OFF = "Too many messages to this host are on their way already, and it is slow. (#4.4.5)\n"

SILENT = "This host takes connections, but it says nothing, and others wait for it already. (#4.4.2)\n"

Key = tuple[object, ...]


class Places:
    """Bounds the deliveries to one server, known by its address, so that a slow one does not take all there are.

    Whoever finds no place waits. A server at which somebody waited longer than `patience` seconds is slow until its
    places are no longer all taken: a few wait for it then, the others are put off and leave qmail's places to others.
    A server at which a session has not come about for so long is silent until one does: only a few may listen to it.
    Once nobody new is let in, because another process serves now with bounds of its own, nobody does.
    """

    def __init__(self, config: Config) -> None:
        self._most = config.per_host
        self._most_at_slow = config.per_host + config.waiting_per_host
        self._most_at_silent = config.listening_per_host
        self._patience = config.patience_per_host
        self._limits: dict[str, asyncio.Semaphore] = {}
        self._present: defaultdict[str, int] = defaultdict(int)
        self._slow: set[str] = set()
        self._silent: set[str] = set()
        self._listening: defaultdict[str, set[asyncio.Timeout]] = defaultdict(set)

    @asynccontextmanager
    async def place(self, server: str) -> AsyncIterator[None]:
        """A place among those who speak with a server; raises Failed when too many wait for a slow one."""
        if self._present[server] >= self._bound(server):
            raise self._refusal(server)
        limit = self._limits.setdefault(server, asyncio.Semaphore(self._most))
        self._present[server] += 1
        try:
            await self._wait(server, limit)
            try:
                yield
            finally:
                limit.release()
        finally:
            self._present[server] -= 1
            if self._present[server] < self._most:
                self._slow.discard(server)
            if not self._present[server]:
                self._silent.discard(server)
                del self._present[server], self._limits[server]

    def _bound(self, server: str) -> float:
        """How many may be present at a server."""
        at_slow = self._most_at_slow if server in self._slow else math.inf
        return min(at_slow, self._most_at_silent) if server in self._silent else at_slow

    def _refusal(self, server: str) -> Failed:
        """Why nobody more may be there. A server that is silent is no reason not to try the domain's next one."""
        return Failed("Z", SILENT, is_final=False) if server in self._silent else Failed("Z", PUT_OFF)

    async def _wait(self, server: str, limit: asyncio.Semaphore) -> None:
        try:
            async with asyncio.timeout(self._patience):  # unlike wait_for it never swallows that the client is gone
                await limit.acquire()
        except TimeoutError:
            self._slow.add(server)
            if self._present[server] > self._bound(server):
                raise self._refusal(server) from None
            await limit.acquire()

    @asynccontextmanager
    async def opening(self, server: str) -> AsyncIterator[None]:
        """Open a session with a server inside; raises Failed when it is silent, and too many listen to it."""
        listening = self._listening[server]
        clock = asyncio.timeout(None)
        timer = asyncio.get_running_loop().call_later(self._patience, self._note_silence, server)
        try:
            async with clock:
                listening.add(clock)
                yield
            self._silent.discard(server)
        except TimeoutError:
            if not clock.expired():
                raise
            raise Failed("Z", SILENT, is_final=False) from None
        finally:
            timer.cancel()
            listening.discard(clock)
            if not listening:
                self._listening.pop(server, None)

    def _note_silence(self, server: str) -> None:
        """Somebody has listened for long: of all who do, those who are too many give up."""
        self._silent.add(server)
        listening = self._listening.get(server, set())
        while len(listening) > self._most_at_silent:
            listening.pop().reschedule(0)

    def leave(self) -> None:
        """Nobody new is let in: nobody listens for long to who is silent."""
        self._most_at_silent = 0
        for server in self._silent:
            self._note_silence(server)


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
    """Connections that are kept open for the next message to the same server, for a few seconds."""

    def __init__(self, config: Config) -> None:
        self._seconds = config.reuse_seconds
        self._messages = config.reuse_messages
        self._per_host = config.per_host
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
        sessions = self._sessions.setdefault(key, [])
        if len(sessions) >= self._per_host:
            return False
        timer = asyncio.get_running_loop().call_later(self._seconds, self._expire, key, session)
        sessions.append((session, timer))
        return True

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
