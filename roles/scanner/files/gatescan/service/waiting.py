"""The master's desk: connections that no worker may serve yet.

A worker hands over who has connected and says nothing, and who would take more workers than its source's share. The
master sees to it that neither costs a worker: it waits for the first word, and gives a connection back when its
source has room. It reads no message; a connection's packet stays in its socket.
"""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import struct
import termios
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gatescan.service import protocol, sources
from gatescan.service.slots import Slots
from gatescan.service.sources import Source

SILENCE = 10.0
"""Seconds for a client that has connected to send its packet; it does so at once."""
SILENT_MOST = 128
"""Connections that may be silent at once; the longest silent one makes room."""
PER_SOURCE = 16
"""Connections of one source that may wait; further ones are told at once to try again."""
GIVEN_AT_ONCE = 4
"""Connections that are given back before the workers have taken them."""


@dataclass(slots=True)
class Waiting:
    """A connection: since when it waits (monotonic seconds), and whose it is, once it has spoken."""

    connection: socket.socket
    since: float
    source: Source | None = None


class Desk:
    """Who waits. `poller` tells when one of the silent ones speaks."""

    def __init__(self, incoming: socket.socket, outgoing: socket.socket, workers: int, patience: float) -> None:
        """incoming, outgoing: from and to the workers. patience: seconds that a connection may wait for its share."""
        self.incoming = incoming
        self.outgoing = outgoing
        self.workers = workers
        self.patience = patience
        self.silent: dict[int, Waiting] = {}
        self.queue: list[Waiting] = []
        self.held_back = 0
        self.turned_away = 0
        self.poller = select.epoll()
        self.poller.register(incoming, select.EPOLLIN)

    def __len__(self) -> int:
        return len(self.silent) + len(self.queue)

    def attend(self, slots: Slots) -> None:
        """Take what came, hear who spoke, give back whose turn it is, and turn away who waited too long."""
        for fd, _ in self.poller.poll(0):
            if fd in self.silent:
                self._spoke(self.silent.pop(fd))
        self.take(self._arrivals())
        self._expire(time.monotonic())
        self._give_back(slots, time.monotonic())

    def take(self, connections: Iterable[socket.socket]) -> None:
        """See to these from now on."""
        for connection in connections:
            self._take(Waiting(connection, time.monotonic()))

    def _arrivals(self) -> Iterator[socket.socket]:
        while (connection := receive(self.incoming)) is not None:
            yield connection

    def _take(self, waiting: Waiting) -> None:
        if self._read(waiting):
            return
        if len(self.silent) >= SILENT_MOST:
            self._forget(next(iter(self.silent)))
        self.silent[waiting.connection.fileno()] = waiting
        self.poller.register(waiting.connection, select.EPOLLIN)

    def _spoke(self, waiting: Waiting) -> None:
        self.poller.unregister(waiting.connection)
        if not self._read(waiting):
            self._turn_away(waiting)

    def _read(self, waiting: Waiting) -> bool:
        """Queue a connection that has sent its packet; False if it has not."""
        text = protocol.peek(waiting.connection)
        if text is None:
            return False
        if not text:  # it is gone
            waiting.connection.close()
            return True
        waiting.source = sources.of(protocol.environment(text[1:]))
        waiting.since = time.monotonic()
        if sum(other.source == waiting.source for other in self.queue) >= PER_SOURCE:
            self._turn_away(waiting)
        else:
            self.held_back += 1
            self.queue.append(waiting)
        return True

    def _expire(self, now: float) -> None:
        for fd in [fd for fd, waiting in self.silent.items() if now - waiting.since > SILENCE]:
            self._forget(fd)
        late = [waiting for waiting in self.queue if now - waiting.since > self.patience]
        for waiting in late:
            self._turn_away(waiting)
        self.queue = [waiting for waiting in self.queue if waiting not in late]

    def _forget(self, fd: int) -> None:
        waiting = self.silent.pop(fd)
        self.poller.unregister(waiting.connection)
        self._turn_away(waiting)

    def _turn_away(self, waiting: Waiting) -> None:
        """The client tells its caller to try again."""
        self.turned_away += 1
        waiting.connection.close()

    def _give_back(self, slots: Slots, now: float) -> None:
        if not self.queue or _unread(self.outgoing):
            return
        given = 0
        room = Counter[Source]()
        left = []
        for waiting in self.queue:
            source = waiting.source
            assert source is not None
            if source not in room:
                room[source] = source.share(self.workers) - slots.busy(source.number)
            if room[source] > 0 and given < GIVEN_AT_ONCE and self._give(waiting):
                room[source] -= 1
                given += 1
            else:
                left.append(waiting)
        self.queue = left

    def _give(self, waiting: Waiting) -> bool:
        given = give(waiting.connection, self.outgoing)
        if given:
            waiting.connection.close()
        return given

    def close(self) -> None:
        """Turn away all who wait."""
        for waiting in (*self.silent.values(), *self.queue):
            waiting.connection.close()
        self.silent.clear()
        self.queue.clear()

    def connections(self) -> list[socket.socket]:
        """All that wait, for the process that this one becomes."""
        return [waiting.connection for waiting in (*self.silent.values(), *self.queue)]


def _unread(end: socket.socket) -> bool:
    """Whether what was sent at this end is still to be read at the other."""
    return bool(struct.unpack("i", fcntl.ioctl(end, termios.TIOCOUTQ, bytes(4)))[0])


def give(connection: socket.socket, to: socket.socket) -> bool:
    """Send a connection to another process; False if there is no room for it. The caller closes its own."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", connection.fileno()))]
    with contextlib.suppress(OSError):
        to.sendmsg([b"c"], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        return True
    return False


def receive(end: socket.socket) -> socket.socket | None:
    """A connection that another process has sent; None: there is none."""
    try:
        _, control, _, _ = end.recvmsg(1, socket.CMSG_SPACE(4), socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
    except OSError:
        return None
    return next((socket.socket(fileno=struct.unpack("i", data)[0]) for _, _, data in control), None)
