"""qmail-remote's report: a part for each recipient, one for the message, each ended by a NUL.

The parts' first letters are qmail-remote(8)'s: r, h, s for a recipient; K, Z, D for the message.
"""

from __future__ import annotations

from gatepost.reply import Reply

SHOWN = 5000
"""Bytes of a server's reply that are shown."""
LIMIT = 100_000
"""Bytes of a report, which must fit into one packet."""


def said(reply: Reply | None) -> str:
    """`Remote host said: ...`, as far as a bounce and a log can show it; empty without a reply."""
    if reply is None or not reply.text:
        return ""
    shown = reply.text[:SHOWN]
    text = "".join(_shown(c) for c in shown.decode("latin-1"))
    is_ended = shown.endswith(b"\n") and len(reply.text) <= SHOWN
    return f"Remote host said: {text}" + ("" if is_ended else "\n")


def _shown(c: str) -> str:
    return "?" if (c < " " and c not in "\n\t") or c == "\x7f" else c


def part(letter: str, text: str = "") -> bytes:
    """One part of a report. The text is what `said` and this program's own sentences are made of: latin-1."""
    return (letter + text.replace("\0", "?")).encode("latin-1", "replace") + b"\0"


def whole(recipients: list[bytes], message: bytes) -> bytes:
    """The report, cut where it would not fit into a packet: texts of recipients go first."""
    report = b"".join(recipients) + message
    if len(report) <= LIMIT:
        return report
    return (
        b"".join(item[:1] + b"\0" for item in recipients)[: LIMIT // 2]
        + message[: LIMIT // 2 - 1].rstrip(b"\0")
        + b"\0"
    )
