"""TLS on the way to the company's own server, which here offers it or does not, with one certificate or another."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from controller import playbook
from lab_hosts import Gateway, Peer, eventually, token

AUTHORITY = "/etc/ssl/lab-authority.pem"
BY_TLS = re.compile(r"^\s+\(using TLSv1\.3 with cipher TLS_\w+ ", re.MULTILINE)

PUT_BACK = """
mv /etc/postfix/main.cf.before /etc/postfix/main.cf
rm -f /etc/postfix/lab.key /etc/postfix/lab.pem
"""


def offer_tls(office: Peer, gateway: Gateway, offered: bool) -> None:
    """Have office's server offer STARTTLS, or no more, and the gateway have no connection from before."""
    office.run("postconf", "-e", f"smtpd_tls_security_level={'may' if offered else 'none'}")
    office.reload_mail_server()
    end_kept_connections(gateway, office)


def end_kept_connections(gateway: Gateway, office: Peer) -> None:
    """Wait until the gateway has no connection to office from before."""
    kept = f"ss -Htn state established dst {office.ipv4} dport = :25"
    eventually(lambda: not gateway.sh(kept).strip(), what="the end of kept connections")


@pytest.fixture(scope="module", autouse=True)
def certificate(office: Peer) -> Iterator[str]:
    """Office's server has a certificate for its address, and offers TLS; it is put back as it was."""
    office.run("cp", "-p", "/etc/postfix/main.cf", "/etc/postfix/main.cf.before")
    yield office.offer_tls(f"IP:{office.ipv4}")
    office.sh(PUT_BACK)
    office.reload_mail_server()


@pytest.fixture(autouse=True)
def offered(office: Peer, gateway: Gateway) -> None:
    """Each test begins with a server that offers TLS."""
    offer_tls(office, gateway, True)


def deliveries(gateway: Gateway, mark: str) -> list[str]:
    """How each try to deliver to a message's own recipient ended."""
    return gateway.tries(f"{mark}@corp.test")


def send(outside: Peer, gateway: Gateway) -> str:
    """Send a message from outside to a recipient of its own at corp.test; returns the mark of both."""
    mark = token()
    assert outside.send(gateway.ipv4, f"{mark}@corp.test", mark=mark).code == 250
    return mark


def waits(gateway: Gateway, office: Peer, mark: str, why: str) -> None:
    """Check that a message was kept, for this reason."""
    tries = eventually(lambda: deliveries(gateway, mark), what=f"a try to deliver {mark}")
    assert re.fullmatch(rf"deferral: Connected_to_{re.escape(office.ipv4)}_but_{why}.*", tries[-1]), tries
    assert mark in gateway.queue()
    assert not office.find(mark)


def arrives_by_tls(gateway: Gateway, office: Peer, mark: str, proof: str = "") -> None:
    """Check that office got a message once and by TLS, and that the gateway's log says so."""
    assert BY_TLS.search(office.raw(mark)), office.raw(mark)
    tries = eventually(lambda: [t for t in deliveries(gateway, mark) if t.startswith("success")], what="a success")
    assert re.search(rf"_accepted_message\./By_TLSv1\.3_TLS_\w+{proof}\./Remote_host_said:_250_", tries[0]), tries
    assert len(office.find(mark)) == 1


def routed(gateway: Gateway, office: Peer, **words: str) -> Iterator[None]:
    """The lab's route with some words on TLS; the lab's own inventory afterwards."""
    running = gateway.process("qmail-send")
    route = {"domain": "corp.test", "host": office.ipv4, "tls": words.pop("tls")}
    variables: dict[str, object] = {"smtproutes_routes": [route], **words}
    assert playbook("playbooks/site.yml", gateway.name, "--tags", "smtproutes", variables=variables).changed(
        gateway.name
    )
    assert (
        playbook("playbooks/site.yml", gateway.name, "--tags", "smtproutes", variables=variables).changed(gateway.name)
        == 0
    )
    yield
    assert playbook("playbooks/site.yml", gateway.name, "--tags", "smtproutes").changed(gateway.name) == 1
    assert gateway.process("qmail-send") == running, "a route needs no restart"


def test_mail_goes_by_tls_where_the_server_offers_it(gateway: Gateway, outside: Peer, office: Peer) -> None:
    arrives_by_tls(gateway, office, send(outside, gateway))


def test_mail_goes_in_plain_text_where_it_does_not(gateway: Gateway, outside: Peer, office: Peer) -> None:
    offer_tls(office, gateway, False)
    mark = send(outside, gateway)
    assert not BY_TLS.search(office.raw(mark))
    assert "By_TLS" not in eventually(lambda: deliveries(gateway, mark), what="a delivery")[0]


@pytest.fixture(scope="class")
def required(gateway: Gateway, office: Peer) -> Iterator[None]:
    """A route that requires TLS."""
    yield from routed(gateway, office, tls="required")


@pytest.mark.usefixtures("required")
class TestRequired:
    """By TLS, whosever certificate, or not at all."""

    def test_mail_goes_by_tls(self, gateway: Gateway, outside: Peer, office: Peer) -> None:
        arrives_by_tls(gateway, office, send(outside, gateway))

    def test_without_tls_it_waits_until_there_is(self, gateway: Gateway, outside: Peer, office: Peer) -> None:
        offer_tls(office, gateway, False)
        mark = send(outside, gateway)
        waits(gateway, office, mark, "TLS_is_required_for_this_route,_and_STARTTLS_is_not_offered")
        gateway.run("qmailctl", "flush")
        eventually(lambda: len(deliveries(gateway, mark)) == 2, what="a second try")
        waits(gateway, office, mark, "TLS_is_required_for_this_route")
        offer_tls(office, gateway, True)
        gateway.run("qmailctl", "flush")
        arrives_by_tls(gateway, office, mark)
        gateway.wait_for_empty_queue()


