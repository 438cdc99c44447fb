"""Handing a message to the next queue program, the real qmail-queue, past the scanner.

For releases and notices only: the mail that the gateway accepts is handed on by the queue client itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from email.utils import formatdate
from typing import IO

from gatescan import __version__
from gatescan.config import Config
from gatescan.errors import GatescanError

TIMEOUT = 300.0
"""Seconds that the queue program may take."""


class QueueError(GatescanError):
    """The queue program did not take the message; `permanent` if it never will, `unsure` if it may have."""

    def __init__(self, problem: str, permanent: bool = False, unsure: bool = False) -> None:
        super().__init__(problem)
        self.permanent = permanent
        self.unsure = unsure


def envelope(sender: str, recipients: Iterable[str]) -> bytes:
    """The envelope as qmail-queue reads it. The addresses hold no NUL: they came out of such an envelope."""
    parts = [b"F" + _raw(sender)]
    parts += [b"T" + _raw(address) for address in recipients]
    return b"\0".join(parts) + b"\0\0"


def _raw(address: str) -> bytes:
    return address.encode("utf-8", "surrogateescape")


def submit(config: Config, message: IO[bytes], sender: str, recipients: Iterable[str], received: str = "") -> int:
    """Queue the rest of `message`; QueueError unless the program said 0. `received` makes a trace line.

    Returns the program's process: qmail's qp, if it is qmail-queue.
    """
    listed = tuple(recipients)
    if not listed:
        raise QueueError("it has no recipient", permanent=True)
    with _files(config, message, envelope(sender, listed), received) as (body, addresses):
        return _run(config.next_queue, body, addresses)


@contextlib.contextmanager
def _files(
    config: Config, message: IO[bytes], addresses: bytes, received: str
) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """What the program is to read; QueueError where the disk is full or fails: nothing has been started then."""
    with contextlib.ExitStack() as files:
        try:
            body, listed = (files.enter_context(tempfile.TemporaryFile()) for _ in range(2))
            if received:
                date = formatdate(time.time(), localtime=True)
                body.write(f"Received: {received} at {config.hostname} ({__version__}); {date}\n".encode())
            shutil.copyfileobj(message, body, 1 << 20)
            listed.write(addresses)
            for file in (body, listed):
                file.flush()
                file.seek(0)
        except OSError as error:
            with contextlib.suppress(OSError):  # it tries to write what is left
                files.close()
            raise QueueError(f"it could not be copied for the queue: {error}") from error
        yield body, listed


def _run(program: tuple[str, ...], body: IO[bytes], addresses: IO[bytes]) -> int:
    # QMAILQUEUE would lead a program that honours it back to the scanner.
    environment = {name: value for name, value in os.environ.items() if name != "QMAILQUEUE"}
    try:
        done = subprocess.Popen(program, stdin=body, stdout=addresses, stderr=subprocess.DEVNULL, env=environment)
    except OSError as error:
        raise QueueError(f"cannot run {program[0]}: {error.strerror}") from error
    with done:
        try:
            done.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            done.kill()
            raise QueueError(f"{program[0]} took longer than {TIMEOUT:g} seconds", unsure=True) from None
        except BaseException:
            done.kill()
            raise
    if done.returncode < 0:
        raise QueueError(f"{program[0]} was killed by signal {-done.returncode}", unsure=True)
    if done.returncode:
        raise QueueError(f"{program[0]} said {done.returncode}", permanent=11 <= done.returncode <= 40)
    return done.pid
