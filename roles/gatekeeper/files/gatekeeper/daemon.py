"""A worker: answers sessions of qmail-smtpd over a unix socket. One process, one thread for all that decides.

SIGTERM   nobody new is let in, questions under way are answered, counters are written, then it ends
SIGHUP    the configuration and the files of recipients are read again; what cannot be used changes nothing

It shuts itself in (fence.py). If that does not do any more for what the configuration or the routes ask for, it ends as
by SIGTERM, and another worker takes over.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gatekeeper import metrics
from gatekeeper.alerts import Alerts, folder_of
from gatekeeper.callout import Callouts
from gatekeeper.config import Config, ConfigError, load
from gatekeeper.dnslists import DnsLists
from gatekeeper.fence import enclose_worker, needs_of
from gatekeeper.gatereport.post import host_name
from gatekeeper.limits import Guesses, Limits
from gatekeeper.master import SIGNALS, Listeners
from gatekeeper.policy import Policy
from gatekeeper.protocol import Garbage, Order, Question, reply
from gatekeeper.recipients import Recipients
from gatekeeper.resolve import Resolver
from gatekeeper.session import Reply, Session
from gatekeeper.speakers import OwnDomains, Speakers
from gatekeeper.store import Store

if TYPE_CHECKING:
    from gatekeeper.auth.desk import Desk

log = logging.getLogger("gatekeeper")

LINGER = 0.1
"""Seconds for who has connected just before the end to put its question."""
GRACE = 10.0
"""Seconds for questions under way at the end."""
_PEER = struct.Struct("iII")
SHELVES = {"limits": (50_000, 4), "alerts": (10_000, 1), "guesses": (50_000, 3), "callouts": (200_000, 2)}
"""Entries of each kind that are kept, and numbers of each."""
HEARTBEAT = "heartbeat"
FULL = 1.0
"""Seconds to wait where there are no descriptors for who asks: there are some when others end."""


class Daemon:
    """Serves until it is told to end, or another worker is needed."""

    def __init__(self, path: Path, clients: tuple[int, ...], config: Config, listeners: Listeners) -> None:
        """path: where the configuration is read again."""
        self.path = path
        self.clients = clients
        self.config = config
        self.listeners = listeners
        self.needs = needs_of(path, config)
        self.fence = ""
        self.store = Store(self.config.state, time.time)
        self.store.shelf(HEARTBEAT, 1)
        for kind, (room, width) in SHELVES.items():
            self.store.shelf(kind, room, width)
        self.alerts = Alerts(folder_of(self.config), self.store.shelves["alerts"])
        self.answers: Counter[str] = Counter()
        self.policy: Policy | None = None
        self.desk: Desk | None = None
        self.authenticated: Counter[str] = Counter()
        self.sessions: set[Session] = set()
        self.judging: set[asyncio.Task[None]] = set()
        self.is_ending = False
        self._is_outgrown = False
        self._ending = asyncio.Event()
        self._was_full = False
        self._is_unpublished = False

    async def run(self) -> bool:
        """Serve; returns when the last question has been answered: whether another worker is needed."""
        self.desk = self._make_desk(self.config)
        standing = enclose_worker(self.needs)
        log.log(logging.WARNING if standing.state == "part" else logging.INFO, "fence: %s", standing)
        self.fence = str(standing)
        told = self._heed_signals()
        self.store.load()
        self.policy = await self._make(self.config)
        jobs = [
            asyncio.create_task(self._reload_when_told(told)),
            *(asyncio.create_task(_again_and_again(name, job, seconds)) for name, job, seconds in self._jobs()),
        ]
        for listener in self.listeners.values():
            self._listen(listener)
        log.info("serving %s", ", ".join(map(str, self.listeners)))
        await self._ending.wait()
        for job in jobs:
            job.cancel()
        await self._finish()
        await self.store.flush()
        self.store.close()
        return self._is_outgrown

    def _heed_signals(self) -> asyncio.Event:
        """Obey signals; returns what tells of SIGHUP."""
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        loop.add_signal_handler(signal.SIGHUP, told.set)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return told

    def _makes_way_for(self, config: Config) -> bool:
        """End if a configuration needs another worker; whether it does."""
        if not self.needs.cover(needs_of(self.path, config)):
            log.info("another worker takes over, as the fence does not let through what is needed now")
            self._is_outgrown = True
            self._ending.set()
        return self._is_outgrown

    def _jobs(self) -> list[tuple[str, Callable[[], Awaitable[None]], float]]:
        return [
            ("writing the state", self.store.flush, 1.0),
            ("expiring the state", self._expire, 60.0),
            ("ending idle sessions", self._end_idle, 1.0),
            ("looking at files of recipients", self._look, 0.0),
            ("testing DNS lists", self._test, 5.0),
            ("writing figures", self._publish, 15.0),
        ]

    async def _expire(self) -> None:
        self.store.expire()

    async def _end_idle(self) -> None:
        for session in list(self.sessions):
            session.end_if_idle()

    async def _look(self) -> None:
        await asyncio.sleep(self.config.look_seconds)
        if self.policy and not self._makes_way_for(self.config):
            await self.policy.recipients.look()

    async def _test(self) -> None:
        if self.policy:
            await self.policy.lists.test()

    async def _publish(self) -> None:
        if not self.policy:
            return
        try:
            found = metrics.figures(self._status(self.policy), self.answers, self.alerts.counts, self.authenticated)
            metrics.publish(self.config.metrics, metrics.text_of(found))
        except OSError as error:
            if not self._is_unpublished:
                log.error("figures cannot be written: %s", error)
            self._is_unpublished = True
        else:
            self._is_unpublished = False

    async def _finish(self) -> None:
        """Let nobody in, and give those who have asked their answers."""
        self.is_ending = True
        for listener in self.listeners.values():
            asyncio.get_running_loop().remove_reader(listener.fileno())
        for session in self.sessions:
            session.is_last = True
        await asyncio.sleep(LINGER)
        for session in list(self.sessions):
            if not session.answering:
                session.end()
        answering = self.judging | {session.answering for session in self.sessions if session.answering}
        if answering:
            _, late = await asyncio.wait(answering, timeout=GRACE)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _make(self, config: Config) -> Policy:
        """All that decides, by a configuration; caches and counters stay."""
        before, shelves = self.policy, self.store.shelves
        resolver = Resolver(config)
        return Policy(
            config,
            resolver,
            await Recipients.of(config, before.recipients if before else None),
            Callouts(config, resolver, shelves["callouts"]),
            Guesses(config, shelves["guesses"], time.time),
            Limits(config, shelves["limits"], self.alerts, time.time),
            DnsLists(config, resolver, time.time, dict(before.lists.states) if before else {}),
            Speakers(config.relay_senders),
            OwnDomains(config.home),
        )

    def _make_desk(self, config: Config) -> Desk | None:
        """Who says who messages are from; None: nobody is asked. Raises ConfigError."""
        if not config.authentication:
            return None
        from gatekeeper.auth.desk import desk_of  # and cryptography, which nothing else needs

        return desk_of(config, self.authenticated)

    async def _reload_when_told(self, told: asyncio.Event) -> None:
        while True:
            await told.wait()
            told.clear()
            try:
                await self._reload()
            except ConfigError as error:
                log.error("reload failed, the old configuration stays in force: %s", error)
            except Exception:
                log.exception("reload failed, the old configuration stays in force")

    async def _reload(self) -> None:
        """Decide by the configuration as it is now. Raises ConfigError, and then nothing has changed."""
        config = load(self.path)
        desk = self._make_desk(config)
        if self._makes_way_for(config):
            return
        self.policy, self.desk = await self._make(config), desk
        self.config = config
        await self._publish()
        log.info("reloaded")

    def _listen(self, listener: socket.socket) -> None:
        if not self.is_ending:
            asyncio.get_running_loop().add_reader(listener.fileno(), self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        """Let a client in. There is no pause between that and its session: none is lost when this ends."""
        try:
            client, _ = listener.accept()
        except BlockingIOError:  # it is gone
            return
        except OSError as error:
            log.error("accept: %s", error)
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener.fileno())
            loop.call_later(FULL, self._listen, listener)
            return
        self._let_in(client, listener)

    def _let_in(self, client: socket.socket, listener: socket.socket) -> None:
        uid = peer(client)
        if not self._may_ask(uid) or not self._has_room():
            client.close()
            return
        client.setblocking(False)
        if listener is self.listeners.get(self.config.authentication_socket):
            self._authenticate(client)
            return
        answer = partial(self._answer, may_order=uid in (0, os.geteuid()))
        session = Session(client, answer, self.sessions.discard)
        self.sessions.add(session)
        session.begin()

    def _may_ask(self, uid: int) -> bool:
        return uid in (0, os.geteuid(), *self.clients, *self.config.clients)

    def _has_room(self) -> bool:
        is_full = len(self.sessions) + len(self.judging) >= self.config.connections
        if is_full and not self._was_full:
            log.error("%d sessions at once; further ones are told to come later", self.config.connections)
        self._was_full = is_full
        return not is_full

    def _authenticate(self, client: socket.socket) -> None:
        """Answer the one question of a queue client."""
        assert self.desk
        task = asyncio.create_task(self.desk.serve(client))
        self.judging.add(task)
        task.add_done_callback(self.judging.discard)

    def _answer(self, question: Question | Order, *, may_order: bool) -> Reply:
        """What a session is answered; raise Garbage."""
        assert self.policy
        if isinstance(question, Order):
            if not may_order:
                raise Garbage("an order of who may only ask")
            return self._obeyed(question)
        said = self.policy.answer(question)
        return self._told(said) if isinstance(said, str) else self._told_later(said)

    async def _told_later(self, said: Awaitable[str]) -> bytes:
        return self._told(await said)

    def _told(self, action: str) -> bytes:
        self.answers[action.split(" ", 1)[0][:20]] += 1
        return reply(action)

    async def _obeyed(self, order: Order) -> bytes:
        return json.dumps(await self._obey(order)).encode("ascii") + b"\n\n"

    async def _obey(self, order: Order) -> dict[str, object]:
        """What an order brings about, as JSON."""
        assert self.policy
        if order.verb == "accept":
            return {"error": await self.policy.recipients.accept(order.path)}
        self.store.shelves[HEARTBEAT].put("doctor", [time.time()], 86_400)  # so that something is written
        await self.store.flush()
        return {**self._status(self.policy), "names": await self._trouble_with_names(self.policy)}

    async def _trouble_with_names(self, policy: Policy) -> str | None:
        """Why the name server does not answer; empty if it does, None if nothing is asked of it."""
        if not (self.config.authentication or self.config.dns_lists or policy.recipients.are_asked_for):
            return None
        return await policy.resolver.trouble(host_name(self.config.home))

    def _status(self, policy: Policy) -> dict[str, object]:
        return {
            "lists": policy.recipients.status(),
            "dns_lists": policy.lists.status(),
            "state": {"path": str(self.store.path), "trouble": self.store.trouble},
            "authentication": self.desk is not None,
            "fence": self.fence,
        }


async def _again_and_again(name: str, job: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Do something for ever, with a pause between; what fails once is tried again."""
    while True:
        try:
            await job()
        except Exception:
            log.exception("%s", name)
        await asyncio.sleep(seconds)


def peer(client: socket.socket) -> int:
    """The user at a connection's other end."""
    _, uid, _ = _PEER.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(uid)
