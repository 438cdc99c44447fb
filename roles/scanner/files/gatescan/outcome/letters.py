"""What a notice looks like: a complete message of the messages that one address is to hear of."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import Literal

from gatescan.config import Config
from gatescan.outcome.texts import Texts, language_of
from gatescan.outcome.tokens import mint
from gatescan.text import printable

Kind = Literal["notice-admin", "notice-recipient", "digest"]
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


def compose(config: Config, address: str, events: list[Event], now: float, kind: Kind, key: bytes = b"") -> bytes:
    """The notice for one address: complete header, UTF-8 text. docs/scanner.md lists what a template may say.

    key: the fleet's, where recipients may release by mail.
    """
    texts = Texts(config, language_of(config, address))
    shown = events[:LINES_BOUND]
    tokens = [_token(config, address, event, now, key if kind != "notice-admin" else b"") for event in shown]
    listed = "\n".join(
        _about(texts, event, kind == "notice-admin", token) for event, token in zip(shown, tokens, strict=True)
    )
    if len(events) > len(shown):
        listed += "\n" + texts.word("more", count=len(events) - len(shown))
    values = {
        "hostname": config.hostname,
        "admin": config.notices.admin,
        "sender_name": config.notices.sender_name,
        "count": str(len(events)),
        "messages": texts.messages(len(events)),
        "list": listed,
        "release": _how_to_release(config, texts, tokens),
    }
    subject, _, text = texts.template(kind).safe_substitute(values).partition("\n")
    reply_to = f"Reply-To: <{tokens[0]}>\n" if len(tokens) == 1 and tokens[0] else ""
    head = header(config, address, subject.removeprefix("Subject:").strip(), now, reply_to)
    return (head + text.lstrip("\n")).encode("utf-8", "backslashreplace")


def _token(config: Config, address: str, event: Event, now: float, key: bytes) -> str:
    """The address by which this recipient gets the message; nothing if he cannot."""
    too_late = now - event.time > config.release.days * 86_400
    if too_late or not key or not event.held or not is_releasable(config, event.verdict):
        return ""
    return mint(key, "recipient", config.hostname, event.held, address).address


def _how_to_release(config: Config, texts: Texts, tokens: list[str]) -> str:
    if not any(tokens):
        return ""
    name = "reply" if len(tokens) == 1 else "reply-many"
    return texts.word(name, days=f"{config.release.days:g}") + "\n\n"


def is_releasable(config: Config, verdict: str) -> bool:
    """Whether a message with this verdict may be released by mail."""
    return config.release.enabled and verdict in config.release.verdicts


def header(config: Config, address: str, subject: str, now: float, more: str = "") -> str:
    """The header of a mail of ours, with the empty line behind it. more: further fields, whole."""
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
        f"{more}"
        "MIME-Version: 1.0\n"
        "Content-Type: text/plain; charset=utf-8\n"
        "Content-Transfer-Encoding: 8bit\n\n"
    )


def _about(texts: Texts, event: Event, admin: bool, token: str) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(event.time))
    fields = {
        "from": printable(event.from_),
        "subject": printable(event.subject),
        "reason": f"{texts.word(event.verdict)}: {printable(event.reason, 200)}",
        **({"release": token} if token else {}),
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
