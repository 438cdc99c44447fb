"""Nothing is lost while gatepost, its worker, its signer, unbound and the receiving server are killed or stopped.

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
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from gatepost_rig import PROJECT, Gatepost, NameServer
from signed_zone import SignedZone, configure
from test_dkim import CODE, OURS, gatepost
from test_dnssec import UNBOUND, needs_unbound
from test_mx import free_port, tlsa

from tests.unpacked import environment

MESSAGES = 2000 if os.environ.get("GATEWRIGHT_NIGHTLY") else 100
AT_ONCE = 8
PER_BLOW = 10
"""Messages that are sent between one blow and the next."""
TRYING = 120.0
"""Seconds of trying one message, before it counts as one that never arrives; qmail-send tries for days."""
SINK = PROJECT / "tests/unit/gatepost/killable_sink.py"


@dataclass
class Service:
    """A process that can be killed, stopped for a while, and started again under the same name."""

    command: list[str]
    ready: bytes
    environment: dict[str, str] = field(default_factory=lambda: CODE)
    process: subprocess.Popen[bytes] | None = None
    restarts: int = -1

    def start(self) -> None:
        """Start it; returns when it serves."""
        self.process = subprocess.Popen(
            self.command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
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

    def kill_children(self) -> None:
        """Kill what it has started."""
        assert self.process is not None
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)

    def end(self) -> None:
        """Wait until it has ended; make it, if it does not."""
        assert self.process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=2)
        self.kill()

    def kill(self) -> None:
        """End it at once, if it was started."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass
class Yard:
    """The services, what the sink has written down, and how often a report said that a message may arrive twice.

    no_tls: a file; while it is there, the sink offers no TLS.
    """

    daemon: Gatepost
    services: dict[str, Service]
    book: Path
    domain: str
    no_tls: Path
    warned: Counter[int] = field(default_factory=Counter)
    blows: Counter[str] = field(default_factory=Counter)

    def deliver(self, number: int) -> bool:
        """Try a message until it is taken."""
        message = OURS + b"From: ann@corp.test\nSubject: %d\n\nhello\n" % number
        end = time.monotonic() + TRYING
        while time.monotonic() < end:
            process = self.daemon.begin(message=message, domain=self.domain)
            report, _ = process.communicate(timeout=120)
            if b"Possible duplicate!" in report:
                self.warned[number] += 1
            if report.startswith(b"r") and b"\0K" in report:
                return True
            assert b"\0D" not in report and not report.startswith((b"D", b"h")), report
        return False

    def strike(self, chance: random.Random) -> None:
        """Hurt a service, or gatepost's worker alone."""
        name = chance.choice([*self.services, "worker"])
        self.blows[name] += 1
        if name == "worker":
            self.services["gatepost"].kill_children()
        else:
            self.services[name].hurt(chance)

    def beat(self) -> list[bool]:
        """Deliver all messages under blows; whether each was taken."""
        chance = random.Random(13)
        deliveries = []
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for start in range(0, MESSAGES, PER_BLOW):
                deliveries += [pool.submit(self.deliver, start + number) for number in range(PER_BLOW)]
                time.sleep(chance.uniform(0, 0.15))
                self.offer_tls(chance.random() < 0.8)
                self.strike(chance)
            self.offer_tls(True)
            return [delivery.result() for delivery in deliveries]

    def offer_tls(self, offered: bool) -> None:
        """Have the sink offer TLS or not, if it has a certificate."""
        if offered:
            self.no_tls.unlink(missing_ok=True)
        else:
            self.no_tls.touch()

    def arrived(self) -> list[tuple[int, str]]:
        """The number of each message that is written down, and tls or plain."""
        lines = (line.split() for line in self.book.read_text().splitlines())
        return [(int(number), how) for number, how in lines]


@contextmanager
def yard_of(
    place: Path, port: int, domain: str, certificate: str = "", resolver: Service | None = None, **settings: object
) -> Iterator[Yard]:
    """A yard whose sink is at a port, and offers TLS if it has a certificate. settings: gatepost's further ones."""
    keys, book, no_tls = place / "keys", place / "book", place / "no-tls"
    gatepost("dkim", "make", "corp.test", "one", "ed25519", "--keys", str(keys))
    daemon = Gatepost(place, NameServer())
    daemon.furnish()
    daemon.control(smtproutes=f"mx.test:[127.0.0.1]:{port}\n", timeoutremote="5\n", timeoutconnect="5\n")
    daemon.configure(signer=str(keys / "signer.sock"), reuse_seconds=1, port=port, **settings)
    python = [sys.executable, "-u"]
    served = [*python, "-m", "gatepost", "--config", str(daemon.config), "daemon", "--allow-root"]
    services = {
        "sink": Service([*python, str(SINK), str(port), str(book), certificate, str(no_tls)], b"ready"),
        "signer": Service(
            [*python, "-m", "gatepost", "signer", "--socket", str(keys / "signer.sock"), "--keys", str(keys),
             "--client", str(os.getuid())], b"signing for",
        ),
        "gatepost": Service(served, b"serving"),
    }  # a command as one types it # fmt: skip
    if resolver:
        services["unbound"] = resolver
    try:
        for service in services.values():
            service.start()
        yield Yard(daemon, services, book, domain, no_tls)
    finally:
        for service in services.values():
            service.kill()


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    """Mail goes by a route, in plain text."""
    with yard_of(tmp_path, free_port(), "mx.test") as made:
        yield made


@pytest.fixture
def signed_yard(tmp_path: Path, authority: Path) -> Iterator[Yard]:
    """Mail goes by MX, and the domain's DANE, for which unbound vouches, allows no plain text."""
    assert UNBOUND
    port = free_port()
    server = f"mx.safe.test 1 A 127.0.0.1\n_{port}._tcp.mx.safe.test 1 TLSA {tlsa(authority)}\n"
    path, resolver = configure(tmp_path, SignedZone(f"safe.test 1 MX 10 mx.safe.test.\n{server}"))
    unbound = Service([str(UNBOUND), "-d", "-p", "-c", str(path)], b"start of service", environment())
    settings: dict[str, object] = {"name_server_port": resolver, "is_validating": True}
    with yard_of(tmp_path, port, "safe.test", str(authority), unbound, **settings) as made:
        yield made


def check(yard: Yard, taken: list[bool]) -> None:
    """Nothing is lost, and nothing arrived twice without a warning."""
    arrived = Counter(number for number, _ in yard.arrived())
    extra = sum(arrived.values()) - len(arrived)
    print(f"{MESSAGES} messages: {extra} twice, {sum(yard.warned.values())} warnings, blows: {dict(yard.blows)}")
    assert all(taken)
    assert sorted(arrived) == list(range(MESSAGES)), "lost"
    unexplained = {n: (count, yard.warned[n]) for n, count in arrived.items() if count - 1 > yard.warned[n]}
    assert unexplained == {}


def test_whatever_is_killed_every_message_arrives_and_twice_only_where_a_report_said_so(yard: Yard) -> None:
    check(yard, yard.beat())


@needs_unbound
def test_whatever_is_killed_nothing_leaves_in_plain_text_against_dane(signed_yard: Yard) -> None:
    check(signed_yard, signed_yard.beat())
    assert {how for _, how in signed_yard.arrived()} == {"tls"}
