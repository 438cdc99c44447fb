"""The bound on deliveries that wait for others' servers, by a clock that leaves out the waiting."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any, cast

import pytest
from gatepost import stalls
from gatepost.config import Config
from gatepost.model import Account, Failed
from gatepost.stalls import Stalls

PATIENCE = 10.0


class Loop(asyncio.SelectorEventLoop):
    """An event loop that skips the time in which it would only wait; what it could not do is kept."""

    def __init__(self) -> None:
        self.skipped = 0.0
        self.errors: list[dict[str, Any]] = []
        selector = selectors.SelectSelector()
        self._select, selector.select = selector.select, self._skip  # type: ignore[method-assign] # that is the point
        super().__init__(selector)
        self.set_exception_handler(lambda _, error: self.errors.append(error))

    def time(self) -> float:
        """The time with what was skipped."""
        return time.monotonic() + self.skipped

    def _skip(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing would ever happen any more"
        self.skipped += max(0.0, timeout)
        return self._select(0)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    """A loop whose time is that of the deliveries."""
    made = Loop()
    monkeypatch.setattr(stalls, "time", SimpleNamespace(monotonic=made.time))
    return made


def run(loop: Loop, main: Coroutine[Any, Any, None]) -> None:
    """Run to the end."""
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main)


class Delivery:
    """A delivery that waits for somebody, from now on; once it is given up it takes so many seconds to end."""

    def __init__(self, bound: Stalls, seconds_to_end: float = 0.0) -> None:
        self.account = Account()
        self.seconds_to_end = seconds_to_end
        self.task = asyncio.create_task(self._wait(bound))

    def come_on(self) -> None:
        """Somebody has answered."""
        self.account.times["found"] = asyncio.get_running_loop().time()

    def connect(self) -> None:
        """From now on it is a server that owes it an answer."""
        self.account.wire = cast("Any", SimpleNamespace(asked_at=asyncio.get_running_loop().time()))

    def is_put_off(self) -> bool:
        """Whether its report says that it is one too many."""
        return self.task.done() and isinstance(self.task.exception(), Failed)

    async def _wait(self, bound: Stalls) -> None:
        self.come_on()
        async with bound.watched(self.account):
            try:
                await asyncio.sleep(1000 * PATIENCE)
            finally:
                await asyncio.sleep(self.seconds_to_end)


def test_who_is_given_up_by_a_reload_is_looked_at_no_more_however_long_it_takes_to_end(loop: Loop) -> None:
    async def main() -> None:
        bound = Stalls(Config(stalled=1, patience_per_host=PATIENCE))
        slow = Delivery(bound, seconds_to_end=3 * PATIENCE)
        await asyncio.sleep(0.5 * PATIENCE)
        connected = Delivery(bound)
        connected.connect()
        await asyncio.sleep(0.75 * PATIENCE)
        bound.leave()
        await asyncio.wait([slow.task])
        assert slow.is_put_off()
        assert not connected.task.done(), "it is the only one that waits"
        await end(connected)

    run(loop, main())
    assert loop.errors == []


def test_who_has_come_on_takes_nobodys_place_from_then_on(loop: Loop) -> None:
    async def main() -> None:
        bound = Stalls(Config(stalled=1, patience_per_host=PATIENCE))
        late = Delivery(bound)
        await asyncio.sleep(0.5 * PATIENCE)
        other = Delivery(bound)
        await asyncio.sleep(0.75 * PATIENCE)
        late.come_on()
        await asyncio.sleep(0.5 * PATIENCE)
        assert not other.is_put_off(), "nobody else is late by now"
        await asyncio.sleep(2 * PATIENCE)
        assert other.is_put_off() != late.is_put_off(), "one of two that are late is one too many"
        await end(late, other)

    run(loop, main())
    assert loop.errors == []


def test_who_has_come_on_just_before_a_reload_is_not_put_off_by_it(loop: Loop) -> None:
    async def main() -> None:
        bound = Stalls(Config(stalled=2, patience_per_host=PATIENCE))
        late, other = Delivery(bound), Delivery(bound)
        await asyncio.sleep(1.5 * PATIENCE)
        late.come_on()
        bound.leave()
        await asyncio.wait([other.task])
        await asyncio.sleep(0.25 * PATIENCE)
        assert other.is_put_off() and not late.is_put_off()
        await asyncio.sleep(PATIENCE)
        assert late.is_put_off(), "it has come on no further"

    run(loop, main())
    assert loop.errors == []


async def end(*deliveries: Delivery) -> None:
    """Have the clients of those be gone who still wait."""
    for delivery in deliveries:
        delivery.task.cancel()
    await asyncio.wait([delivery.task for delivery in deliveries])
