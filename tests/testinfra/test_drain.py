"""A reboot that an update asks for: no more mail is taken, the queue drains, the host comes back, nothing is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from lab_hosts import Gateway, Peer, eventually, token

REQUIRED = "/run/reboot-required"
UNIT = "gatewright-reboot.service"
IMPATIENT = "/run/systemd/system/gatewright-reboot.service.d"


def boot(gateway: Gateway) -> str:
    """Which boot this is: when the host's first process was started. Nothing while there is no host."""
    return gateway.run("cut", "-d ", "-f22", "/proc/1/stat", check=False).strip()


def wait_for_reboot(gateway: Gateway, outside: Peer, before: str) -> None:
    """Wait until the host has booted again and takes mail."""
    # Where the machine has the old cgroup tree, Debian 12's systemd waits 90 s for a stopped unit that has ended.
    eventually(lambda: boot(gateway) not in ("", before), 180, f"a reboot of {gateway.name}")
    answers = ("running", "degraded")
    eventually(lambda: gateway.run("systemctl", "is-system-running", check=False).strip() in answers, 120, "its boot")
    eventually(lambda: outside.send(gateway.ipv4, "user@corp.test", mark=token()).code == 250, 120, "a 250 again")


def drains(gateway: Gateway) -> list[str]:
    """What the drains so far have told the log."""
    return gateway.sh("grep -h 'gatewright-reboot: after' /var/log/syslog || true").splitlines()


def send_what_waits(gateway: Gateway, office: Peer) -> None:
    """Have office's mail server up, and what waits for it tried now rather than at qmail's own next time."""
    office.run("systemctl", "start", "postfix")
    eventually(lambda: gateway.is_up("qmail-send"), what="qmail-send stays up")
    gateway.run("/command/svc", "-a", "/service/qmail-send")
    gateway.wait_for_empty_queue()


@pytest.fixture
def waiting(gateway: Gateway, outside: Peer, office: Peer) -> Iterator[str]:
    """A message that waits in the queue, as office's mail server is down; it is up again afterwards."""
    office.run("systemctl", "stop", "postfix")
    try:
        mark = token()
        assert outside.send(gateway.ipv4, "user@corp.test", mark=mark).code == 250
        eventually(lambda: "user@corp.test" in gateway.queue(), what="the message in the queue")
        yield mark
    finally:
        send_what_waits(gateway, office)


def test_the_queue_drains_before_the_reboot(gateway: Gateway, outside: Peer, office: Peer, waiting: str) -> None:
    before, told = boot(gateway), len(drains(gateway))
    gateway.sh(f"touch {REQUIRED} && systemctl start --no-block {UNIT}")
    eventually(
        lambda: "refused" in outside.send(gateway.ipv4, "user@corp.test", mark=token()).text, what="a closed port 25"
    )
    assert gateway.run("systemctl", "is-active", UNIT, check=False).strip() == "activating"
    assert "user@corp.test" in gateway.queue()
    assert boot(gateway) == before, "it waits for the queue"
    office.run("systemctl", "start", "postfix")
    office.arrived(waiting)
    wait_for_reboot(gateway, outside, before)
    (last,) = drains(gateway)[told:]
    assert "messages in queue: 0" in last
    send_what_waits(gateway, office)
    assert len(office.find(waiting)) == 1


def test_what_does_not_drain_in_time_is_sent_after_the_reboot(
    gateway: Gateway, outside: Peer, office: Peer, waiting: str
) -> None:
    before, told = boot(gateway), len(drains(gateway))
    order = gateway.sh(f"systemctl cat {UNIT} | sed -n 's/^ExecStart=\\(.*\\) [0-9]*$/\\1 3/p'").strip()
    gateway.run("mkdir", "-p", IMPATIENT)
    gateway.run("tee", f"{IMPATIENT}/test.conf", stdin=f"[Service]\nExecStart=\nExecStart={order}\n")
    gateway.sh(f"systemctl daemon-reload; touch {REQUIRED} && systemctl start --no-block {UNIT}")
    wait_for_reboot(gateway, outside, before)
    (last,) = drains(gateway)[told:]
    assert re.search(r"after 3 s: messages in queue: [1-9]", last), last
    assert "user@corp.test" in gateway.queue(), "it is on disk"
    assert office.find(waiting) == []
    send_what_waits(gateway, office)
    office.arrived(waiting)
    assert len(office.find(waiting)) == 1
