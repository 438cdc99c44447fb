"""The administrator hears of a quarantine that fills before it is full, and of a share that is used up."""

from __future__ import annotations

import contextlib
import time

from gatescan.config import Config
from gatescan.outcome import notify
from gatescan.outcome.letters import Event
from gatescan.outcome.quarantine import Quarantine

NEARLY_FULL = 0.8
"""Share of a quarantine's limit from which on it is time to look."""
AGAIN_AFTER = 86_400.0
"""Seconds until the same is told once more."""
LOOK_EVERY = 5.0
"""Seconds between two looks; a worker looks when it holds a message."""


class Alarm:
    """Spools a notice to the administrator, once a day, whichever worker sees it first."""

    def __init__(self, config: Config, quarantine: Quarantine, notices: notify.Spool) -> None:
        self._quarantine = quarantine
        self._notices = notices
        self._marker = config.quarantine.directory / "alarm"
        self._wanted = config.notices.enabled and bool(config.notices.admin)
        self._looked = -LOOK_EVERY

    def look(self, refused: str = "") -> None:
        """Look how full it is; refused: why a message could not be held just now. Never raises."""
        now = time.monotonic()
        if not self._wanted or now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        with contextlib.suppress(OSError):
            fill = self._quarantine.fill()
            if refused or fill >= NEARLY_FULL:
                self._raise(f"the quarantine is {fill:.0%} full" + (f"; refused: {refused}" if refused else ""))

    def _raise(self, reason: str) -> None:
        # a marker that lies ahead of a clock that was set back silences nobody
        if self._marker.exists() and 0 <= time.time() - self._marker.stat().st_mtime < AGAIN_AFTER:
            return
        self._marker.touch(mode=0o600)
        event = Event(
            time=time.time(), held="", verdict="quarantine", reason=reason, from_="gatescan",
            subject="look through `gatescan quarantine list`: what cannot be held gets 4xx",
            direction="inbound", action="alarm", admin=True,
        )  # short arguments, many a line # fmt: skip
        self._notices.put(event)
