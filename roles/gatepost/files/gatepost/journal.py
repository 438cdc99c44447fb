"""One JSON line a delivery, beside qmail-send's own log."""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any

from gatepost.model import Account, Order

_RECEIVED = re.compile(rb"\AReceived: \(qmail (\d+) invoked ")
RESULTS = {"K": "success", "Z": "deferral", "D": "failure"}
TEXT_LIMIT = 1000
"""Characters of a reason."""


def line(order: Order, account: Account, told: bytes) -> str:
    """The line, without its end. msg: qmail-send's number of the message. qp: the process that queued it."""
    parts = [part.decode("utf-8", "replace") for part in told.rstrip(b"\0").split(b"\0")]
    record: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "msg": os.fstat(order.message).st_ino,
        "qp": _queued_by(order.message),
        "sender": order.sender,
        "recipients": list(order.recipients),
        "result": _result(parts),
        "refused": sum(part[:1] in ("h", "s") for part in parts[:-1]),
        "host": account.host,
        "server": account.server,
        "address": account.address,
        "family": account.family,
        "port": account.port,
        "tls": account.tls,
        "cipher": account.cipher,
        "verified": account.verified,
        "reused": account.is_reused,
        "signed": list(account.signed),
        "reply": account.reply,
        "text": " ".join(" ".join(part[1:] for part in parts).split())[:TEXT_LIMIT],
        "seconds": account.times,
    }
    return json.dumps(record, ensure_ascii=True)


def _result(parts: list[str]) -> str:
    """What becomes of a message by its report's parts: one that all recipients' servers put off is not given up."""
    *recipients, message = parts
    letters = {part[:1] for part in recipients}
    if message[:1] == "D" and "s" in letters and "r" not in letters:
        return "deferral"
    return RESULTS.get(message[:1], "deferral")


def add(path: str, text: str) -> None:
    """Add a line to a file, which may have been replaced since the last one. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        os.write(fd, text.encode("ascii") + b"\n")
    finally:
        os.close(fd)


def _queued_by(fd: int) -> int | None:
    found = _RECEIVED.match(os.pread(fd, 200, 0))
    return int(found[1]) if found else None
