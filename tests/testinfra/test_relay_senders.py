"""Relay clients that may send for some alone: real sessions of theirs, and what comes of each message."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from controller import playbook
from lab_hosts import Gateway, Peer, eventually, token
from scanner_lab import USER, Scanner

from lab.topology import NET4, PROJECT

NIGHTLY = bool(os.environ.get("GATEWRIGHT_NIGHTLY"))
pytestmark = pytest.mark.skipif(not NIGHTLY, reason="GATEWRIGHT_NIGHTLY is not set: it installs gatekeeper")

SITE, TAG, MINUTES = "playbooks/site.yml", "tcp_smtp", 900
DEMO = yaml.safe_load((PROJECT / "lab/demo.yml").read_text())
GATEKEEPER = {name: value for name, value in DEMO.items() if name.startswith("gatekeeper_")}
SENDERS = ["corp.test", ".shop.test", "Ann@Partner.test"]
OWN = ["boss@corp.test", "BOSS@Corp.TEST", "x@eu.shop.test", "x@A.EU.SHOP.test", "ann@partner.test", "ANN@PARTNER.TEST"]
OTHERS = [
    "someone@world.test",
    "x@eu.corp.test",
    "x@shop.test",
    "bob@partner.test",
    "ann@eu.partner.test",
    "x@notcorp.test",
    "x@corp.test.world.test",
    "boss@corp.test@world.test",
    "corp.test",
    "eu.shop.test",
]
FRIEND = "friend@world.test"
REFUSED = "553 5.7.1 <{}>: your address may not send mail for this sender"
TAKEN = "250 ok "
"""How the reply begins to a message that is in the queue."""
SESSION = """
import json, smtplib, sys
server, source, turns = json.load(sys.stdin)
with smtplib.SMTP(timeout=20, source_address=(source, 0)) as wire:
    wire.connect(server, 25)
    wire.ehlo("probe.test")
    replies = []
    for lines in turns:
        wire.send("".join(f"{line}\\r\\n" for line in lines))
        replies += [wire.getreply() for _ in lines]
