"""What one message may cost. Hitting a bound is a verdict (`limit`), never an exception that escapes."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


class NotLookedAt(Exception):
    """Something in a message could not be looked at as it should; each subclass says why."""


class LimitReached(NotLookedAt):
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
    _armed: bool = False

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

    @contextlib.contextmanager
    def clock(self) -> Iterator[None]:
        """In this block the time is up for code that never ticks, too: an alarm raises in the middle of it.

        It rings again and again, for what is raised may be caught. Regular expressions are ended as well; other code
        in C is not, and that is what the daemon's deadline is for. Nothing leaves the block. Without the main thread
        there is no alarm.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGALRM, self._ring)
        self._armed = True
        left = max(0.001, self.started + self.limits.seconds - time.monotonic())
        signal.setitimer(signal.ITIMER_REAL, left, RING_EVERY)
        try:
            try:
                yield
            finally:
                self._armed = False  # from here on an alarm raises nothing
        except (LimitReached, OutOfTime):
            pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def _ring(self, *_: object) -> None:
        if not self._armed:
            return
        self.rings += 1
        if self.rings > PATIENT_RINGS:
            raise OutOfTime
        raise LimitReached("time", f"more than {self.limits.seconds:g} seconds")

    def check_depth(self, depth: int) -> None:
        """Raise LimitReached when containers nest deeper than allowed."""
        if depth > self.limits.depth:
            raise LimitReached("depth", f"containers nested deeper than {self.limits.depth}")
