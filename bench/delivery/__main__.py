"""What a delivery costs, beside qmail's own qmail-remote: CPU a message, messages a second.

    python3 -m bench.delivery [--rounds N] [--messages N] [--at-once N] [--bytes N] [--json FILE]

Needs a C compiler and the qmail archive in $GATEWRIGHT_ARTIFACTS, and no rights: all of it runs in a folder of its own
and on the loopback address, by a route. Each program is started once a message, as qmail-rspawn does. CPU time is that
of these processes and of gatepost's daemon; the receiving server's is not counted, but takes its part of the machine.
Every run of a variant comes right after one of qmail-remote and is compared with that one: the ratios hold on a busy
machine, the absolute figures only for the moment.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.delivery.place import Place

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Variant:
    """A way out. tls: the route's level, empty for qmail-remote. reuse: seconds for which a connection is kept."""

    name: str
    tls: str
    reuse: float


REMOTE = Variant("qmail-remote, plain", "", 0)
VARIANTS = (
    Variant("gatepost, plain, a connection each", "never", 0),
    Variant("gatepost, plain, connections kept", "never", 5),
    Variant("gatepost, TLS, a connection each", "required", 0),
    Variant("gatepost, TLS, connections kept", "required", 5),
)


@dataclass(frozen=True)
class Run:
    """One run: CPU milliseconds a message, messages a second, megabytes that the daemon held at most."""

    cpu: float
    rate: float
    memory: float


@dataclass(frozen=True)
class Row:
    """A variant's medians, and those of its ratios to the run of qmail-remote before; above 1 is better than it."""

    name: str
    cpu: float
    cpu_efficiency: float
    rate: float
    rate_ratio: float
    memory: float


def measure(place: Place, variant: Variant, messages: int, at_once: int) -> Run:
    """Deliver so many messages; all must be taken."""
    daemon = place.serve(variant.tls, variant.reuse).pid if variant.tls else 0
    program = place.client if variant.tls else place.remote
    before, start = _cpu(daemon), time.monotonic()
    deliver(program, place.folder, messages, at_once)
    took = time.monotonic() - start
    return Run((_cpu(daemon) - before) / messages * 1e3, messages / took, _peak(daemon))


def deliver(program: Path, folder: Path, messages: int, at_once: int) -> None:
    """Start a program for each message, so many at once."""
    running: dict[int, Path] = {}
    for number in range(messages):
        if len(running) >= at_once:
            _reap(running)
        report = folder / f"report-{number % (at_once * 2)}"
        files = [
            (os.POSIX_SPAWN_OPEN, 0, str(folder / "message"), os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(report), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        ]
        words = [str(program), "there.bench", "ann@bench.example", f"bob{number}@there.bench"]
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


def _cpu(daemon: int) -> float:
    """Seconds of CPU time: of the programs that have ended, and of the daemon."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = ended.ru_utime + ended.ru_stime
    if daemon:
        fields = Path(f"/proc/{daemon}/stat").read_text().rpartition(")")[2].split()
        used += (int(fields[11]) + int(fields[12])) / TICKS
    return used


def _peak(daemon: int) -> float:
    if not daemon:
        return 0.0
    lines = Path(f"/proc/{daemon}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def compare(place: Place, variant: Variant, options: argparse.Namespace) -> Row:
    """Rounds of a variant, each after one of qmail-remote."""
    pairs: list[tuple[Run, Run]] = []
    for _ in range(options.rounds):
        bare = measure(place, REMOTE, options.messages, options.at_once)
        pairs.append((bare, measure(place, variant, options.messages, options.at_once)))
    return Row(
        variant.name,
        statistics.median(run.cpu for _, run in pairs),
        statistics.median(bare.cpu / run.cpu for bare, run in pairs),
        statistics.median(run.rate for _, run in pairs),
        statistics.median(run.rate / bare.rate for bare, run in pairs),
        max(run.memory for _, run in pairs),
    )


def message(size: int) -> bytes:
    """A message of so many bytes."""
    head = b"From: ann@bench.example\nTo: bob@there.bench\nSubject: bench\n\n"
    lines = b"The quick brown fox jumps over the lazy dog, and does so for seventy.\n"
    return head + (lines * (size // len(lines) + 1))[: max(1, size - len(head) - 1)] + b"\n"


def main(arguments: Sequence[str]) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="bench.delivery", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--bytes", type=int, default=4096)
    parser.add_argument("--json", type=Path, help="write the rows there, too")
    options = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory(prefix="gatewright-bench-") as name, ExitStack() as stack:
        place = Place(Path(name), stack)
        (place.folder / "message").write_bytes(message(options.bytes))
        print(f"{'':36} CPU ms  efficiency  a second  ratio  MB   ({REMOTE.name} is 1)")
        for variant in VARIANTS:
            row = compare(place, variant, options)
            rows.append(row)
            figures = (
                f"{row.cpu:6.2f}  {row.cpu_efficiency:10.2f}  {row.rate:8.0f}  {row.rate_ratio:5.2f}  {row.memory:4.0f}"
            )
            print(f"{row.name:36} {figures}", flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
