"""make demo: builds two gateways in the lab, sends real mail through them, and shows what happened to each message."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage

from lab import artifacts
from lab.__main__ import bring_up, prepare
from lab.machine import LabError
from lab.talk import Gateway, Peer, Reply, lab_host, token
from lab.topology import PROJECT


@dataclass(frozen=True)
class Row:
    """A line of the table: what was sent, from where to where, what was expected and what happened."""

    what: str
    way: str
    expected: str
    happened: str

    @property
    def is_as_expected(self) -> bool:
        """Whether the expectation was met."""
        return self.expected == self.happened


def letter(mark: str, sender: str, recipient: str, text: str = "Hello.\n") -> EmailMessage:
    """A plain message that carries a mark in its subject."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, recipient, mark
    message.set_content(text)
    return message


def zipped(name: str, content: bytes) -> bytes:
    """A zip archive with one member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def attached(mark: str, name: str, content: bytes, subtype: str = "octet-stream") -> str:
    """A message with one attachment, from outside to a user of the company."""
    message = letter(mark, "someone@world.test", "user@corp.test")
    message.add_attachment(content, maintype="application", subtype=subtype, filename=name)
    return message.as_string()


def two_boundaries(mark: str) -> str:
    """A message that two readers divide in two ways: one shows a harmless text, the other a program."""
    program = base64.b64encode(b"MZ" + bytes(100)).decode()
    return (
        f"From: someone@world.test\nTo: user@corp.test\nSubject: {mark}\nMIME-Version: 1.0\n"
        'Content-Type: multipart/mixed; boundary="one"; boundary="two"\n\n'
        "--one\nContent-Type: text/plain\n\nJust text.\n--one--\n"
        '--two\nContent-Type: application/octet-stream; name="run.exe"\n'
        f"Content-Transfer-Encoding: base64\n\n{program}\n--two--\n"
    )


def on_the_wire(message: str) -> str:
    """A message with the line ends of SMTP; qmail refuses others."""
    return message.replace("\n", "\r\n")


class Demonstration:
    """The messages and scans, each of which makes a row."""

    def __init__(self) -> None:
        """Bind to the lab's hosts."""
        self.gateways = [Gateway(lab_host(name)) for name in ("gw1", "gw2")]
        self.office, self.outside = Peer(lab_host("office")), Peer(lab_host("outside"))
        self.rows: list[Row] = []

    def add(self, what: str, way: str, expected: str, happened: str) -> None:
        """Note a row, and show that something happens."""
        row = Row(what, way, expected, happened)
        self.rows.append(row)
        print(f"  {'ok ' if row.is_as_expected else 'NOT'} {what}", flush=True)

    def deliver(self, what: str, gateway: Gateway, send: Callable[[str], Reply], to: Peer, way: str) -> None:
        """Send a message that must arrive."""
        mark = token()
        reply = send(mark)
        happened = f"{reply.code} at {reply.stage}"
        if reply.code == 250:
            to.arrived(mark)
            happened = "delivered"
        self.add(what, way, "delivered", happened)

    def hold(self, what: str, gateway: Gateway, make: Callable[[str], str]) -> None:
        """Send a message that must end in the quarantine, and in nobody's mailbox."""
        mark = token()
        reply = self.outside.send(gateway.ipv4, "user@corp.test", on_the_wire(make(mark)), sender=f"{mark}@world.test")
        happened = f"{reply.code} at {reply.stage}"
        if reply.code == 250:
            gateway.wait_for_empty_queue()
            held = mark in gateway.run("gatescan", "quarantine", "list", "--json")
            happened = "held" if held and not self.office.find(mark) else "delivered"
        self.add(what, f"outside -> {gateway.name} -> office", "held", happened)

    def mail(self, gateway: Gateway) -> None:
        """Ordinary mail through one gateway, and mail that has no business here."""
        name, outside, office = gateway.name, self.outside, self.office
        for family, server in ((4, gateway.ipv4), (6, gateway.ipv6)):
            source = outside.address(31, family)
            self.deliver(
                f"a clean message, IPv{family}", gateway,
                lambda mark, server=server, source=source: outside.send(  # type: ignore[misc]
                    server,
                    "user@corp.test",
                    on_the_wire(letter(mark, "someone@world.test", "user@corp.test").as_string()),
                    source=source,
                ),
                office, f"outside -> {name} -> office",
            )  # fmt: skip
        self.deliver(
            "mail of a relay client", gateway,
            lambda mark: office.send(gateway.ipv4, "friend@world.test", sender="user@corp.test", mark=mark),
            outside, f"office -> {name} -> outside",
        )  # fmt: skip
        stranger = outside.send(gateway.ipv4, "victim@elsewhere.test", mark=token())
        self.add(
            "mail for a foreign domain", f"outside -> {name}", "553 at rcpt", f"{stranger.code} at {stranger.stage}"
        )
        neighbour = office.send(gateway.ipv4, "friend@world.test", mark=token(), source=office.address(24))
        self.add(
            "a host just outside the relay network", f"office -> {name}", "553 at rcpt",
            f"{neighbour.code} at {neighbour.stage}",
        )  # fmt: skip

    def attachments(self, gateway: Gateway) -> None:
        """The paper's test messages, and some of the nastier ones."""
        self.hold("EICAR.COM by name and size", gateway, lambda mark: attached(mark, "Eicar.com", b"0" * 68 + b"\n"))
        self.hold("a program", gateway, lambda mark: attached(mark, "invoice.exe", b"MZ" + bytes(200)))
        program = b"MZ" + bytes(200)
        self.hold("a program that is called a picture", gateway, lambda mark: attached(mark, "cat.jpg", program))
        self.hold(
            "a program in a zip in a zip", gateway,
            lambda mark: attached(mark, "files.zip", zipped("inner.zip", zipped("run.scr", b"MZ" + bytes(200)))),
        )  # fmt: skip
        self.hold("two readings: two boundaries", gateway, two_boundaries)
        bomb = zipped("zeros", bytes(400_000_000))
        self.hold("a bomb: 400 MB of zeros in a zip", gateway, lambda mark: attached(mark, "bomb.zip", bomb))
        worm = letter("Pickles for Breakfast", "someone@world.test", "user@corp.test").as_string()
        self.hold("a subject that the rules name", gateway, lambda mark: worm)

    def doors(self, gateway: Gateway, family: int) -> None:
        """All TCP ports of a gateway, as another host sees them."""
        target = ["-6", gateway.ipv6] if family == 6 else [gateway.ipv4]
        report = self.outside.run(
            "nmap", "-Pn", "-n", "-sS", "-p-", "-T4", "--min-rate", "4000", "--max-retries", "2", "-oX", "-", *target
        )
        ports = [
            port.get("portid", "")
            for port in ElementTree.fromstring(report).findall("./host/ports/port")
            if port.find("state").get("state") == "open"  # type: ignore[union-attr]
        ]
        way = f"outside -> {gateway.name}"
        self.add(f"all 65535 TCP ports, IPv{family}", way, "open: 22 25", f"open: {' '.join(ports)}")


