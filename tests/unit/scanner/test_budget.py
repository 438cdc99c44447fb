"""The bounds of one message hold by a clock, whatever the code that looks at it does."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable

import pytest
from gatescan import mime, unpack
from gatescan.cli.common import SHIPPED_RULES
from gatescan.config import Config
from gatescan.context import Context
from gatescan.judging import rules
from gatescan.judging.budget import Budget, Limits
from gatescan.judging.judge import judge
from gatescan.model import Part, Verdict

SECONDS = 0.3
FAR_TOO_LONG = 20.0


def swallowing() -> None:
    """Code that catches whatever it meets, and goes on."""
    while True:
        try:
            time.sleep(0.001)
        except Exception:
            continue


def matching() -> None:
    """A regular expression that backtracks for years; it is C and never returns to Python."""
    re.fullmatch(r"(a|aa)+$", "a" * 200 + "b")


@pytest.mark.parametrize("hang", [swallowing, matching, lambda: time.sleep(60)], ids=["except", "regex", "sleep"])
def test_a_reader_that_never_looks_at_the_clock_is_ended(
    monkeypatch: pytest.MonkeyPatch, hang: Callable[[], None]
) -> None:
    """The message is a limit, and so held: neither clean, nor tried again for days."""
    monkeypatch.setattr(mime, "parse", lambda *_: hang())
    begun = time.monotonic()
    report = judge(b"Subject: x\n\nx\n", Context(), rules.read(SHIPPED_RULES), Config(limits=Limits(seconds=SECONDS)))
    assert time.monotonic() - begun < FAR_TOO_LONG
    assert report.verdict is Verdict.LIMIT
    assert [finding.code for finding in report.findings] == ["limit-time"]


def test_an_alarm_that_was_caught_is_a_limit_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = mime.parse

    def once(data: bytes, budget: Budget) -> mime.Parsed:
        try:
            time.sleep(60)
        except Exception:
            return whole(data, budget)
        raise AssertionError

    monkeypatch.setattr(mime, "parse", once)
    report = judge(b"Subject: x\n\nx\n", Context(), rules.read(SHIPPED_RULES), Config(limits=Limits(seconds=SECONDS)))
    assert report.verdict is Verdict.LIMIT


def test_the_clock_leaves_nothing_behind() -> None:
    budget = Budget(Limits(seconds=0.05), 0)
    budget.within_time(lambda: None)
    time.sleep(0.1)
    assert budget.rings == 0


def test_memory_that_runs_out_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(unpack, "members", greedy)
    report = judge(b"Subject: x\n\nx\n", Context(), rules.read(SHIPPED_RULES), Config())
    assert report.verdict is Verdict.LIMIT


def pdf(streams: int, tree: bytes) -> bytes:
    """A PDF whose object streams, packed to nothing, are name trees."""
    packed = zlib.compress(tree, 9)
    one = b"obj<</Type/ObjStm/Filter/FlateDecode>>stream\n" + packed + b"\nendstream endobj\n"
    return b"%PDF-1.7\n1 0 obj<</EF<</F 2 0 R>>>>endobj\n" + one * streams + b"trailer<<>>\n"


def test_names_in_a_pdf_are_paid_for() -> None:
    """900 bytes took 34 seconds: what is read out again and again counts as what is read out."""
    tree = (b"/Names[" + b"(" + b"\\)" * 1900 + b")" + b" " * 200) * 1 + b"/Names[(" * 2000
    part = Part("x.pdf", ("x.pdf",), "", pdf(50, tree))
    budget = Budget(Limits(), len(part.data))
    begun = time.monotonic()
    budget.within_time(lambda: list(unpack.members(part, budget)).clear())
    assert time.monotonic() - begun < FAR_TOO_LONG
    assert budget.bytes_out > 1_000_000
