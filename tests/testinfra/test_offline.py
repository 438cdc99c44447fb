"""A gateway with no route to the internet was made all the same: packages by a mirror, archives from a folder."""

from __future__ import annotations

import pytest
from lab_hosts import Gateway, lab_host

DNS = lab_host("dns")


@pytest.fixture(autouse=True)
def _offline(gateway: Gateway) -> None:
    """Skip on a lab that has a way out by design."""
    if gateway.run("ip", "route", "show", "default").strip():
        pytest.skip("this lab's network has a route to the internet: only the scenario paper has none")


def test_no_route_leads_out(gateway: Gateway) -> None:
    assert not gateway.run("ip", "-6", "route", "show", "default").strip()
    for address in ("192.0.2.1", "2001:db8::1"):
        found = gateway.run("ip", "route", "get", address, check=False)
        assert not found.strip(), found


def test_packages_come_by_the_mirror_alone(gateway: Gateway) -> None:
    rules = gateway.run("nft", "list", "table", "inet", "gatewright").splitlines()
    ways = [line for line in rules if 'comment "packages"' in line]
    assert ways and all(f"ip daddr {DNS.ipv4} tcp dport" in line and "3142" in line for line in ways), ways
    gateway.run("apt-get", "update", "-qq", "-o", "APT::Update::Error-Mode=any")
