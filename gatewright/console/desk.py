"""Asking gateways on behalf of pages: a few questions at a time, each with an end, and not twice within seconds."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from gatewright.fleet.ask import Answers, Fleet, ask, ask_each

AT_ONCE = 4
"""Questions that are under way at the same time, and as many changes; each is an `ansible` with its forks."""
PATIENCE = 30.0
"""Seconds that a page waits for its turn."""
FRESH = 30.0
"""Seconds for which an answer is given again."""
MOST_KEPT = 40
"""Answers that are kept."""


class BusyError(Exception):
    """Too many questions are under way."""


@dataclass(frozen=True, slots=True)
class Question:
    """A module, and what it is asked; of one gateway if `host` is given."""

    module: str
    request: Mapping[str, Any]
    host: str = ""

    @property
    def key(self) -> str:
        """The same for the same question."""
        return json.dumps([self.module, self.request, self.host], sort_keys=True)


@dataclass(frozen=True, slots=True)
class Told:
    """Answers, and when they were given (seconds since 1970)."""

    answers: Answers
    time: float


class Desk:
    """Whom all pages ask."""

    def __init__(self, fleet: Fleet) -> None:
        # twice a gateway's time: more gateways than forks are asked in turns
        self.fleet = replace(fleet, longest=2.0 * fleet.seconds + 30)
        self._turns = {is_change: threading.BoundedSemaphore(AT_ONCE) for is_change in (False, True)}
        self._lock = threading.Lock()
        self._known: dict[str, Told] = {}
        self._changes = 0

    def look(self, question: Question) -> Told:
        """What gateways say, or have said a moment ago. BusyError, UsageError."""
        with self._lock:
            known, changes = self._known.get(question.key), self._changes
        if known and 0 <= time.time() - known.time < FRESH:  # a clock that was set back makes nothing fresh
            return known
        answers = self.act(lambda fleet: self._ask(fleet, question), is_change=False)
        told = Told(answers, time.time())
        with self._lock:
            if changes == self._changes:  # else this may be from before the change
                self._known[question.key] = told
            for old in list(self._known)[:-MOST_KEPT]:
                del self._known[old]
        return told

    def look_at_all(self, *questions: Question) -> list[Told]:
        """Several questions at the same time."""
        with ThreadPoolExecutor(len(questions)) as pool:
            return list(pool.map(self.look, questions))

    def act(self, do: Callable[[Fleet], Answers], is_change: bool = True) -> Answers:
        """Have something done by gateways; what was known is forgotten. A change does not wait for questions."""
        try:
            with self._turn(is_change):
                return do(self.fleet)
        finally:
            if is_change:
                self.forget()

    def forget(self) -> None:
        """Ask anew from now on."""
        with self._lock:
            self._known.clear()
            self._changes += 1

    def _ask(self, fleet: Fleet, question: Question) -> Answers:
        if question.host:
            return ask_each(fleet, question.module, {question.host: question.request})
        return ask(fleet, question.module, question.request)

    @contextmanager
    def _turn(self, is_change: bool) -> Iterator[None]:
        turns = self._turns[is_change]
        if not turns.acquire(timeout=PATIENCE):
            raise BusyError
        try:
            yield
        finally:
            turns.release()
