"""Daily reports to other domains, DMARC's and TLS's, from a gateway of the lab: a day's counts become two mails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from controller import playbook
from lab_hosts import GATEWAYS, Gateway, Peer, eventually, lab_host, token

from lab import hosts

NIGHTLY = bool(os.environ.get("GATEWRIGHT_NIGHTLY"))
pytestmark = pytest.mark.skipif(
    not NIGHTLY, reason="GATEWRIGHT_NIGHTLY is not set: unit tests send reports of made-up days"
)
SITE, TAGS, MINUTES = "playbooks/site.yml", "gatekeeper,gatepost", 900
ON = {
    "gatekeeper_enabled": True,
    "gatekeeper_authentication": True,
    "gatekeeper_dmarc_reports": True,
    "gatepost_tls_reports": True,
    "gatepost_reports_organization": "The Corp",
    "gatepost_reports_contact": "postmaster@corp.test",
    "gatepost_dkim_domains": ["corp.test"],
}
COUNTS = {
    "gatekeeper-dmarc-reports": "/var/lib/gatekeeper/dmarc/counts",
    "gatepost-tls-reports": "/var/lib/gatepost-reports/counts",
}
"""Where each unit's days are."""


@pytest.fixture(scope="module")
def mailboxes(gateway: Gateway) -> Iterator[tuple[str, str]]:
    """Who wants DMARC's and TLS's reports, as the DNS knows, of a gateway that sends them; then nothing of it is left.

    Each gateway sends to mailboxes of its own: it has no part in what another one sent.
    """
    dmarc, tls = (f"{kind}-{gateway.name}@world.test" for kind in ("dmarc", "tls"))
    wanted = {
        "_dmarc.world.test": f"v=DMARC1; p=none; rua=mailto:{dmarc}",
        "_smtp._tls.world.test": f"v=TLSRPTv1; rua=mailto:{tls}",
    }
    dns, data = lab_host("dns"), hosts.dns_data([lab_host(name) for name in GATEWAYS])
    hosts.serve_dns(dns, data + hosts.text_records(wanted))
    playbook(SITE, gateway.name, "--tags", TAGS, variables=ON, seconds=MINUTES)
    yield dmarc, tls
    playbook(SITE, gateway.name, "--tags", TAGS, seconds=MINUTES)
    hosts.serve_dns(dns, data)
    timers = gateway.run("systemctl", "list-timers", "--all", "--no-pager")
    assert not [unit for unit in COUNTS if unit in timers]


def today_is_over(gateway: Gateway, folder: str) -> None:
    """What was counted today was counted yesterday."""
    today = date.fromisoformat(gateway.run("date", "--utc", "+%F").strip())
    counted = f"{folder}/{today}.jsonl"
    eventually(lambda: gateway.shell.file(counted).exists, what=f"{counted} at {gateway.name}")
    gateway.run("mv", counted, f"{folder}/{today - timedelta(1)}.jsonl")


def test_who_asks_for_reports_gets_one_a_day(
    mailboxes: tuple[str, str], gateway: Gateway, outside: Peer, office: Peer
) -> None:
    inward, out = token(), token()
    assert outside.send(gateway.ipv4, "user@corp.test", mark=inward).code == 250
    assert office.send(gateway.ipv4, "bob@world.test", mark=out, sender="ann@corp.test").code == 250
    office.arrived(inward)
    outside.arrived(out)
    timers = gateway.run("systemctl", "list-timers", "--no-pager")
    for unit, folder in COUNTS.items():
        assert f"{unit}.timer" in timers
        today_is_over(gateway, folder)
        for _ in range(2):
            gateway.run("systemctl", "start", f"{unit}.service")
    for mailbox in mailboxes:
        mail = outside.arrived(f"To: {mailbox}")
        assert "The Corp" in str(mail["From"]) and "world.test" in str(mail["Subject"])
        assert [part.get_content_type() for part in mail.iter_attachments()]
    gateway.wait_for_empty_queue()
    for mailbox in mailboxes:
        assert len(outside.find(f"To: {mailbox}")) == 1, "a second run sends nothing"
