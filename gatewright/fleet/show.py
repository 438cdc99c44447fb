"""What is printed of mail: times, and strangers' words that can do nothing to a terminal."""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from gatescan.text import printable

_SPAN = re.compile(r"(\d{1,9})([mhdw])")
_UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def moment(text: str) -> float:
    """Seconds since 1970 of `2h`, `3d` (ago) or a time of ISO 8601, local if it names no zone. For argparse.

    What is longer ago is 0: no log is older, and a gateway's clock cannot say it.
    """
    if span := _SPAN.fullmatch(text):
        return max(time.time() - int(span[1]) * _UNITS[span[2]], 0.0)
    try:
        return max(datetime.fromisoformat(text).timestamp(), 0.0)
    except (ValueError, OverflowError, OSError):
        wanted = "write 30m, 2h, 3d, 1w or 2026-11-22T14:30, with Z or +01:00 if it is not local time"
        raise argparse.ArgumentTypeError(f"not a time: {text}; {wanted}") from None


def harmless(value: Any) -> Any:
    """What a gateway told, with each text on one line: a gateway that was taken over may say anything anywhere."""
    if isinstance(value, str):
        return printable(value, max(len(value), 3))
    if isinstance(value, Mapping):
        return {harmless(name): harmless(one) for name, one in value.items()}
    return [harmless(one) for one in value] if isinstance(value, list | tuple) else value


def when(seconds: float) -> str:
    """A local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def span(seconds: float) -> str:
    """How long something is, in one unit."""
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"


def people(addresses: Sequence[str], total: int = 0) -> str:
    """The first of some addresses, and how many more there are."""
    more = max(total, len(addresses)) - 1
    return (printable(addresses[0], 60) if addresses else "-") + (f" +{more}" if addresses and more > 0 else "")


def as_json(host: str, record: Mapping[str, Any]) -> str:
    """A line for programs: ASCII, so that a terminal that gets it is safe, too."""
    return json.dumps({"gateway": host, **record})


def table(rows: Sequence[Sequence[str]], titles: Sequence[str]) -> str:
    """Columns as wide as they must be; the last one as it is."""
    widths = [max(len(row[column]) for row in (titles, *rows)) for column in range(len(titles) - 1)]
    return "\n".join(
        "  ".join((*(word.ljust(width) for word, width in zip(row, widths, strict=False)), row[-1])).rstrip()
        for row in (titles, *rows)
    )
