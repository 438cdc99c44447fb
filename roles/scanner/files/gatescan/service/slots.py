"""What workers and master tell each other in shared memory: one store or one look, no system call.

A row for each worker, and the keys of messages that a worker died of.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import struct
from collections.abc import Iterator

from gatescan.model import Buffer

SLOW = 0.25
"""Seconds in work from which on a message is a slow one. Most take a few milliseconds."""
REMEMBERED = 60.0
"""Seconds for which a source is known by a slow message: so long all its messages count against its share."""
_TRACE = re.compile(rb"Received:[^\n]*\n(?:[ \t][^\n]*\n)*")
_EDGE = 4096
"""Bytes at each end of a message that make its key."""


class Slots:
    """One row a worker: since when it is busy and with whose message, and how much it did.

    busy since (monotonic seconds, 0: idle), source, message key, messages served, and when it was ready to serve (0:
    not yet).
    """

    _ROW = struct.Struct("dQQQd")
    _BUSY = struct.Struct("dQQ")
    _NUMBER = struct.Struct("Q")
    _TIME = struct.Struct("d")
    _KEY, _SERVED, _READY = 16, 24, 32
    _SOURCE = struct.Struct("Qd")
    _SOURCES = 256
    """Places for sources of slow messages; two sources may have one, and then the later one is known."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._memory = mmap.mmap(-1, count * self._ROW.size)
        self._slow_sources = mmap.mmap(-1, self._SOURCES * self._SOURCE.size)

    def begin(self, index: int, now: float, source: int) -> None:
        """A worker begins with a message of a source."""
        self._BUSY.pack_into(self._memory, index * self._ROW.size, now, source, 0)

    def name(self, index: int, key: int) -> None:
        """The message in work has this key."""
        self._NUMBER.pack_into(self._memory, index * self._ROW.size + self._KEY, key)

    def end(self, index: int, served: int) -> None:
        """A worker is idle again, and has served so many messages."""
        at = index * self._ROW.size
        self._BUSY.pack_into(self._memory, at, 0.0, 0, 0)
        self._NUMBER.pack_into(self._memory, at + self._SERVED, served)

    def ready(self, index: int, now: float) -> None:
        """A worker stands at the socket."""
        self._TIME.pack_into(self._memory, index * self._ROW.size + self._READY, now)

    def clear(self, index: int) -> None:
        """Nobody is in this place."""
        self._ROW.pack_into(self._memory, index * self._ROW.size, 0.0, 0, 0, 0, 0.0)

    def is_ready(self, index: int) -> bool:
        """Whether the worker in this place has come as far as the socket."""
        return float(self._TIME.unpack_from(self._memory, index * self._ROW.size + self._READY)[0]) > 0

    def busy_since(self, index: int) -> float:
        """Monotonic time in seconds at which the present message was begun; 0 when idle."""
        return float(self._TIME.unpack_from(self._memory, index * self._ROW.size)[0])

    def key(self, index: int) -> int:
        """The key of the message in work; 0 when there is none, or it is not known yet."""
        return int(self._NUMBER.unpack_from(self._memory, index * self._ROW.size + self._KEY)[0])

    def slow(self, now: float) -> int:
        """Workers that have been busy for longer than SLOW."""
        return sum(bool(since) and now - since > SLOW for since, _, _ in self._rows())

    def busy(self, source: int) -> int:
        """Workers that are busy with messages of a source."""
        return sum(bool(since) and of == source for since, of, _ in self._rows())

    def note_slow(self, source: int, now: float) -> None:
        """A slow message of this source has ended."""
        self._SOURCE.pack_into(self._slow_sources, source % self._SOURCES * self._SOURCE.size, source, now)

    def is_slow(self, source: int, now: float) -> bool:
        """Whether a source has a slow message in work, or had one lately.

        Its messages count from their start then: those that were begun at one moment would take every worker else.
        """
        of, when = self._SOURCE.unpack_from(self._slow_sources, source % self._SOURCES * self._SOURCE.size)
        if of == source and now - when < REMEMBERED:
            return True
        return any(since and now - since > SLOW and of == source for since, of, _ in self._rows())

    def _rows(self) -> Iterator[tuple[float, int, int]]:
        """Of each worker: since when it is busy, with whose message, and which."""
        for index in range(self.count):
            yield self._BUSY.unpack_from(self._memory, index * self._ROW.size)


class Deaths:
    """Keys of the last messages that a worker died of, in memory that survives a reload."""

    _NUMBER = struct.Struct("Q")
    _COUNT = 1023

    def __init__(self, fd: int = -1) -> None:
        size = (self._COUNT + 1) * self._NUMBER.size
        self.fd = fd
        if fd < 0:
            self.fd = os.memfd_create("deaths", os.MFD_CLOEXEC)
            os.ftruncate(self.fd, size)
        self._memory = mmap.mmap(self.fd, size)

    def note(self, key: int) -> None:
        """A worker died of the message with this key. The oldest is forgotten."""
        place = self._NUMBER.unpack_from(self._memory, 0)[0] % self._COUNT
        self._NUMBER.pack_into(self._memory, (place + 1) * self._NUMBER.size, key)
        self._NUMBER.pack_into(self._memory, 0, place + 1)

    def known(self, key: int) -> bool:
        """Whether a worker died of such a message."""
        wanted, size = self._NUMBER.pack(key), self._NUMBER.size
        at = self._memory.find(wanted, size)
        while at >= 0 and at % size:
            at = self._memory.find(wanted, at + 1)
        return at >= 0


def trace_end(message: Buffer) -> int:
    """Where the message begins behind the line that qmail-smtpd put in front, whose date is another at each try."""
    found = _TRACE.match(message)
    return found.end() if found else 0


def key_of(message: Buffer) -> int:
    """64 bits, never 0, that tell a message when it is tried again: by its size and its ends, which costs little.

    Two messages may share one. It only decides that a message is looked at with more care.
    """
    start = trace_end(message)
    end = max(start, len(message) - _EDGE)
    digest = hashlib.blake2b(b"%d" % (len(message) - start), digest_size=8)
    digest.update(message[start : start + _EDGE])
    digest.update(message[end:])
    return int.from_bytes(digest.digest(), "little") | 1
