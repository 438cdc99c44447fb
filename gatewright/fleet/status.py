"""`gw status`: one line a gateway."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from gatescan.text import printable

from gatewright.fleet import EXIT_NONE, EXIT_OK
from gatewright.fleet.ask import add_fleet, ask, fleet_of
from gatewright.fleet.show import as_json, harmless, span, table, when

DESCRIPTION = """\
One line a gateway: messages in the queue and how long the oldest is there, messages held, what is cut off, rules of an
outbreak, engines with the age of their signatures, days until the certificate ends, when a run of site.yml last changed
anything, Gatewright's release, and what `gatescan doctor` finds. A `?` could not be looked at."""

EPILOG = """\
exit status: 0 all is in order, 1 a gateway is cut off, has something broken or a doctor that did not answer, 2 usage,
3 a gateway did not answer"""

TITLES = (
    "GATEWAY",
    "QUEUE",
    "OLDEST",
    "HELD",
    "CUT OFF",
    "OUTBREAK",
    "ENGINES",
    "CERT",
    "LAST CHANGE",
    "RELEASE",
    "DOCTOR",
)


def main(words: list[str], further: list[str]) -> int:
    """Ask, and print; returns the exit status."""
    made = argparse.ArgumentParser(
        "gw status", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--json", action="store_true", help="a JSON object a gateway, for programs")
    add_fleet(made)
    options = made.parse_args(words)
    answers = ask(fleet_of(options, further), "gateway_status", {})
    found = sorted(answers.said.items())
    if options.json:
        for host, one in found:
            print(as_json(host, one))
    elif found:
        print(table([row(host, one) for host, one in found], TITLES))
    return answers.status(EXIT_OK if all(is_well(one) for _, one in found) else EXIT_NONE)


def is_well(one: Mapping[str, Any]) -> bool:
    """Whether nothing asks for an administrator, and the doctor could look."""
    is_broken = any(check.get("state") == "broken" for check in one.get("doctor", ()))
    return "doctor" in one and not (one.get("cutoff") or is_broken)


def row(host: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    """A gateway in the table."""
    one = harmless(one)
    queue = one.get("queue") or {}
    certificate = f"{one['certificate']:.0f} d" if "certificate" in one else "?"
    return (
        host,
        str(queue.get("count", "?")),
        span(queue["oldest"]) if queue.get("count") else "-",
        str(one.get("held", "?")),
        ", ".join(one.get("cutoff", ())) or "-",
        str(one.get("outbreak") or "-"),
        ", ".join(map(engine, one.get("engines", ()))) or "-",
        certificate,
        when(one["changed"]) if one.get("changed") else "?",
        printable(str(one.get("version", "?")), 20),
        doctor(one["doctor"]) if "doctor" in one else "?",
    )


def engine(one: Mapping[str, Any]) -> str:
    """An engine in a few words."""
    name = printable(str(one["name"]), 20)
    if one.get("error"):
        return f"{name} FAILS"
    days = f" {one['days']:.0f} d" if one.get("days") is not None else ""
    return f"{name}{days}{' STALE' if one.get('is_stale') else ''}"


def doctor(checks: list[Mapping[str, Any]]) -> str:
    """The worst that the doctor found, and how much more."""
    if not checks:
        return "well"
    worst = sorted(checks, key=lambda check: check.get("state") != "broken")
    more = f" (and {len(checks) - 1} more)" if len(checks) > 1 else ""
    return f"{worst[0].get('state', '')}: {printable(str(worst[0].get('what', '')), 120)}{more}"
