"""Counters, in Prometheus' text format.

Each process counts in a small file of its own that is mapped into memory: counting is an addition, not a
system call, and the figures survive the process. `publish` adds the files up and replaces the text file that
node_exporter's textfile collector (or `gatescan stats`) reads.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gatescan.config import ACTIONS, Config
from gatescan.engines import figures
from gatescan.model import Verdict

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histogram of scan times, in seconds."""

PUBLISH_EVERY = 15.0
"""Seconds between two publications by busy workers."""

_DIRECTIONS = ("inbound", "outbound")
_KEYS: tuple[str, ...] = (
    *(
        f'gatescan_messages_total{{direction="{direction}",verdict="{verdict.value}",action="{action}"}}'
        for direction in _DIRECTIONS
        for verdict in Verdict
        for action in ACTIONS
    ),
    *(f'gatescan_message_bytes_total{{direction="{direction}"}}' for direction in _DIRECTIONS),
    *(f'gatescan_scan_seconds_bucket{{le="{bound:g}"}}' for bound in BUCKETS),
    'gatescan_scan_seconds_bucket{le="+Inf"}',
    "gatescan_scan_seconds_sum",
    "gatescan_scan_seconds_count",
    "gatescan_quarantine_failures_total",
    "gatescan_notices_spooled_total",
    "gatescan_notices_dropped_total",
    "gatescan_rules_reload_failures_total",
)
_INDEX = {key: index for index, key in enumerate(_KEYS)}
_SLOT = struct.Struct(f"<{len(_KEYS)}d")
_NUMBER = struct.Struct("<d")
_HELP = {
    "gatescan_messages_total": ("counter", "Messages judged."),
    "gatescan_message_bytes_total": ("counter", "Bytes of the messages judged."),
    "gatescan_scan_seconds": ("histogram", "Time from the whole message to the decision."),
    "gatescan_quarantine_failures_total": ("counter", "Messages that could not be held and got 4xx."),
    "gatescan_notices_spooled_total": ("counter", "Notices put into the spool."),
    "gatescan_notices_dropped_total": ("counter", "Notices left out because too many waited."),
    "gatescan_rules_reload_failures_total": ("counter", "Compiled rules that could not be loaded."),
    "gatescan_rules_stale": ("gauge", "1 when the rules' text was edited since they were built."),
    "gatescan_rules_built_seconds": ("gauge", "When the rules were built, in seconds since 1970."),
    "gatescan_rules": ("gauge", "Rules in force."),
    "gatescan_quarantine_messages": ("gauge", "Messages in quarantine."),
    "gatescan_quarantine_bytes": ("gauge", "Bytes in quarantine."),
    "gatescan_quarantine_fill": ("gauge", "How full the quarantine is, from 0 to 1."),
    **{family: (kind, text) for family, (kind, text, _) in figures.FAMILIES.items()},
}


class Counters:
    """This process's counter file: the first one in the directory that no other process holds."""

    def __init__(self, directory: Path) -> None:
        self._fd, self._memory = _claim(directory)

    def add(self, key: str, amount: float = 1.0) -> None:
        """Count; `key` is a name of _KEYS, labels included."""
        offset = _INDEX[key] * _NUMBER.size
        _NUMBER.pack_into(self._memory, offset, _NUMBER.unpack_from(self._memory, offset)[0] + amount)

    def message(self, direction: str, verdict: str, action: str, size: int, seconds: float) -> None:
        """Count one message."""
        self.add(f'gatescan_messages_total{{direction="{direction}",verdict="{verdict}",action="{action}"}}')
        self.add(f'gatescan_message_bytes_total{{direction="{direction}"}}', size)
        bucket = next((f"{bound:g}" for bound in BUCKETS if seconds <= bound), "+Inf")
        self.add(f'gatescan_scan_seconds_bucket{{le="{bucket}"}}')
        self.add("gatescan_scan_seconds_sum", seconds)
        self.add("gatescan_scan_seconds_count")

    def close(self) -> None:
        """Give the file back to the next process; its figures stay."""
        self._memory.close()
        os.close(self._fd)


