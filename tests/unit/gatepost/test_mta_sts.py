"""MTA-STS from end to end (RFC 8461): domains' policies on a web server, Debian's daemon that fetches them, and mail.

As root: the daemon asks the name server of /etc/resolv.conf, which it gets a copy of, and web servers at port 443.
"""

from __future__ import annotations

import datetime
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from gatepost_rig import Gatepost, NameServer
from server_rig import Server
from test_mx import chain, free_port, wait_until
from test_tls_reports import certify

from tests.unpacked import environment, find

__all__ = ["chain"]  # a fixture

DAEMON = find("usr/bin/mta-sts-daemon")
NET = f"127.{100 + os.getpid() // 250 % 100}.{os.getpid() % 250}"
WEB, OTHER_WEB, MX = f"{NET}.1", f"{NET}.2", f"{NET}.3"
"""Addresses of this process alone, since the ports are fixed: another one may run these tests, too."""


def obstacle() -> str:
    """What this machine or user lacks for these tests."""
    if not DAEMON:
        return "Debian's postfix-mta-sts-resolver is neither unpacked (./gw pytest) nor installed"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        return "this user, or this container, may give no process a resolv.conf of its own"
    for kind, port in ((socket.SOCK_STREAM, 443), (socket.SOCK_DGRAM, 53)):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((WEB, port))
            except OSError as error:
                return f"port {port} of loopback: {error.strerror}"
    return ""


pytestmark = pytest.mark.skipif(bool(missing := obstacle()), reason=missing)
IN_A_NAMESPACE = 'mount --bind "$1" /etc/resolv.conf && exec "$2" --config "$3"'
Page = tuple[int, str, str]
"""Status, content type (or where a redirection leads), text."""


def policy(mode: str, *servers: str, max_age: int = 86400) -> Page:
    """A policy as it stands on the web."""
    lines = ["version: STSv1", f"mode: {mode}", *(f"mx: {server}" for server in servers), f"max_age: {max_age}"]
    return 200, "text/plain", "\r\n".join(lines) + "\r\n"


class Web:
    """HTTPS servers that have policies by the name of the host."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.servers: list[ThreadingHTTPServer] = []

    def listen(self, address: str, certificate: Path) -> None:
        """Serve on an address with a certificate."""
        pages = self.pages

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, kind, text = pages.get(self.headers["Host"], (404, "text/plain", ""))
                self.send_response(status)
                self.send_header("Location" if status == 301 else "Content-Type", kind)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server = ThreadingHTTPServer((address, 443), Handler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.servers.append(server)


class Yard:
    """Names, policies, the daemon that fetches them, gatepost, and a mail server that is a.test and b.wild.test."""

    def __init__(self, place: Path, authority: Path, names: NameServer) -> None:
        self.place = place
        self.authority = authority
        self.names = names
        self.web = Web()
        self.gatepost = Gatepost(place, self.names)
        self.fetcher: subprocess.Popen[bytes] | None = None

    def publish(self, domain: str, page: Page, server: str = "a.test", number: int = 1) -> None:
        """A domain with a policy, whose mail server has this name."""
        self.web.pages[f"mta-sts.{domain}"] = page
        self.names.records[(f"_mta-sts.{domain}", "TXT")] = [f'"v=STSv1; id={number}"']
        self.names.records[(f"mta-sts.{domain}", "A")] = [WEB]
        self.lead(domain, server)

    def lead(self, domain: str, server: str) -> None:
        """A domain whose mail server has this name; there is but one, whatever it is called."""
        self.names.records[(domain, "MX")] = [f"10 {server}."]
        self.names.records[(server, "A")] = [MX]

    def withdraw(self, domain: str) -> None:
        """Take the record and the policy away, as an attacker may who answers in a domain's place."""
        del self.web.pages[f"mta-sts.{domain}"], self.names.records[(f"_mta-sts.{domain}", "TXT")]

    def start(self) -> None:
        """Start what fetches policies; returns when it serves."""
        resolv, settings = self.place / "resolv.conf", self.place / "mta-sts.yml"
        resolv.write_text(f"nameserver {WEB}\noptions timeout:2 attempts:1\n")
        settings.write_text(
            f"path: {self.place}/sts\nmode: 511\ncache_grace: 0\nshutdown_timeout: 1\n"
            f"cache: {{type: sqlite, options: {{filename: {self.place}/policies.db}}}}\n"
            "default_zone: {strict_testing: false, timeout: 10}\n"
        )
        (self.place / "sts").unlink(missing_ok=True)
        settled = {"PATH": "/usr/bin:/usr/sbin:/bin:/sbin", "SSL_CERT_FILE": str(self.authority)}
        words = ["unshare", "--mount", "sh", "-c", IN_A_NAMESPACE, "sh", str(resolv), str(DAEMON), str(settings)]
        self.fetcher = subprocess.Popen(words, env=environment() | settled)
        wait_until(lambda: (self.place / "sts").exists())

    def stop(self) -> None:
        """End it at once."""
        if self.fetcher:
            self.fetcher.kill()
            self.fetcher.wait()

    def send(self, domain: str) -> bytes:
        """Send a message to a domain; the report."""
        return self.gatepost.run(f"bob@{domain}", domain=domain)


@pytest.fixture(scope="module")
def names() -> NameServer:
    """The name server of all these tests, which have domains of their own."""
    return NameServer(WEB, 53)


