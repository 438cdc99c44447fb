"""What was refused before there was a message, by the logs of gatekeeper and of qmail-smtpd."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..matching import fits
from .asked import Request
from .logs import label_time

_KEEPER = re.compile(
    rb"(?m)^(@[0-9a-f]{24}) gatekeeper\[\d+\]: \w+ (?:"
    rb"(?P<unknown>refused unknown) client=(?P<c1>\S+) recipient=(?P<r1>\S*)(?: sender=(?P<s1>\S*))?"
    rb"|(?P<forged>refused sender) client=(?P<c0>\S+) sender=(?P<s0>\S*)"
    rb"|(?P<listed>refused listed) client=(?P<c2>\S+) lists=(?P<t2>\S*)"
    rb"|(?P<over>put off limit) client=(?P<c3>\S+) recipient=(?P<r3>\S*) sender=(?P<s3>\S*) (?P<t3>[^\n]*)"
    rb"|(?P<alert>ALERT limit) (?:client=(?P<c4>\S+)|sender=(?P<s4>\S+)): (?P<t4>[^\n]*)"
    rb"|(?P<closed>smtp-enum-users) client=(?P<c5>\S+) (?P<t5>[^\n]*)"
    rb"|recipient=(?P<r6>\S*) (?P<later>is put off): (?P<t6>[^\n]*))$"
)
_KEEPER_KINDS = {
    "unknown": ("refused", "unknown recipient"),
    "forged": ("refused", "client may not use this sender"),
    "listed": ("refused", "address is on a DNS list"),
    "over": ("put off", "over a limit"),
    "alert": ("put off", "over a limit"),
    "closed": ("put off", "too many unknown recipients"),
    "later": ("put off", "recipient could not be verified"),
}
_DOOR = re.compile(
    rb"(?m)^(@[0-9a-f]{24}) (?:"
    rb"slots: \d+ (?P<c1>\S+): (?P<slots>[^\n]*)"
    rb"|starttls: (?P<pid>\d+) (?P<tls>no handshake[^\n]*)"
    rb"|tcpserver: (?P<denied>deny) \d+ \S* (?P<c3>\S+)[^\n]*"
    rb"|rblsmtpd: (?P<c4>\S+) pid \d+: (?P<listed>[^\n]*))$"
)
_DOOR_KINDS = {
    "slots": ("put off", "connection turned away"),
    "tls": ("refused", "TLS failed"),
    "denied": ("refused", "address may not connect"),
    "listed": ("put off", "address is on a DNS list"),
}


class Door:
    """What was refused at the door, the same by the same client once with its count, the newest `most`."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.found: dict[tuple[str, ...], dict[str, Any]] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        self._pids: dict[bytes, dict[str, Any]] = {}

    def read_keeper(self, blocks: Iterator[bytes]) -> None:
        """Read gatekeeper's log."""
        for block in blocks:
            for match in _KEEPER.finditer(block):
                groups = {name: text.decode("latin-1") for name, text in match.groupdict().items() if text is not None}
                kind = next(name for name in _KEEPER_KINDS if name in groups)
                by_letter = {name[0]: text for name, text in groups.items() if len(name) == 2}
                self._add(match[1], kind, *_KEEPER_KINDS[kind], by_letter)

    def read_door(self, blocks: Iterator[bytes]) -> None:
        """Read the log of tcpserver and of what it runs."""
        before = b""
        for block in blocks:
            for match in _DOOR.finditer(block):
                kind = next(name for name in _DOOR_KINDS if match[name] is not None)
                client = match["c1"] or remote(match["c3"]) or match["c4"]
                client = client or peer(match["pid"], block[: match.start()], before)
                parts = {"c": plain_address(client), "t": match[kind].decode("latin-1") if kind != "denied" else ""}
                self._add(match[1], kind, *_DOOR_KINDS[kind], parts)
            if self.request.ip and not (self.request.to or self.request.sender is not None or self.request.id):
                self._count_sessions(block)
            before = block

    def _add(self, label: bytes, kind: str, fate: str, what: str, parts: dict[str, str]) -> None:
        time, request = label_time(label), self.request
        client, to, sender = parts.get("c", ""), parts.get("r", ""), parts.get("s")
        if not (request.is_within(time) and request.fits_ip(client) and request.fits_to([to] if to else [])):
            return
        if request.sender is not None and (sender is None or not fits(request.sender, sender)):
            return
        record = {"kind": "refusal", "fate": fate, "what": what, "time": time, "last": time, "count": 1, "ip": client}
        record |= {"from": sender, "to": [to] if to else [], "text": parts.get("t", "")}
        known = self.found.pop((kind, client, to, sender or ""), None)
        if known:
            record |= {"time": known["time"], "count": known["count"] + 1}
        elif len(self.found) >= request.most:
            del self.found[next(iter(self.found))]
        self.found[kind, client, to, sender or ""] = record

    def _count_sessions(self, block: bytes) -> None:
        if not self._pids and is_exact(self.request.ip) and self.request.ip.encode() not in block:
            return
        for line in block.split(b"\n"):
            words = line.split(b" ")
            if len(words) > 5 and words[1:3] == [b"tcpserver:", b"pid"]:
                self._session(words[3], label_time(line), plain_address(words[5]))
            elif len(words) > 3 and words[1] == b"starttls:" and words[3].startswith(b"TLS") and words[2] in self._pids:
                version = words[3].rstrip(b":").decode("latin-1")
                kinds = self._pids[words[2]]["tls"]
                kinds[version] = kinds.get(version, 0) + 1
            elif len(words) > 3 and words[1:3] == [b"tcpserver:", b"end"]:
                self._pids.pop(words[3], None)

    def _session(self, pid: bytes, time: float, client: str) -> None:
        self._pids.pop(pid, None)
        if (
            not (self.request.is_within(time) and self.request.fits_ip(client))
            or len(self.sessions) > self.request.most
        ):
            return
        new = {"kind": "sessions", "fate": "connected", "time": time, "count": 0, "ip": client, "tls": {}}
        session = self.sessions.setdefault(client, new)
        session |= {"last": time, "count": session["count"] + 1}
        self._pids[pid] = session


def is_exact(ip: str) -> bool:
    """Whether an address is written in the only way there is for it."""
    return "." in ip and ":" not in ip and "/" not in ip


def peer(pid: bytes, block: bytes, before: bytes) -> bytes:
    """Who is at the other end of a session: the last tcpserver line of its process."""
    for text in (block, before):
        place = text.rfind(b" tcpserver: pid %s from " % pid)
        if place >= 0:
            return text[place:].split(b"\n", 1)[0].rsplit(b" ", 1)[1]
    return b""


def remote(text: bytes | None) -> bytes:
    """The address in tcpserver's NAME:ADDRESS:INFO:PORT of a client; NAME and INFO hold no colon."""
    return text.partition(b":")[2].rsplit(b":", 2)[0] if text else b""


def plain_address(text: bytes) -> str:
    """An address of tcpserver's: `::ffff:192.0.2.7` is IPv4."""
    word = text.decode("latin-1")
    return word.removeprefix("::ffff:") if "." in word else word
