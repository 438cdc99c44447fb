"""Mail in, mail out, and mail that has no business here: sent from other hosts, through the real doors."""

from __future__ import annotations

from lab_hosts import Gateway, Peer, eventually, token

BODY = "8-bit: Grüße, 漢字\r\n\r\nFrom the start of a line\r\n..two dots\r\n" + "x" * 900 + "\r\ntrailing space \r\n"


def test_inbound_mail_arrives_unchanged(gateway: Gateway, outside: Peer, office: Peer, family: int) -> None:
    mark = token()
    message = f"From: someone@world.test\r\nTo: user@corp.test\r\nSubject: {mark}\r\nX-Odd:  two  spaces\r\n\r\n{BODY}"
    server = gateway.ipv4 if family == 4 else gateway.ipv6
    reply = outside.send(server, "user@corp.test", message, source=outside.address(31, family))
    assert (reply.stage, reply.code) == ("data", 250), reply
    raw = office.raw(mark)
    header, _, body = raw.partition("\n\n")
    assert body == BODY.replace("\r\n", "\n")
    assert "\nX-Odd:  two  spaces\n" in header + "\n"
    assert f"({outside.address(31, family)})" in header, "the Received line names who sent it"


def test_outbound_mail_arrives_by_mx(gateway: Gateway, outside: Peer, office: Peer) -> None:
    mark = token()
    reply = office.send(gateway.ipv4, "friend@world.test", sender="user@corp.test", mark=mark)
    assert reply.code == 250, reply
    assert outside.arrived(mark)["Subject"] == mark


def test_the_offices_own_server_sends_through_the_gateways(outside: Peer, office: Peer) -> None:
    mark = token()
    office.run("sendmail", "-f", "user@corp.test", "friend@world.test", stdin=f"Subject: {mark}\n\n{mark}\n")
    received = outside.arrived(mark).get_all("Received", [])
    assert any("office.corp.test" in line or "qmail" in line for line in received)


def test_a_stranger_may_not_relay(gateway: Gateway, outside: Peer, family: int) -> None:
    server = gateway.ipv4 if family == 4 else gateway.ipv6
    reply = outside.send(server, "victim@elsewhere.test", mark=token(), source=outside.address(31, family))
    assert (reply.stage, reply.code) == ("rcpt", 553), reply


def test_a_relay_network_ends_where_it_ends(gateway: Gateway, office: Peer, outside: Peer, family: int) -> None:
    server = gateway.ipv4 if family == 4 else gateway.ipv6
    mark = token()
    inside = office.send(server, "friend@world.test", mark=mark, source=office.address(22, family))
    assert inside.code == 250, inside
    neighbour = office.send(server, "friend@world.test", mark=token(), source=office.address(24, family))
    assert (neighbour.stage, neighbour.code) == ("rcpt", 553), neighbour
    outside.arrived(mark)


def test_mail_to_postmaster_goes_where_the_inventory_says(gateway: Gateway, outside: Peer, office: Peer) -> None:
    mark = token()
    gateway.run("/usr/sbin/sendmail", "-f", "someone@world.test", "postmaster", stdin=f"Subject: {mark}\n\n{mark}\n")
    assert "admin@corp.test" in str(office.arrived(mark).get_all("Delivered-To", [])) + office.raw(mark)


BIG_MESSAGE = """
import smtplib
client = smtplib.SMTP("{gateway}", 25, timeout=120)
client.ehlo("x")
client.mail("a@world.test")
client.rcpt("user@corp.test")
try:
    print(client.data("Subject: big\\r\\n\\r\\n" + ("x" * 998 + "\\r\\n") * {lines})[0])
except smtplib.SMTPResponseException as error:
    print(error.smtp_code)
"""


def test_a_message_over_databytes_is_refused(gateway: Gateway, outside: Peer) -> None:
    limit = int(gateway.run("cat", "/var/qmail/control/databytes"))
    script = BIG_MESSAGE.format(gateway=gateway.ipv4, lines=limit // 1000 + 2)
    assert outside.run("python3", "-", stdin=script).strip() == "552"


def test_mail_for_a_route_that_is_down_waits_and_arrives(gateway: Gateway, outside: Peer, office: Peer) -> None:
    mark = token()
    office.run("systemctl", "stop", "postfix")
    try:
        assert outside.send(gateway.ipv4, f"{mark}@corp.test", mark=mark).code == 250
        (reason,) = eventually(lambda: gateway.tries(f"{mark}@corp.test"), what="a try to deliver it in the log")
        assert reason.startswith("deferral: ") and f"{mark}@corp.test" in gateway.queue()
        assert not office.find(mark)
    finally:
        office.run("systemctl", "start", "postfix")
    gateway.run("qmailctl", "flush")
    assert office.arrived(mark)["Subject"] == mark
    gateway.wait_for_empty_queue()
