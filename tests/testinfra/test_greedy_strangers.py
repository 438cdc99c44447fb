"""Strangers who take every place they can get: the office's mail goes through all the same, in both directions."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lab_hosts import Gateway, Peer, eventually

from lab.topology import NET4, NET6

NIGHTLY = bool(os.environ.get("GATEWRIGHT_NIGHTLY"))
KINDS = [(kind, count) for kind in ("silent", "noop", "drip", "tls") for count in (1, 2, 20)]
"""All of them with GATEWRIGHT_NIGHTLY; two otherwise, for the scenario's time."""
HOLD = (Path(__file__).parent / "hold.py").read_text()
PROMISE = 5.0 if NIGHTLY else 20.0
"""Seconds within which the office's mail is taken, whatever strangers do. On a machine that is busy with CI more, which
a door that is shut exceeds by far."""
SOURCE = 10
"""Connections that any stranger gets, by the shipped defaults and in the lab."""
FLAG = "/tmp/held"
TIMED = """
import smtplib, sys, time
server, source, sender, recipient = sys.argv[1:]
started = time.monotonic()
with smtplib.SMTP(server, 25, timeout=60, source_address=(source, 0)) as client:
    client.sendmail(sender, [recipient], "Subject: x\\r\\n\\r\\nx\\r\\n")
print(time.monotonic() - started)
"""
"""Sends one message and tells how many seconds that took, without what it takes to start a program in a busy lab."""


@contextlib.contextmanager
def addresses(outside: Peer, count: int) -> Iterator[list[str]]:
    """So many strangers, each with an address of either family."""
    device = outside.sh("ip -o -4 addr show | awk '$2 != \"lo\" {print $2; exit}'").strip()
    four = [f"{NET4}.{100 + number}" for number in range(count)]
    six = [f"{NET6}:{1000 + number}" for number in range(count)]
    change = "; ".join(
        [f"ip addr %s {address}/24 dev {device}" for address in four]
        + [f"ip addr %s {address}/64 dev {device} nodad" for address in six]
    )
    outside.sh(change.replace("%s", "add"))
    try:
        yield four + six
    finally:
        outside.sh(change.replace("%s", "del").replace(" nodad", ""))


@contextlib.contextmanager
def held(gateway: Gateway, outside: Peer, kind: str, count: int, each: int) -> Iterator[None]:
    """Connections of strangers, as many as they get, all kept."""
    outside.sh(f"rm -f {FLAG}")
    servers = [gateway.ipv4] + ([gateway.ipv6] if gateway.speaks_ipv6 else [])
    with addresses(outside, count) as sources, ThreadPoolExecutor() as pool:
        known = [source for source in sources if gateway.speaks_ipv6 or ":" not in source]
        plan = {"servers": servers, "sources": known, "each": each, "kind": kind, "seconds": 90, "flag": FLAG}
        telling = pool.submit(outside.run, "python3", "-c", HOLD, stdin=json.dumps(plan))
        try:
            eventually(lambda: outside.sh(f"ls {FLAG} 2>/dev/null || true").strip(), 60, "connections that are held")
            yield
        finally:
            outside.sh(f"rm -f {FLAG}")
            told = json.loads(telling.result(60))
        assert told["greeted"] >= min(each, SOURCE), told


@pytest.mark.parametrize(("kind", "count"), KINDS if NIGHTLY else [("noop", 2), ("silent", 20)])
def test_the_offices_mail_goes_through(gateway: Gateway, office: Peer, outside: Peer, kind: str, count: int) -> None:
    with held(gateway, outside, kind, count, 40 if count < 20 else 10):
        for server in [gateway.ipv4] + ([gateway.ipv6] if gateway.speaks_ipv6 else []):
            source = office.address(21, 6 if ":" in server else 4)
            words = ("python3", "-c", TIMED, server, source, "someone@corp.test", "friend@world.test")
            assert float(office.run(*words)) < PROMISE
    eventually(lambda: outside.send(gateway.ipv4, "user@corp.test").code == 250, what="the door is open to strangers")


def test_one_stranger_of_both_families_leaves_places_for_others(gateway: Gateway, outside: Peer) -> None:
    with held(gateway, outside, "noop", 1, 60):
        assert outside.send(gateway.ipv4, "user@corp.test").code == 250
