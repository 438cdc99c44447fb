"""Messages to servers of every kind, tried again as qmail-send does: none is lost, and none goes in plain text unduly.

A kind is what its domain's DNS says and what its server does, at 127.0.2.N. 42 messages; 315 by night.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from gatepost_rig import Gatepost, NameServer
from server_rig import Server
from test_mx import PolicyDaemon, chain, free_port, tlsa

__all__ = ["chain"]  # a fixture

EACH = 15 if os.environ.get("GATEWRIGHT_NIGHTLY") else 2
"""Messages to each kind."""
TRIES = 3
AT_ONCE = 8

Zone = Callable[["Kind", NameServer], None]
BY_TLS, PLAIN, WAITS, FAILS = "by TLS", "plain", "waits", "fails"


@dataclass
class Kind:
    """A domain and its server. outcome: what becomes of its mail. says: what its reports must say."""

    name: str
    outcome: str
    says: bytes = b""
    spoil: Callable[[Server], None] = lambda _: None
    zone: Zone | None = None
    certificate: str = "self-signed"
    address: str = ""
    host: str = ""
    sent: list[bytes] = field(default_factory=list)

    @property
    def domain(self) -> str:
        """A domain of this kind."""
        return f"{self.name.replace(' ', '-')}.test"

    def lay_out(self, names: NameServer) -> None:
        """What DNS says of it."""
        if self.zone:
            self.zone(self, names)
        else:
            names.add(self.domain, "MX", f"10 {self.host}.")
        names.add(self.host, "AAAA" if ":" in self.address else "A", self.address)


class Moody(Server):
    """Says no more behind the first end of each message that it sees, or puts off each first recipient."""

    seen: Counter[bytes]
    how = ""

    def react(self, wire: socket.socket, what: str, usual: bytes) -> bool:
        """As the usual one, but the first time."""
        if what == self.how == "." or (what == self.how == "RCPT"):
            key = self.messages[-1] if what == "." else self.heard[-1][1]
            self.seen[key] += 1
            if self.seen[key] == 1:
                if what == ".":
                    return False
                usual = b"450 4.7.1 come back\r\n"
        return super().react(wire, what, usual)


def is_in_a_mood(how: str) -> Callable[[Server], None]:
    """A server that is moody at this command."""

    def spoil(server: Server) -> None:
        assert isinstance(server, Moody)
        server.how = how

    return spoil


def replies(**words: bytes) -> Callable[[Server], None]:
    """A server that says so."""
    return lambda server: server.replies.update(words)


def without_tls(server: Server) -> None:
    """It offers no STARTTLS."""
    server.certificate = None


def old_tls(server: Server) -> None:
    """It speaks TLS 1.1 at most."""
    server.newest = ssl.TLSVersion.TLSv1_1


def behind(address: str) -> Zone:
    """Another server comes first in the list."""

    def lay_out(kind: Kind, names: NameServer) -> None:
        names.add(kind.domain, "MX", f"10 first-{kind.host}.", f"20 {kind.host}.")
        names.add(f"first-{kind.host}", "A", address)

    return lay_out


def aliased(kind: Kind, names: NameServer) -> None:
    """The domain is a CNAME."""
    names.add(kind.domain, "CNAME", f"real-{kind.domain}.")
    names.add(f"real-{kind.domain}", "MX", f"10 {kind.host}.")


def only(kind: str, *data: str) -> Zone:
    """The domain has these records alone."""
    return lambda made, names: names.add(made.domain, kind, *(item.format(made.address) for item in data))


def lame(kind: Kind, names: NameServer) -> None:
    """Its name servers cannot say."""
    names.soft.add(kind.domain)


DANE, STS = b"certificate verified (DANE)", b"certificate verified (MTA-STS)"
NEVER = b"TLS is to be verified by "
REFUSES, BUSY = "127.0.3.1", "127.0.3.2"
KINDS = [
    Kind("self signed", BY_TLS),
    Kind("wrong name", BY_TLS, certificate="other"),
    Kind("no starttls", PLAIN, spoil=without_tls),
    Kind("starttls is refused", PLAIN, spoil=replies(STARTTLS=b"454 not now\r\n")),
    Kind("handshake fails", PLAIN, spoil=lambda server: server.drops.add("handshake")),
    Kind("old tls", PLAIN, spoil=old_tls),
    Kind("ipv6 alone", BY_TLS, address="::1"),
    Kind("first is dead", BY_TLS, zone=behind(REFUSES)),
    Kind("first says 4xx", BY_TLS, zone=behind(BUSY)),
    Kind("alias", BY_TLS, zone=aliased),
    Kind("no mx", BY_TLS, zone=only("A", "{}")),
    Kind("mx is an address", BY_TLS, zone=only("MX", "10 {}.")),
    Kind("null mx", FAILS, b"(#5.1.10)", zone=only("MX", "0 .")),
    Kind("lame dns", WAITS, b"(#4.4.3)", zone=lame),
    Kind("dane", BY_TLS, DANE),
    Kind("dane of another", WAITS, NEVER + b"DANE"),
    Kind("sts", BY_TLS, STS, certificate="own"),
    Kind("sts of another", WAITS, NEVER + b"MTA-STS", certificate="other"),
    Kind("required", WAITS, b"STARTTLS is not offered", spoil=without_tls),
    Kind("greylisting", BY_TLS, spoil=is_in_a_mood("RCPT")),
    Kind("dies behind the dot", BY_TLS, spoil=is_in_a_mood(".")),
]


@dataclass
class Yard:
    """All kinds, their servers, and the daemon."""

    daemon: Gatepost
    servers: dict[str, Moody]

    def send(self, kind: Kind, number: int) -> list[bytes]:
        """Try a message until it is taken or fails; the reports."""
        told: list[bytes] = []
        while len(told) < TRIES and not (told and (b"\0K" in told[-1] or told[-1].startswith(b"D"))):
            message = b"Subject: %d of %s\n\nhello\n" % (number, kind.domain.encode())
            told.append(self.daemon.run(f"{number}@{kind.domain}", message=message, domain=kind.domain))
        return told


@pytest.fixture
def yard(tmp_path: Path, authority: Path, chain: tuple[Path, Path, Path]) -> Iterator[Yard]:
    """Their servers, which listen on one port of as many addresses."""
    port, names = free_port(), NameServer()
    servers: dict[str, Moody] = {}
    policies = PolicyDaemon(tmp_path / "sts")
    certificates = {"self-signed": authority, "own": chain[1], "other": chain[2]}
    for number, kind in enumerate(KINDS, 1):
        kind.address = kind.address or f"127.0.2.{number}"
        # the name that the authority's certificate shows
        kind.host = "a.test" if kind.name == "sts" else f"mx.{kind.domain}"
        kind.lay_out(names)
        server = Moody(certificates[kind.certificate], kind.address, port)
        server.seen = Counter()
        kind.spoil(server)
        servers[kind.name] = server
        if kind.name.startswith("sts"):
            policies.answers[kind.domain] = f"OK secure match={kind.host}".encode()
        if kind.name.startswith("dane"):
            names.add(f"_{port}._tcp.{kind.host}", "TLSA", tlsa(authority if kind.name == "dane" else chain[2]))
    busy = Server(authority, BUSY, port)
    busy.greeting = b"451 not now\r\n"
    daemon = Gatepost(tmp_path, names)
    daemon.furnish()
    daemon.start(
        port=port,
        is_validating=True,
        sts_socket=str(tmp_path / "sts"),
        authorities=str(chain[0]),
        domains={"required.test": "required"},
        reuse_seconds=1,
    )
    yield Yard(daemon, servers)
    for one in (*servers.values(), busy):
        one.close()
    assert "Traceback" not in daemon.stop()


def test_mail_goes_by_tls_where_it_can_and_never_in_plain_text_where_it_must_not(yard: Yard) -> None:
    work = [(kind, number) for number in range(EACH) for kind in KINDS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = list(pool.map(lambda item: yard.send(*item), work))
    for (kind, _), reports in zip(work, told, strict=True):
        assert fits(kind, reports), (kind.name, reports)
    for kind in KINDS:
        server = yard.servers[kind.name]
        arrived = Counter(server.messages)
        wanted = EACH if kind.outcome in (BY_TLS, PLAIN) else 0
        copies = 2 if kind.name == "dies behind the dot" else 1
        assert (len(arrived), set(arrived.values()) - {copies}) == (wanted, set()), kind.name
        plain = [line for by_tls, line in server.heard if line.startswith(b"MAIL") and not by_tls]
        assert bool(plain) is (kind.outcome == PLAIN), kind.name
    print(f"{len(work)} messages to {len(KINDS)} kinds of servers")


def fits(kind: Kind, reports: list[bytes]) -> bool:
    """Whether the reports of a message are what its kind's must be."""
    last = reports[-1]
    if kind.says not in last:
        return False
    if kind.outcome == FAILS:
        return last.startswith(b"D") and len(reports) == 1
    if kind.outcome == WAITS:
        return all(report.startswith(b"Z") for report in reports)
    moods = {"greylisting": b"s", "dies behind the dot": b"r\0Z"}
    if kind.name in moods:
        return len(reports) == 2 and reports[0].startswith(moods[kind.name]) and b"By TLSv1" in last
    return len(reports) == 1 and last.startswith(b"r\0K") and (b"By TLSv1" in last) is (kind.outcome == BY_TLS)