def table(rows: list[Row]) -> str:
    """The rows as text, columns aligned."""
    lines = [("", "what was sent", "from where to where", "expected", "happened")]
    lines += [("ok" if row.is_as_expected else "NOT", row.what, row.way, row.expected, row.happened) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def main() -> int:
    """Run the demonstration; exit status 0 when all went as expected."""
    started = time.monotonic()
    try:
        prepare()
        bring_up([], internal=False)
        print("\nplaybooks/site.yml makes gateways of gw1 (Debian 13) and gw2 (Debian 12):\n", flush=True)
        done = subprocess.run(["ansible-playbook", "playbooks/site.yml"], cwd=PROJECT, check=False)
        if done.returncode:
            return done.returncode
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    print("\nReal mail, from other hosts:\n", flush=True)
    demonstration = Demonstration()
    for gateway in demonstration.gateways:
        demonstration.mail(gateway)
    demonstration.attachments(demonstration.gateways[0])
    for gateway in demonstration.gateways:
        for family in (4, 6):
            demonstration.doors(gateway, family)
    print(f"\n{table(demonstration.rows)}\n\nThe quarantine of gw1 (gatescan quarantine list):\n")
    print(demonstration.gateways[0].run("gatescan", "quarantine", "list"))
    artifacts.warn()
    met = sum(row.is_as_expected for row in demonstration.rows)
    print(f"{met} of {len(demonstration.rows)} as expected, in {time.monotonic() - started:.0f} s.")
    print("The lab stays up: make lab-shell HOST=gw1 to look around, make lab-down to remove it.")
    return 0 if met == len(demonstration.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
