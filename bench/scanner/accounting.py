"""What a set of processes costs: CPU time by control group, memory by proportional set size."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from bench.scanner.waiting import wait_until


def _hierarchy() -> tuple[Path, bool]:
    """Where groups that count CPU time are made, and whether it is version 1 (cpuacct) or 2."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    for _, where, kind, options, *_ in mounts:
        if kind == "cgroup" and "cpuacct" in options.split(","):
            return Path(where), True
    for _, where, kind, *_ in mounts:
        if kind == "cgroup2":
            return Path(where), False
    raise SystemExit("bench: no control groups here that count CPU time (cpuacct, or version 2)")


class Group:
    """A control group: everything that is started in it is counted, its children included."""

    def __init__(self, name: str) -> None:
        root, self._first_version = _hierarchy()
        self._path = root / f"gatewright-bench-{os.getpid()}-{name}"
        self._path.mkdir()

    def enter(self) -> None:
        """Move the calling process in; for use between fork and exec."""
        (self._path / "cgroup.procs").write_text(str(os.getpid()))

    @property
    def cpu(self) -> float:
        """Seconds of CPU time used so far."""
        if self._first_version:
            return int((self._path / "cpuacct.usage").read_text()) / 1e9
        lines = (self._path / "cpu.stat").read_text().splitlines()
        return int(dict(line.split() for line in lines)["usage_usec"]) / 1e6

    @property
    def processes(self) -> list[int]:
        """The processes in it now."""
        return [int(word) for word in (self._path / "cgroup.procs").read_text().split()]

    @property
    def memory(self) -> int:
        """Bytes that the processes hold now, shared pages split among those that share them (PSS)."""
        total = 0
        for pid in self.processes:
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        return total

    def end(self) -> None:
        """End what is still in it, and remove it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            with contextlib.suppress(TimeoutError):
                wait_until(lambda: not self.processes, "the end of a group's processes", seconds=10)
                break
        self._path.rmdir()
