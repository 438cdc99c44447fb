"""What a notice looks like: a complete message of the messages that one address is to hear of."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import Literal

from gatescan.config import Config
from gatescan.outcome.texts import Texts, language_of
from gatescan.text import printable

Kind = Literal["notice-admin", "notice-recipient"]
"""The template."""
LINES_BOUND = 200
"""Messages that one notice lists; their full number stands above them."""


@dataclass(frozen=True, slots=True)
class Event:
    """One stopped message, and who is still to hear of it.

    admin: the administrator has not heard yet. recipients: the local ones that have not.
    """

    time: float
    held: str
    verdict: str
    reason: str
    from_: str
    subject: str
    direction: str
    action: str
    recipient_count: int = 0
    admin: bool = False
    recipients: tuple[str, ...] = ()


def compose(config: Config, address: str, events: list[Event], now: float, kind: Kind) -> bytes:
    """The notice for one address: complete header, UTF-8 text. docs/scanner.md lists what a template may say."""
    texts = Texts(config, language_of(config, address))
    shown = events[:LINES_BOUND]
    listed = "\n".join(_about(texts, event, kind == "notice-admin") for event in shown)
    if len(events) > len(shown):
        listed += "\n" + texts.word("more", count=len(events) - len(shown))
    values = {
        "hostname": config.hostname,
        "admin": config.notices.admin,
        "sender_name": config.notices.sender_name,
        "count": str(len(events)),
        "messages": texts.messages(len(events)),
        "list": listed,
    }
    subject, _, text = texts.template(kind).safe_substitute(values).partition("\n")
    header = _header(config, address, subject.removeprefix("Subject:").strip(), now)
    return (header + text.lstrip("\n")).encode("utf-8", "backslashreplace")


def _header(config: Config, address: str, subject: str, now: float) -> str:
    stamp = f"{now:.6f}.{os.urandom(6).hex()}"
    return (
        f"Date: {formatdate(now, localtime=True)}\n"
        f"From: {_header_text(config.notices.sender_name)} <{_header_safe(_qualified(config, config.notices.admin))}>\n"
        f"To: {_header_safe(_qualified(config, address))}\n"
        f"Subject: {_header_text(subject)}\n"
        f"Message-ID: <{stamp}@{config.hostname}>\n"
        "Auto-Submitted: auto-generated\n"
        "Precedence: bulk\n"
        "X-Gatescan-Notice: 1\n"
        "MIME-Version: 1.0\n"
        "Content-Type: text/plain; charset=utf-8\n"
        "Content-Transfer-Encoding: 8bit\n\n"
    )


def _about(texts: Texts, event: Event, admin: bool) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(event.time))
    fields = {
        "from": printable(event.from_),
        "subject": printable(event.subject),
        "reason": f"{texts.word(event.verdict)}: {printable(event.reason, 200)}",
    }
    lines = [
        f"  {when}  {event.held or '(' + texts.word('not-held', action=event.action) + ')'}",
        *texts.fields(fields),
    ]
    if admin:
        # Never who they are: some of them may be a Bcc's. `gatescan quarantine show` has them all.
        count = texts.word("to", count=event.recipient_count)
        lines.append(f"    {texts.word(event.direction)}, {count}, {event.action}")
    return "\n".join(lines) + "\n"


def _qualified(config: Config, address: str) -> str:
    return address if "@" in address else f"{address}@{config.hostname}"


def _header_text(text: str) -> str:
    """Text for a header field: on one line, and in encoded words (RFC 2047) where it isn't ASCII."""
    shown = printable(text, 1003)
    if shown.isascii():
        return shown
    from email.header import Header  # only the notifier needs it, not the workers

    return Header(shown, "utf-8", maxlinelen=70).encode(linesep="\n")


def _header_safe(address: str) -> str:
    return printable(address, 1003)
