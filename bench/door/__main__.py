"""How long RCPT takes at the door, beside bare qmail-smtpd, and what a slow name server costs.

    python3 -m bench.door [--rounds N] [--recipients N] [--messages N] [--tries N] [--json FILE]

Needs what bench.scanner needs, and keeps to the loopback address as it does. RCPT: sessions with a gatekeeper that
knows a thousand recipients, and asks a server of the bench's for those of another domain; each way of it right after
bare qmail-smtpd, one recipient after the other in each session. Name server: signed mail through gatekeeper and the
scanner, each message from a domain that nobody has asked about, with and without a delay of each answer. Taken over:
what a relay client costs others that tries 10,000 messages in ten minutes and is over its limit.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import socket
import socketserver
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import count

from bench import options
from bench.scanner import corpus, variants
from bench.scanner.accounting import Group
from bench.scanner.load import Load, send_all
from bench.scanner.qmail import HOME, Qmail
from bench.scanner.variants import Variant
from bench.scanner.waiting import wait_until

LISTED, ASKED = "bench.example", "asked.example"
"""Domains: of a list, and of a server that is asked."""
SESSIONS = 4
"""At once, for RCPT: each waits for its reply before it asks again."""
AT_ONCE = 150
"""The same for messages: so many that a wait leaves the processors no pause."""
DELAY = 0.2
"""Seconds by which a name server is slow."""
TRIES = 10_000 / 600
"""Messages a second of a relay client that was taken over."""
LIMITS = {"client": {"messages": {"minute": 1}}}
OVER = "451 4.7.1 too many messages in a minute"
"""What a client is told that is over its limit."""
_numbers = count()


class Server(socketserver.ThreadingTCPServer):
    """The server of a route: it has the mailboxes that do not begin with x."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        """Bind to any free port."""
        super().__init__(("127.0.0.1", 0), _Dialogue)


class _Dialogue(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # who has heard enough does not wait for the end
            self.wfile.write(b"220 asked.example\r\n")
            for line in self.rfile:
                self.wfile.write(b"550 5.1.1 none\r\n" if line.startswith(b"RCPT TO:<x") else b"250 ok\r\n")


@dataclass(frozen=True)
class Way:
    """A kind of recipient. code: the reply; names: the next one."""

    name: str
    port: int
    code: str
    recipient: Callable[[], str]


@dataclass(frozen=True)
class Times:
    """Milliseconds of a reply to RCPT: those of a way, and of bare qmail-smtpd just before."""

    name: str
    p50: float
    p99: float
    most: float
    bare_p50: float
    bare_p99: float


def ways(bare: int, door: int) -> list[Way]:
    """All kinds, bare qmail-smtpd's first."""
    return [
        Way("bare qmail-smtpd", bare, "250", lambda: f"user1@{LISTED}"),
        Way("list: known", door, "250", lambda: f"user{random.randrange(1, 1000)}@{LISTED}"),
        Way("list: unknown", door, "550", lambda: f"x{next(_numbers)}@{LISTED}"),
        Way("callout: remembered", door, "250", lambda: f"known@{ASKED}"),
        Way("callout: asked, known", door, "250", lambda: f"n{next(_numbers)}@{ASKED}"),
        Way("callout: asked, unknown", door, "550", lambda: f"x{next(_numbers)}@{ASKED}"),
    ]


