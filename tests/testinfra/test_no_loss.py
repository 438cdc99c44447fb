"""Nothing that got 250 is missing, whatever is done to the scanner meanwhile.

GATEWRIGHT_LOSS_MESSAGES: how many messages (400). GATEWRIGHT_LOSS_SEED: which blows fall, and when (1).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from blows import Blows
from lab_hosts import Gateway, Peer, token
from scanner_lab import QUEUE, Scanner, found_again, numbered, order, send_all

from lab.machine import environment

MESSAGES = int(os.environ.get("GATEWRIGHT_LOSS_MESSAGES", "400"))
SEED = int(os.environ.get("GATEWRIGHT_LOSS_SEED", "1"))
SESSIONS = 20
SPREAD = MESSAGES * 0.15
"""Seconds over which the messages are sent, SESSIONS at a time."""
PATIENCE = 60
"""Seconds for which a message that is not taken is tried again after that."""
SPOOL = "/var/spool/gatescan"
DISK_BYTES = 700_000_000
"""Of the small disk that the spool is on meanwhile; the quarantine wants 500 MB of it to stay free."""

DAEMONS = "pgrep -u gatescan -f 'gatescan daemon'"
BLOWS = {
    "kill one process": f"kill -KILL $({DAEMONS} | shuf -n 1)",
    "kill the master": f"kill -KILL $({DAEMONS} -o)",
    "kill all workers": f"kill -KILL $({DAEMONS} | tail -n +2)",
    "kill all": f"kill -KILL $({DAEMONS})",
    "stop one process": f"p=$({DAEMONS} | shuf -n 1); kill -STOP $p; sleep 2; kill -CONT $p",
    "stop all": f"p=$({DAEMONS}); kill -STOP $p; sleep 1; kill -CONT $p",
    "reload": "/command/svc -h /service/gatescan",
    "restart": "/command/svc -t /service/gatescan",
    "kill svscan and with it the tree": "kill -KILL $(pidof svscan)",
    "kill gatepost": "kill -KILL $(pgrep -f '/usr/lib/gatepost/gatepost daemon')",
    "kill qmail-send": "kill -KILL $(pidof qmail-send || pgrep -f /var/qmail/bin/qmail-send)",
    "full disk": (
        f"fallocate -l $(df --output=avail -B1 {SPOOL} | tail -n 1) {SPOOL}/ballast; sleep 3; rm {SPOOL}/ballast"
    ),
    "build the rules": f"{QUEUE} -g",
}


@contextmanager
def small_disk(gateway: Gateway, scanner: Scanner) -> Iterator[None]:
    """The scanner's spool on a file system of its own, so that it can be filled and nothing else is."""
    pid = subprocess.check_output(
        ["podman", "inspect", "--format", "{{.State.Pid}}", gateway.host.container], text=True, env=environment()
    ).strip()
    inside = ["nsenter", "--target", pid, "--mount", "--pid", "--", "sh", "-c"]
    with scanner.down():
        make = (
            f"mkdir /run/spool.test && mount -t tmpfs -o size={DISK_BYTES} spool /run/spool.test"
            f" && cp -a {SPOOL}/. /run/spool.test && chown --reference {SPOOL} /run/spool.test"
            f" && chmod --reference {SPOOL} /run/spool.test && mount --move /run/spool.test {SPOOL}"
        )
        subprocess.run([*inside, make], check=True)
    try:
        yield
    finally:
        gateway.stop("gatescan-notify")
        with scanner.down():
            subprocess.run([*inside, f"umount --lazy {SPOOL} && rmdir /run/spool.test"], check=True)
        gateway.sh("/command/svc -u /service/gatescan-notify")


def messages(run: str) -> list[bytes]:
    """Messages of several sizes and kinds; each fifth is to be held."""
    sizes = random.Random(SEED)
    return [numbered(run, number, sizes) for number in range(MESSAGES)]


@pytest.mark.timeout(SPREAD * 3 + 600)
def test_nothing_is_lost_under_blows(gateway: Gateway, outside: Peer, office: Peer) -> None:
    scanner, run = Scanner(gateway), token()
    began = time.monotonic()
    with small_disk(gateway, scanner):
        blows = Blows({blow: partial(gateway.sh, script, check=False) for blow, script in BLOWS.items()}, SEED)
        start = time.time()
        orders = [
            order(
                gateway.ipv4,
                message,
                at=start + SPREAD * (number // SESSIONS * SESSIONS) / MESSAGES,
                until=start + SPREAD + PATIENCE,
            )
            for number, message in enumerate(messages(run))
        ]
        blows.start()
        try:
            told = send_all(outside, orders, SESSIONS)
        finally:
            blows.over.set()
            blows.join()
        scanner.wait_until_it_answers()
        held, arrived = found_again(run, scanner, office)
    taken = {number for number, tries in enumerate(told) if tries[-1].code == 250}
    found = held + arrived
    codes = Counter(reply.code for tries in told for reply in tries)
    figures = {
        "seconds": round(time.monotonic() - began), "messages": MESSAGES, "seed": SEED, "got 250": len(taken),
        "replies": dict(codes), "held": len(held), "arrived": len(arrived),
        "twice": sum(found[number] == 2 for number in found), "blows": dict(blows.fell),
    }  # short pairs, many a line # fmt: skip
    print("\nno loss:", json.dumps(figures))
    assert sum(blows.fell.values()) >= len(BLOWS), "it was hit"
    assert len(taken) > MESSAGES * 0.9, figures
    assert [number for number in taken if not found[number]] == [], "got 250 and is missing"
    assert [number for number in arrived if number % 5 == 0] == [], "passed and should have been held"
    assert [number for number in held if number % 5] == [], "held and should have passed"
    assert [number for number in found if found[number] > 2] == [], "more than twice"
