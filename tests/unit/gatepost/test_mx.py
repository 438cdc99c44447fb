"""Mail by MX: which server gets it, and by what TLS."""

from __future__ import annotations

import hashlib
import json
import re
import resource
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from gatepost_rig import PATIENCE, Gatepost, NameServer, compile_client
from server_rig import Server

BY_TLS = rb"By TLSv1\.3 TLS_[A-Z0-9_]+"
DELIVERED = [b"Subject: x\r\n\r\nhello\r\n"]

Listen = Callable[..., Server]


def free_port() -> int:
    """A port that no loopback address uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def dns_server() -> NameServer:
    """A name server of these tests."""
    return NameServer()


@pytest.fixture(scope="module")
def built(dns_server: NameServer, tmp_path_factory: pytest.TempPathFactory) -> Gatepost:
    """The client, and a place for the daemon."""
    return Gatepost(tmp_path_factory.mktemp("gatepost"), dns_server)


@pytest.fixture
def zone(dns_server: NameServer) -> NameServer:
    """The name server with no names."""
    dns_server.records.clear()
    dns_server.soft.clear()
    dns_server.silent.clear()
    dns_server.insecure.clear()
    dns_server.soft_kinds.clear()
    dns_server.asked.clear()
    return dns_server


@pytest.fixture
def port() -> int:
    """The port of every server of a test, in 25's place."""
    return free_port()


@pytest.fixture
def start(built: Gatepost, zone: NameServer, port: int) -> Iterator[Callable[..., Gatepost]]:
    """Start the daemon with these settings."""
    built.furnish()

    def begin(**settings: object) -> Gatepost:
        built.start(port=port, **settings)
        return built

    yield begin
    errors = built.stop()
    assert "Traceback" not in errors, errors


@pytest.fixture
def listen(authority: Path, port: int) -> Iterator[Listen]:
    """Start servers on addresses of loopback."""
    servers: list[Server] = []

    def begin(address: str, certificate: Path | None = authority) -> Server:
        servers.append(Server(certificate, address, port))
        return servers[-1]

    yield begin
    for server in servers:
        server.close()


def corp(zone: NameServer, *exchangers: tuple[int, str, str]) -> None:
    """The MX records of corp.test: preference, name, address."""
    for preference, name, address in exchangers:
        zone.add("corp.test", "MX", f"{preference} {name}.")
        zone.add(name, "AAAA" if ":" in address else "A", address)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that no event tells of."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ended(clients: list[subprocess.Popen[bytes]]) -> int:
    """How many have their report."""
    return sum(process.poll() is not None for process in clients)


def has_ended(clients: list[subprocess.Popen[bytes]]) -> bool:
    """Whether all have their report."""
    return ended(clients) == len(clients)


# Which server


def test_mail_goes_to_the_best_server_and_by_tls_where_it_is_offered(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (20, "b.test", "127.0.0.3"), (10, "a.test", "127.0.0.2"))
    worse, best = listen("127.0.0.3"), listen("127.0.0.2")
    report = start().run()
    assert re.fullmatch(
        rb"r\0K127\.0\.0\.2 accepted message.\n" + BY_TLS + rb"\.\nRemote host said: 250 taken\n\0", report
    ), report
    assert best.messages == DELIVERED and worse.connections == 0
    assert best.asked_for == ["a.test"], "SNI"


