"""What judging a message costs in this tree, beside another: `python3 -m bench.scanner.against TREE`.

TREE is a checkout of the project to compare with, for example one that `git worktree add TREE COMMIT` made. A
process for each tree judges the same messages of the mixed corpus, in process, by turns: a busy machine slows both.
The ratio is of CPU time, this tree's by the other's; below 1 is cheaper than there.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.scanner import corpus

HERE = Path(__file__).parents[2]
PACKAGE = "roles/scanner/files"
JUDGE = """\
import sys, time
sys.path.insert(0, sys.argv[1])
from gatescan.cli.common import SHIPPED_RULES
from gatescan.config import Config
from gatescan.context import Context
try:
    from gatescan.judging import rules
    from gatescan.judging.judge import judge
except ImportError:  # as it was before the modules had rooms
    from gatescan import rules
    from gatescan.judge import judge
context, known, config = Context("ann@example.net", ("bob@example.org",)), rules.read(SHIPPED_RULES), Config()
pipe = sys.stdin.buffer
while line := pipe.readline():
    message = pipe.read(int(line))
    before = time.process_time()
    judge(message, context, known, config)
    print(time.process_time() - before, flush=True)
"""


class Judge:
    """A process that judges messages with one tree's scanner."""

    def __init__(self, tree: Path) -> None:
        command = [sys.executable, "-c", JUDGE, str(tree / PACKAGE)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def seconds(self, message: bytes) -> float:
        """CPU time of judging it."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(b"%d\n" % len(message) + message)
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def end(self) -> None:
        """No more messages."""
        self._process.communicate()


@dataclass(frozen=True)
class Row:
    """A kind of message: its name, CPU milliseconds a message there and here, and the ratio."""

    name: str
    there: float
    here: float

    @property
    def ratio(self) -> float:
        """This tree's CPU time by the other's."""
        return self.here / self.there


def kinds(count: int) -> dict[str, list[bytes]]:
    """The mixed corpus, and `count` messages of each of its kinds."""
    found = {"mixed": corpus.mixed(4 * count)}
    for _, maker, least, greatest in corpus.MIX:
        rng = random.Random(corpus.SEED)
        found[maker.__name__] = [maker(rng, rng.randint(least, greatest)).as_bytes() for _ in range(count)]
    return found


def compare(name: str, messages: list[bytes], there: Judge, here: Judge, rounds: int) -> Row:
    """Medians of each message's rounds, summed up."""
    sums = {there: 0.0, here: 0.0}
    for number, message in enumerate(messages):
        took: dict[Judge, list[float]] = {there: [], here: []}
        for turn in range(rounds):
            for judge in (there, here) if (number + turn) % 2 else (here, there):
                took[judge].append(judge.seconds(message))
        for judge, seconds in took.items():
            sums[judge] += statistics.median(seconds)
    return Row(name, sums[there] / len(messages) * 1e3, sums[here] / len(messages) * 1e3)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python3 -m bench.scanner.against", description=__doc__)
    parser.add_argument("tree", type=Path, help="the checkout to compare with")
    parser.add_argument("--messages", type=int, default=50, help="messages of each kind; four times as many mixed")
    parser.add_argument("--rounds", type=int, default=5, help="times that each message is judged in each tree")
    chosen = parser.parse_args()
    there, here = Judge(chosen.tree), Judge(HERE)
    print(f"{'CPU ms a message':18} {'there':>7} {'here':>7} {'ratio':>6}")
    for name, messages in kinds(chosen.messages).items():
        row = compare(name, messages, there, here, chosen.rounds)
        print(f"{row.name:18} {row.there:7.3f} {row.here:7.3f} {row.ratio:6.2f}", flush=True)
    for judge in (there, here):
        judge.end()


if __name__ == "__main__":
    main()
