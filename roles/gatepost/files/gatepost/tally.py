"""How TLS with the servers of other domains went, written down for the report that they may want (see `tlsrpt`).

A session counts once, when it is opened: by what TLS it came about, or why not. Routes are the site's own affair.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from gatepost.gatereport.days import Days
from gatepost.gatereport.records import is_domain
from gatepost.model import Policy, Server
from gatepost.results import Outcome
from gatepost.session import Session

MOST_LINES, LINE = 30, 500
"""Lines of a policy, and characters of one, that are written down."""
_BY_USER = re.compile(rb"Received: \(qmail \d+ invoked by uid (\d+)\); ")


class Tally:
    """Counts. folder: empty, nothing is counted."""

    def __init__(self, folder: str) -> None:
        self._days = Days(Path(folder)) if folder else None

    def session(self, domain: str, server: Server, session: Session) -> None:
        """A session with one of a domain's servers, if it has come as far as TLS."""
        if server.policy is not None and session.outcome is not None:
            wire = session.wire
            self.add(domain, server.policy, session.outcome, server.name, wire.address.text, wire.own_address)

    def add(self, domain: str, policy: Policy, outcome: Outcome, mx: str = "", to: str = "", by: str = "") -> None:
        """One outcome. mx, to: the server's name and address; by: this host's address."""
        domain = domain.lower().rstrip(".")
        if self._days is None or not is_domain(domain):
            return
        self._days.add({
            "domain": domain, "policy": policy.kind, "text": [line[:LINE] for line in policy.text[:MOST_LINES]],
            "hosts": [host[:LINE] for host in policy.hosts[:MOST_LINES]], "result": outcome.result,
            "why": outcome.why[:LINE], "mx": mx[:LINE], "to": to, "by": by,
        })  # short pairs, many a line # fmt: skip


def is_report(fd: int, reporter: int) -> bool:
    """Whether a message is a report of ours, by who has queued it. reporter: the user, by number; 0: nobody reports.

    A report must arrive although the domain's TLS is broken, so the domain's policies do not apply (RFC 8460, 3). Nor
    is it counted, or two gateways would send each other reports about reports for ever.
    """
    found = _BY_USER.match(os.pread(fd, 200, 0)) if reporter else None
    return bool(found and int(found[1]) == reporter)
