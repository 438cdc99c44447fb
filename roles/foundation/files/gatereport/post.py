"""The mail of a report, and its way into qmail's queue, to be signed and delivered as all mail of this host is."""

from __future__ import annotations

import datetime
import gzip
import hashlib
import socket
import subprocess
from dataclasses import dataclass
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import formataddr, formatdate
from pathlib import Path

SECONDS = 60.0
"""Patience with qmail-inject."""
DAY = 86_400
"""Seconds of a day."""


class NotPosted(Exception):
    """qmail has not taken a mail."""


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports. contact: the address that reports are from, and to which questions about them go.

    home: qmail's folder. host: this host's name, which tells the reports of a fleet apart.
    """

    organization: str
    contact: str
    home: Path
    host: str

    @property
    def domain(self) -> str:
        """The domain that reports are from."""
        return self.contact.rpartition("@")[2].lower()

    def report_id(self, domain: str, day: datetime.date) -> str:
        """A report's name. Sent again it has the same one, so that its reader can tell."""
        digest = hashlib.sha256(f"{domain} {day} {self.host}".encode()).hexdigest()
        return f"{day:%Y%m%d}.{digest[:16]}@{self.host}"

    def post(self, mail: MIMEMultipart, mailbox: str) -> None:
        """Hand a mail to qmail; raises NotPosted."""
        command = [str(self.home / "bin/qmail-inject"), "-a", "-f", self.contact, mailbox]
        try:
            done = subprocess.run(command, input=mail.as_bytes(), capture_output=True, timeout=SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotPosted(str(error)) from error
        if done.returncode:
            raise NotPosted(f"qmail-inject: {done.stderr.decode('utf-8', 'replace').strip()[:300]}")


def host_name(home: Path) -> str:
    """This host's name, as qmail has it."""
    try:
        name = (home / "control/me").read_text(encoding="ascii").split("\n", 1)[0].strip()
    except (OSError, UnicodeError):
        name = ""
    return name or socket.gethostname()


@dataclass(frozen=True, slots=True)
class Report:
    """A report about a domain. suffix: of its file before `.gz`; mime: its kind below application/."""

    domain: str
    day: datetime.date
    content: bytes
    suffix: str
    mime: str


def first_second(day: datetime.date) -> int:
    """The beginning of a UTC day, in seconds since 1970."""
    return int(datetime.datetime.combine(day, datetime.time(), datetime.UTC).timestamp())


def file_name(report: Report, reporter: Reporter) -> str:
    """`submitter!domain!begin!end!id.SUFFIX.gz`, with the first and the last second of the day."""
    begin = first_second(report.day)
    name = reporter.report_id(report.domain, report.day).partition("@")[0]
    return f"{reporter.domain}!{report.domain}!{begin}!{begin + DAY - 1}!{name}.{report.suffix}.gz"


def fill(made: MIMEMultipart, report: Report, reporter: Reporter, mailbox: str, text: str) -> MIMEMultipart:
    """Make a report to one mailbox of an empty mail. text: for people."""
    name = reporter.report_id(report.domain, report.day)
    copy = hashlib.sha256(mailbox.encode()).hexdigest()[:8]
    made["Date"] = formatdate()
    made["From"] = formataddr((reporter.organization, reporter.contact))
    made["To"] = mailbox
    made["Subject"] = f"Report Domain: {report.domain} Submitter: {reporter.domain} Report-ID: <{name}>"
    made["Message-ID"] = f"<{copy}.{name}>"
    made["Auto-Submitted"] = "auto-generated"
    made.attach(MIMEText(text, "plain", "us-ascii"))
    attached = MIMEApplication(gzip.compress(report.content, mtime=0), report.mime)
    attached.add_header("Content-Disposition", "attachment", filename=file_name(report, reporter))
    made.attach(attached)
    return made
