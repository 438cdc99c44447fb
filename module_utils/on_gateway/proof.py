"""Whether names resolve, and whether files have changed since a message was last seen to go through the gateway."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from pathlib import Path

NAME = "in-addr.arpa"
"""A name whose servers anybody can ask for."""
STAMP = Path("/var/lib/gatewright/proved")
RESOLVER = ("127.0.0.1", 53)
DNS_SECONDS, DNS_ATTEMPTS = 5.0, 3
HEADER = 12
"""Bytes of a DNS message's."""
SEEN = ("/etc", "/usr/local", "/var/qmail", "/var/lib/dpkg/status")
NOT_SEEN = (
    "/etc/dnscache/log/main",
    "/var/qmail/queue",
    "/var/qmail/supervise/qmail-smtpd/slots",
    "/usr/local/uvscan-sets",
)
"""What is written there without a run: the third by every connection."""


def holds() -> bool:
    """Whether there is nothing to prove anew."""
    return not is_due(STAMP) and not resolve(NAME, attempts=1)


def question(name: str) -> bytes:
    """A query for the servers of a name, with recursion."""
    labels = b"".join(bytes([len(item)]) + item for item in name.encode().split(b"."))
    return os.urandom(2) + struct.pack("!5H", 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 2, 1)


def resolve(name: str, attempts: int = DNS_ATTEMPTS, server: tuple[str, int] = RESOLVER) -> str:
    """Ask the host's resolver; return what went wrong, or nothing."""
    error = ""
    for _attempt in range(attempts):
        query = question(name)
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
                link.settimeout(DNS_SECONDS)
                link.connect(server)
                link.send(query)
                answer = link.recv(4096)
        except OSError as reason:
            error = str(reason) or type(reason).__name__
            continue
        if len(answer) < HEADER:
            error = f"an answer of {len(answer)} bytes"
            continue
        code, records = answer[3] & 15, struct.unpack_from("!H", answer, 6)[0]
        if code == 0 and records:
            return ""
        error = f"response code {code}, {records} records"
    return error


def is_due(stamp: Path) -> bool:
    """Whether files that a run brings have changed since the last proof."""
    if not stamp.exists():
        return True
    places = [place for place in SEEN if Path(place).exists()]
    leave = ["(", "-name", "supervise", "!", "-path", "/var/qmail/supervise"]
    leave += [word for place in NOT_SEEN for word in ("-o", "-path", place)] + [")", "-prune", "-o"]
    newer = ["-type", "f", "-cnewer", str(stamp), "-print", "-quit"]
    found = subprocess.run(["find", *places, *leave, *newer], capture_output=True, text=True, check=False)
    return bool(found.stdout)
