"""A worker: takes one message at a time off the daemon's socket, has it judged, and answers.

A hostile message may kill a worker, make it hang, or grow it: its client then sees the end of the connection
and says "try again", no other message is touched, and the master puts a fresh worker in its place.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gatescan import envelope, protocol
from gatescan.context import Context
from gatescan.model import Buffer

log = logging.getLogger("gatescan.worker")

_PAGE = os.sysconf("SC_PAGE_SIZE")
DYING = 1.0
"""Seconds that a killed master may take from closing its files to being gone."""
SIZE_LOOK_EVERY = 50
"""Messages between two looks at the worker's own size."""


class Outcome(Protocol):
    """What is to become of a message: an exit code of qmail-queue, a text to go with it, new header lines."""

    @property
    def code(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def headers_to_add(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Ids:
    """What ties a message to other logs: the client's process id (`qp` in qmail-send's log) and user id."""

    pid: int
    uid: int
    worker: int


Handler = Callable[[Buffer, Context, Ids], Outcome]
"""Judges a message and does all that follows from it (quarantine, notices, journal) before it returns."""


class Slots:
    """One row a worker, in memory shared with the master: since when it is busy, and how much it did."""

    _ROW = struct.Struct("dQ")

    def __init__(self, count: int) -> None:
        self._memory = mmap.mmap(-1, count * self._ROW.size)

    def busy_since(self, index: int) -> float:
        """Monotonic time in seconds at which the present message was begun; 0 when idle."""
        return float(self._ROW.unpack_from(self._memory, index * self._ROW.size)[0])

    def set(self, index: int, busy_since: float, messages: int) -> None:
        """Tell the master; one store of 16 bytes."""
        self._ROW.pack_into(self._memory, index * self._ROW.size, busy_since, messages)


class Worker:
    """Serves messages until its lifeline ends, or it has served enough of them."""

    def __init__(
        self,
        index: int,
        listener: socket.socket,
        lifeline: int,
        slots: Slots,
        handler: Handler,
        recycle_messages: int,
        recycle_bytes: int,
        loaded: float,
        fence: str,
    ) -> None:
        self.index = index
        self.listener = listener
        self.lifeline = lifeline
        self.slots = slots
        self.handler = handler
        self.recycle_messages = recycle_messages
        self.recycle_bytes = recycle_bytes
        self.loaded = loaded
        self.fence = fence
        self.served = 0

    def run(self) -> None:
        """Serve until there is a reason to end; the present message is always finished first."""
        master = os.getppid()
        with select.epoll() as poller:
            # One connection wakes one worker, not all of them.
            poller.register(self.listener, select.EPOLLIN | select.EPOLLEXCLUSIVE)
            poller.register(self.lifeline, select.EPOLLIN)
            while self.served < self.recycle_messages and not self._too_large():
                events = dict(poller.poll())
                if self.lifeline in events:
                    # Shut by a master that stops, or left to those who come after a reload; a dead one did neither.
                    if not events.get(self.listener.fileno(), 0) & select.EPOLLHUP and _is_orphan(master):
                        refuse_all(self.listener)
                    return
                try:
                    connection, _ = self.listener.accept()
                except OSError:  # another worker was quicker; or it was shut, and the lifeline ends next
                    continue
                with connection:
                    self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        self.slots.set(self.index, time.monotonic(), self.served)
        peer = protocol.peer_of(connection)
        try:
            reply = self._answer(connection, peer)
        except protocol.Ping:
            reply = protocol.Pong(self.loaded, self.fence).packet()
        except (protocol.ProtocolError, envelope.EnvelopeError) as error:
            log.warning("process %d of user %d: %s", peer.pid, peer.uid, error)
            reply = protocol.reply(getattr(error, "code", protocol.TRY_AGAIN))
        except Exception:
            log.exception("message of process %d was not judged", peer.pid)
            reply = protocol.reply(protocol.TRY_AGAIN)
        # A client that is gone has queued nothing, and its caller will try again.
        with contextlib.suppress(OSError):
            connection.send(reply, socket.MSG_NOSIGNAL)
        self.served += 1
        self.slots.set(self.index, 0.0, self.served)

    def _answer(self, connection: socket.socket, peer: protocol.Peer) -> bytes:
        with protocol.receive(connection) as request:
            sent = envelope.parse(request.read_envelope())
            context = Context.of(sent.sender, sent.recipients, request.env)
            outcome = self.handler(request.read_message(), context, Ids(peer.pid, peer.uid, self.index))
            if outcome.code == 0 and outcome.headers_to_add:
                return protocol.reply(0, request.prepend(outcome.headers_to_add))
            return protocol.reply(outcome.code, text=outcome.text.encode("ascii", "replace"))

    def _too_large(self) -> bool:
        if not self.served or self.served % SIZE_LOOK_EVERY:
            return False
        with open("/proc/self/statm", "rb") as sizes:
            resident = int(sizes.read().split()[1]) * _PAGE
        if resident > self.recycle_bytes:
            log.info("worker %d ends: it has grown to %d bytes", self.index, resident)
        return resident > self.recycle_bytes


def _is_orphan(master: int) -> bool:
    """Whether the master is dead. A process that dies first closes its files, and only then loses its children."""
    until = time.monotonic() + DYING
    while os.getppid() == master:
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


def refuse_all(listener: socket.socket) -> None:
    """Nobody will serve this socket again: who waits on it hears so now, and nobody new can connect."""
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        while True:
            listener.accept()[0].close()
