"""A worker: takes one message at a time off the daemon's socket, has it judged, and answers.

A hostile message may kill a worker, make it hang, or grow it: its client then sees the end of the connection
and says "try again", no other message is touched, and the master puts a fresh worker in its place.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from gatescan.config import Config
from gatescan.context import Context
from gatescan.fence.confine import give_back_memory
from gatescan.model import Buffer
from gatescan.service import apart, envelope, protocol, sources, waiting
from gatescan.service.seldom import Seldom
from gatescan.service.slots import SLOW, Deaths, Slots, key_of
from gatescan.service.sources import Source

log = logging.getLogger("gatescan.worker")

_PAGE = os.sysconf("SC_PAGE_SIZE")
DYING = 10.0
"""Seconds that a killed master may take from closing its files to being gone, on a busy machine."""
PROMPT = 0.0005
"""Seconds from a client's connection to its request. Who takes longer waits at the master, which costs no less."""
IDLE = 15.0
"""Seconds without a connection after which an idle worker looks at what is due by the clock."""
SIZE_LOOK_EVERY = 50
"""Messages between two looks at the worker's own size."""


class Outcome(Protocol):
    """What is to become of a message: an exit code of qmail-queue, a text to go with it, new header lines and how many
    bytes of the message they stand for."""

    @property
    def code(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def headers_to_add(self) -> bytes: ...
    @property
    def replaced(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Ids:
    """What ties a message to other logs: the client's process id (`qp` in qmail-send's log) and user id."""

    pid: int
    uid: int
    worker: int


Handler = Callable[[Buffer, Context, Ids], Outcome]
"""Judges a message and does all that follows from it (quarantine, notices, journal) before it returns."""


class Answering(Protocol):
    """A Handler that can do more than judge; what is missing is left out."""

    def tick(self) -> None:
        """The worker is idle: do what is due by the clock."""

    def apart(self) -> None:
        """This is a copy of the process: whatever another holds open is not to be used."""

    def doomed(self, message: Buffer, context: Context, ids: Ids, detail: str) -> Outcome:
        """The answer for a message that cannot be judged; `detail` says why."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What the master and all workers have in common.

    handover, returned: connections to the master and from it, see `waiting`. lifeline: ends with the master, or says
    that this worker is done.
    """

    listener: socket.socket
    handover: socket.socket
    returned: socket.socket
    lifeline: int
    slots: Slots
    deaths: Deaths


class Worker:
    """Serves messages until its lifeline ends, or it has served enough of them."""

    def __init__(
        self,
        index: int,
        shared: Shared,
        handler: Handler,
        config: Config,
        loaded: float,
        fence: str,
        spare: bool = False,
    ) -> None:
        """loaded: when code and configuration were. fence: see `fence.Standing`. spare: it ends when it is idle."""
        self.index = index
        self.shared = shared
        self.slots = shared.slots
        self.handler = handler
        self.settings = config.daemon
        self.spool = config.incoming
        self.bounds = apart.Bounds(config.limits.seconds, 0.9 * config.daemon.deadline)
        self.loaded = loaded
        self.fence = fence
        self.spare = spare
        self.served = 0
        self.spent = False
        self.complaints = Seldom(log)
        self._lifeline = select.poll()
        self._lifeline.register(shared.lifeline, select.POLLIN)

    def run(self) -> None:
        """Serve until there is a reason to end; the present message is always finished first."""
        master = os.getppid()
        listener, returned, lifeline = self.shared.listener, self.shared.returned, self.shared.lifeline
        with select.epoll() as poller:
            # One connection wakes one worker, not all of them.
            poller.register(listener, select.EPOLLIN | select.EPOLLEXCLUSIVE)
            poller.register(returned, select.EPOLLIN | select.EPOLLEXCLUSIVE)
            poller.register(lifeline, select.EPOLLIN)
            self.slots.ready(self.index, time.monotonic())
            while not self._done():
                events = dict(poller.poll(IDLE))
                if lifeline in events:
                    self._leave(events, master)
                    return
                if returned.fileno() in events:
                    self._take_back(returned)
                elif events:
                    self._accept(listener)
                elif self.spare:
                    return
                else:
                    self._tick()

    def _leave(self, events: Mapping[int, int], master: int) -> None:
        """See to those who came in the moment of the lifeline's end, as they woke nobody else."""
        listener, returned = self.shared.listener, self.shared.returned
        if events.get(listener.fileno(), 0) & select.EPOLLIN:
            self._accept(listener)
        # A master that loads anew says so, and one that stops shuts the socket; a dead one did neither.
        if self._is_dismissed():
            if returned.fileno() in events:
                self._take_back(returned)
            return
        is_shut = events.get(listener.fileno(), 0) & select.EPOLLHUP
        if not is_shut and _is_orphan(master):
            refuse_all(listener)

    def _is_dismissed(self) -> bool:
        """Whether others have taken over, with the configuration of now."""
        return any(flags & select.POLLIN for _, flags in self._lifeline.poll(0))

    def _done(self) -> bool:
        return self.spent or self.served >= self.settings.recycle_messages or self._too_large()

    def _tick(self) -> None:
        tick = getattr(self.handler, "tick", None)
        if tick is not None:
            try:
                tick()
            except Exception:
                log.exception("what is due by the clock was not done")

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:  # another worker was quicker; or it was shut, and the lifeline ends next
            return
        with connection:
            select.select((connection,), (), (), PROMPT)
            self._receive(connection)

    def _take_back(self, returned: socket.socket) -> None:
        connection = waiting.receive(returned)
        if connection is not None:  # else another worker was quicker
            with connection:
                self._receive(connection, its_turn=True)

    def _receive(self, connection: socket.socket, its_turn: bool = False) -> None:
        """Serve a connection, unless its client has said nothing yet, or its source has its share of the workers.

        Whoever comes after a reload is judged by what was loaded, so that a rule is in force from then on.
        """
        if self._is_dismissed() and waiting.give(connection, self.shared.handover):
            return
        text = protocol.peek(connection)
        if text == b"":  # it is gone
            return
        source = sources.of(protocol.environment(text[1:])) if text else None
        number = source.number if source else 0
        now = time.monotonic()
        if source and (text == protocol.PING or its_turn or self._has_room(source, number, now)):
            self._serve(connection, number, now)
        elif not waiting.give(connection, self.shared.handover):
            self.complaints.say("the master takes no more connections that wait")

    def _has_room(self, source: Source, number: int, now: float) -> bool:
        if not self.slots.is_slow(number, now):
            return True
        return self.slots.busy(number) < source.share(self.settings.workers)

    def _serve(self, connection: socket.socket, source: int, now: float) -> None:
        self.slots.begin(self.index, now, source)
        peer = protocol.peer_of(connection)
        try:
            reply = self._answer(connection, peer)
        except protocol.Ping:
            reply = protocol.Pong(self.loaded, self.fence).packet()
        except (protocol.ProtocolError, envelope.EnvelopeError) as error:
            self.complaints.say(f"process {peer.pid} of user {peer.uid}: {error}")
            reply = protocol.reply(getattr(error, "code", protocol.TRY_AGAIN))
        except Exception:
            log.exception("message of process %d was not judged", peer.pid)
            reply = protocol.reply(protocol.TRY_AGAIN)
        # A client that is gone has queued nothing, and its caller will try again.
        with contextlib.suppress(OSError):
            connection.send(reply, socket.MSG_NOSIGNAL)
        self.served += 1
        ended = time.monotonic()
        if ended - now > SLOW:
            self.slots.note_slow(source, ended)
            give_back_memory()
        self.slots.end(self.index, self.served)

    def _answer(self, connection: socket.socket, peer: protocol.Peer) -> bytes:
        with protocol.receive(connection) as request:
            sent = envelope.parse(request.read_envelope())
            context = Context.of(sent.sender, sent.recipients, request.env)
            message = request.read_message(self.spool)
            outcome = self._judged(message, context, Ids(peer.pid, peer.uid, self.index))
            if outcome.code == 0 and outcome.headers_to_add:
                return protocol.reply(0, request.prepend(outcome.headers_to_add, outcome.replaced))
            return protocol.reply(outcome.code, text=outcome.text.encode("ascii", "replace"))

    def _judged(self, message: Buffer, context: Context, ids: Ids) -> Outcome:
        key = key_of(message)
        self.slots.name(self.index, key)
        if not self.shared.deaths.known(key):
            return self.handler(message, context, ids)
        # A worker died of it, or of one much like it: should it happen again, there is somebody left to hold it.
        self.spent = True  # connections to engines that the copy has used are not used again
        self.slots.name(self.index, 0)
        log.info("message of process %d is judged apart: a worker died of it before", ids.pid)
        return apart.judged(self.handler, message, context, ids, self.bounds)

    def _too_large(self) -> bool:
        if not self.served or self.served % SIZE_LOOK_EVERY:
            return False
        with open("/proc/self/statm", "rb") as sizes:
            resident = int(sizes.read().split()[1]) * _PAGE
        if resident > self.settings.recycle_bytes:
            log.info("worker %d ends: it has grown to %d bytes", self.index, resident)
        return resident > self.settings.recycle_bytes


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
