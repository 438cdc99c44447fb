"""The journal: what was done with each message, for people, programs and scripts from 2003.

quarantine.log    one TAB line for each held or refused message, in qmail-scanner's order: RFC 822 date,
                  sender, recipients, subject, name of the virus or policy, engine versions
messages.jsonl    one JSON object for each message, also the clean ones

Each line is one write to a file opened for appending, so the workers' lines never mix. Nothing is synced: the
journal is not what keeps mail safe. A file that was moved away by log rotation is opened anew.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from email.utils import formatdate
from pathlib import Path

from gatescan.config import JournalConfig
from gatescan.context import Context
from gatescan.judging.judge import MessageReport
from gatescan.model import Finding
from gatescan.outcome.policy import Decision
from gatescan.text import printable

log = logging.getLogger("gatescan.journal")

LOOK_EVERY = 1.0
"""Seconds between two looks at whether a log file was rotated."""
FINDINGS_BOUND = 20
RECIPIENTS_BOUND = 100
"""Findings and recipients that one JSON line names; their full number stands beside them."""

_encode = json.JSONEncoder(separators=(",", ":")).encode


class LogFile:
    """A file that lines are appended to, with one system call each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1
        self._looked = 0.0

    def write(self, line: bytes) -> None:
        """Append one line. A journal that cannot be written is reported, and mail goes on."""
        try:
            os.write(self._open(), line)
        except OSError as error:
            log.error("cannot write %s: %s", self.path, error.strerror)

    def _open(self) -> int:
        now = time.monotonic()
        if self._fd >= 0 and now - self._looked < LOOK_EVERY:
            return self._fd
        self._looked = now
        if self._fd >= 0 and not self._rotated():
            return self._fd
        self.close()
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        with contextlib.suppress(PermissionError):  # a file that another user has made
            os.fchmod(self._fd, 0o640)  # for the group adm, whatever our umask
        return self._fd

    def _rotated(self) -> bool:
        try:
            there, here = os.stat(self.path), os.fstat(self._fd)
        except FileNotFoundError:
            return True
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Journal:
    """Both logs. One for each worker."""

    def __init__(self, config: JournalConfig, versions: str = "") -> None:
        self.versions = versions
        self._messages = LogFile(config.json_log)
        self._quarantine = LogFile(config.quarantine_log)

    def message(
        self,
        report: MessageReport,
        decision: Decision,
        context: Context,
        seconds: float,
        pid: int = 0,
        held: str = "",
    ) -> None:
        """Write down what was done with one message; `held` is its id in quarantine, `pid` qmail's qp."""
        now = time.time()
        line = {"time": round(now, 3), **_judgement(report, decision, context), "seconds": round(seconds, 5), "qp": pid}
        line |= _further(report)
        if held:
            line["held"] = held
        self._messages.write(_encode(line).encode("ascii") + b"\n")
        if decision.finding is not None:
            self._quarantine.write(self._old_line(report, decision.finding, context, now))

    def event(self, what: str, **fields: object) -> None:
        """Write down something that is no message's judgement, such as a release."""
        line = {"time": round(time.time(), 3), "event": what, **fields}
        self._messages.write(_encode(line).encode("ascii") + b"\n")

    def _old_line(self, report: MessageReport, finding: Finding, context: Context, now: float) -> bytes:
        fields = (
            formatdate(now, localtime=True),
            _clean(context.sender),
            ",".join(_clean(address) for address in context.recipients[:RECIPIENTS_BOUND]),
            printable(report.subject, 200),
            name_of(finding),
            self.versions,
        )
        return "\t".join(fields).encode("utf-8", "backslashreplace") + b"\n"

    def close(self) -> None:
        """Close both files."""
        self._messages.close()
        self._quarantine.close()


def finding_json(finding: Finding) -> dict[str, str]:
    """A finding as the journal and `gatescan check` print it; fields that are empty are left out."""
    fields = {
        "verdict": finding.verdict.value,
        "code": finding.code,
        "detail": printable(finding.detail, 300),
        "part": printable(finding.part, 200),
        "source": finding.source,
    }
    return {key: value for key, value in fields.items() if value}


def name_of(finding: Finding) -> str:
    """What old scripts take for the virus's name: one line, no TAB."""
    return f"{finding.verdict.value}:{finding.code}: {printable(finding.detail, 200)}"


def _clean(address: str) -> str:
    return address if address.isascii() and address.isprintable() else printable(address, 1003)


def _judgement(report: MessageReport, decision: Decision, context: Context) -> dict[str, object]:
    """What every message's line has."""
    return {
        "verdict": report.verdict.value,
        "action": decision.action,
        "code": decision.code,
        "direction": context.direction,
        "ip": context.remote_ip,
        "tls": printable(context.tls, 100),
        "from": _clean(context.sender),
        "to": [_clean(address) for address in context.recipients[:RECIPIENTS_BOUND]],
        "recipients": len(context.recipients),
        "subject": printable(report.subject, 200),
        "message_id": printable(report.message_id, 200),
        "size": report.size,
        "parts": len(report.parts),
    }


def _further(report: MessageReport) -> dict[str, object]:
    """What it has if there is any."""
    line: dict[str, object] = {}
    if findings := report.findings:
        line["findings"] = [finding_json(finding) for finding in findings[:FINDINGS_BOUND]]
        line["findings_total"] = len(findings)
    if report.authentication:
        line["authentication"] = list(report.authentication.results)
    return line
