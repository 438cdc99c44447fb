"""The sending side: SMTP sessions on the loopback address, one message each, so many at a time."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

TIMEOUT = 120.0
"""Seconds that one reply may take."""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of one run: messages accepted, what was said to the others, seconds in all, seconds of each session."""

    accepted: int
    refusals: Sequence[str]
    seconds: float
    sessions: Sequence[float]

    @property
    def refused(self) -> str:
        """How many messages were refused, and with which replies."""
        replies = ", ".join(f"{number} x {said!r}" for said, number in Counter(self.refusals).most_common())
        return f"{len(self.refusals)} refused" + (f": {replies}" if replies else "")

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
    said: list[str] = []

    def work(host: str) -> None:
        for message in _shared(todo, lock):
            begun = time.perf_counter()
            reply = _session(port, message, host)
            times.append(time.perf_counter() - begun)
            said.append(reply)

    begun = time.perf_counter()
    threads = [threading.Thread(target=work, args=(f"127.0.1.{number + 1}",)) for number in range(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refusals = [reply for reply in said if not reply.startswith("250")]
    return Load(len(said) - len(refusals), refusals, time.perf_counter() - begun, times)


def _shared(todo: Iterator[bytes], lock: threading.Lock) -> Iterator[bytes]:
    while True:
        with lock:
            message = next(todo, None)
        if message is None:
            return
        yield message


def _session(port: int, data: bytes, host: str) -> str:
    """One session; the reply to the message, or what stopped it before, with the command it came to."""
    at = "connection"
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT, (host, 0)) as connection:
            replies = connection.makefile("rb")
            for command in ("", "EHLO bench.example", "MAIL FROM:<a@example.org>",
                            "RCPT TO:<sink@bench.example>", "DATA"):  # as the dialogue goes # fmt: skip
                at = command or at
                if command:
                    connection.sendall(f"{command}\r\n".encode())
                reply = _reply(replies)
                if reply[:1] not in ("2", "3"):
                    return f"{at}: {reply}"
            at = "message"
            connection.sendall(data)
            return _reply(replies)
    except OSError as error:
        return f"{at}: {error}"


def _reply(replies: BinaryIO) -> str:
    """The last line of one reply, all lines of it read; empty if the session ended before."""
    while True:
        line = replies.readline()
        if line[3:4] != b"-":
            return line.decode("ascii", "replace").rstrip()
