"""qmail's table of hosts that time out (queue/lock/tcpto), so that qmail-tcpto tells the truth.

A host has 16 bytes: 4 of its IPv4 address, one that counts timeouts (0: the place is free), 3 unused, 4 of the time of
the last one (least byte first), 4 unused. There are as many places as the file has room for, 64 at most, and whoever
reads or writes holds flock(2). IPv6 addresses, for which the file has no room, are remembered by this process alike.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import struct
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

_PLACE = struct.Struct("<4sB3xI4x")
PLACES = 64
AWAY_FROM = 2
"""Timeouts from which on a host is left alone."""
COUNT_LIMIT = 10
APART = 120
"""Seconds within which a further timeout tells nothing new."""
AWAY = 60 << 6
"""Seconds, and up to half as many again, so that not all come back at once."""
WEIGHT = 1 << 10
"""Seconds that a timeout is worth when a place is to be made free."""
REMEMBERED = 1000
"""IPv6 addresses that are remembered."""


@dataclass(slots=True)
class Place:
    """What is known of one address."""

    host: bytes
    count: int
    when: int

    def is_away(self, now: int) -> bool:
        """Whether it timed out so often that it is left alone for now."""
        return self.count >= AWAY_FROM and (now - self.when) % 2**32 < AWAY + random.randrange(32) * 64

    def change(self, timed_out: bool, now: int) -> bool:
        """Note a try; False: nothing new."""
        if not timed_out:
            changed = self.count > 0
            self.count = 0
            return changed
        if self.count and now < self.when + APART:
            return False
        self.count = min(self.count + 1, COUNT_LIMIT)
        self.when = now
        return True


class Timeouts:
    """The table, and its companion for IPv6."""

    def __init__(self, home: Path, descriptor: int = 0) -> None:
        """descriptor: of the file, opened by somebody who may; 0: it is opened by its path."""
        self.path = home / "queue/lock/tcpto"
        self.descriptor = descriptor
        self._six: OrderedDict[str, Place] = OrderedDict()

    def is_away(self, address: str) -> bool:
        """Whether an address is to be left alone."""
        now = int(time.time()) % 2**32
        if ":" in address:
            place = self._six.get(address)
            return place is not None and place.is_away(now)
        wanted = socket.inet_aton(address)
        with _Table(self.path, self.descriptor) as table:
            at = table.find(wanted)
            return at is not None and table.place(at).is_away(now)

    def note(self, address: str, timed_out: bool) -> None:
        """Note whether a try to connect timed out. A table that cannot be written costs nothing but time."""
        now = int(time.time()) % 2**32
        if ":" in address:
            self._note_six(address, timed_out, now)
            return
        wanted = socket.inet_aton(address)
        with _Table(self.path, self.descriptor) as table:
            at = table.find(wanted)
            place = Place(wanted, 0, 0) if at is None else table.place(at)
            if at is None and timed_out:
                at = table.room()
            if at is not None and place.change(timed_out, now):
                table.write(at, place)

    def _note_six(self, address: str, timed_out: bool, now: int) -> None:
        if not timed_out:
            self._six.pop(address, None)
            return
        self._six.setdefault(address, Place(b"", 0, 0)).change(True, now)
        while len(self._six) > REMEMBERED:
            self._six.popitem(last=False)


class _Table:
    """The file, locked while it is looked at. A file that is not there is an empty table."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.fd = -1
        self.data = b""

    def __enter__(self) -> _Table:
        try:
            self.fd = os.dup(self.descriptor) if self.descriptor else os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            data = os.pread(self.fd, PLACES * _PLACE.size, 0)
        except OSError:
            return self
        self.data = data[: len(data) // _PLACE.size * _PLACE.size]
        return self

    def __exit__(self, *_: object) -> None:
        if self.fd >= 0:
            with contextlib.suppress(OSError):  # the lock is the open file's, and a copy's end does not end it
                fcntl.flock(self.fd, fcntl.LOCK_UN)
            os.close(self.fd)

    def find(self, host: bytes) -> int | None:
        """The number of a host's place. Every delivery asks, so the other places are not unpacked for it."""
        at = self.data.find(host)
        while at % _PLACE.size and at >= 0:
            at = self.data.find(host, at + 1)
        return at // _PLACE.size if at >= 0 else None

    def place(self, number: int) -> Place:
        """What a place says."""
        return Place(*_PLACE.unpack_from(self.data, number * _PLACE.size))

    def room(self) -> int | None:
        """A free place, else that of the host that has been quiet for longest; None in an empty table."""
        places = [Place(*fields) for fields in _PLACE.iter_unpack(self.data)]
        free = next((at for at, place in enumerate(places) if not place.count), None)
        if free is not None:
            return free
        return min(range(len(places)), key=lambda at: places[at].when + WEIGHT * places[at].count, default=None)

    def write(self, number: int, place: Place) -> None:
        """Write one place."""
        with contextlib.suppress(OSError):
            os.pwrite(self.fd, _PLACE.pack(place.host, place.count, place.when), number * _PLACE.size)
