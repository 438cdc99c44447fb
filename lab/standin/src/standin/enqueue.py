"""qmail-queue: the message on descriptor 0, then the envelope on descriptor 1; both go to disk, or neither."""

from __future__ import annotations

import os
import pwd
import signal
import time
from collections.abc import Iterator

from standin import auto
from standin.queue import date, split_path

ADDRESS_LIMIT = 1003
DEATH = 86400
PIECE = 65536


class Failure(Exception):
    """The message is not queued; the argument is the exit code."""


def invoker() -> str:
    """Who submits, as the Received line says it."""
    words = {auto.ALIAS: "by alias", auto.DAEMON: "from network", auto.SEND: "for bounce"}
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = ""
    return words.get(name, f"by uid {os.getuid()}")


def pieces(descriptor: int) -> Iterator[bytes]:
    """What is to be read from a descriptor, to its end; a read error is code 54."""
    try:
        while piece := os.read(descriptor, PIECE):
            yield piece
    except OSError as error:
        raise Failure(54) from error


def read_envelope() -> bytes:
    """The envelope's records, checked, without the NUL that ends them."""
    whole = b"".join(pieces(1))
    wanted, at = b"F", 0
    while wanted == b"F" or whole[at : at + 1] != b"\0":
        if at >= len(whole):
            raise Failure(54)
        if whole[at : at + 1] != wanted:
            raise Failure(91)
        end = whole.find(b"\0", at, at + 1 + ADDRESS_LIMIT)
        if end < 0:
            raise Failure(11 if len(whole) > at + ADDRESS_LIMIT else 54)
        wanted, at = b"T", end + 1
    return whole[:at]


def create(path: str, code: int) -> int:
    """Make a file that must not exist yet; its group is its directory's."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    except OSError as error:
        raise Failure(code) from error


def write(descriptor: int, data: bytes) -> None:
    """Write everything; code 53 when the disk will not have it."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError as error:
        raise Failure(53) from error


def sync(descriptor: int) -> None:
    """Bring a file to disk; code 53 when the disk will not have it."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise Failure(53) from error


def link(old: str, new: str, code: int) -> None:
    """Give a file a further name."""
    try:
        os.link(old, new)
    except OSError as error:
        raise Failure(code) from error


def enqueue(made: list[str]) -> None:
    """Queue one message. `made` names the files that must go again when this fails."""
    now, pid = time.time(), os.getpid()
    start = f"pid/{pid}.{time.time_ns()}"
    message = create(start, 63)
    made.append(start)
    number = os.fstat(message).st_ino
    mess, intd = split_path("mess", number), f"intd/{number}"
    link(start, mess, 64)
    made[:] = [mess]
    os.unlink(start)
    todo = create(intd, 65)
    made.append(intd)
    write(message, f"Received: (qmail {pid} invoked {invoker()}); {date(now)}\n".encode())
    for piece in pieces(0):
        write(message, piece)
    write(todo, b"u%d\0p%d\0" % (os.getuid(), pid) + read_envelope())
    sync(message)
    sync(todo)
    link(intd, f"todo/{number}", 66)
    made.clear()


def pull_trigger() -> None:
    """Wake qmail-send; it looks by itself now and then, so a failure is none."""
    try:
        trigger = os.open("lock/trigger", os.O_WRONLY | os.O_NONBLOCK)
        os.write(trigger, b"\0")
    except OSError:
        pass


def give_up(_number: int, _frame: object) -> None:
    """The alarm rang: a day has passed."""
    raise Failure(52)


def main() -> int:
    """Run qmail-queue; returns its exit code."""
    os.umask(0o027)
    try:
        os.chdir(f"{auto.HOME}")
    except OSError:
        return 61
    try:
        os.chdir("queue")
    except OSError:
        return 62
    for number in (signal.SIGPIPE, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(DEATH)
    made: list[str] = []
    code = 0
    try:
        enqueue(made)
    except Failure as failure:
        code = failure.args[0]
    except MemoryError:
        code = 51
    except Exception:
        code = 81
    signal.alarm(0)
    for path in reversed(made):
        os.unlink(path)
    if code == 0:
        pull_trigger()
    return code
