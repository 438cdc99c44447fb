"""Runs a fuzz target: guided by coverage when atheris is installed, else by bounded random mutation.

    python3 -m tests.fuzz.fuzz_NAME [--runs N] [--seconds S] [--seed K]

It stops by itself at either bound, and fails loudly on the first input that makes the target raise.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence

from tests.fuzz import guided

Target = Callable[[bytes], None]


def mutate(seeds: Sequence[bytes], tokens: Sequence[bytes], source: random.Random) -> bytes:
    """A sample with a few changes: bytes changed, cut, repeated, tokens put in, two samples glued."""
    data = bytearray(source.choice(seeds)[:8000])
    for _ in range(source.randint(1, 10)):
        place = source.randrange(len(data) + 1)
        way = source.randrange(6)
        if way == 0:
            data[place : place + 1] = bytes((source.randrange(256),))
        elif way == 1:
            del data[place : place + source.randint(1, 60)]
        elif way == 2:
            data[place:place] = data[place : place + source.randint(1, 80)]
        elif way == 3:
            other = source.choice(seeds)
            start = source.randrange(len(other) + 1)
            data[place:place] = other[start : start + source.randint(1, 300)]
        else:
            data[place:place] = source.choice(tokens) * source.choice((1, 1, 1, 2, 50))
    return bytes(data)


def main(target: Target, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> int:
    """Fuzz `target` as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20_000, help="inputs to try")
    parser.add_argument("--seconds", type=float, default=120, help="time to stop after")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random mutations")
    options = parser.parse_args()
    if guided.AVAILABLE:
        return guided.run(target, seeds, options.runs, options.seed, largest=20_000)
    print("atheris is not installed: random mutation, not guided by coverage")
    source, end, done = random.Random(options.seed), time.monotonic() + options.seconds, 0
    while done < options.runs and time.monotonic() < end:
        data = mutate(seeds, tokens, source)
        try:
            target(data)
        except BaseException:
            print(f"run {done} of seed {options.seed} failed on:\n{data!r}", file=sys.stderr)
            raise
        done += 1
    print(f"{done} inputs, none failed")
    return 0
