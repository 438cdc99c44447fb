"""Logs of a gateway with messages of known fates, line for line as its programs write them."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

TAI = 4_611_686_018_427_387_914
OUTSIDE = "192.0.2.7"


def label(moment: float) -> str:
    """A TAI64N label, as multilog writes it."""
    return f"@{TAI + int(moment):016x}{round(moment % 1 * 1e9):08x}"


@dataclass
class Gateway:
    """One gateway's logs, kept in memory until they are written below a root."""

    begin: float = field(default_factory=lambda: time.time() - 3600)
    send: list[tuple[float, str]] = field(default_factory=list)
    smtpd: list[tuple[float, str]] = field(default_factory=list)
    keeper: list[tuple[float, str]] = field(default_factory=list)
    scanner: list[tuple[float, str]] = field(default_factory=list)
    gatepost: list[tuple[float, str]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: count(1_310_700))
    pids: Iterator[int] = field(default_factory=lambda: count(4_000))
    deliveries: Iterator[int] = field(default_factory=lambda: count(1))

    def judged(self, at: float, to: list[str], action: str = "accept", **more: Any) -> int:
        """The scanner's line of a message; its qp."""
        qp = next(self.pids)
        line = {
            "time": round(self.begin + at, 3),
            "verdict": "clean" if action == "accept" else "policy",
            "action": action,
            "code": {"accept": 0, "quarantine": 0, "tempfail": 71}.get(action, 31),
            "direction": "inbound",
            "ip": OUTSIDE,
            "tls": "TLSv1.3: TLS_AES_256_GCM_SHA384",
            "from": "bob@example.net",
            "to": to,
            "recipients": len(to),
            "subject": "offer",
            "message_id": f"<{qp}@example.net>",
            "size": 1000,
            "parts": 1,
            "seconds": 0.00123,
            "qp": qp,
        }
        self._json(self.scanner, at, line | more)
        return qp

    def event(self, at: float, what: str, **fields: Any) -> None:
        """What was done with a held message."""
        self._json(self.scanner, at, {"time": round(self.begin + at, 3), "event": what, **fields})

    def queued(self, at: float, qp: int, sender: str = "bob@example.net", size: int = 1208) -> int:
        """A message comes into the queue; its number."""
        number = next(self.numbers)
        self._send(at, f"new msg {number}")
        self._send(at, f"info msg {number}: bytes {size} from <{sender}> qp {qp} uid 64011")
        return number

    def tried(self, at: float, number: int, to: str, result: str, text: str, is_told: bool = True, qp: int = 0) -> None:
        """A delivery of half a second, in gatepost's log too."""
        delivery = next(self.deliveries)
        self._send(at, f"starting delivery {delivery}: msg {number} to remote {to}")
        self._send(at, "status: local 0/10 remote 1/60")
        self._send(at + 0.5, f"delivery {delivery}: {result}: {text}")
        self._send(at + 0.5, "status: local 0/10 remote 0/60")
        if is_told:
            line = {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.begin + at + 0.5)),
                "msg": number,
                "qp": qp,
                "sender": "bob@example.net",
                "recipients": [to],
                "result": result,
                "refused": 0,
                "host": "mail.corp.test",
                "server": "mail.corp.test",
                "address": "198.51.100.9",
                "port": 25,
                "tls": "TLSv1.3",
                "cipher": "TLS_AES_256_GCM_SHA384",
                "verified": "certificate",
                "reply": "250 2.0.0 ok",
                "text": text,
                "seconds": {"connect": 0.01},
            }
            self.gatepost.append((self.begin + at + 0.5, json.dumps(line)))

    def bounced(self, at: float, number: int) -> int:
        """A bounce is made; the process that queued it."""
        qp = next(self.pids)
        self._send(at, f"bounce msg {number} qp {qp}")
        return qp

    def done(self, at: float, number: int) -> None:
        """A message leaves the queue."""
        self._send(at, f"end msg {number}")

    def session(self, at: float, ip: str = OUTSIDE, *said: str, seconds: float = 2) -> int:
        """A connection; `said` are lines of what tcpserver runs, PID and IP filled in."""
        pid = next(self.pids)
        self._smtpd(at, f"tcpserver: status: {1}/60")
        self._smtpd(at, f"tcpserver: pid {pid} from {ip}")
        self._smtpd(at, f"tcpserver: ok {pid} gw1.example.org:192.0.2.1:25 :{ip}::40123")
        for line in said:
            self._smtpd(at, line.replace("PID", str(pid)).replace("IP", ip))
        self._smtpd(at + seconds, f"tcpserver: end {pid} status 0")
        return pid

    def refused(self, at: float, line: str) -> None:
        """A line of gatekeeper's."""
        self.keeper.append((self.begin + at, f"gatekeeper[77]: INFO {line}"))

    def write(self, root: Path, is_rotated: bool = False) -> Path:
        """Write all of it; rotated: the older half in other files, those of JSON compressed."""
        logs = root / "var/log"
        multilog(logs / "qmail", self.send, is_rotated)
        multilog(logs / "qmail/smtpd", self.smtpd, is_rotated)
        multilog(logs / "gatekeeper/daemon", self.keeper, is_rotated)
        lines_file(logs / "gatescan/messages.jsonl", self.scanner, is_rotated)
        lines_file(logs / "gatepost/deliveries.jsonl", self.gatepost, is_rotated)
        return root

    def _json(self, log: list[tuple[float, str]], at: float, line: dict[str, Any]) -> None:
        log.append((self.begin + at, json.dumps(line, separators=(",", ":"))))

    def _send(self, at: float, text: str) -> None:
        self.send.append((self.begin + at, text))

    def _smtpd(self, at: float, text: str) -> None:
        self.smtpd.append((self.begin + at, text))


def multilog(directory: Path, lines: list[tuple[float, str]], is_rotated: bool) -> None:
    """A directory of multilog's."""
    directory.mkdir(parents=True, exist_ok=True)
    ordered = sorted(lines, key=lambda line: line[0])
    half = len(ordered) // 2 if is_rotated else 0
    if half:
        old = directory / f"{label(ordered[half - 1][0])}.s"
        old.write_text("".join(f"{label(moment)} {text}\n" for moment, text in ordered[:half]))
    (directory / "current").write_text("".join(f"{label(moment)} {text}\n" for moment, text in ordered[half:]))


def lines_file(path: Path, lines: list[tuple[float, str]], is_rotated: bool) -> None:
    """A log that logrotate turns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = sorted(lines, key=lambda line: line[0])
    half = len(ordered) // 2 if is_rotated else 0
    if half:
        old = "".join(f"{text}\n" for _, text in ordered[:half])
        path.with_name(f"{path.name}.2.gz").write_bytes(gzip.compress(old.encode()))
    path.write_text("".join(f"{text}\n" for _, text in ordered[half:]))
