"""All fuzz targets, a share of the runs each: `python -m tests.fuzz [--runs N] [--seed K] [--jobs J] [TARGET...]`.

Each target is run in turns of TURN inputs with a seed of its own, so that a fault is repeated by the command that is
printed with it. The exit status is 1 when a target found something.

A long run can be had in pieces: with `--state FILE`, and the same runs and targets, it goes on where the last one
ended, and counts what all of them have tried; with `--seconds S` it begins no turn after that time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PROJECT = FOLDER.parents[1]
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
        numbers = ["--runs", str(self.runs), "--seed", str(self.seed)]
        return [sys.executable, "-m", f"tests.fuzz.fuzz_{self.target}", *numbers]


def turns(targets: tuple[str, ...], runs: int, seed: int) -> Iterator[Turn]:
    """The turns of all targets, mixed, so that a run that is stopped early has tried each."""
    share = -(-runs // len(targets))
    for number, start in enumerate(range(0, share, TURN)):
        for target in targets:
            yield Turn(target, min(TURN, share - start), seed + number)


@dataclass(slots=True)
class Account:
    """What was tried so far: turns that are done, inputs by target, and the commands that repeat what was found."""

    seed: int
    turns: int = 0
    inputs: dict[str, int] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)

    def add(self, turn: Turn, count: int, fault: str) -> None:
        """One more turn."""
        self.turns += 1
        self.inputs[turn.target] = self.inputs.get(turn.target, 0) + count
        if fault:
            self.found.append(" ".join(turn.command))

    def write(self, path: Path) -> None:
        """Keep it, whatever happens meanwhile."""
        fresh = path.with_name(f"{path.name}.new")
        fresh.write_text(json.dumps(asdict(self), indent=1))
        fresh.rename(path)


def play(turn: Turn, until: float = float("inf")) -> tuple[Turn, int, str] | None:
    """Run one turn; return how many inputs it tried and, if it found something, what it said. None: it is too late."""
    if time.monotonic() > until:
        return None
    try:
        done = subprocess.run(turn.command, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return turn, 0, f"not done after {PATIENCE} seconds"
    tried = re.search(r"^(\d+) ", done.stdout, re.MULTILINE)
    count = int(tried[1]) if tried else 0
    return turn, count, "" if done.returncode == 0 else (done.stdout + done.stderr)[-4_000:]


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs of all targets together")
    parser.add_argument("--seed", type=int, default=int(time.time()) // 86_400, help="default: another one each day")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no turn after this time")
    parser.add_argument("--state", type=Path, help="go on where this file says, and keep the account in it")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    chosen = parser.parse_args()
    if unknown := set(chosen.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    return chosen


def main() -> int:
    """Run as the command line says and print a line for each target."""
    chosen = options()
    account = Account(chosen.seed)
    if chosen.state and chosen.state.exists():
        account = Account(**json.loads(chosen.state.read_text()))
    left = islice(turns(tuple(chosen.targets) or TARGETS, chosen.runs, account.seed), account.turns, None)
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for result in pool.map(partial(play, until=time.monotonic() + chosen.seconds), left):
            if result is None:
                continue
            account.add(*result)
            if result[2]:
                print(f"{' '.join(result[0].command)}\n{result[2]}", flush=True)
            if chosen.state:
                account.write(chosen.state)
    for target, count in account.inputs.items():
        print(f"{target:10} {count:>10,} inputs")
    found = len(account.found)
    print(f"{sum(account.inputs.values()):,} inputs from seed {account.seed}, {found} turn(s) found something")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
