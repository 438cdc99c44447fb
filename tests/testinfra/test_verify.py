"""playbooks/verify.yml: right on a gateway that is right, and naming what is wrong on one that is not."""

from __future__ import annotations

from controller import playbook
from lab_hosts import Gateway, Peer, lab_host

VERIFY = "playbooks/verify.yml"


def test_a_good_gateway_passes_and_a_test_message_arrives(gateway: Gateway, office: Peer) -> None:
    to = f"verify-{gateway.name}@corp.test"
    before = set(office.find(to))
    told = playbook(VERIFY, gateway.name, variables={"verify_recipient": to})
    assert told.changed(gateway.name) == 0
    for check in (
        "port 22 of",
        "port 25 of",
        "service qmail-smtpd",
        "listening sockets",
        "MX of corp.test",
        "its fate",
    ):
        assert check in told.output
    assert "WRONG" not in told.output
    assert len(set(office.find(to)) - before) == 1, "one message, and no more"


def test_what_is_wrong_is_named_and_fails(gateway: Gateway) -> None:
    dns = lab_host("dns")
    elsewhere: dict[str, object] = {
        "smtproutes_routes": [
            {"domain": "corp.test", "host": dns.ipv4},
            {"domain": "world.test", "host": dns.ipv4},
            {"domain": "none.test", "host": dns.ipv4},
        ],
        "tcp_smtp_relay_clients": [],
    }
    gateway.run("gatewright-cutoff", "cut", "outbound")
    gateway.stop("gatescan-notify")
    try:
        told = playbook(VERIFY, gateway.name, variables=elsewhere, succeeds=False)
    finally:
        gateway.run("/command/svc", "-u", "/service/gatescan-notify")
        gateway.run("gatewright-cutoff", "open", "outbound")
    wrong = next(line for line in told.output.splitlines() if "checks are not as they must be" in line)
    for check in (
        "service gatescan-notify",
        "cutoff",
        "MX of world.test",
        "MX of none.test",
        "rules of 0 relay clients",
    ):
        assert check in wrong
    assert "MX of corp.test" not in wrong and "port" not in wrong
    assert "no gateway: outside.world.test" in told.output
