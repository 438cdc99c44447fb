"""Runs on a peer: takes connections and keeps them, as JSON on standard input says; tells how many were greeted.

servers, sources (each a list of one's own addresses, of both families), each (connections of a source), kind (silent,
noop, drip: a byte of a message every half second, tls: STARTTLS and no handshake), seconds (at most), flag (a file:
made when all are there; all end when it is gone). Standard library only.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

OPENING = (b"HELO x\r\n", b"MAIL FROM:<a@world.test>\r\n", b"RCPT TO:<user@corp.test>\r\n", b"DATA\r\n")


def open_one(source: str, plan: dict[str, Any]) -> socket.socket | None:
    """A connection that was greeted and has said its first words, or None."""
    server = next(address for address in plan["servers"] if (":" in address) == (":" in source))
    try:
        wire = socket.create_connection((server, 25), 5, (source, 0))
        if not wire.recv(200).startswith(b"220"):
            return None
        for line in {"drip": OPENING, "tls": (b"EHLO x\r\n", b"STARTTLS\r\n")}.get(plan["kind"], ()):
            wire.sendall(line)
            wire.recv(500)
        return wire
    except OSError:
        return None


def keep(wires: Sequence[socket.socket], plan: dict[str, Any]) -> None:
    """Say what this kind says, until it is enough."""
    word = {"noop": b"NOOP\r\n", "drip": b"x"}.get(plan["kind"], b"")
    end = time.monotonic() + plan["seconds"]
    while os.path.exists(plan["flag"]) and time.monotonic() < end:
        for wire in wires:
            try:
                wire.sendall(word)
            except OSError:
                continue
        time.sleep(0.5)


def main() -> None:
    """Take them all at once, keep them, and tell."""
    plan = json.load(sys.stdin)
    found: list[socket.socket | None] = []

    def take(source: str) -> None:
        found.append(open_one(source, plan))

    threads = [threading.Thread(target=take, args=(source,)) for source in plan["sources"] for _ in range(plan["each"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wires = [wire for wire in found if wire]
    open(plan["flag"], "w").close()
    keep(wires, plan)
    print(json.dumps({"tried": len(found), "greeted": len(wires)}))


main()
