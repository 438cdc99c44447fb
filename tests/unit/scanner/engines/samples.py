"""What the engines' tests let engines look at."""

from __future__ import annotations

import time

from gatescan.engines.base import Sample
from gatescan.model import Part

MARK = b"DOUBLES-FIND-THIS"


def part(path: str, data: bytes, *, sealed: bool = False) -> Part:
    return Part(path, (), "application/octet-stream", b"" if sealed else data, sealed=sealed)


def soon(seconds: float = 30.0) -> float:
    return time.monotonic() + seconds


SAMPLE = Sample(b"Subject: x\n\nbody\n", [part("1", b"harmless"), part("2/a b.exe", b"... " + MARK)])
"""A message whose second part is what the doubles find."""
