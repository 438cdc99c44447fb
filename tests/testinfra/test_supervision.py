"""What is killed comes back, and no accepted message is missing."""

from __future__ import annotations

import pytest
from lab_hosts import Gateway, Peer, eventually, token

SERVICES = ("dnscache", "gatescan", "qmail-send", "qmail-smtpd")
VICTIMS = {
    "svscan": "pidof svscan",
    "supervise of qmail-smtpd": "pgrep -fx 'supervise qmail-smtpd'",
    "supervise of qmail-send": "pgrep -fx 'supervise qmail-send'",
    "supervise of a log": "pgrep -ox -f 'supervise log'",
    "tcpserver": "pidof tcpserver",
    "qmail-send": "pgrep -x qmail-send || pgrep -f /var/qmail/bin/qmail-send",
    "dnscache": "pidof dnscache",
    "the scanner's master": "pgrep -u gatescan -o -f 'gatescan daemon'",
}


def listener(gateway: Gateway) -> bool:
    """Whether exactly one program holds port 25."""
    return len(gateway.run("ss", "-Hltn", "sport = :25").splitlines()) == 1


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_killed_process_comes_back(gateway: Gateway, outside: Peer, office: Peer, victim: str) -> None:
    marks = [token() for _ in range(3)]
    for mark in marks[:2]:
        assert outside.send(gateway.ipv4, "user@corp.test", mark=mark).code == 250
    before = gateway.sh(VICTIMS[victim]).split()
    gateway.run("kill", "-KILL", before[0])
    eventually(
        lambda: (now := gateway.sh(VICTIMS[victim], check=False).split()) and before[0] not in now,
        seconds=90,
        what=f"a new {victim} after {before[0]}",
    )
    for service in SERVICES:
        eventually(lambda service=service: gateway.is_up(service), what=f"{service} stays up")  # type: ignore[misc]  # a default is not inferred
    eventually(lambda: outside.send(gateway.ipv4, "user@corp.test", mark=marks[2]).code == 250, what="a 250 again")
    for mark in marks:
        office.arrived(mark)
    assert listener(gateway)
