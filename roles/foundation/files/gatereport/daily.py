"""The daily run: the reports of each finished day are made and sent; what cannot be sent now waits for the next run.

A report is noted as sent when qmail has taken it. Should the host die between the two, it is sent again under the same
name. A day is forgotten when all was sent, or after some days.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.mime.multipart import MIMEMultipart
from pathlib import Path
from typing import Any, Protocol

from .ledger import Ledger, Sent, today
from .post import NotPosted, Reporter
from .records import Unanswered

log = logging.getLogger("gatereport")

DAYS = 2
"""Days after which a report is too late."""
QUESTIONS = 20
"""Domains that are looked up at once."""


class Subject(Protocol):
    """What is reported: how it is added up, who wants it, and what the mail looks like."""

    def add_up(self, entries: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
        """What there is to report, by domain."""

    def mailboxes(self, domain: str) -> Sequence[str]:
        """Who wants a domain's report; nobody, if the domain asks for none. Raises Unanswered."""

    def mail(self, domain: str, day: datetime.date, found: Any, mailbox: str) -> MIMEMultipart:
        """The mail to one of them."""


def send_all(subject: Subject, reporter: Reporter, ledger: Ledger, sent: Sent) -> int:
    """Send the reports of all finished days; returns how many must wait for another run.

    Raises OSError, BlockingIOError among them when another run has not ended.
    """
    waiting = 0
    with _alone(sent.folder):
        for day in ledger.finished():
            late = _send_day(subject, reporter, day, subject.add_up(ledger.entries(day)), sent)
            if late and today() - day <= datetime.timedelta(DAYS):
                waiting += late
                continue
            if late:
                log.error("%d reports of %s are given up", late, day)
            ledger.drop(day)
            sent.drop(day)
    return waiting


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One run at a time."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def _send_day(subject: Subject, reporter: Reporter, day: datetime.date, found: Mapping[str, Any], sent: Sent) -> int:
    """Send a day's reports; returns how many could not be sent."""
    done = sent.of(day)
    late = count = 0
    with ThreadPoolExecutor(QUESTIONS) as pool:
        for domain, wanted in zip(found, pool.map(lambda name: _wanted(subject, name), found), strict=True):
            late += wanted is None
            for mailbox in wanted or ():
                if f"{domain} {mailbox}" in done:
                    continue
                try:
                    reporter.post(subject.mail(domain, day, found[domain], mailbox), mailbox)
                except NotPosted as error:
                    log.error("the report of %s about %s waits: %s", day, domain, error)
                    late += 1
                    continue
                sent.note(day, f"{domain} {mailbox}")
                count += 1
    log.info("%s: %d domains, %d reports sent, %d wait", day, len(found), count, late)
    return late


def _wanted(subject: Subject, domain: str) -> Sequence[str] | None:
    """Who wants a domain's report; None if nobody can tell now."""
    try:
        return subject.mailboxes(domain)
    except Unanswered as error:
        log.warning("the report about %s waits: %s", domain, error)
        return None
