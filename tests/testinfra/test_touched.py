"""What somebody changed by hand is put right by the next run, though that sends only what the survey saw changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from controller import playbook
from lab_hosts import Gateway

NIGHTLY = bool(os.environ.get("GATEWRIGHT_NIGHTLY"))
pytestmark = pytest.mark.skipif(not NIGHTLY, reason="GATEWRIGHT_NIGHTLY is not set: some twenty runs of site.yml")
SITE = "playbooks/site.yml"


@dataclass(frozen=True)
class Touch:
    """What somebody does, and how one sees that it is put right; possible: where it can be done at all."""

    command: str
    seen: str
    possible: str = "true"


def is_up(service: str) -> str:
    return f"svstat /service/{service} | grep -c ': up '"


REDIRECTS = "/proc/sys/net/ipv4/conf/all/accept_redirects"
TOUCHES = {
    "compiled rules": Touch("truncate -s 0 /etc/tcp.smtp.cdb", "cksum /etc/tcp.smtp.cdb"),
    "rules": Touch("echo ':deny' > /etc/tcp.smtp", "cksum /etc/tcp.smtp"),
    "further domains": Touch("touch /var/qmail/control/morercpthosts.cdb", "ls /var/qmail/control"),
    "moduli": Touch("echo '20250101000000 2 6 100 1023 2 ABC' >> /etc/ssh/moduli", "cksum /etc/ssh/moduli"),
    "sshd's configuration": Touch("echo '# mine' >> /etc/ssh/sshd_config", "cksum /etc/ssh/sshd_config"),
    "the ruleset in force": Touch(
        "nft delete table inet gatewright", "nft list table inet gatewright | grep -c 'type filter hook'"
    ),
    "a mode": Touch("chmod 0755 /root", "stat -c %a /root"),
    "a set-id bit": Touch("chmod u+s /usr/bin/chage", "stat -c %a /usr/bin/chage"),
    "a kernel parameter": Touch(
        f"echo 1 > {REDIRECTS}", f"cat {REDIRECTS}", f"test -w {REDIRECTS} && echo 0 > {REDIRECTS}"
    ),
    "qmail-send": Touch("svc -d /service/qmail-send", is_up("qmail-send")),
    "qmail's users": Touch("rm /var/qmail/users/cdb", "ls /var/qmail/users"),
    "what qmail-smtpd started with": Touch("echo 5 > /var/qmail/supervise/qmail-smtpd/env/ODD", is_up("qmail-smtpd")),
    "gatepost": Touch("svc -d /service/gatepost", is_up("gatepost")),
    "gatepost's settings": Touch("echo '{}' > /etc/gatepost/config.json", "cksum /etc/gatepost/config.json"),
    "the scanner's rules": Touch("rm /var/lib/gatescan/rules.json", "ls /var/lib/gatescan/rules.json"),
    "a timer": Touch("systemctl stop gatescan-expire.timer", "systemctl is-active gatescan-expire.timer"),
    "a unit of Debian's": Touch("systemctl disable --now nftables", "systemctl is-enabled nftables.service"),
    "svscan": Touch("systemctl stop svscan", "systemctl is-active svscan.service"),
    "the copies of the password files": Touch("chmod 0644 /etc/shadow-", "stat -c %a /etc/shadow-"),
    "the certificate": Touch("rm /etc/gatewright/starttls.pem", "stat -c %a /etc/gatewright/starttls.pem"),
}


@pytest.fixture(scope="module", autouse=True)
def in_order(gateway: Gateway) -> Iterator[None]:
    """A run that found all in order comes first, and what a test left is put right."""
    playbook(SITE, gateway.name)
    assert playbook(SITE, gateway.name).changed(gateway.name) == 0
    yield
    playbook(SITE, gateway.name)


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
def test_what_was_changed_by_hand_is_put_right(gateway: Gateway, touch: Touch) -> None:
    if gateway.sh(f"if {touch.possible}; then echo yes; fi", check=False).strip() != "yes":
        pytest.skip("this host does not let it be changed")
    before = gateway.sh(touch.seen)
    gateway.sh(touch.command)
    assert playbook(SITE, gateway.name).changed(gateway.name) > 0
    assert gateway.sh(touch.seen) == before


def test_a_check_tells_what_a_run_would_settle_and_leaves_it(gateway: Gateway) -> None:
    gateway.run("svc", "-d", "/service/qmail-send")
    told = playbook(SITE, gateway.name, "--check", "-v")
    assert told.changed(gateway.name) > 0 and "started qmail-send again" in told.output
    assert ": down " in gateway.run("svstat", "/service/qmail-send")
    playbook(SITE, gateway.name)
    assert ": up " in gateway.run("svstat", "/service/qmail-send")


def test_a_socket_that_nobody_declared_fails_the_run(gateway: Gateway) -> None:
    """Which finds all else as it is to be, and would otherwise not come so far as to look."""
    gateway.run("systemd-run", "--unit=odd-listener", "python3", "-m", "http.server", "4711")
    try:
        told = playbook(SITE, gateway.name, succeeds=False)
        assert "4711 python3" in told.output
    finally:
        gateway.run("systemctl", "stop", "odd-listener")


def test_a_file_that_is_newer_than_the_baseline_has_it_renewed(gateway: Gateway) -> None:
    gateway.sh("echo '# mine' >> /etc/motd")
    assert "renewed" in playbook(SITE, gateway.name, "-v").output
    gateway.sh("while systemctl -q is-active aiderenew || [ /etc/motd -nt /var/lib/aide/aide.db ]; do sleep 1; done")
    playbook(SITE, gateway.name)  # the next proof by mail


def test_a_run_without_a_change_sends_facts_and_the_survey_alone(gateway: Gateway) -> None:
    playbook(SITE, gateway.name)
    told = playbook(SITE, gateway.name, "-vvv").output
    sent = {line.rpartition("/")[2].strip() for line in told.splitlines() if line.startswith("Using module file ")}
    assert sent == {"setup.py", "host_survey.py"}
    assert "port 25 is as it must be" in told


def test_it_fails_nevertheless_where_no_mail_flows(gateway: Gateway) -> None:
    """A rule that somebody adds to the ruleset in force is nothing that the survey sees; the proof calls port 25."""
    gateway.run("nft", "insert", "rule", "inet", "gatewright", "input", "tcp", "dport", "25", "drop")
    try:
        assert "port 25 does not answer the controller" in playbook(SITE, gateway.name, succeeds=False).output
    finally:
        gateway.run("nft", "-f", "/etc/nftables.conf")
