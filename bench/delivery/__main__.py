"""What a delivery costs, beside qmail's own qmail-remote: CPU a message, messages a second.

    python3 -m bench.delivery [--rounds N] [--messages N] [--at-once N] [--bytes N | --mixed] [--only WORD]

Needs what `requirements/packages.sh requirements/apt-bench.txt` installs, and the qmail archive in
$GATEWRIGHT_ARTIFACTS. All of it runs in a folder of its own and on the loopback address, by a route if nothing else is
said; by MX gatepost asks a name server there, and keeps its answers. qmail-remote and gatepost's client are started
once a message, as qmail-rspawn does. CPU time is that of these processes and of gatepost's (its first process, its
worker, which writes the journal, and its signer), of Postfix that of its processes for SMTP, without its queue manager;
the receiving server's and the name server's are not counted, but take their part of the machine. Without root, which
Postfix needs, or without Postfix, the others are measured.

Every run of a variant comes right after one of qmail-remote and is compared with that one: the ratios hold on a busy
machine, the absolute figures only for the moment.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from bench.delivery import postfix
from bench.delivery.accounting import Run, cpu_seconds, cpu_seconds_of_ended, peak, share
from bench.delivery.place import BY_MX, CROWDED, EACH_BY_MX, ROUTED, Place, free_port
from bench.scanner import corpus

REMOTE = "qmail-remote, plain"
QUEUED = b"Received: (qmail 1 invoked by uid 1000); 1 Jan 2026 00:00:00 -0000\n"
"""As a message of this host's begins, which gatepost signs if it has a signer."""

MIXED = 50
"""Messages of the mixed corpus, which are delivered by turns."""


@dataclass(frozen=True)
class Variant:
    """How gatepost delivers.

    tls: the level of the route or the domain. reuse: seconds for which a connection is kept. domain: whose mail it is.
    """

    name: str
    tls: str
    reuse: float
    signs: bool = False
    domain: str = ROUTED


VARIANTS = (
    Variant("gatepost, plain, a connection each", "never", 0),
    Variant("gatepost, plain, connections kept", "never", 5),
    Variant("gatepost, TLS, a connection each", "required", 0),
    Variant("gatepost, TLS, connections kept", "required", 5),
    Variant("gatepost, TLS, kept, signed (RSA-2048)", "required", 5, signs=True),
    Variant("gatepost, MX, plain, a connection each", "never", 0, domain=BY_MX),
    Variant("gatepost, MX, plain, connections kept", "never", 5, domain=BY_MX),
    Variant("gatepost, MX, plain, a domain each", "never", 0, domain=EACH_BY_MX),
    Variant("gatepost, MX, TLS, connections kept", "required", 5, domain=BY_MX),
)


@dataclass(frozen=True)
class Row:
    """A variant's medians, and those of its ratios to the run of qmail-remote before; above 1 is better than it."""

    name: str
    cpu: float
    cpu_efficiency: float
    rate: float
    rate_ratio: float
    memory: float


def measure_remote(place: Place, options: argparse.Namespace) -> Run:
    """Deliver by qmail-remote."""
    return measure(place.remote, place.folder, [], options)


def measure_gatepost(place: Place, variant: Variant, options: argparse.Namespace) -> Run:
    """Deliver by gatepost."""
    daemons = place.serve(variant.tls, variant.reuse, signs=variant.signs)
    deliver(place.client, place.folder, options.at_once, options.at_once)
    return measure(place.client, place.folder, daemons, options, variant.domain)


def measure(
    program: Path, folder: Path, daemons: Sequence[int], options: argparse.Namespace, domain: str = ROUTED
) -> Run:
    """Deliver all messages by a program; all must be taken. daemons: what works for it."""
    before, start = cpu_seconds_of_ended() + sum(map(cpu_seconds, daemons)), time.monotonic()
    deliver(program, folder, options.messages, options.at_once, domain)
    took = time.monotonic() - start
    used = cpu_seconds_of_ended() + sum(map(cpu_seconds, daemons)) - before
    return Run(used / options.messages * 1e3, options.messages / took, max(map(peak, daemons), default=0.0))


def crowd_memory(place: Place, tls: str, number: int) -> tuple[float, float]:
    """Megabytes when so many deliveries were under way at the same time: of the one daemon that held most, and of all.

    All together are counted just behind the last delivery, while connections are kept.
    """
    daemons = place.serve(tls, 5, signs=True)
    deliver(place.client, place.folder, number, number, CROWDED)
    return max(map(peak, daemons)), sum(map(share, daemons))


