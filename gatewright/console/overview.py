"""How all gateways are, on one page."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gatewright.console import charts
from gatewright.console.charts import Columns, Share
from gatewright.console.desk import Question
from gatewright.fleet import status
from gatewright.fleet.ask import Answers

SPANS = {1: 24, 7: 28, 30: 30}
"""Columns of a chart, by its days."""
VERDICTS = ("clean", "policy", "encrypted", "ambiguous", "limit", "engine-error", "infected")
RESULTS = ("success", "deferral", "failure")
TOPS = ("rules", "extensions", "senders", "recipients")


@dataclass(frozen=True, slots=True)
class Gateway:
    """A row of the table: its cells by their titles."""

    name: str
    is_well: bool
    cells: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Overview:
    """What the template shows. silent: why gateways did not answer. days: how far it looks back."""

    days: int
    time: float
    gateways: Sequence[Gateway]
    silent: Mapping[str, str]
    remarks: Sequence[str]
    verdicts: Columns
    deliveries: Columns
    tops: Mapping[str, Sequence[Share]]
    tls: Sequence[Share]
    judged: int
    stopped: int
    queue: int
    held: int


def questions(days: int, now: float) -> tuple[Question, Question]:
    """What gateways are asked; by whole minutes, so that two pages within one ask the same."""
    before = now // 60 * 60 + 60
    figures = {"since": before - days * 86_400, "before": before, "spans": SPANS[days]}
    return Question("gateway_status", {}), Question("mail_trace", figures)


def overview(days: int, state: Answers, figures: Answers, now: float | None = None) -> Overview:
    """Put the answers together."""
    now = time.time() if now is None else now
    found = [answer["figures"] for answer in figures.said.values() if "figures" in answer]
    before = found[0]["before"] if found else now
    since = found[0]["since"] if found else now - days * 86_400
    verdicts, deliveries = added(found, "verdicts", VERDICTS), added(found, "deliveries", RESULTS)
    judged = sum(map(sum, verdicts.values()))
    passed = sum(count for name, count in counted(found, "actions").items() if name in ("accept", "tag"))
    return Overview(
        days=days,
        time=now,
        gateways=[gateway(name, one) for name, one in sorted(state.said.items())],
        silent=figures.silent | state.silent,
        remarks=[f"{name}: {one}" for name, told in sorted(figures.said.items()) for one in told.get("remarks", ())],
        verdicts=charts.columns(verdicts, since, before),
        deliveries=charts.columns(deliveries, since, before),
        tops={name: charts.shares(counted(found, name)) for name in TOPS},
        tls=charts.shares(counted(found, "tls"), of_all=True),
        judged=judged,
        stopped=judged - passed,
        queue=sum(int((one.get("queue") or {}).get("count", 0)) for one in state.said.values()),
        held=sum(int(one.get("held", 0)) for one in state.said.values()),
    )


def gateway(name: str, one: Mapping[str, Any]) -> Gateway:
    """A gateway, as `gw status` prints it."""
    cells = list(zip(status.TITLES, status.row(name, one), strict=True))[1:]
    return Gateway(name, status.is_well(one), [(title.capitalize(), cell) for title, cell in cells])


def added(found: Sequence[Mapping[str, Any]], name: str, order: Sequence[str]) -> dict[str, list[int]]:
    """Rows over time of all gateways, added; the known ones first, in their order."""
    rows: dict[str, list[int]] = {}
    for one in found:
        for kind, row in one[name].items():
            known = rows.setdefault(kind, [0] * len(row))
            rows[kind] = [a + b for a, b in zip(known, row, strict=True)]
    return {kind: rows[kind] for kind in (*(k for k in order if k in rows), *(k for k in rows if k not in order))}


def counted(found: Sequence[Mapping[str, Any]], name: str) -> Counter[str]:
    """Counts by name of all gateways, added."""
    counts: Counter[str] = Counter()
    for one in found:
        counts.update(dict(one[name]))
    return counts
