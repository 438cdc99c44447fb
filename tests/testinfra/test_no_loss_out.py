"""Nothing is lost on the way out, and nothing leaves in plain text or unsigned, whatever is killed meanwhile.

A relay client's mail goes by MX to a domain that the site wants TLS with. gatepost, its worker, its signer, its
resolver (unbound), dnscache and the receiving server are killed or stopped at random, and now and then that server
offers no TLS.
GATEWRIGHT_LOSS_MESSAGES: how many messages (2,000). GATEWRIGHT_LOSS_SEED: which blows fall, and when (1).
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial

import pytest
from blows import Blows
from controller import playbook
from lab_hosts import Gateway, Peer, eventually, token
from scanner_lab import STRANGER, mail, order, send_all
from test_delivery import PUT_BACK

from lab.talk import MAILDIR

pytestmark = pytest.mark.skipif(not os.environ.get("GATEWRIGHT_NIGHTLY"), reason="15 minutes: GATEWRIGHT_NIGHTLY=1")

MESSAGES = int(os.environ.get("GATEWRIGHT_LOSS_MESSAGES", "2000"))
SEED = int(os.environ.get("GATEWRIGHT_LOSS_SEED", "1"))
SESSIONS = 20
AUTHOR = "ann@corp.test"
SPREAD = MESSAGES * 0.15
"""Seconds over which the messages are sent, SESSIONS at a time."""
SETTINGS: dict[str, object] = {
    "gatepost_dnssec": True,
    "gatepost_dnssec_unsigned": ["."],
    "gatepost_domains": {"world.test": "required"},
    "gatepost_dkim_domains": ["corp.test"],
}
RESOLVER = "systemctl kill gatepost-dns.service --signal"
WORKER = "pgrep -n -P $(/command/svstat /service/gatepost | sed 's/.*(pid //; s/).*//')"
AT_GATEWAY = {
    "kill gatepost": "/command/svc -k /service/gatepost",
    "kill gatepost's worker": f"kill -KILL $({WORKER})",
    "stop gatepost's worker": f"p=$({WORKER}); kill -STOP $p; sleep 2; kill -CONT $p",
    "reload gatepost": "/command/svc -h /service/gatepost",
    "restart gatepost": "/command/svc -t /service/gatepost",
    "kill the signer": "/command/svc -k /service/gatepost-signer",
    "kill unbound": f"{RESOLVER} KILL",
    "stop unbound": f"{RESOLVER} STOP; sleep 3; {RESOLVER} CONT",
    "kill dnscache": "kill -KILL $(pidof dnscache)",
    "try all again": "qmailctl flush",
    "stop dnscache": "p=$(pidof dnscache); kill -STOP $p; sleep 3; kill -CONT $p",
}
AT_SERVER = {
    "kill the server's sessions": "pkill -KILL -x smtpd",
    "stop the server's sessions": "pkill -STOP -x smtpd; sleep 2; pkill -CONT -x smtpd",
    "kill the server": "systemctl kill --signal KILL postfix.service; sleep 1; systemctl restart postfix.service",
    "restart the server": "systemctl restart postfix.service",
    "offer no TLS": (
        "postconf -e smtpd_tls_security_level=none; postfix reload; sleep 3;"
        " postconf -e smtpd_tls_security_level=may; postfix reload"
    ),
}
ARRIVED = r"""
import json, pathlib, re, sys
run, folder = sys.argv[1:]
for path in pathlib.Path(folder).iterdir():
    head = path.read_bytes().decode("latin-1").partition("\n\n")[0]
    number = re.search(rf"^Subject: {run}\.(\d+)\.$", head, re.M)
    if number:
        how, identity = re.search(r"\(Postfix\) with (ESMTPS?) id (\w+)", head).groups()
        print(json.dumps([int(number[1]), how, identity, "\nDKIM-Signature: " in head]))
"""
"""Of each message in a mailbox: its number, how it came, the server's number of it, and whether it is signed."""


@pytest.fixture
def to_the_world(gateway: Gateway, outside: Peer) -> Iterator[None]:
    """A validating resolver, a signer, and TLS that the site wants with outside, which offers it."""
    outside.run("cp", "-p", "/etc/postfix/main.cf", "/etc/postfix/main.cf.before")
    try:
        outside.offer_tls("DNS:outside.world.test")
        playbook("playbooks/site.yml", gateway.name, variables=SETTINGS, seconds=1200)
        yield
        playbook("playbooks/site.yml", gateway.name, seconds=1200)
    finally:
        outside.sh(PUT_BACK)


