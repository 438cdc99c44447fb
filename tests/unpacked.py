"""Debian's programs that tests run: unpacked by `./gw` with what they need (requirements/unpack.sh), or installed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

CACHE = Path(__file__).parents[1] / ".cache"
UNPACKED = CACHE / "unpacked", CACHE / "unpacked-nightly"
PLACES = {
    "LD_LIBRARY_PATH": ("usr/lib/*-linux-gnu*", "lib/*-linux-gnu*"),
    "PERL5LIB": ("usr/share/perl5", "usr/lib/*-linux-gnu*/perl5/*"),
    "PYTHONPATH": ("usr/lib/python3/dist-packages",),
    "RSYSLOG_MODDIR": ("usr/lib/*-linux-gnu*/rsyslog",),
}
"""The variables that name folders in which programs look for libraries and modules, and where packages have them."""


def find(path: str) -> Path | None:
    """A file of a package by its path without the first slash, * for the architecture; a program from PATH, too."""
    found = [file for root in (*UNPACKED, Path("/")) for file in sorted(root.glob(path))]
    return found[0] if found else _installed(Path(path).name)


def _installed(program: str) -> Path | None:
    return Path(found) if (found := shutil.which(program)) else None


def environment() -> dict[str, str]:
    """This process's environment, in which programs find what was unpacked."""
    made = {name: value for name, value in os.environ.items() if name not in PLACES}
    for name, patterns in PLACES.items():
        # All look at the machine's own places anyway, but rsyslogd, whose modules may be half here, half there.
        roots = (*UNPACKED, Path("/")) if name == "RSYSLOG_MODDIR" else UNPACKED
        if folders := [str(folder) for root in roots for pattern in patterns for folder in sorted(root.glob(pattern))]:
            made[name] = ":".join(folders)
    return made
