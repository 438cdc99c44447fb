"""gatescan: opens, judges and accounts for every message that crosses a Gatewright gateway."""

__version__ = "1.0.0"
