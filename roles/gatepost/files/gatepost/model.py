"""What flows through gatepost: an order of qmail's, where it goes, how safe the way must be, and what becomes of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gatepost.dane import Tlsa

if TYPE_CHECKING:
    from gatepost.wire import Wire


class Level(enum.Enum):
    """How a server is to be spoken to."""

    NEVER = "never"
    OPTIONAL = "optional"
    REQUIRED = "required"
    VERIFIED = "verified"

    @classmethod
    def of(cls, word: str) -> Level:
        """The level of a word. One that is not known must not lower the guard: it is VERIFIED."""
        try:
            return cls(word.strip().lower())
        except ValueError:
            return cls.VERIFIED


@dataclass(frozen=True, slots=True)
class Order:
    """One call of qmail-remote: the host (a domain), the sender, the recipients, and the message's descriptor."""

    host: str
    sender: str
    recipients: tuple[str, ...]
    message: int


@dataclass(frozen=True, slots=True)
class Route:
    """A line of smtproutes: the server (a name, or an address, in brackets or not), its port, and its TLS level."""

    host: str
    port: int
    level: Level


@dataclass(frozen=True, slots=True)
class Security:
    """What must be true of the TLS to one server.

    whose: for messages: "this route", "this domain", "DANE" or "MTA-STS". names: that a certificate must show one of.
    tlsa: usable TLSA records, for DANE. authorities: a file of who is trusted; empty: nobody needs to be.
    """

    level: Level
    whose: str = "this domain"
    names: tuple[str, ...] = ()
    tlsa: tuple[Tlsa, ...] = ()
    authorities: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address and its family: ipv4 or ipv6."""

    text: str
    family: str


@dataclass(frozen=True, slots=True)
class Policy:
    """What a domain promises of the TLS of its servers, in TLS-RPT's terms (RFC 8460, 4.4).

    kind: tlsa, sts or no-policy-found. text: its TLSA records, or its policy's lines. hosts: the server, or patterns.
    """

    kind: str = "no-policy-found"
    text: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Server:
    """One server to try: its name, the addresses in order, its port, and the security that it must have.

    policy: what its domain hears about its TLS; None: nothing, as for routes.
    """

    name: str
    addresses: tuple[Address, ...]
    port: int
    security: Security
    policy: Policy | None = None


@dataclass(slots=True)
class Account:
    """What is known of one delivery, most of it for the journal. Times are seconds since its start.

    wire: the connection that it has, or has just left; None while there is none yet.
    """

    host: str = ""
    server: str = ""
    address: str = ""
    family: str = ""
    port: int = 0
    tls: str = ""
    cipher: str = ""
    verified: str = ""
    is_reused: bool = False
    reply: str = ""
    signed: tuple[str, ...] = ()
    wire: Wire | None = None
    times: dict[str, float] = field(default_factory=dict)

    @property
    def duplicate(self) -> str:
        """What a failure's report says if the message may have been taken nevertheless."""
        return "Possible duplicate! " if "dot" in self.times else ""


class Failed(Exception):
    """A delivery, or a try at one server, ends here without success.

    letter: Z (try again) or D (for ever). text: qmail-remote's sentence, with its line's end. is_final: no other server
    is tried.
    """

    def __init__(self, letter: str, text: str, *, is_final: bool = True) -> None:
        super().__init__(text)
        self.letter = letter
        self.text = text
        self.is_final = is_final
