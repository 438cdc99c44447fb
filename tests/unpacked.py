"""Debian's daemons that tests talk to: installed, or unpacked by `./gw setup` with the libraries that they need."""

from __future__ import annotations

from pathlib import Path

UNPACKED = Path(__file__).parents[1] / ".cache/unpacked"


def root_of(program: str) -> Path:
    """The folder below which a program lies, by its path without the first slash: / if it is not unpacked."""
    return UNPACKED if (UNPACKED / program).exists() else Path("/")
