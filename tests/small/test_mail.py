"""What a message meets on its way through the small gateway."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from lab.demonstration import attached, letter, on_the_wire
from lab.small.gateway import EXAMPLE, NEIGHBOUR, SmallGateway, SmallPeer, loopback
from lab.talk import eventually, token

USER = "user@example.org"


def test_a_message_from_outside_arrives_and_is_marked_as_scanned(gateway: SmallGateway) -> None:
    mark = token()
    message = letter(mark, "someone@world.test", USER).as_string()
    assert gateway.outside.send(gateway.ipv4, USER, on_the_wire(message)).code == 250
    arrived = gateway.office.arrived(mark)
    assert arrived["Subject"] == mark
    assert any("qmail-scanner" in name.lower() or "gatescan" in value.lower() for name, value in arrived.items())


@pytest.mark.parametrize("name", ["EICAR.COM", "invoice.exe", "disk.iso"])
def test_a_message_that_the_rules_name_is_held(gateway: SmallGateway, name: str) -> None:
    """The paper's list, and the example inventory's own rule (iso)."""
    mark = token()
    content = b"0" * 68 + b"\n" if name == "EICAR.COM" else b"harmless"
    reply = gateway.outside.send(gateway.ipv4, USER, on_the_wire(attached(mark, name, content)), f"{mark}@world.test")
    assert reply.code == 250
    assert mark in gateway.run("gatescan", "quarantine", "list", "--json")
    gateway.wait_for_empty_queue()
    assert not gateway.office.find(mark)


def test_a_recipients_reply_to_a_notice_releases_the_message_once(gateway: SmallGateway) -> None:
    mark, key = token(), gateway.place.path / "release.key"
    key.write_text("0123456789abcdef0123456789abcdef\n")
    message = on_the_wire(attached(mark, "tool.exe", b"harmless"))
    assert gateway.outside.send(gateway.ipv4, USER, message).code == 250
    gateway.run("gatescan", "notify", "--key", str(key))
    (notice,) = eventually(lambda: [one for one in gateway.office.find(mark) if f"To: {USER}" in one], 60, "a notice")
    address, *_ = re.findall(r"Release: +(\S+)", notice.partition(mark)[2])

    def reply(peer: SmallPeer, author: str) -> None:
        text = f"From: {author}\r\nTo: {address}\r\nSubject: Re: held\r\n\r\nplease\r\n"
        assert peer.send(gateway.ipv4, address, text, sender=author).code == 250
        gateway.run("gatescan", "answers", "--key", str(key))
        gateway.wait_for_empty_queue()

    def released() -> list[str]:
        return [one for one in gateway.office.find(mark) if "by gatescan answers at" in one]

    reply(gateway.outside, USER)
    reply(gateway.office, "hostmaster@example.org")
    assert released() == []
    for _ in range(2):
        reply(gateway.office, USER)
    assert len(released()) == 1
    assert not gateway.office.find("Re: held"), "a reply goes to nobody"


def test_nobody_relays_but_those_whom_the_inventory_names(gateway: SmallGateway) -> None:
    mark = token()
    assert gateway.office.send(gateway.ipv4, "friend@world.test", sender=USER, mark=mark).code == 250
    gateway.outside.arrived(mark)
    for stranger in (NEIGHBOUR, gateway.outside.source):
        refused = gateway.office.send(gateway.ipv4, "victim@elsewhere.test", source=stranger, mark=token())
        assert (refused.stage, refused.code) == ("rcpt", 553)


def test_mail_to_its_postmaster_goes_to_the_inventorys_address(gateway: SmallGateway) -> None:
    mark = token()
    assert gateway.outside.send(gateway.ipv4, "postmaster@gateway.example.org", mark=mark).code == 250
    gateway.office.arrived(mark)
    wanted = yaml.safe_load(EXAMPLE.read_text())["qmail_postmaster"]
    assert f"to remote {wanted}" in gateway.place.said("qmail")


def test_an_unknown_recipient_is_refused_and_a_tag_is_none(gateway: SmallGateway) -> None:
    refused = gateway.outside.send(gateway.ipv4, "nobody@example.org", mark=token())
    assert (refused.stage, refused.code) == ("rcpt", 550)
    mark = token()
    assert gateway.outside.send(gateway.ipv4, "user+list@example.org", mark=mark).code == 250
    gateway.office.arrived(mark)


def test_gatepost_delivers_and_a_message_waits_while_it_is_away(gateway: SmallGateway) -> None:
    place, mark = gateway.place.path / "gatepost", token()
    hidden = (place / "socket").rename(place / "away")
    begun = gateway.place.said("qmail").count(f"to remote {USER}")
    try:
        assert gateway.outside.send(gateway.ipv4, USER, mark=mark).code == 250
        eventually(lambda: gateway.place.said("qmail").count(f"to remote {USER}") > begun, 30, "a delivery begins")
        assert not gateway.office.find(mark)
    finally:
        hidden.rename(place / "socket")
    gateway.office.arrived(mark)
    last = json.loads(gateway.deliveries().splitlines()[-1])
    assert (last["result"], last["recipients"]) == ("success", [USER])


def test_without_its_scanner_no_message_is_taken(gateway: SmallGateway) -> None:
    socket = gateway.place.path / "scanner/socket"
    hidden = socket.rename(socket.with_suffix(".away"))
    try:
        reply = gateway.outside.send(gateway.ipv4, USER, mark=token())
    finally:
        hidden.rename(socket)
    assert (reply.stage, reply.code) == ("data", 451)


def test_its_programs_have_no_privilege(gateway: SmallGateway) -> None:
    ours = gateway.place.processes()
    assert len(ours) >= 8  # qmail-send with its four, tcpserver, the scanner and its workers
    for pid in ours:
        text = Path(f"/proc/{pid}/status").read_text()
        status = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        assert int(status["CapEff"], 16) == 0
        assert "0" not in status["Uid"].split()


def test_rules_move_to_loopback_and_loopbacks_own_right_to_relay_goes() -> None:
    relay = ':allow,RELAYCLIENT=""'
    rules = f"127.{relay}\n[::1]{relay}\n# a comment\n192.0.2.64-79{relay}\n:allow\n"
    assert loopback(rules) == f"# a comment\n127.0.2.64-79{relay}\n:allow\n"
