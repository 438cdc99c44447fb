"""A small gateway that runs, hosts and names around it on loopback addresses, and the example inventory made theirs."""

from __future__ import annotations

import contextlib
import email
import email.policy
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import yaml

from gatewright.chapters.smtproutes.routing import smtproutes_control
from gatewright.chapters.tcp_smtp.render import tcp_smtp
from lab.demonstration import BANK_RECORDS, WORLD
from lab.probe import converse
from lab.small import daemons, mta
from lab.small.names import Names
from lab.small.place import Place, wait_until
from lab.small.sink import Sink
from lab.talk import Reply, eventually
from lab.topology import PROJECT

EXAMPLE = PROJECT / "inventory/example/group_vars/gateways.yml"
DOMAIN = "example.org"
RECIPIENTS = {DOMAIN: {"list": ["user", "hostmaster"]}}
"""Who has mail at the office; the example's routes leave that open."""
NAME = f"gateway.{DOMAIN}"
HERE = "127.0.0.1"
OFFICE, NEIGHBOUR, OUTSIDE = "127.0.2.70", "127.0.2.80", "127.0.113.31"
"""192.0.2.70 is a relay client of the example's, 192.0.2.80 is just outside its network, 203.0.113.31 is a stranger."""
EXCHANGER = f"mx.{WORLD}"
"""The outside's mail server, by the name that its certificate bears."""


def loopback(rules: str) -> str:
    """tcpserver's rules with each IPv4 address moved to 127.0.0.0/8 by its first part; loopback's own left out."""
    lines = [line for line in rules.splitlines() if not line.startswith(("127.", "[::1]", "::1"))]
    return "".join(re.sub(r"^\d+\.", "127.", line) + "\n" for line in lines)


@dataclass
class SmallPeer:
    """A host beside the gateway: sends from a loopback address, and looks into what its sink took."""

    source: str
    port: int
    sink: Sink

    def send(
        self,
        server: str,
        recipient: str,
        message: str | None = None,
        sender: str = "someone@world.test",
        source: str = "",
        mark: str = "",
    ) -> Reply:
        """Send one message to the gateway; message None stops after RCPT."""
        if message is None and mark:
            message = f"From: {sender}\r\nTo: {recipient}\r\nSubject: {mark}\r\n\r\n{mark}\r\n"
        order = {
            "server": server,
            "port": self.port,
            "sender": sender,
            "recipients": [recipient],
            "message": message,
            "source": source or self.source,
        }
        return Reply(**converse(order))

    def find(self, mark: str) -> list[str]:
        """The messages in this host's mailbox that contain a word."""
        return [message.decode(errors="replace") for message in self.sink.messages if mark.encode() in message]

    def arrived(self, mark: str, seconds: float = 60) -> EmailMessage:
        """Wait for the message that contains a word, and return it."""
        return email.message_from_string(self.raw(mark, seconds), policy=email.policy.default)

    def raw(self, mark: str, seconds: float = 60) -> str:
        """Wait for the message that contains a word, and return its bytes as text."""
        return eventually(lambda: self.find(mark), seconds, f"a message with {mark} at {self.source}")[0]

    def address(self, octet: int, family: int = 4) -> str:
        """This host has one address."""
        return self.source


@dataclass
class SmallGateway:
    """The running gateway."""

    place: Place
    qmail: str
    port: int
    office: SmallPeer
    outside: SmallPeer
    name: str = "gateway"
    ipv4: str = HERE
    ipv6: str = ""

    def run(self, *command: str) -> str:
        """Run gatescan, gatepost, or one of qmail's programs, as the gateway's user."""
        if command[0] in daemons.COMMANDS:
            return daemons.run(self.place, *command)
        return self.place.run(self.place.path / "qmail/bin" / command[0], *command[1:])

    def deliveries(self) -> str:
        """What gatepost says of its deliveries, a line of JSON each."""
        return (self.place.path / daemons.DELIVERIES).read_text()

    def wait_for_empty_queue(self) -> None:
        """Wait until every message is delivered."""
        eventually(lambda: not self.run("qmail-qread").strip(), 60, "an empty queue")