def times(way: Way, recipients: int) -> list[float]:
    """Milliseconds of so many replies to RCPT, in some sessions at once."""
    found: list[float] = []
    threads = [threading.Thread(target=_session, args=(way, recipients // SESSIONS, found)) for _ in range(SESSIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(found) != recipients // SESSIONS * SESSIONS:
        raise SystemExit(f"bench: {way.name}: a session ended before its end")
    return found


def _session(way: Way, recipients: int, found: list[float]) -> None:
    with socket.create_connection(("127.0.0.1", way.port), 60) as wire, wire.makefile("rb") as replies:
        replies.readline()
        for line in (b"HELO bench.example\r\n", b"MAIL FROM:<a@example.org>\r\n"):
            wire.sendall(line)
            replies.readline()
        for _ in range(recipients):
            line = f"RCPT TO:<{way.recipient()}>\r\n".encode()
            begun = time.perf_counter()
            wire.sendall(line)
            reply = replies.readline()
            found.append((time.perf_counter() - begun) * 1e3)
            if not reply.startswith(way.code.encode()):
                raise SystemExit(f"bench: {way.name}: {reply!r}")


def percentile(found: Sequence[float], percent: int) -> float:
    """In which so many percent were done."""
    return statistics.quantiles(found, n=100, method="inclusive")[percent - 1]


def compare(all_ways: Sequence[Way], recipients: int, rounds: int) -> Iterator[Times]:
    """Each way's times, right after bare qmail-smtpd's; medians of the rounds."""
    bare, *others = all_ways
    runs = {way.name: [(times(bare, recipients), times(way, recipients)) for _ in range(rounds)] for way in others}
    for name, pairs in runs.items():
        before, own = zip(*pairs, strict=True)
        most = max(map(max, own))
        yield Times(name, middle(own, 50), middle(own, 99), most, middle(before, 50), middle(before, 99))


def middle(runs: Sequence[Sequence[float]], percent: int) -> float:
    """The median of what runs took for so many percent."""
    return statistics.median(percentile(found, percent) for found in runs)


@dataclass(frozen=True)
class Beside:
    """What others had while a relay client was over its limit, beside the same without it just before.

    p99 and alone_p99: milliseconds of a session of theirs; tries: of the client; passed: how many of them got a 250.
    """

    p99: float
    alone_p99: float
    tries: int
    passed: int


def taken_over(qmail: Qmail, doors: Doors, messages: Sequence[bytes], tries: int) -> Iterator[Beside]:
    """Runs of others' messages, alone and beside it by turns, until it has tried so often."""
    while tries > 0:
        qmail.empty_queue()
        alone = _p99(doors.messages, messages)
        qmail.empty_queue()
        with Flood(doors.relay.port) as flood:
            beside = _p99(doors.messages, messages)
        tries -= flood.tries
        yield Beside(beside, alone, flood.tries, flood.passed)


def _p99(variant: Variant, messages: Sequence[bytes]) -> float:
    return _accepted(variant, messages, SESSIONS).percentile(99) * 1e3


def _accepted(variant: Variant, messages: Sequence[bytes], sessions: int) -> Load:
    """Send messages of which none may be refused."""
    load = send_all(variant.port, messages, sessions)
    if load.refusals:
        raise SystemExit(f"bench: {len(messages)} messages of others, {load.refused}")
    return load


class Flood:
    """A relay client that tries a message every so often while the `with` lasts; its limit alone may stop one."""

    def __init__(self, port: int) -> None:
        self.port, self.tries, self.passed = port, 0, 0
        self._stopped: Counter[str] = Counter()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Flood:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if others := [reply for reply in self._stopped if OVER not in reply]:
            raise SystemExit(f"bench: not for its limit, a relay client was told {', '.join(others)}")

    def _send(self) -> None:
        began = time.monotonic()
        while not self._ended.wait(max(0.0, began + self.tries / TRIES - time.monotonic())):
            self.tries += 1
            load = send_all(self.port, [b"Subject: x\n\nbuy\n"], 1)
            self.passed += load.accepted
            self._stopped.update(load.refusals)


@dataclass(frozen=True)
class Pair:
    """Messages a second, and CPU ms a message, without and with a slow name server."""

    rate: float
    slow_rate: float
    cpu: float
    slow_cpu: float


def slow_names(qmail: Qmail, variant: Variant, messages: int, rounds: int) -> list[Pair]:
    """Pairs of runs, that begin with and without the delay in turn."""
    pairs = []
    for number in range(rounds):
        order = (0.0, DELAY) if number % 2 else (DELAY, 0.0)
        told = {delay: _rate(qmail, variant, messages, delay) for delay in order}
        pairs.append(Pair(told[0.0][0], told[DELAY][0], told[0.0][1], told[DELAY][1]))
    return pairs


def _rate(qmail: Qmail, variant: Variant, messages: int, delay: float) -> tuple[float, float]:
    made = qmail.site.of_strangers(corpus.mixed(messages), next(_numbers) * 1_000_000)
    qmail.empty_queue()
    qmail.site.delay, before = delay, variant.cpu
    load = _accepted(variant, made, AT_ONCE)
    qmail.site.delay = 0.0
    wait_until(lambda: qmail.queued == messages, "all messages in the queue")
    return load.rate, (variant.cpu - before) / messages * 1e3


class Doors:
    """What is measured; all but bare qmail-smtpd ask the same gatekeeper."""

    def __init__(self, qmail: Qmail, cleanup: ExitStack) -> None:
        """Start all of it, and a server that gatekeeper asks."""
        server = cleanup.enter_context(Server())
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        cleanup.callback(server.shutdown)
        (HOME / "control/rcpthosts").write_text(f"{LISTED}\n{ASKED}\n")
        (HOME / "control/smtproutes").write_text(f"{ASKED}:127.0.0.1:{server.server_address[1]}\n")
        self.bare, self.recipients, self.relay, self.messages = (
            _variant(name, at, cleanup) for at, name in enumerate(("bare", "recipients", "relay", "messages"))
        )
        users = ["sink", *(f"user{number}" for number in range(1, variants.RECIPIENTS))]
        known = {LISTED: {"list": users}, ASKED: {"callout": True}}
        policy, authentication = variants.start_door(qmail, self.messages, recipients=known, guesses=0, limits=LIMITS)
        qmail.serve(self.bare.port, self.bare.front, {})
        qmail.serve(self.recipients.port, self.recipients.front, {"SMTPPOLICY": policy})
        qmail.serve(self.relay.port, self.relay.front, {"SMTPPOLICY": policy, "RELAYCLIENT": ""})
        asked = {"SMTPPOLICY": policy, "GATESCAN_AUTH": authentication}
        variants.start_scanner(qmail, self.messages, door=asked)


def _variant(name: str, at: int, cleanup: ExitStack) -> Variant:
    made = Variant(name, variants.FIRST_PORT + at, Group(f"{name}-front"), Group(f"{name}-service"))
    cleanup.callback(made.end)
    return made


def command_line() -> argparse.Namespace:
    """What is asked for."""
    parser = options.parser("bench.door", __doc__, rounds=3, messages=400)
    parser.add_argument("--recipients", type=int, default=4000, help="of a run (%(default)s)")
    parser.add_argument("--tries", type=int, default=10_000, help="of a relay client that was taken over (%(default)s)")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    chosen = command_line()
    if os.geteuid() != 0:
        raise SystemExit("bench: needs root, for users and control groups")
    with ExitStack() as cleanup:
        qmail = cleanup.enter_context(Qmail())
        doors = Doors(qmail, cleanup)
        print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; notqmail 1.09")
        print(f"\nRCPT, ms: {SESSIONS} sessions at once, {chosen.rounds} runs of {chosen.recipients} recipients")
        print(f"{'':26} {'p50':>7} {'p99':>7} {'most':>7} {'bare: p50':>10} {'p99':>7}")
        rows = list(compare(ways(doors.bare.port, doors.recipients.port), chosen.recipients, chosen.rounds))
        for row in rows:
            print(
                f"{row.name:26} {row.p50:7.2f} {row.p99:7.2f} {row.most:7.1f} {row.bare_p50:10.2f} {row.bare_p99:7.2f}"
            )
        print(f"\nA relay client that was taken over: p99 of others' messages in ms, {SESSIONS} sessions")
        mail = qmail.site.signed(corpus.mixed(chosen.messages))
        beside = []
        for pair in taken_over(qmail, doors, mail, chosen.tries):
            beside.append(pair)
            print(
                f"alone {pair.alone_p99:6.1f}   beside it {pair.p99:6.1f}   ratio {pair.p99 / pair.alone_p99:.2f}"
                f"   {pair.tries} tries, {pair.passed} passed",
                flush=True,
            )
        print(f"median ratio {statistics.median(pair.p99 / pair.alone_p99 for pair in beside):.2f}")
        print(f"\nA name server that takes {DELAY:g} s: messages a second and CPU ms a message, {AT_ONCE} sessions")
        pairs = slow_names(qmail, doors.messages, chosen.messages, chosen.rounds)
        for run in pairs:
            print(
                f"at once {run.rate:6.0f} {run.cpu:6.2f}   slow {run.slow_rate:6.0f} {run.slow_cpu:6.2f}"
                f"   ratio {run.slow_rate / run.rate:.2f}",
                flush=True,
            )
        print(f"median ratio {statistics.median(run.slow_rate / run.rate for run in pairs):.2f}")
    if chosen.json:
        told = {
            "rcpt": [asdict(row) for row in rows],
            "taken over": [asdict(pair) for pair in beside],
            "slow names": [asdict(run) for run in pairs],
        }
        chosen.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
