"""The scanner's long life in minutes: `python -m tests.soak [--messages N] [--reloads N]`.

The real daemon and the real queue client, a next queue that counts, one directory, no privilege. While messages flow,
the daemon is loaded anew, its workers and its master are killed, logs are rotated, the quarantine is filled and
freed, and one sender keeps as many workers busy as it gets beside one who waits. A message that is told to be tried
again is tried again, as a sender does. At the end: nothing lost, nothing unscanned, nobody waited long, and memory and
descriptors as at the start.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.soak import rig

LONGEST_WAIT = 5.0
"""Seconds that an honest sender's message may take while another is greedy."""
GROWTH = 1.3
"""How much larger the daemon's memory may be at the end than after its first messages."""
TRIES = 400
"""Tries of one message before it counts as lost; a sender tries for days."""
GREEDY = 16
"""Connections that the greedy sender keeps busy: more than there are workers and spare ones."""
SLOW_SECONDS = 4.0
"""The bound of one message (limits.seconds) here; the greedy sender's messages take as long as they are let."""


@dataclass
class Tally:
    """What was sent and what came of it."""

    sent: int = 0
    tried_again: int = 0
    lost: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    greedy: int = 0
    reloads: int = 0
    workers_killed: int = 0
    masters_killed: int = 0
    rotations: int = 0
    fillings: int = 0


