"""TLS-RPT (RFC 8460): the daily report to a domain that wants it (`_smtp._tls.DOMAIN`) on TLS with its servers."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.mime.multipart import MIMEMultipart
from pathlib import Path
from typing import Any

from gatepost.config import Config, ConfigError
from gatepost.gatereport import daily, post, records
from gatepost.gatereport.days import Days, Sent

MOST_DOMAINS = 10_000
"""Domains of a day that are reported; a report has so many policies, and a policy so many kinds of failure."""
MOST_POLICIES, MOST_FAILURES = 50, 500
MOST_MAILBOXES = 3
TEXT = """\
This is an aggregate TLS report (RFC 8460) of {organization}: how its mail to {domain} was encrypted on {day}.
You get it because _smtp._tls.{domain} names this address. Questions: {contact}
"""

KINDS = ("tlsa", "sts", "no-policy-found")

Key = tuple[str, tuple[str, ...], tuple[str, ...]]
Failure = tuple[str, str, str, str, str]


@dataclass(slots=True)
class Count:
    """Sessions under one policy: how many succeeded, and how many failed in which way."""

    successes: int = 0
    failures: Counter[Failure] = field(default_factory=Counter)

    def add(self, failure: Failure) -> None:
        """One session. Failures of too many kinds are counted by their result alone."""
        if not failure[0]:
            self.successes += 1
        elif failure in self.failures or len(self.failures) < MOST_FAILURES:
            self.failures[failure] += 1
        else:
            self.failures[failure[0], "", "", "", ""] += 1


Found = dict[Key, Count]


@dataclass(frozen=True, slots=True)
class TlsReports:
    """TLS-RPT, for the daily run."""

    reporter: post.Reporter
    names: records.Names

    def add_up(self, entries: Iterable[Mapping[str, Any]]) -> Mapping[str, Found]:
        """What there is to report, by domain; what is no entry of ours is left out."""
        found: dict[str, Found] = {}
        for entry in entries:
            domain = str(entry.get("domain"))
            is_ours = records.is_domain(domain) and entry.get("policy") in KINDS
            if not is_ours or (domain not in found and len(found) >= MOST_DOMAINS):
                continue
            policies = found.setdefault(domain, {})
            key = (entry["policy"], _words(entry, "text"), _words(entry, "hosts"))
            if key in policies or len(policies) < MOST_POLICIES:
                result, why, mx, to, by = (_word(entry, name) for name in ("result", "why", "mx", "to", "by"))
                policies.setdefault(key, Count()).add((result, why, mx, to, by))
        return found

    def mailboxes(self, domain: str) -> Sequence[str]:
        """Who wants a domain's report. Raises Unanswered."""
        record = records.record(self.names.texts(f"_smtp._tls.{domain}"), "TLSRPTv1")
        return records.mailboxes(record.get("rua", ""), MOST_MAILBOXES) if record else []

    def mail(self, domain: str, day: datetime.date, found: Found, mailbox: str) -> MIMEMultipart:
        """The mail to one of them (RFC 8460, 5.3)."""
        content = json.dumps(report(self.reporter, domain, day, found), indent=1).encode()
        made = MIMEMultipart("report", report_type="tlsrpt")
        made["TLS-Report-Domain"] = domain
        made["TLS-Report-Submitter"] = self.reporter.domain
        made["TLS-Required"] = "No"
        about = post.Report(domain, day, content, "json", "tlsrpt+gzip")
        text = TEXT.format(domain=domain, day=day, organization=self.reporter.host, contact=self.reporter.contact)
        return post.fill(made, about, self.reporter, mailbox, text)


def report(reporter: post.Reporter, domain: str, day: datetime.date, found: Found) -> dict[str, Any]:
    """A domain's report (RFC 8460, 4.4)."""
    return {
        "organization-name": reporter.organization,
        "date-range": {"start-datetime": f"{day}T00:00:00Z", "end-datetime": f"{day}T23:59:59Z"},
        "contact-info": reporter.contact,
        "report-id": reporter.report_id(domain, day),
        "policies": [_policy(domain, key, count) for key, count in found.items()],
    }


def _policy(domain: str, key: Key, count: Count) -> dict[str, Any]:
    kind, text, hosts = key
    policy: dict[str, Any] = {"policy-type": kind, "policy-domain": domain}
    policy |= {name: list(lines) for name, lines in (("policy-string", text), ("mx-host", hosts)) if lines}
    told: dict[str, Any] = {
        "policy": policy,
        "summary": {
            "total-successful-session-count": count.successes,
            "total-failure-session-count": count.failures.total(),
        },
    }
    if count.failures:
        told["failure-details"] = [_failure(failure, number) for failure, number in count.failures.most_common()]
    return told


def _failure(failure: Failure, number: int) -> dict[str, Any]:
    result, why, mx, to, by = failure
    optional = {
        "sending-mta-ip": by,
        "receiving-mx-hostname": mx,
        "receiving-ip": to,
        "failure-reason-code": why,
    }
    return {
        "result-type": result,
        **{name: value for name, value in optional.items() if value},
        "failed-session-count": number,
    }


def _word(entry: Mapping[str, Any], name: str) -> str:
    return str(entry.get(name, ""))


def _words(entry: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = entry.get(name)
    return tuple(map(str, found)) if isinstance(found, list) else ()


def send(config: Config, sent: Path, names: records.Names) -> int:
    """Send the reports of all finished days; returns how many must wait. sent: the folder of what was sent.

    Raises ConfigError, and OSError.
    """
    if not (config.tls_counts and config.contact and config.organization):
        raise ConfigError("tls_counts, contact and organization", "reports need all of them")
    reporter = post.Reporter(config.organization, config.contact, config.home, post.host_name(config.home))
    return daily.send_all(TlsReports(reporter, names), reporter, Days(Path(config.tls_counts)), Sent(sent))
