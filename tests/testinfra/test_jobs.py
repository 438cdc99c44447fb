"""One tag does the whole of a job: after it a full run with the same inventory finds nothing left to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from controller import playbook
from lab_hosts import Gateway, Peer
from test_doors import scan, target

from lab.topology import NET4

NIGHTLY = bool(os.environ.get("GATEWRIGHT_NIGHTLY"))
pytestmark = pytest.mark.skipif(not NIGHTLY, reason="GATEWRIGHT_NIGHTLY is not set: some ten runs of site.yml")
SITE = "playbooks/site.yml"
QUEUE = "/var/qmail/bin/qmail-queue"
OPENED = 2526


def jobs(office: Peer, outside: Peer) -> dict[str, dict[str, Any]]:
    """By tag, what an administrator changes in the inventory."""
    return {
        "tcp_smtp": {
            "tcp_smtp_relay_clients": [f"{office.ipv4}/32", {"address": outside.ipv4, "env": {"QMAILQUEUE": QUEUE}}]
        },
        "smtproutes": {
            "smtproutes_routes": [
                {"domain": "corp.test", "host": office.ipv4},
                {"domain": "new.test", "host": office.ipv4, "port": 2525},
            ]
        },
        "scanner": {"scanner_extra_rules": [{"extension": "xyz", "description": "Test"}]},
        "qmail": {"qmail_aliases": ["root", "postmaster", "mailer-daemon", "abuse"]},
        "starttls": {"starttls_renew_days": 29, "starttls_policy": "never"},
        "firewall": {
            "firewall_admin_networks": [f"{NET4}.0/28"],  # the controller's, and neither the office's nor outside's
            "firewall_inbound": [{"port": OPENED, "networks": [office.ipv4], "comment": "a test"}],
        },
    }


@pytest.fixture(scope="module")
def changed(gateway: Gateway, office: Peer, outside: Peer) -> Iterator[dict[str, Any]]:
    """All jobs done one after another, each by its tag alone; the inventory that they lead to."""
    variables: dict[str, Any] = {}
    try:
        for tag, job in jobs(office, outside).items():
            variables |= job
            assert playbook(SITE, gateway.name, "--tags", tag, variables=variables).changed(gateway.name) > 0, tag
        yield variables
    finally:
        playbook(SITE, gateway.name, "--tags", ",".join(jobs(office, outside)))


def test_a_full_run_after_jobs_by_their_tags_has_nothing_left_to_do(gateway: Gateway, changed: dict[str, Any]) -> None:
    whole = playbook(SITE, gateway.name, "--check", "--diff", "--skip-tags", "survey", variables=changed)
    assert whole.changed(gateway.name) == 0, whole.output


def test_a_relay_clients_tag_exempts_it_from_the_limits(
    gateway: Gateway, outside: Peer, changed: dict[str, Any]
) -> None:
    assert outside.ipv4 in gateway.run("nft", "list", "set", "inet", "gatewright", "exempt4")


def test_the_firewalls_tag_opens_a_port_to_whom_it_says_and_ssh_to_administrators_alone(
    gateway: Gateway, office: Peer, outside: Peer, changed: dict[str, Any]
) -> None:
    for family in (4, 6):
        there = target(gateway, family)
        seen = {peer.name: scan(peer, "-sS", "-p", f"22,25,{OPENED}", *there) for peer in (office, outside)}
        opened = {OPENED: "closed"} if family == 4 else {}  # nothing listens there, and who is let in is told so
        assert seen == {"office": {25: "open"} | opened, "outside": {25: "open"}}