def deliver(program: Path, folder: Path, messages: int, at_once: int, domain: str = ROUTED) -> None:
    """Start a program for each message, so many at once. domain: with the message's number in it, if it has a place."""
    letters = letters_in(folder)
    running: dict[int, Path] = {}
    for number in range(messages):
        if len(running) >= at_once:
            _reap(running)
        report = folder / f"report-{number % (at_once * 2)}"
        files = [
            (os.POSIX_SPAWN_OPEN, 0, str(letters[number % len(letters)]), os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(report), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        ]
        name = domain.format(number)
        words = [str(program), name, "ann@bench.example", f"bob{number}@{name}"]
        running[os.posix_spawn(program, words, {}, file_actions=files)] = report
    while running:
        _reap(running)


def _reap(running: dict[int, Path]) -> None:
    while True:
        pid, _ = os.waitpid(-1, 0)
        if pid in running:
            break
    report = running.pop(pid).read_bytes()
    if not report.startswith(b"r") or b"\0K" not in report:
        raise SystemExit(f"bench: {report!r}")


def compare(name: str, remote: Callable[[], Run], variant: Callable[[], Run], rounds: int) -> Row:
    """Rounds of a variant, each after one of qmail-remote."""
    pairs = [(remote(), variant()) for _ in range(rounds)]
    return Row(
        name,
        statistics.median(run.cpu for _, run in pairs),
        statistics.median(bare.cpu / run.cpu for bare, run in pairs),
        statistics.median(run.rate for _, run in pairs),
        statistics.median(run.rate / bare.rate for bare, run in pairs),
        max(run.memory for _, run in pairs),
    )


def message(size: int) -> bytes:
    """A message of so many bytes."""
    head = QUEUED + b"From: ann@bench.example\nTo: bob@there.bench\nSubject: bench\n\n"
    lines = b"The quick brown fox jumps over the lazy dog, and does so for seventy.\n"
    return head + (lines * (size // len(lines) + 1))[: max(1, size - len(head) - 1)] + b"\n"


def write_letters(folder: Path, letters: Sequence[bytes]) -> None:
    """What is delivered, by turns."""
    (folder / "letters").mkdir()
    for number, letter in enumerate(letters):
        (folder / f"letters/{number:03}").write_bytes(letter)


def letters_in(folder: Path) -> list[Path]:
    """What write_letters wrote."""
    return sorted((folder / "letters").iterdir())


def variants(place: Place, options: argparse.Namespace) -> dict[str, Callable[[], Run]]:
    """What is measured, by its name."""
    found: dict[str, Callable[[], Run]] = {}
    for variant in VARIANTS:
        found[variant.name] = partial(measure_gatepost, place, variant, options)
    if reason := postfix.missing():
        print(f"Postfix is not measured: {reason}")
        return found
    instance = postfix.Postfix(place.folder / "postfix", place.port, free_port(), options.at_once)
    letters = letters_in(place.folder)
    for way in postfix.WAYS:
        found[way.name] = partial(instance.measure, way, letters, options.messages)
    return found


def main(arguments: Sequence[str]) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="bench.delivery", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--bytes", type=int, default=4096)
    parser.add_argument("--mixed", action="store_true", help="the mixed corpus, mean 34 KB, not --bytes")
    parser.add_argument("--crowd", type=int, default=120, help="deliveries at the same time whose memory is measured")
    parser.add_argument("--only", default="", help="measure what has this in its name")
    parser.add_argument("--json", type=Path, help="write the rows there, too")
    options = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory(prefix="gatewright-bench-") as name, ExitStack() as stack:
        place = Place(Path(name), stack, options.crowd)
        place.folder.chmod(0o711)  # Postfix's processes are other users'
        mixed = [QUEUED + letter for letter in corpus.mixed(MIXED)] if options.mixed else []
        write_letters(place.folder, mixed or [message(options.bytes)])
        measured = {title: run for title, run in variants(place, options).items() if options.only in title}
        print(f"{'':38} CPU ms  efficiency  a second  ratio  MB   ({REMOTE} is 1)")
        for title, variant in measured.items():
            row = compare(title, partial(measure_remote, place, options), variant, options.rounds)
            rows.append(row)
            figures = (
                f"{row.cpu:6.2f}  {row.cpu_efficiency:10.2f}  {row.rate:8.0f}  {row.rate_ratio:5.2f}  {row.memory:4.0f}"
            )
            print(f"{row.name:38} {figures}", flush=True)
        for tls in ("never", "required") if not options.only else ():
            one, all_together = crowd_memory(place, tls, options.crowd)
            print(f"{options.crowd} at once, TLS {tls}, signed: worker at most {one:.0f} MB, all {all_together:.0f} MB")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
