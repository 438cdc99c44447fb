"""`gatescan version`."""

from __future__ import annotations

from gatescan import __version__


def run(words: list[str]) -> int:
    """Print the version, whatever else was said."""
    del words
    print(f"gatescan {__version__}")
    return 0
