"""Fuzz the rules: any bytes are rules or placed mistakes, and what was built is what is loaded.

    python3 -m tests.fuzz.fuzz_rules [--runs N] [--seed K]

With atheris installed it is guided by coverage; without, it mutates sound rules at random. It stops by itself.
"""

from __future__ import annotations

import argparse
import random
import re
import tempfile
from pathlib import Path

from gatescan.context import Context
from gatescan.judging import rules

from tests.fuzz import guided

SOUND = (
    b"# comment\n.exe\tSIZE=-1\tprogram\n",
    b"EICAR.COM\t69\tEICAR test virus\tinbound @example.org\n",
    b"Pickles.*Breakfast\tVirus-Subject:\tworm\r\n.{10,}\tPolicy-Date:\tdate\n",
    b".*@bad\\.example\tPolicy-MAILFROM:\tsender\toutbound, @.example.net\n",
)
PIECES = (
    b"\t",
    b"\t\t",
    b" ",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"(",
    b")",
    b"[",
    b"*",
    b"{2}",
    b"\\",
    b"-1",
    b":",
    b"Virus-",
    b"@",
    b"#",
)
LARGEST = 2_000
"""Bytes of rules."""
PLACE = re.compile(r"rules\.txt:\d+:\d+: ")
CONTEXT = Context("ann@example.net", ("bob@example.org",), "192.0.2.1")
NESTED = re.compile(r"[*+}]\S*[*+{]")
"""Regexes with repetitions of repetitions may take for ever: what the worker's deadline is for, not this loop."""

_temporary = tempfile.TemporaryDirectory(prefix="fuzz-rules-")  # removed when this ends


def one_input(data: bytes) -> None:
    """Build the rules in `data`, load them, and match with them."""
    folder = Path(_temporary.name)
    source, compiled = folder / "rules.txt", folder / "rules.json"
    source.write_bytes(data)
    try:
        built = rules.build(source, compiled)
    except rules.RulesError as error:
        assert error.problems and all(PLACE.search(problem) for problem in error.problems), error
        return
    loaded = rules.load(compiled)
    assert loaded.rules == built.rules and not rules.is_stale(loaded)
    loaded.match_name("eicar.com", 69, CONTEXT)
    loaded.match_extension("exe", CONTEXT)
    for name, candidates in loaded.headers.items():
        if not any(NESTED.search(pattern.pattern) for pattern, _ in candidates):
            list(loaded.match_header(name, "Pickles for Breakfast", CONTEXT))


def mutated(rng: random.Random) -> bytes:
    """Sound rules with a few bytes changed, cut out, doubled or put in."""
    out = bytearray(b"".join(rng.sample(SOUND, rng.randint(1, len(SOUND)))))
    for _ in range(rng.randint(1, 5)):
        at = rng.randint(0, len(out))
        end = min(len(out), at + rng.randint(0, 4))
        out[at:end] = rng.choice((b"", rng.choice(PIECES), out[at:end] * 2, rng.randbytes(2)))
    return bytes(out)


def main() -> int:
    """Fuzz, guided or not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=20021122)
    chosen = parser.parse_args()
    if guided.AVAILABLE:
        return guided.run(one_input, SOUND, chosen.runs, chosen.seed, LARGEST)
    rng = random.Random(chosen.seed)
    for _ in range(chosen.runs):
        one_input(mutated(rng))
    print(f"{chosen.runs} mutations of sound rules (atheris is not installed: not guided by coverage)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
