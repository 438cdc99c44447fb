"""Fuzzes the unpack layer: `python3 -m tests.fuzz.fuzz_unpack [--runs N] [--seconds S] [--seed K]`.

With atheris installed it is guided by coverage; without, it mutates the samples at random. It stops by itself at either
bound. It fails on any exception that escapes, on a budget that is overrun, and, with --strict, on an exception that
only the last safety net of the unpack layer caught (which is a finding for users, but a flaw of a reader).
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import sys
import time
from pathlib import Path

SLACK = 1_100_000
"""A block may go over the bound by this many bytes before it is counted."""


def samples() -> list[bytes]:
    """Small containers of every kind."""
    from tests.corpus import archives
    from tests.corpus import documents as doc

    files = [archives.PAPER, archives.PROGRAM]
    office = [
        doc.ole_bytes({"Workbook": doc.xls_workbook(True), "\x01Ole10Native": doc.ole_package("run.exe", b"MZ")}),
        doc.ooxml_bytes(relations=[("attachedTemplate", "http://x.example/")]),
        doc.odf_bytes(macro=True),
        doc.rtf_bytes([doc.ole1_object("Package", doc.ole_package("run.exe", b"MZ" * 40)[4:])]),
        doc.pdf_bytes(files, launch=True, compressed=True),
        doc.locked_pdf(),
    ]
    return [packer(files) for packer, _ in archives.PACKERS.values()] + office


def one_input(data: bytes, strict: bool = False) -> None:
    """Open `data` wholly; raise AssertionError for what must not be."""
    from gatescan import unpack
    from gatescan.judging.budget import Budget, LimitReached, Limits
    from gatescan.model import Part

    budget = Budget(Limits(bytes_floor=3_000_000, bytes_ratio=1, parts=300, depth=6, seconds=10), len(data))
    todo = [Part("1", ("attachment",), "", data)]
    while todo:
        part = todo.pop()
        try:
            budget.check_depth(part.depth)
            todo += list(unpack.members(part, budget))
        except LimitReached:
            break
        finally:
            for finding in part.findings:
                if strict and finding.detail.startswith("can't be read ("):
                    raise AssertionError(f"a reader failed: {finding.detail}")
    if budget.bytes_out > budget.bytes_bound + SLACK:
        raise AssertionError(f"{budget.bytes_out} bytes came out, {budget.bytes_bound} were allowed")


def mutate(seeds: list[bytes], source: random.Random) -> bytes:
    """A damaged sample: bytes changed, cut out, repeated, or two samples glued together."""
    data = bytearray(source.choice(seeds))
    for _ in range(source.randint(1, 12)):
        place = source.randrange(len(data) + 1)
        way = source.randrange(5)
        if way == 0:
            data[place : place + 1] = bytes((source.randrange(256),))
        elif way == 1:
            data[place : place + 4] = source.choice(
                (b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\x7f", b"\x01")
            )
        elif way == 2:
            del data[place : place + source.randint(1, 40)]
        elif way == 3:
            data[place:place] = data[place : place + source.randint(1, 60)]
        else:
            data[place:place] = source.choice(seeds)[: source.randint(1, 400)]
    return bytes(data)


def run_random(runs: int, seconds: float, seed: int, strict: bool) -> int:
    """Mutate at random until either bound; return how many inputs were tried."""
    source = random.Random(seed)
    seeds = samples()
    end = time.monotonic() + seconds
    done = 0
    while done < runs and time.monotonic() < end:
        data = mutate(seeds, source)
        try:
            one_input(data, strict)
        except Exception:
            print(f"input {done} of seed {seed}: {data[:4000].hex()}", file=sys.stderr)
            raise
        done += 1
    return done


def run_guided(runs: int, seconds: float, seed: int, strict: bool, corpus: Path) -> None:
    """Hand over to atheris, which ends the process at either bound."""
    import atheris

    with atheris.instrument_imports(include=["gatescan"]):
        import gatescan.unpack.archive
        import gatescan.unpack.ole
        import gatescan.unpack.onenote
        import gatescan.unpack.pdf
        import gatescan.unpack.rtf
        import gatescan.unpack.streams
        import gatescan.unpack.tnef  # noqa: F401  # loaded here so that it is instrumented
    for number, sample in enumerate(samples()):
        (corpus / f"sample-{number}").write_bytes(sample)
    bounds = [
        f"-runs={runs}",
        f"-max_total_time={int(seconds)}",
        f"-seed={seed}",
        "-max_len=60000",
        "-rss_limit_mb=2048",
    ]
    atheris.Setup([sys.argv[0], *bounds, str(corpus)], lambda data: one_input(data, strict))
    atheris.Fuzz()


def main() -> int:
    """Run it as the command line says."""
    parser = argparse.ArgumentParser(description="Fuzz the unpack layer.")
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--strict", action="store_true", help="also fail where only the safety net caught an error")
    parser.add_argument("--corpus", type=Path, help="folder for atheris's corpus; without it mutation is random")
    options = parser.parse_args()
    if options.corpus is not None and importlib.util.find_spec("atheris"):
        options.corpus.mkdir(parents=True, exist_ok=True)
        run_guided(options.runs, options.seconds, options.seed, options.strict, options.corpus)
        return 0
    if options.corpus is not None:
        print("atheris is not installed: mutating at random", file=sys.stderr)
    print(f"{run_random(options.runs, options.seconds, options.seed, options.strict)} inputs, nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
