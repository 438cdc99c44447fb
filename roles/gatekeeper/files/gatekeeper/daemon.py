"""The daemon: answers sessions of qmail-smtpd over a unix socket. One process, one thread for all that decides.

SIGTERM   nobody new is let in, questions under way are answered, counters are written, then it ends
SIGHUP    the configuration and the files of recipients are read again; what cannot be used changes nothing
"""

from __future__ import annotations

import asyncio
import contextlib
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
from gatekeeper.limits import Guesses, Limits
from gatekeeper.policy import Policy
from gatekeeper.protocol import QUESTION, Garbage, Order, Question, read_question, reply
from gatekeeper.recipients import Recipients
from gatekeeper.resolve import Resolver
from gatekeeper.speakers import OwnDomains, Speakers
from gatekeeper.store import Store

if TYPE_CHECKING:
    from gatekeeper.auth.desk import Desk

log = logging.getLogger("gatekeeper")

BACKLOG = 512
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
    """Serves until it is told to end."""

    def __init__(self, path: Path, clients: tuple[int, ...] = ()) -> None:
        self.path = path
        self.clients = clients
        self.config = load(path)
        self.store = Store(self.config.state, time.time)
        self.store.shelf(HEARTBEAT, 1)
        for kind, (room, width) in SHELVES.items():
            self.store.shelf(kind, room, width)
        self.alerts = Alerts(folder_of(self.config), self.store.shelves["alerts"])
        self.answers: Counter[str] = Counter()
        self.policy: Policy | None = None
        self.desk: Desk | None = None
        self.authenticated: Counter[str] = Counter()
        self._at_desk: list[asyncio.Task[None]] = []
        self.sessions: set[asyncio.Task[None]] = set()
        self.answering: set[asyncio.Task[None]] = set()
        self.is_ending = False
        self._was_full = False
        self._is_unpublished = False

    async def run(self) -> None:
        """Serve; returns when the last question has been answered."""
        loop = asyncio.get_running_loop()
        ending = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ending.set)
        self.store.load()
        self.policy, self.desk = await self._make(self.config), self._make_desk(self.config)
        told = asyncio.Event()
        loop.add_signal_handler(signal.SIGHUP, told.set)
        jobs = [
            asyncio.create_task(self._reload_when_told(told)),
            *(asyncio.create_task(_again_and_again(name, job, seconds)) for name, job, seconds in self._jobs()),
        ]
        listener = listen(self.config.socket)
        jobs.append(asyncio.create_task(self._accept(listener, self._serve)))
        self._open_or_shut_desk()
        log.info("serving %s", self.config.socket)
        await ending.wait()
        listener.close()
        for job in (*jobs, *self._at_desk):
            job.cancel()
        await self._finish()
        await self.store.flush()
        self.store.close()
        log.info("ended")

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
        if self.policy:
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

    def _open_or_shut_desk(self) -> None:
        """Listen at the desk's socket while there is a desk."""
        if self.desk and not self._at_desk:
            listener = listen(self.config.authentication_socket, socket.SOCK_SEQPACKET)
            self._at_desk.append(asyncio.create_task(self._accept(listener, self._authenticate)))
        elif not self.desk:
            self.config.authentication_socket.unlink(missing_ok=True)
            while self._at_desk:
                self._at_desk.pop().cancel()

    async def _reload_when_told(self, told: asyncio.Event) -> None:
        while True:
            await told.wait()
            told.clear()
            try:
                config = load(self.path)
                self.policy, self.desk = await self._make(config), self._make_desk(config)
                self.config = config
                self._open_or_shut_desk()
                await self._publish()
                log.info("reloaded")
            except ConfigError as error:
                log.error("reload failed, the old configuration stays in force: %s", error)
            except Exception:
                log.exception("reload failed, the old configuration stays in force")

    async def _accept(self, listener: socket.socket, serve: Serve) -> None:
        with listener:
            while True:
                try:
                    client, _ = await asyncio.get_running_loop().sock_accept(listener)
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
        reader, writer = await asyncio.open_unix_connection(sock=client, limit=QUESTION)
        try:
            while not self.is_ending and (question := await read_question(reader)):
                if isinstance(question, Order) and not may_order:
                    raise Garbage("an order of who may only ask")
                await self._tell(writer, question)
        except Garbage as error:
            log.warning("a session is ended: %s", error)
        except (OSError, TimeoutError):
            pass  # the client is gone, or was silent for too long
        finally:
            writer.close()

    async def _authenticate(self, client: socket.socket, _: bool) -> None:
        """One question of the queue client."""
        task = asyncio.current_task()
        if self.desk is None or task is None:
            client.close()
            return
        self.answering.add(task)
        try:
            await self.desk.serve(client)
        finally:
            self.answering.discard(task)

    async def _tell(self, writer: asyncio.StreamWriter, question: Question | Order) -> None:
        task = asyncio.current_task()
        assert self.policy and task
        self.answering.add(task)
        try:
            if isinstance(question, Order):
                writer.write(json.dumps(await self._obey(question)).encode("ascii") + b"\n\n")
            else:
                action = await self.policy.answer(question)
                self.answers[action.split(" ", 1)[0][:20]] += 1
                writer.write(reply(action))
            async with asyncio.timeout(SLOW_READER):
                await writer.drain()
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


def listen(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """The socket, under its path at once: made beside it and moved. Who may ask is looked at with each connection."""
    fresh = f"{path}.{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX, kind)
    listener.setblocking(False)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    listener.bind(fresh)
    os.chmod(fresh, 0o666)
    listener.listen(BACKLOG)
    os.rename(fresh, path)
    return listener
