"""A connection to an engine's daemon on this host, every step of it within a deadline."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from gatescan.config import ConfigError
from gatescan.engines.base import EngineError, remaining
from gatescan.model import Buffer

ANSWER_BOUND = 1_000_000
"""Most bytes of one answer, more than any daemon sends: beyond it the answer is an error."""

_T = TypeVar("_T")


class Closed(EngineError):
    """The daemon closed the connection while it was spoken to; it may have said why before."""


class Connection:
    """A stream to `address`, a socket's path or `127.0.0.1:port`. Every failure is an EngineError."""

    def __init__(self, address: str, deadline: float, advice: str) -> None:
        self.address = address
        self.deadline = deadline
        self.advice = advice
        self._rest = b""
        self._socket = socket.socket(socket.AF_UNIX if address.startswith("/") else socket.AF_INET)
        try:
            self._do("connect", lambda: self._socket.connect(_target(address)))
        except EngineError:
            self._socket.close()
            raise

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def send(self, data: Buffer) -> None:
        """Send all of it."""
        self._do("write", lambda: self._socket.sendall(data))

    def send_descriptor(self, data: bytes, descriptor: int) -> None:
        """Send a few bytes and, with them, an open file."""
        sent = self._do("write", lambda: socket.send_fds(self._socket, [data], [descriptor]))
        self.send(data[sent:])

    def end_sending(self) -> None:
        """Tell the daemon that nothing more comes."""
        with contextlib.suppress(OSError):  # it has answered already, and closed
            self._socket.shutdown(socket.SHUT_WR)

    def read_until(self, end: bytes) -> bytes:
        """The next bytes up to `end`, which is left out; EngineError if the daemon ends before."""
        while end not in self._rest:
            more = self._read()
            if not more:
                what = "in the middle of its answer" if self._rest else "without an answer"
                raise EngineError(f"closed the connection {what}", self.advice)
            self._rest += more
        line, _, self._rest = self._rest.partition(end)
        return line

    def read_to_end(self) -> bytes:
        """All that is left until the daemon closes."""
        while more := self._read():
            self._rest += more
        data, self._rest = self._rest, b""
        return data

    def _read(self) -> bytes:
        if len(self._rest) > ANSWER_BOUND:
            raise EngineError(f"answered more than {ANSWER_BOUND} bytes", self.advice)
        return self._do("read", lambda: self._socket.recv(65_536))

    def _do(self, what: str, step: Callable[[], _T]) -> _T:
        self._socket.settimeout(remaining(self.deadline))
        try:
            return step()
        except TimeoutError:
            raise EngineError(f"no answer within its time limit ({what} {self.address})", self.advice) from None
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed(f"closed the connection ({what}: {error.strerror})", self.advice) from error
        except OSError as error:
            raise EngineError(f"cannot {what} {self.address}: {error.strerror or error}", self.advice) from error


def check_address(address: str, where: str) -> None:
    """ConfigError unless it is a socket's path or a port of this host: mail must not cross a network in clear."""
    if address.startswith("/"):
        if len(os.fsencode(address)) > 107:
            raise ConfigError(where, "a socket's path has at most 107 bytes")
        return
    host, _, port = address.rpartition(":")
    try:
        local = ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        local = False
    if not local or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ConfigError(where, f"a socket's path or 127.0.0.1:port is needed, not {address}")


def _target(address: str) -> str | tuple[str, int]:
    if address.startswith("/"):
        return address
    host, _, port = address.rpartition(":")
    return host, int(port)
