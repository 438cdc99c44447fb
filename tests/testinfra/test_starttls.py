"""STARTTLS on port 25, as the mail server of another host meets it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from xml.etree import ElementTree

import pytest
from controller import playbook
from lab_hosts import Gateway, Peer, eventually, token

SETTINGS = "/etc/gatewright/starttls.json"
PEM = "/etc/gatewright/starttls.pem"
RENEW = "/usr/local/sbin/gatewright-certificate"
BODY = "8-bit: Grüße, 漢字\r\n\r\n..two dots\r\n" + "x" * 900 + "\r\ntrailing space \r\n"

INJECTION = """
import socket, ssl
wire = socket.create_connection(("{server}", 25), timeout=60)
def hear(wire, data=b""):
    while not data.endswith(b"\\n") or data.splitlines()[-1][3:4] == b"-":
        data += wire.recv(4096)
    return data.decode()
hear(wire)
wire.sendall(b"EHLO probe.test\\r\\n")
hear(wire)
wire.sendall(b"STARTTLS\\r\\nMAIL FROM:<injected@world.test>\\r\\nRCPT TO:<user@corp.test>\\r\\n")
print(hear(wire)[:3])
wire = ssl._create_unverified_context().wrap_socket(wire)
for command in (b"NOOP\\r\\n", b"DATA\\r\\n"):
    wire.sendall(command)
    print(hear(wire)[:3])
"""

HOLD = """
import hashlib, pathlib, smtplib, ssl, time
def connect():
    client = smtplib.SMTP("{server}", 25, timeout=60)
    client.starttls(context=ssl._create_unverified_context())
    return client, hashlib.sha256(client.sock.getpeercert(True)).hexdigest()
held, old = connect()
pathlib.Path("{flag}").touch()
deadline = time.monotonic() + 60
while True:
    other, new = connect()
    other.quit()
    if new != old or time.monotonic() > deadline:
        break
    time.sleep(0.2)
