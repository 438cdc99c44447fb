"""Lines of a log that somebody else can cause, in bounds."""

from __future__ import annotations

import logging
import time


class Seldom:
    """A log that nobody can fill: some lines a minute, and then how many there were."""

    MOST, WINDOW = 5, 60.0

    def __init__(self, to: logging.Logger) -> None:
        self._to = to
        self._begun = -self.WINDOW
        self._said = 0

    def say(self, line: str) -> None:
        """Write a line as a warning, unless there were enough of them in this minute."""
        now = time.monotonic()
        if now - self._begun >= self.WINDOW:
            if self._said > self.MOST:
                self._to.warning("%d more lines of this kind were left out", self._said - self.MOST)
            self._begun, self._said = now, 0
        self._said += 1
        if self._said <= self.MOST:
            self._to.warning("%s", line)