@pytest.fixture(scope="class")
def verified(gateway: Gateway, office: Peer) -> Iterator[None]:
    """A route whose server must prove who it is, to an authority of the company's own."""
    yield from routed(gateway, office, tls="verified", smtproutes_tls_ca=AUTHORITY)
    gateway.run("rm", AUTHORITY)


@pytest.mark.usefixtures("verified")
class TestVerified:
    """By TLS, with the route's own host, or not at all."""

    def test_mail_waits_until_the_server_can_be_trusted(
        self, gateway: Gateway, outside: Peer, office: Peer, certificate: str
    ) -> None:
        mine = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=other -keyout /dev/null 2>/dev/null"
        gateway.run("tee", AUTHORITY, stdin=gateway.sh(mine))
        mark = send(outside, gateway)
        waits(
            gateway, office, mark, r"TLS_is_to_be_verified_for_this_route,_and_self-signed_certificate\._\(#4\.7\.5\)"
        )
        gateway.run("tee", AUTHORITY, stdin=certificate)
        gateway.run("qmailctl", "flush")
        arrives_by_tls(gateway, office, mark, ",_certificate_verified")
        gateway.wait_for_empty_queue()

    def test_mail_waits_while_the_server_is_another_one(
        self, gateway: Gateway, outside: Peer, office: Peer, certificate: str
    ) -> None:
        another = office.offer_tls("IP:192.0.2.9")
        end_kept_connections(gateway, office)
        gateway.run("tee", AUTHORITY, stdin=another)
        mark = send(outside, gateway)
        waits(gateway, office, mark, "TLS_is_to_be_verified_for_this_route,_and_IP_address_mismatch")
        gateway.run("tee", AUTHORITY, stdin=office.offer_tls(f"IP:{office.ipv4}"))
        gateway.run("qmailctl", "flush")
        arrives_by_tls(gateway, office, mark, ",_certificate_verified")


def test_without_gatepost_qmails_own_program_delivers_all(gateway: Gateway, outside: Peer, office: Peer) -> None:
    tags = ("--tags", "qmail,gatepost,smtproutes")
    off: dict[str, object] = {"gatepost_enabled": False}
    before = gateway.process("qmail-send")
    try:
        playbook("playbooks/site.yml", gateway.name, *tags, variables=off)
        after = gateway.process("qmail-send")
        assert after not in ("", before)
        assert playbook("playbooks/site.yml", gateway.name, *tags, variables=off).changed(gateway.name) == 0
        assert gateway.process("qmail-send") == after, "restarted once"
        assert not gateway.shell.file("/var/qmail/control/tlsroutes").exists
        assert not gateway.shell.file("/service/gatepost").exists
        mark = send(outside, gateway)
        assert not BY_TLS.search(office.raw(mark))
    finally:
        playbook("playbooks/site.yml", gateway.name, *tags)
    arrives_by_tls(gateway, office, send(outside, gateway))


def test_gatepost_runs_as_qmailr_without_its_group_and_gives_nothing_away(gateway: Gateway) -> None:
    for path in ("/usr/lib/gatepost/remote", "/usr/lib/gatepost/remote/qmail-remote"):
        file = gateway.shell.file(path)
        assert (file.user, file.group, file.mode) == ("root", "root", 0o755)
    assert gateway.sh("ls /usr/lib/gatepost/remote").split() == ["qmail-remote"], "nothing else goes before qmail's own"
    process = gateway.process("gatepost")
    status = dict(line.split(":", 1) for line in gateway.run("cat", f"/proc/{process}/status").splitlines())
    assert status["Uid"].split()[0] == gateway.sh("id -u qmailr").strip()
    assert status["Gid"].split()[0] == gateway.sh("getent group nofiles").split(":")[2]
    assert status["Groups"].strip() == "" and int(status["CapEff"], 16) == 0 and status["NoNewPrivs"].strip() == "1"


def test_a_relay_clients_message_leaves_signed(gateway: Gateway, office: Peer, outside: Peer) -> None:
    domains: dict[str, object] = {"gatepost_dkim_domains": ["corp.test"]}
    tags = ("--tags", "gatepost")
    try:
        playbook("playbooks/site.yml", gateway.name, *tags, variables=domains)
        assert playbook("playbooks/site.yml", gateway.name, *tags, variables=domains).changed(gateway.name) == 0
        records = gateway.run("gatepost", "dkim", "show", "corp.test").splitlines()
        assert [line.split()[0] for line in records] == [
            f"{gateway.name}-{kind}._domainkey.corp.test." for kind in ("ed25519", "rsa")
        ]
        mark = token()
        assert office.send(gateway.ipv4, f"{mark}@world.test", sender="ann@corp.test", mark=mark).code == 250
        assert outside.raw(mark).count("DKIM-Signature:") == 2
        mark = send(outside, gateway)
        assert "DKIM-Signature:" not in office.raw(mark), "a stranger's message is not ours"
    finally:
        playbook("playbooks/site.yml", gateway.name, *tags)
    assert gateway.run("gatepost", "dkim", "show").strip() == ""
