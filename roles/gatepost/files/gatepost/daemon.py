"""A worker: takes orders from the fronts of qmail-remote over a unix socket, delivers, and reports to each.

One process, one thread: a delivery waits for the network nearly all of its time. When the client goes away before the
message's end was sent, the delivery is given up, as qmail will try it again; after that it is carried to its end.

    SIGHUP    nobody new is let in, present deliveries are finished, then it ends
    SIGTERM   the same, but deliveries that take too long are given up

A worker whose fence does not do for a new route ends by itself, as by SIGHUP.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import signal
import socket
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gatepost import journal, report
from gatepost.config import Config
from gatepost.delivery import Deliverer
from gatepost.model import Account, Order

log = logging.getLogger("gatepost")

VERSION = b"1"
PACKET = 256 * 1024
"""Bytes of an order or a report."""
BACKLOG = 256
PATIENCE = 5.0
"""Seconds for a client that has connected to send its order."""
GRACE = 20.0
"""Seconds for present deliveries at the end; qmail tries those again that take longer."""
DESCRIPTORS = 8
"""Of a delivery: the client, its message, addresses that are tried beside each other, a question, a kept connection."""
SPARE = 100
"""Descriptors beside those of deliveries."""
_PEER = struct.Struct("iII")
FULL = report.part("Z", "gatepost has too many deliveries at once. (#4.3.2)\n")
BROKEN = report.part("Z", "gatepost failed. (#4.3.0)\n")


def make_room(deliveries: int) -> None:
    """Let this process have the descriptors that so many deliveries may need, as far as the host allows them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = deliveries * DESCRIPTORS + SPARE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@dataclass(slots=True)
class Daemon:
    """Serves until it is told to end."""

    config: Config
    deliverer: Deliverer
    listener: socket.socket
    is_outgrown: Callable[[], bool]
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, serving: Callable[[], None], leaving: Callable[[], None]) -> None:
        """Serve; returns when the last delivery has ended.

        Calls `serving` and, when it lets nobody in any more, `leaving`.
        """
        loop = asyncio.get_running_loop()
        told = asyncio.Event()
        accepting = asyncio.create_task(self._accept())
        ending = asyncio.create_task(told.wait())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told.set)
        loop.add_signal_handler(signal.SIGHUP, accepting.cancel)
        serving()
        await asyncio.wait((accepting, ending), return_when=asyncio.FIRST_COMPLETED)
        accepting.cancel()
        self.listener.close()
        leaving()
        self.deliverer.kept.leave_all()
        self.deliverer.stalls.leave()
        self.deliverer.places.leave()
        while self.tasks and not ending.done():
            await asyncio.wait((ending, *self.tasks), return_when=asyncio.FIRST_COMPLETED)
        await self._give_up()
        ending.cancel()
        self.deliverer.kept.leave_all()

    async def _give_up(self) -> None:
        """Give up deliveries that take too long."""
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=GRACE)
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)

    async def _accept(self) -> None:
        """Let clients in until the fence does not do for what they may want."""
        while True:
            await _readable(self.listener)
            if self.is_outgrown():
                log.info("routes ask for more than the fence lets through: another worker takes over")
                return
            try:
                client, _ = self.listener.accept()
            except BlockingIOError:  # gone, or another worker's
                continue
            except OSError as error:  # no descriptors: those who wait find some when others end
                log.error("accept: %s", error)
                await asyncio.sleep(1)
                continue
            task = asyncio.create_task(self._serve(client))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _serve(self, client: socket.socket) -> None:
        """One client, from its order to its report."""
        client.setblocking(False)
        with client:
            if not self._may_order(client):
                return
            if len(self.tasks) > self.config.deliveries:
                answer(client, FULL)
                return
            order = await take_order(client)
            if order is None:
                return
            try:
                answer(client, await self._carry_out(client, order))
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("delivery to %r", order.host)
                answer(client, BROKEN)
            finally:
                os.close(order.message)

    def _may_order(self, client: socket.socket) -> bool:
        _, uid, _ = _PEER.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        return uid in (self.config.clients or (os.geteuid(),))

    async def _carry_out(self, client: socket.socket, order: Order) -> bytes:
        account = Account()
        loop = asyncio.get_running_loop()
        loop.add_reader(client, _leave_off, client, account, asyncio.current_task())
        try:
            told = await self.deliverer.deliver(order, account)
        except asyncio.CancelledError:
            told = report.part("Z", f"The delivery was given up. {account.duplicate}(#4.3.0)\n")
        finally:
            loop.remove_reader(client)
        self._write_down(order, account, told)
        return told

    def _write_down(self, order: Order, account: Account, told: bytes) -> None:
        if not self.config.journal:
            return
        try:
            journal.add(self.config.journal, journal.line(order, account, told))
        except OSError as error:
            log.error("%s: %s", self.config.journal, error)


def _leave_off(client: socket.socket, account: Account, delivery: asyncio.Task[Any] | None) -> None:
    """A client that says more is gone. A message that may have been taken is carried to its end."""
    asyncio.get_running_loop().remove_reader(client)
    if delivery and not account.duplicate:
        delivery.cancel()


async def _readable(client: socket.socket) -> None:
    """Returns when there is something to read, or the other side is gone."""
    loop = asyncio.get_running_loop()
    news: asyncio.Future[None] = loop.create_future()
    loop.add_reader(client, _tell, news)
    try:
        await news
    finally:
        loop.remove_reader(client)


def _tell(news: asyncio.Future[None]) -> None:
    if not news.done():
        news.set_result(None)


async def take_order(client: socket.socket) -> Order | None:
    """The order that a client sends, None if it sends none."""
    try:
        async with asyncio.timeout(PATIENCE):
            await _readable(client)
        data, files, _, _ = socket.recv_fds(client, PACKET, 1, socket.MSG_CMSG_CLOEXEC)
    except (OSError, TimeoutError):
        return None
    words = data[1:].decode("utf-8", "surrogateescape").split("\0")[:-1]
    if data[:1] != VERSION or len(words) < 3 or len(files) != 1:
        for fd in files:
            os.close(fd)
        return None
    host, sender, *recipients = words
    return Order(host, sender, tuple(recipients), files[0])


def answer(client: socket.socket, told: bytes) -> None:
    """Send the report; a client that is gone needs none."""
    with contextlib.suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PACKET)
        client.send(told, socket.MSG_NOSIGNAL)


def listen(config: Config) -> socket.socket:
    """The socket, under its path at once: made beside it and moved."""
    path = str(config.socket)
    fresh = f"{path}.{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.setblocking(False)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    listener.bind(fresh)
    os.chmod(fresh, 0o666 if config.clients else 0o600)
    listener.listen(BACKLOG)
    os.rename(fresh, path)
    return listener


def addresses_of_host() -> set[str]:
    """This host's own addresses but loopback's, as `ip` tells them."""
    found = {"0.0.0.0", "::"}
    try:
        done = subprocess.run(["/sbin/ip", "-json", "address"], capture_output=True, text=True, check=True, timeout=10)
        for interface in json.loads(done.stdout):
            if interface.get("ifname") != "lo":
                found |= {item["local"] for item in interface.get("addr_info", []) if "local" in item}
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        log.warning("own addresses are not known, loops are not seen at once: %s", error)
    return found
