"""Which of the units that roles keep running do run, are started at boot, and run by the files that are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

PLACES = ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
SUFFIXES = ("service", "socket", "timer", "path")
AT_BOOT = frozenset({"enabled", "static"})


def present(names: Iterable[str], places: Sequence[str] = PLACES) -> list[str]:
    """The units of some names (without suffix) of which there is a file."""
    units = [f"{name}.{suffix}" for name in names for suffix in SUFFIXES]
    return [unit for unit in units if any(Path(place, unit).exists() for place in places)]


def question(units: Sequence[str]) -> list[str]:
    """The command that tells of units what `in_order` reads."""
    return ["systemctl", "show", "--property=Id,ActiveState,UnitFileState,NeedDaemonReload", "--", *units]


def in_order(output: str) -> list[str]:
    """The units that need nothing: a timer only if systemd knows the present file of what it starts, too."""
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines()) for block in output.split("\n\n") if block.strip()
    ]
    stale = {_name(block) for block in blocks if block["NeedDaemonReload"] != "no"}
    runs = [block for block in blocks if block["ActiveState"] == "active" and block["UnitFileState"] in AT_BOOT]
    return sorted(block["Id"] for block in runs if _name(block) not in stale)


def _name(block: dict[str, str]) -> str:
    return block["Id"].rpartition(".")[0]
