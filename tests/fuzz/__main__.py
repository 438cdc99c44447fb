"""All fuzz targets, a share of the runs each: `python -m tests.fuzz [--runs N] [--seed K] [--jobs J] [TARGET...]`.

Each target is run in turns of TURN inputs with a seed of its own, so that a fault is repeated by the command that is
printed with it. The exit status is 1 when a target found something.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
TARGETS = tuple(sorted(path.stem.removeprefix("fuzz_") for path in FOLDER.glob("fuzz_*.py")))
TURN = 5_000
"""Inputs of one process: short enough that a worker which leaks or hangs is noticed."""
PATIENCE = 1_800
"""Seconds after which a turn is taken for hung."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One process of one target."""

    target: str
    runs: int
    seed: int

    @property
    def command(self) -> list[str]:
        """What repeats it."""
        return [
            sys.executable,
            str(FOLDER / f"fuzz_{self.target}.py"),
            "--runs",
            str(self.runs),
            "--seed",
            str(self.seed),
        ]


def turns(targets: tuple[str, ...], runs: int, seed: int) -> Iterator[Turn]:
    """The turns of all targets, mixed, so that a run that is stopped early has tried each."""
    share = -(-runs // len(targets))
    for number, start in enumerate(range(0, share, TURN)):
        for target in targets:
            yield Turn(target, min(TURN, share - start), seed + number)


def play(turn: Turn) -> tuple[Turn, int, str]:
    """Run one turn; return how many inputs it tried and, if it found something, what it said."""
    try:
        done = subprocess.run(turn.command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return turn, 0, f"not done after {PATIENCE} seconds"
    tried = re.search(r"^(\d+) ", done.stdout, re.MULTILINE)
    count = int(tried[1]) if tried else 0
    return turn, count, "" if done.returncode == 0 else (done.stdout + done.stderr)[-4_000:]


def main() -> int:
    """Run as the command line says and print a line for each target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs of all targets together")
    parser.add_argument("--seed", type=int, default=int(time.time()) // 86_400, help="default: another one each day")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    chosen = parser.parse_args()
    if unknown := set(chosen.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    counts: dict[str, int] = {}
    faults = 0
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for turn, count, fault in pool.map(play, turns(tuple(chosen.targets) or TARGETS, chosen.runs, chosen.seed)):
            counts[turn.target] = counts.get(turn.target, 0) + count
            if fault:
                faults += 1
                print(f"{' '.join(turn.command)}\n{fault}", flush=True)
    for target, count in counts.items():
        print(f"{target:10} {count:>10,} inputs")
    print(f"{sum(counts.values()):,} inputs from seed {chosen.seed}, {faults} turn(s) found something")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
