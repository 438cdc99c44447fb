"""The options that several benches have."""

from __future__ import annotations

import argparse
from pathlib import Path


def parser(bench: str, description: str | None, rounds: int, messages: int) -> argparse.ArgumentParser:
    """A parser that knows --rounds, --messages and --json. bench: its module; rounds, messages: the defaults."""
    made = argparse.ArgumentParser(
        prog=f"python3 -m {bench}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--rounds", type=int, default=rounds, help="runs of each kind (%(default)s)")
    made.add_argument("--messages", type=int, default=messages, help="of a run (%(default)s)")
    made.add_argument("--json", type=Path, help="write the figures to this file, too")
    return made
