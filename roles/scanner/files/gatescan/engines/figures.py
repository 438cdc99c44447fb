"""The engines' figures for the metrics: what the workers have noted of each, as Prometheus' series."""

from __future__ import annotations

from collections.abc import Callable

from gatescan.config import Config
from gatescan.engines.records import RECORDS, Record, read_all

FAMILIES: dict[str, tuple[str, str, Callable[[Record], float]]] = {
    "gatescan_engine_scanned_total": ("counter", "Messages that the engine has looked at.", lambda r: r.asked),
    "gatescan_engine_found_total": ("counter", "Those in which it found something.", lambda r: r.found),
    "gatescan_engine_seconds_total": ("counter", "Time that those took.", lambda r: r.seconds),
    "gatescan_engine_failed_total": ("counter", "Messages that it gave no answer about.", lambda r: r.errors),
    "gatescan_engine_left_alone": ("gauge", "1 when it failed so often that it is only tried now and then.",
                                   lambda r: r.left_alone),
    "gatescan_engine_signatures_seconds": ("gauge", "When its signatures were made, in seconds since 1970.",
                                           lambda r: r.signatures),
}  # a figure a line # fmt: skip
"""Name: kind, help, and the figure in a record."""


def series(config: Config) -> dict[str, float]:
    """Every series of the configured engines, family by family; without signatures' dates that nobody tells."""
    try:
        records = read_all(config.journal.counters / RECORDS)
    except OSError:
        return {}
    names = [str(table.get("name") or table.get("type", "")) for table in config.engines]
    return {
        f'{family}{{engine="{_escaped(name)}"}}': float(figure(records[name]))
        for family, (_, _, figure) in FAMILIES.items()
        for name in names
        if name in records and (family != "gatescan_engine_signatures_seconds" or records[name].signatures)
    }


def _escaped(label: str) -> str:
    """The value of a label as Prometheus' text format wants it."""
    return label.replace("\\", r"\\").replace('"', r"\"")