class Soak:
    """One run."""

    def __init__(self, place: Path, messages: int, reloads: int, warm_up: int) -> None:
        self.place = place
        self.messages = messages
        self.reloads = reloads
        self.warm_up = warm_up
        self.tally = Tally()
        self.scanner = rig.Scanner(place, SLOW_SECONDS)
        self.done = threading.Event()
        self.work: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.lock = threading.Lock()
        self.finished = 0
        self.chance = random.Random(7)

    def run(self) -> list[str]:
        """All of it; what was not as promised."""
        self.scanner.start()
        try:
            self._send_all(range(self.warm_up))
            before = self.scanner.footprint()
            troubles = [threading.Thread(target=self._guarded, args=(each,)) for each in (self._disturb, self._greedy)]
            honest = threading.Thread(target=self._guarded, args=(self._honest,))
            for thread in (*troubles, honest):
                thread.start()
            self._send_all(range(self.warm_up, self.messages))
            self._wait_for_reloads()
            self.done.set()
            for thread in (*troubles, honest):
                thread.join()
            self.scanner.settle()  # the spare workers end when they have been idle
            self._send_all(range(self.messages, self.messages + self.warm_up))
            after = self.scanner.footprint()
            return [*self._faults(), *before.faults(after, GROWTH)]
        finally:
            self.done.set()
            self.scanner.stop()

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            self.tally.lost.append(f"{step.__name__}: {type(error).__name__}: {error}")

    # Senders

    def _send_all(self, numbers: range) -> None:
        for number in numbers:
            self.work.put(number)
        threads = [threading.Thread(target=self._sender) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _sender(self) -> None:
        while True:
            try:
                number = self.work.get_nowait()
            except queue.Empty:
                return
            self._deliver(f"m{number}", self._message(number), f"192.0.2.{number % 200}")
            with self.lock:
                self.finished += 1

    def _message(self, number: int) -> bytes:
        mark = f"m{number}"
        if number % 50 == 0:
            return rig.message(mark, f"report{number}.exe", b"MZ" + os.urandom(200))
        if number % 997 == 0:
            return rig.message(mark, "large.dat", os.urandom(1 << 20) * 6)
        return rig.message(mark, "note.txt", b"harmless %d\n" % number)

    def _deliver(self, mark: str, message: bytes, ip: str) -> float:
        """Send one until it is taken; seconds that it took in all."""
        begun = time.monotonic()
        for _ in range(TRIES):
            code = self.scanner.send(message, ip)
            if code == 0:
                break
            with self.lock:
                self.tally.tried_again += 1
            time.sleep(0.05)
        else:
            self.tally.lost.append(f"{mark} was never taken")
        with self.lock:
            self.tally.sent += 1
        return time.monotonic() - begun

    def _honest(self) -> None:
        number = 0
        while not self.done.is_set():
            begun = time.monotonic()
            code = self.scanner.send(rig.message(f"h{number}", "note.txt", b"honest"), "198.51.100.7")
            if code == 0:  # one that a kill has met is tried again, and its wait is not the greedy sender's doing
                self.tally.waits.append(time.monotonic() - begun)
                self.tally.sent += 1
            number += 1
            self.done.wait(0.2)

    def _greedy(self) -> None:
        """GREEDY connections at a time, each with a message that takes as long as it may."""
        costly = rig.costly()

        def one() -> None:
            while not self.done.is_set():
                self.scanner.send(costly, "203.0.113.66")
                self.tally.greedy += 1

        threads = [threading.Thread(target=one) for _ in range(GREEDY)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    # What a long life brings

    def _disturb(self) -> None:
        events = [self._reload] * self.reloads + [self._kill_worker] * self.reloads + [self._rotate] * 3
        events += [self._kill_master] * 2 + [self._fill_and_free] * 2
        self.chance.shuffle(events)
        for place, event in enumerate(events):
            self._until(self.warm_up + (self.messages - self.warm_up) * place // len(events))
            event()

    def _until(self, finished: int) -> None:
        while self.finished < finished and not self.done.is_set():
            self.done.wait(0.05)

    def _wait_for_reloads(self) -> None:
        rig.wait_until(lambda: self.tally.reloads >= self.reloads, "all reloads")

    def _reload(self) -> None:
        self.scanner.reload()
        self.tally.reloads += 1

    def _kill_worker(self) -> None:
        workers = self.scanner.workers()
        if workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.chance.choice(sorted(workers)), signal.SIGKILL)
            self.tally.workers_killed += 1

    def _kill_master(self) -> None:
        self.scanner.kill_master()
        self.tally.masters_killed += 1

    def _rotate(self) -> None:
        self.scanner.rotate()
        self.tally.rotations += 1

    def _fill_and_free(self) -> None:
        """What must be held is told to try again while the quarantine is full, and clean mail flows."""
        self.scanner.bound_quarantine(1)
        if self.scanner.send(rig.message("full", "x.exe", b"MZ" + os.urandom(99)), "192.0.2.250") == 0:
            self.tally.lost.append("a full quarantine took a message")
        self.scanner.bound_quarantine(1_000_000)
        self.tally.fillings += 1

    # The account

    def _faults(self) -> list[str]:
        tally = self.tally
        faults = list(tally.lost)
        queued = self.scanner.queued()
        held = self.scanner.held()
        for number in range(self.messages + self.warm_up):
            mark, is_bad = f"m{number}", number % 50 == 0
            if is_bad and (mark in queued or mark not in held):
                faults.append(f"{mark} should be held")
            if not is_bad and mark not in queued:
                faults.append(f"{mark} is lost")
        faults += [f"{mark} went on unscanned" for mark, word in queued.items() if word != "scanned"]
        if tally.waits and max(tally.waits) > LONGEST_WAIT:
            faults.append(f"the honest sender waited {max(tally.waits):.1f} seconds")
        return faults


def main() -> int:
    """Run, and print the figures as one JSON object and each fault as a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--reloads", type=int, default=10)
    parser.add_argument("--warm-up", type=int, default=1000, help="messages before memory is measured")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="soak."))
    begun = time.monotonic()
    try:
        soak = Soak(place, options.messages, options.reloads, options.warm_up)
        faults = soak.run()
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(json.dumps(figures(soak, time.monotonic() - begun)))
    for fault in faults[:50]:
        print(fault)
    print(f"{len(faults)} faults")
    return int(bool(faults))


def figures(soak: Soak, seconds: float) -> dict[str, Any]:
    """What is written into docs/reliability.md."""
    tally = soak.tally
    waits = sorted(tally.waits) or [0.0]
    return {
        "messages": tally.sent,
        "seconds": round(seconds),
        "tried again": tally.tried_again,
        "lost": len(tally.lost),
        "reloads": tally.reloads,
        "workers killed": tally.workers_killed,
        "masters killed": tally.masters_killed,
        "rotations": tally.rotations,
        "quarantine filled and freed": tally.fillings,
        "greedy messages": tally.greedy,
        "honest wait, median": round(waits[len(waits) // 2], 3),
        "honest wait, longest": round(waits[-1], 2),
        "before": soak.scanner.footprints[0].as_text(),
        "after": soak.scanner.footprints[-1].as_text(),
    }


if __name__ == "__main__":
    sys.exit(main())
