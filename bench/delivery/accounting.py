"""What processes cost."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """One run: CPU milliseconds a message, messages a second, megabytes that one daemon held at most (0: not known)."""

    cpu: float
    rate: float
    memory: float = 0.0


def cpu_seconds(process: int) -> float:
    """CPU time of a process that lives, without its children's."""
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9


def children(process: int) -> list[int]:
    """The processes that a process with one thread has started."""
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def cpu_seconds_of_ended() -> float:
    """CPU time of this process's children that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def share(process: int) -> float:
    """Megabytes that a process holds, those that several share by parts."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


def peak(process: int) -> float:
    """Megabytes that a process held at most."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