def arrivals(outside: Peer, run: str) -> list[tuple[int, str, str, bool]]:
    """Each copy that arrived: its message's number, ESMTP or ESMTPS, the server's number of it, and if it is signed."""
    said = outside.run("python3", "-c", ARRIVED, run, MAILDIR)
    return [tuple(json.loads(line)) for line in said.splitlines()]


def warned(gateway: Gateway, run: str) -> Counter[int]:
    """How often a report said of each message that it may arrive twice, by qmail-send's log."""
    running: dict[str, int] = {}
    found: Counter[int] = Counter()
    for line in gateway.sh("cat /var/log/qmail/@* /var/log/qmail/current 2>/dev/null || true").splitlines():
        if start := re.search(rf" starting delivery (\d+): msg \d+ to remote {run}\.(\d+)\.@", line):
            running[start[1]] = int(start[2])
        elif (end := re.search(r" delivery (\d+): (.*)", line)) and (number := running.pop(end[1], None)) is not None:
            found[number] += "Possible_duplicate" in end[2]
    return found


def wait_for_empty_queue(gateway: Gateway) -> None:
    """Wait until nothing waits; what was put off is tried again at once."""

    def is_empty() -> bool:
        gateway.run("qmailctl", "flush")
        time.sleep(2)
        return not gateway.queue().strip()

    eventually(is_empty, 300, "an empty queue")


@pytest.mark.timeout(SPREAD * 3 + 3600)
def test_nothing_is_lost_on_the_way_out(gateway: Gateway, outside: Peer, office: Peer, to_the_world: None) -> None:
    run = token()
    began = time.time()
    orders = [
        order(
            gateway.ipv4,
            mail(f"{run}.{number}.", "All is well.\n" * (number % 500)).replace(STRANGER.encode(), AUTHOR.encode()),
            f"{run}.{number}.@world.test",
            sender=AUTHOR,
            at=began + SPREAD * (number // SESSIONS * SESSIONS) / MESSAGES,
            until=began + SPREAD + 120,
        )
        for number in range(MESSAGES)
    ]
    strikes = {name: partial(gateway.sh, script, check=False) for name, script in AT_GATEWAY.items()}
    strikes |= {name: partial(outside.sh, script, check=False) for name, script in AT_SERVER.items()}
    blows = Blows(strikes, SEED)
    blows.start()
    try:
        told = send_all(office, orders, SESSIONS)
    finally:
        blows.over.set()
        blows.join()
    outside.sh("systemctl restart postfix.service")
    wait_for_empty_queue(gateway)
    eventually(lambda: outside.run("postqueue", "-p").startswith("Mail queue is empty"), 60, "outside's queue")
    taken = {number for number, tries in enumerate(told) if tries[-1].code == 250}
    copies: defaultdict[int, set[str]] = defaultdict(set)
    plain, unsigned = [], []
    for number, how, identity, is_signed in arrivals(outside, run):
        copies[number].add(identity)  # one that the server itself delivers twice keeps its number
        if how == "ESMTP":
            plain.append(number)
        if not is_signed:
            unsigned.append(number)
    warnings = warned(gateway, run)
    twice = {number: len(found) for number, found in copies.items() if len(found) > 1}
    figures = {
        "seconds": round(time.time() - began), "messages": MESSAGES, "seed": SEED, "got 250": len(taken),
        "arrived": len(copies), "in plain text": len(plain), "unsigned": len(unsigned), "more than once": len(twice),
        "warnings": sum(warnings.values()), "blows": dict(blows.fell),
    }  # short pairs, many a line # fmt: skip
    print("\nno loss on the way out:", json.dumps(figures))
    assert min(blows.fell[name] for name in strikes) >= 1, "each blow fell"
    assert len(taken) > MESSAGES * 0.9, figures
    assert sorted(taken - copies.keys()) == [], "got 250 and is missing"
    assert plain == [], "left in plain text where the site wants TLS"
    assert unsigned == []
    assert {n: times for n, times in twice.items() if times - 1 > warnings[n]} == {}, "arrived twice without a warning"
