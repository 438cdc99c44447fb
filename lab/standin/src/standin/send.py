"""qmail-send: takes messages from the queue and sees to their delivery until each has left it.

A message N lives in mess/S/N with its sender in info/S/N (whose time is its birth) and its recipients in local/S/N and
remote/S/N; a recipient's T becomes D when it is done. A file goes away only after what it stands for is done and on
disk, so that a kill at any moment costs at worst a second delivery.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import time
from collections import deque
from math import isqrt

from standin import auto, bounce, control
from standin.clean import OSSIFIED
from standin.queue import split_path, write_all
from standin.rewrite import Rewriter

SLEEP_TODO = 1500
SLEEP_BOUNCE = 123
SKIP = {"local": 10, "remote": 20}
CHANNELS = ("local", "remote")


def log(line: bytes) -> None:
    """Write a line to the log, which is descriptor 0."""
    write_all(0, line + b"\n")


def safe(text: bytes, space: bytes = b" ") -> bytes:
    """Text from elsewhere as a line of the log may have it."""
    text = text.strip(b"\n").replace(b"\n", b"/").replace(b" ", space)
    return bytes(byte if 32 <= byte <= 126 else ord("?") for byte in text)


class Message:
    """A message that is in the queue and preprocessed."""

    def __init__(self, number: int) -> None:
        """Read a message's state from disk; raise OSError when it cannot be read."""
        info = f"queue/{split_path('info', number)}"
        with open(info, "rb") as file:
            self.sender = file.read()[1:].partition(b"\0")[0]
        self.number = number
        self.birth = os.stat(info).st_mtime
        self.due = {channel: self.birth for channel in CHANNELS if os.path.exists(self.path(channel))}
        self.pending = dict.fromkeys(CHANNELS, 0)  # of the pass that is under way
        self.bounce_due = 0.0

    def path(self, channel: str) -> str:
        """The file of the recipients of a channel."""
        return f"queue/{split_path(channel, self.number)}"

    def recipients(self, channel: str) -> list[tuple[int, bytes]]:
        """The recipients that are not done, with the places of their letters."""
        with open(self.path(channel), "rb") as file:
            records = file.read().split(b"\0")[:-1]
        places, at = [], 0
        for record in records:
            if record.startswith(b"T"):
                places.append((at, record[1:]))
            at += len(record) + 1
        return places

    def mark_done(self, channel: str, place: int) -> None:
        """Write down that a recipient is done."""
        with open(self.path(channel), "r+b") as file:
            file.seek(place)
            file.write(b"D")
            file.flush()
            os.fsync(file.fileno())

    def next_try(self, channel: str, now: float) -> float:
        """The quadratic schedule: the square root of the age grows by the same step each time."""
        return self.birth + (isqrt(max(0, int(now - self.birth))) + SKIP[channel]) ** 2


class Channel:
    """The spawner of one kind of delivery, and what waits for it."""

    def __init__(self, name: str, to_spawn: int, from_spawn: int, default: int) -> None:
        self.name = name
        self.to_spawn = to_spawn
        self.from_spawn = from_spawn
        most = os.read(from_spawn, 1)
        if not most:
            raise Lost
        self.limit = min(control.read_number(f"concurrency{name}", default), most[0])
        self.waiting: deque[tuple[Message, int, bytes]] = deque()
        self.running: dict[int, tuple[int, Message, int, bytes]] = {}
        self.unread = b""


class Lost(Exception):
    """A spawner is gone."""


