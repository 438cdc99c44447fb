"""Fuzz the judge: the corpus's messages, mutated. None may raise, be an engine-error, or cost more than its budget.

    python3 -m tests.fuzz.fuzz_judge [--runs N] [--seed K] [--keep DIR]

An engine-error means that something in the scanner met what it did not foresee. With atheris installed it is guided by
coverage; without, it mutates at random. It stops by itself; --keep stores the messages that failed.
"""

from __future__ import annotations

import argparse
import logging
import random
import time
from pathlib import Path

from gatescan.cli.common import SHIPPED_RULES
from gatescan.config import Config
from gatescan.context import Context
from gatescan.judging import judge, rules
from gatescan.model import Verdict

from tests.corpus import generate
from tests.fuzz import guided

LARGEST = 200_000
"""Bytes; larger messages of the corpus are about bounds, and slow the loop down."""
SECONDS = 20.0
"""A message that takes longer has left the budget's clock behind."""
RULES = rules.read(SHIPPED_RULES)
CONFIG = Config()
CONTEXT = Context("ann@example.net", ("bob@example.org",), "192.0.2.1")


class Failure(AssertionError):
    """A message that was not judged as it should be."""


def one_input(data: bytes) -> None:
    """Judge one message."""
    started = time.monotonic()
    report = judge.judge(data, CONTEXT, RULES, CONFIG)
    if report.verdict is Verdict.ENGINE_ERROR or any(f.code == "scanner-failed" for f in report.findings):
        raise Failure(next(f.detail for f in report.findings if f.verdict is Verdict.ENGINE_ERROR))
    if time.monotonic() - started > SECONDS:
        raise Failure(f"took {time.monotonic() - started:.1f} seconds")


def mutated(rng: random.Random, data: bytes) -> bytes:
    """A message with a few runs of bytes changed, cut out, doubled, moved or put in."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randint(0, len(out))
        end = min(len(out), at + rng.choice((0, 1, 2, 4, 16, 256)))
        piece = bytes(out[at:end])
        new = (
            b"",
            piece * 2,
            piece[::-1],
            rng.randbytes(len(piece) or 1),
            b"\0" * len(piece),
            b"\xff\xff\xff\x7f",
            b"\n",
        )
        out[at:end] = rng.choice(new)
    return bytes(out)


def main() -> int:
    """Fuzz, guided or not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=20021122)
    parser.add_argument("--keep", type=Path)
    chosen = parser.parse_args()
    logging.disable()
    sound = [case.message for case in generate.cases() if len(case.message) <= LARGEST]
    if guided.AVAILABLE:
        return guided.run(one_input, sound, chosen.runs, chosen.seed, LARGEST)
    rng = random.Random(chosen.seed)
    failures = 0
    for number in range(chosen.runs):
        data = mutated(rng, rng.choice(sound))
        try:
            one_input(data)
        except Exception as error:
            failures += 1
            print(f"run {number}: {type(error).__name__}: {error}")
            if chosen.keep:
                chosen.keep.mkdir(parents=True, exist_ok=True)
                (chosen.keep / f"{chosen.seed}-{number}.eml").write_bytes(data)
    print(f"{chosen.runs} mutations, {failures} failures (atheris is not installed: not guided by coverage)")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
