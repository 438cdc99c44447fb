"""qmail's queue on one gateway: what waits, and what is to be done with it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any

from . import supervise
from .frame import Refusal
from .matching import fits

CHANNELS = ("local", "remote")
FAR = 10 * 365 * 86_400
"""Seconds from now at which a held message would be tried."""
HELD = 365 * 86_400
"""A message whose next try is farther away than that is held."""
KEPT = 86_400
"""Seconds that the copy of a dropped message is kept."""
HEADER = 65_536
"""Bytes of a message in which its subject is looked for."""
BUSY = "deliveries under way did not end within {:.0f} s: nothing was changed; try later, or with a longer --wait"
MOST = 10_000
"""Messages that are told of."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to do, with what: filters, all of which must fit.

    verb: list, flush, hold, resume or drop. to, sender: addresses, `*` is any text. older: seconds in the queue.
    ids: qmail's numbers; drop takes nothing else beside `to`, so that it does what was shown before. wait: seconds that
    deliveries under way are waited for. by: who asks. seconds: after which no further message is begun with, so that
    what was done is told in time.
    """

    verb: str
    to: str = ""
    sender: str | None = None
    older: float = 0.0
    ids: tuple[int, ...] = ()
    wait: float = 60.0
    by: str = ""
    seconds: float = 40.0


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody who has not got a message yet: where that is written down."""

    address: str
    file: Path
    offset: int


@dataclass(frozen=True, slots=True)
class Message:
    """A message in the queue. born: seconds since 1970. recipients: those that were asked for."""

    number: int
    sender: str
    born: float
    size: int
    recipients: tuple[Recipient, ...]
    body: Path

    @property
    def files(self) -> set[Path]:
        """Its files of recipients."""
        return {recipient.file for recipient in self.recipients}

    def is_held(self) -> bool:
        """Whether it waits until somebody says otherwise."""
        times = [file.stat().st_mtime for file in self.files]
        return bool(times) and min(times) > time.time() + HELD

    def record(self) -> dict[str, Any]:
        """As it is told."""
        told = {"msg": self.number, "from": self.sender, "to": [one.address for one in self.recipients]}
        told |= {"time": self.born, "size": self.size, "subject": subject(self.body)}
        return told | {"state": "held" if self.is_held() else "waiting"}


def subject(path: Path) -> str:
    """The message's subject."""
    with path.open("rb") as file:
        header = BytesHeaderParser().parsebytes(file.read(HEADER))
    with contextlib.suppress(Exception):  # strangers' words: whatever is wrong with them, the message is listed
        return str(make_header(decode_header(str(header.get("Subject", "")))))[:200]
    return ""


class Queue:
    """The folder /var/qmail/queue."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def messages(self, request: Request) -> Iterator[Message]:
        """Those that fit and that somebody is still to get."""
        for info in sorted(self.folder.glob("info/*/*")):
            with contextlib.suppress(FileNotFoundError, ValueError):  # delivered just now; no message
                message = self._message(info, request)
                if message and self._fits(message, request):
                    yield message

    def unsorted(self) -> int:
        """How many qmail-send has not looked at yet."""
        return sum(1 for path in self.folder.glob("todo/**/*") if path.is_file())

    def _message(self, info: Path, request: Request) -> Message | None:
        split = info.parent.name
        body = self.folder / "mess" / split / info.name
        recipients = [one for channel in CHANNELS for one in read_recipients(self.folder / channel / split / info.name)]
        chosen = tuple(one for one in recipients if not request.to or fits(request.to, one.address))
        sender = info.read_bytes()[1:].split(b"\0")[0].decode("utf-8", "replace")
        born = info.stat().st_mtime
        return Message(int(info.name), sender, born, body.stat().st_size, chosen, body) if chosen else None

    def _fits(self, message: Message, request: Request) -> bool:
        return (
            (not request.ids or message.number in request.ids)
            and (request.sender is None or fits(request.sender, message.sender))
            and message.born <= time.time() - request.older
        )


def read_recipients(file: Path) -> Iterator[Recipient]:
    """Those of a channel that are to be done: `T` and the address; `D` is in place of `T` for those that are."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return
    offset = 0
    for record in data.split(b"\0"):
        if record[:1] == b"T":
            yield Recipient(record[1:].decode("utf-8", "replace"), file, offset)
        offset += len(record) + 1


# --- while no qmail-send runs ---