@pytest.fixture
def yard(tmp_path: Path, chain: tuple[Path, Path, Path], names: NameServer) -> Iterator[Yard]:
    """All of it, with no policy yet."""
    made, week = Yard(tmp_path, chain[0], names), datetime.timedelta(days=7)
    certificates = {
        "web": [f"mta-sts.{domain}" for domain in DOMAINS if domain != "badcert.test"],
        "other web": ["mta-sts.elsewhere.test"],
        "mx": ["a.test", "b.wild.test"],
    }
    for name, shown in certificates.items():
        (tmp_path / f"{name}.pem").write_text(certify(chain[0], shown, week))
    made.web.listen(WEB, tmp_path / "web.pem")
    made.web.listen(OTHER_WEB, tmp_path / "other web.pem")
    port = free_port()
    server = Server(tmp_path / "mx.pem", MX, port)
    made.gatepost.furnish()
    made.start()
    made.gatepost.start(
        port=port, name_server=WEB, sts_socket=str(tmp_path / "sts"), authorities=str(chain[0]), confined=False
    )
    yield made
    made.stop()
    server.close()
    for one in made.web.servers:
        one.shutdown()
        one.server_close()
    assert "Traceback" not in made.gatepost.stop()


VERIFIED, BY_ANY = b"certificate verified (MTA-STS)", b"accepted message.\nBy TLSv1.3"
UNNAMED, MISMATCH = b"is no server that the domain's MTA-STS policy names", b"by MTA-STS, and hostname mismatch"
KINDS: dict[str, tuple[Page, str, bytes]] = {
    "enforce.test": (policy("enforce", "a.test"), "a.test", VERIFIED),
    "several.test": (policy("enforce", "x.test", "a.test"), "a.test", VERIFIED),
    "wildcard.test": (policy("enforce", "*.wild.test"), "b.wild.test", VERIFIED),
    "deeper.test": (policy("enforce", "*.wild.test"), "a.b.wild.test", UNNAMED),
    "unnamed.test": (policy("enforce", "x.test"), "a.test", UNNAMED),
    "othercert.test": (policy("enforce", "c.test"), "c.test", MISMATCH),
    "testing.test": (policy("testing", "x.test"), "a.test", BY_ANY),
    "none.test": (policy("none"), "a.test", BY_ANY),
    "redirect.test": ((301, "https://mta-sts.unnamed.test/.well-known/mta-sts.txt", ""), "a.test", BY_ANY),
    "html.test": ((200, "text/html", policy("enforce", "x.test")[2]), "a.test", BY_ANY),
    "missing.test": ((404, "text/plain", ""), "a.test", BY_ANY),
    "version.test": ((200, "text/plain", "version: STSv2\nmode: enforce\nmx: x.test\nmax_age: 9\n"), "a.test", BY_ANY),
    "noservers.test": (policy("enforce"), "a.test", BY_ANY),
    "badcert.test": (policy("enforce", "x.test"), "a.test", BY_ANY),
    "tworecords.test": (policy("enforce", "x.test"), "a.test", BY_ANY),
}
"""A domain's policy, its server's name, and what the report says. A policy that cannot be had is none (RFC 8461, 5)."""
LATER = ("shrunk.test", "away.test", "old.test")
DOMAINS = (*KINDS, *LATER)


def test_each_kind_of_policy_is_obeyed(yard: Yard) -> None:
    for domain, (page, server, _) in KINDS.items():
        yard.publish(domain, page, server)
    yard.names.records[("mta-sts.badcert.test", "A")] = [OTHER_WEB]
    yard.names.add("_mta-sts.tworecords.test", "TXT", '"v=STSv1; id=2"')
    told = {domain: yard.send(domain) for domain in KINDS}
    assert {domain: report for domain, report in told.items() if KINDS[domain][2] not in report} == {}
    waiting = {domain for domain, report in told.items() if report.startswith(b"Z")}
    assert waiting == {"deeper.test", "unnamed.test", "othercert.test"}


def test_a_policy_that_shrinks_counts_from_its_new_number_on(yard: Yard) -> None:
    yard.publish("shrunk.test", policy("enforce", "a.test"))
    assert VERIFIED in yard.send("shrunk.test")
    yard.publish("shrunk.test", policy("enforce", "x.test"))
    assert VERIFIED in yard.send("shrunk.test"), "the number is the same"
    yard.publish("shrunk.test", policy("enforce", "x.test"), number=2)
    assert UNNAMED in yard.send("shrunk.test")


def test_who_keeps_the_policy_away_wins_nothing_also_over_a_restart(yard: Yard) -> None:
    yard.publish("away.test", policy("enforce", "a.test"))
    assert VERIFIED in yard.send("away.test")
    yard.withdraw("away.test")
    yard.lead("away.test", "evil.test")
    assert UNNAMED in yard.send("away.test")
    yard.stop()
    yard.start()
    assert UNNAMED in yard.send("away.test")


def test_a_policy_ends_with_its_age(yard: Yard) -> None:
    yard.publish("old.test", policy("enforce", "a.test", max_age=1))
    assert VERIFIED in yard.send("old.test")
    yard.withdraw("old.test")
    yard.lead("old.test", "new.test")
    wait_until(lambda: BY_ANY in yard.send("old.test"))
