"""The shapes of charts. Templates draw them: numbers from here, strangers' words escaped there."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, LEFT, BOTTOM = 640.0, 170.0, 40.0, 20.0
"""Units of the drawing, its margin for numbers and that for times."""


@dataclass(frozen=True, slots=True)
class Box:
    """A piece of a column: where it is, how it is called, and what is said when it is pointed at."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A word at an axis."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Columns:
    """Stacked columns over time, with the sums of each kind."""

    boxes: Sequence[Box]
    heights: Sequence[Mark]
    times: Sequence[Mark]
    sums: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Share:
    """A row of a list or a piece of a whole: share is from 0 to 100."""

    name: str
    count: int
    share: float


def columns(rows: Mapping[str, Sequence[int]], since: float, before: float) -> Columns:
    """Stack rows of counts, all of the same length, the first at the bottom."""
    spans = max((len(row) for row in rows.values()), default=0)
    totals = [sum(row[place] for row in rows.values()) for place in range(spans)]
    top = ceiling(max(totals, default=0))
    step = (WIDTH - LEFT) / max(spans, 1)
    boxes = []
    for place in range(spans):
        moment, below = since + (before - since) * place / spans, 0
        for kind, row in rows.items():
            if row[place]:
                y, height = _up(below + row[place], top), _up(below, top) - _up(below + row[place], top)
                title = f"{clock(moment, before - since)}: {row[place]} {kind}"
                boxes.append(Box(LEFT + place * step + 1, y, max(step - 2, 1), height, kind, title))
                below += row[place]
    heights = [Mark(LEFT - 6, _up(value, top) + 4, short(value)) for value in (0, top // 2, top)]
    return Columns(boxes, heights, _times(since, before), [(kind, sum(row)) for kind, row in rows.items()])


def _up(value: float, top: int) -> float:
    """Where a value is, counted from above."""
    return (HEIGHT - BOTTOM) - value / top * (HEIGHT - BOTTOM - 12)


def _times(since: float, before: float) -> list[Mark]:
    """Some times below the columns."""
    marks = []
    for quarter in range(4):
        moment = since + (before - since) * quarter / 4
        marks.append(Mark(LEFT + (WIDTH - LEFT) * quarter / 4, HEIGHT - 4, clock(moment, before - since)))
    return marks


def clock(moment: float, span: float) -> str:
    """A time as short as the span of the chart allows."""
    return time.strftime("%H:%M" if span <= 2 * 86_400 else "%d %b", time.localtime(moment))


def ceiling(value: int) -> int:
    """The next round number, 2 or more."""
    size = int("1" + "0" * (len(str(value)) - 1))
    return max(next(size * step for step in (1, 2, 4, 6, 8, 10) if size * step >= value), 2)


def short(value: int) -> str:
    """A number of at most four characters."""
    return f"{value / 1000:g}k" if value >= 1000 else str(value)


def shares(counts: Mapping[str, int], of_all: bool = False, most: int = 10) -> list[Share]:
    """The most frequent ones, as parts of the largest one or of all together."""
    chosen = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
    whole = sum(counts.values()) if of_all else max(counts.values(), default=0)
    return [Share(name, count, 100 * count / whole) for name, count in chosen if whole]
