"""How much relay clients send, and how much may be guessed: counters that survive a reload and a restart."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gatekeeper.alerts import Alerts
from gatekeeper.config import Config, Rate
from gatekeeper.protocol import Question, plain
from gatekeeper.store import Shelf

log = logging.getLogger("gatekeeper")

DAY = 86_400.0
STEP = 60.0
"""Seconds by which a clock may be put back before what was counted by it counts no more."""


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody's count of something. owner: such as `client 192.0.2.7`."""

    owner: str
    what: str
    rate: Rate

    @property
    def key(self) -> str:
        """The name of its entry."""
        return f"{self.owner} {self.what}"


class Limits:
    """Messages and recipients of relay clients, by their address and by envelope sender.

    By the minute there is a bucket of `burst` minutes' worth, so that who was quiet may send a circular at once; by the
    day a window of 24 hours that begins with its first message. A message that begins within the limits passes whole.
    """

    def __init__(self, config: Config, shelf: Shelf, alerts: Alerts, clock: Callable[[], float]) -> None:
        self.config = config
        self.shelf = shelf
        self.alerts = alerts
        self.clock = clock

    def exceeded(self, question: Question) -> str:
        """The action for a client that has sent too much; empty if it may go on."""
        for account in self._accounts(question):
            period = self._period_over(account)
            if period:
                self._alert(account, period)
                return (
                    f"451 4.7.1 too many {account.what} in a {period} from this {account.owner.split()[0]}; "
                    "the rest may come later"
                )
        return ""

    def spend(self, question: Question) -> None:
        """Count a message that begins."""
        for account in self._accounts(question):
            tokens, count, began = self._state(account)
            number = 1 if account.what == "messages" else max(question.count, 1)
            value = [tokens - number, self.clock(), count + number, began]
            self.shelf.put(account.key, value, DAY)

    def _accounts(self, question: Question) -> Iterator[Account]:
        owners = {"client": question.key, "sender": question.sender.lower()}
        for name, rate in self.config.limits.items():
            who, _, what = name.partition(".")
            if owners[who]:
                yield Account(f"{who} {owners[who][:300]}", what, rate)

    def _state(self, account: Account) -> tuple[float, float, float]:
        """What the bucket has, and what the day had, and when that began."""
        now, full = self.clock(), float((account.rate.minute or 0) * self.config.burst_minutes)
        found = self.shelf.get(account.key)
        if not found or len(found) != 4:
            return full, 0.0, now
        tokens, at, count, began = found
        if now < at - STEP:
            return full, 0.0, now
        refilled = tokens + max(now - at, 0.0) / 60 * (account.rate.minute or 0)
        # a clock that was put back ends a day, too
        return min(refilled, full), *((count, began) if 0 <= now - began < DAY else (0.0, now))

    def _period_over(self, account: Account) -> str:
        tokens, count, _ = self._state(account)
        if account.rate.minute and tokens < 1:
            return "minute"
        return "day" if account.rate.day and count >= account.rate.day else ""

    def _alert(self, account: Account, period: str) -> None:
        most = account.rate.minute if period == "minute" else account.rate.day
        who, _, name = account.owner.partition(" ")
        text = f"limit {who}={plain(name)}: more than {most} {account.what} in a {period}"
        self.alerts.tell(f"limit_{who}", account.owner, text)


class Guesses:
    """Unknown recipients by client; who has asked for too many finds the door closed for a while."""

    def __init__(self, config: Config, shelf: Shelf, clock: Callable[[], float]) -> None:
        self.config = config
        self.shelf = shelf
        self.clock = clock

    def is_closed(self, client: str) -> bool:
        """Whether a client is not to be heard now."""
        found = self.shelf.get(client) if client and self.config.guesses else None
        return bool(found and self.clock() < found[2] <= self.clock() + self.config.closed_seconds)

    def note(self, client: str) -> None:
        """A client has asked for somebody unknown."""
        if not client or not self.config.guesses:
            return
        now = self.clock()
        count, began, _ = self.shelf.get(client) or (0.0, now, 0.0)
        if not 0 <= now - began < self.config.guess_seconds:
            count, began = 0.0, now
        count += 1
        closed_until = 0.0
        if count >= self.config.guesses:
            closed_until = now + self.config.closed_seconds
            log.warning("smtp-enum-users client=%s unknown=%d closed=%ds", client, count, self.config.closed_seconds)
            count, began = 0.0, closed_until
        seconds = self.config.guess_seconds + self.config.closed_seconds
        self.shelf.put(client, [count, began, closed_until], seconds)
