"""SpamAssassin's daemon, over its socket (SPAMC/1.5): a score, and what is done from which score on."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gatescan.config import ACTIONS, ConfigError
from gatescan.engines.base import EngineError, Hit, Sample
from gatescan.engines.connection import Connection, check_address
from gatescan.engines.needs import Needs
from gatescan.model import Verdict
from gatescan.text import printable

ADVICE = "see `systemctl status spamd` and its journal; mail gets 4xx until it answers"

_STATUS = re.compile(r"SPAMD/\d+\.\d+ (\d+) (.*)")
_SPAM = re.compile(r"Spam: *(?:True|False|Yes|No) *; *(-?\d+(?:\.\d+)?) */ *(-?\d+(?:\.\d+)?) *", re.IGNORECASE)
_LENGTH = re.compile(r"Content-length: *(\d+) *", re.IGNORECASE)
_STRICTNESS = {action: rank for rank, action in enumerate(ACTIONS)}


@dataclass(frozen=True, slots=True)
class SpamdSettings:
    """Keys of an engine of type `spamd`.

    inbound, outbound: from which score on which action is taken; the strictest that is reached counts.
    """

    socket: str = "/run/spamd/spamd.sock"
    user: str = ""
    """Whose preferences; empty: those of spamd's own user."""
    max_bytes: int = 500_000
    """A larger message is judged by its first bytes: what comes after them is an attachment's."""
    inbound: dict[str, float] = field(default_factory=lambda: {"tag": 5.0, "quarantine": 10.0})
    outbound: dict[str, float] = field(default_factory=lambda: {"quarantine": 10.0})

    def check(self, where: str) -> None:
        """ConfigError for what cannot work."""
        check_address(self.socket, f"{where}.socket")
        if not re.fullmatch(r"[A-Za-z0-9._-]*", self.user):
            raise ConfigError(f"{where}.user", "letters, digits, dots and dashes")
        for direction, table in (("inbound", self.inbound), ("outbound", self.outbound)):
            for action in table:
                if action not in ACTIONS or action in ("accept", "tempfail"):
                    raise ConfigError(f"{where}.{direction}", f"{action} is nothing to do with spam")


class Spamd:
    """The adapter."""

    def __init__(self, name: str, timeout: float, settings: SpamdSettings) -> None:
        self.name = name
        self.timeout = timeout
        self.settings = settings

    def scan(self, sample: Sample, deadline: float) -> list[Hit]:
        length = min(len(sample.message), self.settings.max_bytes)
        with memoryview(sample.message) as message, message[:length] as head:
            score, symbols = self._ask(head, deadline)
        settings = self.settings
        action = action_for(score, settings.outbound if sample.context.direction == "outbound" else settings.inbound)
        if not action:
            return []
        return [Hit(f"score {score:g}: {symbols}", "", Verdict.POLICY, "spam", action)]

    def version(self, deadline: float) -> str:
        with Connection(self.settings.socket, deadline, ADVICE) as session:
            session.send(b"PING SPAMC/1.5\r\n\r\n")
            answer = session.read_to_end().decode("utf-8", "replace").strip()
        if not re.fullmatch(r"SPAMD/\d+\.\d+ 0 PONG", answer):
            raise EngineError(f"does not answer PING: {printable(answer)!r}", ADVICE)
        return answer.split()[0]

    def signature_date(self, deadline: float) -> float | None:
        del deadline
        return None  # its rules do not age as signatures do

    @property
    def needs(self) -> Needs:
        return Needs.at(self.settings.socket)

    def _ask(self, message: memoryview, deadline: float) -> tuple[float, str]:
        head = f"SYMBOLS SPAMC/1.5\r\nContent-length: {len(message)}\r\n"
        if self.settings.user:
            head += f"User: {self.settings.user}\r\n"
        with Connection(self.settings.socket, deadline, ADVICE) as session:
            session.send(head.encode("ascii") + b"\r\n")
            session.send(message)
            session.end_sending()
            return read_answer(session.read_to_end())


def read_answer(answer: bytes) -> tuple[float, str]:
    """Score and symbols of spamd's answer; EngineError unless it is whole and understood."""
    head, blank, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("utf-8", "replace").split("\r\n")
    status = _STATUS.fullmatch(lines[0])
    if status is None:
        raise EngineError(f"answered what is no answer: {printable(lines[0])!r}", ADVICE)
    if int(status[1]) != os.EX_OK:
        raise EngineError(f"failed: {printable(status[2])} ({status[1]})", ADVICE)
    score = next((found for line in lines if (found := _SPAM.fullmatch(line))), None)
    length = next((found for line in lines if (found := _LENGTH.fullmatch(line))), None)
    if not blank or score is None or (length and len(body) < int(length[1])):
        raise EngineError("ended in the middle of its answer", ADVICE)
    return float(score[1]), printable(body.decode("utf-8", "replace").strip(), 200)


def action_for(score: float, table: Mapping[str, float]) -> str:
    """The strictest action whose score is reached; empty if none is."""
    reached = [action for action, needed in table.items() if score >= needed]
    return max(reached, key=_STRICTNESS.__getitem__, default="")
