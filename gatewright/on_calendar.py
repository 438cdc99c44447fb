"""Times as systemd's OnCalendar has them, by systemd.time(7): days, a date, a time and a zone, or a word such as daily.

It refuses what systemd refuses. What systemd takes but never comes (a year that is over) is no mistake of form.
"""

from __future__ import annotations

import functools
import re
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass

_WORDS = re.compile(
    r"minutely|hourly|daily|weekly|monthly|quarterly|annually|anually|yearly|(semi|bi)-?annually", re.IGNORECASE
)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = r"(?:mon(?:day)?|tue(?:sday)?|wed(?:nesday)?|thu(?:rsday)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?)"
_SPAN = rf"{_DAY}(?:(?:\.\.|-){_DAY})?"
_WEEKDAYS = re.compile(rf"({_SPAN}(?:,{_SPAN})*),?(?: +|\Z)", re.IGNORECASE)


def _chain(number: str) -> str:
    """The form of a component: anything, or values and ranges, each with a repetition or none."""
    one = rf"{number}(?:\.\.{number})?(?:/{number})?"
    return rf"(\*|{one}(?:,{one})*)"


_WHOLE = _chain(r"[0-9]{1,20}")
_DATE = re.compile(rf"(?:{_WHOLE}-)?{_WHOLE}([-~]){_WHOLE}(?: +|\Z)")
_SECONDS = _chain(r"[0-9]{1,20}(?:\.[0-9]+)?")
_TIME = re.compile(rf"{_WHOLE}:{_WHOLE}(?::{_SECONDS})?\Z")
_ENTRY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?:\.\.([0-9]+(?:\.[0-9]+)?))?(?:/([0-9]+(?:\.[0-9]+)?))?")
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class _Field:
    """A component of a time: its name, its bounds, and by how much a range goes on. scale: of what it is counted in."""

    name: str
    low: int
    high: int
    scale: int = 1


_YEAR, _MONTH, _DAY_OF_MONTH = _Field("year", 1970, 2199), _Field("month", 1, 12), _Field("day", 1, 31)
_LAST_DAYS = _Field("day before the month's end", 1, 28)
_HOUR, _MINUTE, _SECOND = _Field("hour", 0, 23), _Field("minute", 0, 59), _Field("second", 0, 60 * _MICRO - 1, _MICRO)


def complaint(text: str) -> str:
    """What systemd would not take of a time, as the end of a sentence; nothing if it takes it."""
    rest, zone = _without_zone(text)
    if _WORDS.fullmatch(rest) or re.fullmatch(r"@[0-9]{1,12}", rest):
        return ""
    whole = rest
    if days := _WEEKDAYS.match(rest):
        if backwards := next(_backwards(days[1]), ""):
            return f"the days {backwards} run backwards: a week begins on Monday"
        rest = rest[days.end() :]
    wrong: list[str] = []
    if date := _DATE.match(rest):
        year, month, ending, day = date.groups()
        rest = rest[date.end() :]
        wrong += [*_field(_YEAR, year), *_field(_MONTH, month)]
        wrong += _field(_LAST_DAYS if ending == "~" else _DAY_OF_MONTH, day, backwards=ending == "~")
    if time := _TIME.match(rest):
        rest = ""
        wrong += [*_field(_HOUR, time[1]), *_field(_MINUTE, time[2]), *_field(_SECOND, time[3])]
    if rest or not whole:
        return f"{(rest or zone or text).split(' ')[0]!r} is no part of a time as systemd's OnCalendar has it"
    return wrong[0] if wrong else ""


def _without_zone(text: str) -> tuple[str, str]:
    """A time without the zone at its end, and that."""
    head, _blank, last = text.rpartition(" ")
    return (head, last) if last and (last.upper() == "UTC" or _is_zone(last)) and _blank else (text, "")


def _is_zone(name: str) -> bool:
    """Whether this is a time zone's name. Debian 13 keeps the old ones in a package of their own, as Japan."""
    known = _zones()
    name = re.sub(r"^(posix|right)/", "", name)
    if name in known or not _ZONE.fullmatch(name):
        return name in known
    area = name.partition("/")[0]
    is_old = "/" in name and area in {"US", "Canada", "Brazil", "Chile", "Mexico", "Etc"}
    is_unknowable = not known and re.fullmatch("[A-Z].*", name) is not None
    return "Japan" not in known and (is_old or is_unknowable or name in _OLD)


@functools.cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


_OLD = frozenset({
    "CET", "CST6CDT", "Cuba", "EET", "EST", "EST5EDT", "Egypt", "Eire", "GB", "GB-Eire", "GMT", "GMT+0", "GMT-0",
    "GMT0", "Greenwich", "HST", "Hongkong", "Iceland", "Iran", "Israel", "Jamaica", "Japan", "Kwajalein", "Libya",
    "MET", "MST", "MST7MDT", "NZ", "NZ-CHAT", "Navajo", "PRC", "PST8PDT", "Poland", "Portugal", "ROC", "ROK",
    "Singapore", "Turkey", "UCT", "Universal", "W-SU", "WET", "Zulu",
})  # names, many a line # fmt: skip


def _backwards(days: str) -> Iterator[str]:
    """The ranges of days that end before they begin."""
    for span in days.lower().split(","):
        ends = [_DAYS.index(day[:3]) for day in re.split(r"\.\.|-", span)]
        if ends[0] > ends[-1]:
            yield span


def _field(field: _Field, text: str | None, backwards: bool = False) -> Iterator[str]:
    """What is wrong with the values of a component. backwards: they are counted from the end."""
    for entry in text.split(",") if text and text != "*" else ():
        found = _ENTRY.fullmatch(entry)
        if found is None:
            continue  # not a form that got here
        start, stop, step = (_counted(part, field) for part in found.groups())
        if field is _YEAR:
            start, stop = _whole_year(start), _whole_year(stop)
        if not _fits(field, start, stop, step, backwards):
            yield f"{entry} is no {field.name} from {field.low} to {field.high // field.scale}, or is never repeated"


def _counted(part: str | None, field: _Field) -> int | None:
    if part is None:
        return None
    number, _dot, fraction = part.partition(".")
    return int(number) * field.scale + (int(f"{fraction:0<7}"[:7]) + 5) // 10 * bool(fraction)


def _whole_year(year: int | None) -> int | None:
    """A year that may have been written in two digits."""
    return year if year is None or year > 99 else year + (1900 if year >= 70 else 2000)


def _fits(field: _Field, start: int | None, stop: int | None, step: int | None, backwards: bool) -> bool:
    """systemd's own rules: within bounds, and what is repeated comes once more at least."""
    if start is None or step == 0 or not field.low <= start <= field.high or (stop is not None and stop < start):
        return False
    if stop is not None and step is None:
        step = field.scale
        if field is _SECOND and start + step > stop:
            return False
    times = (stop - start) // step if stop is not None and step else 0
    if stop is not None and step and times:
        return start + times * step <= field.high and step <= field.high - field.low
    room = 0 if stop is not None else start - field.low if backwards else field.high - start
    return stop is not None or (step or 0) <= room
