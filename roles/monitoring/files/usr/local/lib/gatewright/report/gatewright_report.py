#!/usr/bin/python3
"""How this gateway is, and what was judged and delivered: the console's overview, mailed to an administrator.

Beside this program stand the console's own modules and templates, and what looks at a gateway for it, as the controller
has them. Managed by Gatewright.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import localtime, make_msgid
from pathlib import Path

from on_gateway.frame import Refusal
from on_gateway.status import look
from on_gateway.trace import search

from gatewright.console.overview import Overview, overview, questions
from gatewright.console.report import html_report, plain_report
from gatewright.fleet.ask import Answers

SECONDS = 60
"""Patience with qmail-inject."""
LINES = EmailPolicy(cte_type="7bit", max_line_length=78)
"""qmail takes lines that end with LF, and other servers no more than 7 bits for sure."""


def told_of(root: Path, name: str, days: int, now: float) -> Overview:
    """Look at this gateway; Refusal if it is none."""
    figures = search.parse(dict(questions(days, now)[1].request))
    state = Answers({name: look({}, root)})
    return overview(days, state, Answers({name: search.carry_out(figures, root)}), now)


def mail_of(told: Overview, name: str, recipient: str) -> EmailMessage:
    """The mail: plain text for whoever reads no HTML."""
    span = "the last day" if told.days == 1 else f"the last {told.days} days"
    mail = EmailMessage(policy=LINES)
    mail["Date"] = localtime()
    mail["From"] = Address(f"Mail gateway {name}", "postmaster", name)
    mail["To"] = recipient
    mail["Subject"] = f"{name}: {span}, {told.judged} messages, {told.stopped} stopped"
    mail["Message-ID"] = make_msgid("report", name)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(plain_report(told))
    mail.add_alternative(html_report(told), subtype="html")
    return mail


def send(mail: EmailMessage, home: Path, recipient: str) -> None:
    """Hand it to qmail, as nobody's, so that it never comes back; OSError or subprocess.SubprocessError."""
    command = [str(home / "bin/qmail-inject"), "-a", "-f", "", recipient]
    subprocess.run(command, input=mail.as_bytes(), timeout=SECONDS, check=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipient", help="whose mailbox it goes to")
    parser.add_argument("--days", type=int, choices=(1, 7, 30), default=7, help="how far it looks back")
    parser.add_argument("--root", type=Path, default=Path("/"), help="folder that stands for /")
    options = parser.parse_args()
    home: Path = options.root / "var/qmail"
    try:
        name = (home / "control/me").read_text(encoding="ascii").strip()
        told = told_of(options.root, name, options.days, time.time())
        send(mail_of(told, name, options.recipient), home, options.recipient)
    except (OSError, UnicodeError, Refusal, subprocess.SubprocessError) as error:
        print(f"no report: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
