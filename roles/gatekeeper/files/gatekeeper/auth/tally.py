"""What DMARC said of each message, written down for the reports that domains want (see `reports`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatekeeper.auth import dkim, spf
from gatekeeper.auth.dmarc import Record, Result
from gatekeeper.auth.judge import SHOWN, Origin, Report, Verdict
from gatekeeper.gatereport.days import Days

DAY_LIMIT = 256 << 20
"""Bytes of a day's counts: some 600,000 messages."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts messages of domains that want reports."""

    days: Days

    def message(self, origin: Origin, report: Report) -> None:
        """One message, unless it will come again."""
        found = report.dmarc
        if origin.client is None or found.record is None or not found.record.wants_reports:
            return
        if report.verdict is Verdict.LATER:
            return
        self.days.add({
            "domain": found.at, "published": _published(found.record), "ip": str(origin.client),
            "disposition": report.wanted.name.lower(), "reason": _reason(report), "from": found.domain,
            "dkim": _speaks(report, by_dkim=True), "spf": _speaks(report, by_dkim=False), "auth": list(_auth(report)),
        })  # short pairs, many a line # fmt: skip


def _published(record: Record) -> dict[str, str]:
    """The record, as reports show it."""
    return {
        "adkim": "s" if record.strict_dkim else "r",
        "aspf": "s" if record.strict_spf else "r",
        "p": record.policy.name.lower(),
        "sp": record.below.name.lower(),
        "pct": str(record.percent),
    }


def _reason(report: Report) -> str:
    """Why less was done than the domain wants; empty if it was not."""
    found = report.dmarc
    if found.result is not Result.FAIL or report.wanted is found.policy:
        return ""
    if report.forwarder:
        return "trusted_forwarder"
    return "sampled_out" if report.wanted is found.wanted else "local_policy"


def _speaks(report: Report, *, by_dkim: bool) -> str:
    """Whether DKIM, or SPF, speaks for the author's domain."""
    if by_dkim:
        proven = {item.domain for item in report.signatures if item.result is dkim.Result.PASS}
    else:
        proven = {report.spf.domain.lower()} if report.spf and report.spf.result is spf.Result.PASS else set()
    return "pass" if proven & set(report.dmarc.aligned) else "fail"


def _auth(report: Report) -> Iterator[list[Any]]:
    """What DKIM and SPF said, whoever is meant: kind, domain, selector or scope, result."""
    for item in report.signatures[:SHOWN]:
        yield ["dkim", item.domain, item.selector, str(item.result)]
    if report.spf:
        yield ["spf", report.spf.domain.lower(), "helo" if report.spf.is_helo else "mfrom", str(report.spf.result)]


def tally_of(folder: str) -> Tally | None:
    """What counts in a folder; nothing, if there is none."""
    return Tally(Days(Path(folder), DAY_LIMIT)) if folder else None
