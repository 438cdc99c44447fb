"""The daily run: the reports of each finished day are made and sent; what cannot be sent now waits for the next run.

A report is noted as sent when qmail has taken it. Should the host die between the two, it is sent again under the same
name. A day is forgotten when all was sent, or after some days. What a run does is bounded, so that no day,
and no domain of a day, keeps the others from their turn.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import logging
import os
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.mime.multipart import MIMEMultipart
from pathlib import Path
from typing import Any, Protocol

from .days import Days, Sent, today
from .post import NotPosted, Reporter
from .records import Unanswered

log = logging.getLogger("gatereport")

DAYS = 2
"""Days after which a report is too late."""
QUESTIONS = 20
"""Domains that are looked up at once."""
DAY_SECONDS = 3600.0
"""Seconds that a run spends on one day."""
MOST_REPORTS = 2_000
"""Reports that a run hands to qmail, whose queue is for people's mail too."""


class Subject(Protocol):
    """What is reported: how it is added up, who wants it, and what the mail looks like."""

    def add_up(self, entries: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
        """What there is to report, by domain."""

    def mailboxes(self, domain: str) -> Sequence[str]:
        """Who wants a domain's report; nobody, if the domain asks for none. Raises Unanswered."""

    def mail(self, domain: str, day: datetime.date, found: Any, mailbox: str) -> MIMEMultipart:
        """The mail to one of them."""


@dataclass(slots=True)
class Bounds:
    """What a run may do yet. reports: how many; end: of the present day's time, by time.monotonic()."""

    reports: int
    end: float = 0.0

    @property
    def are_reached(self) -> bool:
        """Whether the rest of the day waits for another run."""
        return self.reports <= 0 or time.monotonic() >= self.end


def send_all(subject: Subject, reporter: Reporter, days: Days, sent: Sent) -> int:
    """Send the reports of all finished days; returns how many must wait for another run.

    Raises OSError, BlockingIOError among them when another run has not ended.
    """
    bounds = Bounds(MOST_REPORTS)
    with _alone(sent.folder):
        return sum(_try_day(_Day(subject, reporter, day, sent, bounds), days) for day in days.finished())


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One run at a time."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


@dataclass(frozen=True, slots=True)
class _Day:
    """A day, and all that it takes to send its reports."""

    subject: Subject
    reporter: Reporter
    day: datetime.date
    sent: Sent
    bounds: Bounds

    @property
    def age(self) -> datetime.timedelta:
        """How long ago it was."""
        return today() - self.day


def _try_day(about: _Day, days: Days) -> int:
    """Send a day's reports, and forget it when that is done or too late; returns how many wait."""
    try:
        if about.age > datetime.timedelta(DAYS + 1):  # a run of a day before may not have come to its end
            log.error("the reports of %s are given up", about.day)
        elif late := _send_day(about, about.subject.add_up(days.entries(about.day))):
            if about.age <= datetime.timedelta(DAYS):
                return late
            log.error("%d reports of %s are given up", late, about.day)
        days.drop(about.day)
        about.sent.drop(about.day)
    except OSError as error:
        log.error("the reports of %s wait: %s", about.day, error)
        return 1
    return 0


def _send_day(about: _Day, found: Mapping[str, Any]) -> int:
    """Send a day's reports; returns how many could not be sent. Raises OSError."""
    about.bounds.end = time.monotonic() + DAY_SECONDS
    before, done = about.bounds.reports, about.sent.of(about.day)
    waiting = [domain for domain in found if domain not in done]
    random.shuffle(waiting)  # else domains whose name servers are slow could be the first of each run
    late = 0
    with ThreadPoolExecutor(QUESTIONS) as pool:
        try:
            for domain, wanted in zip(waiting, pool.map(lambda name: _wanted(about, name), waiting), strict=True):
                late += 1 if wanted is None else _send_domain(about, domain, found[domain], wanted, done)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    count = before - about.bounds.reports
    log.info("%s: %d domains, %d reports sent, %d wait", about.day, len(found), count, late)
    return late


def _wanted(about: _Day, domain: str) -> Sequence[str] | None:
    """Who wants a domain's report; None if nobody can tell now."""
    if about.bounds.are_reached:
        return None
    try:
        return about.subject.mailboxes(domain)
    except Unanswered as error:
        log.warning("the report about %s waits: %s", domain, error)
        return None


def _send_domain(about: _Day, domain: str, found: Any, wanted: Sequence[str], done: set[str]) -> int:
    """Send a domain's report to all who want it; returns how many could not be sent. Raises OSError."""
    mailboxes = [mailbox for mailbox in wanted if f"{domain} {mailbox}" not in done]
    late = sum(not _is_sent(about, domain, found, mailbox) for mailbox in mailboxes)
    if not late:
        about.sent.note(about.day, domain)  # which is not looked up again
    return late


def _is_sent(about: _Day, domain: str, found: Any, mailbox: str) -> bool:
    """Send a report to a mailbox, and note it; whether that went well. Raises OSError."""
    if about.bounds.are_reached:
        return False
    try:
        with about.sent.noting(about.day, f"{domain} {mailbox}"):
            about.reporter.post(about.subject.mail(domain, about.day, found, mailbox), mailbox)
    except NotPosted as error:
        log.error("the report of %s about %s waits: %s", about.day, domain, error)
        return False
    about.bounds.reports -= 1
    return True
