"""DMARC's aggregate reports (RFC 7489, 7.2): daily, to domains whose record names a mailbox for them."""

from __future__ import annotations

import datetime
import ipaddress
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.mime.multipart import MIMEMultipart
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from gatekeeper.auth import suffixes
from gatekeeper.auth.suffixes import Suffixes
from gatekeeper.config import Config, ConfigError
from gatekeeper.gatereport import daily, post, records
from gatekeeper.gatereport.days import Days, Sent

MOST_DOMAINS, MOST_ROWS, MOST_MAILBOXES = 10_000, 5_000, 3
"""What a day, a report and a domain may have; more is left out."""
MOST_OF_ORGANISATION = 20
"""Domains of one organisation besides its own: who has a record for each name would choose how many mails we send."""
PUBLISHED = ("adkim", "aspf", "p", "sp", "pct")
# results that the schema of RFC 7489, appendix C has other names for, or none
_DKIM = ("none", "pass", "fail", "policy", "neutral", "temperror", "permerror")
_SPF = ("none", "neutral", "pass", "fail", "softfail", "temperror", "permerror")
_NOT_PRINTABLE = re.compile("[^!-~]")
TEXT = """\
This is a DMARC aggregate report (RFC 7489) of {host} about mail in the name of {domain} on {day}.
You get it because _dmarc.{domain} names this address. Questions: {contact}
"""


@dataclass(slots=True)
class Found:
    """A domain's day: its record, and messages by all that a row says of them, as JSON."""

    published: Mapping[str, Any]
    rows: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class DmarcReports:
    """DMARC's reports, for the daily run."""

    reporter: post.Reporter
    names: records.Names
    suffixes: Suffixes

    def add_up(self, entries: Iterable[Mapping[str, Any]]) -> Mapping[str, Found]:
        """What there is to report, by domain; what is no entry of ours is left out."""
        found: dict[str, Found] = {}
        below: Counter[str] = Counter()
        for entry in entries:
            domain, published = str(entry.get("domain")), entry.get("published")
            if not records.is_domain(domain) or not isinstance(published, dict) or not _is_row(entry):
                continue
            if domain not in found and (len(found) >= MOST_DOMAINS or not self._has_place(domain, below)):
                continue
            of_domain = found.setdefault(domain, Found(published))
            row = json.dumps({name: entry[name] for name in sorted(entry) if name not in ("domain", "published")})
            if row in of_domain.rows or len(of_domain.rows) < MOST_ROWS:
                of_domain.rows[row] += 1
        return found

    def _has_place(self, domain: str, below: Counter[str]) -> bool:
        """Whether there is room for one more domain of its organisation; below: how many of each there are."""
        organisation = self.suffixes.organisation(domain)
        if domain == organisation:  # always: its names must not crowd it out
            return True
        below[organisation] += 1
        return below[organisation] <= MOST_OF_ORGANISATION

    def mailboxes(self, domain: str) -> Sequence[str]:
        """Who wants a domain's report, and agrees to get it. Raises Unanswered."""
        record = records.record(self.names.texts(f"_dmarc.{domain}"), "DMARC1")
        named = records.mailboxes(record.get("rua", ""), MOST_MAILBOXES) if record else []
        return [mailbox for mailbox in named if self._agrees(domain, mailbox)]

    def _agrees(self, domain: str, mailbox: str) -> bool:
        """Whether a mailbox is the domain's own, or its host says that it takes these reports (RFC 7489, 7.1)."""
        host = mailbox.rpartition("@")[2].lower()
        if self.suffixes.organisation(host) == self.suffixes.organisation(domain):
            return True
        texts = self.names.texts(f"{domain}._report._dmarc.{host}")
        return any(records.record([text], "DMARC1") is not None for text in texts)

    def mail(self, domain: str, day: datetime.date, found: Found, mailbox: str) -> MIMEMultipart:
        """The mail to one of them (RFC 7489, 7.2.1.1)."""
        about = post.Report(domain, day, report(self.reporter, domain, day, found), "xml", "gzip")
        text = TEXT.format(host=self.reporter.host, domain=domain, day=day, contact=self.reporter.contact)
        return post.fill(MIMEMultipart("mixed"), about, self.reporter, mailbox, text)


