"""A clock that was far ahead and is put right shuts nobody out, and a small step gives nobody more."""

from __future__ import annotations

from pathlib import Path

from gatekeeper.alerts import Alerts
from gatekeeper.config import Config, Rate
from gatekeeper.limits import Limits
from gatekeeper.protocol import Question
from gatekeeper.store import Shelf

YEAR = 365 * 86_400.0
MESSAGE = Question("DATA", None, "ann@client.test", "", 1, is_relay=True)


class Clock:
    """One that can be set."""

    now = 2 * YEAR

    def __call__(self) -> float:
        """The time."""
        return self.now


def sent(limits: Limits, number: int) -> int:
    """How many of so many messages pass."""
    passed = 0
    for _ in range(number):
        if not limits.exceeded(MESSAGE):
            limits.spend(MESSAGE)
            passed += 1
    return passed


def limits_by(clock: Clock, place: Path) -> Limits:
    config = Config(limits={"sender.messages": Rate(minute=2)}, burst_minutes=5)
    return Limits(config, Shelf("limits", 10, clock, 4), Alerts(place, Shelf("alerts", 10, clock)), clock)


def test_who_was_over_the_limit_may_send_when_a_clock_is_put_right(tmp_path: Path) -> None:
    clock = Clock()
    limits = limits_by(clock, tmp_path)
    assert sent(limits, 12) == 10
    clock.now -= YEAR
    assert sent(limits, 12) == 10


def test_a_small_step_back_fills_no_bucket(tmp_path: Path) -> None:
    clock = Clock()
    limits = limits_by(clock, tmp_path)
    assert sent(limits, 12) == 10
    clock.now -= 5
    assert sent(limits, 12) == 0
    clock.now += 65
    assert sent(limits, 12) == 2


def test_an_alert_is_told_again_when_a_clock_is_put_right(tmp_path: Path) -> None:
    clock = Clock()
    alerts = Alerts(tmp_path, Shelf("alerts", 10, clock))
    for _ in range(2):
        alerts.tell("limit_client", "client 192.0.2.7", "too much")
    clock.now -= YEAR
    alerts.tell("limit_client", "client 192.0.2.7", "too much")
    assert alerts.counts["limit_client"] == 2
