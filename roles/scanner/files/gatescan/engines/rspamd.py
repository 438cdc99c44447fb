"""rspamd, over HTTP on its worker's socket (/checkv2): it says what it would do, and the site what is done then."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gatescan.config import ACTIONS, ConfigError
from gatescan.context import Context
from gatescan.engines.base import EngineError, Hit, Sample
from gatescan.engines.connection import Connection, check_address
from gatescan.engines.needs import Needs
from gatescan.model import Verdict
from gatescan.text import printable

ADVICE = "see `systemctl status rspamd` and its journal; mail gets 4xx until it answers"
LATER = ("soft reject", "greylist")
"""Its words for: try again. They are no finding: the message gets 4xx."""
KNOWN = ("no action", "add header", "rewrite subject", "reject")
"""Its other words, of which those count that the site has an action for."""
SYMBOLS = 12
"""Symbols that a finding names, the weightiest."""
RECIPIENTS = 100
"""Recipients that it is told of."""

_STATUS = re.compile(r"HTTP/1\.[01] (\d{3}) ?(.*)")
_LENGTH = re.compile(r"Content-Length: *(\d+) *", re.IGNORECASE)
_VALUE = re.compile(r"[!-~]{1,320}")


@dataclass(frozen=True, slots=True)
class RspamdSettings:
    """Keys of an engine of type `rspamd`.

    inbound, outbound: what is done where rspamd says so; of its KNOWN words those that are not named are clean.
    """

    socket: str = "/run/rspamd/scanner/rspamd.sock"
    max_bytes: int = 2_000_000
    """A larger message is judged by its first bytes: what comes after them is an attachment's."""
    inbound: dict[str, str] = field(
        default_factory=lambda: {"add header": "tag", "rewrite subject": "tag", "reject": "quarantine"}
    )
    outbound: dict[str, str] = field(default_factory=lambda: {"reject": "quarantine"})

    def check(self, where: str) -> None:
        """ConfigError for what cannot work."""
        check_address(self.socket, f"{where}.socket")
        for direction, table in (("inbound", self.inbound), ("outbound", self.outbound)):
            for word, action in table.items():
                if word in LATER or word == "no action":
                    raise ConfigError(f"{where}.{direction}", f"{word!r} means the same always")
                if action not in ACTIONS or action in ("accept", "tempfail"):
                    raise ConfigError(f"{where}.{direction}", f"{action} is nothing to do with spam")


class Rspamd:
    """The adapter."""

    def __init__(self, name: str, timeout: float, settings: RspamdSettings) -> None:
        self.name = name
        self.timeout = timeout
        self.settings = settings

    def scan(self, sample: Sample, deadline: float) -> list[Hit]:
        length = min(len(sample.message), self.settings.max_bytes)
        with memoryview(sample.message) as message, message[:length] as head:
            said = self._ask(head, sample.context, deadline)
        table = self.settings.outbound if sample.context.direction == "outbound" else self.settings.inbound
        action = action_for(said, table)
        return [Hit(summary(said), "", Verdict.POLICY, "spam", action)] if action else []

    def version(self, deadline: float) -> str:
        with Connection(self.settings.socket, deadline, ADVICE) as session:
            session.send(b"GET /ping HTTP/1.0\r\n\r\n")
            head, body = read_answer(session.read_to_end())
        if body.strip() != b"pong":
            raise EngineError(f"does not answer a ping: {printable(body.decode('utf-8', 'replace'))!r}", ADVICE)
        found = re.search(r"^Server: *(\S+)", head, re.IGNORECASE | re.MULTILINE)
        return printable(found[1]) if found else "rspamd"

    def signature_date(self, deadline: float) -> float | None:
        del deadline
        return None  # its rules do not age as signatures do

    @property
    def needs(self) -> Needs:
        return Needs.at(self.settings.socket)

    def _ask(self, message: memoryview, context: Context, deadline: float) -> dict[str, Any]:
        lines = ["POST /checkv2 HTTP/1.0", f"Content-Length: {len(message)}", *headers(context), "", ""]
        with Connection(self.settings.socket, deadline, ADVICE) as session:
            session.send("\r\n".join(lines).encode("ascii"))
            session.send(message)
            return read_verdict(read_answer(session.read_to_end())[1])


def headers(context: Context) -> Iterator[str]:
    """What rspamd is told of the connection and the envelope; what cannot stand in a header is left out."""
    told = [("IP", context.remote_ip), ("From", context.sender)]
    told += [("Rcpt", address) for address in context.recipients[:RECIPIENTS]]
    if context.relayclient:
        told.append(("User", "relay-client"))
    return (f"{name}: {value}" for name, value in told if _VALUE.fullmatch(value))


def read_answer(answer: bytes) -> tuple[str, bytes]:
    """Header and body of an answer of HTTP; EngineError unless it is whole and says that all went well."""
    head, blank, body = answer.partition(b"\r\n\r\n")
    text = head.decode("utf-8", "replace").replace("\r\n", "\n")
    status, *fields = text.split("\n")
    found = _STATUS.fullmatch(status)
    if found is None:
        raise EngineError(f"answered what is no answer: {printable(status)!r}", ADVICE)
    if found[1] != "200":
        raise EngineError(f"failed: {printable(found[2])} ({found[1]})", ADVICE)
    length = next((match for line in fields if (match := _LENGTH.fullmatch(line))), None)
    if not blank or length is None or len(body) != int(length[1]):
        raise EngineError("ended in the middle of its answer", ADVICE)
    return text, body


def read_verdict(body: bytes) -> dict[str, Any]:
    """What it says of a message; EngineError unless that is understood."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    is_verdict = isinstance(said, dict) and isinstance(said.get("action"), str)
    if not is_verdict or not isinstance(said.get("score"), int | float):
        raise EngineError(f"answered what is no answer: {printable(body[:200].decode('utf-8', 'replace'))!r}", ADVICE)
    verdict: dict[str, Any] = said
    return verdict


def action_for(said: dict[str, Any], table: dict[str, str]) -> str:
    """The site's action for its word; empty if there is none. EngineError if it wants the message tried again."""
    word = said["action"]
    if word in LATER:
        raise EngineError(f"says {word}", "it wants the message later: see its settings", answered=True)
    if word not in table and word not in KNOWN:
        advice = "name that word in the engine's inbound and outbound"
        raise EngineError(f"says {printable(word)!r}", advice, answered=True)
    if word == "no action" and said.get("is_skipped"):
        raise EngineError("has not looked at it", "its settings skip such mail; no message passes so", answered=True)
    return table.get(word, "")


def summary(said: dict[str, Any]) -> str:
    """Its word, the score and the weightiest symbols, for people."""
    symbols = said.get("symbols")
    scores = {name: _score(item) for name, item in symbols.items()} if isinstance(symbols, dict) else {}
    names = sorted((name for name in scores if scores[name] > 0), key=lambda name: -scores[name])
    return printable(f"{said['action']}, score {said['score']:g}: {','.join(names[:SYMBOLS])}", 200)


def _score(symbol: object) -> float:
    score = symbol.get("score") if isinstance(symbol, dict) else None
    return float(score) if isinstance(score, int | float) else 0.0
