"""What became of messages on one gateway, out of its own logs."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..matching import fits, safe_pattern
from .asked import Request
from .door import Door
from .figures import Figures
from .links import add_links
from .logs import MARGIN, Logs
from .mail import Mail, number
from .queue import Queue
from .scanner import Scanner

SHORTEST = 3600.0
"""Seconds before the end of what is asked that are looked at first."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a gateway's logs are."""

    root: Path = Path("/")

    @property
    def scanner(self) -> Path:
        """The scanner's journal."""
        return self.root / "var/log/gatescan/messages.jsonl"

    @property
    def send(self) -> Path:
        """qmail-send's log."""
        return self.root / "var/log/qmail"

    @property
    def smtpd(self) -> Path:
        """What tcpserver and qmail-smtpd say."""
        return self.root / "var/log/qmail/smtpd"

    @property
    def gatepost(self) -> Path:
        """One line a delivery."""
        return self.root / "var/log/gatepost/deliveries.jsonl"

    @property
    def gatekeeper(self) -> Path:
        """Who was refused at RCPT."""
        return self.root / "var/log/gatekeeper/daemon"


def trace(request: Request, places: Places) -> dict[str, Any]:
    """Read all logs; the answer as the module gives it."""
    remarks: list[str] = []
    scanner, queue = read_mail(request, remarks, places)
    if request.is_number and queue.others:  # qmail's number: the scanner knows the process that queued it
        request = replace(request, qps=tuple(mail.qp for mail in queue.others))
        scanner, queue = read_mail(request, remarks, places)
    mails = [mail for mail in {id(m): m for m in (*scanner.mails, *queue.others)}.values() if is_asked(request, mail)]
    links = Logs(min((mail.time for mail in mails), default=time.time()), remarks)
    add_links(mails, links.blocks(links.lines_file(places.gatepost)))
    door, logs = Door(request), Logs(request.since - MARGIN, remarks)
    if not (request.needs_scanner or request.id):
        door.read_keeper(logs.blocks(logs.multilog(places.gatekeeper)))
        door.read_door(logs.blocks(logs.multilog(places.smtpd)))
    records = [mail.record() for mail in mails] + [*door.found.values(), *door.sessions.values()]
    records.sort(key=lambda record: record["time"])
    is_cut = len(records) > request.most or scanner.count > request.most or len(queue.others) >= request.most
    return {"records": records[-request.most :], "is_cut": is_cut, "remarks": list(dict.fromkeys(remarks))}


def read_mail(request: Request, remarks: list[str], places: Places) -> tuple[Scanner, Queue]:
    """What the scanner has found, and the lives in qmail's queue, also of what the scanner has never seen."""
    scanner, request = read_scanner(request, remarks, places)
    queue, logs = Queue(request, scanner.mails), Logs(request.since - MARGIN, remarks)
    if request.to and not (request.needs_scanner or request.ip):
        queue.look_for_recipients(logs.blocks(logs.multilog(places.send)))
    if queue.is_needed:
        queue.read(logs.blocks(logs.multilog(places.send)))
    for drop in scanner.drops:
        for mail in (*scanner.mails, *queue.others):
            if mail.number == drop.get("msg") and mail.queued <= number(drop.get("time")) <= (mail.ended or 1e12) + 60:
                mail.events.append(drop)
    return scanner, queue


def read_scanner(request: Request, remarks: list[str], places: Places) -> tuple[Scanner, Request]:
    """What the scanner has found; where that is more than is given back, the request for the time that it takes up."""
    end, span = min(request.before, time.time()), SHORTEST
    while True:
        scanner = Scanner(replace(request, since=max(request.since, end - span)))
        logs = Logs(scanner.request.since - MARGIN, remarks)
        scanner.read(logs.blocks(logs.lines_file(places.scanner)))
        if scanner.count > request.most:
            return scanner, replace(request, since=min(mail.time for mail in scanner.mails))
        if scanner.request.since == request.since or not logs.has_older:
            return scanner, request
        span *= min(16.0, 2 * request.most / max(scanner.count, 1))


def is_asked(request: Request, mail: Mail) -> bool:
    """Whether a message, with all that is known now, is asked for."""
    known = [*mail.recipients, *(attempt.recipient for attempt in mail.attempts)]
    return request.is_within(mail.time) and (request.fits_to(known) or fits_safe(request.to, mail))


def fits_safe(pattern: str, mail: Mail) -> bool:
    """Whether a recipient, as qmail-send's log has it, is asked for."""
    return any(fits(safe_pattern(pattern), attempt.recipient) for attempt in mail.attempts)


def figures(request: Request, places: Places) -> dict[str, Any]:
    """Count what was judged and delivered; the answer as the module gives it."""
    remarks: list[str] = []
    logs, found = Logs(request.since, remarks), Figures(request)
    found.read_judged(logs.blocks(logs.lines_file(places.scanner)))
    found.read_delivered(logs.blocks(logs.lines_file(places.gatepost)))
    return {"figures": found.record(), "remarks": remarks}


def parse(told: dict[str, Any]) -> Request:
    """A request, out of JSON."""
    return Request(**told)


def carry_out(request: Request, root: Path) -> dict[str, Any]:
    """Read the logs below a folder."""
    return figures(request, Places(root)) if request.spans > 0 else trace(request, Places(root))
