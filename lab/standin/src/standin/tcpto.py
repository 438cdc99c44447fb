"""Hosts that lately did not answer, kept in queue/lock/tcpto so that not every delivery waits for them."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATH = "queue/lock/tcpto"
RECORD = struct.Struct("<4sB3xI4x")  # address, timeouts in a row, moment of the last: as qmail has it
SIZE = 1024
TRIES, MOST, APART, AWAY = 2, 10, 120, 3600


@contextmanager
def table(write: bool) -> Iterator[dict[str, tuple[int, int]]]:
    """address -> (timeouts, moment); written back at the end if so wanted."""
    descriptor = os.open(PATH, os.O_RDWR if write else os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if write else fcntl.LOCK_SH)
        data = os.read(descriptor, SIZE).ljust(SIZE, b"\0")
        known = {socket.inet_ntoa(ip): (count, moment) for ip, count, moment in RECORD.iter_unpack(data) if count}
        yield known
        if write:
            newest = sorted(known.items(), key=lambda item: -item[1][1])[: SIZE // RECORD.size]
            new = b"".join(RECORD.pack(socket.inet_aton(ip), count, moment) for ip, (count, moment) in newest)
            os.pwrite(descriptor, new.ljust(SIZE, b"\0"), 0)
    finally:
        os.close(descriptor)


def is_away(address: str) -> bool:
    """Whether a host has lately timed out more than once."""
    try:
        with table(write=False) as known:
            count, moment = known.get(address, (0, 0))
    except OSError:
        return False
    return count >= TRIES and time.time() - moment < AWAY


def note(address: str, timed_out: bool) -> None:
    """Remember how a connection went."""
    try:
        with table(write=True) as known:
            count, moment = known.pop(address, (0, 0))
            if timed_out:
                again = not count or time.time() - moment > APART
                known[address] = (min(count + 1, MOST), int(time.time())) if again else (count, moment)
    except OSError:
        pass
