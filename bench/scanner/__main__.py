"""What accepting a message costs, beside bare qmail: CPU time, messages a second, latency, memory.

    python3 -m bench.scanner [--rounds N] [--messages N] [--only NAME...] [--no-curve] [--json FILE]

Needs root (users, control groups), a C compiler, tcpserver, and the qmail archive in $GATEWRIGHT_ARTIFACTS. All
traffic stays on the loopback address. Every run of a variant comes right after one of bare qmail and is compared
with that one: the ratios hold on a busy machine too, the absolute figures only for the moment. CPU time is that
of all processes on the accepting side, the scanner's daemon included, the sender's not; mail is left in the queue.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from bench import options
from bench.scanner import corpus, variants
from bench.scanner.load import send_all
from bench.scanner.qmail import Qmail
from bench.scanner.variants import Variant
from bench.scanner.waiting import wait_until

SESSIONS = 20
SLOW = {"amavisd-new": 8, "rspamd": 2, "rspamd: stranger": 2}
"""These get a part of the messages, or a run would take minutes."""
CURVE = (1_000, 4_000, 16_000, 64_000, 256_000, 1_000_000, 4_000_000, 16_000_000, 50_000_000)


@dataclass(frozen=True)
class Run:
    """One run: CPU milliseconds a message, accepted messages a second, milliseconds of a session."""

    cpu: float
    rate: float
    p50: float
    p99: float


def measure(qmail: Qmail, variant: Variant, messages: Sequence[bytes], sessions: int = SESSIONS) -> Run:
    """Send the messages to a variant; all must end up in the queue."""
    qmail.empty_queue()
    before = variant.cpu
    load = send_all(variant.port, messages, sessions)
    wait_until(lambda: _rests(variant), f"{variant.name} to come to rest")
    used = variant.cpu - before
    if load.refusals or qmail.queued != len(messages):
        raise SystemExit(f"bench: {variant.name}: {len(messages)} sent, {qmail.queued} queued, {load.refused}")
    return Run(used / load.accepted * 1e3, load.rate, load.percentile(50) * 1e3, load.percentile(99) * 1e3)


def _rests(variant: Variant) -> bool:
    """Has it used next to nothing for a moment? (amavisd-new keeps connections open, so ends can't be counted.)"""
    before = variant.cpu
    time.sleep(0.05)
    return variant.cpu - before < 0.001


@dataclass(frozen=True)
class Row:
    """A variant's figures over all rounds; the ratios are those of the pairs."""

    name: str
    pairs: int
    cpu: float
    cpu_ratio: float
    cpu_least: float
    cpu_greatest: float
    rate: float
    rate_ratio: float
    p50: float
    p99: float
    p99_times: float


def compare(
    qmail: Qmail, bare: Variant, others: Sequence[Variant], messages: Sequence[bytes], rounds: int
) -> Iterator[Row]:
    """Measure each variant `rounds` times, right after bare qmail."""
    pairs: dict[str, list[tuple[Run, Run]]] = {variant.name: [] for variant in others}
    for _ in range(rounds):
        for variant in others:
            part = messages[: max(SESSIONS, len(messages) // SLOW.get(variant.name, 1))]
            first = measure(qmail, bare, part)
            pairs[variant.name].append((first, measure(qmail, variant, part)))
    base = [first for runs in pairs.values() for first, _ in runs]
    yield _row("bare qmail", [(run, run) for run in base])
    for name, runs in pairs.items():
        yield _row(name, runs)


def _row(name: str, pairs: Sequence[tuple[Run, Run]]) -> Row:
    ratios = [bare.cpu / run.cpu for bare, run in pairs]
    middle = statistics.median
    return Row(
        name,
        len(pairs),
        middle(run.cpu for _, run in pairs),
        middle(ratios),
        min(ratios),
        max(ratios),
        middle(run.rate for _, run in pairs),
        middle(run.rate / bare.rate for bare, run in pairs),
        middle(run.p50 for _, run in pairs),
        middle(run.p99 for _, run in pairs),
        middle(run.p99 / bare.p99 for bare, run in pairs),
    )


def print_rows(title: str, rows: Sequence[Row]) -> None:
    """The table of one corpus."""
    print(f"\n{title}")
    print(
        f"{'':20} {'pairs':>5} {'CPU ms':>7} {'CPU ratio to bare':>22} {'msg/s':>7} {'ratio':>6}"
        f" {'p50 ms':>7} {'p99 ms':>7} {'p99 times bare':>15}"
    )
    for row in rows:
        spread = f"{row.cpu_ratio:.2f} [{row.cpu_least:.2f}-{row.cpu_greatest:.2f}]"
        print(
            f"{row.name:20} {row.pairs:5} {row.cpu:7.2f} {spread:>22} {row.rate:7.0f} {row.rate_ratio:6.2f}"
            f" {row.p50:7.0f} {row.p99:7.0f} {row.p99_times:15.2f}",
            flush=True,
        )


def curve(qmail: Qmail, bare: Variant, variant: Variant) -> list[dict[str, float]]:
    """CPU time a message by size, and what the scanner adds, a megabyte."""
    print(f"\nCost by size (CPU ms a message): bare qmail, {variant.name}, what it adds, and that a megabyte")
    rows = []
    for size in CURVE:
        messages = corpus.of_size(size, max(3, min(100, 20_000_000 // size)))
        # As many sessions at every size: with fewer, a message costs more, whatever it holds.
        pairs = [[measure(qmail, each, messages, 4).cpu for each in (bare, variant)] for _ in range(3)]
        cheap, full = (statistics.median(column) for column in zip(*pairs, strict=True))
        rows.append({"size": size, "bare": cheap, "scanner": full})
        added = full - cheap
        print(f"{size:>11,} {cheap:9.2f} {full:9.2f} {added:9.2f} {added / size * 1e6:9.2f}", flush=True)
    return rows


def fence(qmail: Qmail, fenced: Variant, unfenced: Variant, messages: Sequence[bytes], rounds: int) -> list[float]:
    """CPU time with the fence, times that without it, of pairs that begin with the one and the other in turn."""
    ratios = []
    for number in range(2 * rounds):
        pair = (fenced, unfenced) if number % 2 else (unfenced, fenced)
        cpu = {variant.name: measure(qmail, variant, messages).cpu for variant in pair}
        ratios.append(cpu[fenced.name] / cpu[unfenced.name])
    return ratios


def command_line() -> argparse.Namespace:
    """What is asked for."""
    parser = options.parser("bench.scanner", __doc__, rounds=5, messages=400)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="variants, by the beginning of their names")
    parser.add_argument("--unsigned", action="store_true", help="no DKIM signatures, as older trees' bench")
    parser.add_argument("--no-curve", action="store_true", help="leave out the cost by size")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    chosen = command_line()
    if os.geteuid() != 0:
        raise SystemExit("bench: needs root, for users and control groups")
    results: dict[str, object] = {}
    with ExitStack() as cleanup:
        qmail = cleanup.enter_context(Qmail())
        running = list(start_all(qmail, chosen.only, cleanup))
        made: Callable[[Iterable[bytes]], list[bytes]] = list if chosen.unsigned else qmail.site.signed
        unfenced = next((variant for variant in running if variant.name == variants.UNFENCED), None)
        bare, *others = (variant for variant in running if variant is not unfenced)
        print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; {SESSIONS} sessions; notqmail 1.09")
        for variant in running:
            print(f"{variant.name:20} {'stops' if stops(qmail, variant) else 'lets through'} a program in a zip")
        for title, messages in corpora(made, chosen.messages):
            rows = list(compare(qmail, bare, others, messages, chosen.rounds))
            print_rows(title, rows)
            results[title] = [asdict(row) for row in rows]
        print("\nMemory of the daemon after all this, shared pages counted once (PSS)")
        for variant in others:
            if variant.service.processes:
                count, size = len(variant.service.processes), variant.service.memory
                results[f"memory of {variant.name}"] = size
                print(f"{variant.name:20} {size / 1e6:6.0f} MB in {count} processes")
        ours = next((variant for variant in others if variant.name == "Gatewright"), None)
        if ours and unfenced:
            print("\nThe fence: CPU time with it, times that without it (median, least and greatest of the pairs)")
            for title, messages in corpora(made, chosen.messages):
                ratios = fence(qmail, ours, unfenced, messages, chosen.rounds)
                results[f"fence, {title}"] = ratios
                middle = statistics.median(ratios)
                print(f"{title}: {middle:.2f} [{min(ratios):.2f}-{max(ratios):.2f}], {len(ratios)} pairs", flush=True)
        if ours and not chosen.no_curve:
            results["curve"] = curve(qmail, bare, ours)
            print(f"memory of Gatewright's daemon after that: {ours.service.memory / 1e6:.0f} MB")
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1))


def stops(qmail: Qmail, variant: Variant) -> bool:
    """Does it keep a program in a zip archive out of the queue?"""
    qmail.empty_queue()
    send_all(variant.port, [corpus.program_in_zip()], 1)
    wait_until(lambda: _rests(variant), f"{variant.name} to come to rest")
    return qmail.queued == 0


def start_all(qmail: Qmail, only: Sequence[str] | None, cleanup: ExitStack) -> Iterator[Variant]:
    """Bare qmail first, then the others that are wanted and installed."""
    for number, kind in enumerate(variants.KINDS):
        wanted = not only or number == 0 or any(kind.name.lower().startswith(name.lower()) for name in only)
        if not wanted:
            continue
        try:
            variant = variants.start(qmail, kind, number)
        except (variants.Missing, TimeoutError) as missing:
            print(f"{kind.name}: left out, {missing}", file=sys.stderr)
            continue
        cleanup.callback(variant.end)
        yield variant


def corpora(made: Callable[[Iterable[bytes]], list[bytes]], count: int) -> Iterator[tuple[str, list[bytes]]]:
    """The three sets of messages. made: as their sender's server sends them."""
    mixed = made(corpus.mixed(count))
    mean = sum(map(len, mixed)) / len(mixed)
    yield f"Mixed corpus: {count} messages, mean {mean / 1000:.1f} KB", mixed
    yield "4 KB messages", made(corpus.of_size(4_096, count))
    yield "100 KB messages", made(corpus.of_size(102_400, count // 2))


if __name__ == "__main__":
    main()
