"""What is done to a program while mail flows, and how mail is counted afterwards."""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping


class Blows(threading.Thread):
    """Strikes again and again until it is told to end; the same seed chooses the same blows."""

    def __init__(self, blows: Mapping[str, Callable[[], object]], seed: int) -> None:
        super().__init__()
        self.blows = blows
        self.random = random.Random(seed)
        self.over = threading.Event()
        self.fell: Counter[str] = Counter()

    def run(self) -> None:
        """One blow after another, each at least once, with time to recover now and then."""
        waiting: list[str] = []
        while not self.over.wait(self.random.uniform(0.1, 2.0)):
            waiting = waiting or self.random.sample(list(self.blows), len(self.blows))
            blow = waiting.pop()
            self.blows[blow]()
            self.fell[blow] += 1


def numbers(run: str, text: str) -> Counter[int]:
    """How often each message's number stands in a text."""
    return Counter(int(number) for number in re.findall(rf"{run}\.(\d+)\.", text))
