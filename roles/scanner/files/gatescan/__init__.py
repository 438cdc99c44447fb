"""gatescan: opens, judges and accounts for every message that crosses a Gatewright gateway."""

from pathlib import Path

__version__ = Path(__file__).with_name("VERSION").read_text().strip()
"""The release, from the file at the project's top: in the checkout a link to it, in the package a copy."""
