"""gatepost's log: by which host, address and TLS a delivery went."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from ..matching import safe
from .logs import parsed, written_time
from .mail import Attempt, Mail

_TOLD = re.compile(rb'"msg": (\d+), ')
LINK = ("host", "server", "address", "port", "tls", "cipher", "verified", "signed", "reply", "seconds")
"""What is taken of its lines."""


def add_links(mails: Collection[Mail], blocks: Iterator[bytes]) -> None:
    """Tell deliveries by which host, address and TLS they went."""
    attempts: dict[bytes, list[Attempt]] = {}
    for mail in mails:
        for one in (mail, mail.bounce):
            if one and one.attempts:
                attempts.setdefault(b"%d" % one.number, []).extend(one.attempts)
    for block in blocks:
        for told in _TOLD.finditer(block):
            if told[1] in attempts:
                start, end = block.rfind(b"\n", 0, told.start()) + 1, block.find(b"\n", told.end())
                _link(attempts[told[1]], parsed(block[start:end]))


def _link(attempts: list[Attempt], line: dict[str, Any]) -> None:
    time = written_time(str(line.get("time", "")))
    if not any(attempt.began - 2 <= time <= (attempt.ended or 1e12) + 2 for attempt in attempts):
        return
    to = {safe(str(address)).lower() for address in line.get("recipients") or []}
    near = [a for a in attempts if a.recipient.lower() in to and a.began - 2 <= time <= (a.ended or 1e12) + 2]
    if near:
        min(near, key=lambda a: abs(a.ended - time)).link = {name: line[name] for name in LINK if name in line}