held.mail("someone@world.test")
held.rcpt("user@corp.test")
print(held.data("Subject: {mark}\\r\\n\\r\\nby a connection that was there before\\r\\n")[0], new != old)
held.quit()
"""


def message(mark: str) -> str:
    """A message whose body no relay may touch."""
    return f"From: someone@world.test\r\nTo: user@corp.test\r\nSubject: {mark}\r\n\r\n{BODY}"


def logged(gateway: Gateway, mark: str) -> dict[str, Any]:
    """What the scanner wrote down of a message."""
    log = "/var/log/gatescan/messages.jsonl"
    line = eventually(lambda: gateway.sh(f"grep -F {mark} {log} || true").strip(), what=f"{mark} in {log}")
    found: dict[str, Any] = json.loads(line)
    return found


def handshake(outside: Peer, server: str, *options: str) -> str:
    """What openssl says of a handshake that its client, which would take anything, was told to try."""
    command = f"echo QUIT | timeout 60 openssl s_client -starttls smtp -connect {server}:25 -brief {' '.join(options)}"
    return outside.sh(f"{command} 2>&1", check=False)


@pytest.mark.parametrize("starttls", [True, False])
def test_mail_arrives_unchanged_and_says_how_it_came(
    gateway: Gateway, outside: Peer, office: Peer, family: int, starttls: bool
) -> None:
    mark = token()
    server = gateway.ipv4 if family == 4 else gateway.ipv6
    source = outside.address(31, family)
    reply = outside.send(server, "user@corp.test", message(mark), source=source, starttls=starttls)
    assert (reply.stage, reply.code) == ("data", 250), reply
    header, _, body = office.raw(mark).partition("\n\n")
    assert body == BODY.replace("\r\n", "\n")
    assert bool(re.search(r"^Received: .* with ESMTPS \(TLSv1\.3 TLS_\w+\)", header, re.MULTILINE)) == starttls
    assert logged(gateway, mark)["tls"].startswith("TLSv1.3 TLS_") == starttls


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_todays_tls_is_spoken(gateway: Gateway, outside: Peer, version: str) -> None:
    said = handshake(outside, gateway.ipv4, f"-tls{version}")
    assert f"Protocol version: TLSv{version.replace('_', '.')}" in said
    assert re.search(r"Ciphersuite: (TLS_|ECDHE-ECDSA-).*(GCM|CHACHA20)", said), said


@pytest.mark.parametrize("options", ["-tls1", "-tls1_1", "-tls1_2 -cipher kRSA", "-tls1_2 -cipher AES128+ECDHE+SHA1"])
def test_old_tls_and_weak_ciphers_are_refused(gateway: Gateway, outside: Peer, options: str) -> None:
    willing = options if "-cipher" in options else f"{options} -cipher ALL"
    said = handshake(outside, gateway.ipv4, f"{willing}:@SECLEVEL=0")
    assert "alert protocol version" in said or "handshake failure" in said, said
    assert "CONNECTION ESTABLISHED" not in said


def test_a_scanner_finds_nothing_weak(gateway: Gateway, outside: Peer) -> None:
    report = outside.run("sslscan", "--starttls-smtp", "--no-colour", "--xml=-", f"{gateway.ipv4}:25")
    told = ElementTree.fromstring(report)

    def said(element: str, attribute: str) -> set[str | None]:
        return {found.get(attribute) for found in told.iter(element)}

    assert [error.text for error in told.iter("error")] == []
    enabled = [found.attrib for found in told.iter("protocol") if found.get("enabled") == "1"]
    assert [(found["type"], found["version"]) for found in enabled] == [("tls", "1.2"), ("tls", "1.3")]
    assert said("cipher", "strength") == {"strong"}, report
    assert said("cipher", "sslversion") == {"TLSv1.2", "TLSv1.3"}
    assert said("renegotiation", "supported") == said("compression", "supported") == {"0"}
    assert said("heartbleed", "vulnerable") == {"0"}


def test_what_is_slipped_in_behind_starttls_is_discarded(gateway: Gateway, outside: Peer) -> None:
    told = outside.run("python3", "-", stdin=INJECTION.format(server=gateway.ipv4)).split()
    assert told == ["220", "250", "503"], "one reply a command, and DATA has no sender"


@pytest.fixture(scope="module")
def policies(gateway: Gateway, outside: Peer) -> Iterator[None]:
    """An inventory that asks for TLS from outside's IPv4 address, and offers none to its IPv6 address."""
    tags = ("--tags", "tcp_smtp")
    networks = [
        {"address": outside.ipv4, "env": {"STARTTLS": "required"}},
        {"address": f"{outside.ipv6}/128", "env": {"STARTTLS": "never"}},
    ]
    variables: dict[str, object] = {"tcp_smtp_networks": networks[: 2 if gateway.speaks_ipv6 else 1]}
    assert playbook("playbooks/site.yml", gateway.name, *tags, variables=variables).changed(gateway.name) == 1
    yield
    assert playbook("playbooks/site.yml", gateway.name, *tags).changed(gateway.name) == 1


@pytest.mark.usefixtures("policies")
class TestPolicies:
    """One line of inventory a network."""

    def test_plain_mail_is_refused_where_tls_is_required(self, gateway: Gateway, outside: Peer) -> None:
        reply = outside.send(gateway.ipv4, "user@corp.test", mark=token())
        assert (reply.stage, reply.code) == ("mail", 530), reply

    def test_mail_by_tls_passes_where_it_is_required(self, gateway: Gateway, outside: Peer, office: Peer) -> None:
        mark = token()
        assert outside.send(gateway.ipv4, "user@corp.test", mark=mark, starttls=True).code == 250
        office.arrived(mark)

    def test_elsewhere_plain_mail_passes(self, gateway: Gateway, office: Peer) -> None:
        assert office.send(gateway.ipv4, "user@corp.test", mark=token()).code == 250

    def test_nothing_is_offered_where_the_policy_is_never(self, gateway: Gateway, outside: Peer) -> None:
        if not gateway.speaks_ipv6:
            pytest.skip(f"{gateway.name} has the paper's ucspi-tcp 0.88 from source: its tcpserver is IPv4 only")
        source = outside.ipv6
        reply = outside.send(gateway.ipv6, "user@corp.test", mark=token(), source=source, starttls=True)
        assert (reply.stage, reply.code) == ("starttls", 0) and "not supported" in reply.text, reply
        assert outside.send(gateway.ipv6, "user@corp.test", mark=token(), source=source).code == 250


