"""What a demonstration sends through a gateway, and the table of what became of it; the lab's and the small one's."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, Protocol

import dkim

from lab.talk import Reply, eventually, token

WORLD = "world.test"
"""The outside's domain, whose server offers TLS."""
BANK = "bank.test"
BANK_RECORDS = {BANK: "v=spf1 -all", f"_dmarc.{BANK}": "v=DMARC1; p=reject"}
"""A domain that sends no mail and wants forgeries refused: its TXT records by their names."""


class Correspondent(Protocol):
    """A host that sends mail and looks into its own mailbox; lab.talk.Peer says what each method does."""

    def send(
        self,
        server: str,
        recipient: str,
        message: str | None = None,
        sender: str = ...,
        source: str = ...,
        mark: str = ...,
    ) -> Reply: ...

    def find(self, mark: str) -> list[str]: ...

    def arrived(self, mark: str, seconds: float = ...) -> EmailMessage: ...

    def raw(self, mark: str) -> str: ...

    def address(self, octet: int, family: int = ...) -> str: ...


class Chokepoint(Protocol):
    """A gateway; ipv6 is empty where it has none."""

    name: str
    ipv4: str
    ipv6: str

    def run(self, *command: str) -> str: ...

    def deliveries(self) -> str: ...

    def wait_for_empty_queue(self) -> None: ...


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


def attached(mark: str, name: str, content: bytes) -> str:
    """A message with one attachment, from outside to a user of the company."""
    message = letter(mark, "someone@world.test", "user@corp.test")
    message.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
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


def signatures(message: bytes, published: Mapping[str, str]) -> str:
    """What dkimpy, a verifier that is not ours, makes of a message's signatures by the keys that are published."""
    count = message.count(b"\nDKIM-Signature:") + message.startswith(b"DKIM-Signature:")
    keys = {f"{name}.".encode(): text.encode() for name, text in published.items()}
    verifier = dkim.DKIM(message)
    are_valid = all(verifier.verify(number, dnsfunc=lambda name, timeout: keys.get(name)) for number in range(count))
    return "not signed" if not count else "signature valid" if are_valid else "signature not valid"


