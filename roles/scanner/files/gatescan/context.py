"""Where a message comes from and where it goes: its envelope and its connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["inbound", "outbound"]


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of a message beside its bytes.

    sender, recipients: the envelope's addresses, bytes that are no UTF-8 kept as surrogate escapes.
    remote_ip: the peer's address, empty for a message that was injected on this host.
    relayclient: the peer may relay (RELAYCLIENT is set, even if empty).
    tls: TLS's version and cipher by which the message came, empty for plain text.
    env: what else the client handed over.
    """

    sender: str = ""
    recipients: tuple[str, ...] = ()
    remote_ip: str = ""
    relayclient: bool = False
    tls: str = ""
    env: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, sender: bytes, recipients: Iterable[bytes], env: Mapping[str, str]) -> Context:
        """The context of an envelope as qmail hands it over, and of the client's environment."""
        return cls(
            sender=sender.decode("utf-8", "surrogateescape"),
            recipients=tuple(address.decode("utf-8", "surrogateescape") for address in recipients),
            remote_ip=env.get("TCPREMOTEIP", ""),
            relayclient="RELAYCLIENT" in env,
            tls=" ".join(filter(None, (env.get("SSL_PROTOCOL"), env.get("SSL_CIPHER")))),
            env=env,
        )

    @property
    def direction(self) -> Direction:
        """`outbound` is what comes from a relay client; all else is `inbound`, even from this host."""
        return "outbound" if self.relayclient else "inbound"

    @property
    def recipient_domains(self) -> frozenset[str]:
        """The recipients' domains in lower case."""
        return frozenset(domain_of(address) for address in self.recipients)


def domain_of(address: str) -> str:
    """The domain of an envelope address in lower case; empty if it has none."""
    return address.rpartition("@")[2].lower().rstrip(".") if "@" in address else ""


def covers(pattern: str, domain: str) -> bool:
    """Is `domain` the one that `pattern` names, or below it when the pattern begins with a dot?"""
    pattern = pattern.lower()
    return domain == pattern or (pattern.startswith(".") and domain.endswith(pattern))


def in_ascii(domain: str) -> str:
    """An international domain as configurations have it."""
    try:
        return domain if domain.isascii() else domain.encode("idna").decode("ascii")
    except UnicodeError:
        return domain