def greets_with(reply: bytes) -> Callable[[Server], None]:
    """A server that greets so."""

    def spoil(server: Server) -> None:
        server.greeting = reply

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        lambda server: server.close(),
        greets_with(b"421 come back\r\n"),
        greets_with(b"554 no\r\n"),
        lambda server: server.drops.add("greeting"),
        lambda server: server.drops.add("EHLO"),
        lambda server: server.replies.update({"EHLO": b"450 busy\r\n", "HELO": b"450 busy\r\n"}),
    ],
    ids=["refuses the connection", "421", "554", "hangs up", "hangs up at EHLO", "refuses EHLO"],
)
def test_a_server_that_cannot_talk_leaves_it_to_the_next(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer, spoil: Callable[[Server], None]
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"), (20, "b.test", "127.0.0.3"))
    first, second = listen("127.0.0.2"), listen("127.0.0.3")
    spoil(first)
    assert b"K127.0.0.3 accepted" in start().run()
    assert first.messages == [] and second.messages == DELIVERED


def test_a_refusal_is_the_domains_word_and_no_other_server_is_asked(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"), (20, "b.test", "127.0.0.3"))
    first, second = listen("127.0.0.2"), listen("127.0.0.3")
    first.replies["RCPT"] = b"550 5.1.1 no such user\r\n"
    assert start().run().startswith(b"h127.0.0.2 does not like recipient.\nRemote host said: 550 5.1.1")
    assert second.connections == 0


def test_without_mx_the_domains_own_address_counts(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    zone.add("corp.test", "A", "127.0.0.2")
    server = listen("127.0.0.2")
    assert b"accepted" in start().run()
    assert server.messages == DELIVERED


def test_an_alias_is_followed(start: Callable[..., Gatepost], listen: Listen, zone: NameServer) -> None:
    zone.add("corp.test", "CNAME", "real.test.")
    zone.add("real.test", "MX", "10 a.test.")
    zone.add("a.test", "A", "127.0.0.2")
    server = listen("127.0.0.2")
    assert b"accepted" in start().run()
    assert server.messages == DELIVERED


@pytest.mark.parametrize(
    ("records", "letter", "code"),
    [
        ([("corp.test", "MX", "0 .")], b"D", b"(#5.1.10)"),
        ([], b"D", b"(#5.1.2)"),
        ([("corp.test", "TXT", "x")], b"D", b"(#5.4.4)"),
        ([("corp.test", "MX", "10 none.test.")], b"D", b"(#5.1.2)"),
        ([("corp.test", "MX", "10 soft.test.")], b"Z", b"(#4.4.3)"),
        ([("corp.test", "MX", "10 own.test."), ("own.test", "A", "192.0.2.1")], b"D", b"(#5.4.6)"),
        (
            [("corp.test", "MX", "10 own.test."), ("own.test", "A", "192.0.2.1"), ("corp.test", "MX", "20 b.test."),
             ("b.test", "A", "127.0.0.3")],
            b"D", b"(#5.4.6)",
        ),
    ],
    ids=["null MX", "no domain", "no address", "no such server", "lame DNS", "own host", "own host is the best"],
)  # the records of a case side by side # fmt: skip
def test_a_domain_that_takes_no_mail_is_told_apart_from_one_that_cannot_be_asked(
    start: Callable[..., Gatepost],
    listen: Listen,
    zone: NameServer,
    records: list[tuple[str, str, str]],
    letter: bytes,
    code: bytes,
) -> None:
    for record in records:
        zone.add(*record)
    zone.soft.add("soft.test")
    server = listen("127.0.0.3")
    report = start(own_addresses=["192.0.2.1"]).run()
    assert report.startswith(letter) and code in report, report
    assert server.connections == 0


def test_a_dead_name_server_keeps_the_message(start: Callable[..., Gatepost], zone: NameServer) -> None:
    zone.soft.add("corp.test")
    assert start().run() == b"ZCNAME lookup failed temporarily. (#4.4.3)\n\0"


@pytest.mark.parametrize("prefer", ["ipv4", "ipv6"])
def test_the_preferred_family_comes_first(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer, prefer: str
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"), (10, "a.test", "::1"))
    servers = {"ipv4": listen("127.0.0.2"), "ipv6": listen("::1")}
    gatepost = start(prefer=prefer, helo={"ipv6": "six.gw.test"})
    assert b"accepted" in gatepost.run()
    assert servers[prefer].messages == DELIVERED
    name = {"ipv4": b"EHLO gw.test\r\n", "ipv6": b"EHLO six.gw.test\r\n"}[prefer]
    assert servers[prefer].all_heard()[0][1] == name
    assert gatepost.journalled()[0]["family"] == prefer


def test_a_server_with_ipv6_alone_is_reached_and_one_whose_ipv6_is_dead_too(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "::1"))
    zone.add("b.test", "AAAA", "::2")
    zone.add("b.test", "A", "127.0.0.2")
    six, four = listen("::1"), listen("127.0.0.2")
    gatepost = start(prefer="ipv6")
    assert b"K::1 accepted" in gatepost.run()
    assert b"K127.0.0.2 accepted" in gatepost.run(domain="b.test")
    assert six.messages == four.messages == DELIVERED


# By what TLS


def test_optional_tls_that_breaks_falls_back_and_required_tls_waits(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    zone.add("strict.test", "MX", "10 a.test.")
    server = listen("127.0.0.2")
    server.newest = ssl.TLSVersion.TLSv1_1
    gatepost = start(domains={"strict.test": "required"})
    assert gatepost.run().startswith(b"r\0K127.0.0.2 accepted message.\nRemote host said")
    report = gatepost.run(domain="strict.test")
    assert report.startswith(b"ZConnected to 127.0.0.2 but TLS is required for this domain, and "), report
    assert len(server.messages) == 1


def tlsa(certificate: Path, usage: int = 3, selector: int = 1) -> str:
    """The TLSA record that names a certificate or its key."""
    pem = certificate.read_text()
    body = pem[pem.index("-----BEGIN CERTIFICATE") :]
    der = ssl.PEM_cert_to_DER_cert(body[: body.index("-----END CERTIFICATE-----") + 26])
    if selector == 1:
        public = subprocess.run(
            ["openssl", "x509", "-in", certificate, "-noout", "-pubkey"], capture_output=True, check=True
        ).stdout
        der = subprocess.run(
            ["openssl", "pkey", "-pubin", "-outform", "DER"], input=public, capture_output=True, check=True
        ).stdout
    return f"{usage} {selector} 1 {hashlib.sha256(der).hexdigest()}"


@pytest.fixture
def secure(start: Callable[..., Gatepost], listen: Listen, zone: NameServer) -> tuple[Gatepost, Server]:
    """corp.test in a signed zone, with one server whose certificate is its own and names somebody else."""
    corp(zone, (10, "a.test", "127.0.0.2"))
    zone.add("a.test", "TXT", "so that AAAA is no NXDOMAIN")
    return start(is_validating=True), listen("127.0.0.2")


@pytest.mark.parametrize("selector", [0, 1])
def test_dane_takes_the_certificate_that_the_domain_names(
    secure: tuple[Gatepost, Server], zone: NameServer, authority: Path, port: int, selector: int
) -> None:
    zone.add(f"_{port}._tcp.a.test", "TLSA", tlsa(authority, selector=selector), "3 1 1 " + "00" * 32)
    report = secure[0].run()
    assert re.search(BY_TLS + rb", certificate verified \(DANE\)\.\n", report), report
    assert secure[0].journalled()[0]["verified"] == "DANE"


@pytest.mark.parametrize("how", ["another certificate", "no STARTTLS", "broken handshake", "bogus TLSA"])
def test_against_dane_nothing_is_sent(
    secure: tuple[Gatepost, Server], zone: NameServer, authority: Path, port: int, how: str
) -> None:
    gatepost, server = secure
    zone.add(f"_{port}._tcp.a.test", "TLSA", "3 1 1 " + "00" * 32 if how == "another certificate" else tlsa(authority))
    if how == "no STARTTLS":
        server.certificate = None
    elif how == "broken handshake":
        server.newest = ssl.TLSVersion.TLSv1_1
    elif how == "bogus TLSA":
        zone.soft.add(f"_{port}._tcp.a.test")
    report = gatepost.run()
    assert report.startswith(b"Z") and server.messages == []
    assert how == "bogus TLSA" or b"TLS is to be verified by DANE, and" in report, report


def test_records_that_smtp_cannot_go_by_still_promise_tls(
    secure: tuple[Gatepost, Server], zone: NameServer, port: int
) -> None:
    gatepost, server = secure
    zone.add(f"_{port}._tcp.a.test", "TLSA", "1 1 1 " + "00" * 32)
    assert re.search(BY_TLS + rb"\.\n", gatepost.run())
    server.certificate = None
    assert gatepost.run().startswith(b"ZConnected to 127.0.0.2 but TLS is required by DANE")


def test_records_of_a_zone_that_is_not_signed_do_not_count(
    secure: tuple[Gatepost, Server], zone: NameServer, port: int
) -> None:
    zone.insecure.add("a.test")
    zone.add(f"_{port}._tcp.a.test", "TLSA", "3 1 1 " + "00" * 32)
    assert b"accepted" in secure[0].run()


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """An authority, and servers that it vouches for: one that is a.test, one that is other.test. PEM files."""
    place = tmp_path_factory.mktemp("chain")
    ca, key = place / "ca.pem", place / "ca.key"
    new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run(
        [*new, "-x509", "-subj", "/CN=authority", "-keyout", key, "-out", ca], check=True, capture_output=True
    )
    made = []
    for name in ("a.test", "other.test"):
        request, pem = place / f"{name}.csr", place / f"{name}.pem"
        subprocess.run(
            [*new, "-subj", f"/CN={name}", "-keyout", place / f"{name}.key", "-out", request],
            check=True,
            capture_output=True,
        )
        (place / "ext").write_text(f"subjectAltName=DNS:{name}\n")
        signed = subprocess.run(
            ["openssl", "x509", "-req", "-in", request, "-CA", ca, "-CAkey", key, "-CAcreateserial", "-days", "9",
             "-extfile", place / "ext"], check=True, capture_output=True, text=True,
        ).stdout  # a command as one types it # fmt: skip
        pem.write_text((place / f"{name}.key").read_text() + signed + ca.read_text())
        made.append(pem)
    return ca, made[0], made[1]


@pytest.mark.parametrize(("which", "selector"), [(1, 0), (1, 1), (2, 0)])
def test_dane_takes_an_authority_that_the_domain_names(
    secure: tuple[Gatepost, Server],
    zone: NameServer,
    chain: tuple[Path, Path, Path],
    port: int,
    which: int,
    selector: int,
) -> None:
    gatepost, server = secure
    zone.add(f"_{port}._tcp.a.test", "TLSA", tlsa(chain[0], usage=2, selector=selector))
    server.certificate = chain[which]
    report = gatepost.run()
    assert (b"certificate verified (DANE)" in report) is (which == 1), report
    assert which == 1 or b"hostname mismatch" in report, report


class PolicyDaemon:
    """Answers socketmap questions: domain -> answer."""

    def __init__(self, path: Path) -> None:
        self.answers: dict[str, bytes] = {}
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        """Answer for ever."""
        while True:
            connection, _ = self.listener.accept()
            with connection:
                question = connection.recv(1000)
                domain = question.partition(b" ")[2].rstrip(b",").decode()
                answer = self.answers.get(domain, b"NOTFOUND ")
                connection.sendall(b"%d:%s," % (len(answer), answer))


@pytest.mark.parametrize(
    ("answer", "certificate", "said"),
    [
        (b"OK secure match=a.test servername=hostname", "a.test", b"certificate verified (MTA-STS)"),
        (b"OK secure match=x.example:.test", "a.test", b"certificate verified (MTA-STS)"),
        (b"OK secure match=a.test", "other.test", b"TLS is to be verified by MTA-STS, and hostname mismatch"),
        (b"OK secure match=mx.example", "a.test", b"a.test is no server that the domain's MTA-STS policy names"),
        (b"TEMP later", "a.test", b"the MTA-STS policy daemon says"),
        (b"nonsense", "a.test", b"the MTA-STS policy daemon says"),
        (b"NOTFOUND ", "other.test", b"accepted message.\nBy TLS"),
    ],
)
def test_an_mta_sts_policy_is_obeyed(
    start: Callable[..., Gatepost],
    listen: Listen,
    zone: NameServer,
    chain: tuple[Path, Path, Path],
    tmp_path: Path,
    answer: bytes,
    certificate: str,
    said: bytes,
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    policies = PolicyDaemon(tmp_path / "sts")
    policies.answers["corp.test"] = answer
    server = listen("127.0.0.2", chain[1] if certificate == "a.test" else chain[2])
    report = start(sts_socket=str(tmp_path / "sts"), authorities=str(chain[0])).run()
    assert said in report, report
    assert bool(server.messages) is (b"accepted message" in said or b"verified (" in said)


def test_a_policy_daemon_that_is_down_keeps_the_message(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer, tmp_path: Path
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    server = listen("127.0.0.2")
    assert start(sts_socket=str(tmp_path / "none")).run().startswith(b"Zthe MTA-STS policy daemon does not answer")
    assert server.connections == 0


# One after another, and many at once


def test_messages_to_one_server_share_a_connection_and_its_tls(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    server = listen("127.0.0.2")
    gatepost = start(reuse_seconds=20, reuse_messages=3)
    assert all(b"accepted message.\nBy TLSv1.3" in gatepost.run() for _ in range(4))
    assert server.connections == 2, "three messages over the first connection, one over the second"
    assert [entry["reused"] for entry in gatepost.journalled()] == [False, True, True, False]


def test_no_more_connections_are_kept_than_there_may_be_deliveries_and_the_oldest_makes_room(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    servers = [listen(f"127.0.0.{number}") for number in (2, 3, 4)]
    for number in (2, 3, 4):
        zone.add(f"d{number}.test", "A", f"127.0.0.{number}")
    gatepost = start(reuse_seconds=60, deliveries=2)
    for number in (2, 3, 4):
        assert b"accepted" in gatepost.run(domain=f"d{number}.test")
    wait_until(lambda: servers[0].ended == 1)
    assert [server.ended for server in servers] == [1, 0, 0]


def test_a_worker_has_the_descriptors_that_its_deliveries_need(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    server = listen("127.0.0.2")
    server.stalls.add(".")
    gatepost = start(per_host=40)
    assert gatepost.process
    resource.prlimit(gatepost.process.pid, resource.RLIMIT_NOFILE, (64, 4096))
    gatepost.reload({"per_host": 41})
    waiting = [gatepost.begin() for _ in range(40)]
    wait_until(lambda: len(server.messages) == 40)
    for process in waiting:
        process.kill()
        process.communicate()


def test_a_kept_connection_that_died_is_replaced_without_a_word(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    server = listen("127.0.0.2")
    gatepost = start(reuse_seconds=20)
    assert b"accepted" in gatepost.run()
    server.drops.add("tls MAIL")
    process = gatepost.begin()
    deadline = time.monotonic() + PATIENCE
    while server.ended < 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    server.drops.clear()
    report, _ = process.communicate(timeout=PATIENCE)
    assert b"accepted" in report or b"connection died" in report
    assert b"accepted" in gatepost.run()


def test_a_connection_is_not_shared_where_the_policy_differs(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    zone.add("strict.test", "MX", "10 a.test.")
    server = listen("127.0.0.2")
    gatepost = start(reuse_seconds=20, domains={"strict.test": "verified"})
    assert b"accepted" in gatepost.run()
    assert gatepost.run(domain="strict.test").startswith(b"Z")
    assert server.connections == 2 and len(server.messages) == 1


def test_a_server_that_asks_to_wait_is_left_alone(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    server = listen("127.0.0.2")
    server.greeting = b"421 4.7.0 too many\r\n"
    gatepost = start(back_off=60)
    told = gatepost.run()
    assert told.startswith(b"ZConnected to 127.0.0.2 but greeting failed.\nRemote host said: 421 4.7.0")
    assert gatepost.run() == told
    assert server.connections == 1


def test_a_server_that_hangs_does_not_hold_up_others(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    zone.add("other.test", "MX", "10 b.test.")
    zone.add("b.test", "A", "127.0.0.3")
    slow, quick = listen("127.0.0.2"), listen("127.0.0.3")
    slow.stalls.add("greeting")
    gatepost = start(per_host=3, waiting_per_host=2)
    waiting = [gatepost.begin() for _ in range(5)]
    deadline = time.monotonic() + PATIENCE
    while slow.connections < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert b"K127.0.0.3 accepted" in gatepost.run(domain="other.test")
    assert quick.messages == DELIVERED
    assert slow.connections == 3
    for process in waiting:
        process.kill()
        process.communicate()


def test_many_recipients_at_one_server_are_all_delivered_at_once(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    server = listen("127.0.0.2")
    gatepost = start(per_host=2, waiting_per_host=1)
    waiting = [gatepost.begin() for _ in range(12)]
    told = [process.communicate(timeout=PATIENCE)[0] for process in waiting]
    assert all(b"K127.0.0.2 accepted" in report for report in told), told
    assert len(server.messages) == 12


def test_a_server_that_keeps_people_waiting_has_a_few_of_them_only(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    server = listen("127.0.0.2")
    server.stalls.add("DATA")
    gatepost = start(per_host=2, waiting_per_host=1, patience_per_host=0.3, listening_per_host=8)
    waiting = [gatepost.begin() for _ in range(8)]
    deadline = time.monotonic() + PATIENCE
    while sum(process.poll() is not None for process in waiting) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert b"and it is slow" in gatepost.run(), "who comes later is put off at once"
    for process in waiting:
        put_off = process.poll() is not None
        process.kill()
        assert (b"and it is slow" in process.communicate()[0]) == put_off


def test_a_domain_whose_servers_all_stall_behind_the_message_takes_no_more_places_than_a_slow_server(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"), (20, "b.test", "127.0.0.3"), (30, "c.test", "127.0.0.4"))
    servers = [listen(f"127.0.0.{number}") for number in (2, 3, 4)]
    for server in servers:
        server.stalls.add(".")
    gatepost = start(per_host=2, waiting_per_host=1, patience_per_host=0.3, listening_per_host=1)
    waiting = [gatepost.begin() for _ in range(9)]
    wait_until(lambda: ended(waiting) == 6)
    assert b"and it is slow" in gatepost.run(), "who comes later is put off at once"
    assert ended(waiting) == 6 and sum(len(server.messages) for server in servers) <= 3
    for process in waiting:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("stall", ["greeting", "EHLO", "STARTTLS", "handshake", "MAIL", "RCPT", "DATA"])
def test_few_listen_to_a_server_that_says_nothing(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer, stall: str
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    listen("127.0.0.2").stalls.add(stall)
    gatepost = start(per_host=6, patience_per_host=0.3, listening_per_host=2)
    listening = [gatepost.begin() for _ in range(6)]
    wait_until(lambda: ended(listening) == 4)
    assert b"it says nothing" in gatepost.run(), "who comes later is put off at once"
    assert ended(listening) == 4
    for process in listening:
        put_off = process.poll() is not None
        process.kill()
        assert (b"it says nothing" in process.communicate()[0]) == put_off


def test_a_domain_that_names_anothers_address_takes_none_of_its_places(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    zone.add("evil.test", "MX", "10 b.test.")
    zone.add("b.test", "A", "127.0.0.2", "127.0.0.3")
    listen("127.0.0.2")
    silent = listen("127.0.0.3")
    silent.stalls.add("greeting")
    gatepost = start(per_host=2, patience_per_host=2 * PATIENCE)
    gatepost.control(timeoutremote="100\n")
    waiting = [gatepost.begin(domain="evil.test") for _ in range(12)]
    wait_until(lambda: silent.connections >= 2)
    assert b"K127.0.0.2 accepted" in gatepost.run()
    for process in waiting:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("kind", ["greeting", "EHLO", "tls RCPT", "name server"])
def test_many_domains_with_a_server_each_do_not_keep_all_deliveries_waiting(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer, kind: str
) -> None:
    for number in range(6):
        corp_of = f"evil{number}.test"
        zone.add(corp_of, "MX", f"10 mx.{corp_of}.")
        zone.add(f"mx.{corp_of}", "A", f"127.0.0.{number + 10}")
        listen(f"127.0.0.{number + 10}").stalls.add(kind)
        if kind == "name server":
            zone.silent.add(corp_of)
    gatepost = start(stalled=2, patience_per_host=0.5)
    gatepost.control(timeoutremote="100\n")
    waiting = [gatepost.begin(f"a@evil{number}.test", domain=f"evil{number}.test") for number in range(6)]
    wait_until(lambda: ended(waiting) == 4)
    for process in waiting:
        put_off = process.poll() is not None
        process.kill()
        assert (b"Z" in (told := process.communicate()[0]) and b"keep too many messages waiting" in told) == put_off


def test_who_is_slow_and_comes_on_is_not_put_off_however_many_stall(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    server = listen("127.0.0.2")
    gatepost = start(stalled=0, patience_per_host=0.5)
    server.paces["MAIL"] = server.paces["RCPT"] = server.paces["DATA"] = 0.3
    assert b"K127.0.0.2 accepted" in gatepost.run()
    server.paces["."] = 1.5
    assert b"K127.0.0.2 accepted" in gatepost.run(), "it may have been taken"


def test_a_route_is_not_put_off_by_what_others_servers_do(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    server = listen("127.0.0.2", None)
    server.paces["EHLO"] = 1.5
    gatepost = start(stalled=0, patience_per_host=0.5)
    gatepost.control(smtproutes=f"corp.test:[127.0.0.2]:{server.port}\n")
    assert b"K127.0.0.2 accepted" in gatepost.run()


def test_whose_message_may_have_been_taken_goes_on_waiting_and_others_are_put_off(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    server = listen("127.0.0.2")
    server.stalls.add(".")
    gatepost = start(per_host=4, patience_per_host=0.3, listening_per_host=2)
    waiting = [gatepost.begin() for _ in range(4)]
    wait_until(lambda: len(server.messages) == 4)
    late = [gatepost.begin() for _ in range(3)]
    assert all(b"it says nothing" in process.communicate(timeout=PATIENCE)[0] for process in late)
    assert ended(waiting) == 0
    for process in waiting:
        process.kill()
        process.communicate()


def test_a_silent_server_is_no_reason_to_leave_out_the_next(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"), (20, "b.test", "127.0.0.3"))
    listen("127.0.0.2").stalls.add("greeting")
    backup = listen("127.0.0.3")
    gatepost = start(per_host=6, patience_per_host=0.3, listening_per_host=2)
    listening = [gatepost.begin() for _ in range(6)]
    wait_until(lambda: ended(listening) == 4)
    assert b"K127.0.0.3 accepted" in gatepost.run()
    assert len(backup.messages) == 5
    for process in listening:
        process.kill()
        process.communicate()


def test_after_a_reload_nobody_listens_to_a_server_that_does_not_greet(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    """Else each reload leaves as many behind as may be at once, until they have all of qmail's places."""
    corp(zone, (10, "a.test", "127.0.0.2"))
    server = listen("127.0.0.2")
    server.stalls.add("greeting")
    gatepost = start(per_host=3, patience_per_host=0.3)

    def is_connected(times: int) -> bool:
        return server.connections == times

    for number in range(1, 4):
        listening = [gatepost.begin() for _ in range(3)]
        wait_until(partial(is_connected, 3 * number))
        gatepost.reload({})
        wait_until(partial(has_ended, listening))
        assert all(b"it says nothing" in process.communicate()[0] for process in listening)


def test_after_a_reload_nobody_waits_for_a_name_server_that_does_not_answer(
    start: Callable[..., Gatepost], zone: NameServer
) -> None:
    zone.silent.add("corp.test")
    gatepost = start(patience_per_host=0.3)
    waiting = [gatepost.begin() for _ in range(3)]
    wait_until(lambda: len(zone.asked) >= 3)
    gatepost.reload({})
    assert all(b"keep too many messages waiting" in process.communicate(timeout=PATIENCE)[0] for process in waiting)


def test_a_server_that_greets_late_takes_its_mail(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    server = listen("127.0.0.2")
    server.stalls.add("greeting")
    gatepost = start(patience_per_host=0.1, listening_per_host=1)
    listening = [gatepost.begin() for _ in range(2)]
    wait_until(lambda: ended(listening) == 1)
    server.stalls.clear()
    server.closing.set()
    told = [process.communicate(timeout=PATIENCE)[0] for process in listening]
    assert [b"it says nothing" in each for each in told].count(True) == 1
    assert len(server.messages) == 1


def test_a_delivery_whose_client_is_gone_is_given_up(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    server = listen("127.0.0.2")
    server.stalls.add("tls DATA")
    gatepost = start()
    process = gatepost.begin()
    deadline = time.monotonic() + PATIENCE
    while not any(line.startswith(b"DATA") for _, line in server.heard):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.communicate()
    while not gatepost.journalled():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert gatepost.journalled()[0]["text"] == "The delivery was given up. (#4.3.0)"
    server.closing.set()
    assert server.messages == []


def test_without_the_daemon_the_message_waits(tmp_path: Path, zone: NameServer) -> None:
    gatepost = Gatepost(tmp_path, zone)
    compile_client(tmp_path / "socket", gatepost.program, restart=0)
    gatepost.furnish()
    assert gatepost.run() == b"Zgatepost, the delivery service, is not running. (#4.3.2)\n\0"


def test_the_journal_tells_what_became_of_a_message(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    listen("127.0.0.2")
    gatepost = start()
    gatepost.run(message=b"Received: (qmail 4711 invoked by uid 64011); 1 Jan 2026\nSubject: x\n\nhi\n")
    (line,) = gatepost.journalled()
    assert line["qp"] == 4711 and line["result"] == "success" and line["reply"] == "250 taken"
    assert (line["server"], line["address"], line["family"]) == ("a.test", "127.0.0.2", "ipv4")
    assert line["tls"] == "TLSv1.3" and line["recipients"] == ["bob@corp.test"]
    assert set(json.loads(json.dumps(line["seconds"]))) == {"found", "connected", "ready", "dot", "end"}


@pytest.mark.parametrize(
    ("replies", "result"),
    [(["450 4.2.0 later"], "deferral"), (["550 5.1.1 no"], "failure"), (["550 no", "450 later"], "deferral")],
)
def test_the_journal_tells_a_recipient_that_is_put_off_from_one_that_is_refused(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer, replies: list[str], result: str
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    server = listen("127.0.0.2")
    gatepost = start()
    server.replies["RCPT"] = "".join(f"{text}\r\n" for text in replies).encode()
    gatepost.run(*(f"r{number}@corp.test" for number in range(len(replies))))
    (line,) = gatepost.journalled()
    assert (line["result"], line["refused"]) == (result, len(replies))
    assert replies[0] in str(line["text"])


def test_a_site_wants_tls_with_a_domain_however_it_is_written(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    server = listen("127.0.0.2", None)
    gatepost = start(domains={"corp.test": "required"})
    for domain in ("corp.test", "CORP.test", "corp.test."):
        assert b"STARTTLS is not offered" in gatepost.run(f"bob@{domain}", domain=domain)
    assert not server.messages


def test_a_reload_puts_new_settings_in_force_and_bad_ones_not(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    server = listen("127.0.0.2", None)
    gatepost = start()
    for _ in range(10):
        assert b"accepted" in gatepost.run()
        gatepost.reload({"nonsense": 1})
        gatepost.reload({})
    gatepost.reload({"domains": {"corp.test": "required"}})
    assert b"STARTTLS is not offered" in gatepost.run()
    assert len(server.messages) == 10


def test_ten_reloads_leave_one_worker_and_no_connection_but_its_own(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    server = listen("127.0.0.2")
    gatepost = start(reuse_seconds=60)
    for _ in range(10):
        assert b"accepted" in gatepost.run()
        gatepost.reload({})
    assert b"accepted" in gatepost.run()
    assert gatepost.process is not None
    children = Path(f"/proc/{gatepost.process.pid}/task/{gatepost.process.pid}/children")
    wait_until(lambda: len(children.read_text().split()) == 1)
    assert server.connections == 11
    wait_until(lambda: server.ended == 10)


def test_a_daemon_that_is_restarted_costs_no_message_a_deferral(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    server = listen("127.0.0.2")
    gatepost = start()
    gatepost.stop()
    process = gatepost.begin()
    gatepost.restart()
    assert b"accepted" in process.communicate(timeout=PATIENCE)[0]
    assert server.messages == DELIVERED


@pytest.mark.parametrize("stream", [b"220-" + b"x" * 70_000, b"220-x\r\n" * 20_000])
def test_an_endless_greeting_ends(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer, stream: bytes
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    listen("127.0.0.2").greeting = stream
    assert start().run() == b"ZConnected to 127.0.0.2 but connection died. (#4.4.2)\n\0"


def test_fifty_deliveries_at_once_all_arrive_once(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"), (10, "b.test", "127.0.0.3"))
    servers = listen("127.0.0.2"), listen("127.0.0.3")
    gatepost = start(reuse_seconds=5)
    processes = [gatepost.begin(message=b"Subject: %d\n\n" % n) for n in range(50)]
    reports = [process.communicate(timeout=PATIENCE * 2)[0] for process in processes]
    assert all(b"accepted" in report for report in reports)
    assert all(server.messages for server in servers), "equal servers share the mail"
    assert sorted(message for server in servers for message in server.messages) == sorted(
        b"Subject: %d\r\n\r\n" % n for n in range(50)
    )


def test_with_dnssec_an_address_query_that_fails_does_not_lower_the_guard(
    secure: tuple[Gatepost, Server], zone: NameServer, authority: Path, port: int
) -> None:
    zone.add(f"_{port}._tcp.a.test", "TLSA", tlsa(authority))
    zone.soft_kinds.add(("a.test", "AAAA"))
    assert secure[0].run().startswith(b"Z") and secure[1].messages == []


def test_a_backup_server_waits_while_the_better_one_cannot_be_looked_up(
    start: Callable[..., Gatepost], zone: NameServer
) -> None:
    zone.add("corp.test", "MX", "10 soft.test.", "20 own.test.")
    zone.add("own.test", "A", "192.0.2.1")
    zone.soft.add("soft.test")
    assert start(own_addresses=["192.0.2.1"]).run().startswith(b"Z")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_no_domain_leads_back_to_this_host(start: Callable[..., Gatepost], zone: NameServer, address: str) -> None:
    zone.add("corp.test", "MX", "10 a.test.")
    zone.add("a.test", "AAAA" if ":" in address else "A", address)
    assert b"(#5.4.6)" in start(takes_loopback=False).run()


def test_a_refusal_of_one_recipient_is_no_wish_to_be_left_alone(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    server = listen("127.0.0.2")
    server.replies["RCPT"] = b"450 4.7.1 greylisted\r\n"
    gatepost = start(back_off=60)
    assert b"greylisted" in gatepost.run()
    del server.replies["RCPT"]
    assert b"accepted" in gatepost.run()


@pytest.mark.parametrize("reply", [b"000 ok\r\n", b"150 hm\r\n", b"354 go on\r\n", b"999 no\r\n"])
def test_nonsense_behind_the_message_is_no_success_and_no_failure(
    start: Callable[..., Gatepost], listen: Listen, zone: NameServer, reply: bytes
) -> None:
    corp(zone, (10, "a.test", "127.0.0.2"))
    listen("127.0.0.2").replies["."] = reply
    assert start().run().startswith(b"r\0Z")
