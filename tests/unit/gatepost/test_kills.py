"""Nothing is lost while gatepost, its signer and the receiving server are killed or stopped at random.

What qmail-send does is done here: a message whose report is no success is tried again. A message may arrive twice, but
only where a report has said that it may.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from gatepost_rig import PROJECT, Gatepost, NameServer
from test_dkim import CODE, OURS, gatepost
from test_mx import free_port

MESSAGES = 2000 if os.environ.get("GATEWRIGHT_NIGHTLY") else 100
AT_ONCE = 8
PER_BLOW = 10
"""Messages that are sent between one blow and the next."""
TRIES = 50
"""Of one message, before it counts as one that never arrives."""
SINK = PROJECT / "tests/unit/gatepost/killable_sink.py"


@dataclass
class Service:
    """A process that can be killed, stopped for a while, and started again under the same name."""

    command: list[str]
    ready: bytes
    process: subprocess.Popen[bytes] | None = None
    restarts: int = -1

    def start(self) -> None:
        """Start it; returns when it serves."""
        self.process = subprocess.Popen(self.command, env=CODE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert self.process.stdout is not None
        said = b""
        while self.ready not in said:
            line = self.process.stdout.readline()
            assert line, said.decode()
            said += line
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        self.restarts += 1

    def hurt(self, chance: random.Random) -> None:
        """Kill it, end it, or stop it for a moment."""
        assert self.process is not None
        how = chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP))
        self.process.send_signal(how)
        if how == signal.SIGSTOP:
            time.sleep(chance.uniform(0.05, 0.3))
            self.process.send_signal(signal.SIGCONT)
        else:
            self.end()
            self.start()

    def end(self) -> None:
        """Wait until it has ended; make it, if it does not."""
        assert self.process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=2)
        self.process.kill()
        self.process.wait()


@dataclass
class Yard:
    """The services, what the sink has written down, and how often a report said that a message may arrive twice."""

    daemon: Gatepost
    services: list[Service]
    book: Path
    warned: Counter[int] = field(default_factory=Counter)

    def deliver(self, number: int) -> bool:
        """Try a message until it is taken."""
        message = OURS + b"From: ann@corp.test\nSubject: %d\n\nhello\n" % number
        for _ in range(TRIES):
            process = self.daemon.begin(message=message, domain="mx.test")
            report, _ = process.communicate(timeout=120)
            if b"Possible duplicate!" in report:
                self.warned[number] += 1
            if report.startswith(b"r") and b"\0K" in report:
                return True
            assert b"\0D" not in report and not report.startswith((b"D", b"h")), report
        return False

    def arrived(self) -> Counter[int]:
        """How often each message is written down."""
        return Counter(int(line) for line in self.book.read_text().split())


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    port = free_port()
    keys, book = tmp_path / "keys", tmp_path / "book"
    gatepost("dkim", "make", "corp.test", "one", "ed25519", "--keys", str(keys))
    daemon = Gatepost(tmp_path, NameServer())
    daemon.furnish()
    daemon.control(smtproutes=f"mx.test:[127.0.0.1]:{port}\n", timeoutremote="5\n", timeoutconnect="5\n")
    daemon.configure(signer=str(keys / "signer.sock"), reuse_seconds=1)
    python = [sys.executable, "-u"]
    served = [*python, "-m", "gatepost", "--config", str(daemon.config), "daemon", "--allow-root"]
    services = [
        Service([*python, str(SINK), str(port), str(book)], b"ready"),
        Service(
            [*python, "-m", "gatepost", "signer", "--socket", str(keys / "signer.sock"), "--keys", str(keys),
             "--client", str(os.getuid())], b"signing for",
        ),
        Service(served, b"serving"),
    ]  # fmt: skip
    for service in services:
        service.start()
    yield Yard(daemon, services, book)
    for service in services:
        assert service.process is not None
        service.process.kill()
        service.process.wait()


def test_whatever_is_killed_every_message_arrives_and_twice_only_where_a_report_said_so(yard: Yard) -> None:
    chance = random.Random(13)
    deliveries = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for start in range(0, MESSAGES, PER_BLOW):
            deliveries += [pool.submit(yard.deliver, start + number) for number in range(PER_BLOW)]
            time.sleep(chance.uniform(0, 0.15))
            chance.choice(yard.services).hurt(chance)
        taken = [delivery.result() for delivery in deliveries]
    arrived = yard.arrived()
    print(
        f"{MESSAGES} messages: {sum(arrived.values()) - len(arrived)} twice, {sum(yard.warned.values())} warnings,"
        f" {[service.restarts for service in yard.services]} restarts of sink, signer, gatepost"
    )
    assert all(taken)
    assert sorted(arrived) == list(range(MESSAGES)), "lost"
    unexplained = {n: (count, yard.warned[n]) for n, count in arrived.items() if count - 1 > yard.warned[n]}
    assert unexplained == {}
