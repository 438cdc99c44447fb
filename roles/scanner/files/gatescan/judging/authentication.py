"""Who a message from outside is from, as gatekeeper has told the queue client, and what speaks against it.

The client asks before it hands the message over, so that no worker waits for name servers. What gatekeeper said stands
among its variables: what speaks against the message, with commas (`-`: nothing), a blank, and the results as they stand
in Authentication-Results (RFC 8601), with semicolons. It is read strictly: an answer that is none counts as a message
that could not be looked at.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from gatescan.config import Config
from gatescan.context import Context
from gatescan.model import Buffer, Finding, Verdict

VARIABLE = "GATEKEEPER_AUTH"
HELD_FOR_POLICY = "dmarc-quarantine"
"""Code of what its domain wants held, not refused."""
HEADER_MOST = 1 << 20
"""Bytes of a header in which forged fields are looked for; the judge stops messages with a larger one."""

_RESULT = re.compile(r"(spf|dkim|arc|dmarc)=[a-z]{1,12}(?: [a-z]{1,10}\.[a-z]{1,10}=[a-z0-9._-]{1,253}){0,2}")
_NOT_FROM_THERE = "it is not from the domain that From names, which wants such mail"
_AGAINST = {
    "spoofed": (Verdict.SPOOFED, "own-domain", "it is written in the name of a domain of ours, and is not from there"),
    "reject": (Verdict.UNAUTHENTICATED, "dmarc-reject", f"{_NOT_FROM_THERE} refused"),
    "quarantine": (Verdict.UNAUTHENTICATED, HELD_FOR_POLICY, f"{_NOT_FROM_THERE} held"),
    "temperror": (Verdict.AUTH_TEMPERROR, "dns", "name servers do not say now who it is from"),
    "own-name": (Verdict.OWN_NAME, "display-name", "it bears a name of one of our people, and a foreign address"),
}
_BODY = re.compile(rb"\n\r?\n|\A\r?\n")
# Some readers end a line at a bare CR, and pass over blanks and folds before the colon.
_FIELD = re.compile(
    rb"(?<![^\r\n])authentication-results(?:[ \t]|\r?\n[ \t])*+:([^\r\n]*+(?:\r?\n[ \t][^\r\n]*+)*)(?:\r?\n|\r|\Z)",
    re.IGNORECASE,
)
_MARK = re.compile(rb"\\.|[()\";]", re.DOTALL)
_NOT_NAME = re.compile(rb"[^a-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Authentication:
    """What gatekeeper said of a message."""

    against: tuple[str, ...]
    results: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Authentication | None:
        """The answer; None: it is none."""
        head, _, tail = text.partition(" ")
        against = () if head == "-" else tuple(head.split(","))
        results = tuple(tail.split("; "))
        found = [_RESULT.fullmatch(item) for item in results]
        if not all(found) or not set(against) <= set(_AGAINST) or not {"spf", "dmarc"} <= {m[1] for m in found if m}:
            return None
        return cls(against, results)

    def findings(self) -> list[Finding]:
        """What speaks against the message."""
        shown = next(item for item in self.results if item.startswith("dmarc="))
        made = (_AGAINST[name] for name in self.against)
        return [Finding(verdict, code, f"{detail} ({shown})") for verdict, code, detail in made]

    def field(self, hostname: str) -> bytes:
        """The field that goes in front of the message."""
        return (f"Authentication-Results: {hostname};\n  " + ";\n  ".join(self.results) + "\n").encode("ascii")


def is_needed(context: Context, config: Config) -> bool:
    """Whether somebody must have said who a message is from: it came from outside."""
    return config.authentication and bool(context.remote_ip) and not context.relayclient


def of(context: Context, config: Config) -> Authentication | None:
    """What was said of a message; None: nobody was to be asked, or nothing that can be used was said."""
    return Authentication.parse(context.env.get(VARIABLE, "")) if is_needed(context, config) else None


def missing() -> Finding:
    """The reason to put off a message of which nothing was said."""
    return Finding(Verdict.ENGINE_ERROR, "authentication-missing", "gatekeeper has not said who it is from")


def texts(found: Authentication | None) -> list[str]:
    """What rules see: each result by itself, and with what it is about."""
    results = found.results if found else ()
    return list(dict.fromkeys(text for item in results for text in (item.partition(" ")[0], item)))


def cleaned(message: Buffer, ours: Collection[str]) -> tuple[bytes, int]:
    """A message's beginning without fields that forge results of our names, and how many of its bytes that stands for.

    Nothing, and 0, if there is none.
    """
    head = bytes(message[:HEADER_MOST])
    body = _BODY.search(head)
    head = head[: body.end()] if body else head
    pieces, position, names = [], 0, {name.lower().encode() for name in ours}
    for field in _FIELD.finditer(head):
        if not names.isdisjoint(_names(field[1])):
            pieces.append(head[position : field.start()])
            # behind a bare CR the line end is that of the field in which it hides
            position = field.end(1) if head[: field.start()].endswith(b"\r") else field.end()
    return b"".join(pieces), position


def _names(value: bytes) -> set[bytes]:
    """What may be the name before the first semicolon, its comments too; `gw\\.test` is gw.test in quotes."""
    words = _NOT_NAME.split(value[: _first_semicolon(value)].lower().replace(b"\\", b""))
    return {word.rstrip(b".") for word in words}


def _first_semicolon(value: bytes) -> int:
    """Where the first semicolon is that stands neither in a comment nor in quotes; the value's end if there is none."""
    depth, is_quoted = 0, False
    for mark in _MARK.finditer(value):
        if mark[0] == b'"':
            is_quoted ^= not depth
        elif mark[0] == b"(":
            depth += not is_quoted
        elif mark[0] == b")":
            depth -= bool(depth and not is_quoted)
        elif mark[0] == b";" and not depth and not is_quoted:
            return mark.start()
    return len(value)
