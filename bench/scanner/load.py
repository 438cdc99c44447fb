"""The sending side: SMTP sessions on the loopback address, one message each, so many at a time."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

TIMEOUT = 120.0
"""Seconds that one reply may take."""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of one run: messages accepted and not, seconds in all, seconds of each session."""

    accepted: int
    refused: int
    seconds: float
    sessions: Sequence[float]

    @property
    def rate(self) -> float:
        """Accepted messages a second."""
        return self.accepted / self.seconds

    def percentile(self, percent: int) -> float:
        """Seconds in which so many percent of the sessions were done."""
        return statistics.quantiles(self.sessions, n=100, method="inclusive")[percent - 1]


def on_the_wire(message: bytes) -> bytes:
    """A message with CRLF, stuffed dots and the final dot."""
    return message.replace(b"\n", b"\r\n").replace(b"\r\n.", b"\r\n..") + b".\r\nQUIT\r\n"


def send_all(port: int, messages: Sequence[bytes], sessions: int = 20) -> Load:
    """Send every message, in `sessions` at a time, each from a host of its own: one host alone gets its share only."""
    data = [on_the_wire(message) for message in messages]
    todo = iter(data)
    lock = threading.Lock()
    times: list[float] = []
    codes: list[bytes] = []

    def work(host: str) -> None:
        for message in _shared(todo, lock):
            begun = time.perf_counter()
            code = _session(port, message, host)
            times.append(time.perf_counter() - begun)
            codes.append(code)

    begun = time.perf_counter()
    threads = [threading.Thread(target=work, args=(f"127.0.1.{number + 1}",)) for number in range(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    accepted = codes.count(b"250")
    return Load(accepted, len(codes) - accepted, time.perf_counter() - begun, times)


def _shared(todo: Iterator[bytes], lock: threading.Lock) -> Iterator[bytes]:
    while True:
        with lock:
            message = next(todo, None)
        if message is None:
            return
        yield message


def _session(port: int, data: bytes, host: str) -> bytes:
    """One session; the code of the reply to the message, or of what stopped it before."""
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT, (host, 0)) as connection:
            replies = connection.makefile("rb")
            for command in (b"", b"EHLO bench.example", b"MAIL FROM:<a@example.org>",
                            b"RCPT TO:<sink@bench.example>", b"DATA"):  # fmt: skip
                if command:
                    connection.sendall(command + b"\r\n")
                code = _reply(replies)
                if code[:1] not in b"23" or not code:
                    return code
            connection.sendall(data)
            return _reply(replies)
    except OSError:
        return b""


def _reply(replies: BinaryIO) -> bytes:
    """The code of one reply, all lines of it read."""
    while True:
        line = replies.readline()
        if line[3:4] != b"-":
            return line[:3]