def test_the_key_is_roots_alone(gateway: Gateway) -> None:
    file = gateway.shell.file(PEM)
    assert (file.user, file.mode) == ("root", 0o600)
    lines = gateway.run("ps", "-eo", "user:32=,args=").splitlines()
    assert {line.split()[0] for line in lines if "starttls-smtpd" in line} == {"qmaild"}


def test_the_timer_and_its_service_are_in_order(gateway: Gateway) -> None:
    assert gateway.run("systemctl", "is-active", "gatewright-certificate.timer").strip() == "active"
    gateway.run("systemctl", "start", "gatewright-certificate.service")


@pytest.fixture
def certificate_kept(gateway: Gateway) -> Iterator[dict[str, Any]]:
    """The certificate's settings; they and the certificate are put back afterwards, in the same files."""
    settings, pem = gateway.run("cat", SETTINGS), gateway.run("cat", PEM)
    yield json.loads(settings)
    gateway.run("tee", SETTINGS, stdin=settings)
    gateway.run("tee", PEM, stdin=pem)
    assert gateway.run(RENEW, "renew") == "", "what was there lasts"


def test_a_certificate_is_replaced_before_its_end_while_a_connection_stands(
    gateway: Gateway, outside: Peer, office: Peer, certificate_kept: dict[str, Any]
) -> None:
    mark = token()
    script = HOLD.format(server=gateway.ipv4, mark=mark, flag=f"/tmp/{mark}")
    server = gateway.run("pidof", "-s", "tcpserver")
    with ThreadPoolExecutor() as pool:
        told = pool.submit(outside.run, "python3", "-", stdin=script)
        eventually(lambda: outside.sh(f"ls /tmp/{mark} 2>/dev/null || true"), what="a connection by TLS")
        gateway.run("tee", SETTINGS, stdin=json.dumps(certificate_kept | {"renew_days": 400}))
        assert "new certificate from this host" in gateway.run(RENEW, "renew")
    outside.run("rm", f"/tmp/{mark}")
    assert told.result().split() == ["250", "True"]
    assert gateway.run("pidof", "-s", "tcpserver") == server, "nothing was restarted"
    office.arrived(mark)


SITE = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=mx.example.org -keyout {0}/site.key -out {0}/site.pem 2>&1"


def test_the_sites_own_certificate_is_taken_if_its_key_fits(
    gateway: Gateway, outside: Peer, certificate_kept: dict[str, Any]
) -> None:
    folder = gateway.run("mktemp", "-d").strip()
    try:
        gateway.sh(SITE.format(folder))
        paths = {"certificate": f"{folder}/site.pem", "key": f"{folder}/site.key"}
        gateway.run("tee", SETTINGS, stdin=json.dumps(certificate_kept | paths))
        gateway.run(RENEW, "renew")
        assert "CN=mx.example.org" in handshake(outside, gateway.ipv4)
        gateway.sh(f"openssl genrsa -out {folder}/site.key 2048 2>&1")
        said = gateway.sh(f"{RENEW} renew 2>&1; echo status $?")
        assert "cannot be used together" in said and "status 1" in said
        assert "CN=mx.example.org" in handshake(outside, gateway.ipv4), "the one that fitted stays"
    finally:
        gateway.run("rm", "-r", folder)


EXPIRED = """
cd "$(mktemp -d)" || exit 1
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=old -keyout key -out certificate \
    -not_before 20200101000000Z -not_after 20200201000000Z 2>/dev/null
cat key certificate
rm -r "$PWD"
"""


@pytest.mark.usefixtures("certificate_kept")
def test_the_doctor_names_an_expired_certificate(gateway: Gateway, outside: Peer) -> None:
    assert re.search(rf"^ok +certificate: {PEM}: good for \d+ days", gateway.run("gatescan", "doctor"), re.MULTILINE)
    gateway.run("tee", PEM, stdin=outside.sh(EXPIRED))
    said = gateway.run("gatescan", "doctor", check=False)
    assert re.search(rf"^BROKEN +certificate: {PEM}: expired \d+ days ago, on Feb +1 .* 2020", said, re.MULTILINE), said