class Sender:
    """All of qmail-send's state."""

    def __init__(self) -> None:
        self.rewriter = Rewriter()
        self.lifetime = control.read_number("queuelifetime", 604800)
        self.channels = {"local": Channel("local", 1, 2, 10), "remote": Channel("remote", 3, 4, 20)}
        self.messages: dict[int, Message] = {}
        self.delivery = 0
        self.leaving = False
        self.next_scan = 0.0
        self.trigger = os.open("queue/lock/trigger", os.O_RDWR | os.O_NONBLOCK)
        self.signals, wakeup = os.pipe()
        for descriptor in (self.signals, wakeup):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        for number in (signal.SIGALRM, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: None)

    # -- the queue

    def load(self) -> None:
        """Find the messages that an earlier qmail-send had preprocessed."""
        for part in range(auto.SPLIT):
            for name in os.listdir(f"queue/info/{part}"):
                if name.isdigit() and not os.path.exists(f"queue/todo/{name}"):
                    self.messages[int(name)] = Message(int(name))
        for part in range(auto.SPLIT):
            for entry in os.scandir(f"queue/mess/{part}"):
                old = entry.stat().st_mtime < time.time() - OSSIFIED
                if old and int(entry.name) not in self.messages and not os.path.exists(f"queue/todo/{entry.name}"):
                    self.clean("foop", int(entry.name))

    def clean(self, verb: str, number: int) -> bool:
        """Let qmail-clean remove a message's files."""
        answer = os.read(6, 1) if write_all(5, b"%s/%d\0" % (verb.encode(), number)) else b""
        if not answer:
            raise Lost
        return answer == b"+"

    def scan(self) -> None:
        """Preprocess every new message."""
        self.next_scan = time.time() + SLEEP_TODO
        for name in sorted(os.listdir("queue/todo")):
            if name.isdigit():
                try:
                    self.preprocess(int(name))
                except (OSError, ValueError) as error:
                    log(b"warning: unable to preprocess todo/%s: %s" % (name.encode(), safe(str(error).encode())))

    def preprocess(self, number: int) -> None:
        """Sort a new message's recipients into channels, on disk, and take it off the list of new ones."""
        with open(f"queue/todo/{number}", "rb") as file:
            records = file.read().split(b"\0")[:-1]
        fields = {record[:1]: record[1:] for record in records if record[:1] in (b"u", b"p", b"F")}
        files: dict[str, bytes] = {"info": b"F" + fields.get(b"F", b"") + b"\0", "local": b"", "remote": b""}
        for record in records:
            if record.startswith(b"T"):
                channel, address = self.rewriter.rewrite(record[1:])
                files[channel] += b"T" + address + b"\0"
        for kind, content in files.items():
            path = f"queue/{split_path(kind, number)}"
            if os.path.exists(path):
                os.unlink(path)
            if content:
                with open(path, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
        size = os.stat(f"queue/{split_path('mess', number)}").st_size
        if not self.clean("todo", number):
            log(b"warning: trouble removing todo/%d; will try again later" % number)
            return
        uid, pid = fields.get(b"u", b""), fields.get(b"p", b"")
        log(b"new msg %d" % number)
        sender = safe(fields.get(b"F", b""))
        log(b"info msg %d: bytes %d from <%s> qp %s uid %s" % (number, size, sender, pid, uid))
        self.messages[number] = Message(number)

    # -- deliveries

    def status(self) -> None:
        """Log how many deliveries run."""
        local, remote = self.channels["local"], self.channels["remote"]
        counts = (len(local.running), local.limit, len(remote.running), remote.limit)
        log(b"status: local %d/%d remote %d/%d%s" % (*counts, b" exitasap" if self.leaving else b""))

    def plan(self) -> None:
        """Begin a pass for every message that is due, and end those that have nothing left."""
        now = time.time()
        for message in list(self.messages.values()):
            for name, due in message.due.items():
                if due <= now and not message.pending[name]:
                    recipients = message.recipients(name)
                    message.pending[name] = len(recipients)
                    self.channels[name].waiting.extend((message, place, address) for place, address in recipients)
            for name in [name for name in message.due if message.due[name] <= now and not message.pending[name]]:
                os.unlink(message.path(name))
                del message.due[name]
            if not message.due and message.bounce_due <= now:
                self.finish(message)

    def finish(self, message: Message) -> None:
        """Send the bounce if there is one, and take the message out of the queue."""
        done, line = bounce.inject(message.number, message.sender)
        if line:
            log(line)
        if not done:
            message.bounce_due = time.time() + SLEEP_BOUNCE
            return
        os.unlink(f"queue/{split_path('info', message.number)}")
        self.clean("foop", message.number)
        del self.messages[message.number]
        log(b"end msg %d" % message.number)

    def start(self, channel: Channel) -> None:
        """Start what waits, as far as the limit allows."""
        while channel.waiting and len(channel.running) < channel.limit:
            message, place, address = channel.waiting.popleft()
            slot = next(slot for slot in range(channel.limit) if slot not in channel.running)
            self.delivery += 1
            channel.running[slot] = (self.delivery, message, place, address)
            path = split_path("mess", message.number).encode()
            request = bytes([slot]) + b"\0".join([path, message.sender, address, b""])
            log(
                b"starting delivery %d: msg %d to %s %s"
                % (self.delivery, message.number, channel.name.encode(), safe(address))
            )
            if not write_all(channel.to_spawn, request):
                raise Lost
            self.status()

    def read_reports(self, channel: Channel) -> None:
        """Read from a spawner, and deal with the deliveries that have ended."""
        piece = os.read(channel.from_spawn, 65536)
        if not piece:
            raise Lost
        channel.unread += piece
        while len(channel.unread) > 1 and b"\0" in channel.unread[1:]:
            slot = channel.unread[0]
            text, _, channel.unread = channel.unread[1:].partition(b"\0")
            self.end_delivery(channel, slot, text)

    def end_delivery(self, channel: Channel, slot: int, text: bytes) -> None:
        """Write down how a delivery ended."""
        delivery, message, place, address = channel.running.pop(slot)
        now = time.time()
        letter, report = text[:1], text[1:]
        if letter not in (b"K", b"D") and now > message.birth + self.lifetime:
            letter, report = b"D", report.rstrip() + b"\nThe message has been in the queue too long: no further try.\n"
        word = {b"K": b"success", b"D": b"failure"}.get(letter, b"deferral")
        log(b"delivery %d: %s: %s" % (delivery, word, safe(report, b"_") + b"/"))
        if letter == b"D":
            bounce.add(message.number, self.rewriter.original(address), report)
        if letter in (b"K", b"D"):
            message.mark_done(channel.name, place)
        message.pending[channel.name] -= 1
        if not message.pending[channel.name]:
            left = bool(message.recipients(channel.name))
            message.due[channel.name] = message.next_try(channel.name, now) if left else now
        self.status()

    # -- the loop

    def read_signals(self) -> None:
        """Do what the signals ask for."""
        for number in os.read(self.signals, 64):
            if number == signal.SIGALRM:
                for message in self.messages.values():
                    message.due = dict.fromkeys(message.due, 0.0)
            elif number == signal.SIGHUP:
                self.rewriter.reread()
            elif number == signal.SIGTERM:
                self.leaving = True
                self.status()

    def patience(self) -> float:
        """Seconds until something is due."""
        moments = [self.next_scan]
        for message in self.messages.values():
            moments += [due for name, due in message.due.items() if not message.pending[name]]
            if not message.due:
                moments.append(message.bounce_due)
        return max(0.0, min(moments) - time.time())

    def run(self) -> None:
        """Work until SIGTERM, and then until the running deliveries have ended."""
        self.load()
        self.status()
        channels = list(self.channels.values())
        sources = [channel.from_spawn for channel in channels]
        while not self.leaving or any(channel.running for channel in channels):
            if not self.leaving:
                if time.time() >= self.next_scan:
                    self.scan()
                self.plan()
                for channel in channels:
                    self.start(channel)
            timeout = None if self.leaving else self.patience()
            ready = select.select([self.trigger, self.signals, *sources], [], [], timeout)[0]
            if self.trigger in ready:
                os.read(self.trigger, 4096)
                self.next_scan = 0.0
            if self.signals in ready:
                self.read_signals()
            for channel in channels:
                if channel.from_spawn in ready:
                    self.read_reports(channel)
        log(b"status: exiting")


def main() -> int:
    """Run qmail-send; returns its exit status."""
    os.umask(0o077)
    try:
        os.chdir(auto.HOME)
        lock = os.open("queue/lock/sendmutex", os.O_WRONLY)
    except OSError as error:
        log(f"alert: cannot start: unable to open mutex: {error.strerror}".encode())
        return 111
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        log(b"alert: cannot start: qmail-send is already running")
        return 111
    try:
        Sender().run()
    except Lost:
        log(b"alert: oh no! lost spawn connection! dying...")
        return 111
    except OSError as error:
        log(b"alert: cannot go on: " + safe(str(error).encode()))
        return 111
    return 0
