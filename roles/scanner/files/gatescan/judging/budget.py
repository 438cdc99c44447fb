"""What one message may cost. Hitting a bound is a verdict (`limit`), never an exception that escapes."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gatescan.errors import GatescanError


class LimitReached(GatescanError):
    """A bound was hit; `code` names it: `bytes`, `parts`, `depth` or `time`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class OutOfTime(BaseException):
    """The time has been up for a while, and code has caught `LimitReached` and goes on. Only the judge catches it."""


RING_EVERY = 0.5
"""Seconds between two alarms once the time is up."""
PATIENT_RINGS = 3
"""Alarms that raise LimitReached, before they raise OutOfTime."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one message, over everything that is opened in it."""

    bytes_out: int = 300_000_000
    """Bytes really read out of decoders and unpackers, in all."""
    bytes_ratio: int = 250
    """The same as a multiple of the message's size; the smaller bound counts, but never under `bytes_floor`."""
    bytes_floor: int = 20_000_000
    parts: int = 2_000
    """MIME parts and archive members, in all."""
    depth: int = 12
    """Containers inside containers (archives); MIME nesting is bounded by `mime_depth`."""
    mime_depth: int = 60
    seconds: float = 30.0
    """Wall-clock time for parsing and unpacking (engines have limits of their own)."""


@dataclass(slots=True)
class Budget:
    """Counts what one message has cost so far."""

    limits: Limits
    message_size: int
    bytes_out: int = 0
    parts: int = 0
    started: float = field(default_factory=time.monotonic)
    rings: int = 0

    @property
    def bytes_bound(self) -> int:
        """Bytes that may be read out of this message in all."""
        by_ratio = max(self.limits.bytes_floor, self.message_size * self.limits.bytes_ratio)
        return min(self.limits.bytes_out, by_ratio)

    @property
    def bytes_left(self) -> int:
        """Bytes that may still be read out; at least 0."""
        return max(0, self.bytes_bound - self.bytes_out)

    def spend(self, count: int) -> None:
        """Account for `count` decoded or unpacked bytes; raise LimitReached past the bound."""
        self.bytes_out += count
        if self.bytes_out > self.bytes_bound:
            raise LimitReached("bytes", f"more than {self.bytes_bound} bytes came out of it")

    def part(self) -> None:
        """Account for one part or member; raise LimitReached past the bound. Also looks at the clock."""
        self.parts += 1
        if self.parts > self.limits.parts:
            raise LimitReached("parts", f"more than {self.limits.parts} parts")
        self.tick()

    def tick(self) -> None:
        """Look at the clock; raise LimitReached when the time is used up. Cheap: call it in loops."""
        if time.monotonic() - self.started > self.limits.seconds:
            raise LimitReached("time", f"more than {self.limits.seconds:g} seconds")

    @property
    def is_late(self) -> bool:
        """Whether the time was up at any moment, whatever became of it then."""
        return self.rings > 0 or time.monotonic() - self.started > self.limits.seconds

    def within_time(self, work: Callable[[], None]) -> None:
        """Do it; when the time is up, an alarm raises in the middle of it, also in code that never ticks.

        It rings again and again, for what is raised may be caught. Regular expressions are ended as well; other code
        in C is not, and that is what the daemon's deadline is for. Nothing that it raises comes out of here. Without
        the main thread there is no alarm. One such call at a time.
        """
        if threading.current_thread() is not threading.main_thread():
            work()
            return
        # The handler stays: to take it and give it back, for each message, takes as long as a look at a short letter.
        signal.signal(signal.SIGALRM, _alarm)
        _timed.append(self)
        left = max(0.001, self.started + self.limits.seconds - time.monotonic())
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, left, RING_EVERY)
                work()
            finally:
                _timed.clear()  # from here on an alarm raises nothing
        except (LimitReached, OutOfTime):
            _timed.clear()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def ring(self) -> None:
        """The time is up: raise LimitReached or, where that did not end it, OutOfTime."""
        self.rings += 1
        if self.rings > PATIENT_RINGS:
            raise OutOfTime
        raise LimitReached("time", f"more than {self.limits.seconds:g} seconds")

    def check_depth(self, depth: int) -> None:
        """Raise LimitReached when containers nest deeper than allowed."""
        if depth > self.limits.depth:
            raise LimitReached("depth", f"containers nested deeper than {self.limits.depth}")


_timed: list[Budget] = []
"""Whose time the alarm is about; empty between messages."""


def _alarm(*_: object) -> None:
    if _timed:
        _timed[-1].ring()
