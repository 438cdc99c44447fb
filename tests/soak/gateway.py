"""The whole gateway's long life in minutes: `python -m tests.soak.gateway [--messages N] [--rounds N]`.

The small gateway (lab/small) under djb's supervise: tcpserver, qmail, gatekeeper at the door, the scanner, gatepost at
the way out. While mail flows in and out, every daemon is loaded anew and killed, workers too, logs are rotated, a
stranger guesses recipients, another sends what is costly to scan, and a relay client floods a server that does not
answer. At the end: every message has arrived or is held, nothing was taken for an unknown recipient, nobody honest
waited long, and memory, descriptors and processes are as at the start. Without qmail's archive the stand-in runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import random
import re
import signal
import smtplib
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lab.small.gateway import OFFICE, OUTSIDE, SmallGateway, small_gateway
from lab.small.sink import Sink
from tests.soak.rig import Footprint, costly, message, pss, wait_until

LONGEST_WAIT = 5.0
"""Seconds that an honest sender's message may take while others are greedy."""
GROWTH = 1.3
"""How much larger a daemon's memory may be at the end than after its first messages."""
TRIES = 400
"""Tries of one message before it counts as lost; a sender tries for days."""
SENDERS = 6
ON_THE_WAY = 500
"""Messages that are taken and have not arrived yet, from which on senders wait: the queue is not what is tried here."""
CONCURRENCY = 60
"""qmail-send's deliveries at once, the role's default."""
HONEST, GUESSER, COSTLY = "127.0.113.7", "127.0.113.66", "127.0.113.67"
FLOODER, TARPIT = "127.0.2.71", "127.0.113.99"
FLUSH_SECONDS = 20.0
"""Between two tries of what was put off: more often, and the silent server's messages are all that qmail tries."""
FLOOD = 300
"""Messages to the server that does not answer."""
DAEMONS = ("gatekeeper/daemon", "gatescan/daemon", "gatepost/daemon")
SERVICES = (*DAEMONS, "gatepost/signer", "qmail", "qmail/smtpd")
LOGS = ("gatepost/deliveries.jsonl", "gatescan/messages.jsonl")
USER, FRIEND = "user@example.org", "friend@world.test"
MARK = re.compile(rb"^X-Soak: (\S+)", re.MULTILINE)


class Tarpit(Sink):
    """A server that takes connections and says nothing until it is told to."""

    def __init__(self, address: str) -> None:
        """Bind."""
        super().__init__(address)
        self.answers = threading.Event()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection, when the time has come."""
        self.answers.wait()
        with contextlib.suppress(OSError):  # the client has given up meanwhile
            super().finish_request(request, client_address)


class Sender:
    """A host that keeps its connection for some messages, and tries again what was put off."""

    def __init__(self, source: str, port: int) -> None:
        self._source, self._port = source, port
        self._connection: smtplib.SMTP | None = None

    def send(self, sender: str, recipient: str, content: bytes) -> int:
        """Offer one message under the sender's name; the last reply's code, 0 if there was none."""
        content = content.replace(b"From: alice@example.org", b"From: " + sender.encode())
        try:
            connection = self._connected()
            for code, _text in self._steps(connection, sender, recipient, content):
                if code >= 400:
                    self.close()
                    return code
        except (OSError, smtplib.SMTPException):
            self.close()
            return 0
        return 250

    def _connected(self) -> smtplib.SMTP:
        if self._connection is None:
            self._connection = smtplib.SMTP("127.0.0.1", self._port, timeout=60, source_address=(self._source, 0))
            self._connection.ehlo("soak.test")
        return self._connection

    @staticmethod
    def _steps(connection: smtplib.SMTP, sender: str, recipient: str, content: bytes) -> Iterator[tuple[int, bytes]]:
        yield connection.mail(sender)
        yield connection.rcpt(recipient)
        yield connection.data(content.replace(b"\n", b"\r\n"))

    def close(self) -> None:
        """Leave."""
        if self._connection:
            self._connection.close()
        self._connection = None


@dataclass
class Tally:
    """What was done and what came of it."""

    taken: int = 0
    on_the_way: int = 0
    """Messages of the honest senders' that were taken and are not held."""
    tried_again: int = 0
    faults: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)


