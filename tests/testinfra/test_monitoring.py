"""Figures for Prometheus from a gateway: administrators have them, others do not; all of it goes away again."""

from __future__ import annotations

import os
import re
import urllib.request
from collections.abc import Iterator

import pytest
from controller import playbook
from lab_hosts import Gateway, Peer, eventually

pytestmark = pytest.mark.skipif(
    not os.environ.get("GATEWRIGHT_NIGHTLY"), reason="three runs of the playbook: GATEWRIGHT_NIGHTLY is not set"
)

PORT = 9117
TAGS = "--tags=monitoring,service_trimming_sockets"


@pytest.fixture(scope="module")
def figures(gateway: Gateway) -> Iterator[str]:
    """The address of a gateway's figures, for the controller alone; switched on by a whole run, off at the end."""
    networks = [str(gateway.ipv4).rsplit(".", 1)[0] + ".1", str(gateway.ipv6).rsplit(":", 1)[0] + ":1"]
    settings: dict[str, object] = {"monitoring_enabled": True, "monitoring_exporter": True, "monitoring_port": PORT}
    settings |= {"monitoring_report_schedule": "Mon *-*-* 06:00:00", "firewall_admin_networks": networks}
    playbook("playbooks/site.yml", gateway.name, variables=settings)
    yield f"http://{gateway.ipv4}:{PORT}/metrics"
    playbook("playbooks/site.yml", gateway.name, TAGS)


def asked(address: str) -> dict[str, float]:
    """The figures, as Prometheus hears them."""
    with urllib.request.urlopen(address, timeout=10) as answer:
        text = answer.read().decode()
    return {name: float(value) for name, value in re.findall(r"(?m)^([^#\n].*) (\S+)$", text)}


def test_an_administrator_has_figures_of_all_programs_without_a_complaint(gateway: Gateway, figures: str) -> None:
    gateway.run("systemctl", "start", "gatewright-metrics.service")
    found = asked(figures)
    assert found["gatewright_queue_messages"] >= 0
    assert found["gatescan_workers"] > 0
    assert found["gatewright_certificate_end_timestamp_seconds"] > found["gatewright_written_timestamp_seconds"]
    assert found['gatewright_service_up{service="qmail-send"}'] == 1
    assert found["node_textfile_scrape_error"] == 0
    assert found["gatewright_last_run_timestamp_seconds"] >= found["gatewright_last_change_timestamp_seconds"]


def test_a_session_and_a_cutoff_are_in_the_next_figures(gateway: Gateway, outside: Peer, figures: str) -> None:
    before = asked(figures)["gatewright_sessions_total"]
    gateway.run("/usr/local/sbin/gatewright-cutoff", "cut", "outbound")
    try:
        outside.sh(f"printf 'QUIT\\r\\n' | nc -w 5 {gateway.ipv4} 25")
        eventually(lambda: asked(figures)["gatewright_sessions_total"] > before, seconds=150, what="the session")
        assert asked(figures)['gatewright_cutoff{way="outbound"}'] == 1
    finally:
        gateway.run("/usr/local/sbin/gatewright-cutoff", "open", "outbound")


def test_nobody_else_reaches_the_port(gateway: Gateway, outside: Peer, figures: str) -> None:
    assert asked(figures)
    said = outside.sh(f"nc -z -w 3 {gateway.ipv4} {PORT} && echo open || echo closed")
    assert said.strip() == "closed"


def test_the_postmaster_gets_a_report_by_mail(gateway: Gateway, office: Peer, figures: str) -> None:
    assert "gatewright-report.timer" in gateway.run("systemctl", "list-timers", "--no-pager")
    gateway.run("systemctl", "start", "gatewright-report.service")
    mail = office.arrived(f"Mail gateway {gateway.run('cat', '/var/qmail/control/me').strip()}")
    plain, page = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain and page and "messages judged" in plain.get_content()
    assert "Doctor: ?" not in plain.get_content() and "<svg" in page.get_content()
