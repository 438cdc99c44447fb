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
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatekeeper import metrics
from gatekeeper.alerts import Alerts, folder_of
from gatekeeper.callout import Callouts
from gatekeeper.config import Config, ConfigError, load
from gatekeeper.dnslists import DnsLists
from gatekeeper.fence import enclose_worker, needs_of
from gatekeeper.limits import Guesses, Limits
from gatekeeper.master import SIGNALS, Listeners
from gatekeeper.policy import Policy
from gatekeeper.protocol import Garbage, Order, Question, Wire, readable, reply
from gatekeeper.recipients import Recipients
from gatekeeper.resolve import Resolver
from gatekeeper.speakers import OwnDomains, Speakers
from gatekeeper.store import Store

if TYPE_CHECKING:
    from gatekeeper.auth.desk import Desk

log = logging.getLogger("gatekeeper")

SETTLE = 0.1
"""Seconds for who has connected just before the end to put its question."""
GRACE = 10.0
"""Seconds for questions under way at the end."""
SLOW_READER = 10.0
"""Seconds for a client to take its answer."""
_PEER = struct.Struct("iII")
SHELVES = {"limits": (50_000, 4), "alerts": (10_000, 1), "guesses": (50_000, 3), "callouts": (200_000, 2)}
"""Entries of each kind that are kept, and numbers of each."""
HEARTBEAT = "heartbeat"
Serve = Callable[[socket.socket, bool], Coroutine[Any, Any, None]]
"""Serves a connection; the second says whether it may give orders."""


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
        self.sessions: set[asyncio.Task[None]] = set()
        self.answering: set[asyncio.Task[None]] = set()
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
            *(
                asyncio.create_task(self._accept(listener, self._who_serves(at)))
                for at, listener in self.listeners.items()
            ),
        ]
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

    def _who_serves(self, path: Path) -> Serve:
        return self._authenticate if path == self.config.authentication_socket else self._serve

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
            ("looking at files of recipients", self._look, 0.0),
            ("testing DNS lists", self._test, 5.0),
            ("writing figures", self._publish, 15.0),
        ]

    async def _expire(self) -> None:
        self.store.expire()

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
        self.is_ending = True
        await asyncio.sleep(SETTLE)
        for session in self.sessions - self.answering:
            session.cancel()
        if self.answering:
            await asyncio.wait(set(self.answering), timeout=GRACE)
        for session in self.sessions:
            session.cancel()
        if self.sessions:
            await asyncio.wait(set(self.sessions))

    async def _make(self, config: Config) -> Policy:
        """All that decides, by a configuration; caches and counters stay."""
        before, shelves = self.policy, self.store.shelves
        resolver = Resolver(config)
        return Policy(
            config,
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

    async def _accept(self, listener: socket.socket, serve: Serve) -> None:
        """Let clients in. There is no pause between that and their session: none is lost when this ends."""
        while True:
            await readable(listener)
            try:
                client, _ = listener.accept()
            except BlockingIOError:  # it is gone
                continue
            except OSError as error:  # no descriptors: those who wait find some when others end
                log.error("accept: %s", error)
                await asyncio.sleep(1)
                continue
            self._let_in(client, serve)

    def _let_in(self, client: socket.socket, serve: Serve) -> None:
        uid = peer(client)
        if not self._may_ask(uid) or not self._has_room():
            client.close()
            return
        client.setblocking(False)
        session = asyncio.create_task(serve(client, uid in (0, os.geteuid())))
        self.sessions.add(session)
        session.add_done_callback(self.sessions.discard)

    def _may_ask(self, uid: int) -> bool:
        return uid in (0, os.geteuid(), *self.clients, *self.config.clients)

    def _has_room(self) -> bool:
        is_full = len(self.sessions) >= self.config.connections
        if is_full and not self._was_full:
            log.error("%d sessions at once; further ones are told to come later", len(self.sessions))
        self._was_full = is_full
        return not is_full

    async def _serve(self, client: socket.socket, may_order: bool) -> None:
        """One session: its questions one after the other."""
        wire = Wire(client)
        try:
            while question := await wire.question():
                if isinstance(question, Order) and not may_order:
                    raise Garbage("an order of who may only ask")
                await self._tell(client, question)
                if self.is_ending:
                    break
        except Garbage as error:
            log.warning("a session is ended: %s", error)
        except (OSError, TimeoutError):
            pass  # the client is gone, or was silent for too long
        finally:
            client.close()

    async def _authenticate(self, client: socket.socket, _: bool) -> None:
        """One question of the queue client."""
        task = asyncio.current_task()
        assert self.desk and task
        self.answering.add(task)
        try:
            await self.desk.serve(client)
        finally:
            self.answering.discard(task)

    async def _tell(self, client: socket.socket, question: Question | Order) -> None:
        task = asyncio.current_task()
        assert self.policy and task
        self.answering.add(task)
        try:
            if isinstance(question, Order):
                answer = json.dumps(await self._obey(question)).encode("ascii") + b"\n\n"
            else:
                action = await self.policy.answer(question)
                self.answers[action.split(" ", 1)[0][:20]] += 1
                answer = reply(action)
            async with asyncio.timeout(SLOW_READER):
                await asyncio.get_running_loop().sock_sendall(client, answer)
        finally:
            self.answering.discard(task)

    async def _obey(self, order: Order) -> dict[str, object]:
        """What an order brings about, as JSON."""
        assert self.policy
        if order.verb == "accept":
            return {"error": await self.policy.recipients.accept(order.path)}
        self.store.shelves[HEARTBEAT].put("doctor", [time.time()], 86_400)  # so that something is written
        await self.store.flush()
        return self._status(self.policy)

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