class Soak:
    """One run over a gateway."""

    def __init__(self, gateway: SmallGateway, tarpit: Tarpit, messages: int, rounds: int, warm_up: int) -> None:
        self.gateway = gateway
        self.tarpit = tarpit
        self.messages, self.rounds, self.warm_up = messages, rounds, warm_up
        self.tally = Tally()
        self.done = threading.Event()
        self.work: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.lock = threading.Lock()
        self.chance = random.Random(7)
        self.before: dict[str, Footprint] = {}
        self.after: dict[str, Footprint] = {}

    def run(self) -> list[str]:
        """All of it; what was not as promised."""
        self._prepare()
        self._send_all(range(self.warm_up))
        self._hold_by_each_worker()
        self._drain()
        self.before = self._footprints()
        others = (self._disturb, self._honest, self._guess, self._send_costly, self._flood, self._flush)
        threads = [threading.Thread(target=self._guarded, args=(each,)) for each in others]
        for thread in threads:
            thread.start()
        self._send_all(range(self.warm_up, self.messages))
        self.done.set()
        self.tarpit.answers.set()
        for thread in threads:
            thread.join()
        self._drain()
        self._send_all(range(self.messages, self.messages + self.warm_up))
        self._drain()
        self.after = self._footprints()
        return [*self._faults(), *self._growth()]

    def _prepare(self) -> None:
        """The flooded domain's route, and the role's concurrency: qmail and gatepost read both at their start."""
        control = self.gateway.place.path / "qmail/control"
        with (control / "smtproutes").open("a") as routes:
            routes.write(f"tarpit.test:{TARPIT}:{self.tarpit.port}\n")
        (control / "concurrencyremote").write_text(f"{CONCURRENCY}\n")
        for name in ("qmail", "gatepost/daemon"):
            self._kill(name)
        wait_until(lambda: all(map(self._pid, SERVICES)), "all services are up")

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            self.tally.faults.append(f"{step.__name__}: {type(error).__name__}: {error}")

    # Honest mail

    def _send_all(self, numbers: range) -> None:
        for number in numbers:
            self.work.put(number)
        threads = [threading.Thread(target=self._guarded, args=(self._send,)) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send(self) -> None:
        inward, outward = Sender(OUTSIDE, self.gateway.port), Sender(OFFICE, self.gateway.port)
        while True:
            try:
                number = self.work.get_nowait()
            except queue.Empty:
                break
            wait_until(self._is_room_for_more, "mail arrives")
            if number % 2:
                self._deliver(outward, f"m{number}", USER, FRIEND, self._message(number))
            else:
                self._deliver(inward, f"m{number}", FRIEND, USER, self._message(number))
            with self.lock:
                self.tally.on_the_way += not is_bad(number)
        inward.close()
        outward.close()

    def _is_room_for_more(self) -> bool:
        arrived = len(self.gateway.office.sink.messages) + len(self.gateway.outside.sink.messages)
        return self.tally.on_the_way - arrived < ON_THE_WAY

    def _message(self, number: int) -> bytes:
        mark = f"m{number}"
        if is_bad(number):
            return message(mark, f"report{number}.exe", b"MZ" + os.urandom(200))
        if number % 997 == 1:
            return message(mark, "large.dat", os.urandom(1 << 20) * 6)
        return message(mark, "note.txt", b"harmless %d\n" % number)

    def _deliver(self, sender: Sender, mark: str, origin: str, recipient: str, content: bytes) -> None:
        for _ in range(TRIES):
            code = sender.send(origin, recipient, content)
            if code == 250:
                with self.lock:
                    self.tally.taken += 1
                return
            if code >= 500:
                break
            with self.lock:
                self.tally.tried_again += 1
            time.sleep(0.05)
        self.tally.faults.append(f"{mark} was not taken: {code}")

    def _honest(self) -> None:
        """One message after another over a connection of its own, and how long each took."""
        number = 0
        while not self.done.is_set():
            sender, begun = Sender(HONEST, self.gateway.port), time.monotonic()
            code = sender.send(FRIEND, USER, message(f"h{number}", "note.txt", b"honest"))
            sender.close()
            if code == 250:  # one that a kill has met is tried again, and its wait is not the greedy sender's doing
                self.tally.waits.append(time.monotonic() - begun)
                self.tally.others["honest"] += 1
                number += 1
            self.done.wait(0.2)

    # Others

    def _guess(self) -> None:
        """A stranger who asks for names: none of them is ever taken, and the door is closed to it for a while."""
        sender, number = Sender(GUESSER, self.gateway.port), 0
        while not self.done.wait(0.02):
            code = sender.send(FRIEND, f"guess{number}@example.org", b"Subject: guess\n\n")
            if code == 250:
                self.tally.faults.append(f"guess{number}: an unknown recipient was taken")
            self.tally.others[f"guesses, {code}"] += 1
            number += 1

    def _send_costly(self) -> None:
        """A stranger with four connections, each with a message that takes as long as one may."""
        content = costly()

        def one() -> None:
            sender = Sender(COSTLY, self.gateway.port)
            while not self.done.wait(0.05):
                self.tally.others[f"costly, {sender.send(FRIEND, USER, content)}"] += 1

        threads = [threading.Thread(target=one) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _flood(self) -> None:
        """A relay client whose mail goes to a server that does not answer."""
        sender = Sender(FLOODER, self.gateway.port)
        for number in range(FLOOD):
            self._deliver(sender, f"t{number}", USER, "someone@tarpit.test", message(f"t{number}", "a.txt", b"flood"))
            if self.done.is_set():
                return
        sender.close()

    # What a long life brings

    def _disturb(self) -> None:
        events: list[Callable[[], None]] = []
        for name in DAEMONS:
            events += [partial(self._reload, name), partial(self._kill_worker, name)] * self.rounds
        events += [partial(self._kill, name) for name in SERVICES for _ in range(2)]
        events += [self._rotate] * 3
        self.chance.shuffle(events)
        for place, event in enumerate(events):
            self._until(self.warm_up + (self.messages - self.warm_up) * place // len(events))
            event()

    def _until(self, taken: int) -> None:
        while self.tally.taken < taken and not self.done.is_set():
            self.done.wait(0.05)

    def _service(self, name: str) -> Path:
        return self.gateway.place.path / "service" / name

    def _svc(self, option: str, name: str) -> None:
        self.gateway.place.run("svc", option, self._service(name))

    def _pid(self, name: str) -> int:
        """A running service's process; 0 when it is down."""
        found = re.search(r"up \(pid (\d+)\)", self.gateway.place.run("svstat", self._service(name)))
        return int(found[1]) if found else 0

    def _reload(self, name: str) -> None:
        self._svc("-h", name)
        self.tally.events[f"{name} loaded anew"] += 1

    def _kill(self, name: str) -> None:
        """Kill a service's first process, and wait until supervise has another."""
        wait_until(lambda: self._pid(name), f"{name} is up")
        before = self._pid(name)
        self._svc("-k", name)
        wait_until(lambda: self._pid(name) not in (0, before), f"{name} is started anew")
        self.tally.events[f"{name} killed"] += 1

    def _kill_worker(self, name: str) -> None:
        workers = children(self._pid(name))
        if workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.chance.choice(workers), signal.SIGKILL)
            self.tally.events[f"{name}'s worker killed"] += 1

    def _rotate(self) -> None:
        """As logrotate does: the files get other names."""
        self.tally.events["logs rotated"] += 1
        for path in self._logs():
            path.rename(path.with_name(f"{path.name}.{self.tally.events['logs rotated']}"))

    def _logs(self) -> list[Path]:
        logs = self.gateway.place.path / "var/log"
        return [logs / name for name in LOGS if (logs / name).exists()]

    def _flush(self) -> None:
        """As `gw queue flush`: what a kill has put off is tried at once, not in minutes."""
        while not self.done.wait(FLUSH_SECONDS):
            self._svc("-a", "qmail")

    # The account

    def _hold_by_each_worker(self) -> None:
        """A worker of the scanner opens the log of findings with its first one: it is to count at the start, too."""
        at_once = threading.Barrier(SENDERS)

        def hold() -> None:
            sender = Sender(OUTSIDE, self.gateway.port)
            at_once.wait()
            sender.send(FRIEND, USER, message("warm", "warm.exe", b"MZ" + os.urandom(200)))
            sender.close()

        def is_open() -> bool:
            with ThreadPoolExecutor(SENDERS) as pool:
                list(pool.map(lambda _: hold(), range(SENDERS)))
            return all("quarantine.log" in names(each) for each in children(self._pid("gatescan/daemon")))

        wait_until(is_open, "each worker of the scanner has held a message")

    def _drain(self) -> None:
        def is_empty() -> bool:
            self.gateway.run("qmail-tcpok")  # the server that was silent answers now
            self._svc("-a", "qmail")
            time.sleep(1)
            return not self.gateway.run("qmail-qread").strip()

        try:
            wait_until(is_empty, "the queue is empty")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.gateway.run('qmail-qread')[:500]}") from None

    def _footprints(self) -> dict[str, Footprint]:
        """What each daemon takes when it has nothing to do: its descriptors are looked at until they are no fewer."""
        wait_until(lambda: all(map(self._pid, SERVICES)), "all services are up")
        with contextlib.suppress(AssertionError):  # what has grown is told with the figures
            wait_until(lambda: not self._grown(), "descriptors are as few as at the start")
        return {name: footprint(self._pid(name)) for name in DAEMONS}

    def _grown(self) -> list[str]:
        """Daemons that hold more than at the start."""
        now = {name: footprint(self._pid(name)) for name in self.before}
        return [name for name, it in now.items() if it.descriptors > self.before[name].descriptors]

    def _arrived(self) -> list[bytes]:
        return [*self.gateway.office.sink.messages, *self.gateway.outside.sink.messages]

    def _faults(self) -> list[str]:
        arrived = Counter(mark_of(each) for each in [*self._arrived(), *self.tarpit.messages])
        self.tally.others["delivered twice"] = sum(number - 1 for mark, number in arrived.items() if mark)
        held = self._held()
        faults = list(self.tally.faults)
        for number in range(self.messages + self.warm_up):
            mark = f"m{number}"
            if is_bad(number) and (mark in arrived or mark not in held):
                faults.append(f"{mark} should be held")
            elif not is_bad(number) and mark not in arrived:
                faults.append(f"{mark} is lost")
        faults += [f"h{each} is lost" for each in range(self.tally.others["honest"]) if f"h{each}" not in arrived]
        if self.tally.waits and max(self.tally.waits) > LONGEST_WAIT:
            faults.append(f"the honest sender waited {max(self.tally.waits):.1f} seconds")
        return faults

    def _held(self) -> set[str]:
        lines = self.gateway.run("gatescan", "quarantine", "list", "--json").splitlines()
        return {json.loads(line)["subject"] for line in lines}

    def _growth(self) -> list[str]:
        return [f"{name}: {fault}" for name in DAEMONS for fault in self.before[name].faults(self.after[name], GROWTH)]


def is_bad(number: int) -> bool:
    """Whether a message is one that the rules hold."""
    return number % 100 == 0


def mark_of(content: bytes) -> str:
    """The word by which a message is known; empty for a notice."""
    found = MARK.search(content)
    return found[1].decode() if found else ""


def children(process: int) -> list[int]:
    """The processes that one has started and that run."""
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


def footprint(process: int) -> Footprint:
    """What a daemon and its workers take."""
    found = [process, *children(process)]
    return Footprint(sum(map(pss, found)), sum(map(descriptors, found)), len(found))


def descriptors(process: int) -> int:
    """Open files of a process; 0 when it has just ended."""
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{process}/fd"))
    return 0


def names(process: int) -> set[str]:
    """Names of the files that a process has open."""
    with contextlib.suppress(OSError):
        return {os.path.basename(os.readlink(each)) for each in Path(f"/proc/{process}/fd").iterdir()}
    return set()


def main() -> int:
    """Run, and print the figures as one JSON object and each fault as a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=10, help="reloads, and kills of a worker, of each daemon")
    parser.add_argument("--warm-up", type=int, default=1000, help="messages before memory is measured")
    options = parser.parse_args()
    begun = time.monotonic()
    with Tarpit(TARPIT) as tarpit, small_gateway(is_supervised=True) as gateway:
        soak = Soak(gateway, tarpit, options.messages, options.rounds, options.warm_up)
        try:
            faults = soak.run()
        finally:
            soak.done.set()
            tarpit.answers.set()
    print(json.dumps(figures(soak, time.monotonic() - begun), indent=1))
    for fault in faults[:50]:
        print(fault)
    print(f"{len(faults)} faults")
    return int(bool(faults))


def figures(soak: Soak, seconds: float) -> dict[str, Any]:
    """What is written into docs/reliability.md."""
    tally, waits = soak.tally, sorted(soak.tally.waits) or [0.0]
    return {
        "qmail": soak.gateway.qmail,
        "messages": tally.taken,
        "seconds": round(seconds),
        "tried again": tally.tried_again,
        **dict(sorted(tally.events.items())),
        **dict(sorted(tally.others.items())),
        "honest wait, median": round(waits[len(waits) // 2], 3),
        "honest wait, longest": round(waits[-1], 2),
        **{f"{name}, before": it.as_text() for name, it in soak.before.items()},
        **{f"{name}, after": it.as_text() for name, it in soak.after.items()},
    }


if __name__ == "__main__":
    sys.exit(main())
