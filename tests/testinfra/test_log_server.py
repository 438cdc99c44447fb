"""A copy of the logs goes to another host, if the inventory names one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from controller import playbook
from lab_hosts import Gateway, Peer, eventually, token

PORT = 5140
HEARD = "/tmp/gw-log-copy"
TAGS = "--tags=hardening_logging,firewall"


@pytest.fixture
def listener(outside: Peer) -> Iterator[str]:
    """A TCP server on `outside` that writes down what it hears, as a unit that the test starts and stops."""
    unit = "gw-log-copy"
    serve = f"nc -lk {PORT} > {HEARD}"
    outside.run("systemd-run", "--quiet", f"--unit={unit}", "sh", "-c", serve)
    yield unit
    outside.sh(f"systemctl stop {unit}; rm -f {HEARD}")


def test_the_logs_are_copied_to_the_host_that_the_inventory_names(
    gateway: Gateway, outside: Peer, listener: str
) -> None:
    settings: dict[str, object] = {"hardening_log_server": outside.ipv4, "hardening_log_server_port": PORT}
    mark = token()
    playbook("playbooks/site.yml", gateway.name, TAGS, variables=settings)
    try:
        gateway.run("logger", mark)
        eventually(lambda: mark in outside.sh(f"cat {HEARD} || true"), what=f"the line, as {listener} hears it")
    finally:
        playbook("playbooks/site.yml", gateway.name, TAGS)
    assert "omfwd" not in gateway.run("cat", "/etc/rsyslog.conf")