def _claim(directory: Path) -> tuple[int, mmap.mmap]:
    number = 0
    while True:
        fd = os.open(directory / f"{number}.counters", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            number += 1
            continue
        if os.fstat(fd).st_size != _SLOT.size:  # new, or of another version, which counted other things
            os.ftruncate(fd, 0)
            os.ftruncate(fd, _SLOT.size)
        return fd, mmap.mmap(fd, _SLOT.size)


def collect(directory: Path) -> dict[str, float]:
    """The sum of all counter files."""
    sums = [0.0] * len(_KEYS)
    for path in sorted(directory.glob("*.counters")):
        with contextlib.suppress(OSError):
            data = path.read_bytes()
            if len(data) == _SLOT.size:
                sums = [total + one for total, one in zip(sums, _SLOT.unpack(data), strict=True)]
    return dict(zip(_KEYS, sums, strict=True))


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is measured and not counted."""

    rules: int = 0
    rules_built: float = 0.0
    rules_stale: bool = False
    quarantine_messages: int = 0
    quarantine_bytes: int = 0
    quarantine_fill: float = 0.0

    def as_mapping(self) -> dict[str, float]:
        """The gauges by their Prometheus names."""
        return {
            "gatescan_rules": self.rules,
            "gatescan_rules_built_seconds": self.rules_built,
            "gatescan_rules_stale": int(self.rules_stale),
            "gatescan_quarantine_messages": self.quarantine_messages,
            "gatescan_quarantine_bytes": self.quarantine_bytes,
            "gatescan_quarantine_fill": round(self.quarantine_fill, 4),
        }


def exposition(counters: Mapping[str, float], gauges: Gauges, engines: Mapping[str, float]) -> str:
    """All figures in Prometheus' text format; series of messages that never occurred are left out."""
    lines: list[str] = []
    family = ""
    below = 0.0
    for key, value in {**counters, **gauges.as_mapping(), **engines}.items():
        name = key.partition("{")[0]
        if name == "gatescan_messages_total" and not value:
            continue
        if name == "gatescan_scan_seconds_bucket":
            # A slot counts each message in one bucket; Prometheus wants all that are no longer.
            value = below = below + value
        head = "gatescan_scan_seconds" if name.startswith("gatescan_scan_seconds") else name
        if head != family:
            family = head
            kind, text = _HELP[head]
            lines += [f"# HELP {head} {text}", f"# TYPE {head} {kind}"]
        lines.append(f"{key} {value:.15g}")
    return "\n".join(lines) + "\n"


def publish(config: Config, gauges: Gauges) -> None:
    """Write the text file anew, by renaming, so that a reader never sees half of it. May raise OSError."""
    target = config.journal.metrics
    _replace(target, exposition(collect(config.journal.counters), gauges, figures.series(config)))


def _replace(target: Path, text: str) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.chmod(temporary, 0o644)  # for node_exporter, whatever our umask
    os.replace(temporary, target)


@dataclass(frozen=True, slots=True)
class Master:
    """What the daemon's master tells of itself; its counters begin anew with each start and reload.

    workers, wanted: those that serve, and how many should. idle_seconds: since when none does. died: ended otherwise
    than by themselves. waiting: connections that wait at the master. held_back: those that waited for their source's
    share. turned_away: those that were told to try again.
    """

    workers: int
    wanted: int
    idle_seconds: float = 0.0
    died: int = 0
    waiting: int = 0
    held_back: int = 0
    turned_away: int = 0


_MASTER = (
    ("workers", "gauge", "gatescan_workers", "Workers that serve."),
    ("wanted", "gauge", "gatescan_workers_wanted", "Workers that should serve."),
    ("idle_seconds", "gauge", "gatescan_without_worker_seconds", "Since when no worker serves; 0 if one does."),
    ("died", "counter", "gatescan_workers_died_total", "Workers that died or were killed."),
    ("waiting", "gauge", "gatescan_waiting", "Connections that wait for their first word or for their share."),
    ("held_back", "counter", "gatescan_held_back_total", "Messages that waited for their source's share of workers."),
    ("turned_away", "counter", "gatescan_turned_away_total", "Connections that were told to try again."),
)


def master_file(config: Config) -> Path:
    """Where the master's figures are: beside the workers'."""
    return config.journal.metrics.with_name("gatescan-daemon.prom")


def publish_master(config: Config, figures_of: Master) -> None:
    """Write the master's figures anew. May raise OSError."""
    lines = []
    for attribute, kind, name, text in _MASTER:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name} {getattr(figures_of, attribute):.15g}"]
    _replace(master_file(config), "\n".join(lines) + "\n")


def read_master(config: Config) -> dict[str, float]:
    """The master's figures by name; empty if there are none."""
    try:
        lines = master_file(config).read_text().splitlines()
        return {name: float(value) for name, value in (line.split() for line in lines if not line.startswith("#"))}
    except (OSError, ValueError):
        return {}


def due(config: Config) -> bool:
    """Was the text file not written for PUBLISH_EVERY seconds, or before the clock was set back?"""
    try:
        return not 0 <= time.time() - os.stat(config.journal.metrics).st_mtime < PUBLISH_EVERY
    except OSError:
        return True
