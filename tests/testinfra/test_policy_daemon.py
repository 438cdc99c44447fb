"""A policy daemon of Debian over the socket by which gatekeeper is asked: greylisting by postgrey."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from lab_hosts import Gateway, Peer, eventually

NIGHTLY = bool(os.environ.get("GATEWRIGHT_NIGHTLY"))
pytestmark = pytest.mark.skipif(not NIGHTLY, reason="GATEWRIGHT_NIGHTLY is not set: it installs a package")

SOCKET = "/run/policy-test/socket"
VARIABLE = "/var/qmail/supervise/qmail-smtpd/env/SMTPPOLICY"
DELAY = 3
"""Seconds for which postgrey puts a stranger off."""
START = f"""
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --no-install-recommends postgrey
systemctl disable --now postgrey
systemctl reset-failed policy-test 2> /dev/null || true
systemd-run --quiet --unit=policy-test -p RuntimeDirectory=policy-test -p User=postgrey \
    /usr/sbin/postgrey --unix={SOCKET} --dbdir=/run/policy-test --delay={DELAY} --auto-whitelist-clients=0 \
    --whitelist-clients=/dev/null --whitelist-recipients=/dev/null
tries=0
until [ -S {SOCKET} ]; do tries=$((tries + 1)); [ $tries -le 100 ]; sleep 0.2; done
[ ! -e {VARIABLE} ] || cp {VARIABLE} /run/policy-before
echo {SOCKET} > {VARIABLE}
"""
END = f"""
rm -f {VARIABLE}
[ ! -e /run/policy-before ] || mv /run/policy-before {VARIABLE}
systemctl stop policy-test
apt-get -qq purge --autoremove postgrey
"""


@pytest.fixture
def postgrey(gateway: Gateway) -> Iterator[None]:
    """The gateway asks postgrey."""
    try:
        gateway.run("sh", "-c", START)
        gateway.restart_door()
        yield
    finally:
        gateway.run("sh", "-c", END)
        gateway.restart_door()


def reply(peer: Peer, gateway: Gateway, sender: str) -> str:
    """The reply to RCPT of a message."""
    script = (
        "import smtplib, sys\n"
        "with smtplib.SMTP(sys.argv[1], timeout=20) as wire:\n"
        "    wire.ehlo('world.test')\n"
        "    wire.mail(sys.argv[2])\n"
        "    code, text = wire.rcpt('user@corp.test')\n"
        "    print(code, text.decode())\n"
    )
    return peer.run("python3", "-c", script, gateway.ipv4, sender).strip()


def test_postgrey_puts_a_stranger_off_and_lets_it_in_later(gateway: Gateway, outside: Peer, postgrey: None) -> None:
    sender = "someone@world.test"
    eventually(lambda: reply(outside, gateway, sender).startswith("450 4.2.0 Greylisted"), seconds=30)
    eventually(lambda: reply(outside, gateway, sender).startswith("250 "), seconds=10 * DELAY)
    assert reply(outside, gateway, "another@world.test").startswith("450 4.2.0 Greylisted")


def test_a_policy_daemon_that_is_down_is_451_and_no_way_in(gateway: Gateway, outside: Peer, postgrey: None) -> None:
    gateway.run("systemctl", "stop", "policy-test")
    eventually(lambda: reply(outside, gateway, "someone@world.test").startswith("451 "), seconds=30)
