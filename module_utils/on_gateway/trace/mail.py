"""What is found: a message, its deliveries, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PASSED = ("accept", "tag")
"""The scanner's actions with which a message goes on."""


@dataclass(slots=True)
class Attempt:
    """One delivery: of qmail-send's log, and what gatepost says of it."""

    recipient: str
    channel: str
    began: float
    ended: float = 0.0
    result: str = ""
    text: str = ""
    link: dict[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As it is told."""
        told = {"recipient": self.recipient, "channel": self.channel, "began": self.began, "ended": self.ended}
        return told | {"result": self.result or "under way", "text": self.text} | self.link


@dataclass(slots=True)
class Mail:
    """A message: what the scanner wrote of it, and its life in qmail's queue."""

    time: float
    sender: str
    scan: dict[str, Any] = field(default_factory=dict)
    number: int = 0
    qp: int = 0
    queued: float = 0.0
    ended: float = 0.0
    size: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    bounce: Mail | None = None

    @property
    def recipients(self) -> list[str]:
        """All that are known, by the scanner or by deliveries."""
        listed = self.scan.get("to")
        known = [str(address) for address in listed] if isinstance(listed, list) else []
        return known or list(dict.fromkeys(attempt.recipient for attempt in self.attempts))

    @property
    def has_passed(self) -> bool:
        """Whether it went on to the queue."""
        return not self.scan or self.scan.get("action") in PASSED

    @property
    def last(self) -> dict[str, Attempt]:
        """Each recipient's last delivery."""
        return {attempt.recipient: attempt for attempt in self.attempts}

    def fate(self) -> str:
        """What became of it, in a word."""
        acted = [FATES_BY_EVENT[event["event"]] for event in self.events if event["event"] in FATES_BY_EVENT]
        if acted:
            return acted[-1]
        if not self.has_passed:
            return FATES_BY_ACTION.get(str(self.scan.get("action")), "unknown")
        return self._delivery()

    def _delivery(self) -> str:
        results = {attempt.result for attempt in self.last.values()}
        if "failure" in results or self.bounce:
            return "partly bounced" if "success" in results else "bounced"
        if "deferral" in results:
            return "deferred" if not self.ended else "partly dropped" if "success" in results else "dropped"
        if results == {"success"}:
            return "delivered" if self.ended or len(self.last) >= self.expected else "queued"
        if self.queued and not self.ended:
            return "queued"
        return "dropped" if any(event["event"] == DROP for event in self.events) else "unknown"

    @property
    def expected(self) -> int:
        """How many recipients it has, as far as is known."""
        return int(self.scan.get("recipients") or 1)

    def record(self) -> dict[str, Any]:
        """As it is told."""
        told = {"kind": "message", "fate": self.fate(), **self.scan, "time": self.time, "from": self.sender}
        told |= {"to": self.recipients, "qp": self.qp, "msg": self.number, "queued": self.queued, "ended": self.ended}
        told["size"] = self.scan.get("size") or self.size
        told["deliveries"] = [attempt.record() for attempt in self.attempts]
        if self.events:
            told |= {"events": self.events, "delivery": self._delivery() if self.attempts else ""}
        if self.bounce:
            told["bounce"] = self.bounce.record()
        return told


FATES_BY_EVENT = {"release": "released", "delete": "deleted", "expire": "expired"}
DROP = "queue-drop"
"""The event that `gw queue drop` writes into the journal."""
FATES_BY_ACTION = {
    "quarantine": "held",
    "quarantine+reject": "rejected",
    "reject": "rejected",
    "tempfail": "put off",
    "asked": "a reply to a notice",
}


def number(value: Any) -> float:
    """A number of a log, or 0: also for one that no clock, size or process has."""
    return float(value) if isinstance(value, int | float) and abs(value) < 1e15 else 0.0
