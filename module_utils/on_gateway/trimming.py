"""Which units of a list of names are not trimmed yet: stopped, disabled and masked, with what could start them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

SUFFIXES = ("service", "socket", "timer", "path")
RUNNING = ("active", "activating", "reloading", "deactivating")


def units_of(names: Iterable[str]) -> list[str]:
    """The service of each name, and the units of that name that could start it."""
    return [f"{name}.{suffix}" for name in names for suffix in SUFFIXES]


def question(units: Sequence[str]) -> list[str]:
    """The command that tells of units what `read` reads."""
    return ["systemctl", "show", "--property=Id,Names,LoadState,ActiveState", "--", *units]


def read(output: str, units: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return unit -> LoadState and ActiveState, for units of which systemd knows a file, a mask or a process."""
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines()) for block in output.split("\n\n") if block.strip()
    ]
    return {unit: block for unit, block in zip(units, blocks, strict=True) if block["Id"] == unit}


def plan(names: Iterable[str], found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the units that are not trimmed yet: those that exist, and the service of each name in any case."""
    pending = []
    for unit in units_of(names):
        state = found.get(unit)
        if state is None or (state["LoadState"] == "not-found" and not unit.endswith(".service")):
            continue
        if state["LoadState"] != "masked" or state["ActiveState"] in (*RUNNING, "failed"):
            pending.append(unit)
    return pending


def in_the_way(units: Iterable[str], masks: Path) -> list[Path]:
    """What `systemctl mask` does not replace: files, and links to nothing. Other links go with `systemctl disable`."""
    places = [masks / unit for unit in units]
    return [place for place in places if place.is_symlink() is not place.exists()]