def delivery(told: str, recipient: str) -> dict[str, Any]:
    """The last delivery to a recipient, of the lines of gatepost's journal; empty if there is none."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in told.splitlines() if recipient in line]
    return lines[-1] if lines else {}


class Demonstration:
    """The messages and scans, each of which makes a row."""

    def __init__(self, office: Correspondent, outside: Correspondent, user: str, neighbour: str) -> None:
        """office, outside: who sends and gets mail; user: an address at the office; neighbour: an address of the
        office's host just outside the relay network."""
        self.office, self.outside, self.user, self.neighbour = office, outside, user, neighbour
        self.rows: list[Row] = []

    def add(self, what: str, way: str, expected: str, happened: str) -> None:
        """Note a row, and show that something happens."""
        row = Row(what, way, expected, happened)
        self.rows.append(row)
        print(f"  {'ok ' if row.is_as_expected else 'NOT'} {what}", flush=True)

    def deliver(
        self, what: str, gateway: Chokepoint, send: Callable[[str], Reply], to: Correspondent, way: str
    ) -> None:
        """Send a message that must arrive."""
        mark = token()
        reply = send(mark)
        happened = f"{reply.code} at {reply.stage}"
        if reply.code == 250:
            to.arrived(mark)
            happened = "delivered"
        self.add(what, way, "delivered", happened)

    def hold(self, what: str, gateway: Chokepoint, make: Callable[[str], str]) -> None:
        """Send a message that must end in the quarantine, and in nobody's mailbox."""
        mark = token()
        reply = self.outside.send(gateway.ipv4, self.user, on_the_wire(make(mark)), sender=f"{mark}@world.test")
        happened = f"{reply.code} at {reply.stage}"
        if reply.code == 250:
            gateway.wait_for_empty_queue()
            happened = self._fate(gateway, mark)
        self.add(what, f"outside -> {gateway.name} -> office", "held", happened)

    def _fate(self, gateway: Chokepoint, mark: str) -> str:
        """Where a message is that was taken: at the office, in the quarantine, or in neither."""
        with contextlib.suppress(AssertionError):
            eventually(
                lambda: self.office.find(mark) or mark in gateway.run("gatescan", "quarantine", "list", "--json"), 20
            )
            return "delivered" if self.office.find(mark) else "held"
        return "neither held nor delivered"

    def mail(self, gateway: Chokepoint) -> None:
        """Ordinary mail through one gateway, and mail that has no business here."""
        name, outside, office = gateway.name, self.outside, self.office
        for family, server in ((4, gateway.ipv4), (6, gateway.ipv6)):
            if not server:
                continue
            source = outside.address(31, family)
            self.deliver(
                f"a clean message, IPv{family}",
                gateway,
                lambda mark, server=server, source=source: outside.send(  # type: ignore[misc]  # a default is not inferred
                    server,
                    self.user,
                    on_the_wire(letter(mark, "someone@world.test", self.user).as_string()),
                    source=source,
                ),
                office,
                f"outside -> {name} -> office",
            )
        self.deliver(
            "mail of a relay client",
            gateway,
            lambda mark: office.send(gateway.ipv4, "friend@world.test", sender=self.user, mark=mark),
            outside,
            f"office -> {name} -> outside",
        )
        stranger = outside.send(gateway.ipv4, "victim@elsewhere.test", mark=token())
        self.add(
            "mail for a foreign domain", f"outside -> {name}", "553 at rcpt", f"{stranger.code} at {stranger.stage}"
        )
        neighbour = office.send(gateway.ipv4, "friend@world.test", mark=token(), source=self.neighbour)
        self.add(
            "a host just outside the relay network",
            f"office -> {name}",
            "553 at rcpt",
            f"{neighbour.code} at {neighbour.stage}",
        )

    def unknown(self, gateway: Chokepoint) -> None:
        """Mail for somebody whom the office does not know; gatekeeper must be on."""
        nobody = f"nobody@{self.user.partition('@')[2]}"
        reply = self.outside.send(gateway.ipv4, nobody, mark=token())
        self.add("an unknown recipient", f"outside -> {gateway.name}", "550 at rcpt", f"{reply.code} at {reply.stage}")

    def forged(self, gateway: Chokepoint) -> None:
        """Mail that is not from whom it says; gatekeeper must ask that."""
        way, bank = f"outside -> {gateway.name}", f"accounts@{BANK}"
        self.hold("a forged colleague", gateway, lambda mark: letter(mark, self.user, self.user).as_string())
        forgery = on_the_wire(letter(token(), bank, self.user).as_string())
        reply = self.outside.send(gateway.ipv4, self.user, forgery, sender=bank)
        self.add("a forged bank, whose DMARC says reject", way, "554 at data", f"{reply.code} at {reply.stage}")

    def signed(self, gateway: Chokepoint) -> None:
        """A relay client's message on its way out: by TLS to a server that proves its name, and signed."""
        mark = token()
        recipient = f"{mark}@{WORLD}"
        self.office.send(gateway.ipv4, recipient, sender=self.user, mark=mark)
        keys = json.loads(gateway.run("gatepost", "dkim", "--json", "show"))
        found = signatures(self.outside.raw(mark).encode("utf-8", "surrogateescape"), keys)
        how = eventually(lambda: delivery(gateway.deliveries(), recipient), 60, f"a delivery to {recipient}")
        tls = f"{how['tls'] or 'plain text'}, {'verified' if how['verified'] else 'not verified'}"
        self.add(
            "mail that leaves by MX",
            f"office -> {gateway.name} -> outside",
            "TLSv1.3, verified, signature valid",
            f"{tls}, {found}",
        )

    def attachments(self, gateway: Chokepoint) -> None:
        """The paper's test messages, and some of the nastier ones."""
        self.hold("EICAR.COM by name and size", gateway, lambda mark: attached(mark, "Eicar.com", b"0" * 68 + b"\n"))
        self.hold("a program", gateway, lambda mark: attached(mark, "invoice.exe", b"MZ" + bytes(200)))
        program = b"MZ" + bytes(200)
        self.hold("a program that is called a picture", gateway, lambda mark: attached(mark, "cat.jpg", program))
        self.hold(
            "a program in a zip in a zip",
            gateway,
            lambda mark: attached(mark, "files.zip", zipped("inner.zip", zipped("run.scr", b"MZ" + bytes(200)))),
        )
        self.hold("two readings: two boundaries", gateway, two_boundaries)
        bomb = zipped("zeros", bytes(400_000_000))
        self.hold("a bomb: 400 MB of zeros in a zip", gateway, lambda mark: attached(mark, "bomb.zip", bomb))
        worm = letter("Pickles for Breakfast", "someone@world.test", self.user).as_string()
        self.hold("a subject that the rules name", gateway, lambda mark: worm)


def table(rows: list[Row]) -> str:
    """The rows as text, columns aligned."""
    lines = [("", "what was sent", "from where to where", "expected", "happened")]
    lines += [("ok" if row.is_as_expected else "NOT", row.what, row.way, row.expected, row.happened) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
