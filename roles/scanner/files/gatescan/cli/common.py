"""What the subcommands share: options, output, becoming the quarantine's owner."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gatescan.config import DEFAULT_PATH, PATH_VARIABLE, Config, load
from gatescan.gatefence.process import close_memory
from gatescan.judging import rules
from gatescan.outcome.tokens import key_of

SHIPPED_RULES = Path(__file__).parent.parent / "share" / "quarantine-attachments.txt"


def parser(command: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """A parser with the options that every subcommand has."""
    made = argparse.ArgumentParser(
        prog=f"gatescan {command}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--config", type=Path, metavar="FILE", help=f"configuration (default: {DEFAULT_PATH})")
    return made


def add_config(verb: argparse.ArgumentParser) -> None:
    """Add --config to a verb too; without it there, what stood before the verb holds."""
    verb.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS, help="configuration")


def add_json(made: argparse.ArgumentParser) -> None:
    """Add --json."""
    made.add_argument("--json", action="store_true", help="JSON for programs, instead of text for people")


def config_or_defaults(path: Path | None) -> Config:
    """The configuration; the defaults where none is installed, as in a checkout. A named file must exist."""
    if path is None and PATH_VARIABLE not in os.environ and not DEFAULT_PATH.exists():
        return Config()
    return load(path)


def add_key(made: argparse.ArgumentParser) -> None:
    """Add --key."""
    made.add_argument("--key", metavar="FILE", help="the fleet's key for release by mail; - is descriptor 0")


def key_for_release(config: Config, path: str | None) -> bytes:
    """The key that was named; nothing without one, or where nobody releases by mail. Raises KeyProblem.

    From then on no other process of our user can look into this one.
    """
    if not path or not config.release.enabled:
        return b""
    close_memory()
    return key_of(sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes())


def rules_for_looking(text: Path | None, config: Config) -> rules.RuleSet:
    """The rules for `check`: a text file that was named, else the compiled ones, else the shipped ones."""
    if text is not None:
        return rules.read(text)
    if config.rules.compiled.exists():
        return rules.load(config.rules.compiled)
    return rules.read(SHIPPED_RULES)


def print_json(value: object) -> None:
    """One value on one line: easy to read for programs, line by line."""
    print(json.dumps(value, ensure_ascii=False))


def say(text: str) -> None:
    """A line for the person at the terminal, apart from the output proper."""
    print(f"gatescan: {text}", file=sys.stderr)


def become_owner(directory: Path) -> None:
    """As root, go on as the directory's owner: what this process writes must be the daemon's to read.

    The next queue program needs no privilege: qmail-queue is set-uid itself.
    """
    if os.geteuid() != 0:
        return
    state = directory.stat()
    if state.st_uid != 0:
        os.setgroups([])
        os.setgid(state.st_gid)
        os.setuid(state.st_uid)


def table(rows: Sequence[tuple[str, ...]], head: tuple[str, ...]) -> str:
    """Columns side by side, each as wide as its widest cell; the last one may be as long as it likes."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head) - 1)]
    lines = []
    for row in (head, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join((*cells, row[-1])).rstrip())
    return "\n".join(lines)


def human_size(count: float) -> str:
    """Bytes for people: `512 B`, `34.8 kB`, `1.2 MB`."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