def _is_row(entry: Mapping[str, Any]) -> bool:
    """Whether an entry says what a row needs."""
    try:
        ipaddress.ip_address(entry.get("ip", ""))
    except ValueError:
        return False
    auth = entry.get("auth")
    return isinstance(auth, list) and all(isinstance(item, list) and len(item) == 4 for item in auth)


def report(reporter: post.Reporter, domain: str, day: datetime.date, found: Found) -> bytes:
    """A domain's report (RFC 7489, appendix C)."""
    feedback = ElementTree.Element("feedback")
    _add(feedback, "version", "1.0")
    _metadata(feedback, reporter, domain, day)
    policy = _add(feedback, "policy_published")
    _add(policy, "domain", domain)
    for name in PUBLISHED:
        _add(policy, name, found.published.get(name, ""))
    for row, count in found.rows.most_common():
        _record(feedback, json.loads(row), count)
    ElementTree.indent(feedback)
    return bytes(ElementTree.tostring(feedback, "UTF-8", xml_declaration=True))


def _metadata(feedback: ElementTree.Element, reporter: post.Reporter, domain: str, day: datetime.date) -> None:
    metadata = _add(feedback, "report_metadata")
    _add(metadata, "org_name", reporter.organization)
    _add(metadata, "email", reporter.contact)
    _add(metadata, "report_id", reporter.report_id(domain, day))
    span = _add(metadata, "date_range")
    begin = post.first_second(day)
    _add(span, "begin", begin)
    _add(span, "end", begin + post.DAY - 1)


def _record(feedback: ElementTree.Element, row: Mapping[str, Any], count: int) -> None:
    record = _add(feedback, "record")
    told = _add(record, "row")
    _add(told, "source_ip", row["ip"])
    _add(told, "count", count)
    evaluated = _add(told, "policy_evaluated")
    for name in ("disposition", "dkim", "spf"):
        _add(evaluated, name, row.get(name, ""))
    if row.get("reason"):
        _add(_add(evaluated, "reason"), "type", row["reason"])
    _add(_add(record, "identifiers"), "header_from", row.get("from", ""))
    results = _add(record, "auth_results")
    for kind, domain, what, result in row["auth"]:
        if kind in ("dkim", "spf"):
            _result(_add(results, kind), kind, domain, what, result)


def _result(made: ElementTree.Element, kind: str, domain: str, what: str, result: str) -> None:
    _add(made, "domain", domain)
    _add(made, "selector" if kind == "dkim" else "scope", what)
    _add(made, "result", result if result in (_DKIM if kind == "dkim" else _SPF) else "neutral")


def _add(parent: ElementTree.Element, name: str, value: object = None) -> ElementTree.Element:
    """An element, with text of which nothing can spoil the XML: domains and selectors are strangers' words."""
    made = ElementTree.SubElement(parent, name)
    if value is not None:
        text = str(value)
        made.text = text if name == "org_name" else _NOT_PRINTABLE.sub("?", text)[:253]
    return made


def send(config: Config, sent: Path) -> int:
    """Send the reports of all finished days; returns how many must wait. sent: the folder of what was sent.

    Raises ConfigError, and OSError.
    """
    if not (config.dmarc_counts and config.contact and config.organization):
        raise ConfigError("dmarc_counts, contact and organization", "reports need all of them")
    reporter = post.Reporter(config.organization, config.contact, config.home, post.host_name(config.home))
    names = records.Names(config.name_server, config.name_server_port)
    reports = DmarcReports(reporter, names, suffixes.load())
    return daily.send_all(reports, reporter, Days(Path(config.dmarc_counts)), Sent(sent))