@contextlib.contextmanager
def small_gateway(more: Mapping[str, Any] | None = None, is_supervised: bool = False) -> Iterator[SmallGateway]:
    """Build, start and at the end remove a gateway; `more` are variables beside the example's. Raises LabError."""
    with Place(is_supervised) as place, Sink(OFFICE) as office, Sink(OUTSIDE) as outside, Names(HERE) as names:
        variables = {**yaml.safe_load(EXAMPLE.read_text()), **(more or {})}
        home, qmail = mta.install(place)
        _write_control(home, variables, office)
        _write_users(place, home)
        client = daemons.make_client(place, home)
        daemons.start_scanner(place, home, NAME, variables)
        for name, text in BANK_RECORDS.items():
            names.publish_text(name, text)
        path = f"{_start_delivery(place, home, names, outside)}:{home}/bin:/usr/bin:/bin"
        place.start("qmail", home / "bin/qmail-start", "./Maildir/", env={"PATH": path})
        asked = daemons.start_gatekeeper(place, home, RECIPIENTS, names.port)
        port = _free_port()
        _serve(place, home, variables, {"QMAILQUEUE": str(client), **asked}, port)
        yield SmallGateway(place, qmail, port, SmallPeer(OFFICE, port, office), SmallPeer(OUTSIDE, port, outside))


def _start_delivery(place: Place, home: Path, names: Names, outside: Sink) -> Path:
    """Start what signs and delivers, and have the outside offer TLS; returns the delivery agent's folder."""
    certificate, key = daemons.make_certificate(place, EXCHANGER)
    outside.offer_tls(certificate, key)
    names.publish(WORLD, "MX", f"10 {EXCHANGER}.")
    names.publish(EXCHANGER, "A", OUTSIDE)
    servers = {"name_server_port": names.port, "port": outside.port}
    tls = {"domains": {WORLD: "verified"}, "authorities": str(certificate)}
    agent = daemons.start_gatepost(place, home, {**servers, **tls})
    daemons.start_signer(place, DOMAIN)
    return agent


def _write_control(home: Path, variables: Mapping[str, Any], office: Sink) -> None:
    """qmail's control files: the example's routes lead to the office's sink, all other mail goes by MX."""
    extra = variables.get("smtproutes_extra_rcpthosts", [])
    refused = variables.get("smtproutes_badmailfrom", [])
    files = smtproutes_control(variables["smtproutes_routes"], None, extra, refused, variables["smtproutes_databytes"])
    routed = (line.partition(":")[0] for line in files["smtproutes"].splitlines())
    files["smtproutes"] = "".join(f"{domain}:{OFFICE}:{office.port}\n" for domain in routed)
    domain = NAME.partition(".")[2]
    files |= {"me": f"{NAME}\n", "locals": f"{NAME}\n", "defaultdomain": f"{domain}\n", "plusdomain": f"{domain}\n"}
    files["rcpthosts"] += f"{NAME}\n"
    for name, text in files.items():
        (home / "control" / name).write_text(text)
    for alias in ("root", "postmaster", "mailer-daemon"):
        (home / "alias" / f".qmail-{alias}").write_text(f"&{variables['qmail_postmaster']}\n")
    if variables.get("scanner_release_by_mail"):
        (home / "alias/.qmail-held-mail-default").write_text("# nowhere\n")


def _write_users(place: Place, home: Path) -> None:
    """Every local part is the aliases': our one user has no home, where qmail would look for them."""
    if not (home / "bin/qmail-newu").exists():  # the stand-in looks in the right place by itself
        return
    user = place.account
    assign = home / "users/assign"
    assign.write_text(f"+:{user.pw_name}:{user.pw_uid}:{user.pw_gid}:{home}/alias:-::\n.\n")
    place.run(home / "bin/qmail-newu")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HERE, 0))
        port: int = probe.getsockname()[1]
        return port


def _serve(place: Place, home: Path, variables: Mapping[str, Any], env: Mapping[str, str], port: int) -> None:
    """tcpserver with the example's relay clients, at their loopback addresses."""
    rules, cdb = place.path / "tcp.smtp", place.folder("tcp") / "tcp.smtp.cdb"
    made = tcp_smtp(variables["tcp_smtp_relay_clients"], variables.get("tcp_smtp_deny", []))
    rules.write_text(loopback(str(made["text"])))
    place.run("tcprules", cdb, f"{cdb}.tmp", stdin=rules.read_text())
    place.start(
        "qmail/smtpd", "tcpserver", "-v", "-R", "-H", "-l", "0", "-x", cdb, "-c", "20", HERE, str(port),
        home / "bin/qmail-smtpd", env=env,
    )  # a command as one types it # fmt: skip
    wait_until(lambda: _answers(port), f"qmail-smtpd on port {port}", lambda: place.said("qmail/smtpd"))


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HERE, port), 5) as connection:
        return connection.recv(3) == b"220"
    return False
