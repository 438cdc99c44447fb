"""How many deliveries may wait for other people's name servers and servers at once, whoever these are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gatepost.config import Config
from gatepost.model import Account, Failed

STALLED = "Others' servers keep too many messages waiting already, and this one's have not answered yet. (#4.4.5)\n"


@dataclass(eq=False, slots=True)
class Watch:
    """A delivery that is looked at. clock: ends it. since: when it began."""

    account: Account
    clock: asyncio.Timeout
    since: float = field(default_factory=time.monotonic)
    is_dismissed: bool = False
    timer: asyncio.Handle | None = None

    @property
    def moved_at(self) -> float:
        """When it has last come on: somebody answered, or took some of the message."""
        asked_at = self.account.wire.asked_at if self.account.wire else 0.0
        return max(self.since, asked_at, *self.account.times.values())

    @property
    def is_connected(self) -> bool:
        """Whether there is a server that owes the answer, or has just been left."""
        return self.account.wire is not None

    def give_up(self) -> None:
        """Nothing of the message leaves from here on. It may take a while to end; nobody looks at it meanwhile."""
        if self.is_dismissed:
            return
        self.is_dismissed = True
        if self.timer:
            self.timer.cancel()
        self.clock.reschedule(0)
        if self.account.wire:
            self.account.wire.hang_up()


class Stalls:
    """Bounds the deliveries that have not come on for `patience` seconds, all servers taken together.

    One server, and one domain, have bounds of their own (`hosts.Places`), but whoever has many of both (a dead address
    each is enough) would keep all deliveries there are. So half of them may be kept waiting: who would be one too many
    is put off, and its place is there for others. Whose message may have been taken goes on waiting.
    """

    def __init__(self, config: Config) -> None:
        self._most = config.stalled
        self._patience = config.patience_per_host
        self._stalled: set[Watch] = set()
        self._is_leaving = False

    @asynccontextmanager
    async def watched(self, account: Account) -> AsyncIterator[None]:
        """Deliver inside; raises Failed when too many deliveries have stalled, and this one does."""
        watch = Watch(account, asyncio.timeout(None))
        try:
            async with watch.clock:
                self._look_after(watch, self._patience)
                yield
        except (TimeoutError, Failed):
            if not watch.is_dismissed:  # else it is the clock's, or comes of hanging up
                raise
        finally:
            self._stalled.discard(watch)
            if watch.timer:
                watch.timer.cancel()
        if watch.is_dismissed:
            raise Failed("Z", STALLED)

    def _look_after(self, watch: Watch, seconds: float) -> None:
        watch.timer = asyncio.get_running_loop().call_later(seconds, self._look_soon, watch)

    def _look_soon(self, watch: Watch) -> None:
        """Let those go on first whose answer came in this turn of the loop: this process may have stood still."""
        watch.timer = asyncio.get_running_loop().call_soon(self._look, watch)

    def _look(self, watch: Watch) -> None:
        late = time.monotonic() - watch.moved_at
        self._stalled.discard(watch)
        self._forget_who_came_on()
        if late >= self._patience:
            is_full = len(self._stalled) >= self._most or (self._is_leaving and not watch.is_connected)
            if is_full and not watch.account.duplicate:
                watch.give_up()
                return
            self._stalled.add(watch)
            late = 0.0
        self._look_after(watch, self._patience - late)

    def _forget_who_came_on(self) -> None:
        """Whoever has come on since its last look keeps nobody waiting."""
        now = time.monotonic()
        self._stalled = {watch for watch in self._stalled if now - watch.moved_at >= self._patience}

    def leave(self) -> None:
        """Nobody new is let in, as another process serves now, with as many of its own.

        Nobody waits here for long for a name or a connection; who has one is `hosts.Places.leave`'s affair.
        """
        self._is_leaving = True
        self._forget_who_came_on()
        for watch in [watch for watch in self._stalled if not watch.is_connected]:
            self._stalled.discard(watch)
            watch.give_up()
