"""What mail that is made to cost does cost, for every reader: bounded by its bytes, linear, and ended by the clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import costly
import pytest
from gatescan.cli.common import SHIPPED_RULES
from gatescan.config import Config
from gatescan.context import Context
from gatescan.judging import judge as judging
from gatescan.judging import rules
from gatescan.judging.budget import Budget, Limits
from gatescan.judging.judge import MessageReport
from gatescan.model import Verdict

PIECES = 500
SECONDS_A_MEGABYTE = 20.0
"""CPU time a megabyte of what is read: the message, or what comes out of it where that is more. None takes
a quarter of it."""
GREATEST_RATIO = 3.0
"""How much more twice as many pieces may cost. What grows by the square costs four times as much."""
NOISE = 0.05
"""CPU seconds below which costs are not compared."""
SHORT, LATEST = 0.2, 4.0
"""Seconds that a message may take, and CPU seconds within which one that would take longer is ended."""

KNOWN = rules.read(SHIPPED_RULES)


@dataclass(frozen=True)
class Cost:
    """CPU seconds, bytes that were read, and what came of it."""

    seconds: float
    size: int
    report: MessageReport

    @property
    def a_megabyte(self) -> float:
        """CPU seconds a megabyte."""
        return self.seconds / self.size * 1e6


def cost(message: bytes, monkeypatch: pytest.MonkeyPatch, limits: Limits) -> Cost:
    """Judge it."""
    made: list[Budget] = []

    def budget(*words: Any) -> Budget:
        made.append(Budget(*words))
        return made[-1]

    monkeypatch.setattr(judging, "Budget", budget)
    begun = time.process_time()
    report = judging.judge(message, Context(), KNOWN, Config(limits=limits))
    return Cost(time.process_time() - begun, max(len(message), made[-1].bytes_out), report)


@pytest.mark.parametrize("name", costly.MAKERS)
def test_the_cost_is_bounded_by_the_bytes_and_linear(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, limits = costly.MAKERS[name], Limits(seconds=60)
    once, twice = (cost(make(count), monkeypatch, limits) for count in (PIECES, 2 * PIECES))
    assert once.report.verdict is not Verdict.ENGINE_ERROR
    assert twice.seconds < NOISE or twice.a_megabyte < SECONDS_A_MEGABYTE
    # The least of two, as a busy machine makes one of them dearer.
    if twice.seconds > max(NOISE, GREATEST_RATIO * once.seconds):
        twice = min(twice, cost(make(2 * PIECES), monkeypatch, limits), key=lambda one: one.seconds)
    assert twice.seconds < max(NOISE, GREATEST_RATIO * once.seconds), (once.seconds, twice.seconds)


ENDLESS = Limits(seconds=SHORT, bytes_out=1 << 40, bytes_floor=1 << 40, parts=1 << 30)
"""No bound but the time."""


@pytest.mark.parametrize("name", costly.MAKERS)
def test_what_takes_too_long_is_ended_and_held(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    message = costly.MAKERS[name](4 * PIECES)
    ended = cost(message, monkeypatch, ENDLESS)
    assert ended.seconds < LATEST
    if ended.seconds > 2 * SHORT:
        assert ended.report.verdict is Verdict.LIMIT, ended.report.findings