class Service:
    """qmail-send, by its supervisor and by its lock."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "service/qmail-send"
        self.lock = root / "var/qmail/queue/lock/sendmutex"

    @contextlib.contextmanager
    def stopped(self, wait: float) -> Iterator[None]:
        """Nobody else changes the queue meanwhile; Refusal if deliveries under way take longer than `wait`."""
        if not self.lock.exists():
            raise Refusal(f"{self.lock} is not there: this host has no qmail yet; run site.yml first")
        with supervise.told_to_stop([self.folder]), self.lock.open("r+b") as lock:
            deadline = time.monotonic() + wait
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise Refusal(BUSY.format(wait)) from None
                    time.sleep(0.1)
            yield


def set_time(message: Message, moment: float) -> None:
    """When a message is tried next."""
    for file in message.files:
        os.utime(file, (moment, moment))


def drop(message: Message, copies: Path, by: str) -> None:
    """Mark recipients as done, after a copy was written; qmail-send then removes what nobody is left to get."""
    copies.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = copies / f"{int(time.time())}.{message.number}.eml"
    told = message.record() | {"by": by, "dropped": time.time()}
    with open(os.open(f"{target}.part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(f"X-Gatewright-Dropped: {json.dumps(told)}\n".encode())
        with message.body.open("rb") as body:
            shutil.copyfileobj(body, file)
        file.flush()
        os.fsync(file.fileno())
    Path(f"{target}.part").rename(target)
    for one in message.recipients:
        with one.file.open("r+b") as file:
            file.seek(one.offset)
            file.write(b"D")
            file.flush()
            os.fsync(file.fileno())


def expire(copies: Path) -> None:
    """Remove copies that are older than their day."""
    for path in copies.glob("*.eml*"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - KEPT:
                path.unlink()


def expire_later() -> None:
    """Have the copies removed after their day also if nobody calls this again; after a restart tmpfiles.d does it."""
    find = ["/usr/bin/find", "/var/lib/gatewright/dropped", "-name", "*.eml*", "-mmin", "+1430", "-delete"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["systemd-run", "--quiet", f"--on-active={KEPT}", "--timer-property=AccuracySec=60", *find]
        subprocess.run(command, env={"PATH": supervise.PATH}, capture_output=True, timeout=20, check=False)


def journal(path: Path, event: str, message: Message, by: str) -> None:
    """Write down in the scanner's journal who did what; without a scanner, nowhere."""
    line = {"time": round(time.time(), 3), "event": f"queue-{event}", "msg": message.number, "by": by}
    line |= {"from": message.sender, "to": [one.address for one in message.recipients[:100]]}
    with contextlib.suppress(OSError):
        # the file is the scanner's: in place of it may be a pipe that nobody reads
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            os.write(file, json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n")
        finally:
            os.close(file)


@dataclass(frozen=True, slots=True)
class Work:
    """One request."""

    root: Path
    request: Request

    def answer(self) -> dict[str, Any]:
        """Carry it out."""
        queue = Queue(self.root / "var/qmail/queue")
        if not queue.folder.is_dir():
            raise Refusal(f"{queue.folder} is not there: this host has no qmail yet; run site.yml first")
        copies = self.root / "var/lib/gatewright/dropped"
        expire(copies)
        if self.request.verb == "list":
            return self._told(list(queue.messages(self.request)), queue)
        if self.request.verb == "flush" and self._is_flush_of_all(queue):
            return self._flush_all(queue)
        with Service(self.root).stopped(self.request.wait):
            chosen = list(queue.messages(self.request))
            end, begun = time.monotonic() + self.request.seconds, []
            for message in chosen:
                if time.monotonic() > end:
                    break
                begun.append((message, self._change(message, copies)))
        changed = [message for message, is_changed in begun if is_changed]
        if self.request.verb == "drop" and changed and self.root == Path("/"):
            expire_later()
        return self._told(changed, queue) | {"left": len(chosen) - len(begun)}

    def _told(self, messages: list[Message], queue: Queue) -> dict[str, Any]:
        records = []
        for message in messages[:MOST]:
            with contextlib.suppress(FileNotFoundError):
                records.append(message.record())
        return {"messages": records, "count": len(messages), "unsorted": queue.unsorted()}

    def _is_flush_of_all(self, queue: Queue) -> bool:
        """Whether qmail-send can be told to try everything: nothing is held, and nothing is to be left out."""
        request = self.request
        everything = not (request.to or request.sender is not None or request.older or request.ids)
        return everything and not any(message.is_held() for message in queue.messages(Request("list")))

    def _flush_all(self, queue: Queue) -> dict[str, Any]:
        tell = self.root / "var/qmail/bin/qmail-tcpok"
        with contextlib.suppress(OSError):  # servers that did not answer are asked again, too
            subprocess.run([str(tell)], env={"PATH": supervise.PATH}, capture_output=True, timeout=20, check=False)
        messages = list(queue.messages(self.request))
        supervise.svc("-a", self.root / "service/qmail-send")
        return self._told(messages, queue)

    def _change(self, message: Message, copies: Path) -> bool:
        verb, is_held = self.request.verb, message.is_held()
        if (verb == "flush" and is_held) or (verb in ("hold", "resume") and is_held == (verb == "hold")):
            return False
        if verb == "drop":
            drop(message, copies, self.request.by)
        set_time(message, time.time() + FAR if verb == "hold" else time.time())
        if verb != "flush":
            journal(self.root / "var/log/gatescan/messages.jsonl", verb, message, self.request.by)
        return True


def parse(told: dict[str, Any]) -> Request:
    """A request, out of JSON; ValueError if it is none."""
    request = Request(**told | {"ids": tuple(told.get("ids", ()))})
    if not re.fullmatch("list|flush|hold|resume|drop", request.verb):
        raise ValueError(request.verb)
    if request.verb == "drop" and not request.ids:
        raise ValueError("drop takes numbers")
    return request


def carry_out(request: Request, root: Path) -> dict[str, Any]:
    """Do it; Refusal if that is impossible."""
    try:
        return Work(root, request).answer()
    except (OSError, subprocess.SubprocessError) as error:
        raise Refusal(f"the queue: {error}") from error


def changes(request: Request) -> bool:
    """Whether a request changes anything."""
    return request.verb != "list"
