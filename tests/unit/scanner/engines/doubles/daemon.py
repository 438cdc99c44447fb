"""A daemon's double on a unix socket: each connection is handed to a function in a thread."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path


class Daemon:
    """Serves until it is closed."""

    def __init__(self, path: Path, serve: Callable[[socket.socket], None]) -> None:
        self.path = str(path)
        self._serve = serve
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(16)
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(60)
            self._open.append(connection)
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            self._serve(connection)

    def close(self) -> None:
        """Let nobody in, and let go of who is in."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def line(connection: socket.socket, end: bytes = b"\n") -> bytes:
    """Read up to `end`, a byte at a time; empty at the end of the connection."""
    data = b""
    while not data.endswith(end):
        byte = connection.recv(1)
        if not byte:
            return data
        data += byte
    return data[: -len(end)]


def exactly(connection: socket.socket, count: int) -> bytes:
    """Read `count` bytes."""
    data = b""
    while len(data) < count and (more := connection.recv(count - len(data))):
        data += more
    return data


def to_end(connection: socket.socket) -> bytes:
    """Read until the peer ends."""
    data = b""
    while more := connection.recv(65_536):
        data += more
    return data
