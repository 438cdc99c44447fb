"""The scanner's journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from ..matching import fits, needle
from .asked import Request
from .logs import MARGIN, line_time, lines_with, parsed
from .mail import DROP, Mail, number


class Scanner:
    """Messages that the scanner wrote down and that fit, the newest `most` of them, with what was done to held ones."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.mails: deque[Mail] = deque(maxlen=request.most)
        self.count = 0
        self.drops: list[dict[str, Any]] = []
        self._by_held: dict[str, Mail] = {}
        texts = [request.to, request.sender or "", request.subject, request.message_id.strip("<>")]
        texts.append("" if request.qps else request.id)
        texts.append(request.ip if "." in request.ip and "/" not in request.ip else "")
        self._needles = sorted((found for text in texts if (found := needle(text))), key=len, reverse=True)

    def read(self, blocks: Iterator[bytes]) -> None:
        """Read the log. A message's line stands before those of what was done with it."""
        earliest = self.request.since - MARGIN
        for block in blocks:
            for line in lines_with(block, self._needles) if self._needles else block.split(b"\n"):
                if not 0 < line_time(line) < earliest and b'"event":' not in line:
                    self._message(parsed(line))
            for line in lines_with(block, [b'"event":']):
                self._event(parsed(line))

    def _message(self, line: dict[str, Any]) -> None:
        if not (line and self._fits(line)):
            return
        self.count += self.request.is_within(number(line.get("time")))
        if len(self.mails) == self.mails.maxlen:
            self._by_held.pop(str(self.mails[0].scan.get("held", "")), None)
        mail = Mail(number(line.get("time")), str(line.get("from", "")), line, qp=int(number(line.get("qp"))))
        self.mails.append(mail)
        if line.get("held"):
            self._by_held[str(line["held"])] = mail

    def _event(self, line: dict[str, Any]) -> None:
        if line.get("event") == DROP:
            self.drops.append(line)
        elif isinstance(line.get("event"), str) and (mail := self._by_held.get(str(line.get("held", "")))):
            mail.events.append(line)

    def _fits(self, line: dict[str, Any]) -> bool:
        """Whether a message is asked for; whoever stands behind the recipients that are named may be."""
        request = self.request
        named = line.get("to") if isinstance(line.get("to"), list) else []
        return (
            request.since - MARGIN <= number(line.get("time")) < request.before
            and (
                request.fits_to([str(name) for name in named or []])
                or number(line.get("recipients")) > len(named or [])
            )
            and request.fits_sender(str(line.get("from", "")))
            and (not request.subject or fits(request.subject, str(line.get("subject", ""))))
            and (not request.message_id or same_id(request.message_id, str(line.get("message_id", ""))))
            and request.fits_ip(str(line.get("ip", "")))
            and (not request.id or self._fits_id(line))
        )

    def _fits_id(self, line: dict[str, Any]) -> bool:
        held, wanted = str(line.get("held", "")), self.request.id
        return (
            line.get("qp") in self.request.qps
            or str(line.get("qp", "")) == wanted
            or bool(held and (held.startswith(wanted) or held.endswith(wanted)))
        )


def same_id(wanted: str, found: str) -> bool:
    """Whether a Message-ID is the one, with or without its brackets."""
    return fits(wanted.strip("<> "), found.strip("<> "))