print(json.dumps([f"{code} {text.decode()}" for code, text in replies]))
"""


class Client:
    """A relay client by one of its addresses."""

    def __init__(self, gateway: Gateway, host: Peer, octet: int, family: int = 4) -> None:
        """Bind to an address of a host."""
        self.host, self.address = host, host.address(octet, family)
        self.server = gateway.ipv4 if family == 4 else gateway.ipv6

    def says(self, *lines: str) -> list[str]:
        """The replies to these lines in one session, each said once the one before has its reply."""
        return self.talks(*([line] for line in lines))

    def talks(self, *turns: list[str]) -> list[str]:
        """The replies in one session to lines of which those of a turn are said at once."""
        order = json.dumps([self.server, self.address, turns])
        told: list[str] = json.loads(self.host.run("python3", "-c", SESSION, stdin=order))
        return told

    def rcpt(self, sender: str, recipient: str = FRIEND) -> str:
        """The reply to RCPT of a message that is not sent."""
        return self.says(f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>")[-1]

    def sends(self, sender: str, *recipients: str) -> tuple[str, str]:
        """Send a message; its mark and the last reply."""
        mark = token()
        return mark, self.says(*envelope(sender, *recipients), "DATA", body(mark))[-1]


def envelope(sender: str, *recipients: str) -> list[str]:
    """A message's envelope."""
    return [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{recipient}>" for recipient in recipients)]


def body(mark: str) -> str:
    """A message, to its end; its author is nobody's of ours."""
    return f"From: x@tenant.test\r\nTo: {USER}\r\nSubject: {mark}\r\n\r\n{mark}\r\n."


def clients(office: Peer, senders: list[str]) -> dict[str, Any]:
    """The inventory: the office's networks send for some, its first addresses for whoever."""
    networks = [f"{NET4}.16/29", f"{office.address(20, 6)}/126"]
    whoever = [office.ipv4, office.ipv6]
    return {"tcp_smtp_relay_clients": [*({"address": name, "senders": senders} for name in networks), *whoever]}


@pytest.fixture(scope="module")
def gatekeeper(gateway: Gateway) -> Iterator[None]:
    """gatekeeper as in the demonstration, whose relay clients send for whoever."""
    try:
        playbook(SITE, gateway.name, "--tags", "gatekeeper", variables=GATEKEEPER, seconds=MINUTES)
        yield
    finally:
        playbook(SITE, gateway.name, "--tags", f"gatekeeper,{TAG}", seconds=MINUTES)


@pytest.fixture(scope="module")
def by_senders(gatekeeper: None, gateway: Gateway, office: Peer) -> None:
    """One job later the office's networks may send for SENDERS alone."""
    job(gateway, clients(office, SENDERS))


def job(gateway: Gateway, variables: dict[str, Any]) -> int:
    """Do what an administrator does who changes relay clients; returns the number of changes."""
    return playbook(SITE, gateway.name, "--tags", TAG, variables=GATEKEEPER | variables).changed(gateway.name)


@pytest.fixture
def tenant(gateway: Gateway, office: Peer) -> Client:
    """Who may send for some alone."""
    return Client(gateway, office, 22)


@pytest.fixture
def whoever(gateway: Gateway, office: Peer) -> Client:
    """Who is narrower in the rules, and may send for whoever."""
    return Client(gateway, office, 21)


def log(gateway: Gateway) -> str:
    """What gatekeeper tells its administrator."""
    return gateway.run("cat", "/var/log/gatekeeper/daemon/current")


def test_without_gatekeeper_nobody_looks_at_senders_and_the_run_is_refused(gateway: Gateway, office: Peer) -> None:
    before = gateway.run("cat", "/etc/tcp.smtp")
    told = playbook(SITE, gateway.name, "--tags", TAG, variables=clients(office, SENDERS), succeeds=False)
    assert "has senders, which nobody looks at: that needs gatekeeper_enabled: true" in told.output
    assert gateway.run("cat", "/etc/tcp.smtp") == before


def test_the_job_by_its_tag_leaves_a_full_run_nothing(by_senders: None, gateway: Gateway, office: Peer) -> None:
    options = ("--check", "--diff", "--tags", f"gatekeeper,qmail,scanner,firewall,{TAG}")
    whole = playbook(SITE, gateway.name, *options, variables=GATEKEEPER | clients(office, SENDERS))
    assert whole.changed(gateway.name) == 0, whole.output


@pytest.mark.usefixtures("by_senders")
class TestBySenders:
    """Relay clients that may send for some alone."""

    @pytest.mark.parametrize("sender", OWN)
    def test_what_it_sends_for_its_own_arrives_elsewhere(
        self, gateway: Gateway, tenant: Client, outside: Peer, sender: str
    ) -> None:
        mark, reply = tenant.sends(sender, FRIEND)
        assert reply.startswith(TAKEN)
        assert f"Return-Path: <{sender}>".lower() in outside.raw(mark).lower()
        assert Scanner(gateway).line(mark)["direction"] == "outbound"

    @pytest.mark.parametrize("sender", OTHERS)
    def test_what_it_sends_for_others_goes_nowhere(self, tenant: Client, gateway: Gateway, sender: str) -> None:
        gateway.wait_for_empty_queue()
        replies = tenant.says(*envelope(sender, FRIEND), "DATA", ".")
        assert replies[1] == REFUSED.format(sender), replies
        assert [reply[:3] for reply in replies] == ["250", "553", "503", "502"]
        assert not gateway.queue().strip()
        line = f"refused sender client={tenant.address} sender={sender}\n"
        eventually(lambda: line in log(gateway), what=f"a line in the log: {line}")

    def test_the_null_sender_is_everybodys(self, gateway: Gateway, tenant: Client, outside: Peer) -> None:
        mark, reply = tenant.sends("", FRIEND)
        assert reply.startswith(TAKEN)
        assert "Return-Path: <>" in outside.raw(mark)
        assert Scanner(gateway).line(mark)["direction"] == "outbound"

    @pytest.mark.parametrize("sender", OTHERS)
    def test_what_it_sends_for_others_to_us_is_a_strangers(
        self, gateway: Gateway, tenant: Client, office: Peer, sender: str
    ) -> None:
        mark, reply = tenant.sends(sender, USER)
        assert reply.startswith(TAKEN)
        assert Scanner(gateway).line(mark)["direction"] == "inbound"
        results = office.arrived(mark).get_all("Authentication-Results", [])
        assert [" ".join(str(value).split()).partition(";")[0] for value in results] == [gateway.host.fqdn]

    def test_what_it_sends_for_its_own_to_us_is_a_relay_clients(
        self, gateway: Gateway, tenant: Client, office: Peer
    ) -> None:
        mark, reply = tenant.sends("boss@corp.test", USER)
        assert reply.startswith(TAKEN)
        assert office.arrived(mark)["Authentication-Results"] is None
        assert Scanner(gateway).line(mark)["direction"] == "outbound"

    @pytest.mark.parametrize("sender", ["someone@world.test", "boss@corp.test"])
    def test_a_person_who_is_not_known_has_no_mail_of_either(self, tenant: Client, sender: str) -> None:
        assert tenant.rcpt(sender, "nobody@corp.test").startswith("550 5.1.1 ")

    @pytest.mark.parametrize("recipient", ["victim%world.test@corp.test", "victim@world.test@corp.test"])
    def test_what_it_sends_for_others_goes_no_way_around(self, tenant: Client, recipient: str) -> None:
        assert tenant.rcpt("x@tenant.test", recipient).startswith("553 5.1.3 ")

    @pytest.mark.parametrize("rset", [["RSET"], []], ids=["RSET", "no RSET"])
    def test_after_a_refused_message_the_next_one_of_a_session_goes(
        self, tenant: Client, outside: Peer, rset: list[str]
    ) -> None:
        mark, refused = token(), [*envelope("x@tenant.test", FRIEND), *rset]
        replies = tenant.says(*refused, *envelope("boss@corp.test", FRIEND), "DATA", body(mark), *refused)
        assert replies[1] == replies[-1 - len(rset)] == REFUSED.format("x@tenant.test")
        assert [reply for reply in replies if reply.startswith(TAKEN)]
        outside.arrived(mark)

    @pytest.mark.parametrize("rset", [["RSET"], []], ids=["RSET", "no RSET"])
    def test_a_recipient_of_its_own_message_is_none_of_the_next_one(
        self, gateway: Gateway, tenant: Client, outside: Peer, office: Peer, rset: list[str]
    ) -> None:
        mark = token()
        first, second = envelope("boss@corp.test", FRIEND), envelope("x@tenant.test", USER, "another@world.test")
        replies = tenant.says(*first, *rset, *second, "DATA", body(mark))
        assert [reply[:3] for reply in replies[-4:]] == ["250", "553", "354", "250"], replies
        office.arrived(mark)
        gateway.wait_for_empty_queue()
        assert not outside.find(mark)

    def test_commands_said_at_once_are_judged_one_by_one(
        self, gateway: Gateway, tenant: Client, outside: Peer, office: Peer
    ) -> None:
        mine, others = token(), token()
        first = [*envelope("x@tenant.test", FRIEND, USER, FRIEND), "DATA"]
        second = [body(others), *envelope("boss@corp.test", FRIEND), "DATA"]
        replies = tenant.talks(first, second, [body(mine)])
        codes = [reply[:3] for reply in replies]
        assert codes == ["250", "553", "250", "553", "354", "250", "250", "250", "354", "250"], replies
        office.arrived(others)
        outside.arrived(mine)
        gateway.wait_for_empty_queue()
        assert not outside.find(others) and not office.find(mine)

    @pytest.mark.parametrize("sender", [OWN[0], *OTHERS])
    def test_a_client_without_senders_sends_for_whoever(
        self, gateway: Gateway, whoever: Client, outside: Peer, sender: str
    ) -> None:
        mark, reply = whoever.sends(sender, FRIEND)
        assert reply.startswith(TAKEN)
        outside.arrived(mark)
        assert Scanner(gateway).line(mark)["direction"] == "outbound"

    def test_by_ipv6_it_is_the_same(self, gateway: Gateway, office: Peer, outside: Peer) -> None:
        tenant, whoever = (Client(gateway, office, octet, 6) for octet in (22, 21))
        assert tenant.rcpt("x@tenant.test") == REFUSED.format("x@tenant.test")
        for client, sender in ((tenant, "boss@corp.test"), (whoever, "x@tenant.test")):
            mark, reply = client.sends(sender, FRIEND)
            assert reply.startswith(TAKEN)
            outside.arrived(mark)

    def test_strangers_are_strangers(self, gateway: Gateway, outside: Peer) -> None:
        reply = Client(gateway, outside, 31).rcpt("boss@corp.test")
        assert reply.startswith("553 ") and reply != REFUSED.format("boss@corp.test")

    def test_while_gatekeeper_is_down_all_are_put_off(
        self, gateway: Gateway, tenant: Client, whoever: Client, outside: Peer
    ) -> None:
        gateway.stop("gatekeeper")
        try:
            for client in (tenant, whoever):
                assert client.rcpt("boss@corp.test").startswith("451 4.3.5 ")
        finally:
            gateway.run("/command/svc", "-u", "/service/gatekeeper")
        eventually(lambda: tenant.rcpt("boss@corp.test").startswith("250 "), what="an answer of gatekeeper")
        assert tenant.rcpt("x@tenant.test") == REFUSED.format("x@tenant.test")


def test_a_job_changes_the_senders(
    by_senders: None, gateway: Gateway, office: Peer, outside: Peer, tenant: Client
) -> None:
    assert job(gateway, clients(office, ["tenant.test"])) > 0
    assert tenant.rcpt("boss@corp.test") == REFUSED.format("boss@corp.test")
    mark, reply = tenant.sends("x@tenant.test", FRIEND)
    assert reply.startswith(TAKEN)
    outside.arrived(mark)
    assert Scanner(gateway).line(mark)["direction"] == "outbound"


def test_a_job_takes_the_senders_away_and_gives_them_back(
    by_senders: None, gateway: Gateway, office: Peer, tenant: Client
) -> None:
    network = {"tcp_smtp_relay_clients": [f"{NET4}.16/29"]}
    assert job(gateway, network) > 0
    assert tenant.rcpt("x@tenant.test").startswith("250 ")
    assert job(gateway, clients(office, SENDERS)) > 0
    assert tenant.rcpt("x@tenant.test") == REFUSED.format("x@tenant.test")
    assert tenant.rcpt("boss@corp.test").startswith("250 ")


def test_a_client_that_was_removed_sends_for_nobody(
    by_senders: None, gateway: Gateway, office: Peer, tenant: Client
) -> None:
    assert job(gateway, {"tcp_smtp_relay_clients": [office.ipv4]}) > 0
    for sender in ("boss@corp.test", "x@tenant.test"):
        reply = tenant.rcpt(sender)
        assert reply.startswith("553 ") and reply != REFUSED.format(sender)


def test_where_gatekeeper_comes_back_the_job_alone_is_refused(
    by_senders: None, gateway: Gateway, office: Peer, tenant: Client
) -> None:
    whole, inventory = ("--tags", f"gatekeeper,{TAG}"), GATEKEEPER | clients(office, SENDERS)
    playbook(SITE, gateway.name, *whole, seconds=MINUTES)
    before = gateway.run("cat", "/etc/tcp.smtp")
    told = playbook(SITE, gateway.name, "--tags", TAG, variables=inventory, succeeds=False)
    assert "qmail-smtpd does not ask gatekeeper yet" in told.output
    assert gateway.run("cat", "/etc/tcp.smtp") == before
    playbook(SITE, gateway.name, *whole, variables=inventory, seconds=MINUTES)
    assert tenant.rcpt("x@tenant.test") == REFUSED.format("x@tenant.test")
