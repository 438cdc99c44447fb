"""Who may relay, who may not connect, and what each network's sessions are given: as the inventory says, run by run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from controller import playbook
from lab_hosts import Gateway, Peer, token

TAGS = ("--tags", "tcp_smtp")


@pytest.fixture(scope="module")
def another_inventory(gateway: Gateway, office: Peer, outside: Peer) -> Iterator[None]:
    """An inventory in which outside may relay, the office may not, .24 may not connect, and .22 may send little."""
    variables: dict[str, object] = {
        "tcp_smtp_relay_clients": [{"address": outside.ipv4, "comment": "new"}, f"{outside.ipv6}/128"],
        "tcp_smtp_deny": [office.address(24)],
        "tcp_smtp_networks": [{"address": f"{office.address(22)}/32", "env": {"DATABYTES": "65536"}}],
    }
    try:
        assert playbook("playbooks/site.yml", gateway.name, *TAGS, variables=variables).changed(gateway.name) == 2
        yield
    finally:
        back = playbook("playbooks/site.yml", gateway.name, *TAGS)
    assert back.changed(gateway.name) == 2  # the rules, and the list of whom the firewall's limits exempt


@pytest.fixture
def denied(gateway: Gateway, office: Peer) -> str:
    """An address that the other inventory denies, and this one does not."""
    return office.address(24)


def test_before_the_office_may_relay_and_nobody_is_denied(gateway: Gateway, office: Peer, denied: str) -> None:
    assert office.send(gateway.ipv4, "friend@world.test").code == 250
    assert office.send(gateway.ipv4, "user@corp.test", source=denied).code == 250


@pytest.mark.usefixtures("another_inventory")
class TestAnotherInventory:
    """One run later, with an inventory that has other clients."""

    def test_a_client_that_was_added_may_relay(self, gateway: Gateway, outside: Peer, office: Peer) -> None:
        mark = token()
        assert outside.send(gateway.ipv4, "friend@world.test", mark=mark).code == 250
        outside.arrived(mark)
        assert outside.send(gateway.ipv6, "friend@world.test", source=outside.ipv6).code == 250

    @pytest.mark.parametrize("family", [4, 6])
    def test_a_client_that_was_removed_may_not(self, gateway: Gateway, office: Peer, family: int) -> None:
        server = gateway.ipv4 if family == 4 else gateway.ipv6
        reply = office.send(server, "friend@world.test", source=office.address(21, family))
        assert (reply.stage, reply.code) == ("rcpt", 553), reply

    def test_a_removed_client_still_reaches_the_company(self, gateway: Gateway, office: Peer) -> None:
        mark = token()
        assert office.send(gateway.ipv4, "user@corp.test", mark=mark).code == 250
        office.arrived(mark)

    def test_a_denied_address_gets_no_conversation(self, gateway: Gateway, office: Peer, denied: str) -> None:
        reply = office.send(gateway.ipv4, "user@corp.test", source=denied)
        assert (reply.stage, reply.code) == ("connect", 0), reply

    def test_a_networks_environment_holds_for_it_alone(self, gateway: Gateway, office: Peer) -> None:
        mark = token()
        message = f"Subject: {mark}\r\n\r\n" + "x" * 70 + "\r\n" + ("y" * 70 + "\r\n") * 1000
        small = office.send(gateway.ipv4, "user@corp.test", message, source=office.address(22))
        assert (small.stage, small.code) == ("data", 552), small
        assert office.send(gateway.ipv4, "user@corp.test", message).code == 250
        office.arrived(mark)

    def test_the_gateway_itself_may_always_relay(self, gateway: Gateway) -> None:
        answer = gateway.sh("TCPREMOTEIP=127.0.0.1 tcprulescheck /etc/tcp.smtp.cdb")
        assert "set environment variable RELAYCLIENT=" in answer


def test_rules_that_cannot_be_right_are_refused_before_anything_changes(gateway: Gateway) -> None:
    before = gateway.run("cat", "/etc/tcp.smtp")
    wrong: dict[str, object] = {"tcp_smtp_relay_clients": ["10.0.0.7/8"]}
    told = playbook("playbooks/site.yml", gateway.name, *TAGS, variables=wrong, succeeds=False)
    assert "10.0.0.7/8" in told.output
    assert gateway.run("cat", "/etc/tcp.smtp") == before
