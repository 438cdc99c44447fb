"""Times of timers are taken and refused as systemd does it, and by it where it is there."""

from __future__ import annotations

import random
import shutil
import subprocess
import zoneinfo

import pytest

from gatewright import on_calendar
from gatewright.on_calendar import complaint


def listed(text: str) -> list[str]:
    """Times, parted by bars and ends of lines."""
    return text.strip().replace("\n", "|").split("|")


# systemd.time(7) has the first of them.
RIGHT = listed("""
Sat,Thu,Mon..Wed,Sat..Sun|Mon,Sun 12-*-* 2,1:23|Wed *-1|Wed..Wed,Wed *-1|Wed, 17:48|*-*-7 0:0:0|10-15
2003-03-05|Wed..Sat,Tue 12-10-15 1:2:3|monday *-12-* 17:00|Mon,Fri *-*-3,1,2 *:30:45|12,14,13,12:20,10,30
12..14:10,20,30|03-05|mon,fri *-1/2-1,3 *:30:45|03-05 08:05:40|08:05:40|05:40|Sat,Sun 12-05 08:05:40
2003-03-05 05:40|2003-03-05 05:40 UTC|05:40:23.4200004/3.1700005|2003-02..04-05|hourly|DAILY|daily utc
weekly Pacific/Auckland|annually|*:2/3|*-02~03|*~28/27|Mon *-05~07/1|00/4:17|22/1:00|5..5:0|5..6/3:0
*:*:59.9|70-1-1|1970/229-*-*|@1395716396|*-*-*   4:00|Mon-Fri 4:00|daily CET|daily Japan|04:00 Etc/GMT+1
04:00 posix/CET|04:00 US/Pacific
""")
WRONG = listed("""
17|99 *|Mon 25:00|foo/bar|*|daily weekly|192.0.2.1|*-13-*|*:0/0|Mars/Olympus|4:00 Mars/Olympus
Sun *-*-* 04.00|UTC|CET|Sun..Mon 4:00|Mon-Fri-Sat|Mon..|tues|,Mon|Mon,,Tue|*-02~29|*~1..29|*:*:*/5|*/2:00
23/1:00|5..2:0|*:*:5..5|*:*:60|24:00|0:60|*-0-1|*-*-0|*-*-32|1969-*-*|2200-*-*|1970/230-*-*|2000..2001/0-*-*
@x|04:00  CET|daily europe/berlin|1-2-3-4|1:2:3:4|fortnightly|now|4:00\t|0x4:00|+4:00|4: 00|1,:0|*,1:0
Mon4:00|4:00Mon|99999999999999999999:0|*-*-1..31/0
""")


@pytest.mark.parametrize("text", RIGHT)
def test_a_time_that_systemd_takes_is_right(text: str) -> None:
    assert complaint(text) == ""


@pytest.mark.parametrize("text", ["", " ", "4:00\n", "9" * 5000 + ":0", *WRONG])
def test_a_time_that_systemd_refuses_is_wrong(text: str) -> None:
    assert complaint(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Sunday at four", "'at' is no part of a time as systemd's OnCalendar has it"),
        ("Sun..Mon 4:00", "the days sun..mon run backwards"),
        ("*-13-* 4:00", "13 is no month from 1 to 12"),
        ("*-*-* 4:00:61", "61 is no second from 0 to 59"),
        ("*-02~29", "29 is no day before the month's end from 1 to 28"),
    ],
)
def test_what_is_wrong_with_a_time_is_named(text: str, words: str) -> None:
    assert complaint(text).startswith(words)


def test_zones_are_known_without_the_package_of_old_ones_and_without_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_calendar, "_zones", lambda: frozenset({"Europe/Berlin", "UTC"}))
    assert {zone: complaint(f"4:00 {zone}") == "" for zone in ("Japan", "US/Pacific", "Mars/Olympus", "CEST")} == {
        "Japan": True,
        "US/Pacific": True,
        "Mars/Olympus": False,
        "CEST": False,
    }
    monkeypatch.setattr(on_calendar, "_zones", frozenset)
    assert complaint("4:00 Europe/Berlin") == "" != complaint("4:00 four")


def made(chance: random.Random) -> str:
    """A time, or what looks like one."""

    def component(fraction: str = "") -> str:
        if chance.random() < 0.3:
            return "*"
        values = [str(chance.choice([0, 1, 2, 5, 12, 23, 28, 31, 59, 60])) + fraction for _ in range(3)]
        return chance.choice(["{}", "{}..{}", "{}/{}", "{},{}", "{}..{}/{}"]).format(*values)

    def date() -> str:
        form = chance.choice(["{}-{}-{}", "{}-{}~{}", "*-{}-{}", "{}~{}"])
        return form.format(chance.choice(["*", "2024", "70..72", "1970/5", "2000/200"]), component(), component())

    def time() -> str:
        form = chance.choice(["{}:{}:{}", "{}:{}", "{}"])
        return form.format(component(), component(), component(chance.choice(["", ".5", ".0000005"])))

    days = chance.choice(["", "", "Mon", "tue..FRI", "Sun,Mon", "Sun..Mon", "Wed,"])
    zone = chance.choice(["", "", "", "UTC", "Europe/Paris", "Nowhere"])
    parts = [days, date() if chance.random() < 0.5 else "", time() if chance.random() < 0.7 else "", zone]
    return " ".join(part for part in parts if part)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
@pytest.mark.skipif(not zoneinfo.available_timezones(), reason="needs time zones")
def test_systemd_says_the_same() -> None:
    texts = [*RIGHT, *WRONG, *(made(random.Random(number)) for number in range(300))]
    if "Japan" not in zoneinfo.available_timezones():
        texts = [text for text in texts if not text.endswith(("CET", "Japan", "Pacific"))]
    taken = {
        text: subprocess.run(["systemd-analyze", "calendar", "--", text], capture_output=True, check=False).returncode
        == 0
        for text in texts
    }
    assert {text: complaint(text) == "" for text in taken} == taken
    assert 30 < sum(taken.values()) < len(taken) - 30
