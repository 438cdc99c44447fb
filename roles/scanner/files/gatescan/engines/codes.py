"""What exit codes mean, in the few shapes that scanners have invented."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gatescan.engines.commandline import Codes
from gatescan.model import Verdict


def listed(clean: Iterable[int], infected: Iterable[int], other: Mapping[int, Verdict] | None = None) -> Codes:
    """Codes in lists; one that is in none is an error."""
    meanings = {
        **dict.fromkeys(clean, Verdict.CLEAN),
        **dict.fromkeys(infected, Verdict.INFECTED),
        **(other or {}),
    }
    return meanings.get


def counted() -> Codes:
    """The code is the number of viruses, as Trend's is; from 128 on it is a crash under a shell."""
    return lambda code: Verdict.CLEAN if code == 0 else Verdict.INFECTED if code < 128 else None


def bits(infected: int, ignored: int = 0, other: Mapping[int, Verdict] | None = None) -> Codes:
    """A bit vector. Any bit of `infected` tells; else bits that are in no mask are an error; else `other` counts."""
    others = dict(other or {})

    def meaning(code: int) -> Verdict | None:
        if code & infected:
            return Verdict.INFECTED
        rest = code & ~ignored
        if rest & ~sum(others):
            return None
        found = [verdict for bit, verdict in others.items() if rest & bit]
        return max(found, key=lambda verdict: verdict.severity, default=Verdict.CLEAN)

    return meaning


def nibbles(clean: Iterable[int], infected: Iterable[int]) -> Codes:
    """Kaspersky 4: the low half tells what was found, any bit of the high half that its database is unfit."""
    low = listed(clean, infected)

    def meaning(code: int) -> Verdict | None:
        found = low(code & 15)
        return found if found is Verdict.INFECTED or code < 16 else None

    return meaning
